"""Shows how a push goes: a live line where a person watches, else a line every ten seconds. All on stderr."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from cli.output import Output
from cli.push.engine import Counters

_LINE_EVERY_S = 10.0


class PushProgress:
    """A display of counters; `tick` it often."""

    def __init__(self, out: Output, counters: Counters) -> None:
        """Choose the display by where stderr goes."""
        self._out, self._counters = out, counters
        self._last_line_s = time.monotonic()
        self._live = _display(out) if out.live else None
        self._task = (
            self._live.add_task("push", total=max(counters.bytes, 1), anchored="") if self._live else None
        )

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Show the last state and leave the line alone."""
        if self._live is not None:
            self._refresh()
            self._live.stop()

    def tick(self) -> None:
        """Bring the display up to date."""
        if self._live is not None:
            self._refresh()
        elif time.monotonic() - self._last_line_s >= _LINE_EVERY_S:
            self._last_line_s = time.monotonic()
            self._out.note(summary_line(self._counters))

    def _refresh(self) -> None:
        seen = self._counters
        if self._live is None or self._task is None:
            return
        # Empty files have no bytes to count by, so each file also weighs one byte.
        self._live.update(
            self._task,
            total=max(seen.bytes + seen.items, 1),
            completed=min(seen.bytes_done + seen.items_done, seen.bytes + seen.items),
            description=f"{seen.items_done}/{seen.items}",
            anchored=f"{seen.anchored} anchored" + (f", {seen.refused} refused" if seen.refused else ""),
            refresh=True,
        )


def summary_line(seen: Counters) -> str:
    """Say in one line how far it is."""
    refused = f", {seen.refused} refused" if seen.refused else ""
    return (
        f"pushed {seen.items_done} of {seen.items} files, {seen.bytes_done} of {seen.bytes} bytes, "
        f"{seen.anchored} anchored{refused}"
    )


def _display(out: Output) -> Progress:
    return Progress(
        TextColumn("{task.description} files"),
        BarColumn(),
        TaskProgressColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[anchored]}"),
        console=Console(file=out.stderr),
        transient=False,
        auto_refresh=False,
    )
