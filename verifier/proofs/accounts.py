"""Proofs of accounts and storage slots under a state root, present or absent (EIP-1186, Yellow Paper appendix D).

Pure functions on bytes: no chain, no store, no clock. A proof is a set of trie nodes, found by their Keccak-256;
one set may serve many proofs, and a node that none of them needed is itself a fault (`verify_all_used`), so that
two different sets never prove the same thing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from anchor import rlpcodec
from anchor.keccak import keccak
from anchor.rlpcodec import Item
from verifier.proofs.errors import ProofError

MAX_NODES: Final = 1024  # 66 proofs of 9 nodes, and room.
MAX_NODE_BYTES: Final = 1024  # A branch of 16 hashes has 532 bytes.
SLOT_BYTES: Final = 32
EMPTY_ROOT: Final = keccak(rlpcodec.encode(b""))

_NIBBLES: Final = 64  # Keys are Keccak-256 hashes: no key is another's beginning.


class NodeSet:
    """Trie nodes by hash. Remembers which were used."""

    def __init__(self, nodes: Iterable[bytes]) -> None:
        """Take the RLP of the nodes.

        Raises:
            ProofError: one is too long or there twice, or there are too many.
        """
        self._nodes: dict[bytes, bytes] = {}
        self._used: dict[bytes, list[Item]] = {}  # Decoded once, whatever number of proofs share a node.
        for node in nodes:
            if len(node) > MAX_NODE_BYTES or len(self._nodes) == MAX_NODES:
                raise ProofError("the proof is too large", step="node_limit")
            if (name := keccak(node)) in self._nodes:
                raise ProofError("the proof has a node twice", step="node_twice")
            self._nodes[name] = node

    def take(self, name: bytes) -> list[Item]:
        """Return the items of the node with this hash.

        Raises:
            ProofError: it is not in the set, or is not a node.
        """
        if (items := self._used.get(name)) is None:
            if (node := self._nodes.get(name)) is None:
                raise ProofError("the proof lacks a node", step="node_missing")
            items = self._used[name] = _require_node(_decode(node))
        return items

    def verify_all_used(self) -> None:
        """Verify that each node was needed. Raises ProofError."""
        if len(self._used) != len(self._nodes):
            raise ProofError("the proof has a node that proves nothing", step="node_unused")


@dataclass(frozen=True, slots=True)
class Account:
    """What the state holds of an address (Yellow Paper §4.1)."""

    nonce: int
    balance: int
    storage_root: bytes
    code_hash: bytes


def account_at(state_root: bytes, address: bytes, nodes: NodeSet) -> Account | None:
    """Return the account at the 20-byte `address` under `state_root`; None is proved absence.

    Raises:
        ProofError: the nodes prove neither.
    """
    found = value_at(state_root, keccak(address), nodes)
    if found is None:
        return None
    parts = _decode(found)
    if not isinstance(parts, list) or len(parts) != 4:
        raise ProofError("the account is not four byte strings", step="account_malformed")
    nonce, balance, storage_root, code_hash = (_require_bytes(each) for each in parts)
    if len(storage_root) != 32 or len(code_hash) != 32:
        raise ProofError("the account's hashes are not 32 bytes", step="account_malformed")
    return Account(int.from_bytes(nonce, "big"), int.from_bytes(balance, "big"), storage_root, code_hash)


def storage_at(storage_root: bytes, slot: bytes, nodes: NodeSet) -> bytes:
    """Return the 32 bytes of the 32-byte `slot`; zeros are proved absence.

    Raises:
        ProofError: the nodes prove neither a value nor its absence.
    """
    found = value_at(storage_root, keccak(slot), nodes)
    if found is None:
        return bytes(SLOT_BYTES)
    value = _require_bytes(_decode(found))
    # Zero is stored as absence and numbers without leading zeros, so each value has one encoding.
    if not 0 < len(value) <= SLOT_BYTES or value[0] == 0:
        raise ProofError("the slot's value is not a canonical number", step="slot_malformed")
    return value.rjust(SLOT_BYTES, b"\0")


def value_at(root: bytes, key: bytes, nodes: NodeSet) -> bytes | None:
    """Walk from `root` along the nibbles of the 32-byte `key`; return the value, None where the trie ends before.

    Raises:
        ProofError: a node on the way is missing or malformed. Yellow Paper appendix D.
    """
    if root == EMPTY_ROOT:
        return None
    path, at = key.hex(), 0
    node = nodes.take(root)
    while True:
        if len(node) == 17:
            if at == _NIBBLES:
                raise ProofError("a branch stands where a value should", step="node_malformed")
            child, at = node[int(path[at], 16)], at + 1
        else:
            part, is_leaf = _compact(_require_bytes(node[0]))
            if is_leaf:
                return _leaf_value(node, part, path[at:])
            if not part:
                raise ProofError("an extension is empty", step="node_malformed")
            if not path[at:].startswith(part):
                return None
            child, at = node[1], at + len(part)
        if child == b"":
            return None
        node = _child(child, nodes)


def _leaf_value(node: list[Item], part: str, rest: str) -> bytes | None:
    if len(part) != len(rest):
        raise ProofError("a leaf stands at the wrong depth", step="node_malformed")
    return _require_bytes(node[1]) if part == rest else None


def _child(child: Item, nodes: NodeSet) -> list[Item]:
    if isinstance(child, list):
        # A node shorter than a hash stands in its parent; a longer one would be a second form of the same trie.
        if len(rlpcodec.encode(child)) >= 32:
            raise ProofError("a node stands in its parent that is too long for it", step="node_malformed")
        return _require_node(child)
    if len(child) != 32:
        raise ProofError("a child is neither node nor hash", step="node_malformed")
    return nodes.take(child)


def _compact(encoded: bytes) -> tuple[str, bool]:
    """Decode a hex-prefix path: its nibbles, and whether it ends in a value (Yellow Paper appendix C)."""
    nibbles = encoded.hex()
    if not nibbles or nibbles[0] not in "0123" or (nibbles[0] in "02" and nibbles[1] != "0"):
        raise ProofError("a path in the proof is malformed", step="node_malformed")
    return nibbles[1 if nibbles[0] in "13" else 2 :], nibbles[0] in "23"


def _decode(raw: bytes) -> Item:
    try:
        return rlpcodec.decode(raw)
    except rlpcodec.RlpMalformed:
        raise ProofError("the proof is not canonical RLP", step="rlp") from None


def _require_node(item: Item) -> list[Item]:
    if not isinstance(item, list) or len(item) not in (2, 17):
        raise ProofError("a node has neither 2 nor 17 parts", step="node_malformed")
    return item


def _require_bytes(item: Item) -> bytes:
    if not isinstance(item, bytes):
        raise ProofError("a byte string of the proof is a list", step="node_malformed")
    return item
