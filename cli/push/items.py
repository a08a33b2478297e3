"""What can be pushed: one `PushItem` for each file or digest, checked before anything is sent.

Names are data: a file's name is taken as it is for opening, and in NFC, without control characters and at
most 255 bytes for the node. Folders are walked in sorted order; links to folders are not followed and what is
no plain file is left out. Must not import httpx.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.errors import ArgumentInvalid, InputInvalid, InputMissing

_NAME_BYTES = 255


@dataclass(frozen=True, slots=True)
class PushItem:
    """One material to be: `fields` is its meta without digest and file name.

    `path` is None when only a digest is known. `shown` is what messages call it, `line` its line in a list,
    `row` its cells there; `sha256` is the digest that the list gave.
    """

    shown: str
    fields: Mapping[str, Any]
    path: Path | None = None
    sha256: str | None = None
    line: int = 0
    row: Mapping[str, str] = field(default_factory=dict)

    def meta(self, sha256: str) -> dict[str, Any]:
        """Give the meta that goes to the node for a file of this digest."""
        meta = {**self.fields, "sha256": sha256}
        if self.path is not None:
            meta.setdefault("fileName", safe_name(self.path.name))
            if media_type := mimetypes.guess_type(self.path.name, strict=True)[0]:
                meta.setdefault("mediaType", media_type)
        meta.setdefault("title", _title(self))
        return meta

    def key(self, run: str) -> str:
        """Name this item within a run: another time stamp, size or meta makes another item, a rename too.

        The run's random text goes in, so that the key says nothing about a subject to who has no journal.
        """
        stamp = [0, 0]
        if self.path is not None:
            found = self.path.stat()
            stamp = [found.st_size, found.st_mtime_ns]
        facts = [run, os.fspath(self.path or ""), stamp, dict(self.fields), self.sha256]
        text = json.dumps(facts, sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    @property
    def size_bytes(self) -> int:
        """The file's size now; 0 when there is no file or it is gone."""
        try:
            return self.path.stat().st_size if self.path is not None else 0
        except OSError:
            return 0


def safe_name(name: str) -> str:
    """Turn a file name into one to be shown and stored: NFC, no control characters, at most 255 bytes."""
    text = unicodedata.normalize("NFC", name.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
    clean = "".join(
        char if char.isprintable() and char not in '/\\"' else "\N{REPLACEMENT CHARACTER}" for char in text
    )
    stem, suffix = Path(clean).stem, Path(clean).suffix
    while len((stem + suffix).encode()) > _NAME_BYTES and (stem or suffix):
        stem, suffix = (stem[:-1], suffix) if stem else (stem, suffix[:-1])
    return stem + suffix or "material"


def _title(item: PushItem) -> str:
    if item.path is not None:
        return Path(safe_name(item.path.name)).stem
    return str(item.fields.get("documentNo") or item.fields.get("typeCode", ""))


def walk(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the plain files of `paths`, folders with all below them, each file once.

    Raises:
        InputMissing: a path is not there, or a folder cannot be listed.
        InputInvalid: a path is neither a file nor a folder (a socket, a device).
    """
    seen: set[str] = set()
    for path in paths:
        for each in _walk_one(path):
            name = os.fspath(each.absolute())
            if name not in seen:
                seen.add(name)
                yield each


def _walk_one(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    elif path.is_dir():
        for folder, folders, names in os.walk(path, onerror=_refuse_folder):
            folders.sort()
            yield from (each for name in sorted(names) if (each := Path(folder, name)).is_file())
    elif path.exists():
        raise InputInvalid("this is neither a file nor a folder", hint="push plain files", place=str(path))
    else:
        raise InputMissing("there is no such file or folder", hint="check the name", place=str(path))


def _refuse_folder(error: OSError) -> None:
    raise InputMissing(
        f"a folder cannot be listed: {error.strerror}", hint="check its rights", place=str(error.filename)
    ) from None


def items_of_paths(paths: Iterable[Path], fields: Mapping[str, Any]) -> list[PushItem]:
    """Make one item for each file, all with the same fields.

    Raises:
        ArgumentInvalid: a field that every material needs is missing.
        InputMissing, InputInvalid: as `walk`.
    """
    require_fields(fields)
    return [PushItem(shown=os.fspath(path), fields=fields, path=path) for path in walk(paths)]


_NEEDED = {"typeCode": "--type", "subjects": "--subject", "caseNo": "--case"}


def require_fields(fields: Mapping[str, Any], *, place: str = "") -> None:
    """Refuse fields without type, subject or case number.

    Raises:
        ArgumentInvalid: names the flag that would give it.
    """
    for name, flag in _NEEDED.items():
        if not fields.get(name):
            raise ArgumentInvalid(
                f"every material needs {name}", hint=f"give {flag}, or a column of that name", place=place
            )
    dates = [fields.get("issuedOn"), fields.get("expiresOn")]
    if all(dates) and str(dates[1]) <= str(dates[0]):
        raise ArgumentInvalid(
            "expiresOn is the first day that no longer counts; it must follow issuedOn",
            hint="check both",
            place=place,
        )
