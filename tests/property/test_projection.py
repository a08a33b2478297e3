"""The projection against models: bulk unmasking, plain-byte rules, and any history with forks."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from anchor.commitments import Commitment
from anchor.entries import SlotStatus, StatusFlag, encode_status
from anchor.errors import RecordMalformed
from anchor.records import decode_record
from anchor.tags import DomainKeys
from tests.unit.chain_factory import (
    CITY,
    FIRM,
    HEALTH,
    OTHER_FIRM,
    Chain,
    commitment,
    content,
    index_of,
    make_final,
    material,
    ring,
)
from tests.unit.keyvalue_suite import MemoryKeyValue
from verifier import events
from verifier.index import ChainIndex
from verifier.projection import is_well_formed
from verifier.unmasking import _counter_blocks, unmask_records


@given(
    st.lists(
        st.tuples(
            st.binary(min_size=32, max_size=32), st.integers(0, 255), st.binary(min_size=58, max_size=58)
        ),
        min_size=1,
        max_size=40,
    )
)
def test_bulk_unmasking_gives_the_bytes_of_the_single_one(made: list[tuple[bytes, int, bytes]]) -> None:
    frames = [head + b"\x00\x01\x00\x01" + bytes([line, 1]) + body for head, line, body in made]
    single = [CITY.mask(Commitment(head), line, body) for head, line, body in made]
    assert unmask_records(frames, CITY) == single


def test_counter_carries_through_all_bytes() -> None:
    """AES-CTR counts in 128 bits; an IV that ends in ones carries, and the last one wraps round."""
    import verifier.unmasking as unmasking

    class FakeHash:
        def __init__(self, first: bytes) -> None:
            self.first = first

        def digest(self) -> bytes:
            return self.first + bytes(16)

    real = unmasking.hashlib.sha256
    for first in (
        b"\xff" * 16,
        b"\x00" * 15 + b"\xfe",
        b"\x01" + b"\xff" * 15,
        b"\x00" * 15 + b"\xfc",
        b"\x00" * 15 + b"\xfd",
    ):
        unmasking.hashlib.sha256 = lambda _content, first=first: FakeHash(first)  # type: ignore[assignment,misc]
        try:
            blocks = _counter_blocks(bytes(96))
        finally:
            unmasking.hashlib.sha256 = real  # type: ignore[assignment]
        start = int.from_bytes(first, "big")
        assert blocks == b"".join(((start + step) % 2**128).to_bytes(16, "big") for step in range(4))


def decodes(record: bytes, keys: DomainKeys) -> bool:
    try:
        decode_record(record, keys)
    except RecordMalformed:
        return False
    return True


NEARLY_GOOD_TAIL = st.tuples(
    st.integers(0, 2_932_897).map(lambda days: days.to_bytes(4, "big")),
    st.integers(2_932_890, 2_932_900).map(lambda days: days.to_bytes(4, "big")),
    st.integers(0, 5).map(lambda flags: bytes([flags])),
    st.integers(0, 1).map(lambda zero: bytes([zero])),
).map(b"".join)


@given(st.binary(min_size=48, max_size=48), NEARLY_GOOD_TAIL | st.binary(min_size=10, max_size=10))
def test_plain_bytes_are_well_formed_exactly_when_they_decode(tags: bytes, tail: bytes) -> None:
    body = tags + tail
    masked = CITY.mask(commitment("m"), 0, body)
    record = commitment("m") + b"\x00\x01\x00\x01\x00\x01" + masked
    assert is_well_formed(body) is decodes(record, CITY)


# Any history

NAMES, SHAS = st.integers(0, 5), st.sampled_from([b"1" * 32, b"2" * 32])


@st.composite
def events_of_a_block(draw: st.DrawFn, chain: Chain) -> tuple[events.Event, ...]:
    made: list[events.Event] = []
    for ahead in range(draw(st.integers(0, 2))):
        records = [
            material(
                draw(NAMES),
                keys=draw(st.sampled_from([CITY, HEALTH])),
                subject=draw(st.sampled_from([FIRM, OTHER_FIRM, None])),
                sha256=draw(SHAS),
                line=draw(st.integers(0, 3)),
            )
            for _ in range(draw(st.integers(1, 5)))
        ]
        made.append(chain.batch(draw(st.sampled_from([3, 4])), *records, ahead=ahead))
    for _ in range(draw(st.integers(0, 2))):
        flags = draw(st.sampled_from([StatusFlag.REVOKED, StatusFlag.SUSPENDED, StatusFlag(0)]))
        value = encode_status(SlotStatus(flags, 1, 1, b""))
        made.append(events.StatusChanged(draw(st.sampled_from([3, 4])), commitment(draw(NAMES)), value))
    return tuple(made)


def state(index: ChainIndex) -> list[Any]:
    """What the index answers; the order of positions is not part of it."""
    found: list[Any] = [index.counts(), index.log_root()]
    for keys in (CITY, HEALTH):
        for sha256 in (b"1" * 32, b"2" * 32):
            found.append(index.claims_by_content(content(keys, sha256)))
        for subject in (FIRM, OTHER_FIRM):
            found.append(index.claims_by_subject([keys.subject_tag(subject.id_type, subject.id, "M1002")]))
    return found


@given(st.data())
@settings(max_examples=40)
def test_any_history_with_forks_and_late_keys_ends_like_a_fresh_read(pick: st.DataObject) -> None:
    chain, kv = Chain(), MemoryKeyValue()
    index = ChainIndex(kv)
    index.use_keys(ring(CITY))
    index.apply(chain.blocks[0])
    final = 0
    make_final(index, chain, 0)
    held = (CITY,)
    for step in range(pick.draw(st.integers(1, 12))):
        act = pick.draw(st.sampled_from(["block", "block", "block", "fork", "final", "keys"]))
        cursor = index.cursor()
        assert cursor is not None
        if act == "fork" and cursor.number > final:
            back = pick.draw(st.integers(final, cursor.number - 1))
            chain.fork(back, salt=f"fork {step}")
            index.rollback(back)
        elif act == "final":
            final = pick.draw(st.integers(final, cursor.number))
            make_final(index, chain, final)
        elif act == "keys":
            held = (CITY, HEALTH)
            index.learn(ring(*held))
        else:
            chain.add(*pick.draw(events_of_a_block(chain)))
        for block in chain.blocks[index.cursor().number + 1 :]:  # type: ignore[union-attr]
            index.apply(block)
    fresh = index_of(chain, *held, final=False)
    fresh_kv_final = chain.blocks[final]
    make_final(fresh, chain, fresh_kv_final.number)
    assert state(index) == state(fresh)
