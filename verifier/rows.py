"""Rows of the chain index: every key and every value layout, and nothing else.

Numbers are big-endian, so that keys sort by number. All keys begin with one byte that no text key begins
with: the index can share a store, and can be wiped by one prefix. Values that the hot path reads have
fixed layouts; members, entries and counters are msgpack arrays. Must not import chain or store.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import msgspec.structs

from anchor.entries import BatchEntry, SlotStatus, decode_status
from anchor.errors import StatusMalformed
from anchor.records import RECORD_BYTES, Stream
from verifier.errors import IndexCorrupt

PREFIX: Final = b"\xc1"
IDENTITY: Final = PREFIX + b"I"
CURSOR: Final = PREFIX + b"c"
FINAL: Final = PREFIX + b"f"
FRONTIER: Final = PREFIX + b"F"
COUNTS: Final = PREFIX + b"n"
BLOCKS: Final = PREFIX + b"K"
UNDOS: Final = PREFIX + b"U"
MEMBERS: Final = PREFIX + b"m"
SIGNERS: Final = PREFIX + b"Y"

CLAIMS: Final = PREFIX + b"C"

SUBJECT, CONTENT, DOCUMENT = b"s", b"c", b"d"  # Kinds of tag rows.
SUBJECT_TAGS, CONTENT_TAGS, DOCUMENT_TAGS = (PREFIX + b"T" + kind for kind in (SUBJECT, CONTENT, DOCUMENT))

CHUNK_RECORDS: Final = 16
CHUNK_BYTES: Final = CHUNK_RECORDS * RECORD_BYTES
# A tag row is read by one get while it is small; past this, positions are rows of their own.
TAG_POSITIONS: Final = 8
# No honest claim comes near; without a bound one member could make every append rewrite megabytes.
CLAIM_POSITIONS: Final = 4096

_POSITION: Final = struct.Struct(">QH")
_POINT: Final = struct.Struct(">Q32sQ")
_BATCH: Final = struct.Struct(">IBQH32sQQ32s")
_BATCH_PLACE: Final = struct.Struct(">I9xH32xQQ32x")  # The same row, read for what a claim needs.
_STATUS: Final = struct.Struct(">32sQ32s")
_DOCUMENT: Final = struct.Struct(">I32sQ")
_CONSUMPTION: Final = struct.Struct(">IQ32sQ")
_BLOCK: Final = struct.Struct(">32sQ")
BATCH_HEAD_BYTES: Final = _BATCH.size
POSITION_BYTES: Final = _POSITION.size


@dataclass(frozen=True, slots=True)
class BlockPoint:
    """A block: number, 32-byte hash, time in Unix seconds."""

    number: int
    hash: bytes
    time: int


@dataclass(frozen=True, slots=True)
class BatchHead:
    """A batch without its records, and where it was mined."""

    entry: BatchEntry
    block_number: int
    transaction_hash: bytes


class BatchPlace(NamedTuple):
    """Who appended a batch, how many records, when and in which block.

    A tuple, not a dataclass: one is made for every record that a query reads.
    """

    member_id: int
    size: int
    time: int
    block_number: int


@dataclass(frozen=True, slots=True)
class StatusRow:
    """A claim's status slot, the block that wrote it, and the slot before that block."""

    value: bytes
    block_number: int
    earlier: bytes


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A document's status slot written by one member."""

    member_id: int
    value: bytes
    block_number: int


@dataclass(frozen=True, slots=True)
class Consumption:
    """Who consumed a nullifier, when (Unix seconds), for which use, and in which block."""

    member_id: int
    time: int
    use_commitment: bytes
    block_number: int


class Member(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """A member as the council admitted it and later acts left it.

    `role` city | sector | district | partner | observer; `area` six digits; `state` active | suspended |
    left; times are Unix seconds, `valid_until` 0 is open; `successor` 0 is none.
    """

    member_id: int
    account: bytes
    role: str
    level: int
    area: str
    uscc: str
    valid_from: int
    valid_until: int
    name: str
    endpoint: str
    hpke_key: bytes
    state: str
    successor: int

    def is_active(self, at: int) -> bool:
        """Return whether the member may act at Unix second `at` (as Members.activeMemberOf decides)."""
        open_ended = self.valid_until == 0 or at < self.valid_until
        return self.state == "active" and self.valid_from <= at and open_ended


class EntryVersion(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """One version of a catalogue entry, its text, and where it is anchored.

    `state` pending | approved | retired; `digest` is SHA-256(text); `time` is the block's; `log_index`
    counts within the block.
    """

    kind: str
    code: str
    version: int
    owner: int
    digest: bytes
    state: str
    text: bytes
    block_number: int
    block_hash: bytes
    transaction_hash: bytes
    log_index: int
    time: int


class EntryHead(msgspec.Struct, array_like=True, frozen=True, kw_only=True):
    """The newest version of a code, the newest one that was ever approved (0: none), and the owner."""

    kind: str
    code: str
    latest: int
    approved: int
    owner: int


class Counts(msgspec.Struct, array_like=True):
    """What the index holds and what it passed over. `opaque` counts by domain << 16 | epoch."""

    batches: int = 0
    records: int = 0
    claims: int = 0
    indexed: int = 0
    copied: int = 0
    malformed: int = 0
    overlong: int = 0
    opaque: dict[int, int] = {}


class Identity(msgspec.Struct, array_like=True, frozen=True):
    """Which chain and contracts the index was built from, and the version of its layout."""

    layout: int
    chain_id: int
    genesis: bytes
    directory: bytes
    members: bytes
    ledger: bytes
    catalog: bytes


S = TypeVar("S", bound=msgspec.Struct)


def decode_layout(encoded: bytes) -> int:
    """Return the layout in an encoded `Identity`, also in one of another shape; 0 if there is none."""
    try:
        fields = msgspec.msgpack.decode(encoded, type=list[Any])
    except msgspec.MsgspecError:
        return 0
    return fields[0] if fields and isinstance(fields[0], int) else 0


def encode_struct(row: msgspec.Struct) -> bytes:
    """Encode a msgpack row."""
    return msgspec.msgpack.encode(row)


def replace(row: S, **changes: Any) -> S:
    """Return a copy of a msgpack row with some fields changed."""
    return msgspec.structs.replace(row, **changes)


def decode_struct(encoded: bytes, kind: type[S]) -> S:
    """Decode a msgpack row.

    Raises:
        IndexCorrupt: it is not a row of this kind.
    """
    try:
        return msgspec.msgpack.decode(encoded, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise corrupt(kind.__name__) from None


# Keys


def batch_key(batch_id: int) -> bytes:
    """Key of a batch's head and first chunk of records."""
    return b"\xc1B" + batch_id.to_bytes(8, "big")


def chunk_key(batch_id: int, chunk: int) -> bytes:
    """Key of a later chunk of records; chunk 0 lies in the batch's own row."""
    return b"\xc1R" + batch_id.to_bytes(8, "big") + chunk.to_bytes(2, "big")


def claim_row_key(commitment: bytes) -> bytes:
    """Key of a commitment's holder and positions."""
    return CLAIMS + commitment


def tag_key(kind: bytes, tag: bytes) -> bytes:
    """Key of the first positions of a tag."""
    return b"\xc1T" + kind + tag


def tag_overflow_key(kind: bytes, tag: bytes, position: bytes = b"") -> bytes:
    """Key of one later position of a tag; without a position, their prefix."""
    return b"\xc1X" + kind + tag + position


def opaque_key(domain: int, epoch: int, batch_id: int | None = None) -> bytes:
    """Key of the unread records of one domain and epoch in one batch; without a batch, their prefix."""
    prefix = b"\xc1O" + domain.to_bytes(2, "big") + epoch.to_bytes(2, "big")
    return prefix if batch_id is None else prefix + batch_id.to_bytes(8, "big")


def status_key(member_id: int, commitment: bytes) -> bytes:
    """Key of a claim's status."""
    return b"\xc1S" + member_id.to_bytes(4, "big") + commitment


def document_row_key(document: bytes) -> bytes:
    """Key of a document's revocations; `document` is domain 2 | epoch 2 | docTag 16."""
    return b"\xc1D" + document


def consumption_key(nullifier: bytes) -> bytes:
    """Key of a nullifier's consumption."""
    return b"\xc1N" + nullifier


def member_key(member_id: int) -> bytes:
    """Key of a member."""
    return MEMBERS + member_id.to_bytes(4, "big")


def account_key(account: bytes) -> bytes:
    """Key of the member an account speaks or spoke for."""
    return b"\xc1a" + account


def envelope_key(member_id: int, domain: int, epoch: int) -> bytes:
    """Key of a sealed domain key."""
    return envelope_prefix(member_id) + domain.to_bytes(2, "big") + epoch.to_bytes(2, "big")


def envelope_prefix(member_id: int) -> bytes:
    """Prefix of all sealed keys of one member."""
    return b"\xc1V" + member_id.to_bytes(4, "big")


def signers_key(from_block: int) -> bytes:
    """Key of a signer set."""
    return SIGNERS + from_block.to_bytes(8, "big")


def entry_key(key: bytes, version: int) -> bytes:
    """Key of one version of an entry; `key` is SHA-256(kind 1 ‖ code)."""
    return b"\xc1E" + key + version.to_bytes(4, "big")


def entry_head_key(key: bytes) -> bytes:
    """Key of an entry's head."""
    return b"\xc1H" + key


def code_key(kind: int, code: str = "") -> bytes:
    """Key of an entry's place in its kind's list; without a code, their prefix."""
    return b"\xc1L" + bytes([kind]) + code.encode("utf-8", "surrogatepass")


def block_key(number: int) -> bytes:
    """Key of a block that held events."""
    return BLOCKS + number.to_bytes(8, "big")


def undo_key(number: int) -> bytes:
    """Key of what takes a block back."""
    return UNDOS + number.to_bytes(8, "big")


# Values with fixed layouts


def encode_position(batch_id: int, index: int) -> bytes:
    """Encode where a record is: batch 8 | index 2."""
    return _POSITION.pack(batch_id, index)


def decode_position(encoded: bytes) -> tuple[int, int]:
    """Decode one position, for those who have looked at its length."""
    batch_id, index = _POSITION.unpack(encoded)
    return batch_id, index


def decode_positions(encoded: bytes) -> list[tuple[int, int]]:
    """Decode concatenated positions.

    Raises:
        IndexCorrupt: the length is not a multiple of 10.
    """
    try:
        return list(_POSITION.iter_unpack(encoded))
    except struct.error:
        raise corrupt("positions") from None


def encode_point(point: BlockPoint) -> bytes:
    """Encode a block point: number 8 | hash 32 | time 8."""
    return _POINT.pack(point.number, point.hash, point.time)


def decode_point(encoded: bytes) -> BlockPoint:
    """Decode a block point.

    Raises:
        IndexCorrupt: not 48 bytes.
    """
    return BlockPoint(*_unpack(_POINT, encoded, "block point"))


def encode_block(hash_: bytes, time: int) -> bytes:
    """Encode a block row: hash 32 | time 8."""
    return _BLOCK.pack(hash_, time)


def decode_block(encoded: bytes) -> tuple[bytes, int]:
    """Decode a block row as (hash, time).

    Raises:
        IndexCorrupt: not 40 bytes.
    """
    hash_, time = _unpack(_BLOCK, encoded, "block")
    return hash_, time


def encode_batch(head: BatchHead, first_records: bytes) -> bytes:
    """Encode a batch row: the head, then up to 16 records."""
    entry = head.entry
    return (
        _BATCH.pack(
            entry.member_id,
            entry.stream,
            entry.seq,
            entry.size,
            entry.root,
            entry.time,
            head.block_number,
            head.transaction_hash,
        )
        + first_records
    )


def decode_batch(batch_id: int, encoded: bytes) -> BatchHead:
    """Decode the head of a batch row; the records follow at `BATCH_HEAD_BYTES`.

    Raises:
        IndexCorrupt: too short, or an unknown stream.
    """
    try:
        member_id, stream, seq, size, root, time, number, transaction = _BATCH.unpack_from(encoded)
        entry = BatchEntry(batch_id, member_id, Stream(stream), seq, size, root, time)
    except (struct.error, ValueError):
        raise corrupt("batch") from None
    return BatchHead(entry, number, transaction)


def decode_batch_place(encoded: bytes) -> BatchPlace:
    """Decode the few fields of a batch row that a claim needs.

    Raises:
        IndexCorrupt: too short.
    """
    try:
        return BatchPlace._make(_BATCH_PLACE.unpack_from(encoded))
    except struct.error:
        raise corrupt("batch") from None


def encode_status_row(row: StatusRow) -> bytes:
    """Encode a status row: slot 32 | block 8 | earlier slot 32."""
    return _STATUS.pack(row.value, row.block_number, row.earlier)


def decode_status_row(encoded: bytes) -> StatusRow:
    """Decode a status row.

    Raises:
        IndexCorrupt: not 72 bytes.
    """
    return StatusRow(*_unpack(_STATUS, encoded, "status"))


def decode_slot(value: bytes) -> SlotStatus:
    """Decode a status slot that the projection has checked when it came.

    Raises:
        IndexCorrupt: it is none any more.
    """
    try:
        return decode_status(value)
    except StatusMalformed:
        raise corrupt("status") from None


def encode_document_row(row: DocumentRow) -> bytes:
    """Encode one member's act on a document: member 4 | slot 32 | block 8."""
    return _DOCUMENT.pack(row.member_id, row.value, row.block_number)


def decode_document_rows(encoded: bytes) -> Iterator[DocumentRow]:
    """Decode all acts on a document.

    Raises:
        IndexCorrupt: the length is not a multiple of 44.
    """
    try:
        return (DocumentRow(*fields) for fields in _DOCUMENT.iter_unpack(encoded))
    except struct.error:
        raise corrupt("document") from None


def encode_consumption(row: Consumption) -> bytes:
    """Encode a consumption: member 4 | time 8 | use 32 | block 8."""
    return _CONSUMPTION.pack(row.member_id, row.time, row.use_commitment, row.block_number)


def decode_consumption(encoded: bytes) -> Consumption:
    """Decode a consumption.

    Raises:
        IndexCorrupt: not 52 bytes.
    """
    return Consumption(*_unpack(_CONSUMPTION, encoded, "consumption"))


def encode_undo(old: list[tuple[bytes, bytes | None]]) -> bytes:
    """Encode the rows that a block replaced: key and value before, None for a new key."""
    return msgspec.msgpack.encode(old)


def decode_undo(encoded: bytes) -> list[tuple[bytes, bytes | None]]:
    """Decode what `encode_undo` wrote.

    Raises:
        IndexCorrupt: it is not that.
    """
    try:
        return msgspec.msgpack.decode(encoded, type=list[tuple[bytes, bytes | None]])
    except msgspec.DecodeError:
        raise corrupt("undo") from None


def _unpack(layout: struct.Struct, encoded: bytes, kind: str) -> tuple[Any, ...]:
    try:
        return layout.unpack(encoded)
    except struct.error:
        raise corrupt(kind) from None


def corrupt(kind: str) -> IndexCorrupt:
    """Return the error for a damaged row of some kind."""
    return IndexCorrupt(
        f"a {kind} row of the index is damaged",
        hint="delete the index and let it be rebuilt from the chain",
        row=kind,
    )
