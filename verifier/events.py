"""What the contracts tell: their events as plain values, in the order of the chain.

Must not import chain: `verifier.follower` makes these from logs, tests make them by hand. Meanings:
docs/reference/contracts.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from anchor.entries import BatchEntry


@dataclass(frozen=True, slots=True)
class BatchAppended:
    """Ledger: a batch of 96-byte records, concatenated in `records`."""

    entry: BatchEntry
    records: bytes
    transaction_hash: bytes


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """Ledger: the 32-byte status slot of a claim."""

    member_id: int
    commitment: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class DocumentRevoked:
    """Ledger: a member's status slot of a document; `document` is domain 2 | epoch 2 | docTag 16."""

    member_id: int
    document: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Consumed:
    """Ledger: a nullifier was consumed for a use."""

    nullifier: bytes
    member_id: int
    use_commitment: bytes


@dataclass(frozen=True, slots=True)
class ConsumptionCleared:
    """Ledger: the council gave a nullifier back."""

    nullifier: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberAdmitted:
    """Members: the council admitted a member. `role` is its number, `area` a GB/T 2260 number."""

    member_id: int
    account: bytes
    role: int
    level: int
    area: int
    uscc: bytes
    valid_from: int
    valid_until: int
    name: str
    endpoint: str
    hpke_key: bytes


@dataclass(frozen=True, slots=True)
class MemberStateChanged:
    """Members: 1 active, 2 suspended, 3 left."""

    member_id: int
    state: int


@dataclass(frozen=True, slots=True)
class MemberAccountRotated:
    """Members: another account speaks for the member from now on."""

    member_id: int
    account: bytes


@dataclass(frozen=True, slots=True)
class MemberSuccessorNamed:
    """Members: who may act on the member's claims; 0 is nobody."""

    member_id: int
    successor: int


@dataclass(frozen=True, slots=True)
class MemberEndpointSet:
    """Members: where the member's node answers."""

    member_id: int
    endpoint: str


@dataclass(frozen=True, slots=True)
class MemberHpkeKeySet:
    """Members: the key to seal envelopes to."""

    member_id: int
    hpke_key: bytes


@dataclass(frozen=True, slots=True)
class EnvelopePublished:
    """Members: a domain key sealed to one member; epoch 0 is the consume key."""

    domain: int
    epoch: int
    member_id: int
    envelope: bytes


@dataclass(frozen=True, slots=True)
class SignersSet:
    """Members: who signs the chain from a block on."""

    from_block: int
    signers: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryPublished:
    """Catalog: a version of an entry. `key` is SHA-256(kind 1 ‖ code)."""

    key: bytes
    kind: int
    code: str
    version: int
    owner: int
    digest: bytes
    state: int
    text: bytes
    transaction_hash: bytes
    log_index: int


@dataclass(frozen=True, slots=True)
class EntryStateChanged:
    """Catalog: 2 approved, 3 retired."""

    key: bytes
    version: int
    state: int


@dataclass(frozen=True, slots=True)
class EntryOwnerChanged:
    """Catalog: the council gave a code to another member."""

    key: bytes
    owner: int


Event: TypeAlias = (
    BatchAppended
    | StatusChanged
    | DocumentRevoked
    | Consumed
    | ConsumptionCleared
    | MemberAdmitted
    | MemberStateChanged
    | MemberAccountRotated
    | MemberSuccessorNamed
    | MemberEndpointSet
    | MemberHpkeKeySet
    | EnvelopePublished
    | SignersSet
    | EntryPublished
    | EntryStateChanged
    | EntryOwnerChanged
)


@dataclass(frozen=True, slots=True)
class IndexedBlock:
    """A block and the events that it holds. Hashes are 32 bytes, `time` is Unix seconds.

    `unreadable` counts catalogue events whose text cannot be decoded at all.
    """

    number: int
    hash: bytes
    parent_hash: bytes
    time: int
    events: tuple[Event, ...]
    unreadable: int = 0
