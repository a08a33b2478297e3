"""What this node holds of an erased document besides the material itself: reuses, and answers kept for repetition.

A reuse keeps its decision, its record's salts and its place on chain; what it knew of the document and of the person
goes. Must not import routes.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

import msgspec

from anchor.keyvalue import Delete, Put
from node.context import Node, render_time
from node.http.idempotency import pack_answer, unpack_answer
from node.http.problems import PROBLEM_MEDIA_TYPE, problem_bytes
from node.store import rows
from node.store.blobs import CHUNK_BYTES, condemn

STATE = "erased"


def of_commitments(node: Node, commitments: Set[bytes]) -> list[rows.ReuseRow]:
    """Return the reuses at this node, of any agency, whose document has one of `commitments`."""
    found = rows.REUSE.scan(node.store)
    return [row for row in found if row.commitment in commitments and row.state != STATE]


def stubs(node: Node, agency: str, name: str) -> list[Put]:
    """Replace stored answers that speak of `name`; a repeated request then learns that it was erased."""
    body = problem_bytes("material_erased", request_id="", language="zh")
    gone = pack_answer({"content-type": PROBLEM_MEDIA_TYPE}, body)
    return [
        rows.IDEMPOTENCY.put(msgspec.structs.replace(row, status=410, answer=gone))
        for row in rows.IDEMPOTENCY.scan(node.store, agency)
        if name.encode() in unpack_answer(row.answer)[1]
    ]


def erase_ops(node: Node, uses: Sequence[rows.ReuseRow], erased_at: int) -> list[Put | Delete]:
    """Return the operations that erase these reuses' copies, each with a tombstone of its own for the worker."""
    ops: list[Put | Delete] = []
    for row in uses:
        answers = stubs(node, row.agency, row.reuse_id)
        ops += [rows.REUSE.put(redacted(row, erased_at)), *answers]
        ops += condemn(row.blob_id) if row.blob_id else []
        ops.append(rows.ERASURE.put(_tombstone(node, row, erased_at, answers)))
    return ops


def redacted(row: rows.ReuseRow, erased_at: int) -> rows.ReuseRow:
    """Return the reuse without the document's facts, its bytes' key, and the person that was asked about."""
    recorded = any(name.endswith(".record") for name in row.operation_ids)
    return msgspec.structs.replace(
        row,
        state=STATE,
        decision_json=_decision(row, {"copy": "erased", "at": render_time(erased_at)}, drop=True),
        request_json=b"",
        blob_id="",
        wrapped_file_key=b"",
        wrapped_salt=row.wrapped_salt if recorded else b"",
        fields_json=row.fields_json if recorded else b"",
    )


def flagged(row: rows.ReuseRow, erased_at: int) -> rows.ReuseRow:
    """Return the reuse with a mark that its custodian has erased the document."""
    mark = {"copy": "kept", "at": render_time(erased_at)}
    return msgspec.structs.replace(row, decision_json=_decision(row, mark, drop=False))


def is_flagged(row: rows.ReuseRow) -> bool:
    """Tell whether a reuse has been marked already."""
    return "erasure" in msgspec.json.decode(row.decision_json)


def _decision(row: rows.ReuseRow, mark: dict[str, Any], *, drop: bool) -> bytes:
    value: dict[str, Any] = msgspec.json.decode(row.decision_json)
    if drop:
        value = {key: item for key, item in value.items() if key not in ("facts", "content")}
    return msgspec.json.encode({**value, "erasure": mark})


def _tombstone(node: Node, row: rows.ReuseRow, erased_at: int, answers: Sequence[Put]) -> rows.ErasureRow:
    return rows.ErasureRow(
        erasure_id=row.reuse_id,
        agency=row.agency,
        kind="reuse",
        erased_at=erased_at,
        reason_code=0,
        actor="",
        held_since=row.created_at,
        versions=[],
        operation_ids=[],
        # A reuse without bytes has nothing under its epoch but the salts that stay.
        epochs=[row.key_epoch] if row.blob_id else [],
        blobs=[rows.ErasedBlob(row.blob_id, _chunks(row))] if row.blob_id else [],
        gone=[],
        replaced=[rows.REUSE.key(row.reuse_id), *(op.key for op in answers)],
        state="accepted",
        updated_at=node.clock(),
    )


def _chunks(row: rows.ReuseRow) -> int:
    content = msgspec.json.decode(row.decision_json).get("content") or {}
    return int(content.get("size") or 0) // CHUNK_BYTES + 1
