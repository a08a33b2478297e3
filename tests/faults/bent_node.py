"""Runs `python -m node …` on a machine that a test bends: its clock, the space on its disk, its limits.

`python -m tests.faults.bent_node FOLDER serve …`. The files of FOLDER are read whenever the node asks: `clock` holds
the seconds that the clock is off, `free` the bytes that are free on the disk; while `eio` is there, LevelDB's writes
fail as on a disk with bad sectors. `files` is read once, at the start: how many files the process may open.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import plyvel

_real_time, _real_time_ns, _real_statvfs = time.time, time.time_ns, os.statvfs


def _read(folder: Path, name: str) -> int | None:
    try:
        return int((folder / name).read_text())
    except (OSError, ValueError):
        return None


def bend(folder: Path) -> None:
    """Bend this process; what is imported later sees nothing else."""
    time.time = lambda: _real_time() + (_read(folder, "clock") or 0)
    time.time_ns = lambda: _real_time_ns() + 1_000_000_000 * (_read(folder, "clock") or 0)
    os.statvfs = lambda path: _bent_statvfs(_read(folder, "free"), path)  # type: ignore[assignment]
    _bend_writes(folder)
    files = _read(folder, "files")
    if files is not None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))


def _bend_writes(folder: Path) -> None:
    """Put a layer before LevelDB whose batches fail on command, before or (`eio` = 1) after they were written."""
    real = plyvel.DB

    class Batch:
        def __init__(self, batch: Any) -> None:
            self._batch = batch
            self.put, self.delete = batch.put, batch.delete

        def write(self) -> None:
            failing = _read(folder, "eio")
            if failing != 0:
                self._batch.write()
            if failing is not None:
                raise plyvel.IOError(b"IO error: 000007.log: Input/output error")

    class Database:
        def __init__(self, *args: Any, **options: Any) -> None:
            self._real = real(*args, **options)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

        def write_batch(self, **options: Any) -> Batch:
            return Batch(self._real.write_batch(**options))

    plyvel.DB = Database


def _bent_statvfs(free: int | None, path: Any) -> os.statvfs_result:
    found = _real_statvfs(path)
    if free is None:
        return found
    fields = list(found)
    fields[4] = free // found.f_frsize  # f_bavail
    return os.statvfs_result(fields)


if __name__ == "__main__":
    bend(Path(sys.argv[1]))
    from node.__main__ import main

    sys.exit(main(sys.argv[2:]))
