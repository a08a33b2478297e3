"""Vectors of the 96-byte record (docs/reference/record.md)."""

from collections.abc import Iterator
from datetime import date

from tests.unit import receipt_factory as made
from tests.vectors.common import COMMITMENT, PLACE, SECRET, TAGS, Asked
from tests.vectors.operations import Json, _record_encode, b, h

MATERIAL: Json = {
    "format": 1,
    **PLACE,
    "tags": TAGS,
    "dates": ["2026-01-01", "2027-01-01"],
    "flags": 0,
}
REUSE: Json = {"format": 2, **PLACE, "tags": TAGS, "dates": ["2026-11-03"]}
AUDIT: Json = {"format": 3, **PLACE, "sequence": 9, "count": 1024}


def record_accepts() -> Iterator[Asked]:
    """Records of the three formats, and their limits."""

    def ask(name: str, **fields: Json) -> Asked:
        return name, "record.encode", {"memberId": 7, "secret": SECRET, "fields": fields}

    yield ask("material", **MATERIAL)
    yield ask("material without dates, asserted", **MATERIAL | {"dates": [None, None], "flags": 1})
    yield ask("material, both flags, last line", **MATERIAL | {"flags": 3, "line": 255})
    yield ask("material, first and last day", **MATERIAL | {"dates": ["1970-01-02", "9999-12-31"]})
    yield ask("material in the last domain and epoch", **MATERIAL | {"domain": 65535, "epoch": 65535})
    yield ask("material of an unindexed type", **MATERIAL | {"tags": ["00" * 16, *TAGS[1:]]})
    yield ask("reuse", **REUSE)
    yield ask("audit", **AUDIT)
    yield ask("audit, largest numbers", **AUDIT | {"sequence": 2**64 - 1, "count": 2**64 - 1})


def record_rejects() -> Iterator[Asked]:
    """Records that are refused: frames, reserved bits, dates, keys."""

    def ask(name: str, raw: bytes, **keys: Json) -> Asked:
        return name, "record.decode", {"secret": SECRET, "domain": 1, "epoch": 1, "record": h(raw), **keys}

    def encode(**fields: Json) -> Asked:
        name = f"cannot be encoded: {next(iter(fields))}"
        return name, "record.encode", {"memberId": 7, "secret": SECRET, "fields": MATERIAL | fields}

    good, reuse, audit = (raw_record(each) for each in (MATERIAL, REUSE, AUDIT))
    yield ask("empty", b"")
    yield ask("one byte short", good[:-1])
    yield ask("one byte long", good + b"\0")
    yield ask("domain 0", good[:32] + bytes(2) + good[34:])
    yield ask("epoch 0", good[:34] + bytes(2) + good[36:])
    yield ask("format 0", good[:37] + b"\0" + good[38:])
    yield ask("format 4", good[:37] + b"\4" + good[38:])
    yield ask("material read as reuse", good[:37] + b"\2" + good[38:])
    yield ask("material read as audit", good[:37] + b"\3" + good[38:])
    yield ask("unknown flag 4", flip(good, 94, 4))
    yield ask("reserved byte of a material", flip(good, 95, 1))
    yield ask("issued after the year 9999", flip(good, 86, 0x80))
    yield ask("expires after the year 9999", flip(good, 90, 0x80))
    yield ask("reuse without a date", xor(reuse, 86, days("2026-11-03")))
    yield ask("reserved byte of a reuse", flip(reuse, 95, 1))
    yield ask("reserved byte of an audit", flip(audit, 54, 1))
    yield ask("masked with another secret", good, secret=h(made.bytes_of("other secret")))
    yield ask("keys of another epoch", good, epoch=2)
    yield ask("keys of another domain", good, domain=2)
    yield encode(line=256)
    yield encode(commitment=COMMITMENT[2:])
    yield encode(tags=[TAGS[0][2:], *TAGS[1:]])
    yield encode(tags=[TAGS[0][2:], TAGS[1] + "00", TAGS[2]])
    yield encode(dates=["1970-01-01", None])
    yield encode(dates=[None, "1969-12-31"])
    yield encode(flags=4)


def raw_record(fields: Json) -> bytes:
    """Encode a record of the vectors under the fixed secret."""
    return b(_record_encode({"memberId": 7, "secret": SECRET, "fields": fields})["record"])


def flip(raw: bytes, at: int, bits: int) -> bytes:
    """Flip bits of one byte; under a stream cipher that flips the same bits of the plain text."""
    return xor(raw, at, bytes([bits]))


def xor(raw: bytes, at: int, bits: bytes) -> bytes:
    """XOR `bits` into `raw` at an offset."""
    mixed = bytes(x ^ y for x, y in zip(raw[at : at + len(bits)], bits, strict=True))
    return raw[:at] + mixed + raw[at + len(bits) :]


def days(text: str) -> bytes:
    """Give a date as the record holds it."""
    return (date.fromisoformat(text) - date(1970, 1, 1)).days.to_bytes(4, "big")
