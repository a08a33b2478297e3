"""Receipts and trust steps from a real Clique network of five go-ethereum signers, checked offline."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

from anchor.chain.contracts import encode_call, gas_for
from anchor.chain.deploy import CouncilActs, Deployment, deploy, wait_mined
from anchor.chain.finality import FinalPoint, finality_for
from anchor.chain.gateway import Gateway
from anchor.chain.stateproofs import read_headers, read_proof
from anchor.commitments import commit, open_fields
from anchor.entries import BatchEntry
from anchor.headers import Engine
from anchor.merkle import root
from anchor.records import Stream, record_id
from anchor.signer import Signer
from anchor.slots import batch_slot, claim_slot, document_slot
from cli.consortium.network import SignerGroup, open_signers
from cli.trustsource import export_trust, make_step
from tests.integration.running_chain import COUNCIL, profile_of
from tests.support.geth import geth_binary
from tests.unit import receipt_factory as made
from verifier.proofs.headers import MAX_HEADERS, shortest_final, verify_linked
from verifier.receipts import (
    DocumentSlot,
    Receipt,
    ReceiptVerdict,
    build_receipt,
    check_receipt,
    parse_receipt,
    render_receipt,
)
from verifier.trust import TrustAnchor, advance_trust, parse_step, parse_trust, render_step, render_trust

pytestmark = pytest.mark.timeout(600)

AT = datetime(2026, 12, 1, 1, tzinfo=UTC)
FIELDS = {**made.FIELDS, "expiresOn": "2099-01-01"}
COMMITMENT = commit(FIELDS, made.SALT_KEY)
RECORD = made.sealed_record(COMMITMENT)
RECORDED = Path(__file__).parents[1] / "vectors" / "receipt" / "clique-network.json"
T = TypeVar("T")


@dataclass
class Sealed:
    """The network, what is deployed on it, a member's own key, and the anchor of the first hour."""

    group: SignerGroup
    gateway: Gateway
    deployment: Deployment
    member: Signer
    trust: TrustAnchor
    entry: BatchEntry
    appended: int

    def send(self, function: str, *arguments: object) -> int:
        """Let the member call the Ledger; return the number of the block that took it, once that is final."""
        calldata = encode_call("Ledger", function, *arguments)
        transaction = self.member.sign_transaction(
            chain_id=self.deployment.chain_id,
            nonce=self.gateway.nonce(self.member.address),
            to=self.deployment.ledger,
            calldata=calldata,
            gas=gas_for("Ledger", function, calldata),
        )
        self.gateway.send_raw(transaction.raw)
        mined, before = wait_mined(self.gateway, transaction), None
        while mined != before:
            self.final(mined.block_number)
            before, mined = mined, wait_mined(self.gateway, transaction)
        assert mined.succeeded
        return mined.block_number

    def final(self, least: int) -> FinalPoint:
        """Wait until a block at or above `least` is final, by the strategy that nodes use."""
        strategy = finality_for("clique", signer_sets=tuple)

        def reached() -> FinalPoint | None:
            point = strategy.final_point(self.gateway, self.gateway.head())
            return point if point is not None and point.number >= least else None

        return until(reached)

    def receipt(self, least: int) -> Receipt:
        """Build a receipt at a final block."""
        final = self.final(least)
        slots = [
            batch_slot(0),
            claim_slot(made.MEMBER, COMMITMENT),
            document_slot(made.MEMBER, 1, 1, made.DOC_TAG),
        ]
        proof = read_proof(self.gateway, self.deployment.ledger, slots, block=final.number)
        head = min(self.gateway.head().number, final.number + MAX_HEADERS - 1)
        headers = read_headers(self.gateway, range(final.number, head + 1), Engine.CLIQUE)
        verify_linked(headers, Engine.CLIQUE)
        shown = shortest_final(headers, self.trust.signers_at, Engine.CLIQUE)
        assert shown is not None
        return build_receipt(
            chain=self.trust.chain,
            finality=final.label,
            opening=open_fields(FIELDS, made.SALT_KEY, made.SHOWN),
            batch=[RECORD],
            index=0,
            entry=self.entry,
            headers=shown,
            nodes=proof.nodes,
            claim=proof.values[1],
            documents=[DocumentSlot(made.MEMBER, 1, 1, made.DOC_TAG, proof.values[2])],
        )


def until(ask: Callable[[], T | None], *, seconds: float = 60.0) -> T:
    end = time.monotonic() + seconds
    while (found := ask()) is None:
        assert time.monotonic() < end, "the network did not get there"
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sealed]:
    folder = tmp_path_factory.mktemp("clique")
    with open_signers(folder / "net", program=geth_binary()) as group:
        gateway = group.signers[0].gateway
        deployment = deploy(gateway, COUNCIL)
        member = Signer.generate()
        CouncilActs(gateway, COUNCIL, deployment).admit_member(made.MEMBER, profile_of(member))
        trust = export_trust(
            gateway, directory=deployment.directory, chain_id=deployment.chain_id, engine=Engine.CLIQUE
        )
        nothing = BatchEntry(0, made.MEMBER, Stream.MATERIAL, 0, 1, bytes(32), 0)
        started = Sealed(group, gateway, deployment, member, trust, nothing, 0)
        started.appended = started.send("append", 1, 0, RECORD)
        block = gateway.block(started.appended)
        assert block is not None
        leaf = record_id(made.MEMBER, RECORD)
        started.entry = BatchEntry(0, made.MEMBER, Stream.MATERIAL, 0, 1, root([leaf]), block.time)
        yield started


def test_anchor_of_the_network_names_its_five_signers(sealed: Sealed) -> None:
    (first,) = sealed.trust.signer_sets
    assert first.from_block == 0
    assert first.signers == tuple(sorted(each.address for each in sealed.group.signers))


def test_receipts_prove_the_claims_and_the_issuers_status_until_and_after_it_changes(
    sealed: Sealed, tmp_path: Path
) -> None:
    before = sealed.receipt(sealed.appended)
    assert verdict(before, sealed) is ReceiptVerdict.VALID
    revoked_in = sealed.send("revokeDocuments", [b"\0\1\0\1" + made.DOC_TAG], 3)
    after = sealed.receipt(revoked_in)
    assert verdict(after, sealed) is ReceiptVerdict.REVOKED
    # The old one goes on to say what was so at its block.
    assert verdict(before, sealed) is ReceiptVerdict.VALID
    assert before.status.as_of_block < revoked_in <= after.status.as_of_block
    assert offline(tmp_path, before, sealed.trust) == 0
    assert offline(tmp_path, after, sealed.trust) == 12
    step = set_next_signers(sealed)
    record(before, after, sealed.trust, step)


def set_next_signers(sealed: Sealed) -> dict[str, Any]:
    """Name four of the five for a far height, make the step and go along it."""
    named = sorted(each.address for each in sealed.group.signers)[:4]
    acts = CouncilActs(sealed.gateway, COUNCIL, sealed.deployment)
    mined = acts.set_signers(100_000, named)
    sealed.final(mined.block_number)
    step = make_step(sealed.gateway, sealed.trust)
    newer = advance_trust(sealed.trust, step)
    assert newer.signers_at(99_999) == sealed.trust.signers_at(0)
    assert newer.signers_at(100_000) == tuple(named)
    return render_step(step)


def verdict(receipt: Receipt, sealed: Sealed) -> ReceiptVerdict:
    return check_receipt(receipt, sealed.trust, at=AT).verdict


def offline(folder: Path, receipt: Receipt, trust: TrustAnchor) -> int:
    """Verify by the command in a network namespace without any interface, where the kernel allows one."""
    (folder / "receipt.json").write_text(json.dumps(render_receipt(receipt)))
    (folder / "trust.json").write_text(json.dumps(render_trust(trust)))
    argv = [
        sys.executable,
        "-m",
        "cli",
        "verify",
        "--offline",
        "--receipt",
        "receipt.json",
        "--trust",
        "trust.json",
    ]
    alone = ["unshare", "--net", "--map-root-user"]
    if subprocess.run([*alone, "true"], check=False, capture_output=True).returncode == 0:
        argv = [*alone, *argv]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "HOME": str(folder)}
    return subprocess.run(argv, check=False, cwd=folder, env=environment, capture_output=True).returncode


def record(before: Receipt, after: Receipt, trust: TrustAnchor, step: dict[str, Any]) -> None:
    """Write the recorded vector when asked to; it is what one run of this network gave."""
    if os.environ.get("RECORD_VECTORS"):
        cases = {"valid": render_receipt(before), "revoked": render_receipt(after)}
        shown = {"source": "five go-ethereum 1.13.15 Clique signers", "trust": render_trust(trust)}
        text = json.dumps({**shown, "step": step, "receipts": cases}, indent=1)
        RECORDED.write_text(text + "\n")


def test_recorded_receipts_of_the_network_still_verify() -> None:
    recorded = json.loads(RECORDED.read_text("utf-8"))
    trust = parse_trust(json.dumps(recorded["trust"]).encode())
    newer = advance_trust(trust, parse_step(json.dumps(recorded["step"]).encode()))
    for anchor in (trust, newer):
        for expected, shown in recorded["receipts"].items():
            found = check_receipt(parse_receipt(json.dumps(shown).encode()), anchor, at=AT)
            assert found.verdict.value == expected
