"""`python -m node store verify|backup|restore|migrate|reindex`: look after the store of a node's folder.

Results are one JSON line on stdout; progress and messages go to stderr. Exit codes: 0, 10 for damage, and those of
`node.__main__`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx

from node.config import NodeConfig, load_config
from node.errors import ConfigInvalid, StoreDamaged, StoreLocked, StoreRolledBack, StoreUnwritable
from node.indexfolder import drop_index
from node.keys import KeyFolder
from node.runtime import read_passphrase
from node.services import backups
from node.store import migrations, rows
from node.store.envelope import RowSeal
from node.store.identity import SCHEMA
from node.store.leveldb import LevelStore

EXIT_DAMAGED = 10
BACKUP_PATH = "/v1/store/backups"
_PROGRESS_BYTES = 256 << 20


def add_store_commands(commands: Any) -> None:
    """Add `store` and its verbs to the parser of `python -m node`."""
    verbs = commands.add_parser("store", help="look after a node's store").add_subparsers(required=True)
    verify = verbs.add_parser("verify", help="read every row and chunk of a stopped node's store")
    backup = verbs.add_parser(
        "backup", help="copy the store into an encrypted file, also while the node runs"
    )
    restore = verbs.add_parser("restore", help="make the store of a folder from a backup")
    migrate = verbs.add_parser("migrate", help="carry a stopped node's store of an earlier release over")
    reindex = verbs.add_parser("reindex", help="drop a stopped node's index; it is read from the chain again")
    for verb in (verify, backup, restore, migrate, reindex):
        verb.add_argument("--data-dir", type=Path, required=True)
    backup.add_argument("file", type=Path)
    restore.add_argument("file", type=Path)
    migrate.add_argument("--backup", type=Path, required=True)
    migrate.set_defaults(run=lambda options: _or_damaged(_migrate, options))
    verify.set_defaults(run=lambda options: _or_damaged(_verify, options))
    backup.set_defaults(run=lambda options: _or_damaged(_backup, options))
    restore.set_defaults(run=lambda options: _or_damaged(_restore, options))
    reindex.set_defaults(run=lambda options: _or_damaged(_reindex, options))


def _or_damaged(run: Any, options: argparse.Namespace) -> int:
    try:
        return int(run(options))
    except (StoreDamaged, StoreRolledBack) as error:
        where = str(error.facts.get("file") or error.facts.get("row") or "store")
        _print({"sound": False, "damages": [{"code": error.code, "where": where}]})
        print(f"error: {error} ({error.code})\nhint: {error.hint}", file=sys.stderr)
        return EXIT_DAMAGED


def _verify(options: argparse.Namespace) -> int:
    config, keys = _opened(options.data_dir)
    told = 0

    def tell(size_bytes: int) -> None:
        nonlocal told
        if size_bytes - told >= _PROGRESS_BYTES:
            told = size_bytes
            print(f"read {size_bytes >> 20} MiB", file=sys.stderr, flush=True)

    with _store(config, keys) as store:
        finding = backups.verify_store(store, keys, on_progress=tell)
    _print({"sound": not finding.damages, **asdict(finding)})
    for damage in finding.damages:
        print(f"error: {damage.where} is damaged ({damage.code})", file=sys.stderr)
    return EXIT_DAMAGED if finding.damages else 0


def _backup(options: argparse.Namespace) -> int:
    config, keys = _opened(options.data_dir)
    try:
        with _store(config, keys) as store:
            summary = _save_own(store, keys, options.file)
            backups.note_done(store, summary.created_at)
    except StoreLocked:
        # The node runs: it makes the copy itself, from a snapshot.
        summary = backups.save_backup(_from_node(config, options.file), options.file, keys)
    _print({"file": str(options.file), **asdict(summary)})
    return 0


def _from_node(config: NodeConfig, file: Path) -> Iterator[bytes]:
    key = _admin_key(config)
    url = f"http://{config.host}:{config.port}{BACKUP_PATH}"
    try:
        with (
            httpx.Client(trust_env=False, timeout=60) as client,
            client.stream(
                "POST",
                url,
                json={"place": str(file.absolute())},
                headers={"authorization": f"Bearer {key}"},
            ) as answer,
        ):
            if answer.status_code != 200:
                raise StoreLocked(
                    f"the running node refuses to make a backup: status {answer.status_code}",
                    hint="check the admin key of the folder, or stop the node",
                )
            yield from answer.iter_raw(1 << 20)
    except httpx.HTTPError:
        raise StoreLocked(
            "another process holds the store and no node answers at its address",
            hint="start the node, or stop the process that holds the store",
        ) from None


def _admin_key(config: NodeConfig) -> str:
    try:
        return (config.data_dir / "admin.key").read_text("utf-8").strip()
    except OSError:
        raise ConfigInvalid(
            "the folder has no readable admin.key",
            hint="stop the node for the backup, or put the admin key back",
            setting="data_dir",
        ) from None


def _restore(options: argparse.Namespace) -> int:
    config, keys = _opened(options.data_dir)
    if any((config.data_dir / name).exists() for name in ("store", "index")):
        raise StoreUnwritable(
            "the folder holds a store already; a restore never overwrites one",
            hint="restore into a folder that holds the settings and the key folder only",
        )
    summary = backups.restore_store(options.file, config.data_dir, keys)
    _print({"dataDir": str(config.data_dir), **asdict(summary)})
    if summary.schema < SCHEMA:
        print("note: the copy is of an earlier release; run `deltaseal store migrate`", file=sys.stderr)
    print(
        "note: what this node took in after the copy is on chain and not in its store; push those files again",
        file=sys.stderr,
    )
    return 0


def _migrate(options: argparse.Namespace) -> int:
    config, keys = _opened(options.data_dir)
    with _store(config, keys, older=True) as store:
        before, backup = store.schema, None
        if before < SCHEMA:
            backup = _backup_before(store, keys, options.backup)
            migrations.note_backup(store, backup.sha256)
        migrations.migrate(store, on_step=lambda step: print(f"migrating: {step.change}", file=sys.stderr))
        _print({"from": before, "to": store.schema, "backup": asdict(backup) if backup else None})
    return 0


def _reindex(options: argparse.Namespace) -> int:
    config, keys = _opened(options.data_dir)
    with _store(config, keys):
        size_bytes = drop_index(config.data_dir / "index")
    _print({"dataDir": str(config.data_dir), "droppedBytes": size_bytes})
    print("note: the node reads the chain from its first block when it starts", file=sys.stderr)
    return 0


def _backup_before(store: LevelStore, keys: KeyFolder, file: Path) -> backups.BackupSummary:
    """Make and check the backup, or check the one that an interrupted run made of the unchanged store."""
    if migrations.noted_backup(store):
        return backups.check_backup(file, keys)
    return _save_own(store, keys, file)


def _save_own(store: LevelStore, keys: KeyFolder, file: Path) -> backups.BackupSummary:
    row = rows.SETTING.get(store, "node_id")
    name = row.value.decode() if row else ""
    now = int(time.time())
    store.write([backups.remembered(str(file.absolute()), created_at=now)], sync=True)
    pieces = backups.write_backup(store, keys, node_id=name, created_at=now)
    return backups.save_backup(pieces, file, keys)


def _opened(data_dir: Path) -> tuple[NodeConfig, KeyFolder]:
    config = load_config(data_dir)
    return config, KeyFolder.open(config.data_dir / "keys", read_passphrase(config))


def _store(config: NodeConfig, keys: KeyFolder, *, older: bool = False) -> LevelStore:
    return LevelStore.open(config.data_dir / "store", seal=RowSeal(keys.store_key()), older=older)


def _print(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)
