"""Exemption routes: whether a requirement of a matter can be met without paper, and by which route.

Routes are tried in the order of the matter's entry (docs/reference/decision.md, "Exemption routes"):
`certificate` needs a valid claim sealed by a member that hosts an issuer of the type, `history` any valid
claim; `paper` is always there; the others need connectors that are not configured. A state that cannot be
known makes a route `unavailable`, never a refusal. Must not import chain or HTTP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from enum import StrEnum

import msgspec

from anchor.records import Flag
from verifier.catalog import CatalogView, Names, Requirement
from verifier.index import ChainIndex, Claim
from verifier.keyring import KeyRing
from verifier.subjects import Subject
from verifier.verdicts import (
    Moment,
    Outcome,
    Question,
    Reason,
    SubjectMatch,
    Verdict,
    VerdictKind,
    freshness_bound,
)


class PlanOutcome(StrEnum):
    """What the applicant must do for one requirement."""

    EXEMPT = "exempt"
    BRING_PAPER = "bring_paper"
    NOT_CONFIGURED = "not_configured"
    UNAVAILABLE = "unavailable"


class RequirementPlan(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The plan for one requirement. `type_code` and `claim` name what exempts; else the first type, None."""

    req_id: str
    name: Names
    necessity: str
    route: str
    outcome: PlanOutcome
    type_code: str
    claim: Claim | None
    reasons: tuple[Reason, ...]


class _Trial(msgspec.Struct, frozen=True, gc=False):
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
    moment = Moment(index=index, catalog=catalog, keys=keys, faults=faults, now=now)
    return plan_all((requirement,), subject, moment=moment)[0]


def plan_all(
    requirements: Sequence[Requirement],
    subject: Subject,
    *,
    moment: Moment,
    worsened: Callable[[Verdict], Verdict] = lambda verdict: verdict,
) -> list[RequirementPlan]:
    """Plan each requirement as `plan_requirement` does, all at one moment and from one reading of the index.

    `worsened` may know a worse kind for a document that would exempt than the chain does.
    """
    holdings = _Holdings(requirements, subject, moment, worsened)
    return [_plan(_Evidence(requirement, holdings)) for requirement in requirements]


def _plan(evidence: _Evidence) -> RequirementPlan:
    requirement, trials = evidence.requirement, list[_Trial]()
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


class _Holdings:
    """What is held of a subject, for all requirements of one plan; read in one go when a route first asks."""

    __slots__ = ("_codes", "_found", "_subject", "moment", "worsened")

    def __init__(
        self,
        requirements: Sequence[Requirement],
        subject: Subject,
        moment: Moment,
        worsened: Callable[[Verdict], Verdict],
    ) -> None:
        self.moment, self.worsened = moment, worsened
        self._subject = subject
        self._codes = dict.fromkeys(code for one in requirements for code in one.any_of)
        self._found: dict[str, list[Verdict]] | None = None

    def of_type(self, code: str) -> Sequence[Verdict]:
        """Return the verdict on every claim of a type, the most fitting first."""
        if self._found is None:
            kinds = [(code, self.moment.catalog.material_type(code)) for code in self._codes]
            shared = [code for code, kind in kinds if kind is not None and kind.share_type != "3"]
            questions = [Question(None, code, self._subject) for code in shared]
            self._found = dict(zip(shared, self.moment.judge_claims(questions), strict=True))
        return self._found.get(code, ())


class _Evidence:
    """What is held for one requirement."""

    __slots__ = ("_bounds", "_holdings", "_moment", "requirement")

    def __init__(self, requirement: Requirement, holdings: _Holdings) -> None:
        self.requirement = requirement
        self._holdings, self._moment = holdings, holdings.moment
        types = map(self._moment.catalog.material_type, requirement.any_of)
        self._bounds = [freshness_bound(one) for one in types]

    def stale(self, *, strict: bool = False) -> tuple[Reason, ...]:
        """Return why the state cannot be known for all of the types, or (strict) for one of them."""
        return self._moment.stale(min(self._bounds) if strict else max(self._bounds))

    def verdicts(self) -> Iterator[tuple[str, Verdict]]:
        """Yield (type code, verdict) of every claim that could meet the requirement."""
        for code in self.requirement.any_of:
            for verdict in self._holdings.of_type(code):
                yield code, verdict

    def why_not(self, type_code: str, verdict: Verdict, *, route: str) -> str:
        """Return why a claim does not exempt by a route, or nothing if it does."""
        if verdict.kind is not VerdictKind.VALID:
            return verdict.kind.value
        if verdict.subject_match is not SubjectMatch.MATCH or verdict.claim is None:
            return "not_found"
        if any(record.flags & Flag.ASSERTED for record in verdict.claim.records):
            return "asserted_bring_file"
        hosts = self._moment.catalog.hosts_of_issuers
        if route == "certificate" and verdict.claim.member_id not in hosts(type_code):
            return "not_by_issuer"
        why = check_age(verdict.claim, self.requirement, today=self._moment.today)
        if why:
            return why
        # Last, since it is looked up for each claim.
        kind = self._holdings.worsened(verdict).kind
        return "" if kind is VerdictKind.VALID else kind.value


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
