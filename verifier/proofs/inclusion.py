"""Proofs that a record is in a batch, and a batch in the Ledger (docs/reference/batch-and-log.md).

Pure functions on bytes and numbers: no chain, no store, no clock. Each returns None or raises `ProofError`.
"""

import hmac
from collections.abc import Sequence

from anchor.entries import BatchEntry, batch_hash
from anchor.errors import EntryMalformed, MerkleInvalid, RecordMalformed
from anchor.merkle import root_from_inclusion
from anchor.records import parse_frame, record_id
from verifier.proofs.errors import ProofError


def verify_inclusion(
    record: bytes, member_id: int, index: int, entry: BatchEntry, path: Sequence[bytes]
) -> None:
    """Verify that `record` (96 bytes) is number `index` of the batch that `entry` describes.

    The leaf is hashed with `member_id`, so a copy that another member appended does not pass.

    Raises:
        ProofError: another member, stream or root, or a malformed record or path. RFC 9162 §2.1.3.2.
    """
    try:
        leaf, stream = record_id(member_id, record), parse_frame(record).format
        root = root_from_inclusion(leaf, index, entry.size, path)
    except (RecordMalformed, MerkleInvalid) as error:
        raise ProofError(f"the inclusion cannot be computed: {error}", step=error.code) from None
    if member_id != entry.member_id:
        raise ProofError("the batch was appended by another member", step="member")
    if stream is not entry.stream:
        raise ProofError("the record's format is not that of the batch's stream", step="stream")
    if not hmac.compare_digest(root, entry.root):
        raise ProofError("the path leads to another root than the batch has", step="root")


def verify_batch_slot(entry: BatchEntry, slot: bytes) -> None:
    """Verify that `slot`, the 32 bytes of `batchHash[entry.id]`, commits to `entry`.

    An empty slot (a batch that the chain does not have) is a value like any other and fails.

    Raises:
        ProofError: the entry is malformed or hashes to something else.
    """
    try:
        expected = batch_hash(entry)
    except EntryMalformed as error:
        raise ProofError(f"the batch entry cannot be hashed: {error}", step=error.code) from None
    if not hmac.compare_digest(expected, slot):
        raise ProofError("the chain's slot holds another batch", step="batch_slot")
