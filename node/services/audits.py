"""Read the audit log, check its chain, and anchor its head on chain from time to time.

Spec page: docs/reference/audit-entry.md.
"""

from __future__ import annotations

from anchor.commitments import Commitment
from anchor.outbox_rows import AppendOperation
from anchor.records import AuditRecord, Stream, encode_record
from node.context import Node
from node.store import rows

PERIOD_S = 3600
_SETTING = "audit_anchor"


def anchor_if_due(node: Node) -> bool:
    """Queue an AUDIT record over the log's head when an hour has passed and something was logged since.

    The head, not an entry, goes on chain: whoever later shows the log cannot leave anything out before it.
    """
    head = node.audit.head()
    when, count = last_anchor(node)
    # A time in the future is of a clock that was set back since: it must not put off the next anchor.
    if 0 <= node.clock() - when < PERIOD_S or head.sequence == count or not node.chain.member_id:
        return False
    keys = node.keyring.newest_of_any()
    if keys is None:
        return False
    record = AuditRecord(
        Commitment(head.hash), keys.domain, keys.epoch, 0, sequence=head.sequence, count=head.sequence - count
    )
    operations = node.outbox.enqueue(
        [(f"audit.{head.sequence}", AppendOperation(Stream.AUDIT, encode_record(record, keys)))]
    )
    mark = rows.SettingRow(_SETTING, f"{node.clock()}:{head.sequence}".encode())
    node.store.write([*operations, rows.SETTING.put(mark)], sync=True)
    node.outbox.wake()
    return False


def last_anchor(node: Node) -> tuple[int, int]:
    """Return when an AUDIT record was queued last and how many entries it covers; zeros for never."""
    last = rows.SETTING.get(node.store, _SETTING)
    when, count = (int(part) for part in last.value.split(b":")) if last else (0, 0)
    return when, count
