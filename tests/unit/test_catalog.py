"""Catalogue entries: what may be published, what a reader takes for an entry, and when it counts."""

from __future__ import annotations

import copy
import json
from datetime import date
from importlib import resources
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor.canonical import canonical_bytes
from tests.unit.chain_factory import (
    Chain,
    agency_value,
    entry_key,
    index_of,
    names,
    published,
    published_text,
    type_value,
)
from verifier import events
from verifier.catalog import (
    KIND_NAMES,
    KIND_NUMBERS,
    MAX_TEXT_BYTES,
    CatalogView,
    Names,
    parse_entry,
    render_entry,
    validate_entry,
)
from verifier.errors import CatalogEntryInvalid, declared_places

USCC = "11310000FAKE000212"
PERIOD = {"from": "2026-01-01", "to": "2026-12-31"}
GOOD: dict[str, tuple[str, dict[str, Any]]] = {
    "agency": (USCC, agency_value(2)),
    "duty": (
        "DY-310000-SCJG-0007",
        {
            "agencyId": USCC,
            "name": names("registration"),
            "basis": {"title": {"zh": "条例", "en": "regulation"}, "article": "3"},
            "level": "city",
            "matterCodes": ["990110100100"],
            "effectiveFrom": "2026-01-01",
        },
    ),
    "dataset": (
        "3070001/0012",
        {
            "title": names("deposits"),
            "abstract": "monthly deposits",
            "providerId": "12310000FAKE00056H",
            "classCode": "3/07/0001",
            "format": "database",
            "items": [
                {
                    "name": "amount",
                    "label": names("amount"),
                    "type": "integer",
                    "nullable": False,
                    "sensitive": True,
                    "level": "L3",
                }
            ],
            "shareType": "2",
            "shareCondition": "by matter",
            "updateCycle": "daily",
            "publishedOn": "2026-01-01",
            "securityLevel": "L3",
        },
    ),
    "system": (
        "IS-310104-0003",
        {
            "name": names("window"),
            "ownerId": USCC,
            "protectionLevel": 3,
            "lifecycle": "running",
            "datasets": ["3070001/0012"],
            "cryptoReview": {"passed": True, "date": "2026-02-28"},
        },
    ),
    "standard": (
        "DS-GB32100",
        {
            "title": names("credit code"),
            "kind": "rule",
            "body": {"type": "string", "pattern": "^[0-9A-Z]{18}$"},
            "level": "national",
            "effectiveFrom": "2015-10-01",
        },
    ),
    "scenario": (
        "SC-310000-0001",
        {
            "title": names("open a firm"),
            "owner": USCC,
            "purpose": "opening a firm",
            "matters": ["990110100100"],
            "materialTypes": ["M1002"],
            "status": "live",
            "legalBasis": {"zh": "条例", "en": "regulation"},
            "risk": "low",
            "period": PERIOD,
        },
    ),
    "materialType": ("M1002", type_value()),
    "matter": (
        "990110100100",
        {
            "name": names("open a firm"),
            "area": "310000",
            "owner": USCC,
            "agencies": ["12310104FAKE0011X9"],
            "requirements": [
                {
                    "reqId": "r1",
                    "name": names("licence"),
                    "anyOf": ["M1002"],
                    "necessity": "required",
                    "copies": 1,
                    "exemptionRoutes": ["certificate", "paper"],
                    "freshnessDays": 30,
                    "consume": True,
                    "fund": "F1",
                }
            ],
        },
    ),
    "link": (
        "LK-0001",
        {
            "from": "DY-310000-SCJG-0007",
            "to": "3070001/0012",
            "kind": "duty_uses_dataset",
            "fromVersion": 1,
            "toVersion": 1,
        },
    ),
    "assessment": (
        "AS-310000-2026-01",
        {
            "scenarioCode": "SC-310000-0001",
            "kind": "benefit",
            "period": PERIOD,
            "indicators": [{"code": "reuses", "value": 412, "source": "ledger"}],
            "findings": [],
            "score": 95,
            "grade": "A",
            "decision": "keep",
            "assessor": USCC,
        },
    ),
}


def problems(kind: str, code: str, value: object) -> set[tuple[str, str]]:
    with pytest.raises(CatalogEntryInvalid) as caught:
        validate_entry(kind, code, value)
    assert caught.value.problems
    return {(one.pointer, one.code) for one in caught.value.problems}


def changed(kind: str, path: str, value: object) -> dict[str, Any]:
    """The good entry with the value at a JSON pointer replaced; `...` removes it."""
    made = copy.deepcopy(GOOD[kind][1])
    *parents, last = path.strip("/").split("/")
    node: Any = made
    for part in parents:
        node = node[int(part)] if isinstance(node, list) else node[part]
    if value is ...:
        del node[last]
    elif isinstance(node, list):
        node[int(last)] = value
    else:
        node[last] = value
    return made


def test_there_is_a_good_entry_and_a_schema_of_every_kind() -> None:
    assert GOOD.keys() == KIND_NUMBERS.keys()
    assert KIND_NAMES[7] == "materialType" and KIND_NUMBERS["assessment"] == 10
    for kind in GOOD:
        schema = json.loads(resources.files("verifier").joinpath("schemas", f"{kind}.json").read_text())
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        assert schema["$id"] == f"{kind}.json"
        assert _all_closed(schema), kind


def _all_closed(node: object) -> bool:
    """Every object schema names its fields and refuses others."""
    if isinstance(node, list):
        return all(_all_closed(item) for item in node)
    if not isinstance(node, dict):
        return True
    closed = "properties" not in node or node.get("additionalProperties") is False
    return closed and all(_all_closed(item) for item in node.values())


@pytest.mark.parametrize("kind", GOOD)
def test_good_entry_is_accepted_rendered_and_read_back(kind: str) -> None:
    code, value = GOOD[kind]
    assert validate_entry(kind, code, value) == value
    assert parse_entry(kind, code, render_entry(kind, code, value)) == value


@pytest.mark.parametrize("kind", GOOD)
def test_unknown_and_missing_fields_are_named(kind: str) -> None:
    code, value = GOOD[kind]
    assert problems(kind, code, value | {"colour": "red"}) == {("/colour", "unknown_field")}
    first = next(iter(value))
    assert problems(kind, code, {name: item for name, item in value.items() if name != first}) >= {
        (f"/{first}", "missing")
    }
    for wrong in (None, [], "text", 7, True):
        assert ("", "wrong_type") in problems(kind, code, wrong)


BAD: list[tuple[str, str, object, str]] = [
    ("agency", "/area", "310199", "area_unknown"),
    ("agency", "/area", "31010a", "wrong_format"),
    ("agency", "/level", "province", "not_allowed"),
    ("agency", "/memberId", 0, "out_of_range"),
    ("agency", "/memberId", True, "wrong_type"),
    ("agency", "/name/en", ..., "missing"),
    ("agency", "/name/zh", "", "too_short"),
    ("agency", "/name/zh", "a\u0000b", "control_character"),
    ("agency", "/name/zh", "x" * 201, "too_long"),
    ("duty", "/agencyId", "11310000FAKE000213", "uscc_check_digit"),
    ("duty", "/effectiveFrom", "2026-02-30", "date_unknown"),
    ("duty", "/effectiveFrom", "2026-02-28\n", "control_character"),
    ("dataset", "/shareCondition", ..., "share_condition_required"),
    ("dataset", "/shareType", "3", "share_basis_required"),
    ("dataset", "/shareType", "4", "not_allowed"),
    ("dataset", "/securityLevel", "L2", "below_items"),
    ("dataset", "/items", [], "too_few"),
    ("dataset", "/items/0/type", "float", "not_allowed"),
    ("dataset", "/publishedOn", "2026-13-01", "date_unknown"),
    ("dataset", "/providerId", USCC[:-1] + "3", "uscc_check_digit"),
    ("system", "/protectionLevel", 6, "out_of_range"),
    ("system", "/goLive", "2026-00-01", "date_unknown"),
    ("system", "/cryptoReview/date", "2026-02-31", "date_unknown"),
    ("system", "/operatorId", USCC[:-1] + "3", "uscc_check_digit"),
    ("standard", "/body", 7, "wrong_type"),
    ("scenario", "/period/to", "2025-12-31", "before_start"),
    ("scenario", "/period/from", "2026-02-30", "date_unknown"),
    ("scenario", "/status", "approved", "not_allowed"),
    ("scenario", "/owner", USCC[:-1] + "3", "uscc_check_digit"),
    ("materialType", "/issuers", [USCC, USCC], "duplicate"),
    ("materialType", "/issuers/0", USCC[:-1] + "3", "uscc_check_digit"),
    ("materialType", "/shareType", "2", "share_condition_required"),
    ("materialType", "/shareType", "3", "share_basis_required"),
    ("materialType", "/shareType", True, "not_allowed"),
    ("materialType", "/level", "L5", "not_allowed"),
    ("materialType", "/domains", [], "too_few"),
    ("materialType", "/domains", [65536], "out_of_range"),
    ("materialType", "/consumeOnce", True, "missing"),
    ("materialType", "/consumeDomain", 1, "not_allowed"),
    ("materialType", "/subjectKinds", ["414"], "not_allowed"),
    ("materialType", "/freshnessSeconds", 0, "out_of_range"),
    ("matter", "/agencies/0", "12310104FAKE0011X8", "uscc_check_digit"),
    ("matter", "/owner", USCC[:-1] + "3", "uscc_check_digit"),
    ("matter", "/area", "990000", "area_unknown"),
    ("matter", "/requirements", [], "too_few"),
    ("matter", "/requirements/0/necessity", "conditional", "missing"),
    ("matter", "/requirements/0/fund", ..., "missing"),
    ("matter", "/requirements/0/exemptionRoutes", ["magic"], "not_allowed"),
    ("matter", "/requirements/0/colour", 1, "unknown_field"),
    ("link", "/kind", "likes", "not_allowed"),
    ("assessment", "/score", 101, "out_of_range"),
    ("assessment", "/assessor", USCC[:-1] + "3", "uscc_check_digit"),
    ("assessment", "/period/to", "2025-12-31", "before_start"),
]


# Where a rule names another field than the one that was changed.
ELSEWHERE = {
    ("/shareType", "share_condition_required"): "/shareCondition",
    ("/shareType", "share_basis_required"): "/legalBasis",
    ("/consumeOnce", "missing"): "/consumeDomain",
    ("/requirements/0/necessity", "missing"): "/requirements/0/condition",
    ("/subjectKinds", "not_allowed"): "/subjectKinds/0",
    ("/domains", "out_of_range"): "/domains/0",
    ("/requirements/0/exemptionRoutes", "not_allowed"): "/requirements/0/exemptionRoutes/0",
}


def test_the_name_of_an_unknown_field_is_for_its_sender_alone() -> None:
    """A message goes into answers and logs; what a sender wrote into an entry must not."""
    code, value = GOOD["duty"]
    for strange in ({"310104185001010014": 1}, {"a/b": {"310104185001010014": "x\n"}}):
        with pytest.raises(CatalogEntryInvalid) as refused:
            validate_entry("duty", code, value | strange)
        assert "310104185001010014" not in str(refused.value)
        shown = declared_places(refused.value.problems)
        assert {one.pointer for one in shown} == {""}
        assert ("", "unknown_field") in {(one.pointer, one.code) for one in shown}


@pytest.mark.parametrize(("kind", "path", "value", "expected"), BAD)
def test_bad_field_is_named_with_its_code(kind: str, path: str, value: object, expected: str) -> None:
    found = problems(kind, GOOD[kind][0], changed(kind, path, value))
    assert (ELSEWHERE.get((path, expected), path), expected) in found


def test_two_requirements_or_items_of_one_name_are_refused() -> None:
    requirement = GOOD["matter"][1]["requirements"][0]
    doubled = changed("matter", "/requirements", [requirement, requirement | {"copies": 2}])
    assert problems("matter", "990110100100", doubled) == {("/requirements/1/reqId", "duplicate")}
    item = GOOD["dataset"][1]["items"][0]
    doubled = changed("dataset", "/items", [item, item | {"type": "string"}])
    assert problems("dataset", "3070001/0012", doubled) == {("/items/1/name", "duplicate")}


@pytest.mark.parametrize(
    ("kind", "code", "expected"),
    [
        ("agency", "11310000FAKE000213", "code_check_digit"),
        ("agency", "short", "code_wrong_format"),
        ("duty", "DY-999999-SCJG-0007", "code_area_unknown"),
        ("system", "IS-31-1", "code_wrong_format"),
        ("dataset", "a/b", "code_wrong_format"),
        ("scenario", "SC-310000-0001\n", "code_wrong_format"),
        ("materialType", "", "code_wrong_format"),
        ("materialType", "m1002", "code_wrong_format"),
        ("matter", "x" * 41, "code_wrong_format"),
        ("standard", "GB32100", "code_wrong_format"),
        ("link", "1", "code_wrong_format"),
        ("assessment", "1", "code_wrong_format"),
    ],
)
def test_bad_code_is_refused(kind: str, code: str, expected: str) -> None:
    assert problems(kind, code, GOOD[kind][1]) == {("", expected)}


def test_unknown_kind_is_refused() -> None:
    assert problems("nonsense", "x", {}) == {("", "kind_unknown")}


def test_sharing_class_as_a_number_is_written_as_text() -> None:
    assert validate_entry("materialType", "M1002", type_value(shareType=1)) == type_value(shareType="1")
    assert render_entry("materialType", "M1002", type_value(shareType=1)) == render_entry(
        "materialType", "M1002", type_value()
    )


def test_what_has_no_canonical_text_is_refused() -> None:
    for value in (1.0, 2**53, float("nan"), "e\u0301", "\ud800"):
        found = problems("standard", "DS-X", changed("standard", "/body", {"v": value}))
        assert ("", "not_canonical") in found
    huge = changed("standard", "/body", ["x" * 60_000, "y" * 6_000])
    assert problems("standard", "DS-X", huge) == {("", "too_large")}


def test_no_problem_repeats_what_was_sent() -> None:
    for kind, path, value, _ in BAD:
        with pytest.raises(CatalogEntryInvalid) as caught:
            validate_entry(kind, GOOD[kind][0], changed(kind, path, value))
        if isinstance(value, str) and len(value) > 3:
            assert value not in f"{caught.value} {caught.value.facts}"


# Texts from the chain


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text + b" ",
        lambda text: b" " + text,
        lambda text: text.replace(b'"en":', b'"en": ', 1),
        lambda text: text[:-1],
        lambda text: text.replace(b'"area":"310000",', b'"area":"310000","area":"310000",'),
        lambda text: json.dumps(json.loads(text), ensure_ascii=True).encode(),
        lambda text: b"\xff" + text,
        lambda text: b"",
        lambda text: b"[" * 100_000,
        lambda text: b"null",
        lambda text: b'{"a":1e5}',
        lambda text: b" " * (MAX_TEXT_BYTES + 1),
    ],
)
def test_text_that_is_not_the_canonical_one_is_no_entry(spoil: Any) -> None:
    text = render_entry("agency", USCC, agency_value(2))
    assert spoil(text) != text
    with pytest.raises(CatalogEntryInvalid):
        parse_entry("agency", USCC, spoil(text))


@given(st.sampled_from(sorted(GOOD)), st.binary(max_size=300))
def test_random_bytes_raise_only_the_typed_error(kind: str, text: bytes) -> None:
    with pytest.raises(CatalogEntryInvalid):
        parse_entry(kind, GOOD[kind][0], text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(sorted(GOOD)), st.data())
def test_any_value_in_any_field_is_accepted_or_refused_with_the_typed_error(
    kind: str, pick: st.DataObject
) -> None:
    code, value = GOOD[kind]
    field = pick.draw(st.sampled_from(sorted(value)))
    made = value | {field: pick.draw(JSON)}
    try:
        normal = validate_entry(kind, code, made)
    except CatalogEntryInvalid:
        return
    assert parse_entry(kind, code, canonical_bytes(normal)) == normal


# The view


def view_of(*made: events.Event) -> tuple[Chain, Any, CatalogView]:
    chain = Chain()
    chain.add(*made)
    index = index_of(chain)
    return chain, index, CatalogView(index)


def test_view_reads_the_four_kinds_that_decide() -> None:
    made = [
        published(kind, GOOD[kind][0], GOOD[kind][1])
        for kind in ("agency", "materialType", "matter", "scenario")
    ]
    _, _, view = view_of(*made)
    agency, kind = view.agency(USCC), view.material_type("M1002")
    matter, scenario = view.matter("990110100100"), view.scenario("SC-310000-0001")
    assert agency is not None and (agency.member_id, agency.name) == (2, Names("agency(演示)", "agency"))
    assert kind is not None and (kind.share_type, kind.freshness_seconds, kind.domains) == ("1", 3600, (1,))
    assert matter is not None and matter.may_ask(USCC) and matter.may_ask("12310104FAKE0011X9")
    assert not matter.may_ask("12310115FAKE001287")
    requirement = matter.requirement("r1")
    assert requirement is not None and (requirement.freshness_days, requirement.fund) == (30, "F1")
    assert matter.asks_for("r1", "M1002") and not matter.asks_for("r1", "M1001")
    assert not matter.asks_for("r2", "M1002") and matter.requirement("r2") is None
    assert scenario is not None
    assert scenario.covers("990110100100", "M1002", date(2026, 12, 31))
    assert not scenario.covers("990110100100", "M1002", date(2027, 1, 1))
    assert not scenario.covers("990110100100", "M1001", date(2026, 5, 1))
    assert [one.code for one in view.material_types()] == ["M1002"]


def test_what_is_absent_pending_retired_or_invalid_is_none() -> None:
    chain, index, view = view_of(
        published("materialType", "M0001", type_value(), state=1),
        published("materialType", "M0002", type_value()),
        published_text("materialType", "M0003", b'{"name":1}'),
        published_text("agency", USCC, render_entry("agency", USCC, agency_value(2)) + b" "),
    )
    index.apply(chain.add(events.EntryStateChanged(entry_key("materialType", "M0002"), 1, 3)))
    assert [view.material_type(code) for code in ("M0001", "M0002", "M0003", "M0004")] == [None] * 4
    assert view.agency(USCC) is None and view.material_types() == ()


def test_view_follows_the_index() -> None:
    chain, index, view = view_of(published("materialType", "M1002", type_value()))
    assert view.material_type("M1002").level == "L1"  # type: ignore[union-attr]
    assert view.material_type("M1001") is None
    index.apply(
        chain.add(
            published("materialType", "M1002", type_value(level="L2"), version=2),
            published("materialType", "M1001", type_value()),
        )
    )
    assert view.material_type("M1002").level == "L2"  # type: ignore[union-attr]
    assert view.material_type("M1001") is not None
    index.rollback(chain.head.number - 1)
    assert view.material_type("M1002").level == "L1"  # type: ignore[union-attr]


def test_view_parses_an_entry_once(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, view = view_of(published("materialType", "M1002", type_value()))
    first = view.material_type("M1002")
    monkeypatch.setattr("verifier.catalog.parse_entry", None)
    assert view.material_type("M1002") is first


def test_cache_of_absent_codes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifier.catalog._CACHE_LIMIT", 10)
    _, _, view = view_of(published("materialType", "M1002", type_value()))
    for number in range(100):
        assert view.material_type(f"N{number}") is None
    assert len(view._cache) <= 10
    assert view.material_type("M1002") is not None


def test_issuers_are_the_members_that_host_them() -> None:
    other = "11310000FAKE0003XR"
    chain, index, view = view_of(
        published("agency", USCC, agency_value(2)),
        published("agency", other, agency_value(5)),
        published("materialType", "M1002", type_value()),
        published("materialType", "M1001", type_value(issuers=[other], domains=[2])),
    )
    assert (view.issuer_members("M1002"), view.issuer_members("M9999")) == ({2}, frozenset())
    assert (view.issuer_members_in(1), view.issuer_members_in(2), view.issuer_members_in(3)) == (
        {2},
        {5},
        frozenset(),
    )
    assert view.hosts_of_issuers("M1002") == {2}
    index.apply(chain.add(events.EntryStateChanged(entry_key("agency", USCC), 1, 3)))
    assert (view.issuer_members("M1002"), view.hosts_of_issuers("M1002")) == ({2}, frozenset())
