"""Everything in a node that waits for something: how long it may, how to see it, and what happens then.

`WAITS` is the one table. Metrics, `GET /v1/alarms`, the notes of `/readyz` and the log read it, and a test compares
the page with it. A wait that is older than its maximum raises an alarm and is never decided by its age: nothing is
refused, dropped or called done because it waited long.
Page: docs/how-to/watch-a-node.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ulid import ULID

from node.context import Node
from node.errors import ConfigInvalid
from node.http.logs import make_logger
from node.services import audits
from node.store import rows

LOG = make_logger()
_ROWS_READ = 1000
HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class Wait:
    """A state that waits. `age` returns the seconds that the oldest one has waited, 0 when none does."""

    name: str
    what: str
    maximum_s: int
    at_maximum: str
    fix: str
    age: Callable[[Node], float]

    @property
    def gauge(self) -> str:
        """Name of the metric that holds the age."""
        return f"deltaseal_wait_{self.name}_seconds"


@dataclass(frozen=True, slots=True)
class WaitState:
    """A wait as it is now."""

    wait: Wait
    age_s: float
    maximum_s: int

    @property
    def raised(self) -> bool:
        """Whether it is older than it may be."""
        return self.age_s > self.maximum_s


def _in_flight(node: Node) -> float:
    """Transactions become final in the order of their nonces, so the lowest one tells how long they wait."""
    return node.sightings.age("in_flight", node.outbox.lowest_in_flight())


def _unconfirmed(node: Node) -> float:
    found = [
        rows.VERSION.get(node.store, row.material_id, row.version)
        for row in rows.UNCONFIRMED.scan(node.store, limit=_ROWS_READ)
    ]
    return _since(node, min((version.created_at for version in found if version), default=0))


def _reuses(node: Node) -> float:
    return _since(node, min((row.since for row in rows.WAITING.scan(node.store)), default=0))


def _uploads(node: Node) -> float:
    """The ids of blobs begin with the time at which their upload began."""
    first = next(node.store.keys(rows.upload_prefix()), None)
    if first is None:
        return 0.0
    return _since(node, int(ULID.from_str(rows.upload_id(first).removeprefix("blb_")).timestamp))


def _audit(node: Node) -> float:
    when, count = audits.last_anchor(node)
    first = next(rows.AUDIT.scan(node.store, start=count + 1, limit=1), None)
    return _since(node, max(when, first.time)) if first else 0.0


def _backup(node: Node) -> float:
    row = rows.SETTING.get(node.store, rows.LAST_BACKUP)
    first = next(rows.AUDIT.scan(node.store, limit=1), None)
    return _since(node, int(row.value) if row else first.time if first else 0)


def _since(node: Node, when: int) -> float:
    return max(0.0, float(node.clock() - when)) if when else 0.0


def _longest(started: Mapping[str, float]) -> float:
    return max((time.monotonic() - begin for begin in dict(started).values()), default=0.0)


WAITS: tuple[Wait, ...] = (
    Wait(
        "outbox_queued",
        "operations stored and not yet in a transaction",
        900,
        "they go on waiting and are sent when the chain takes them",
        "see the part outbox of /readyz: the chain, the admission of this member, or its nonce",
        lambda node: node.outbox.progress().oldest_queued_s,
    ),
    Wait(
        "outbox_in_flight",
        "transactions sent and not final; status acts are among them",
        900,
        "the same bytes are sent again until their nonce is used",
        "see that blocks are made and become final: `deltaseal chain status`",
        _in_flight,
    ),
    Wait(
        "records_unconfirmed",
        "versions whose records are not known to be final and the first under their commitment",
        HOUR_S,
        "they go on waiting; nobody may use them yet",
        "as for outbox_queued and outbox_in_flight",
        _unconfirmed,
    ),
    Wait(
        "reuse_waiting",
        "reuses, and their jobs, that wait for their consumption to be final",
        HOUR_S,
        "they go on waiting; a decision now would be a guess",
        "as for outbox_in_flight; then `deltaseal reuse show`",
        _reuses,
    ),
    Wait(
        "upload_unfinished",
        "chunks of uploads and releases that no row refers to yet",
        6 * HOUR_S,
        "the connection is cut; chunks that nobody writes any more are swept",
        "look for clients that send slowly",
        _uploads,
    ),
    Wait(
        "write_running",
        "requests under way that hold an Idempotency-Key",
        6 * HOUR_S,
        "the connection of an upload is cut; its key is free again",
        "look for clients that send slowly, and for custodians that answer slowly",
        lambda node: node.idempotency.oldest_running_s(),
    ),
    Wait(
        "chain_unknown",
        "the node itself, while it does not know the chain's present state",
        300,
        "every verdict stays `stale`; pushes are taken",
        "see the part chain of /readyz",
        lambda node: time.monotonic() - node.chain.known_at,
    ),
    Wait(
        "worker_hung",
        "the step of a background loop that has been running longest",
        600,
        "the loop is not restarted: what holds it would hold it again",
        "see the node's log for the last line of each worker, then restart the node",
        lambda node: _longest(node.beats),
    ),
    Wait(
        "sweep_due",
        "stored answers, nonces and chunks that have had their time",
        HOUR_S,
        "they lie there longer; a nonce is refused all the same",
        "see worker_problem in the node's log",
        lambda node: time.monotonic() - node.swept_at,
    ),
    Wait(
        "audit_unanchored",
        "entries of the audit log whose head is not on its way to the chain",
        3 * HOUR_S,
        "they go on waiting; the next anchor covers them",
        "see that this member is admitted and holds an epoch key",
        _audit,
    ),
    Wait(
        "backup_running",
        "backups that are being read from this node",
        6 * HOUR_S,
        "it goes on; the store keeps what the snapshot still needs",
        "end the reader that takes it so slowly",
        lambda node: _longest(node.backups),
    ),
    Wait(
        "backup_due",
        "everything taken in since the last backup was read to its end",
        7 * 24 * HOUR_S,
        "nothing; a lost disk would lose all of it",
        "deltaseal store backup",
        _backup,
    ),
)


def limits(overrides: Mapping[str, int]) -> dict[str, int]:
    """Return the maximum of each wait in seconds.

    Raises:
        ConfigInvalid: the setting names a wait that is not in the table, or a negative time.
    """
    known = {wait.name: wait.maximum_s for wait in WAITS}
    if not overrides.keys() <= known.keys() or any(seconds < 0 for seconds in overrides.values()):
        raise ConfigInvalid(
            "alarm_after_s names an unknown wait or a negative time",
            hint="the names stand in docs/how-to/watch-a-node.md",
            setting="alarm_after_s",
        )
    return {**known, **overrides}


def look(node: Node) -> list[WaitState]:
    """Return every wait as it is now, in the table's order."""
    maxima = limits(node.config.alarm_after_s)
    return [WaitState(wait, wait.age(node), maxima[wait.name]) for wait in WAITS]


def tell_once(node: Node) -> bool:
    """Log each alarm once when it is raised and once when it has passed."""
    raised = {state.wait.name for state in look(node) if state.raised}
    for name in sorted(raised - node.alarms):
        LOG.warning("alarm_raised", wait=name)
    for name in sorted(node.alarms - raised):
        LOG.info("alarm_passed", wait=name)
    node.alarms = raised
    return False
