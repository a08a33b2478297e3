"""Page cursors: good for their own listing, and for no other."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.http.cursors import MAX_CURSOR_CHARS, cursor_scope, decode_cursor, encode_cursor
from node.http.errors import CursorInvalid

KEY = b"k" * 32
SCOPE = cursor_scope("/v1/materials", agency="A", typeCode="M1")


@given(st.binary(max_size=256))
def test_a_cursor_gives_back_its_position(position: bytes) -> None:
    assert decode_cursor(KEY, encode_cursor(KEY, position, scope=SCOPE), scope=SCOPE) == position


@pytest.mark.parametrize(
    "other",
    [
        cursor_scope("/v1/reuses", agency="A", typeCode="M1"),
        cursor_scope("/v1/materials", agency="B", typeCode="M1"),
        cursor_scope("/v1/materials", agency="A"),
        cursor_scope("/v1/materials", agency="A", typeCode="M1", status="active"),
    ],
)
def test_a_cursor_is_refused_by_another_listing(other: str) -> None:
    cursor = encode_cursor(KEY, b"position", scope=SCOPE)
    with pytest.raises(CursorInvalid):
        decode_cursor(KEY, cursor, scope=other)


def test_a_filter_cannot_imitate_two() -> None:
    assert cursor_scope("/v1/m", a="x', 'b': 'y") != cursor_scope("/v1/m", a="x", b="y")
    assert cursor_scope("/v1/m", a="1") != cursor_scope("/v1/m", a=1)
    assert cursor_scope("/v1/m", a=None) == cursor_scope("/v1/m")


def test_a_cursor_of_another_node_is_refused() -> None:
    with pytest.raises(CursorInvalid):
        decode_cursor(b"x" * 32, encode_cursor(KEY, b"p", scope=SCOPE), scope=SCOPE)


def test_every_altered_character_is_refused() -> None:
    cursor = encode_cursor(KEY, b"pos", scope=SCOPE)
    for at in range(len(cursor)):
        for other in "A_z9":
            if cursor[at] != other:
                with pytest.raises(CursorInvalid):
                    decode_cursor(KEY, cursor[:at] + other + cursor[at + 1 :], scope=SCOPE)


def test_a_cursor_has_one_spelling() -> None:
    cursor = encode_cursor(KEY, b"pos", scope=SCOPE)
    alphabet = string.ascii_letters + string.digits + "-_"
    accepted = []
    for other in alphabet:
        try:
            decode_cursor(KEY, cursor[:-1] + other, scope=SCOPE)
        except CursorInvalid:
            continue
        accepted.append(other)
    assert accepted == [cursor[-1]]


@pytest.mark.parametrize("cursor", ["", "=", "AAAA", "é", "a b", "A" * (MAX_CURSOR_CHARS + 1), "AQ==\n"])
def test_what_is_no_cursor_is_a_typed_refusal(cursor: str) -> None:
    with pytest.raises(CursorInvalid):
        decode_cursor(KEY, cursor, scope=SCOPE)


@given(st.text(max_size=80))
def test_random_text_is_a_typed_refusal(cursor: str) -> None:
    with pytest.raises(CursorInvalid):
        decode_cursor(KEY, cursor, scope=SCOPE)


def test_a_position_too_long_for_a_cursor_is_refused_when_issued() -> None:
    with pytest.raises(CursorInvalid):
        encode_cursor(KEY, b"p" * 400, scope=SCOPE)
