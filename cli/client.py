"""Speaks the node's HTTP API (docs/reference/http-conventions.md) and turns every failure into a typed error.

One `NodeClient` may be shared by threads. It opens connections to the one address it was given, follows no
redirect, reads no proxy from the environment and sends the key to nobody else. No httpx type and no httpx
exception leaves this module. It must not import typer or rich: the demo and scripts use it too.

Life of a pushed file: `meta` is one JSON part, the file a second one read in 256 KiB pieces while it is sent,
under a Content-Length known before; a file that shrank or grew in between ends the request, and the node
keeps nothing.
"""

from __future__ import annotations

import io
import secrets
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self
from urllib.parse import quote

import httpx
import orjson

from cli.errors import (
    ApiProblem,
    ArgumentInvalid,
    InputMissing,
    NodeAnswerMalformed,
    NodeUnreachable,
    SettingInvalid,
    SourceChanged,
)

PIECE_BYTES = 256 << 10
PROBLEM_TYPE = "application/problem+json"
# A node that asks for a longer rest than this gets none: the caller hears of it at once.
LONGEST_REST_S = 5.0

Meta = Mapping[str, Any]
Tick = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """A 2xx answer: `body` is the parsed JSON, None when there is none. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def request_id(self) -> str:
        """The node's name for this request, for a look into its log."""
        return self.headers.get("x-request-id", "")


def segment(text: str) -> str:
    """Quote `text` as one path segment, so that an id from a list can never reach another route.

    Raises:
        ArgumentInvalid: it is empty, or `.` or `..`, which servers take for a step.
    """
    if text in ("", ".", ".."):
        raise ArgumentInvalid(
            "an id or code must not be empty, `.` or `..`", hint="copy it from the list command"
        )
    return quote(text, safe="")


class NodeClient:
    """A client of the node at `url`, speaking for the agency that `api_key` is bound to.

    `retries` counts repeats after a lost connection, 429 or 503; a repeat carries the same Idempotency-Key,
    so it never does the work twice.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        timeout_s: float = 30.0,
        retries: int = 0,
        lang: str = "zh",
        ca_file: str | None = None,
        connections: int = 16,
    ) -> None:
        """Prepare a client; no connection is opened.

        Raises:
            SettingInvalid: the address is not http(s)://host[:port][/path], or the CA file cannot be used.
        """
        self._url = _checked_url(url)
        self._retries = retries
        headers = {"Accept": "application/json", "Accept-Language": lang, "User-Agent": "deltaseal"}
        if api_key:
            headers["Authorization"] = f"Bearer {_checked_key(api_key)}"
        self._http = httpx.Client(
            headers=headers,
            timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, 10.0)),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            follow_redirects=False,
            trust_env=False,
            verify=_trust(ca_file),
        )

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    @property
    def url(self) -> str:
        """The address without a trailing slash."""
        return self._url

    def close(self) -> None:
        """Close the connections; the client cannot be used afterwards."""
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        """GET `path` and return the parsed body; None values of `query` are left out.

        Raises:
            ApiProblem, NodeUnreachable, NodeAnswerMalformed: as `request`.
        """
        return self.request("GET", path, query=query).body

    def post(
        self,
        path: str,
        json: Any,
        *,
        idempotency: bool = True,
        idempotency_key: str | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> Any:
        """POST `json` and return the parsed body; with `idempotency` a key goes along, fresh unless given.

        Raises:
            ApiProblem, NodeUnreachable, NodeAnswerMalformed: as `request`.
        """
        key = (idempotency_key or new_idempotency_key()) if idempotency else None
        return self.request("POST", path, json=json, query=query, idempotency_key=key).body

    def put(
        self, path: str, json: Any, *, if_version: int | None = None, query: Mapping[str, Any] | None = None
    ) -> Any:
        """PUT `json` and return the parsed body; `if_version` becomes `If-Match: "v<n>"`.

        Raises:
            ApiProblem, NodeUnreachable, NodeAnswerMalformed: as `request`.
        """
        headers = {} if if_version is None else {"If-Match": f'"v{if_version}"'}
        return self.request(
            "PUT", path, json=json, query=query, headers=headers, idempotency_key=new_idempotency_key()
        ).body

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        body: bytes | None = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> Answer:
        """Send one request and return its answer, repeating it as `retries` allows.

        Raises:
            ApiProblem: the node refused (any status from 400 on).
            NodeUnreachable: no answer.
            NodeAnswerMalformed: an answer that cannot be understood, a redirect among them.
        """
        sent = dict(headers or {})
        content = body if json is None else orjson.dumps(json)
        if content is not None:
            sent.setdefault("Content-Type", "application/json")
        if idempotency_key is not None:
            sent["Idempotency-Key"] = f'"{idempotency_key}"'
        repeatable = method in ("GET", "HEAD") or idempotency_key is not None
        return self._repeat(
            lambda: self._send(method, path, content, sent, query),
            attempts=1 + (self._retries if repeatable else 0),
        )

    def push(
        self,
        meta: Meta,
        content: str | Path | bytes | None = None,
        *,
        file_name: str | None = None,
        wait: str | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """Push one material and return the node's view of it; without `content` only its hash is pushed.

        `meta` follows docs/reference/http-conventions.md; `wait` is `included` or `final`.

        Raises:
            ApiProblem, NodeUnreachable, NodeAnswerMalformed: as `request`.
            InputMissing: the file cannot be opened.
            SourceChanged: the file changed while it was sent.
        """
        return self.upload(
            meta, content, file_name=file_name, wait=wait, idempotency_key=idempotency_key
        ).body

    def upload(
        self,
        meta: Meta,
        content: str | Path | bytes | None = None,
        *,
        file_name: str | None = None,
        wait: str | None = None,
        idempotency_key: str | None = None,
        on_bytes: Tick | None = None,
    ) -> Answer:
        """Do as `push` and return status and headers too: 201 is new, 200 was held already.

        `on_bytes` is called with the size of each piece that was handed to the connection.

        Raises:
            As `push`.
        """
        key = idempotency_key or new_idempotency_key()
        query = {"wait": wait}
        if content is None:
            return self.request("POST", "/v1/materials", json=dict(meta), query=query, idempotency_key=key)
        name = file_name or ("material" if isinstance(content, bytes) else Path(content).name)

        def send() -> Answer:
            with _opened(content) as (source, size):
                form = _Form(meta, source, size, file_name=name, on_bytes=on_bytes or _ignore)
                headers = {**form.headers, "Idempotency-Key": f'"{key}"'}
                return self._send("POST", "/v1/materials", form.pieces(), headers, query)

        return self._repeat(send, attempts=1 + self._retries)

    def verify(
        self,
        sha256: str | None = None,
        *,
        type_code: str | None = None,
        subject: Mapping[str, str] | None = None,
        receipt: Mapping[str, Any] | None = None,
    ) -> Any:
        """Ask for the verdict about a digest or a receipt and return the node's answer.

        Raises:
            ApiProblem, NodeUnreachable, NodeAnswerMalformed: as `request`.
        """
        question = {"sha256": sha256, "typeCode": type_code, "subject": subject, "receipt": receipt}
        known = {name: value for name, value in question.items() if value is not None}
        return self.post("/v1/verify", known, idempotency=False)

    @contextmanager
    def stream(
        self, path: str, *, headers: Mapping[str, str] | None = None, json: Any = None
    ) -> Iterator[tuple[Mapping[str, str], Iterator[bytes]]]:
        """GET `path`, or POST `json` to it, and yield (headers, pieces of the body); nothing is held in memory.

        Raises:
            ApiProblem, NodeUnreachable, NodeAnswerMalformed: as `request`, also while the pieces are read.
        """
        with _mapped(self._url):
            wanted = {"Accept": "*/*", **(headers or {})}
            method = "GET" if json is None else "POST"
            with self._http.stream(method, self._address(path), headers=wanted, json=json) as response:
                if response.status_code != 200:
                    response.read()
                    _refuse(response)
                yield (
                    {name.lower(): value for name, value in response.headers.items()},
                    response.iter_bytes(PIECE_BYTES),
                )

    def _address(self, path: str) -> str:
        if not path.startswith("/"):
            raise ArgumentInvalid("a path begins with /", hint="for example /v1/me")
        return self._url + path

    def _send(
        self,
        method: str,
        path: str,
        content: bytes | Iterator[bytes] | None,
        headers: Mapping[str, str],
        query: Mapping[str, Any] | None,
    ) -> Answer:
        params = {name: value for name, value in (query or {}).items() if value is not None}
        with _mapped(self._url):
            response = self._http.request(
                method, self._address(path), content=content, headers=dict(headers), params=params or None
            )
        if response.status_code >= 300:
            _refuse(response)
        return Answer(
            response.status_code, {k.lower(): v for k, v in response.headers.items()}, _parsed(response)
        )

    @staticmethod
    def _repeat(send: Callable[[], Answer], *, attempts: int) -> Answer:
        for attempt in range(1, attempts + 1):
            try:
                return send()
            except (NodeUnreachable, ApiProblem) as error:
                rest_s = _rest_before_repeat(error, attempt)
                if attempt == attempts or rest_s is None:
                    raise
            time.sleep(rest_s)
        raise AssertionError("attempts is at least 1")


def new_idempotency_key() -> str:
    """Make a key that no other request carries."""
    return secrets.token_hex(16)


class _Form:
    """The multipart body of one push: headers first, then pieces, never the whole file in memory."""

    def __init__(
        self, meta: Meta, source: BinaryIO, size_bytes: int, *, file_name: str, on_bytes: Tick
    ) -> None:
        boundary = "deltaseal-" + secrets.token_hex(16)
        self._head = b"".join(
            (
                f'--{boundary}\r\nContent-Disposition: form-data; name="meta"\r\n'.encode(),
                b"Content-Type: application/json\r\n\r\n",
                orjson.dumps(dict(meta)),
                f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="file"; '.encode(),
                f'filename="{_header_name(file_name)}"\r\n'.encode(),
                b"Content-Type: application/octet-stream\r\n\r\n",
            )
        )
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._source, self._size, self._on_bytes = source, size_bytes, on_bytes
        self.headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(self._head) + size_bytes + len(self._tail)),
        }

    def pieces(self) -> Iterator[bytes]:
        """Yield the body; exactly the promised number of file bytes or `SourceChanged`."""
        yield self._head
        left = self._size
        while left:
            piece = self._source.read(min(PIECE_BYTES, left))
            if not piece:
                raise _changed()
            left -= len(piece)
            yield piece
            self._on_bytes(len(piece))
        if self._source.read(1):
            raise _changed()
        yield self._tail


def _changed() -> SourceChanged:
    return SourceChanged(
        "the file changed while it was being pushed", hint="push it again once nobody writes to it"
    )


def _header_name(name: str) -> str:
    """Escape as browsers do (WHATWG HTML, "multipart form data"); no name can end its header line."""
    escapes = {'"': "%22", "\r": "%0D", "\n": "%0A", "\\": "%5C", "\0": "%00"}
    return "".join(escapes.get(char, char) for char in name)


@contextmanager
def _opened(content: str | Path | bytes) -> Iterator[tuple[BinaryIO, int]]:
    if isinstance(content, bytes):
        yield io.BytesIO(content), len(content)
        return
    try:
        source = Path(content).open("rb")  # noqa: SIM115 - closed by the `with` below
    except OSError as error:
        raise InputMissing(
            f"the file cannot be opened: {error.strerror or 'unknown cause'}",
            hint="check its name and its rights",
        ) from None
    with source:
        size = source.seek(0, 2)
        source.seek(0)
        yield source, size


def _ignore(_size: int) -> None:
    """Take no notice of progress."""


def _checked_url(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError):
        parsed = httpx.URL("")
    if (
        parsed.scheme not in ("http", "https")
        or not parsed.host
        or parsed.query
        or parsed.fragment
        or parsed.userinfo
    ):
        raise SettingInvalid(
            "the node's address is not http(s)://host[:port]", hint="for example --url http://127.0.0.1:8400"
        )
    return str(parsed).rstrip("/")


def _checked_key(api_key: str) -> str:
    if not api_key.isascii() or not api_key.isprintable() or " " in api_key:
        raise SettingInvalid("the API key holds characters that no key has", hint="check the key file")
    return api_key


def _trust(ca_file: str | None) -> ssl.SSLContext | bool:
    if not ca_file:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError):
        raise SettingInvalid("the CA file cannot be read as PEM", hint="check the setting ca_file") from None


@contextmanager
def _mapped(url: str) -> Iterator[None]:
    """Let no httpx exception out."""
    hint = f"is a node serving at {url}? `deltaseal doctor` looks for the cause"
    try:
        yield
    except httpx.TimeoutException:
        raise NodeUnreachable("the node did not answer in time", hint=hint) from None
    except httpx.RemoteProtocolError:
        raise NodeUnreachable("the node closed the connection without an answer", hint=hint) from None
    except httpx.TransportError as error:
        raise NodeUnreachable(f"the node cannot be reached: {_cause(error)}", hint=hint) from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError):
        raise NodeAnswerMalformed("the node's answer cannot be read", hint=hint) from None


def _cause(error: BaseException) -> str:
    """Name the system's own reason, if one stands behind `error`."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError):
            return "TLS failed"
        if isinstance(seen, OSError) and seen.strerror:
            return seen.strerror.lower()
        seen = seen.__cause__ or seen.__context__
    return "connection failed"


def _parsed(response: httpx.Response) -> Any:
    if response.status_code == 204 or not response.content:
        return None
    try:
        return orjson.loads(response.content)
    except orjson.JSONDecodeError:
        raise NodeAnswerMalformed(
            "the node's answer is not JSON", hint="is the address that of a Deltaseal node?"
        ) from None


def _refuse(response: httpx.Response) -> None:
    """Raise what a status of 300 and above means."""
    request_id = response.headers.get("x-request-id", "")
    if response.status_code < 400:
        raise NodeAnswerMalformed("the node redirected the request", hint="give its final address with --url")
    body = _body_of_refusal(response)
    # Anything but a problem document (a proxy's page) leaves only the status to go by.
    is_problem = response.headers.get("content-type", "").split(";")[0].strip() == PROBLEM_TYPE
    problem = body if is_problem and isinstance(body, dict) else {}
    raise ApiProblem(
        str(problem.get("code") or f"http_{response.status_code}"),
        status=response.status_code,
        title=str(problem.get("title") or ""),
        detail=str(problem.get("detail") or ""),
        hint=str(problem.get("hint") or ""),
        request_id=str(problem.get("requestId") or request_id),
        retryable=problem.get("retryable") is True,
        retry_after_s=_retry_after(response),
        errors=[item for item in problem.get("errors") or () if isinstance(item, dict)],
        body=body,
    )


def _body_of_refusal(response: httpx.Response) -> Any:
    try:
        return orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return None


def _retry_after(response: httpx.Response) -> float | None:
    text = str(response.headers.get("retry-after", ""))
    return float(text) if text.isdigit() else None


def _rest_before_repeat(error: NodeUnreachable | ApiProblem, attempt: int) -> float | None:
    """Say how long to rest before a repeat; None when a repeat makes no sense."""
    growing: float = min(0.2 * 2.0 ** (attempt - 1), 2.0)
    if isinstance(error, NodeUnreachable):
        return growing
    if error.status not in (429, 503) or (error.retry_after_s or 0) > LONGEST_REST_S:
        return None
    return growing if error.retry_after_s is None else error.retry_after_s
