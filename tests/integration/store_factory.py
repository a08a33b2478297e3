"""Stores for tests, and the hands that damage them: everything here works on real folders."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anchor.keyvalue import Put
from node.store.envelope import RowSeal
from node.store.leveldb import DATABASE_FOLDER, LevelStore

KEY = bytes(range(32))
ROOT = Path(__file__).parents[2]


def seal() -> RowSeal:
    """Return the seal of the test key."""
    return RowSeal(KEY)


@contextmanager
def made(path: Path, *, sealed: bool = True, chain: bool = True) -> Iterator[LevelStore]:
    """Create a store and close it afterwards."""
    with LevelStore.create(path, node_id="node-a", seal=seal() if sealed else None, chain=chain) as store:
        yield store


@contextmanager
def opened(path: Path, *, sealed: bool = True) -> Iterator[LevelStore]:
    """Open a store and close it afterwards."""
    with LevelStore.open(path, seal=seal() if sealed else None) as store:
        yield store


def rows(first: int, last: int, *, size_bytes: int = 100) -> list[Put]:
    """Return operations for rows number `first` to `last`, exclusive."""
    return [Put(b"row/%06d" % n, value_of(n, size_bytes)) for n in range(first, last)]


def value_of(number: int, size_bytes: int = 100) -> bytes:
    """Return the value that row `number` must have."""
    return (b"value %06d " % number * (size_bytes // 13 + 1))[:size_bytes]


def database(path: Path) -> Path:
    """Return the LevelDB folder of a store."""
    return path / DATABASE_FOLDER


def files(path: Path, suffix: str) -> list[Path]:
    """Return the LevelDB files with that suffix, oldest first."""
    return sorted(database(path).glob(f"*{suffix}"))


def snapshot(path: Path, target: Path) -> Path:
    """Copy a store's folder as it lies on disk, also while it is open: what a crash would leave."""
    shutil.copytree(path, target)
    return target


def flip(path: Path, position: int, bit: int = 0) -> None:
    """Flip one bit of a file in place."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        (value,) = os.pread(descriptor, 1, position)
        os.pwrite(descriptor, bytes([value ^ 1 << bit]), position)
    finally:
        os.close(descriptor)


def run_script(script: str, *args: str, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own, with the project importable."""
    return subprocess.run(
        [sys.executable, "-c", script, *args],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def start_script(script: str, *args: str) -> subprocess.Popen[str]:
    """Start Python code in a process of its own and return it, with its standard output open for reading."""
    return subprocess.Popen(
        [sys.executable, "-u", "-c", script, *args], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
