"""A time-stamping authority for tests: an own root, one signing certificate, RFC 3161 answers over HTTP.

DER is written by hand here (X.690), so that nothing is shared with the library that verifies. Keys and serial numbers
follow from the name and signatures from the key (RFC 6979), so that vectors are the same whenever they are made.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

STAMPED_AT = datetime(2026, 11, 3, 2, 5, tzinfo=UTC)


def der(tag: int, *parts: bytes) -> bytes:
    """Encode a tag, the length and the parts."""
    body = b"".join(parts)
    if len(body) < 0x80:
        return bytes([tag, len(body)]) + body
    octets = len(body).to_bytes((len(body).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + body


def oid(dotted: str) -> bytes:
    """Encode an object identifier."""
    first, second, *rest = (int(each) for each in dotted.split("."))
    body = bytes([40 * first + second])
    for number in rest:
        groups = [number & 0x7F]
        while number := number >> 7:
            groups.append(0x80 | number & 0x7F)
        body += bytes(reversed(groups))
    return der(0x06, body)


def integer(number: int) -> bytes:
    """Encode a non-negative integer."""
    return der(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))


SHA256 = der(0x30, oid("2.16.840.1.101.3.4.2.1"), der(0x05))
ECDSA_SHA256 = der(0x30, oid("1.2.840.10045.4.3.2"))
TST_INFO = "1.2.840.113549.1.9.16.1.4"


def attribute(name: str, value: bytes) -> bytes:
    """Encode a signed attribute with one value."""
    return der(0x30, oid(name), der(0x31, value))


@dataclass
class Authority:
    """An authority with a root of its own; `stamp` gives a token, `answer` a whole response."""

    root: x509.Certificate
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def create(cls, name: str = "test", *, usage: Any = ExtendedKeyUsageOID.TIME_STAMPING) -> Authority:
        """Make root and certificate; `usage` is what the certificate may be used for."""
        names = [f"{name} {part}" for part in ("root", "tsa")]
        root_key, key = (ec.derive_private_key(_number(each), ec.SECP256R1()) for each in names)
        root_name, leaf_name = map(_name, names)
        root = _build(root_name, root_name, root_key).add_extension(
            x509.BasicConstraints(ca=True, path_length=1), critical=True
        )
        leaf = _build(leaf_name, root_name, key)
        leaf = leaf.add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
        leaf = leaf.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        signed = [each.sign(root_key, hashes.SHA256(), ecdsa_deterministic=True) for each in (root, leaf)]
        return cls(signed[0], signed[1], key)

    def stamp(self, imprint: bytes, *, nonce: int | None = None, at: datetime = STAMPED_AT) -> bytes:
        """Return the DER TimeStampToken over a SHA-256 imprint (RFC 3161 §2.4.2, RFC 5652)."""
        parts = [integer(1), oid("1.3.6.1.4.1.32473.1"), der(0x30, SHA256, der(0x04, imprint)), integer(42)]
        parts.append(der(0x18, at.strftime("%Y%m%d%H%M%SZ").encode()))
        parts += [integer(nonce)] if nonce is not None else []
        info = der(0x30, *parts)
        certificate = self.certificate.public_bytes(Encoding.DER)
        essential = der(0x30, der(0x30, der(0x30, der(0x04, hashlib.sha256(certificate).digest()))))
        attributes = sorted(
            [
                attribute("1.2.840.113549.1.9.3", oid(TST_INFO)),
                attribute("1.2.840.113549.1.9.4", der(0x04, hashlib.sha256(info).digest())),
                attribute("1.2.840.113549.1.9.16.2.47", essential),
            ]
        )
        signature = self.key.sign(
            der(0x31, *attributes), ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
        )
        issuer = self.certificate.issuer.public_bytes()
        signer = der(
            0x30,
            *(integer(1), der(0x30, issuer, integer(self.certificate.serial_number)), SHA256),
            *(der(0xA0, *attributes), ECDSA_SHA256, der(0x04, signature)),
        )
        signed = der(
            0x30,
            *(integer(3), der(0x31, SHA256), der(0x30, oid(TST_INFO), der(0xA0, der(0x04, info)))),
            *(der(0xA0, certificate), der(0x31, signer)),
        )
        return der(0x30, oid("1.2.840.113549.1.7.2"), der(0xA0, signed))

    def answer(self, imprint: bytes, nonce: int | None = None) -> bytes:
        """Return a granted TimeStampResp."""
        return der(0x30, der(0x30, integer(0)), self.stamp(imprint, nonce=nonce))


def _number(name: str) -> int:
    """Return a positive number of at most 160 bits."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:20]) | 1


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _build(name: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(_number(f"serial {name.rfc4514_string()}") >> 1)
        .not_valid_before(STAMPED_AT - timedelta(days=365))
        .not_valid_after(STAMPED_AT + timedelta(days=3650))
    )


class Answering(Protocol):
    """What `serving` serves: whole answers to the imprint and nonce of a request."""

    def answer(self, imprint: bytes, nonce: int | None = None) -> bytes: ...


@contextmanager
def serving(authority: Answering) -> Iterator[tuple[str, list[bytes]]]:
    """Serve the authority on a free loopback port; yield its address and the requests that came."""
    asked: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            asked.append(body)
            at = body.index(b"\x04\x20") + 2  # The imprint: the one octet string of 32 bytes.
            nonce = (
                int.from_bytes(body[at + 34 : at + 34 + body[at + 33]])
                if body[at + 32 : at + 33] == b"\x02"
                else None
            )
            answer = authority.answer(body[at : at + 32], nonce)
            self.send_response(200)
            self.send_header("content-type", "application/timestamp-reply")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
