"""Where the contracts keep what receipts prove (docs/reference/ledger-storage.md).

Pure. The numbers are those of contracts/layout.json; a test compares them.
"""

from typing import Final

from anchor.commitments import Commitment
from anchor.entries import claim_key, document_key
from anchor.keccak import keccak
from anchor.tags import Tag

LOG_SIZE: Final = 0
LOG_ROOT: Final = 1
BATCH_HASH: Final = 2
STATUS: Final = 3
DOCUMENT_STATUS: Final = 4
SIGNERS_DIGEST: Final = 5  # Of Members; the others are of Ledger.


def mapping_slot(position: int, key: bytes) -> bytes:
    """Return where a mapping at `position` keeps the value of a 32-byte `key` (Solidity: Keccak-256(key ‖ slot))."""
    return keccak(key + position.to_bytes(32, "big"))


def plain_slot(position: int) -> bytes:
    """Return the slot of a variable that is no mapping."""
    return position.to_bytes(32, "big")


def batch_slot(batch_id: int) -> bytes:
    """Return the slot of `batchHash[batch_id]`."""
    return mapping_slot(BATCH_HASH, batch_id.to_bytes(32, "big"))


def claim_slot(member_id: int, commitment: bytes) -> bytes:
    """Return the slot of a claim's status."""
    return mapping_slot(STATUS, claim_key(member_id, Commitment(commitment)))


def document_slot(member_id: int, domain: int, epoch: int, doc_tag: bytes) -> bytes:
    """Return the slot of a document's status, as written by one member."""
    return mapping_slot(DOCUMENT_STATUS, document_key(member_id, domain, epoch, Tag(doc_tag)))


def signers_slot(from_block: int) -> bytes:
    """Return the slot of Members' `signersDigest[from_block]`."""
    return mapping_slot(SIGNERS_DIGEST, from_block.to_bytes(32, "big"))
