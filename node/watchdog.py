"""Ends a process that answers nobody any more, and that nothing inside can set going again.

A thread that gets no memory while it starts makes CPython's `Thread.start` wait for ever, also in the event loop; one
of a pool that gets none while it works ends, and the pool counts on it still. Looks are counted, not seconds: while
the whole process is stopped neither side moves. Must not import services or HTTP.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable

PERIOD_S = 1.0
MISSES = 30
EXIT_STUCK = 8
# Threads of pools, by the beginnings of their names: the loop's own, those for other nodes, the one of small pushes.
POOLED = ("asyncio_", "peer_", "gather_")


def end_process() -> None:
    """End at once, by the exit code for "unavailable"; the store is whole after any end."""
    os.write(2, b'{"event":"loop_stuck","level":"error"}\n')
    os._exit(EXIT_STUCK)


class LoopWatch:
    """Counts the rounds of an event loop, and the threads of pools, from a thread of its own."""

    def __init__(
        self, *, period_s: float = PERIOD_S, misses: int = MISSES, end: Callable[[], None] = end_process
    ) -> None:
        self._period_s, self._misses, self._end = period_s, misses, end
        self._rounds = 0
        self._stop = threading.Event()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watch `loop`; call in it."""
        self._beat(loop)
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Watch no more: the loop is about to end."""
        self._stop.set()

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        self._rounds += 1
        loop.call_later(self._period_s, self._beat, loop)

    def _watch(self) -> None:
        seen, missed, pooled = -1, 0, _pooled()
        while not self._stopped():
            missed = missed + 1 if self._rounds == seen else 0
            seen, before, pooled = self._rounds, pooled, _pooled()
            if missed >= self._misses or before - pooled:
                self._end()
                return

    def _stopped(self) -> bool:
        """Wait for the next look; return whether there is none."""
        try:
            return self._stop.wait(self._period_s)
        except MemoryError:  # It makes a lock. Who watches must not be the first to go.
            time.sleep(self._period_s)
            return False


def _pooled() -> set[str]:
    """Return the names of the pools' threads; each runs until the process ends."""
    return {each.name for each in threading.enumerate() if each.name.startswith(POOLED)}
