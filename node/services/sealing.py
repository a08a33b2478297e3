"""Turn a material version into what goes on chain: opening fields, commitment, one record per subject and domain.

Spec pages: docs/reference/commitment.md, docs/reference/record.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from anchor.canonical import JsonValue
from anchor.commitments import Commitment, commit, new_salt_key
from anchor.outbox_rows import AppendOperation, Operation
from anchor.records import Flag, MaterialRecord, Stream, encode_record
from anchor.tags import ZERO_TAG, DomainKeys, Tag
from node.context import Node
from node.errors import DomainKeyMissing, IssuersTooMany
from node.store import rows
from verifier.catalog import MaterialType
from verifier.receiptforms import MAX_DOCUMENTS, render_places
from verifier.subjects import Subject


@dataclass(frozen=True, slots=True)
class Draft:
    """A checked material version that is not yet committed to."""

    material_id: str
    version: int
    kind: MaterialType
    agency: str
    subjects: tuple[tuple[Subject, str], ...]
    sha256: bytes
    sm3: bytes | None
    size_bytes: int | None
    media_type: str
    document_no: str
    case_no: str
    issued_on: date | None
    expires_on: date | None
    asserted: bool
    replaces: bool


@dataclass(frozen=True, slots=True)
class Sealed:
    """A draft with its commitment and the operations that anchor it."""

    fields: dict[str, JsonValue]
    salt_key: bytes
    commitment: Commitment
    operations: tuple[tuple[str, Operation], ...]


def document_slots(draft: Draft, keys: Sequence[DomainKeys], issuers: Iterable[int]) -> list[JsonValue]:
    """Name the Ledger's slots in which `issuers` (members) could revoke the document; none without a number.

    They are committed to, so that who presents a receipt cannot leave one out.

    Raises:
        IssuersTooMany: more than a receipt can show.
    """
    if not draft.document_no:
        return []
    tags = [(each.domain, each.epoch, each.doc_tag(draft.kind.code, draft.document_no)) for each in keys]
    places = [(member, *tag) for member in issuers for tag in tags]
    if len(places) > MAX_DOCUMENTS:
        raise IssuersTooMany(
            "more members may revoke documents of this type than a receipt can show",
            hint="give the type fewer issuers or domains",
            limit=MAX_DOCUMENTS,
            got=len(places),
        )
    return render_places(places)


def opening_fields(draft: Draft, custodian: int, slots: Sequence[JsonValue]) -> dict[str, JsonValue]:
    """List every field that the commitment covers; absent values are null so that the shape tells nothing."""
    return {
        "agency": draft.agency,
        "asserted": draft.asserted,
        "caseNo": draft.case_no,
        "custodian": custodian,
        "documentNo": draft.document_no or None,
        "documentSlots": slots,
        "expiresOn": draft.expires_on.isoformat() if draft.expires_on else None,
        "issuedOn": draft.issued_on.isoformat() if draft.issued_on else None,
        "level": draft.kind.level,
        "materialId": draft.material_id,
        "mediaType": draft.media_type,
        "sha256": draft.sha256.hex(),
        "shareType": draft.kind.share_type,
        "size": draft.size_bytes,
        "sm3": draft.sm3.hex() if draft.sm3 else None,
        "subjects": [
            {"id": subject.id, "idType": subject.id_type, "role": role} for subject, role in draft.subjects
        ],
        "typeCode": draft.kind.code,
        "version": draft.version,
    }


def fields_in_rows(material: rows.MaterialRow, version: rows.VersionRow) -> dict[str, JsonValue]:
    """List the opening fields that the rows of a material's newest version tell: all but custodian and slots."""
    return {
        "agency": material.agency,
        "asserted": version.asserted,
        "caseNo": material.case_no,
        "documentNo": material.document_no or None,
        "expiresOn": version.expires_on or None,
        "issuedOn": version.issued_on or None,
        "level": material.level,
        "materialId": material.material_id,
        "mediaType": version.media_type,
        "sha256": version.sha256,
        "shareType": material.share_type,
        "size": None if version.asserted else version.size_bytes,
        "sm3": version.sm3 or None,
        "subjects": [{"id": one.id, "idType": one.id_type, "role": one.role} for one in material.subjects],
        "typeCode": material.type_code,
        "version": version.version,
    }


def fields_beside_rows(
    fields: Mapping[str, JsonValue], material: rows.MaterialRow, version: rows.VersionRow
) -> dict[str, JsonValue]:
    """Return those of `fields` that `fields_in_rows` does not give: what a version's row has to keep of them."""
    known = fields_in_rows(material, version)
    return {name: value for name, value in fields.items() if name not in known or known[name] != value}


def sealing_keys(node: Node, domains: Sequence[int]) -> list[DomainKeys]:
    """Return the newest epoch's keys of each domain.

    Raises:
        DomainKeyMissing: this node has no key of a domain that the type's entry names.
    """
    found = []
    for domain in domains:
        keys = node.keyring.newest(domain)
        if keys is None:
            raise DomainKeyMissing(
                "this node holds no key of a domain that the type's entry names",
                hint="ask the council to publish the epoch key to this member",
                domain=domain,
            )
        found.append(keys)
    return found


def seal(node: Node, draft: Draft, *, attempt: str = "") -> Sealed:
    """Commit to `draft` with fresh salts and encode its records; `attempt` tells a second sealing's operations apart.

    Raises:
        DomainKeyMissing, IssuersTooMany: see `sealing_keys`, `document_slots`.
    """
    domain_keys = sealing_keys(node, draft.kind.domains)
    slots = document_slots(draft, domain_keys, node.catalog.issuer_members(draft.kind.code))
    fields = opening_fields(draft, node.chain.member_id, slots)
    salt_key = new_salt_key()
    commitment = commit(fields, salt_key)
    operations: list[tuple[str, Operation]] = []
    for keys in domain_keys:
        for line, subject_tag in enumerate(_subject_tags(draft, keys)):
            record = _record(draft, commitment, keys, line, subject_tag)
            about = attempt or f"{draft.material_id}.{draft.version}"
            name = f"{about}.{keys.domain}.{line}"
            operations.append((name, AppendOperation(Stream.MATERIAL, encode_record(record, keys))))
    return Sealed(fields, salt_key, commitment, tuple(operations))


def _subject_tags(draft: Draft, keys: DomainKeys) -> list[Tag]:
    if not draft.kind.indexed:
        return [ZERO_TAG]  # found by asking the issuer; one record says that it exists
    return [keys.subject_tag(subject.id_type, subject.id, draft.kind.code) for subject, _ in draft.subjects]


def _record(
    draft: Draft, commitment: Commitment, keys: DomainKeys, line: int, subject_tag: Tag
) -> MaterialRecord:
    flags = Flag.ASSERTED if draft.asserted else Flag.NONE
    if draft.replaces:
        flags |= Flag.REPLACES
    return MaterialRecord(
        commitment=commitment,
        domain=keys.domain,
        epoch=keys.epoch,
        line=line,
        subject_tag=subject_tag,
        content_tag=keys.content_tag(draft.sha256),
        doc_tag=keys.doc_tag(draft.kind.code, draft.document_no) if draft.document_no else ZERO_TAG,
        issued_on=draft.issued_on,
        expires_on=draft.expires_on,
        flags=flags,
    )
