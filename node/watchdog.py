"""Ends a process whose event loop stands still: it answers nobody, and nothing inside can set it going again.

A thread that gets no memory while it starts makes CPython's `Thread.start` wait for ever, also in the event loop.
Looks are counted, not seconds: while the whole process is stopped neither side moves. Must not import services or HTTP.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable

PERIOD_S = 1.0
MISSES = 30
EXIT_STUCK = 8


def end_process() -> None:
    """End at once, by the exit code for "unavailable"; the store is whole after any end."""
    os.write(2, b'{"event":"loop_stuck","level":"error"}\n')
    os._exit(EXIT_STUCK)


class LoopWatch:
    """Counts the rounds of an event loop from a thread of its own."""

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
        seen, missed = -1, 0
        while not self._stop.wait(self._period_s):
            missed = missed + 1 if self._rounds == seen else 0
            seen = self._rounds
            if missed >= self._misses:
                self._end()
                return
