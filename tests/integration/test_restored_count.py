"""A restored store goes on counting what was sealed under its key: nonces are used up by key, not by folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from anchor.keyvalue import Put
from node.errors import StoreKeyExhausted
from node.keys import KeyFolder
from node.services.backups import restore_store, save_backup, write_backup
from node.store import leveldb
from node.store.envelope import RowSeal
from node.store.leveldb import LevelStore

ROWS = 300


def backed_up(folder: Path, keys: KeyFolder, *, rounds: int) -> tuple[Path, int]:
    """Write the same rows `rounds` times and back the store up; return the file and what was sealed."""
    with LevelStore.create(folder / "old", node_id="node_1", seal=RowSeal(keys.store_key())) as store:
        for _ in range(rounds):
            store.write([Put(b"setting/%03d" % number, b"value") for number in range(ROWS)], sync=False)
        sealed = store.stats().sealed_rows
        pieces = write_backup(store, keys, node_id="node_1", created_at=1)
        save_backup(pieces, folder / "backup", keys)
    return folder / "backup", sealed


@pytest.fixture
def keys(tmp_path: Path) -> KeyFolder:
    return KeyFolder.create(tmp_path / "keys", "a passphrase", scrypt_n=2**10)


def test_a_restored_store_counts_on_from_where_its_key_was(tmp_path: Path, keys: KeyFolder) -> None:
    backup, sealed = backed_up(tmp_path, keys, rounds=5)
    assert sealed >= 5 * ROWS
    restore_store(backup, tmp_path / "new", keys)
    for _ in range(2):  # also after it was closed and opened again
        with LevelStore.open(tmp_path / "new" / "store", seal=RowSeal(keys.store_key())) as store:
            assert store.stats().sealed_rows >= sealed + ROWS


def test_a_restored_store_refuses_where_the_old_one_would_have(
    tmp_path: Path, keys: KeyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup, sealed = backed_up(tmp_path, keys, rounds=2)
    monkeypatch.setattr(leveldb, "SEAL_LIMIT", sealed + ROWS // 2)
    with pytest.raises(StoreKeyExhausted):
        restore_store(backup, tmp_path / "new", keys)
