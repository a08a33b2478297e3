"""Delete what has had its time: stored answers after 72 hours, nonces of release requests after their life."""

from __future__ import annotations

import time

from anchor.keyvalue import Delete
from node.context import Node
from node.store import rows
from node.store.blobs import sweep_forsaken

_ROWS_A_SWEEP = 1000


def sweep_once(node: Node) -> bool:
    """Sweep a bounded number of rows; what a power cut brings back is swept again."""
    # Old by the chain too: swept by a clock that was set forward, a nonce would be good for a second release.
    horizon = node.time.earliest()
    sweep_forsaken(node.store)
    node.idempotency.sweep(limit=_ROWS_A_SWEEP)
    due: list[Delete] = []
    for row in rows.NONCE.scan(node.store):
        if row.expires_at < horizon:
            due.append(rows.NONCE.delete(row.member_id, row.nonce))
        if len(due) >= _ROWS_A_SWEEP:
            break
    if due:
        node.store.write(due, sync=False)
    node.swept_at = time.monotonic()
    return False
