"""Rows of the index: what is written is read back, and damaged rows raise one error only."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor.entries import BatchEntry
from anchor.records import Stream
from verifier import rows
from verifier.errors import IndexCorrupt
from verifier.projection import read_counts, read_entry_head, read_frontier

U16, U32, U64 = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
HASH = st.binary(min_size=32, max_size=32)


@given(st.builds(rows.BlockPoint, U64, HASH, U64))
def test_block_point(point: rows.BlockPoint) -> None:
    assert rows.decode_point(rows.encode_point(point)) == point


@given(U64, U32, st.sampled_from(Stream), U64, U16, HASH, U64, U64, HASH, st.binary(max_size=200))
def test_batch_head_and_its_short_form(
    batch_id: int,
    member_id: int,
    stream: Stream,
    seq: int,
    size: int,
    root: bytes,
    time: int,
    block: int,
    transaction: bytes,
    tail: bytes,
) -> None:
    head = rows.BatchHead(BatchEntry(batch_id, member_id, stream, seq, size, root, time), block, transaction)
    encoded = rows.encode_batch(head, tail)
    assert rows.decode_batch(batch_id, encoded) == head
    assert encoded[rows.BATCH_HEAD_BYTES :] == tail
    assert rows.decode_batch_place(encoded) == rows.BatchPlace(member_id, size, time, block)


@given(st.builds(rows.StatusRow, HASH, U64, HASH))
def test_status(row: rows.StatusRow) -> None:
    assert rows.decode_status_row(rows.encode_status_row(row)) == row


@given(st.lists(st.builds(rows.DocumentRow, U32, HASH, U64)))
def test_document_acts(found: list[rows.DocumentRow]) -> None:
    assert list(rows.decode_document_rows(b"".join(map(rows.encode_document_row, found)))) == found


@given(st.builds(rows.Consumption, U32, U64, HASH, U64))
def test_consumption(row: rows.Consumption) -> None:
    assert rows.decode_consumption(rows.encode_consumption(row)) == row


@given(st.lists(st.tuples(U64, U16)))
def test_positions(found: list[tuple[int, int]]) -> None:
    encoded = b"".join(rows.encode_position(*position) for position in found)
    assert rows.decode_positions(encoded) == found


@given(st.lists(st.tuples(st.binary(), st.none() | st.binary())))
def test_undo(old: list[tuple[bytes, bytes | None]]) -> None:
    assert rows.decode_undo(rows.encode_undo(old)) == old


DECODERS: tuple[Callable[[bytes], object], ...] = (
    rows.decode_point,
    rows.decode_block,
    lambda encoded: rows.decode_batch(0, encoded),
    rows.decode_batch_place,
    rows.decode_status_row,
    rows.decode_slot,
    lambda encoded: list(rows.decode_document_rows(encoded)),
    rows.decode_consumption,
    rows.decode_positions,
    rows.decode_undo,
    read_frontier,
    read_counts,
    read_entry_head,
    lambda encoded: rows.decode_struct(encoded, rows.Member),
    lambda encoded: rows.decode_struct(encoded, rows.EntryVersion),
)


@pytest.mark.parametrize("decode", DECODERS)
@given(st.binary(max_size=160))
def test_random_bytes_are_a_row_or_a_damaged_one(decode: Callable[[bytes], object], encoded: bytes) -> None:
    try:
        decode(encoded)
    except IndexCorrupt as error:
        assert error.hint


@given(st.lists(st.tuples(U64, U64), min_size=2, max_size=2))
def test_keys_sort_by_number(pairs: list[tuple[int, int]]) -> None:
    (first, _), (second, _) = pairs
    for key in (rows.batch_key, rows.block_key, rows.undo_key, rows.signers_key):
        assert (key(first) < key(second)) is (first < second)
