"""A node says when blocks come and none becomes final."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from anchor.chain.finality import FinalPoint
from node.workers import _final_age_problem
from verifier.follower import FollowProgress

LIMIT_S = 60
NODE: Any = SimpleNamespace(config=SimpleNamespace(head_age_limit_s=LIMIT_S))


def _progress(late_s: int, *, behind: int = 0, final: bool = True) -> FollowProgress:
    head_time = 1_700_000_000
    point = FinalPoint(7, bytes(32), head_time - late_s, "crash-final")
    return FollowProgress(9, 9 + behind, head_time, point if final else None, behind, None)


@pytest.mark.parametrize(
    ("progress", "said"),
    [
        (_progress(LIMIT_S), None),
        (_progress(LIMIT_S + 1), "chain_not_final"),
        # While the index is being built its own final block is old, the chain's is not.
        (_progress(10_000, behind=1), None),
        (_progress(10_000, final=False), None),
    ],
)
def test_old_final_block_below_a_fresh_head_is_named(progress: FollowProgress, said: str | None) -> None:
    assert _final_age_problem(NODE, progress) == said
