"""The fast way to canonical JSON writes what RFC 8785's own library writes, byte for byte."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from anchor.canonical import MAX_INTEGER, canonical_bytes

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12).map(
    lambda text: unicodedata.normalize("NFC", text)
)
LEAF = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | TEXT
VALUES = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=5), max_leaves=12
)


@given(VALUES)
def test_any_value_is_written_as_the_library_writes_it(value: Any) -> None:
    assert canonical_bytes(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("plane", range(17))
def test_every_character_is_escaped_as_the_library_escapes_it(plane: int) -> None:
    codes = range(plane << 16, (plane + 1) << 16)
    characters = [chr(code) for code in codes if not 0xD800 <= code <= 0xDFFF]
    text = "".join(char for char in characters if unicodedata.is_normalized("NFC", char))
    text = unicodedata.normalize("NFC", text)
    assert canonical_bytes(text) == rfc8785.dumps(text)


class Marked(str):
    """Text of a class of its own."""

    __slots__ = ()


def test_subclasses_of_text_are_written_as_text() -> None:
    assert canonical_bytes([Marked("a"), {"k": Marked("b")}]) == b'["a",{"k":"b"}]'
