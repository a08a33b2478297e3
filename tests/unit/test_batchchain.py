"""The links between synced batches and the head file: which loss is noticed, which is allowed."""

import hashlib
from pathlib import Path

import pytest

from anchor.keyvalue import Delete, Put
from node.errors import StoreDamaged, StoreRolledBack
from node.store.batchchain import (
    RING,
    BatchChain,
    ChainEntry,
    HeadFile,
    batch_digest,
    check_head,
    check_ring,
    genesis_entry,
)

STORE_ID = bytes(range(16))


def written(pattern: str) -> list[ChainEntry]:
    """Return the entries of a store: genesis, then S a synced and u an unsynced batch each."""
    chain = BatchChain(genesis_entry(STORE_ID))
    entries = [chain.latest]
    for kind in pattern:
        entry = chain.follow(hashlib.sha256(bytes([len(entries) % 256])).digest(), sealed_rows=2)
        chain.advance(entry, synced=kind == "S")
        entries.append(entry)
    return entries


def ring_of(entries: list[ChainEntry]) -> list[ChainEntry]:
    """Return what the ring still holds of them."""
    return list({entry.slot: entry for entry in entries}.values())


def digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def test_entry_round_trips_and_other_lengths_are_refused() -> None:
    (*_, entry) = written("SuS")
    assert ChainEntry.decode(entry.encode()) == entry
    for wrong in (b"", entry.encode()[:-1], entry.encode() + b"\x00"):
        with pytest.raises(StoreDamaged):
            ChainEntry.decode(wrong)


def test_whole_chain_passes() -> None:
    for pattern in ("", "S", "u", "SSS", "SuuSuS", "uuu"):
        entries = written(pattern)
        assert check_head(check_ring(entries), (0, entries[0].head)) == entries[-1]


def test_missing_synced_batch_is_noticed() -> None:
    entries = written("SSuS")
    for lost in (1, 2):
        with pytest.raises(StoreDamaged):
            check_ring(entries[:lost] + entries[lost + 1 :])


def test_missing_unsynced_batch_is_allowed() -> None:
    entries = written("SuuSu")
    assert max(check_ring([entries[0], entries[1], entries[4]])) == 4


def test_replaced_synced_batch_is_noticed() -> None:
    entries = written("SSS")
    other = ChainEntry(2, bytes(32), 1, entries[1].head, 4)
    with pytest.raises(StoreDamaged):
        check_ring([entries[0], entries[1], other, entries[3]])


def test_overwritten_ring_slots_are_not_missed() -> None:
    entries = written("S" * (RING + 20))
    held = ring_of(entries)
    assert len(held) == RING
    latest = check_head(check_ring(held), (RING + 20, entries[-1].head))
    assert latest.sequence == RING + 20
    with pytest.raises(StoreDamaged):
        check_ring([entry for entry in held if entry.sequence != RING])


def test_head_file_far_behind_is_refused_only_if_its_batch_must_still_be_there() -> None:
    entries = written("S" + "u" * (RING + 5))
    assert check_head(check_ring(ring_of(entries)), (1, entries[1].head)).sequence == RING + 6
    with pytest.raises(StoreRolledBack):
        check_head(check_ring(written("SS")), (1, bytes(32)))


def test_database_behind_its_head_file_is_refused() -> None:
    entries = written("SSSS")
    with pytest.raises(StoreRolledBack) as caught:
        check_head(check_ring(entries[:3]), (4, entries[4].head))
    assert caught.value.facts == {"found": 2, "expected": 4}


def test_batch_digest_tells_batches_apart() -> None:
    batches: list[list[Put | Delete]] = [
        [Put(b"a", b"b")],
        [Put(b"ab", b"")],
        [Put(b"", b"ab")],
        [Delete(b"a")],
        [Put(b"a", b"")],
        [Put(b"a", b"b"), Put(b"a", b"b")],
        [],
    ]
    digests = {batch_digest(batch, sealed=False) for batch in batches}
    assert len(digests) == len(batches)


def test_digest_of_sealed_batch_covers_key_length_and_tag() -> None:
    base = batch_digest([Put(b"k", bytes(100) + b"t" * 16)], sealed=True)
    others = [Put(b"l", bytes(100) + b"t" * 16), Put(b"k", bytes(101) + b"t" * 16), Put(b"k", bytes(116))]
    assert all(batch_digest([other], sealed=True) != base for other in others)


def test_stores_have_chains_of_their_own() -> None:
    assert genesis_entry(bytes(16)).head != genesis_entry(STORE_ID).head


def test_head_file_remembers_the_newest_save(tmp_path: Path) -> None:
    path, entries = tmp_path / "HEAD", written("SSS")
    head = HeadFile.create(path, entries[0], store_id=STORE_ID, authenticate=digest)
    for entry in entries[1:]:
        head.save(entry)
        reread = HeadFile(path, store_id=STORE_ID, authenticate=digest)
        assert reread.remembered == (entry.sequence, entry.head)
        reread.close()
    head.close()


def test_head_file_under_another_key_or_of_another_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "HEAD"
    HeadFile.create(path, written("")[0], store_id=STORE_ID, authenticate=digest).close()
    with pytest.raises(StoreDamaged):
        HeadFile(path, store_id=STORE_ID, authenticate=lambda content: digest(b"other" + content))
    with pytest.raises(StoreDamaged):
        HeadFile(path, store_id=bytes(16), authenticate=digest)
