"""What does a material take on disk beyond its bytes, and what a record in the index? After compaction."""

from __future__ import annotations

import os
from pathlib import Path

from anchor.keyvalue import Delete
from bench.figures import Figure, compare
from bench.load import rate
from bench.pushsmall import CONNECTIONS, FILE_BYTES, push_request
from bench.runner import run
from bench.stage import Bench, Stage, restart_measured
from node.config import load_config
from node.keys import KeyFolder
from node.runtime import read_passphrase
from node.store.envelope import RowSeal
from node.store.leveldb import LevelStore
from node.store.rows import IDEMPOTENCY

FILES = 1_000
RECORDS = 20_000
#: A factor of 1.02 on the bytes and 1 KiB a material, as one factor on a file of 4 KiB; an index row of 400 bytes.
GOAL_STORE = 1.02 + 1024 / FILE_BYTES
GOAL_INDEX_BYTES = 400


def folder_bytes(folder: Path) -> int:
    """Return the size of all files below `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def weigh(folder: Path) -> tuple[int, int, int]:
    """Return the bytes of a stopped node's store, of that store without stored answers, and of its index.

    All are compacted. Answers under an Idempotency-Key are swept after 72 hours; here they are deleted at once.
    """
    config = load_config(folder)
    keys = KeyFolder.open(folder / "keys", read_passphrase(config))
    with LevelStore.open(folder / "index", seal=None) as index:
        index.compact(b"")
    with LevelStore.open(folder / "store", seal=RowSeal(keys.store_key())) as store:
        store.compact(b"")
    whole = folder_bytes(folder / "store")
    with LevelStore.open(folder / "store", seal=RowSeal(keys.store_key())) as store:
        store.write([Delete(key) for key in store.keys(IDEMPOTENCY.prefix)], sync=True)
        store.compact(b"")
    return whole, folder_bytes(folder / "store"), folder_bytes(folder / "index")


def measure(bench: Bench) -> list[Figure]:
    """Weigh the store and the index before and after some pushes and some records."""
    stage = bench.stage
    _, store_before, index_before = _weigh_stopped(stage)
    stage.grow(stage.documents + RECORDS)
    pushes = [push_request("/v1/materials", os.urandom(FILE_BYTES), key=stage.key) for _ in range(FILES)]
    rate(stage.node.url, pushes, status=201, connections=CONNECTIONS)
    stage.network.settle(timeout_s=120)
    whole, lasting, index_after = _weigh_stopped(stage)
    record = (index_after - index_before) / (RECORDS + FILES)
    return [
        _material("disk, a material of 4 KiB", (whole - store_before) / FILES),
        _material("the same after 72 hours", (lasting - store_before) / FILES),
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


def _material(stage: str, size_bytes: float) -> Figure:
    pair = (size_bytes, float(FILE_BYTES))
    n, goal = f"{FILES:,} files", round(GOAL_STORE, 2)
    return compare(stage, n, [pair], unit="bytes", floor="bytes stored", goal=goal, at_least=False)


def _weigh_stopped(stage: Stage) -> tuple[int, int, int]:
    stage.node.part.stop()
    try:
        return weigh(stage.node.folder)
    finally:
        restart_measured(stage)


if __name__ == "__main__":
    run(measure)
