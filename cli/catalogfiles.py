"""Reads catalogue files and checks them by the rules of `verifier.catalog`, without any node.

An import file is JSON Lines: `{"kind","code","entry"}` a line. A single entry is one JSON object.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anchor.canonical import parse_strict_json
from anchor.errors import ValueNotCanonical
from cli.errors import InputInvalid, InputMissing
from verifier.catalog import MAX_TEXT_BYTES, validate_entry
from verifier.errors import CatalogEntryInvalid

_LINE_BYTES = 2 * MAX_TEXT_BYTES


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong with one line: where (JSON pointer into the entry) and what (code)."""

    line: int
    kind: str
    code: str
    pointer: str
    problem: str

    def as_item(self) -> dict[str, Any]:
        """Give the row that the output shows."""
        return {
            "line": self.line,
            "kind": self.kind,
            "code": self.code,
            "pointer": self.pointer,
            "problem": self.problem,
        }


def read_lines(path: Path) -> list[tuple[int, bytes]]:
    """Read (line number, bytes) of an import file, empty lines left out.

    Raises:
        InputMissing: it cannot be opened.
        InputInvalid: it has no line.
    """
    lines = [
        (number, line) for number, line in enumerate(_content(path).split(b"\n"), start=1) if line.strip()
    ]
    if not lines:
        raise InputInvalid(
            "the file has no entry", hint='one {"kind","code","entry"} a line', place=str(path)
        )
    return lines


def check_lines(lines: list[tuple[int, bytes]]) -> list[Finding]:
    """Check every line by schema and rules; two lines for one entry are found too."""
    findings, seen = [], dict[tuple[str, str], int]()
    for number, line in lines:
        found, name = _check_line(number, line)
        if name is not None and (first := seen.setdefault(name, number)) != number:
            found = [*found, Finding(number, *name, "/code", f"repeats_line_{first}")]
        findings += found
    return findings


def _check_line(number: int, line: bytes) -> tuple[list[Finding], tuple[str, str] | None]:
    try:
        value = parse_strict_json(line, max_bytes=_LINE_BYTES)
    except ValueNotCanonical:
        return [Finding(number, "", "", "", "not_strict_json")], None
    if not isinstance(value, dict) or value.keys() != {"kind", "code", "entry"}:
        return [Finding(number, "", "", "", "members_not_kind_code_entry")], None
    kind, code = value["kind"], value["code"]
    if not isinstance(kind, str) or not isinstance(code, str):
        return [Finding(number, "", "", "/kind", "not_text")], None
    return _check_entry(number, kind, code, value["entry"]), (kind, code)


def _check_entry(number: int, kind: str, code: str, entry: object) -> list[Finding]:
    try:
        validate_entry(kind, code, entry)
    except CatalogEntryInvalid as error:
        return [Finding(number, kind, code, each.pointer, each.code) for each in error.problems]
    return []


def read_entry(path: Path, kind: str, code: str) -> Any:
    """Read one entry and check it.

    Raises:
        InputMissing: it cannot be opened.
        InputInvalid: it is not strict JSON.
        CatalogEntryInvalid: it breaks its schema or a rule.
    """
    try:
        value = parse_strict_json(_content(path), max_bytes=_LINE_BYTES)
    except ValueNotCanonical as error:
        raise InputInvalid(
            f"the entry is not strict JSON: {error}", hint=error.hint, place=str(path)
        ) from None
    return validate_entry(kind, code, value)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputMissing(
            f"the file cannot be opened: {error.strerror}", hint="check its name", place=str(path)
        ) from None
