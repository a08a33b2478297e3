"""The store on a real LevelDB: the contract, threads, whose folder it is, what it does on a full disk."""

import gc
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import plyvel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchor.errors import DeltasealError
from anchor.keyvalue import Delete, KeyValue, Put
from node.errors import (
    RowMalformed,
    StoreClosed,
    StoreDamaged,
    StoreForeign,
    StoreFull,
    StoreKeyExhausted,
    StoreLocked,
    StoreMissing,
    StoreNewer,
    StoreStarved,
    StoreUnwritable,
)
from node.store import leveldb
from node.store.envelope import RowSeal
from node.store.identity import SCHEMA
from node.store.leveldb import LevelStore
from tests.integration import store_factory as make
from tests.unit.keyvalue_suite import KeyValueSuite, MemoryKeyValue


class TestSealedLevelStore(KeyValueSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[KeyValue]:
        with make.made(tmp_path / "store") as store:
            yield store


class TestPlainLevelStoreWithoutChain(KeyValueSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[KeyValue]:
        with make.made(tmp_path / "store", sealed=False, chain=False) as store:
            yield store


KEYS = st.binary(max_size=3)
OPS = st.one_of(st.builds(Put, KEYS, st.binary(max_size=40)), st.builds(Delete, KEYS))


@settings(max_examples=25)
@given(
    batches=st.lists(st.tuples(st.lists(OPS, max_size=6), st.booleans()), max_size=6), prefix=KEYS, start=KEYS
)
def test_store_agrees_with_a_dictionary_also_after_reopening(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[tuple[list[Put | Delete], bool]],
    prefix: bytes,
    start: bytes,
) -> None:
    path, model = tmp_path_factory.mktemp("model") / "store", MemoryKeyValue()
    with make.made(path) as store:
        for ops, sync in batches:
            store.write(ops, sync=sync)
            model.write(ops, sync=sync)
        assert list(store.scan(b"")) == list(model.scan(b""))
    with make.opened(path) as store:
        for reverse in (False, True):
            found = list(store.scan(prefix, start=start, reverse=reverse))
            assert found == list(model.scan(prefix, start=start, reverse=reverse))


def test_long_scan_goes_over_many_pages(tmp_path: Path) -> None:
    with make.made(tmp_path / "store") as store:
        store.write(make.rows(0, 3000), sync=False)
        assert [value for _, value in store.scan(b"row/")] == [make.value_of(n) for n in range(3000)]
        assert len(list(store.keys(b"row/"))) == 3000


def test_store_keeps_its_own_rows_to_itself(tmp_path: Path) -> None:
    with make.made(tmp_path / "store") as store:
        store.write([Put(b"\x00", b"low"), Put(b"a", b"")], sync=True)
        assert list(store.keys(b"")) == [b"\x00", b"a"]
        with pytest.raises(RowMalformed):
            store.write([Put(b"\x00deltaseal/chain/\x00\x00", b"forged")], sync=True)


def test_no_value_lies_readable_on_disk(tmp_path: Path) -> None:
    marker = b"310101199001011234 a citizen's number"
    with make.made(tmp_path / "store") as store:
        store.write([Put(b"row/1", marker)], sync=True)
        store.compact(b"")
    on_disk = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert marker not in on_disk and b"row/1" in on_disk


# ── whose folder ───────────────────────────────────────────────────────────────────────────────────────


def test_missing_store_is_never_created_by_opening(tmp_path: Path) -> None:
    for folder in (tmp_path / "absent", tmp_path):
        with pytest.raises(StoreMissing):
            LevelStore.open(folder, seal=make.seal())
    assert list(tmp_path.iterdir()) == []


def test_folder_that_holds_something_is_not_made_a_store(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(StoreForeign):
        LevelStore.create(tmp_path, node_id="node-a", seal=None)
    with make.made(tmp_path / "store"):
        pass
    with pytest.raises(StoreForeign):
        LevelStore.create(tmp_path / "store", node_id="node-a", seal=None)
    assert (tmp_path / "letter.txt").read_text() == "mine"


def test_store_of_another_node_or_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with make.made(path):
        pass
    with pytest.raises(StoreForeign):
        LevelStore.open(path, seal=make.seal(), node_id="node-b")
    with pytest.raises(StoreForeign):
        LevelStore.open(path, seal=make.seal(), chain=False)
    with LevelStore.open(path, seal=make.seal(), node_id="node-a", chain=True):
        pass


def test_store_sealed_under_another_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with make.made(path):
        pass
    for wrong in (RowSeal(bytes(32)), None):
        with pytest.raises(StoreForeign):
            LevelStore.open(path, seal=wrong)


def test_newer_schema_is_refused_before_the_database_is_touched(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with make.made(path, sealed=False):
        pass
    store_file = path / "STORE"
    store_file.write_bytes(store_file.read_bytes().replace(b'"schema": %d' % SCHEMA, b'"schema": 99'))
    before = {file.name: file.read_bytes() for file in make.database(path).iterdir()}
    with pytest.raises(StoreNewer) as caught:
        LevelStore.open(path, seal=None)
    assert caught.value.facts == {"schema": 99, "supported": SCHEMA}
    assert {file.name: file.read_bytes() for file in make.database(path).iterdir()} == before


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"format": "other"}', b"\xff\xfe", b'"x"'])
def test_malformed_store_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "store"
    with make.made(path):
        pass
    (path / "STORE").write_bytes(content)
    with pytest.raises((StoreDamaged, StoreForeign)):
        LevelStore.open(path, seal=make.seal())


def test_altered_store_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with make.made(path):
        pass
    store_file = path / "STORE"
    store_file.write_bytes(store_file.read_bytes().replace(b'"node-a"', b'"node-b"'))
    with pytest.raises(StoreForeign):
        LevelStore.open(path, seal=make.seal())


def test_database_of_another_store_is_refused(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for path in (one, other):
        with make.made(path):
            pass
    make.database(one).rename(tmp_path / "aside")
    make.database(other).rename(make.database(one))
    with pytest.raises(StoreForeign):
        LevelStore.open(one, seal=make.seal())


def test_half_made_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with make.made(path):
        pass
    (path / "STORE").unlink()
    with pytest.raises(StoreDamaged) as caught:
        LevelStore.open(path, seal=make.seal())
    assert caught.value.facts["file"] == "STORE"


# ── one owner ──────────────────────────────────────────────────────────────────────────────────────────

OPEN_ELSEWHERE = """
import sys
from pathlib import Path
from node.store.envelope import RowSeal
from node.store.identity import SCHEMA
from node.store.leveldb import LevelStore
try:
    LevelStore.open(Path(sys.argv[1]), seal=RowSeal(bytes(range(32))))
except Exception as error:
    print(error.code, error.facts.get("pid"))
else:
    print("opened")
"""


def test_second_opener_is_refused_and_told_who_holds_the_store(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with make.made(path):
        assert make.run_script(OPEN_ELSEWHERE, str(path)).stdout.split() == ["store_locked", str(os.getpid())]
    assert make.run_script(OPEN_ELSEWHERE, str(path)).stdout.split() == ["opened"]


def test_refused_second_open_in_one_process_does_not_free_the_store_for_others(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with make.made(path):
        with pytest.raises(StoreLocked):
            LevelStore.open(path, seal=make.seal())
        assert make.run_script(OPEN_ELSEWHERE, str(path)).stdout.startswith("store_locked")


def test_failed_open_gives_the_folder_back(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with make.made(path):
        pass
    (path / "HEAD").rename(tmp_path / "HEAD")
    with pytest.raises(StoreDamaged):
        LevelStore.open(path, seal=make.seal())
    (tmp_path / "HEAD").rename(path / "HEAD")
    with make.opened(path):
        pass


FORK = """
import os, sys
from pathlib import Path
from anchor.keyvalue import Put
from node.errors import StoreClosed
from node.store.envelope import RowSeal
from node.store.identity import SCHEMA
from node.store.leveldb import LevelStore
store = LevelStore.create(Path(sys.argv[1]), node_id="n", seal=RowSeal(bytes(32)))
store.write([Put(b"k", b"v")], sync=True)
rows = store.scan(b"")
def refused(call):
    try:
        call()
    except StoreClosed:
        return True
    return False
child = os.fork()
if child == 0:
    calls = [lambda: store.get(b"k"), lambda: list(rows), lambda: store.write([Put(b"k", b"w")], sync=True)]
    code = 0 if all(map(refused, calls)) else 1
    store.close()
    os._exit(code)
_, status = os.waitpid(child, 0)
store.write([Put(b"l", b"w")], sync=True)
print(os.waitstatus_to_exitcode(status), list(rows), store.get(b"l"))
store.close()
"""


def test_forked_child_is_shut_out_and_the_parent_goes_on(tmp_path: Path) -> None:
    done = make.run_script(FORK, str(tmp_path / "store"))
    assert (done.returncode, done.stdout.strip()) == (0, "0 [(b'k', b'v')] b'w'"), done.stderr


# ── closing ────────────────────────────────────────────────────────────────────────────────────────────


class SlowToRead:
    """A LevelDB whose `get` lasts until it is let go, and that notes in which order calls ended."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.ended: list[str] = []

    def get(self, key: bytes, **options: Any) -> Any:
        self.entered.set()
        self.go_on.wait(timeout=30)
        self.ended.append("get")
        return self._database.get(key, **options)

    def close(self) -> None:
        self.ended.append("close")
        self._database.close()


def test_closing_waits_for_a_read_under_way(tmp_path: Path) -> None:
    with make.made(tmp_path / "store") as store:
        store.write(make.rows(0, 1), sync=True)
        store._db = slow = SlowToRead(store._db)
        found: list[bytes | None] = []
        reader = threading.Thread(target=lambda: found.append(store.get(b"row/000000")))
        reader.start()
        slow.entered.wait(timeout=30)
        closer = threading.Thread(target=store.close)
        closer.start()
        while not store._gate.closed:
            pass
        slow.go_on.set()
        for thread in (reader, closer):
            thread.join(timeout=30)
    assert (slow.ended, found) == (["get", "close"], [make.value_of(0)])


def test_closed_store_refuses_every_call(tmp_path: Path) -> None:
    with make.made(tmp_path / "store") as store:
        store.write(make.rows(0, 100), sync=True)
        begun = store.scan(b"row/")
        next(begun)
    store.close()
    calls: list[Callable[[], object]] = [
        lambda: store.get(b"row/000001"),
        lambda: store.scan(b""),
        lambda: store.keys(b""),
        lambda: store.write(make.rows(1, 2), sync=False),
        lambda: store.compact(b""),
        lambda: store.approximate_size(b""),
        lambda: list(begun),
    ]
    for call in calls:
        with pytest.raises(StoreClosed):
            call()


def test_abandoned_iterator_does_not_keep_the_store_open(tmp_path: Path) -> None:
    with make.made(tmp_path / "store") as store:
        store.write(make.rows(0, 1000), sync=False)
        left = [store.scan(b"row/"), store.scan(b"row/", reverse=True)]
        next(left[0])
    with make.opened(tmp_path / "store"):
        assert len(left) == 2


def test_exhausted_and_closed_iterators_are_given_back(tmp_path: Path) -> None:
    with make.made(tmp_path / "store") as store:
        store.write(make.rows(0, 1000), sync=False)
        list(store.scan(b"row/"))
        stopped = store.scan(b"row/")
        next(stopped)
        stopped.close()  # type: ignore[attr-defined]  # a generator
        gc.collect()
        assert len(store._cursors) == 0


CLOSE_UNDER_READERS = """
import sys, threading
from pathlib import Path
from anchor.keyvalue import Put
from node.errors import StoreClosed
from node.store.envelope import RowSeal
from node.store.identity import SCHEMA
from node.store.leveldb import LevelStore
path = Path(sys.argv[1])
LevelStore.create(path, node_id="n", seal=RowSeal(bytes(32))).close()
for turn in range(12):
    store = LevelStore.open(path, seal=RowSeal(bytes(32)))
    store.write([Put(b"row/%05d" % n, bytes(200)) for n in range(2000)], sync=False)
    started, ended = threading.Barrier(9), []
    def use(call):
        started.wait()
        try:
            while True:
                call()
        except StoreClosed:
            ended.append(True)
    calls = [lambda: store.get(b"row/00100"), lambda: sum(1 for _ in store.scan(b"row/")),
             lambda: sum(1 for _ in store.scan(b"", reverse=True)),
             lambda: store.write([Put(b"w", b"")], sync=True)]
    threads = [threading.Thread(target=use, args=(call,)) for call in calls * 2]
    for thread in threads: thread.start()
    started.wait()
    store.close()
    for thread in threads: thread.join()
    assert len(ended) == 8, ended
print("closed")
"""


CLOSE_UNDER_LONG_READS = """
import sys, threading
from pathlib import Path
from anchor.keyvalue import Put
from node.errors import StoreClosed
from node.store.identity import SCHEMA
from node.store.leveldb import LevelStore
path = Path(sys.argv[1])
with LevelStore.create(path, node_id="n", seal=None, chain=False) as store:
    for n in range(16):
        store.write([Put(b"blob/%02d" % n, bytes([n]) * (1 << 20))], sync=False)
    store.compact(b"")
for turn in range(20):
    store = LevelStore.open(path, seal=None)
    started = threading.Barrier(7)
    def read(first):
        started.wait()
        try:
            for n in range(10_000):
                store.get(b"blob/%02d" % ((first + n) % 16))
        except StoreClosed:
            pass
    threads = [threading.Thread(target=read, args=(number,)) for number in range(6)]
    for thread in threads: thread.start()
    started.wait()
    store.close()
    for thread in threads: thread.join()
print("closed")
"""


@pytest.mark.parametrize("script", [CLOSE_UNDER_READERS, CLOSE_UNDER_LONG_READS], ids=["mixed", "long reads"])
def test_closing_under_use_ends_it_with_an_error_and_no_crash(tmp_path: Path, script: str) -> None:
    done = make.run_script(script, str(tmp_path / "store"))
    assert (done.returncode, done.stdout.strip()) == (0, "closed"), done.stderr


# ── group commit ───────────────────────────────────────────────────────────────────────────────────────


def test_threads_that_wait_share_a_commit(tmp_path: Path) -> None:
    def write(thread: int) -> None:
        for turn in range(25):
            store.write([Put(b"t/%d/%d" % (thread, turn), b"v")], sync=True)

    with make.made(tmp_path / "store") as store:
        threads = [threading.Thread(target=write, args=(number,)) for number in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(list(store.keys(b"t/"))) == 800
        assert store.stats().synced_commits < 800 / 2
    with make.opened(tmp_path / "store") as store:
        assert len(list(store.keys(b"t/"))) == 800


class Watched:
    """A LevelDB that notes which batches were to be synced."""

    def __init__(self, database: Any) -> None:
        self._database = database
        self.syncs: list[bool] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def write_batch(self, *, sync: bool) -> Any:
        self.syncs.append(sync)
        return self._database.write_batch(sync=sync)


def test_leveldb_is_told_to_sync_what_must_be_durable(tmp_path: Path) -> None:
    with make.made(tmp_path / "store") as store:
        store._db = watched = Watched(store._db)
        for sync in (True, False, True):
            store.write(make.rows(0, 1), sync=sync)
        store.write([Put(b"blob/x", b"chunk")], sync=True)
        assert watched.syncs == [True, False, True, True]


def test_writes_without_sync_cost_no_fsync(tmp_path: Path) -> None:
    with make.made(tmp_path / "store") as store:
        for number in range(10):
            store.write(make.rows(number, number + 1), sync=False)
        assert (store.stats().commits, store.stats().synced_commits) == (10, 0)


def test_chunks_alone_are_not_numbered_and_mixed_batches_are(tmp_path: Path) -> None:
    with make.made(tmp_path / "store") as store:
        store.write([Put(b"blob/x", b"sealed by its writer")], sync=True)
        assert store.stats().sequence == 0
        store.write([Put(b"blob/y", b"raw"), Put(b"row/1", b"v")], sync=True)
        assert store.stats().sequence == 1
        assert store.get(b"blob/x") == b"sealed by its writer"
        assert list(store.scan(b"blob/")) == [(b"blob/x", b"sealed by its writer"), (b"blob/y", b"raw")]


# ── no room, no key, no descriptors ────────────────────────────────────────────────────────────────────


def test_full_disk_refuses_writes_but_lets_rows_be_deleted_and_read(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with make.made(path) as store:
        store.write(make.rows(0, 3), sync=True)
    with LevelStore.open(path, seal=make.seal(), reserve_bytes=1 << 60) as store:
        with pytest.raises(StoreFull):
            store.write(make.rows(3, 4), sync=True)
        store.write([Delete(b"row/000001")], sync=True)
        assert list(store.keys(b"row/")) == [b"row/000000", b"row/000002"]
    with make.opened(path) as store:
        store.write(make.rows(3, 4), sync=True)
        assert len(list(store.keys(b"row/"))) == 3


def test_failed_commit_fails_every_waiter(tmp_path: Path) -> None:
    with make.made(tmp_path / "store"):
        pass
    failed: list[str] = []

    def write(thread: int) -> None:
        with pytest.raises(DeltasealError) as caught:
            store.write([Put(b"t/%d" % thread, b"v")], sync=True)
        failed.append(type(caught.value).code)

    with LevelStore.open(tmp_path / "store", seal=make.seal(), reserve_bytes=1 << 60) as store:
        threads = [threading.Thread(target=write, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == ["store_full"] * 16
        assert list(store.keys(b"t/")) == []


WRITE_INTO_A_WALL = """
import resource, sys
from pathlib import Path
from anchor.keyvalue import Put
from node.errors import StoreError
from node.store.envelope import RowSeal
from node.store.identity import SCHEMA
from node.store.leveldb import LevelStore
store = LevelStore.open(Path(sys.argv[1]), seal=RowSeal(bytes(range(32))))
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
number, codes = 0, []
while len(codes) < 3:
    try:
        store.write([Put(b"row/%06d" % number, bytes(5000))], sync=True)
        assert not codes, "a write was taken after one whose outcome is unknown"
        print(number)
    except StoreError as error:
        codes.append(error.code)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    number += 1
print(*codes, store.get(b"row/000000") == bytes(5000))
"""


def test_write_that_fails_in_the_middle_stops_all_writes_and_loses_none_before(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with make.made(path):
        pass
    done = make.run_script(WRITE_INTO_A_WALL, str(path))
    *acknowledged, codes = done.stdout.splitlines()
    assert codes == "store_full store_full store_full True", done.stderr
    assert len(acknowledged) > 10
    with make.opened(path) as store:
        for number in map(int, acknowledged):
            assert store.get(b"row/%06d" % number) == bytes(5000)


def test_store_key_is_not_used_beyond_its_nonces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leveldb, "SEAL_LIMIT", 10)
    with make.made(tmp_path / "store") as store:
        store.write(make.rows(0, 4), sync=True)  # four rows and the chain row
        with pytest.raises(StoreKeyExhausted):
            store.write(make.rows(4, 9), sync=True)
        store.write(make.rows(4, 5), sync=True)
        assert store.stats().sealed_rows == 7


@pytest.mark.parametrize(
    ("reported", "expected", "file"),
    [
        (b"IO error: /data/leveldb/000012.log: No space left on device", StoreFull, None),
        (b"IO error: /data/leveldb/000012.log: Disk quota exceeded", StoreFull, None),
        (b"IO error: /data/leveldb/000012.ldb: Read-only file system", StoreUnwritable, None),
        (b"IO error: /data/leveldb/LOCK: Permission denied", StoreUnwritable, None),
        (b"IO error: /data/leveldb/000012.ldb: Too many open files", StoreStarved, None),
        (b"IO error: /data/leveldb/000012.log: Input/output error", StoreDamaged, "000012.log"),
        (b"Corruption: block checksum mismatch: /data/leveldb/000007.ldb", StoreDamaged, "000007.ldb"),
        (b"Corruption: no meta-nextfile entry in descriptor", StoreDamaged, "database"),
    ],
)
def test_each_error_of_leveldb_becomes_one_of_ours_without_its_path(
    reported: bytes, expected: type[DeltasealError], file: str | None
) -> None:
    error = leveldb._adapt(plyvel.Error(reported))
    assert type(error) is expected
    assert error.facts.get("file") == file
    assert "/data" not in f"{error}{error.hint}{error.facts}"


def test_compaction_takes_deleted_rows_off_the_disk(tmp_path: Path) -> None:
    marker = b"a marker that is long enough to be found"
    with make.made(tmp_path / "store", sealed=False, chain=False) as store:
        store.write([Put(b"blob/x", marker)], sync=True)
        store.compact(b"blob/")
        assert any(marker in file.read_bytes() for file in make.files(tmp_path / "store", ".ldb"))
        store.write([Delete(b"blob/x")], sync=True)
        store.compact(b"blob/")
        on_disk = [file for file in (tmp_path / "store").rglob("*") if file.is_file()]
        assert not any(marker in file.read_bytes() for file in on_disk)
        assert store.approximate_size(b"blob/") == 0
