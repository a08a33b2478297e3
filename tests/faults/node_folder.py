"""A node's folder made by code, without a chain: settings, keys, a store. For programs that ask no chain."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from anchor.signer import Signer, save_keystore
from node.__main__ import main
from node.config import write_config
from node.keys import KeyFolder
from node.store import rows
from node.store.envelope import RowSeal
from node.store.leveldb import LevelStore

AGENCY = "12310104FAKE0011X9"
PASSPHRASE = "a passphrase of the tests"
NODE_ID = "node_01JCV3Z5Y8K7Q2M4N6P8R0S2T4"
BOUND_S = 300


def make_keys(folder: Path) -> KeyFolder:
    """Write settings, passphrase and a key folder into `folder`."""
    folder.mkdir(parents=True)
    (folder / "passphrase").write_text(PASSPHRASE + "\n")
    settings = {
        "chain_rpc": "http://127.0.0.1:9",
        "chain_id": 310000,
        "directory": "0x" + "12" * 20,
        "agencies": [AGENCY],
        "passphrase_file": str(folder / "passphrase"),
    }
    write_config(folder, settings)
    keys = KeyFolder.create(folder / "keys", PASSPHRASE)
    save_keystore(keys.keystore_path, Signer.generate(), PASSPHRASE)
    return keys


def make_store(folder: Path, keys: KeyFolder, *, schema: int) -> LevelStore:
    """Create the store beside the keys and return it open."""
    store = LevelStore.create(
        folder / "store", node_id=NODE_ID, seal=RowSeal(keys.store_key()), schema=schema
    )
    store.write([rows.SETTING.put(rows.SettingRow("node_id", NODE_ID.encode()))], sync=True)
    return store


@dataclass(frozen=True)
class Ran:
    """How a program ended and what it said."""

    returncode: int
    stdout: str
    stderr: str


def run_node(*arguments: str, failpoint: str = "") -> Ran:
    """Run `python -m node …` to its end: in this process, or in one of its own if a fail point is to kill it."""
    if failpoint:
        return _run_apart(arguments, failpoint)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    return Ran(code, out.getvalue(), err.getvalue())


def _run_apart(arguments: tuple[str, ...], failpoint: str) -> Ran:
    done = subprocess.run(
        [sys.executable, "-m", "node", *arguments],
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
        env={**os.environ, "DELTASEAL_FAILPOINT": failpoint},
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def content_of(folder: Path) -> dict[Path, bytes]:
    """Return every file below `folder`, the lock's process id aside."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock"}
