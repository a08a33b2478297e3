"""Frames of a release stream: AES-256-GCM under a key made for this one answer and sealed to the requester. Pure.

    stream  = u32 length | signed answer (JSON) | frame*
    frame   = u8 last (0 or 1) | u32 length | ciphertext
    frame 0 = the partial opening (JSON); frames 1.. = the document; the last frame of all carries last = 1.

The nonce counts frames from 0 and the key is never used twice, so no nonce repeats; the associated data binds each
frame to the request, its place and whether it is the last: a cut, swapped or repeated frame does not open.
Spec page: docs/reference/release.md.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from node.errors import ReleaseBroken

FRAME_BYTES = 1 << 20
MAX_HEAD_BYTES = 64 << 10
MAX_FRAME_BYTES = FRAME_BYTES + 16
HEAD = struct.Struct(">I")
FRAME = struct.Struct(">BI")


def seal_frames(
    key: bytes, request_hash: bytes, opening: bytes, document: Iterable[bytes]
) -> Iterator[bytes]:
    """Encrypt the opening and the document; pieces of `document` are at most 1 MiB each."""
    cipher = AESGCM(key)
    number, waiting = 0, opening
    for piece in document:
        yield _seal(cipher, request_hash, number, waiting, last=False)
        number, waiting = number + 1, piece
    yield _seal(cipher, request_hash, number, waiting, last=True)


def _seal(cipher: AESGCM, request_hash: bytes, number: int, piece: bytes, *, last: bool) -> bytes:
    sealed = cipher.encrypt(_nonce(number), piece, _about(request_hash, number, last=last))
    return FRAME.pack(last, len(sealed)) + sealed


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def _about(request_hash: bytes, number: int, *, last: bool) -> bytes:
    return request_hash + number.to_bytes(8, "big") + bytes([last])


class FrameReader:
    """Cut a byte stream of any chunking into the head and opened frames, in bounded memory.

    `feed` returns what is complete; `close` says whether the stream ended where its last frame did.
    """

    def __init__(self, request_hash: bytes) -> None:
        self._request_hash = request_hash
        self._waiting = bytearray()
        self._cipher: AESGCM | None = None
        self._number = 0
        self._ended = False

    def take_head(self, chunk: bytes) -> bytes | None:
        """Add `chunk`; return the head once it is whole.

        Raises:
            ReleaseBroken: the head is longer than 64 KiB.
        """
        self._waiting += chunk
        if len(self._waiting) < HEAD.size:
            return None
        (length,) = HEAD.unpack_from(self._waiting)
        if length > MAX_HEAD_BYTES:
            raise ReleaseBroken("the head of the release is too long", reason="head_too_long")
        if len(self._waiting) < HEAD.size + length:
            return None
        head = bytes(self._waiting[HEAD.size : HEAD.size + length])
        del self._waiting[: HEAD.size + length]
        return head

    def set_key(self, key: bytes) -> None:
        """Give the key that the head brought."""
        self._cipher = AESGCM(key)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Add `chunk` and yield the plain pieces that are now complete.

        Raises:
            ReleaseBroken: a frame is too long, does not open, or follows the last one.
        """
        self._waiting += chunk
        while len(self._waiting) >= FRAME.size:
            last, length = FRAME.unpack_from(self._waiting)
            if length > MAX_FRAME_BYTES or last > 1 or self._ended:
                raise ReleaseBroken("a frame of the release is malformed", reason="frame_malformed")
            if len(self._waiting) < FRAME.size + length:
                return
            # A view, not a copy; it must be gone before the buffer may shrink.
            with memoryview(self._waiting) as waiting:
                piece = self._open(waiting[FRAME.size : FRAME.size + length], last=bool(last))
            del self._waiting[: FRAME.size + length]
            yield piece
        if self._ended and self._waiting:
            raise ReleaseBroken("bytes follow the last frame of the release", reason="trailing_bytes")

    def close(self) -> None:
        """Check that the last frame came.

        Raises:
            ReleaseBroken: the stream was cut.
        """
        if not self._ended or self._waiting:
            raise ReleaseBroken("the release ended early", reason="truncated")

    def _open(self, sealed: memoryview, *, last: bool) -> bytes:
        assert self._cipher is not None, "set_key comes before feed"  # noqa: S101 - a programming error
        try:
            piece = self._cipher.decrypt(
                _nonce(self._number), sealed, _about(self._request_hash, self._number, last=last)
            )
        except InvalidTag:
            raise ReleaseBroken("a frame of the release does not open", reason="frame_altered") from None
        self._number, self._ended = self._number + 1, last
        return piece
