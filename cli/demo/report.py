"""Shows what the demonstration did: a table for a person, one JSON value for a script.

File names and answers are data: control characters are shown escaped. Must not import httpx or typer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.demo.folder import FolderReport
from cli.demo.scenes import Line
from cli.output import plain

_SHOWN_FAILURES = 10
_MIB = 1 << 20


def render_json(lines: Sequence[Line], folder: FolderReport | None, *, elapsed_s: float) -> str:
    """Return one line of JSON with every line of the scenes and the counts of the folder."""
    body: dict[str, Any] = {
        "passed": everything_passed(lines, folder),
        "elapsedSeconds": round(elapsed_s, 1),
        "lines": [line.as_json() for line in lines],
    }
    if folder is not None:
        body["files"] = folder.as_json()
    # ASCII escapes: a file name that is no UTF-8 is still valid JSON.
    return json.dumps(body)


def everything_passed(lines: Sequence[Line], folder: FolderReport | None) -> bool:
    """Say whether all that was played came as it should."""
    return all(line.passed for line in lines) and (folder is None or folder.passed)


def print_lines(lines: Sequence[Line], stream: TextIO) -> None:
    """Print the scenes as a table: who, what, verdict or decision, why, block."""
    table = Table(title="deltaseal demo", title_justify="left", pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in ("who", "what", "verdict or decision", "why"):
        table.add_column(name, overflow="fold")
    table.add_column("block", justify="right", no_wrap=True)
    scene = ""
    for line in lines:
        if line.scene != scene and scene:
            table.add_section()
        scene = line.scene
        table.add_row(*(Text(plain(cell)) for cell in _cells(line)))
    _console(stream).print(table)


def _cells(line: Line) -> tuple[str, ...]:
    got = line.got if line.passed else f"{line.got} (expected: {line.expected})"
    return (
        "✓" if line.passed else "✗",
        line.who,
        line.what,
        got,
        line.why,
        "" if line.block is None else str(line.block),
    )


def print_folder(report: FolderReport, stream: TextIO) -> None:
    """Print the counts of a run over a user's folder, and the first files that failed or were skipped."""
    table = Table(title="your files", title_justify="left", pad_edge=False)
    table.add_column("step")
    table.add_column("files", justify="right")
    table.add_column("seconds", justify="right")
    for name, done, step in (
        ("pushed in PD, anchored", report.pushed, "push"),
        ("verified in XH, subject matches", report.verified, "verify"),
        ("unknown with one bit turned", report.turned_unknown, ""),
        ("reused in XH with the same bytes from PD", report.reused, "reuse"),
        ("receipt agrees with the chain", report.receipts, "receipt"),
    ):
        seconds = f"{report.seconds[step]:.1f}" if step in report.seconds else ""
        table.add_row(name, f"{done:,} of {report.files:,}", seconds)
    console = _console(stream)
    console.print(table)
    console.print(Text(f"{report.files:,} files, {report.size_bytes / _MIB:,.1f} MiB"))
    for title, found in (("failed", report.failures), ("skipped", report.skipped)):
        for path, why in found[:_SHOWN_FAILURES]:
            console.print(Text(plain(f"{title}: {path}: {why}")))
        if len(found) > _SHOWN_FAILURES:
            console.print(Text(f"{title}: and {len(found) - _SHOWN_FAILURES:,} more"))


def _console(stream: TextIO) -> Console:
    """Make a console that keeps to the terminal's width, and to 160 columns where there is none."""
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 160
    return console
