"""Proofs that the events of a block are all of its events: receipts that lead to the header's receipts root.

Pure functions on bytes: no chain, no store, no clock. Sources: Yellow Paper §4.3.1 and §4.4.1 (receipts, their
trie by index), appendices B to D (RLP, hex-prefix, Merkle-Patricia trie), EIP-2718 (typed receipts). Only whole
blocks are verified, so the trie is built and never walked. A rebuild encodes every receipt of the chain, hence the
fixed heads. A test compares it with the libraries `rlp` and `trie`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from anchor.keccak import keccak
from anchor.rlpcodec import encode, enlist, scalar
from verifier.proofs.accounts import EMPTY_ROOT
from verifier.proofs.errors import ProofError

if TYPE_CHECKING:
    from anchor.chain.gateway import BlockReceipt, Log

_MOST_TYPE: Final = 0x7F  # EIP-2718.
_NONE: Final = b"\x80"
# What RLP puts before a string of this length.
_ADDRESS, _WORD, _BLOOM = b"\x94", b"\xa0", b"\xb9\x01\x00"


def verify_receipts(receipts: Sequence[BlockReceipt], root: bytes) -> None:
    """Verify that these are all receipts of the block whose header has the receipts root `root`, in order.

    Raises:
        ProofError: they lead to another root.
    """
    if receipts_root([encode_receipt(receipt) for receipt in receipts]) != root:
        raise ProofError("the receipts do not lead to the header's root", step="receipts_root")


def encode_receipt(receipt: BlockReceipt) -> bytes:
    """Encode a receipt as the trie holds it. Source: Yellow Paper §4.4.1, EIP-2718.

    Raises:
        ProofError: the type is none.
    """
    if receipt.kind > _MOST_TYPE:
        raise ProofError("a transaction has an impossible type", step="receipt_type")
    # Strings of fixed length carry fixed heads: the gateway lets none of another length through.
    fields = b"".join(
        (
            _number(receipt.status),
            _number(receipt.cumulative_gas),
            _BLOOM,
            receipt.bloom,
            enlist(b"".join([_encode_log(log) for log in receipt.logs])),
        )
    )
    fields = enlist(fields)
    return bytes((receipt.kind,)) + fields if receipt.kind else fields


def receipts_root(encoded: Sequence[bytes]) -> bytes:
    """Return the root of the trie that maps rlp(0), rlp(1), … to these values. Source: Yellow Paper §4.3.1."""
    if not encoded:
        return EMPTY_ROOT
    items = [(_nibbles(_number(index)), value) for index, value in enumerate(encoded)]
    return keccak(_node(sorted(items), 0))


def may_hold(bloom: bytes, masks: Sequence[int]) -> bool:
    """Tell whether a block with this header bloom may hold an event of one of the masks' addresses."""
    bits = int.from_bytes(bloom, "big")
    return any(bits & mask == mask for mask in masks)


def bloom_mask(item: bytes) -> int:
    """Return the three bits that an address or topic sets in a bloom, as a number. Yellow Paper §4.4.1."""
    digest = keccak(item)
    return sum({1 << (int.from_bytes(digest[at : at + 2], "big") & 2047) for at in (0, 2, 4)})


def _encode_log(log: Log) -> bytes:
    topics = b"".join([_WORD + topic for topic in log.topics])
    return enlist(_ADDRESS + log.address + enlist(topics) + encode(log.body))


def _number(value: int) -> bytes:
    return encode(scalar(value))


# The trie (appendix D)


_Items = list[tuple[bytes, bytes]]  # (nibbles, value), ascending; no key is another's beginning.


def _node(items: _Items, depth: int) -> bytes:
    """Encode the node over `items`, whose first `depth` nibbles are alike."""
    first = items[0][0]
    if len(items) == 1:
        return encode((_path(first[depth:], leaf=True), items[0][1]))
    shared = _shared(first, items[-1][0], depth)
    if shared > depth:
        below = _reference(_node(items, shared))
        return enlist(encode(_path(first[depth:shared], leaf=False)) + below)
    children: list[_Items] = [[] for _ in range(16)]
    for item in items:
        children[item[0][depth]].append(item)
    branches = [_reference(_node(each, depth + 1)) if each else _NONE for each in children]
    return enlist(b"".join([*branches, _NONE]))


def _reference(node: bytes) -> bytes:
    return _WORD + keccak(node) if len(node) >= 32 else node


def _shared(first: bytes, last: bytes, depth: int) -> int:
    """Return how many nibbles the first and the last of sorted keys have in common."""
    while depth < min(len(first), len(last)) and first[depth] == last[depth]:
        depth += 1
    return depth


def _path(nibbles: bytes, *, leaf: bool) -> bytes:
    """Encode nibbles with their parity and kind (hex-prefix). Source: Yellow Paper appendix C."""
    flag = 2 * leaf + len(nibbles) % 2
    whole = bytes((flag,)) + (b"" if len(nibbles) % 2 else b"\x00") + nibbles
    return bytes([whole[at] << 4 | whole[at + 1] for at in range(0, len(whole), 2)])


def _nibbles(key: bytes) -> bytes:
    return bytes([nibble for byte in key for nibble in (byte >> 4, byte & 15)])
