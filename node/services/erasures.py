"""Erase a material for good: keys destroyed, bytes and rows gone from the files, a tombstone left.

Life of an erasure:
(1) `erase` writes one synced batch: the material's rows go, its files are condemned, and in come the tombstone, the
    act for the chain, the audit entry and the answer. From here on nothing reads the material.
(2) `_retire`: every other row of the agency is wrapped anew under another key epoch, then the old epochs are
    destroyed: no copy of the material's wrapped keys opens any more, those in backups among them. The notices to
    members that received the document are written then: no release can begin after that.
(3) `_delete`: the chunks go.
(4) `_purge`: the tables that held rows and chunks are rewritten; done when no file holds them.
A crash leaves the tombstone in the state it had, and `work_once` goes on from there; each step may be repeated.

Explanation: docs/explanation/erasure.md. Must not import routes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from anchor.commitments import Commitment
from anchor.entries import StatusFlag
from anchor.failpoints import reach
from anchor.keyvalue import Delete, Put
from anchor.outbox_rows import CallOperation
from node.context import Node
from node.errors import MaterialInvalid, MaterialNotFound, StatusConflict, StoreDamaged
from node.services import copies, materials, notices, rewrapping
from node.services.ledgeracts import claim_call, parse_reason
from node.services.recording import Actor, record
from node.services.requests import ErasureAct
from node.store import rows
from node.store.blobs import CHUNK_BYTES, condemn, delete_blob

# Set by a restore, until the chain was asked what this node has erased since.
RESTORED = "restored"
OnCommit = Callable[[rows.ErasureRow], Sequence[Put]]


def erase(
    node: Node, actor: Actor, material_id: str, body: ErasureAct, *, on_commit: OnCommit
) -> rows.ErasureRow:
    """Step (1): take the material and all its versions out of this node; the worker does the rest.

    Raises:
        MaterialInvalid: the confirmation is another id, or the reason is no code.
        MaterialNotFound, MaterialErased
        StatusConflict: a use of it is being decided here at this moment.
    """
    if body.confirm != material_id:
        raise MaterialInvalid(
            "the confirmation does not repeat the material's id", pointer="/confirm", reason="mismatch"
        )
    reason = parse_reason(body.reason_code)
    return _accept(
        node, actor, material_id, reason, why=f"{body.purpose} / {body.reason}", on_commit=on_commit
    )


def _accept(
    node: Node, actor: Actor, material_id: str, reason: int, *, why: str, on_commit: OnCommit
) -> rows.ErasureRow:
    # Alone: a use that was decided before must be stored before, so that its copy is seen here.
    with node.epochs.alone(), node.locks.hold(material_id):
        view = materials.get(node, actor, material_id)
        versions = materials.versions(node, material_id)
        uses = copies.of_commitments(node, {row.commitment for row in versions})
        if any(row.state == "consuming" for row in uses):
            raise StatusConflict(
                "a use of this material is being decided", hint="try again shortly", status="consuming"
            )
        deleted = _material_rows(node, view.material, versions)
        stubs = copies.stubs(node, view.material.agency, material_id)
        operations = _chain_acts(node, versions, reason)
        row = _tombstone(node, actor, view.material, versions, reason, deleted, stubs, operations)
        ops: list[Put | Delete] = [*deleted, *stubs, rows.ERASURE.put(row)]
        ops += [op for version in versions if version.blob_id for op in condemn(version.blob_id)]
        ops += copies.erase_ops(node, uses, row.erased_at)
        ops += node.outbox.enqueue(operations)
        ops += on_commit(row)
        record(
            node,
            ops,
            actor=actor,
            action="material.erase",
            object_id=material_id,
            outcome="erased",
            reason=why,
        )
    node.waiting.erasures |= {material_id, *(one.reuse_id for one in uses)}
    node.outbox.wake()
    return row


def _chain_acts(
    node: Node, versions: Sequence[rows.VersionRow], reason: int
) -> list[tuple[str, CallOperation]]:
    """Name and encode the act for each version that the chain does not call erased yet."""
    return [
        (f"{row.material_id}.{row.version}.erase", claim_call(node, "erase", row, reason))
        for row in versions
        if not _is_erased_on_chain(node, row)
    ]


def _is_erased_on_chain(node: Node, version: rows.VersionRow) -> bool:
    status = node.index.status(node.chain.member_id, Commitment(version.commitment))
    return bool(status.flags & StatusFlag.ERASED)


def _material_rows(
    node: Node, material: rows.MaterialRow, versions: Sequence[rows.VersionRow]
) -> list[Delete]:
    """List the deletion of every row about a material but its commitments, which lead to the tombstone."""
    name = material.material_id
    gone = [rows.MATERIAL.delete(name), rows.BY_AGENCY.delete(material.agency, name)]
    for version in versions:
        gone += [rows.VERSION.delete(name, version.version), rows.UNCONFIRMED.delete(name, version.version)]
        gone += materials.lookups_of(node, material, version)
    return gone


def _tombstone(
    node: Node,
    actor: Actor,
    material: rows.MaterialRow,
    versions: Sequence[rows.VersionRow],
    reason: int,
    deleted: Sequence[Delete],
    stubs: Sequence[Put],
    operations: Sequence[tuple[str, CallOperation]],
) -> rows.ErasureRow:
    now = node.clock()
    return rows.ErasureRow(
        erasure_id=material.material_id,
        agency=material.agency,
        kind="material",
        erased_at=now,
        reason_code=reason,
        actor=actor.name,
        held_since=min(row.created_at for row in versions),
        versions=[rows.ErasedVersion(row.version, row.commitment) for row in versions],
        operation_ids=[name for name, _ in operations],
        epochs=sorted({row.key_epoch for row in versions}),
        blobs=[
            rows.ErasedBlob(row.blob_id, row.size_bytes // CHUNK_BYTES + 1) for row in versions if row.blob_id
        ],
        gone=[op.key for op in deleted],
        replaced=[op.key for op in stubs],
        state="accepted",
        updated_at=now,
    )


def get(node: Node, actor: Actor, material_id: str) -> rows.ErasureRow:
    """Return the tombstone of a material that the caller's agency held.

    Raises:
        MaterialNotFound: nothing of this name was erased, or it was another agency's; the two answer alike.
    """
    row = rows.ERASURE.get(node.store, material_id)
    if row is None or row.agency != actor.agency or row.kind != "material":
        raise MaterialNotFound("this agency has erased no such material")
    return row


def backups_with(node: Node, row: rows.ErasureRow) -> list[rows.BackupRow]:
    """Name the backups of this node that were made while it held the material."""
    made = rows.BACKUP.scan(node.store)
    return [one for one in made if row.held_since <= one.created_at <= row.erased_at]


# The worker


def load(node: Node) -> None:
    """Find what was under way when the process ended."""
    node.waiting.erasures |= {row.erasure_id for row in rows.ERASURE.scan(node.store) if row.state != "done"}


def work_once(node: Node) -> bool:
    """Move every erasure on as far as it goes now."""
    if rows.SETTING.get(node.store, RESTORED) is not None and not node.chain.problem:
        _erase_again(node)
    for agency, found in _by_agency(node).items():
        accepted = [row for row in found if row.state == "accepted"]
        if accepted:
            # One new epoch for all that wait: each costs a pass over the agency's rows.
            accepted = _retire(node, agency, accepted)
        for row in [*accepted, *(row for row in found if row.state != "accepted")]:
            _finish(node, row)
    return False


def _erase_again(node: Node) -> None:
    """Erase what came back with an older copy of the store: the chain says `erased`, the copy does not know."""
    back = {
        version.material_id: version
        for version in rows.VERSION.scan(node.store)
        if _is_erased_on_chain(node, version)
    }
    for name, version in back.items():
        material = rows.MATERIAL.get(node.store, name)
        if material is None:
            raise StoreDamaged("a version has no material", row="material")
        reason = node.index.status(node.chain.member_id, Commitment(version.commitment)).reason
        actor = Actor(material.agency, "worker", "")
        _accept(node, actor, name, reason, why="came back with a backup", on_commit=lambda _row: [])
    node.store.write([rows.SETTING.delete(RESTORED)], sync=True)


def _by_agency(node: Node) -> dict[str, list[rows.ErasureRow]]:
    found: dict[str, list[rows.ErasureRow]] = {}
    for name in sorted(node.waiting.erasures):
        row = rows.ERASURE.get(node.store, name)
        if row is None or row.state == "done":
            node.waiting.erasures.discard(name)
        else:
            found.setdefault(row.agency, []).append(row)
    return found


def _retire(node: Node, agency: str, accepted: Sequence[rows.ErasureRow]) -> list[rows.ErasureRow]:
    """Step (2): destroy the key epochs that wrap what these erasures are about."""
    retired = {epoch for row in accepted for epoch in row.epochs} & set(node.keys.epochs(agency))
    if retired:
        rewrapping.move(node, agency, retired)
        for epoch in sorted(retired):
            node.keys.erase_kek(agency, epoch)
            reach("erasure.epoch", "after")
    moved = [_moved(node, row, "keys_destroyed") for row in accepted]
    written = notices.write(node, moved)
    node.store.write([*(rows.ERASURE.put(row) for row in moved), *map(rows.NOTICE.put, written)], sync=True)
    notices.remember(node, written)
    reach("erasure.keys_destroyed", "after")
    return moved


def _finish(node: Node, row: rows.ErasureRow) -> None:
    """Steps (3) and (4)."""
    if row.state == "keys_destroyed":
        for blob in row.blobs:
            delete_blob(node.store, blob.blob_id)
        row = _keep(node, row, "deleted")
        reach("erasure.delete", "after")
    if row.state == "deleted" and _purge(node, row):
        reach("erasure.purge", "after")
        _keep(node, row, "done")
        node.waiting.erasures.discard(row.erasure_id)


def _purge(node: Node, row: rows.ErasureRow) -> bool:
    chunks = [rows.chunk_key(blob.blob_id, number) for blob in row.blobs for number in range(blob.chunks)]
    if any(node.store.get(key) is not None for key in chunks):
        raise StoreDamaged("a chunk of an erased file came back", row="blob")
    marks = [rows.upload_key(blob.blob_id) for blob in row.blobs]
    # Stored answers that were swept by their age held the material's fields too; nobody remembers their keys.
    answers = rows.IDEMPOTENCY.key(row.agency)
    return node.store.purge(gone=[*row.gone, *chunks, *marks], replaced=row.replaced, prefixes=[answers])


def _moved(node: Node, row: rows.ErasureRow, state: str) -> rows.ErasureRow:
    return msgspec.structs.replace(row, state=state, updated_at=node.clock())


def _keep(node: Node, row: rows.ErasureRow, state: str) -> rows.ErasureRow:
    moved = _moved(node, row, state)
    node.store.write([rows.ERASURE.put(moved)], sync=True)
    return moved
