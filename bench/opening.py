"""How long does a large index take to open? Beside: LevelDB alone on the same files."""

from __future__ import annotations

import time
from pathlib import Path

import plyvel

from bench.figures import Figure, alternate, compare
from bench.runner import run
from bench.stage import Bench, restart_measured
from node.runtime import INDEX_CACHE_BYTES
from node.store.leveldb import DATABASE_FOLDER, LevelStore
from verifier.catalog import CatalogView
from verifier.index import ChainIndex

ROUNDS = 5


def open_index(folder: Path) -> float:
    """Open store, index and catalogue as a starting node does, up to the first answer; return milliseconds."""
    started = time.perf_counter()
    with LevelStore.open(folder, seal=None, cache_bytes=INDEX_CACHE_BYTES, chain=False) as store:
        index = ChainIndex(store)
        CatalogView(index).material_types()
        index.cursor()
        return 1000 * (time.perf_counter() - started)


def open_alone(folder: Path) -> float:
    """Open and read the first row by LevelDB alone; return milliseconds."""
    started = time.perf_counter()
    database = plyvel.DB(
        str(folder / DATABASE_FOLDER),
        paranoid_checks=True,
        lru_cache_size=INDEX_CACHE_BYTES,
        bloom_filter_bits=10,
    )
    with database.iterator() as rows:
        next(rows, None)
    spent = 1000 * (time.perf_counter() - started)
    database.close()
    return spent


def measure(bench: Bench) -> list[Figure]:
    """Open the measured node's index while the node is stopped."""
    stage = bench.stage
    stage.grow(bench.sizes[-1])
    folder = stage.node.folder / "index"
    stage.node.part.stop()
    # The first opening moves the log of the last run into a table, which is no part of what is compared.
    open_alone(folder)
    pairs = alternate(ROUNDS, lambda _number: open_index(folder), lambda _number: open_alone(folder))
    restart_measured(stage)
    n = f"{stage.documents:,} records"
    return [compare("open the index", n, pairs, unit="ms", floor="LevelDB alone", goal=3, at_least=False)]


if __name__ == "__main__":
    run(measure)
