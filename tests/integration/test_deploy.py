"""Deploying, finding the contracts again, and the council's acts on the real chain."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from anchor.chain.contracts import (
    CONTRACT_NAMES,
    creation_code,
    decode_event,
    decode_result,
    encode_call,
    gas_for,
    gas_for_append,
    gas_for_creation,
    parse_batch_appended,
)
from anchor.chain.deploy import (
    CouncilActs,
    Deployment,
    Role,
    contract_address,
    deploy,
    encode_name,
    resolve,
    wait_mined,
)
from anchor.chain.gateway import Gateway, Receipt
from anchor.entries import batch_hash
from anchor.envelopes import RecipientKey, epoch_info, open_
from anchor.errors import ChainMismatch, ChainUnavailable, TransactionRefused
from anchor.merkle import leaf_hash, root
from anchor.signer import Signer
from tests.integration.running_chain import COUNCIL, RunningChain, profile_of, random_record, running_chain


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningChain]:
    with running_chain(tmp_path_factory.mktemp("deploy") / "chain") as running:
        yield running


def view(chain: RunningChain, contract: str, function: str, *arguments: object) -> tuple[object, ...]:
    raw = chain.gateway.call(
        chain.deployment.address_of(contract), encode_call(contract, function, *arguments)
    )
    return decode_result(contract, function, raw)


def act(chain: RunningChain, signer: Signer, contract: str, function: str, *arguments: object) -> Receipt:
    """Send a call as `signer` with the gas limit that `gas_for` gives, and wait."""
    calldata = encode_call(contract, function, *arguments)
    return mined(
        chain, signer, chain.deployment.address_of(contract), calldata, gas_for(contract, function, calldata)
    )


def mined(chain: RunningChain, signer: Signer, to: bytes | None, calldata: bytes, gas: int) -> Receipt:
    """Send a transaction and wait."""
    nonce = chain.gateway.nonce(signer.address)
    signed = signer.sign_transaction(chain_id=310000, nonce=nonce, to=to, calldata=calldata, gas=gas)
    chain.gateway.send_raw(signed.raw)
    return wait_mined(chain.gateway, signed)


# Deploying and finding


def test_directory_leads_to_all_contracts(chain: RunningChain) -> None:
    known = chain.deployment
    assert resolve(chain.gateway, known.directory, chain_id=310000, genesis=known.genesis) == known
    assert resolve(chain.gateway, known.directory, chain_id=310000, genesis=None) == known
    assert len({known.address_of(name) for name in CONTRACT_NAMES}) == 5


def test_every_step_of_a_deployment_is_told(chain: RunningChain) -> None:
    steps: list[str] = []
    second = deploy(chain.gateway, Signer.generate(), on_step=steps.append)
    assert steps[0] == "create Authority" and len(steps) == 11
    assert second.directory != chain.deployment.directory


def wrong_chain_id(chain: RunningChain) -> tuple[bytes, int, bytes | None]:
    return chain.deployment.directory, 1, None


def wrong_genesis(chain: RunningChain) -> tuple[bytes, int, bytes | None]:
    return chain.deployment.directory, 310000, b"\x01" * 32


def no_code(chain: RunningChain) -> tuple[bytes, int, bytes | None]:
    return b"\x77" * 20, 310000, None


def another_contract(chain: RunningChain) -> tuple[bytes, int, bytes | None]:
    return chain.deployment.ledger, 310000, None


@pytest.mark.parametrize("wrong", [wrong_chain_id, wrong_genesis, no_code, another_contract])
def test_another_chain_is_refused(chain: RunningChain, wrong: object) -> None:
    assert callable(wrong)
    directory, chain_id, genesis = wrong(chain)
    with pytest.raises(ChainMismatch):
        resolve(chain.gateway, directory, chain_id=chain_id, genesis=genesis)


def test_directory_that_mixes_deployments_is_refused(chain: RunningChain) -> None:
    council = Signer.generate()
    mixed = replace(chain, deployment=deploy(chain.gateway, council))
    name = encode_name("authority")
    assert act(mixed, council, "Directory", "set", name, 2, chain.deployment.authority).succeeded
    with pytest.raises(ChainMismatch):
        resolve(chain.gateway, mixed.deployment.directory, chain_id=310000, genesis=None)


def test_directory_that_names_other_members_is_refused(chain: RunningChain) -> None:
    council = Signer.generate()
    mixed = replace(chain, deployment=deploy(chain.gateway, council))
    code = creation_code("Members", mixed.deployment.authority)
    other = contract_address(council.address, chain.gateway.nonce(council.address))
    assert mined(chain, council, None, code, gas_for_creation(code)).contract == other
    assert act(mixed, council, "Directory", "set", encode_name("members"), 2, other).succeeded
    with pytest.raises(ChainMismatch):
        resolve(chain.gateway, mixed.deployment.directory, chain_id=310000, genesis=None)


def test_unreachable_chain_is_not_a_wrong_chain(tmp_path: Path) -> None:
    with pytest.raises(ChainUnavailable):
        resolve(Gateway("http://127.0.0.1:9"), b"\x01" * 20, chain_id=1, genesis=None)


# The council


def test_an_act_follows_one_whose_block_was_taken_back(
    chain: RunningChain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its nonce is taken though the chain's newest block does not show it, and it is waited for once more."""
    acts, nonce = chain.acts, chain.gateway.nonce(COUNCIL.address)
    acts.admit_member(71, profile_of(Signer.generate()))
    looked: list[bytes] = []
    receipt_of = Gateway.receipt

    def late(gateway: Gateway, transaction: bytes) -> Receipt | None:
        looked.append(transaction)
        return receipt_of(gateway, transaction) if len(looked) > 1 else None

    monkeypatch.setattr(Gateway, "nonce", lambda *_, **__: nonce)
    monkeypatch.setattr(Gateway, "receipt", late)
    acts.suspend(71)
    assert looked[0] == looked[1] != looked[2]


def test_member_is_admitted_suspended_reinstated_and_removed(chain: RunningChain) -> None:
    signer = chain.admit(11)
    active = ("Members", "activeMemberOf", signer.address)
    assert view(chain, *active) == (11,)
    chain.acts.suspend(11)
    assert view(chain, *active) == (0,)
    chain.acts.reinstate(11)
    assert view(chain, *active) == (11,)
    chain.acts.remove(11)
    assert view(chain, *active) == (0,)


def test_rotated_account_speaks_and_the_old_one_does_not(chain: RunningChain) -> None:
    old, new = chain.admit(12), Signer.generate()
    chain.acts.rotate_account(12, new.address)
    assert view(chain, "Members", "activeMemberOf", new.address) == (12,)
    assert view(chain, "Members", "activeMemberOf", old.address) == (0,)


def test_successor_endpoint_and_signers_are_recorded(chain: RunningChain) -> None:
    chain.admit(13)
    chain.admit(14)
    chain.acts.name_successor(13, 14)
    assert view(chain, "Members", "successorOf", 13) == (14,)
    assert chain.acts.set_endpoint(13, "https://node.example").succeeded
    signers = [b"\x09" * 20, b"\x02" * 20]
    chain.acts.set_signers(1, signers)
    assert view(chain, "Members", "latestSigners") == (1, sha256(b"".join(sorted(signers))).digest())


def test_epoch_key_reaches_each_member_and_no_other(chain: RunningChain) -> None:
    keys = {member: RecipientKey.generate() for member in range(20, 23)}
    for member, key in keys.items():
        chain.acts.admit_member(member, replace(profile_of(Signer.generate()), hpke_key=key.public_bytes))
    secret, known = os.urandom(32), chain.deployment
    (receipt,) = chain.acts.publish_epoch(
        5, 1, secret, {member: key.public_bytes for member, key in keys.items()}
    )
    opened = {}
    for log in chain.gateway.logs([known.members], first=receipt.block_number, last=receipt.block_number):
        name, facts = decode_event("Members", log)
        if name == "EnvelopePublished":
            info = epoch_info(310000, known.directory, 5, 1, facts["memberId"])
            opened[facts["memberId"]] = open_(keys[facts["memberId"]], info=info, sealed=facts["envelope"])
    assert opened == dict.fromkeys(keys, secret)


def test_many_envelopes_take_several_transactions(chain: RunningChain) -> None:
    public = RecipientKey.generate().public_bytes
    signers = [Signer.generate() for _ in range(66)]
    for number, signer in enumerate(signers, start=100):
        chain.acts.admit_member(number, profile_of(signer))
    receipts = chain.acts.publish_epoch(6, 0, bytes(range(32)), dict.fromkeys(range(100, 166), public))
    assert [receipt.succeeded for receipt in receipts] == [True, True]


def publish(chain: RunningChain, signer: Signer, count: int) -> list[bytes]:
    entries = [{"kind": 1, "code": f"code-{n}", "version": 1, "text": b'{"n":%d}' % n} for n in range(count)]
    assert act(chain, signer, "Catalog", "publish", entries).succeeded
    return [sha256(b"\x01" + f"code-{n}".encode()).digest() for n in range(count)]


def test_catalogue_is_approved_retired_and_handed_over(chain: RunningChain) -> None:
    signer = chain.admit(30)
    chain.admit(31)
    keys = publish(chain, signer, 140)
    receipts = chain.acts.approve(keys, [1] * 140)
    assert len(receipts) == 2
    assert view(chain, "Catalog", "versionOf", keys[139], 1)[1] == 2
    chain.acts.retire(keys[0], 1)
    assert view(chain, "Catalog", "versionOf", keys[0], 1)[1] == 3
    chain.acts.transfer_owner(1, "code-1", 31)
    assert view(chain, "Catalog", "latest", keys[1]) == (1, 31)


def test_consumption_is_cleared(chain: RunningChain) -> None:
    signer, nullifier = chain.admit(32), os.urandom(32)
    assert act(chain, signer, "Ledger", "consume", nullifier, os.urandom(32)).succeeded
    assert view(chain, "Ledger", "consumptionOf", nullifier)[1] == 32
    chain.acts.clear_consumption(nullifier, 1)
    assert view(chain, "Ledger", "consumptionOf", nullifier)[1] == 0


def test_refused_act_names_the_reason_and_costs_no_nonce(chain: RunningChain) -> None:
    before = chain.gateway.nonce(COUNCIL.address)
    with pytest.raises(TransactionRefused) as caught:
        chain.acts.suspend(9999)
    assert caught.value.facts["revert"] == "MembersUnknown"
    stranger = CouncilActs(chain.gateway, Signer.generate(), chain.deployment)
    with pytest.raises(TransactionRefused) as caught:
        stranger.suspend(1)
    assert caught.value.facts["revert"] == "AccessManagedUnauthorized"
    assert chain.gateway.nonce(COUNCIL.address) == before


# Gas limits hold at the edges of what may be sent


@pytest.mark.parametrize("count", [1, 2, 3, 64, 512])
def test_append_fits_its_gas_limit_and_its_event_its_batch(chain: RunningChain, count: int) -> None:
    member = 200 + count
    signer = chain.admit(member)
    records = b"".join(random_record() for _ in range(count))
    calldata = encode_call("Ledger", "append", 1, 0, records)
    assert gas_for("Ledger", "append", calldata) >= gas_for_append(count)
    receipt = act(chain, signer, "Ledger", "append", 1, 0, records)
    assert receipt.succeeded and receipt.gas_used < gas_for_append(count)
    mined = receipt.block_number
    (log,) = chain.gateway.logs([chain.deployment.ledger], first=mined, last=mined)
    entry, found = parse_batch_appended(log)
    assert (entry.member_id, entry.size, entry.seq, bytes(found)) == (member, count, 0, records)
    leaves = [leaf_hash(member.to_bytes(4) + records[at : at + 96]) for at in range(0, len(records), 96)]
    assert entry.root == root(leaves)
    assert view(chain, "Ledger", "batchHash", entry.id) == (batch_hash(entry),)


@pytest.mark.parametrize("count", [1, 64])
def test_document_revocations_fit_their_gas_limit(chain: RunningChain, count: int) -> None:
    signer = chain.admit(800 + count)
    documents = [b"\x00\x01\x00\x01" + os.urandom(16) for _ in range(count)]
    assert act(chain, signer, "Ledger", "revokeDocuments", documents, 3).succeeded


@pytest.mark.parametrize(("count", "length"), [(1, 1), (1, 65_000), (256, 1), (150, 500)])
def test_publications_fit_their_gas_limit(chain: RunningChain, count: int, length: int) -> None:
    signer = chain.admit(900 + count + length)
    codes = [f"{count}-{length}-{n:0100d}" for n in range(count)]
    entries = [{"kind": 3, "code": code, "version": 1, "text": os.urandom(length)} for code in codes]
    assert act(chain, signer, "Catalog", "publish", entries).succeeded


def test_largest_profile_fits_its_gas_limit(chain: RunningChain) -> None:
    profile = profile_of(Signer.generate(), Role.CITY)
    largest = replace(profile, name="n" * 128, endpoint="e" * 256, hpke_key=b"\x01" * 4096)
    assert chain.acts.admit_member(5000, largest).succeeded


def test_unknown_deployment_name_is_a_mistake(chain: RunningChain) -> None:
    known: Deployment = chain.deployment
    with pytest.raises(KeyError):
        known.address_of("Nothing")
