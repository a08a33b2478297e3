"""The exit table knows every error code of every package, and a bad answer is never 0."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

import pytest

from anchor.errors import DeltasealError
from anchor.problemrows import REGISTRY
from cli.exitcodes import (
    ERROR_EXITS,
    MEANINGS,
    OUTCOME_EXITS,
    VERDICT_EXITS,
    ExitCode,
    exit_for_code,
    exit_for_outcome,
    exit_for_verdict,
    worst,
)
from cli.titles import OWN_TITLES
from verifier.verdicts import VerdictKind


def all_errors() -> Iterator[type[DeltasealError]]:
    """Import every module, so that every error is known, and walk the subclasses."""
    for root in ("anchor", "verifier", "node", "cli"):
        package = importlib.import_module(root)
        for module in pkgutil.walk_packages(package.__path__, f"{root}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    pending = [DeltasealError]
    while pending:
        error = pending.pop()
        pending += error.__subclasses__()
        if error is not DeltasealError and error.__module__.split(".")[0] != "tests":
            yield error


def test_every_error_has_an_exit_code() -> None:
    missing = sorted({error.code for error in all_errors()} - ERROR_EXITS.keys())
    assert not missing, f"give these a row in cli/exitcodes.py: {missing}"


def test_every_problem_of_the_node_has_an_exit_code() -> None:
    missing = sorted(REGISTRY.keys() - ERROR_EXITS.keys())
    assert not missing, f"give these a row in cli/exitcodes.py: {missing}"


def test_every_error_has_one_chinese_title_of_its_own_or_of_the_node() -> None:
    assert not OWN_TITLES.keys() & REGISTRY.keys()
    assert OWN_TITLES.keys() | REGISTRY.keys() == ERROR_EXITS.keys()


def test_no_error_ends_as_success_or_as_a_verdict() -> None:
    kinds = {ExitCode.OK, ExitCode.STALE, ExitCode.NOT_USABLE, ExitCode.DENIED, ExitCode.PARTIAL}
    assert not kinds & set(ERROR_EXITS.values())


def test_every_number_has_a_meaning() -> None:
    assert MEANINGS.keys() == set(ExitCode)


def test_every_verdict_has_an_exit_code_and_only_valid_is_zero() -> None:
    assert VERDICT_EXITS.keys() == {kind.value for kind in VerdictKind}
    assert [name for name, code in VERDICT_EXITS.items() if code is ExitCode.OK] == ["valid"]


@pytest.mark.parametrize("kind", list(VERDICT_EXITS))
def test_another_persons_document_is_never_zero(kind: str) -> None:
    assert exit_for_verdict(kind, subject_match="mismatch") is ExitCode.PROOF_FAILED


def test_a_verdict_that_is_not_fresh_or_not_known_is_never_zero() -> None:
    assert exit_for_verdict("valid", fresh=False) is ExitCode.STALE
    assert exit_for_verdict("splendid") is ExitCode.STALE
    assert exit_for_verdict("revoked", fresh=False) is ExitCode.NOT_USABLE


def test_only_a_grant_is_zero() -> None:
    assert [name for name, code in OUTCOME_EXITS.items() if code is ExitCode.OK] == ["granted"]
    assert exit_for_outcome("surprising") is ExitCode.DENIED


@pytest.mark.parametrize(
    ("status", "expected"),
    [(400, 6), (401, 4), (403, 4), (404, 3), (409, 5), (412, 5), (422, 6), (429, 8), (500, 8), (503, 8)],
)
def test_an_unknown_problem_is_judged_by_its_status(status: int, expected: int) -> None:
    assert exit_for_code("brand_new", status=status) == expected


def test_an_unknown_error_is_a_failure() -> None:
    assert exit_for_code("brand_new") is ExitCode.UNEXPECTED


def test_of_several_the_gravest_counts() -> None:
    assert worst([0, 11, 12, 0]) is ExitCode.NOT_USABLE
    assert worst([11, 10, 12]) is ExitCode.PROOF_FAILED
    assert worst([0, 0]) is ExitCode.OK and worst([]) is ExitCode.OK
    assert worst([0, 7]) is ExitCode.PARTIAL
