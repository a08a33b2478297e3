"""Processor time of a process, from /proc: it bends less than the clock when other programs run."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")


def spent_seconds(pid: int) -> float:
    """Return the seconds that a process has spent on processors, in its own code and in the kernel's.

    NaN where there is no /proc.
    """
    status = Path(f"/proc/{pid}/stat")
    if not status.exists():
        return math.nan
    # The name in brackets may hold blanks, so the fields are counted from behind it (proc(5)).
    fields = status.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def spent_by(pid: int, work: Callable[[], float]) -> tuple[float, float]:
    """Return what `work` returned, and the seconds that the process spent meanwhile."""
    before = spent_seconds(pid)
    result = work()
    return result, spent_seconds(pid) - before
