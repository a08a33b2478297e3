"""Token buckets by name: how many requests one key or one address may send.

Pure but for the timer passed in. Must not import FastAPI or Starlette.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable


class TokenBuckets:
    """One bucket a name, filled at `rate_per_s` up to `burst`; a rate of 0 switches the limit off.

    At most `capacity` names are kept, the one unused longest is dropped: many addresses cost bounded memory.
    """

    def __init__(
        self,
        *,
        rate_per_s: float,
        burst: float,
        capacity: int = 10_000,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate = rate_per_s
        self._burst = burst
        self._capacity = capacity
        self._timer = timer
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, name: str) -> float:
        """Take one token of `name` and return 0, or take none and return the seconds until there is one."""
        if self._rate <= 0:
            return 0.0
        with self._lock:
            now, levels, level = self._timer(), self._levels, self._burst
            held = levels.get(name)
            if held is not None:
                level = held[0] + (now - held[1]) * self._rate
                if level > self._burst:
                    level = self._burst
                levels.move_to_end(name)
            granted = level >= 1
            levels[name] = (level - 1 if granted else level, now)
            if len(levels) > self._capacity:
                levels.popitem(last=False)
            return 0.0 if granted else (1 - level) / self._rate

    def give_back(self, name: str) -> None:
        """Put a token back that was taken for what did not happen."""
        with self._lock:
            held = self._levels.get(name)
            if held is not None:
                self._levels[name] = (min(self._burst, held[0] + 1), held[1])
