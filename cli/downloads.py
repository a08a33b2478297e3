"""Writes files that come from a node: checked first, then there under their name, or not there at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cli.errors import DownloadDigestMismatch, OutputRefused

STDOUT = Path("-")


def save_checked(
    pieces: Iterable[bytes], target: Path, *, sha256: str | None, force: bool = False
) -> dict[str, object]:
    """Write `pieces` to `target` (`-` is stdout) and say path, size and digest.

    Nothing of the bytes can be seen under `target`, or on stdout, before their digest was found right.

    Raises:
        OutputRefused: the target exists (and not `force`), or cannot be written.
        DownloadDigestMismatch: the bytes are not those of `sha256`.
    """
    with _temporary(target, force=force) as (file, path):
        digest, size = hashlib.sha256(), 0
        for piece in pieces:
            file.write(piece)
            digest.update(piece)
            size += len(piece)
        if sha256 is not None and digest.hexdigest() != sha256:
            raise DownloadDigestMismatch(
                "the bytes received are not those promised; they were thrown away",
                hint="try again; if it stays, tell the custodian",
            )
        _deliver(file, path, target, force=force)
    return {"path": str(target), "size": size, "sha256": digest.hexdigest()}


def save_secret(text: str, target: Path) -> None:
    """Write a secret and a line end to a new file that only the user can read.

    Raises:
        OutputRefused: the file exists, or cannot be written.
    """
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise _refused(error, target) from None


def require_new(target: Path, *, force: bool = False) -> None:
    """Refuse a target that exists before any work is done.

    Raises:
        OutputRefused: it does.
    """
    if target != STDOUT and not force and target.exists():
        raise _refused(FileExistsError(), target)


@contextmanager
def _temporary(target: Path, *, force: bool) -> Iterator[tuple[BinaryIO, Path]]:
    """Open a temporary file beside the target, where a rename is possible, and remove it at the end."""
    require_new(target, force=force)
    folder = None if target == STDOUT else target.absolute().parent
    try:
        descriptor, name = tempfile.mkstemp(prefix=".deltaseal-", dir=folder)
    except OSError as error:
        raise _refused(error, target) from None
    path = Path(name)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            yield file, path
    finally:
        path.unlink(missing_ok=True)


def _deliver(file: BinaryIO, path: Path, target: Path, *, force: bool) -> None:
    file.flush()
    if target == STDOUT:
        file.seek(0)
        sys.stdout.flush()
        shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.flush()
        return
    os.fsync(file.fileno())
    try:
        if force:
            path.replace(target)
        else:
            target.hardlink_to(path)  # Unlike a rename this fails when somebody made the target meanwhile.
    except OSError as error:
        raise _refused(error, target) from None


def _refused(error: OSError, target: Path) -> OutputRefused:
    if isinstance(error, FileExistsError):
        return OutputRefused(
            "the file exists already", hint="choose another name, or --force", place=str(target)
        )
    return OutputRefused(
        f"the file cannot be written: {error.strerror or 'unknown cause'}",
        hint="check the folder",
        place=str(target),
    )
