"""The ordered key-value store that `anchor` and `verifier` keep their rows in, as a protocol.

The node's implementation is LevelDB; tests run one suite (`tests/unit/keyvalue_suite.py`) against each.
Imports nothing of the project: no engine may be named here.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec


class Put(msgspec.Struct, frozen=True, gc=False):
    """Set `key` to `value`. A struct: a frozen dataclass takes ten times as long to make, and a write has thousands."""

    key: bytes
    value: bytes


class Delete(msgspec.Struct, frozen=True, gc=False):
    """Remove `key`; a key that is not there stays not there."""

    key: bytes


class KeyValue(Protocol):
    """Ordered bytes → bytes. Keys sort as unsigned bytes; a shorter prefix sorts first."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None when it has none."""
        ...

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key, in order, as `get` does for one."""
        ...

    def scan(
        self, prefix: bytes, *, start: bytes = b"", reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) of every key with `prefix`, in order, from one snapshot.

        The snapshot MUST be taken when `scan` is called. `start` is a full key: the first one that may be
        yielded (in reverse: the last one), inclusive; empty means no bound.
        """
        ...

    def write(self, ops: Sequence[Put | Delete], *, sync: bool) -> None:
        """Apply `ops` in order; the later one wins where two name a key.

        MUST be all or nothing, also across a crash, and with `sync` durable before it returns.
        """
        ...
