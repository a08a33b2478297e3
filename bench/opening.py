"""How long does a large index take to open? Beside: LevelDB alone on the same files.

The index is filled through the projection, not through a chain, which would take hours for the largest size.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import plyvel

from anchor.entries import BatchEntry
from anchor.merkle import root
from anchor.records import Stream
from bench.chains import FULL_BATCH, bench_keys, document_records
from bench.figures import Figure, alternate, compare
from bench.runner import run
from bench.stage import Bench, restart_measured
from node.indexfolder import CACHE_BYTES as INDEX_CACHE_BYTES
from node.store.leveldb import DATABASE_FOLDER, LevelStore
from verifier.catalog import CatalogView
from verifier.events import BatchAppended, IndexedBlock
from verifier.index import ChainIndex
from verifier.keyring import KeyRing
from verifier.projection import leaf_hashes

ROUNDS = 5
MEMBER = 1
BATCHES_A_WRITE = 8


def fill_index(folder: Path, records: int) -> None:
    """Make an index of so many records of documents in figures, each batch in a block of its own."""
    keys = bench_keys()
    LevelStore.create(folder, node_id="bench", seal=None, chain=False).close()
    with LevelStore.open(folder, seal=None, chain=False, cache_bytes=INDEX_CACHE_BYTES) as store:
        index = ChainIndex(store)
        index.use_keys(KeyRing({(keys.domain, keys.epoch): keys}))
        waiting: list[IndexedBlock] = []
        for block in figure_blocks(records):
            waiting.append(block)
            if len(waiting) == BATCHES_A_WRITE:
                index.apply_final(waiting)
                waiting = []
        index.apply_final(waiting)
        assert index.counts().indexed == records


def figure_blocks(records: int) -> Iterator[IndexedBlock]:
    """Yield blocks of a chain that does not exist: one full batch each, the last one smaller."""
    parent = bytes(32)
    for number, first in enumerate(range(0, records, FULL_BATCH)):
        part = document_records(bench_keys(), first, min(first + FULL_BATCH, records))
        entry = BatchEntry(
            number, MEMBER, Stream.MATERIAL, number, len(part), root(leaf_hashes(MEMBER, part)), number
        )
        name = hashlib.sha256(parent).digest()
        yield IndexedBlock(number, name, parent, number, (BatchAppended(entry, b"".join(part), name),))
        parent = name


def open_index(folder: Path, *, catalogue: bool) -> float:
    """Open store and index and read what a starting node reads, perhaps also the types; return milliseconds."""
    started = time.perf_counter()
    with LevelStore.open(folder, seal=None, cache_bytes=INDEX_CACHE_BYTES, chain=False) as store:
        index = ChainIndex(store)
        index.cursor()
        index.final_point()
        index.member_by_account(bytes(20))
        index.envelopes_for(MEMBER)
        index.counts()
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
    """Open indexes of every size, then the measured node's own, with its catalogue, while the node is stopped."""
    figures = []
    for records in bench.sizes:
        folder = bench.folder / f"opening-{records}"
        fill_index(folder, records)
        figures.append(_figure(folder, records, catalogue=False))
    stage = bench.stage
    stage.node.part.stop()
    figures.append(_figure(stage.node.folder / "index", stage.documents, catalogue=True))
    restart_measured(stage)
    return figures


def _figure(folder: Path, records: int, *, catalogue: bool) -> Figure:
    # The first opening moves the log of the last run into a table, which is no part of what is compared.
    open_alone(folder)
    pairs = alternate(
        ROUNDS, lambda _number: open_index(folder, catalogue=catalogue), lambda _number: open_alone(folder)
    )
    name = "open the index and the catalogue" if catalogue else "open the index"
    goal = None if catalogue else 3.0
    n = f"{records:,} records"
    return compare(name, n, pairs, unit="ms", floor="LevelDB alone", goal=goal, at_least=False)


if __name__ == "__main__":
    run(measure)
