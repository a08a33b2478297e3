"""Decisions: each check stops what only it can stop, and nothing unknown, stale or unproven is granted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from anchor.entries import SlotStatus, StatusFlag
from anchor.records import Flag, MaterialRecord
from anchor.tags import ZERO_TAG
from tests.unit.chain_factory import commitment
from verifier import decisions
from verifier.catalog import Agency, MaterialType, Matter, Names, Requirement, Scenario
from verifier.decisions import (
    CHECKS,
    EXPLANATIONS,
    ConsumeState,
    DecisionOutcome,
    Deliver,
    InclusionState,
    ReleaseState,
    ReuseFacts,
    decide,
)
from verifier.index import Claim
from verifier.verdicts import Outcome, SubjectMatch, Verdict, VerdictKind

TODAY = date(2026, 11, 10)
NAME = Names("演示", "demo")
AGENCY = Agency(
    code="12310104FAKE0011X9",
    version=1,
    name=NAME,
    area="310104",
    level="district",
    member_id=2,
    role="window",
)
REQUIREMENT = Requirement(
    req_id="r1",
    name=NAME,
    any_of=("M1002",),
    necessity="required",
    copies=1,
    exemption_routes=("certificate", "paper"),
    freshness_days=None,
    consume=False,
    fund=None,
)
MATTER = Matter(
    code="990110100100",
    version=1,
    name=NAME,
    area="310000",
    owner="11310000FAKE000212",
    agencies=frozenset({AGENCY.code}),
    requirements=(REQUIREMENT,),
)
TYPE = MaterialType(
    code="M1002",
    version=1,
    name=NAME,
    kind="certificate",
    subject_kinds=frozenset({"001"}),
    level="L1",
    share_type="1",
    issuers=frozenset({"11310000FAKE000212"}),
    domains=(1,),
    indexed=True,
    freshness_seconds=3600,
    validity_days=None,
    retention="permanent",
    consume_once=False,
    consume_domain=None,
)
SCENARIO = Scenario(
    code="SC-310000-0001",
    version=1,
    title=NAME,
    owner="11310000FAKE000212",
    status="live",
    matters=frozenset({MATTER.code}),
    material_types=frozenset({"M1002"}),
    first_day=date(2026, 1, 1),
    last_day=date(2026, 12, 31),
)


def claim(*, member_id: int = 3, issued_on: date | None = None, flags: Flag = Flag.NONE) -> Claim:
    record = MaterialRecord(commitment("m"), 1, 1, 0, ZERO_TAG, ZERO_TAG, ZERO_TAG, issued_on, None, flags)
    status = SlotStatus(StatusFlag(0), 0, 0, b"")
    return Claim(member_id, commitment("m"), (record,), ((0, 0),), 1, 0, status, (1,))


def verdict(kind: VerdictKind = VerdictKind.VALID, **changes: Any) -> Verdict:
    fresh = kind is not VerdictKind.STALE
    plain = Verdict(
        kind, (), SubjectMatch.MATCH, datetime(2026, 11, 10, tzinfo=UTC), fresh, None, claim(), "operator"
    )
    return structs.replace(plain, **changes)


GRANTED = ReuseFacts(
    member_id=2,
    member_active=True,
    agency=AGENCY,
    matter=MATTER,
    req_id="r1",
    type_code="M1002",
    material_type=TYPE,
    scenario=SCENARIO,
    basis="duty",
    purpose="开办企业",
    deliver=Deliver.BYTES,
    today=TODAY,
    verdict=verdict(),
    inclusion=InclusionState.PROVED,
    consume_state=ConsumeState.NOT_NEEDED,
    release_state=ReleaseState.DELIVERED,
)


def with_requirement(**changes: Any) -> Matter:
    return replace(MATTER, requirements=(replace(REQUIREMENT, **changes),))


D, A, R, P = (
    DecisionOutcome.DENIED,
    DecisionOutcome.NEEDS_AUTHORIZATION,
    DecisionOutcome.NEEDS_REVIEW,
    DecisionOutcome.PENDING,
)
# check, code, outcome, and what alone is wrong with facts that would be granted.
STOPPED: list[tuple[str, str, DecisionOutcome, dict[str, Any]]] = [
    ("member", "member_inactive", D, {"member_active": False}),
    ("member", "agency_unknown", D, {"agency": None}),
    ("member", "agency_foreign", D, {"agency": replace(AGENCY, member_id=9)}),
    ("matter", "matter_unknown", D, {"matter": None}),
    ("requirement", "requirement_unknown", D, {"req_id": "r9"}),
    ("requirement", "type_not_asked", D, {"type_code": "M5001"}),
    ("requirement", "type_unknown", D, {"material_type": None}),
    ("scenario", "scenario_unknown", D, {"scenario": None}),
    ("scenario", "scenario_not_live", D, {"scenario": replace(SCENARIO, status="suspended")}),
    ("scenario", "scenario_not_live", D, {"scenario": replace(SCENARIO, status="draft")}),
    ("scenario", "scenario_not_live", D, {"scenario": replace(SCENARIO, status="closed")}),
    ("scenario", "scenario_not_live", D, {"today": date(2027, 1, 1)}),
    ("scenario", "scenario_not_live", D, {"today": date(2025, 12, 31)}),
    ("scenario", "scenario_not_covering", D, {"scenario": replace(SCENARIO, matters=frozenset())}),
    ("scenario", "scenario_not_covering", D, {"scenario": replace(SCENARIO, material_types=frozenset())}),
    ("basis", "purpose_missing", D, {"purpose": " "}),
    ("basis", "no_basis", D, {"matter": replace(MATTER, agencies=frozenset())}),
    ("basis", "no_basis", D, {"basis": "curiosity"}),
    ("basis", "grant_not_found", A, {"basis": "grant"}),
    ("share", "share_not_allowed", D, {"material_type": replace(TYPE, share_type="3")}),
    ("level", "level_facts_only", D, {"material_type": replace(TYPE, level="L4")}),
    ("found", "not_found", D, {"verdict": None}),
    ("found", "not_found", D, {"verdict": verdict(VerdictKind.UNKNOWN, claim=None)}),
    ("found", "stale", R, {"verdict": verdict(VerdictKind.STALE, claim=None)}),
    ("subject", "subject_mismatch", D, {"verdict": verdict(subject_match=SubjectMatch.MISMATCH)}),
    ("subject", "subject_unchecked", R, {"verdict": verdict(subject_match=SubjectMatch.UNCHECKED)}),
    ("inclusion", "proof_invalid", D, {"inclusion": InclusionState.FAILED}),
    ("inclusion", "proof_unchecked", R, {"inclusion": InclusionState.UNCHECKED}),
    ("status", "record_pending", P, {"verdict": verdict(VerdictKind.PENDING)}),
    ("status", "suspended", D, {"verdict": verdict(VerdictKind.SUSPENDED)}),
    ("status", "revoked", D, {"verdict": verdict(VerdictKind.REVOKED)}),
    ("status", "superseded", D, {"verdict": verdict(VerdictKind.SUPERSEDED)}),
    ("status", "erased", D, {"verdict": verdict(VerdictKind.ERASED)}),
    ("status", "unknown", R, {"verdict": verdict(VerdictKind.UNKNOWN)}),
    ("validity", "expired", D, {"verdict": verdict(VerdictKind.EXPIRED)}),
    ("validity", "not_yet_valid", D, {"verdict": verdict(claim=claim(issued_on=date(2026, 11, 11)))}),
    (
        "validity",
        "too_old",
        D,
        {
            "matter": with_requirement(freshness_days=30),
            "verdict": verdict(claim=claim(issued_on=date(2026, 10, 10))),
        },
    ),
    ("validity", "issue_date_unknown", R, {"matter": with_requirement(freshness_days=30)}),
    ("freshness", "stale", R, {"verdict": verdict(VerdictKind.STALE, last_known=VerdictKind.VALID)}),
    ("freshness", "stale", R, {"verdict": verdict(fresh=False)}),
    ("consume", "consumed", D, {"consume_state": ConsumeState.TAKEN}),
    ("consume", "consumed", D, {"verdict": verdict(VerdictKind.CONSUMED)}),
    ("consume", "consume_required", P, {"consume_state": ConsumeState.FREE}),
    ("consume", "consume_required", P, {"matter": with_requirement(consume=True, fund="F1")}),
    ("consume", "consume_unconfirmed", P, {"consume_state": ConsumeState.UNCONFIRMED}),
    ("release", "asserted_bring_file", R, {"verdict": verdict(claim=claim(flags=Flag.ASSERTED))}),
    ("release", "release_pending", P, {"release_state": ReleaseState.WAITING}),
    ("release", "release_pending", P, {"release_state": ReleaseState.NOT_NEEDED}),
    ("release", "custodian_unavailable", R, {"release_state": ReleaseState.UNAVAILABLE}),
    ("release", "custodian_refused", D, {"release_state": ReleaseState.REFUSED}),
    ("release", "proof_invalid", D, {"release_state": ReleaseState.MISMATCH}),
]


def test_facts_without_a_fault_are_granted() -> None:
    decision = decide(GRANTED)
    assert (decision.outcome, decision.code) == (DecisionOutcome.GRANTED, "")
    assert [one.code for one in decision.checks] == [name for name, _ in CHECKS]
    assert {one.code for one in decision.checks if one.outcome is Outcome.SKIPPED} == {"consume"}


@pytest.mark.parametrize(("check", "code", "outcome", "changes"), STOPPED)
def test_one_fault_stops_at_its_check(
    check: str, code: str, outcome: DecisionOutcome, changes: dict[str, Any]
) -> None:
    decision = decide(replace(GRANTED, **changes))
    assert (decision.outcome, decision.code) == (outcome, code)
    failed = [one for one in decision.checks if one.outcome is Outcome.FAIL]
    assert [(one.code, one.detail) for one in failed] == [(check, code)]
    after = [one.outcome for one in decision.checks[decision.checks.index(failed[0]) + 1 :]]
    assert set(after) <= {Outcome.SKIPPED}
    assert (decision.explain_zh, decision.explain_en) == EXPLANATIONS[code]


@pytest.mark.parametrize("removed", [name for name, _ in CHECKS])
def test_a_check_that_is_removed_is_missed(removed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each check has a fault that no other check stops: without it that fault goes another way."""
    monkeypatch.setattr(decisions, "CHECKS", tuple(one for one in CHECKS if one[0] != removed))
    changed = [
        code
        for check, code, _, changes in STOPPED
        if check == removed and decide(replace(GRANTED, **changes)).code != code
    ]
    assert changed


@pytest.mark.parametrize(
    "changes",
    [
        {"deliver": Deliver.NONE, "release_state": ReleaseState.NOT_NEEDED},
        {"deliver": Deliver.FACTS, "material_type": replace(TYPE, level="L4")},
        {"deliver": Deliver.NONE, "verdict": verdict(claim=claim(flags=Flag.ASSERTED))},
        {"material_type": replace(TYPE, share_type="2")},
        {"basis": "grant", "grant_found": True},
        {"matter": replace(MATTER, owner=AGENCY.code, agencies=frozenset())},
        {"scenario": replace(SCENARIO, last_day=None), "today": date(2040, 1, 1)},
        {"today": date(2026, 12, 31)},
        {"consume_state": ConsumeState.OURS, "matter": with_requirement(consume=True, fund="F1")},
        {"consume_state": ConsumeState.OURS, "verdict": verdict(VerdictKind.CONSUMED)},
        {
            "verdict": verdict(claim=claim(member_id=2)),
            "material_type": replace(TYPE, level="L4"),
            "release_state": ReleaseState.NOT_NEEDED,
        },
        {
            "matter": with_requirement(freshness_days=31),
            "verdict": verdict(claim=claim(issued_on=date(2026, 10, 10))),
        },
    ],
)
def test_what_the_rules_allow_is_granted(changes: dict[str, Any]) -> None:
    assert decide(replace(GRANTED, **changes)).outcome is DecisionOutcome.GRANTED


def test_right_is_judged_before_knowledge() -> None:
    """Who may not ask gets the same answer whether the material exists or not."""
    for found, known in ((verdict(), True), (None, False), (verdict(VerdictKind.REVOKED), True)):
        for changes in ({"basis": "none"}, {"scenario": None}, {"agency": None}):
            decision = decide(replace(GRANTED, verdict=found, **changes))
            assert [one.outcome for one in decision.checks[7:]] == [Outcome.SKIPPED] * 8, known


def test_unknown_and_not_for_you_answer_alike() -> None:
    hidden, unknown = (
        decide(replace(GRANTED, verdict=one)) for one in (None, verdict(VerdictKind.UNKNOWN, claim=None))
    )
    assert hidden == unknown


def test_every_code_has_a_sentence_in_both_languages_and_a_fault_that_gives_it() -> None:
    assert {code for _, code, _, _ in STOPPED} | {""} == EXPLANATIONS.keys()
    for zh, en in EXPLANATIONS.values():
        assert zh.endswith("。") and en.endswith(".") and zh != en


@given(
    st.fixed_dictionaries(
        {
            "member_active": st.booleans(),
            "agency": st.sampled_from([AGENCY, None]),
            "matter": st.sampled_from([MATTER, None, with_requirement(consume=True, fund="F")]),
            "material_type": st.sampled_from(
                [TYPE, None, replace(TYPE, share_type="3"), replace(TYPE, level="L4")]
            ),
            "scenario": st.sampled_from([SCENARIO, None, replace(SCENARIO, status="suspended")]),
            "basis": st.sampled_from(["duty", "grant", ""]),
            "purpose": st.sampled_from(["p", ""]),
            "deliver": st.sampled_from(list(Deliver)),
            "verdict": st.sampled_from(
                [
                    None,
                    *[
                        verdict(kind, subject_match=match)
                        for kind, match in product(VerdictKind, SubjectMatch)
                    ],
                ]
            ),
            "inclusion": st.sampled_from(list(InclusionState)),
            "consume_state": st.sampled_from(list(ConsumeState)),
            "release_state": st.sampled_from(list(ReleaseState)),
        }
    )
)
def test_granted_is_never_said_on_missing_stale_unproven_or_unbound_facts(changes: dict[str, Any]) -> None:
    facts = replace(GRANTED, **changes)
    if decide(facts).outcome is not DecisionOutcome.GRANTED:
        return
    assert facts.verdict is not None and facts.verdict.fresh
    assert facts.verdict.kind in (VerdictKind.VALID, VerdictKind.CONSUMED)
    assert facts.verdict.kind is VerdictKind.VALID or facts.consume_state is ConsumeState.OURS
    assert facts.verdict.subject_match is SubjectMatch.MATCH
    assert facts.inclusion is InclusionState.PROVED
    assert facts.member_active and facts.agency and facts.matter and facts.scenario is SCENARIO
    assert facts.basis == "duty" and facts.purpose
    assert facts.material_type is not None and facts.material_type.share_type != "3"
    assert facts.consume_state in (ConsumeState.NOT_NEEDED, ConsumeState.OURS)
    assert facts.deliver is Deliver.NONE or facts.release_state is ReleaseState.DELIVERED
