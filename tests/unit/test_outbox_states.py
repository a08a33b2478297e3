"""The outbox against a model chain: every fault that a chain, a second sender or a power cut can cause."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from anchor.chain.contracts import encode_call
from anchor.chain.errors import OperationInvalid
from anchor.chain.gateway import SendOutcome
from anchor.errors import ChainUnavailable, OutboxCorrupt, TransactionRefused
from anchor.keyvalue import Put
from anchor.outbox import AppendOperation, CallOperation
from anchor.outbox_courier import MAX_TOGETHER, Courier
from anchor.outbox_queue import PAGE_ROWS
from anchor.outbox_rows import MOVES, TxKind, TxRow, TxState, decode_tx_row
from anchor.records import Stream
from anchor.signer import parse_transaction
from tests.unit.outbox_chain import (
    CHAIN_ID,
    LEDGER,
    SIGNER,
    Bench,
    Crash,
    ModelChain,
    append,
    record,
    revoke_call,
)


def foreign_append(bench: Bench, number: int) -> None:
    """Another program with our key appends at our next nonce and sequence."""
    state = bench.chain.state
    calldata = encode_call("Ledger", "append", 1, state.sequence, record(number))
    signed = SIGNER.sign_transaction(
        chain_id=CHAIN_ID, nonce=state.nonce, to=LEDGER, calldata=calldata, gas=200_000
    )
    bench.chain.pool[state.nonce] = signed.raw


def expect_each_once(bench: Bench, numbers: range) -> None:
    appended = bench.chain.state.appended
    assert sorted(appended.count(record(number)) for number in numbers) == [1] * len(numbers)
    assert bench.states([f"op-{number}" for number in numbers]) == ["final"] * len(numbers)


# The straight way


def test_record_passes_from_queued_to_final() -> None:
    bench = Bench(ModelChain(final_lag=2))
    bench.put(append(1))
    seen = bench.states(["op-1"])
    bench.step()
    for _ in range(4):
        bench.step()
        seen += bench.states(["op-1"])
        bench.chain.mine()
    bench.step()
    seen += bench.states(["op-1"])
    assert list(dict.fromkeys(seen)) == ["queued", "submitted", "included", "final"]
    status = bench.outbox.status_of("op-1")
    assert status is not None and status.block_number == 1 and status.transaction_hash is not None


def test_unknown_operation_has_no_status() -> None:
    assert Bench().outbox.status_of("never") is None


def test_transaction_is_stored_before_it_is_sent() -> None:
    bench = Bench()
    bench.put(append(1))
    bench.step()
    bench.kv.die_at = 1  # The synced write of the packed transaction is there, then the process dies.
    with pytest.raises(Crash):
        bench.step()
    assert bench.gateway.sent == []
    bench.kv.lose_power(0)
    bench.restart()
    bench.settle()
    expect_each_once(bench, range(1, 2))
    assert len(set(bench.gateway.sent)) == 1


def test_sent_transaction_survives_a_power_cut() -> None:
    bench = Bench()
    bench.put(append(1))
    bench.step()
    bench.step()
    assert len(bench.gateway.sent) == 1
    bench.kv.lose_power(0)
    bench.restart()
    assert bench.states(["op-1"]) == ["submitted"]


def test_records_that_come_in_company_gather_longer_than_a_lone_one() -> None:
    bench = Bench(gather_s=1.0, batch_records=100)
    bench.put(append(1))
    bench.step(0.0)
    assert bench.step(1.5).in_flight == 1
    bench.settle()
    bench.put(*[append(number) for number in range(2, 12)])
    bench.step(0.0)
    assert bench.step(1.5).in_flight == 0
    assert bench.step(4.0).in_flight == 1


def test_full_batch_does_not_wait_and_a_small_one_gathers() -> None:
    bench = Bench(gather_s=10.0)
    bench.put(*[append(number) for number in range(6)])
    bench.step()
    assert bench.states([f"op-{number}" for number in range(6)]) == ["submitted"] * 4 + ["queued"] * 2
    bench.step(200.0)
    assert bench.states(["op-5"]) == ["submitted"]


def test_window_bounds_what_is_in_flight() -> None:
    bench = Bench()
    bench.put(*[append(number) for number in range(40)])
    assert bench.step().in_flight == 3
    assert bench.step().in_flight == 3
    bench.settle()
    expect_each_once(bench, range(40))


def test_streams_do_not_share_a_batch() -> None:
    bench = Bench()
    for stream in Stream:
        bench.put((f"s{int(stream)}", AppendOperation(stream, record(1, stream))))
    bench.settle()
    assert len(bench.chain.state.appended) == 3 and bench.chain.state.sequence == 3


def test_known_id_gives_no_rows() -> None:
    bench = Bench()
    bench.put(append(1))
    assert bench.outbox.enqueue([append(1)]) == []
    assert len(bench.outbox.enqueue([append(2), append(2)])) == 2
    bench.settle()
    assert bench.outbox.enqueue([append(1)]) == []


def test_two_writers_of_one_id_do_it_once() -> None:
    bench = Bench()
    first, second = bench.outbox.enqueue([append(1)]), bench.outbox.enqueue([append(1)])
    bench.kv.write(first, sync=True)
    bench.kv.write(second, sync=True)
    bench.settle()
    expect_each_once(bench, range(1, 2))


def test_second_writer_of_an_id_that_comes_late_changes_nothing() -> None:
    bench = Bench()
    first, second = bench.outbox.enqueue([append(1)]), bench.outbox.enqueue([append(1)])
    bench.kv.write(first, sync=True)
    bench.settle()
    bench.kv.write(second, sync=True)
    bench.settle()
    bench.restart()
    bench.settle()
    expect_each_once(bench, range(1, 2))


def test_rows_written_again_after_a_failure_or_an_adoption_change_nothing() -> None:
    bench = Bench()
    calldata = encode_call("Ledger", "revoke", 7, b"\xee" * 32, 1)
    rows = bench.outbox.enqueue([("bad", CallOperation("Ledger", calldata, 90_000)), append(1)])
    bench.kv.write(rows, sync=True)
    copy = bench.kv.copy()
    bench.settle()
    assert bench.states(["bad", "op-1"]) == ["failed", "final"]
    for store in (bench.kv, copy):
        bench.kv = store
        bench.restart()
        bench.settle()
        sent = len(bench.gateway.sent)
        bench.kv.write(rows, sync=True)
        bench.step(100.0)
        bench.settle()
        assert len(bench.gateway.sent) == sent
        assert bench.states(["op-1"]) == ["final"]


def test_packed_rows_are_tidied_away_when_nothing_else_is_to_do() -> None:
    bench = Bench()
    bench.put(*[append(number) for number in range(9)])
    bench.settle()
    bench.step()
    assert list(bench.kv.scan(b"outbox/q/")) == []
    bench.restart()
    assert bench.states(["op-8"]) == ["final"]


def test_rows_written_late_are_not_missed() -> None:
    bench = Bench()
    late = bench.outbox.enqueue([append(1)])
    bench.put(append(2))
    for _ in range(3):
        bench.step()
    assert bench.states(["op-1", "op-2"]) == ["unknown", "submitted"]
    bench.kv.write(late, sync=True)
    assert bench.states(["op-1", "op-2"]) == ["queued", "submitted"]
    for _ in range(3):
        bench.step()
    assert bench.states(["op-1"]) == ["submitted"]
    bench.settle()
    expect_each_once(bench, range(1, 3))


def test_queue_longer_than_a_page_is_packed_whole() -> None:
    count = 2 * PAGE_ROWS + 7
    bench = Bench(batch_records=50, window=4)
    late = bench.outbox.enqueue([append(1)])
    bench.put(*[append(number) for number in range(2, count)])
    bench.step()
    bench.chain.mine()
    bench.kv.write(late, sync=True)
    bench.restart()
    bench.settle()
    expect_each_once(bench, range(1, count))


def test_rows_written_much_too_late_are_found() -> None:
    bench = Bench()
    late = bench.outbox.enqueue([append(1)])
    bench.put(append(2))
    bench.settle()
    bench.step(500.0)
    bench.step(500.0)
    bench.kv.write(late, sync=True)
    bench.step(500.0)
    bench.settle()
    expect_each_once(bench, range(1, 3))


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("", append(1)[1]),
        ("x" * 65, append(1)[1]),
        ("é", append(1)[1]),
        ("a\nb", append(1)[1]),
        ("ok", AppendOperation(Stream.MATERIAL, record(1)[:-1])),
        ("ok", AppendOperation(Stream.REUSE, record(1))),
        ("ok", AppendOperation(Stream.MATERIAL, record(1)[:32] + bytes(2) + record(1)[34:])),
        ("ok", AppendOperation(Stream.MATERIAL, record(1)[:34] + bytes(2) + record(1)[36:])),
        ("ok", CallOperation("Directory", b"", 1)),
        ("ok", CallOperation("Ledger", b"", 0)),
        ("ok", CallOperation("Catalog", bytes(131_000), 1)),
    ],
)
def test_operation_that_no_chain_would_take_is_refused(name: str, operation: Any) -> None:
    with pytest.raises(OperationInvalid):
        Bench().outbox.enqueue([(name, operation)])


def test_final_operations_are_announced_once() -> None:
    bench, told = Bench(), []
    bench.outbox.on_final.append(told.extend)
    bench.put(*[append(number) for number in range(6)])
    bench.settle()
    bench.step()
    assert sorted(told) == [f"op-{number}" for number in range(6)]


# The chain in trouble


def test_outage_is_told_and_ends_by_itself() -> None:
    bench = Bench()
    bench.gateway.down = True
    bench.put(append(1))
    for _ in range(3):
        assert bench.step().problem == "chain_unavailable"
    assert bench.step().queued == 1
    bench.gateway.down = False
    assert bench.step().problem is None
    bench.settle()
    expect_each_once(bench, range(1, 2))


def test_queue_age_is_told() -> None:
    bench = Bench(gather_s=1000.0)
    bench.put(append(1))
    bench.step()
    assert bench.step(31.0).oldest_queued_s >= 30.0


def test_answer_lost_after_the_send_does_not_send_twice() -> None:
    bench = Bench()
    bench.put(append(1))
    bench.step()
    bench.gateway.fail_at = 11
    for _ in range(30):
        bench.step()
    bench.settle()
    expect_each_once(bench, range(1, 2))


def test_lost_transactions_are_sent_again_with_the_same_bytes() -> None:
    bench = Bench()
    bench.put(*[append(number) for number in range(12)])
    bench.step()
    first = list(bench.gateway.sent)
    bench.chain.pool.clear()
    bench.step(2.0)
    assert bench.gateway.sent[len(first) :] == first
    bench.settle()
    expect_each_once(bench, range(12))


def test_what_the_chain_holds_is_not_sent_again() -> None:
    bench = Bench()
    bench.put(append(1))
    for _ in range(10):
        bench.step(2.0)
    assert len(bench.gateway.sent) == 1


def test_restart_sends_what_is_in_flight_and_reads_known_as_sent() -> None:
    bench = Bench()
    bench.put(append(1))
    bench.step()
    bench.step()
    bench.restart()
    bench.step()
    assert len(bench.gateway.sent) == 2 and len(set(bench.gateway.sent)) == 1
    bench.settle()
    expect_each_once(bench, range(1, 2))


@pytest.mark.parametrize("lose", [True, False])
def test_reorganisation_takes_included_back(lose: bool) -> None:
    bench = Bench(ModelChain(final_lag=3))
    bench.put(append(1))
    bench.step()
    bench.step()
    bench.chain.mine()
    bench.step()
    assert bench.states(["op-1"]) == ["included"]
    bench.chain.reorganise(1, lose=lose)
    bench.step()
    assert bench.states(["op-1"]) == ["submitted"]
    bench.settle()
    expect_each_once(bench, range(1, 2))


def test_chain_that_steps_back_behind_final_is_told_and_refilled() -> None:
    bench = Bench()
    bench.put(*[append(number) for number in range(30)])
    bench.settle()
    sent = len(set(bench.gateway.sent))
    bench.chain.restore(2)
    assert bench.step().problem == "chain_regressed"
    assert "final" not in bench.states(["op-29"])
    bench.settle()
    expect_each_once(bench, range(30))
    assert len(set(bench.gateway.sent)) == sent  # The same bytes, by nonce.
    assert bench.step().problem is None


def test_step_back_is_told_until_all_is_there_again() -> None:
    bench = Bench()
    bench.put(*[append(number) for number in range(30)])
    bench.settle()
    bench.chain.restore(0)
    problems = []
    for _ in range(2):
        problems.append(bench.step(2.0).problem)
        bench.chain.mine()
    assert problems == ["chain_regressed"] * 2
    bench.restart()
    assert bench.step().problem == "chain_regressed"


@pytest.mark.parametrize("asked", ["blocks", "call"])
def test_chain_that_steps_back_again_while_it_is_looked_at_loses_nothing(
    asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by the long stories: what was lost the second time was never missed."""
    bench = Bench()
    for number in range(4):
        bench.put(append(number))
        bench.settle()
    bench.chain.restore(3)
    answer, fell = getattr(bench.gateway, asked), []

    def fall_once(*arguments: Any, **named: Any) -> Any:
        found = answer(*arguments, **named)
        if not fell:
            fell.append(bench.chain.restore(1))
            bench.chain.mine()
        return found

    monkeypatch.setattr(bench.gateway, asked, fall_once)
    assert bench.step().problem == "chain_regressed"
    assert fell
    bench.settle()
    expect_each_once(bench, range(4))


def test_step_back_while_the_node_was_down_is_noticed() -> None:
    bench = Bench()
    bench.put(append(1))
    bench.settle()
    bench.chain.restore(0)
    bench.chain.mine()
    bench.chain.mine()
    bench.restart()
    assert bench.step().problem == "chain_regressed"
    bench.settle()
    expect_each_once(bench, range(1, 2))


def test_another_genesis_is_refused_and_nothing_is_sent() -> None:
    bench = Bench()
    bench.put(append(1))
    other = ModelChain()
    other.blocks[0].block = other.blocks[0].block.__class__(
        **{name: getattr(other.blocks[0].block, name) for name in other.blocks[0].block.__slots__}
        | {"hash": b"x" * 32}
    )
    bench.gateway.chain = other
    assert bench.step().problem == "chain_mismatch"
    assert bench.gateway.sent == []


# Reverts


def test_repeated_status_counts_as_done() -> None:
    bench = Bench()
    bench.put(
        ("a", CallOperation("Ledger", revoke_call(1), 90_000)),
        ("b", CallOperation("Ledger", revoke_call(1), 90_000)),
    )
    bench.settle()
    assert bench.states(["a", "b"]) == ["final", "final"]


def test_consumption_by_another_use_fails_as_consumed() -> None:
    bench = Bench()
    uses = [encode_call("Ledger", "consume", b"n" * 32, bytes([use]) * 32) for use in (1, 2)]
    bench.put(*[(f"use{at}", CallOperation("Ledger", call, 90_000)) for at, call in enumerate(uses)])
    bench.settle()
    lost = bench.outbox.status_of("use1")
    assert lost is not None and (lost.state, lost.failure) == ("failed", "consumed")
    assert bench.states(["use0"]) == ["final"]


def test_other_reverts_fail_with_their_name() -> None:
    bench = Bench()
    calldata = encode_call("Ledger", "revoke", 7, b"\xee" * 32, 1)
    bench.put(("act", CallOperation("Ledger", calldata, 90_000)))
    bench.settle()
    status = bench.outbox.status_of("act")
    assert status is not None and (status.state, status.failure) == ("failed", "LedgerNotOwner")


def test_failure_waits_until_the_revert_is_final() -> None:
    bench = Bench(ModelChain(final_lag=2))
    bench.put(("act", CallOperation("Ledger", encode_call("Ledger", "revoke", 7, b"\xee" * 32, 1), 90_000)))
    bench.step()
    bench.chain.mine()
    bench.step()
    assert bench.states(["act"]) == ["submitted"]
    bench.settle()
    assert bench.states(["act"]) == ["failed"]


def test_one_malformed_record_does_not_hold_up_the_others() -> None:
    bench = Bench()
    bad = b"\xbb" * 32 + record(1)[32:]
    bench.put(append(1), ("bad", AppendOperation(Stream.MATERIAL, bad)), append(2))
    bench.settle()
    expect_each_once(bench, range(1, 3))
    status = bench.outbox.status_of("bad")
    assert status is not None and status.failure == "LedgerRecordMalformed"


def test_suspended_member_keeps_its_operations_until_it_is_reinstated() -> None:
    bench = Bench()
    bench.chain.change_membership(active=False)
    bench.put(append(1), ("act", CallOperation("Ledger", revoke_call(1), 90_000)))
    for _ in range(5):
        assert bench.step().problem == "member_inactive"
    assert bench.gateway.sent == []
    bench.chain.change_membership(active=True)
    bench.settle()
    expect_each_once(bench, range(1, 2))
    assert bench.states(["act"]) == ["final"]


def test_suspension_while_in_flight_loses_nothing() -> None:
    bench = Bench()
    bench.put(
        *[append(number) for number in range(8)], ("act", CallOperation("Ledger", revoke_call(1), 90_000))
    )
    bench.step()
    bench.chain.change_membership(active=False)
    bench.chain.mine()
    for _ in range(5):
        bench.step(3.0)
        bench.chain.mine()
    bench.chain.change_membership(active=True)
    bench.settle()
    expect_each_once(bench, range(8))
    assert bench.states(["act"]) == ["final"]


def test_refused_transaction_frees_its_nonce_for_those_behind_it() -> None:
    bench = Bench()
    bench.put(
        ("bad", CallOperation("Ledger", revoke_call(1), 90_000)), *[append(number) for number in range(4)]
    )
    bench.gateway.down = False
    bench.chain.pool = _RefusingPool(bench)
    for _ in range(8):
        bench.step(1.1)
    bench.settle()
    status = bench.outbox.status_of("bad")
    assert status is not None and (status.state, status.failure) == ("failed", "transaction_refused")
    expect_each_once(bench, range(4))


class _RefusingPool(dict[int, bytes]):
    """A pool that will never take a revocation."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        original = bench.gateway.send_raw

        def send(raw: bytes) -> Any:
            if parse_transaction(raw).calldata[:4] == revoke_call(1)[:4]:
                bench.chain.refused.add(raw)
            return original(raw)

        bench.gateway.send_raw = send  # type: ignore[method-assign]


# Two senders with one key


def test_foreign_transaction_at_our_nonce_moves_ours_on() -> None:
    bench = Bench()
    foreign_append(bench, 900)
    bench.put(*[append(number) for number in range(8)])
    bench.settle()
    expect_each_once(bench, range(8))
    assert bench.chain.state.appended.count(record(900)) == 1


def test_contested_nonce_is_told_while_it_lasts() -> None:
    bench = Bench()
    bench.put(append(1))
    bench.step()
    bench.step()
    bench.chain.pool.clear()
    foreign_append(bench, 900)
    bench.restart()
    assert bench.step().problem == "nonce_contested"


def test_two_outboxes_with_one_key_do_each_operation_once() -> None:
    first = Bench()
    second = Bench(first.chain)
    first.put(*[append(number) for number in range(20)])
    second.put(*[append(number) for number in range(20, 40)])
    for _ in range(400):
        one, two = first.step(0.6), second.step(0.6)
        first.chain.mine()
        if not (one.queued or one.in_flight or two.queued or two.in_flight):
            break
    appended = first.chain.state.appended
    assert sorted(appended.count(record(number)) for number in range(40)) == [1] * 40


@pytest.mark.parametrize("final_lag", [0, 3])
def test_receipts_that_come_late_do_not_append_twice(final_lag: int) -> None:
    bench = Bench(ModelChain(final_lag))
    bench.put(*[append(number) for number in range(60)])
    bench.step()
    bench.gateway.blind.add(keccak(bench.gateway.sent[0]))  # The client's transaction index lags for good.
    bench.settle()
    expect_each_once(bench, range(60))


def test_receipt_that_comes_a_little_late_moves_nothing() -> None:
    bench = Bench()
    bench.put(("op-1", CallOperation("Ledger", revoke_call(1), 90_000)))  # A call alone needs a receipt.
    bench.step()
    bench.step()
    name = keccak(bench.gateway.sent[0])
    bench.gateway.blind.add(name)
    bench.chain.mine()
    bench.step()
    bench.step()
    assert bench.states(["op-1"]) == ["submitted"]
    bench.gateway.blind.clear()
    bench.step()
    status = bench.outbox.status_of("op-1")
    assert status is not None and (status.state, status.transaction_hash) == ("final", name)


def test_foreign_transaction_counts_only_when_it_is_final() -> None:
    bench = Bench(ModelChain(final_lag=9))
    for _ in range(12):
        bench.chain.mine()
    bench.put(("act", CallOperation("Ledger", revoke_call(1), 90_000)))
    bench.step()
    bench.step()
    bench.chain.pool.clear()
    foreign_append(bench, 900)
    bench.chain.mine()
    for _ in range(8):
        bench.step(2.0)
    ours = bench.gateway.sent[0]
    bench.chain.reorganise(1, lose=True)
    bench.chain.pool[0] = ours  # A peer still had it.
    bench.settle()
    status = bench.outbox.status_of("act")
    assert status is not None and (status.state, status.transaction_hash) == ("final", keccak(ours))


def test_store_restored_from_a_copy_does_not_append_again() -> None:
    bench = Bench()
    bench.put(*[append(number) for number in range(10)])
    copy = bench.kv.copy()
    bench.settle()
    bench.kv = copy
    bench.restart()
    bench.settle()
    expect_each_once(bench, range(10))
    assert len(bench.chain.state.appended) == 10


def test_adopted_records_come_back_when_the_chain_loses_them() -> None:
    bench = Bench()
    bench.put(*[append(number) for number in range(10)])
    copy = bench.kv.copy()
    bench.settle()
    bench.kv = copy
    bench.restart()
    bench.settle()
    bench.chain.restore(0)
    bench.settle()
    expect_each_once(bench, range(10))


def test_open_nonce_below_ours_is_filled() -> None:
    bench = Bench()
    foreign_append(bench, 900)
    bench.chain.mine()
    bench.put(append(1))
    bench.settle()
    bench.chain.restore(0)  # The foreign transaction is gone for good, and ours waits behind its nonce.
    bench.settle()
    expect_each_once(bench, range(1, 2))


# The courier


@pytest.mark.parametrize(
    "stop", [ChainUnavailable("busy"), TransactionRefused("no"), SendOutcome.UNDERPRICED]
)
def test_nothing_is_tried_after_an_answer_that_makes_it_useless(stop: Any) -> None:
    tried: list[bytes] = []
    first_is_out = threading.Event()

    def send(raws: Sequence[bytes]) -> list[Any]:
        tried.extend(raws)
        first_is_out.wait(30)
        return [SendOutcome.ACCEPTED if raw == b"0" else stop for raw in raws]

    with Courier(send) as courier:
        for nonce in range(20):
            courier.hand(nonce, str(nonce).encode())
        first_is_out.set()
    assert 2 <= len(tried) <= 2 * MAX_TOGETHER
    assert courier.answers == [(0, SendOutcome.ACCEPTED)] + [(nonce, stop) for nonce in range(1, len(tried))]


def test_what_waits_is_sent_together_in_order() -> None:
    sent: list[list[bytes]] = []
    all_are_there = threading.Event()

    def send(raws: Sequence[bytes]) -> list[Any]:
        sent.append(list(raws))
        all_are_there.wait(30)
        return [SendOutcome.ACCEPTED] * len(raws)

    with Courier(send) as courier:
        for nonce in range(20):
            courier.hand(nonce, str(nonce).encode())
        all_are_there.set()
    assert [raw for raws in sent for raw in raws] == [str(nonce).encode() for nonce in range(20)]
    assert max(len(raws) for raws in sent) == MAX_TOGETHER


def test_group_without_an_answer_counts_as_not_tried() -> None:
    def send(raws: Sequence[bytes]) -> list[Any]:
        raise ChainUnavailable("down")

    with Courier(send) as courier:
        courier.hand(7, b"")
    assert [(nonce, type(answer)) for nonce, answer in courier.answers] == [(7, ChainUnavailable)]


def test_unforeseen_error_of_a_send_is_not_swallowed() -> None:
    def send(raws: Sequence[bytes]) -> list[Any]:
        raise Crash

    with pytest.raises(Crash), Courier(send) as courier:
        courier.hand(0, b"")
        courier.hand(1, b"")


# By sight


def test_full_batches_are_followed_without_their_receipts() -> None:
    bench = Bench()
    bench.put(*[append(number) for number in range(40)])
    bench.gateway.receipts = no_receipts  # type: ignore[method-assign]
    bench.settle()
    expect_each_once(bench, range(40))


def no_receipts(hashes: Sequence[bytes]) -> list[Any]:
    assert not hashes, "a receipt was asked for"
    return []


def test_foreign_append_among_ours_is_not_taken_for_our_success() -> None:
    bench = Bench()
    bench.put(*[append(number) for number in range(8)])
    bench.step()  # Two of ours wait, at the first nonces.
    held = dict(bench.chain.pool)
    bench.chain.pool.clear()
    foreign_append(bench, 900)  # It takes our first sequence at our first nonce; our second one fails then.
    foreign = bench.chain.pool[0]
    bench.chain.pool |= held
    bench.chain.pool[0] = foreign
    bench.settle()
    expect_each_once(bench, range(8))


# Rows


def test_moves_that_are_not_in_the_table_are_corruption() -> None:
    bench = Bench()
    row = TxRow(1, TxState.FINAL, TxKind.CALL, bytes(32), 0, 1)
    with pytest.raises(OutboxCorrupt):
        bench.outbox._store.move(row, TxState.DEAD)
    assert set(MOVES) == set(TxState)


@given(st.binary(max_size=120))
def test_row_decoder_raises_only_its_error(raw: bytes) -> None:
    try:
        decode_tx_row(1, raw)
    except OutboxCorrupt as error:
        assert error.code == "outbox_corrupt"


# Everything at once: crash anywhere, then heal; each operation is done exactly once

FAULTS = st.one_of(
    st.tuples(st.just("step"), st.floats(0.05, 3.0)),
    st.tuples(st.just("mine"), st.just(0)),
    st.tuples(st.just("put"), st.integers(1, 6)),
    st.tuples(st.just("act"), st.just(0)),
    st.tuples(st.just("slow"), st.integers(1, 6)),
    st.tuples(st.just("deliver"), st.just(0)),
    st.tuples(st.just("crash"), st.integers(0, 12)),
    st.tuples(st.just("power"), st.integers(0, 3)),
    st.tuples(st.just("fail"), st.integers(0, 20)),
    st.tuples(st.just("forget"), st.just(0)),
    st.tuples(st.just("reorganise"), st.integers(1, 4)),
    st.tuples(st.just("restore"), st.integers(0, 8)),
    st.tuples(st.just("foreign"), st.just(0)),
    st.tuples(st.just("suspend"), st.just(0)),
)


class Story:
    """Plays a list of faults on a bench, and remembers what was promised to callers."""

    def __init__(self, final_lag: int) -> None:
        self.bench = Bench(ModelChain(final_lag))
        self.count, self.acts, self.foreign_count = 0, 0, 0
        self.slow_rows: list[Put] = []

    def play(self, name: str, value: Any) -> None:
        """Play one event; a crash inside it ends the process, and a new one starts."""
        try:
            getattr(self, name)(value)
        except Crash:
            self.die()

    def die(self) -> None:
        """End the process, and with it callers that have not written yet."""
        self.slow_rows, self.slow_count = [], 0
        self.bench.restart()

    def step(self, seconds: float) -> None:
        self.bench.step(seconds)

    def mine(self, _: int) -> None:
        self.bench.chain.mine()

    def put(self, count: int) -> None:
        self.deliver(0)
        rows = self.bench.outbox.enqueue([append(self.count + at) for at in range(count)])
        self.bench.kv.die_at = None
        self.bench.kv.write(rows, sync=True)
        self.count += count

    def slow(self, count: int) -> None:
        # A caller that writes late. A crash ends it with the process, and then nothing was promised.
        self.deliver(0)
        self.slow_rows = self.bench.outbox.enqueue([append(self.count + at) for at in range(count)])
        self.slow_count = count

    def deliver(self, _: int) -> None:
        """The slow caller writes, perhaps for the second time."""
        self.bench.kv.die_at = None
        self.bench.kv.write(self.slow_rows, sync=True)
        self.count += self.slow_count
        self.slow_count = 0

    slow_count = 0

    def act(self, _: int) -> None:
        rows = self.bench.outbox.enqueue(
            [(f"act-{self.acts}", CallOperation("Ledger", revoke_call(self.acts), 90_000))]
        )
        self.bench.kv.die_at = None
        self.bench.kv.write(rows, sync=True)
        self.acts += 1

    def crash(self, writes: int) -> None:
        self.bench.kv.die_at = writes
        self.bench.step(0.6)
        self.bench.kv.die_at = None

    def power(self, keep: int) -> None:
        self.bench.kv.lose_power(keep)
        self.die()

    def fail(self, calls: int) -> None:
        self.bench.gateway.fail_at = calls
        self.bench.step(0.6)
        self.bench.gateway.fail_at = None

    def forget(self, _: int) -> None:
        self.bench.chain.pool.clear()

    def reorganise(self, depth: int) -> None:
        self.bench.chain.reorganise(depth)

    def restore(self, height: int) -> None:
        self.bench.chain.restore(height)

    def foreign(self, _: int) -> None:
        if self.bench.chain.state.nonce not in self.bench.chain.pool:
            foreign_append(self.bench, 10_000 + self.foreign_count)
            self.foreign_count += 1

    def suspend(self, _: int) -> None:
        self.bench.chain.change_membership(active=not self.bench.chain.state.active)

    def heal(self) -> None:
        self.deliver(0)
        if not self.bench.chain.state.active:
            self.bench.chain.change_membership(active=True)
        self.bench.kv.die_at = self.bench.gateway.fail_at = None
        self.bench.settle(1500)


@settings(deadline=None)
@given(st.integers(0, 3), st.lists(FAULTS, max_size=40))
def test_each_operation_is_done_exactly_once_whatever_happens(
    final_lag: int, events: list[tuple[str, Any]]
) -> None:
    story = Story(final_lag)
    for name, value in events:
        story.play(name, value)
    story.heal()
    expect_each_once(story.bench, range(story.count))
    assert story.bench.states([f"act-{number}" for number in range(story.acts)]) == ["final"] * story.acts
    assert len(story.bench.chain.state.revoked) == story.acts


def test_queue_age_is_told_while_the_chain_is_gone() -> None:
    bench = Bench()
    bench.gateway.down = True
    bench.put(append(1))
    bench.step()
    assert bench.step(31.0).oldest_queued_s >= 30.0
