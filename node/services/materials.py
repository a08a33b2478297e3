"""Take materials in, list them, act on their status.

Life of a push: the body is digested and encrypted as it arrives (`intake`), checked against what the caller
declared, committed to (`sealing`), and then one synced batch holds the material, its outbox rows, the audit entry
and the stored answer. A crash before that batch leaves orphan chunks, which the sweep at start removes; a crash
after it loses nothing.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeVar

import msgspec
from ulid import ULID

from anchor.canonical import canonical_bytes
from anchor.commitments import Commitment
from anchor.keyvalue import Delete, Put
from anchor.outbox_store import OperationStatus
from node.context import Node
from node.errors import (
    DigestMismatch,
    MaterialErased,
    MaterialInvalid,
    MaterialNotFound,
    StatusConflict,
    TypeUnknown,
)
from node.services.custody import fields_of
from node.services.intake import Received, take_small
from node.services.ledgeracts import REASONS, claim_call, parse_reason
from node.services.recording import Actor, Recorded, record, record_all
from node.services.requests import MaterialMeta, MaterialSearch, StatusAct
from node.services.sealing import Draft, Sealed, fields_beside_rows, seal
from node.store import rows
from node.store.envelope import wrap_key
from verifier.catalog import MaterialType
from verifier.subjects import Subject, parse_subject

A = TypeVar("A")
B = TypeVar("B")
ANCHOR_ORDER = ("failed", "queued", "submitted", "included", "final")


@dataclass(frozen=True, slots=True)
class MaterialView:
    """A material with one of its versions and where that version stands on chain."""

    material: rows.MaterialRow
    version: rows.VersionRow
    anchor: str
    transaction: str | None
    block: int | None
    record_ids: tuple[str, ...]
    created: bool = False


OnCommit = Callable[[MaterialView], Sequence[Put]]


@dataclass(frozen=True, slots=True)
class Push:
    """One push: bytes that were received, or (`small`) a small file as it came, or neither, a bare digest."""

    actor: Actor
    meta: MaterialMeta
    received: Received | None
    on_commit: OnCommit
    small: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Checked:
    """A push that may be stored; `lock` names what it extends, or the content if nothing holds it yet."""

    push: Push
    kind: MaterialType
    subjects: tuple[tuple[Subject, str], ...]
    received: Received | None
    dedupe: str
    lock: str


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A material as it will be, and the rows that make it so."""

    view: MaterialView
    recorded: Recorded


def accept(node: Node, push: Push) -> MaterialView:
    """Make a received file (or a bare digest) a material of the caller's agency.

    The same bytes, subjects, type and dates from the same agency answer with the material that is there; other
    dates, or `replaces`, make a new version that supersedes the old one.

    Raises:
        TypeUnknown, MaterialInvalid, SubjectInvalid, DigestMismatch, MaterialNotFound, StatusConflict,
        DomainKeyMissing. Nothing is stored then.
    """
    found = accept_all(node, [push])[0]
    if isinstance(found, Exception):
        raise found
    return found


def accept_all(node: Node, pushes: Sequence[Push]) -> list[MaterialView | Exception]:
    """Accept several pushes in as few batches as can be; what one of them raises is its own result.

    Pushes of the same material follow one another, each in a batch of its own.
    """
    results: dict[int, MaterialView | Exception] = {}
    waiting = list(range(len(pushes)))
    while waiting:
        with node.epochs.share():
            waiting = _accept_round(node, pushes, waiting, results)
    node.outbox.wake()
    return [results[number] for number in range(len(pushes))]


def _accept_round(
    node: Node, pushes: Sequence[Push], waiting: Sequence[int], results: dict[int, MaterialView | Exception]
) -> list[int]:
    """Store what can go into one batch; return those that wait for the outcome of others."""
    chosen: dict[str, tuple[int, _Checked]] = {}
    later: list[int] = []
    for number in waiting:
        checked = _try(lambda push: _check(node, push), pushes[number])
        if isinstance(checked, Exception):
            results[number] = checked
        elif checked.lock in chosen:
            later.append(number)
        else:
            chosen[checked.lock] = number, checked
    with node.locks.hold_all(chosen):
        prepared: dict[int, _Prepared] = {}
        for number, checked in chosen.values():
            found = _try(lambda one: _prepare(node, one), checked)
            if found is None:
                later.append(number)
            elif isinstance(found, _Prepared):
                prepared[number] = found
            else:
                results[number] = found
        written = _try(lambda writes: record_all(node, writes), [one.recorded for one in prepared.values()])
        for number, one in prepared.items():
            results[number] = copy(written) if isinstance(written, Exception) else one.view
    return later


def _try(step: Callable[[A], B], argument: A) -> B | Exception:
    """Return what a step raises: it concerns one push, and the others of its group go on."""
    try:
        return step(argument)
    except Exception as error:  # noqa: BLE001 - raised again where the push is answered
        return error


def _check(node: Node, push: Push) -> _Checked:
    meta = push.meta
    kind = material_type(node, meta.type_code)
    subjects = _subjects(node, meta, kind)
    received = push.received if push.small is None else take_small(node, push.small)
    _check_digest(meta, received)
    dedupe = _dedupe_key(node, push.actor.agency, meta, subjects, asserted=received is None)
    known = rows.DEDUPE.get(node.store, dedupe) if meta.replaces is None else None
    lock = meta.replaces or (known.material_id if known else dedupe)
    return _Checked(push, kind, subjects, received, dedupe, lock)


def _prepare(node: Node, checked: _Checked) -> _Prepared | MaterialView | None:
    """Return the rows of a push, or what holds it already; None if it has to be looked at again.

    Call it under the lock of what it extends.
    """
    push = checked.push
    held = _held(node, push.actor, push.meta, checked.dedupe)
    if push.meta.replaces is None and (held is None) != (checked.lock == checked.dedupe):
        return None  # another push of the same bytes came first, or what held them has gone
    if held and _same_dates(held.version, push.meta):
        return held
    draft = _draft(node, push, checked, held)
    return _rows_of(node, checked, draft, held)


def material_type(node: Node, code: str) -> MaterialType:
    """Return the live entry of a material type.

    Raises:
        TypeUnknown: no approved entry on chain has this code.
    """
    kind = node.catalog.material_type(code)
    if kind is None:
        raise TypeUnknown(
            "no approved material type has this code",
            hint="list the types with `deltaseal catalog list materialType`",
        )
    return kind


def _subjects(node: Node, meta: MaterialMeta, kind: MaterialType) -> tuple[tuple[Subject, str], ...]:
    today = node.now().date()
    subjects = tuple((parse_subject(s.id_type, s.id, today=today), s.role) for s in meta.subjects)
    if any(subject.id_type not in kind.subject_kinds for subject, _ in subjects):
        raise MaterialInvalid(
            "this type is not about subjects of that kind", pointer="/subjects", reason="subject_kind"
        )
    if len({subject for subject, _ in subjects}) != len(subjects):
        raise MaterialInvalid("a subject is named twice", pointer="/subjects", reason="duplicate")
    return subjects


def _check_digest(meta: MaterialMeta, received: Received | None) -> None:
    if received is not None and received.digests.sha256.hex() != meta.sha256:
        raise DigestMismatch(
            "the bytes that arrived do not have the declared sha256",
            hint="the file changed or was damaged on its way; hash it again and push it again",
        )


def _dates(meta: MaterialMeta, kind: MaterialType) -> tuple[date | None, date | None]:
    try:
        issued = date.fromisoformat(meta.issued_on) if meta.issued_on else None
        expires = date.fromisoformat(meta.expires_on) if meta.expires_on else None
    except ValueError:
        raise MaterialInvalid("a date does not exist", pointer="/issuedOn", reason="date") from None
    for moment in (issued, expires):
        if moment and not date(1970, 1, 2) <= moment <= date(2999, 12, 31):
            raise MaterialInvalid(
                "a date lies outside 1970-01-02..2999-12-31", pointer="/issuedOn", reason="range"
            )
    if issued and expires and expires <= issued:
        raise MaterialInvalid("it would expire before it is issued", pointer="/expiresOn", reason="order")
    if kind.consume_once and not meta.document_no:
        raise MaterialInvalid(
            "a type that counts once needs its document number", pointer="/documentNo", reason="required"
        )
    return issued, expires


def _dedupe_key(
    node: Node,
    agency: str,
    meta: MaterialMeta,
    subjects: Sequence[tuple[Subject, str]],
    *,
    asserted: bool,
) -> str:
    return _dedupe_digest(
        node,
        agency,
        meta.sha256,
        subjects,
        type_code=meta.type_code,
        document_no=meta.document_no or "",
        asserted=asserted,
    )


def _dedupe_digest(
    node: Node,
    agency: str,
    sha256: str,
    subjects: Sequence[tuple[Subject, str]],
    *,
    type_code: str,
    document_no: str,
    asserted: bool,
) -> str:
    """Name what makes two pushes the same, in hex: only the holder of the lookup key can compute it."""
    about = sorted([subject.id_type, subject.id, role] for subject, role in subjects)
    same = canonical_bytes([agency, sha256, about, type_code, document_no, asserted])
    return hmac.new(node.keys.lookup_key(), same, hashlib.sha256).hexdigest()


def lookups_of(node: Node, material: rows.MaterialRow, version: rows.VersionRow) -> list[Delete]:
    """List the deletion of what leads to a material by a version's subjects and by its bytes."""
    fields: dict[str, Any] = fields_of(material, version)
    subjects = [(Subject(one["idType"], one["id"]), one["role"]) for one in fields["subjects"]]
    same = _dedupe_digest(
        node,
        material.agency,
        version.sha256,
        subjects,
        type_code=material.type_code,
        document_no=fields["documentNo"] or "",
        asserted=version.asserted,
    )
    row = rows.DEDUPE.get(node.store, same)
    # The same bytes may have come as a material of their own before.
    ours = row is not None and row.material_id == material.material_id
    found = [rows.DEDUPE.delete(same)] if ours else []
    return found + _unfound(node, material, [subject for subject, _ in subjects])


def _unfound(node: Node, material: rows.MaterialRow, subjects: Sequence[Subject]) -> list[Delete]:
    """Let nobody find a material by these subjects."""
    return [
        rows.BY_SUBJECT.delete(subject_digest(node, material.agency, one), material.material_id)
        for one in subjects
    ]


def subject_digest(node: Node, agency: str, subject: Subject) -> str:
    """Name a subject in row keys without its id: only the holder of the lookup key can compute it."""
    about = canonical_bytes([agency, subject.id_type, subject.id])
    return hmac.new(node.keys.lookup_key(), about, hashlib.sha256).hexdigest()


def _held(node: Node, actor: Actor, meta: MaterialMeta, dedupe: str) -> MaterialView | None:
    """Return the material to extend: the one to replace, or the one that holds the same bytes already.

    Raises:
        StatusConflict: these bytes are an older version with other dates; to bring them back is to replace.
    """
    if meta.replaces is not None:
        return get(node, actor, meta.replaces)
    row = rows.DEDUPE.get(node.store, dedupe)
    if row is None:
        return None
    newest = get(node, actor, row.material_id)
    if newest.version.sha256 == meta.sha256:
        return newest
    same = [one for one in versions(node, row.material_id) if _same_dates(one, meta)]
    if not same:
        raise StatusConflict(
            "these bytes were replaced by a newer version",
            hint="to make them the newest again, push them with `replaces`",
            status="superseded",
        )
    return view_of(node, newest.material, same[-1])


def _same_dates(version: rows.VersionRow, meta: MaterialMeta) -> bool:
    same_file = version.sha256 == meta.sha256
    return same_file and (version.issued_on, version.expires_on) == (
        meta.issued_on or "",
        meta.expires_on or "",
    )


def _draft(node: Node, push: Push, checked: _Checked, held: MaterialView | None) -> Draft:
    meta, kind, received = push.meta, checked.kind, checked.received
    issued, expires = _dates(meta, kind)
    if held and held.material.type_code != kind.code:
        raise MaterialInvalid("a new version must be of the same type", pointer="/typeCode", reason="changed")
    if held and held.version.status not in ("active", "suspended"):
        raise StatusConflict("a revoked or erased material takes no new version", status=held.version.status)
    return Draft(
        material_id=held.material.material_id if held else f"mat_{ULID()}",
        version=held.version.version + 1 if held else 1,
        kind=kind,
        agency=push.actor.agency,
        subjects=checked.subjects,
        sha256=bytes.fromhex(meta.sha256),
        sm3=received.digests.sm3 if received else None,
        size_bytes=received.digests.size_bytes if received else None,
        media_type=meta.media_type or "application/octet-stream",
        document_no=meta.document_no or "",
        case_no=meta.case_no,
        issued_on=issued,
        expires_on=expires,
        asserted=received is None,
        replaces=held is not None,
    )


def _rows_of(node: Node, checked: _Checked, draft: Draft, held: MaterialView | None) -> _Prepared:
    push, received = checked.push, checked.received
    sealed = seal(node, draft)
    operations = list(sealed.operations)
    ops: list[Put | Delete] = []
    if held:
        operations.append(
            (
                f"{draft.material_id}.{draft.version}.supersede",
                claim_call(node, "supersede", held.version, sealed.commitment),
            )
        )
        ops.append(rows.VERSION.put(_superseded(held)))
        present = {subject for subject, _ in draft.subjects}
        former = [Subject(one.id_type, one.id) for one in held.material.subjects]
        ops += _unfound(node, held.material, [one for one in former if one not in present])
    material = _material_row(draft, push.meta, since=held.material.created_at if held else node.clock())
    version = _version_row(node, push.meta, draft, sealed, received, [name for name, _ in operations])
    kept = canonical_bytes(fields_beside_rows(sealed.fields, material, version))
    version = msgspec.structs.replace(version, fields_json=kept)
    view = MaterialView(material, version, "queued", None, None, (), created=True)
    ops += [rows.MATERIAL.put(material), rows.VERSION.put(version)]
    ops += _lookups(node, draft, sealed, checked.dedupe)
    ops += received.final_ops() if received else []
    ops += node.outbox.enqueue(operations)
    ops += push.on_commit(view)
    about = f"{material.material_id}.{version.version}"
    return _Prepared(view, Recorded(ops, push.actor, "material.accept", about, "accepted"))


def _material_row(draft: Draft, meta: MaterialMeta, *, since: int) -> rows.MaterialRow:
    return rows.MaterialRow(
        material_id=draft.material_id,
        agency=draft.agency,
        type_code=draft.kind.code,
        title=meta.title,
        subjects=[rows.SubjectRow(subject.id_type, subject.id, role) for subject, role in draft.subjects],
        document_no=draft.document_no,
        case_no=draft.case_no,
        latest_version=draft.version,
        created_at=since,
        level=draft.kind.level,
        share_type=draft.kind.share_type,
    )


def _version_row(
    node: Node,
    meta: MaterialMeta,
    draft: Draft,
    sealed: Sealed,
    received: Received | None,
    operation_ids: list[str],
) -> rows.VersionRow:
    epoch, kek = node.keys.kek(draft.agency)
    about = f"{draft.material_id}.{draft.version}".encode()
    return rows.VersionRow(
        material_id=draft.material_id,
        version=draft.version,
        sha256=meta.sha256,
        sm3=draft.sm3.hex() if draft.sm3 else "",
        size_bytes=draft.size_bytes or 0,
        media_type=draft.media_type,
        file_name=meta.file_name or "",
        issued_on=meta.issued_on or "",
        expires_on=meta.expires_on or "",
        asserted=draft.asserted,
        blob_id=received.blob_id if received else "",
        wrapped_file_key=wrap_key(kek, received.file_key, b"file\0" + about) if received else b"",
        wrapped_salt=wrap_key(kek, sealed.salt_key, b"salt\0" + about),
        key_epoch=epoch,
        commitment=sealed.commitment,
        operation_ids=operation_ids,
        created_at=node.clock(),
        status="active",
        status_reason="",
        fields_json=b"",
    )


def _superseded(held: MaterialView) -> rows.VersionRow:
    """Return the row of a version that is no longer the newest; the material's row will tell of another one."""
    fields = canonical_bytes(fields_of(held.material, held.version))
    return msgspec.structs.replace(held.version, status="superseded", fields_json=fields)


def _lookups(node: Node, draft: Draft, sealed: Sealed, dedupe: str) -> list[Put]:
    name = draft.material_id
    found = [
        rows.COMMITMENT.put(rows.CommitmentRow(sealed.commitment.hex(), name, draft.version)),
        rows.UNCONFIRMED.put(rows.UnconfirmedRow(name, draft.version)),
    ]
    found += [
        rows.BY_SUBJECT.put(rows.SubjectLookupRow(subject_digest(node, draft.agency, subject), name))
        for subject, _ in draft.subjects
    ]
    # A first version is one because nothing was held under these bytes.
    if draft.version == 1 or rows.DEDUPE.get(node.store, dedupe) is None:
        found.append(rows.DEDUPE.put(rows.DedupeRow(dedupe, name)))
    if draft.version == 1:
        found.append(rows.BY_AGENCY.put(rows.AgencyLookupRow(draft.agency, name)))
    return found


def view_of(node: Node, material: rows.MaterialRow, version: rows.VersionRow) -> MaterialView:
    """Add to a version where its records stand on chain: as far as the slowest of them."""
    known = [node.outbox.status_of(name) for name in version.operation_ids if not name.endswith(".supersede")]
    statuses: list[OperationStatus] = [status for status in known if status is not None]
    if not statuses:
        return MaterialView(material, version, "queued", None, None, ())
    slowest = min(statuses, key=lambda status: ANCHOR_ORDER.index(status.state))
    claim = node.index.claim(Commitment(version.commitment))
    found = [node.index.record_id(*position) for position in claim.positions] if claim else []
    ids = tuple(record_id.hex() for record_id in found if record_id is not None)
    transaction = "0x" + slowest.transaction_hash.hex() if slowest.transaction_hash else None
    return MaterialView(material, version, slowest.state, transaction, slowest.block_number, ids)


def get(node: Node, actor: Actor, material_id: str, version: int | None = None) -> MaterialView:
    """Return a material of the caller's agency, its newest version unless one is named.

    Raises:
        MaterialNotFound: there is none, or it is another agency's; the two answer alike.
        MaterialErased: this agency has erased it.
    """
    material = rows.MATERIAL.get(node.store, material_id)
    if material is None or material.agency != actor.agency:
        erased = rows.ERASURE.get(node.store, material_id)
        if erased is not None and erased.agency == actor.agency:
            raise MaterialErased(
                "the material was erased on purpose",
                hint="see `deltaseal material erasure` for its tombstone",
            )
        raise MaterialNotFound(
            "this agency holds no such material", hint="list its materials with `deltaseal material list`"
        )
    row = rows.VERSION.get(node.store, material_id, version or material.latest_version)
    if row is None:
        raise MaterialNotFound(
            "the material has no such version", hint="leave the version out for the newest one"
        )
    return view_of(node, material, row)


def versions(node: Node, material_id: str) -> list[rows.VersionRow]:
    """List all versions of a material, oldest first."""
    return list(rows.VERSION.scan(node.store, material_id))


def list_materials(
    node: Node, actor: Actor, *, after: str, limit: int, type_code: str | None = None
) -> Iterator[MaterialView]:
    """Walk the caller's materials from the newest on, beginning below `after` ("" for the top)."""
    taken = 0
    for row in rows.BY_AGENCY.scan(node.store, actor.agency, before=after, reverse=True):
        material = rows.MATERIAL.get(node.store, row.material_id)
        if material is None or (type_code and material.type_code != type_code):
            continue
        yield get(node, actor, row.material_id)
        taken += 1
        if taken == limit:
            return


def search(node: Node, actor: Actor, query: MaterialSearch) -> list[MaterialView]:
    """Find the caller's materials about one subject, newest first."""
    subject = parse_subject(query.subject.id_type, query.subject.id, today=node.now().date())
    digest = subject_digest(node, actor.agency, subject)
    names = {row.material_id for row in rows.BY_SUBJECT.scan(node.store, digest)}
    found = [get(node, actor, name) for name in sorted(names, reverse=True)]
    return [view for view in found if query.type_code in (None, view.material.type_code)]


STATUS_MOVES = {
    "revoke": (("active", "suspended"), "revoked"),
    "suspend": (("active",), "suspended"),
    "resume": (("suspended",), "active"),
}


def act(
    node: Node, actor: Actor, material_id: str, verb: str, body: StatusAct, *, on_commit: OnCommit
) -> tuple[MaterialView, str]:
    """Revoke, suspend or resume the newest version: at once here, on chain as soon as it is mined.

    Returns the material and the id of the operation that carries the act to the chain.

    Raises:
        MaterialNotFound, StatusConflict (the move is not allowed from where it stands), MaterialInvalid (reason).
    """
    reason = parse_reason(body.reason_code)
    with node.epochs.share(), node.locks.hold(material_id):
        view = get(node, actor, material_id)
        allowed, target = STATUS_MOVES[verb]
        if view.version.status not in allowed:
            raise StatusConflict(
                f"a material that is {view.version.status} cannot be moved by {verb}",
                status=view.version.status,
            )
        name = f"act.{ULID()}"
        changed = msgspec.structs.replace(
            view.version,
            status=target,
            status_reason=REASONS.get(reason, str(reason)),
        )
        after = view_of(node, view.material, changed)
        ops = [
            rows.VERSION.put(changed),
            *node.outbox.enqueue([(name, claim_call(node, verb, changed, reason))]),
        ]
        ops += on_commit(after)
        record(
            node,
            ops,
            actor=actor,
            action=f"material.{verb}",
            object_id=f"{material_id}.{changed.version}",
            outcome=target,
            reason=body.reason,
        )
    node.outbox.wake()
    return after, name
