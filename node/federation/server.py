"""Answer another member's release request: check who asks, decide again by this node's own rules, stream sealed.

Nothing that the requester says about the document or its decision is believed: the material, its type, level,
status and the matter are looked up here. Unknown and not-for-you answer alike (`not_found`).
Spec page: docs/reference/release.md, "Answering".
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec
from ulid import ULID

from anchor.commitments import Commitment, open_fields, opening_to_json
from anchor.envelopes import seal
from anchor.failpoints import reach
from anchor.keyvalue import Put
from node.context import CHINA, Node
from node.errors import ReleaseReplayed, ReleaseUnauthorised
from node.federation.client import release_info
from node.federation.messages import (
    ReleaseAnswer,
    ReleaseRequest,
    SignedRequest,
    decode_base64,
    render,
    request_hash,
    request_signer,
    sign_answer,
)
from node.federation.sealing import HEAD, seal_frames
from node.services import checkpoints, custody
from node.services.recording import Actor, record
from node.services.verifying import moment_of
from node.store import rows
from verifier.decisions import (
    ConsumeState,
    DecisionOutcome,
    Deliver,
    InclusionState,
    ReleaseState,
    ReuseFacts,
    decide,
)
from verifier.subjects import Subject
from verifier.verdicts import Question

CLOCK_SLACK_S = 60
MAX_LIFE_S = 300
OPENED = (
    "agency",
    "asserted",
    "custodian",
    "documentNo",
    "expiresOn",
    "issuedOn",
    "level",
    "mediaType",
    "sha256",
    "shareType",
    "size",
    "sm3",
    "typeCode",
    "version",
)


@dataclass(frozen=True, slots=True)
class Ruling:
    """What this custodian decided, and the version it is about when it releases."""

    outcome: Literal["released", "refused", "not_found", "pending"]
    reason: str
    version: rows.VersionRow | None = None


def answer_release(node: Node, signed: SignedRequest, *, request_id: str) -> Iterator[bytes]:
    """Check, decide, keep the evidence, and return the answer's stream.

    Raises:
        ReleaseUnauthorised: not signed by an active member, not for this node, or outside its time.
        ReleaseReplayed: this nonce was used before.
    """
    request = signed.request
    _authenticate(node, signed)
    ruling = _rule(node, request)
    key = secrets.token_bytes(32)
    sealed_key = seal(decode_base64(request.hpke_key), info=release_info(request), plaintext=key)
    whole = ruling.version is not None and request.deliver == "bytes"
    answer = ReleaseAnswer(
        request_hash=request_hash(request).hex(),
        custodian=node.chain.member_id,
        outcome=ruling.outcome,
        reason=ruling.reason,
        commitment=request.commitment,
        sealed_hash=hashlib.sha256(sealed_key).hexdigest(),
        size=ruling.version.size_bytes if whole and ruling.version else 0,
        decided_at=node.clock(),
    )
    signed_answer = sign_answer(answer, sealed_key, node.signer, node.deployment)
    head = render(msgspec.structs.replace(signed_answer, checkpoint=checkpoints.current_json(node)))
    _keep_evidence(node, signed, ruling, request_id)
    return _stream(node, request, ruling, head, key)


def _authenticate(node: Node, signed: SignedRequest) -> None:
    request, now = signed.request, node.clock()
    member = node.index.member_by_account(request_signer(signed, node.deployment))
    if member is None or member.member_id != request.requester or not member.is_active(node.time.latest()):
        raise ReleaseUnauthorised("the request is not signed by an active member", reason="signer")
    if request.audience != node.chain.member_id:
        raise ReleaseUnauthorised("the request is for another member", reason="audience")
    if not request.issued_at - CLOCK_SLACK_S <= now <= request.expires_at + CLOCK_SLACK_S:
        raise ReleaseUnauthorised("the request is outside its time", reason="time")
    if request.expires_at - request.issued_at > MAX_LIFE_S:
        raise ReleaseUnauthorised("the request would live too long", reason="life")
    # Verified first, stored second: a forger cannot burn somebody's nonce.
    with node.locks.hold(request.nonce):
        if rows.NONCE.get(node.store, request.requester, bytes.fromhex(request.nonce)) is not None:
            raise ReleaseReplayed("this request was answered before")
        used = rows.NonceRow(
            request.requester, bytes.fromhex(request.nonce), request.expires_at + 2 * CLOCK_SLACK_S
        )
        node.store.write([rows.NONCE.put(used)], sync=True)
        reach("release.nonce", "after")


def _rule(node: Node, request: ReleaseRequest) -> Ruling:
    version = custody.version_by_commitment(node, bytes.fromhex(request.commitment))
    material = rows.MATERIAL.get(node.store, version.material_id) if version else None
    subject = _subject_meant(node, material, request) if material else None
    if version is None or material is None or subject is None:
        return Ruling("not_found", "not_found")
    if version.status != "active":
        return Ruling("refused", version.status)
    decision = decide(_facts(node, request, version, subject))
    if decision.outcome is DecisionOutcome.GRANTED:
        return Ruling("released", "", version)
    return Ruling("pending" if decision.outcome is DecisionOutcome.PENDING else "refused", decision.code)


def _subject_meant(node: Node, material: rows.MaterialRow, request: ReleaseRequest) -> Subject | None:
    """Return the material's subject that the request's tag names under any live epoch, if the type fits too."""
    if material.type_code != request.type_code:
        return None
    wanted = bytes.fromhex(request.subject_tag)
    for keys in node.keyring.all():
        for row in material.subjects:
            if keys.subject_tag(row.id_type, row.id, material.type_code) == wanted:
                return Subject(row.id_type, row.id)
    return None


def _facts(node: Node, request: ReleaseRequest, version: rows.VersionRow, subject: Subject) -> ReuseFacts:
    """Gather the same facts that the requester had to, from this node's own catalogue, index and store.

    What counts once is consumed by the requester, under its own name; here it is taken as settled.
    """
    question = Question(
        sha256=bytes.fromhex(version.sha256),
        type_code=request.type_code,
        subject=subject,
        commitment=Commitment(version.commitment),
    )
    verdict = moment_of(node).judge(question)
    return ReuseFacts(
        member_id=request.requester,
        member_active=True,
        agency=node.catalog.agency(request.agency),
        matter=node.catalog.matter(request.matter_code),
        req_id=request.req_id,
        type_code=request.type_code,
        material_type=node.catalog.material_type(request.type_code),
        scenario=node.catalog.scenario(request.scenario_code),
        basis=request.basis,
        purpose=request.purpose,
        deliver=Deliver(request.deliver),
        today=node.now().astimezone(CHINA).date(),
        verdict=verdict,
        inclusion=InclusionState.PROVED,
        consume_state=ConsumeState.OURS,
        release_state=ReleaseState.DELIVERED,
    )


def _keep_evidence(node: Node, signed: SignedRequest, ruling: Ruling, request_id: str) -> None:
    release_id = f"rel_{ULID()}"
    row = rows.ReleaseRow(
        release_id=release_id,
        commitment=bytes.fromhex(signed.request.commitment),
        requester_member=signed.request.requester,
        request=render(signed),
        signature=bytes.fromhex(signed.signature),
        decided_at=node.clock(),
        outcome=ruling.outcome,
        bytes_sent=ruling.version.size_bytes if ruling.version and signed.request.deliver == "bytes" else 0,
    )
    ops: list[Put] = [rows.RELEASE.put(row)]
    record(
        node,
        ops,
        actor=Actor(signed.request.agency, f"member-{signed.request.requester}", request_id),
        action="release",
        object_id=release_id,
        outcome=ruling.outcome,
        reason=ruling.reason,
    )


def _stream(node: Node, request: ReleaseRequest, ruling: Ruling, head: bytes, key: bytes) -> Iterator[bytes]:
    yield HEAD.pack(len(head)) + head
    reach("release.head", "after")
    if ruling.version is None:
        return
    held = custody.unlock(node, ruling.version)
    opening = opening_to_json(open_fields(held.fields, held.salt_key, OPENED))
    document = custody.read(node, held) if request.deliver == "bytes" else iter(())
    yield from seal_frames(key, request_hash(request), json.dumps(opening).encode(), document)
