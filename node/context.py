"""What a running node consists of: the parts that `runtime` wires and that use cases take as their first argument.

Holds no rule. Must not import services, routes or federation.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from time import monotonic

import httpx

from anchor.chain.deploy import Deployment
from anchor.chain.finality import Finality
from anchor.chain.gateway import Gateway
from anchor.merkle import GrowingTree
from anchor.outbox import Outbox
from anchor.signer import Signer
from node.clocks import Clock
from node.config import NodeConfig
from node.http.idempotency import IdempotencyGate
from node.http.ratelimits import TokenBuckets
from node.keys import KeyFolder
from node.sightings import Sightings
from node.store.audit import AuditLog
from node.store.leveldb import LevelStore
from verifier.catalog import CatalogView
from verifier.checkpoints import SignedCheckpoint
from verifier.follower import Follower
from verifier.index import ChainIndex
from verifier.keyring import KeyRing, read_envelopes
from verifier.verdicts import Moment

PEER_THREADS = 16
CHINA = timezone(timedelta(hours=8))


class LockTable:
    """Named locks, so that two requests about one thing take turns while others pass.

    A fixed number of stripes: two names may share one, which costs a wait and never a deadlock as long as
    no caller holds two but by `hold_all`, which takes them in the order of their numbers.
    """

    def __init__(self, stripes: int = 256) -> None:
        self._locks = [threading.Lock() for _ in range(stripes)]

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        with self._locks[hash(name) % len(self._locks)]:
            yield

    @contextmanager
    def hold_all(self, names: Iterable[str]) -> Iterator[None]:
        with ExitStack() as stack:
            for number in sorted({hash(name) % len(self._locks) for name in names}):
                stack.enter_context(self._locks[number])
            yield


class EpochGate:
    """Who wraps keys goes in together; who moves rows to another key epoch goes in alone.

    A use case that reads a row with wrapped keys and writes one back stays inside `share` from the reading to
    the writing, so that no row is left under an epoch that is about to be destroyed. Not re-entrant.
    """

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._inside = 0
        self._waiting = 0

    @contextmanager
    def share(self) -> Iterator[None]:
        """Be inside with others; whoever wants to be alone has precedence."""
        with self._turn:
            self._turn.wait_for(lambda: self._inside >= 0 and not self._waiting)
            self._inside += 1
        try:
            yield
        finally:
            with self._turn:
                self._inside -= 1
                self._turn.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be inside with nobody else."""
        with self._turn:
            self._waiting += 1
            self._turn.wait_for(lambda: self._inside == 0)
            self._waiting -= 1
            self._inside = -1
        try:
            yield
        finally:
            with self._turn:
                self._inside = 0
                self._turn.notify_all()


@dataclass(slots=True)
class Waiting:
    """Names of what waits for a worker, in memory: the rows themselves say what is to do."""

    erasures: set[str] = field(default_factory=set)
    notices: set[tuple[str, int, bytes]] = field(default_factory=set)
    received: set[tuple[int, bytes]] = field(default_factory=set)


@dataclass(slots=True)
class ChainState:
    """What the workers last saw of the chain; read by every verdict."""

    member_id: int = 0
    problem: str | None = "starting"
    outbox_problem: str | None = None
    fork: str | None = None
    head_number: int = 0
    head_time: int = 0
    behind: int = 0
    caught_up: bool = False
    merged_records: int = 0
    known_at: float = field(default_factory=monotonic)


@dataclass(slots=True)
class LogState:
    """The log of final batches as this node holds it, its newest signed checkpoint, and others' that wait.

    `lock` guards all of it but `inbox`, which takes (member id, checkpoint as it came) from any thread.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    tree: GrowingTree = field(default_factory=GrowingTree)
    signed: SignedCheckpoint | None = None
    inbox: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=64))
    exchange_at: float = 0.0


@dataclass(slots=True)
class Node:
    """The parts of one node."""

    config: NodeConfig
    node_id: str
    store: LevelStore
    index_store: LevelStore
    keys: KeyFolder
    signer: Signer
    gateway: Gateway
    deployment: Deployment
    finality: Finality
    index: ChainIndex
    catalog: CatalogView
    keyring: KeyRing
    follower: Follower
    outbox: Outbox
    audit: AuditLog
    time: Clock
    peers: httpx.Client
    idempotency: IdempotencyGate
    chain: ChainState = field(default_factory=ChainState)
    log: LogState = field(default_factory=LogState)
    # A person scans a slip now and then; who asks faster is guessing tokens, of which there are 2^144.
    public_views: TokenBuckets = field(default_factory=lambda: TokenBuckets(rate_per_s=0.5, burst=30))
    locks: LockTable = field(default_factory=LockTable)
    council: Signer | None = None
    followed: threading.Condition = field(default_factory=threading.Condition)
    confirm_from: str = ""
    pending_reuses: set[str] = field(default_factory=set)
    epochs: EpochGate = field(default_factory=EpochGate)
    waiting: Waiting = field(default_factory=Waiting)
    # What waits, by monotonic time: steps that workers are in, last sweep, backups being read, raised alarms.
    beats: dict[str, float] = field(default_factory=dict)
    swept_at: float = field(default_factory=monotonic)
    backups: dict[str, float] = field(default_factory=dict)
    alarms: set[str] = field(default_factory=set)
    sightings: Sightings = field(default_factory=Sightings)
    # Requests that wait for other nodes have threads of their own: a custodian that hangs must not hold up the rest.
    peer_threads: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(PEER_THREADS, thread_name_prefix="peer")
    )
    moment: Moment | None = None

    def clock(self) -> int:
        """Return what the machine's clock says, in unix seconds: for what is noted, not for what is judged."""
        return self.time.now()

    def now(self) -> datetime:
        """Return the present, by which documents are judged, as an aware UTC datetime."""
        return datetime.fromtimestamp(self.time.judging(), UTC)

    def faults(self) -> tuple[str, ...]:
        """Name what keeps this node from knowing the chain's present state."""
        problem, fork = self.chain.problem, self.chain.fork
        if problem is None and fork is None:
            return ()
        return tuple(fault for fault in (problem, fork) if fault)

    def learn_keys(self) -> bool:
        """Open the epoch keys that reached this member since last time, and read what they unmask.

        Returns whether records became readable. The index reads them before anybody is given the keys: a
        question under a key whose records are not indexed yet would read `unknown`.
        """
        if not self.chain.member_id:
            return False
        reading = read_envelopes(
            self.index, self.chain.member_id, self.keys.recipient_key(), self.deployment, held=self.keyring
        )
        if not reading.keys:
            return False
        learned = self.index.learn(self.keyring.widened(reading.keys))
        for key in reading.keys:
            self.keyring.add(key)
        self.index.use_keys(self.keyring)
        return learned > 0


def render_time(seconds: int) -> str:
    """Render unix seconds as RFC 3339 at +08:00."""
    return datetime.fromtimestamp(seconds, CHINA).isoformat(timespec="seconds")
