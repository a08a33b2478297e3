"""An import is cut into transactions that every chain client takes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from anchor.chain.contracts import encode_call
from node.services.catalog import Publication, _groups
from verifier.catalog import KIND_NUMBERS

TRANSACTION_LIMIT = 128 << 10  # go-ethereum's pool
SIGNATURE_AND_FIELDS = 300


@given(st.lists(st.integers(1, 65_536) | st.integers(1, 300), min_size=1, max_size=400))
def test_every_entry_is_in_one_group_and_no_group_is_too_large(sizes: list[int]) -> None:
    made = [
        Publication("duty", f"DY-310000-TEST-{n:04d}", 1, b"x" * size, f"cat.{n}")
        for n, size in enumerate(sizes)
    ]
    groups = list(_groups(made))
    assert [one for group in groups for one in group] == made
    for group in groups:
        call = [
            {"kind": KIND_NUMBERS[one.kind], "code": one.code, "version": one.version, "text": one.text}
            for one in group
        ]
        assert len(encode_call("Catalog", "publish", call)) + SIGNATURE_AND_FIELDS < TRANSACTION_LIMIT
        assert len(group) <= 256
