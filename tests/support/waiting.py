"""Waits for what comes by itself. The bound is for a machine that is ten times slower than usual."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

BOUND_S = 180.0


def until(probe: Callable[[], Any], what: str, *, within_s: float = BOUND_S, pause_s: float = 0.05) -> Any:
    """Return the first true answer of `probe`; `what` says what did not come."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if found := probe():
            return found
        time.sleep(pause_s)
    raise AssertionError(f"never came within {within_s:.0f} s: {what}")
