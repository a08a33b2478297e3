"""Sealed secrets: only the named recipient opens them, and only for the named purpose."""

import hashlib

import pytest

from anchor.envelopes import OVERHEAD_BYTES, PUBLIC_KEY_BYTES, RecipientKey, epoch_info, open_, seal
from anchor.errors import EnvelopeMalformed, KeyMaterialInvalid

KEY = RecipientKey.from_bytes(bytes(range(32)))
INFO = epoch_info(31007, bytes(20), 1, 1, 7)


def test_sealed_secret_is_opened_by_its_recipient() -> None:
    sealed = seal(KEY.public_bytes, info=INFO, plaintext=b"s" * 32)
    assert len(sealed) == 32 + OVERHEAD_BYTES
    assert open_(KEY, info=INFO, sealed=sealed) == b"s" * 32


def test_sealing_twice_gives_two_envelopes() -> None:
    first, second = (seal(KEY.public_bytes, info=INFO, plaintext=b"s" * 32) for _ in range(2))
    assert first != second


def test_another_key_does_not_open_it() -> None:
    sealed = seal(KEY.public_bytes, info=INFO, plaintext=b"s" * 32)
    with pytest.raises(EnvelopeMalformed):
        open_(RecipientKey.generate(), info=INFO, sealed=sealed)


@pytest.mark.parametrize(
    "place",
    [
        (31008, bytes(20), 1, 1, 7),
        (31007, b"\1" * 20, 1, 1, 7),
        (31007, bytes(20), 2, 1, 7),
        (31007, bytes(20), 1, 2, 7),
        (31007, bytes(20), 1, 1, 8),
    ],
)
def test_envelope_of_another_place_does_not_open(place: tuple[int, bytes, int, int, int]) -> None:
    sealed = seal(KEY.public_bytes, info=INFO, plaintext=b"s" * 32)
    with pytest.raises(EnvelopeMalformed):
        open_(KEY, info=epoch_info(*place), sealed=sealed)


def test_key_survives_its_bytes() -> None:
    key = RecipientKey.generate()
    again = RecipientKey.from_bytes(key.to_bytes())
    assert (again, again.public_bytes) == (key, key.public_bytes)
    assert len(key.public_bytes) == PUBLIC_KEY_BYTES


def test_public_key_is_that_of_the_x_wing_draft() -> None:
    # draft-connolly-cfrg-xwing-kem-08 appendix C, vector 1: first and last 32 bytes of the public key.
    public = RecipientKey.from_bytes(hashlib.shake_128().digest(32)).public_bytes
    assert public[:32].hex() == "e2236b35a8c24b39b10aa1323a96a919a2ced88400633a7b07131713fc14b2b5"
    assert public[-32:].hex() == "859edb06eff389b27dce59844570216223593d4ba32d9abac8cd049040ef6534"


@pytest.mark.parametrize(
    "public",
    [
        b"",
        KEY.public_bytes[:-1],
        KEY.public_bytes + b"\0",
        b"\xff" * PUBLIC_KEY_BYTES,  # ML-KEM coefficients that are not below q.
        KEY.public_bytes[:-32] + bytes(32),  # An X25519 point of small order.
    ],
)
def test_bad_public_key_is_refused(public: bytes) -> None:
    with pytest.raises(KeyMaterialInvalid):
        seal(public, info=b"", plaintext=b"")


def test_seed_of_another_length_is_refused() -> None:
    for seed in (b"", bytes(31), bytes(33)):
        with pytest.raises(KeyMaterialInvalid):
            RecipientKey.from_bytes(seed)


def test_private_key_is_not_shown_by_repr() -> None:
    assert repr(KEY) == "RecipientKey()"
