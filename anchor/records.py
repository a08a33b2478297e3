"""The 96-byte record (docs/reference/record.md): codec, frame, record id.

    commitment 32 | domain 2 | epoch 2 | line 1 | format 1 | masked 58        big-endian

The frame is public; the 58 bytes are masked under the domain epoch's key. Decoding is strict: a set
reserved bit is refused, so that a later format can give it a meaning. Imports
`anchor.{commitments,errors,merkle,tags}`; no store, no chain.
"""

from dataclasses import dataclass
from datetime import date
from enum import IntEnum, IntFlag
from functools import lru_cache
from struct import Struct
from typing import Final, NewType, TypeAlias

import msgspec

from anchor.commitments import Commitment
from anchor.errors import KeyMaterialInvalid, RecordMalformed
from anchor.merkle import leaf_hash
from anchor.tags import TAG_BYTES, DomainKeys, Tag

RecordId = NewType("RecordId", bytes)

RECORD_BYTES: Final = 96
_EPOCH_DAY: Final = date(1970, 1, 1)
_EPOCH_ORDINAL: Final = _EPOCH_DAY.toordinal()
_LAST_DAY: Final = (date.max - _EPOCH_DAY).days
_FRAME: Final = Struct(">32sHHB")
_MATERIAL: Final = Struct(">16s16s16sIIBB")
_REUSE_RESERVED: Final = bytes(6)
_AUDIT_RESERVED: Final = bytes(42)


class Stream(IntEnum):
    """Kind of record, and of the batch that carries it."""

    MATERIAL = 1
    REUSE = 2
    AUDIT = 3


class Flag(IntFlag):
    """Flags of a MATERIAL record."""

    NONE = 0
    ASSERTED = 1  # Pushed as a hash: the sealing node never saw the bytes.
    REPLACES = 2  # A later version of a material that was sealed before.


# A plain integer: the complement of an IntFlag knows its own members only and lets other bits through.
_KNOWN_FLAGS: Final = int(Flag.ASSERTED | Flag.REPLACES)
_FLAGS: Final = tuple(Flag(value) for value in range(_KNOWN_FLAGS + 1))


class MaterialRecord(msgspec.Struct, frozen=True, gc=False):
    """One material for one subject in one domain. Tags are 16 bytes; a None date is not stated.

    A struct, as every verdict makes one: it costs a fortieth of a frozen dataclass.
    """

    commitment: Commitment
    domain: int
    epoch: int
    line: int
    subject_tag: Tag
    content_tag: Tag
    doc_tag: Tag
    issued_on: date | None
    expires_on: date | None
    flags: Flag


@dataclass(frozen=True, slots=True)
class ReuseRecord:
    """One decision to reuse a material; the commitment is to the decision."""

    commitment: Commitment
    domain: int
    epoch: int
    line: int
    material_tag: Tag
    case_tag: Tag
    party_tag: Tag
    decided_on: date


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A node's audit log: the commitment is its head, `sequence` the record's number, `count` the entries."""

    commitment: Commitment
    domain: int
    epoch: int
    line: int
    sequence: int
    count: int


Record: TypeAlias = MaterialRecord | ReuseRecord | AuditRecord


@dataclass(frozen=True, slots=True)
class Frame:
    """What anyone can read of a record: all but the 58 masked bytes."""

    commitment: Commitment
    domain: int
    epoch: int
    line: int
    format: Stream
    masked: bytes


def encode_record(record: Record, keys: DomainKeys) -> bytes:
    """Encode and mask a record, 96 bytes.

    Raises:
        RecordMalformed: a field is out of its range.
        KeyMaterialInvalid: the keys are of another domain or epoch than the record names.
    """
    _require_keys(record, keys)
    if len(record.commitment) != 32 or not 0 <= record.line <= 255:
        raise RecordMalformed("a record has a commitment of 32 bytes and a line of 0 to 255")
    stream, body = _encode_body(record)
    frame = record.domain.to_bytes(2, "big") + record.epoch.to_bytes(2, "big") + bytes([record.line, stream])
    return record.commitment + frame + keys.mask(record.commitment, record.line, body)


def parse_frame(record: bytes) -> Frame:
    """Read the public frame of a record.

    Raises:
        RecordMalformed: not 96 bytes, domain or epoch 0, or an unknown format.
    """
    if len(record) != RECORD_BYTES:
        raise RecordMalformed("a record has 96 bytes", got=len(record))
    domain, epoch = int.from_bytes(record[32:34], "big"), int.from_bytes(record[34:36], "big")
    if domain == 0 or epoch == 0:
        raise RecordMalformed("a record names no domain or no epoch", domain=domain, epoch=epoch)
    try:
        stream = Stream(record[37])
    except ValueError:
        raise RecordMalformed("a record has an unknown format", format=record[37]) from None
    return Frame(Commitment(record[:32]), domain, epoch, record[36], stream, record[38:])


def decode_record(record: bytes, keys: DomainKeys) -> Record:
    """Unmask and decode a record.

    A record that was masked under other bytes than `keys` is refused but for a chance below 2^-30.

    Raises:
        RecordMalformed: as `parse_frame`, or reserved bits set, a date out of range, unknown flags.
        KeyMaterialInvalid: the keys are of another domain or epoch than the record names.
    """
    frame = parse_frame(record)
    _require_keys(frame, keys)
    body = keys.mask(frame.commitment, frame.line, frame.masked)
    if frame.format is Stream.MATERIAL:
        return decode_material(record, body)
    return _decode_reuse(frame, body) if frame.format is Stream.REUSE else _decode_audit(frame, body)


def decode_material(record: bytes, body: bytes) -> MaterialRecord:
    """Decode a MATERIAL record whose 58 bytes have been unmasked as `body`.

    Raises:
        RecordMalformed: reserved bits set, a date out of range, unknown flags.
    """
    subject, content, document, issued, expires, flags, reserved = _MATERIAL.unpack(body)
    if reserved or flags & ~_KNOWN_FLAGS:
        raise RecordMalformed("a record has reserved bits set", format=int(Stream.MATERIAL))
    commitment, domain, epoch, line = _FRAME.unpack_from(record)
    return MaterialRecord(
        commitment,
        domain,
        epoch,
        line,
        subject,
        content,
        document,
        _date_of(issued),
        _date_of(expires),
        _FLAGS[flags],
    )


def record_id(member_id: int, record: bytes) -> RecordId:
    """Return the id of a record appended by a member: its leaf hash, SHA-256(0x00 ‖ memberId 4 ‖ record 96).

    Raises:
        RecordMalformed: not 96 bytes, or a member id outside 1..2^32 − 1.
    """
    if len(record) != RECORD_BYTES or not 0 < member_id < 1 << 32:
        raise RecordMalformed("a record id is of 96 bytes and a 4-byte member id", got=len(record))
    return RecordId(leaf_hash(member_id.to_bytes(4, "big") + record))


def _encode_body(record: Record) -> tuple[Stream, bytes]:
    if isinstance(record, MaterialRecord):
        return Stream.MATERIAL, _encode_material(record)
    if isinstance(record, ReuseRecord):
        return Stream.REUSE, _encode_reuse(record)
    return Stream.AUDIT, _encode_audit(record)


def _encode_material(record: MaterialRecord) -> bytes:
    if int(record.flags) & ~_KNOWN_FLAGS:
        raise RecordMalformed("a record has an unknown flag", flags=int(record.flags))
    tags = _join_tags(record.subject_tag, record.content_tag, record.doc_tag)
    return tags + _encode_day(record.issued_on) + _encode_day(record.expires_on) + bytes([record.flags, 0])


def _encode_reuse(record: ReuseRecord) -> bytes:
    tags = _join_tags(record.material_tag, record.case_tag, record.party_tag)
    return tags + _encode_day(record.decided_on) + _REUSE_RESERVED


def _encode_audit(record: AuditRecord) -> bytes:
    if not (0 <= record.sequence < 1 << 64 and 0 <= record.count < 1 << 64):
        raise RecordMalformed("an audit sequence or count does not fit 8 bytes")
    return record.sequence.to_bytes(8, "big") + record.count.to_bytes(8, "big") + _AUDIT_RESERVED


def _decode_reuse(frame: Frame, body: bytes) -> ReuseRecord:
    decided_on = _decode_day(body[48:52])
    if decided_on is None or body[52:] != _REUSE_RESERVED:
        raise RecordMalformed("a reuse record has no date or reserved bits set", format=int(frame.format))
    return ReuseRecord(
        frame.commitment, frame.domain, frame.epoch, frame.line, *_split_tags(body), decided_on
    )


def _decode_audit(frame: Frame, body: bytes) -> AuditRecord:
    if body[16:] != _AUDIT_RESERVED:
        raise RecordMalformed("a record has reserved bits set", format=int(frame.format))
    sequence, count = int.from_bytes(body[:8], "big"), int.from_bytes(body[8:16], "big")
    return AuditRecord(frame.commitment, frame.domain, frame.epoch, frame.line, sequence, count)


def _join_tags(first: Tag, second: Tag, third: Tag) -> bytes:
    joined = first + second + third
    if not len(first) == len(second) == len(third) == TAG_BYTES:
        raise RecordMalformed("a tag has 16 bytes", got=len(joined))
    return joined


def _split_tags(body: bytes) -> tuple[Tag, Tag, Tag]:
    return Tag(body[:16]), Tag(body[16:32]), Tag(body[32:48])


def _encode_day(day: date | None) -> bytes:
    if day is None:
        return bytes(4)
    days = (day - _EPOCH_DAY).days
    if days < 1:
        raise RecordMalformed("a record holds dates from 1970-01-02 on", hint="leave the date out")
    return days.to_bytes(4, "big")


def _decode_day(encoded: bytes) -> date | None:
    return _date_of(int.from_bytes(encoded, "big"))


@lru_cache(maxsize=4096)  # Papers are of some thousand days; a verdict asks for two.
def _date_of(days: int) -> date | None:
    if days > _LAST_DAY:
        raise RecordMalformed("a date is after the year 9999", days=days)
    return date.fromordinal(_EPOCH_ORDINAL + days) if days else None


def _require_keys(place: Record | Frame, keys: DomainKeys) -> None:
    if (place.domain, place.epoch) != (keys.domain, keys.epoch):
        raise KeyMaterialInvalid(
            "the keys are of another domain or epoch",
            hint="choose the keys by the record's frame",
            domain=place.domain,
            epoch=place.epoch,
        )
