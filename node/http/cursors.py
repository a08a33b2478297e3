"""Page cursors: opaque, signed, and good only for the route and filter they were issued for.

A cursor carries the position after which the next page starts. It is signed and not secret, so a position
never holds personal data. Must not import FastAPI or the store.
Spec page: docs/reference/http-conventions.md "Pages".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from node.http.errors import CursorInvalid

MAX_CURSOR_CHARS = 512
_VERSION = b"\x01"
_MAC_BYTES = 16


def encode_cursor(key: bytes, position: bytes, *, scope: str) -> str:
    """Return `position` (≤ 256 bytes) as a cursor bound to `scope`, the route and filters of the listing."""
    framed = _VERSION + position
    token = base64.urlsafe_b64encode(framed + _mac(key, framed, scope)).rstrip(b"=").decode("ascii")
    if len(token) > MAX_CURSOR_CHARS:
        raise CursorInvalid("the position is too long for a cursor", hint="shorten the listing's key")
    return token


def decode_cursor(key: bytes, cursor: str, *, scope: str) -> bytes:
    """Return the position in `cursor`.

    Raises:
        CursorInvalid: malformed, altered, of another node, or issued for another route or filter.
    """
    framed, mac = _split(cursor)
    if framed[:1] != _VERSION or not hmac.compare_digest(mac, _mac(key, framed, scope)):
        raise _invalid()
    return framed[1:]


def cursor_scope(route: str, **filters: str | int | None) -> str:
    """Name a listing by its route and filters; two listings share a cursor only if both are equal."""
    # repr quotes values, so no value can imitate the border to the next filter.
    return repr((route, sorted((name, value) for name, value in filters.items() if value is not None)))


def _split(cursor: str) -> tuple[bytes, bytes]:
    if not cursor or len(cursor) > MAX_CURSOR_CHARS or not cursor.isascii():
        raise _invalid()
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _invalid() from None
    # One spelling a cursor: base64 with stray trailing bits decodes too, and would be a second one.
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii") != cursor or len(raw) <= _MAC_BYTES:
        raise _invalid()
    return raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]


def _mac(key: bytes, framed: bytes, scope: str) -> bytes:
    message = b"deltaseal/cursor\x00" + hashlib.sha256(scope.encode("utf-8")).digest() + framed
    return hmac.new(key, message, hashlib.sha256).digest()[:_MAC_BYTES]


def _invalid() -> CursorInvalid:
    return CursorInvalid(
        "the cursor does not belong to this listing",
        hint="start again without a cursor, with the same filters",
    )
