"""Receive a file: digested in one thread and encrypted and stored in another, as it arrives; at most two pieces wait.

No plaintext touches the disk. Until the material's batch is written the chunks belong to an upload mark, which the
sweep at start takes as an orphan.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

from ulid import ULID

from anchor.digests import Digests, DigestStream
from anchor.failpoints import reach
from anchor.keyvalue import Delete, Put
from node.context import Node
from node.store.blobs import BlobWriter

PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Received:
    """A file that lies encrypted in the store under a key that only this object holds."""

    blob_id: str
    file_key: bytes
    digests: Digests
    writer: BlobWriter

    def final_ops(self) -> list[Put | Delete]:
        """Return the rows that make the blob part of a material; they go into the material's own batch."""
        return self.writer.finish_ops()

    def discard(self) -> None:
        """Delete the chunks: the file is refused or held already."""
        self.writer.abort()


def take_small(node: Node, content: bytes) -> Received:
    """Digest and encrypt a file that is here whole; nothing is written before `final_ops` are."""
    blob_id, file_key = f"blb_{ULID()}", secrets.token_bytes(32)
    writer = BlobWriter(node.store, blob_id, file_key)
    stream = DigestStream(sm3=len(content) < node.config.sm3_max_bytes)
    stream.update(content)
    writer.write(content)
    reach("intake", "piece")
    return Received(blob_id, file_key, stream.finish(), writer)


async def receive(node: Node, chunks: AsyncIterator[bytes], *, expected_bytes: int | None) -> Received:
    """Drain `chunks` into the store and return the digests.

    Whatever `chunks` raises (truncated, too large, a lost connection) passes through after the blob is deleted.
    """
    blob_id, file_key = f"blb_{ULID()}", secrets.token_bytes(32)
    writer = BlobWriter(node.store, blob_id, file_key)
    sm3 = expected_bytes is not None and expected_bytes < node.config.sm3_max_bytes
    stream = DigestStream(sm3=sm3)
    try:
        await _pump(chunks, stream, writer)
        digests = await asyncio.to_thread(stream.finish)
    except BaseException:
        await asyncio.shield(asyncio.to_thread(_give_up, stream, writer))
        raise
    return Received(blob_id, file_key, digests, writer)


def _give_up(stream: DigestStream, writer: BlobWriter) -> None:
    try:
        stream.close()  # It may hold a thread.
    finally:
        writer.abort()


async def _pump(chunks: AsyncIterator[bytes], stream: DigestStream, writer: BlobWriter) -> None:
    working: set[asyncio.Future[None]] = set()
    gathered = bytearray()
    try:
        async for chunk in chunks:
            gathered += chunk
            if len(gathered) >= PIECE_BYTES:
                piece, gathered = bytes(gathered), bytearray()
                await _settled(working)
                working = _begin(stream, writer, piece)
    finally:
        await _settled(working)
    if gathered:
        await _settled(_begin(stream, writer, bytes(gathered)))


def _begin(stream: DigestStream, writer: BlobWriter, piece: bytes) -> set[asyncio.Future[None]]:
    """Digest and store a piece at the same time."""
    run = asyncio.get_running_loop().run_in_executor
    return {run(None, stream.update, piece), run(None, _store, writer, piece)}


async def _settled(working: set[asyncio.Future[None]]) -> None:
    """Wait for both, also if one fails or the request is cut off, and raise what one raised.

    Whoever deletes the chunks must not race a write.
    """
    if working:
        try:
            await asyncio.wait(working)
        except asyncio.CancelledError:
            await asyncio.wait(working)
            raise
        for one in working:
            one.result()


def _store(writer: BlobWriter, piece: bytes) -> None:
    writer.write(piece)
    reach("intake", "piece")
