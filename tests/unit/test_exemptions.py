"""Exemption routes: a route exempts on valid, fresh and matching evidence only; the rest says why not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from msgspec import structs

from anchor.entries import StatusFlag
from anchor.records import Flag
from tests.unit.chain_factory import (
    CITY,
    FIRM,
    OTHER_FIRM,
    T0,
    Chain,
    agency_value,
    commitment,
    index_of,
    material,
    published,
    ring,
    status,
    type_value,
)
from verifier.catalog import CatalogView, Names, Requirement
from verifier.exemptions import PlanOutcome, RequirementPlan, plan_all, plan_requirement
from verifier.verdicts import Moment, Outcome, Verdict, VerdictKind

ISSUER_MEMBER, OTHER_MEMBER = 2, 3
ROUTES = ("certificate", "history", "data_check", "commitment", "paper")


def chain_with_catalogue() -> Chain:
    chain = Chain()
    chain.add(
        published("agency", "11310000FAKE000212", agency_value(ISSUER_MEMBER), log_index=0),
        published("materialType", "M1002", type_value(), log_index=1),
        published("materialType", "M5001", type_value(issuers=[]), log_index=2),
        published("materialType", "M9003", type_value(shareType="3", legalBasis="law"), log_index=3),
    )
    return chain


def need(*routes: str, **changes: Any) -> Requirement:
    plain = Requirement(
        req_id="r1",
        name=Names("演示", "demo"),
        any_of=("M1002",),
        necessity="required",
        copies=1,
        exemption_routes=routes or ROUTES,
        freshness_days=None,
        consume=False,
        fund=None,
    )
    return replace(plain, **changes)


def plan(
    chain: Chain, requirement: Requirement, *, faults: tuple[str, ...] = (), seconds: int = 5, **changes: Any
) -> RequirementPlan:
    index = index_of(chain, **changes)
    return plan_requirement(
        requirement,
        FIRM,
        index=index,
        catalog=CatalogView(index),
        keys=ring(CITY),
        faults=faults,
        now=datetime.fromtimestamp(chain.head.time + seconds, UTC),
    )


def test_issuers_own_claim_exempts_by_certificate() -> None:
    chain = chain_with_catalogue()
    chain.append(ISSUER_MEMBER, material("m"))
    found = plan(chain, need())
    assert (found.route, found.outcome, found.type_code) == ("certificate", PlanOutcome.EXEMPT, "M1002")
    assert found.claim is not None and found.claim.commitment == commitment("m")


def test_another_agencys_claim_exempts_by_history() -> None:
    chain = chain_with_catalogue()
    chain.append(OTHER_MEMBER, material("m"))
    found = plan(chain, need())
    assert (found.route, found.outcome) == ("history", PlanOutcome.EXEMPT)
    assert [(one.code, one.outcome, one.detail) for one in found.reasons] == [
        ("certificate", Outcome.FAIL, "not_by_issuer"),
        ("history", Outcome.PASS, "held as M1002"),
    ]
    assert plan(chain, need("certificate", "paper")).outcome is PlanOutcome.BRING_PAPER


def test_any_of_the_types_will_do() -> None:
    chain = chain_with_catalogue()
    chain.append(OTHER_MEMBER, material("m", type_code="M5001"))
    found = plan(chain, need(any_of=("M1002", "M5001")))
    assert (found.outcome, found.type_code) == (PlanOutcome.EXEMPT, "M5001")


def test_usable_claim_is_found_beside_a_revoked_one() -> None:
    chain = chain_with_catalogue()
    chain.append(ISSUER_MEMBER, material("old"), material("new", sha256=b"2" * 32))
    chain.add(status(ISSUER_MEMBER, "old", StatusFlag.REVOKED))
    found = plan(chain, need())
    assert found.claim is not None and found.claim.commitment == commitment("new")


ISSUED = datetime.fromtimestamp(T0, UTC).date()


@pytest.mark.parametrize(
    ("records", "flag", "changes", "why"),
    [
        ([], None, {}, "not_found"),
        ([material("m", subject=OTHER_FIRM)], None, {}, "not_found"),
        ([material("m", type_code="M5001")], None, {}, "not_found"),
        ([material("m")], StatusFlag.REVOKED, {}, "revoked"),
        ([material("m")], StatusFlag.SUSPENDED, {}, "suspended"),
        ([material("m")], StatusFlag.SUPERSEDED, {}, "superseded"),
        ([material("m")], StatusFlag.ERASED, {}, "erased"),
        ([material("m", expires_on=date(2026, 1, 1))], None, {}, "expired"),
        ([material("m", flags=Flag.ASSERTED)], None, {}, "asserted_bring_file"),
        ([material("m")], None, {"freshness_days": 30}, "issue_date_unknown"),
        ([material("m", issued_on=ISSUED - timedelta(days=31))], None, {"freshness_days": 30}, "too_old"),
        ([material("m", issued_on=ISSUED + timedelta(days=2))], None, {}, "not_yet_valid"),
    ],
)
def test_what_does_not_exempt_asks_for_paper_and_says_why(
    records: list[bytes], flag: StatusFlag | None, changes: dict[str, Any], why: str
) -> None:
    chain = chain_with_catalogue()
    if records:
        chain.append(ISSUER_MEMBER, *records)
    if flag is not None:
        chain.add(status(ISSUER_MEMBER, "m", flag))
    found = plan(chain, need("certificate", "history", "paper", **changes))
    assert (found.route, found.outcome, found.claim) == ("certificate", PlanOutcome.BRING_PAPER, None)
    assert [one.detail for one in found.reasons] == [why, why, "bring the paper"]


def test_what_only_the_node_knows_of_a_claim_counts_too() -> None:
    chain = chain_with_catalogue()
    chain.append(ISSUER_MEMBER, material("old"), material("new", sha256=b"2" * 32))
    index = index_of(chain)
    now = datetime.fromtimestamp(chain.head.time, UTC)
    moment = Moment(index=index, catalog=CatalogView(index), keys=ring(CITY), faults=(), now=now)
    gone = {commitment("old")}

    def worsened(verdict: Verdict) -> Verdict:
        assert verdict.claim is not None
        known = verdict.claim.commitment in gone
        return structs.replace(verdict, kind=VerdictKind.REVOKED) if known else verdict

    requirement = need("certificate", "paper")
    (found,) = plan_all([requirement], FIRM, moment=moment, worsened=worsened)
    assert found.claim is not None and found.claim.commitment == commitment("new")
    gone.add(commitment("new"))
    (found,) = plan_all([requirement], FIRM, moment=moment, worsened=worsened)
    assert (found.outcome, found.reasons[0].detail) == (PlanOutcome.BRING_PAPER, "revoked")


def test_claim_that_is_not_final_does_not_exempt() -> None:
    chain = chain_with_catalogue()
    index = index_of(chain)
    index.apply(chain.append(ISSUER_MEMBER, material("m")))
    found = plan_requirement(
        need("certificate", "paper"),
        FIRM,
        index=index,
        catalog=CatalogView(index),
        keys=ring(CITY),
        faults=(),
        now=datetime.fromtimestamp(chain.head.time, UTC),
    )
    assert (found.outcome, found.reasons[0].detail) == (PlanOutcome.BRING_PAPER, "pending")


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("trouble", [{"faults": ("chain_unavailable",)}, {"seconds": 3601}, {"final": False}])
def test_unknown_state_is_unavailable_whatever_is_held(held: bool, trouble: dict[str, Any]) -> None:
    chain = chain_with_catalogue()
    if held:
        chain.append(ISSUER_MEMBER, material("m"))
    found = plan(chain, need(), **trouble)
    assert (found.route, found.outcome, found.claim) == ("certificate", PlanOutcome.UNAVAILABLE, None)
    assert found.reasons[0].outcome is Outcome.FAIL


@pytest.mark.parametrize(("seconds", "outcome"), [(60, "bring_paper"), (61, "unavailable")])
def test_types_with_a_tighter_bound_are_unavailable_before_the_others(seconds: int, outcome: str) -> None:
    chain = chain_with_catalogue()
    chain.add(published("materialType", "M5002", type_value(freshnessSeconds=60)))
    requirement = need("history", "paper", any_of=("M1002", "M5002"))
    assert plan(chain, requirement, seconds=seconds).outcome == outcome
    chain.append(OTHER_MEMBER, material("m"))
    assert plan(chain, requirement, seconds=seconds).outcome is PlanOutcome.EXEMPT


def test_routes_without_connector_are_named_as_such() -> None:
    found = plan(chain_with_catalogue(), need("data_check", "assistance", "commitment"))
    assert (found.route, found.outcome) == ("data_check", PlanOutcome.NOT_CONFIGURED)
    assert [one.code for one in found.reasons] == ["data_check", "assistance", "commitment"]


@pytest.mark.parametrize("type_code", ["M9003", "M9999"])
def test_type_that_is_not_shared_or_not_approved_exempts_nothing(type_code: str) -> None:
    chain = chain_with_catalogue()
    chain.append(ISSUER_MEMBER, material("m", type_code=type_code))
    assert plan(chain, need(any_of=(type_code,))).outcome is PlanOutcome.BRING_PAPER
