"""A small disk for a node's store: a real one where this process may mount it, else one whose free space is bent."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.bending import Bent


class SmallDisk:
    """`fill` leaves no byte, `make_room` gives all back."""

    def __init__(self, node: Bent, *, mounted: bool) -> None:
        self._node = node
        self._filler = node.node.folder / "store" / "filler" if mounted else None

    def fill(self) -> None:
        """Take all the space that is left."""
        if self._filler is None:
            self._node.set("free", 0)
            return
        with self._filler.open("wb", buffering=0) as target:
            for size in (1 << 20, 4096):
                try:
                    while target.write(b"\xff" * size) == size:
                        pass
                except OSError:
                    continue

    def leave(self, free_bytes: int) -> None:
        """Take all but so many bytes."""
        if self._filler is None:
            self._node.set("free", free_bytes)
            return
        room = os.statvfs(self._filler.parent)
        with self._filler.open("wb") as target:
            target.write(bytes(max(0, room.f_bavail * room.f_frsize - free_bytes)))

    def make_room(self) -> None:
        """Give all back."""
        if self._filler is None:
            self._node.set("free", None)
        else:
            self._filler.unlink()


@contextmanager
def small_disk(bent: Bent, *, size_bytes: int) -> Iterator[SmallDisk]:
    """Start the node again with its store on a disk of its own."""
    part, store = bent.node.part, bent.node.folder / "store"
    aside = store.with_name("store.aside")
    part.stop()
    store.rename(aside)
    store.mkdir(mode=0o700)
    mounted = _mount(store, size_bytes)
    shutil.copytree(aside, store, dirs_exist_ok=True)
    bent.node.restart()
    try:
        yield SmallDisk(bent, mounted=mounted)
    finally:
        bent.set("free", None)
        part.stop()
        shutil.rmtree(aside)
        shutil.copytree(store, aside, ignore=shutil.ignore_patterns("filler"))
        if mounted:
            subprocess.run(["umount", str(store)], check=True)
        else:
            shutil.rmtree(store)
        if store.exists():
            store.rmdir()
        aside.rename(store)
        bent.node.restart()


def _mount(folder: Path, size_bytes: int) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=0700", "none", str(folder)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
