"""RFC 3161 time stamps over a batch's root: a second opinion on when, from outside the consortium.

Pure: the token and the roots that the reader trusts go in, a time or an error comes out. The token's imprint is
SHA-256 over the 32-byte root of the batch. Spec page: docs/reference/time-stamp.md.

The library for RFC 3161 is loaded where a stamp is read: most receipts have none, and every command would pay for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from anchor.errors import DeltasealError

if TYPE_CHECKING:
    from datetime import datetime

    from cryptography.x509 import Certificate
    from rfc3161_client import TimeStampResponse

MAX_TOKEN_BYTES: Final = 16 << 10
_SHA256: Final = "2.16.840.1.101.3.4.2.1"
_GRANTED: Final = bytes.fromhex("3003020100")  # PKIStatusInfo { status granted(0) }, RFC 3161 §2.4.2.


_Found = TypeVar("_Found")


class TimestampInvalid(DeltasealError):
    """A time-stamp token that is none, or that stamps something else."""

    code = "timestamp_invalid"


@dataclass(frozen=True, slots=True)
class Stamp:
    """When an authority saw a batch's root. `trusted` says whether a root that the reader trusts stands behind it."""

    time: datetime
    trusted: bool


def verify_timestamp(token: bytes, batch_root: bytes, roots: Sequence[Certificate]) -> Stamp:
    """Verify a DER TimeStampToken over `batch_root`; without one of `roots` behind it the stamp is untrusted.

    Raises:
        TimestampInvalid: it is no token, or is over another root.
    """
    response, found = _read(token)
    if (found.algorithm, found.imprint) != (_SHA256, hashlib.sha256(batch_root).digest()):
        raise TimestampInvalid("the time stamp is over something else than the batch", step="imprint")
    return Stamp(found.time, _is_trusted(response, batch_root, roots))


def token_of_response(raw: bytes) -> bytes:
    """Return the token of an authority's answer, a DER TimeStampResp.

    Raises:
        TimestampInvalid: it is none, or the authority refused.
    """
    response, found = _decode(raw)
    if response.status != 0:
        raise TimestampInvalid("the time-stamping authority refused", step="status")
    _read(found.token)
    return found.token


@dataclass(frozen=True, slots=True)
class _Parts:
    """What counts of a token, taken out of the library's lazy objects."""

    token: bytes
    algorithm: str
    imprint: bytes
    time: datetime


def _is_trusted(response: TimeStampResponse, batch_root: bytes, roots: Sequence[Certificate]) -> bool:
    if not roots:
        return False
    from rfc3161_client import VerifierBuilder

    verifier = VerifierBuilder(roots=list(dict.fromkeys(roots))).build()
    try:
        return _guarded(lambda: verifier.verify_message(response, batch_root))
    except TimestampInvalid:
        return False


def _read(token: bytes) -> tuple[TimeStampResponse, _Parts]:
    if not 0 < len(token) <= MAX_TOKEN_BYTES:
        raise TimestampInvalid("a time-stamp token is empty or too long", limit=MAX_TOKEN_BYTES)
    body = _GRANTED + token
    return _decode(b"\x30" + _length(len(body)) + body)


def _decode(raw: bytes) -> tuple[TimeStampResponse, _Parts]:
    from rfc3161_client import decode_timestamp_response

    response = _guarded(lambda: decode_timestamp_response(raw))
    return response, _guarded(lambda: _parts(response))


def _parts(response: TimeStampResponse) -> _Parts:
    # Parsed lazily by the library: whatever is malformed inside must show here.
    stamped, _ = response.tst_info, response.signed_data
    imprint = stamped.message_imprint
    token = bytes(response.time_stamp_token())
    return _Parts(token, imprint.hash_algorithm.dotted_string, imprint.message, stamped.gen_time)


def _guarded(call: Callable[[], _Found]) -> _Found:
    """Call the library; whatever it raises about hostile bytes becomes this module's own error."""
    try:
        return call()
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException:  # noqa: BLE001 - the library is Rust: its panics are no `Exception`
        raise TimestampInvalid("this is no RFC 3161 time stamp that holds", step="form") from None


def _length(count: int) -> bytes:
    if count < 0x80:
        return bytes([count])
    octets = count.to_bytes((count.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets
