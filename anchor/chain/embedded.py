"""The embedded chain: a supervisor that journals every block before anvil mines it.

Life of a block: accepted raw transactions gather for some milliseconds → one entry (time, raw bytes) is
written to the journal and synced → anvil mines with exactly that time → the new block's number and parent are
checked. On start the journal is replayed to identical hashes, so `kill -9` loses nothing that was mined; what
was only accepted is sent again by its sender. Rules and format: docs/reference/chain-journal.md.
Serves JSON-RPC bodies; knows no HTTP server.
"""

import fcntl
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from anchor.chain.engine import Engine, EngineRefusal, find_anvil
from anchor.chain.errors import ChainFolderLocked, ChainFolderMissing, JournalUnwritable
from anchor.chain.journal import JOURNAL_NAME, Journal, JournalEntry, JournalHeader
from anchor.errors import AnchorError, ChainMismatch, EngineFailed, JournalCorrupt, SignatureInvalid
from anchor.signer import parse_transaction

DEFAULT_CHAIN_ID = 310000
GAS_LIMIT = 60_000_000
MAX_TRANSACTION_BYTES = 128 << 10
MAX_WAITING = 20_000
RETRY_S = 1.0

# What may be asked. Everything else is refused: anvil also answers calls that would rewrite the chain.
READ_METHODS = frozenset(
    [
        "web3_clientVersion",
        "net_version",
        "net_listening",
        "eth_chainId",
        "eth_syncing",
        "eth_gasPrice",
        "eth_accounts",
        "eth_blockNumber",
        "eth_getBalance",
        "eth_getCode",
        "eth_getStorageAt",
        "eth_getTransactionCount",
        "eth_call",
        "eth_estimateGas",
        "eth_getBlockByNumber",
        "eth_getBlockByHash",
        "eth_getBlockReceipts",
        "eth_getTransactionByHash",
        "eth_getTransactionByBlockHashAndIndex",
        "eth_getTransactionByBlockNumberAndIndex",
        "eth_getTransactionReceipt",
        "eth_getBlockTransactionCountByHash",
        "eth_getBlockTransactionCountByNumber",
        "eth_getLogs",
        "eth_getProof",
    ]
)
SEND_METHOD = "eth_sendRawTransaction"


@dataclass(frozen=True, slots=True)
class ChainHealth:
    """How the embedded chain is; `problem` is an error code, `replayed` of `blocks` are mined again."""

    state: Literal["starting", "running", "stopped"]
    problem: str | None
    height: int
    replayed: int
    blocks: int
    engine_pid: int | None


@dataclass(frozen=True, slots=True)
class _Head:
    number: int
    hash: bytes
    time: int


class ReadGate:
    """Lets reads pass together and mining alone, mining first.

    anvil shows a new block before the logs in it are there (measured: a follower that asked in between found a
    batch missing and had to call everything stale for a moment), so nobody reads while a block is made.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers = 0
        self._mining = False

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold a place among the readers; waits while a block is made."""
        with self._changed:
            self._changed.wait_for(lambda: not self._mining)
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    @contextmanager
    def mining(self) -> Iterator[None]:
        """Hold the gate alone; new readers wait, those inside are waited for."""
        with self._changed:
            self._mining = True
            self._changed.wait_for(lambda: not self._readers)
        try:
            yield
        finally:
            with self._changed:
                self._mining = False
                self._changed.notify_all()


class EmbeddedChain:
    """One chain folder, its journal and its anvil. `handle` may be called from many threads."""

    def __init__(
        self,
        folder: Path,
        *,
        chain_id: int | None = None,
        anvil: Path | None = None,
        block_interval_s: float = 0.03,
        idle_s: float = 60.0,
        clock: Callable[[], float] = time.time,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Prepare the chain in `folder`; nothing is opened before `start`.

        `block_interval_s`: how long accepted transactions gather before they are mined. `idle_s`: after this
        time without transactions an empty block is mined. `on_progress(done, total)`: blocks replayed.
        """
        self._folder, self._chain_id, self._anvil = folder.resolve(), chain_id, anvil
        self._gather_s, self._idle_s, self._clock = block_interval_s, idle_s, clock
        self._on_progress = on_progress
        # The gate: sending and mining exclude each other, so the journal has what the engine had, in its order.
        self._gate = threading.RLock()
        self._work = threading.Condition(self._gate)
        self._reads = ReadGate()
        self._waiting: list[bytes] = []
        self._more = False
        self._stopping = False
        self._doubt = False
        self._running = threading.Event()
        self._failure: AnchorError | None = None
        self._problem: str | None = None
        self._replayed = 0
        self._head = _Head(0, bytes(32), 0)
        self._mined_transactions = 0
        self._genesis = b""
        self._lock_file: int | None = None
        self._journal: Journal | None = None
        self._engine: Engine | None = None
        self._miner: threading.Thread | None = None

    @staticmethod
    def create(folder: Path, *, chain_id: int = DEFAULT_CHAIN_ID, genesis_time: int | None = None) -> None:
        """Make a new chain in `folder`. Raises ChainFolderExists.

        The gas limit varies in its last 16 bits, so that two chains of one second differ in their genesis.
        """
        now = int(time.time())
        gas_limit = GAS_LIMIT + secrets.randbelow(1 << 16)
        born = now if genesis_time is None else genesis_time
        Journal.create(folder, JournalHeader(chain_id, born, gas_limit, now))

    # Start and stop

    def start(self, *, wait: bool = True) -> None:
        """Lock the folder, check the journal, start anvil and replay; with `wait` return when it runs.

        Raises ChainFolderMissing, ChainFolderLocked, JournalCorrupt, ChainMismatch, EngineMissing, EngineFailed.
        """
        self._lock_folder()
        try:
            self._journal = journal = Journal.open(self._folder)
            if self._chain_id is not None and journal.header.chain_id != self._chain_id:
                raise ChainMismatch(
                    "this folder holds a chain with another id",
                    hint="use the chain id it was created with, or another folder",
                    expected=self._chain_id,
                    found=journal.header.chain_id,
                )
            self._engine = Engine(find_anvil(self._anvil), journal.header, self._folder / "engine")
        except BaseException:
            self._close_files()
            raise
        self._miner = threading.Thread(target=self._run, name="embedded-chain", daemon=True)
        self._miner.start()
        if wait:
            self.wait_running()

    def wait_running(self, timeout_s: float | None = None) -> None:
        """Wait until blocks can be mined. Raises what stopped the start, or EngineFailed at the time-out."""
        if not self._running.wait(timeout_s):
            raise EngineFailed("the embedded chain is not ready yet", hint="wait for the replay to end")
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Finish the block at hand, mine what was accepted, stop anvil, release the folder."""
        with self._work:
            self._stopping = True
            self._work.notify_all()
        if self._miner is not None:
            self._miner.join()
        self._close_files()

    def health(self) -> ChainHealth:
        """Say how the chain is, without asking the engine."""
        state: Literal["starting", "running", "stopped"] = "running" if self._running.is_set() else "starting"
        if self._failure is not None or self._stopping:
            state = "stopped"
        problem = self._failure.code if self._failure else self._problem
        blocks = self._journal.count if self._journal else 0
        pid = self._engine.pid if self._engine else None
        return ChainHealth(state, problem, self._head.number, self._replayed, blocks, pid)

    @property
    def failure(self) -> AnchorError | None:
        """What stopped the chain for good, if anything did."""
        return self._failure

    @property
    def genesis(self) -> bytes:
        """Hash of block 0 (empty before the engine ran)."""
        return self._genesis

    @property
    def chain_id(self) -> int:
        """The chain id of the open journal."""
        return self._open_journal().header.chain_id

    # JSON-RPC

    def handle(self, body: bytes) -> bytes:
        """Answer one JSON-RPC request or batch.

        Raises EngineFailed while the engine is not there: the caller answers "unavailable", not an error
        that a client could take for a verdict about its transaction.
        """
        try:
            request = orjson.loads(body)
        except orjson.JSONDecodeError:
            return orjson.dumps(_refusal(None, -32700, "parse error"))
        if not self._running.is_set() or self._failure is not None:
            raise EngineFailed("the embedded chain is starting or stopped", hint="try again")
        try:
            return self._answer_all(request, body)
        except EngineFailed:
            with self._work:
                self._doubt = True  # The miner looks at once whether the engine is still there.
                self._work.notify_all()
            raise

    def _answer_all(self, request: Any, body: bytes) -> bytes:
        if not isinstance(request, list):
            return self._answer(request)
        if not request:
            return orjson.dumps(_refusal(None, -32600, "invalid request"))
        if all(_method(item) in READ_METHODS for item in request):
            return self._read(body)
        # Sends keep their order: the engine itself answers a batch out of order.
        return b"[" + b",".join(self._answer(item) for item in request) + b"]"

    def _read(self, body: bytes) -> bytes:
        with self._reads.reading():
            return self._open_engine().forward(body)

    def _answer(self, request: Any) -> bytes:
        identity = request.get("id") if isinstance(request, dict) else None
        method = _method(request)
        if method in READ_METHODS:
            return self._read(orjson.dumps(request))
        if method == SEND_METHOD:
            return orjson.dumps({"jsonrpc": "2.0", "id": identity, **self._send(request)})
        if method is None:
            return orjson.dumps(_refusal(identity, -32600, "invalid request"))
        return orjson.dumps(_refusal(identity, -32601, "the method does not exist or is not available"))

    def _send(self, request: dict[str, Any]) -> dict[str, object]:
        """Check a raw transaction, give it to the engine and, if it takes it, to the next journal entry."""
        try:
            raw = _raw_of(request)
            self._check(raw)
        except SignatureInvalid as error:
            return {"error": {"code": -32602, "message": str(error)}}
        with self._work:
            if len(self._waiting) >= MAX_WAITING:
                return {"error": {"code": -32003, "message": "too many transactions are waiting"}}
            try:
                accepted = self._open_engine().call(SEND_METHOD, "0x" + raw.hex())
            except EngineRefusal as refusal:
                return {"error": {"code": refusal.number, "message": refusal.text}}
            self._waiting.append(raw)
            self._work.notify_all()
        return {"result": accepted}

    def _check(self, raw: bytes) -> None:
        """Refuse what the engine would take but another client would not: foreign chain ids above all."""
        if len(raw) > MAX_TRANSACTION_BYTES:
            raise SignatureInvalid("the transaction is larger than 128 KiB")
        if parse_transaction(raw).chain_id != self._open_journal().header.chain_id:
            raise SignatureInvalid("the transaction is signed for another chain id")

    # The miner: one thread starts the engine, replays, mines and starts it again

    def _run(self) -> None:
        try:
            self._replay()
            while not self._stopping:
                self._turn()
            if self._running.is_set():
                self._mine_rest()
        except AnchorError as error:
            self._failure = error
        finally:
            self._open_engine().stop()
            self._running.set()

    def _turn(self) -> None:
        """Wait for work and mine one block; an engine that stopped is started again from the journal."""
        try:
            if not self._running.is_set():
                self._revive()
            elif self._wait_for_work():
                with self._gate:
                    self._mine()
            self._problem = None
        except JournalUnwritable as error:
            self._problem = error.code
            self._pause()
        except EngineFailed as error:
            self._running.clear()
            self._problem = error.code
            self._pause()

    def _wait_for_work(self) -> bool:
        """Return True when a block is due: transactions have gathered, or the chain was idle long enough."""
        with self._work:
            self._work.wait_for(
                lambda: self._stopping or self._doubt or self._waiting or self._more, self._idle_s
            )
            if self._doubt:
                self._doubt = False
                self._open_engine().call("eth_chainId")
                return False
            gathering = bool(self._waiting)
        if gathering:
            time.sleep(self._gather_s)
        return not self._stopping

    def _mine(self) -> None:
        """Journal, sync, mine, check. The caller holds the gate."""
        engine, head = self._open_engine(), self._head
        # Not past the wall clock, so equal within a second; never backwards when the wall clock is.
        due = max(int(self._clock()), head.time)
        entry = JournalEntry(head.number + 1, due, head.hash, tuple(self._waiting))
        self._open_journal().append(entry)
        self._waiting.clear()
        self._advance(engine, entry)
        self._more = engine.waiting() > 0 and self._mined_transactions > 0

    def _advance(self, engine: Engine, entry: JournalEntry) -> None:
        with self._reads.mining():
            mined = engine.mine(entry.time)
        if mined.number != entry.number or mined.parent_hash != entry.parent_hash:
            raise EngineFailed(
                "anvil made another block than the journal says", hint="it is started again from the journal"
            )
        self._mined_transactions = mined.transaction_count
        self._head = _Head(mined.number, mined.hash, entry.time)

    def _mine_rest(self) -> None:
        with self._gate:
            while self._waiting or self._more:
                self._mine()

    def _replay(self) -> None:
        """Start the engine and mine every journaled block again. Raises JournalCorrupt on another hash."""
        engine, journal = self._open_engine(), self._open_journal()
        genesis = engine.start()
        if self._genesis not in (b"", genesis):
            raise EngineFailed(
                "anvil started another chain", hint="use the anvil version that made this chain"
            )
        self._genesis, self._replayed = genesis, 0
        self._head = _Head(0, genesis, journal.header.genesis_time)
        for entry in journal.entries():
            if self._stopping:
                return
            self._replay_entry(engine, entry)
            self._replayed += 1
            if self._on_progress is not None:
                self._on_progress(self._replayed, journal.count)
        self._more = engine.waiting() > 0
        self._running.set()

    def _replay_entry(self, engine: Engine, entry: JournalEntry) -> None:
        if entry.parent_hash != self._head.hash:
            raise JournalCorrupt(
                f"replaying the journal gives another block before entry {entry.number}",
                hint="use the anvil version that made this chain, or restore the folder from a backup",
                entry=entry.number,
            )
        for raw in entry.transactions:
            _offer(engine, raw)
        self._advance(engine, entry)

    def _revive(self) -> None:
        """Start the engine again and give it what was accepted but not yet journaled."""
        with self._gate:
            self._open_engine().stop()
            self._replay()
            self._waiting = [raw for raw in self._waiting if _offer(self._open_engine(), raw)]

    def _pause(self) -> None:
        with self._work:
            if not self._stopping:
                self._work.wait(RETRY_S)

    # Files

    def _open_journal(self) -> Journal:
        if self._journal is None:
            raise EngineFailed("the embedded chain is not started", hint="start it first")
        return self._journal

    def _open_engine(self) -> Engine:
        if self._engine is None:
            raise EngineFailed("the embedded chain is not started", hint="start it first")
        return self._engine

    def _lock_folder(self) -> None:
        if not (self._folder / JOURNAL_NAME).is_file():
            raise ChainFolderMissing(
                "there is no embedded chain in this folder",
                hint="create it with `deltaseal chain run --create`, or point to the right folder",
            )
        self._lock_file = os.open(self._folder / "LOCK", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._close_files()
            raise ChainFolderLocked(
                "another process runs the chain of this folder", hint="stop that process first"
            ) from error

    def _close_files(self) -> None:
        if self._journal is not None:
            self._journal.close()
        if self._lock_file is not None:
            os.close(self._lock_file)
        self._lock_file = None


def _offer(engine: Engine, raw: bytes) -> bool:
    """Give the engine a raw transaction again; False when it does not take it any more."""
    try:
        engine.call(SEND_METHOD, "0x" + raw.hex())
    except EngineRefusal:
        return False
    return True


def _method(request: Any) -> str | None:
    """Return the method of a well-formed request object, None of anything else."""
    method = request.get("method") if isinstance(request, dict) else None
    return method if isinstance(method, str) else None


def _raw_of(request: dict[str, Any]) -> bytes:
    """Return the one raw transaction of a send request. Raises SignatureInvalid."""
    params = request.get("params")
    try:
        if not isinstance(params, list) or len(params) != 1 or not params[0].startswith("0x"):
            raise ValueError
        return bytes.fromhex(params[0][2:])
    except (ValueError, TypeError, AttributeError) as error:
        raise SignatureInvalid("params must be one raw transaction in hex") from error


def _refusal(identity: Any, number: int, message: str) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": identity, "error": {"code": number, "message": message}}
