"""Small pushes share batches: who comes alone waits for nobody, and one that is refused refuses no other."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest

from node.errors import MaterialInvalid, StoreFull
from node.services import gathering
from node.services.gathering import PushGatherer

PATIENCE_S = 60


@dataclass
class Acceptor:
    """Stands for `materials.accept_all`: notes each group, and holds the first one until it is told."""

    hold_first: bool = False
    groups: list[list[Any]] = field(default_factory=list)
    begun: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    fault: Exception | None = None

    def __call__(self, _node: Any, pushes: list[Any]) -> list[Any]:
        self.groups.append(list(pushes))
        self.begun.set()
        if self.hold_first and len(self.groups) == 1:
            assert self.go_on.wait(PATIENCE_S)
        if self.fault is not None:
            raise self.fault
        return [
            MaterialInvalid("no", pointer="/x") if push == "bad" else f"view of {push}" for push in pushes
        ]


@pytest.fixture
def acceptor(monkeypatch: pytest.MonkeyPatch) -> Acceptor:
    found = Acceptor()
    monkeypatch.setattr(gathering.materials, "accept_all", found)
    return found


def gathered(gatherer: PushGatherer, *pushes: str) -> list[Any]:
    async def run() -> list[Any]:
        asked = [gatherer.accept(push) for push in pushes]  # type: ignore[arg-type]
        return await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), PATIENCE_S)

    return asyncio.run(run())


def test_pushes_that_arrive_together_share_one_group(acceptor: Acceptor) -> None:
    assert gathered(PushGatherer(None), "a", "b", "c") == ["view of a", "view of b", "view of c"]
    assert acceptor.groups == [["a", "b", "c"]]


def test_what_comes_while_a_group_is_written_is_the_next_group(acceptor: Acceptor) -> None:
    acceptor.hold_first = True

    async def run() -> list[Any]:
        gatherer = PushGatherer(None)
        first = asyncio.create_task(gatherer.accept("a"))  # type: ignore[arg-type]
        assert await asyncio.to_thread(acceptor.begun.wait, PATIENCE_S)
        others = [asyncio.create_task(gatherer.accept(push)) for push in ("b", "c")]  # type: ignore[arg-type]
        await asyncio.sleep(0)
        acceptor.go_on.set()
        return await asyncio.wait_for(asyncio.gather(first, *others), PATIENCE_S)

    assert asyncio.run(run()) == ["view of a", "view of b", "view of c"]
    assert acceptor.groups == [["a"], ["b", "c"]]


def test_one_that_is_refused_refuses_no_other(acceptor: Acceptor) -> None:
    first, second, third = gathered(PushGatherer(None), "a", "bad", "c")
    assert (first, third) == ("view of a", "view of c")
    assert isinstance(second, MaterialInvalid)


def test_a_batch_that_fails_fails_each_of_its_pushes_and_the_next_goes_on(acceptor: Acceptor) -> None:
    acceptor.fault = StoreFull("no room")

    async def run() -> Any:
        gatherer = PushGatherer(None)
        asked = [gatherer.accept(push) for push in ("a", "b")]  # type: ignore[arg-type]
        refused = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), PATIENCE_S)
        assert [type(one) for one in refused] == [StoreFull, StoreFull]
        acceptor.fault = None
        return await asyncio.wait_for(gatherer.accept("c"), PATIENCE_S)  # type: ignore[arg-type]

    assert asyncio.run(run()) == "view of c"


def test_a_large_crowd_goes_in_bounded_groups(acceptor: Acceptor) -> None:
    names = [f"p{number}" for number in range(150)]
    assert gathered(PushGatherer(None), *names) == [f"view of {name}" for name in names]
    assert [len(group) for group in acceptor.groups] == [64, 64, 22]


def test_a_request_that_went_away_holds_nobody_up(acceptor: Acceptor) -> None:
    async def run() -> Any:
        gatherer = PushGatherer(None)
        gone = asyncio.create_task(gatherer.accept("gone"))  # type: ignore[arg-type]
        stays = asyncio.create_task(gatherer.accept("stays"))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        gone.cancel()
        return await asyncio.wait_for(stays, PATIENCE_S)

    assert asyncio.run(run()) == "view of stays"
