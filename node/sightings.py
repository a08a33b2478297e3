"""Remembers since when the same thing has been at the head of a queue. Pure but for the timer passed in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable


class Sightings:
    """By name: what was seen last, and when it was first seen there. Counted from the start of the process."""

    def __init__(self, timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self._seen: dict[str, tuple[Hashable, float]] = {}
        self._lock = threading.Lock()

    def age(self, name: str, thing: Hashable | None) -> float:
        """Note that `thing` is there now and return for how many seconds it has been; 0 for None."""
        with self._lock:
            now = self._timer()
            known, since = self._seen.get(name, (None, now))
            if thing is None or thing != known:
                since = now
            self._seen[name] = (thing, since)
            return now - since
