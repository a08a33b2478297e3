"""Unpadded base64url, the text form of our own bytes in JSON (RFC 4648 §5 and §3.5).

One text for one string of bytes: padding, white space, other alphabets and set spare bits are refused,
because receipts are compared and hashed as text. Imports only `anchor.errors`.
"""

import base64
import binascii

from anchor.errors import Base64urlMalformed

# "-_" to "+/", and "+/" and padding to what no decoder takes.
_TO_STANDARD = bytes.maketrans(b"-_+/=", b"+/...")
_PADDING = (b"", b"", b"==", b"=")
# By the length of the last group: what its last character may be, so that no spare bit is set.
_LAST = ((), (), tuple("AQgw"), tuple("AEIMQUYcgkosw048"))


def render_base64url(raw: bytes) -> str:
    """Render bytes as base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def parse_base64url(text: object, *, length: int | None = None) -> bytes:
    """Parse the one base64url form of some bytes; `length` is the count that they must have.

    Raises:
        Base64urlMalformed: not text, not the canonical form, or another length.
    """
    if not isinstance(text, str) or not text.isascii():
        raise Base64urlMalformed("not base64url text", hint="use A-Z a-z 0-9 - _ without padding")
    last = len(text) & 3
    try:
        raw = binascii.a2b_base64(
            text.encode("ascii").translate(_TO_STANDARD) + _PADDING[last], strict_mode=True
        )
    except binascii.Error:
        raise Base64urlMalformed("not base64url text", hint="use A-Z a-z 0-9 - _ without padding") from None
    if last and not text.endswith(_LAST[last]):
        raise Base64urlMalformed("base64url text is not in its one canonical form", hint="drop padding")
    if length is not None and len(raw) != length:
        raise Base64urlMalformed("base64url text has another length", expected=length, got=len(raw))
    return raw
