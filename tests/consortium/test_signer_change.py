"""The signers change while traffic flows: the council names the new set, nodes follow, receipts still prove."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Any

import pytest

from anchor.chain.signersets import read_named_sets
from anchor.headers import Engine
from cli.consortium.network import GethSigner
from cli.demo import people
from cli.demo.network import COUNCIL_KEY, COUNCIL_PASSPHRASE, Network
from cli.errors import InputInvalid
from cli.trustsource import export_trust, make_step
from tests.consortium.conftest import Consortium
from tests.consortium.traffic import push, require_once, wait_until
from tests.e2e.papers import Raw
from tests.integration.cli_node_factory import run_cli
from verifier.receipts import Receipt, ReceiptVerdict, check_receipt, parse_receipt
from verifier.trust import TrustAnchor, advance_trust

pytestmark = pytest.mark.timeout(600)


@contextmanager
def _traffic(network: Network) -> Iterator[list[dict[str, Any]]]:
    """Push documents at PD, one after the other, until the block ends."""
    pushed: list[dict[str, Any]] = []
    ended = Event()

    def run() -> None:
        while not ended.is_set():
            pushed.append(push(network, people.PD))
            ended.wait(1.0)

    thread = Thread(target=run)
    thread.start()
    try:
        yield pushed
    finally:
        ended.set()
        thread.join()


def _vote(consortium: Consortium, voters: tuple[GethSigner, ...], about: bytes, *, seals: bool) -> None:
    """Let `voters` vote for or against a signer until the chain has it so, then take the votes back."""
    name = "0x" + about.hex()
    for voter in voters:
        voter.call("clique_propose", name, seals)
    wait_until(lambda: (name in _signers(consortium)) is seals, "the vote's end")
    for voter in voters:
        voter.call("clique_discard", name)


def _signers(consortium: Consortium) -> list[str]:
    found: list[str] = consortium.group.signers[0].call("clique_getSigners", "latest")
    return found


def _name_signers(consortium: Consortium) -> None:
    """Enter in Members who seals from the next block on, as the council does: by the command line."""
    network = consortium.network
    ended = run_cli(
        [
            *("chain", "signers", *_signers(consortium), "--from-block", str(network.head().number + 1)),
            *("--rpc", network.rpc, "--chain-id", str(network.deployment.chain_id)),
            *("--directory", "0x" + network.deployment.directory.hex()),
            *("--council-key-file", str(network.folder / COUNCIL_KEY)),
            *("--council-passphrase-file", str(network.folder / COUNCIL_PASSPHRASE)),
        ],
        network.folder,
    )
    assert ended.returncode == 0, ended.stderr


def _receipt(network: Network, material: dict[str, Any]) -> Receipt:
    answer = Raw(network, people.PD).get(f"/v1/receipts/{material['materialId']}")
    assert answer.status_code == 200, answer.text
    return parse_receipt(json.dumps(answer.json()).encode())


def _export(network: Network) -> TrustAnchor:
    made = network.deployment
    return export_trust(
        network.gateway, directory=made.directory, chain_id=made.chain_id, engine=Engine.CLIQUE
    )


def _verdict(receipt: Receipt, trust: TrustAnchor) -> ReceiptVerdict:
    return check_receipt(receipt, trust, at=datetime.now(UTC)).verdict


def test_a_change_of_signers_loses_nothing_and_old_receipts_prove_under_both(consortium: Consortium) -> None:
    network, (*staying, leaving) = consortium.network, consortium.group.signers
    network.settle()
    before = _export(network)
    old = _receipt(network, push(network, people.PD, wait="final"))
    assert _verdict(old, before) is ReceiptVerdict.VALID
    with _traffic(network) as pushed:
        try:
            _vote(consortium, tuple(staying), leaving.address, seals=False)
            _name_signers(consortium)
            _wait_for_step(network, before)
            after = advance_trust(before, make_step(network.gateway, before))
            new = _receipt(network, push(network, people.PD, wait="final"))
        finally:
            _vote(consortium, tuple(staying), leaving.address, seals=True)
            _name_signers(consortium)
    consortium.heal()
    assert [len(each.signers) for each in before.signer_sets + after.signer_sets[-1:]] == [5, 4]
    assert _verdict(old, before) is _verdict(old, after) is _verdict(new, after) is ReceiptVerdict.VALID
    assert len(pushed) > 5
    require_once(network, people.PD, pushed)
    assert sorted(_signers(consortium)) == sorted(
        "0x" + each.address.hex() for each in consortium.group.signers
    )


def _wait_for_step(network: Network, anchor: TrustAnchor) -> None:
    """Wait until the block that names the new signers is final for both: by the new ones, and by the anchor's.

    Four new signers need three of them; of the five old ones, of whom one has left, all four others must seal.
    """

    def is_final() -> bool:
        named = read_named_sets(network.gateway, anchor.members, last=network.head().number)
        if network.final().number <= named[-1].named_in:
            return False
        try:
            make_step(network.gateway, anchor)
        except InputInvalid:
            return False
        return True

    wait_until(is_final, "the named set in a final block")
