"""Knows of most keys that an index which began empty was never given, so that a rebuild need not look for them.

A rebuild asks for each commitment and each tag whether it came before, and nearly always it did not: a third of
its time. One bit a key, no false "absent": a key whose bit is unset was not written. Lives in one process, and
only from an empty index on. Must not import chain or store.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

BITS: Final = 27  # 16 MiB; of keys that are absent, one in 45 is looked for in vain at 3,000,000 rows.
_MASK: Final = (1 << BITS) - 1


class WrittenKeys:
    """A set of keys that may say "perhaps"."""

    def __init__(self) -> None:
        """Begin with none."""
        self._bits = bytearray(1 << BITS - 3)

    def add(self, keys: Iterable[bytes]) -> None:
        """Note keys as written."""
        bits = self._bits
        for key in keys:
            # The hash of bytes is salted anew in each process: nobody can choose keys that meet.
            place = hash(key) & _MASK
            bits[place >> 3] |= 1 << (place & 7)

    def perhaps(self, key: bytes) -> bool:
        """Return False only if the key was never written."""
        place = hash(key) & _MASK
        return bool(self._bits[place >> 3] >> (place & 7) & 1)
