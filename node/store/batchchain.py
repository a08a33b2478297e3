"""How a store notices that it lost writes: numbered, chained batches and a head in a second file.

LevelDB takes a log that ends early for a clean end, in every mode (measured: a log cut to 60 % loses its tail
in silence). So each batch carries one chain row, in a ring of `RING` slots: its sequence, a hash over the
batch before it and its own rows, and the last batch that was synced when it was written. Synced batches are
thereby linked to one another; a batch that was not synced may vanish in a power cut without breaking a link.
`HeadFile` remembers the newest synced batch outside the database.

Must not import plyvel. Page: docs/reference/stored-envelope.md, "Batch chain and head file".
"""

import hashlib
import os
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from anchor.keyvalue import Delete, Put
from node.errors import StoreDamaged, StoreRolledBack
from node.store.envelope import TAG_BYTES
from node.store.files import replace_file, write_fully

RING: Final = 8192
HASH_BYTES: Final = 32
_ENTRY: Final = struct.Struct(">Q32sQ32sQ")
_HEAD: Final = struct.Struct(">8s16sQQ32s")
_HEAD_MAGIC: Final = b"DSHEAD\x00\x01"
# The two slots lie in different pages, so that one torn write cannot harm both.
_HEAD_SLOT_BYTES: Final = 4096

Authenticate = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class ChainEntry:
    """One batch: its number and hash, the newest synced batch before it, rows sealed so far."""

    sequence: int
    head: bytes
    synced_sequence: int
    synced_head: bytes
    sealed_rows: int

    def encode(self) -> bytes:
        """Return sequence 8 | head 32 | synced sequence 8 | synced head 32 | sealed rows 8, big-endian."""
        return _ENTRY.pack(self.sequence, self.head, self.synced_sequence, self.synced_head, self.sealed_rows)

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """Raises StoreDamaged on another length."""
        if len(encoded) != _ENTRY.size:
            raise _damaged_chain()
        return cls(*_ENTRY.unpack(encoded))

    @property
    def slot(self) -> bytes:
        """The ring slot of this entry, 2 bytes."""
        return (self.sequence % RING).to_bytes(2, "big")


def genesis_entry(store_id: bytes, *, sealed_rows: int = 0) -> ChainEntry:
    """Return entry 0 of the store with this 16-byte id: other stores' chains never meet it.

    `sealed_rows` is what earlier stores have sealed under the same store key.
    """
    head = hashlib.sha256(b"\x00deltaseal/store/1\x00" + store_id).digest()
    return ChainEntry(0, head, 0, head, sealed_rows)


def batch_digest(ops: Iterable[Put | Delete], *, sealed: bool) -> bytes:
    """Hash what a batch writes, 32 bytes; of a sealed value its length and GCM tag stand for the whole."""
    digest = hashlib.sha256()
    for op in ops:
        value = op.value if isinstance(op, Put) else b""
        digest.update(struct.pack(">BII", isinstance(op, Put), len(op.key), len(value)))
        digest.update(op.key)
        digest.update(value[-TAG_BYTES:] if sealed else value)
    return digest.digest()


class BatchChain:
    """The newest batch and the newest synced one; only the thread that leads a commit moves it."""

    def __init__(self, latest: ChainEntry) -> None:
        """Go on after `latest`, which is durable: LevelDB has synced what it recovered when it opens."""
        self.latest = latest
        self._synced = latest

    def follow(self, digest: bytes, *, sealed_rows: int) -> ChainEntry:
        """Return the entry of the next batch; nothing moves before `advance`."""
        sequence = self.latest.sequence + 1
        head = hashlib.sha256(b"\x01" + sequence.to_bytes(8, "big") + self.latest.head + digest).digest()
        sealed = self.latest.sealed_rows + sealed_rows
        return ChainEntry(sequence, head, self._synced.sequence, self._synced.head, sealed)

    def advance(self, entry: ChainEntry, *, synced: bool) -> None:
        """Take note that the batch of `entry` is written."""
        self.latest = entry
        if synced:
            self._synced = entry


def check_ring(entries: Iterable[ChainEntry]) -> dict[int, ChainEntry]:
    """Return the entries by sequence once every link to a synced batch holds. Raises StoreDamaged."""
    by_sequence = {entry.sequence: entry for entry in entries}
    if not by_sequence:
        raise _damaged_chain()
    latest = max(by_sequence)
    for entry in by_sequence.values():
        linked = entry.synced_sequence
        overwritten = linked + RING <= latest
        if not overwritten and (linked not in by_sequence or by_sequence[linked].head != entry.synced_head):
            raise StoreDamaged(
                "the database misses a synced batch in the middle: a log file was lost or cut",
                hint="keep the folder as it is and restore the last verified backup",
                row="chain",
            )
    return by_sequence


def check_head(by_sequence: dict[int, ChainEntry], remembered: tuple[int, bytes]) -> ChainEntry:
    """Return the newest entry if the database holds what the head file remembers. Raises StoreRolledBack."""
    sequence, head = remembered
    latest = by_sequence[max(by_sequence)]
    known = by_sequence.get(sequence)
    # A database ahead of its head file is what a crash between the two writes leaves; one that has neither
    # this batch nor, in the ring, a full turn of later ones is behind it.
    if known.head != head if known else sequence + RING > latest.sequence:
        raise StoreRolledBack(
            "the database lacks acknowledged batches: its log was cut or an older copy was put back",
            hint="restore a verified backup together with its head file; do not go on with this folder",
            found=latest.sequence,
            expected=sequence,
        )
    return latest


class HeadFile:
    """The newest synced batch, kept beside the database in two slots that are written in turn."""

    def __init__(self, path: Path, *, store_id: bytes, authenticate: Authenticate) -> None:
        """Open the file. Raises StoreDamaged if it is missing, foreign or has no whole slot; OSError."""
        self._store_id = store_id
        self._authenticate = authenticate
        try:
            self._descriptor = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            raise _damaged_head() from None
        slots = [self._read_slot(number) for number in (0, 1)]
        whole = [slot for slot in slots if slot is not None]
        if not whole:
            self.close()
            raise _damaged_head()
        self._generation, sequence, head = max(whole)
        self.remembered: tuple[int, bytes] = (sequence, head)

    @classmethod
    def create(cls, path: Path, first: ChainEntry, *, store_id: bytes, authenticate: Authenticate) -> Self:
        """Write a head file that remembers `first`, durable before it returns. Raises OSError."""
        slot = _encode_slot(0, first, store_id, authenticate)
        content = slot.ljust(_HEAD_SLOT_BYTES, b"\x00") + bytes(_HEAD_SLOT_BYTES)
        replace_file(path, content)
        return cls(path, store_id=store_id, authenticate=authenticate)

    def save(self, entry: ChainEntry) -> None:
        """Remember `entry`, durable before it returns; a crash leaves the older slot. Raises OSError."""
        self._generation += 1
        slot = _encode_slot(self._generation, entry, self._store_id, self._authenticate)
        write_fully(self._descriptor, slot, offset=self._generation % 2 * _HEAD_SLOT_BYTES)
        os.fdatasync(self._descriptor)
        self.remembered = (entry.sequence, entry.head)

    def close(self) -> None:
        """Close the descriptor."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _read_slot(self, number: int) -> tuple[int, int, bytes] | None:
        slot = os.pread(self._descriptor, _HEAD.size + HASH_BYTES, number * _HEAD_SLOT_BYTES)
        body, mac = slot[: _HEAD.size], slot[_HEAD.size :]
        if len(mac) != HASH_BYTES or self._authenticate(body) != mac:
            return None
        magic, store_id, generation, sequence, head = _HEAD.unpack(body)
        return (generation, sequence, head) if (magic, store_id) == (_HEAD_MAGIC, self._store_id) else None


def _encode_slot(generation: int, entry: ChainEntry, store_id: bytes, authenticate: Authenticate) -> bytes:
    body = _HEAD.pack(_HEAD_MAGIC, store_id, generation, entry.sequence, entry.head)
    return body + authenticate(body)


def _damaged_chain() -> StoreDamaged:
    return StoreDamaged(
        "the batch chain of the database is missing or malformed",
        hint="keep the folder as it is and restore the last verified backup",
        row="chain",
    )


def _damaged_head() -> StoreDamaged:
    return StoreDamaged(
        "the head file of the store is missing, foreign or damaged",
        hint="restore the store folder and its HEAD file from the same verified backup",
        file="HEAD",
    )
