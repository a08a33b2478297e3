"""One text for one string of bytes."""

import pytest

from anchor.base64url import parse_base64url, render_base64url
from anchor.errors import Base64urlMalformed

# RFC 4648 §10, without the padding.
PUBLISHED = [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("fooba", "Zm9vYmE")]


@pytest.mark.parametrize(("raw", "text"), PUBLISHED)
def test_published_vectors_of_rfc_4648(raw: str, text: str) -> None:
    assert render_base64url(raw.encode()) == text
    assert parse_base64url(text) == raw.encode()


def test_alphabet_is_the_url_safe_one() -> None:
    assert render_base64url(b"\xfb\xff") == "-_8"
    assert parse_base64url("-_8") == b"\xfb\xff"


@pytest.mark.parametrize(
    "text", ["Zg==", "Zh", "Z", "+/8", "Zg\n", " Zg", "Zg=", "Zm9v!", "Ｚｇ", "=", "Zm9vY"]
)
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(Base64urlMalformed):
        parse_base64url(text)


@pytest.mark.parametrize("value", [None, 1, b"Zg", ["Zg"], True])
def test_what_is_not_text_is_refused(value: object) -> None:
    with pytest.raises(Base64urlMalformed):
        parse_base64url(value)


def test_another_length_is_refused() -> None:
    assert parse_base64url("Zm9v", length=3) == b"foo"
    with pytest.raises(Base64urlMalformed) as caught:
        parse_base64url("Zm9v", length=32)
    assert caught.value.facts == {"expected": 32, "got": 3}
