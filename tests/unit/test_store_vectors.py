"""The golden files of the stored formats: they are what the script writes, and the code agrees with them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.vectors import make_store

VECTORS = Path(make_store.__file__).parent


def cases(kind: str) -> list[Any]:
    """Return the stored cases of a kind."""
    return [
        pytest.param(case, id=f"{name}-{case['name']}")
        for name in make_store.SOURCES
        for case in json.loads((VECTORS / name / f"{kind}.json").read_text("utf-8"))["cases"]
    ]


def test_golden_files_are_what_the_script_writes() -> None:
    for name, text in make_store.documents():
        assert (VECTORS / name).read_text("utf-8") == text, f"{name}: run `make vectors`, review the diff"


def test_each_format_has_more_rejects_than_accepts() -> None:
    assert len(cases("reject")) > len(cases("accept")) > 0


@pytest.mark.parametrize("case", cases("accept"))
def test_code_gives_what_a_vector_expects(case: dict[str, Any]) -> None:
    assert make_store.run(case["operation"], case["input"]) == {"expected": case["expected"]}


@pytest.mark.parametrize("case", cases("reject"))
def test_code_refuses_what_a_vector_rejects(case: dict[str, Any]) -> None:
    assert make_store.run(case["operation"], case["input"]) == {"error": case["error"]}


def test_audit_hashes_equal_a_second_computation() -> None:
    order = ("sequence", "time", "actor", "action", "object", "outcome", "reason", "requestId", "prevHash")
    for param in cases("accept"):
        (case,) = param.values
        if case["operation"] == "audit.hash":
            # For integers and NFC text, RFC 8785 is JSON without spaces and with the escapes of ECMAScript.
            text = json.dumps(
                [case["input"][name] for name in order], separators=(",", ":"), ensure_ascii=False
            )
            expected = hashlib.sha256(b"deltaseal/audit/1\x00" + text.encode()).hexdigest()
            assert case["expected"]["hash"] == expected
