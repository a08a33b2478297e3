"""Files in the store: 1 MiB chunks, each sealed with AES-256-GCM. Page: docs/reference/stored-envelope.md.

Life of an upload: `BlobWriter` seals chunks as bytes arrive and writes them in synced batches of at most four;
the first batch carries a mark `upload/<id>`. The batch that makes the blob part of something, the material's
own, takes the last chunks and removes the mark (`finish_ops`). A crash before it leaves a marked blob, which
`sweep_orphans` deletes at the next start; a crash after it loses nothing. Erasing goes the other way:
`condemn` sets the mark in the batch that drops the last reference, then `delete_blob` works the chunks off.

Keys are fresh for each blob, so the chunk number is the nonce and never repeats under a key. Knows no policy.
"""

import weakref
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from anchor.keyvalue import Delete, KeyValue, Put
from node.errors import BlobDamaged, BlobTruncated, StoreClosed
from node.store.envelope import TAG_BYTES
from node.store.rows import blob_prefix, chunk_key, upload_id, upload_key, upload_prefix

CHUNK_BYTES: Final = 1 << 20
# As much as LevelDB keeps in one log: each batch then costs one sync and one table, and none shares its log.
BATCH_CHUNKS: Final = 4
_DELETES_A_BATCH: Final = 4096

Op = Put | Delete


class ChunkStore(KeyValue, Protocol):
    """A key-value store that lists keys without reading their values."""

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        """Yield the keys under `prefix`, in order, from one snapshot."""
        ...


@dataclass(frozen=True, slots=True)
class BlobSummary:
    """What was written: number of chunks (at least one) and bytes of plaintext."""

    chunks: int
    size_bytes: int


# Blobs whose writer is alive in this process, by id: their marks are no orphans.
_LIVE: "weakref.WeakValueDictionary[str, BlobWriter]" = weakref.WeakValueDictionary()


class BlobWriter:
    """Takes one file's bytes in pieces of any size; for one thread at a time."""

    def __init__(self, store: ChunkStore, blob_id: str, key: bytes) -> None:
        """Write under `blob_id`, sealed by the 32-byte `key`, which MUST NOT have sealed another blob."""
        self._store = store
        self._blob_id = blob_id
        self._cipher = AESGCM(key)
        self._gathered: deque[memoryview] = deque()
        self._gathered_bytes = 0
        self._sealed: list[Op] = []
        self._chunks = 0
        self._size_bytes = 0
        self._marked = False
        self._ended = False
        _LIVE[blob_id] = self

    def write(self, chunk: bytes) -> None:
        """Add bytes; whole batches are durable when this returns. Raises what the store's `write` raises."""
        self._require_going_on()
        self._size_bytes += len(chunk)
        self._gathered_bytes += len(chunk)
        self._gathered.append(memoryview(bytes(chunk)))
        # The last chunk says so in its associated data, so a full one is held back until more comes.
        while self._gathered_bytes > CHUNK_BYTES:
            self._seal(self._take(CHUNK_BYTES), last=False)
            if len(self._sealed) == BATCH_CHUNKS:
                self._flush()

    def finish_ops(self) -> list[Op]:
        """End the blob; return what the batch that refers to it must hold: last chunks, end of the mark."""
        self._require_going_on()
        self._seal(self._take(self._gathered_bytes), last=True)
        self._ended = True
        ops, self._sealed = self._sealed, []
        return [*ops, Delete(upload_key(self._blob_id))] if self._marked else ops

    def finish(self) -> BlobSummary:
        """End the blob in a batch of its own: for a blob whose reference is there already."""
        self._store.write(self.finish_ops(), sync=True)
        return self.summary()

    def summary(self) -> BlobSummary:
        """Return the counts so far."""
        return BlobSummary(self._chunks, self._size_bytes)

    def abort(self) -> None:
        """Delete what was written, unless the ops of `finish_ops` are: a blob without its mark belongs to something."""
        self._ended = True
        self._gathered.clear()
        self._sealed.clear()
        if self._marked and self._store.get(upload_key(self._blob_id)) is not None:
            delete_blob(self._store, self._blob_id)

    def _require_going_on(self) -> None:
        if self._ended:
            raise StoreClosed("the upload has ended already")

    def _take(self, size_bytes: int) -> bytes | memoryview:
        """Take so many bytes from the front; pieces of just that size are not copied."""
        self._gathered_bytes -= size_bytes
        if self._gathered and len(self._gathered[0]) == size_bytes:
            return self._gathered.popleft()
        parts: list[memoryview] = []
        while size_bytes:
            piece = self._gathered.popleft()
            parts.append(piece[:size_bytes])
            size_bytes -= len(parts[-1])
            if len(piece) > len(parts[-1]):
                self._gathered.appendleft(piece[len(parts[-1]) :])
        return b"".join(parts)

    def _seal(self, plaintext: bytes | memoryview, *, last: bool) -> None:
        number = self._chunks
        aad = _aad(self._blob_id, number, last=last)
        sealed = self._cipher.encrypt(_nonce(number), plaintext, aad)
        self._sealed.append(Put(chunk_key(self._blob_id, number), sealed))
        self._chunks += 1

    def _flush(self) -> None:
        mark: list[Op] = [] if self._marked else condemn(self._blob_id)
        ops, self._sealed = [*mark, *self._sealed], []
        # Set before the write: if its outcome is unknown, abort and sweep must look for the chunks.
        self._marked = True
        self._store.write(ops, sync=True)


def read_blob(
    store: KeyValue, blob_id: str, key: bytes, *, first: int = 0, last: int | None = None
) -> Iterator[bytes]:
    """Yield the bytes from offset `first` to `last`, both inclusive (as in HTTP Range); all by default.

    Each piece is checked before it is yielded; what was yielded is the true beginning of the file, also if a
    later chunk raises. `first` must lie in the file; a `last` beyond its end means the end.

    Raises:
        BlobDamaged: a chunk was altered, swapped or moved, or follows the last one.
        BlobTruncated: chunks are missing.
    """
    cipher = AESGCM(key)
    number = first // CHUNK_BYTES
    while last is None or number * CHUNK_BYTES <= last:
        sealed = store.get(chunk_key(blob_id, number))
        if sealed is None:
            raise _truncated(number)
        plaintext, is_last = _open_chunk(cipher, blob_id, number, sealed)
        base = number * CHUNK_BYTES
        piece = plaintext[max(first - base, 0) : None if last is None else last + 1 - base]
        if piece:
            yield piece
        if is_last:
            _refuse_surplus(store, blob_id, number)
            return
        number += 1


def condemn(blob_id: str) -> list[Op]:
    """Return the mark that lets the sweep delete a blob; for the batch that drops its last reference."""
    return [Put(upload_key(blob_id), b"")]


def delete_blob(store: ChunkStore, blob_id: str) -> None:
    """Delete all chunks, then the mark: a crash meanwhile leaves the mark for the sweep.

    The bytes leave the disk when LevelDB compacts; `LevelStore.purge` forces it.
    """
    doomed: list[Op] = []
    for key in store.keys(blob_prefix(blob_id)):
        doomed.append(Delete(key))
        if len(doomed) == _DELETES_A_BATCH:
            store.write(doomed, sync=True)
            doomed = []
    store.write([*doomed, Delete(upload_key(blob_id))], sync=True)


def sweep_orphans(store: ChunkStore, live: Callable[[str], bool]) -> int:
    """Delete each marked blob that `live` does not know; return how many. Only at start, before any upload.

    A marked blob that is live loses its mark and stays.
    """
    swept = 0
    for key in list(store.keys(upload_prefix())):
        blob_id = upload_id(key)
        if live(blob_id):
            store.write([Delete(key)], sync=True)
        else:
            delete_blob(store, blob_id)
            swept += 1
    return swept


def sweep_forsaken(store: ChunkStore) -> int:
    """Delete each marked blob that nobody writes any more; return how many. Safe while uploads run.

    A mark that is gone when it is looked at again belongs to a blob that was finished meanwhile.
    """
    swept = 0
    for key in list(store.keys(upload_prefix())):
        blob_id = upload_id(key)
        if blob_id not in _LIVE and store.get(key) is not None:
            delete_blob(store, blob_id)
            swept += 1
    return swept


def _nonce(number: int) -> bytes:
    return bytes(4) + number.to_bytes(8, "big")


def _aad(blob_id: str, number: int, *, last: bool) -> bytes:
    return blob_id.encode("ascii") + number.to_bytes(8, "big") + bytes([last])


def _open_chunk(cipher: AESGCM, blob_id: str, number: int, sealed: bytes) -> tuple[bytes, bool]:
    """Return plaintext and whether it is the last chunk: a short one must be, a full one may be."""
    full = len(sealed) == CHUNK_BYTES + TAG_BYTES
    for last in (False, True) if full else (True,):
        try:
            return cipher.decrypt(_nonce(number), sealed, _aad(blob_id, number, last=last)), last
        except (InvalidTag, ValueError):
            continue
    raise _damaged(number)


def _refuse_surplus(store: KeyValue, blob_id: str, number: int) -> None:
    if store.get(chunk_key(blob_id, number + 1)) is not None:
        raise _damaged(number + 1)


def _damaged(number: int) -> BlobDamaged:
    return BlobDamaged(
        f"chunk {number} of the stored file was altered, swapped or moved",
        hint="restore this material from a verified backup or ask for the file again",
        chunk=number,
    )


def _truncated(number: int) -> BlobTruncated:
    return BlobTruncated(
        "the stored file ends before its last chunk",
        hint="restore this material from a verified backup or ask for the file again",
        chunk=number,
    )
