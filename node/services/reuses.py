"""Decide whether a document that another agency holds may be used here, fetch it, and keep the evidence.

Life of a reuse:
(1) gather what the catalogue and the index say, (2) decide without the custodian, (3) if only the release is open,
ask the custodian, who decides again by itself, (4) if only the single use is open, store the intent, queue the
consumption and answer `pending`; `pending.finish_once` goes on when it is final, (5) decide for good and write one
synced batch: the decision, its REUSE record for the outbox, the audit entry and the stored answer.
A custodian that cannot be reached is an error, not an outcome: nothing is recorded and a retry starts again.

Spec page: docs/reference/decision.md.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from ulid import ULID

from anchor.canonical import JsonValue, canonical_bytes
from anchor.commitments import Commitment, commit, new_salt_key
from anchor.envelopes import RecipientKey
from anchor.keyvalue import Delete, Put
from anchor.outbox_rows import AppendOperation
from anchor.records import ReuseRecord, Stream, encode_record
from node.context import CHINA, Node
from node.errors import (
    ContentMissing,
    DomainKeyMissing,
    KeyErased,
    MaterialErased,
    PeerUnavailable,
    ReleaseBroken,
    ReleaseRefused,
    ReuseNotFound,
)
from node.federation.client import request_release
from node.federation.messages import ReleaseRequest, encode_base64
from node.services import custody
from node.services.ledgeracts import consume_call
from node.services.recording import Actor, record
from node.services.requests import ReuseRequest
from node.services.verifying import moment_of, subject_of, with_local_acts
from node.store import rows
from node.store.blobs import BlobWriter
from node.store.envelope import unwrap_key, wrap_key
from verifier.decisions import (
    ConsumeState,
    Decision,
    DecisionOutcome,
    Deliver,
    InclusionState,
    ReleaseState,
    ReuseFacts,
    decide,
)
from verifier.index import Claim
from verifier.proofs.errors import ProofError
from verifier.proofs.inclusion import verify_inclusion
from verifier.subjects import Subject
from verifier.verdicts import Question, SubjectMatch, Verdict, VerdictKind

REQUEST_LIFE_S = 120
# What a reader of the decision may see of the document: nothing that names a person, a case or another agency's file.
FACTS = (
    "typeCode",
    "agency",
    "documentNo",
    "issuedOn",
    "expiresOn",
    "level",
    "sha256",
    "size",
    "mediaType",
    "asserted",
    "version",
)


@dataclass(slots=True)
class Evidence:
    """What step (3) brought: opened fields and, with `deliver: bytes`, a blob under a fresh key."""

    fields: Mapping[str, JsonValue]
    writer: BlobWriter | None = None
    blob_id: str = ""
    file_key: bytes = b""


@dataclass(frozen=True, slots=True)
class Gathered:
    """The request with what this node knows about it."""

    facts: ReuseFacts
    subject: Subject

    @property
    def claim(self) -> Claim:
        claim = self.facts.claim
        assert claim is not None, "asked only after the check `found` passed"  # noqa: S101
        return claim


OnCommit = Callable[[rows.ReuseRow], Sequence[Put]]


def request_reuse(node: Node, actor: Actor, body: ReuseRequest, *, on_commit: OnCommit) -> rows.ReuseRow:
    """Decide about a use and return its row; the outcome `pending` has a job that goes on.

    Raises:
        SubjectInvalid: the subject's id is wrong.
        PeerUnavailable: the custodian cannot be asked now; nothing is recorded.
        DomainKeyMissing: this node cannot write the record, or lacks the consume key.
        MaterialErased: this node's own document was erased meanwhile.
    """
    subject = subject_of(node, body.subject)
    gathered = gather(node, actor.agency, body, subject)
    decision = decide(gathered.facts)
    evidence = None
    if decision.code in ("release_pending", "consume_unconfirmed"):
        gathered, evidence = _obtain(node, actor, body, gathered)
        decision = decide(gathered.facts)
    try:
        with node.epochs.share():
            _require_not_erased(node, gathered, decision)
            if decision.code == "consume_unconfirmed" and evidence is not None:
                return _consume(node, actor, body, gathered, evidence, on_commit)
            row = new_row(node, actor, body, gathered, decision, evidence)
            return conclude(node, actor, row, gathered, decision, evidence, on_commit)
    except BaseException:
        if evidence is not None and evidence.writer is not None:
            evidence.writer.abort()
        raise


def _require_not_erased(node: Node, gathered: Gathered, decision: Decision) -> None:
    """Refuse to conclude in favour of a document of ours that was erased since the facts were gathered."""
    favourable = decision.outcome in (DecisionOutcome.GRANTED, DecisionOutcome.PENDING)
    if favourable and custody.erased_commitment(node, gathered.claim.commitment):
        raise MaterialErased("the document was erased while its use was decided", hint="ask again")


def gather(
    node: Node, agency: str, body: ReuseRequest, subject: Subject, commitment: Commitment | None = None
) -> Gathered:
    """Step (1): collect every fact that the checks read, from the catalogue and the index alone."""
    matter = node.catalog.matter(body.matter_code)
    requirement = matter.requirement(body.req_id) if matter else None
    types = [body.type_code] if body.type_code else list(requirement.any_of if requirement else ())
    type_code, verdict = _best(node, body, subject, types, commitment)
    member = node.index.member(node.chain.member_id)
    now = node.now()
    consuming = body.consume or bool(requirement and requirement.consume)
    own = (
        verdict is not None and verdict.claim is not None and verdict.claim.member_id == node.chain.member_id
    )
    facts = ReuseFacts(
        member_id=node.chain.member_id,
        member_active=member is not None and member.is_active(node.time.latest()),
        agency=node.catalog.agency(agency),
        matter=matter,
        req_id=body.req_id,
        type_code=type_code,
        material_type=node.catalog.material_type(type_code),
        scenario=node.catalog.scenario(body.scenario_code),
        basis=body.basis.kind if body.basis else "",
        purpose=body.purpose,
        deliver=Deliver(body.deliver),
        today=now.astimezone(CHINA).date(),
        verdict=verdict,
        inclusion=_inclusion(node, verdict.claim) if verdict.claim else InclusionState.UNCHECKED,
        consume_state=ConsumeState.UNCONFIRMED if consuming else ConsumeState.NOT_NEEDED,
        release_state=ReleaseState.NOT_NEEDED if own or body.deliver == "none" else ReleaseState.WAITING,
    )
    return Gathered(facts, subject)


def _best(
    node: Node, body: ReuseRequest, subject: Subject, types: Sequence[str], commitment: Commitment | None
) -> tuple[str, Verdict]:
    """Choose among all claims of all types that the requirement takes: a usable one first, in the types' order."""
    found: list[tuple[str, Verdict]] = []
    for type_code in types:
        # A firm may have thousands of papers of a type; the file in hand, if any, leads to its own at once.
        digest = bytes.fromhex(body.sha256) if body.sha256 and commitment is None else None
        question = Question(sha256=digest, type_code=type_code, subject=subject, commitment=commitment)
        (judged,) = moment_of(node).judge_claims([question])
        found += [
            (type_code, with_local_acts(node, one)) for one in judged if _is_meant(node, body, type_code, one)
        ]
    about = [pair for pair in found if pair[1].subject_match is SubjectMatch.MATCH]
    usable = [pair for pair in about if pair[1].kind is VerdictKind.VALID]
    for group in (usable, about, found):
        if group:
            return group[0]
    nothing = _nothing_known(node, types[0] if types else None)
    return (types[0] if types else body.type_code or ""), nothing


def _nothing_known(node: Node, type_code: str | None) -> Verdict:
    """Judge the absence too: while the chain's state is unknown, "not found" would be a claim.

    Without the subject, who may have other documents of the type: none of them is the one that was asked for.
    """
    return moment_of(node).judge(Question(sha256=None, type_code=type_code))


def _is_meant(node: Node, body: ReuseRequest, type_code: str, verdict: Verdict) -> bool:
    """Keep the claims that the caller narrowed the request to, by document number or by the file in hand."""
    if verdict.claim is None:
        return False
    for one in verdict.claim.records:
        keys = node.keyring.get(one.domain, one.epoch)
        if keys is None:
            continue
        number_fits = body.document_no is None or one.doc_tag == keys.doc_tag(type_code, body.document_no)
        file_fits = body.sha256 is None or one.content_tag == keys.content_tag(bytes.fromhex(body.sha256))
        if number_fits and file_fits:
            return True
    return False


def _inclusion(node: Node, claim: Claim) -> InclusionState:
    batch_id, index = claim.positions[0]
    batch, path = node.index.batch(batch_id), node.index.inclusion(batch_id, index)
    if batch is None or path is None:
        return InclusionState.UNCHECKED
    try:
        verify_inclusion(batch.records[index], claim.member_id, index, batch.entry, path)
    except ProofError:
        return InclusionState.FAILED
    return InclusionState.PROVED


def _obtain(
    node: Node, actor: Actor, body: ReuseRequest, gathered: Gathered
) -> tuple[Gathered, Evidence | None]:
    """Step (3): get fields and bytes from the custodian, or from our own store when we are it."""
    claim = gathered.claim
    if claim.member_id == node.chain.member_id:
        version = custody.version_by_commitment(node, claim.commitment)
        if version is None:
            raise ContentMissing("this node's own record names a material that is not in its store")
        return gathered, Evidence(custody.unlock(node, version).fields)
    try:
        evidence = _ask_custodian(node, actor, body, gathered)
        state = ReleaseState.DELIVERED
    except ReleaseRefused as error:
        if error.facts.get("reason") == "stale":
            raise PeerUnavailable(
                "the custodian cannot see the chain now", hint="try again later", reason="peer_stale"
            ) from None
        evidence, state = None, ReleaseState.REFUSED
    except ReleaseBroken:
        evidence, state = None, ReleaseState.MISMATCH
    if gathered.facts.release_state is ReleaseState.NOT_NEEDED and state is ReleaseState.DELIVERED:
        state = ReleaseState.NOT_NEEDED
    return replace(gathered, facts=replace(gathered.facts, release_state=state)), evidence


def _ask_custodian(node: Node, actor: Actor, body: ReuseRequest, gathered: Gathered) -> Evidence:
    claim = gathered.claim
    custodian = node.index.member(claim.member_id)
    if custodian is None or not custodian.endpoint:
        raise PeerUnavailable("the custodian has published no endpoint", reason="no_endpoint")
    key = RecipientKey.generate()
    request = _release_request(node, actor, body, gathered, key)
    if body.deliver != "bytes":
        released = request_release(node, custodian.endpoint, request, key, into=None)
        return Evidence(released.fields)
    blob_id, file_key = f"blb_{ULID()}", secrets.token_bytes(32)
    writer = BlobWriter(node.store, blob_id, file_key)
    try:
        released = request_release(node, custodian.endpoint, request, key, into=writer)
    except BaseException:
        writer.abort()
        raise
    return Evidence(released.fields, writer, blob_id, file_key)


def _release_request(
    node: Node, actor: Actor, body: ReuseRequest, gathered: Gathered, key: RecipientKey
) -> ReleaseRequest:
    claim, type_code = gathered.claim, gathered.facts.type_code
    known = next((keys for one in claim.records if (keys := node.keyring.get(one.domain, one.epoch))), None)
    if known is None:
        raise DomainKeyMissing("this node holds no key of the record's domain")
    now = node.clock()
    return ReleaseRequest(
        requester=node.chain.member_id,
        audience=claim.member_id,
        agency=actor.agency,
        commitment=claim.commitment.hex(),
        type_code=type_code,
        subject_tag=known.subject_tag(gathered.subject.id_type, gathered.subject.id, type_code).hex(),
        matter_code=body.matter_code,
        req_id=body.req_id,
        scenario_code=body.scenario_code,
        purpose=body.purpose,
        basis="grant" if body.basis and body.basis.kind == "grant" else "duty",
        grant=bytes(32).hex(),
        case_tag=known.case_tag(body.case_no).hex(),
        deliver="bytes" if body.deliver == "bytes" else "facts",
        hpke_key=encode_base64(key.public_bytes),
        nonce=secrets.token_bytes(32).hex(),
        issued_at=now,
        expires_at=now + REQUEST_LIFE_S,
    )


def new_row(
    node: Node,
    actor: Actor,
    body: ReuseRequest,
    gathered: Gathered,
    decision: Decision,
    evidence: Evidence | None,
    reuse_id: str | None = None,
) -> rows.ReuseRow:
    """Make the row of a reuse: the request as it came, and the bytes' key wrapped for the agency."""
    reuse_id = reuse_id or f"reu_{ULID()}"
    claim = gathered.facts.claim
    epoch, kek = node.keys.kek(actor.agency)
    held = evidence is not None and bool(evidence.blob_id)
    return rows.ReuseRow(
        reuse_id=reuse_id,
        agency=actor.agency,
        case_no=body.case_no,
        matter_code=body.matter_code,
        req_id=body.req_id,
        type_code=gathered.facts.type_code,
        commitment=claim.commitment if claim else b"",
        custodian=claim.member_id if claim else 0,
        outcome=decision.outcome.value,
        decision_json=render_decision(node, gathered, decision, evidence, reuse_id),
        created_at=node.clock(),
        operation_ids=[],
        state="done",
        blob_id=evidence.blob_id if evidence else "",
        wrapped_file_key=wrap_key(kek, evidence.file_key, b"reuse\0" + reuse_id.encode())
        if held and evidence
        else b"",
        request_json=msgspec.json.encode(body),
        key_epoch=epoch,
        wrapped_salt=b"",
        fields_json=b"",
    )


def render_decision(
    node: Node, gathered: Gathered, decision: Decision, evidence: Evidence | None, reuse_id: str
) -> bytes:
    """Render what the caller sees: nothing of the document before the right to know of it is shown."""
    granted = decision.outcome is DecisionOutcome.GRANTED
    value: dict[str, Any] = {
        "reuseId": reuse_id,
        "outcome": decision.outcome.value,
        "code": decision.code or None,
        "checks": [
            {"code": one.code, "result": one.outcome.value, "detail": one.detail} for one in decision.checks
        ],
        "explain": {"zh": decision.explain_zh, "en": decision.explain_en},
    }
    if granted:
        value["material"] = _render_material(node, gathered)
    if granted and evidence is not None and gathered.facts.deliver is not Deliver.NONE:
        fields = evidence.fields
        value["facts"] = {name: fields[name] for name in FACTS if name in fields}
        if gathered.facts.deliver is Deliver.BYTES:
            value["content"] = {
                "url": f"/v1/reuses/{reuse_id}/content",
                "sha256": fields.get("sha256"),
                "size": fields.get("size"),
                "mediaType": fields.get("mediaType"),
            }
    return msgspec.json.encode(value)


def _render_material(node: Node, gathered: Gathered) -> dict[str, Any]:
    claim = gathered.claim
    member = node.index.member(claim.member_id)
    first = claim.records[0]
    return {
        "commitment": claim.commitment.hex(),
        "typeCode": gathered.facts.type_code,
        "custodian": {"memberId": claim.member_id, "name": member.name if member else ""},
        "block": claim.block_number,
        "issuedOn": first.issued_on.isoformat() if first.issued_on else None,
        "expiresOn": first.expires_on.isoformat() if first.expires_on else None,
    }


def conclude(
    node: Node,
    actor: Actor,
    row: rows.ReuseRow,
    gathered: Gathered,
    decision: Decision,
    evidence: Evidence | None,
    on_commit: OnCommit,
    also: Sequence[Put | Delete] = (),
) -> rows.ReuseRow:
    """Step (5): one synced batch with the decision; a granted one is committed to in a REUSE record."""
    ops: list[Put | Delete] = list(also)
    granted = decision.outcome is DecisionOutcome.GRANTED
    if granted:
        row, operations = _with_record(node, row, gathered)
        ops += operations
    if evidence is not None and evidence.writer is not None:
        if granted:
            ops += evidence.writer.finish_ops()
        else:
            evidence.writer.abort()
            row = msgspec.structs.replace(row, blob_id="", wrapped_file_key=b"")
    ops += [rows.REUSE.put(row), *on_commit(row)]
    record(
        node,
        ops,
        actor=actor,
        action="reuse.decide",
        object_id=row.reuse_id,
        outcome=decision.outcome.value,
        reason=decision.code,
    )
    if rows.NOTICE_IN.get(node.store, row.custodian, row.commitment) is not None:
        # The custodian erased it while this was decided: the worker looks at the copies again.
        node.waiting.received.add((row.custodian, row.commitment))
    node.outbox.wake()
    return row


def _with_record(node: Node, row: rows.ReuseRow, gathered: Gathered) -> tuple[rows.ReuseRow, list[Put]]:
    claim = gathered.claim
    keys = node.keyring.newest(claim.records[0].domain)
    if keys is None:
        raise DomainKeyMissing("this node holds no key of the record's domain")
    fields = _decision_fields(row, gathered)
    salt_key = new_salt_key()
    commitment = commit(fields, salt_key)
    entry = ReuseRecord(
        commitment=commitment,
        domain=keys.domain,
        epoch=keys.epoch,
        line=0,
        material_tag=keys.material_tag(claim.commitment),
        case_tag=keys.case_tag(row.case_no),
        party_tag=keys.party_tag(row.agency),
        decided_on=gathered.facts.today,
    )
    name = f"{row.reuse_id}.record"
    operations = node.outbox.enqueue([(name, AppendOperation(Stream.REUSE, encode_record(entry, keys)))])
    _, kek = node.keys.kek(row.agency, row.key_epoch)
    changed = msgspec.structs.replace(
        row,
        operation_ids=[*row.operation_ids, name],
        wrapped_salt=wrap_key(kek, salt_key, b"reuse salt\0" + row.reuse_id.encode()),
        fields_json=canonical_bytes(fields),
    )
    return changed, operations


def _decision_fields(row: rows.ReuseRow, gathered: Gathered) -> dict[str, JsonValue]:
    facts = gathered.facts
    return {
        "agency": row.agency,
        "basis": facts.basis,
        "caseNo": row.case_no,
        "custodian": row.custodian,
        "decidedOn": facts.today.isoformat(),
        "deliver": facts.deliver.value,
        "material": row.commitment.hex(),
        "matterCode": row.matter_code,
        "outcome": row.outcome,
        "purpose": facts.purpose,
        "reqId": row.req_id,
        "reuseId": row.reuse_id,
        "scenarioCode": facts.scenario.code if facts.scenario else None,
        "typeCode": row.type_code,
    }


def nullifier_of(node: Node, gathered: Gathered, fields: Mapping[str, JsonValue]) -> bytes:
    """Return the key of the thing that counts once: type, document number and fund under the consume key.

    Raises:
        DomainKeyMissing: this node has no consume key of the type's domain.
    """
    kind, matter = gathered.facts.material_type, gathered.facts.matter
    domain = (kind.consume_domain if kind else None) or (kind.domains[0] if kind else 0)
    key = node.keyring.consume_key(domain)
    if key is None:
        raise DomainKeyMissing(
            "this node has no consume key of the type's domain", hint="ask the council for it"
        )
    requirement = matter.requirement(gathered.facts.req_id) if matter else None
    fund = (requirement.fund if requirement else None) or gathered.facts.req_id
    return key.nullifier(gathered.facts.type_code, str(fields.get("documentNo") or ""), fund)


def use_commitment(reuse_id: str, agency: str, case_no: str, salt_key: bytes) -> bytes:
    """Return what the chain holds as the use: opaque, and the same for a retry of the same reuse."""
    about = canonical_bytes([reuse_id, agency, case_no])
    return hashlib.sha256(b"deltaseal/v1 use\x00" + salt_key + about).digest()


def _consume(
    node: Node, actor: Actor, body: ReuseRequest, gathered: Gathered, evidence: Evidence, on_commit: OnCommit
) -> rows.ReuseRow:
    """Step (4): refuse what is taken, else store the intent with its consumption and leave the rest to the worker."""
    nullifier = nullifier_of(node, gathered, evidence.fields)
    taken = node.index.consumption(nullifier)
    if taken is not None:
        facts = replace(gathered.facts, consume_state=ConsumeState.TAKEN)
        gathered = replace(gathered, facts=facts)
        decision = decide(facts)
        return conclude(
            node,
            actor,
            new_row(node, actor, body, gathered, decision, evidence),
            gathered,
            decision,
            evidence,
            on_commit,
        )
    decision = decide(gathered.facts)
    row = new_row(node, actor, body, gathered, decision, evidence)
    salt_key = new_salt_key()
    use = use_commitment(row.reuse_id, row.agency, row.case_no, salt_key)
    name = f"{row.reuse_id}.consume"
    _, kek = node.keys.kek(row.agency, row.key_epoch)
    row = msgspec.structs.replace(
        row,
        state="consuming",
        operation_ids=[name],
        wrapped_salt=wrap_key(kek, salt_key, b"use\0" + row.reuse_id.encode()),
        fields_json=canonical_bytes({"nullifier": nullifier.hex(), "fields": dict(evidence.fields)}),
    )
    job = rows.JobRow(
        job_id=job_id_of(row.reuse_id),
        agency=row.agency,
        kind="reuse",
        status="running",
        progress_done=0,
        progress_total=1,
        unit="decision",
        result_url=f"/v1/reuses/{row.reuse_id}",
        problem_json=b"",
        created_at=node.clock(),
        updated_at=node.clock(),
    )
    waiting = rows.WaitingRow(row.reuse_id, row.created_at)
    ops: list[Put | Delete] = [rows.REUSE.put(row), rows.JOB.put(job), rows.WAITING.put(waiting)]
    ops += node.outbox.enqueue([(name, consume_call(nullifier, use))])
    ops += evidence.writer.finish_ops() if evidence.writer else []
    ops += on_commit(row)
    record(node, ops, actor=actor, action="reuse.consume", object_id=row.reuse_id, outcome="pending")
    # After the row is there: the worker drops a name whose row it does not find.
    node.pending_reuses.add(row.reuse_id)
    node.outbox.wake()
    return row


def job_id_of(reuse_id: str) -> str:
    """Return the id of a reuse's job."""
    return "job_" + reuse_id.removeprefix("reu_")


def get(node: Node, actor: Actor, reuse_id: str) -> rows.ReuseRow:
    """Return a reuse of the caller's agency.

    Raises:
        ReuseNotFound: there is none, or it is another agency's; the two answer alike.
    """
    row = rows.REUSE.get(node.store, reuse_id)
    if row is None or row.agency != actor.agency:
        raise ReuseNotFound("this agency has no such reuse")
    return row


def content(node: Node, row: rows.ReuseRow) -> custody.Held | tuple[rows.ReuseRow, bytes]:
    """Return the key to the bytes of a granted reuse: our own material's, or the blob that the custodian sent.

    Raises:
        ContentMissing: not granted, or nothing was delivered.
        MaterialErased: the document was erased.
    """
    if row.state == "erased" or custody.erased_commitment(node, row.commitment):
        raise MaterialErased("the document of this reuse was erased on purpose")
    if row.outcome != "granted" or row.state != "done":
        raise ContentMissing("this reuse delivered no bytes", hint="ask with deliver: bytes")
    if row.blob_id:
        return row, _file_key(node, row)
    version = custody.version_by_commitment(node, row.commitment)
    asked = msgspec.json.decode(row.request_json, type=ReuseRequest)
    if version is None or asked.deliver != "bytes":
        raise ContentMissing("this reuse delivered no bytes", hint="ask with deliver: bytes")
    return custody.unlock(node, version)


def _file_key(node: Node, row: rows.ReuseRow) -> bytes:
    try:
        _, kek = node.keys.kek(row.agency, row.key_epoch)
    except KeyErased:
        # An erasure of another document has moved this row to a new epoch since it was read.
        fresh = rows.REUSE.get(node.store, row.reuse_id)
        if fresh is None or fresh.key_epoch == row.key_epoch:
            raise
        return _file_key(node, fresh)
    return unwrap_key(kek, row.wrapped_file_key, b"reuse\0" + row.reuse_id.encode())
