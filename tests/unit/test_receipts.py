"""Receipts: nothing that was not checked passes, and nothing that was altered does."""

import json
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from anchor.base64url import render_base64url
from anchor.canonical import canonical_bytes
from anchor.commitments import commit
from anchor.entries import StatusFlag, batch_hash
from anchor.headers import Engine
from anchor.records import Stream
from tests.unit import receipt_factory as made
from tests.unit import sealed_chain_factory as sealed
from verifier.proofs.errors import ProofError
from verifier.proofs.headers import block_hash
from verifier.proofs.inclusion import verify_batch_slot, verify_inclusion
from verifier.receipts import (
    MAX_RECEIPT_BYTES,
    Outcome,
    Receipt,
    ReceiptFindings,
    ReceiptMalformed,
    ReceiptVerdict,
    build_receipt,
    check_digest,
    check_receipt,
    parse_receipt,
    render_receipt,
)
from verifier.trust import SignerSet

AT = datetime(2026, 12, 1, 1, tzinfo=UTC)
RECEIPT = made.receipt()
OPERATED = made.receipt(finality="operator")


def judged(receipt: Receipt = RECEIPT, **changes: Any) -> ReceiptFindings:
    """Judge by the Clique chain's anchor, but for `changes`."""
    asked: dict[str, Any] = {"at": AT, "trust": made.TRUST}
    return check_receipt(receipt, **(asked | changes))


def last(findings: ReceiptFindings) -> tuple[str, str]:
    return (findings.verdict.value, findings.reasons[-1].detail)


def raw(receipt: Receipt = RECEIPT) -> bytes:
    return canonical_bytes(render_receipt(receipt))


def test_sealed_receipt_passes_all_eleven_steps_and_opens_no_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    found = judged(parse_receipt(raw()))
    # The twelfth is a time stamp's, which this receipt does not carry.
    assert [reason.outcome for reason in found.reasons] == [*[Outcome.PASS] * 11, Outcome.SKIPPED]
    assert found.verdict is ReceiptVerdict.VALID


def test_receipt_of_a_bft_chain_needs_its_own_header_alone() -> None:
    receipt = made.receipt(finality="bft-final")
    assert len(receipt.headers) == 1
    assert judged(receipt, trust=made.BFT_TRUST).verdict is ReceiptVerdict.VALID


def test_receipt_of_an_operators_chain_is_unproven_offline_and_says_so() -> None:
    found = judged(OPERATED, trust=made.OPERATOR_TRUST)
    assert found.verdict is ReceiptVerdict.UNPROVEN
    assert [each.code for each in found.reasons if each.outcome is Outcome.UNPROVEN] == ["finality"]
    assert OPERATED.not_proved_offline == ("block_finality",) and RECEIPT.not_proved_offline == ()


def test_receipt_of_an_operators_chain_passes_where_the_reader_knows_the_block() -> None:
    name = block_hash(OPERATED.headers[0], Engine.EMBEDDED)
    found = judged(OPERATED, trust=made.OPERATOR_TRUST, known_hash=name)
    assert found.verdict is ReceiptVerdict.VALID
    for other in (b"", bytes(32)):
        found = judged(OPERATED, trust=made.OPERATOR_TRUST, known_hash=other)
        assert last(found) == ("proof_invalid", "other_block")


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_fewer_sealers_than_the_quorum_prove_nothing(count: int) -> None:
    sealers = [*sealed.KEYS[:count], *[sealed.OUTSIDER] * 4]
    assert last(judged(made.receipt(sealers=sealers))) == ("proof_invalid", "quorum_missing")


def test_one_signer_that_seals_many_times_counts_once() -> None:
    receipt = made.receipt(sealers=[sealed.KEYS[0]] * 5)
    assert last(judged(receipt)) == ("proof_invalid", "quorum_missing")


def test_seals_of_others_between_do_not_matter() -> None:
    first, *rest = sealed.KEYS[:4]
    assert judged(made.receipt(sealers=[first, sealed.OUTSIDER, *rest])).verdict is ReceiptVerdict.VALID


def test_bft_header_with_too_few_commit_seals_proves_nothing() -> None:
    receipt = made.receipt(finality="bft-final", sealers=[*sealed.KEYS[:3], sealed.OUTSIDER])
    assert last(judged(receipt, trust=made.BFT_TRUST)) == ("proof_invalid", "quorum_missing")


def test_attackers_signer_set_does_not_count() -> None:
    keys = [sealed.key_of(number) for number in range(10, 15)]
    assert last(judged(made.receipt(sealers=keys))) == ("proof_invalid", "quorum_missing")


def test_receipt_from_before_the_anchor_is_unproven() -> None:
    trust = replace(made.TRUST, signer_sets=(SignerSet(131, sealed.SIGNERS),))
    assert judged(trust=trust).verdict is ReceiptVerdict.UNPROVEN


def test_signer_that_was_replaced_does_not_count_at_later_heights() -> None:
    others = tuple(sorted([*sealed.SIGNERS[:3], bytes(20)]))
    for first, verdict in ((134, ReceiptVerdict.VALID), (133, ReceiptVerdict.PROOF_INVALID)):
        sets = (SignerSet(0, sealed.SIGNERS), SignerSet(first, others))
        assert judged(trust=replace(made.TRUST, signer_sets=sets)).verdict is verdict


def test_receipt_that_names_another_finality_than_the_anchor_fails() -> None:
    assert last(judged(OPERATED)) == ("proof_invalid", "other_engine")
    assert last(judged(trust=made.BFT_TRUST)) == ("proof_invalid", "other_engine")


def test_headers_that_are_no_chain_fail() -> None:
    first, second, *rest = RECEIPT.headers
    for headers in ((first, *rest), (second, first, *rest), (first, first, second, *rest)):
        assert last(judged(replace(RECEIPT, headers=headers))) == ("proof_invalid", "headers_unlinked")


def test_headers_of_another_fork_do_not_stand_behind_the_block() -> None:
    fork = sealed.clique_chain(
        sealed.KEYS[:4], state_root=bytes(32), number=130, time=made.AS_OF, parent=b"\x08" * 32
    )
    mixed = replace(RECEIPT, headers=(RECEIPT.headers[0], *fork[1:]))
    assert last(judged(mixed)) == ("proof_invalid", "headers_unlinked")


@pytest.mark.parametrize("dropped", range(len(RECEIPT.nodes)))
def test_every_node_is_needed(dropped: int) -> None:
    nodes = RECEIPT.nodes[:dropped] + RECEIPT.nodes[dropped + 1 :]
    found = judged(replace(RECEIPT, nodes=nodes))
    assert found.verdict is ReceiptVerdict.PROOF_INVALID
    assert found.reasons[-1].code in ("state", "batch_slot", "status_slots")


def test_a_node_too_many_or_twice_fails() -> None:
    other = made.receipt(crowd=21).nodes
    for nodes in ((*RECEIPT.nodes, other[0]), (*RECEIPT.nodes, RECEIPT.nodes[0])):
        assert judged(replace(RECEIPT, nodes=nodes)).verdict is ReceiptVerdict.PROOF_INVALID


def test_proof_of_another_block_contract_or_slot_fails() -> None:
    other = made.receipt(crowd=21)
    assert last(judged(replace(RECEIPT, nodes=other.nodes)))[1] == "account_not_proved"
    state = sealed.state_of({made.MEMBERS: {}})
    headers = made.headers_of(state.root, sealers=sealed.KEYS[:4], finality="crash-final", number=130)
    elsewhere = replace(RECEIPT, headers=headers, nodes=state.nodes_for(made.CHAIN.ledger, []))
    assert last(judged(elsewhere))[1] == "account_not_proved"
    assert last(judged(replace(RECEIPT, entry=replace(RECEIPT.entry, id=40))))[0] == "proof_invalid"


def test_status_that_the_state_does_not_hold_fails() -> None:
    revoked = made.receipt(reading=made.status(made.flagged(StatusFlag.REVOKED)))
    hidden = replace(revoked, status=RECEIPT.status)
    assert last(judged(hidden)) == ("proof_invalid", "other_status")
    invented = replace(RECEIPT, status=made.status(made.flagged(StatusFlag.REVOKED)))
    assert last(judged(invented)) == ("proof_invalid", "other_status")


def test_document_status_left_out_leaves_its_nodes_over() -> None:
    revoked = made.receipt(
        reading=made.status(made.EMPTY_SLOT, made.document_slot(made.flagged(StatusFlag.REVOKED)))
    )
    hidden = replace(revoked, status=replace(revoked.status, documents=()))
    assert judged(hidden).verdict is ReceiptVerdict.PROOF_INVALID


def test_old_receipt_stays_valid_as_of_its_block_and_a_later_reading_overrides_it() -> None:
    assert judged().verdict is ReceiptVerdict.VALID
    later = made.status(made.flagged(StatusFlag.REVOKED), as_of_block=131)
    assert judged(later=later).verdict is ReceiptVerdict.REVOKED


def test_block_older_than_the_bound_is_stale() -> None:
    age = int(AT.timestamp()) - made.AS_OF
    assert judged(max_age_s=age).verdict is ReceiptVerdict.VALID
    assert judged(max_age_s=age - 1).verdict is ReceiptVerdict.STALE


def test_findings_cannot_stand_in_a_condition() -> None:
    with pytest.raises(TypeError):
        bool(judged())


def test_findings_without_a_step_are_not_valid() -> None:
    assert ReceiptFindings(()).verdict is ReceiptVerdict.UNPROVEN


def test_no_step_runs_after_a_failed_one() -> None:
    found = judged(trust=replace(made.TRUST, chain=replace(made.CHAIN, chain_id=1)))
    assert [reason.code for reason in found.reasons] == ["chain"]


@pytest.mark.parametrize("part", ["chain_id", "genesis", "directory", "ledger"])
def test_every_fact_of_the_chain_must_match(part: str) -> None:
    other: Any = 1 if part == "chain_id" else bytes(len(getattr(made.CHAIN, part)))
    found = judged(trust=replace(made.TRUST, chain=replace(made.CHAIN, **{part: other})))
    assert last(found) == ("proof_invalid", "other_chain")


@pytest.mark.parametrize("size", [1, 2, 3, 64, 512])
def test_receipts_of_batches_of_every_size_pass(size: int) -> None:
    receipt = made.receipt(size=size, index=size - 1)
    assert parse_receipt(raw(receipt)) == receipt
    assert judged(receipt).verdict is ReceiptVerdict.VALID


@pytest.mark.parametrize(
    "flag", [StatusFlag.REVOKED, StatusFlag.SUPERSEDED, StatusFlag.ERASED, StatusFlag.SUSPENDED]
)
def test_claim_with_a_flag_never_passes(flag: StatusFlag) -> None:
    assert flag.name is not None
    for document, detail in ((False, flag.name.lower()), (True, f"document_{flag.name.lower()}")):
        slots = (made.EMPTY_SLOT, made.flagged(flag))
        read = made.status(slots[not document], made.document_slot(slots[document]))
        assert last(judged(made.receipt(reading=read))) == (flag.name.lower(), detail)
        assert last(judged(later=replace(read, as_of_block=131)))[0] == flag.name.lower()


def test_gravest_flag_is_named() -> None:
    flags = StatusFlag.ERASED | StatusFlag.REVOKED | StatusFlag.SUSPENDED
    assert judged(later=made.status(made.flagged(flags))).verdict is ReceiptVerdict.ERASED


def test_suspension_that_was_lifted_since_passes() -> None:
    suspended = made.receipt(reading=made.status(made.flagged(StatusFlag.SUSPENDED)))
    assert judged(suspended).verdict is ReceiptVerdict.SUSPENDED
    assert judged(suspended, later=made.status(as_of_block=131)).verdict is ReceiptVerdict.VALID


def test_status_read_with_an_unknown_flag_fails() -> None:
    assert last(judged(later=made.status(b"\x40" + bytes(31)))) == ("proof_invalid", "status_malformed")


def test_later_reading_of_other_slots_or_of_an_older_block_is_unproven() -> None:
    second = made.document_slot(tag=made.KEYS.doc_tag("LICENCE", "another"))
    for documents in ((second,), (made.document_slot(), second)):
        assert judged(later=made.status(made.EMPTY_SLOT, *documents)).verdict is ReceiptVerdict.UNPROVEN
    assert judged(later=made.status(as_of_block=129)).verdict is ReceiptVerdict.UNPROVEN


@pytest.mark.parametrize(("days", "detail"), [(0, "in_force"), (31, "expired")])
def test_expiry_is_judged_at_the_given_time(days: int, detail: str) -> None:
    found = judged(at=AT + timedelta(days=days))
    assert found.reasons[9].detail == detail
    assert found.verdict.value == ("valid" if days == 0 else "expired")


@pytest.mark.parametrize("at", [datetime.max.replace(tzinfo=UTC), AT.replace(tzinfo=None)])
def test_time_that_names_no_day_in_shanghai_is_unproven(at: datetime) -> None:
    assert judged(at=at).reasons[9].detail == "time_unusable"


def test_hidden_expiry_is_unproven_not_passed() -> None:
    found = judged(made.receipt(shown=("issuedOn", "sha256")))
    assert (found.verdict, found.reasons[9].detail) == (ReceiptVerdict.UNPROVEN, "expires_on_hidden")


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


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("status", {"asOfBlock": 129}),
        ("status", {"asOfTime": made.AS_OF + 1}),
        ("entry", {"time": made.AS_OF + 1}),
    ],
)
def test_status_and_entry_must_fit_the_first_header(part: str, changes: dict[str, int]) -> None:
    value = json.loads(raw())
    value[part] |= changes
    with pytest.raises(ReceiptMalformed):
        parse_receipt(json.dumps(value).encode())


def test_lists_have_limits() -> None:
    value = json.loads(raw())
    (document,) = value["status"]["documents"]
    many = [document | {"memberId": member} for member in range(1, 66)]
    parse_receipt(json.dumps(value | {"status": value["status"] | {"documents": many[:64]}}).encode())
    changes: tuple[dict[str, Any], ...] = (
        {"status": value["status"] | {"documents": many}},
        {"inclusion": {"index": 0, "path": ["A" * 43] * 10}},
        {"headers": []},
        {"headers": value["headers"] * 65},
        {"nodes": [render_base64url(each.to_bytes(2, "big")) for each in range(1025)]},
        {"nodes": ["A" * 1368]},
    )
    for changed in changes:
        with pytest.raises(ReceiptMalformed):
            parse_receipt(json.dumps(value | changed).encode())


def test_refusal_does_not_quote_the_receipt() -> None:
    with pytest.raises(ReceiptMalformed) as caught:
        parse_receipt(raw().replace(b'"LICENCE"', '"e\u0301-310101199001010010"'.encode()))
    assert "310101" not in f"{caught.value} {caught.value.facts}"


def parts(**changes: Any) -> dict[str, Any]:
    records, _ = made.sealed_batch(commit(made.FIELDS, made.SALT_KEY), size=5, index=3)
    values: dict[str, Any] = {"chain": made.CHAIN, "finality": "crash-final", "opening": RECEIPT.opening}
    values |= {"batch": records, "index": 3, "entry": RECEIPT.entry, "headers": RECEIPT.headers}
    values |= {"nodes": RECEIPT.nodes, "claim": bytes(32), "documents": RECEIPT.status.documents}
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
        {"entry": replace(RECEIPT.entry, time=made.SEALED_AT + 1)},
        {"entry": replace(RECEIPT.entry, time=made.AS_OF + 1)},
        {"chain": replace(made.CHAIN, directory=bytes(19))},
        {"chain": replace(made.CHAIN, ledger=made.MEMBERS)},
        {"headers": ()},
        {"nodes": RECEIPT.nodes[1:]},
        {"nodes": (*RECEIPT.nodes, b"more")},
        {"claim": made.flagged(StatusFlag.REVOKED)},
        {"claim": b"\x40" + bytes(31)},
        {"finality": "certain"},
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
