"""Signers of the chain killed, lost and changed under traffic: what is accepted is anchored once, nothing lies.

Every test heals what it broke. Signers 1 to 3 have a node each; 4 and 5 have none.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence

import pytest

from anchor.chain.finality import finality_for
from cli.consortium.network import GethSigner
from cli.demo import people
from tests.consortium.conftest import HEAD_AGE_LIMIT_S, Consortium
from tests.consortium.traffic import (
    anchor_of,
    part_states,
    push,
    require_once,
    status_of,
    wait_until,
)
from tests.e2e.papers import LEASE, Raw

pytestmark = pytest.mark.timeout(600)


def test_with_two_dead_signers_blocks_go_on_and_nothing_becomes_final(consortium: Consortium) -> None:
    network, gateway = consortium.network, consortium.network.gateway
    consortium.network.settle()
    for signer in consortium.group.signers[3:]:
        signer.part.kill()
    try:
        first = gateway.head().number
        pushed = push(network, people.PD)
        wait_until(lambda: status_of(network, people.PD, pushed) == "included", "an included record")
        wait_until(lambda: gateway.head().number >= first + 12, "twelve more blocks")
        final = finality_for("clique").final_point(gateway, gateway.head())
        assert final is None or final.number <= first
        assert status_of(network, people.PD, pushed) == "included"
        wait_until(lambda: part_states(network, "PD")["chain"] == "chain_not_final", "the node's own word")
        verdict = Raw(network, people.PD).verify(pushed["sha256"], typeCode=LEASE)
        assert (verdict["verdict"], verdict["fresh"]) == ("stale", False)
        late = push(network, people.PD)
    finally:
        consortium.heal()
    require_once(network, people.PD, [pushed, late])
    assert part_states(network, "PD")["chain"] == "ok"


def test_with_three_dead_signers_the_chain_halts_and_pushes_are_kept(consortium: Consortium) -> None:
    network, gateway = consortium.network, consortium.network.gateway
    for signer in consortium.group.signers[2:]:
        signer.part.kill()
    try:
        halted = _halt(consortium)
        pushed = [push(network, agency) for agency in (people.XH, people.PD, people.QP)]
        wait_until(lambda: part_states(network, "XH")["chain"] == "chain_stalled", "the node's own word")
        # QP's own client is among the dead.
        assert part_states(network, "QP")["chain"] == "chain_unavailable"
        assert gateway.head().number == halted
        for agency, material in zip((people.XH, people.PD, people.QP), pushed, strict=True):
            assert status_of(network, agency, material) in ("pending", "submitted")
    finally:
        consortium.heal()
    for agency, material in zip((people.XH, people.PD, people.QP), pushed, strict=True):
        require_once(network, agency, [material])


def _halt(consortium: Consortium) -> int:
    """Wait until no block came for as long as a node takes to say so; return the head's number."""
    gateway = consortium.network.gateway
    number, since = gateway.head().number, time.monotonic()
    while time.monotonic() - since < HEAD_AGE_LIMIT_S / 2:
        time.sleep(0.5)
        if gateway.head().number != number:
            number, since = gateway.head().number, time.monotonic()
    return number


def test_all_signers_killed_under_load_and_back_anchor_each_record_once(consortium: Consortium) -> None:
    network = consortium.network
    pushed = [push(network, people.PD) for _ in range(5)]
    final = network.final()
    consortium.group.kill()
    try:
        pushed += [push(network, people.PD) for _ in range(5)]
    finally:
        consortium.heal()
    require_once(network, people.PD, pushed)
    found = network.gateway.block(final.number)
    assert found is not None and found.hash == final.hash


def test_split_three_and_two_heals_and_keeps_each_record_once(consortium: Consortium) -> None:
    """PD's and QP's signers are cut off; what they put into blocks of their own is taken back and comes again."""
    network, signers = consortium.network, consortium.group.signers
    network.settle()
    few, many = signers[1:3], (signers[0], *signers[3:])
    _wait_turn(few)
    _part(few, many)
    try:
        apart = [push(network, people.PD) for _ in range(3)] + [push(network, people.PD)]
        together = push(network, people.XH)
        wait_until(lambda: many[0].gateway.head().number > few[0].gateway.head().number + 4, "a longer chain")
        lost = few[0].gateway.head()
        # Three of five make blocks and no quorum: neither side may call anything final.
        assert status_of(network, people.XH, together) != "final"
        assert "final" not in {status_of(network, people.PD, one) for one in apart}
    finally:
        _join(few, many)
        consortium.heal()
    kept = few[0].gateway.block(lost.number)
    assert kept is not None and kept.hash != lost.hash, "the smaller side never had a block of its own"
    require_once(network, people.PD, apart)
    require_once(network, people.XH, [together])
    for name in ("XH", "PD", "QP"):
        assert part_states(network, name)["chain"] == "ok"


def _wait_turn(few: Sequence[GethSigner]) -> None:
    """Wait until none of `few` sealed the last two blocks: then each may seal one more, and no others can."""
    names = {"0x" + each.address.hex() for each in few}

    def free() -> bool:
        number = few[0].gateway.head().number
        return not names & {few[0].call("clique_getSigner", hex(one)) for one in (number, number - 1)}

    wait_until(free, "the turn of the others")


def _part(left: Sequence[GethSigner], right: Sequence[GethSigner]) -> None:
    def parted() -> bool:
        # A peer that was just dropped may be dialing back: drop it until nobody does.
        pairs = [(one, other) for one in left for other in right]
        for one, other in pairs:
            one.call("admin_removePeer", other.made.peer.enode)
            other.call("admin_removePeer", one.made.peer.enode)
        return not any(_knows(one, other) or _knows(other, one) for one, other in pairs)

    wait_until(parted, "the split", timeout_s=30.0)


def _knows(one: GethSigner, other: GethSigner) -> bool:
    key = other.made.peer.public_key.hex()
    return any(key in peer["enode"] for peer in one.call("admin_peers"))


def _join(left: Sequence[GethSigner], right: Sequence[GethSigner]) -> None:
    for one in left:
        for other in right:
            one.call("admin_addPeer", other.made.peer.enode)
            other.call("admin_addPeer", one.made.peer.enode)


def test_signer_with_a_deleted_chain_folder_gets_all_blocks_again(consortium: Consortium) -> None:
    network, lost = consortium.network, consortium.group.signers[3]
    pushed = push(network, people.PD, wait="final")
    lost.part.kill()
    lost.forget_chain()
    lost.start()
    lost.wait_ready()
    consortium.group.wait_agreed(timeout_s=150.0)
    height = lost.gateway.head().number
    numbers = range(0, height - 5, 7)
    assert lost.gateway.blocks(numbers) == network.gateway.blocks(numbers)
    block = anchor_of(network, people.PD, pushed)["block"]
    # Old states too: receipts prove them.
    assert lost.gateway.nonce(network.deployment.ledger, block=block) >= 1
    consortium.heal()
    require_once(network, people.PD, [pushed])


def test_node_with_a_deleted_index_reads_the_chain_again(consortium: Consortium) -> None:
    network, node = consortium.network, consortium.network.nodes["PD"]
    pushed = push(network, people.PD, wait="final")
    before = node.client.get("/v1/chain/status")["final"]
    node.part.stop()
    shutil.rmtree(node.folder / "index")
    node.restart()
    network.settle()
    verdict = Raw(network, people.PD).verify(pushed["sha256"], typeCode=LEASE)
    assert (verdict["verdict"], verdict["finality"]) == ("valid", "crash-final")
    after = node.client.get("/v1/chain/status")["final"]
    assert after["number"] >= before["number"]
    require_once(network, people.PD, [pushed])
