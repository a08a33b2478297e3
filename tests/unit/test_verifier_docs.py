"""The verifier's pages name every kind, code and check that the code knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from verifier import entryrules
from verifier.catalog import KIND_NUMBERS
from verifier.decisions import CHECKS, EXPLANATIONS, DecisionOutcome, PlanOutcome
from verifier.verdicts import Outcome, SubjectMatch, VerdictKind

DOCS = Path(__file__).parents[2] / "docs" / "reference"


def missing(page: str, words: set[str]) -> set[str]:
    text = (DOCS / page).read_text("utf-8")
    return {word for word in words if f"`{word}`" not in text and f"| {word} |" not in text}


def test_every_kind_and_match_of_a_verdict_is_documented() -> None:
    words = {str(one) for enum in (VerdictKind, SubjectMatch, Outcome) for one in enum}
    codes = {"no_final_block", "final_block_old", "clock_behind_chain", "opaque_records", "claims"}
    assert missing("verdict.md", words | codes) == set()


def test_every_check_code_and_outcome_of_a_decision_is_documented() -> None:
    words = {name for name, _ in CHECKS} | set(EXPLANATIONS) - {""} | {str(one) for one in DecisionOutcome}
    assert missing("decision.md", words | {str(one) for one in PlanOutcome}) == set()


def test_every_kind_and_problem_of_an_entry_is_documented() -> None:
    text = (DOCS / "catalog-entry.md").read_text("utf-8")
    assert [kind for kind, number in KIND_NUMBERS.items() if f"| {number} | {kind} |" not in text] == []
    assert missing("catalog-entry.md", set(entryrules._SCHEMA_CODES.values())) == set()


@pytest.mark.parametrize("page", ["verdict.md", "decision.md", "catalog-entry.md"])
def test_page_is_short_and_shows_an_example_first(page: str) -> None:
    text = (DOCS / page).read_text("utf-8")
    assert len(text.split()) <= 700
    assert text.index("## Example") < 600
