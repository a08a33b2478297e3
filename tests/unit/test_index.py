"""The chain index: what it finds, what it refuses, and that any block can be taken back."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import date

import pytest

from anchor.chain.finality import FinalPoint
from anchor.entries import StatusFlag
from anchor.keyvalue import Delete, Put
from anchor.merkle import Frontier, leaf_hash, root_from_inclusion
from anchor.records import AuditRecord, Flag, ReuseRecord, Stream, encode_record
from anchor.tags import Tag
from tests.unit.chain_factory import (
    CITY,
    CITY_2,
    FIRM,
    HEALTH,
    OTHER_FIRM,
    SHA,
    T0,
    Chain,
    admitted,
    agency_value,
    commitment,
    content,
    document_revoked,
    entry_key,
    index_of,
    make_final,
    material,
    names,
    published,
    published_text,
    ring,
    status,
    type_value,
)
from tests.unit.keyvalue_suite import MemoryKeyValue
from verifier import events, rows
from verifier.errors import (
    BlockOutOfOrder,
    IndexCorrupt,
    IndexForeign,
    LogsInvalid,
    LogsMissing,
    RollbackTooDeep,
)
from verifier.index import ChainIndex, Identity
from verifier.keyring import KeyRing

RESERVED_BIT = 57 + 38  # The last byte of a MATERIAL record's body must be zero.


def test_claim_is_found_by_content_subject_and_document() -> None:
    chain = Chain()
    chain.append(3, material("m", document_no="No 1", expires_on=date(2030, 1, 1)))
    index = index_of(chain)
    tags = (
        (index.claims_by_content, CITY.content_tag(SHA)),
        (index.claims_by_subject, CITY.subject_tag(FIRM.id_type, FIRM.id, "M1002")),
        (index.claims_by_document, CITY.doc_tag("M1002", "No 1")),
    )
    for find, tag in tags:
        (claim,) = find([tag])
        assert (claim.member_id, claim.commitment, claim.positions) == (3, commitment("m"), ((0, 0),))
        assert (claim.block_number, claim.block_time, claim.blocks) == (1, T0 + 1, (1,))
        assert claim.records[0].expires_on == date(2030, 1, 1)
    assert index.claims_by_content(content(sha256=bytes(32))) == []


def test_claim_about_two_subjects_is_one_claim_with_two_records() -> None:
    chain = Chain()
    chain.append(
        3, material("m"), material("m", subject=OTHER_FIRM, line=1), material("other", sha256=bytes(32))
    )
    (claim,) = index_of(chain).claims_by_content(content())
    assert claim.positions == ((0, 0), (0, 1))


def test_claims_of_one_file_come_in_the_order_of_sealing() -> None:
    chain = Chain()
    for name in "abc":
        chain.append(3, material(name))
    assert [one.commitment for one in index_of(chain).claims_by_content(content())] == [
        commitment(name) for name in "abc"
    ]


@pytest.mark.parametrize("count", [8, 9, 40])
def test_tag_with_many_positions_gives_all_of_them(count: int) -> None:
    chain = Chain()
    for start in range(0, count, 20):
        chain.append(3, *[material(number) for number in range(start, min(count, start + 20))])
    index = index_of(chain)
    assert len(index.claims_by_content(content())) == count
    assert len(index.claims_by_subject([CITY.subject_tag(FIRM.id_type, FIRM.id, "M1002")])) == count


def test_record_without_subject_has_no_subject_row() -> None:
    chain = Chain()
    chain.append(3, material("m", subject=None))
    index = index_of(chain)
    assert index.claims_by_subject([Tag(bytes(16))]) == []
    assert len(index.claims_by_content(content())) == 1


def test_batch_gives_back_records_place_and_proof() -> None:
    chain = Chain()
    records = [material(number) for number in range(35)]
    chain.append(3, *records)
    index = index_of(chain)
    batch = index.batch(0)
    assert batch is not None
    assert (batch.entry, batch.records) == (chain.head.events[0].entry, tuple(records))
    assert (batch.block_number, batch.block_hash) == (1, chain.head.hash)
    for place in (0, 15, 16, 34):
        record, path = index.record_at(0, place), index.inclusion(0, place)
        assert record == records[place] and path is not None
        leaf = leaf_hash((3).to_bytes(4, "big") + record)
        assert index.record_id(0, place) == leaf
        assert root_from_inclusion(leaf, place, 35, path) == batch.entry.root
    for lost in ((0, 35), (1, 0)):
        assert index.record_at(*lost) is index.inclusion(*lost) is index.record_id(*lost) is None


def test_log_root_is_the_tree_of_all_batches() -> None:
    chain = Chain()
    tree = Frontier()
    for number in range(11):
        block = chain.append(number % 3 + 1, material(number))
        entry = block.events[0].entry
        packed = b"".join(
            value.to_bytes(size, "big")
            for value, size in (
                (entry.id, 8),
                (entry.member_id, 4),
                (entry.stream, 1),
                (entry.seq, 8),
                (entry.size, 4),
            )
        )
        tree.append(leaf_hash(packed + entry.root + entry.time.to_bytes(8, "big")))
    index = index_of(chain)
    assert (index.log_root(), index.log_size()) == (tree.root(), 11)


# Hostile members


def test_copied_commitment_is_passed_over_and_counted() -> None:
    chain = Chain()
    chain.append(3, material("m"))
    chain.append(4, material("m"), material("own", sha256=bytes(32)))
    index = index_of(chain)
    (claim,) = index.claims_by_content(content())
    assert (claim.member_id, claim.positions) == (3, ((0, 0),))
    assert index.copied_commitments() == 1
    assert len(index.claims_by_content(content(sha256=bytes(32)))) == 1


def test_copy_is_passed_over_in_every_stream_and_without_keys() -> None:
    chain = Chain()
    chain.append(3, material("m", keys=HEALTH))
    chain.append(4, encode_record(AuditRecord(commitment("m"), 1, 1, 0, 1, 1), CITY), stream=Stream.AUDIT)
    index = index_of(chain, CITY)
    assert index.copied_commitments() == 1


@pytest.mark.parametrize("flip", [RESERVED_BIT, RESERVED_BIT - 1, 38 + 48, 38 + 52])
def test_record_with_malformed_plain_bytes_is_passed_over_and_counted(flip: int) -> None:
    chain = Chain()
    record = bytearray(material("bad"))
    record[flip] ^= 0x80
    chain.append(3, bytes(record), material("good"))
    index = index_of(chain)
    assert [one.commitment for one in index.claims_by_content(content())] == [commitment("good")]
    assert index.claim(commitment("bad")) is None
    assert index.counts().malformed == 1


def test_claim_keeps_a_bounded_number_of_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("verifier.projection._CLAIM_ROW_BYTES", 4 + 3 * 10)
    chain = Chain()
    chain.append(3, *[material("m", line=line) for line in range(5)])
    index = index_of(chain)
    claim = index.claim(commitment("m"))
    assert claim is not None and len(claim.records) == 3
    assert index.counts().overlong == 2


def test_undecodable_catalogue_event_is_counted_only() -> None:
    chain = Chain()
    chain.add()
    chain.blocks[-1] = replace(chain.head, unreadable=2)
    assert index_of(chain).counts().malformed == 2


# Answers that cannot be true


def bad_root(event: events.BatchAppended) -> events.BatchAppended:
    return replace(event, entry=replace(event.entry, root=bytes(32)))


def lost_record(event: events.BatchAppended) -> events.BatchAppended:
    return replace(event, records=event.records[:-96])


def no_records(event: events.BatchAppended) -> events.BatchAppended:
    return replace(event, records=b"", entry=replace(event.entry, size=0))


def torn_record(event: events.BatchAppended) -> events.BatchAppended:
    return replace(event, records=event.records[:-1])


def other_member(event: events.BatchAppended) -> events.BatchAppended:
    return replace(event, entry=replace(event.entry, member_id=9))


def swapped(event: events.BatchAppended) -> events.BatchAppended:
    return replace(event, records=event.records[96:] + event.records[:96])


@pytest.mark.parametrize("spoil", [bad_root, lost_record, no_records, torn_record, other_member, swapped])
def test_batch_that_does_not_lead_to_its_root_is_refused(
    spoil: Callable[[events.BatchAppended], events.BatchAppended],
) -> None:
    chain = Chain()
    chain.add(spoil(chain.batch(3, material("a"), material("b"))))
    index = ChainIndex(MemoryKeyValue())
    index.apply(chain.blocks[0])
    with pytest.raises(LogsInvalid):
        index.apply(chain.blocks[1])
    assert index.cursor().number == 0  # type: ignore[union-attr]


def test_gap_in_the_batches_is_missing_and_a_repeat_invalid() -> None:
    chain = Chain()
    chain.append(3, material("a"))
    index = index_of(chain)
    first = chain.head.events[0]
    for wrong, error in ((2, LogsMissing), (0, LogsInvalid)):
        chain.add(replace(first, entry=replace(first.entry, id=wrong)))
        with pytest.raises(error):
            index.apply(chain.head)
        chain.fork(1)
    assert index.counts().batches == 1


def test_event_that_contradicts_itself_is_refused() -> None:
    wrong: tuple[events.Event, ...] = (
        events.StatusChanged(3, commitment("m"), b"\x40" + bytes(31)),
        events.DocumentRevoked(3, bytes(20), b"\x40" + bytes(31)),
        events.MemberStateChanged(9, 2),
        events.MemberStateChanged(1, 9),
        replace(published("agency", "11310000FAKE000212", agency_value(1)), digest=bytes(32)),
        replace(published("agency", "11310000FAKE000212", agency_value(1)), kind=77),
        replace(published("agency", "11310000FAKE000212", agency_value(1)), state=4),
    )
    for event in wrong:
        chain = Chain()
        chain.add(admitted(1))
        index = index_of(chain)
        with pytest.raises(LogsInvalid):
            index.apply(chain.add(event))


@pytest.mark.parametrize("final", [False, True])
def test_block_that_does_not_follow_is_refused(final: bool) -> None:
    chain = Chain()
    chain.add()
    index = index_of(chain)
    after = chain.add()
    for wrong in (chain.blocks[1], replace(after, parent_hash=bytes(32))):
        with pytest.raises(BlockOutOfOrder):
            index.apply(wrong, final=final)


def test_only_a_final_block_may_leave_out_others() -> None:
    chain = Chain()
    for _ in range(5):
        chain.add()
    index = ChainIndex(MemoryKeyValue())
    index.apply(chain.blocks[0])
    with pytest.raises(BlockOutOfOrder):
        index.apply(chain.blocks[4])
    index.apply(chain.blocks[4], final=True)
    index.apply(chain.blocks[5])
    assert index.cursor().number == 5  # type: ignore[union-attr]


# Statuses


def test_newest_status_is_read() -> None:
    chain = Chain()
    chain.append(3, material("m"))
    chain.add(status(3, "m", StatusFlag.SUSPENDED), status(3, "m", StatusFlag.REVOKED, reason=4))
    index = index_of(chain)
    claim = index.claim(commitment("m"))
    assert claim is not None and (claim.status.flags, claim.status.reason) == (StatusFlag.REVOKED, 4)
    assert index.status(4, commitment("m")).flags == 0


def test_suspension_counts_until_its_end_is_final() -> None:
    chain = Chain()
    chain.append(3, material("m"))
    chain.add(status(3, "m", StatusFlag.SUSPENDED))
    index = index_of(chain)
    index.apply(chain.add(status(3, "m", StatusFlag(0))))
    assert index.status(3, commitment("m")).flags & StatusFlag.SUSPENDED
    make_final(index, chain)
    assert not index.status(3, commitment("m")).flags


def test_document_revocations_are_kept_by_member() -> None:
    chain = Chain()
    chain.add(document_revoked(3, "No 1"), document_revoked(4, "No 1"), document_revoked(3, "No 1"))
    found = index_of(chain).document_revocations(1, 1, CITY.doc_tag("M1002", "No 1"))
    assert sorted((member, one.flags, one.reason) for member, one in found) == [(3, 1, 7), (4, 1, 7)]
    assert index_of(chain).document_revocations(1, 1, CITY.doc_tag("M1002", "No 2")) == []


def test_consumption_is_kept_and_cleared() -> None:
    chain = Chain()
    chain.add(events.Consumed(b"n" * 32, 3, b"u" * 32))
    index = index_of(chain)
    found = index.consumption(b"n" * 32)
    assert found is not None
    assert (found.member_id, found.use_commitment, found.time) == (3, b"u" * 32, T0 + 1)
    index.apply(chain.add(events.ConsumptionCleared(b"n" * 32)))
    assert index.consumption(b"n" * 32) is None


# Keys that come later


def test_records_without_keys_are_opaque_until_they_come() -> None:
    chain = Chain()
    chain.append(3, material("a"), material("b", keys=HEALTH), material("c", keys=HEALTH))
    chain.append(3, material("d", keys=HEALTH), material("e", keys=CITY_2))
    index = index_of(chain, CITY)
    assert index.opaque() == {(2, 1): 3, (1, 2): 1}
    assert index.claim(commitment("b")) is None
    assert index.learn(ring(CITY, HEALTH)) == 3
    assert index.opaque() == {(1, 2): 1}
    assert len(index.claims_by_content(content(HEALTH))) == 3
    assert index.learn(ring(CITY, HEALTH)) == 0


def test_learning_finds_what_knowing_from_the_start_finds() -> None:
    chain = Chain()
    for number in range(6):
        chain.append(3, *[material((number, one), keys=(CITY, HEALTH)[one % 2]) for one in range(20)])
    late, early = index_of(chain, CITY), index_of(chain, CITY, HEALTH)
    late.learn(ring(CITY, HEALTH))
    assert late.counts() == early.counts()
    for keys in (CITY, HEALTH):
        subject_tags = [keys.subject_tag(FIRM.id_type, FIRM.id, "M1002")]
        assert late.claims_by_content(content(keys)) == early.claims_by_content(content(keys))
        assert late.claims_by_subject(subject_tags) == early.claims_by_subject(subject_tags)


def test_learning_gives_up_blocks_that_are_not_final_and_they_come_again() -> None:
    chain = Chain()
    chain.append(3, material("a", keys=HEALTH))
    index = index_of(chain, CITY)
    index.apply(chain.append(3, material("b", keys=HEALTH)))
    assert index.learn(ring(CITY, HEALTH)) == 1
    assert index.cursor().number == 1  # type: ignore[union-attr]
    index.apply(chain.head)
    index.rollback(1)
    assert [one.commitment for one in index.claims_by_content(content(HEALTH))] == [commitment("a")]


# Taking back


def busy_block(chain: Chain, number: int) -> events.IndexedBlock:
    """A block that touches every kind of row."""
    claim = f"claim {number}"
    agency = "11310000FAKE000212"
    return chain.add(
        chain.batch(3, material(claim), material("hot", line=number), material(number, keys=HEALTH)),
        chain.batch(4, material(claim), ahead=1),
        status(3, "hot", StatusFlag.SUSPENDED if number % 2 else StatusFlag(0)),
        document_revoked(3 + number % 2, "No 1"),
        events.Consumed(bytes([number]) * 32, 3, b"u" * 32),
        events.ConsumptionCleared(bytes([number - 1]) * 32),
        admitted(10 + number),
        events.MemberStateChanged(10 + number, 2),
        events.MemberAccountRotated(10 + number, bytes([100 + number]) * 20),
        events.MemberSuccessorNamed(10 + number, 1),
        events.MemberEndpointSet(10 + number, "https://new.example"),
        events.MemberHpkeKeySet(10 + number, b"k" * 40),
        events.EnvelopePublished(1, number, 10, b"sealed"),
        events.SignersSet(number, (b"s" * 20, b"t" * 20)),
        published("agency", agency, agency_value(number), version=number, state=1),
        events.EntryStateChanged(entry_key("agency", agency), number, 2),
        events.EntryOwnerChanged(entry_key("agency", agency), number),
    )


def contents(kv: MemoryKeyValue) -> dict[bytes, bytes]:
    return dict(kv.scan(b""))


def test_rollback_restores_every_row_byte_for_byte() -> None:
    chain, kv = Chain(), MemoryKeyValue()
    index = index_of(chain, CITY, kv=kv)
    seen = []
    for number in range(1, 13):
        seen.append(contents(kv))
        index.apply(busy_block(chain, number))
    for number in range(12, 0, -1):
        index.rollback(number - 1)
        assert contents(kv) == seen[number - 1]


def test_rollback_below_the_final_block_is_refused() -> None:
    chain = Chain()
    for number in range(1, 5):
        busy_block(chain, number)
    index = index_of(chain, CITY, final=False)
    make_final(index, chain, 2)
    with pytest.raises(RollbackTooDeep):
        index.rollback(1)
    assert index.cursor().number == 2  # type: ignore[union-attr]


def test_final_point_moves_forward_only_and_names_an_indexed_block() -> None:
    chain = Chain()
    for _ in range(4):
        chain.add(admitted(len(chain.blocks)))
    index = index_of(chain, final=False)
    make_final(index, chain, 3)
    make_final(index, chain, 2)
    assert index.final_point() == FinalPoint(3, chain.blocks[3].hash, chain.blocks[3].time, "operator")
    for wrong in (FinalPoint(5, bytes(32), T0, "operator"), FinalPoint(4, bytes(32), T0, "operator")):
        with pytest.raises(BlockOutOfOrder):
            index.final(wrong)
    make_final(index, chain, 4)
    assert not list(index._kv.scan(rows.UNDOS))


def test_index_rebuilt_from_nothing_is_the_same() -> None:
    chain, first, second = Chain(), MemoryKeyValue(), MemoryKeyValue()
    for number in range(1, 8):
        busy_block(chain, number)
    index = index_of(chain, CITY, HEALTH, kv=first)
    index_of(chain, CITY, HEALTH, kv=second)
    assert contents(first) == contents(second)
    index.clear()
    assert contents(first) == {}
    for block in chain.blocks:
        index.apply(block, final=True)
    make_final(index, chain)
    assert contents(first) == contents(second)


class StopsAfter(MemoryKeyValue):
    """Fails after a number of writes, as a process does that is killed between two of them."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self.left = writes

    def write(self, ops: list[Put | Delete], *, sync: bool) -> None:  # type: ignore[override]
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        super().write(ops, sync=sync)


def test_clearing_that_was_cut_short_is_finished_when_the_index_is_opened() -> None:
    chain, kv = Chain(), StopsAfter(1000)
    for number in range(1, 4):
        busy_block(chain, number)
    index = index_of(chain, CITY, kv=kv)
    kv.left = 1
    with pytest.raises(KeyboardInterrupt):
        index.clear()
    kv.left = 1000
    assert contents(kv)
    ChainIndex(kv)
    assert contents(kv) == {}


def test_index_of_another_chain_is_refused() -> None:
    kv = MemoryKeyValue()
    mine = Identity(1, 310000, b"g" * 32, *[bytes([number]) * 20 for number in range(4)])
    ChainIndex(kv).bind(mine)
    ChainIndex(kv).bind(mine)
    others = ({"layout": 2}, {"genesis": b"h" * 32}, {"ledger": b"l" * 20}, {"chain_id": 1})
    for other in (rows.replace(mine, **changes) for changes in others):
        with pytest.raises(IndexForeign):
            ChainIndex(kv).bind(other)


@pytest.mark.parametrize(
    "key",
    [rows.CURSOR, rows.FRONTIER, rows.COUNTS, rows.batch_key(0), rows.claim_row_key(commitment("m"))],
)
def test_damaged_row_is_named_and_never_read_as_something(key: bytes) -> None:
    chain, kv = Chain(), MemoryKeyValue()
    chain.append(3, material("m"))
    index = index_of(chain, kv=kv)
    value = kv.get(key)
    assert value is not None
    kv.write([Put(key, value[:-1] if len(value) < 200 else value[:50])], sync=False)
    with pytest.raises(IndexCorrupt):
        index.cursor()
        index.claims_by_content(content())
        index.apply(chain.append(3, material("next")))


# Members and catalogue


def test_member_is_as_the_council_and_its_own_acts_left_it() -> None:
    chain = Chain()
    chain.add(
        admitted(1, valid_until=T0 + 100),
        events.MemberEndpointSet(1, "https://moved.example"),
        events.MemberAccountRotated(1, b"n" * 20),
        events.MemberSuccessorNamed(1, 2),
    )
    index = index_of(chain)
    member = index.member(1)
    assert member is not None
    assert (member.role, member.area, member.uscc) == ("district", "310104", "12310104FAKE0011X9")
    assert (member.endpoint, member.successor, member.state) == ("https://moved.example", 2, "active")
    assert index.member_by_account(b"n" * 20) == member
    assert index.member_by_account(b"\x01" * 20) is None
    assert (member.is_active(T0), member.is_active(T0 + 100)) == (True, False)
    index.apply(chain.add(events.MemberStateChanged(1, 2)))
    assert [one.is_active(T0) for one in index.members()] == [False]
    assert index.member(2) is None


def test_envelopes_and_signers_are_listed() -> None:
    chain = Chain()
    chain.add(
        events.EnvelopePublished(1, 0, 3, b"consume"),
        events.EnvelopePublished(1, 1, 3, b"epoch"),
        events.EnvelopePublished(1, 1, 4, b"other"),
        events.SignersSet(0, (b"a" * 20, b"b" * 20)),
    )
    index = index_of(chain)
    assert index.envelopes_for(3) == [(1, 0, b"consume"), (1, 1, b"epoch")]
    assert index.signer_sets() == [(0, (b"a" * 20, b"b" * 20))]


def test_entry_is_the_newest_approved_version() -> None:
    chain, key = Chain(), entry_key("materialType", "M1002")
    chain.add(published("materialType", "M1002", type_value(), state=1))
    index = index_of(chain)
    assert index.entry("materialType", "M1002") is None
    index.apply(chain.add(events.EntryStateChanged(key, 1, 2)))
    index.apply(chain.add(published("materialType", "M1002", type_value(level="L2"), version=2, state=1)))
    assert index.entry("materialType", "M1002").version == 1  # type: ignore[union-attr]
    index.apply(chain.add(events.EntryStateChanged(key, 2, 2)))
    assert index.entry("materialType", "M1002").version == 2  # type: ignore[union-attr]
    assert [one.state for one in index.entry_versions("materialType", "M1002")] == ["approved"] * 2
    index.apply(chain.add(events.EntryStateChanged(key, 2, 3)))
    assert index.entry("materialType", "M1002") is None
    assert index.entry("materialType", "M1002", 1).state == "approved"  # type: ignore[union-attr]
    assert index.last_approved("materialType", "M1002").state == "retired"  # type: ignore[union-attr]


def test_retired_draft_leaves_the_approved_version_in_force() -> None:
    chain, key = Chain(), entry_key("materialType", "M1002")
    chain.add(published("materialType", "M1002", type_value()))
    chain.add(published("materialType", "M1002", type_value(level="L2"), version=2, state=1))
    chain.add(events.EntryStateChanged(key, 2, 3))
    assert index_of(chain).entry("materialType", "M1002").version == 1  # type: ignore[union-attr]


def test_entry_tells_where_it_is_anchored() -> None:
    chain = Chain()
    block = chain.add(
        admitted(1), published("agency", "11310000FAKE000212", agency_value(1), log_index=1, owner=5)
    )
    found = index_of(chain).entry("agency", "11310000FAKE000212")
    assert found is not None
    assert (found.block_number, found.block_hash, found.time, found.log_index) == (
        1,
        block.hash,
        block.time,
        1,
    )
    assert (found.owner, found.digest) == (5, hashlib.sha256(found.text).digest())


def test_entries_are_listed_in_pages() -> None:
    chain = Chain()
    codes = [f"M{number:04d}" for number in (7, 3, 5, 1)]
    chain.add(*[published("materialType", code, type_value(name=names(code))) for code in codes])
    chain.add(published("materialType", "M0009", type_value(), state=1))
    index = index_of(chain)
    first = index.entries("materialType", limit=3)
    assert [one.code for one in first] == ["M0001", "M0003", "M0005"]
    assert [one.code for one in index.entries("materialType", after="M0005")] == ["M0007", "M0009"]
    assert [one.code for one in index.entries("materialType", after="M0005", approved=True)] == ["M0007"]
    assert index.entries("agency") == index.entries("nonsense") == []


def test_state_of_an_entry_that_could_not_be_decoded_changes_nothing() -> None:
    chain = Chain()
    chain.add(events.EntryStateChanged(b"k" * 32, 1, 2), events.EntryOwnerChanged(b"k" * 32, 4))
    assert index_of(chain).entries("agency") == []


def test_text_that_is_no_entry_is_kept_as_it_is() -> None:
    chain = Chain()
    chain.add(published_text("matter", "any code", b"\xff not json"))
    assert index_of(chain).entry("matter", "any code").text == b"\xff not json"  # type: ignore[union-attr]


def test_generations_tell_of_changes() -> None:
    chain = Chain()
    index = index_of(chain)
    before = (index.catalog_generation, index.member_generation)
    index.apply(chain.append(3, material("m")))
    assert (index.catalog_generation, index.member_generation) == before
    index.apply(chain.add(admitted(1)))
    assert (index.catalog_generation, index.member_generation) == (before[0], before[1] + 1)
    index.apply(chain.add(published("agency", "11310000FAKE000212", agency_value(1))))
    assert index.catalog_generation == before[0] + 1


def test_reuse_and_audit_records_are_stored_and_are_no_claims() -> None:
    chain = Chain()
    reuse = ReuseRecord(
        commitment("r"), 1, 1, 0, Tag(b"1" * 16), Tag(b"2" * 16), Tag(b"3" * 16), date(2026, 1, 1)
    )
    chain.append(3, encode_record(reuse, CITY), stream=Stream.REUSE)
    index = index_of(chain)
    assert index.record_at(0, 0) == encode_record(reuse, CITY)
    assert index.claim(commitment("r")) is None
    assert index.counts().indexed == 0


def test_ring_grows_and_never_changes_a_key() -> None:
    held = KeyRing()
    assert held.add(CITY) and not held.add(replace(CITY, tag_key=b"x" * 32))
    assert held.get(1, 1) == CITY
    assert held.add(CITY_2) and held.newest(1) == CITY_2 and held.newest(2) is None
    assert held.newest_of_any() == CITY_2 and KeyRing().newest_of_any() is None


def test_asserted_flag_is_read() -> None:
    chain = Chain()
    chain.append(3, material("m", flags=Flag.ASSERTED))
    assert index_of(chain).claim(commitment("m")).records[0].flags is Flag.ASSERTED  # type: ignore[union-attr]
