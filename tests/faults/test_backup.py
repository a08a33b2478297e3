"""A backup is whole, sealed and of one moment; a restore serves the same materials, and an old one harms nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import plyvel
import pytest

from bench.disk import folder_bytes
from cli.demo import people
from cli.demo.chainproof import count_records
from cli.demo.network import DemoNode, Network
from node.config import load_config
from node.errors import StoreDamaged, StoreForeign
from node.keys import KeyFolder
from node.runtime import read_passphrase
from node.services.backups import check_backup
from tests.e2e.papers import File, Raw, fresh_file, meta_of
from tests.support.waiting import until
from verifier import rows
from verifier.rows import decode_point, encode_point

READ = {"deltaseal-purpose": "test", "deltaseal-case": "C-1"}


def store_program(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "node", "store", *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


@dataclass
class Stand:
    """QP's node, whose folder can be put aside and brought back from a backup."""

    network: Network
    node: DemoNode
    qp: Raw

    def push(self, *, size: int = 3000, wait: str | None = "final") -> tuple[File, dict[str, Any]]:
        file = fresh_file(size)
        answer = self.qp.push(file, meta_of(file), wait=wait)
        assert answer.status_code == 201, answer.text
        return file, answer.json()

    def back_up(self, target: Path) -> dict[str, Any]:
        made = store_program("backup", "--data-dir", str(self.node.folder), str(target))
        assert made.returncode == 0, made.stderr
        line: dict[str, Any] = json.loads(made.stdout)
        return line

    def restore(self, backup: Path) -> None:
        """Put the store and index aside and bring the node back from `backup`."""
        self.node.part.stop()
        for name in ("store", "index"):
            shutil.rmtree(self.node.folder / name)
        done = store_program("restore", "--data-dir", str(self.node.folder), str(backup))
        assert done.returncode == 0, done.stderr
        self.node.restart()

    def says_valid(self, file: File) -> bool:
        return bool(self.qp.verify(file.sha256)["verdict"] == "valid")

    def holds(self, file: File, material: dict[str, Any]) -> bool:
        content = self.qp.http.get(f"/v1/materials/{material['materialId']}/content", headers=READ)
        return content.status_code == 200 and hashlib.sha256(content.content).hexdigest() == file.sha256


@pytest.fixture(scope="module")
def stand(network: Network) -> Iterator[Stand]:
    made = Stand(network, network.nodes["QP"], Raw(network, people.QP))
    yield made
    if not made.node.part.running:
        made.node.restart()


def keys_of(node: DemoNode) -> KeyFolder:
    return KeyFolder.open(node.folder / "keys", read_passphrase(load_config(node.folder)))


def test_a_backup_made_under_load_restores_all_that_was_answered_before_it(
    stand: Stand, tmp_path: Path
) -> None:
    held = [stand.push(size=size) for size in (10, 3000, (2 << 20) + 11)]
    stop = threading.Event()

    def go_on_pushing() -> None:
        while not stop.is_set():
            stand.push(wait=None)

    writer = threading.Thread(target=go_on_pushing)
    writer.start()
    try:
        stand.back_up(tmp_path / "backup")
    finally:
        stop.set()
        writer.join()
    stand.restore(tmp_path / "backup")
    assert all(stand.holds(*one) for one in held)
    assert stand.qp.get("/v1/audit/verify").json()["intact"] is True


def test_an_old_copy_goes_on_where_the_chain_is_and_anchors_once(stand: Stand, tmp_path: Path) -> None:
    before = stand.push()
    queued = stand.push(wait=None)
    stand.back_up(tmp_path / "backup")
    later = [stand.push() for _ in range(3)]
    stand.restore(tmp_path / "backup")

    # What the copy does not hold is still on chain, and no other's word about it changes.
    assert all(stand.qp.get(f"/v1/materials/{one['materialId']}").status_code == 404 for _, one in later)
    for file, _ in later:  # Once its index, which is built anew, has come so far.
        until(partial(stand.says_valid, file), "known again from the chain")
    fresh = stand.push()
    final = [stand.qp.get(f"/v1/materials/{one['materialId']}").json() for _, one in (before, queued, fresh)]
    assert {one["anchor"]["status"] for one in final} == {"final"}
    ids = [record for one in final for record in one["anchor"]["recordIds"]]
    assert len(ids) == 3
    assert set(count_records(stand.network, ids).values()) == {1}


def test_a_backup_shows_nothing_and_every_altered_or_cut_one_is_refused(stand: Stand, tmp_path: Path) -> None:
    file, _ = stand.push(size=5000)
    target, keys = tmp_path / "backup", keys_of(stand.node)
    made = stand.back_up(target)
    content = target.read_bytes()
    assert check_backup(target, keys).sha256 == made["sha256"]
    for secret in (file.content[:64], b"PD-TEST-1", people.FIRMS[0].id.encode(), file.sha256.encode()):
        assert secret not in content
    broken = tmp_path / "broken"
    for place in (5, 60, 150, len(content) // 2, len(content) - 200, len(content) - 1):
        altered = bytearray(content)
        altered[place] ^= 1
        broken.write_bytes(altered)
        with pytest.raises((StoreDamaged, StoreForeign)):
            check_backup(broken, keys)
    for rest in (content[:-1], content[: len(content) // 2], content[:100], b"", content + b"x"):
        broken.write_bytes(rest)
        with pytest.raises((StoreDamaged, StoreForeign)):
            check_backup(broken, keys)
    with pytest.raises(StoreForeign):
        check_backup(target, keys_of(stand.network.nodes["PD"]))


def test_a_damaged_backup_restores_nothing_and_a_restore_never_overwrites(
    stand: Stand, tmp_path: Path
) -> None:
    stand.push(size=3 << 20)
    target = tmp_path / "backup"
    stand.back_up(target)
    target.write_bytes(target.read_bytes()[:-3000])
    home = tmp_path / "home"
    shutil.copytree(
        stand.node.folder,
        home,
        ignore=lambda folder, _: ["store", "index"] if Path(folder) == stand.node.folder else [],
    )
    refused = store_program("restore", "--data-dir", str(home), str(target))
    assert refused.returncode == 10
    assert not (home / "store").exists()
    occupied = store_program("restore", "--data-dir", str(stand.node.folder), str(target))
    assert occupied.returncode == 6
    assert "store_unwritable" in occupied.stderr


def flip_chunk(path: Path) -> None:
    """Alter a byte in the middle of the newest chunk that LevelDB holds, with a checksum that fits."""
    database = plyvel.DB(str(path))
    key, value = list(database.iterator(prefix=b"blob/"))[-1]
    database.put(key, value[:-20] + bytes([value[-20] ^ 1]) + value[-19:])
    database.close()


def drop_chunk(path: Path) -> None:
    database = plyvel.DB(str(path))
    database.delete(list(database.iterator(prefix=b"blob/", include_value=False))[-1])
    database.close()


def add_orphan(path: Path) -> None:
    database = plyvel.DB(str(path))
    database.put(b"blob/\x05blb_X" + bytes(8), b"x" * 100)
    database.close()


def flip_row(path: Path) -> None:
    database = plyvel.DB(str(path))
    key, value = next(iter(database.iterator(prefix=b"material/")))
    database.put(key, value[:-1] + bytes([value[-1] ^ 1]))
    database.close()


def drop_audit_entry(path: Path) -> None:
    database = plyvel.DB(str(path))
    database.delete(b"audit/" + (3).to_bytes(8, "big"))
    database.close()


DAMAGES: list[tuple[Callable[[Path], None], str, str]] = [
    (flip_chunk, "blob_damaged", "mat_"),
    (drop_chunk, "blob_truncated", "mat_"),
    (add_orphan, "chunk_orphaned", "blb_X"),
    (flip_row, "store_damaged", "material"),
    (drop_audit_entry, "audit_broken", "audit entry 3"),
]


@pytest.fixture(scope="module")
def sound(stand: Stand, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of a stopped node's folder that is sound."""
    stand.push(size=40)
    stand.node.part.stop()
    home = tmp_path_factory.mktemp("verify") / "home"
    shutil.copytree(stand.node.folder, home)
    stand.node.restart()
    checked = store_program("verify", "--data-dir", str(home))
    assert checked.returncode == 0, checked.stderr
    line = json.loads(checked.stdout)
    assert line["sound"]
    assert line["blobs"] > 0
    assert line["audit_entries"] > 0
    return home


@pytest.mark.parametrize(("harm", "code", "where"), DAMAGES, ids=[row[0].__name__ for row in DAMAGES])
def test_verify_names_what_is_damaged(
    sound: Path, tmp_path: Path, harm: Callable[[Path], None], code: str, where: str
) -> None:
    home = tmp_path / "home"
    shutil.copytree(sound, home)
    harm(home / "store" / "leveldb")
    checked = store_program("verify", "--data-dir", str(home))
    assert checked.returncode == 10, checked.stderr
    damages = json.loads(checked.stdout)["damages"]
    assert any(one["code"] == code and where in one["where"] for one in damages), damages


def test_verify_of_a_running_nodes_store_says_that_it_is_in_use(stand: Stand) -> None:
    checked = store_program("verify", "--data-dir", str(stand.node.folder))
    assert checked.returncode == 8
    assert "store_locked" in checked.stderr


def forget_final_block(folder: Path) -> None:
    """Make the index remember a final block that the chain does not have, as after an older copy of the chain."""
    with plyvel.DB(str(folder / "index" / "leveldb")) as database:
        point = decode_point(database.get(rows.FINAL)[:48])
        other = encode_point(replace(point, hash=bytes(32)))
        database.put(rows.FINAL, other + database.get(rows.FINAL)[48:])


def test_a_chain_that_lost_final_blocks_is_accepted_by_dropping_the_index(stand: Stand) -> None:
    file, _ = stand.push()
    refused = store_program("reindex", "--data-dir", str(stand.node.folder))
    assert (refused.returncode, "store_locked" in refused.stderr) == (8, True)
    stand.node.part.stop()
    forget_final_block(stand.node.folder)
    stand.node.part.start()
    stand.node.part.wait_line()
    until(lambda: stand.qp.verify(file.sha256)["verdict"] == "stale", "a chain that stepped back")
    assert "chain_regressed" in stand.qp.http.get("/readyz").text
    stand.node.part.stop()
    held = folder_bytes(stand.node.folder / "index")
    done = store_program("reindex", "--data-dir", str(stand.node.folder))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["droppedBytes"] == held > 0
    assert [path.name for path in stand.node.folder.glob("index*")] == []
    stand.node.restart()
    until(partial(stand.says_valid, file), "valid again, by the chain as it is now")
