"""Receipts: nothing that was not checked passes, and nothing that was altered does."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from anchor.canonical import canonical_bytes
from anchor.commitments import commit
from anchor.entries import StatusFlag, batch_hash
from anchor.records import Stream
from tests.unit import receipt_factory as made
from verifier.proofs.errors import ProofError
from verifier.proofs.inclusion import verify_batch_slot, verify_inclusion
from verifier.receipts import (
    MAX_RECEIPT_BYTES,
    NOT_PROVED_OFFLINE,
    Outcome,
    Receipt,
    ReceiptFindings,
    ReceiptMalformed,
    StatusReading,
    build_receipt,
    check_digest,
    check_receipt,
    parse_receipt,
    render_receipt,
)

AT = datetime(2026, 12, 1, 1, tzinfo=UTC)
RECEIPT = made.receipt()


def judged(receipt: Receipt = RECEIPT, **changes: Any) -> ReceiptFindings:
    """Judge with all slots read, but for `changes`."""
    asked: dict[str, Any] = {"at": AT, "slot": batch_hash(receipt.entry), "statuses": receipt.status}
    return check_receipt(receipt, made.CHAIN, **(asked | changes))


def raw(receipt: Receipt = RECEIPT) -> bytes:
    return canonical_bytes(render_receipt(receipt))


def test_receipt_with_every_slot_read_passes_all_six_steps() -> None:
    found = judged()
    assert [reason.outcome for reason in found.reasons] == [Outcome.PASS] * 6
    assert found.outcome is Outcome.PASS


def test_receipt_alone_proves_neither_slot_nor_status() -> None:
    found = judged(slot=None, statuses=None)
    unproven = [reason.code for reason in found.reasons if reason.outcome is Outcome.UNPROVEN]
    assert (found.outcome, unproven) == (Outcome.UNPROVEN, ["batch_slot", "status"])


def test_no_finding_of_this_version_claims_to_be_complete_offline() -> None:
    assert not judged().offline_complete
    assert not judged(slot=None, statuses=None).offline_complete
    assert NOT_PROVED_OFFLINE == ("batch_slot", "block_finality", "status_slots")


def test_findings_cannot_stand_in_a_condition() -> None:
    with pytest.raises(TypeError):
        bool(judged())


def test_no_step_runs_after_a_failed_one() -> None:
    found = check_receipt(RECEIPT, replace(made.CHAIN, chain_id=1), at=AT)
    assert [reason.code for reason in found.reasons] == ["chain"]


@pytest.mark.parametrize("part", ["chain_id", "genesis", "directory", "ledger"])
def test_every_fact_of_the_chain_must_match(part: str) -> None:
    other: Any = 1 if part == "chain_id" else bytes(len(getattr(made.CHAIN, part)))
    found = check_receipt(RECEIPT, replace(made.CHAIN, **{part: other}), at=AT)
    assert (found.outcome, found.reasons[0].detail) == (Outcome.FAIL, "other_chain")


@pytest.mark.parametrize("size", [1, 2, 3, 64, 512])
def test_receipts_of_batches_of_every_size_pass(size: int) -> None:
    receipt = made.receipt(size=size, index=size - 1)
    assert parse_receipt(raw(receipt)) == receipt
    assert judged(receipt).outcome is Outcome.PASS


@pytest.mark.parametrize(
    "flag", [StatusFlag.REVOKED, StatusFlag.SUPERSEDED, StatusFlag.ERASED, StatusFlag.SUSPENDED]
)
def test_claim_with_a_flag_never_passes(flag: StatusFlag) -> None:
    assert flag.name is not None
    for document, detail in ((False, flag.name.lower()), (True, f"document_{flag.name.lower()}")):
        slots = (made.EMPTY_SLOT, made.flagged(flag))
        read = made.status(slots[not document], made.document_slot(slots[document]))
        found = judged(statuses=read)
        assert (found.outcome, found.reasons[-1].detail) == (Outcome.FAIL, detail)


def test_gravest_flag_is_named() -> None:
    flags = StatusFlag.ERASED | StatusFlag.REVOKED | StatusFlag.SUSPENDED
    assert judged(statuses=made.status(made.flagged(flags))).reasons[-1].detail == "erased"


def test_suspension_that_was_lifted_since_passes() -> None:
    suspended = made.receipt(reading=made.status(made.flagged(StatusFlag.SUSPENDED)))
    assert judged(suspended, statuses=None).outcome is Outcome.FAIL
    assert judged(suspended, statuses=made.status(as_of_block=131)).outcome is Outcome.PASS


def test_status_read_with_an_unknown_flag_fails() -> None:
    found = judged(statuses=made.status(b"\x40" + bytes(31)))
    assert found.reasons[-1].detail == "status_malformed"


def test_one_slot_more_or_less_than_the_receipt_names_is_unproven() -> None:
    second = made.document_slot(tag=made.KEYS.doc_tag("LICENCE", "another"))
    for documents in ((second,), (made.document_slot(), second)):
        found = judged(statuses=made.status(made.EMPTY_SLOT, *documents))
        assert found.outcome is Outcome.UNPROVEN


@pytest.mark.parametrize(("days", "detail"), [(0, "in_force"), (31, "expired")])
def test_expiry_is_judged_at_the_given_time(days: int, detail: str) -> None:
    assert judged(at=AT + timedelta(days=days)).reasons[-1].detail == detail


@pytest.mark.parametrize("at", [datetime.max.replace(tzinfo=UTC), AT.replace(tzinfo=None)])
def test_time_that_names_no_day_in_shanghai_is_unproven(at: datetime) -> None:
    assert judged(at=at).reasons[-1].detail == "time_unusable"


def test_hidden_expiry_is_unproven_not_passed() -> None:
    found = judged(made.receipt(shown=("issuedOn", "sha256")))
    assert (found.outcome, found.reasons[-1].detail) == (Outcome.UNPROVEN, "expires_on_hidden")


def test_digest_is_compared_with_the_opened_one() -> None:
    assert check_digest(RECEIPT, made.FILE_SHA256).outcome is Outcome.PASS
    assert check_digest(RECEIPT, bytes(32)).outcome is Outcome.FAIL
    assert check_digest(made.receipt(shown=("typeCode",)), made.FILE_SHA256).outcome is Outcome.UNPROVEN


def test_receipt_shows_no_hidden_field() -> None:
    text = raw().decode()
    for hidden in ("91310115MA1K30000X", "DEMO-310104-0001", "11310104MB2F30001T"):
        assert hidden not in text


def test_white_space_and_order_do_not_matter() -> None:
    value = json.loads(raw())
    loose = json.dumps(dict(reversed(value.items())), indent=3).encode()
    assert parse_receipt(loose) == RECEIPT


def test_receipt_over_1_mib_is_refused() -> None:
    assert parse_receipt(raw() + b" " * (MAX_RECEIPT_BYTES - len(raw()))) == RECEIPT
    with pytest.raises(ReceiptMalformed):
        parse_receipt(raw() + b" " * (MAX_RECEIPT_BYTES - len(raw()) + 1))


def test_the_same_document_slot_twice_is_refused() -> None:
    value = json.loads(raw())
    value["status"]["documents"] *= 2
    with pytest.raises(ReceiptMalformed):
        parse_receipt(json.dumps(value).encode())


def test_lists_have_limits() -> None:
    value = json.loads(raw())
    (document,) = value["status"]["documents"]
    many = [document | {"memberId": member} for member in range(1, 66)]
    parse_receipt(json.dumps(value | {"status": value["status"] | {"documents": many[:64]}}).encode())
    for changed in (
        {"status": value["status"] | {"documents": many}},
        {"inclusion": {"index": 0, "path": ["A" * 43] * 10}},
    ):
        with pytest.raises(ReceiptMalformed):
            parse_receipt(json.dumps(value | changed).encode())


def test_refusal_does_not_quote_the_receipt() -> None:
    with pytest.raises(ReceiptMalformed) as caught:
        parse_receipt(raw().replace(b'"LICENCE"', '"e\u0301-310101199001010010"'.encode()))
    assert "310101" not in f"{caught.value} {caught.value.facts}"


def parts(**changes: Any) -> dict[str, Any]:
    records, entry = made.sealed_batch(commit(made.FIELDS, made.SALT_KEY), size=5, index=3)
    values: dict[str, Any] = {"chain": made.CHAIN, "opening": RECEIPT.opening, "batch": records, "index": 3}
    values |= {"entry": entry, "block": RECEIPT.block, "status": RECEIPT.status}
    return values | changes


@pytest.mark.parametrize(
    "changes",
    [
        {"index": 5},
        {"index": -1},
        {"index": 2},
        {"batch": []},
        {"batch": [b"short"] * 5},
        {"entry": replace(RECEIPT.entry, root=bytes(32))},
        {"entry": replace(RECEIPT.entry, size=4)},
        {"entry": replace(RECEIPT.entry, member_id=8)},
        {"entry": replace(RECEIPT.entry, stream=Stream.AUDIT)},
        {"entry": replace(RECEIPT.entry, seq=2**53)},
        {"block": replace(RECEIPT.block, time=made.SEALED_AT + 1)},
        {"block": replace(RECEIPT.block, hash=b"short")},
        {"block": replace(RECEIPT.block, number=131)},
        {"chain": replace(made.CHAIN, directory=bytes(19))},
        {"status": StatusReading(b"\x40" + bytes(31), (), 130, made.SEALED_AT)},
    ],
)
def test_parts_that_contradict_each_other_make_no_receipt(changes: dict[str, Any]) -> None:
    assert build_receipt(**parts()) == RECEIPT
    with pytest.raises(ReceiptMalformed):
        build_receipt(**parts(**changes))


def test_record_is_not_included_under_another_member_stream_or_root() -> None:
    entry, path = RECEIPT.entry, RECEIPT.inclusion.path
    verify_inclusion(RECEIPT.record, made.MEMBER, 3, entry, path)
    for member_id, index, other in (
        (8, 3, replace(entry, member_id=8)),
        (made.MEMBER, 3, replace(entry, member_id=8)),
        (made.MEMBER, 2, entry),
        (made.MEMBER, 5, entry),
        (made.MEMBER, 3, replace(entry, stream=Stream.REUSE)),
        (made.MEMBER, 3, replace(entry, root=bytes(32))),
        (0, 3, entry),
    ):
        with pytest.raises(ProofError):
            verify_inclusion(RECEIPT.record, member_id, index, other, path)


def test_entry_is_in_its_own_slot_only() -> None:
    verify_batch_slot(RECEIPT.entry, batch_hash(RECEIPT.entry))
    for entry, slot in (
        (RECEIPT.entry, bytes(32)),
        (RECEIPT.entry, b""),
        (replace(RECEIPT.entry, id=42), batch_hash(RECEIPT.entry)),
        (replace(RECEIPT.entry, size=0), bytes(32)),
    ):
        with pytest.raises(ProofError):
            verify_batch_slot(entry, slot)
