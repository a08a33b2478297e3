"""Proofs from tries too large to build: only what lies on the way to some keys is made, all else is a random hash.

The proof holds under the root that comes out; its nodes have the number and size that a trie of so many random keys
gives. Pure but for the random numbers, which come from a seed.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field

from anchor.keccak import keccak
from anchor.rlpcodec import Item, encode

NIBBLES = 64


@dataclass
class SparseTrie:
    """A trie of `others` random keys beside the hashed `wanted` ones: key → RLP of the value, None where absent."""

    wanted: Mapping[bytes, bytes | None]
    others: int
    seed: int
    nodes: list[bytes] = field(default_factory=list)

    def root(self) -> bytes:
        """Build what lies on the way to the wanted keys; afterwards `nodes` proves them."""
        rng = random.Random(self.seed)
        self._rng = rng
        keys = sorted({rng.randbytes(32).hex() for _ in range(self.others)} | self._present().keys())
        return keccak(self._build(keys, 0, [key.hex() for key in self.wanted]))

    def _present(self) -> dict[str, bytes]:
        return {key.hex(): value for key, value in self.wanted.items() if value is not None}

    def _build(self, keys: list[str], depth: int, asked: list[str]) -> bytes:
        """Return the node over `keys` that share their first `depth` nibbles, and keep those on the way."""
        first, last = keys[0], keys[-1]
        if len(keys) == 1:
            value = self._present().get(first) or encode(self._rng.randbytes(32))
            return self._keep([_path(first[depth:], leaf=True), value])
        shared = next(at for at in range(depth, NIBBLES) if first[at] != last[at])
        if shared > depth:
            return self._keep([_path(first[depth:shared], leaf=False), self._below(keys, shared, asked)])
        return self._branch(keys, depth, asked)

    def _below(self, keys: list[str], depth: int, asked: list[str]) -> bytes:
        below = [each for each in asked if each.startswith(keys[0][:depth])]
        return keccak(self._build(keys, depth, below)) if below else self._rng.randbytes(32)

    def _branch(self, keys: list[str], depth: int, asked: list[str]) -> bytes:
        children: list[Item] = []
        start = 0
        for nibble in range(16):
            stop = bisect_left(keys, keys[0][:depth] + f"{nibble + 1:x}") if nibble < 15 else len(keys)
            below = [each for each in asked if int(each[depth], 16) == nibble]
            if start == stop:
                children.append(b"")
            elif below:
                children.append(keccak(self._build(keys[start:stop], depth + 1, below)))
            else:
                children.append(self._rng.randbytes(32))
            start = stop
        return self._keep([*children, b""])

    def _keep(self, items: list[Item]) -> bytes:
        node = encode(items)
        self.nodes.append(node)
        return node


def _path(nibbles: str, *, leaf: bool) -> bytes:
    """Encode a path (Yellow Paper appendix C)."""
    flag = 2 * leaf + len(nibbles) % 2
    return bytes.fromhex(f"{flag:x}{nibbles}" if len(nibbles) % 2 else f"{flag:x}0{nibbles}")
