"""RLP by hand and the receipts' trie agree with the libraries `rlp` and `trie`, whatever they are given."""

from __future__ import annotations

from dataclasses import replace

import pytest
import rlp
from hypothesis import given
from hypothesis import strategies as st
from trie import HexaryTrie

from anchor.chain.gateway import BlockReceipt, Log
from verifier.proofs.errors import ProofError
from verifier.proofs.receipts import (
    EMPTY_ROOT,
    bloom_mask,
    encode_receipt,
    may_hold,
    receipts_root,
    verify_receipts,
)

LENGTHS = st.sampled_from([0, 1, 2, 55, 56, 57, 255, 256, 65_535, 65_536])
STRINGS = st.binary(max_size=80) | LENGTHS.map(bytes) | st.binary(min_size=1, max_size=1)
LOGS = st.builds(
    Log,
    st.binary(min_size=20, max_size=20),
    st.lists(st.binary(min_size=32, max_size=32), max_size=4).map(tuple),
    STRINGS,
    st.just(1),
    st.just(bytes(32)),
    st.just(bytes(32)),
    st.just(0),
)
RECEIPTS = st.builds(
    BlockReceipt,
    st.just(bytes(32)),
    st.sampled_from([0, 1, 2]),
    st.sampled_from([0, 1]),
    st.integers(0, 1 << 40),
    st.binary(min_size=256, max_size=256),
    st.lists(LOGS, max_size=3).map(tuple),
)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=300))
def test_root_is_the_one_of_the_library(values: list[bytes]) -> None:
    tree = HexaryTrie({})
    for index, value in enumerate(values):
        tree[rlp.encode(index)] = value
    assert receipts_root(values) == tree.root_hash


@pytest.mark.parametrize("count", [0, 1, 2, 16, 17, 127, 128, 129, 255, 256, 257, 400])
def test_root_at_the_counts_where_keys_grow(count: int) -> None:
    tree = HexaryTrie({})
    for index in range(count):
        tree[rlp.encode(index)] = b"value %d of a receipt that is no short one" % index
    values = [b"value %d of a receipt that is no short one" % index for index in range(count)]
    assert receipts_root(values) == tree.root_hash
    assert count or receipts_root(values) == EMPTY_ROOT


@given(RECEIPTS)
def test_receipt_is_encoded_as_the_library_does(receipt: BlockReceipt) -> None:
    logs = [[log.address, list(log.topics), log.body] for log in receipt.logs]
    plain = rlp.encode([receipt.status, receipt.cumulative_gas, receipt.bloom, logs])
    assert encode_receipt(receipt) == (bytes([receipt.kind]) if receipt.kind else b"") + plain


@given(st.lists(RECEIPTS, min_size=1, max_size=3), st.data())
def test_receipts_with_one_change_do_not_lead_to_the_root(
    receipts: list[BlockReceipt], data: st.DataObject
) -> None:
    root = receipts_root(list(map(encode_receipt, receipts)))
    verify_receipts(receipts, root)
    place = data.draw(st.integers(0, len(receipts) - 1))
    one = receipts[place]
    changed = [
        replace(one, status=1 - one.status),
        replace(one, cumulative_gas=one.cumulative_gas + 1),
        replace(one, kind=one.kind + 3),
        replace(one, bloom=bytes([one.bloom[0] ^ 1]) + one.bloom[1:]),
        replace(one, logs=(*one.logs, Log(bytes(20), (), b"", 1, bytes(32), bytes(32), 9))),
    ]
    for other in changed:
        with pytest.raises(ProofError) as caught:
            verify_receipts([*receipts[:place], other, *receipts[place + 1 :]], root)
        assert caught.value.facts["step"] == "receipts_root"


def test_impossible_type_is_refused() -> None:
    with pytest.raises(ProofError):
        encode_receipt(BlockReceipt(bytes(32), 0xC0, 1, 0, bytes(256), ()))


@given(st.lists(st.binary(min_size=20, max_size=32), min_size=1, max_size=20))
def test_bloom_that_holds_an_item_never_denies_it(items: list[bytes]) -> None:
    bloom = 0
    for item in items:
        bloom |= bloom_mask(item)
    assert all(may_hold(bloom.to_bytes(256, "big"), [bloom_mask(item)]) for item in items)
    assert not may_hold(bytes(256), [bloom_mask(items[0])])
