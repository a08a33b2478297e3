"""Checkpoints with fixed keys over a small log, for tests and vectors. Every value is made up and fixed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from anchor.merkle import consistency_path, leaf_hash, root
from anchor.signer import Signer
from tests.unit import receipt_factory as made
from verifier.checkpoints import Checkpoint, SignedCheckpoint, sign_checkpoint

SIGNER = Signer.from_key(made.bytes_of("member key"))
BATCHES = [leaf_hash(b"batch %d" % number) for number in range(12)]


def checkpoint(size: int, *, height: int | None = None, **changes: Any) -> Checkpoint:
    """Return the checkpoint of the first `size` batches, at block 10 × size unless said otherwise."""
    number = 10 * size if height is None else height
    honest = Checkpoint(
        made.CHAIN,
        number,
        made.bytes_of(f"block {number}"),
        size,
        root(BATCHES[:size]),
        made.MEMBER,
        made.AS_OF + size,
    )
    return replace(honest, **changes)


def signed(size: int, **changes: Any) -> SignedCheckpoint:
    """Return such a checkpoint with the fixed member's signature."""
    return sign_checkpoint(checkpoint(size, **changes), SIGNER)


def path(first: int, second: int) -> list[bytes]:
    """Return the consistency proof between two sizes of the log."""
    return consistency_path(BATCHES[:second], first)
