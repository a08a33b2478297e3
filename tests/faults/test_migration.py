"""A store of another release: a newer one is refused untouched, an older one is carried over, whatever cuts in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cli.demo import people
from cli.demo.network import DemoNode, Network
from node.config import load_config
from node.errors import StoreNewer, StoreOlder
from node.indexfolder import open_index
from node.keys import KeyFolder
from node.runtime import read_passphrase
from node.services.backups import check_backup, save_backup, write_backup
from node.store import migrations, rows
from node.store.envelope import RowSeal
from node.store.identity import OLDEST_SCHEMA, SCHEMA
from node.store.leveldb import LevelStore
from tests.e2e.papers import INVOICE, Raw, fresh_file, invoice_wish, meta_of
from tests.faults.node_folder import NODE_ID, PASSPHRASE, content_of, make_keys, make_store, run_node

WAITING, DONE = [f"reu_{n:026d}" for n in range(7)], [f"reu_{n:026d}" for n in range(7, 12)]


def reuse_row(name: str, state: str) -> rows.ReuseRow:
    """Return a reuse as the first schema stored it; only the fields that the migration reads matter."""
    return rows.ReuseRow(
        reuse_id=name, agency="12310104FAKE0011X9", case_no="C-1", matter_code="MA", req_id="R1",
        type_code=INVOICE, commitment=b"", custodian=1, outcome="pending", decision_json=b"{}",
        created_at=1_760_000_000 + int(name[-2:]), operation_ids=[], state=state, blob_id="",
        wrapped_file_key=b"", request_json=b"{}", key_epoch=1, wrapped_salt=b"", fields_json=b"{}",
    )  # fmt: skip


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the folder of a node of the first schema, with reuses that wait and some that do not."""
    folder = tmp_path_factory.mktemp("older") / "node"
    keys = make_keys(folder)
    with make_store(folder, keys, schema=OLDEST_SCHEMA) as store:
        store.write([rows.REUSE.put(reuse_row(name, "consuming")) for name in WAITING], sync=True)
        store.write([rows.REUSE.put(reuse_row(name, "done")) for name in DONE], sync=True)
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    copied = tmp_path / "node"
    shutil.copytree(template, copied)
    return copied


def keys_of(folder: Path) -> KeyFolder:
    return KeyFolder.open(folder / "keys", PASSPHRASE)


def migrate(folder: Path, backup: Path, *, failpoint: str = "") -> int:
    """Run the program and return its exit code."""
    done = run_node(
        "store", "migrate", "--data-dir", str(folder), "--backup", str(backup), failpoint=failpoint
    )
    assert "Traceback" not in done.stderr
    return done.returncode


def waiting_in(folder: Path) -> dict[str, int]:
    with LevelStore.open(folder / "store", seal=RowSeal(keys_of(folder).store_key())) as store:
        return {row.reuse_id: row.since for row in rows.WAITING.scan(store)}


def expected() -> dict[str, int]:
    return {name: 1_760_000_000 + int(name[-2:]) for name in WAITING}


def test_there_is_a_step_from_each_schema_to_the_next() -> None:
    assert sorted(migrations.MIGRATIONS) == list(range(OLDEST_SCHEMA, SCHEMA))


@pytest.mark.parametrize("program", [("serve",), ("store", "verify"), ("store", "backup", "b")])
def test_an_older_store_is_refused_untouched_and_the_way_on_is_named(
    folder: Path, program: tuple[str, ...]
) -> None:
    before = content_of(folder)
    tried = run_node(*program, "--data-dir", str(folder))
    assert tried.returncode == 6
    assert "store_older" in tried.stderr
    assert "deltaseal store migrate" in tried.stderr
    assert content_of(folder) == before


def test_a_newer_store_is_refused_untouched_by_every_program(folder: Path) -> None:
    keys = keys_of(folder)
    with LevelStore.open(folder / "store", seal=RowSeal(keys.store_key()), older=True) as store:
        store.raise_schema(SCHEMA + 1)
    before = content_of(folder)
    for program in (("serve",), ("store", "verify"), ("store", "migrate", "--backup", "b")):
        tried = run_node(*program, "--data-dir", str(folder))
        assert (tried.returncode, "store_newer" in tried.stderr) == (6, True), program
    assert content_of(folder) == before


def test_a_migration_is_made_after_a_backup_that_restores_what_was_before(
    folder: Path, tmp_path: Path
) -> None:
    backup = tmp_path / "before.backup"
    assert migrate(folder, backup) == 0
    assert waiting_in(folder) == expected()
    assert check_backup(backup, keys_of(folder)).schema == OLDEST_SCHEMA
    assert migrate(folder, tmp_path / "another") == 0  # nothing is left to do
    assert not (tmp_path / "another").exists()

    for name in ("store", "index"):
        shutil.rmtree(folder / name, ignore_errors=True)
    restored = run_node("store", "restore", "--data-dir", str(folder), str(backup))
    assert restored.returncode == 0, restored.stderr
    assert "store migrate" in restored.stderr
    with pytest.raises(StoreOlder):
        waiting_in(folder)
    assert migrate(folder, tmp_path / "again") == 0
    assert waiting_in(folder) == expected()


@pytest.mark.parametrize("point", ["migrate.note.after", "migrate.batch.after", "migrate.identity.after"])
def test_a_migration_killed_at_any_point_opens_nowhere_and_is_finished_by_the_same_command(
    folder: Path, tmp_path: Path, point: str
) -> None:
    backup = tmp_path / "before.backup"
    assert migrate(folder, backup, failpoint=f"{point}:1:kill") == -9
    made = backup.read_bytes()
    with pytest.raises(StoreOlder):
        waiting_in(folder)
    assert migrate(folder, backup) == 0
    assert waiting_in(folder) == expected()
    assert backup.read_bytes() == made


def test_an_interrupted_migration_takes_no_other_backup(folder: Path, tmp_path: Path) -> None:
    keys, other = keys_of(folder), tmp_path / "other"
    with LevelStore.open(folder / "store", seal=RowSeal(keys.store_key()), older=True) as store:
        migrations.note_backup(store, "ab" * 32)
        save_backup(write_backup(store, keys, node_id=NODE_ID, created_at=1), other, keys)
    for file, code, said in (
        (other, 6, "migration_backup_foreign"),
        (tmp_path / "none", 10, "store_damaged"),
    ):
        done = run_node("store", "migrate", "--data-dir", str(folder), "--backup", str(file))
        assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    with pytest.raises(StoreOlder):
        waiting_in(folder)


def test_a_backup_of_a_later_release_makes_no_store(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert migrate(folder, tmp_path / "unused") == 0
    assert run_node("store", "backup", "--data-dir", str(folder), str(tmp_path / "b")).returncode == 0
    monkeypatch.setattr("node.store.identity.SCHEMA", SCHEMA - 1)
    with pytest.raises(StoreNewer):
        check_backup(tmp_path / "b", keys_of(folder))


@pytest.mark.parametrize("schema", [OLDEST_SCHEMA, SCHEMA + 1])
def test_an_index_of_another_release_is_made_empty_again(tmp_path: Path, schema: int) -> None:
    with LevelStore.create(tmp_path / "index", node_id="n", seal=None, chain=False) as index:
        index.write([rows.SETTING.put(rows.SettingRow("old", b""))], sync=True)
        index.raise_schema(schema)
    with open_index(tmp_path / "index", node_id="n") as index:
        assert index.schema == SCHEMA
        assert list(index.keys(b"")) == []


# A whole node that was killed while a reuse waited for the chain.


@pytest.fixture
def pd(network: Network) -> Iterator[DemoNode]:
    node = network.nodes["PD"]
    yield node
    if not node.part.running:
        node.restart()


def become_older(node: DemoNode) -> None:
    """Take a stopped node's store back to the first schema: without rows for what waits."""
    keys = KeyFolder.open(node.folder / "keys", read_passphrase(load_config(node.folder)))
    with LevelStore.open(node.folder / "store", seal=RowSeal(keys.store_key())) as store:
        waiting = list(rows.WAITING.scan(store))
        assert waiting
        store.write([rows.WAITING.delete(row.reuse_id) for row in waiting], sync=True)
        store.raise_schema(OLDEST_SCHEMA)


def test_a_reuse_that_waited_under_the_first_schema_is_decided_after_the_migration(
    network: Network, pd: DemoNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, file = Raw(network, people.PD), fresh_file()
    number = f"2631{int.from_bytes(file.content[:6], 'big') % 10**16:016d}"
    pushed = client.push(file, meta_of(file, typeCode=INVOICE, documentNo=number, expiresOn=None))
    assert pushed.status_code == 201, pushed.text
    wish = invoice_wish(number)
    pd.part.stop()
    monkeypatch.setenv("DELTASEAL_FAILPOINT", "reuse.consume.after:1:kill")
    pd.restart()
    monkeypatch.delenv("DELTASEAL_FAILPOINT")
    with pytest.raises(httpx.HTTPError):
        client.post("/v1/reuses", wish, key="k-migration")
    pd.part.wait_for(lambda: None if pd.part.running else True, "it did not end at its fail point")
    become_older(pd)
    refused = run_node("serve", "--data-dir", str(pd.folder))
    assert "store_older" in refused.stderr
    done = run_node("store", "migrate", "--data-dir", str(pd.folder), "--backup", str(tmp_path / "b"))
    assert (done.returncode, json.loads(done.stdout)["to"]) == (0, SCHEMA), done.stderr
    pd.restart()
    name = client.post("/v1/reuses", wish, key="k-migration").json()["reuseId"]

    def outcome() -> str | None:
        said = client.get(f"/v1/reuses/{name}").json()["outcome"]
        return None if said == "pending" else str(said)

    assert pd.part.wait_for(outcome, "the reuse was not decided") == "granted"
