"""Strict JSON at the edge: one reading of a body, or a typed refusal.

Refused, though lenient readers take it: duplicate keys, NaN and Infinity, lone surrogates, text outside NFC,
integers beyond 2^53-1, floats unless asked for, a byte order mark, anything after the value, deep nesting.
No error repeats what was sent, not even a key. Must not import FastAPI or Starlette.
Spec: RFC 8259, RFC 7493 (I-JSON), docs/reference/http-conventions.md "Bodies".
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any, Generic, NoReturn, TypeAlias, TypeVar

import msgspec

from anchor.canonical import MAX_INTEGER, nests_within
from node.http.errors import (
    FieldFault,
    RequestInvalid,
    RequestMalformed,
    RequestNotNfc,
    RequestTooDeep,
    RequestTooLarge,
)

# As anchor.canonical.JsonValue, with floats and concrete containers.
JsonValue: TypeAlias = "bool | int | float | str | list[JsonValue] | dict[str, JsonValue] | None"
T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

MAX_DEPTH = 32
BODY_LIMIT_BYTES = 64 << 10

# The start of a msgspec message → the code a caller gets. The message names unknown fields, so it never
# leaves.
_FAULT_CODES = (
    ("Object missing required field", "missing"),
    ("Object contains unknown field", "unknown_field"),
    ("Invalid enum value", "not_allowed"),
    ("Invalid value", "not_allowed"),
    ("Invalid ", "format"),
)
_EXPECTED_CODES = ((" of length", "length"), (" matching regex", "pattern"), (", got ", "type"))
_PATH_STEP = re.compile(r"\.([A-Za-z][A-Za-z0-9_]*)|\[(\d+)\]|\[\.\.\.\]")


def parse_json(
    body: bytes, *, limit: int = BODY_LIMIT_BYTES, depth: int = MAX_DEPTH, floats: bool = False
) -> JsonValue:
    """Parse one JSON value of at most `limit` bytes and `depth` levels (RFC 8259, I-JSON).

    Raises:
        RequestTooLarge, RequestTooDeep, RequestNotNfc, RequestMalformed: none repeats the input.
    """
    if len(body) > limit:
        raise RequestTooLarge("the JSON body is larger than this route takes", limit_bytes=limit)
    if not nests_within(body, depth):
        raise RequestTooDeep("arrays and objects are nested too deeply", limit=depth)
    value = _parse_text(_decode_text(body), floats=floats)
    if not body.isascii() or b"\\u" in body:
        _check_texts(value)
    return value


def decode_body(body: bytes, shape: type[T], *, limit: int = BODY_LIMIT_BYTES, floats: bool = False) -> T:
    """Parse `body` strictly and decode it as `shape`, a msgspec struct with `forbid_unknown_fields`.

    Raises:
        RequestInvalid: a field is wrong; `faults` holds its pointer and code.
        RequestMalformed: as `parse_json`.
    """
    parse_json(body, limit=limit, floats=floats)
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        fault = _fault_of(str(error))
        raise RequestInvalid(
            "a field of the request is not as it should be",
            hint="errors names the place; the operation's schema is in /openapi.json",
            faults=(fault,),
        ) from None
    except (msgspec.DecodeError, RecursionError):
        raise _malformed("the body cannot be decoded") from None


class PlainDecoder(Generic[S]):
    """Decodes the bodies that nearly all callers send, in one pass, and leaves every other to `decode_body`.

    A plain body is ASCII without escapes, so no text in it can be half a surrogate or outside NFC. Its quotes
    are counted: two for each name and each text of the value that came out. One more means that a name came
    twice or a member was null, and that a reader who keeps another one would see another request.
    """

    def __init__(self, shape: type[S], *, limit: int) -> None:
        self._decoder = msgspec.json.Decoder(shape)
        self._limit = limit

    def decode(self, body: bytes) -> S | None:
        """Return what `decode_body` returns for `body`, or None where it might refuse or read otherwise."""
        if (
            len(body) > self._limit
            or not body.isascii()
            or b"\\" in body
            or body.count(b"[") + body.count(b"{") > MAX_DEPTH
        ):
            return None
        try:
            value = self._decoder.decode(body)
        except (msgspec.DecodeError, RecursionError):
            return None
        return value if body.count(b'"') == _quotes_of(value) else None


def _quotes_of(value: msgspec.Struct) -> int:
    """Count the quotes that a struct of texts and structs needs; -1 if it holds anything else."""
    quotes = 0
    for held in msgspec.structs.astuple(value):
        if type(held) is str:
            quotes += 4
        elif isinstance(held, msgspec.Struct):
            inner = _quotes_of(held)
            if inner < 0:
                return -1
            quotes += 2 + inner
        elif held is not None:
            return -1
    return quotes


def _decode_text(body: bytes) -> str:
    if not body:
        raise _malformed("the body is empty")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _malformed("the body is not UTF-8", offset=error.start) from None
    if text[0] == "\ufeff":
        raise _malformed("the body starts with a byte order mark")
    return text


def _parse_text(text: str, *, floats: bool) -> JsonValue:
    decoder = _FLOAT_DECODER if floats else _DECODER
    try:
        value: JsonValue = decoder.decode(text)
    except json.JSONDecodeError as error:
        raise _malformed("the body is not one JSON value", offset=error.pos) from None
    except RecursionError:
        raise RequestTooDeep("arrays and objects are nested too deeply") from None
    return value


def _malformed(message: str, *, offset: int = 0) -> RequestMalformed:
    return RequestMalformed(message, hint="send one JSON value in UTF-8 (RFC 8259, I-JSON)", offset=offset)


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        # Two readers that keep different ones would see two requests in one.
        raise _malformed("an object names the same key twice")
    return value


def _bounded_int(literal: str) -> int:
    # Length first: a very long literal costs quadratic time, or a ValueError of the interpreter's own limit.
    if len(literal) > 17 or not -MAX_INTEGER <= (value := int(literal)) <= MAX_INTEGER:
        raise _malformed("an integer is beyond 2^53-1")
    return value


def _finite_float(literal: str) -> float:
    value = float(literal)
    if value in (float("inf"), float("-inf")):
        raise _malformed("a number is beyond what a double holds")
    return value


def _refuse_float(literal: str) -> NoReturn:
    raise _malformed("numbers with a fraction or an exponent are not taken here")


def _refuse_constant(literal: str) -> NoReturn:
    raise _malformed("NaN and Infinity are not JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_pairs,
    parse_int=_bounded_int,
    parse_float=_refuse_float,
    parse_constant=_refuse_constant,
)
_FLOAT_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_pairs,
    parse_int=_bounded_int,
    parse_float=_finite_float,
    parse_constant=_refuse_constant,
)


def _check_texts(value: JsonValue) -> None:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            _check_text(item)
        elif isinstance(item, list):
            stack.extend(item)
        elif isinstance(item, dict):
            for key in item:
                _check_text(key)
            stack.extend(item.values())


def _check_text(text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise _malformed("a string holds half of a surrogate pair") from None
    if not unicodedata.is_normalized("NFC", text):
        raise RequestNotNfc(
            "a string is not in Unicode normalisation form C", hint="normalise text to NFC before sending it"
        )


def _fault_of(message: str) -> FieldFault:
    """Turn msgspec's sentence into pointer and code; only names of the schema and indices are kept."""
    text, _, path = message.rpartition(" - at `$") if " - at `$" in message else (message, "", "")
    pointer = _pointer_of(path.rstrip("`"))
    for start, code in _FAULT_CODES:
        if text.startswith(start):
            if code == "missing":
                pointer += "/" + text.split("`")[1]
            return FieldFault(pointer, code)
    if text.startswith("Expected "):
        code = next((code for mark, code in _EXPECTED_CODES if mark in text), "range")
        return FieldFault(pointer, code)
    return FieldFault(pointer, "invalid")


def _pointer_of(path: str) -> str:
    return "".join("/" + (name or index or "*") for name, index in _PATH_STEP.findall(path))
