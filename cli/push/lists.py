"""Reads a CSV list of what to push: a header, then one material a line.

Columns: path, sha256, typeCode, subject (TYPE:ID[:ROLE], several with ;), or idType, id and role, documentNo,
caseNo, title, issuedOn, expiresOn, fileName, replaces. Other names are mapped with `--map column=field`, or
left out with `--map column=-`. A path is taken from the list's own folder and must stay below it: a list
comes from somebody else, and must not be able to name any file of this machine. Page: docs/reference/cli.md
"push".
"""

from __future__ import annotations

import csv
import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.arguments import parse_day, parse_sha256, parse_subjects
from cli.errors import ArgumentInvalid, CliError, InputInvalid, InputMissing
from cli.push.items import PushItem, require_fields

FIELDS = (
    "path",
    "sha256",
    "typeCode",
    "subject",
    "idType",
    "id",
    "role",
    "documentNo",
    "caseNo",
    "title",
    "issuedOn",
    "expiresOn",
    "fileName",
    "replaces",
)
REJECT_COLUMNS = ("rejectCode", "rejectDetail")
IGNORED = "-"
_PLAIN = ("typeCode", "documentNo", "caseNo", "title", "fileName", "replaces")
_CELL_CHARS = 4096


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that cannot be pushed, and why."""

    item: PushItem
    error: CliError


@dataclass(frozen=True, slots=True)
class PushList:
    """A list that was read: its columns, the items that can be pushed, the lines that cannot."""

    columns: tuple[str, ...]
    items: tuple[PushItem, ...]
    rejected: tuple[Rejected, ...]


def read_list(
    path: Path,
    *,
    defaults: Mapping[str, Any],
    mapping: Sequence[str] = (),
    encoding: str = "utf-8-sig",
    root: Path | None = None,
) -> PushList:
    """Read the list at `path`; `defaults` fill what a line leaves empty. Lines that are wrong do not stop the
    others.

    Raises:
        InputMissing: the list cannot be opened.
        InputInvalid: it is not CSV in that encoding, has no header, or a header with unknown or repeated
        columns. ArgumentInvalid: a mapping that names an unknown field or column.
    """
    base = (root or path.parent).resolve()
    header, lines = _rows(path, encoding)
    columns = _mapped_columns(header, _parse_mapping(mapping), place=str(path))
    items, rejected = [], []
    first_lines: dict[str, int] = {}
    for number, cells in lines:
        row = dict(zip(header, cells, strict=False))
        place = f"{path} line {number}"
        try:
            if len(cells) != len(header):
                raise InputInvalid(
                    f"the line has {len(cells)} cells, the header {len(header)}",
                    hint="check its quotes",
                    place=place,
                )
            values = {columns[name]: cell.strip() for name, cell in row.items() if columns[name] != IGNORED}
            item = _item(values, row, number, defaults=defaults, base=base, place=place)
            # Two equal lines would be one request sent twice at once.
            if (
                earlier := first_lines.setdefault(repr((item.path, item.sha256, item.fields)), number)
            ) != number:
                raise InputInvalid(
                    f"the line repeats line {earlier}", hint="leave one of them out", place=place
                )
            items.append(item)
        except CliError as error:
            shown = _safe_shown(row, columns) or f"line {number}"
            rejected.append(Rejected(PushItem(shown=shown, fields={}, line=number, row=row), error))
    return PushList(tuple(header), tuple(items), tuple(rejected))


def _rows(path: Path, encoding: str) -> tuple[list[str], list[tuple[int, list[str]]]]:
    try:
        with path.open(encoding=encoding, newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except OSError as error:
        raise InputMissing(
            f"the list cannot be opened: {error.strerror}", hint="check its name", place=str(path)
        ) from None
    except (UnicodeDecodeError, LookupError):
        hint = "save it as UTF-8, or name its encoding: --encoding gb18030"
        raise InputInvalid("the list is not in the encoding expected", hint=hint, place=str(path)) from None
    except csv.Error as error:
        raise InputInvalid(
            f"the list is not CSV: {error}", hint="check its quotes", place=str(path)
        ) from None
    if not header:
        raise InputInvalid("the list is empty", hint="its first line names the columns", place=str(path))
    return [cell.strip() for cell in header], lines


def _parse_mapping(pairs: Sequence[str]) -> dict[str, str]:
    mapping = {}
    for pair in pairs:
        column, separator, name = pair.partition("=")
        if not separator or not column or (name != IGNORED and name not in FIELDS):
            raise ArgumentInvalid(
                "a mapping is COLUMN=FIELD",
                hint=f"fields: {', '.join(FIELDS)}; - leaves it out",
                place="--map",
            )
        mapping[column] = name
    return mapping


def _mapped_columns(header: Sequence[str], mapping: Mapping[str, str], *, place: str) -> dict[str, str]:
    known = {name: name for name in FIELDS} | dict.fromkeys(REJECT_COLUMNS, IGNORED) | dict(mapping)
    columns = {name: known.get(name, "") for name in header}
    taken = [name for name in columns.values() if name != IGNORED]
    if len(columns) != len(header) or len(set(taken)) != len(taken):
        raise InputInvalid(
            "two columns of the list mean the same", hint="leave one out: --map COLUMN=-", place=place
        )
    if "" in taken:
        raise InputInvalid(
            f"the list has an unknown column, number {taken.index('') + 1}",
            hint="say what it is with --map COLUMN=FIELD, or leave it out with --map COLUMN=-",
            place=place,
        )
    if missing := set(mapping) - set(header):
        raise ArgumentInvalid(
            f"the list has no column {sorted(missing)[0]!r}", hint="check --map", place="--map"
        )
    if not {"path", "sha256"} & set(taken):
        raise InputInvalid(
            "the list has neither path nor sha256", hint="map one: --map COLUMN=path", place=place
        )
    return columns


def _item(
    values: Mapping[str, str],
    row: Mapping[str, str],
    line: int,
    *,
    defaults: Mapping[str, Any],
    base: Path,
    place: str,
) -> PushItem:
    for name, text in values.items():
        _require_plain(name, text, place)
    fields = {**defaults, **{name: values[name] for name in _PLAIN if values.get(name)}}
    fields |= {
        name: day for name in ("issuedOn", "expiresOn") if (day := parse_day(values.get(name), place=place))
    }
    if subjects := _subjects(values, place):
        fields["subjects"] = subjects
    require_fields(fields, place=place)
    sha256 = parse_sha256(values["sha256"], place=place) if values.get("sha256") else None
    path = _inside(base, values["path"], place) if values.get("path") else None
    if path is None and sha256 is None:
        raise InputInvalid("the line has neither a path nor a digest", hint="give one of them", place=place)
    shown = values.get("path") or values.get("title") or f"line {line}"
    return PushItem(shown=shown, fields=fields, path=path, sha256=sha256, line=line, row=row)


def _require_plain(name: str, text: str, place: str) -> None:
    """Refuse text that the node would refuse anyway; the cell is named, never repeated."""
    # A path is opened as it is spelled on disk; everything else becomes part of what is committed to.
    bad = name != "path" and not unicodedata.is_normalized("NFC", text)
    if bad or len(text) > _CELL_CHARS or not text.isprintable():
        raise InputInvalid(
            f"{name} is not printable NFC text of at most {_CELL_CHARS} characters",
            hint="normalise the list, for example with iconv or uconv -x nfc",
            place=place,
        )


def _subjects(values: Mapping[str, str], place: str) -> list[dict[str, str]]:
    if values.get("subject"):
        return parse_subjects(_no_files(values["subject"].split(";"), place), place=place)
    if values.get("id"):
        role = f":{values['role']}" if values.get("role") else ""
        return parse_subjects(
            _no_files([f"{values.get('idType', '')}:{values['id']}{role}"], place), place=place
        )
    return []


def _no_files(texts: Sequence[str], place: str) -> Iterator[str]:
    for text in texts:
        if text.strip().startswith("@"):
            raise InputInvalid(
                "a list cannot name files of subjects", hint="write TYPE:ID[:ROLE]", place=place
            )
        if text.strip():
            yield text


def _inside(base: Path, text: str, place: str) -> Path:
    """Resolve a path of the list and refuse one that leaves `base`, also through a link."""
    try:
        path = Path(os.path.realpath(base / text))
    except ValueError:
        raise InputInvalid("the path cannot be used", hint="check the line", place=place) from None
    if not path.is_relative_to(base):
        raise InputInvalid(
            "the path leads out of the list's folder",
            hint="move the file there, or allow a folder: --root",
            place=place,
        )
    if not path.is_file():
        raise InputMissing(
            "there is no such file", hint="paths count from the list's folder, or --root", place=place
        )
    return path


def _safe_shown(row: Mapping[str, str], columns: Mapping[str, str]) -> str:
    return next((row.get(name, "") for name, means in columns.items() if means == "path"), "")


def write_rejects(path: Path, columns: Sequence[str], rejected: Sequence[tuple[PushItem, str, str]]) -> None:
    """Write (item, code, detail) as a list that can be corrected and pushed again; only the user may read it.

    Raises:
        InputInvalid: another file of that name is there, one that no push wrote.
    """
    header = [name for name in columns if name not in REJECT_COLUMNS] or ["path"]
    _require_ours(path)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*header, *REJECT_COLUMNS])
        for item, code, detail in rejected:
            cells = [item.row.get(name, "") for name in header] if item.row else [item.shown]
            writer.writerow([*cells, code, detail])


def clear_rejects(path: Path) -> None:
    """Remove a reject file of an earlier run, so that nobody takes its lines for open ones."""
    if path.is_file():
        _require_ours(path)
        path.unlink()


def _require_ours(path: Path) -> None:
    if not path.exists():
        return
    try:
        with path.open(encoding="utf-8-sig", newline="", errors="surrogateescape") as file:
            header = next(csv.reader(file), [])
    except (OSError, csv.Error):
        header = []
    if not set(REJECT_COLUMNS) <= set(header):
        raise InputInvalid(
            "a file that is no reject list has that name", hint="name another: --rejects", place=str(path)
        )
