"""A blocking iterator is read one piece ahead of the sending, never by two threads, and never left running."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from node.http.writes import in_threads

PATIENCE_S = 60


class Source:
    """Yields numbers; counts who is inside and holds the piece at `hold` until it is told to go on."""

    def __init__(self, count: int, *, hold: int = -1, fault_at: int = -1) -> None:
        self._count, self._hold, self._fault_at = count, hold, fault_at
        self.made = 0
        self.inside = False
        self.held, self.go_on = threading.Event(), threading.Event()

    def pieces(self) -> Iterator[bytes]:
        for number in range(self._count):
            assert not self.inside
            self.inside = True
            if number == self._hold:
                self.held.set()
                assert self.go_on.wait(PATIENCE_S)
            self.made += 1
            self.inside = False
            if number == self._fault_at:
                raise ValueError(str(number))
            yield b"%d" % number


def test_all_pieces_come_in_order() -> None:
    async def run() -> list[bytes]:
        return [piece async for piece in in_threads(Source(50).pieces())]

    assert asyncio.run(run()) == [b"%d" % number for number in range(50)]


def test_the_next_piece_is_made_while_one_is_sent() -> None:
    async def run() -> None:
        source = Source(3, hold=1)
        found = in_threads(source.pieces())
        assert await anext(found) == b"0"
        # Nobody has asked for the second one, yet it is being made.
        assert await asyncio.to_thread(source.held.wait, PATIENCE_S)
        source.go_on.set()
        assert [piece async for piece in found] == [b"1", b"2"]

    asyncio.run(run())


def test_what_it_raises_comes_after_the_pieces_before_it() -> None:
    async def run() -> list[bytes]:
        got: list[bytes] = []
        with pytest.raises(ValueError, match="2"):
            async for piece in in_threads(Source(5, fault_at=2).pieces()):
                got.append(piece)
        return got

    assert asyncio.run(run()) == [b"0", b"1"]


def test_one_that_is_given_up_ends_only_when_no_thread_is_inside() -> None:
    async def run() -> None:
        source = Source(5, hold=1)
        found = in_threads(source.pieces())
        assert await anext(found) == b"0"
        assert await asyncio.to_thread(source.held.wait, PATIENCE_S)
        closing = asyncio.ensure_future(found.aclose())  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)
        assert not closing.done()
        source.go_on.set()
        await asyncio.wait_for(closing, PATIENCE_S)
        assert not source.inside
        assert source.made == 2

    asyncio.run(run())
