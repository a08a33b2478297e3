"""The journal of a push: one JSON line for each material that the node has acknowledged.

First line `{"format","run","url"}`; `run` is random and goes into item keys and Idempotency-Keys. Further
lines `{"item","materialId","version","sha256","anchor"}`, written after the node's answer and before the item
counts as done. No line carries a name, a path or an id. A crash can leave a torn last line, which is cut off;
damage before the end is refused. Nothing is synced: a line lost to a power cut costs one repeated request
that the node recognises. One process at a time holds a journal (flock).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from cli.errors import InputMissing, OutputRefused, PushJournalBusy, PushJournalCorrupt, PushJournalForeign

FORMAT = "deltaseal-push/1"


def default_journal(state_dir: Path, url: str, names: Sequence[str]) -> Path:
    """Name the journal of a push of `names` to `url`: the same command finds it again."""
    text = json.dumps([url, *(str(Path(name).absolute()) for name in names)])
    return state_dir / "push" / (hashlib.sha256(text.encode()).hexdigest()[:24] + ".journal")


class PushJournal:
    """An open, locked journal. `is_new` says whether this run made it."""

    def __init__(
        self, path: Path, file: BinaryIO, run: str, done: dict[str, dict[str, Any]], *, is_new: bool
    ) -> None:
        """Use `open`."""
        self.path, self.run, self.is_new = path, run, is_new
        self._file, self._done = file, done

    @classmethod
    def open(cls, path: Path, *, url: str) -> PushJournal:
        """Open the journal at `path`, or begin one.

        Raises:
            PushJournalBusy: another push holds it.
            PushJournalForeign: it was written for another node.
            PushJournalCorrupt: a line before the last is damaged, or the file is no journal.
            OutputRefused: it cannot be written.
            InputMissing: its folder cannot be made.
        """
        file = _opened(path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lines = _whole_lines(file)
            if not lines:
                return cls._begin(path, file, url)
            head, *rest = [_parsed(line, path) for line in lines]
            if head.get("format") != FORMAT or not isinstance(head.get("run"), str):
                raise _corrupt(path)
            if head.get("url") != url:
                raise PushJournalForeign(
                    "this journal belongs to a push to another node",
                    hint="name another with --journal, or the address it was begun with with --url",
                    place=str(path),
                )
            return cls(path, file, head["run"], {str(each["item"]): each for each in rest}, is_new=False)
        except BlockingIOError:
            file.close()
            raise PushJournalBusy(
                "another push is using this journal", hint="wait for it to end", place=str(path)
            ) from None
        except BaseException:
            file.close()
            raise

    @classmethod
    def _begin(cls, path: Path, file: BinaryIO, url: str) -> PushJournal:
        journal = cls(path, file, secrets.token_hex(16), {}, is_new=True)
        journal._append({"format": FORMAT, "run": journal.run, "url": url})
        return journal

    def __enter__(self) -> Self:
        """Return the journal itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release it."""
        self.close()

    def done(self, key: str) -> dict[str, Any] | None:
        """Return the line of an item that is done, or None."""
        return self._done.get(key)

    def add(self, key: str, answer: dict[str, Any]) -> None:
        """Write down that the node acknowledged an item; call it from one thread at a time."""
        anchor = answer.get("anchor")
        line = {
            "item": key,
            "materialId": answer.get("materialId"),
            "version": answer.get("version"),
            "sha256": answer.get("sha256"),
            "anchor": {"status": anchor.get("status")} if isinstance(anchor, dict) else None,
        }
        self._append(line)
        self._done[key] = line

    def idempotency_key(self, key: str) -> str:
        """Give the Idempotency-Key of an item: the same in every run with this journal."""
        return hashlib.sha256(f"{self.run}/{key}".encode()).hexdigest()[:48]

    def close(self) -> None:
        """Close the file; its lock goes with it."""
        self._file.close()

    def remove(self) -> None:
        """Delete it: everything is done, and a later push of the same files is a new one."""
        self.path.unlink(missing_ok=True)
        self.close()

    def remove_if_unused(self) -> None:
        """Delete it if this run made it and nothing was done: a failed start leaves no file behind."""
        if self.is_new and not self._done:
            self.path.unlink(missing_ok=True)

    def _append(self, line: dict[str, Any]) -> None:
        try:
            # One write call: a kill leaves the whole line or a torn end, never two lines in one.
            self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise OutputRefused(
                f"the journal cannot be written: {error.strerror}",
                hint="free some space",
                place=str(self.path),
            ) from None


def _opened(path: Path) -> BinaryIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Appending only: a second process that got here without the lock could add lines, but destroy none.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise InputMissing(
            f"the journal cannot be opened: {error.strerror}",
            hint="name another with --journal",
            place=str(path),
        ) from None
    return os.fdopen(descriptor, "r+b")


def _whole_lines(file: BinaryIO) -> list[bytes]:
    """Read all lines and cut off a torn last one: its item counts as not acknowledged and is sent again."""
    content = file.read()
    end = content.rfind(b"\n") + 1
    if end != len(content):
        file.truncate(end)
        file.seek(end)
    return content[:end].splitlines()


def _parsed(line: bytes, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        raise _corrupt(path) from None
    if not isinstance(value, dict) or not ({"item", "format"} & value.keys()):
        raise _corrupt(path)
    return value


def _corrupt(path: Path) -> PushJournalCorrupt:
    return PushJournalCorrupt(
        "the journal is damaged, or it is none",
        hint="move it away and push again: the node recognises what it holds already",
        place=str(path),
    )
