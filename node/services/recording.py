"""Write rows and the audit entry that tells of them in one synced batch: neither exists without the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from anchor.failpoints import reach
from anchor.keyvalue import Delete, Put
from node.context import Node
from node.store.audit import AuditedWrite, AuditEvent

Extra = Callable[[], Sequence[Put]]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asked: an agency by its API key, or another member."""

    agency: str
    key_id: str
    request_id: str

    @property
    def name(self) -> str:
        return f"{self.agency}/{self.key_id}"


@dataclass(frozen=True, slots=True)
class Recorded:
    """Rows, and what the audit entry tells of them."""

    ops: Sequence[Put | Delete]
    actor: Actor
    action: str
    object_id: str
    outcome: str
    reason: str = ""


def record(
    node: Node,
    ops: Sequence[Put | Delete],
    *,
    actor: Actor,
    action: str,
    object_id: str,
    outcome: str,
    reason: str = "",
) -> None:
    """Write `ops` and one audit entry; durable before it returns.

    A crash leaves both or neither.
    """
    record_all(node, [Recorded(ops, actor, action, object_id, outcome, reason)])


def record_all(node: Node, writes: Sequence[Recorded]) -> None:
    """Write all of `writes` with an audit entry each, in one batch; durable before it returns."""
    if not writes:
        return
    for write in writes:
        reach(write.action, "before")
    now = node.clock()
    node.audit.append_all([AuditedWrite(write.ops, _event(write, now)) for write in writes])
    for write in writes:
        reach(write.action, "after")


def _event(write: Recorded, now: int) -> AuditEvent:
    return AuditEvent(
        time=now,
        actor=write.actor.name,
        action=write.action,
        object_id=write.object_id,
        outcome=write.outcome,
        reason=write.reason,
        request_id=write.actor.request_id,
    )
