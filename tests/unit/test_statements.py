"""Status statements: an old receipt with one is a receipt as of a newer block, and nothing else passes for one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor.entries import StatusFlag
from tests.unit import receipt_factory as made
from tests.unit.cli_runner import CommandLine
from verifier.proofs.errors import ProofError
from verifier.receipts import Receipt, ReceiptVerdict, check_receipt, render_receipt
from verifier.statements import (
    StatementMalformed,
    StatusStatement,
    apply_statement,
    parse_statement,
    render_statement,
)
from verifier.trust import render_trust

AT = datetime(2026, 12, 1, tzinfo=UTC)
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "status-statement.md"
OLD = made.receipt()


def statement(receipt: Receipt) -> StatusStatement:
    """Return what a node would say of the claim at the receipt's block."""
    about = (receipt.member_id, receipt.record[:32], receipt.entry.id)
    return StatusStatement(
        receipt.chain, receipt.finality, *about, receipt.status, receipt.headers, receipt.nodes
    )


def later(
    claim: bytes = made.EMPTY_SLOT, document: bytes = made.EMPTY_SLOT, block: int = 140
) -> StatusStatement:
    """Return the statement of a later block with these slots."""
    reading = made.status(claim, made.document_slot(document), as_of_block=block)
    return statement(made.receipt(reading=reading))


def verdict(receipt: Receipt) -> ReceiptVerdict:
    return check_receipt(receipt, made.TRUST, at=AT).verdict


def encoded(value: StatusStatement) -> bytes:
    return json.dumps(render_statement(value)).encode()


def test_statement_is_read_as_it_was_written() -> None:
    assert parse_statement(encoded(later())) == later()


def test_old_receipt_with_a_statement_is_valid_as_of_the_newer_block() -> None:
    newer = apply_statement(OLD, later())
    assert (OLD.status.as_of_block, newer.status.as_of_block) == (130, 140)
    assert verdict(newer) is ReceiptVerdict.VALID
    assert newer.opening == OLD.opening and newer.record == OLD.record


@pytest.mark.parametrize("flag", [StatusFlag.REVOKED, StatusFlag.SUSPENDED, StatusFlag.ERASED])
def test_flag_that_was_set_since_shows(flag: StatusFlag) -> None:
    assert verdict(OLD) is ReceiptVerdict.VALID
    assert verdict(apply_statement(OLD, later(made.flagged(flag)))).value == flag.name.lower()  # type: ignore[union-attr]


def test_issuers_revocation_that_was_set_since_shows() -> None:
    newer = apply_statement(OLD, later(document=made.flagged(StatusFlag.REVOKED)))
    assert verdict(newer) is ReceiptVerdict.REVOKED


def test_statement_about_slots_it_does_not_prove_is_no_proof() -> None:
    honest = later(made.flagged(StatusFlag.REVOKED))
    hidden = replace(honest, status=replace(honest.status, claim=made.EMPTY_SLOT))
    assert verdict(apply_statement(OLD, hidden)) is ReceiptVerdict.PROOF_INVALID


def test_statement_of_unknown_signers_is_no_proof() -> None:
    forged = replace(later(), headers=later().headers[:1])
    assert verdict(apply_statement(OLD, forged)) is ReceiptVerdict.PROOF_INVALID


Change = Callable[[StatusStatement], StatusStatement]
OTHERS: dict[str, tuple[Change, str]] = {
    "another chain": (lambda one: replace(one, chain=replace(one.chain, chain_id=1)), "statement_chain"),
    "another member": (lambda one: replace(one, member_id=8), "statement_claim"),
    "another commitment": (lambda one: replace(one, commitment=bytes(32)), "statement_claim"),
    "another batch": (lambda one: replace(one, batch_id=40), "statement_claim"),
    "an older block": (lambda _one: later(block=129), "statement_older"),
    "a document left out": (
        lambda one: replace(one, status=replace(one.status, documents=())),
        "statement_slots",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_statement_that_is_not_about_this_receipt_is_refused(name: str) -> None:
    change, step = OTHERS[name]
    with pytest.raises(ProofError) as caught:
        apply_statement(OLD, change(later()))
    assert caught.value.facts["step"] == step
    assert f"`{step}`" in PAGE.read_text("utf-8")


def test_malformed_statements_are_refused() -> None:
    shown: dict[str, Any] = render_statement(later())
    text = json.dumps(shown)
    broken = [
        json.dumps({name: value for name, value in shown.items() if name != left_out}) for left_out in shown
    ]
    broken += [
        text.replace("status/1", "status/2"),
        text.replace('"batchId": 41', '"batchId": 41, "batchId": 41'),
        text.replace('"batchId": 41', '"batchId": -1'),
        text.replace('"asOfBlock": 140', '"asOfBlock": 141'),
        text.replace('"finality": "crash-final"', '"finality": "final"'),
        text.replace('"notProvedOffline": []', '"notProvedOffline": ["block_finality"]'),
        text.replace('"claim": "0x00', '"claim": "0x10'),
        json.dumps({**shown, "headers": []}),
        json.dumps({**shown, "headers": ["AA"]}),
        json.dumps({**shown, "more": 1}),
        text[:-1],
    ]
    for each in broken:
        assert each != text
        with pytest.raises(StatementMalformed):
            parse_statement(each.encode())


@given(st.binary(max_size=200))
def test_random_bytes_raise_its_own_error(raw: bytes) -> None:
    with pytest.raises(StatementMalformed):
        parse_statement(raw)


@pytest.mark.parametrize(
    ("claim", "expected"), [(made.EMPTY_SLOT, 0), (made.flagged(StatusFlag.REVOKED), 12)]
)
def test_command_checks_both_files_offline(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    claim: bytes,
    expected: int,
) -> None:
    call = CommandLine(tmp_path, monkeypatch, capfd)
    for name, value in (
        ("receipt", render_receipt(OLD)),
        ("status", render_statement(later(claim))),
        ("trust", render_trust(made.TRUST)),
    ):
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    files = ["--trust", str(tmp_path / "trust.json"), "--statement", str(tmp_path / "status.json")]
    receipt = str(tmp_path / "receipt.json")
    found = call("verify", "--offline", "--receipt", receipt, *files, "-o", "json")
    assert (found.code, json.loads(found.out)["status"]["asOfBlock"]) == (expected, 140)
    assert call("receipt", "check", receipt, *files).code == expected
