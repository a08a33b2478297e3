"""How long does a large index take to open? Beside: LevelDB alone on the same files."""

from __future__ import annotations

import time
from pathlib import Path

import plyvel

from bench.figures import Figure, alternate, compare
from bench.runner import run
from bench.stage import Bench, restart_measured
from node.indexfolder import CACHE_BYTES as INDEX_CACHE_BYTES
from node.store.leveldb import DATABASE_FOLDER, LevelStore
from verifier.catalog import CatalogView
from verifier.index import ChainIndex

ROUNDS = 5


def open_index(folder: Path, *, catalogue: bool) -> float:
    """Open store and index as a starting node does, perhaps also read the types; return milliseconds."""
    started = time.perf_counter()
    with LevelStore.open(folder, seal=None, cache_bytes=INDEX_CACHE_BYTES, chain=False) as store:
        index = ChainIndex(store)
        index.cursor()
        if catalogue:
            CatalogView(index).material_types()
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
    figures = []
    for catalogue in (False, True):
        pairs = alternate(
            ROUNDS,
            lambda _number, also=catalogue: open_index(folder, catalogue=also),  # type: ignore[misc]
            lambda _number: open_alone(folder),
        )
        name = "open the index and the catalogue" if catalogue else "open the index"
        goal = None if catalogue else 3.0
        n = f"{stage.documents:,} records"
        figures.append(compare(name, n, pairs, unit="ms", floor="LevelDB alone", goal=goal, at_least=False))
    restart_measured(stage)
    return figures


if __name__ == "__main__":
    run(measure)
