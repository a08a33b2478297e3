"""Receive a file: digest and encrypt it as it arrives, in threads, with at most two pieces waiting in memory.

No plaintext touches the disk. Until the material's batch is written the chunks belong to an upload mark, which the
sweep at start takes as an orphan.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

from ulid import ULID

from anchor.digests import Digests, DigestStream, sm3_default
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
    stream = DigestStream(sm3=sm3_default(len(content)))
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
    stream = DigestStream(sm3=sm3_default(expected_bytes if expected_bytes is not None else 1 << 62))
    try:
        await _pump(chunks, stream, writer)
        digests = await asyncio.to_thread(stream.finish)
    except BaseException:
        await asyncio.shield(asyncio.to_thread(writer.abort))
        raise
    return Received(blob_id, file_key, digests, writer)


async def _pump(chunks: AsyncIterator[bytes], stream: DigestStream, writer: BlobWriter) -> None:
    loop = asyncio.get_running_loop()
    working: asyncio.Future[None] | None = None
    gathered = bytearray()
    try:
        async for chunk in chunks:
            gathered += chunk
            if len(gathered) < PIECE_BYTES:
                continue
            piece, gathered = bytes(gathered), bytearray()
            if working is not None:
                await working
            working = loop.run_in_executor(None, _take, stream, writer, piece)
    finally:
        if working is not None:
            await working
    if gathered:
        await loop.run_in_executor(None, _take, stream, writer, bytes(gathered))


def _take(stream: DigestStream, writer: BlobWriter, piece: bytes) -> None:
    stream.update(piece)
    writer.write(piece)
    reach("intake", "piece")
