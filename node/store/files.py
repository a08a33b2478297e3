"""Files that survive a crash whole: old content or new, never a mixture.

Must not import plyvel or anything of the network.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from node.errors import StoreLocked


def sync_folder(folder: Path) -> None:
    """Make renames and new names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Put `content` at `path` in one step; durable when this returns. Raises OSError."""
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        # The content must be on disk before the name points to it: a rename alone may outlive its bytes.
        write_fully(descriptor, content, offset=0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    draft.replace(path)
    sync_folder(path.parent)


def write_fully(descriptor: int, content: bytes, *, offset: int) -> None:
    """Write all of `content` at `offset`; a short write goes on where it stopped. Raises OSError."""
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def overwrite_file(path: Path) -> None:
    """Replace each byte of the file by zero, in place and synced, before its name goes. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        write_fully(descriptor, bytes(os.fstat(descriptor).st_size), offset=0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class FolderLock:
    """One owner of a folder, over all processes: flock on a file that names the holder.

    LevelDB's own LOCK is not enough: it is a POSIX lock, and a second open in the same process, though
    refused, closes a descriptor of that file and so drops the lock of the first (measured).
    """

    def __init__(self, path: Path) -> None:
        """Take the lock file `path`. Raises StoreLocked (fact: pid), OSError."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _holder(self._descriptor)
            os.close(self._descriptor)
            raise StoreLocked(
                f"the store is already open in process {pid}" if pid else "the store is already open",
                hint="stop that process, or wait until it has ended",
                pid=pid,
            ) from None
        os.ftruncate(self._descriptor, 0)
        write_fully(self._descriptor, b"%d\n" % os.getpid(), offset=0)

    def release(self) -> None:
        """Give the folder back; harmless when called again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _holder(descriptor: int) -> int:
    """Return the process id that the holder of the lock has written, 0 if there is none."""
    with contextlib.suppress(ValueError):
        return int(os.pread(descriptor, 32, 0))
    return 0


def folder_entries(folder: Path) -> Iterator[str]:
    """Yield the names in `folder`, none if it is not there."""
    with contextlib.suppress(FileNotFoundError):
        yield from (entry.name for entry in folder.iterdir())
