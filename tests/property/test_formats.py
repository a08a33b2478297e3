"""Properties of the codecs: round trips, flipped bits, random bytes."""

import json
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchor.base64url import parse_base64url, render_base64url
from anchor.canonical import canonical_bytes, parse_strict_json
from anchor.commitments import commit, open_fields, opening_from_json, opening_to_json, verify_opening
from anchor.entries import BatchEntry, decode_entry, decode_status, encode_entry, encode_status
from anchor.envelopes import RecipientKey, open_
from anchor.errors import (
    Base64urlMalformed,
    DeltasealError,
    EntryMalformed,
    EnvelopeMalformed,
    HeaderMalformed,
    MerkleInvalid,
    OpeningMalformed,
    OpeningMismatch,
    RecordMalformed,
    StatusMalformed,
    ValueNotCanonical,
)
from anchor.headers import decode_header
from anchor.merkle import (
    Frontier,
    consistency_path,
    inclusion_path,
    root,
    root_from_inclusion,
    verify_consistency,
)
from anchor.records import (
    AuditRecord,
    Flag,
    MaterialRecord,
    Record,
    ReuseRecord,
    Stream,
    decode_record,
    encode_record,
    parse_frame,
    record_id,
)
from anchor.tags import derive_domain_keys
from tests.unit import naive_formats as naive
from tests.unit import receipt_factory as made
from verifier.receipts import ReceiptMalformed, ReceiptVerdict, check_receipt, parse_receipt, render_receipt
from verifier.trust import TrustMalformed, parse_step, parse_trust

KEYS = derive_domain_keys(1, 1, bytes(range(32)))
RECIPIENT = RecipientKey.from_bytes(bytes(32))
SALT_KEY = bytes(range(32))

nfc = st.text(max_size=20).map(lambda text: unicodedata.normalize("NFC", text))
scalars = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | nfc
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(nfc, inner, max_size=4),
    max_leaves=12,
)
names = st.from_regex(r"[a-zA-Z][a-zA-Z0-9]{0,63}", fullmatch=True)
fields = st.dictionaries(names, values, min_size=1, max_size=12)
hashes = st.binary(min_size=32, max_size=32)
tags = st.binary(min_size=16, max_size=16)
days = st.dates(date(1970, 1, 2), date.max)
lines = st.integers(0, 255)
numbers = st.integers(0, 2**64 - 1)

materials = st.builds(
    MaterialRecord,
    *(hashes, st.just(1), st.just(1), lines, tags, tags, tags, st.none() | days, st.none() | days),
    st.integers(0, 3).map(Flag),
)
reuses = st.builds(ReuseRecord, hashes, st.just(1), st.just(1), lines, tags, tags, tags, days)
audits = st.builds(AuditRecord, hashes, st.just(1), st.just(1), lines, numbers, numbers)
records = materials | reuses | audits
entries = st.builds(
    BatchEntry,
    *(
        numbers,
        st.integers(1, 2**32 - 1),
        st.sampled_from(Stream),
        numbers,
        st.integers(1, 512),
        hashes,
        numbers,
    ),
)


def flipped(raw: bytes, bit: int) -> bytes:
    """Flip one bit of `raw`, counted round its length."""
    at = bit % (8 * len(raw))
    changed = bytearray(raw)
    changed[at // 8] ^= 1 << at % 8
    return bytes(changed)


bits = st.integers(0, 2**32)


@settings(deadline=None, max_examples=200)
@given(values)
def test_canonical_json_is_read_back_and_equals_the_naive_form(value: Any) -> None:
    encoded = canonical_bytes(value)
    assert encoded == naive.jcs(value)
    assert parse_strict_json(encoded, max_bytes=1 << 20) == value


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_base64url_has_one_form(raw: bytes) -> None:
    assert parse_base64url(render_base64url(raw)) == raw


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=12))
def test_text_that_parses_as_base64url_is_its_own_rendering(text: str) -> None:
    with suppress(Base64urlMalformed):
        assert render_base64url(parse_base64url(text)) == text


@settings(deadline=None, max_examples=150)
@given(records)
def test_records_are_read_back(record: Record) -> None:
    assert decode_record(encode_record(record, KEYS), KEYS) == record


@settings(deadline=None, max_examples=300)
@given(records, bits)
def test_flipped_bit_of_a_record_is_refused_or_changes_its_meaning(record: Record, bit: int) -> None:
    encoded = encode_record(record, KEYS)
    other = flipped(encoded, bit)
    assert record_id(7, other) != record_id(7, encoded)
    try:
        assert decode_record(other, KEYS) != record
    except DeltasealError as error:
        assert error.code in ("record_malformed", "key_material_invalid")


@settings(deadline=None, max_examples=100)
@given(entries)
def test_entries_are_read_back(entry: BatchEntry) -> None:
    assert decode_entry(encode_entry(entry)) == entry


@settings(deadline=None, max_examples=200)
@given(entries, bits)
def test_flipped_bit_of_an_entry_is_refused_or_changes_its_meaning(entry: BatchEntry, bit: int) -> None:
    with suppress(EntryMalformed):
        assert decode_entry(flipped(encode_entry(entry), bit)) != entry


@settings(deadline=None, max_examples=200)
@given(hashes)
def test_status_slots_are_refused_or_read_back(slot: bytes) -> None:
    try:
        assert encode_status(decode_status(slot)) == slot
    except StatusMalformed:
        assert slot[0] & 0x70


@settings(deadline=None, max_examples=100)
@given(fields, st.data())
def test_any_chosen_fields_open_and_equal_the_naive_commitment(committed: Any, draw: st.DataObject) -> None:
    chosen = draw.draw(st.sets(st.sampled_from(sorted(committed)), min_size=1))
    commitment = commit(committed, SALT_KEY)
    assert commitment == naive.commitment(committed, SALT_KEY)
    opening = opening_from_json(
        json.loads(json.dumps(opening_to_json(open_fields(committed, SALT_KEY, chosen))))
    )
    assert verify_opening(opening, commitment) == {name: committed[name] for name in chosen}


@settings(deadline=None, max_examples=100)
@given(fields, st.data(), bits)
def test_flipped_bit_of_an_opening_never_opens_the_commitment(
    committed: Any, draw: st.DataObject, bit: int
) -> None:
    """Leaf count and index only shape the tree, so a flip there may pass; then the fields are the same."""
    chosen = draw.draw(st.sets(st.sampled_from(sorted(committed)), min_size=1))
    text = canonical_bytes(opening_to_json(open_fields(committed, SALT_KEY, chosen)))
    try:
        opening = opening_from_json(parse_strict_json(flipped(text, bit), max_bytes=1 << 20))
        shown = verify_opening(opening, commit(committed, SALT_KEY))
    except (ValueNotCanonical, OpeningMalformed, OpeningMismatch):
        return
    assert shown == {name: committed[name] for name in chosen}


@settings(deadline=None, max_examples=60)
@given(st.lists(hashes, min_size=1, max_size=70), st.data())
def test_trees_equal_the_naive_ones(leaves: list[bytes], draw: st.DataObject) -> None:
    index = draw.draw(st.integers(0, len(leaves) - 1))
    first = draw.draw(st.integers(0, len(leaves)))
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    head = naive.tree_head(leaves)
    assert root(leaves) == frontier.root() == head
    assert root_from_inclusion(leaves[index], index, len(leaves), inclusion_path(leaves, index)) == head
    verify_consistency(first, len(leaves), root(leaves[:first]), head, consistency_path(leaves, first))


PARSERS: list[tuple[Callable[[bytes], object], type[DeltasealError]]] = [
    (parse_frame, RecordMalformed),
    (lambda raw: decode_record(raw[:32] + b"\0\1\0\1" + raw[36:], KEYS), RecordMalformed),
    (decode_entry, EntryMalformed),
    (decode_status, StatusMalformed),
    (Frontier.decode, MerkleInvalid),
    (parse_receipt, ReceiptMalformed),
    (parse_trust, TrustMalformed),
    (parse_step, TrustMalformed),
    (decode_header, HeaderMalformed),
    (lambda raw: open_(RECIPIENT, info=b"", sealed=raw), EnvelopeMalformed),
    (lambda raw: parse_strict_json(raw, max_bytes=1000), ValueNotCanonical),
]


@pytest.mark.parametrize(("parse", "error"), PARSERS)
@pytest.mark.parametrize("length", [None, 32, 65, 96])
def test_random_bytes_raise_only_the_typed_error(
    parse: Callable[[bytes], object], error: type[DeltasealError], length: int | None
) -> None:
    @settings(deadline=None, max_examples=60)
    @given(st.binary(min_size=length or 0, max_size=length or 200))
    def run(raw: bytes) -> None:
        with suppress(error):
            parse(raw)

    run()


@settings(deadline=None, max_examples=150)
@given(values)
def test_random_json_raises_only_the_typed_error(value: Any) -> None:
    with pytest.raises(OpeningMalformed):
        opening_from_json(value)
    with pytest.raises(ReceiptMalformed):
        parse_receipt(canonical_bytes(value))


RECEIPT = made.receipt()
SHOWN = render_receipt(RECEIPT)
AT = datetime(2026, 12, 1, tzinfo=UTC)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value inside a JSON value."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(below for step, inner in steps for below in paths(inner, (*path, step)))]


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a copy of `value` with `new` at `path`."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(paths(SHOWN)), values)
def test_any_value_put_anywhere_in_a_receipt_raises_only_the_typed_error(path: Any, value: Any) -> None:
    try:
        receipt = parse_receipt(canonical_bytes(replaced(SHOWN, path, value)))
    except ReceiptMalformed:
        return
    check_receipt(receipt, made.TRUST, at=AT)


@settings(deadline=None, max_examples=400)
@given(bits)
def test_flipped_bit_of_a_receipt_never_passes_as_another_document(bit: int) -> None:
    try:
        receipt = parse_receipt(flipped(canonical_bytes(SHOWN), bit))
    except ReceiptMalformed:
        return
    if check_receipt(receipt, made.TRUST, at=AT).verdict is ReceiptVerdict.VALID:
        # Every byte is under a hash, a seal or a rule; what differs can only be how the same opening is written.
        shown = render_receipt(receipt)
        assert {key for key in SHOWN if shown[key] != SHOWN[key]} <= {"opening"}
        assert [(each.name, each.value) for each in receipt.opening.opened] == [
            (each.name, each.value) for each in RECEIPT.opening.opened
        ]
