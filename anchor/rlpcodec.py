"""Strict RLP of byte strings and lists (Yellow Paper appendix B): each item has one encoding.

For proofs and headers, which come from anybody: nesting is bounded, so that no input can exhaust the stack, and a
header of flat strings takes one pass. Imports nothing. Why not the `rlp` package: docs/explanation/adr.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

Item: TypeAlias = "bytes | list[Item]"

# Headers nest 3 deep, a trie's nodes within their parents not much deeper. The browser's twin has the same bound.
MAX_DEPTH: Final = 32
_EMPTY: Final = 0x80
_HASH: Final = 0xA0
_SHORT: Final = tuple(bytes([0x80 + length]) for length in range(56))


class RlpMalformed(ValueError):
    """Bytes that are not the one encoding of an item. Handled where it is asked; never leaves this package."""


def decode(raw: bytes) -> Item:
    """Decode the one item that `raw` holds.

    Raises:
        RlpMalformed: it holds none, bytes after it, another encoding than the shortest, or lists nested over 32 deep.
    """
    found = _decode_items(raw, 0, len(raw), 0)
    if len(found) != 1:
        raise RlpMalformed("not one item")
    return found[0]


def encode(item: "bytes | Sequence[object]") -> bytes:
    """Encode a byte string, or a list of items."""
    if isinstance(item, bytes):
        if len(item) == 1 and item[0] < 0x80:
            return item
        return _prefix(0x80, len(item)) + item
    return enlist(join(item))


def join(items: Sequence[object]) -> bytes:
    """Encode items one after the other, without the list around them."""
    parts: list[bytes] = []
    for each in items:
        # Most of a header's fields are short strings: written here, without a call for each.
        if type(each) is bytes and (1 < len(each) < 56 or not each):
            parts += (_SHORT[len(each)], each)
        else:
            parts.append(encode(each))  # type: ignore[arg-type]
    return b"".join(parts)


def enlist(payload: bytes) -> bytes:
    """Encode the list whose items, encoded already, make up `payload`."""
    return _prefix(0xC0, len(payload)) + payload


def scalar(number: int) -> bytes:
    """Return the byte string that stands for a whole number: big-endian, no zeros before it, none for 0."""
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _decode_items(raw: bytes, at: int, end: int, depth: int) -> list[Item]:
    """Decode the items that fill `raw` from `at` to `end`."""
    if depth > MAX_DEPTH and at < end:
        raise RlpMalformed("lists nest too deeply")
    found: list[Item] = []
    while at < end:
        first = raw[at]
        # Hashes and empty strings first: hardly anything else stands in proofs.
        if first == _HASH and at + 33 <= end:
            found.append(raw[at + 1 : at + 33])
            at += 33
            continue
        if first <= _EMPTY:
            found.append(raw[at : at + 1] if first < _EMPTY else b"")
            at += 1
            continue
        start, stop = (at + 1, at + first - 0x7F) if first < 0xB8 else _bounds(raw, at, first)
        if stop > end:
            raise RlpMalformed("an item is longer than what it is in")
        if first >= 0xC0:
            found.append(_decode_items(raw, start, stop, depth + 1))
        elif stop - start == 1 and raw[start] < 0x80:
            raise RlpMalformed("a byte that stands for itself has a length")
        else:
            found.append(raw[start:stop])
        at = stop
    return found


def _bounds(raw: bytes, at: int, first: int) -> tuple[int, int]:
    """Return where the payload of the item at `at` begins and ends."""
    size = first - (0xC0 if first >= 0xC0 else 0x80)
    if size < 56:
        return at + 1, at + 1 + size
    start = at + size - 54
    length = int.from_bytes(raw[at + 1 : start], "big")
    if length < 56 or raw[at + 1] == 0:
        raise RlpMalformed("a length is not the shortest")
    return start, start + length


def _prefix(base: int, length: int) -> bytes:
    if length < 56:
        return bytes((base + length,))
    digits = scalar(length)
    return bytes((base + 55 + len(digits),)) + digits
