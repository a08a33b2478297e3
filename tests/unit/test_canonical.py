"""Canonical JSON: the published examples that our narrower rules allow, and all that they refuse."""

import enum
import subprocess
import sys
from typing import Any

import pytest

from anchor.canonical import canonical_bytes, nests_within, parse_strict_json
from anchor.errors import ValueNotCanonical

# cyberphone/json-canonicalization testdata (the suite of RFC 8785), numbers written as integers.
PUBLISHED: list[tuple[Any, str]] = [
    ([56, {"d": True, "10": None, "1": []}], '[56,{"1":[],"10":null,"d":true}]'),
    (
        {"peach": "This sorting order", "péché": "is wrong", "pêche": "but", "sin": "ignore locale"},
        '{"peach":"This sorting order","péché":"is wrong","pêche":"but","sin":"ignore locale"}',
    ),
    (
        {"1": {"f": {"f": "hi", "F": 5}, "\n": 56}, "10": {}, "": "empty", "a": {}, "111": [], "A": {}},
        r'{"":"empty","1":{"\n":56,"f":{"F":5,"f":"hi"}},"10":{},"111":[],"A":{},"a":{}}',
    ),
    # RFC 8785 §3.2.3, without the key U+FB33, which is not NFC.
    (
        {"€": "E", "\r": "C", "1": "1", "😀": "G", "\x80": "c", "ö": "o"},
        '{"\\r":"C","1":"1","\x80":"c","ö":"o","€":"E","😀":"G"}',
    ),
    # RFC 8785 §3.2.2.2: the escapes.
    ("\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/", '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'),
]


@pytest.mark.parametrize(("value", "text"), PUBLISHED)
def test_published_examples(value: Any, text: str) -> None:
    assert canonical_bytes(value).decode() == text
    assert parse_strict_json(text.encode(), max_bytes=1000) == value


def test_keys_sort_by_utf16_units_not_by_code_points() -> None:
    # U+1F600 is the larger code point, but its first UTF-16 unit, D83D, is below F8FF.
    assert canonical_bytes({"\uf8ff": 1, "\U0001f600": 2}).decode() == '{"\U0001f600":2,"\uf8ff":1}'


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


REFUSED: list[Any] = [
    0.5,
    1.0,
    float("nan"),
    float("inf"),
    2**53,
    -(2**53),
    10**400,
    "A\u030a",
    "\ufb33",
    "\ud800",
    {"e\u0301": 1},
    {"\udfff": 1},
    {1: "a"},
    {None: 1},
    b"bytes",
    {"a": {1, 2}},
    [object()],
    nested(17),
    {"a": [{"b": 0.1}]},
]


@pytest.mark.parametrize("value", REFUSED)
def test_values_without_one_encoding_are_refused(value: Any) -> None:
    with pytest.raises(ValueNotCanonical):
        canonical_bytes(value)


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(ValueNotCanonical):
        canonical_bytes(value)


def test_limits_themselves_are_allowed() -> None:
    assert canonical_bytes([2**53 - 1, -(2**53) + 1]) == b"[9007199254740991,-9007199254740991]"
    assert canonical_bytes(nested(16)) == b"[" * 16 + b"]" * 16


def test_enumerations_of_text_and_numbers_are_their_values() -> None:
    class Word(enum.StrEnum):
        A = "a"

    class Number(enum.IntEnum):
        ONE = 1

    assert canonical_bytes([Word.A, Number.ONE, True]) == b'["a",1,true]'


def test_refusal_never_quotes_the_value() -> None:
    secrets: list[Any] = ["秘密e\u0301", {"秘密e\u0301": 1}, {"秘密": 310101199001010010.5}]
    for value in secrets:
        with pytest.raises(ValueNotCanonical) as caught:
            canonical_bytes(value)
        assert "秘密" not in f"{caught.value} {caught.value.hint} {caught.value.facts}"
        assert "310101" not in f"{caught.value} {caught.value.facts}"


BAD_TEXTS = [
    b"",
    b"{",
    b"{}{}",
    b"\xef\xbb\xbf{}",
    b'"\xff"',
    b'{"a":1,"a":1}',
    b'{"a":1,"\\u0061":2}',
    b'[{"a":{"b":1,"b":2}}]',
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"1.0",
    b"1e3",
    b"9007199254740992",
    b"1" * 5000,
    b'"\\ud800"',
    '"e\u0301"'.encode(),
    b'{"e\\u0301":1}',
    b"[" * 17 + b"]" * 17,
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"'a'",
    b"[1,]",
    b'"tab\tinside"',
]


@pytest.mark.parametrize("raw", BAD_TEXTS, ids=lambda raw: repr(raw[:24]))
def test_texts_that_are_not_strict_json_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueNotCanonical):
        parse_strict_json(raw, max_bytes=1 << 20)


def test_text_over_the_limit_is_refused_before_it_is_read() -> None:
    assert parse_strict_json(b"[1]", max_bytes=3) == [1]
    with pytest.raises(ValueNotCanonical) as caught:
        parse_strict_json(b"[1] ", max_bytes=3)
    assert caught.value.facts == {"limit_bytes": 3, "size_bytes": 4}


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        ("1", 0),
        ('"[[[["', 0),
        ("[]", 1),
        ('{"a":[]}', 2),
        ('["[[", [["]]"]], "\\"[[["]', 3),
        ('["\\\\", [[]]]', 3),
        ("[[],[],[[]]]", 3),
        ('["[' + "\\" * 5 + '[[[", [1]]', 2),
    ],
)
def test_depth_counts_brackets_outside_strings_only(text: str, depth: int) -> None:
    assert nests_within(text.encode(), depth)
    assert depth == 0 or not nests_within(text.encode(), depth - 1)


def test_deep_text_is_refused_even_where_the_recursion_limit_was_raised() -> None:
    # In a process of its own: without the scan beforehand this ends the interpreter.
    code = (
        "import sys; sys.setrecursionlimit(10**7)\n"
        "from anchor.canonical import parse_strict_json\n"
        "from anchor.errors import ValueNotCanonical\n"
        "try: parse_strict_json(b'[' * 900_000, max_bytes=1 << 20)\n"
        "except ValueNotCanonical: print('refused')"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.returncode) == ("refused\n", 0)


def test_parse_error_does_not_quote_the_text() -> None:
    with pytest.raises(ValueNotCanonical) as caught:
        parse_strict_json(b'{"id": 310101199001010010', max_bytes=100)
    assert "310101" not in str(caught.value)
    assert caught.value.__cause__ is None
