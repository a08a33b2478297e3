"""Files of the index are merged after much was taken in, when nothing more is waiting, and not again for little."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from anchor.keyvalue import Put
from node.context import ChainState
from node.store.leveldb import LevelStore
from node.workers import MERGE_PART, MERGE_RECORDS, merge_once


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Any]:
    LevelStore.create(tmp_path / "index", node_id="test", seal=None, chain=False).close()
    with LevelStore.open(tmp_path / "index", seal=None, chain=False, write_buffer=64 << 10) as store:
        found = SimpleNamespace(index_store=store, chain=ChainState(caught_up=True), records=0)
        found.index = SimpleNamespace(counts=lambda: SimpleNamespace(records=found.records))
        yield found


def take_in(node: Any, records: int) -> None:
    """Count so many records as taken in, and write some rows, over all keys and in several layers."""
    node.records += records
    for _ in range(30):
        node.index_store.write(
            [Put(b"\xc1T" + os.urandom(16), os.urandom(96)) for _ in range(200)], sync=False
        )


def layers(node: Any) -> int:
    """Return how many layers a key may be in: each young file is one, each level below another."""
    held = [
        int(node.index_store._db.get_property(b"leveldb.num-files-at-level%d" % level)) for level in range(7)
    ]
    return held[0] + sum(1 for count in held[1:] if count)


def test_many_records_are_merged_once_the_head_is_reached(node: Any) -> None:
    take_in(node, MERGE_RECORDS)
    before = layers(node)
    node.chain.behind = 3
    merge_once(node)
    assert (layers(node) >= before > 1, node.chain.merged_records) == (True, 0)
    node.chain.behind, node.chain.caught_up = 0, False
    merge_once(node)
    assert node.chain.merged_records == 0
    node.chain.caught_up = True
    merge_once(node)
    assert (layers(node), node.chain.merged_records) == (1, MERGE_RECORDS)


def test_little_more_is_left_to_leveldb(node: Any) -> None:
    take_in(node, MERGE_PART * MERGE_RECORDS)
    merge_once(node)
    take_in(node, MERGE_RECORDS)  # Less than the part of all that is worth it.
    merge_once(node)
    assert (layers(node) > 1, node.chain.merged_records) == (True, MERGE_PART * MERGE_RECORDS)
    take_in(node, MERGE_RECORDS)
    merge_once(node)
    assert layers(node) == 1
