"""The embedded chain's journal: what was given to the engine, in order, synced before each block is mined.

The file is the chain: replaying it gives identical block hashes. Format and rules: docs/reference/chain-journal.md.
Imports no engine and no RPC; it must stay readable without either.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from anchor.chain.errors import ChainFolderExists, ChainFolderMissing, JournalUnwritable
from anchor.errors import JournalCorrupt

JOURNAL_NAME = "journal"
MAGIC = b"DSCHAINJ"
VERSION = 1
DIGEST_BYTES = 32
MAX_ENTRY_BYTES = 256 << 20
SECTOR_BYTES = 512

_HEADER = struct.Struct(">8sIQQQQ")  # magic, version, chain id, genesis time, gas limit, created
_HEAD = struct.Struct(">IQ4s")  # payload length, block number, check
_PAYLOAD = struct.Struct(">Q32sI")  # time, parent hash, count of transactions
_LENGTH = struct.Struct(">I")
HEADER_BYTES = _HEADER.size + DIGEST_BYTES


@dataclass(frozen=True, slots=True)
class JournalHeader:
    """What the engine is started with; `created` is when, in seconds since 1970 (informative)."""

    chain_id: int
    genesis_time: int
    gas_limit: int
    created: int


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One block to mine: its time and the raw transactions accepted since the block before, in order."""

    number: int
    time: int
    parent_hash: bytes
    transactions: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the next entry begins, and what it is chained to."""

    end: int
    digest: bytes
    count: int


def encode_header(header: JournalHeader) -> bytes:
    """Encode the file header with its own digest, `HEADER_BYTES` long."""
    fields = (header.chain_id, header.genesis_time, header.gas_limit, header.created)
    body = _HEADER.pack(MAGIC, VERSION, *fields)
    return body + sha256(body).digest()


def decode_header(raw: bytes) -> JournalHeader:
    """Decode a file header. Raises JournalCorrupt."""
    if len(raw) != HEADER_BYTES or sha256(raw[:-DIGEST_BYTES]).digest() != raw[-DIGEST_BYTES:]:
        raise _corrupt("the header of the chain journal is damaged", entry=0)
    magic, version, *fields = _HEADER.unpack(raw[:-DIGEST_BYTES])
    if magic != MAGIC or version != VERSION:
        raise _corrupt("the chain journal has a version that this program does not read", entry=0)
    return JournalHeader(*fields)


def encode_entry(entry: JournalEntry, previous: bytes) -> bytes:
    """Encode one entry, chained to the digest of the entry (or header) before it."""
    parts = [_PAYLOAD.pack(entry.time, entry.parent_hash, len(entry.transactions))]
    for raw in entry.transactions:
        parts += (_LENGTH.pack(len(raw)), raw)
    payload = b"".join(parts)
    head = _HEAD.pack(len(payload), entry.number, _head_check(previous, len(payload), entry.number))
    return head + payload + sha256(previous + head + payload).digest()


def _head_check(previous: bytes, length: int, number: int) -> bytes:
    """Return 4 bytes that tell a damaged length from one that a crash cut short."""
    return sha256(previous + b"head" + struct.pack(">IQ", length, number)).digest()[:4]


def _decode_payload(number: int, payload: bytes) -> JournalEntry:
    time, parent_hash, count = _PAYLOAD.unpack_from(payload)
    offset, transactions = _PAYLOAD.size, []
    for _ in range(count):
        (length,) = _LENGTH.unpack_from(payload, offset)
        offset += _LENGTH.size
        transactions.append(payload[offset : offset + length])
        offset += length
    if offset != len(payload):
        raise _corrupt("an entry of the chain journal has the wrong length", entry=number)
    return JournalEntry(number, time, parent_hash, tuple(transactions))


def _corrupt(message: str, *, entry: int) -> JournalCorrupt:
    return JournalCorrupt(
        f"{message} (entry {entry})",
        hint="restore the chain folder from a backup; nodes send again what the older copy lacks",
        entry=entry,
    )


class Journal:
    """An open journal; one writer. Opening reads and checks every byte."""

    def __init__(self, path: Path, header: JournalHeader, handle: BinaryIO) -> None:
        """Use `create` or `open`."""
        self.path, self.header = path, header
        self._handle = handle
        self._at = _Place(HEADER_BYTES, _header_digest(header), 0)
        self._broken = False

    @classmethod
    def create(cls, folder: Path, header: JournalHeader) -> None:
        """Make a new journal in `folder`, durable when this returns. Raises ChainFolderExists."""
        path = folder / JOURNAL_NAME
        if path.exists():
            raise ChainFolderExists(
                "this folder holds an embedded chain already", hint="choose another folder, or run this one"
            )
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = folder / f"{JOURNAL_NAME}.new"
        with fresh.open("wb") as handle:
            handle.write(encode_header(header))
            handle.flush()
            os.fsync(handle.fileno())
        # Renamed only when complete: a crash before leaves no journal, never half a one.
        fresh.replace(path)
        _sync_folder(folder)

    @classmethod
    def open(cls, folder: Path) -> "Journal":
        """Open and check the journal of `folder`; cut off an entry that a crash left unfinished.

        Raises ChainFolderMissing, JournalCorrupt (naming the first damaged entry), JournalUnwritable.
        """
        path = folder / JOURNAL_NAME
        if not path.is_file():
            raise ChainFolderMissing(
                "there is no embedded chain in this folder",
                hint="create it with `deltaseal chain run --create`, or point to the right folder",
            )
        try:
            handle = path.open("r+b", buffering=0)
        except OSError as error:
            raise JournalUnwritable(
                "the chain journal cannot be opened for writing", hint="check the folder's owner and rights"
            ) from error
        try:
            journal = cls(path, decode_header(_read_exactly(handle, HEADER_BYTES)), handle)
            journal._settle_end()
        except BaseException:
            handle.close()
            raise
        return journal

    @property
    def count(self) -> int:
        """Number of whole entries."""
        return self._at.count

    def entries(self) -> Iterator[JournalEntry]:
        """Yield all entries in order. Raises JournalCorrupt when the file changed since it was opened."""
        at = _Place(HEADER_BYTES, _header_digest(self.header), 0)
        while at.end < self._at.end:
            step = self._read_entry(at, self._at.end)
            if step is None:
                raise _corrupt("the chain journal changed while it was read", entry=at.count + 1)
            entry, at = step
            yield entry

    def append(self, entry: JournalEntry) -> None:
        """Write `entry` durably: when this returns, a crash cannot take it. Raises JournalUnwritable."""
        if self._broken:
            raise _unwritable("the chain journal is closed after a write error")
        raw = encode_entry(entry, self._at.digest)
        try:
            self._handle.seek(self._at.end)
            view = memoryview(raw)
            while view:
                view = view[self._handle.write(view) :]
        except OSError as error:
            self._drop_tail()
            raise _unwritable("the chain journal cannot take the next block") from error
        try:
            os.fsync(self._handle.fileno())
        except OSError as error:
            # After a failed fsync the kernel may have dropped the pages, so nothing more is trusted.
            self._broken = True
            raise _unwritable("the chain journal could not be synced to disk") from error
        self._at = _Place(self._at.end + len(raw), raw[-DIGEST_BYTES:], self._at.count + 1)

    def close(self) -> None:
        """Close the file."""
        self._handle.close()

    def _drop_tail(self) -> None:
        try:
            self._handle.truncate(self._at.end)
        except OSError:
            self._broken = True

    def _settle_end(self) -> None:
        """Check all entries and find the end; cut off what a crash left unfinished there."""
        size = os.fstat(self._handle.fileno()).st_size
        while self._at.end < size:
            step = self._read_entry(self._at, size)
            if step is None:
                self._handle.truncate(self._at.end)
                os.fsync(self._handle.fileno())
                return
            _, self._at = step

    def _read_entry(self, at: _Place, size: int) -> tuple[JournalEntry, _Place] | None:
        """Read the entry at `at`, and where the next one is; None when a crash left it unfinished."""
        number = at.count + 1
        self._handle.seek(at.end)
        head = _read_exactly(self._handle, min(_HEAD.size, size - at.end))
        if len(head) < _HEAD.size or (not any(head) and self._only_zeros_after(at.end)):
            return None
        length, named, check = _HEAD.unpack(head)
        # Without its own check a flipped bit in a length would look like a cut tail and drop all that follows.
        if check != _head_check(at.digest, length, named) or named != number or length > MAX_ENTRY_BYTES:
            if self._is_torn(at.end, size):
                return None
            raise _corrupt("the head of a chain journal entry is damaged", entry=number)
        stop = at.end + _HEAD.size + length + DIGEST_BYTES
        if stop > size:
            return None
        payload = _read_exactly(self._handle, length)
        digest = _read_exactly(self._handle, DIGEST_BYTES)
        if not any(digest) and self._only_zeros_after(stop - DIGEST_BYTES):
            return None  # The file grew, but its last pages never reached the disk.
        if sha256(at.digest + head + payload).digest() != digest:
            if self._is_torn(at.end, size):
                return None
            raise _corrupt("an entry of the chain journal is damaged", entry=number)
        return _decode_payload(number, payload), _Place(stop, digest, number)

    def _is_torn(self, start: int, size: int) -> bool:
        """Say whether a power cut lost the file's last sectors, from one inside the entry at `start` on.

        Such an entry was never synced, hence never mined. Asked only of an entry that is not whole.
        """
        edge = (size - 1) // SECTOR_BYTES * SECTOR_BYTES
        return edge > start and self._only_zeros_after(edge)

    def _only_zeros_after(self, offset: int) -> bool:
        self._handle.seek(offset)
        while chunk := self._handle.read(1 << 20):
            if any(chunk):
                return False
        return True


def _header_digest(header: JournalHeader) -> bytes:
    return encode_header(header)[-DIGEST_BYTES:]


def _read_exactly(handle: BinaryIO, length: int) -> bytes:
    """Read `length` bytes, fewer only at the end of the file."""
    parts = []
    while length and (chunk := handle.read(length)):
        parts.append(chunk)
        length -= len(chunk)
    return b"".join(parts)


def _unwritable(message: str) -> JournalUnwritable:
    return JournalUnwritable(message, hint="free disk space or check the disk; nothing was mined")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
