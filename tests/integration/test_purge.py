"""What is purged from a store lies in none of its files any more, whichever way it came into them."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from anchor.keyvalue import Delete, Put
from node.store.leveldb import LevelStore
from tests.integration import store_factory as make

SECRET = random.Random(7).randbytes(64)
OTHER = random.Random(8).randbytes(64)
KEY = b"blob/" + b"\x05blb_A" + bytes(8)
NEIGHBOUR = b"blob/" + b"\x05blb_B" + bytes(8)


def holds(path: Path, needle: bytes) -> bool:
    """Tell whether any file of the store holds `needle`, wherever LevelDB has left it."""
    return any(needle in file.read_bytes() for file in make.database(path).iterdir() if file.is_file())


def put(store: LevelStore, key: bytes, value: bytes) -> None:
    store.write([Put(key, value)], sync=True)


def drop(store: LevelStore, key: bytes) -> None:
    store.write([Delete(key)], sync=True)


def in_log_only(store: LevelStore) -> None:
    put(store, KEY, SECRET)
    drop(store, KEY)


def one_table_with_value_and_deletion(store: LevelStore) -> None:
    """Both leave the memtable together: the table keeps them side by side."""
    put(store, KEY, SECRET)
    drop(store, KEY)
    store.compact(b"row/")


def deep_value_and_late_deletion(store: LevelStore) -> None:
    put(store, KEY, SECRET)
    for _ in range(3):
        put(store, KEY[:-1] + b"\x01", OTHER)
        store.compact(b"blob/")
    drop(store, KEY)


def many_levels(store: LevelStore) -> None:
    put(store, KEY, SECRET)
    for round_number in range(4):
        store.write(make.rows(0, 400, size_bytes=9000), sync=False)
        put(store, NEIGHBOUR, OTHER + bytes([round_number]))
    drop(store, KEY)
    store.write(make.rows(0, 400, size_bytes=9000), sync=False)


WAYS: list[Callable[[LevelStore], None]] = [
    in_log_only,
    one_table_with_value_and_deletion,
    deep_value_and_late_deletion,
    many_levels,
]


@pytest.mark.parametrize("way", WAYS, ids=[way.__name__ for way in WAYS])
def test_a_deleted_chunk_leaves_every_file(tmp_path: Path, way: Callable[[LevelStore], None]) -> None:
    path = tmp_path / "store"
    with make.made(path) as store:
        put(store, NEIGHBOUR, OTHER)
        way(store)
        assert holds(path, SECRET)  # the control: deleting alone removes nothing
        assert store.purge(gone=[KEY], replaced=[], prefixes=[])
        assert not holds(path, SECRET)
        assert store.get(KEY) is None
        assert (store.get(NEIGHBOUR) or b"").startswith(OTHER)
    with make.opened(path) as store:
        assert (store.get(NEIGHBOUR) or b"").startswith(OTHER)


def test_a_replaced_row_leaves_every_file_and_its_new_value_stays(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with make.made(path) as store:
        put(store, KEY, SECRET)
        put(store, KEY, OTHER)
        store.compact(b"row/")
        assert holds(path, SECRET)
        assert store.purge(gone=[], replaced=[KEY], prefixes=[])
        assert not holds(path, SECRET)
        assert store.get(KEY) == OTHER


def test_rows_that_were_deleted_under_forgotten_keys_leave_with_their_range(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with make.made(path) as store:
        put(store, KEY, SECRET)
        drop(store, KEY)
        put(store, KEY[:-1] + b"\x02", OTHER)
        store.compact(b"row/")
        store.write(make.rows(0, 400, size_bytes=9000), sync=False)
        assert holds(path, SECRET)
        assert store.purge(gone=[], replaced=[], prefixes=[KEY[:-8]])
        assert not holds(path, SECRET)
        assert store.get(KEY[:-1] + b"\x02") == OTHER


def test_a_reader_that_pins_an_old_file_is_noticed_and_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with make.made(path) as store:
        put(store, KEY, SECRET)
        store.write(make.rows(0, 2000, size_bytes=2000), sync=True)
        store.compact(b"blob/")
        reader = store.scan(b"")
        next(reader)
        drop(store, KEY)
        assert not store.purge(gone=[KEY], replaced=[], prefixes=[])
        assert holds(path, SECRET)
        reader.close()  # type: ignore[attr-defined]
        assert store.purge(gone=[KEY], replaced=[], prefixes=[])
        assert not holds(path, SECRET)
