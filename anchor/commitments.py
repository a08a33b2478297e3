"""Salted-field commitments and partial openings (docs/reference/commitment.md).

A commitment is the RFC 6962 root over one salted leaf for each field, sorted by name. Whoever holds the
32-byte salt key can open any fields and hide the rest; destroying the key makes the commitment opaque for
good, which is erasure. Imports `anchor.{base64url,canonical,errors,merkle}`; no store, no clock.
"""

import hmac
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NewType

from anchor.base64url import parse_base64url, render_base64url
from anchor.canonical import JsonValue, canonical_bytes
from anchor.errors import (
    Base64urlMalformed,
    KeyMaterialInvalid,
    OpeningMalformed,
    OpeningMismatch,
    ValueNotCanonical,
)
from anchor.merkle import HASH_BYTES, leaf_hash, node_hash, root, split_point

Commitment = NewType("Commitment", bytes)

SALT_KEY_BYTES: Final = 32
MAX_FIELDS: Final = 64
MAX_NAME_BYTES: Final = 64
MAX_VALUE_BYTES: Final = 16 << 10
_PAIR_BYTES: Final = len(b'["",]')  # what stands around name and value
_NAME: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class OpenedField:
    """One field that an opening shows: its leaf index, name, value and 32-byte salt."""

    index: int
    name: str
    # Values and salts stay out of tracebacks and logs.
    value: JsonValue = field(repr=False)
    salt: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PartialOpening:
    """Some fields of a commitment, and the hashes of the largest subtrees that show none, left to right."""

    leaf_count: int
    opened: tuple[OpenedField, ...]
    hidden: tuple[bytes, ...]
    # What the parser computed to see that the shape is possible; a copy with other parts begins without.
    _root: Commitment | None = field(default=None, init=False, repr=False, compare=False)


def new_salt_key() -> bytes:
    """Return 32 fresh random bytes; one key serves one version of one material, never two."""
    return secrets.token_bytes(SALT_KEY_BYTES)


def field_salt(salt_key: bytes, name: str) -> bytes:
    """Derive the salt of a field: HMAC-SHA-256(salt key, name in UTF-8).

    Raises:
        KeyMaterialInvalid: the salt key is not 32 bytes.
    """
    if len(salt_key) != SALT_KEY_BYTES:
        raise KeyMaterialInvalid("a salt key has 32 bytes", got=len(salt_key))
    return hmac.digest(salt_key, name.encode(), "sha256")


def commit(fields: Mapping[str, JsonValue], salt_key: bytes) -> Commitment:
    """Commit to 1..64 `fields` under a 32-byte `salt_key`.

    Raises:
        OpeningMalformed: no or too many fields, a bad name, or a value over 16 KiB.
        ValueNotCanonical: a value that `canonical_bytes` refuses.
        KeyMaterialInvalid: the salt key is not 32 bytes.
    """
    return Commitment(root(_leaves(fields, salt_key)))


def open_fields(fields: Mapping[str, JsonValue], salt_key: bytes, names: Iterable[str]) -> PartialOpening:
    """Open the fields in `names` (one at least) and hide the others.

    Raises:
        OpeningMalformed: as `commit`, or a name that is not among the fields, or no name at all.
        ValueNotCanonical, KeyMaterialInvalid: as `commit`.
    """
    leaves = _leaves(fields, salt_key)
    wanted = frozenset(names)
    if not wanted or not wanted <= fields.keys():
        raise OpeningMalformed("an opening shows one or more fields of its commitment")
    opened = tuple(
        OpenedField(index, name, fields[name], field_salt(salt_key, name))
        for index, name in enumerate(sorted(fields))
        if name in wanted
    )
    indices = {each.index for each in opened}
    return PartialOpening(len(leaves), opened, tuple(_hidden(leaves, 0, indices)))


def root_of_opening(opening: PartialOpening) -> Commitment:
    """Return the commitment that an opening leads to.

    Raises:
        OpeningMalformed: the opening breaks a rule of docs/reference/commitment.md.
    """
    if opening._root is not None:
        return opening._root
    _require_shape(opening)
    # Both lists in reverse, so that taking from the end follows the leaves from left to right.
    leaves = [(each.index, _opened_leaf(each)) for each in reversed(opening.opened)]
    hidden = list(reversed(opening.hidden))
    commitment = _subtree_root(0, opening.leaf_count, leaves, hidden)
    if hidden:
        raise OpeningMalformed("the opening has more hidden hashes than its shape asks for")
    return Commitment(commitment)


def verify_opening(opening: PartialOpening, commitment: Commitment) -> Mapping[str, JsonValue]:
    """Verify that `opening` is of `commitment` and return the opened fields by name.

    Raises:
        OpeningMalformed: it cannot be an opening at all.
        OpeningMismatch: it leads to another commitment.
    """
    if not hmac.compare_digest(root_of_opening(opening), commitment):
        raise OpeningMismatch("the opened fields do not belong to this commitment")
    return {each.name: each.value for each in opening.opened}


def opening_to_json(opening: PartialOpening) -> dict[str, JsonValue]:
    """Render an opening as its JSON object (docs/reference/commitment.md)."""
    return {
        "leafCount": opening.leaf_count,
        "opened": [
            {"index": each.index, "name": each.name, "value": each.value, "salt": render_base64url(each.salt)}
            for each in opening.opened
        ],
        "hidden": [render_base64url(each) for each in opening.hidden],
    }


def opening_from_json(value: JsonValue) -> PartialOpening:
    """Parse the JSON object of an opening; unknown and missing members are refused.

    Raises:
        OpeningMalformed: anything that `opening_to_json` would not have written.
    """
    leaf_count, opened, hidden = _members(value, ("leafCount", "opened", "hidden"))
    try:
        opening = PartialOpening(
            _whole_number(leaf_count),
            tuple(_opened_from_json(each) for each in _array(opened)),
            tuple(parse_base64url(each, length=HASH_BYTES) for each in _array(hidden)),
        )
    except Base64urlMalformed:
        raise OpeningMalformed("a salt or hidden hash is not 32 bytes in base64url") from None
    # Refuses what is well-typed but has an impossible shape.
    object.__setattr__(opening, "_root", root_of_opening(opening))
    return opening


def _leaves(fields: Mapping[str, JsonValue], salt_key: bytes) -> list[bytes]:
    if not 1 <= len(fields) <= MAX_FIELDS:
        raise OpeningMalformed("a commitment has 1 to 64 fields", got=len(fields))
    # Names are ASCII, so sorting text sorts their UTF-8 bytes.
    return [_leaf(name, fields[name], field_salt(salt_key, name)) for name in sorted(fields)]


@lru_cache(maxsize=256)
def _is_name(name: str) -> bool:
    return len(name) <= MAX_NAME_BYTES and _NAME.fullmatch(name) is not None


def _leaf(name: str, value: JsonValue, salt: bytes) -> bytes:
    if not _is_name(name):
        raise OpeningMalformed("a field name is not 1 to 64 letters and digits, a letter first")
    pair = canonical_bytes((name, value))
    if len(pair) - len(name) - _PAIR_BYTES > MAX_VALUE_BYTES:
        raise OpeningMalformed("a field value is too long", limit_bytes=MAX_VALUE_BYTES)
    return leaf_hash(salt + pair)


def _opened_leaf(opened: OpenedField) -> bytes:
    if len(opened.salt) != HASH_BYTES:
        raise OpeningMalformed("a salt is not 32 bytes", got=len(opened.salt))
    try:
        return _leaf(opened.name, opened.value, opened.salt)
    except ValueNotCanonical:
        raise OpeningMalformed("an opened value has no canonical JSON form") from None


def _require_shape(opening: PartialOpening) -> None:
    indices = [each.index for each in opening.opened]
    names = [each.name for each in opening.opened]
    if not 1 <= opening.leaf_count <= MAX_FIELDS or not opening.opened:
        raise OpeningMalformed("an opening shows 1 or more of 1 to 64 fields", got=opening.leaf_count)
    if min(indices) < 0 or max(indices) >= opening.leaf_count:
        raise OpeningMalformed("an opened field is outside the tree")
    # Fields are sorted by name, so index and name rise together; this also refuses a name shown twice.
    if not (_rises(indices) and _rises(names)):
        raise OpeningMalformed("opened fields are not in the order of their names")
    if any(len(each) != HASH_BYTES for each in opening.hidden):
        raise OpeningMalformed("a hidden hash is not 32 bytes")


def _rises(values: list[int] | list[str]) -> bool:
    return values == sorted(set(values))  # type: ignore[type-var]


def _hidden(leaves: Sequence[bytes], first: int, opened: set[int]) -> Iterator[bytes]:
    if opened.isdisjoint(range(first, first + len(leaves))):
        yield root(leaves)
    elif len(leaves) > 1:
        split = split_point(len(leaves))
        yield from _hidden(leaves[:split], first, opened)
        yield from _hidden(leaves[split:], first + split, opened)


def _subtree_root(first: int, size: int, leaves: list[tuple[int, bytes]], hidden: list[bytes]) -> bytes:
    """Take from both lists what lies in this subtree; opened leaves rise, so the next one says if it has any."""
    if not leaves or leaves[-1][0] >= first + size:
        if not hidden:
            raise OpeningMalformed("the opening has fewer hidden hashes than its shape asks for")
        return hidden.pop()
    if size == 1:
        return leaves.pop()[1]
    split = split_point(size)
    left = _subtree_root(first, split, leaves, hidden)
    return node_hash(left, _subtree_root(first + split, size - split, leaves, hidden))


def _opened_from_json(value: JsonValue) -> OpenedField:
    index, name, shown, salt = _members(value, ("index", "name", "value", "salt"))
    if not isinstance(name, str):
        raise OpeningMalformed("a field name is not text")
    return OpenedField(_whole_number(index), name, shown, parse_base64url(salt, length=HASH_BYTES))


def _members(value: JsonValue, names: tuple[str, ...]) -> list[JsonValue]:
    # A dict, as the parser makes: asking for any Mapping takes longer than all the rest here.
    if not isinstance(value, dict) or len(value) != len(names):
        raise OpeningMalformed("the opening lacks a member or has one too many")
    try:
        return [value[name] for name in names]
    except KeyError:
        raise OpeningMalformed("the opening lacks a member") from None


def _array(value: JsonValue) -> list[JsonValue]:
    if not isinstance(value, list | tuple) or len(value) > MAX_FIELDS:
        raise OpeningMalformed("the opening has something else where a list of at most 64 belongs")
    return list(value)


def _whole_number(value: JsonValue) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise OpeningMalformed("the opening has something else where a whole number belongs")
    return value
