"""A process whose event loop stands still is ended, and no other."""

from __future__ import annotations

import asyncio
import threading
import time

from node.watchdog import LoopWatch


def run_watched(work: float, *, misses: int) -> bool:
    """Let the loop be blocked for `work` seconds, then go on; return whether the watch ended it."""
    ended = threading.Event()

    async def serve() -> None:
        watch = LoopWatch(period_s=0.02, misses=misses, end=ended.set)
        watch.start(asyncio.get_running_loop())
        await asyncio.sleep(0.1)
        time.sleep(work)
        await asyncio.sleep(0.1)
        watch.stop()

    asyncio.run(serve())
    return ended.is_set()


def test_a_loop_that_stands_still_is_ended() -> None:
    assert run_watched(1.0, misses=5)


def test_a_loop_that_goes_on_is_not_ended() -> None:
    assert not run_watched(0.0, misses=500)
