"""What does a material take on disk beyond its bytes, and what a record in the index? After compaction."""

from __future__ import annotations

import os
from pathlib import Path

from bench.figures import Figure, compare
from bench.load import rate
from bench.pushsmall import FILE_BYTES, push_request
from bench.runner import run
from bench.stage import Bench, Stage, restart_measured
from node.config import load_config
from node.keys import KeyFolder
from node.runtime import read_passphrase
from node.store.envelope import RowSeal
from node.store.leveldb import LevelStore

FILES = 1_000
RECORDS = 20_000
#: A factor of 1.02 on the bytes and 1 KiB a material, as one factor on a file of 4 KiB; an index row of 400 bytes.
GOAL_STORE = 1.02 + 1024 / FILE_BYTES
GOAL_INDEX_BYTES = 400


def folder_bytes(folder: Path) -> int:
    """Return the size of all files below `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def weigh(folder: Path) -> tuple[int, int]:
    """Return the bytes of a stopped node's store and of its index, both compacted."""
    config = load_config(folder)
    keys = KeyFolder.open(folder / "keys", read_passphrase(config))
    for name, seal in (("store", RowSeal(keys.store_key())), ("index", None)):
        with LevelStore.open(folder / name, seal=seal) as store:
            store.compact(b"")
    return folder_bytes(folder / "store"), folder_bytes(folder / "index")


def measure(bench: Bench) -> list[Figure]:
    """Weigh the store and the index before and after some pushes and some records."""
    stage = bench.stage
    store_before, index_before = _weigh_stopped(stage)
    stage.grow(stage.documents + RECORDS)
    pushes = [push_request("/v1/materials", os.urandom(FILE_BYTES), key=stage.key) for _ in range(FILES)]
    rate(stage.node.url, pushes, status=201)
    stage.network.settle(timeout_s=120)
    store_after, index_after = _weigh_stopped(stage)
    material = (store_after - store_before) / FILES
    record = (index_after - index_before) / (RECORDS + FILES)
    return [
        compare(
            "disk, a material of 4 KiB",
            f"{FILES:,} files",
            [(material, FILE_BYTES)],
            unit="bytes",
            floor="bytes stored",
            goal=round(GOAL_STORE, 2),
            at_least=False,
        ),
        compare(
            "disk, a record in the index",
            f"{RECORDS + FILES:,} records",
            [(record, GOAL_INDEX_BYTES)],
            unit="bytes",
            floor="bound",
            goal=1,
            at_least=False,
        ),
    ]


def _weigh_stopped(stage: Stage) -> tuple[int, int]:
    stage.node.part.stop()
    try:
        return weigh(stage.node.folder)
    finally:
        restart_measured(stage)


if __name__ == "__main__":
    run(measure)
