"""The folder of the chain index: opened as it is, or made empty again when another release wrote it.

It is a projection of the chain, so nothing is lost with it; the follower fills it. A damaged one is refused all the
same: whoever runs the node must learn of a disk that loses bits. Must not import services or HTTP.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from node.errors import StoreDamaged, StoreNewer, StoreOlder
from node.store.leveldb import LevelStore
from verifier.index import LAYOUT, ChainIndex

CACHE_BYTES = 256 << 20


def open_index(folder: Path, *, node_id: str) -> LevelStore:
    """Open the index of a node; the caller holds the lock of the node's store.

    Raises:
        StoreDamaged: with the advice to delete it. StoreLocked, StoreUnwritable, StoreStarved, StoreFull.
    """
    if not folder.exists():
        return _fresh(folder, node_id)
    try:
        store = LevelStore.open(folder, seal=None, cache_bytes=CACHE_BYTES, chain=False)
    except (StoreOlder, StoreNewer):
        shutil.rmtree(folder)
        return _fresh(folder, node_id)
    except StoreDamaged as error:
        raise StoreDamaged(
            f"the chain index is damaged: {error}",
            hint="check the disk, then: deltaseal store reindex; the node reads the index from the chain again",
            **error.facts,
        ) from None
    index = ChainIndex(store)
    if index.layout() not in (None, LAYOUT):
        index.clear()
    return store


def drop_index(folder: Path) -> int:
    """Remove the index of a stopped node and return its size in bytes; the caller holds the lock of the store.

    It loses its name first, so that a cut leaves no half of an index behind.
    """
    doomed = folder.with_name(f"{folder.name}.dropped")
    if doomed.exists():
        shutil.rmtree(doomed)
    if not folder.exists():
        return 0
    folder.rename(doomed)
    size_bytes = sum(path.stat().st_size for path in doomed.rglob("*") if path.is_file())
    shutil.rmtree(doomed)
    return size_bytes


def _fresh(folder: Path, node_id: str) -> LevelStore:
    LevelStore.create(folder, node_id=node_id, seal=None, chain=False).close()
    return LevelStore.open(folder, seal=None, cache_bytes=CACHE_BYTES, chain=False)
