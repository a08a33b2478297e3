"""Secrets sealed to one recipient: HPKE with X25519 + ML-KEM-768 (docs/reference/epoch-envelope.md).

Base mode of RFC 9180, KEM MLKEM768-X25519 (X-Wing), KDF HKDF-SHA-256, AEAD AES-256-GCM, one message for one
encapsulation. The library's `Suite` has no associated data, so all context goes into `info`. Imports only
`anchor.errors`.
"""

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Final, Self

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from anchor.errors import EngineMissing, EnvelopeMalformed, KeyMaterialInvalid

SEED_BYTES: Final = 32
PUBLIC_KEY_BYTES: Final = 1216
OVERHEAD_BYTES: Final = 1136  # Encapsulated key 1120 and GCM tag 16.
_MLKEM_PUBLIC_BYTES: Final = 1184
_NO_MLKEM: Final = "OpenSSL here has no ML-KEM"
_NO_MLKEM_HINT: Final = "install the pinned version of cryptography"
_EPOCH_INFO: Final = b"deltaseal/v1 epoch key\x00"


@dataclass(frozen=True, slots=True)
class RecipientKey:
    """A member's private key for envelopes: the 32-byte X-Wing seed, and what it expands to."""

    _seed: bytes = field(repr=False)

    @classmethod
    def generate(cls) -> Self:
        """Make a key from fresh random bytes."""
        return cls.from_bytes(secrets.token_bytes(SEED_BYTES))

    @classmethod
    def from_bytes(cls, seed: bytes) -> Self:
        """Restore a key from its 32-byte seed.

        Raises:
            KeyMaterialInvalid: the seed is not 32 bytes.
            EngineMissing: the installed OpenSSL has no ML-KEM.
        """
        if len(seed) != SEED_BYTES:
            raise KeyMaterialInvalid("a recipient key has 32 bytes", got=len(seed))
        key = cls(bytes(seed))
        key._private()
        return key

    def to_bytes(self) -> bytes:
        """Return the 32-byte seed: a secret to be stored encrypted."""
        return self._seed

    @property
    def public_bytes(self) -> bytes:
        """The public key, 1,216 bytes: ML-KEM-768 encapsulation key 1,184, X25519 key 32."""
        mlkem, x25519 = self._halves()
        return mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()

    def _halves(self) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
        # X-Wing §5.2: SHAKE-256 stretches the seed to ML-KEM's (d, z) and the X25519 scalar.
        expanded = hashlib.shake_256(self._seed).digest(96)
        try:
            mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        except UnsupportedAlgorithm:
            raise EngineMissing(_NO_MLKEM, hint=_NO_MLKEM_HINT) from None
        return mlkem, X25519PrivateKey.from_private_bytes(expanded[64:])

    def _private(self) -> hpke.MLKEM768X25519PrivateKey:
        return hpke.MLKEM768X25519PrivateKey(*self._halves())


def seal(public: bytes, *, info: bytes, plaintext: bytes) -> bytes:
    """Seal `plaintext` to a 1,216-byte public key; the answer is 1,136 bytes longer.

    `info` says what the envelope is for; it is not in the envelope, and opening needs the same bytes.

    Raises:
        KeyMaterialInvalid: the public key is not one.
        EngineMissing: the installed OpenSSL has no ML-KEM.
    """
    try:
        key = hpke.MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC_BYTES]),
            X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC_BYTES:]),
        )
        return _suite().encrypt(plaintext, key, info=info)
    except UnsupportedAlgorithm:
        raise EngineMissing(_NO_MLKEM, hint=_NO_MLKEM_HINT) from None
    except ValueError:  # Another length, out-of-range coefficients, or an X25519 point of small order.
        raise KeyMaterialInvalid("the recipient's public key is not a valid key", got=len(public)) from None


def open_(key: RecipientKey, *, info: bytes, sealed: bytes) -> bytes:
    """Open an envelope that was sealed to `key` with the same `info`.

    Raises:
        EnvelopeMalformed: another key, another `info`, or altered bytes; which one cannot be told.
    """
    try:
        return _suite().decrypt(sealed, key._private(), info=info)
    except InvalidTag:
        raise EnvelopeMalformed(
            "the envelope cannot be opened with this key and header",
            hint="check that it was sealed to this member's present key",
        ) from None


def epoch_info(chain_id: int, directory: bytes, domain: int, epoch: int, member_id: int) -> bytes:
    """Return the HPKE `info` of an epoch envelope: bound to one chain, domain, epoch and member.

    Layout: "deltaseal/v1 epoch key" 0x00 | chain id 8 | Directory 20 | domain 2 | epoch 2 | member id 4.

    Raises:
        KeyMaterialInvalid: a number is out of range, or the address not 20 bytes.
    """
    if len(directory) != 20:
        raise KeyMaterialInvalid("a Directory address has 20 bytes", got=len(directory))
    try:
        return b"".join(
            [
                _EPOCH_INFO,
                chain_id.to_bytes(8, "big"),
                directory,
                domain.to_bytes(2, "big"),
                epoch.to_bytes(2, "big"),
                member_id.to_bytes(4, "big"),
            ]
        )
    except OverflowError:
        raise KeyMaterialInvalid("a chain id, domain, epoch or member id is out of range") from None


def _suite() -> hpke.Suite:
    return hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
