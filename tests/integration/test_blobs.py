"""Encrypted chunks on a real store: any size comes back, any harm is noticed, no orphan stays."""

import gc
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import plyvel
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from anchor.keyvalue import Delete, Put
from node.errors import BlobDamaged, BlobTruncated, RowMalformed, StoreClosed, StoreFull
from node.store import rows
from node.store.blobs import (
    CHUNK_BYTES,
    BlobSummary,
    BlobWriter,
    condemn,
    delete_blob,
    read_blob,
    sweep_forsaken,
    sweep_orphans,
)
from node.store.leveldb import LevelStore
from tests.integration import store_factory as make
from tests.unit.keyvalue_suite import MemoryKeyValue

KEY = bytes(range(100, 132))
CONTENT = random.Random(1).randbytes(3 * CHUNK_BYTES + 12345)
LONG = CONTENT * 2  # more than one batch of chunks
FULL = random.Random(2).randbytes(2 * CHUNK_BYTES)


class MemoryChunks(MemoryKeyValue):
    """A dictionary that lists keys and notes what each write brought."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[tuple[Sequence[Put | Delete], bool]] = []

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        return (key for key, _ in self.scan(prefix))

    def write(self, ops: Sequence[Put | Delete], *, sync: bool) -> None:
        super().write(ops, sync=sync)
        self.batches.append((ops, sync))


def stored(
    store: LevelStore | MemoryChunks, blob_id: str, content: bytes, *, piece_bytes: int = 1 << 20
) -> BlobSummary:
    """Write a blob in pieces of a size."""
    writer = BlobWriter(store, blob_id, KEY)
    for at in range(0, len(content), piece_bytes):
        writer.write(content[at : at + piece_bytes])
    return writer.finish()


def read(store: LevelStore | MemoryChunks, blob_id: str, *, first: int = 0, last: int | None = None) -> bytes:
    return b"".join(read_blob(store, blob_id, KEY, first=first, last=last))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LevelStore]:
    with make.made(tmp_path / "store") as store:
        yield store


@pytest.fixture
def chunks() -> MemoryChunks:
    chunks = MemoryChunks()
    stored(chunks, "a", CONTENT)
    stored(chunks, "full", FULL)
    return chunks


SIZES = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 7]


@pytest.mark.parametrize("size", SIZES)
def test_file_of_any_size_comes_back(store: LevelStore, size: int) -> None:
    summary = stored(store, "b", CONTENT[:size])
    assert summary == BlobSummary(max(1, -(-size // CHUNK_BYTES)), size)
    assert read(store, "b") == CONTENT[:size]


@pytest.mark.parametrize("piece_bytes", [65_536, 1_000_003, CHUNK_BYTES, 3 * CHUNK_BYTES, 1 << 24])
def test_pieces_of_any_size_give_the_same_chunks(chunks: MemoryChunks, piece_bytes: int) -> None:
    stored(other := MemoryChunks(), "a", CONTENT, piece_bytes=piece_bytes)
    assert dict(other.scan(b"blob/")) == {
        k: v for k, v in chunks.scan(b"blob/") if k in set(other.keys(b"blob/"))
    }


def test_blob_survives_reopening(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with make.made(path) as store:
        stored(store, "b", CONTENT)
    with make.opened(path) as store:
        assert read(store, "b") == CONTENT


@settings(max_examples=60)
@given(first=st.integers(0, len(CONTENT) - 1), length=st.integers(1, len(CONTENT)))
def test_any_range_is_the_slice(first: int, length: int) -> None:
    chunks = MemoryChunks()
    chunks.write([Put(key, value) for key, value in RANGES.items()], sync=False)
    last = first + length - 1
    assert read(chunks, "a", first=first, last=last) == CONTENT[first : last + 1]
    assert read(chunks, "a", first=first) == CONTENT[first:]


def _ranges() -> dict[bytes, bytes]:
    chunks = MemoryChunks()
    stored(chunks, "a", CONTENT)
    return dict(chunks.scan(b""))


RANGES = _ranges()


def test_chunks_are_sealed_as_the_page_says(chunks: MemoryChunks) -> None:
    for number in range(4):
        aad = b"a" + number.to_bytes(8, "big") + bytes([number == 3])
        sealed = chunks.get(b"blob/\x01a" + number.to_bytes(8, "big")) or b""
        plaintext = AESGCM(KEY).decrypt(bytes(4) + number.to_bytes(8, "big"), sealed, aad)
        assert plaintext == CONTENT[number * CHUNK_BYTES : (number + 1) * CHUNK_BYTES]


def test_batches_hold_four_chunks_at_most_and_are_synced() -> None:
    stored(chunks := MemoryChunks(), "a", LONG + CONTENT, piece_bytes=10_000)
    assert len(chunks.batches) == 3
    for ops, sync in chunks.batches:
        assert sync
        assert sum(len(op.value) for op in ops if isinstance(op, Put)) <= 4 * (CHUNK_BYTES + 16)


def test_small_file_needs_no_write_before_its_material() -> None:
    writer = BlobWriter(chunks := MemoryChunks(), "a", KEY)
    writer.write(b"small")
    ops = writer.finish_ops()
    assert (chunks.batches, [type(op) for op in ops]) == ([], [Put])
    chunks.write(ops, sync=True)
    assert read(chunks, "a") == b"small"


def test_no_plaintext_reaches_the_disk(tmp_path: Path) -> None:
    marker = b"a sentence that stands in the document " * 50
    with make.made(tmp_path / "store") as store:
        stored(store, "b", marker * 600)
        store.compact(b"blob/")
    for file in tmp_path.rglob("*"):
        assert file.is_dir() or marker[:39] not in file.read_bytes()


# ── harm ───────────────────────────────────────────────────────────────────────────────────────────────


def test_any_flipped_bit_is_noticed_and_the_chunk_named(chunks: MemoryChunks) -> None:
    chance = random.Random(3)
    for number in range(4):
        key = rows.chunk_key("a", number)
        sealed = bytearray(whole := chunks.get(key) or b"")
        sealed[chance.randrange(len(sealed))] ^= 1 << chance.randrange(8)
        chunks.write([Put(key, bytes(sealed))], sync=False)
        with pytest.raises(BlobDamaged) as caught:
            read(chunks, "a")
        assert caught.value.facts == {"chunk": number}
        chunks.write([Put(key, whole)], sync=False)
    assert read(chunks, "a") == CONTENT


def test_flipped_bit_on_disk_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with make.made(path) as store:
        stored(store, "b", CONTENT)
    raw = plyvel.DB(str(make.database(path)))
    key = rows.chunk_key("b", 1)
    sealed = bytearray(raw.get(key))
    sealed[500_000] ^= 1
    raw.put(key, bytes(sealed))
    raw.close()
    with make.opened(path) as store, pytest.raises(BlobDamaged):
        read(store, "b")


def test_swapped_chunks_are_noticed(chunks: MemoryChunks) -> None:
    one, two = rows.chunk_key("a", 0), rows.chunk_key("a", 1)
    chunks.write([Put(one, chunks.get(two) or b""), Put(two, chunks.get(one) or b"")], sync=False)
    with pytest.raises(BlobDamaged):
        read(chunks, "a")


def test_chunk_of_another_file_is_noticed(chunks: MemoryChunks) -> None:
    chunks.write([Put(rows.chunk_key("a", 0), chunks.get(rows.chunk_key("full", 0)) or b"")], sync=False)
    with pytest.raises(BlobDamaged):
        read(chunks, "a")


@pytest.mark.parametrize("blob_id", ["a", "full"])
def test_missing_chunks_are_noticed(chunks: MemoryChunks, blob_id: str) -> None:
    keys = list(chunks.keys(rows.blob_prefix(blob_id)))
    for cut in range(len(keys)):
        harmed = MemoryChunks()
        harmed.write([Put(key, chunks.get(key) or b"") for key in keys[:cut]], sync=False)
        with pytest.raises(BlobTruncated) as caught:
            read(harmed, blob_id)
        assert caught.value.facts == {"chunk": cut}


def test_full_last_chunk_cannot_pass_for_a_middle_one_and_back(chunks: MemoryChunks) -> None:
    chunks.write([Delete(rows.chunk_key("full", 1))], sync=False)
    with pytest.raises(BlobTruncated):
        read(chunks, "full")


def test_surplus_chunk_is_noticed(chunks: MemoryChunks) -> None:
    chunks.write([Put(rows.chunk_key("a", 4), chunks.get(rows.chunk_key("a", 3)) or b"")], sync=False)
    with pytest.raises(BlobDamaged) as caught:
        read(chunks, "a")
    assert caught.value.facts == {"chunk": 4}


@pytest.mark.parametrize("forged", [b"", b"short", bytes(15), bytes(16), bytes(CHUNK_BYTES + 17)])
def test_chunk_of_an_impossible_form_is_refused(chunks: MemoryChunks, forged: bytes) -> None:
    chunks.write([Put(rows.chunk_key("a", 0), forged)], sync=False)
    with pytest.raises(BlobDamaged):
        read(chunks, "a")


def test_another_key_opens_nothing(chunks: MemoryChunks) -> None:
    with pytest.raises(BlobDamaged):
        b"".join(read_blob(chunks, "a", bytes(32)))


def test_what_was_yielded_before_the_harm_is_true(chunks: MemoryChunks) -> None:
    chunks.write([Put(rows.chunk_key("a", 2), b"harm")], sync=False)
    pieces = read_blob(chunks, "a", KEY)
    assert next(pieces) + next(pieces) == CONTENT[: 2 * CHUNK_BYTES]
    with pytest.raises(BlobDamaged):
        next(pieces)


# ── uploads that end early ─────────────────────────────────────────────────────────────────────────────


def test_unfinished_upload_is_swept_and_finished_ones_stay(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with make.made(path) as store:
        stored(store, "whole", LONG)
        writer = BlobWriter(store, "half", KEY)
        writer.write(LONG)
    with make.opened(path) as store:
        assert len(list(store.keys(rows.blob_prefix("half")))) == 4
        assert sweep_orphans(store, lambda blob_id: False) == 1
        assert list(store.keys(rows.blob_prefix("half"))) == list(store.keys(rows.upload_prefix())) == []
        assert read(store, "whole") == LONG
        assert sweep_orphans(store, lambda blob_id: False) == 0


def test_marked_blob_that_is_in_use_only_loses_its_mark(store: LevelStore) -> None:
    stored(store, "b", b"content")
    store.write(condemn("b"), sync=True)
    assert sweep_orphans(store, lambda blob_id: blob_id == "b") == 0
    assert list(store.keys(rows.upload_prefix())) == []
    assert read(store, "b") == b"content"


def test_erasing_that_was_interrupted_is_ended_by_the_sweep(store: LevelStore) -> None:
    stored(store, "b", LONG)
    store.write(condemn("b"), sync=True)
    store.write([Delete(rows.chunk_key("b", 0))], sync=True)
    assert sweep_orphans(store, lambda blob_id: False) == 1
    assert list(store.keys(rows.blob_prefix("b"))) == []


def test_aborted_upload_leaves_nothing(store: LevelStore) -> None:
    for pieces in ([], [b"small"], [LONG]):
        writer = BlobWriter(store, "b", KEY)
        for piece in pieces:
            writer.write(piece)
        writer.abort()
        assert list(store.keys(b"")) == []
        with pytest.raises(StoreClosed):
            writer.write(b"more")
        with pytest.raises(StoreClosed):
            writer.finish_ops()


def test_upload_aborted_after_its_last_ops_were_made_leaves_nothing(store: LevelStore) -> None:
    writer = BlobWriter(store, "b", KEY)
    writer.write(LONG)
    writer.finish_ops()
    writer.abort()
    assert list(store.keys(b"")) == []


def test_abort_after_the_last_ops_were_written_takes_nothing_away(store: LevelStore) -> None:
    writer = BlobWriter(store, "b", KEY)
    writer.write(CONTENT)
    store.write(writer.finish_ops(), sync=True)
    writer.abort()
    assert read(store, "b") == CONTENT


def test_mark_is_in_the_first_batch_and_goes_with_the_last() -> None:
    writer = BlobWriter(chunks := MemoryChunks(), "a", KEY)
    writer.write(LONG)
    assert chunks.batches[0][0][0] == Put(rows.upload_key("a"), b"")
    assert writer.finish_ops()[-1] == Delete(rows.upload_key("a"))


def test_upload_that_meets_a_full_disk_can_be_aborted(tmp_path: Path) -> None:
    with make.made(tmp_path / "store"):
        pass
    with LevelStore.open(tmp_path / "store", seal=make.seal(), reserve_bytes=1 << 60) as store:
        writer = BlobWriter(store, "b", KEY)
        with pytest.raises(StoreFull):
            writer.write(LONG)
        writer.abort()
        assert list(store.keys(b"")) == []


def test_deleting_reads_no_chunk_and_works_in_bounded_batches(store: LevelStore) -> None:
    stored(store, "b", LONG)
    stored(store, "bb", b"neighbour")
    delete_blob(store, "b")
    assert list(store.keys(rows.blob_prefix("b"))) == []
    assert read(store, "bb") == b"neighbour"


def test_blob_id_that_could_leave_its_place_is_refused(store: LevelStore) -> None:
    writer = BlobWriter(store, "a/../b", KEY)
    with pytest.raises(RowMalformed):
        writer.write(os.urandom(2 * CHUNK_BYTES))


def test_a_running_node_sweeps_chunks_that_nobody_writes_any_more_and_no_others(tmp_path: Path) -> None:
    with make.made(tmp_path / "store") as store:
        going_on = BlobWriter(store, "blb_1", KEY)
        left = BlobWriter(store, "blb_2", KEY)
        ended = BlobWriter(store, "blb_3", KEY)
        for writer in (going_on, left, ended):
            writer.write(bytes(6 * CHUNK_BYTES))
        ended.finish()
        del left, writer
        gc.collect()
        assert sweep_forsaken(store) == 1
        going_on.finish()
        assert sweep_forsaken(store) == 0
        assert not list(store.keys(b"blob/" + bytes([5]) + b"blb_2"))
        for name in ("blb_1", "blb_3"):
            assert sum(map(len, read_blob(store, name, KEY))) == 6 * CHUNK_BYTES


def test_first_keys_name_each_blob_once_and_jump_over_its_chunks(tmp_path: Path) -> None:
    sizes = {"a": 1, "ab": 5, "b": 1, "blb_01JCV3Z5Y8K7Q2M4N6P8R0S2T4": 3}
    with LevelStore.create(tmp_path / "store", node_id="n", seal=None, chain=False) as store:
        puts = [Put(rows.chunk_key(name, at), b"x") for name, count in sizes.items() for at in range(count)]
        store.write([Put(b"a/", b""), *puts, Put(b"blob0", b"")], sync=True)
        firsts = list(store.first_keys(b"blob/", group_of=lambda key: key[:-8]))
        assert sorted(map(rows.chunk_blob_id, firsts)) == sorted(sizes)
        assert all(key.endswith(bytes(8)) for key in firsts)
        assert list(store.first_keys(b"none/", group_of=lambda key: key)) == []


def test_compacting_the_whole_store_takes_deleted_rows_off_the_disk(tmp_path: Path) -> None:
    secret = os.urandom(32)
    names = [b"row/%04d" % number for number in range(200)]
    with LevelStore.create(tmp_path / "store", node_id="n", seal=None, chain=False) as store:
        store.write([Put(name, secret * 100) for name in names], sync=True)
        store.compact(b"")
        assert secret in on_disk(tmp_path)
        store.write([Delete(name) for name in names], sync=True)
        store.compact(b"")
    assert secret not in on_disk(tmp_path)


def on_disk(folder: Path) -> bytes:
    """Return the bytes of all table files and logs."""
    files = [path for path in folder.rglob("*") if path.suffix in (".ldb", ".log")]
    return b"".join(path.read_bytes() for path in files)
