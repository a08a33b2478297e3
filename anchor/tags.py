"""Keyed pseudonyms and masks of a tag domain, and nullifiers (docs/reference/tags.md).

A tag lets members that hold a domain's key find records of a subject, document or file; to anyone else it
is a random string. Keys of one epoch derive from one 32-byte secret by HKDF (RFC 5869). Imports
`anchor.{canonical,commitments,errors}`; no store, no network.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NewType

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from anchor.canonical import canonical_bytes
from anchor.commitments import Commitment
from anchor.errors import KeyMaterialInvalid

Tag = NewType("Tag", bytes)

TAG_BYTES: Final = 16
MASKED_BYTES: Final = 58
ZERO_TAG: Final = Tag(bytes(TAG_BYTES))
_HKDF_SALT: Final = b"deltaseal/v1"
_SECRET_BYTES: Final = 32
_INNER_PAD: Final = bytes(each ^ 0x36 for each in range(256))
_OUTER_PAD: Final = bytes(each ^ 0x5C for each in range(256))
_PLAIN: Final = re.compile(r"[ !#-\[\]-~]*")  # Text that JSON writes as it is (RFC 8785 §3.2.2.2).


class _Keyed:
    """HMAC-SHA-256 under one key, whose two blocks are hashed once (RFC 2104 §4); twice as fast as one-shot calls.

    Any number of threads may share it.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = key.ljust(hashlib.sha256().block_size, b"\0")
        self._inner = hashlib.sha256(block.translate(_INNER_PAD))
        self._outer = hashlib.sha256(block.translate(_OUTER_PAD))

    def digest(self, message: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()


@dataclass(frozen=True, slots=True)
class DomainKeys:
    """The tag and mask keys (32 bytes each) of one epoch (1..65535) of one domain (1..65535)."""

    domain: int
    epoch: int
    tag_key: bytes = field(repr=False)
    mask_key: bytes = field(repr=False)
    _keyed: _Keyed = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepare the tag key."""
        object.__setattr__(self, "_keyed", _Keyed(self.tag_key))

    def subject_tag(self, id_type: str, subject_id: str, type_code: str) -> Tag:
        """Tag a subject under one material type, so that records of two types cannot be linked by it."""
        return self._tag(b"subject", [id_type, subject_id, type_code])

    def content_tag(self, sha256: bytes) -> Tag:
        """Tag the bytes of a file by their 32-byte SHA-256 digest."""
        # Hexadecimal digits are their own canonical form.
        return Tag(self._keyed.digest(b'content\0"' + sha256.hex().encode() + b'"')[:TAG_BYTES])

    def doc_tag(self, type_code: str, document_no: str) -> Tag:
        """Tag a document by its type and the number that its issuer printed on it."""
        return self._tag(b"document", [type_code, document_no])

    def material_tag(self, commitment: Commitment) -> Tag:
        """Tag a material by its commitment, for REUSE records."""
        return self._tag(b"material", commitment.hex())

    def case_tag(self, case_no: str) -> Tag:
        """Tag a case by its number."""
        return self._tag(b"case", case_no)

    def party_tag(self, agency: str) -> Tag:
        """Tag an agency by its USCC."""
        return self._tag(b"party", agency)

    def mask(self, commitment: Commitment, line: int, body: bytes) -> bytes:
        """Mask or unmask the 58-byte body of a record: AES-256-CTR, its own inverse.

        Raises:
            KeyMaterialInvalid: the body is not 58 bytes, or the line not 0..255.
        """
        if len(body) != MASKED_BYTES or not 0 <= line <= 255:
            raise KeyMaterialInvalid("a mask covers 58 bytes of line 0 to 255", got=len(body))
        # The commitment is random and `line` counts within it, so an IV never comes twice under a key.
        place = self.domain.to_bytes(2, "big") + self.epoch.to_bytes(2, "big") + bytes([line])
        nonce = hashlib.sha256(commitment + place).digest()[:16]
        cipher = Cipher(algorithms.AES256(self.mask_key), modes.CTR(nonce)).encryptor()
        return cipher.update(body) + cipher.finalize()

    def _tag(self, context: bytes, value: str | Sequence[str]) -> Tag:
        return Tag(self._keyed.digest(context + b"\0" + _canonical(value))[:TAG_BYTES])


@dataclass(frozen=True, slots=True)
class ConsumeKey:
    """The key of a domain's nullifiers. It never rotates: a document must not count again after a change."""

    domain: int
    key: bytes = field(repr=False)

    def nullifier(self, type_code: str, document_no: str, fund: str) -> bytes:
        """Return the 32-byte nullifier of one document for one fund.

        Raises:
            ValueNotCanonical: text that is not NFC.
        """
        return hmac.digest(self.key, b"nullifier\0" + _canonical([type_code, document_no, fund]), "sha256")


def derive_domain_keys(domain: int, epoch: int, secret: bytes) -> DomainKeys:
    """Derive the keys of one epoch from its 32-byte secret. Source: RFC 5869.

    Raises:
        KeyMaterialInvalid: domain or epoch is not 1..65535, or the secret not 32 bytes.
    """
    _require_place("domain", domain)
    _require_place("epoch", epoch)
    place = domain.to_bytes(2, "big") + epoch.to_bytes(2, "big")
    return DomainKeys(domain, epoch, _derive(secret, b"tag" + place), _derive(secret, b"mask" + place))


def derive_consume_key(domain: int, secret: bytes) -> ConsumeKey:
    """Derive a domain's consume key from the 32-byte secret that its epoch 0 carries. Source: RFC 5869.

    Raises:
        KeyMaterialInvalid: the domain is not 1..65535, or the secret not 32 bytes.
    """
    _require_place("domain", domain)
    return ConsumeKey(domain, _derive(secret, b"consume" + domain.to_bytes(2, "big")))


def _derive(secret: bytes, purpose: bytes) -> bytes:
    if len(secret) != _SECRET_BYTES:
        raise KeyMaterialInvalid("a domain secret has 32 bytes", got=len(secret))
    return HKDF(algorithm=SHA256(), length=32, salt=_HKDF_SALT, info=purpose).derive(secret)


def _canonical(value: str | Sequence[str]) -> bytes:
    """As `canonical_bytes`; ids, codes and digests are their own canonical form, which saves the encoder."""
    if isinstance(value, str):
        return f'"{value}"'.encode() if _PLAIN.fullmatch(value) else canonical_bytes(value)
    text = '","'.join(value)
    # As `_PLAIN`, of all parts at once: no quote but those just put in.
    plain = text.isascii() and text.isprintable() and "\\" not in text
    if value and plain and text.count('"') == 2 * len(value) - 2:
        return f'["{text}"]'.encode()
    return canonical_bytes(value)


def _require_place(name: str, value: int) -> None:
    if not 1 <= value <= 0xFFFF:
        raise KeyMaterialInvalid(f"a {name} is a number from 1 to 65535", got=value)
