"""Reading a body: never more than asked for, and a sender who goes away is a typed refusal."""

import asyncio

import pytest
from starlette.requests import Request
from starlette.types import Message

from node.http.errors import RequestMalformed, RequestTooLarge
from node.http.limits import read_body


def read(pieces: list[bytes], *, limit: int, gone: bool = False, length: str = "") -> tuple[bytes, int]:
    """Read a body that arrives in `pieces`; return it and how many pieces were left."""
    waiting = list(pieces)

    async def receive() -> Message:
        if not waiting:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": waiting.pop(0), "more_body": bool(waiting) or gone}

    headers = [(b"content-length", length.encode())] if length else []
    request = Request({"type": "http", "method": "POST", "path": "/", "headers": headers}, receive)
    try:
        return asyncio.run(read_body(request, limit=limit)), len(waiting)
    except RequestTooLarge:
        return b"too large", len(waiting)


def test_a_body_within_its_limit_is_read_whole() -> None:
    assert read([b"ab", b"", b"c"], limit=3) == (b"abc", 0)
    assert read([b""], limit=0) == (b"", 0)


def test_reading_stops_with_the_piece_that_goes_beyond_the_limit() -> None:
    assert read([b"ab"] * 10, limit=3) == (b"too large", 8)


def test_a_declared_length_beyond_the_limit_is_refused_unread() -> None:
    assert read([b"ab"], limit=3, length="4") == (b"too large", 1)


def test_a_sender_who_goes_away_is_a_typed_refusal() -> None:
    with pytest.raises(RequestMalformed):
        read([b"ab"], limit=3, gone=True)
