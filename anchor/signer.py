"""A member's chain key: signs transactions and typed messages, and lives in an encrypted keystore file.

Transactions are type 0 with replay protection (EIP-155) and price 0; typed messages follow EIP-712.
Opens no connection. coincurve stands behind eth-keys: without it signing is 20 times slower.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import rlp
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_keys.constants import SECPK1_N
from eth_keys.datatypes import PrivateKey, Signature
from eth_keys.exceptions import BadSignature
from eth_utils.exceptions import ValidationError as KeyValidationError

from anchor.errors import KeystoreInvalid, SignatureInvalid
from anchor.keccak import keccak

ADDRESS_BYTES = 20
SIGNATURE_BYTES = 65
_SCRYPT_WORK = 1 << 17  # OWASP's floor for scrypt with r = 8, p = 1; about 0.3 s.
_HALF_ORDER = SECPK1_N // 2
_DOMAIN_FIELDS = {
    "name": "string",
    "version": "string",
    "chainId": "uint256",
    "verifyingContract": "address",
    "salt": "bytes32",
}

TypedFields: TypeAlias = Mapping[str, Sequence[Mapping[str, str]]]


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """A transaction ready to be sent: `raw` bytes and their Keccak-256 `hash`."""

    raw: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class ParsedTransaction:
    """What a raw type-0 transaction says; `to` is empty when it creates a contract."""

    chain_id: int
    nonce: int
    gas_price: int
    gas: int
    to: bytes
    value: int
    calldata: bytes


class Signer:
    """One secp256k1 key. Never shown: neither `repr` nor any error holds it."""

    __slots__ = ("_key", "address")  # No `__dict__` either, which a dump of an object would print.

    def __init__(self, key: PrivateKey) -> None:
        """Use `from_key`, `generate` or `load_keystore`."""
        self._key = key
        self.address: bytes = key.public_key.to_canonical_address()

    def __repr__(self) -> str:
        """Show the public address only."""
        return f"Signer(0x{self.address.hex()})"

    @classmethod
    def from_key(cls, key: bytes) -> "Signer":
        """Take a 32-byte private key. Raises KeystoreInvalid when it is not one."""
        if len(key) != 32 or not 0 < int.from_bytes(key) < SECPK1_N:
            raise KeystoreInvalid("a chain key is 32 bytes and below the order of secp256k1")
        return cls(PrivateKey(key))

    @classmethod
    def generate(cls) -> "Signer":
        """Make a new random key."""
        while True:
            key = os.urandom(32)
            if 0 < int.from_bytes(key) < SECPK1_N:
                return cls.from_key(key)

    def sign_transaction(
        self, *, chain_id: int, nonce: int, to: bytes | None, calldata: bytes, gas: int
    ) -> SignedTransaction:
        """Sign a type-0 transaction with price 0 and value 0; `to` None creates a contract (EIP-155)."""
        fields: list[int | bytes] = [nonce, 0, gas, to or b"", 0, calldata]
        digest = keccak(rlp.encode([*fields, chain_id, 0, 0]))
        signature = self._key.sign_msg_hash(digest)
        parity = chain_id * 2 + 35 + signature.v
        raw: bytes = rlp.encode([*fields, parity, signature.r, signature.s])
        return SignedTransaction(raw, keccak(raw))

    def sign_typed(
        self, domain: Mapping[str, Any], types: TypedFields, primary_type: str, message: Mapping[str, Any]
    ) -> bytes:
        """Sign a typed message (EIP-712). Returns r ‖ s ‖ v, 65 bytes, s low, v 27 or 28."""
        digest = typed_digest(domain, types, primary_type, message)
        signature = self._key.sign_msg_hash(digest)
        return bytes(signature.r.to_bytes(32) + signature.s.to_bytes(32) + bytes([27 + signature.v]))


def typed_domain(chain_id: int, directory: bytes) -> dict[str, Any]:
    """Return the EIP-712 domain of all that members sign: the consortium's chain and its Directory (20 bytes)."""
    return {
        "name": "Deltaseal",
        "version": "1",
        "chainId": chain_id,
        "verifyingContract": "0x" + directory.hex(),
    }


def typed_digest(
    domain: Mapping[str, Any], types: TypedFields, primary_type: str, message: Mapping[str, Any]
) -> bytes:
    """Return the 32 bytes that an EIP-712 signature signs. Raises SignatureInvalid when they do not fit `types`."""
    own = [{"name": name, "type": kind} for name, kind in _DOMAIN_FIELDS.items() if name in domain]
    try:
        signable = encode_typed_data(
            full_message={
                "types": {"EIP712Domain": own, **{name: list(fields) for name, fields in types.items()}},
                "primaryType": primary_type,
                "domain": dict(domain),
                "message": dict(message),
            }
        )
    except Exception as error:  # The library raises a dozen unrelated types for a value that does not fit.
        raise SignatureInvalid("the message does not fit its EIP-712 types") from error
    return keccak(b"\x19" + signable.version + signable.header + signable.body)


def recover_typed(
    signature: bytes,
    domain: Mapping[str, Any],
    types: TypedFields,
    primary_type: str,
    message: Mapping[str, Any],
) -> bytes:
    """Return the address (20 bytes) that made `signature` over this message.

    Raises SignatureInvalid: wrong length, v other than 27 or 28, r or s out of range, high s (two
    signatures of one message would both count), or not a point.
    """
    if len(signature) != SIGNATURE_BYTES or signature[64] not in (27, 28):
        raise SignatureInvalid("a signature is 65 bytes and ends with 27 or 28")
    r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:64])
    if not 0 < r < SECPK1_N or not 0 < s <= _HALF_ORDER:
        raise SignatureInvalid("a signature's r or s is out of range")
    digest = typed_digest(domain, types, primary_type, message)
    try:
        public = Signature(vrs=(signature[64] - 27, r, s)).recover_public_key_from_msg_hash(digest)
    except (BadSignature, KeyValidationError, ValueError) as error:
        raise SignatureInvalid("the signature recovers no key") from error
    return bytes(public.to_canonical_address())


def parse_transaction(raw: bytes) -> ParsedTransaction:
    """Parse a raw type-0 transaction strictly; the signer's key is not recovered.

    Raises SignatureInvalid: other types, no replay protection, high s, or not canonical RLP.
    """
    try:
        fields = rlp.decode(raw, strict=True)
        nonce, price, gas, to, value, calldata, v, r, s = fields
        numbers = [rlp.sedes.big_endian_int.deserialize(item) for item in (nonce, price, gas, value, v, r, s)]
    except (rlp.exceptions.RLPException, TypeError, ValueError) as error:
        raise SignatureInvalid("this is not a signed type-0 transaction") from error
    if len(to) not in (0, ADDRESS_BYTES) or not isinstance(calldata, bytes):
        raise SignatureInvalid("this is not a signed type-0 transaction")
    chain_id = (numbers[4] - 35) // 2
    if chain_id <= 0:
        raise SignatureInvalid("the transaction is not bound to a chain (EIP-155)")
    if not 0 < numbers[5] < SECPK1_N or not 0 < numbers[6] <= _HALF_ORDER:
        raise SignatureInvalid("the transaction's signature is out of range")
    return ParsedTransaction(chain_id, numbers[0], numbers[1], numbers[2], to, numbers[3], calldata)


def save_keystore(path: Path, signer: Signer, passphrase: str) -> None:
    """Write the key encrypted (Web3 Secret Storage v3, scrypt), mode 0600; never over another file.

    Raises KeystoreInvalid.
    """
    keystore = Account.encrypt(signer._key.to_bytes(), passphrase, kdf="scrypt", iterations=_SCRYPT_WORK)
    content = json.dumps(keystore, separators=(",", ":")).encode()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
    except FileExistsError as error:
        raise KeystoreInvalid("the keystore file exists already", hint="choose another file name") from error
    except OSError as error:
        raise KeystoreInvalid("the keystore file cannot be written", hint="check the folder") from error


def load_keystore(path: Path, passphrase: str) -> Signer:
    """Read a keystore file. Raises KeystoreInvalid: not there, not a keystore, or another passphrase."""
    try:
        keystore = json.loads(path.read_bytes())
        key = Account.decrypt(keystore, passphrase)
    except OSError as error:
        raise KeystoreInvalid("the keystore file cannot be read", hint="check its name and rights") from error
    except Exception as error:  # Any shape of a foreign file may fail anywhere inside the library.
        raise KeystoreInvalid(
            "the keystore cannot be opened: not a keystore, or another passphrase",
            hint="check the passphrase file",
        ) from error
    return Signer.from_key(bytes(key))
