"""Exemption routes: whether a requirement of a matter can be met without paper, and by which route.

Routes are tried in the order of the matter's entry (docs/reference/decision.md, "Exemption routes"):
`certificate` needs a valid claim sealed by a member that hosts an issuer of the type, `history` any valid
claim; `paper` is always there; the others need connectors that are not configured. A state that cannot be
known makes a route `unavailable`, never a refusal. Must not import chain or HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from anchor.records import Flag
from verifier.catalog import CatalogView, Names, Requirement
from verifier.index import ChainIndex, Claim
from verifier.keyring import KeyRing
from verifier.subjects import Subject
from verifier.verdicts import (
    Outcome,
    Question,
    Reason,
    SubjectMatch,
    Verdict,
    VerdictKind,
    check_freshness,
    china_date,
    freshness_bound,
    judge_claims,
)


class PlanOutcome(StrEnum):
    """What the applicant must do for one requirement."""

    EXEMPT = "exempt"
    BRING_PAPER = "bring_paper"
    NOT_CONFIGURED = "not_configured"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequirementPlan:
    """The plan for one requirement. `type_code` and `claim` name what exempts; else the first type, None."""

    req_id: str
    name: Names
    necessity: str
    route: str
    outcome: PlanOutcome
    type_code: str
    claim: Claim | None
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class _Trial:
    """How one route went."""

    route: str
    outcome: PlanOutcome
    reasons: tuple[Reason, ...]
    type_code: str = ""
    claim: Claim | None = None


def plan_requirement(
    requirement: Requirement,
    subject: Subject,
    *,
    index: ChainIndex,
    catalog: CatalogView,
    keys: KeyRing,
    faults: tuple[str, ...],
    now: datetime,
) -> RequirementPlan:
    """Plan one requirement for a subject, at `now` (aware); the first route that exempts wins.

    Without one the plan is `unavailable` if a route could not be tried, else paper if the matter takes it,
    else the first route that is not configured.
    """
    evidence = _Evidence(requirement, subject, index, catalog, keys, faults, now)
    trials: list[_Trial] = []
    for route in requirement.exemption_routes:
        trials.append(_try_route(route, evidence))
        if trials[-1].outcome is PlanOutcome.EXEMPT:
            break
    chosen = min(trials, key=lambda trial: _PREFERENCE.index(trial.outcome))
    return RequirementPlan(
        req_id=requirement.req_id,
        name=requirement.name,
        necessity=requirement.necessity,
        route=chosen.route,
        outcome=chosen.outcome,
        type_code=chosen.type_code or requirement.any_of[0],
        claim=chosen.claim,
        reasons=tuple(reason for trial in trials for reason in trial.reasons),
    )


_PREFERENCE = (
    PlanOutcome.EXEMPT,
    PlanOutcome.UNAVAILABLE,
    PlanOutcome.BRING_PAPER,
    PlanOutcome.NOT_CONFIGURED,
)


def _try_route(route: str, evidence: _Evidence) -> _Trial:
    if route == "paper":
        return _Trial(route, PlanOutcome.BRING_PAPER, (Reason("paper", Outcome.WARN, "bring the paper"),))
    if route not in ("certificate", "history"):
        reason = Reason(route, Outcome.SKIPPED, "this route is not configured here")
        return _Trial(route, PlanOutcome.NOT_CONFIGURED, (reason,))
    causes = evidence.stale()
    if causes:
        return _Trial(route, PlanOutcome.UNAVAILABLE, causes)
    return _try_claims(route, evidence)


def _try_claims(route: str, evidence: _Evidence) -> _Trial:
    refused: dict[str, None] = {}
    for type_code, verdict in evidence.verdicts():
        why_not = evidence.why_not(type_code, verdict, route=route)
        if not why_not and verdict.claim is not None:
            reasons = (Reason(route, Outcome.PASS, f"held as {type_code}"),)
            return _Trial(route, PlanOutcome.EXEMPT, reasons, type_code, verdict.claim)
        refused[why_not] = None
    causes = evidence.stale(strict=True)
    if causes:
        # One of the types has a tighter bound: whether it would have exempted cannot be known.
        return _Trial(route, PlanOutcome.UNAVAILABLE, causes)
    detail = ", ".join(refused) or "not_found"
    return _Trial(route, PlanOutcome.BRING_PAPER, (Reason(route, Outcome.FAIL, detail),))


@dataclass(slots=True)
class _Evidence:
    """What is held for one requirement; read once for all routes."""

    requirement: Requirement
    subject: Subject
    index: ChainIndex
    catalog: CatalogView
    keys: KeyRing
    faults: tuple[str, ...]
    now: datetime
    _verdicts: list[tuple[str, Verdict]] | None = None

    def stale(self, *, strict: bool = False) -> tuple[Reason, ...]:
        """Return why the state cannot be known for all of the types, or (strict) for one of them."""
        final = self.index.final_point()
        bounds = [freshness_bound(self.catalog.material_type(code)) for code in self.requirement.any_of]
        bound = min(bounds) if strict else max(bounds)
        return check_freshness(final, faults=self.faults, now=self.now, bound_seconds=bound)

    def verdicts(self) -> Sequence[tuple[str, Verdict]]:
        """Return (type code, verdict) of every claim that could meet the requirement."""
        if self._verdicts is None:
            self._verdicts = list(self._judge_all())
        return self._verdicts

    def why_not(self, type_code: str, verdict: Verdict, *, route: str) -> str:
        """Return why a claim does not exempt by a route, or nothing if it does."""
        if verdict.kind is not VerdictKind.VALID:
            return verdict.kind.value
        if verdict.subject_match is not SubjectMatch.MATCH or verdict.claim is None:
            return "not_found"
        if any(record.flags & Flag.ASSERTED for record in verdict.claim.records):
            return "asserted_bring_file"
        if route == "certificate" and verdict.claim.member_id not in self.catalog.hosts_of_issuers(type_code):
            return "not_by_issuer"
        return check_age(
            verdict.claim, self.requirement, today=china_date(self.now, self.index.final_point())
        )

    def _judge_all(self) -> Iterator[tuple[str, Verdict]]:
        for code in self.requirement.any_of:
            kind = self.catalog.material_type(code)
            if kind is None or kind.share_type == "3":
                continue
            found = judge_claims(
                Question(None, code, self.subject),
                index=self.index,
                catalog=self.catalog,
                keys=self.keys,
                faults=self.faults,
                now=self.now,
            )
            yield from ((code, verdict) for verdict in found)


def check_age(claim: Claim, requirement: Requirement, *, today: date) -> str:
    """Return why a claim's dates do not meet a requirement, or nothing if they do.

    The day of sealing says nothing about a document's age, so one without a date of issue cannot show it.
    """
    issued = [record.issued_on for record in claim.records if record.issued_on is not None]
    if issued and max(issued) > today:
        return "not_yet_valid"
    if requirement.freshness_days is None:
        return ""
    if not issued:
        return "issue_date_unknown"
    return "too_old" if (today - min(issued)).days > requirement.freshness_days else ""
