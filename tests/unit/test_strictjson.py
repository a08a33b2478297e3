"""Strict JSON at the HTTP edge: one reading of a body, or a typed refusal that repeats nothing of it."""

import json
from datetime import date
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.http.errors import (
    FieldFault,
    HttpError,
    RequestInvalid,
    RequestMalformed,
    RequestNotNfc,
    RequestTooDeep,
    RequestTooLarge,
)
from node.http.strictjson import MAX_DEPTH, decode_body, parse_json

CITIZEN_ID = "310104185001010014"

REFUSED = {
    "empty": b"",
    "only space": b"  ",
    "duplicate key": b'{"a":1,"a":1}',
    "duplicate key by escape": rb'{"a":1,"\u0061":1}',
    "duplicate key below": b'[{"x":{"k":1,"k":2}}]',
    "NaN": b"[NaN]",
    "Infinity": b"[Infinity]",
    "-Infinity": b"[-Infinity]",
    "float": b"[1.0]",
    "exponent": b"[1e2]",
    "2^53": b"[9007199254740992]",
    "-2^53": b"[-9007199254740992]",
    "endless integer": b"[" + b"9" * 6000 + b"]",
    "leading zero": b"[01]",
    "plus": b"[+1]",
    "trailing value": b"{} {}",
    "trailing text": b"[]x",
    "trailing comma": b"[1,]",
    "comment": b"[1] // x",
    "single quotes": b"['a']",
    "byte order mark": b"\xef\xbb\xbf{}",
    "utf-16": "{}".encode("utf-16"),
    "not utf-8": b'["\xff"]',
    "overlong utf-8": b'["\xc0\x80"]',
    "raw surrogate": b'["\xed\xa0\x80"]',
    "lone surrogate": rb'["\ud800"]',
    "lone low surrogate": rb'["\udc00x"]',
    "lone surrogate in a key": rb'{"\ud800":1}',
    "raw control character": b'["a\nb"]',
    "bad escape": rb'["\x41"]',
    "unclosed": b'{"a":',
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_what_readers_disagree_about_is_refused(body: bytes) -> None:
    with pytest.raises(RequestMalformed) as caught:
        parse_json(body)
    assert type(caught.value) is RequestMalformed


@pytest.mark.parametrize("text", ["e\u0301", "\u212b", "\u1100\u1161"])
def test_text_outside_nfc_is_refused_as_value_and_as_key(text: str) -> None:
    for value in (text, {text: 1}, [{"a": [text]}]):
        for ascii_only in (True, False):
            with pytest.raises(RequestNotNfc):
                parse_json(json.dumps(value, ensure_ascii=ascii_only).encode())


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -0, 2**53 - 1, -(2**53) + 1, "", "汉字 é 😀", [], {}, {"a": [{"b": None}]}, "\u0000"],
)
def test_plain_values_are_read_as_they_are(value: object) -> None:
    for ascii_only in (True, False):
        assert parse_json(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


def test_floats_are_read_only_when_asked_for() -> None:
    assert parse_json(b"[1.5, 1e3]", floats=True) == [1.5, 1000.0]
    with pytest.raises(RequestMalformed):
        parse_json(b"[1e999]", floats=True)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_depth_is_counted_in_containers(opening: bytes, closing: bytes) -> None:
    core = b"1" if closing == b"}" else b""
    allowed = opening * MAX_DEPTH + core + closing * MAX_DEPTH
    assert parse_json(allowed) is not None
    with pytest.raises(RequestTooDeep):
        parse_json(opening + allowed + closing)


def test_nesting_beyond_the_interpreters_stack_is_a_typed_refusal() -> None:
    # Libraries raise the interpreter's own limit for the whole process, so it cannot be what protects the stack.
    for deep in (b"[" * 200_000, b"[" * 50_000 + b"]" * 50_000, b'{"a":' * 40_000):
        with pytest.raises(RequestTooDeep):
            parse_json(deep, limit=len(deep))


def test_brackets_inside_text_are_no_depth() -> None:
    text = '[{"' * 100 + "\\"
    assert parse_json(json.dumps({"a": text}).encode()) == {"a": text}


def test_a_body_beyond_its_limit_is_refused_before_it_is_parsed() -> None:
    assert parse_json(b"[1]", limit=3) == [1]
    with pytest.raises(RequestTooLarge) as caught:
        parse_json(b"[[[[", limit=3)
    assert caught.value.facts == {"limit_bytes": 3}


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A nested shape."""

    id_type: Literal["001", "111"]
    id: Annotated[str, msgspec.Meta(max_length=4)]

    def __post_init__(self) -> None:
        if self.id == "bad":
            raise ValueError(CITIZEN_ID)


class Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """A body as routes declare it."""

    type_code: Annotated[str, msgspec.Meta(pattern="^M")]
    count: Annotated[int, msgspec.Meta(ge=1, le=9)] = 1
    subjects: list[Inner] = []
    names: dict[str, int] = {}
    issued_on: date | None = None
    entry: msgspec.Raw = msgspec.Raw(b"")


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"{}", FieldFault("/typeCode", "missing")),
        (b"[]", FieldFault("", "type")),
        (b'{"typeCode":7}', FieldFault("/typeCode", "type")),
        (b'{"typeCode":"x"}', FieldFault("/typeCode", "pattern")),
        (b'{"typeCode":"M","count":0}', FieldFault("/count", "range")),
        (b'{"typeCode":"M","310104185001010014":1}', FieldFault("", "unknown_field")),
        (b'{"typeCode":"M","subjects":[{"idType":"001"}]}', FieldFault("/subjects/0/id", "missing")),
        (
            b'{"typeCode":"M","subjects":[{"idType":"002","id":"1"}]}',
            FieldFault("/subjects/0/idType", "not_allowed"),
        ),
        (
            b'{"typeCode":"M","subjects":[{"idType":"001","id":"12345"}]}',
            FieldFault("/subjects/0/id", "length"),
        ),
        (b'{"typeCode":"M","subjects":[{"idType":"001","id":"bad"}]}', FieldFault("/subjects/0", "invalid")),
        (
            b'{"typeCode":"M","subjects":[{"idType":"001","id":"1","310104185001010014":1}]}',
            FieldFault("/subjects/0", "unknown_field"),
        ),
        (b'{"typeCode":"M","names":{"310104185001010014":"x"}}', FieldFault("/names/*", "type")),
        (b'{"typeCode":"M","issuedOn":"2026-13-01"}', FieldFault("/issuedOn", "format")),
    ],
)
def test_a_wrong_field_is_named_by_pointer_and_code_alone(body: bytes, fault: FieldFault) -> None:
    with pytest.raises(RequestInvalid) as caught:
        decode_body(body, Shape)
    assert caught.value.faults == (fault,)
    assert CITIZEN_ID not in repr(
        (str(caught.value), caught.value.hint, caught.value.faults, caught.value.facts)
    )
    assert caught.value.__suppress_context__


def test_a_right_body_becomes_its_struct() -> None:
    body = b'{"typeCode":"M1","subjects":[{"idType":"001","id":"1"}],"entry":{"k": [1]}}'
    found = decode_body(body, Shape)
    assert (found.type_code, found.subjects, bytes(found.entry)) == ("M1", [Inner("001", "1")], b'{"k": [1]}')


def test_a_duplicate_key_is_refused_also_where_the_struct_would_take_the_last() -> None:
    with pytest.raises(RequestMalformed):
        decode_body(b'{"typeCode":"M1","typeCode":"M2"}', Shape)


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_random_bytes_raise_only_the_typed_errors(body: bytes) -> None:
    for floats in (False, True):
        try:
            parse_json(body, floats=floats)
        except HttpError as error:
            assert error.code.startswith("request_")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(_VALUES, st.booleans())
def test_what_is_read_is_what_was_written(value: object, ascii_only: bool) -> None:
    try:
        read = parse_json(json.dumps(value, ensure_ascii=ascii_only).encode())
    except RequestNotNfc:
        return
    assert read == value
