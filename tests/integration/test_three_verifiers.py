"""Python, browser and contract judge every receipt alike: the same vectors, every single-field change, each byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser_verifier import NODE, SOURCES, ask_browser
from tests.support.verifier_cases import (
    AT,
    VerifierCase,
    byte_flips,
    encode,
    mutations,
    network_case,
    text_flips,
    vector_cases,
)
from tests.unit import receipt_factory as made
from verifier.receipts import render_receipt
from verifier.trust import render_trust

Lines = list[dict[str, Any]]


def judged(lines: Lines) -> Lines:
    """Return what a verifier said, without its own name."""
    return [{name: value for name, value in line.items() if name != "verifier"} for line in lines]


def compare(cases: Sequence[VerifierCase]) -> list[Lines]:
    """Ask both and require the same lines of each case; return them."""
    answers = list(ask_browser(cases))
    assert len(answers) == len(cases)
    found = []
    for case, answer in zip(cases, answers, strict=True):
        lines = case.python_lines()
        assert judged(answer.get("lines", [answer])) == judged(lines), case.name
        found.append(lines)
    return found


def test_vectors_are_judged_alike() -> None:
    found = compare(list(vector_cases()))
    verdicts = {lines[-1]["verdict"] for lines in found}
    assert {"valid", "revoked", "expired", "stale", "unproven", "proof_invalid"} <= verdicts


def test_every_single_field_change_is_judged_alike_and_none_passes_that_alters_the_meaning() -> None:
    case = network_case()
    changed = list(mutations(case))
    assert len(changed) > 1000
    for each, lines in zip(changed, compare(changed), strict=True):
        if lines[-1]["verdict"] == "valid":
            assert meaning(each.receipt) == meaning(case.receipt), each.name


def meaning(receipt: bytes) -> Any:
    """Return what a receipt says, without what docs/reference/receipt.md lists as not authenticated.

    That is where the opened leaves stand (it only shapes the tree) and which documents' slots are shown; the order
    of the nodes says nothing.
    """
    said = json.loads(receipt)
    opening, nodes = said.pop("opening"), said.pop("nodes")
    del said["status"]["documents"]
    shown = [(each["name"], each["value"], each["salt"]) for each in opening["opened"]]
    return said, shown, opening["hidden"], sorted(nodes)


@pytest.mark.parametrize(
    "every", [pytest.param(29, id="sampled"), pytest.param(1, id="all", marks=pytest.mark.full)]
)
def test_no_flipped_bit_of_a_proof_passes(every: int) -> None:
    case = network_case()
    changed = list(byte_flips(case, every=every))
    assert len(changed) > 3000 // every
    for each, lines in zip(changed, compare(changed), strict=True):
        assert lines[-1]["verdict"] != "valid" or meaning(each.receipt) == meaning(case.receipt), each.name


@pytest.mark.parametrize(
    "every", [pytest.param(41, id="sampled"), pytest.param(1, id="all", marks=pytest.mark.full)]
)
def test_flipped_text_is_judged_alike(every: int) -> None:
    case = network_case()
    changed = list(text_flips(case, every=every))
    for each, lines in zip(changed, compare(changed), strict=True):
        assert lines[-1]["verdict"] != "valid" or meaning(each.receipt) == meaning(case.receipt), each.name


def commands(folder: Path, case: VerifierCase, *more: str) -> list[tuple[int, Lines]]:
    """Run both command lines on files; return how each ended and what it printed."""
    (folder / "receipt.json").write_bytes(case.receipt)
    (folder / "trust.json").write_bytes(case.trust)
    python = [sys.executable, "-m", "cli", "verify", "--offline", "-o", "jsonl"]
    python += ["--receipt", "receipt.json", "--trust", "trust.json"]
    browser = [str(NODE), str(SOURCES / "cli.mjs"), "receipt.json", "trust.json"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCES.parents[1]), "HOME": str(folder)}
    found = []
    for argv in (python, browser):
        ran = subprocess.run(
            [*argv, "--at", AT, *more], cwd=folder, env=environment, capture_output=True, text=True
        )
        found.append((ran.returncode, judged([json.loads(line) for line in ran.stdout.splitlines()])))
    return found


@pytest.mark.parametrize(
    ("name", "more", "code", "last"),
    [
        ("network valid", [], 0, "no_bound"),
        ("network revoked", [], 12, "document_revoked"),
        ("cut off", [], 10, "receipt_malformed"),
        ("network valid", ["--max-age", "1"], 11, "stale"),
        ("network valid", ["--expect-type", "M1001"], 10, "other_type"),
    ],
)
def test_both_command_lines_list_their_checks_stream_them_and_end_alike(
    tmp_path: Path, name: str, more: list[str], code: int, last: str
) -> None:
    case = next(each for each in vector_cases() if each.name == name)
    python, browser = commands(tmp_path, case, *more)
    assert python == browser
    ended, (plan, *checks, verdict) = python
    assert (ended, verdict["exit"], checks[-1]["detail"]) == (code, code, last)
    assert plan["checks"][: len(checks)] == [each["code"] for each in checks]


def test_a_trust_file_that_is_none_is_a_fault_of_the_reader_and_no_verdict(tmp_path: Path) -> None:
    for ended, lines in commands(tmp_path, VerifierCase("", network_case().receipt, b"{}")):
        assert (ended, lines) == (6, [])


EXPECTED = {
    "issuer": ("11310104MB2F30001T", "11310104MB2F30002R"),
    "type": ("LICENCE", "PERMIT"),
    "subject": (
        {"idType": "001", "id": "91310115MA1K30000X"},
        {"idType": "001", "id": "91310115MA1K30001X"},
    ),
    "sha256": (made.FILE_SHA256.hex(), "00" * 32),
}


@pytest.mark.parametrize("what", EXPECTED)
def test_valid_proof_of_the_wrong_thing_fails_by_name(what: str) -> None:
    shown = {"issuer": "agency", "type": "typeCode", "subject": "subjects"}.get(what, what)
    right, wrong = EXPECTED[what]
    opened = encode(render_receipt(made.receipt(shown=("expiresOn", shown))))
    hidden = encode(render_receipt(made.receipt(shown=("expiresOn",))))
    case = VerifierCase(what, opened, encode(render_trust(made.TRUST)))
    answers = [replace(case, asked={what: each}) for each in (right, wrong)]
    good, bad, unseen = compare([*answers, replace(answers[0], receipt=hidden)])
    word = {"sha256": "bytes"}.get(what, what)
    assert (good[-2]["detail"], good[-1]["exit"]) == (f"same_{word}", 0)
    assert (bad[-2]["detail"], bad[-1]["exit"]) == (f"other_{word}", 10)
    assert (unseen[-2]["detail"], unseen[-1]["exit"]) == (f"{what}_hidden", 11)
