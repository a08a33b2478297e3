"""The JSON Schema of receipts takes what the parser takes, and refuses what only its form breaks."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.unit import receipt_factory as made
from verifier.receipts import ReceiptMalformed, parse_receipt, render_receipt

SCHEMA = json.loads(resources.files("verifier").joinpath("schemas", "receipt.json").read_text("utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)
ACCEPTS = Path(__file__).parents[1] / "vectors" / "receipt" / "accept.json"
SHOWN: Any = json.loads(json.dumps(render_receipt(made.receipt())))


def test_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_every_receipt_of_the_vectors_fits() -> None:
    for case in json.loads(ACCEPTS.read_text("utf-8"))["cases"]:
        VALIDATOR.validate(case["input"]["receipt"])


def altered(value: Any) -> list[Any]:
    """Return copies with one member missing, one too many, or one of another type, at every depth of objects."""
    if not isinstance(value, dict):
        return []
    found: list[Any] = [{**value, "more": 1}]
    for name, inner in value.items():
        found.append({each: kept for each, kept in value.items() if each != name})
        found.append({**value, name: [] if isinstance(inner, str | int | dict) else "text"})
        found += [{**value, name: other} for other in altered(inner)]
    return found


def test_schema_and_parser_refuse_alike_what_lacks_form() -> None:
    copies = altered(SHOWN)
    assert len(copies) > 60
    for copy in copies:
        assert not VALIDATOR.is_valid(copy)
        with pytest.raises(ReceiptMalformed):
            parse_receipt(json.dumps(copy).encode())


def test_operators_chain_must_admit_what_it_leaves_open() -> None:
    assert VALIDATOR.is_valid(json.loads(json.dumps(render_receipt(made.receipt(finality="operator")))))
    assert not VALIDATOR.is_valid({**SHOWN, "finality": "operator"})
    assert not VALIDATOR.is_valid({**SHOWN, "notProvedOffline": ["block_finality"]})
