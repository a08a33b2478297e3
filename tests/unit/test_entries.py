"""Batch entries and status slots."""

from dataclasses import replace

import pytest

from anchor.commitments import Commitment
from anchor.entries import (
    ENTRY_BYTES,
    BatchEntry,
    SlotStatus,
    StatusFlag,
    batch_hash,
    claim_key,
    decode_entry,
    decode_status,
    document_key,
    encode_entry,
    encode_status,
)
from anchor.errors import EntryMalformed
from anchor.merkle import leaf_hash
from anchor.records import Stream
from anchor.tags import Tag

ENTRY = BatchEntry(41, 7, Stream.REUSE, 12, 512, bytes(range(32)), 1793671200)


def test_entry_is_read_back() -> None:
    encoded = encode_entry(ENTRY)
    assert len(encoded) == ENTRY_BYTES
    assert decode_entry(encoded) == ENTRY
    assert batch_hash(ENTRY) == leaf_hash(encoded)


@pytest.mark.parametrize(
    "change",
    [
        {"id": 42},
        {"member_id": 8},
        {"stream": Stream.MATERIAL},
        {"seq": 13},
        {"size": 511},
        {"root": bytes(32)},
        {"time": 1793671201},
    ],
)
def test_every_field_of_an_entry_counts(change: dict[str, object]) -> None:
    assert batch_hash(replace(ENTRY, **change)) != batch_hash(ENTRY)  # type: ignore[arg-type]


def test_hash_of_an_impossible_entry_is_refused() -> None:
    with pytest.raises(EntryMalformed):
        batch_hash(replace(ENTRY, size=0))


def test_empty_slot_has_no_flags() -> None:
    assert decode_status(bytes(32)) == SlotStatus(StatusFlag(0), 0, 0, b"")
    assert encode_status(decode_status(bytes(32))) == bytes(32)


def test_flags_add_up() -> None:
    status = SlotStatus(
        StatusFlag.REVOKED | StatusFlag.SUPERSEDED | StatusFlag.SEEN, 1793671200, 3, b"s" * 24
    )
    encoded = encode_status(status)
    assert (encoded[0], decode_status(encoded)) == (0x83, status)


def test_keys_of_claims_and_documents_depend_on_every_part() -> None:
    commitment, tag = Commitment(bytes(32)), Tag(bytes(16))
    keys = {
        claim_key(7, commitment),
        claim_key(8, commitment),
        claim_key(7, Commitment(b"\1" * 32)),
        document_key(7, 1, 1, tag),
        document_key(8, 1, 1, tag),
        document_key(7, 2, 1, tag),
        document_key(7, 1, 2, tag),
        document_key(7, 1, 1, Tag(b"\1" * 16)),
    }
    assert len(keys) == 8
