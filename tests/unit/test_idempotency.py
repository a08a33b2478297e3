"""Idempotency-Key: a retry answers as the first request did, and the work is done once."""

import threading

import pytest

from node.http.errors import IdempotencyInProgress, IdempotencyMismatch, IdempotencyMissing
from node.http.idempotency import (
    LIFE_SECONDS,
    IdempotencyGate,
    Replay,
    Slot,
    digest_request,
    read_idempotency_key,
)
from node.store.rows import IDEMPOTENCY
from tests.unit.keyvalue_suite import MemoryKeyValue

ROUTE = "POST /v1/materials"
ONE, TWO = digest_request("POST", "/v1/materials", b"1"), digest_request("POST", "/v1/materials", b"2")
NOW = 1_800_000_000


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


def begin(gate: IdempotencyGate, *, key: str = "k", digest: bytes = ONE, agency: str = "A") -> Replay | Slot:
    return gate.begin(agency, ROUTE, key=key, request_digest=digest)


def do_work(gate: IdempotencyGate, kv: MemoryKeyValue, **names: str) -> None:
    slot = begin(gate, **names)  # type: ignore[arg-type]
    assert isinstance(slot, Slot)
    with slot:
        kv.write(slot.finish_ops(201, {"ETag": '"v1"'}, b'{"a":1}'), sync=True)


def test_a_repeated_request_is_answered_as_the_first_was() -> None:
    kv = MemoryKeyValue()
    do_work(IdempotencyGate(kv, secret=b"s"), kv)
    # Another gate over the same rows: the process was restarted in between.
    assert begin(IdempotencyGate(kv, secret=b"s")) == Replay(201, {"ETag": '"v1"'}, b'{"a":1}')


def test_another_request_under_the_same_key_is_refused_while_running_and_after() -> None:
    kv = MemoryKeyValue()
    gate = IdempotencyGate(kv, secret=b"s")
    slot = begin(gate)
    assert isinstance(slot, Slot)
    with slot:
        with pytest.raises(IdempotencyMismatch):
            begin(gate, digest=TWO)
        kv.write(slot.finish_ops(200, {}, b""), sync=True)
    with pytest.raises(IdempotencyMismatch):
        begin(gate, digest=TWO)


def test_the_same_request_is_refused_while_the_first_runs() -> None:
    gate = IdempotencyGate(MemoryKeyValue(), secret=b"s")
    begin(gate)
    with pytest.raises(IdempotencyInProgress):
        begin(gate)


def test_a_failed_request_leaves_the_key_free() -> None:
    gate = IdempotencyGate(MemoryKeyValue(), secret=b"s")
    slot = begin(gate)
    assert isinstance(slot, Slot)
    with pytest.raises(RuntimeError), slot:
        raise RuntimeError
    assert isinstance(begin(gate), Slot)


def test_a_process_that_died_before_its_batch_leaves_the_key_free() -> None:
    kv = MemoryKeyValue()
    begin(IdempotencyGate(kv, secret=b"s"))
    assert isinstance(begin(IdempotencyGate(kv, secret=b"s")), Slot)


def test_keys_of_other_agencies_and_routes_are_other_keys() -> None:
    kv = MemoryKeyValue()
    gate = IdempotencyGate(kv, secret=b"s")
    do_work(gate, kv)
    assert isinstance(begin(gate, agency="B", digest=TWO), Slot)
    assert isinstance(gate.begin("A", "POST /v1/reuses", key="k", request_digest=TWO), Slot)
    assert isinstance(begin(gate, key="k2", digest=TWO), Slot)


def test_an_answer_is_forgotten_after_72_hours_and_swept() -> None:
    kv, clock = MemoryKeyValue(), Clock()
    gate = IdempotencyGate(kv, secret=b"s", clock=clock)
    do_work(gate, kv, key="old")
    clock.now += LIFE_SECONDS
    assert isinstance(begin(gate, key="old"), Replay)
    clock.now += 1
    do_work(gate, kv, key="new")
    assert (gate.sweep(), len(list(IDEMPOTENCY.scan(kv)))) == (1, 1)
    assert isinstance(begin(gate, key="old", digest=TWO), Slot)
    assert isinstance(begin(gate, key="new"), Replay)


def test_an_old_answer_counts_as_none_also_before_the_sweep() -> None:
    kv, clock = MemoryKeyValue(), Clock()
    gate = IdempotencyGate(kv, secret=b"s", clock=clock)
    do_work(gate, kv)
    clock.now += LIFE_SECONDS + 1
    assert isinstance(begin(gate, digest=TWO), Slot)


def test_a_sweep_deletes_no_more_than_it_was_asked_to() -> None:
    kv, clock = MemoryKeyValue(), Clock()
    gate = IdempotencyGate(kv, secret=b"s", clock=clock)
    for number in range(5):
        do_work(gate, kv, key=str(number))
    clock.now += LIFE_SECONDS + 1
    assert [gate.sweep(limit=2) for _ in range(4)] == [2, 2, 1, 0]


def test_the_key_of_a_row_does_not_tell_the_callers_key() -> None:
    rows = []
    for secret in (b"s", b"t"):
        kv = MemoryKeyValue()
        do_work(IdempotencyGate(kv, secret=secret), kv, key="QP-20261103-000187")
        rows.append([key for key, _ in kv.scan(b"")])
    assert rows[0] != rows[1]
    assert all(b"20261103" not in key for keys in rows for key in keys)


def test_of_many_simultaneous_requests_exactly_one_does_the_work() -> None:
    kv = MemoryKeyValue()
    gate = IdempotencyGate(kv, secret=b"s")
    start, outcomes = threading.Barrier(16), []

    def attempt() -> None:
        start.wait()
        try:
            found = begin(gate)
        except IdempotencyInProgress:
            outcomes.append("running")
            return
        if isinstance(found, Replay):
            outcomes.append("replay")
            return
        with found:
            kv.write(found.finish_ops(201, {}, b""), sync=True)
            outcomes.append("work")

    threads = [threading.Thread(target=attempt) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("work") == 1
    assert len(outcomes) == 16


@pytest.mark.parametrize(
    ("header", "key"),
    [('"abc"', "abc"), ("abc", "abc"), (' "a-b_1:2" ', "a-b_1:2"), ('"' + "k" * 128 + '"', "k" * 128)],
)
def test_a_key_is_read_with_and_without_quotes(header: str, key: str) -> None:
    assert read_idempotency_key(header) == key


@pytest.mark.parametrize(
    "header", [None, "", '""', '"a', "a b", "k" * 129, '"é"', '"a\\""', "a\tb", '"a""b"']
)
def test_an_unusable_key_is_as_good_as_none(header: str | None) -> None:
    with pytest.raises(IdempotencyMissing):
        read_idempotency_key(header)


def test_a_request_digest_covers_each_part_and_their_borders() -> None:
    digests = {
        digest_request("POST", "/a", b"b"),
        digest_request("PUT", "/a", b"b"),
        digest_request("POST", "/ab", b""),
        digest_request("POST", "/", b"ab"),
    }
    assert len(digests) == 4
