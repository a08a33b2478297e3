"""What the following loop tells the rest of the node about the chain."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from anchor.chain.finality import FinalPoint
from anchor.errors import ChainUnavailable
from node.clocks import Clock
from node.context import ChainState
from node.workers import follow_once
from verifier.errors import IndexCorrupt
from verifier.follower import FollowProgress

NOW = 1_700_000_000


def stepping(*steps: int | Exception) -> Any:
    """Return a node whose follower takes these steps: blocks that are still behind, or an error."""
    left: Iterator[int | Exception] = iter(steps)

    def step() -> FollowProgress:
        found = next(left)
        if isinstance(found, Exception):
            raise found
        return FollowProgress(
            9 - found, 9, NOW, FinalPoint(9 - found, bytes(32), NOW, "operator"), found, None
        )

    return SimpleNamespace(
        follower=SimpleNamespace(step=step),
        chain=ChainState(),
        config=SimpleNamespace(head_age_limit_s=60),
        clock=lambda: NOW,
        time=Clock(block_time=lambda: NOW, wall=lambda: float(NOW), steady=lambda: 0.0),
        index=SimpleNamespace(member_by_account=lambda _account: None),
        signer=SimpleNamespace(address=b""),
        learn_keys=lambda: False,
        followed=threading.Condition(),
    )


def test_an_index_that_never_reached_the_head_is_behind_until_it_has() -> None:
    node = stepping(7, 3, 0)
    problems = []
    for _ in range(3):
        follow_once(node)
        problems.append(node.chain.problem)
    assert problems == ["index_behind", "index_behind", None]


def test_an_index_that_just_learnt_to_read_records_is_behind_until_it_has_taken_its_newest_blocks_again() -> (
    None
):
    node = stepping(0, 0)
    learning = iter([True, False])
    node.learn_keys = lambda: next(learning)
    assert follow_once(node) is True
    assert node.chain.problem == "index_behind"
    assert follow_once(node) is False
    assert node.chain.problem is None


def test_a_damaged_index_that_shows_while_keys_are_learnt_is_named() -> None:
    node = stepping(0)

    def damaged() -> bool:
        raise IndexCorrupt("a row is damaged")

    node.learn_keys = damaged
    assert follow_once(node) is False
    assert node.chain.problem == "index_corrupt"


def test_a_few_blocks_behind_later_on_are_no_fault() -> None:
    node = stepping(0, 4)
    follow_once(node)
    assert follow_once(node) is True
    assert node.chain.problem is None


def test_an_unreachable_chain_is_named_and_forgotten_when_it_is_back() -> None:
    node = stepping(0, ChainUnavailable("no answer"), 0)
    follow_once(node)
    assert follow_once(node) is False
    assert node.chain.problem == "chain_unavailable"
    follow_once(node)
    assert node.chain.problem is None


def test_a_head_that_stands_still_is_stalled() -> None:
    node = stepping(0)
    node.time = Clock(block_time=lambda: NOW, wall=lambda: NOW + 61.0, steady=lambda: 0.0)
    follow_once(node)
    assert node.chain.problem == "chain_stalled"
