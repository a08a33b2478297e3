"""Unmask many records of one domain and epoch at once.

The same bytes as `DomainKeys.mask`, which a test compares: AES-256-CTR is AES of a counter, so one pass of
the cipher over the counter blocks of all records replaces one cipher object for each. Must not import
index or chain.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from anchor.records import RECORD_BYTES
from anchor.tags import MASKED_BYTES, DomainKeys

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import CipherContext

_PLACE_BYTES: Final = 37  # commitment 32 | domain 2 | epoch 2 | line 1: what the IV is made of.
_FRAME_BYTES: Final = RECORD_BYTES - MASKED_BYTES
_PAD: Final = bytes(64 - MASKED_BYTES)
_MODULUS: Final = 1 << 128


def unmask_records(records: Sequence[bytes], keys: DomainKeys) -> list[bytes]:
    """Return the 58 plain bytes of each 96-byte record; all must be of the keys' domain and epoch."""
    return Unmasker(keys).unmask(records)


class Unmasker:
    """Unmasks records of one domain and epoch again and again; safe for many threads.

    Expanding the key costs as much as ten records, so the contexts that have done it are kept.
    """

    def __init__(self, keys: DomainKeys) -> None:
        # ECB only as the block function of CTR: no two counter blocks are alike, so nothing repeats.
        self._cipher = Cipher(algorithms.AES256(keys.mask_key), modes.ECB())  # noqa: S305
        # One context for one thread at a time: who finds none makes one, and leaves it here.
        self._idle: deque[CipherContext] = deque(maxlen=16)

    def unmask(self, records: Sequence[bytes]) -> list[bytes]:
        """Return the 58 plain bytes of each 96-byte record of this domain and epoch."""
        stream = self._encrypt(b"".join([_counter_blocks(record) for record in records]))
        masked = b"".join([record[_FRAME_BYTES:] + _PAD for record in records])
        plain = (int.from_bytes(masked, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(masked), "big")
        return [plain[at : at + MASKED_BYTES] for at in range(0, len(plain), 64)]

    def unmask_one(self, record: bytes) -> bytes:
        """Return the 58 plain bytes of one record, without the lists that many need."""
        stream = self._encrypt(_counter_blocks(record))[:MASKED_BYTES]
        plain = int.from_bytes(record[_FRAME_BYTES:], "big") ^ int.from_bytes(stream, "big")
        return plain.to_bytes(MASKED_BYTES, "big")

    def _encrypt(self, blocks: bytes) -> bytes:
        try:
            context = self._idle.pop()
        except IndexError:
            context = self._cipher.encryptor()
        stream: bytes = context.update(blocks)
        self._idle.append(context)
        return stream


def _counter_blocks(record: bytes) -> bytes:
    first = hashlib.sha256(record[:_PLACE_BYTES]).digest()[:16]
    if first[15] < 253:  # The usual case: the last byte alone counts.
        head, last = first[:15], first[15]
        return first + head + bytes((last + 1,)) + head + bytes((last + 2,)) + head + bytes((last + 3,))
    start = int.from_bytes(first, "big")
    return b"".join([((start + step) % _MODULUS).to_bytes(16, "big") for step in range(4)])
