"""Bad disks under a whole node: full, read-only, with errors, damaged in every kind of file, opened twice.

What a node answered with 201 stays there; what it cannot store it refuses with a named code; what it cannot vouch
for it never serves. What the store itself does on such disks is in `tests/integration/test_store_damage.py`.
"""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from anchor.errors import DeltasealError
from anchor.keyvalue import Put
from anchor.signer import load_keystore
from cli.demo import people
from cli.demo.network import Network
from node.config import load_config
from node.errors import StoreUnwritable
from node.indexfolder import open_index
from node.keys import KeyFolder
from node.runtime import read_passphrase
from node.services.backups import verify_store
from node.store.envelope import RowSeal
from node.store.leveldb import LevelStore
from tests.e2e.papers import Raw
from tests.faults.bending import READ, Bent, bent
from tests.faults.node_folder import run_node
from tests.faults.small_disk import small_disk
from tests.faults.test_dependency_faults import until
from tests.integration import store_factory as make

MIB = 1 << 20


@pytest.fixture(scope="module")
def qp(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bent]:
    with bent(network.nodes["QP"], tmp_path_factory.mktemp("bent"), Raw(network, people.QP)) as made:
        yield made


def refusal(qp: Bent, size: int = 2000) -> tuple[int, str]:
    """Push, and return status and code of the refusal."""
    answer = qp.push(size)
    return answer.status_code, str(answer.json().get("code"))


def test_a_full_disk_refuses_and_keeps_and_goes_on_once_there_is_room(qp: Bent) -> None:
    with small_disk(qp, size_bytes=200 * MIB) as disk:
        assert qp.push(2 * MIB).status_code == 201
        kept, sha256 = next(reversed(qp.told.items()))
        disk.leave(50 * MIB)  # the store keeps 32 MiB free for what LevelDB does by itself
        assert {refusal(qp, 12 * MIB) for _ in range(4)} & {(503, "store_full")}
        disk.fill()
        assert refusal(qp) == (503, "store_full")
        assert qp.push().headers["retry-after"]
        assert qp.client.verify(sha256)["verdict"] in ("valid", "pending", "unknown", "stale")
        assert qp.client.get(f"/v1/materials/{kept}").status_code == 200
        # No content leaves the node without an entry in its audit log.
        content = qp.client.http.get(f"/v1/materials/{kept}/content", headers=READ)
        assert (content.status_code, content.json()["code"]) == (503, "store_full")
        disk.make_room()
        until(lambda: qp.try_push() == 201, "it goes on without a restart")
        assert qp.part("store") == "ok"
        qp.assert_all_there()
    qp.assert_all_there()


def log_bytes(qp: Bent) -> int:
    """Return the size of the log that LevelDB writes now."""
    logs = sorted((qp.node.folder / "store" / "leveldb").glob("*.log"))
    return logs[-1].stat().st_size


def fail_in_the_middle(qp: Bent, more_bytes: int) -> None:
    """Let the file system refuse in the middle of a write, without any warning before it."""
    assert qp.push().status_code == 201
    with qp.limited(resource.RLIMIT_FSIZE, log_bytes(qp) + more_bytes):
        until(lambda: qp.push().status_code == 503, "a write fails")
        assert qp.part("store") == "store_full"
        assert refusal(qp) == (503, "store_full")
    # How much of that write is on the disk nobody knows, so nothing may follow it.
    assert refusal(qp) == (503, "store_full")
    qp.bring_back()
    assert qp.push().status_code == 201
    qp.assert_all_there()


@pytest.mark.parametrize("more_bytes", [700, pytest.param(1, marks=pytest.mark.full)])
def test_a_write_cut_short_by_the_file_system_is_never_followed_by_another(qp: Bent, more_bytes: int) -> None:
    fail_in_the_middle(qp, more_bytes)


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_writes_cut_short_anywhere_are_never_followed_by_another(qp: Bent) -> None:
    chance = random.Random(5)
    for _ in range(30):
        fail_in_the_middle(qp, chance.randrange(20_000))


@pytest.mark.parametrize(
    "written",
    [pytest.param(0, marks=pytest.mark.full), 1],
    ids=["before it was written", "after it was written"],
)
def test_an_io_error_ends_writing_is_named_and_loses_nothing(qp: Bent, written: int) -> None:
    assert qp.push().status_code == 201
    qp.set("eio", written)
    assert refusal(qp) == (503, "store_damaged")
    qp.set("eio", None)
    assert refusal(qp) == (503, "store_damaged")
    assert qp.part("store") == "store_damaged"
    qp.bring_back()
    assert qp.push().status_code == 201
    qp.assert_all_there()


def test_a_folder_that_is_served_is_not_opened_again(qp: Bent) -> None:
    for program in (("serve",), ("store", "verify")):
        second = run_node(*program, "--data-dir", str(qp.node.folder))
        assert (second.returncode, "store_locked" in second.stderr) == (8, True)
        assert str(qp.node.part.pid) in second.stderr
    assert qp.push().status_code == 201


# Read-only.


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Take the right to write from `folder` and from this process."""
    files = [folder, *folder.rglob("*")]
    before = {path: path.stat().st_mode for path in files}
    for path in files:
        path.chmod(0o555 if path.is_dir() else 0o444)
    own = os.geteuid()
    if own == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(own)
        for path, mode in before.items():
            with contextlib.suppress(FileNotFoundError):
                path.chmod(mode)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder below which another user can come: those of pytest are closed."""
    import tempfile

    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_store_that_may_not_be_written_is_refused_untouched(open_folder: Path) -> None:
    path = open_folder / "store"
    with make.made(path) as store:
        store.write(make.rows(0, 10), sync=True)
    with read_only(path), pytest.raises(StoreUnwritable):
        LevelStore.open(path, seal=make.seal())
    with make.opened(path) as store:
        assert dict(store.scan(b"row/")) == {op.key: op.value for op in make.rows(0, 10)}


def test_a_store_that_becomes_read_only_says_so_and_keeps_what_it_acknowledged(open_folder: Path) -> None:
    path, kept = open_folder / "store", 0
    with make.made(path) as store:
        with read_only(path), pytest.raises(StoreUnwritable):
            for number in range(64):  # until LevelDB wants its next file
                store.write([Put(b"row/%06d" % number, bytes(512 << 10))], sync=True)
                kept += 1
        assert store.failure == "store_unwritable"
        with pytest.raises(StoreUnwritable):
            store.write(make.rows(0, 1), sync=True)
    with make.opened(path) as store:
        assert [key for key, _ in store.scan(b"row/")][:kept] == [b"row/%06d" % n for n in range(kept)]
    assert kept


# Damage of every kind of file.


@dataclass(frozen=True)
class Template:
    """A node's folder as a kill left it, and what all its rows are."""

    folder: Path
    keys: KeyFolder
    rows: dict[bytes, bytes]
    index: dict[bytes, bytes]


@pytest.fixture(scope="module")
def template(qp: Bent, tmp_path_factory: pytest.TempPathFactory) -> Template:
    for size in (10, 2000, 6 * MIB):
        assert qp.push(size, wait="final").status_code == 201
    qp.node.part.kill()
    folder = tmp_path_factory.mktemp("damage") / "node"
    shutil.copytree(qp.node.folder, folder)
    qp.node.restart()
    keys = KeyFolder.open(folder / "keys", read_passphrase(load_config(folder)))
    probe = folder.with_name("probe")
    shutil.copytree(folder, probe)  # opening rewrites LevelDB's files; the template stays as the kill left it
    with LevelStore.open(probe / "store", seal=RowSeal(keys.store_key())) as store:
        rows = dict(store.scan(b""))
    with open_index(probe / "index", node_id="") as index:
        found = dict(index.scan(b""))
    return Template(folder, keys, rows, found)


Harm = Callable[[Path, random.Random], None]


def lose(path: Path, _chance: random.Random) -> None:
    path.unlink()


def empty(path: Path, _chance: random.Random) -> None:
    os.truncate(path, 0)


def halve(path: Path, _chance: random.Random) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip_bit(path: Path, chance: random.Random) -> None:
    make.flip(path, chance.randrange(max(1, path.stat().st_size)), chance.randrange(8))


HARMS: list[Harm] = [lose, empty, halve, flip_bit, flip_bit]
STORE_FILES = ["STORE", "HEAD", "leveldb/CURRENT", "leveldb/MANIFEST-*", "leveldb/*.log", "leveldb/*.ldb"]
INDEX_FILES = ["STORE", "leveldb/CURRENT", "leveldb/MANIFEST-*", "leveldb/*.ldb"]
KEY_FILES = ["keys.json", "kek/*", "member.json"]


def harmed(
    template: Template, target: Path, part: str, pattern: str, harm: Harm, *, seed: int
) -> Path | None:
    """Copy one part of the template and harm a file of that kind; None if there is no such file."""
    copy = target / part
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(template.folder / part, copy)
    files = sorted(path for path in copy.glob(pattern) if path.stat().st_size)
    if not files:
        return None
    chance = random.Random(f"{pattern} {seed}")
    harm(chance.choice(files), chance)
    return copy


def store_says(template: Template, folder: Path) -> str:
    """Return the first code that names the damage; "" if every row and byte is as it was."""
    try:
        with LevelStore.open(folder, seal=RowSeal(template.keys.store_key())) as store:
            damages = verify_store(store, template.keys).damages
            if damages:
                return damages[0].code
            assert dict(store.scan(b"")) == template.rows
    except DeltasealError as error:
        return error.code
    return ""


@pytest.mark.parametrize("pattern", STORE_FILES)
def test_a_damaged_file_of_the_store_is_named_or_harmless_and_never_served(
    template: Template, tmp_path: Path, pattern: str
) -> None:
    said = []
    for seed, harm in enumerate(HARMS):
        folder = harmed(template, tmp_path / "copy", "store", pattern, harm, seed=seed)
        if folder is not None:
            said.append(store_says(template, folder))
    assert len(said) == len(HARMS)
    # Lost and empty files are always named, cut ones too but for HEAD, which has two slots. A bit may lie in padding.
    assert all(said[: 2 if pattern == "HEAD" else 3]), said
    known = {"store_damaged", "store_rolled_back", "store_foreign", "store_missing", "blob_damaged"}
    assert set(said) <= {*known, "blob_truncated", "row_malformed", "store_newer", "store_older", ""}


@pytest.mark.parametrize("pattern", INDEX_FILES)
def test_a_damaged_file_of_the_index_is_named_or_harmless_and_never_served(
    template: Template, tmp_path: Path, pattern: str
) -> None:
    for seed, harm in enumerate(HARMS):
        folder = harmed(template, tmp_path / "copy", "index", pattern, harm, seed=seed)
        if folder is None:
            continue
        try:
            with open_index(folder, node_id="") as index:
                assert dict(index.scan(b"")) == template.index
        except DeltasealError as error:
            assert error.code in ("store_damaged", "store_foreign")
            assert error.hint


@pytest.mark.parametrize("pattern", KEY_FILES)
def test_a_damaged_key_file_is_named_and_no_other_key_is_used(
    template: Template, tmp_path: Path, pattern: str
) -> None:
    passphrase = read_passphrase(load_config(template.folder))
    names = [path.name.rsplit(".", 1) for path in (template.folder / "keys" / "kek").iterdir()]
    keks = [template.keys.kek(agency, int(epoch)) for agency, epoch in names]
    address = load_keystore(template.keys.keystore_path, passphrase).address
    known = {"key_folder_invalid", "passphrase_wrong", "keystore_invalid"}
    for seed, harm in enumerate(HARMS):
        folder = harmed(template, tmp_path / "copy", "keys", pattern, harm, seed=seed)
        assert folder is not None
        try:
            keys = KeyFolder.open(folder, passphrase)
            assert load_keystore(keys.keystore_path, passphrase).address == address
            assert [keys.kek(agency, int(epoch)) for agency, epoch in names] == keks
        except DeltasealError as error:
            assert error.code in known, (pattern, harm)
        else:
            assert (pattern, harm) == ("member.json", flip_bit)  # its address and id are told, and not used
