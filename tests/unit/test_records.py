"""The 96-byte record: what outsiders see, what members read, what is refused."""

from dataclasses import replace
from datetime import date

import pytest
from msgspec import structs

from anchor.commitments import Commitment
from anchor.errors import KeyMaterialInvalid, RecordMalformed
from anchor.records import (
    RECORD_BYTES,
    AuditRecord,
    Flag,
    MaterialRecord,
    ReuseRecord,
    Stream,
    decode_record,
    encode_record,
    parse_frame,
    record_id,
)
from anchor.tags import ZERO_TAG, Tag, derive_domain_keys

KEYS = derive_domain_keys(3, 2, bytes(range(32)))
COMMITMENT = Commitment(bytes(range(100, 132)))
MATERIAL = MaterialRecord(
    COMMITMENT,
    *(3, 2, 5),
    KEYS.subject_tag("001", "91310115MA1K30000X", "LICENCE"),
    KEYS.content_tag(bytes(32)),
    KEYS.doc_tag("LICENCE", "DEMO-0001"),
    *(date(2026, 1, 1), None),
    Flag.ASSERTED | Flag.REPLACES,
)
REUSE = ReuseRecord(COMMITMENT, 3, 2, 0, Tag(b"m" * 16), Tag(b"c" * 16), Tag(b"p" * 16), date(2026, 11, 3))
AUDIT = AuditRecord(COMMITMENT, 3, 2, 0, sequence=12, count=3400)


@pytest.mark.parametrize("record", [MATERIAL, REUSE, AUDIT])
def test_record_is_read_back(record: MaterialRecord | ReuseRecord | AuditRecord) -> None:
    encoded = encode_record(record, KEYS)
    assert len(encoded) == RECORD_BYTES
    assert decode_record(encoded, KEYS) == record


def test_frame_shows_place_and_format_only() -> None:
    frame = parse_frame(encode_record(MATERIAL, KEYS))
    assert (frame.commitment, frame.domain, frame.epoch, frame.line) == (COMMITMENT, 3, 2, 5)
    assert frame.format is Stream.MATERIAL
    assert len(frame.masked) == 58


def test_two_records_of_one_subject_share_no_masked_bytes() -> None:
    first = encode_record(MATERIAL, KEYS)
    second = encode_record(structs.replace(MATERIAL, commitment=Commitment(bytes(32))), KEYS)
    assert not any(first[at : at + 4] == second[at : at + 4] for at in range(38, 92))


def test_masked_bytes_show_no_tag() -> None:
    encoded = encode_record(MATERIAL, KEYS)
    assert not any(
        bytes(tag) in bytes(encoded) for tag in (MATERIAL.subject_tag, MATERIAL.content_tag, MATERIAL.doc_tag)
    )


def test_unindexed_material_has_a_zero_subject_tag() -> None:
    record = structs.replace(MATERIAL, subject_tag=ZERO_TAG)
    assert decode_record(encode_record(record, KEYS), KEYS) == record


def test_keys_of_another_epoch_are_a_callers_mistake_not_a_malformed_record() -> None:
    encoded = encode_record(MATERIAL, KEYS)
    with pytest.raises(KeyMaterialInvalid) as caught:
        decode_record(encoded, derive_domain_keys(3, 3, bytes(32)))
    assert caught.value.facts == {"domain": 3, "epoch": 2}


def test_record_masked_under_a_foreign_secret_is_refused() -> None:
    for secret in range(50):
        foreign = derive_domain_keys(3, 2, bytes([secret]) * 32)
        with pytest.raises(RecordMalformed):
            decode_record(encode_record(structs.replace(MATERIAL, line=secret), KEYS), foreign)


@pytest.mark.parametrize("change", [{"sequence": -1}, {"sequence": 2**64}, {"count": -1}, {"count": 2**64}])
def test_audit_numbers_out_of_range_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(RecordMalformed):
        encode_record(replace(AUDIT, **change), KEYS)  # type: ignore[arg-type]


def test_record_id_depends_on_the_member() -> None:
    encoded = encode_record(MATERIAL, KEYS)
    assert record_id(7, encoded) != record_id(8, encoded)
    for member_id, record in ((0, encoded), (2**32, encoded), (-1, encoded), (7, encoded[:-1])):
        with pytest.raises(RecordMalformed):
            record_id(member_id, record)
