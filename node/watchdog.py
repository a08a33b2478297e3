"""Ends a process that answers nobody any more, and that nothing inside can set going again.

A thread that gets no memory while it starts makes CPython's `Thread.start` wait for ever, in the event loop or in a
thread of a pool; one that gets none while it works ends, and its pool counts on it still, or its work is left. Looks
are counted, not seconds: while the whole process is stopped neither side moves. Must not import services or HTTP.
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
# Threads that run until the process ends, by the beginnings of their names: the loop's pool, those for other nodes, the
# one of small pushes, background work.
LASTING = ("asyncio_", "peer_", "gather_", "worker_")


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
        seen, missed = -1, 0
        lasting, _ = _threads()
        starting: dict[threading.Thread, int] = {}
        while not self._stopped():
            missed = missed + 1 if self._rounds == seen else 0
            seen, before = self._rounds, lasting
            lasting, begun = _threads()
            starting = {each: starting.get(each, 0) + 1 for each in begun}
            if missed >= self._misses or before - lasting or max(starting.values(), default=0) > self._misses:
                self._end()
                return

    def _stopped(self) -> bool:
        """Wait for the next look; return whether there is none."""
        try:
            return self._stop.wait(self._period_s)
        except MemoryError:  # It makes a lock. Who watches must not be the first to go.
            time.sleep(self._period_s)
            return False


def _threads() -> tuple[set[str], list[threading.Thread]]:
    """Return the names of threads that run until the process ends, and those whose start has not ended."""
    found = threading.enumerate()
    lasting = {each.name for each in found if each.name.startswith(LASTING)}
    return lasting, [each for each in found if not each.is_alive()]
