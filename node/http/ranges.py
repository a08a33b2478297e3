"""The Range header, one range of bytes (RFC 9110 §14.2).

Several ranges and other units are answered with the whole, as the RFC allows: parsing many has been a way to make
servers work for ever. Must not import FastAPI; of Starlette its exception only.
"""

from __future__ import annotations

import re

from starlette.exceptions import HTTPException

_RANGE = re.compile(r"bytes=(\d{1,18})?-(\d{1,18})?", re.ASCII)


def parse_range(header: str | None, size: int) -> tuple[int, int]:
    """Return the first and last byte (inclusive) to send of `size` bytes.

    Raises:
        HTTPException: 416, the range begins beyond the end.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or (match[1] is None and match[2] is None):
        return 0, size - 1
    if match[1] is None:
        # The last none of the bytes cannot be sent (RFC 9110 §14.1.2).
        first, last = max(size - int(match[2]), 0), size - 1
    else:
        first = int(match[1])
        last = min(int(match[2]), size - 1) if match[2] else size - 1
    if first >= size or last < first:
        raise HTTPException(416, headers={"Content-Range": f"bytes */{size}"})
    return first, last
