"""Sealed rows and wrapped keys: only the same key and the same place open them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.errors import StoreDamaged
from node.store.envelope import OVERHEAD_BYTES, RowSeal, row_kind, unwrap_key, wrap_key

SEAL = RowSeal(bytes(range(32)))
KEK = bytes(range(32, 64))


@given(st.binary(max_size=50), st.binary(max_size=200))
def test_sealed_row_opens_under_its_own_key_only(key: bytes, value: bytes) -> None:
    sealed = SEAL.seal(key, value)
    assert (SEAL.open(key, sealed), len(sealed)) == (value, len(value) + OVERHEAD_BYTES)
    for other_seal, other_key in ((SEAL, key + b"\x00"), (RowSeal(bytes(32)), key)):
        with pytest.raises(StoreDamaged):
            other_seal.open(other_key, sealed)


@given(st.data())
def test_any_flipped_bit_is_refused(data: st.DataObject) -> None:
    sealed = bytearray(SEAL.seal(b"material/x", b"value"))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(StoreDamaged):
        SEAL.open(b"material/x", bytes(sealed))


@given(st.binary(max_size=80))
def test_random_bytes_raise_only_the_typed_error(content: bytes) -> None:
    with pytest.raises(StoreDamaged):
        SEAL.open(b"material/x", content)
    with pytest.raises(StoreDamaged):
        unwrap_key(KEK, content, b"aad")


def test_two_seals_of_one_row_differ() -> None:
    assert SEAL.seal(b"k", b"v") != SEAL.seal(b"k", b"v")


def test_wrapped_key_opens_under_its_kek_and_place_only() -> None:
    dek = bytes(32)
    wrapped = wrap_key(KEK, dek, b"file")
    assert unwrap_key(KEK, wrapped, b"file") == dek
    for kek, aad in ((bytes(32), b"file"), (KEK, b"salt")):
        with pytest.raises(StoreDamaged) as caught:
            unwrap_key(kek, wrapped, aad)
        assert caught.value.facts == {"row": "wrapped_key"}


def test_error_names_the_kind_of_row_and_nothing_of_its_key() -> None:
    for key, kind in (
        (b"by_subject/310101199001011234", "by_subject"),
        (b"\xff\x00\x01", "unknown"),
        (b"", "unknown"),
    ):
        assert row_kind(key) == kind
        with pytest.raises(StoreDamaged) as caught:
            SEAL.open(key, b"x")
        assert "310101199001011234" not in f"{caught.value}{caught.value.facts}{caught.value.hint}"


def test_store_key_of_another_length_is_a_fault_of_the_program() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        RowSeal(bytes(16))
