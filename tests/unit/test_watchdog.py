"""A process whose event loop stands still is ended, and no other."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

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


def test_a_pool_that_lost_a_thread_ends_the_process() -> None:
    ended, leave = threading.Event(), threading.Event()

    async def serve() -> None:
        watch = LoopWatch(period_s=0.02, misses=500, end=ended.set)
        pooled = threading.Thread(target=leave.wait, name="asyncio_99")
        pooled.start()
        watch.start(asyncio.get_running_loop())
        await asyncio.sleep(0.2)
        assert not ended.is_set()
        leave.set()
        while not ended.is_set():
            await asyncio.sleep(0.02)
        watch.stop()

    asyncio.run(serve())


def test_the_watch_goes_on_where_it_gets_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = threading.Event.wait
    refused = 0

    def refuse_once(event: threading.Event, timeout: float | None = None) -> bool:
        nonlocal refused
        if threading.current_thread().name == "watchdog" and not refused:
            refused += 1
            raise MemoryError
        return waits(event, timeout)

    monkeypatch.setattr(threading.Event, "wait", refuse_once)
    assert run_watched(1.0, misses=5)
    assert refused


def test_a_loop_that_goes_on_is_not_ended() -> None:
    assert not run_watched(0.0, misses=500)
