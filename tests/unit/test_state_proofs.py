"""Proofs of accounts and slots: what the trie holds is proved, what it does not is proved absent, nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
import rlp
from eth_utils.crypto import keccak
from trie.hexary import HexaryTrie

from anchor import slots
from tests.unit import sealed_chain_factory as sealed
from verifier.proofs.accounts import (
    EMPTY_ROOT,
    MAX_NODE_BYTES,
    MAX_NODES,
    NodeSet,
    account_at,
    storage_at,
    value_at,
)
from verifier.proofs.errors import ProofError

ADDRESS = b"\xaa" * 20
SLOT, EMPTY = b"\1" * 32, b"\2" * 32
VALUE = bytes(30) + b"\x12\x34"
STATE = sealed.state_of({ADDRESS: {SLOT: VALUE}})


def proved(*asked: bytes, state: sealed.State = STATE) -> list[bytes]:
    nodes = NodeSet(state.nodes_for(ADDRESS, asked))
    account = account_at(state.root, ADDRESS, nodes)
    assert account is not None
    found = [storage_at(account.storage_root, slot, nodes) for slot in asked]
    nodes.verify_all_used()
    return found


def test_slots_are_proved_set_or_empty() -> None:
    assert proved(SLOT, EMPTY) == [VALUE, bytes(32)]


@pytest.mark.parametrize("crowd", [0, 1, 2, 40, 400])
def test_tries_of_every_depth_are_walked(crowd: int) -> None:
    state = sealed.state_of({ADDRESS: {SLOT: VALUE}}, crowd=crowd)
    assert proved(SLOT, EMPTY, state=state) == [VALUE, bytes(32)]


def test_account_without_storage_needs_no_storage_nodes() -> None:
    state = sealed.state_of({ADDRESS: {}}, crowd=0)
    nodes = NodeSet(state.nodes_for(ADDRESS, []))
    account = account_at(state.root, ADDRESS, nodes)
    assert account is not None and account.storage_root == EMPTY_ROOT
    assert storage_at(EMPTY_ROOT, SLOT, nodes) == bytes(32)


def test_absent_account_is_proved_absent() -> None:
    nodes = NodeSet(sealed.walk(STATE.accounts, b"\xbb" * 20))
    assert account_at(STATE.root, b"\xbb" * 20, nodes) is None


def test_each_missing_or_altered_node_is_named() -> None:
    nodes = STATE.nodes_for(ADDRESS, [SLOT])
    for index, node in enumerate(nodes):
        for changed in ([], [node[:-1] + bytes([node[-1] ^ 1])]):
            found = NodeSet([*nodes[:index], *changed, *nodes[index + 1 :]])
            with pytest.raises(ProofError) as caught:
                account = account_at(STATE.root, ADDRESS, found)
                assert account is not None
                storage_at(account.storage_root, SLOT, found)
            assert caught.value.facts["step"] == "node_missing"


def test_proof_has_limits() -> None:
    for nodes in ([bytes(MAX_NODE_BYTES + 1)], [b"%d" % each for each in range(MAX_NODES + 1)], [b"a", b"a"]):
        with pytest.raises(ProofError):
            NodeSet(nodes)
    with pytest.raises(ProofError):
        NodeSet([b"a"]).verify_all_used()


KEY = bytes(32)


def rooted(node: object) -> tuple[bytes, NodeSet]:
    raw = bytes(rlp.encode(node))
    return bytes(keccak(raw)), NodeSet([raw])


@pytest.mark.parametrize(
    "node",
    [
        b"text",
        [b"a", b"b", b"c"],
        [b"", b"value"],
        [b"\x40", b"value"],
        [b"\x01", b"value"],
        [b"\x00", keccak(b"child")],
        [b"\x20" + bytes(31), b"value"],
        [b"\x20" + bytes(33), b"value"],
        [b"\x00\x00", b"short"],
        [b"\x00\x00", [b"\x20" + bytes(31), b"v" * 40]],
        [b"\x20" + bytes(32), [b"list"]],
        [[], b"value"],
        [b"\x00" + bytes(32), [*[b""] * 16, b"value"]],
    ],
)
def test_node_that_is_none_is_refused(node: object) -> None:
    with pytest.raises(ProofError):
        value_at(*rooted(node)[:1], KEY, rooted(node)[1])


def test_value_with_leading_zeros_or_too_long_is_refused() -> None:
    for value in (b"\0\1", b"\1" * 33, b""):
        root, nodes = rooted([b"\x20" + keccak(SLOT), rlp.encode(value)])
        with pytest.raises(ProofError):
            storage_at(root, SLOT, nodes)


def test_account_of_another_shape_is_refused() -> None:
    for parts in ([b""] * 3, [b"", b"", b"", b""], [b"", b"", [b""], bytes(32)], b"text"):
        root, nodes = rooted([b"\x20" + keccak(ADDRESS), rlp.encode(parts)])
        with pytest.raises(ProofError):
            account_at(root, ADDRESS, nodes)


def test_deep_nesting_in_a_node_is_refused() -> None:
    raw = b"\xc0"
    while len(raw) < 1000:
        raw = rlp.codec.length_prefix(len(raw), 0xC0) + raw
    with pytest.raises(ProofError):
        value_at(bytes(keccak(raw)), KEY, NodeSet([raw]))


def test_nodes_shorter_than_a_hash_stand_in_their_parents() -> None:
    trie = HexaryTrie({})
    # Keys that part only in their last nibble, so that leaves of a few bytes lie beside each other.
    keys = [bytes(31) + bytes([each]) for each in range(16)]
    for key in keys:
        trie[key] = b"\1"
    nodes: Any = [bytes(rlp.encode(node)) for key in keys for node in cast(Any, trie).get_proof(key)]
    found = NodeSet(dict.fromkeys(node for node in nodes if len(node) >= 32))
    assert all(value_at(bytes(trie.root_hash), key, found) == b"\1" for key in keys)
    assert value_at(bytes(trie.root_hash), bytes(31) + b"\x10", found) is None


def test_slot_numbers_are_those_of_the_compiler() -> None:
    layout = json.loads((Path(__file__).parents[2] / "contracts" / "layout.json").read_text())
    for contract, label, position in (
        ("Ledger", "batchHash", slots.BATCH_HASH),
        ("Ledger", "status", slots.STATUS),
        ("Ledger", "documentStatus", slots.DOCUMENT_STATUS),
        ("Members", "signersDigest", slots.SIGNERS_DIGEST),
    ):
        (found,) = [each["slot"] for each in layout[contract] if each["label"] == label]
        assert found == position
