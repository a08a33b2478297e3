"""Comparing checkpoints: a fork raises the alarm with its evidence; ahead, behind, silent and faulty raise none."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from anchor.chain.deploy import Deployment
from anchor.errors import ChainUnavailable
from anchor.signer import Signer
from node.context import ChainState, LogState
from node.errors import CheckpointRefused, ForkNotFound
from node.federation.checkpoints import _parse_answer
from node.services import checkpoints
from node.services.recording import Actor
from node.store import rows
from node.store.audit import AuditLog
from tests.unit import chain_factory as made
from tests.unit.keyvalue_suite import MemoryKeyValue
from verifier.checkpoints import (
    Checkpoint,
    CheckpointMalformed,
    Conflict,
    checkpoint_signer,
    find_conflict,
    parse_checkpoint,
    render_checkpoint,
    sign_checkpoint,
)

OURS, PEER = Signer.from_key(b"\x01" * 32), Signer.from_key(b"\x02" * 32)
ADMIN = Actor("12310104FAKE0011X9", "key", "req")


def start_chain(batches: int = 3) -> made.Chain:
    chain = made.Chain()
    chain.add(made.admitted(1, account=OURS.address), made.admitted(2, account=PEER.address))
    for number in range(batches):
        chain.append(1, made.material(number))
        chain.add()
    return chain


def node_on(chain: made.Chain, signer: Signer = OURS, member_id: int = 1) -> Any:
    """Return the parts of a node that checkpoints need, with its index at the chain's head."""
    store = MemoryKeyValue()
    return SimpleNamespace(
        store=store,
        index=made.index_of(chain),
        gateway=made.ScriptedGateway(chain),
        deployment=replace(made.DEPLOYMENT, genesis=chain.genesis),
        signer=signer,
        chain=ChainState(member_id=member_id, problem=None),
        log=LogState(),
        audit=AuditLog(store),
        config=SimpleNamespace(agencies=("12310104FAKE0011X9",)),
        clock=lambda: made.T0 + 1000,
    )


def signed_by_peer(node: Any, **changes: Any) -> Any:
    own = checkpoints.current(node).checkpoint  # type: ignore[union-attr]
    return sign_checkpoint(replace(own, member_id=2, **changes), PEER)


def compare(node: Any, signed: Any, **more: Any) -> str:
    raw = json.dumps(render_checkpoint(signed)).encode()
    return checkpoints.compare(node, checkpoints.read_signed(node, raw, 2), **more)


def follow(node: Any, chain: made.Chain) -> None:
    """Bring the node's index to the chain's head."""
    cursor = node.index.cursor().number
    for block in chain.blocks[cursor + 1 :]:
        node.index.apply(block)
    made.make_final(node.index, chain)


def forked(chain: made.Chain, batches: int) -> made.Chain:
    """Return a chain of the same beginning that went another, longer way after its first batch."""
    other = copy.deepcopy(chain)
    other.fork(3)
    for number in range(batches):
        other.append(1, made.material(f"other {number}"))
    for _ in range(20):
        other.add()
    return other


def test_own_checkpoint_names_the_final_block_and_the_log_in_it() -> None:
    chain = start_chain()
    node = node_on(chain)
    made.make_final(node.index, chain)
    own = checkpoints.current(node)
    assert own is not None
    assert checkpoint_signer(own) == OURS.address
    assert (own.checkpoint.height, own.checkpoint.block_hash) == (chain.head.number, chain.head.hash)
    assert (own.checkpoint.log_size, own.checkpoint.log_root) == (3, node.index.log_root())


def test_batches_that_are_not_final_are_in_no_checkpoint() -> None:
    chain = start_chain()
    node = node_on(chain)
    chain.append(1, made.material("not final"))
    node.index.apply(chain.head)
    own = checkpoints.current(node)
    assert own is not None and own.checkpoint.log_size == 3 < node.index.log_size()


def test_two_nodes_of_one_chain_are_consistent() -> None:
    chain = start_chain()
    node, peer = node_on(chain), node_on(chain, PEER, 2)
    assert compare(node, checkpoints.current(peer)) == "consistent"
    assert node.chain.fork is None


def test_peer_behind_is_no_fork() -> None:
    chain = start_chain()
    node, peer = node_on(chain), node_on(chain, PEER, 2)
    behind = checkpoints.current(peer)
    chain.append(1, made.material("later"))
    follow(node, chain)
    assert compare(node, behind) == "consistent"
    assert node.chain.fork is None


def test_peer_ahead_waits_and_is_compared_when_the_own_log_has_come_so_far() -> None:
    chain = start_chain()
    node, peer = node_on(chain), node_on(chain, PEER, 2)
    chain.append(1, made.material("later"))
    follow(peer, chain)
    ahead, first = checkpoints.current(peer), checkpoints.current(node).checkpoint.log_size  # type: ignore[union-attr]
    path = checkpoints.show(peer, first).path
    assert path is not None
    assert compare(node, ahead, first=first, path=[bytes.fromhex(each) for each in path]) == "waiting"
    assert node.chain.fork is None
    follow(node, chain)
    assert compare(node, checkpoints.current(peer)) == "consistent"
    assert rows.PEER_CHECKPOINT.get(node.store, 2).waiting == b""  # type: ignore[union-attr]


def test_first_checkpoint_that_waits_is_compared_however_far_the_peer_runs_ahead() -> None:
    chain = start_chain()
    other = forked(chain, batches=4)
    node, peer = node_on(chain), node_on(other, PEER, 2)
    assert compare(node, checkpoints.current(peer)) == "waiting"
    for number in range(3):
        other.append(1, made.material(f"yet another {number}"))
    follow(peer, other)
    further_ahead = replace(checkpoints.current(peer).checkpoint, height=99, log_size=99)  # type: ignore[union-attr]
    assert compare(node, sign_checkpoint(further_ahead, PEER)) == "waiting"
    for number in range(24):
        chain.append(1, made.material(f"ours {number}"))
    follow(node, chain)
    compare(node, sign_checkpoint(further_ahead, PEER))
    assert node.chain.fork == "fork_detected"


@pytest.mark.parametrize(
    ("changes", "conflict"),
    [
        ({"log_root": bytes(32)}, Conflict.LOG_ROOT),
        ({"log_size": 2, "log_root": bytes(32), "height": 6}, Conflict.LOG_ROOT),
        ({"log_size": 0, "log_root": bytes(32)}, Conflict.LOG_ROOT),
        ({"block_hash": bytes(32)}, Conflict.BLOCK_HASH),
        ({"height": 4, "block_hash": bytes(32)}, Conflict.BLOCK_HASH),
    ],
)
def test_contradiction_is_a_fork_with_both_signatures(changes: dict[str, Any], conflict: Conflict) -> None:
    node = node_on(start_chain())
    assert compare(node, signed_by_peer(node, **changes)) == "disputed"
    assert node.chain.fork == "fork_detected"
    (row,) = rows.FORK.scan(node.store)
    ours, theirs = parse_checkpoint(row.ours), parse_checkpoint(row.theirs)
    assert (checkpoint_signer(ours), checkpoint_signer(theirs)) == (OURS.address, PEER.address)
    assert row.conflict == conflict
    assert find_conflict(ours.checkpoint, theirs.checkpoint) is not None
    assert find_conflict(ours.checkpoint, checkpoints.current(node).checkpoint) is None  # type: ignore[union-attr]


def test_right_block_with_another_number_of_batches_is_a_fork() -> None:
    chain = start_chain()
    node = node_on(chain)
    root = node.log.tree.root_at(2) if checkpoints.current(node) else b""
    compare(node, signed_by_peer(node, log_size=2, log_root=root))
    assert [row.conflict for row in rows.FORK.scan(node.store)] == ["log_size"]


def test_proof_that_does_not_lead_from_the_own_log_is_a_fork() -> None:
    chain = start_chain()
    node, peer = node_on(chain), node_on(forked(chain, batches=4), PEER, 2)
    ahead, path = checkpoints.current(peer), checkpoints.show(peer, 3).path
    assert path is not None
    compare(node, ahead, first=3, path=[bytes.fromhex(each) for each in path])
    (row,) = rows.FORK.scan(node.store)
    assert row.conflict == "no_consistency"
    assert [row.path[at : at + 32].hex() for at in range(0, len(row.path), 32)] == path


def test_missing_proof_proves_nothing() -> None:
    chain = start_chain()
    node, peer = node_on(chain), node_on(forked(chain, batches=4), PEER, 2)
    assert compare(node, checkpoints.current(peer), first=3, path=None) == "waiting"
    assert node.chain.fork is None


def test_member_that_contradicts_itself_is_a_fork_of_its_own_two_words() -> None:
    node = node_on(start_chain())
    compare(node, signed_by_peer(node))
    ahead = signed_by_peer(node, height=90, log_size=9, log_root=b"\x09" * 32)
    assert compare(node, ahead) == "waiting"
    assert compare(node, signed_by_peer(node, log_root=b"\x07" * 32)) == "disputed"
    (row,) = rows.FORK.scan(node.store)
    assert checkpoint_signer(parse_checkpoint(row.ours)) == PEER.address


def test_alarm_stands_over_a_restart_and_until_it_is_settled() -> None:
    node = node_on(start_chain())
    compare(node, signed_by_peer(node, log_root=bytes(32)))
    node.chain.fork = None
    checkpoints.load(node)
    assert node.chain.fork == "fork_detected"
    checkpoints.settle(node, ADMIN, 2, "its chain client was another's")
    assert node.chain.fork is None
    shown = checkpoints.overview(node)
    assert [each["settledAt"] for each in shown["forks"]] == [made.T0 + 1000]
    assert [each["state"] for each in shown["peers"]] == ["disputed"]
    with pytest.raises(ForkNotFound):
        checkpoints.settle(node, ADMIN, 2, "again")


def test_settled_member_raises_no_alarm_until_its_word_fits_again() -> None:
    node = node_on(start_chain())
    compare(node, signed_by_peer(node, log_root=bytes(32)))
    checkpoints.settle(node, ADMIN, 2, "settled")
    compare(node, signed_by_peer(node, log_root=b"\x01" * 32))
    assert node.chain.fork is None
    assert compare(node, signed_by_peer(node)) == "consistent"
    node.clock = lambda: made.T0 + 2000
    compare(node, signed_by_peer(node, block_hash=bytes(32)))
    assert node.chain.fork == "fork_detected"


Alter = Callable[[Any, Checkpoint], Any]
REFUSED: dict[str, Alter] = {
    "signed by another": lambda _node, own: sign_checkpoint(replace(own, member_id=2), OURS),
    "of another member": lambda _node, own: sign_checkpoint(replace(own, member_id=1), PEER),
    "of another genesis": lambda _node, own: sign_checkpoint(
        replace(own, member_id=2, chain=replace(own.chain, genesis=bytes(32))), PEER
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_word_that_is_not_the_members_is_refused_and_no_fork(name: str) -> None:
    node = node_on(start_chain())
    own = checkpoints.current(node)
    assert own is not None
    forged = REFUSED[name](node, replace(own.checkpoint, log_root=bytes(32)))
    with pytest.raises(CheckpointRefused):
        compare(node, forged)
    assert node.chain.fork is None and not list(rows.FORK.scan(node.store))


def test_suspended_member_has_no_word() -> None:
    chain = start_chain()
    node = node_on(chain)
    chain.add(made.events.MemberStateChanged(2, 2))
    follow(node, chain)
    with pytest.raises(CheckpointRefused) as caught:
        compare(node, signed_by_peer(node, log_root=bytes(32)))
    assert caught.value.facts["reason"] == "signer_inactive"


def test_chain_that_cannot_be_asked_concludes_nothing() -> None:
    node = node_on(start_chain())
    signed = signed_by_peer(node, block_hash=bytes(32))

    def refuse(_method: str, _answer: Any) -> Any:
        raise ChainUnavailable("no answer")

    node.gateway.spoil = refuse
    with pytest.raises(ChainUnavailable):
        compare(node, signed)
    assert node.chain.fork is None and rows.PEER_CHECKPOINT.get(node.store, 2) is None


def test_index_that_is_built_anew_makes_no_checkpoint_until_it_is_back() -> None:
    chain = start_chain()
    node = node_on(chain)
    before = checkpoints.current(node)
    node.index.clear()
    for block in chain.blocks[:4]:
        node.index.apply(block)
    made.make_final(node.index, chain, 3)
    assert checkpoints.current(node) is before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"checkpoint":null}',
        b'{"checkpoint":null,"path":null,"more":1}',
        b'{"checkpoint":{},"path":{}}',
        b'{"checkpoint":{},"path":["00"]}',
        b'{"checkpoint":{},"path":["zz"]}',
        b'{"checkpoint":{},"path":[%s]}' % b",".join([b'"' + b"0" * 64 + b'"'] * 66),
        b'{"checkpoint":1,"checkpoint":2,"path":null}',
        b"[" * 5000,
    ],
)
def test_answer_of_another_form_is_refused(body: bytes) -> None:
    with pytest.raises(CheckpointRefused):
        _parse_answer(body)


def test_answer_without_a_checkpoint_is_none_yet() -> None:
    assert _parse_answer(b'{"checkpoint":null,"path":null}') is None


def test_checkpoint_of_another_form_is_malformed() -> None:
    node = node_on(start_chain())
    with pytest.raises(CheckpointMalformed):
        checkpoints.read_signed(node, b"{}", 2)


def test_deployment_of_the_factory_is_the_real_kind() -> None:
    assert isinstance(node_on(start_chain()).deployment, Deployment)
