"""The strict RLP codec beside the `rlp` package, which shares nothing with it."""

from __future__ import annotations

from typing import Any

import pytest
import rlp
from hypothesis import given
from hypothesis import strategies as st
from rlp.exceptions import RLPException

from anchor.rlpcodec import MAX_DEPTH, RlpMalformed, decode, encode

STRINGS = st.binary(max_size=3) | st.integers(54, 300).map(bytes)
ITEMS: Any = st.recursive(STRINGS, lambda inner: st.lists(inner, max_size=6), max_leaves=20)


def nested(depth: int) -> bytes:
    """Encode a byte string within `depth` lists."""
    raw = b"x"
    for _ in range(depth):
        raw = bytes(rlp.codec.length_prefix(len(raw), 0xC0)) + raw
    return raw


@given(ITEMS)
def test_encoding_is_that_of_the_package_and_reads_back(item: Any) -> None:
    assert encode(item) == rlp.encode(item)
    assert decode(encode(item)) == item


@given(ITEMS, st.data())
def test_altered_bytes_are_read_or_refused_as_by_the_package(item: Any, draw: st.DataObject) -> None:
    raw = bytearray(rlp.encode(item))
    at = draw.draw(st.integers(0, len(raw) - 1))
    raw[at] = draw.draw(
        st.sampled_from([0, 1, 0x7F, 0x80, 0x81, 0xB7, 0xB8, 0xB9, 0xBF, 0xC0, 0xC1, 0xF7, 0xF8, 0xFF])
    )
    raw = raw[: draw.draw(st.integers(0, len(raw)))]
    try:
        expected = rlp.decode(bytes(raw))
    except RLPException:
        with pytest.raises(RlpMalformed):
            decode(bytes(raw))
    else:
        assert decode(bytes(raw)) == expected


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "8100",
        "817f",
        "b80141",
        "b8370000",
        "b900ff",
        "83616263ff",
        "c3",
        "c28161",
        "f80161",
        "bfffffffffffffffff",
    ],
)
def test_another_encoding_or_length_is_refused(raw: str) -> None:
    with pytest.raises(RlpMalformed):
        decode(bytes.fromhex(raw))


def test_lists_nest_as_deep_as_proofs_need_and_no_deeper() -> None:
    assert decode(nested(MAX_DEPTH))
    for depth in (MAX_DEPTH + 1, 500):
        with pytest.raises(RlpMalformed, match="deep"):
            decode(nested(depth))
