"""Follower, index and verdicts on the real contracts: what the ledger holds is what they say."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from anchor.chain.contracts import decode_result, encode_call, gas_for, gas_for_append
from anchor.chain.deploy import CouncilActs, Deployment, Profile, Role, deploy, wait_mined
from anchor.chain.finality import OperatorFinality
from anchor.chain.gateway import Gateway
from anchor.envelopes import RecipientKey
from anchor.merkle import root_from_inclusion
from anchor.records import Stream
from anchor.signer import Signer
from anchor.tags import derive_consume_key, derive_domain_keys
from node.chainserver import start_chain_process
from tests.unit.chain_factory import (
    FIRM,
    SHA,
    agency_value,
    commitment,
    entry_key,
    material,
    type_value,
)
from tests.unit.keyvalue_suite import MemoryKeyValue
from verifier.catalog import KIND_NUMBERS, CatalogView, render_entry
from verifier.follower import Follower
from verifier.index import ChainIndex
from verifier.keyring import KeyRing, open_envelopes
from verifier.verdicts import Moment, Question, VerdictKind

SECRET, CONSUME_SECRET = b"e" * 32, b"f" * 32
KEYS = derive_domain_keys(1, 1, SECRET)
ISSUER = "11310000FAKE000212"


@dataclass
class World:
    """A deployed chain with two members, the first of which hosts the issuer."""

    gateway: Gateway
    deployment: Deployment
    council: CouncilActs
    signers: dict[int, Signer]
    recipient: RecipientKey

    def send(self, member_id: int, contract: str, function: str, *arguments: object, gas: int = 0) -> int:
        """Send a member's call and return the block that took it."""
        signer = self.signers[member_id]
        calldata = encode_call(contract, function, *arguments)
        transaction = signer.sign_transaction(
            chain_id=self.deployment.chain_id,
            nonce=self.gateway.nonce(signer.address, pending=True),
            to=self.deployment.address_of(contract),
            calldata=calldata,
            gas=gas or gas_for(contract, function, calldata),
        )
        self.gateway.send_raw(transaction.raw)
        receipt = wait_mined(self.gateway, transaction)
        assert receipt.succeeded, (contract, function)
        return receipt.block_number

    def append(self, member_id: int, *records: bytes) -> int:
        (seq,) = decode_result("Ledger", "nextSeq", self.view("Ledger", "nextSeq", member_id))
        gas = gas_for_append(len(records))
        return self.send(member_id, "Ledger", "append", int(Stream.MATERIAL), seq, b"".join(records), gas=gas)

    def publish(self, member_id: int, *entries: tuple[str, str, int, object]) -> None:
        made = [
            {
                "kind": KIND_NUMBERS[kind],
                "code": code,
                "version": version,
                "text": render_entry(kind, code, value),
            }
            for kind, code, version, value in entries
        ]
        self.send(member_id, "Catalog", "publish", made)
        self.council.approve(
            [entry_key(kind, code) for kind, code, _, _ in entries], [one[2] for one in entries]
        )

    def view(self, contract: str, function: str, *arguments: object) -> bytes:
        return self.gateway.call(
            self.deployment.address_of(contract), encode_call(contract, function, *arguments)
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    process = start_chain_process(tmp_path_factory.mktemp("chain") / "chain", create=True)
    gateway = Gateway(process.rpc)
    try:
        council_key, recipient = Signer.generate(), RecipientKey.generate()
        made = deploy(gateway, council_key)
        council = CouncilActs(gateway, council_key, made)
        signers = {2: Signer.generate(), 3: Signer.generate()}
        for member_id, signer in signers.items():
            council.admit_member(member_id, profile(member_id, signer, recipient))
        council.publish_epoch(1, 0, CONSUME_SECRET, {2: recipient.public_bytes})
        world = World(gateway, made, council, signers, recipient)
        world.publish(2, ("agency", ISSUER, 1, agency_value(2)), ("materialType", "M1002", 1, type_value()))
        yield world
    finally:
        gateway.close()
        process.stop()


def profile(member_id: int, signer: Signer, recipient: RecipientKey) -> Profile:
    return Profile(
        account=signer.address,
        role=Role.DISTRICT,
        level=2,
        area=310104,
        uscc="12310104FAKE0011X9",
        valid_from=0,
        valid_until=0,
        name=f"区政务服务中心(演示){member_id}",
        endpoint=f"https://member{member_id}.example",
        hpke_key=recipient.public_bytes,
    )


def followed(world: World, ring: KeyRing) -> tuple[ChainIndex, Follower]:
    index = ChainIndex(MemoryKeyValue())
    follower = Follower(
        world.gateway, index, deployment=world.deployment, finality=OperatorFinality(), keys=ring
    )
    catch_up(follower)
    return index, follower


def catch_up(follower: Follower) -> None:
    while follower.step().behind:
        pass


def kind_of(world: World, index: ChainIndex, ring: KeyRing, digest: bytes) -> VerdictKind:
    final = index.final_point()
    assert final is not None
    now = datetime.fromtimestamp(final.time, UTC)
    moment = Moment(index=index, catalog=CatalogView(index), keys=ring, faults=(), now=now)
    return moment.judge(Question(digest, "M1002", FIRM)).kind


def assert_same_as_chain(world: World, index: ChainIndex) -> None:
    (root,) = decode_result("Ledger", "logRoot", world.view("Ledger", "logRoot"))
    (size,) = decode_result("Ledger", "logSize", world.view("Ledger", "logSize"))
    assert (index.log_root(), index.log_size()) == (root, size)


def test_keys_arrive_by_envelope_and_open_what_was_opaque(world: World) -> None:
    ring = KeyRing()
    world.append(
        3, *[material(("early", number), keys=KEYS, sha256=bytes([number]) * 32) for number in range(40)]
    )
    index, follower = followed(world, ring)
    assert index.opaque()[1, 1] >= 40
    world.council.publish_epoch(1, 1, SECRET, {2: world.recipient.public_bytes})
    catch_up(follower)
    for key in open_envelopes(index, 2, world.recipient, world.deployment):
        ring.add(key)
    catch_up(follower)
    assert (ring.get(1, 1), ring.consume_key(1)) == (KEYS, derive_consume_key(1, CONSUME_SECRET))
    assert index.opaque() == {}
    assert kind_of(world, index, ring, bytes([7]) * 32) is VerdictKind.VALID
    assert_same_as_chain(world, index)


def test_life_of_a_document_is_seen_at_each_step(world: World) -> None:
    ring = KeyRing({(1, 1): KEYS})
    index, follower = followed(world, ring)
    digest = hashlib.sha256(b"life").digest()

    def seen() -> VerdictKind:
        catch_up(follower)
        return kind_of(world, index, ring, digest)

    name = commitment("life")
    assert seen() is VerdictKind.UNKNOWN
    block = world.append(3, material("life", keys=KEYS, sha256=digest, document_no="No 1"))
    assert seen() is VerdictKind.VALID
    world.send(3, "Ledger", "suspend", 3, name, 1)
    assert seen() is VerdictKind.SUSPENDED
    world.send(3, "Ledger", "resume", 3, name, 1)
    assert seen() is VerdictKind.VALID
    document = b"\x00\x01\x00\x01" + KEYS.doc_tag("M1002", "No 1")
    world.send(3, "Ledger", "revokeDocuments", [document], 5)
    assert seen() is VerdictKind.VALID
    world.send(2, "Ledger", "revokeDocuments", [document], 5)
    assert seen() is VerdictKind.REVOKED
    claim = index.claim(name)
    assert claim is not None and (claim.member_id, claim.block_number) == (3, block)
    assert_same_as_chain(world, index)


def test_copier_on_the_real_ledger_gains_nothing(world: World) -> None:
    record = material("copied", keys=KEYS, sha256=b"c" * 32)
    world.append(3, record)
    world.append(2, record)
    index, _ = followed(world, KeyRing({(1, 1): KEYS}))
    (claim,) = index.claims_by_content([KEYS.content_tag(b"c" * 32)])
    assert (claim.member_id, index.copied_commitments()) == (3, 1)


def test_consumption_and_members_are_as_on_chain(world: World) -> None:
    nullifier = derive_consume_key(1, CONSUME_SECRET).nullifier("M5002", "No 9", "F1")
    world.send(2, "Ledger", "consume", nullifier, b"u" * 32)
    world.send(3, "Members", "setEndpoint", 3, "https://moved.example")
    world.council.name_successor(3, 2)
    world.council.set_signers(0, [world.signers[2].address])
    index, _ = followed(world, KeyRing())
    use, member_id, time = decode_result(
        "Ledger", "consumptionOf", world.view("Ledger", "consumptionOf", nullifier)
    )
    found = index.consumption(nullifier)
    assert found is not None and (found.use_commitment, found.member_id, found.time) == (use, member_id, time)
    member = index.member(3)
    assert member is not None and (member.endpoint, member.successor) == ("https://moved.example", 2)
    assert member.name == "区政务服务中心(演示)3" and member.account == world.signers[3].address
    assert index.signer_sets() == [(0, (world.signers[2].address,))]


def test_entry_and_its_proof_are_as_on_chain(world: World) -> None:
    world.publish(2, ("materialType", "M2001", 1, type_value()))
    world.publish(2, ("materialType", "M2001", 2, type_value(level="L2")))
    index, follower = followed(world, KeyRing())
    entry = index.entry("materialType", "M2001")
    assert entry is not None and (entry.version, entry.owner) == (2, 2)
    key = entry_key("materialType", "M2001")
    digest, state = decode_result("Catalog", "versionOf", world.view("Catalog", "versionOf", key, 2))
    assert (entry.digest, entry.state, state) == (digest, "approved", 2)
    receipt = world.gateway.receipt(entry.transaction_hash)
    assert receipt is not None and (receipt.block_number, receipt.block_hash) == (
        entry.block_number,
        entry.block_hash,
    )
    world.council.retire(key, 2)
    catch_up(follower)
    assert CatalogView(index).material_type("M2001") is None


def test_member_that_publishes_broken_text_stops_nobody(world: World) -> None:
    good = ("materialType", "M3001", 1, type_value())
    broken = encode_call("Catalog", "publish", [{"kind": 2, "code": "AAAA", "version": 1, "text": b"x"}])
    signer = world.signers[2]
    transaction = signer.sign_transaction(
        chain_id=world.deployment.chain_id,
        nonce=world.gateway.nonce(signer.address, pending=True),
        to=world.deployment.catalog,
        calldata=broken.replace(b"AAAA", b"\xff\xfe\xfd\xfc"),
        gas=500_000,
    )
    world.gateway.send_raw(transaction.raw)
    assert wait_mined(world.gateway, transaction).succeeded
    world.publish(2, good)
    index, _ = followed(world, KeyRing())
    assert index.entry("materialType", "M3001") is not None
    assert index.counts().malformed == 1


def test_records_prove_their_place(world: World) -> None:
    world.append(3, *[material(("proof", number), keys=KEYS) for number in range(5)])
    index, _ = followed(world, KeyRing())
    batch_id = index.log_size() - 1
    batch = index.batch(batch_id)
    record_id, path = index.record_id(batch_id, 3), index.inclusion(batch_id, 3)
    assert batch is not None and record_id is not None and path is not None
    assert root_from_inclusion(record_id, 3, 5, path) == batch.entry.root
    header = world.gateway.block(batch.block_number)
    assert header is not None and (batch.block_hash, batch.entry.time) == (header.hash, header.time)
    assert batch.transaction_hash in header.transactions


def test_history_in_ranges_gives_the_index_that_following_gives(world: World) -> None:
    ring = KeyRing({(1, 1): KEYS})
    live, follower = followed(world, ring)
    for number in range(25):
        world.append(3, material(("live", number), keys=KEYS, sha256=SHA))
        catch_up(follower)
    late, _ = followed(world, ring)
    assert late.counts() == live.counts()
    assert late.claims_by_content([KEYS.content_tag(SHA)]) == live.claims_by_content([KEYS.content_tag(SHA)])
    assert late.log_root() == live.log_root()
