"""Decisions: whether an agency may use a document for a case, as named checks in a fixed order.

Page: docs/reference/decision.md. Each check takes plain facts and returns a reason; after the first that
fails the rest is `skipped`. `granted` needs every check to pass or not to apply. Nothing that is unknown,
stale, unproven or about an unchecked subject passes. Pure: no index, catalogue look-up, clock or chain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias

from anchor.records import Flag
from verifier.catalog import Agency, MaterialType, Matter, Scenario
from verifier.exemptions import PlanOutcome, RequirementPlan, check_age, plan_requirement
from verifier.index import Claim
from verifier.verdicts import Outcome, Reason, SubjectMatch, Verdict, VerdictKind

__all__ = [
    "CHECKS",
    "EXPLANATIONS",
    "ConsumeState",
    "Decision",
    "DecisionOutcome",
    "Deliver",
    "InclusionState",
    "PlanOutcome",
    "ReleaseState",
    "RequirementPlan",
    "ReuseFacts",
    "decide",
    "plan_requirement",
]


class DecisionOutcome(StrEnum):
    """What is decided about a use."""

    GRANTED = "granted"
    DENIED = "denied"
    NEEDS_AUTHORIZATION = "needs_authorization"
    NEEDS_REVIEW = "needs_review"
    PENDING = "pending"


class Deliver(StrEnum):
    """What crosses to the requesting agency."""

    NONE = "none"
    FACTS = "facts"
    BYTES = "bytes"


class InclusionState(StrEnum):
    """Whether the record was shown to be in its batch."""

    PROVED = "proved"
    FAILED = "failed"
    UNCHECKED = "unchecked"


class ConsumeState(StrEnum):
    """Where the single use of a document stands, at the last final block."""

    NOT_NEEDED = "not_needed"
    FREE = "free"
    OURS = "ours"
    TAKEN = "taken"
    UNCONFIRMED = "unconfirmed"


class ReleaseState(StrEnum):
    """Where the release by the custodian stands."""

    NOT_NEEDED = "not_needed"
    WAITING = "waiting"
    DELIVERED = "delivered"
    UNAVAILABLE = "unavailable"
    REFUSED = "refused"
    MISMATCH = "mismatch"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReuseFacts:
    """Everything that a decision depends on, gathered by the node.

    `agency` is the requesting agency's approved entry, `member_id` this node's member, `member_active`
    whether it may act now. `verdict` is on the claim found for the subject, None if none was found or the
    caller may not know of it: the two look alike. `today` is the day at +08:00.
    """

    member_id: int
    member_active: bool
    agency: Agency | None
    matter: Matter | None
    req_id: str
    type_code: str
    material_type: MaterialType | None
    scenario: Scenario | None
    basis: str
    purpose: str
    deliver: Deliver
    today: date
    verdict: Verdict | None
    inclusion: InclusionState = InclusionState.UNCHECKED
    consume_state: ConsumeState = ConsumeState.NOT_NEEDED
    release_state: ReleaseState = ReleaseState.NOT_NEEDED
    grant_found: bool = False

    @property
    def claim(self) -> Claim | None:
        """The claim that the verdict speaks of."""
        return self.verdict.claim if self.verdict is not None else None

    @property
    def own_custody(self) -> bool:
        """Whether this node's own member holds the bytes."""
        return self.claim is not None and self.claim.member_id == self.member_id


@dataclass(frozen=True, slots=True)
class Decision:
    """An outcome with all checks in order; `code` is the detail of the check that stopped it, or empty."""

    outcome: DecisionOutcome
    code: str
    checks: tuple[Reason, ...]
    explain_zh: str
    explain_en: str


Check: TypeAlias = Callable[[ReuseFacts], str]
_PASS: Final = ""
_NOT_APPLICABLE: Final = "-"


def check_member(facts: ReuseFacts) -> str:
    """This node's member may act, and it is the one that the agency's entry names."""
    if not facts.member_active:
        return "member_inactive"
    if facts.agency is None:
        return "agency_unknown"
    return _PASS if facts.agency.member_id == facts.member_id else "agency_foreign"


def check_matter(facts: ReuseFacts) -> str:
    """The matter is an approved entry."""
    return _PASS if facts.matter is not None else "matter_unknown"


def check_requirement(facts: ReuseFacts) -> str:
    """The matter's requirement accepts this type, and the type is an approved entry."""
    if facts.matter is None or facts.matter.requirement(facts.req_id) is None:
        return "requirement_unknown"
    if not facts.matter.asks_for(facts.req_id, facts.type_code):
        return "type_not_asked"
    return _PASS if facts.material_type is not None else "type_unknown"


def check_scenario(facts: ReuseFacts) -> str:
    """The scenario is approved, live today, and names matter and type."""
    scenario, matter = facts.scenario, facts.matter
    if scenario is None or matter is None:
        return "scenario_unknown"
    if not scenario.is_live(facts.today):
        return "scenario_not_live"
    covered = scenario.covers(matter.code, facts.type_code, facts.today)
    return _PASS if covered else "scenario_not_covering"


def check_basis(facts: ReuseFacts) -> str:
    """The use has a purpose, and either the agency's duty or a grant of the holder behind it."""
    if not facts.purpose.strip():
        return "purpose_missing"
    if facts.basis == "duty" and facts.matter and facts.agency and facts.matter.may_ask(facts.agency.code):
        return _PASS
    if facts.basis == "grant":
        return _PASS if facts.grant_found else "grant_not_found"
    return "no_basis"


def check_share(facts: ReuseFacts) -> str:
    """Materials of sharing class 3 do not cross."""
    open_ = facts.material_type is not None and facts.material_type.share_type in ("1", "2")
    return _PASS if open_ else "share_not_allowed"


def check_level(facts: ReuseFacts) -> str:
    """Level L4 crosses as facts only; its own custodian has the bytes already."""
    if facts.material_type is None:
        return "level_facts_only"
    bytes_of_l4 = facts.material_type.level == "L4" and facts.deliver is Deliver.BYTES
    return "level_facts_only" if bytes_of_l4 and not facts.own_custody else _PASS


def check_found(facts: ReuseFacts) -> str:
    """A claim about the subject and type is known here."""
    if facts.claim is not None:
        return _PASS
    stale = facts.verdict is not None and facts.verdict.kind is VerdictKind.STALE
    return "stale" if stale else "not_found"


def check_subject(facts: ReuseFacts) -> str:
    """The claim is about the subject of the case; `unchecked` is not enough."""
    match = facts.verdict.subject_match if facts.verdict is not None else SubjectMatch.UNCHECKED
    return {
        SubjectMatch.MATCH: _PASS,
        SubjectMatch.MISMATCH: "subject_mismatch",
        SubjectMatch.UNCHECKED: "subject_unchecked",
    }[match]


def check_inclusion(facts: ReuseFacts) -> str:
    """The record was shown to be in its batch."""
    return {
        InclusionState.PROVED: _PASS,
        InclusionState.FAILED: "proof_invalid",
        InclusionState.UNCHECKED: "proof_unchecked",
    }[facts.inclusion]


def check_status(facts: ReuseFacts) -> str:
    """The document is neither pending nor suspended, revoked, superseded or erased.

    Dates and consumption have checks of their own, and so has a state that cannot be known.
    """
    kind = facts.verdict.kind if facts.verdict is not None else VerdictKind.UNKNOWN
    if kind in (VerdictKind.VALID, VerdictKind.EXPIRED, VerdictKind.CONSUMED):
        return _PASS
    if kind is VerdictKind.STALE:
        return _NOT_APPLICABLE
    return "record_pending" if kind is VerdictKind.PENDING else kind.value


def check_validity(facts: ReuseFacts) -> str:
    """The document counts today and is as recent as the requirement asks."""
    verdict = facts.verdict
    requirement = facts.matter.requirement(facts.req_id) if facts.matter else None
    if verdict is None or verdict.claim is None or requirement is None:
        return "not_found"
    if verdict.kind is VerdictKind.EXPIRED:
        return "expired"
    return check_age(verdict.claim, requirement, today=facts.today)


def check_fresh(facts: ReuseFacts) -> str:
    """The present state of the chain is known within the type's bound."""
    return _PASS if facts.verdict is not None and facts.verdict.fresh else "stale"


def check_consume(facts: ReuseFacts) -> str:
    """What counts once is consumed by this very use, and that is final."""
    requirement = facts.matter.requirement(facts.req_id) if facts.matter else None
    taken_elsewhere = facts.verdict is not None and facts.verdict.kind is VerdictKind.CONSUMED
    if facts.consume_state is ConsumeState.NOT_NEEDED:
        if taken_elsewhere:
            return "consumed"
        return "consume_required" if requirement is not None and requirement.consume else _NOT_APPLICABLE
    return {
        ConsumeState.OURS: _PASS,
        ConsumeState.FREE: "consume_required",
        ConsumeState.TAKEN: "consumed",
        ConsumeState.UNCONFIRMED: "consume_unconfirmed",
    }[facts.consume_state]


def check_release(facts: ReuseFacts) -> str:
    """What was asked for has been delivered, and it is what the commitment says."""
    if facts.deliver is Deliver.NONE:
        return _NOT_APPLICABLE
    if facts.deliver is Deliver.BYTES and _is_asserted(facts.claim):
        return "asserted_bring_file"
    return {
        ReleaseState.DELIVERED: _PASS,
        ReleaseState.NOT_NEEDED: _PASS if facts.own_custody else "release_pending",
        ReleaseState.WAITING: "release_pending",
        ReleaseState.UNAVAILABLE: "custodian_unavailable",
        ReleaseState.REFUSED: "custodian_refused",
        ReleaseState.MISMATCH: "proof_invalid",
    }[facts.release_state]


def _is_asserted(claim: Claim | None) -> bool:
    return claim is not None and any(record.flags & Flag.ASSERTED for record in claim.records)


# The order is part of the answer's meaning: what a caller may not know comes after what gives it the right.
CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("member", check_member),
    ("matter", check_matter),
    ("requirement", check_requirement),
    ("scenario", check_scenario),
    ("basis", check_basis),
    ("share", check_share),
    ("level", check_level),
    ("found", check_found),
    ("subject", check_subject),
    ("inclusion", check_inclusion),
    ("status", check_status),
    ("validity", check_validity),
    ("freshness", check_fresh),
    ("consume", check_consume),
    ("release", check_release),
)

# Every other code means `denied`.
_OUTCOMES: Final[Mapping[str, DecisionOutcome]] = MappingProxyType(
    {
        "grant_not_found": DecisionOutcome.NEEDS_AUTHORIZATION,
        "stale": DecisionOutcome.NEEDS_REVIEW,
        "subject_unchecked": DecisionOutcome.NEEDS_REVIEW,
        "proof_unchecked": DecisionOutcome.NEEDS_REVIEW,
        "issue_date_unknown": DecisionOutcome.NEEDS_REVIEW,
        "asserted_bring_file": DecisionOutcome.NEEDS_REVIEW,
        "custodian_unavailable": DecisionOutcome.NEEDS_REVIEW,
        "unknown": DecisionOutcome.NEEDS_REVIEW,
        "record_pending": DecisionOutcome.PENDING,
        "consume_required": DecisionOutcome.PENDING,
        "consume_unconfirmed": DecisionOutcome.PENDING,
        "release_pending": DecisionOutcome.PENDING,
    }
)


def decide(facts: ReuseFacts) -> Decision:
    """Run the checks in order and stop at the first that fails.

    Raises nothing: a missing fact fails its check.
    """
    checks: list[Reason] = []
    stopped = ""
    for name, check in CHECKS:
        found = _NOT_APPLICABLE if stopped else check(facts)
        checks.append(_reason(name, found))
        if found not in (_PASS, _NOT_APPLICABLE):
            stopped = found
    outcome = _OUTCOMES.get(stopped, DecisionOutcome.DENIED) if stopped else DecisionOutcome.GRANTED
    zh, en = EXPLANATIONS[stopped]
    return Decision(outcome, stopped, tuple(checks), zh, en)


def _reason(name: str, found: str) -> Reason:
    if found == _NOT_APPLICABLE:
        return Reason(name, Outcome.SKIPPED)
    return Reason(name, Outcome.FAIL, found) if found else Reason(name, Outcome.PASS)


# One sentence a clerk can read out, for each code; empty is "granted".
EXPLANATIONS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "": ("可以复用，无需再交。", "The material may be reused; nothing needs to be handed in."),
        "member_inactive": ("本节点的成员资格当前无效。", "This node's membership is not active."),
        "agency_unknown": ("申请机关不在已批准的目录中。", "The agency is not in the approved catalogue."),
        "agency_foreign": ("申请机关不由本节点承载。", "The agency is not served by this node."),
        "matter_unknown": ("事项不在已批准的目录中。", "The matter is not in the approved catalogue."),
        "requirement_unknown": ("该事项没有这一项要求。", "The matter has no such requirement."),
        "type_not_asked": (
            "该事项的这一项要求不包含这类材料。",
            "The matter's requirement does not ask for this type of material.",
        ),
        "type_unknown": (
            "材料类型不在已批准的目录中。",
            "The material type is not in the approved catalogue.",
        ),
        "scenario_unknown": (
            "应用场景不在已批准的目录中。",
            "The scenario is not in the approved catalogue.",
        ),
        "scenario_not_live": (
            "应用场景未上线、已暂停、已关闭或不在期限内。",
            "The scenario is not live today: draft, suspended, closed or out of its time.",
        ),
        "scenario_not_covering": (
            "应用场景不包含该事项或这类材料。",
            "The scenario does not name this matter or type of material.",
        ),
        "purpose_missing": ("没有说明使用目的。", "No purpose of the use was stated."),
        "no_basis": ("没有职责依据，不能使用。", "No duty allows the agency this use."),
        "grant_not_found": ("需要权利人授权。", "The holder's authorisation is needed."),
        "share_not_allowed": ("这类材料不予共享。", "Materials of this type are not shared."),
        "level_facts_only": (
            "这类材料只能核验事实，不能提供文件。",
            "Materials of this level cross as facts only, not as files.",
        ),
        "not_found": ("没有可用的材料。", "No material that could be used was found."),
        "subject_mismatch": ("材料与申请对象不符。", "The material is not about this subject."),
        "subject_unchecked": (
            "无法确认材料属于申请对象，请人工核对。",
            "It could not be confirmed that the material is about this subject; check by hand.",
        ),
        "proof_invalid": ("材料与链上记录不符。", "The material does not agree with its record on chain."),
        "proof_unchecked": (
            "尚未核验链上证明，请人工核对。",
            "The proof on chain has not been checked; check by hand.",
        ),
        "record_pending": (
            "材料正在上链，请稍后再试。",
            "The material is being anchored; try again shortly.",
        ),
        "suspended": ("材料已被暂停使用。", "The material is suspended."),
        "revoked": ("材料已被撤销。", "The material has been revoked."),
        "superseded": ("材料已有新版本。", "A newer version replaces the material."),
        "erased": ("材料已依法删除。", "The material has been erased."),
        "unknown": ("材料状态不明，请人工核对。", "The material's status is not known; check by hand."),
        "expired": ("材料已过有效期。", "The material has expired."),
        "not_yet_valid": ("材料的签发日期尚未到来。", "The material's date of issue has not come yet."),
        "too_old": ("材料的签发时间早于事项要求。", "The material is older than the matter allows."),
        "issue_date_unknown": (
            "材料没有签发日期，无法判断时效，请人工核对。",
            "The material states no date of issue, so its age cannot be judged; check by hand.",
        ),
        "stale": (
            "暂时无法确认链上最新状态，请稍后再试或人工核对。",
            "The present state of the chain cannot be confirmed; try again shortly or check by hand.",
        ),
        "consumed": ("材料只能使用一次，且已被使用。", "The material counts once and has been used."),
        "consume_required": ("正在登记一次性使用。", "The single use is being entered on the chain."),
        "consume_unconfirmed": (
            "一次性使用的登记尚未最终确认，请稍后再查。",
            "The single use is not final yet; ask again shortly.",
        ),
        "release_pending": ("正在向保管单位调取。", "The custodian has been asked for the material."),
        "custodian_unavailable": (
            "保管单位暂时无法联系，请用其他方式或稍后再试。",
            "The custodian cannot be reached; use another route or try again later.",
        ),
        "custodian_refused": ("保管单位不同意提供。", "The custodian refused to release the material."),
        "asserted_bring_file": (
            "只登记了文件摘要，请携带文件，当场核对。",
            "Only the file's digest is registered: bring the file; it will be checked.",
        ),
    }
)
