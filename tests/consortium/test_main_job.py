"""The main job on a chain of five signers: push, find, reuse with bytes, receipt; and what the nodes say of it."""

from __future__ import annotations

from datetime import date

import pytest

from anchor.chain.finality import finality_for
from anchor.headers import crash_quorum
from cli.demo import catalogue, people, scenes
from cli.demo.files import PaperMill
from cli.demo.stage import Stage
from tests.consortium.conftest import Consortium
from tests.e2e.papers import Raw


def _stage(consortium: Consortium) -> Stage:
    return Stage(consortium.network, PaperMill(20230314), date.today())  # noqa: DTZ011 - any day will do


def test_licence_is_pushed_reused_and_proved(consortium: Consortium) -> None:
    cast = scenes.Cast()
    lines = list(scenes.licence_and_lease(_stage(consortium), cast))
    assert [line for line in lines if not line.passed] == []
    assert len(lines) == 7
    licence = cast.held["licence"]
    verdict = Raw(consortium.network, people.QP).verify(licence.paper.sha256, typeCode=catalogue.LICENCE)
    assert (verdict["verdict"], verdict["finality"]) == ("valid", "crash-final")


def test_all_signers_seal_and_the_final_block_has_a_quorum_above_it(consortium: Consortium) -> None:
    gateway = consortium.network.gateway
    consortium.group.wait_blocks(len(consortium.group.signers))
    head = gateway.head()
    final = consortium.network.final()
    assert 0 < final.number < head.number
    rule = finality_for("clique")
    # Seals on or above the final block, one short of the quorum, leave it open.
    quorum = crash_quorum(len(consortium.group.signers))
    below = gateway.block(final.number + quorum - 2)
    assert below is not None
    point = rule.final_point(gateway, below)
    assert point is None or point.number < final.number
    named = consortium.network.nodes["XH"].client.get("/v1/chain/status")
    assert named["finality"] == "crash-final"


@pytest.mark.full
@pytest.mark.timeout(900)
def test_every_scene_of_the_demonstration_passes(consortium: Consortium) -> None:
    lines = scenes.play(_stage(consortium), on_line=lambda _line: None)
    assert [line for line in lines if not line.passed] == []
    assert len(lines) > 40
