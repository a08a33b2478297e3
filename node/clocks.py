"""The node's time: what it says when the machine's clock is set while it runs.

A clock that is set back would make an old block fresh and an expired key good again; one that is set forward would
make what must be kept look old. So: for judging, time does not go back while the monotonic clock runs on; what expires
does so by the later of clock and chain; what is deleted is old by both.
Pure but for the timers passed in. Page: docs/explanation/reliability.md, "A clock that is set".
"""

from __future__ import annotations

import time
from collections.abc import Callable

JUMP_S = 60


class Clock:
    """Wall clock and monotonic clock together; `block_time` is that of the last final block, 0 if there is none."""

    def __init__(
        self,
        *,
        block_time: Callable[[], int],
        wall: Callable[[], float] = lambda: time.time(),
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._block_time, self._wall, self._steady = block_time, wall, steady
        self._offset = wall() - steady()

    def now(self) -> int:
        """Return what the machine's clock says, in unix seconds."""
        return int(self._wall())

    def judging(self) -> int:
        """Return the time for judging how old something is: it is not set back."""
        wall, expected = self._wall(), self._steady() + self._offset
        return int(expected if wall < expected - JUMP_S else wall)

    def latest(self) -> int:
        """Return the later of clock and chain: what has expired by either has expired."""
        return max(self.judging(), self._block_time())

    def earliest(self) -> int:
        """Return the earlier of clock and chain: what may be deleted is old by both."""
        return min(self.now(), self._block_time())

    def jumped(self) -> bool:
        """Return whether the clock was set by more than a minute since the start or the last `trust`."""
        return abs(self._wall() - self._steady() - self._offset) > JUMP_S

    def trust(self) -> None:
        """Take the clock as it is now: something else has borne it out."""
        self._offset = self._wall() - self._steady()
