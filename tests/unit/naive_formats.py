"""The wire formats once more, written from docs/reference alone and as plainly as possible.

It shares no line with `anchor`: only hashlib, hmac, json, struct and the AES block function. Tests compare
the two; a mistake would have to be made twice in the same way to pass.
"""

import hashlib
import hmac
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def jcs(value: Any) -> bytes:
    """RFC 8785 for values without floats: keys by UTF-16 units, no spaces, no escapes but the needed ones."""
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return b"{" + b",".join(jcs(key) + b":" + jcs(value[key]) for key in keys) + b"}"
    if isinstance(value, list | tuple):
        return b"[" + b",".join(jcs(item) for item in value) + b"]"
    return json.dumps(value, ensure_ascii=False).encode()


def tree_head(leaf_hashes: Sequence[bytes]) -> bytes:
    """RFC 6962 §2.1, the recursive definition word for word, on hashed leaves."""
    if not leaf_hashes:
        return sha256()
    if len(leaf_hashes) == 1:
        return leaf_hashes[0]
    k = 1
    while k * 2 < len(leaf_hashes):
        k *= 2
    return sha256(b"\x01", tree_head(leaf_hashes[:k]), tree_head(leaf_hashes[k:]))


def audit_path(m: int, leaf_hashes: Sequence[bytes]) -> list[bytes]:
    """RFC 6962 §2.1.1, PATH(m, D[n])."""
    if len(leaf_hashes) == 1:
        return []
    k = 1
    while k * 2 < len(leaf_hashes):
        k *= 2
    if m < k:
        return [*audit_path(m, leaf_hashes[:k]), tree_head(leaf_hashes[k:])]
    return [*audit_path(m - k, leaf_hashes[k:]), tree_head(leaf_hashes[:k])]


def commitment(fields: Mapping[str, Any], salt_key: bytes) -> bytes:
    leaves = []
    for name in sorted(fields, key=str.encode):
        salt = hmac.new(salt_key, name.encode(), hashlib.sha256).digest()
        leaves.append(sha256(b"\x00", salt, jcs([name, fields[name]])))
    return tree_head(leaves)


def hkdf(secret: bytes, info: bytes) -> bytes:
    """RFC 5869 with the salt of this system; one block is all that 32 bytes need."""
    extracted = hmac.new(b"deltaseal/v1", secret, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


def domain_key(purpose: bytes, domain: int, epoch: int, secret: bytes) -> bytes:
    return hkdf(secret, purpose + struct.pack(">HH", domain, epoch))


def tag(tag_key: bytes, context: bytes, value: Any) -> bytes:
    return hmac.new(tag_key, context + b"\x00" + jcs(value), hashlib.sha256).digest()[:16]


def mask(mask_key: bytes, committed: bytes, domain: int, epoch: int, line: int, body: bytes) -> bytes:
    """AES-256-CTR from the block function: NIST SP 800-38A §6.5, a 128-bit big-endian counter."""
    block = Cipher(algorithms.AES256(mask_key), modes.ECB()).encryptor()  # noqa: S305
    counter = int.from_bytes(sha256(committed, struct.pack(">HHB", domain, epoch, line))[:16], "big")
    stream = b""
    while len(stream) < len(body):
        stream += block.update(counter.to_bytes(16, "big"))
        counter = (counter + 1) % 2**128
    return bytes(a ^ b for a, b in zip(body, stream, strict=False))


def record(fields: Mapping[str, Any], member_id: int, secret: bytes) -> tuple[bytes, bytes]:
    """Record and record id from the JSON form that the vectors use."""
    kind, place = fields["format"], (fields["domain"], fields["epoch"], fields["line"])
    committed = bytes.fromhex(fields["commitment"])
    if kind == 3:
        body = struct.pack(">QQ42x", fields["sequence"], fields["count"])
    else:
        tags = b"".join(bytes.fromhex(each) for each in fields["tags"])
        days = [days_since_1970(each) for each in fields["dates"]]
        body = tags + (
            struct.pack(">IIBx", *days, fields["flags"]) if kind == 1 else struct.pack(">I6x", *days)
        )
    key = domain_key(b"mask", *place[:2], secret)
    encoded = committed + struct.pack(">HHBB", *place, kind) + mask(key, committed, *place, body)
    return encoded, sha256(b"\x00", struct.pack(">I", member_id), encoded)


def days_since_1970(text: str | None) -> int:
    """Count the days of the proleptic Gregorian calendar by hand, without datetime."""
    if text is None:
        return 0
    year, month, day = (int(part) for part in text.split("-"))
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    lengths = [31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    before = year - 1
    whole_years = 365 * before + before // 4 - before // 100 + before // 400
    return whole_years + sum(lengths[: month - 1]) + day - 1 - 719162  # Days from 0001-01-01 to 1970-01-01.


def entry(fields: Mapping[str, Any]) -> tuple[bytes, bytes]:
    head = struct.pack(
        ">QIBQI", fields["id"], fields["memberId"], fields["stream"], fields["seq"], fields["size"]
    )
    encoded = head + bytes.fromhex(fields["root"]) + struct.pack(">Q", fields["time"])
    return encoded, sha256(b"\x00", encoded)
