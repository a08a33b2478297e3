"""Checkpoints: what a member's node says, signed, about the chain it follows (docs/reference/checkpoint.md).

Two checkpoints of one chain that contradict each other prove that somebody was shown another chain, or that a
member signed what it did not see. Pure: no chain, clock, file or network.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from anchor.canonical import JsonValue, parse_strict_json
from anchor.errors import DeltasealError, MerkleInvalid, ValueNotCanonical
from anchor.merkle import HASH_BYTES, verify_consistency
from anchor.signer import SIGNATURE_BYTES, Signer, recover_typed, typed_domain
from verifier.jsonparts import PartReader, render_hex
from verifier.proofs.errors import ProofError
from verifier.trust import ChainFacts, read_chain, render_chain

FORMAT: Final = "deltaseal-checkpoint/1"
MAX_CHECKPOINT_BYTES: Final = 4096
MAX_PATH: Final = 64 + 1  # A log of 2^64 batches has no longer consistency proof (RFC 6962 §2.1.2).
TYPES: Final = {
    "Checkpoint": [
        {"name": "genesis", "type": "bytes32"},
        {"name": "ledger", "type": "address"},
        {"name": "height", "type": "uint64"},
        {"name": "blockHash", "type": "bytes32"},
        {"name": "logSize", "type": "uint64"},
        {"name": "logRoot", "type": "bytes32"},
        {"name": "memberId", "type": "uint32"},
        {"name": "time", "type": "uint64"},
    ]
}


class CheckpointMalformed(DeltasealError):
    """Bytes that are no checkpoint."""

    code = "checkpoint_malformed"


class Conflict(StrEnum):
    """How two checkpoints of one chain contradict each other."""

    LOG_ROOT = "log_root"  # The same number of batches, other batches.
    BLOCK_HASH = "block_hash"  # The same height, another final block.
    LOG_SIZE = "log_size"  # The same block, another number of batches in it.
    NO_CONSISTENCY = "no_consistency"  # The longer log does not begin with the shorter one.


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The log as of one final block. `time` is the signer's clock in Unix seconds, and proves nothing."""

    chain: ChainFacts
    height: int
    block_hash: bytes
    log_size: int
    log_root: bytes
    member_id: int
    time: int


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint with the member's signature (EIP-712, 65 bytes)."""

    checkpoint: Checkpoint
    signature: bytes


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer) -> SignedCheckpoint:
    """Sign a checkpoint with the member's key."""
    return SignedCheckpoint(checkpoint, signer.sign_typed(*_signed_parts(checkpoint)))


def checkpoint_signer(signed: SignedCheckpoint) -> bytes:
    """Return the address that signed.

    Raises:
        SignatureInvalid: the signature is none.
    """
    return recover_typed(signed.signature, *_signed_parts(signed.checkpoint))


def find_conflict(one: Checkpoint, other: Checkpoint) -> Conflict | None:
    """Return how two checkpoints of one chain contradict each other by themselves; None says nothing is proved.

    One that is merely behind the other contradicts nothing.
    """
    if one.chain != other.chain:
        return None
    if one.log_size == other.log_size and one.log_root != other.log_root:
        return Conflict.LOG_ROOT
    if one.height != other.height:
        return None
    if one.block_hash != other.block_hash:
        return Conflict.BLOCK_HASH
    return Conflict.LOG_SIZE if one.log_size != other.log_size else None


def verify_extends(earlier: Checkpoint, later: Checkpoint, path: Sequence[bytes]) -> None:
    """Verify by `path` that the later log begins with the earlier one (RFC 9162 §2.1.4.2).

    Raises:
        ProofError: it does not, the path has the wrong shape, or they speak of two chains.
    """
    if earlier.chain != later.chain:
        raise ProofError("the checkpoints are of two chains", step="other_chain")
    try:
        verify_consistency(earlier.log_size, later.log_size, earlier.log_root, later.log_root, path)
    except MerkleInvalid as error:
        raise ProofError("the later log does not begin with the earlier one", step=error.code) from None


def render_checkpoint(signed: SignedCheckpoint) -> dict[str, JsonValue]:
    """Render a signed checkpoint as its JSON object."""
    checkpoint = signed.checkpoint
    return {
        "format": FORMAT,
        "chain": render_chain(checkpoint.chain),
        "height": checkpoint.height,
        "blockHash": render_hex(checkpoint.block_hash),
        "logSize": checkpoint.log_size,
        "logRoot": render_hex(checkpoint.log_root),
        "memberId": checkpoint.member_id,
        "time": checkpoint.time,
        "signature": render_hex(signed.signature),
    }


def parse_checkpoint(raw: bytes) -> SignedCheckpoint:
    """Parse a signed checkpoint: strict JSON, no member unknown or missing. The signature is not judged here.

    Raises:
        CheckpointMalformed: anything that `render_checkpoint` would not have written, white space and order apart.
    """
    try:
        value = parse_strict_json(raw, max_bytes=MAX_CHECKPOINT_BYTES)
    except ValueNotCanonical as error:
        raise CheckpointMalformed(f"the checkpoint is malformed: {error}", cause=error.code) from None
    shape, chain, height, block_hash, log_size, log_root, member_id, time, signature = _READ.members(
        value,
        *("format", "chain", "height", "blockHash", "logSize", "logRoot", "memberId", "time", "signature"),
    )
    if shape != FORMAT:
        raise CheckpointMalformed(
            "this is no checkpoint of a known version", hint=f"this version reads {FORMAT}"
        )
    checkpoint = Checkpoint(
        read_chain(_READ, chain),
        _READ.number(height),
        _READ.hexadecimal(block_hash, HASH_BYTES),
        _READ.number(log_size),
        _READ.hexadecimal(log_root, HASH_BYTES),
        _READ.number(member_id, octets=4),
        _READ.number(time),
    )
    return SignedCheckpoint(checkpoint, _READ.hexadecimal(signature, SIGNATURE_BYTES))


_READ: Final = PartReader(CheckpointMalformed, "checkpoint")


def _signed_parts(checkpoint: Checkpoint) -> tuple[dict[str, Any], Any, str, dict[str, Any]]:
    domain = typed_domain(checkpoint.chain.chain_id, checkpoint.chain.directory)
    message = {
        "genesis": checkpoint.chain.genesis,
        "ledger": render_hex(checkpoint.chain.ledger),
        "height": checkpoint.height,
        "blockHash": checkpoint.block_hash,
        "logSize": checkpoint.log_size,
        "logRoot": checkpoint.log_root,
        "memberId": checkpoint.member_id,
        "time": checkpoint.time,
    }
    return domain, TYPES, "Checkpoint", message
