"""Receipts of small batches with fixed keys, for tests and vectors. Every value is made up and fixed."""

import hashlib
from collections.abc import Mapping
from datetime import date

from anchor.canonical import JsonValue
from anchor.commitments import Commitment, PartialOpening, commit, open_fields
from anchor.entries import BatchEntry, SlotStatus, StatusFlag, encode_status
from anchor.merkle import root
from anchor.records import Flag, MaterialRecord, Stream, encode_record, record_id
from anchor.tags import Tag, derive_domain_keys
from verifier.receipts import (
    BlockRef,
    ChainFacts,
    DocumentSlot,
    Receipt,
    StatusReading,
    build_receipt,
)

MEMBER = 7
SEALED_AT = 1793671200  # 2026-11-03T10:00:00+08:00
EMPTY_SLOT = bytes(32)


def bytes_of(label: str, length: int = 32) -> bytes:
    """Return bytes that depend on the label alone."""
    return hashlib.shake_256(label.encode()).digest(length)


CHAIN = ChainFacts(
    chain_id=31007,
    genesis=bytes_of("genesis"),
    directory=bytes_of("directory", 20),
    ledger=bytes_of("ledger", 20),
)
KEYS = derive_domain_keys(1, 1, bytes_of("city secret"))
SALT_KEY = bytes_of("salt key")
FILE_SHA256 = bytes_of("file")
DOC_TAG = KEYS.doc_tag("LICENCE", "DEMO-310104-0001")
FIELDS: Mapping[str, JsonValue] = {
    "agency": "11310104MB2F30001T",
    "documentNo": "DEMO-310104-0001",
    "expiresOn": "2027-01-01",
    "issuedOn": "2026-01-01",
    "sha256": FILE_SHA256.hex(),
    "subjects": [{"idType": "001", "id": "91310115MA1K30000X", "role": "holder"}],
    "typeCode": "LICENCE",
}
SHOWN = ("expiresOn", "issuedOn", "sha256", "typeCode")


def sealed_record(commitment: Commitment, *, line: int = 0) -> bytes:
    """Encode a MATERIAL record of the fixed document."""
    record = MaterialRecord(
        commitment,
        *(KEYS.domain, KEYS.epoch, line),
        KEYS.subject_tag("001", "91310115MA1K30000X", "LICENCE"),
        KEYS.content_tag(FILE_SHA256),
        DOC_TAG,
        *(date(2026, 1, 1), date(2027, 1, 1)),
        Flag.NONE,
    )
    return encode_record(record, KEYS)


def sealed_batch(commitment: Commitment, *, size: int, index: int) -> tuple[list[bytes], BatchEntry]:
    """Return a batch with the record of `commitment` at `index`, and its entry."""
    others = [sealed_record(Commitment(bytes_of(f"other {each}"))) for each in range(size)]
    records = [sealed_record(commitment) if each == index else others[each] for each in range(size)]
    head = root([record_id(MEMBER, record) for record in records])
    return records, BatchEntry(41, MEMBER, Stream.MATERIAL, 12, size, head, SEALED_AT)


def document_slot(value: bytes = EMPTY_SLOT, *, tag: Tag = DOC_TAG) -> DocumentSlot:
    """Return the status slot of the fixed document under the fixed member."""
    return DocumentSlot(MEMBER, KEYS.domain, KEYS.epoch, tag, value)


def status(claim: bytes = EMPTY_SLOT, *documents: DocumentSlot, as_of_block: int = 130) -> StatusReading:
    """Return a reading; without documents, of the one document with an empty slot."""
    return StatusReading(claim, documents or (document_slot(),), as_of_block, SEALED_AT + 600)


def flagged(flags: StatusFlag) -> bytes:
    """Return a slot value with `flags`, set a minute after sealing."""
    return encode_status(SlotStatus(flags, SEALED_AT + 60, 3, b""))


def receipt(
    fields: Mapping[str, JsonValue] = FIELDS,
    *,
    shown: tuple[str, ...] = SHOWN,
    size: int = 5,
    index: int = 3,
    reading: StatusReading | None = None,
) -> Receipt:
    """Build a receipt that opens `shown` of `fields`."""
    records, entry = sealed_batch(commit(fields, SALT_KEY), size=size, index=index)
    return build_receipt(
        chain=CHAIN,
        opening=_opening(fields, shown),
        batch=records,
        index=index,
        entry=entry,
        block=BlockRef(120, bytes_of("block"), SEALED_AT),
        status=status() if reading is None else reading,
    )


def _opening(fields: Mapping[str, JsonValue], shown: tuple[str, ...]) -> PartialOpening:
    return open_fields(fields, SALT_KEY, shown)
