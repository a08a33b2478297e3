"""Make sure that each material's records are the first under their commitment; seal again where they are not.

Whoever sees a transaction before it is mined can copy its commitment and append it first; the first appender holds
it, so the true custodian's records would count for nothing. The copier gains nothing either: it cannot open the
commitment. The custodian notices when its own records are final, seals the version again with new salts, and the new
commitment goes the same way. Spec page: docs/reference/batch-and-log.md, "Copies".
"""

from __future__ import annotations

from datetime import date

import msgspec
from ulid import ULID

from anchor.canonical import canonical_bytes
from anchor.commitments import Commitment
from anchor.keyvalue import Delete, Put
from node.context import Node
from node.http.logs import make_logger
from node.services.custody import unlock
from node.services.recording import Actor, record
from node.services.sealing import Draft, Sealed, fields_beside_rows, seal
from node.store import rows
from node.store.envelope import wrap_key
from verifier.catalog import MaterialType
from verifier.subjects import Subject

LOG = make_logger()
_WORKER = "worker"
_ROWS_A_STEP = 256


def confirm_once(node: Node) -> bool:
    """Look at the versions that are not confirmed; return whether there may be more to look at now."""
    if node.chain.problem or not node.chain.member_id:
        return False
    waiting = list(rows.UNCONFIRMED.scan(node.store, start=node.confirm_from, limit=_ROWS_A_STEP))
    node.confirm_from = waiting[-1].material_id if len(waiting) == _ROWS_A_STEP else ""
    done: list[Put | Delete] = []
    for row in waiting:
        version = rows.VERSION.get(node.store, row.material_id, row.version)
        if version is not None and not _is_final(node, version):
            continue
        claim = node.index.claim(Commitment(version.commitment)) if version is not None else None
        if version is None or (claim is not None and claim.member_id == node.chain.member_id):
            done.append(rows.UNCONFIRMED.delete(row.material_id, row.version))
        elif claim is not None:
            _seal_again(node, version)
    if done:
        node.store.write(done, sync=False)  # lost by a power cut, they are looked at again
    return False


def _is_final(node: Node, version: rows.VersionRow) -> bool:
    """Tell whether the version's records are final and this node's own index has followed to them."""
    final = node.index.final_point()
    names = [name for name in version.operation_ids if not name.endswith(".supersede")]
    for status in map(node.outbox.status_of, names):
        if status is None or status.state != "final" or status.block_number is None:
            return False
        if final is None or final.number < status.block_number:
            return False
    return True


def _seal_again(node: Node, version: rows.VersionRow) -> None:
    with node.epochs.share(), node.locks.hold(version.material_id):
        fresh = rows.VERSION.get(node.store, version.material_id, version.version)
        material = rows.MATERIAL.get(node.store, version.material_id)
        if fresh is None or material is None or fresh.commitment != version.commitment:
            return
        kind = node.catalog.material_type(material.type_code)
        if kind is None or fresh.status != "active":
            return  # nobody may use it; there is nothing to hold
        sealed = seal(node, _draft_of(material, fresh, kind), attempt=f"{ULID()}")
        _store(node, material, fresh, sealed)
    LOG.warning("front_run", material=version.material_id, version=version.version)


def _draft_of(material: rows.MaterialRow, version: rows.VersionRow, kind: MaterialType) -> Draft:
    return Draft(
        material_id=material.material_id,
        version=version.version,
        kind=kind,
        agency=material.agency,
        subjects=tuple((Subject(row.id_type, row.id), row.role) for row in material.subjects),
        sha256=bytes.fromhex(version.sha256),
        sm3=bytes.fromhex(version.sm3) if version.sm3 else None,
        size_bytes=None if version.asserted else version.size_bytes,
        media_type=version.media_type,
        document_no=material.document_no,
        case_no=material.case_no,
        issued_on=date.fromisoformat(version.issued_on) if version.issued_on else None,
        expires_on=date.fromisoformat(version.expires_on) if version.expires_on else None,
        asserted=version.asserted,
        replaces=version.version > 1,
    )


def _store(node: Node, material: rows.MaterialRow, version: rows.VersionRow, sealed: Sealed) -> None:
    held = unlock(node, version)
    about = f"{version.material_id}.{version.version}".encode()
    epoch, kek = node.keys.kek(material.agency)
    names = [name for name, _ in sealed.operations]
    changed = msgspec.structs.replace(
        version,
        commitment=sealed.commitment,
        wrapped_salt=wrap_key(kek, sealed.salt_key, b"salt\0" + about),
        wrapped_file_key=wrap_key(kek, held.file_key, b"file\0" + about) if held.file_key else b"",
        key_epoch=epoch,
        operation_ids=names,
        fields_json=canonical_bytes(fields_beside_rows(sealed.fields, material, version)),
    )
    lookup = rows.CommitmentRow(sealed.commitment.hex(), version.material_id, version.version)
    ops: list[Put | Delete] = [rows.VERSION.put(changed), rows.COMMITMENT.put(lookup)]
    ops += node.outbox.enqueue(sealed.operations)
    record(
        node,
        ops,
        actor=Actor(material.agency, _WORKER, ""),
        action="material.seal_again",
        object_id=about.decode(),
        outcome="sealed",
        reason="another member appended the commitment first",
    )
    node.outbox.wake()
