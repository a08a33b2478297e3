"""Background loops of a node: what goes on beside its requests.

Each loop is a thread that can be stopped at any moment without harm, because what it does is durable or repeatable.
A loop never dies of a known error: it names the error in the node's state, where /readyz, metrics and every verdict
read it, and tries again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from anchor.errors import DeltasealError
from node.context import Node
from node.federation import checkpoints as peers
from node.http.logs import end_starved, make_logger, places_of
from node.services import audits, confirming, erasures, notices, pending, stamping, sweeps, waits
from verifier.follower import FollowProgress

LOG = make_logger()
IDLE_S = 0.1
AUDIT_PERIOD_S = 3600
MERGE_RECORDS, MERGE_PART = 50_000, 4


@dataclass(slots=True)
class Workers:
    """The threads of one node."""

    node: Node
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """Start all loops."""
        loops: dict[str, tuple[Callable[[Node], bool], float]] = {
            "follower": (follow_once, IDLE_S),
            "outbox": (pump_once, 0.0),
            "pending": (pending.finish_once, IDLE_S),
            "audit": (audits.anchor_if_due, 5.0),
            "confirm": (confirming.confirm_once, 1.0),
            "sweep": (sweeps.sweep_once, 60.0),
            "erasure": (erasures.work_once, 1.0),
            "notice": (notices.work_once, 1.0),
            "alarms": (waits.tell_once, 5.0),
            "stamp": (stamping.stamp_once, 1.0),
            "checkpoints": (peers.exchange_once, 1.0),
            "merge": (merge_once, 2.0),
        }
        for name, (step, idle_s) in loops.items():
            thread = threading.Thread(
                target=self._run, args=(name, step, idle_s), name=f"worker_{name}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Stop all loops and wait for them; afterwards nothing touches the store."""
        self._stop.set()
        self.node.outbox.wake()
        for thread in self._threads:
            thread.join()

    def _run(self, name: str, step: Callable[[Node], bool], idle_s: float) -> None:
        while not self._stop.is_set():
            self.node.beats[name] = time.monotonic()
            try:
                busy = step(self.node)
            except DeltasealError as error:
                LOG.warning("worker_problem", worker=name, code=error.code)
                busy = False
                self._stop.wait(0.5)
            except MemoryError:
                end_starved()
            except Exception as error:  # noqa: BLE001 - a bug must not stop the node's other work, and must be seen
                # Places only: the words of an unforeseen error may hold what nobody may read in a log.
                LOG.error("worker_failed", worker=name, error=type(error).__name__, places=places_of(error))
                if name == "follower":
                    self.node.chain.problem = "internal"
                busy = False
                self._stop.wait(1.0)
            finally:
                self.node.beats.pop(name, None)
            if not busy:
                self._stop.wait(idle_s)


def follow_once(node: Node) -> bool:
    """Take what is new on chain into the index; learn new epoch keys; return whether more is waiting."""
    try:
        progress = node.follower.step()
        _find_member(node)
        learned = node.learn_keys()
    except DeltasealError as error:
        if node.chain.problem != error.code:
            LOG.warning("chain_problem", code=error.code)
        node.chain.problem = error.code
        return False
    node.chain.behind = progress.behind
    node.chain.head_number = progress.head_number
    node.chain.head_time = progress.head_time
    # Records that could only now be read took the newest blocks with them; they come with the next step.
    node.chain.caught_up = node.chain.caught_up or not (progress.behind or learned)
    problem = (
        progress.problem
        or _start_problem(node)
        or _clock_problem(node)
        or _head_age_problem(node)
        or _final_age_problem(node, progress)
    )
    if problem and problem != node.chain.problem:
        LOG.warning("chain_problem", code=problem)
    if node.chain.problem and not problem:
        LOG.info("chain_followed", head=progress.head_number)
    node.chain.problem = problem
    if not problem and not progress.behind:
        node.chain.known_at = time.monotonic()
    with node.followed:
        node.followed.notify_all()
    return progress.behind > 0 or learned


def _start_problem(node: Node) -> str | None:
    # Until a new, restored or rebuilt index has reached the head once, what it does not hold says nothing.
    return None if node.chain.caught_up else "index_behind"


def _clock_problem(node: Node) -> str | None:
    """A clock that was set is believed again once the chain's newest block bears it out."""
    if not node.time.jumped():
        return None
    if abs(node.clock() - node.chain.head_time) > node.config.head_age_limit_s:
        return "clock_jumped"
    node.time.trust()
    return None


def _head_age_problem(node: Node) -> str | None:
    # A frozen chain answers and never advances; only the age of its head tells.
    age_s = node.time.judging() - node.chain.head_time
    return "chain_stalled" if age_s > node.config.head_age_limit_s else None


def _final_age_problem(node: Node, progress: FollowProgress) -> str | None:
    # Too few signers for a quorum still make blocks. Behind the head our own final block says nothing about theirs.
    if progress.behind or progress.final is None:
        return None
    late = progress.head_time - progress.final.time > node.config.head_age_limit_s
    return "chain_not_final" if late else None


def _find_member(node: Node) -> None:
    member = node.index.member_by_account(node.signer.address)
    if member is not None and member.member_id != node.chain.member_id:
        node.chain.member_id = member.member_id
        node.outbox.become(member.member_id)
        LOG.info("member_known", member=member.member_id)


def merge_once(node: Node) -> bool:
    """Merge the index's files once it has taken in many records and caught up.

    LevelDB does so in its own time. Until then a row that is looked for may be in any of several layers, and one
    that is not there is looked for in all.
    """
    total = node.index.counts().records
    # A part of all, so that however large the index is each record is written a few times only.
    due = total - node.chain.merged_records >= max(MERGE_RECORDS, total // MERGE_PART)
    if due and node.chain.caught_up and not node.chain.behind:
        node.index_store.compact(b"")
        node.chain.merged_records = total
    return False


def pump_once(node: Node) -> bool:
    """Move the outbox one step on; return whether more is to do at once."""
    if not node.chain.member_id:
        node.outbox.wait(0.2)
        return False
    progress = node.outbox.step()
    if progress.problem != node.chain.outbox_problem:
        LOG.info("outbox_state", problem=progress.problem or "none")
    node.chain.outbox_problem = progress.problem
    if not progress.queued and not progress.in_flight:
        node.outbox.wait(0.5)
        return True
    node.outbox.wait(0.5 if progress.problem else 0.03)
    return True
