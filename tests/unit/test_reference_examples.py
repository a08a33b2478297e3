"""The examples on the pages of docs/reference are what the code reads and writes."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from anchor.canonical import parse_strict_json
from anchor.commitments import Commitment, opening_from_json, verify_opening
from anchor.entries import BatchEntry, batch_hash, encode_entry
from anchor.envelopes import OVERHEAD_BYTES, epoch_info
from anchor.records import Stream, parse_frame, record_id
from anchor.tags import derive_consume_key, derive_domain_keys
from cli.receiptchecks import Asked, verify_lines
from tests.unit import receipt_factory as made
from verifier.receipts import ReceiptVerdict, check_receipt, parse_receipt
from verifier.trust import parse_trust

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "reference"
OURS = ["record", "commitment", "tags", "epoch-envelope", "batch-and-log", "receipt"]
OURS += ["trust-anchor", "verifier-protocol"]
SECRET = made.bytes_of("city secret")
KEYS = derive_domain_keys(1, 1, SECRET)


def page(name: str) -> str:
    return (PAGES / f"{name}.md").read_text("utf-8")


def block(name: str, number: int = 0) -> str:
    """Return the text of a fenced block of a page."""
    return str(re.findall(r"```\w*\n(.*?)```", page(name), re.DOTALL)[number])


def hexadecimal(text: str) -> bytes:
    """Join the hexadecimal words of an example, without what is explained right of two spaces."""
    lines = (line.split("  ")[0].split('   "')[0] for line in text.splitlines())
    return bytes.fromhex("".join(lines).replace(" ", ""))


def json_example(name: str) -> Any:
    return parse_strict_json(block(name).encode(), max_bytes=10_000)


@pytest.mark.parametrize("name", OURS)
def test_page_stays_within_700_words(name: str) -> None:
    assert len(page(name).split()) <= 700


def test_record_example_is_the_first_vector() -> None:
    record, body = hexadecimal(block("record")), hexadecimal(block("record", 1))
    frame = parse_frame(record)
    assert KEYS.mask(frame.commitment, frame.line, frame.masked) == body
    assert record_id(7, record).hex() in page("record")
    assert SECRET.hex().startswith("8270429ee32d424c50e2e39b9c7ce4c8")


def test_commitment_example_opens() -> None:
    commitment = re.search(r"commitment `([0-9a-f]{64})`", page("commitment"))
    assert commitment is not None
    opening = opening_from_json(json_example("commitment"))
    shown = verify_opening(opening, Commitment(bytes.fromhex(commitment[1])))
    assert list(shown) == ["documentNo", "subjects", "version"]


def test_tags_example_holds() -> None:
    subject = ("111", "310101199001010010", "LICENCE")
    spent = derive_consume_key(1, SECRET).nullifier("INVOICE", "DEMO-26310000000000000001", "NURSERY-SUBSIDY")
    expected = [
        KEYS.subject_tag(*subject),
        derive_domain_keys(1, 2, SECRET).subject_tag(*subject),
        derive_domain_keys(2, 1, SECRET).subject_tag(*subject),
        KEYS.case_tag("XH-2026-0001"),
        spent,
    ]
    assert re.findall(r"\b[0-9a-f]{32,64}$", block("tags"), re.MULTILINE) == [each.hex() for each in expected]
    assert SECRET.hex() in page("tags")


def test_envelope_example_is_the_header() -> None:
    assert hexadecimal(block("epoch-envelope")) == epoch_info(31007, made.CHAIN.directory, 1, 1, 7)
    assert f"{32 + OVERHEAD_BYTES:,} bytes" in page("epoch-envelope")


def test_batch_example_is_the_entry() -> None:
    root = made.bytes_of("batch root")
    entry = BatchEntry(41, 7, Stream.MATERIAL, 12, 5, root, made.SEALED_AT)
    assert hexadecimal(block("batch-and-log")) == encode_entry(entry)
    assert batch_hash(entry).hex() in page("batch-and-log")


def test_receipt_example_is_valid_under_the_anchor_of_the_other_page() -> None:
    receipt = parse_receipt(json.dumps(json_example("receipt")).encode())
    assert receipt == made.receipt(size=2, index=0, crowd=0)
    trust = parse_trust(json.dumps(json_example("trust-anchor")).encode())
    found = check_receipt(receipt, trust, at=datetime(2026, 12, 1, tzinfo=UTC))
    assert found.verdict is ReceiptVerdict.VALID


def test_receipt_page_names_every_code_and_detail() -> None:
    source = (ROOT / "verifier" / "receipts.py").read_text("utf-8")
    details = set(re.findall(r'Outcome\.(?:FAIL|UNPROVEN), "(\w+)"', source)) - {"malformed"}
    assert len(details) > 10
    pages = page("receipt") + page("verifier-protocol")
    assert [each for each in sorted(details) if f"`{each}`" not in pages] == []


def test_protocol_example_is_what_the_verifier_prints() -> None:
    command, *lines = block("verifier-protocol").splitlines()
    receipt, trust = (ROOT / name for name in re.findall(r"tests/vectors/\S+", command))
    asked = Asked(parse_trust(trust.read_bytes()), datetime(2026, 12, 1, tzinfo=UTC))
    assert [json.loads(line) for line in lines] == list(verify_lines(receipt.read_bytes(), asked))
