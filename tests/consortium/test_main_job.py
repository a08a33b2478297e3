"""The main job on a chain of five signers: push, find, reuse with bytes, receipt; also with one of them dead.

One network serves all tests of this file.
"""

from __future__ import annotations

from datetime import date

import pytest

from anchor.chain.deploy import wait_mined
from anchor.chain.finality import finality_for
from anchor.chain.stateproofs import header_of
from anchor.headers import Engine, crash_quorum, header_signers
from anchor.signer import Signer
from cli.demo import catalogue, people, scenes
from cli.demo.files import PaperMill
from cli.demo.stage import Stage
from tests.consortium.conftest import Consortium
from tests.consortium.traffic import push, require_once
from tests.e2e.papers import Raw

pytestmark = pytest.mark.timeout(900)


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


def test_one_dead_signer_of_five_does_not_stop_anchoring(consortium: Consortium) -> None:
    network, dead = consortium.network, consortium.group.signers[4]
    dead.part.kill()
    try:
        pushed = [push(network, people.PD), push(network, people.XH)]
        require_once(network, people.PD, pushed[:1])
        require_once(network, people.XH, pushed[1:])
        assert not dead.part.running
    finally:
        consortium.heal()
    assert dead.gateway.block(consortium.network.final().number) is not None


def test_transactions_that_pay_nothing_are_mined_by_signers_that_were_not_asked(
    consortium: Consortium,
) -> None:
    """geth's default price would leave each transaction to the one signer that it was sent to."""
    network, account = consortium.network, Signer.generate()
    asked = consortium.group.signers[0]
    sealers = set()
    for nonce in range(4):
        transaction = account.sign_transaction(
            chain_id=network.deployment.chain_id, nonce=nonce, to=account.address, calldata=b"", gas=21_000
        )
        asked.gateway.send_raw(transaction.raw)
        block = network.gateway.block(wait_mined(network.gateway, transaction).block_number)
        assert block is not None
        sealers |= set(header_signers(header_of(block, Engine.CLIQUE), Engine.CLIQUE))
    assert sealers - {asked.address}


@pytest.mark.full
@pytest.mark.timeout(900)
def test_every_scene_of_the_demonstration_passes(consortium: Consortium) -> None:
    lines = scenes.play(_stage(consortium), on_line=lambda _line: None)
    assert [line for line in lines if not line.passed] == []
    assert len(lines) > 40
