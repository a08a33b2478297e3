"""What the Ledger keeps: batch entries, status slots and the keys of both (docs/reference/batch-and-log.md).

The Solidity side is contracts/Ledger.sol; the same vectors run against both. Imports
`anchor.{commitments,errors,merkle,records,tags}`; asks no chain.
"""

import hashlib
import struct
from dataclasses import dataclass
from enum import IntFlag
from typing import Final

from anchor.commitments import Commitment
from anchor.errors import EntryMalformed, StatusMalformed
from anchor.merkle import HASH_BYTES, leaf_hash
from anchor.records import Stream
from anchor.tags import TAG_BYTES, Tag

ENTRY_BYTES: Final = 65
STATUS_BYTES: Final = 32
MAX_BATCH_RECORDS: Final = 512
SUCCESSOR_BYTES: Final = 24
_ENTRY: Final = struct.Struct(">QIBQI32sQ")


@dataclass(frozen=True, slots=True)
class BatchEntry:
    """One appended batch. `time` is the block's, in seconds since 1970; `root` is over `size` records."""

    id: int
    member_id: int
    stream: Stream
    seq: int
    size: int
    root: bytes
    time: int


class StatusFlag(IntFlag):
    """Flags of a claim's or document's status. All are sticky but SUSPENDED; they add up."""

    REVOKED = 1
    SUPERSEDED = 2
    ERASED = 4
    SUSPENDED = 8
    SEEN = 0x80  # This Ledger version holds its own value, which overrides its predecessor's suspension.


# A plain integer: the complement of an IntFlag knows its own members only and lets other bits through.
_KNOWN: Final = int(
    StatusFlag.REVOKED | StatusFlag.SUPERSEDED | StatusFlag.ERASED | StatusFlag.SUSPENDED | StatusFlag.SEEN
)


@dataclass(frozen=True, slots=True)
class SlotStatus:
    """A decoded status slot. `since` is a block time in seconds; `successor` is empty or 24 bytes.

    `successor` holds the first 24 bytes of the superseding commitment.
    """

    flags: StatusFlag
    since: int
    reason: int
    successor: bytes


def encode_entry(entry: BatchEntry) -> bytes:
    """Encode an entry: id 8 | memberId 4 | stream 1 | seq 8 | size 4 | root 32 | time 8, big-endian.

    Raises:
        EntryMalformed: a field is out of its range.
    """
    _require_entry(entry)
    return _ENTRY.pack(entry.id, entry.member_id, entry.stream, entry.seq, entry.size, entry.root, entry.time)


def decode_entry(encoded: bytes) -> BatchEntry:
    """Decode what `encode_entry` wrote.

    Raises:
        EntryMalformed: not 65 bytes, an unknown stream, member 0, or a size outside 1..512.
    """
    if len(encoded) != ENTRY_BYTES:
        raise EntryMalformed("a batch entry has 65 bytes", got=len(encoded))
    number = int.from_bytes
    entry = BatchEntry(
        id=number(encoded[:8], "big"),
        member_id=number(encoded[8:12], "big"),
        stream=_stream(encoded[12]),
        seq=number(encoded[13:21], "big"),
        size=number(encoded[21:25], "big"),
        root=encoded[25:57],
        time=number(encoded[57:], "big"),
    )
    _require_entry(entry)
    return entry


def batch_hash(entry: BatchEntry) -> bytes:
    """Return what `batchHash[id]` holds and the log has as its leaf: SHA-256(0x00 ‖ entry).

    Raises:
        EntryMalformed: a field is out of its range.
    """
    return leaf_hash(encode_entry(entry))


def claim_key(member_id: int, commitment: Commitment) -> bytes:
    """Return the key of a claim's status: SHA-256(memberId 4 ‖ commitment 32).

    Raises:
        StatusMalformed: a part has the wrong length or range.
    """
    if len(commitment) != HASH_BYTES:
        raise StatusMalformed("a commitment has 32 bytes", got=len(commitment))
    return hashlib.sha256(_number(member_id, 4) + commitment).digest()


def document_key(member_id: int, domain: int, epoch: int, doc_tag: Tag) -> bytes:
    """Return the key of a document's status: SHA-256(memberId 4 ‖ domain 2 ‖ epoch 2 ‖ docTag 16).

    Raises:
        StatusMalformed: a part has the wrong length or range.
    """
    return hashlib.sha256(_number(member_id, 4) + document_name(domain, epoch, doc_tag)).digest()


def document_name(domain: int, epoch: int, doc_tag: Tag) -> bytes:
    """Return how the Ledger names a document: domain 2 ‖ epoch 2 ‖ docTag 16.

    Raises:
        StatusMalformed: a part has the wrong length or range.
    """
    if len(doc_tag) != TAG_BYTES:
        raise StatusMalformed("a document tag has 16 bytes", got=len(doc_tag))
    return _number(domain, 2) + _number(epoch, 2) + doc_tag


def encode_status(status: SlotStatus) -> bytes:
    """Encode a status slot: flags 1 | since 5 | reason 2 | successor 24, big-endian.

    Raises:
        StatusMalformed: a field is out of its range.
    """
    successor = status.successor or bytes(SUCCESSOR_BYTES)
    if int(status.flags) & ~_KNOWN or len(successor) != SUCCESSOR_BYTES:
        raise StatusMalformed("a status has an unknown flag or a successor of another length")
    return bytes([status.flags]) + _number(status.since, 5) + _number(status.reason, 2) + successor


def decode_status(encoded: bytes) -> SlotStatus:
    """Decode a 32-byte status slot; an empty slot gives no flags.

    Raises:
        StatusMalformed: not 32 bytes, or a flag that no Ledger version sets.
    """
    if len(encoded) != STATUS_BYTES:
        raise StatusMalformed("a status slot has 32 bytes", got=len(encoded))
    if encoded[0] & ~_KNOWN:
        raise StatusMalformed("a status slot has an unknown flag", flags=encoded[0])
    successor = encoded[8:] if any(encoded[8:]) else b""
    since, reason = int.from_bytes(encoded[1:6], "big"), int.from_bytes(encoded[6:8], "big")
    return SlotStatus(StatusFlag(encoded[0]), since, reason, successor)


def _stream(number: int) -> Stream:
    try:
        return Stream(number)
    except ValueError:
        raise EntryMalformed("a batch entry has an unknown stream", stream=number) from None


def _require_entry(entry: BatchEntry) -> None:
    if len(entry.root) != HASH_BYTES:
        raise EntryMalformed("a batch root has 32 bytes", got=len(entry.root))
    if not (0 < entry.member_id < 1 << 32 and 1 <= entry.size <= MAX_BATCH_RECORDS):
        raise EntryMalformed("a batch entry has no member or a size outside 1 to 512", size=entry.size)
    if not (0 <= entry.id < 1 << 64 and 0 <= entry.seq < 1 << 64 and 0 <= entry.time < 1 << 64):
        raise EntryMalformed("a number of a batch entry does not fit 8 bytes")


def _number(value: int, length: int) -> bytes:
    try:
        return value.to_bytes(length, "big")
    except OverflowError:
        raise StatusMalformed("a number does not fit its bytes", length=length) from None
