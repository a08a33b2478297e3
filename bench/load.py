"""A closed-loop HTTP client: some connections, each sends its next request when its answer is complete.

One thread and raw sockets, so that the client costs less than the server it measures. On Linux every
connection has a loopback address of its own: a node gives each address a share, which is no part of a figure.
"""

from __future__ import annotations

import json
import re
import selectors
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

CONNECTIONS = 16
TIMEOUT_S = 60.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class LoadFailed(Exception):
    """An answer was not the expected one; the figure would be of something else."""


@dataclass(slots=True)
class _Line:
    """One connection and what has come of its answer."""

    socket: socket.socket
    received: bytearray = field(default_factory=bytearray)


def render_request(method: str, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Return the bytes of a request with its length and a host."""
    named = {"host": "127.0.0.1", "content-length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def json_request(path: str, value: object, *, key: str) -> bytes:
    """Return a POST of JSON with an API key."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    return render_request("POST", path, json.dumps(value, ensure_ascii=False).encode(), headers)


def answer_size(received: bytes | bytearray) -> int | None:
    """Return how long the answer at the front of `received` is in all; None while its head is not complete.

    Raises:
        LoadFailed: it names no length.
    """
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    found = _LENGTH.search(received, 0, end + 2)
    if found is None:
        raise LoadFailed("an answer has no content-length")
    return end + 4 + int(found.group(1))


def send_all(
    url: str, requests: Sequence[bytes], *, status: int, connections: int = CONNECTIONS
) -> tuple[float, bytes]:
    """Send every request once; return the seconds from first byte to last answer, and the last answer's bytes.

    Raises:
        LoadFailed: an answer has another status.
    """
    lines = _connect(url, min(connections, len(requests)))
    try:
        started = time.perf_counter()
        last = _drive(lines, iter(requests), f"HTTP/1.1 {status} ".encode())
        return time.perf_counter() - started, last
    finally:
        for line in lines:
            line.socket.close()


def rate(url: str, requests: Sequence[bytes], *, status: int, connections: int = CONNECTIONS) -> float:
    """Return requests a second."""
    seconds, _ = send_all(url, requests, status=status, connections=connections)
    return len(requests) / seconds


def _connect(url: str, count: int) -> list[_Line]:
    parts = urlsplit(url)
    lines = []
    for number in range(count):
        source = (f"127.0.0.{10 + number}", 0) if sys.platform == "linux" else None
        opened = socket.create_connection((parts.hostname or "", parts.port or 80), TIMEOUT_S, source)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        lines.append(_Line(opened))
    return lines


def _drive(lines: Sequence[_Line], requests: Iterator[bytes], expected: bytes) -> bytes:
    last = b""
    with selectors.DefaultSelector() as selector:
        for line in lines:
            selector.register(line.socket, selectors.EVENT_READ, line)
            line.socket.sendall(next(requests))
        open_ = len(lines)
        while open_:
            ready = selector.select(TIMEOUT_S)
            if not ready:
                raise LoadFailed("no answer came in time")
            for key, _ in ready:
                answer = _receive(key.data, expected)
                if answer is None:
                    continue
                last = answer
                following = next(requests, None)
                if following is None:
                    open_ -= 1
                else:
                    key.data.socket.sendall(following)
    return last


def _receive(line: _Line, expected: bytes) -> bytes | None:
    """Read once; return the answer if it is complete now."""
    piece = line.socket.recv(1 << 18)
    if not piece:
        raise LoadFailed("the server closed a connection")
    line.received += piece
    size = answer_size(line.received)
    if size is None or len(line.received) < size:
        return None
    answer = bytes(line.received)
    line.received.clear()
    if not answer.startswith(expected):
        raise LoadFailed(f"unexpected answer: {answer[:300].decode('utf-8', 'replace')}")
    return answer
