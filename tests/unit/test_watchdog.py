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


@pytest.mark.parametrize("name", ["asyncio_99", "worker_outbox"])
def test_a_lasting_thread_that_is_lost_ends_the_process(name: str) -> None:
    ended, leave = threading.Event(), threading.Event()

    async def serve() -> None:
        watch = LoopWatch(period_s=0.02, misses=500, end=ended.set)
        lasting = threading.Thread(target=leave.wait, name=name)
        lasting.start()
        watch.start(asyncio.get_running_loop())
        await asyncio.sleep(0.2)
        assert not ended.is_set()
        leave.set()
        while not ended.is_set():
            await asyncio.sleep(0.02)
        watch.stop()

    asyncio.run(serve())


def test_a_thread_whose_start_never_ends_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever starts it waits for ever: in a pool, where the loop goes on and the pool's threads are all there."""
    ended = threading.Event()
    never = threading.Thread(target=int)
    monkeypatch.setattr(never, "_bootstrap", lambda: None)
    starter = threading.Thread(target=never.start)
    starter.start()

    async def serve() -> None:
        watch = LoopWatch(period_s=0.02, misses=5, end=ended.set)
        watch.start(asyncio.get_running_loop())
        while not ended.is_set():
            await asyncio.sleep(0.02)
        watch.stop()

    asyncio.run(serve())
    assert starter.is_alive()
    never._started.set()
    starter.join(timeout=30)
    threading._limbo.pop(never)


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
