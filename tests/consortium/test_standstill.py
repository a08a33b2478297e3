"""A quorum of signers that start together goes on sealing, also when Clique locks itself up.

Two in twelve such starts came to a standstill here, so that of twenty-four hardly ever none does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from anchor.headers import crash_quorum
from cli.consortium.network import SignerGroup, open_signers
from tests.support.geth import geth_binary

pytestmark = [pytest.mark.full, pytest.mark.timeout(1800)]
STARTS = 24


def test_four_of_five_signers_that_start_together_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    ended = 0

    def count(group: SignerGroup, end: Callable[[SignerGroup], None] = SignerGroup.end_standstill) -> None:
        nonlocal ended
        ended += 1
        end(group)

    monkeypatch.setattr(SignerGroup, "end_standstill", count)
    with open_signers(tmp_path / "net", program=geth_binary()) as group:
        first = group.signers[: crash_quorum(len(group.signers))]
        for _ in range(STARTS):
            for signer in group.signers:
                signer.part.terminate()
            for signer in group.signers:
                signer.part.stop()
            for signer in first:
                signer.start()
            for signer in first:
                signer.wait_ready()
            group.wait_blocks(len(first), timeout_s=120.0)
    record_property("count", f"{STARTS} starts of {len(first)} signers, {ended} standstills ended")
