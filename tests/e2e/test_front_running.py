"""A member that copies another's record before it is mined gains nothing: the custodian seals again."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from anchor.chain.contracts import encode_call, gas_for_append
from anchor.chain.deploy import Profile, Role, wait_mined
from anchor.commitments import Commitment
from anchor.envelopes import RecipientKey
from anchor.outbox_rows import AppendOperation, Operation
from anchor.records import Stream
from anchor.signer import Signer
from cli.demo import people
from cli.demo.network import Network
from node.config import load_config
from node.context import Node
from node.runtime import close_node, open_node
from node.services import materials
from node.services.recording import Actor
from node.services.requests import MaterialMeta, SubjectRef
from node.store import rows
from node.workers import Workers, follow_once
from tests.e2e.papers import FIRM, LEASE, Raw, fresh_file

COPIER_MEMBER = 99


@pytest.fixture
def quiet_node(network: Network) -> Iterator[Node]:
    """Qingpu's node, opened in this process in place of its own, with no worker running."""
    part = network.nodes["QP"]
    part.part.stop()
    node = open_node(load_config(part.folder))
    try:
        while follow_once(node):
            pass
        yield node
    finally:
        close_node(node)
        part.restart()


def admit_copier(network: Network) -> Signer:
    signer = Signer.generate()
    profile = Profile(
        account=signer.address,
        role=Role.PARTNER,
        level=1,
        area=320509,
        uscc=people.FIRMS[1].id,
        valid_from=0,
        valid_until=0,
        name="copier",
        endpoint="",
        hpke_key=RecipientKey.generate().public_bytes,
    )
    network.council.admit_member(COPIER_MEMBER, profile)
    return signer


def append_as(network: Network, signer: Signer, record: bytes) -> None:
    made = network.deployment
    call = encode_call("Ledger", "append", int(Stream.MATERIAL), 0, record)
    sent = signer.sign_transaction(
        chain_id=made.chain_id, nonce=0, to=made.ledger, calldata=call, gas=gas_for_append(1)
    )
    network.gateway.send_raw(sent.raw)
    assert wait_mined(network.gateway, sent).succeeded


def test_a_copied_record_is_sealed_again_and_belongs_to_its_custodian(
    network: Network, quiet_node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    node, file = quiet_node, fresh_file()
    meta = MaterialMeta(
        type_code=LEASE,
        subjects=[SubjectRef(FIRM["idType"], FIRM["id"])],
        case_no="c",
        title="t",
        sha256=file.sha256,
    )
    queued: list[tuple[str, Operation]] = []
    enqueue = node.outbox.enqueue
    monkeypatch.setattr(
        node.outbox, "enqueue", lambda operations: queued.extend(operations) or enqueue(operations)
    )
    push = materials.Push(Actor(people.QP.uscc, "test", "req"), meta, None, lambda _view: [])
    made = materials.accept(node, push)
    first = made.version.commitment
    # What the copier sees in the pool: the record as it will be appended.
    ((_, operation),) = queued
    assert isinstance(operation, AppendOperation)
    append_as(network, admit_copier(network), operation.record)

    workers = Workers(node)
    workers.start()
    try:
        for _ in range(300):
            version = rows.VERSION.get(node.store, made.material.material_id, 1)
            assert version is not None
            claim = node.index.claim(Commitment(version.commitment))
            if version.commitment != first and claim is not None and node.index.final_point():
                break
            time.sleep(0.1)
        assert version.commitment != first
        assert claim is not None
        assert claim.member_id == people.QP_MEMBER
        held = node.index.claim(Commitment(first))
        assert held is None or held.member_id == COPIER_MEMBER
    finally:
        workers.stop()
    # Another district is told of the custodian's claim.
    verdict = {}
    for _ in range(600):
        verdict = Raw(network, people.XH).verify(file.sha256, typeCode=LEASE, subject=FIRM)
        if verdict["verdict"] == "valid":
            break
        time.sleep(0.1)
    assert (verdict["verdict"], verdict["subjectMatch"]) == ("valid", "match")
