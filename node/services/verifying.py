"""Answer whether a document may be trusted, from the local index alone: no chain call in a request.

Spec page: docs/reference/verdict.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import structs

from node.context import Node
from node.errors import MaterialInvalid
from node.services.custody import local_status, local_statuses
from node.services.requests import SubjectQuery, VerifyRequest
from verifier.subjects import Subject, parse_subject
from verifier.verdicts import Moment, Outcome, Question, Reason, Verdict, VerdictKind

# An act of this node counts here from its own batch on, before any block holds it.
_LOCAL_STATUS = {
    "revoked": VerdictKind.REVOKED,
    "suspended": VerdictKind.SUSPENDED,
    "superseded": VerdictKind.SUPERSEDED,
    "erased": VerdictKind.ERASED,
}


def subject_of(node: Node, query: SubjectQuery) -> Subject:
    """Check and normalise a subject that a caller named."""
    return parse_subject(query.id_type, query.id, today=moment_of(node).utc_date)


def moment_of(node: Node) -> Moment:
    """Read once what all verdicts of one request are judged by; requests of one second share it.

    A new final block, a fault that came or went, and the next second each make a new moment.
    """
    held, faults, seconds = node.moment, node.faults(), node.time.judging()
    if held is None or not held.is_of(seconds, faults):
        now = datetime.fromtimestamp(seconds, UTC)
        held = node.moment = Moment(
            index=node.index, catalog=node.catalog, keys=node.keyring, faults=faults, now=now
        )
    return held


def verify(node: Node, request: VerifyRequest) -> Verdict:
    """Judge the document with this digest; raises as `verify_all`."""
    moment = moment_of(node)
    return with_local_acts(node, moment.judge(_question_of(moment, request)))


def verify_all(node: Node, requests: Sequence[VerifyRequest]) -> list[Verdict]:
    """Judge the documents with these digests, all at one moment.

    Raises:
        MaterialInvalid: a request without digest. SubjectInvalid: a subject's id is wrong.
    """
    moment = moment_of(node)
    questions = [_question_of(moment, request) for request in requests]
    return _with_all_local_acts(node, moment.judge_all(questions))


def _question_of(moment: Moment, request: VerifyRequest) -> Question:
    if request.sha256 is None:
        raise MaterialInvalid(
            "say which document: sha256, file or receipt", pointer="/sha256", reason="required"
        )
    asked, subject = request.subject, None
    if asked is not None:
        subject = parse_subject(asked.id_type, asked.id, today=moment.utc_date)
    return Question(bytes.fromhex(request.sha256), request.type_code, subject)


def with_local_acts(node: Node, verdict: Verdict) -> Verdict:
    """Let this node's own acts count before the chain has them; it never makes a verdict better."""
    if verdict.claim is None or not _may_worsen(verdict):
        return verdict
    status = local_status(node, verdict.claim.commitment)
    return _worsened(verdict, status) if status else verdict


def _with_all_local_acts(node: Node, verdicts: Sequence[Verdict]) -> list[Verdict]:
    claims = [verdict.claim if _may_worsen(verdict) else None for verdict in verdicts]
    held = local_statuses(node, [claim.commitment for claim in claims if claim is not None])
    if not held:
        return list(verdicts)
    statuses = [held.get(claim.commitment, "") if claim is not None else "" for claim in claims]
    return [_worsened(verdict, status) for verdict, status in zip(verdicts, statuses, strict=True)]


def _may_worsen(verdict: Verdict) -> bool:
    return verdict.kind is VerdictKind.VALID or verdict.kind is VerdictKind.PENDING


def _worsened(verdict: Verdict, status: str) -> Verdict:
    kind = _LOCAL_STATUS.get(status)
    if kind is None:
        return verdict
    reason = Reason("custodian_act", Outcome.FAIL, "the custodian's act is on its way to the chain")
    return structs.replace(verdict, kind=kind, reasons=(*verdict.reasons, reason))
