"""How fast does `store verify` read a whole store? Beside: the store's own files read and hashed, once each."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from bench.figures import Figure, alternate, compare
from bench.pushlarge import push_once, write_file
from bench.runner import run
from bench.stage import Bench, Stage, restart_measured
from node.config import load_config
from node.keys import KeyFolder
from node.runtime import read_passphrase
from node.services.backups import verify_store
from node.store.envelope import RowSeal
from node.store.leveldb import LevelStore

ROUNDS = 5
PIECE_BYTES = 1 << 20


def hash_files(folder: Path) -> float:
    """Return the seconds to read and hash all files below `folder`."""
    started = time.perf_counter()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest = hashlib.sha256()
            with path.open("rb", buffering=0) as file:
                while piece := file.read(PIECE_BYTES):
                    digest.update(piece)
    return time.perf_counter() - started


def verify_once(folder: Path) -> tuple[float, int]:
    """Return the seconds to verify a stopped node's store, its opening included, and the bytes of its files."""
    config = load_config(folder)
    keys = KeyFolder.open(folder / "keys", read_passphrase(config))
    started = time.perf_counter()
    with LevelStore.open(folder / "store", seal=RowSeal(keys.store_key())) as store:
        finding = verify_store(store, keys)
    seconds = time.perf_counter() - started
    assert not finding.damages, finding.damages
    return seconds, finding.blob_bytes


def measure(bench: Bench) -> list[Figure]:
    """Verify a store that holds one large file and what was pushed before; MiB a second."""
    stage: Stage = bench.stage
    path = bench.folder / "verified"
    write_file(path, bench.large_mib)
    push_once(stage, path)
    stage.network.settle(timeout_s=300.0)
    path.unlink()
    stage.node.part.stop()
    folder = stage.node.folder
    try:
        # Both read the same bytes from the same page cache: one pass before fills it.
        mib = verify_once(folder)[1] / PIECE_BYTES
        pairs = alternate(
            ROUNDS,
            lambda _number: mib / verify_once(folder)[0],
            lambda _number: mib / hash_files(folder / "store"),
        )
    finally:
        restart_measured(stage)
    floor = "the same files read and hashed"
    return [compare("store verify", f"{mib:,.0f} MiB", pairs, unit="MiB/s", floor=floor, goal=0.5)]


if __name__ == "__main__":
    run(measure)
