"""What does a material take on disk beyond its bytes, and what a record in the index? After compaction."""

from __future__ import annotations

from pathlib import Path

from bench.figures import Figure
from bench.runner import run
from bench.load import rate
from bench.pushsmall import FILE_BYTES, push_request
from bench.stage import Bench, restart_measured
from node.config import load_config
from node.keys import KeyFolder
from node.runtime import read_passphrase
from node.store.envelope import RowSeal
from node.store.leveldb import LevelStore
import os

FILES = 1_000
GOAL_STORE_BYTES, GOAL_FACTOR, GOAL_INDEX_BYTES = 1024, 1.02, 400


def folder_bytes(folder: Path) -> int:
    """Return the size of all files below `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measure(bench: Bench) -> list[Figure]:
    """Weigh the store before and after some pushes, and the index as it stands."""
    stage = bench.stage
    stage.grow(bench.sizes[-1])
    before, _ = _weigh(stage.node.folder)
    restart_measured(stage)
    pushes = [push_request("/v1/materials", os.urandom(FILE_BYTES), key=stage.key) for _ in range(FILES)]
    rate(stage.node.url, pushes, status=201)
    stage.network.settle(timeout_s=120)
    stage.node.part.stop()
    after, index = _weigh(stage.node.folder)
    restart_measured(stage)
    return []
