"""Processor time of a process's main thread, from /proc: it bends less than the clock when other programs run.

The main thread of node and peer runs the event loop. The node's other threads follow the chain all the time, which
is no part of a request.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

_TICKS_A_SECOND: Final = os.sysconf("SC_CLK_TCK")


def spent_seconds(pid: int) -> float:
    """Return the seconds that a process's main thread has spent on processors, the kernel's work for it included.

    NaN where there is no /proc.
    """
    status = Path(f"/proc/{pid}/task/{pid}/stat")
    if not status.exists():
        return math.nan
    # The name in brackets may hold blanks, so the fields are counted from behind it (proc(5)).
    fields = status.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def spent_by(pid: int, work: Callable[[], float]) -> tuple[float, float]:
    """Return what `work` returned, and the seconds that the process's main thread spent meanwhile."""
    before = spent_seconds(pid)
    result = work()
    return result, spent_seconds(pid) - before
