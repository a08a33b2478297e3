"""Answer whether a document may be trusted, from the local index alone: no chain call in a request.

Spec page: docs/reference/verdict.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import structs

from node.context import Node
from node.errors import MaterialInvalid
from node.services.custody import erased_commitment, version_by_commitment
from node.services.requests import SubjectQuery, VerifyRequest
from verifier.subjects import Subject, parse_subject
from verifier.verdicts import Outcome, Question, Reason, Verdict, VerdictKind, judge

# An act of this node counts here from its own batch on, before any block holds it.
_LOCAL_STATUS = {
    "revoked": VerdictKind.REVOKED,
    "suspended": VerdictKind.SUSPENDED,
    "superseded": VerdictKind.SUPERSEDED,
    "erased": VerdictKind.ERASED,
}


def subject_of(node: Node, query: SubjectQuery) -> Subject:
    """Check and normalise a subject that a caller named."""
    return parse_subject(query.id_type, query.id, today=node.now().date())


def verify(node: Node, request: VerifyRequest) -> Verdict:
    """Judge the document with this digest.

    Raises:
        MaterialInvalid: no digest. SubjectInvalid: the subject's id is wrong.
    """
    if request.sha256 is None:
        raise MaterialInvalid(
            "say which document: sha256, file or receipt", pointer="/sha256", reason="required"
        )
    question = Question(
        sha256=bytes.fromhex(request.sha256),
        type_code=request.type_code,
        subject=subject_of(node, request.subject) if request.subject else None,
    )
    verdict = judge(
        question,
        index=node.index,
        catalog=node.catalog,
        keys=node.keyring,
        faults=node.faults(),
        now=node.now(),
    )
    return with_local_acts(node, verdict)


def with_local_acts(node: Node, verdict: Verdict) -> Verdict:
    """Let this node's own acts count before the chain has them; it never makes a verdict better."""
    if verdict.kind not in (VerdictKind.VALID, VerdictKind.PENDING) or verdict.claim is None:
        return verdict
    kind = _LOCAL_STATUS.get(_local_status(node, verdict.claim.commitment))
    if kind is None:
        return verdict
    reason = Reason("custodian_act", Outcome.FAIL, "the custodian's act is on its way to the chain")
    return structs.replace(verdict, kind=kind, reasons=(*verdict.reasons, reason))


def _local_status(node: Node, commitment: bytes) -> str:
    """Return the status of a version that this node holds or has erased; "" for all others."""
    row = version_by_commitment(node, commitment)
    if row is not None:
        return row.status
    return "erased" if erased_commitment(node, commitment) else ""


@dataclass(frozen=True, slots=True)
class RecordPlace:
    """Where a verdict's record lies on chain."""

    member_id: int
    batch_id: int
    index: int
    block_number: int
    commitment: bytes


def place_of(verdict: Verdict) -> RecordPlace | None:
    """Return the place of the record that the verdict speaks of."""
    claim = verdict.claim
    if claim is None:
        return None
    batch_id, index = claim.positions[0]
    return RecordPlace(claim.member_id, batch_id, index, claim.block_number, claim.commitment)
