"""Write rows and the audit entry that tells of them in one synced batch: neither exists without the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from anchor.failpoints import reach
from anchor.keyvalue import Delete, Put
from node.context import Node

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
    reach(action, "before")
    node.audit.append(
        ops,
        time=node.clock(),
        actor=actor.name,
        action=action,
        object_id=object_id,
        outcome=outcome,
        reason=reason,
        request_id=actor.request_id,
    )
    reach(action, "after")
