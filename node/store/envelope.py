"""Sealing of rows and keys: AES-256-GCM with random nonces. Page: docs/reference/stored-envelope.md.

Must not import plyvel. A random 96-bit nonce is safe below 2^32 seals under one key (NIST SP 800-38D §8.3);
the store counts its rows and stops before (`SEAL_LIMIT`).
"""

import hashlib
import hmac
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from node.errors import StoreDamaged

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
FORMAT: Final = b"\x01"
OVERHEAD_BYTES: Final = len(FORMAT) + NONCE_BYTES + TAG_BYTES
# A margin of 2^24 below the bound of SP 800-38D covers counts that a power cut took with unsynced rows.
SEAL_LIMIT: Final = 2**32 - 2**24

_SALT: Final = b"deltaseal/store/v1"


def derive_key(secret: bytes, purpose: bytes) -> bytes:
    """Derive the 32-byte key for one `purpose` from a 32-byte `secret` (HKDF-SHA-256, RFC 5869)."""
    return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=_SALT, info=purpose).derive(secret)


class RowSeal:
    """Seals the values of one store; the row's own key is associated data, so rows cannot be swapped."""

    def __init__(self, store_key: bytes) -> None:
        """Derive the row key and the head key from the 32-byte `store_key`."""
        if len(store_key) != KEY_BYTES:
            raise ValueError("a store key has 32 bytes")
        self._rows = AESGCM(derive_key(store_key, b"row"))
        self._head_key = derive_key(store_key, b"head")

    def seal(self, key: bytes, value: bytes) -> bytes:
        """Return format 1 ‖ nonce 12 ‖ ciphertext ‖ tag 16."""
        nonce = os.urandom(NONCE_BYTES)
        return FORMAT + nonce + self._rows.encrypt(nonce, value, FORMAT + key)

    def open(self, key: bytes, sealed: bytes) -> bytes:
        """Return the value sealed for `key`. Raises StoreDamaged (fact: row = kind)."""
        try:
            return _open(self._rows, sealed, FORMAT + key)
        except InvalidTag:
            raise damaged_row(key) from None

    def authenticate(self, content: bytes) -> bytes:
        """Return the 32-byte HMAC-SHA-256 of `content` under the head key."""
        return hmac.digest(self._head_key, content, hashlib.sha256)


def wrap_key(kek: bytes, dek: bytes, aad: bytes) -> bytes:
    """Wrap the key `dek` (any length) under the 32-byte `kek`, bound to `aad`; 29 bytes longer than `dek`."""
    nonce = os.urandom(NONCE_BYTES)
    return FORMAT + nonce + AESGCM(kek).encrypt(nonce, dek, FORMAT + aad)


def unwrap_key(kek: bytes, wrapped: bytes, aad: bytes) -> bytes:
    """Return the key in `wrapped`. Raises StoreDamaged if it, `kek` or `aad` is another."""
    try:
        return _open(AESGCM(kek), wrapped, FORMAT + aad)
    except InvalidTag:
        raise StoreDamaged(
            "a wrapped key does not open: it, its key epoch or its place was altered",
            hint="restore the store and the key folder from the same backup",
            row="wrapped_key",
        ) from None


def row_kind(key: bytes) -> str:
    """Return the kind of row a key belongs to: the word before its first slash."""
    word = key.split(b"/", 1)[0][:32]
    return word.decode("ascii") if word.isalnum() or word.replace(b"_", b"").isalnum() else "unknown"


def damaged_row(key: bytes) -> StoreDamaged:
    """Return the error for a row whose value is not what was sealed for its key."""
    kind = row_kind(key)
    return StoreDamaged(
        f"a stored row of kind {kind} was altered, swapped or sealed under another key",
        hint="stop the node, keep the folder as it is and restore the last verified backup",
        row=kind,
    )


def _open(cipher: AESGCM, sealed: bytes, aad: bytes) -> bytes:
    if len(sealed) < OVERHEAD_BYTES or sealed[:1] != FORMAT:
        raise InvalidTag
    nonce = sealed[1 : 1 + NONCE_BYTES]
    return cipher.decrypt(nonce, sealed[1 + NONCE_BYTES :], aad)
