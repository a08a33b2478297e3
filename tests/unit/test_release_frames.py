"""Frames of a release stream: any change, cut, swap or addition is refused, and memory stays bounded."""

from __future__ import annotations

import secrets
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import ReleaseBroken
from node.federation.sealing import FRAME_BYTES, HEAD, MAX_HEAD_BYTES, FrameReader, seal_frames

KEY = bytes(range(32))
REQUEST = bytes(32)


def read_all(
    stream: bytes, *, step: int = 4096, request_hash: bytes = REQUEST, key: bytes = KEY
) -> list[bytes]:
    """Feed `stream` in pieces of `step` bytes and return what came out."""
    reader = FrameReader(request_hash)
    reader.set_key(key)
    pieces = [piece for at in range(0, len(stream), step) for piece in reader.feed(stream[at : at + step])]
    reader.close()
    return pieces


@given(st.binary(max_size=200), st.lists(st.binary(max_size=400), max_size=5), st.integers(1, 500))
def test_frames_come_back_whatever_the_chunking(opening: bytes, document: list[bytes], step: int) -> None:
    stream = b"".join(seal_frames(KEY, REQUEST, opening, document))
    assert read_all(stream, step=step) == [opening, *document]


@given(st.data())
def test_any_flipped_bit_is_refused(data: st.DataObject) -> None:
    stream = bytearray(b"".join(seal_frames(KEY, REQUEST, b"opening", [b"a" * 50, b"b" * 50])))
    at = data.draw(st.integers(0, len(stream) * 8 - 1))
    stream[at // 8] ^= 1 << at % 8
    with pytest.raises(ReleaseBroken):
        read_all(bytes(stream))


@pytest.mark.parametrize("cut", [1, 20, 60, 100])
def test_a_cut_stream_is_refused(cut: int) -> None:
    stream = b"".join(seal_frames(KEY, REQUEST, b"opening", [b"a" * 50]))
    with pytest.raises(ReleaseBroken) as caught:
        read_all(stream[:-cut])
    assert caught.value.facts["reason"] == "truncated"


def test_dropping_the_last_frame_is_refused() -> None:
    frames = list(seal_frames(KEY, REQUEST, b"opening", [b"a" * 50, b"b" * 50]))
    with pytest.raises(ReleaseBroken):
        read_all(b"".join(frames[:-1]))


def test_swapped_and_repeated_frames_are_refused() -> None:
    first, second, third, last = seal_frames(KEY, REQUEST, b"o", [b"a" * 9, b"b" * 9, b"c" * 9])
    for stream in (first + third + second + last, first + second + second + third + last):
        with pytest.raises(ReleaseBroken):
            read_all(stream)


def test_bytes_after_the_last_frame_are_refused() -> None:
    stream = b"".join(seal_frames(KEY, REQUEST, b"opening", []))
    for more in (b"x", stream):
        with pytest.raises(ReleaseBroken):
            read_all(stream + more)


def test_frames_of_another_request_or_key_do_not_open() -> None:
    stream = b"".join(seal_frames(KEY, REQUEST, b"opening", []))
    with pytest.raises(ReleaseBroken):
        read_all(stream, request_hash=b"\1" * 32)
    with pytest.raises(ReleaseBroken):
        read_all(stream, key=secrets.token_bytes(32))


def test_a_huge_frame_or_head_is_refused_before_it_is_gathered() -> None:
    reader = FrameReader(REQUEST)
    reader.set_key(KEY)
    with pytest.raises(ReleaseBroken):
        list(reader.feed(struct.pack(">BI", 0, FRAME_BYTES + 17)))
    with pytest.raises(ReleaseBroken):
        FrameReader(REQUEST).take_head(HEAD.pack(MAX_HEAD_BYTES + 1))
