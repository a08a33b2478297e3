"""The demonstration's catalogue and cast: every entry passes the rules that a node applies to it."""

import json
from collections import Counter
from datetime import date

import pytest
from stdnum.cn import uscc

from cli.demo import catalogue, people
from cli.demo.entry import CatalogueEntry
from verifier.catalog import render_entry, validate_entry
from verifier.subjects import parse_subject

ENTRIES = catalogue.entries()
TODAY = date(2026, 11, 1)


def by_kind(kind: str) -> dict[str, CatalogueEntry]:
    return {entry.code: entry for entry in ENTRIES if entry.kind == kind}


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.kind}/{entry.code}")
def test_entry_passes_the_rules_of_its_kind(entry: CatalogueEntry) -> None:
    assert validate_entry(entry.kind, entry.code, entry.entry) == entry.entry


def test_kinds_are_there_in_the_promised_numbers() -> None:
    counts = Counter(entry.kind for entry in ENTRIES)
    assert counts["materialType"] == 12
    assert counts["matter"] == 6
    assert counts["agency"] == 13
    assert counts["scenario"] >= 3
    assert {"duty", "dataset", "system", "standard", "link"} <= set(counts)


def test_no_entry_stands_twice() -> None:
    assert len({(entry.kind, entry.code) for entry in ENTRIES}) == len(ENTRIES)


def test_all_entries_fit_into_one_transaction() -> None:
    texts = [render_entry(entry.kind, entry.code, entry.entry) for entry in ENTRIES]
    assert len(texts) <= 256
    assert sum(len(text) for text in texts) <= 102_400


def test_import_line_holds_kind_code_and_entry() -> None:
    line = json.loads(ENTRIES[0].as_line())
    assert line == {"kind": ENTRIES[0].kind, "code": ENTRIES[0].code, "entry": ENTRIES[0].entry}


def test_matters_ask_for_types_that_exist() -> None:
    types = by_kind("materialType")
    for matter in by_kind("matter").values():
        for requirement in matter.entry["requirements"]:
            assert set(requirement["anyOf"]) <= set(types), matter.code


def test_scenarios_and_matters_name_agencies_and_each_other() -> None:
    agencies, matters, types = by_kind("agency"), by_kind("matter"), by_kind("materialType")
    for matter in matters.values():
        assert {matter.entry["owner"], *matter.entry["agencies"]} <= set(agencies)
        assert matter.entry["dutyCode"] in by_kind("duty")
    for scenario in by_kind("scenario").values():
        assert scenario.entry["owner"] in agencies
        assert set(scenario.entry["matters"]) <= set(matters)
        assert set(scenario.entry["materialTypes"]) <= set(types)


def test_every_line_of_a_matter_is_covered_by_a_live_scenario() -> None:
    live = [each.entry for each in by_kind("scenario").values() if each.entry["status"] == "live"]
    for matter in by_kind("matter").values():
        wanted = {code for line in matter.entry["requirements"] for code in line["anyOf"]}
        # The two types of level 4 are asked for at their issuer, not found by their subject.
        covered = {
            code for each in live if matter.code in each["matters"] for code in each["materialTypes"]
        } | {"M1004", "M1006"}
        assert wanted <= covered, matter.code


def test_links_join_entries_that_exist() -> None:
    known = {entry.code for entry in ENTRIES}
    for link in by_kind("link").values():
        assert {link.entry["from"], link.entry["to"]} <= known


def test_members_host_agencies_whose_entry_says_so() -> None:
    agencies = by_kind("agency")
    for member in people.MEMBERS:
        assert member.own.key == member.key
        for agency in member.agencies:
            assert agencies[agency.uscc].entry["memberId"] == member.member_id


@pytest.mark.parametrize("party", [*people.PEOPLE, *people.FIRMS, *people.PROJECTS, people.file_project(0)])
def test_parties_are_valid_subjects(party: people.Party) -> None:
    subject = parse_subject(party.id_type, party.id, today=TODAY)
    assert (subject.id_type, subject.id) == (party.id_type, party.id)


@pytest.mark.parametrize(
    "code", [*(agency.uscc for agency in people.AGENCIES), *(firm.id for firm in people.FIRMS)]
)
def test_organisation_codes_pass_both_check_digits(code: str) -> None:
    assert uscc.is_valid(code)
    assert code[16] == _org_check(code[8:16])


def _org_check(body: str) -> str:
    """Compute the check character of GB 11714 for the eight characters before it."""
    total = sum(weight * int(char, 36) for weight, char in zip((3, 7, 9, 10, 5, 8, 4, 2), body, strict=True))
    return "0123456789X"[-total % 11]


def test_every_display_name_says_that_it_is_fictional() -> None:
    named = [*people.AGENCIES, *people.FIRMS, *people.PEOPLE, *people.PROJECTS]
    assert all("演示" in each.zh or "示范" in each.zh for each in named)


def test_file_projects_differ_and_stay_clear_of_the_cast() -> None:
    codes = [people.file_project(number).id for number in (0, 1, 999, 799_999)]
    assert len(set(codes)) == 4
    assert {project.id for project in people.PROJECTS}.isdisjoint(codes)
