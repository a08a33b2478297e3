"""The audit log: entries that follow one another by hash, written in the same batch as what they tell of.

Numbers and hashes are given out by the one thread that commits a group, so the log has no gap and no fork
however many threads write, and its callers still share an fsync. Page: docs/reference/audit-entry.md.
Must not import plyvel; works over any KeyValue that has one writer.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from anchor.canonical import JsonValue, canonical_bytes
from anchor.keyvalue import Delete, KeyValue, Put
from node.errors import RowMalformed, StoreDamaged
from node.store.groupcommit import GroupCommit, Ticket
from node.store.rows import AUDIT, AuditRow

GENESIS: Final = bytes(32)
CONTEXT: Final = b"deltaseal/audit/1\x00"
_GROUP_BYTES: Final = 4 << 20

Op = Put | Delete


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The newest entry: number (0 = none yet) and hash; what an AUDIT record anchors."""

    sequence: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """What a walk over the log found: first number that does not fit, sound entries, their end."""

    first_broken: int | None
    count: int
    head: AuditHead


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """What happened, before it has a number: `time` in unix seconds, `object_id` an id, never a person's."""

    time: int
    actor: str
    action: str
    object_id: str
    outcome: str
    reason: str
    request_id: str


@dataclass(frozen=True, slots=True)
class AuditedWrite:
    """Rows and the event that tells of them; both are written or neither is."""

    ops: Sequence[Op]
    event: AuditEvent


@dataclass(slots=True)
class _Request:
    writes: Sequence[AuditedWrite]
    sync: bool
    rows: list[AuditRow]


def entry_hash(row: AuditRow) -> bytes:
    """Return SHA-256(context ‖ JCS of the fields in order, prev_hash in hex). Page: audit-entry.md."""
    fields: list[JsonValue] = [
        row.sequence, row.time, row.actor, row.action, row.object, row.outcome, row.reason, row.request_id,
        row.prev_hash.hex(),
    ]  # fmt: skip
    return hashlib.sha256(CONTEXT + canonical_bytes(fields)).digest()


class AuditLog:
    """Appends to, reads and checks the log in `kv`; one object per store."""

    def __init__(self, kv: KeyValue) -> None:
        """Go on after the newest entry in `kv`. Raises RowMalformed."""
        self._kv = kv
        newest = next(AUDIT.scan(kv, reverse=True, limit=1), None)
        self._head = AuditHead(newest.sequence, newest.hash) if newest else AuditHead(0, GENESIS)
        self._group: GroupCommit[_Request] = GroupCommit(self._commit, limit_bytes=_GROUP_BYTES)

    def head(self) -> AuditHead:
        """Return the newest entry that is written."""
        return self._head

    def append(
        self,
        ops: Sequence[Op],
        *,
        time: int,
        actor: str,
        action: str,
        object_id: str,
        outcome: str,
        reason: str = "",
        request_id: str = "",
        sync: bool = True,
    ) -> AuditRow:
        """Write `ops` and one entry that tells of them: both or neither, durable with `sync`.

        Raises:
            ValueNotCanonical: a text is not NFC or holds a lone surrogate. Nothing is written.
            What the store's `write` raises; the log stands as it did.
        """
        event = AuditEvent(time, actor, action, object_id, outcome, reason, request_id)
        return self.append_all([AuditedWrite(ops, event)], sync=sync)[0]

    def append_all(self, writes: Sequence[AuditedWrite], *, sync: bool = True) -> list[AuditRow]:
        """Write several writes with an entry each, in one batch: all of them or none. Raises as `append`."""
        for write in writes:
            check_event(write.event)
        request = _Request(writes, sync, [])
        self._group.run(request, weight=sum(_weight(write.ops) for write in writes))
        if len(request.rows) != len(writes):
            raise StoreDamaged("an audit entry was not given a number", row="audit")
        return request.rows

    def scan(self, *, start: int = 1, reverse: bool = False, limit: int | None = None) -> Iterator[AuditRow]:
        """Yield entries from number `start` on (in reverse: from the newest down to the first)."""
        return AUDIT.scan(self._kv, start="" if reverse else start, reverse=reverse, limit=limit)

    def before(self, sequence: int, *, limit: int) -> list[AuditRow]:
        """Return up to `limit` entries below number `sequence`, newest first."""
        return list(AUDIT.scan(self._kv, before=sequence, reverse=True, limit=limit))

    def verify(self) -> AuditFinding:
        """Walk the log from its first entry and compare its end with the head; a broken log is an answer.

        Steps: 1 numbers without a gap; 2 `prev_hash` is the hash before; 3 hash over the fields; 4 the newest
        entry is the head that this process has written or found at its start.
        """
        expected_end = self._head
        head = AuditHead(0, GENESIS)
        try:
            for row in AUDIT.scan(self._kv):
                numbered = row.sequence == head.sequence + 1
                if not numbered or row.prev_hash != head.hash or entry_hash(row) != row.hash:
                    return AuditFinding(head.sequence + 1, head.sequence, head)
                head = AuditHead(row.sequence, row.hash)
        except (RowMalformed, StoreDamaged):
            return AuditFinding(head.sequence + 1, head.sequence, head)
        complete = head.sequence >= expected_end.sequence
        return AuditFinding(None if complete else head.sequence + 1, head.sequence, head)

    def _commit(self, tickets: Sequence[Ticket[_Request]]) -> None:
        head = self._head
        ops: list[Op] = []
        for ticket in tickets:
            for write in ticket.request.writes:
                row = _row(write.event, head)
                ticket.request.rows.append(row)
                ops += [*write.ops, AUDIT.put(row)]
                head = AuditHead(row.sequence, row.hash)
        self._kv.write(ops, sync=any(ticket.request.sync for ticket in tickets))
        self._head = head


def check_event(event: AuditEvent) -> None:
    """Refuse a text that has no canonical form before others share a batch with it. Raises ValueNotCanonical."""
    canonical_bytes(
        [
            event.time, event.actor, event.action, event.object_id, event.outcome, event.reason,
            event.request_id,
        ]
    )  # fmt: skip


def _weight(ops: Sequence[Op]) -> int:
    return sum(len(op.value) if isinstance(op, Put) else 0 for op in ops)


def _row(event: AuditEvent, head: AuditHead) -> AuditRow:
    row = AuditRow(
        sequence=head.sequence + 1,
        time=event.time,
        actor=event.actor,
        action=event.action,
        object=event.object_id,
        outcome=event.outcome,
        reason=event.reason,
        request_id=event.request_id,
        prev_hash=head.hash,
        hash=b"",
    )
    return msgspec.structs.replace(row, hash=entry_hash(row))
