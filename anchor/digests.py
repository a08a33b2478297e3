"""Digests of files and streams: SHA-256 always, SM3 (GB/T 32905-2016) beside it in another thread.

SM3 takes five times as long as SHA-256, so it is on by default only below 64 MiB. Both libraries release
the interpreter lock, so the two run at once; a thread for a small file would cost more than its digest.
Imports only `anchor.errors`; knows no store and no network.
"""

import hashlib
import os
import queue
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes

from anchor.errors import DigestClosed, EngineMissing, FileUnreadable

SM3_DEFAULT_LIMIT_BYTES: Final = 64 << 20

_INLINE_BYTES: Final = 128 << 10

# Enough chunks to keep both threads busy, few enough to bound memory to some chunks of the caller.
_QUEUE_CHUNKS: Final = 8

# How often whoever waits for the thread looks whether it is still there.
_LOOK_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Digests:
    """Digests of one byte string: `sha256` and `sm3` are 32 bytes; `sm3` is None when it was off."""

    sha256: bytes
    sm3: bytes | None
    size_bytes: int


def sm3_default(size: int) -> bool:
    """Say whether a file of `size` bytes gets an SM3 digest when no setting decides."""
    return size < SM3_DEFAULT_LIMIT_BYTES


class DigestStream:
    """Digests of bytes that arrive in chunks. Use it as a context, so that its thread always ends."""

    def __init__(self, *, sm3: bool) -> None:
        """Start a stream; with `sm3` a second thread is started once it is worth it.

        Raises:
            EngineMissing: the installed OpenSSL has no SM3.
        """
        self._sha256 = hashlib.sha256()
        self._size_bytes = 0
        self._sm3 = _Sm3Thread() if sm3 else None
        self._open = True

    def update(self, chunk: bytes | bytearray | memoryview) -> None:
        """Add `chunk`.

        Raises:
            DigestClosed: the stream has been finished or closed.
        """
        self._require_open()
        # A copy unless it is bytes already: a caller that fills its buffer again must not race the thread.
        stable = bytes(chunk)
        if self._sm3 is not None:
            self._sm3.feed(stable)
        self._sha256.update(stable)
        self._size_bytes += len(stable)

    def finish(self) -> Digests:
        """End the stream and return its digests.

        Raises:
            DigestClosed: the stream has been finished or closed.
            MemoryError: the thread for SM3 got none and left bytes out.
        """
        self._require_open()
        self._open = False
        sm3 = self._sm3.finish() if self._sm3 is not None else None
        return Digests(self._sha256.digest(), sm3, self._size_bytes)

    def close(self) -> None:
        """End the stream without digests; after `finish` this does nothing."""
        if self._open and self._sm3 is not None:
            self._sm3.finish()
        self._open = False

    def __enter__(self) -> Self:
        """Return the stream itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the stream, whatever happened."""
        self.close()

    def _require_open(self) -> None:
        if not self._open:
            raise DigestClosed("the digest stream has ended", hint="start a new stream for each file")


class _Sm3Thread:
    """SM3 of chunks: the first ones at once, later ones in a thread, fed through a bounded queue that None ends."""

    def __init__(self) -> None:
        try:
            self._hash = hashes.Hash(hashes.SM3())
        except UnsupportedAlgorithm:
            raise EngineMissing("OpenSSL here has no SM3", hint="turn the SM3 digest off") from None
        self._inline_bytes = self._fed_bytes = self._hashed_bytes = 0
        self._worker: tuple[queue.Queue[bytes | None], threading.Thread] | None = None

    def feed(self, chunk: bytes) -> None:
        if self._worker is None and self._inline_bytes + len(chunk) <= _INLINE_BYTES:
            self._inline_bytes += len(chunk)
            self._hash.update(chunk)
            return
        self._fed_bytes += len(chunk)  # Before a start that may fail: no digest without this chunk.
        if self._worker is None:
            self._worker = self._start()
        self._put(*self._worker, chunk)

    def finish(self) -> bytes:
        if self._worker is not None:
            self._put(*self._worker, None)
            self._worker[1].join()
        if self._hashed_bytes != self._fed_bytes:
            raise _lost_thread()
        return self._hash.finalize()

    def _start(self) -> tuple[queue.Queue[bytes | None], threading.Thread]:
        chunks: queue.Queue[bytes | None] = queue.Queue(maxsize=_QUEUE_CHUNKS)
        # A daemon, so that a stream somebody forgot cannot keep the process alive.
        thread = threading.Thread(target=self._run, args=(chunks,), name="sm3", daemon=True)
        thread.start()
        return chunks, thread

    def _run(self, chunks: queue.Queue[bytes | None]) -> None:
        while (chunk := chunks.get()) is not None:
            self._hash.update(chunk)
            self._hashed_bytes += len(chunk)

    @staticmethod
    def _put(chunks: queue.Queue[bytes | None], thread: threading.Thread, chunk: bytes | None) -> None:
        while True:
            try:
                chunks.put(chunk, timeout=_LOOK_S)
                return
            except queue.Full:
                if not thread.is_alive():
                    raise _lost_thread() from None


def _lost_thread() -> MemoryError:
    return MemoryError("the thread of a digest ended early")  # nothing else ends it


def digest_stream(chunks: Iterable[bytes], *, sm3: bool) -> Digests:
    """Digest the concatenation of `chunks`; errors of the iterator pass through.

    Raises:
        EngineMissing: the installed OpenSSL has no SM3.
    """
    with DigestStream(sm3=sm3) as stream:
        for chunk in chunks:
            stream.update(chunk)
        return stream.finish()


def digest_file(path: str | os.PathLike[str], *, sm3: bool, chunk_bytes: int = 1 << 20) -> Digests:
    """Digest the file at `path`, reading `chunk_bytes` at a time.

    Raises:
        FileUnreadable: it cannot be opened or read. The error does not carry the path.
        EngineMissing: the installed OpenSSL has no SM3.
    """
    try:
        with Path(path).open("rb") as file:
            return digest_stream(iter(lambda: file.read(chunk_bytes), b""), sm3=sm3)
    except OSError as error:
        cause = error.strerror or "unknown cause"
        raise FileUnreadable(f"the file cannot be read: {cause}", errno=error.errno or 0) from None
