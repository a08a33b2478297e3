"""One byte string for one JSON value: RFC 8785 (JCS), narrowed to what every language reads alike.

RFC 8785 allows floats and any Unicode text. What is committed to or signed here may hold neither a float
nor text outside NFC: two people who typed the same name must get the same bytes. The reader for JSON from
outside lives here too, as its limits are the same. Imports only `anchor.errors`.
"""

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn, TypeAlias

import msgspec
import rfc8785

from anchor.errors import ValueNotCanonical

JsonValue: TypeAlias = bool | int | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"] | None

MAX_DEPTH: Final = 16
# A string is one token, closed or not, so that the scan is linear and brackets in text do not count.
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
# Ten times as fast. Text and whole numbers look the same in it; keys it sorts by code point, RFC 8785 by UTF-16.
_SORTED: Final = msgspec.json.Encoder(order="sorted")
MAX_INTEGER: Final = 2**53 - 1  # The largest integer that a double holds exactly (RFC 8785 §3.2.2.3).


def canonical_bytes(value: JsonValue) -> bytes:
    """Encode `value` as RFC 8785 bytes.

    Lists, tuples and dicts nest at most 16 deep; an empty one counts as a level.

    Raises:
        ValueNotCanonical: a float, an integer outside ±(2^53 − 1), a lone surrogate, text that is not NFC,
            a key that is not text, deeper nesting, or a type that JSON does not have.
    """
    ascii_keys = _refuse_ambiguous(value, depth=0)
    try:
        return _encode(value, ascii_keys=ascii_keys)
    except (rfc8785.CanonicalizationError, UnicodeError, RecursionError):
        raise ValueNotCanonical("the value has no canonical JSON form") from None


def _encode(value: JsonValue, *, ascii_keys: bool) -> bytes:
    """Encode the fast way where it gives the same bytes: the two orders agree on ASCII keys."""
    if not ascii_keys:
        return rfc8785.dumps(value)
    try:
        return _SORTED.encode(value)
    except TypeError:  # A subclass of text or number, which the fast encoder does not know.
        return rfc8785.dumps(value)


def parse_strict_json(raw: bytes, *, max_bytes: int) -> JsonValue:
    """Parse JSON from outside under the limits of `canonical_bytes`.

    Raises:
        ValueNotCanonical: over `max_bytes`, not UTF-8, not JSON, a duplicate key, NaN or Infinity, or
            anything that `canonical_bytes` refuses.
    """
    if len(raw) > max_bytes:
        raise ValueNotCanonical("the JSON text is too long", limit_bytes=max_bytes, size_bytes=len(raw))
    if not nests_within(raw, MAX_DEPTH):
        raise ValueNotCanonical("the value nests too deeply", limit=MAX_DEPTH)
    try:
        value = _DECODER.decode(raw.decode("utf-8"))
    except (ValueError, RecursionError):
        # The parser's own message quotes the input, so it goes no further.
        raise ValueNotCanonical("the text is not JSON in UTF-8") from None
    # Text in ASCII without escapes is NFC and holds no surrogates; numbers and nesting were looked at above.
    if not raw.isascii() or b"\\" in raw:
        _refuse_ambiguous(value, depth=0)
    return value  # type: ignore[no-any-return]  # Every node was looked at, here or by the parser's hooks.


def nests_within(raw: bytes, limit: int) -> bool:
    """Return whether arrays and objects in the JSON text `raw` nest at most `limit` deep.

    Asked before any parser sees the text: parsers recurse in C, and the interpreter's limit does not protect
    the stack, because libraries that we load raise it for the whole process. A deep body then ends the process.
    """
    if raw.count(b"[") + raw.count(b"{") <= limit:
        return True
    # Without escapes every second piece between quotes is text.
    outside = _STRING.sub(b"", raw) if b"\\" in raw else b"".join(raw.split(b'"')[::2])
    depth = 0
    for bracket in outside.translate(None, _NO_BRACKETS):
        if bracket in b"[{":
            depth += 1
            if depth > limit:
                return False
        else:
            depth -= 1
    return True


def _refuse_ambiguous(value: object, *, depth: int) -> bool:
    """Refuse what has no one form; return whether all keys of objects in it are ASCII."""
    if isinstance(value, dict | list | tuple):
        return _refuse_container(value, depth=depth + 1)
    if isinstance(value, str):
        _refuse_text(value)
    elif value is None or isinstance(value, bool):
        return True
    elif isinstance(value, int):
        _refuse_large(value)
    else:
        hint = "write money in fen and other fractions as text"
        raise ValueNotCanonical("this type has no canonical JSON form", hint=hint, type=type(value).__name__)
    return True


def _refuse_container(value: dict[object, object] | list[object] | tuple[object, ...], *, depth: int) -> bool:
    if depth > MAX_DEPTH:
        raise ValueNotCanonical("the value nests too deeply", limit=MAX_DEPTH)
    ascii_keys = True
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise ValueNotCanonical("an object key is not text")
            if not key.isascii():
                _refuse_text(key)
                ascii_keys = False
    for item in value.values() if isinstance(value, dict) else value:
        if item is None or (type(item) is str and item.isascii()):
            continue  # most values; a call for each would cost more than the look
        ascii_keys = _refuse_ambiguous(item, depth=depth) and ascii_keys
    return ascii_keys


def _refuse_large(value: int) -> None:
    if abs(value) > MAX_INTEGER:
        raise ValueNotCanonical("an integer is outside ±(2^53 - 1)", hint="send large numbers as text")


def _refuse_text(value: str) -> None:
    if value.isascii():
        return
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueNotCanonical("text holds a lone surrogate") from None
    if not unicodedata.is_normalized("NFC", value):
        raise ValueNotCanonical("text is not in Unicode normal form C", hint="normalise it to NFC")


def _whole(text: str) -> int:
    value = int(text)
    _refuse_large(value)
    return value


def _refuse_fraction(_text: str) -> NoReturn:
    raise ValueNotCanonical("a number is no whole one", hint="write money in fen and other fractions as text")


def _unique_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueNotCanonical("an object has a key twice")
    return result


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique_object,
    parse_int=_whole,
    parse_float=_refuse_fraction,
    parse_constant=_refuse_fraction,
)
