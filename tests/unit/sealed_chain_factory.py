"""A small chain of sealed headers over a real state trie, with fixed keys: for tests and vectors.

Tries are built by the `trie` package, which shares nothing with the verifier; seals are made here by EIP-225's and
Besu's rules written down a second time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import rlp
from coincurve import PrivateKey
from eth_utils.crypto import keccak
from trie.hexary import HexaryTrie

from anchor.headers import Header, decode_header

EMPTY_CODE = keccak(b"")
OMMERS = keccak(rlp.encode([]))


def key_of(number: int) -> PrivateKey:
    """Return the fixed key of signer `number`."""
    return PrivateKey(hashlib.sha256(b"signer %d" % number).digest())


def address_of(key: PrivateKey) -> bytes:
    """Return the address of a key."""
    return bytes(keccak(key.public_key.format(compressed=False)[1:])[12:])


KEYS = sorted((key_of(number) for number in range(5)), key=address_of)
SIGNERS = tuple(address_of(key) for key in KEYS)
OUTSIDER = key_of(99)


@dataclass(frozen=True)
class State:
    """A state trie with accounts that have storage; `nodes_for` gives what eth_getProof would."""

    accounts: HexaryTrie
    storages: Mapping[bytes, HexaryTrie]

    @property
    def root(self) -> bytes:
        """Return the state root."""
        return bytes(self.accounts.root_hash)

    def nodes_for(self, address: bytes, slots: Sequence[bytes]) -> tuple[bytes, ...]:
        """Return the nodes that prove the account and its slots, each once."""
        found = walk(self.accounts, address)
        for slot in slots:
            found += walk(self.storages[address], slot)
        return tuple(dict.fromkeys(found))


def walk(trie: Any, name: bytes) -> list[bytes]:
    """Return the nodes on the way to an address or slot; one shorter than a hash stands in its parent."""
    raw = [bytes(rlp.encode(node)) for node in trie.get_proof(keccak(name))]
    return [node for node in raw if len(node) >= 32]


def state_of(storages: Mapping[bytes, Mapping[bytes, bytes]], *, crowd: int = 20) -> State:
    """Build a state of accounts with these storages (slot → 32 bytes), among `crowd` others of both."""
    accounts, tries = HexaryTrie({}), {}
    for address, slots in storages.items():
        tries[address] = trie = HexaryTrie({})
        filler = {hashlib.sha256(b"slot %d" % each).digest(): b"\1" * 32 for each in range(crowd)}
        for slot, value in {**filler, **slots}.items():
            if any(value):
                trie[keccak(slot)] = rlp.encode(value.lstrip(b"\0"))
        accounts[keccak(address)] = rlp.encode([b"\1", b"", trie.root_hash, EMPTY_CODE])
    for each in range(crowd):
        outsider = hashlib.sha256(b"account %d" % each).digest()[:20]
        accounts[keccak(outsider)] = rlp.encode([b"", b"\1", HexaryTrie({}).root_hash, EMPTY_CODE])
    return State(accounts, tries)


def number_bytes(number: int) -> bytes:
    """Encode a number as RLP has it: without leading zeros."""
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def header_fields(*, parent: bytes, state_root: bytes, number: int, time: int, extra: bytes) -> list[bytes]:
    """Return the 15 fields of a header of an otherwise empty block."""
    return [
        *(
            parent,
            OMMERS,
            bytes(20),
            state_root,
            keccak(rlp.encode(b"")),
            keccak(rlp.encode(b"")),
            bytes(256),
        ),
        *(number_bytes(each) for each in (2, number, 30_000_000, 0, time)),
        *(extra, bytes(32), bytes(8)),
    ]


def clique_header(
    key: PrivateKey,
    *,
    parent: bytes,
    state_root: bytes,
    number: int,
    time: int,
    signers: Sequence[bytes] = (),
) -> Header:
    """Seal a header as a Clique signer does (EIP-225); with `signers` it is a checkpoint block."""
    vanity = bytes(32) + b"".join(signers)
    fields = header_fields(parent=parent, state_root=state_root, number=number, time=time, extra=vanity)
    seal = key.sign_recoverable(keccak(rlp.encode(fields)), hasher=None)
    fields[12] = vanity + seal
    return decode_header(rlp.encode(fields))


def clique_chain(
    sealers: Sequence[PrivateKey], *, state_root: bytes, number: int, time: int, parent: bytes = b"\7" * 32
) -> tuple[Header, ...]:
    """Seal consecutive headers, one by each of `sealers`; all have the same state root."""
    headers: list[Header] = []
    for key in sealers:
        headers.append(clique_header(key, parent=parent, state_root=state_root, number=number, time=time))
        parent, number, time = keccak(headers[-1].raw), number + 1, time + 2
    return tuple(headers)


def bft_header(
    keys: Sequence[PrivateKey],
    *,
    qbft: bool,
    state_root: bytes,
    number: int,
    time: int,
    parent: bytes = b"\7" * 32,
    turn: int = 0,
    validators: Sequence[bytes] = SIGNERS,
) -> Header:
    """Seal a header with commit seals of `keys`, as Besu's QBFT (or IBFT 2.0) validators do."""
    turn_bytes = number_bytes(turn) if qbft else turn.to_bytes(4, "big")
    head: list[object] = [bytes(32), list(validators), [] if qbft else b"", turn_bytes]
    fields = header_fields(parent=parent, state_root=state_root, number=number, time=time, extra=b"")
    fields[12] = rlp.encode([*head, []] if qbft else head)
    digest = keccak(rlp.encode(fields))
    fields[12] = rlp.encode([*head, [key.sign_recoverable(digest, hasher=None) for key in keys]])
    return decode_header(rlp.encode(fields))
