"""Merkle trees of RFC 6962 §2.1 over SHA-256: roots, inclusion, consistency, frontier, growing log.

The same tree is used three times: over the fields of an opening, the records of a batch, and the batches
of the log. Functions take leaf *hashes*, since each use builds its leaves differently. Contracts and pages
that must agree: contracts/libraries/RFC6962.sol, docs/reference/batch-and-log.md. Imports only
`anchor.errors`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from anchor.errors import MerkleInvalid

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def leaf_hash(content: bytes) -> bytes:
    """Hash a leaf: SHA-256(0x00 ‖ content). Source: RFC 6962 §2.1."""
    return hashlib.sha256(b"\x00" + content).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash an inner node: SHA-256(0x01 ‖ left ‖ right). Source: RFC 6962 §2.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def split_point(size: int) -> int:
    """Return the leaves of the left subtree: the largest power of two below `size` ≥ 2. RFC 6962 §2.1."""
    return 1 << ((size - 1).bit_length() - 1)


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """Return the tree head of 32-byte leaf hashes; none give SHA-256 of nothing. Source: RFC 6962 §2.1."""
    if not leaf_hashes:
        return EMPTY_ROOT
    level = list(leaf_hashes)
    while len(level) > 1:
        level = _parents(level)
    return level[0]


def inclusion_path(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Return the audit path of leaf `index`, nearest the leaf first. Source: RFC 6962 §2.1.1.

    Raises:
        MerkleInvalid: there is no such leaf.
    """
    _require_index(index, len(leaf_hashes))
    path = []
    level = list(leaf_hashes)
    while len(level) > 1:
        if index ^ 1 < len(level):
            path.append(level[index ^ 1])
        level, index = _parents(level), index >> 1
    return path


def root_from_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """Return the root that `path` leads to from the leaf hash `leaf`. Source: RFC 9162 §2.1.3.2.

    Raises:
        MerkleInvalid: the index is outside the tree, or the path has another length than the tree gives it.
    """
    _require_index(index, size)
    _require_hashes([leaf, *path])
    node, last, rest = leaf, size - 1, list(reversed(path))
    while last > 0:
        if index & 1 or index < last:
            if not rest:
                raise MerkleInvalid("the inclusion path is too short", size=size)
            sibling = rest.pop()
            node = node_hash(sibling, node) if index & 1 else node_hash(node, sibling)
        index, last = index >> 1, last >> 1
    if rest:
        raise MerkleInvalid("the inclusion path is too long", size=size)
    return node


def consistency_path(leaf_hashes: Sequence[bytes], first: int) -> list[bytes]:
    """Return the proof that the tree of `first` leaves is a prefix of this one. Source: RFC 6962 §2.1.2.

    Raises:
        MerkleInvalid: `first` is negative or more than there are.
    """
    if not 0 <= first <= len(leaf_hashes):
        raise MerkleInvalid("the earlier tree is not within the later one", size=len(leaf_hashes))
    if first in (0, len(leaf_hashes)):
        return []
    return _subproof(leaf_hashes, first, whole=True)


def verify_consistency(
    first: int, second: int, first_root: bytes, second_root: bytes, path: Sequence[bytes]
) -> None:
    """Verify that the tree of `second` leaves extends the tree of `first`. Source: RFC 9162 §2.1.4.2.

    Raises:
        MerkleInvalid: it does not, or the proof has the wrong shape.
    """
    _require_hashes([first_root, second_root, *path])
    if not 0 <= first <= second:
        raise MerkleInvalid("the earlier tree is larger than the later one", first=first, second=second)
    if first in (0, second):
        expected = second_root if first == second else EMPTY_ROOT
        if path or first_root != expected or (second == 0 and second_root != EMPTY_ROOT):
            raise MerkleInvalid("the consistency proof does not fit", first=first, second=second)
        return
    if _roots_from_consistency(first, second, first_root, list(path)) != (first_root, second_root):
        raise MerkleInvalid("the consistency proof leads to other roots", first=first, second=second)


@dataclass(slots=True)
class Frontier:
    """The right edge of a growing tree: enough to append and to give the root, in O(log n) space."""

    size: int = 0
    peaks: list[bytes] = field(default_factory=list)  # Roots of the full subtrees, largest (leftmost) first.

    def append(self, leaf: bytes) -> None:
        """Add a 32-byte leaf hash.

        Raises:
            MerkleInvalid: the hash is not 32 bytes.
        """
        if len(leaf) != HASH_BYTES:
            raise MerkleInvalid("a hash is not 32 bytes")
        # Each trailing one bit of the old size is a full subtree that the new leaf completes.
        carry = self.size
        while carry & 1:
            leaf = node_hash(self.peaks.pop(), leaf)
            carry >>= 1
        self.peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Return the RFC 6962 tree head."""
        if not self.peaks:
            return EMPTY_ROOT
        head = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            head = node_hash(peak, head)
        return head

    def encode(self) -> bytes:
        """Encode as size (8 bytes, big-endian) and the peaks, 32 bytes each, largest first."""
        return self.size.to_bytes(8, "big") + b"".join(self.peaks)

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """Decode what `encode` wrote.

        Raises:
            MerkleInvalid: the length does not fit the size.
        """
        size = int.from_bytes(encoded[:8], "big")
        if len(encoded) != 8 + HASH_BYTES * size.bit_count():
            raise MerkleInvalid("the frontier has another length than its size asks for")
        return cls(size, [encoded[at : at + HASH_BYTES] for at in range(8, len(encoded), HASH_BYTES)])


class GrowingTree:
    """A tree that grows and answers for every size it ever had: root and consistency proof in O(log n).

    It keeps the root of every full subtree, 64 bytes a leaf in all. One thread appends; sizes that were reached
    may be read by others meanwhile, since what is kept never changes.
    """

    def __init__(self) -> None:
        self._levels: list[bytearray] = [bytearray()]
        self.size = 0

    def append(self, leaf: bytes) -> None:
        """Add a 32-byte leaf hash.

        Raises:
            MerkleInvalid: the hash is not 32 bytes.
        """
        _require_hashes([leaf])
        level, node = 0, leaf
        self._levels[0] += node
        while self.size >> level & 1:
            node = node_hash(bytes(self._levels[level][-2 * HASH_BYTES : -HASH_BYTES]), node)
            level += 1
            if level == len(self._levels):
                self._levels.append(bytearray())
            self._levels[level] += node
        self.size += 1

    def root_at(self, size: int) -> bytes:
        """Return the root when the tree had `size` leaves. Source: RFC 6962 §2.1.

        Raises:
            MerkleInvalid: it has never been so large.
        """
        self._require_size(size)
        return self._span(0, size) if size else EMPTY_ROOT

    def consistency_path(self, first: int, second: int) -> list[bytes]:
        """Return the proof that the tree of `first` leaves is a prefix of that of `second`. RFC 6962 §2.1.2.

        Raises:
            MerkleInvalid: `first` is more than `second`, or `second` more than there are.
        """
        self._require_size(second)
        if not 0 <= first <= second:
            raise MerkleInvalid("the earlier tree is not within the later one", size=second)
        return [] if first in (0, second) else self._subproof(first, 0, second, whole=True)

    def inclusion_path(self, index: int) -> list[bytes]:
        """Return the audit path of leaf `index` in the whole tree, nearest the leaf first. RFC 6962 §2.1.1.

        Raises:
            MerkleInvalid: there is no such leaf.
        """
        _require_index(index, self.size)
        return self._audit_path(index, 0, self.size)

    def _audit_path(self, index: int, start: int, count: int) -> list[bytes]:
        if count == 1:
            return []
        split = split_point(count)
        if index < split:
            rest = self._span(start + split, count - split)
            return [*self._audit_path(index, start, split), rest]
        rest = self._span(start, split)
        return [*self._audit_path(index - split, start + split, count - split), rest]

    def _subproof(self, first: int, start: int, count: int, *, whole: bool) -> list[bytes]:
        if first == count:
            return [] if whole else [self._span(start, count)]
        split = split_point(count)
        if first <= split:
            path = self._subproof(first, start, split, whole=whole)
            return [*path, self._span(start + split, count - split)]
        path = self._subproof(first - split, start + split, count - split, whole=False)
        return [*path, self._span(start, split)]

    def _span(self, start: int, count: int) -> bytes:
        """Return the root over `count` leaves from `start`; a subtree of RFC 6962 begins where its size divides."""
        if count & (count - 1) == 0:
            level = count.bit_length() - 1
            at = (start >> level) * HASH_BYTES
            return bytes(self._levels[level][at : at + HASH_BYTES])
        split = split_point(count)
        return node_hash(self._span(start, split), self._span(start + split, count - split))

    def _require_size(self, size: int) -> None:
        if not 0 <= size <= self.size:
            raise MerkleInvalid("the tree has never been so large", size=size)


def _parents(level: list[bytes]) -> list[bytes]:
    # An odd last node moves up unchanged: this gives RFC 6962's split at the largest power of two.
    # `node_hash` without its call: a rebuild makes one parent for each record of the chain.
    sha256 = hashlib.sha256
    parents = [sha256(b"\x01" + level[at] + level[at + 1]).digest() for at in range(0, len(level) - 1, 2)]
    return parents + level[-1:] if len(level) & 1 else parents


def _subproof(leaf_hashes: Sequence[bytes], first: int, *, whole: bool) -> list[bytes]:
    if first == len(leaf_hashes):
        return [] if whole else [root(leaf_hashes)]
    split = split_point(len(leaf_hashes))
    left, right = leaf_hashes[:split], leaf_hashes[split:]
    if first <= split:
        return [*_subproof(left, first, whole=whole), root(right)]
    return [*_subproof(right, first - split, whole=False), root(left)]


def _roots_from_consistency(
    first: int, second: int, first_root: bytes, path: list[bytes]
) -> tuple[bytes, bytes]:
    if first & (first - 1) == 0:  # A full tree is itself a node of the later one (step 2).
        path = [first_root, *path]
    if not path:
        raise MerkleInvalid("the consistency proof is empty", first=first, second=second)
    node, last = first - 1, second - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise MerkleInvalid("the consistency proof is too long", first=first, second=second)
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise MerkleInvalid("the consistency proof is too short", first=first, second=second)
    return old, new


def _require_index(index: int, size: int) -> None:
    if not 0 <= index < size:
        raise MerkleInvalid("the leaf is outside the tree", index=index, size=size)


def _require_hashes(hashes: Sequence[bytes]) -> None:
    if any(len(each) != HASH_BYTES for each in hashes):
        raise MerkleInvalid("a hash is not 32 bytes")
