"""What happens to a store on a bad disk, in the wrong hands, or killed: noticed and named, never served."""

import contextlib
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import plyvel
import pytest

from anchor.keyvalue import Put
from node.errors import StoreDamaged, StoreError, StoreForeign, StoreMissing, StoreRolledBack
from node.store.leveldb import LevelStore
from tests.integration import store_factory as make

ROWS = 400


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """A closed store whose rows lie partly in tables, partly in the log."""
    path = tmp_path / "store"
    with make.made(path) as store:
        for first in range(0, ROWS // 2, 10):
            store.write(make.rows(first, first + 10), sync=True)
        store.compact(b"")
        for first in range(ROWS // 2, ROWS, 10):
            store.write(make.rows(first, first + 10), sync=True)
    return path


def assert_intact_or_refused(path: Path, *, rows: int = ROWS) -> str:
    """Read all rows in each way; a wrong or missing row fails. Return the code of the refusal, or ""."""
    try:
        with make.opened(path) as store:
            found = dict(store.scan(b"row/"))
            assert found == {op.key: op.value for op in make.rows(0, rows)}
            for op in make.rows(0, rows):
                assert store.get(op.key) == op.value
    except StoreError as error:
        return error.code
    return ""


# ── files lost ─────────────────────────────────────────────────────────────────────────────────────────


def test_lost_current_is_refused_and_nothing_is_deleted(filled: Path) -> None:
    (make.database(filled) / "CURRENT").unlink()
    before = sorted(file.name for file in make.database(filled).iterdir())
    with pytest.raises(StoreDamaged) as caught:
        LevelStore.open(filled, seal=make.seal())
    assert caught.value.facts["file"] == "CURRENT"
    assert sorted(file.name for file in make.database(filled).iterdir()) == before


@pytest.mark.parametrize(("pattern", "named"), [("MANIFEST-*", "MANIFEST"), ("*.ldb", "{name}")])
def test_lost_file_is_refused_and_named(filled: Path, pattern: str, named: str) -> None:
    lost = next(make.database(filled).glob(pattern))
    lost.unlink()
    with pytest.raises(StoreDamaged) as caught:
        LevelStore.open(filled, seal=make.seal())
    assert caught.value.facts["file"] == named.format(name=lost.name)


def test_lost_log_is_refused(filled: Path) -> None:
    make.files(filled, ".log")[-1].unlink()
    assert assert_intact_or_refused(filled) == "store_rolled_back"


def test_lost_database_folder_is_refused(filled: Path) -> None:
    shutil.rmtree(make.database(filled))
    with pytest.raises(StoreDamaged):
        LevelStore.open(filled, seal=make.seal())
    assert not make.database(filled).exists()


def test_lost_store_folder_is_missing_not_empty(filled: Path) -> None:
    shutil.rmtree(filled)
    with pytest.raises(StoreMissing):
        LevelStore.open(filled, seal=make.seal())


# ── bits ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("suffix", [".ldb", ".log"])
def test_flipped_bit_is_never_served(filled: Path, tmp_path: Path, suffix: str) -> None:
    chance = random.Random(suffix)
    refused = 0
    (file,) = make.files(filled, suffix)[-1:]
    for turn in range(40):
        copy = make.snapshot(filled, tmp_path / f"copy{turn}")
        make.flip(make.database(copy) / file.name, chance.randrange(file.stat().st_size), chance.randrange(8))
        refused += bool(assert_intact_or_refused(copy))
        shutil.rmtree(copy)
    assert refused >= 38  # a flip in padding may be harmless


def _get_all(store: LevelStore) -> dict[bytes, bytes | None]:
    return {op.key: store.get(op.key) for op in make.rows(0, ROWS)}


def _scan_all(store: LevelStore) -> dict[bytes, bytes | None]:
    return dict(store.scan(b"row/"))


@pytest.mark.parametrize("read", [_get_all, _scan_all])
def test_flipped_bit_is_never_served_by_a_store_without_seal(
    tmp_path: Path, read: Callable[[LevelStore], dict[bytes, bytes | None]]
) -> None:
    path = tmp_path / "store"
    chance = random.Random(4)
    with make.made(path, sealed=False, chain=False) as store:
        noise = [Put(op.key, chance.randbytes(100)) for op in make.rows(0, ROWS)]  # does not compress
        store.write(noise, sync=True)
        store.compact(b"")
    expected = {op.key: op.value for op in noise}
    table = max(make.files(path, ".ldb"), key=lambda file: file.stat().st_size)
    refused = 0
    for position in chance.sample(range(table.stat().st_size * 9 // 10), 30):
        copy = make.snapshot(path, tmp_path / f"copy{position}")
        make.flip(make.database(copy) / table.name, position)
        try:
            with make.opened(copy, sealed=False) as store:
                assert read(store) == expected
        except StoreDamaged as error:
            refused += 1
            assert error.facts["file"] in {table.name, "database"}
        shutil.rmtree(copy)
    assert refused == 30


@pytest.mark.parametrize("name", ["CURRENT", "MANIFEST"])
def test_flipped_bit_in_a_directory_file_is_never_served(filled: Path, tmp_path: Path, name: str) -> None:
    chance = random.Random(name)
    (file,) = make.database(filled).glob(f"{name}*")
    for turn in range(20):
        copy = make.snapshot(filled, tmp_path / f"copy{turn}")
        make.flip(make.database(copy) / file.name, chance.randrange(file.stat().st_size), chance.randrange(8))
        assert_intact_or_refused(copy)
        shutil.rmtree(copy)


def test_row_moved_under_another_key_is_refused(filled: Path) -> None:
    raw = plyvel.DB(str(make.database(filled)))
    raw.put(b"row/000001", raw.get(b"row/000002"))
    raw.close()
    with make.opened(filled) as store:
        assert store.get(b"row/000002") == make.value_of(2)
        with pytest.raises(StoreDamaged) as caught:
            store.get(b"row/000001")
        with pytest.raises(StoreDamaged):
            list(store.scan(b"row/"))
    assert caught.value.facts == {"row": "row"}


@pytest.mark.parametrize("forged", [b"", b"short", b"\x01" + bytes(60), b"\x02" + bytes(60)])
def test_value_that_was_not_sealed_here_is_refused(filled: Path, forged: bytes) -> None:
    raw = plyvel.DB(str(make.database(filled)))
    raw.put(b"row/000001", forged)
    raw.close()
    with make.opened(filled) as store, pytest.raises(StoreDamaged):
        store.get(b"row/000001")


# ── the past ───────────────────────────────────────────────────────────────────────────────────────────


def test_log_cut_anywhere_is_noticed(filled: Path, tmp_path: Path) -> None:
    (log,) = make.files(filled, ".log")[-1:]
    whole = log.read_bytes()
    chance = random.Random(7)
    for turn, length in enumerate(
        [0, len(whole) * 6 // 10, len(whole) - 1, *chance.sample(range(len(whole)), 20)]
    ):
        copy = make.snapshot(filled, tmp_path / f"copy{turn}")
        os.truncate(make.database(copy) / log.name, length)
        assert assert_intact_or_refused(copy) in {"store_rolled_back", "store_damaged"}, length
        shutil.rmtree(copy)


def test_older_database_under_the_present_head_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with make.made(path) as store:
        store.write(make.rows(0, 10), sync=True)
    old = make.snapshot(make.database(path), tmp_path / "old")
    with make.opened(path) as store:
        store.write(make.rows(10, 20), sync=True)
    shutil.rmtree(make.database(path))
    shutil.copytree(old, make.database(path))
    with pytest.raises(StoreRolledBack) as caught:
        LevelStore.open(path, seal=make.seal())
    assert caught.value.facts == {"found": 1, "expected": 2}


def test_older_database_that_was_written_on_is_refused_by_its_other_past(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with make.made(path) as store:
        store.write(make.rows(0, 10), sync=True)
    fork = make.snapshot(path, tmp_path / "fork")
    with make.opened(path) as store:
        store.write(make.rows(10, 20), sync=True)
    with make.opened(fork) as store:
        for number in range(10, 20):
            store.write(make.rows(number, number + 1), sync=True)
    shutil.copy(path / "HEAD", fork / "HEAD")
    with pytest.raises(StoreRolledBack):
        LevelStore.open(fork, seal=make.seal())


def test_database_ahead_of_its_head_file_is_what_a_crash_leaves_and_opens(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with make.made(path) as store:
        store.write(make.rows(0, 10), sync=True)
    head = (path / "HEAD").read_bytes()
    with make.opened(path) as store:
        store.write(make.rows(10, 20), sync=True)
    (path / "HEAD").write_bytes(head)
    assert assert_intact_or_refused(path, rows=20) == ""


def test_lost_unsynced_tail_is_what_a_power_cut_leaves_and_opens(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with make.made(path) as store:
        store.write(make.rows(0, 10), sync=True)
        (log,) = make.files(path, ".log")
        synced_bytes = log.stat().st_size
        for number in range(10, 20):
            store.write(make.rows(number, number + 1), sync=False)
        copy = make.snapshot(path, tmp_path / "copy")
    os.truncate(make.database(copy) / log.name, synced_bytes)
    assert assert_intact_or_refused(copy, rows=10) == ""
    with make.opened(copy) as store:
        store.write(make.rows(10, 11), sync=True)
    assert assert_intact_or_refused(copy, rows=11) == ""


def test_torn_write_of_the_head_file_costs_one_slot_only(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with make.made(path) as store:
        for number in range(4):
            store.write(make.rows(number, number + 1), sync=True)
    for slot in (0, 4096):
        copy = make.snapshot(path, tmp_path / f"slot{slot}")
        make.flip(copy / "HEAD", slot + 40)
        assert assert_intact_or_refused(copy, rows=4) == ""


@pytest.mark.parametrize("harm", ["gone", "empty", "zeros", "both slots"])
def test_head_file_that_remembers_nothing_is_refused(filled: Path, harm: str) -> None:
    head = filled / "HEAD"
    if harm == "gone":
        head.unlink()
    elif harm == "both slots":
        make.flip(head, 40)
        make.flip(head, 4096 + 40)
    else:
        head.write_bytes(b"" if harm == "empty" else bytes(8192))
    with pytest.raises(StoreDamaged) as caught:
        LevelStore.open(filled, seal=make.seal())
    assert caught.value.facts["file"] == "HEAD"


def test_head_file_of_another_store_is_refused(filled: Path, tmp_path: Path) -> None:
    with make.made(tmp_path / "other"):
        pass
    shutil.copy(tmp_path / "other" / "HEAD", filled / "HEAD")
    with pytest.raises(StoreDamaged):
        LevelStore.open(filled, seal=make.seal())


def test_lost_batch_chain_is_refused(filled: Path) -> None:
    raw = plyvel.DB(str(make.database(filled)))
    for key in list(raw.iterator(prefix=b"\x00deltaseal/chain/", include_value=False)):
        raw.delete(key)
    raw.close()
    with pytest.raises(StoreDamaged) as caught:
        LevelStore.open(filled, seal=make.seal())
    assert caught.value.facts["row"] == "chain"


def test_synced_batch_lost_in_the_middle_is_refused(filled: Path) -> None:
    raw = plyvel.DB(str(make.database(filled)))
    raw.delete(b"\x00deltaseal/chain/" + (30).to_bytes(2, "big"))
    raw.close()
    with pytest.raises(StoreDamaged) as caught:
        LevelStore.open(filled, seal=make.seal())
    assert caught.value.facts["row"] == "chain"


def test_chain_row_in_the_wrong_slot_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with make.made(path, sealed=False) as store:
        store.write(make.rows(0, 1), sync=True)
    raw = plyvel.DB(str(make.database(path)))
    prefix = b"\x00deltaseal/chain/"
    raw.put(prefix + b"\x00\x05", raw.get(prefix + b"\x00\x01"))
    raw.close()
    with pytest.raises(StoreDamaged):
        LevelStore.open(path, seal=None)


def test_identity_row_of_another_store_is_refused(filled: Path) -> None:
    raw = plyvel.DB(str(make.database(filled)))
    raw.delete(b"\x00deltaseal/identity")
    raw.close()
    with pytest.raises(StoreForeign):
        LevelStore.open(filled, seal=make.seal())


# ── killed ─────────────────────────────────────────────────────────────────────────────────────────────

WRITER = """
import os, sys, threading
from pathlib import Path
from anchor.keyvalue import Put
from node.store.envelope import RowSeal
from node.store.leveldb import LevelStore
store = LevelStore.open(Path(sys.argv[1]), seal=RowSeal(bytes(range(32))))
first = int(sys.argv[2])
def write(thread):
    for number in range(first + thread, first + 100_000, 4):
        row = Put(b"row/%06d" % number, b"value of %d" % number)
        store.write([row, Put(b"pair/%06d" % number, b"")], sync=True)
        os.write(1, b"%d\\n" % number)
for thread in range(4):
    threading.Thread(target=write, args=(thread,), daemon=True).start()
threading.Event().wait()
"""


def test_acknowledged_writes_outlive_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with make.made(path):
        pass
    chance = random.Random(9)
    acknowledged: list[int] = []
    for turn in range(5):
        writer = make.start_script(WRITER, str(path), str(turn * 100_000))
        assert writer.stdout is not None
        for _ in range(chance.randrange(20, 300)):
            acknowledged.append(int(writer.stdout.readline()))
        writer.send_signal(signal.SIGKILL)
        # What was printed before the kill counts too; the last line may be torn.
        lines = writer.stdout.read().splitlines(keepends=True)
        acknowledged += [int(line) for line in lines if line.endswith("\n")]
        writer.wait()
        with make.opened(path) as store:
            for number in acknowledged:
                assert store.get(b"row/%06d" % number) == b"value of %d" % number
            pairs = {key[5:] for key in store.keys(b"pair/")}
            assert pairs == {key[4:] for key in store.keys(b"row/")}
    assert len(acknowledged) > 100


INIT = """
import sys
from pathlib import Path
from node.store.envelope import RowSeal
from node.store.leveldb import LevelStore
print("go", flush=True)
LevelStore.create(Path(sys.argv[1]), node_id="n", seal=RowSeal(bytes(range(32)))).close()
print("made", flush=True)
"""


def test_store_whose_making_was_killed_is_refused_or_whole(tmp_path: Path) -> None:
    for turn in range(4):
        path = tmp_path / f"store{turn}"
        maker = make.start_script(INIT, str(path))
        assert maker.stdout is not None
        maker.stdout.readline()
        while turn and not path.exists() and maker.poll() is None:
            pass  # the later turns kill once the folder is there
        maker.kill()
        maker.wait()
        maker.stdout.close()
        with contextlib.suppress(StoreMissing, StoreDamaged), make.opened(path) as store:
            store.write([Put(b"k", b"v")], sync=True)
