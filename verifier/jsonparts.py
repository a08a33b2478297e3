"""Reads the parts of a JSON document that proofs come in: one strict rule for each kind of value.

Pure. Every failure is the error class that the reader was made with; no value is ever quoted.
"""

import re
from dataclasses import dataclass
from typing import Final

from anchor.base64url import parse_base64url
from anchor.canonical import JsonValue
from anchor.errors import Base64urlMalformed, DeltasealError

_HEXADECIMAL: Final = re.compile(r"0x[0-9a-f]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class PartReader:
    """Reads the parts of one format; `error` is what a part of another form raises, `of` names the document."""

    error: type[DeltasealError]
    of: str

    def members(self, value: JsonValue, *names: str) -> list[JsonValue]:
        """Return the values of an object that has exactly these members, in this order."""
        # A dict, as the parser makes: asking for any Mapping takes longer than all the rest here.
        if not isinstance(value, dict) or len(value) != len(names):
            raise self.error(f"an object of the {self.of} lacks a member or has one too many")
        try:
            return [value[name] for name in names]
        except KeyError:
            raise self.error(f"an object of the {self.of} lacks a member") from None

    def items(self, value: JsonValue, limit: int) -> list[JsonValue]:
        """Return a list of at most `limit` values."""
        if not isinstance(value, list) or len(value) > limit:
            raise self.error(f"a list of the {self.of} is none, or is too long", limit=limit)
        return value

    def number(self, value: JsonValue, *, octets: int = 8) -> int:
        """Return a whole number from 0 that fits into so many bytes."""
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 8 * octets:
            raise self.error(f"a number of the {self.of} is not a whole one in its range", octets=octets)
        return value

    def hexadecimal(self, value: JsonValue, length: int) -> bytes:
        """Return bytes that are written as 0x and lower-case digits."""
        if not isinstance(value, str) or len(value) != 2 + 2 * length or not _HEXADECIMAL.fullmatch(value):
            raise self.error("a value is not 0x and lower-case hexadecimal digits", length=length)
        return bytes.fromhex(value[2:])

    def blobs(self, value: JsonValue, *, most: int, most_bytes: int) -> tuple[bytes, ...]:
        """Return a list of base64url byte strings, none longer than `most_bytes`, no two alike."""
        texts = self.items(value, most)
        try:
            found = tuple(parse_base64url(each) for each in texts)
        except Base64urlMalformed as error:
            raise self.error(f"a list of the {self.of} is malformed: {error}", cause=error.code) from None
        if any(len(each) > most_bytes for each in found) or len(set(found)) != len(found):
            raise self.error(f"a list of the {self.of} has an item too long, or twice", limit=most_bytes)
        return found


def render_hex(raw: bytes) -> str:
    """Render bytes as 0x and lower-case digits."""
    return "0x" + raw.hex()
