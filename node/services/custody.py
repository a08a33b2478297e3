"""Reach the bytes, salts and fields of a material version that this node holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from anchor.canonical import JsonValue
from node.context import Node
from node.errors import ContentMissing, KeyErased, MaterialErased
from node.services.sealing import fields_in_rows
from node.store import rows
from node.store.blobs import read_blob
from node.store.envelope import unwrap_key


@dataclass(frozen=True, slots=True)
class Held:
    """A version with its keys unwrapped; lives as long as one answer."""

    version: rows.VersionRow
    fields: dict[str, JsonValue]
    salt_key: bytes
    file_key: bytes | None


def version_by_commitment(node: Node, commitment: bytes) -> rows.VersionRow | None:
    """Return the version that this node holds under `commitment`, if it is the custodian."""
    found = rows.COMMITMENT.get(node.store, commitment.hex())
    return rows.VERSION.get(node.store, found.material_id, found.version) if found else None


def erased_commitment(node: Node, commitment: bytes) -> bool:
    """Tell whether this node has erased the material version with this commitment."""
    found = rows.COMMITMENT.get(node.store, commitment.hex())
    return found is not None and rows.ERASURE.get(node.store, found.material_id) is not None


def local_status(node: Node, commitment: bytes) -> str:
    """Return the status of the version that this node holds or has erased under a commitment, or nothing."""
    key = rows.commitment_key(commitment)
    found = node.store.get(key)
    return _local_status(node, rows.COMMITMENT.decode(key, found)) if found is not None else ""


def local_statuses(node: Node, commitments: Sequence[bytes]) -> dict[bytes, str]:
    """Return the status of each version that this node holds or has erased, by its commitment."""
    keys = [rows.commitment_key(one) for one in commitments]
    found = zip(commitments, keys, node.store.get_many(keys), strict=True)
    return {
        commitment: _local_status(node, rows.COMMITMENT.decode(key, row))
        for commitment, key, row in found
        if row is not None
    }


def _local_status(node: Node, row: rows.CommitmentRow) -> str:
    version = rows.VERSION.get(node.store, row.material_id, row.version)
    if version is not None:
        return version.status
    return "erased" if rows.ERASURE.get(node.store, row.material_id) is not None else ""


def fields_of(material: rows.MaterialRow, version: rows.VersionRow) -> dict[str, JsonValue]:
    """Return the opening fields that a version's commitment covers."""
    kept: dict[str, JsonValue] = msgspec.json.decode(version.fields_json)
    return {**fields_in_rows(material, version), **kept}


def unlock(node: Node, version: rows.VersionRow) -> Held:
    """Unwrap a version's salt key and, where bytes are held, its file key.

    Raises:
        MaterialErased: it was erased meanwhile.
        KeyErased: its key epoch was destroyed, though the row is there: it came back with an old copy of the store.
    """
    material = rows.MATERIAL.get(node.store, version.material_id)
    if material is None:
        raise MaterialErased("the material was erased on purpose")
    try:
        _, kek = node.keys.kek(material.agency, version.key_epoch)
    except KeyErased:
        # An erasure of another material has moved this row to a new epoch since it was read.
        fresh = rows.VERSION.get(node.store, version.material_id, version.version)
        if fresh is None or fresh.key_epoch == version.key_epoch:
            raise
        return unlock(node, fresh)
    about = f"{version.material_id}.{version.version}".encode()
    return Held(
        version=version,
        fields=fields_of(material, version),
        salt_key=unwrap_key(kek, version.wrapped_salt, b"salt\0" + about),
        file_key=unwrap_key(kek, version.wrapped_file_key, b"file\0" + about) if version.blob_id else None,
    )


def read(node: Node, held: Held, *, first: int = 0, last: int | None = None) -> Iterator[bytes]:
    """Yield the plain bytes `first`..`last` (inclusive; None: to the end) in pieces of at most 1 MiB.

    Raises:
        ContentMissing: the material was pushed as a digest only.
        BlobDamaged, BlobTruncated: stored bytes were altered; nothing altered is yielded.
    """
    if held.file_key is None:
        raise ContentMissing(
            "only the digest of this document was pushed", hint="ask its agency for the file"
        )
    return read_blob(node.store, held.version.blob_id, held.file_key, first=first, last=last)
