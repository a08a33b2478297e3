"""Uploads as a stream: a small `meta` part, then a `file` part whose chunks are handed on as they arrive.

Nothing touches the disk and no file is held in memory: the framework's own form parser writes plaintext to
a temporary file first (measured). The callbacks of python-multipart's low-level parser are turned into an
async iterator. A small body is read whole and, where it is of the usual form, cut at its boundary without the
parser, which costs more than all else that a small file needs; in any doubt the parser decides. Must not
import services or the store. Spec: RFC 7578, RFC 2046 §5.1.1, docs/reference/http-conventions.md "Uploads".
"""

from __future__ import annotations

import enum
import logging
import re
import unicodedata
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import NoReturn

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from node.http.errors import (
    FileNameInvalid,
    RequestMediaUnsupported,
    UploadMalformed,
    UploadTooLarge,
    UploadTruncated,
)

MAX_META_BYTES = 64 << 10
MAX_NAME_BYTES = 255
SMALL_BODY_BYTES = 128 << 10
_MAX_PART_HEADERS = 8
_MAX_PART_HEADER_BYTES = 2048
_SLACK_BYTES = 16 << 10  # boundaries, part headers, line ends
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")  # RFC 2046 §5.1.1
_MEDIA_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,63}/[a-z0-9!#$&^_.+-]{1,63}")
# The usual forms, whose options need no parser: no escapes, no other parameters.
_PLAIN_BOUNDARY = re.compile(r"multipart/form-data; boundary=([0-9A-Za-z-]{1,70})")
_PLAIN_DISPOSITION = re.compile(rb'form-data; name="([A-Za-z]{1,16})"(?:; filename="([^"\\%;:/]{0,255})")?')
_FIELD_NAME = re.compile(rb"[A-Za-z-]{1,64}")
_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

# The parser logs the bytes it stumbles over; those are the caller's.
logging.getLogger("python_multipart").disabled = True
logging.getLogger("python_multipart.multipart").disabled = True


@dataclass(frozen=True, slots=True)
class _PartHead:
    name: str
    file_name: str
    media_type: str


class _Mark(enum.Enum):
    PART_END = "part end"
    END = "end"


class Upload:
    """One upload being received: `meta` is complete, `chunks()` yields the file's bytes once.

    `content` holds all of a small file that is here already.
    """

    def __init__(
        self,
        source: _PartReader | None,
        meta: bytes | None,
        head: _PartHead,
        *,
        max_file_bytes: int,
        content: bytes | None = None,
    ) -> None:
        self._source = source
        self._max_file_bytes = max_file_bytes
        self.meta = meta
        self.content = content
        self.file_name = head.file_name
        self.media_type = head.media_type

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the file in chunks of what size the network gave; return only after the closing boundary.

        Raises:
            UploadTruncated: the body ended first; what was yielded is not the file.
            UploadTooLarge: more bytes than the limit, noticed while counting.
            UploadMalformed: another part follows.
        """
        if self._source is None:
            yield self.content or b""
            return
        async for chunk in self._source.part(limit=self._max_file_bytes):
            yield chunk
        if await self._source.next_part() is not None:
            raise _malformed("there are more parts than `meta` and `file`")


async def open_upload(
    request: Request, *, max_file_bytes: int, max_meta_bytes: int = MAX_META_BYTES, meta_required: bool = True
) -> Upload:
    """Read the `meta` part of a multipart request and return the upload with its `file` part still to come.

    Without `meta_required` the file may be the first part. Call only after the caller was authorised.

    Raises:
        UploadMalformed: no boundary, another order, another or no part, headers beyond the bounds.
        UploadTooLarge: by Content-Length, or `meta` is longer than `max_meta_bytes`.
        UploadTruncated: the body ended within `meta`.
        RequestMediaUnsupported: the request is not multipart/form-data.
    """
    boundary = _boundary_of(request.headers.get("content-type", ""))
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > max_file_bytes + max_meta_bytes + _SLACK_BYTES:
        _refuse_size(max_file_bytes)
    stream: AsyncIterator[bytes] = request.stream()
    if length.isdigit() and int(length) <= SMALL_BODY_BYTES:
        body, stream = await _read_small(stream)
        whole = split_small(body, boundary, max_file_bytes=max_file_bytes, max_meta_bytes=max_meta_bytes)
        if whole is not None:
            return whole
    source = _PartReader(stream, boundary)
    head = await source.next_part()
    meta: bytes | None = None
    if head is not None and head.name == "meta":
        meta = b"".join([chunk async for chunk in source.part(limit=max_meta_bytes)])
        head = await source.next_part()
    if (meta is None and meta_required) or head is None or head.name != "file":
        raise _malformed("the parts are not `meta`, then `file`")
    return Upload(source, meta, head, max_file_bytes=max_file_bytes)


def split_small(body: bytes, boundary: bytes, *, max_file_bytes: int, max_meta_bytes: int) -> Upload | None:
    """Return the upload in a whole body of just `meta` and `file`, None if the parser has to look at it.

    Raises:
        UploadMalformed, FileNameInvalid: as the parser's way does, of a part's own headers.
    """
    opening, closing = b"--" + boundary + b"\r\n", b"\r\n--" + boundary + b"--\r\n"
    if not body.startswith(opening) or not body.endswith(closing) or len(body) < len(opening) + len(closing):
        return None
    parts = body[len(opening) : -len(closing)].split(b"\r\n--" + boundary)
    if len(parts) != 2 or not parts[1].startswith(b"\r\n"):
        return None
    first, second = _split_part(parts[0]), _split_part(parts[1][2:])
    if first is None or second is None or len(first[1]) > max_meta_bytes or len(second[1]) > max_file_bytes:
        return None
    heads = _read_head(first[0]), _read_head(second[0])
    if (heads[0].name, heads[1].name) != ("meta", "file"):
        return None
    return Upload(None, first[1], heads[1], max_file_bytes=max_file_bytes, content=second[1])


def _split_part(part: bytes) -> tuple[dict[bytes, bytes], bytes] | None:
    """Return the headers and the content of a part; None for headers that are not of the plainest form."""
    head, blank, content = part.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    if not blank or len(head) > _MAX_PART_HEADER_BYTES // 2 or len(lines) > _MAX_PART_HEADERS:
        return None
    fields: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b": ")
        if not colon or not _FIELD_NAME.fullmatch(name) or not value.isascii() or not value.strip():
            return None
        fields[name.lower()] = value
    return (fields, content) if len(fields) == len(lines) else None


async def _read_small(stream: AsyncIterator[bytes]) -> tuple[bytes, AsyncIterator[bytes]]:
    """Return a small body and a stream that gives it once more, with the same end."""
    pieces: list[bytes] = []
    gone = False
    try:
        async for piece in stream:
            pieces.append(piece)
    except ClientDisconnect:
        gone = True
    body = b"".join(pieces)
    return body, _again(body, gone=gone)


async def _again(body: bytes, *, gone: bool) -> AsyncIterator[bytes]:
    yield body
    if gone:
        raise ClientDisconnect


def safe_file_name(name: str) -> str:
    """Return `name` as something to store and show: no folders, no control characters, ≤ 255 bytes, NFC.

    The name is never used as a path. Beyond dropping its folders nothing is repaired: a repaired name would
    be one that nobody gave.

    Raises:
        FileNameInvalid: nothing is left, control or bidirectional characters, not NFC, too long.
    """
    base = re.split(r"[/\\]", name)[-1].strip(" ")
    if base in ("", ".", ".."):
        raise _bad_name("the file name is empty")
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or char in _BIDI_CONTROLS for char in base):
        raise _bad_name("the file name holds control characters")
    if not unicodedata.is_normalized("NFC", base):
        raise _bad_name("the file name is not in NFC")
    if len(base.encode("utf-8")) > MAX_NAME_BYTES:
        raise _bad_name("the file name is longer than 255 bytes")
    return base


class _PartReader:
    """Pulls bytes from the request only as parts are asked for, so a slow store slows the sender."""

    def __init__(self, stream: AsyncIterator[bytes], boundary: bytes) -> None:
        self._stream = stream
        self._events: deque[_PartHead | bytes | _Mark] = deque()
        self._field = self._value = b""
        self._fields: dict[bytes, bytes] = {}
        self._parser = MultipartParser(
            boundary,
            {
                "on_header_field": self._on_header_field,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": lambda: self._events.append(_Mark.PART_END),
                "on_end": lambda: self._events.append(_Mark.END),
            },
            max_header_count=_MAX_PART_HEADERS,
            max_header_size=_MAX_PART_HEADER_BYTES,
        )

    async def next_part(self) -> _PartHead | None:
        """Return the head of the next part, None after the last one; call between parts only."""
        event = await self._next()
        return event if isinstance(event, _PartHead) else None

    async def part(self, *, limit: int) -> AsyncIterator[bytes]:
        """Yield the bytes of the current part, at most `limit`."""
        size_bytes = 0
        while isinstance(event := await self._next(), bytes):
            size_bytes += len(event)
            if size_bytes > limit:
                _refuse_size(limit)
            yield event

    async def _next(self) -> _PartHead | bytes | _Mark:
        while not self._events:
            await self._pull()
        return self._events.popleft()

    async def _pull(self) -> None:
        try:
            piece = await anext(self._stream)
            self._parser.write(piece)
        except (StopAsyncIteration, ClientDisconnect):
            raise UploadTruncated(
                "the upload ended before its closing boundary", hint="send the whole request again"
            ) from None
        except FormParserError:
            raise _malformed("the body does not follow its boundary") from None

    # Callbacks of the parser: they run inside `_pull`, and what they raise comes out of it.

    def _on_header_field(self, piece: bytes, start: int, end: int) -> None:
        self._field += piece[start:end]

    def _on_header_value(self, piece: bytes, start: int, end: int) -> None:
        self._value += piece[start:end]

    def _on_header_end(self) -> None:
        name = self._field.lower()
        if name in self._fields:
            raise _malformed("a part repeats a header")
        self._fields[name] = self._value
        self._field = self._value = b""

    def _on_headers_finished(self) -> None:
        head = _read_head(self._fields)
        self._fields = {}
        self._events.append(head)

    def _on_part_data(self, piece: bytes, start: int, end: int) -> None:
        self._events.append(piece[start:end])


def _boundary_of(content_type: str) -> bytes:
    plain = _PLAIN_BOUNDARY.fullmatch(content_type)
    if plain:
        return plain.group(1).encode("ascii")
    main, options = parse_options_header(content_type[:512])
    if main != b"multipart/form-data":
        raise RequestMediaUnsupported(
            "the body is not multipart/form-data",
            hint="send the parts `meta` and `file` as multipart/form-data",
        )
    boundary = options.get(b"boundary", b"").decode("latin-1")
    if not _BOUNDARY.fullmatch(boundary):
        raise _malformed("Content-Type names no usable boundary")
    return boundary.encode("ascii")


def _read_head(fields: dict[bytes, bytes]) -> _PartHead:
    kind, options = _disposition(fields.get(b"content-disposition", b""))
    if kind != b"form-data" or b"name" not in options:
        raise _malformed("a part has no Content-Disposition: form-data with a name")
    if fields.get(b"content-transfer-encoding", b"binary").lower() not in (b"binary", b"8bit", b"7bit"):
        raise _malformed("a part is sent in a transfer encoding")
    media_type = fields.get(b"content-type", b"").split(b";")[0].strip().lower().decode("latin-1")
    if media_type and not _MEDIA_TYPE.fullmatch(media_type):
        raise _malformed("a part has a malformed Content-Type")
    try:
        file_name = options.get(b"filename", b"").decode("utf-8")
    except UnicodeDecodeError:
        raise _bad_name("the file name is not UTF-8") from None
    return _PartHead(options[b"name"].decode("latin-1"), file_name, media_type)


def _disposition(header: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    plain = _PLAIN_DISPOSITION.fullmatch(header)
    if plain is None:
        return parse_options_header(header)
    options = {b"name": plain.group(1)}
    if plain.group(2) is not None:
        options[b"filename"] = plain.group(2)
    return b"form-data", options


def _refuse_size(limit: int) -> NoReturn:
    raise UploadTooLarge(
        "a part of the upload is larger than this node takes",
        hint="the limits stand in /v1/info",
        limit_bytes=limit,
    )


def _malformed(message: str) -> UploadMalformed:
    return UploadMalformed(message, hint="send one `meta` part (JSON), then one `file` part (RFC 7578)")


def _bad_name(message: str) -> FileNameInvalid:
    return FileNameInvalid(message, hint="rename the file, or send another name in meta")
