"""The release request and answer: their fields, EIP-712 types, JSON forms and hashes. Pure.

Spec page: docs/reference/release.md. The peer is hostile: everything here parses strictly and raises one error.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from anchor.canonical import canonical_bytes, nests_within
from anchor.chain.deploy import Deployment
from anchor.signer import Signer, recover_typed, typed_domain
from node.errors import ReleaseMalformed

Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
Hex16 = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]
Signature = Annotated[str, Meta(pattern=r"^[0-9a-f]{130}$")]
Base64 = Annotated[str, Meta(max_length=8192)]

REQUEST_TYPES = {
    "ReleaseRequest": [
        {"name": "requester", "type": "uint32"},
        {"name": "audience", "type": "uint32"},
        {"name": "agency", "type": "string"},
        {"name": "commitment", "type": "bytes32"},
        {"name": "typeCode", "type": "string"},
        {"name": "subjectTag", "type": "bytes16"},
        {"name": "matterCode", "type": "string"},
        {"name": "reqId", "type": "string"},
        {"name": "scenarioCode", "type": "string"},
        {"name": "purpose", "type": "string"},
        {"name": "basis", "type": "string"},
        {"name": "grant", "type": "bytes32"},
        {"name": "caseTag", "type": "bytes16"},
        {"name": "deliver", "type": "string"},
        {"name": "hpkeKey", "type": "bytes"},
        {"name": "nonce", "type": "bytes32"},
        {"name": "issuedAt", "type": "uint64"},
        {"name": "expiresAt", "type": "uint64"},
    ]
}
ANSWER_TYPES = {
    "ReleaseAnswer": [
        {"name": "requestHash", "type": "bytes32"},
        {"name": "custodian", "type": "uint32"},
        {"name": "outcome", "type": "string"},
        {"name": "reason", "type": "string"},
        {"name": "commitment", "type": "bytes32"},
        {"name": "sealedHash", "type": "bytes32"},
        {"name": "size", "type": "uint64"},
        {"name": "decidedAt", "type": "uint64"},
    ]
}

NOTICE_TYPES = {
    "ErasureNotice": [
        {"name": "custodian", "type": "uint32"},
        {"name": "audience", "type": "uint32"},
        {"name": "commitment", "type": "bytes32"},
        {"name": "reasonCode", "type": "uint16"},
        {"name": "erasedAt", "type": "uint64"},
    ]
}

_TYPES = {**REQUEST_TYPES, **ANSWER_TYPES, **NOTICE_TYPES}


class ReleaseRequest(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """What a requester's member signs."""

    requester: Annotated[int, Meta(ge=1, le=0xFFFFFFFF)]
    audience: Annotated[int, Meta(ge=1, le=0xFFFFFFFF)]
    agency: Annotated[str, Meta(min_length=18, max_length=18)]
    commitment: Hex32
    type_code: Annotated[str, Meta(min_length=1, max_length=64)]
    subject_tag: Hex16
    matter_code: Annotated[str, Meta(min_length=1, max_length=64)]
    req_id: Annotated[str, Meta(min_length=1, max_length=64)]
    scenario_code: Annotated[str, Meta(min_length=1, max_length=64)]
    purpose: Annotated[str, Meta(min_length=1, max_length=256)]
    basis: Literal["duty", "grant"]
    grant: Hex32
    case_tag: Hex16
    deliver: Literal["facts", "bytes"]
    hpke_key: Base64
    nonce: Hex32
    issued_at: Annotated[int, Meta(ge=0, le=1 << 40)]
    expires_at: Annotated[int, Meta(ge=0, le=1 << 40)]


class SignedRequest(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A release request with the member's signature."""

    request: ReleaseRequest
    signature: Signature


class ReleaseAnswer(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """What the custodian's member signs before the first byte of the stream."""

    request_hash: Hex32
    custodian: Annotated[int, Meta(ge=1, le=0xFFFFFFFF)]
    outcome: Literal["released", "refused", "not_found", "pending"]
    reason: Annotated[str, Meta(max_length=64)]
    commitment: Hex32
    sealed_hash: Hex32
    size: Annotated[int, Meta(ge=0, le=1 << 48)]
    decided_at: Annotated[int, Meta(ge=0, le=1 << 40)]


class SignedAnswer(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """The head of a release stream; `checkpoint` is the custodian's (docs/reference/checkpoint.md)."""

    answer: ReleaseAnswer
    sealed_key: Base64
    signature: Signature
    checkpoint: dict[str, Any] | None = None


class ErasureNotice(Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """What a custodian's member signs to a member that received a document which it has erased."""

    custodian: Annotated[int, Meta(ge=1, le=0xFFFFFFFF)]
    audience: Annotated[int, Meta(ge=1, le=0xFFFFFFFF)]
    commitment: Hex32
    reason_code: Annotated[int, Meta(ge=1, le=0xFFFF)]
    erased_at: Annotated[int, Meta(ge=0, le=1 << 40)]


class SignedNotice(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A notice of erasure with the member's signature."""

    notice: ErasureNotice
    signature: Signature


_Message = TypeVar("_Message", SignedRequest, SignedAnswer, SignedNotice)


_SignedParts = tuple[dict[str, Any], dict[str, list[dict[str, str]]], str, dict[str, Any]]


def _signed_parts(
    value: ReleaseRequest | ReleaseAnswer | ErasureNotice, deployment: Deployment
) -> _SignedParts:
    """Return what is signed (EIP-712): domain, types, primary type, which is the name of the class, and message."""
    name = type(value).__name__
    fields = _TYPES[name]
    domain = typed_domain(deployment.chain_id, deployment.directory)
    return domain, {name: fields}, name, _message(value, fields)


def _message(
    value: ReleaseRequest | ReleaseAnswer | ErasureNotice, types: list[dict[str, str]]
) -> dict[str, Any]:
    plain = msgspec.to_builtins(value)
    message = {}
    for field in types:
        item = plain[field["name"]]
        if field["type"] in ("bytes32", "bytes16"):
            item = bytes.fromhex(item)
        elif field["type"] == "bytes":
            item = decode_base64(item)
        message[field["name"]] = item
    return message


def sign_request(request: ReleaseRequest, signer: Signer, deployment: Deployment) -> SignedRequest:
    """Sign a request with the member's key (EIP-712)."""
    return SignedRequest(request, signer.sign_typed(*_signed_parts(request, deployment)).hex())


def request_signer(signed: SignedRequest, deployment: Deployment) -> bytes:
    """Return the address that signed a request.

    Raises:
        SignatureInvalid: the signature is no signature.
    """
    return recover_typed(bytes.fromhex(signed.signature), *_signed_parts(signed.request, deployment))


def sign_answer(
    answer: ReleaseAnswer, sealed_key: bytes, signer: Signer, deployment: Deployment
) -> SignedAnswer:
    """Sign an answer with the custodian's member key (EIP-712)."""
    signature = signer.sign_typed(*_signed_parts(answer, deployment))
    return SignedAnswer(answer, encode_base64(sealed_key), signature.hex())


def answer_signer(signed: SignedAnswer, deployment: Deployment) -> bytes:
    """Return the address that signed an answer.

    Raises:
        SignatureInvalid: the signature is no signature.
    """
    return recover_typed(bytes.fromhex(signed.signature), *_signed_parts(signed.answer, deployment))


def sign_notice(notice: ErasureNotice, signer: Signer, deployment: Deployment) -> SignedNotice:
    """Sign a notice of erasure with the custodian's member key (EIP-712)."""
    return SignedNotice(notice, signer.sign_typed(*_signed_parts(notice, deployment)).hex())


def notice_signer(signed: SignedNotice, deployment: Deployment) -> bytes:
    """Return the address that signed a notice.

    Raises:
        SignatureInvalid: the signature is no signature.
    """
    return recover_typed(bytes.fromhex(signed.signature), *_signed_parts(signed.notice, deployment))


def request_hash(request: ReleaseRequest) -> bytes:
    """Return SHA-256 of the request's RFC 8785 form: the name under which both sides keep the exchange."""
    return hashlib.sha256(canonical_bytes(msgspec.to_builtins(request))).digest()


def parse_request(body: bytes) -> SignedRequest:
    """Parse a signed request.

    Raises:
        ReleaseMalformed: not one; what is wrong is not repeated.
    """
    return _parse(body, SignedRequest)


def parse_answer(body: bytes) -> SignedAnswer:
    """Parse the head of a release stream.

    Raises:
        ReleaseMalformed: not one.
    """
    return _parse(body, SignedAnswer)


def parse_notice(body: bytes) -> SignedNotice:
    """Parse a notice of erasure.

    Raises:
        ReleaseMalformed: not one.
    """
    return _parse(body, SignedNotice)


def render(message: SignedRequest | SignedAnswer | SignedNotice) -> bytes:
    """Render a signed message as JSON."""
    return msgspec.json.encode(message)


def _parse(body: bytes, kind: type[_Message]) -> _Message:
    try:
        if not nests_within(body, 4):
            raise msgspec.DecodeError
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ReleaseMalformed("a release message breaks docs/reference/release.md") from None


def encode_base64(raw: bytes) -> str:
    """Encode bytes as standard base64."""
    return base64.b64encode(raw).decode()


def decode_base64(text: str) -> bytes:
    """Decode standard base64.

    Raises:
        ReleaseMalformed: it is not.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ReleaseMalformed("a release message holds broken base64") from None
