"""What surrounds every request: id, admission, headers of the answer, log line, and the last net.

Order, outermost first: `EnvelopeMiddleware` (id, security headers, log, metrics, unforeseen errors) and
`AdmissionMiddleware` (requests in flight, rate by address, body size, encodings). Deadlines are in
`protocol.py`. Must not import routes, services or the store.
Spec page: docs/reference/http-conventions.md "Limits".
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from anchor.errors import DeltasealError
from node.http.errors import (
    HttpError,
    NodeBusy,
    RateLimited,
    RequestMalformed,
    RequestMediaUnsupported,
    RequestTooLarge,
    ResponseAborted,
    UploadTooLarge,
)
from node.http.logs import RequestLog, adopt_server_loggers, end_starved, places_of
from node.http.metrics import Metrics
from node.http.problems import frame_problem, problem_response
from node.http.protocol import ConnectionLimits, bind_protocol
from node.http.ratelimits import TokenBuckets
from node.http.requestids import RequestIds

UNLIMITED_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})  # an operator must see a node that is full
MULTIPART_OVERHEAD_BYTES = 64 << 10  # boundaries and part headers
SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    # Answers hold personal data unless a route says otherwise.
    (b"cache-control", b"no-store"),
)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_CLIENT_GONE = 499


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds of one node's HTTP side; a rate of 0 is no limit."""

    connection: ConnectionLimits = field(default_factory=ConnectionLimits)
    max_requests: int = 512
    max_json_bytes: int = 64 << 10  # what routes take unless they say more
    max_body_bytes: int = 16 << 20  # no route takes more, uploads aside
    max_meta_bytes: int = 64 << 10
    max_file_bytes: int = 4 << 30
    key_rate_per_s: float = 2000.0
    key_burst: float = 4000.0
    address_rate_per_s: float = 4000.0
    address_burst: float = 8000.0
    failure_rate_per_s: float = 1.0
    failure_burst: float = 20.0


class EnvelopeMiddleware:
    """Gives each request an id, each answer its headers, each exchange a log line, come what may."""

    def __init__(
        self, app: ASGIApp, *, metrics: Metrics, logger: FilteringBoundLogger, request_log: RequestLog
    ) -> None:
        self._app = app
        self._figures = metrics.requests
        self._logger = logger
        self._request_log = request_log
        self.ids = RequestIds()
        self.in_flight = 0
        metrics.register_gauge("deltaseal_http_in_flight", "Requests being answered.", lambda: self.in_flight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; lifespan events pass through."""
        if scope["type"] != "http":
            await self._live(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = self.ids.take(sent_request_id(scope))
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def send_enveloped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": _with_frame_headers(message.get("headers", ()), request_id)}
            await send(message)

        self.in_flight += 1
        try:
            await self._answer(scope, receive, send_enveloped)
        except ResponseAborted:
            status = status or _CLIENT_GONE
            raise
        finally:
            self.in_flight -= 1
            self._record(scope, status or _CLIENT_GONE, time.perf_counter() - started)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the server's life through: from its start to its end there is a loop that writes log lines."""
        self._request_log.use_timer(asyncio.get_running_loop().call_later)
        try:
            await self._app(scope, receive, send)
        finally:
            self._request_log.use_timer(None)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def send_noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except ClientDisconnect:
            return
        except MemoryError:
            end_starved()
        except Exception as error:  # noqa: BLE001 - the last net: nothing may reach the server's own 500 page
            if not isinstance(error, DeltasealError):
                self._log_fault(scope, error)
            if begun:
                scope["state"]["problem_code"] = ResponseAborted.code
                raise ResponseAborted("the answer was cut after it had begun") from None
            if isinstance(error, DeltasealError):
                response = problem_response(error, Request(scope, receive))
            else:
                response = frame_problem("internal", scope)
            await response(scope, receive, send)

    def _log_fault(self, scope: Scope, error: Exception) -> None:
        self._logger.error(
            "fault",
            requestId=scope["state"]["request_id"],
            error=type(error).__name__,
            cause=type(error.__cause__).__name__ if error.__cause__ else None,
            places=places_of(error),
        )

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        state = scope["state"]
        self.record(
            state["request_id"],
            method,
            route_template(scope),
            status,
            code=state.get("problem_code"),
            key_id=state.get("key_id"),
            seconds=seconds,
        )

    def record(
        self,
        request_id: str,
        method: str,
        route: str,
        status: int,
        *,
        code: str | None,
        key_id: str | None,
        seconds: float,
    ) -> None:
        """Count an exchange and write its line."""
        self._figures.count(method, route, status, seconds)
        self._request_log.write(request_id, method, route, status, code=code, key_id=key_id, seconds=seconds)


class AdmissionMiddleware:
    """Refuses a request before anything is read of it: too many, too large, or compressed."""

    def __init__(self, app: ASGIApp, *, limits: HttpLimits) -> None:
        self._app = app
        self._limits = limits
        self.in_flight = 0
        self._addresses = TokenBuckets(rate_per_s=limits.address_rate_per_s, burst=limits.address_burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or raise what the envelope answers."""
        if scope["type"] != "http" or scope["path"] in UNLIMITED_PATHS:
            await self._app(scope, receive, send)
            return
        self._check_share(scope)
        receive = self._bound_body(scope, receive)
        self.in_flight += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self.in_flight -= 1

    @property
    def full(self) -> bool:
        """Whether as many requests are being answered as the node takes."""
        return self.in_flight >= self._limits.max_requests

    def take_share(self, address: str) -> bool:
        """Take one request of an address's share; False takes nothing."""
        return self._addresses.take(address) <= 0

    def give_back_share(self, address: str) -> None:
        """Put a request back into an address's share, since it will be asked for again."""
        self._addresses.give_back(address)

    def _check_share(self, scope: Scope) -> None:
        if self.full:
            raise NodeBusy(
                "as many requests are being answered as this node takes", hint="retry as Retry-After says"
            )
        wait_s = self._addresses.take(client_address(scope))
        if wait_s > 0:
            raise RateLimited(
                "this address sends more requests than its share",
                hint="wait as Retry-After says",
                retry_after_s=int(wait_s) + 1,
            )

    def _bound_body(self, scope: Scope, receive: Receive) -> Receive:
        headers = dict(scope["headers"])
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise RequestMediaUnsupported("compressed bodies are not taken", hint="send the body as it is")
        upload = headers.get(b"content-type", b"").lower().startswith(b"multipart/")
        limit = self._limits.max_body_bytes
        if upload:
            limit = self._limits.max_file_bytes + self._limits.max_meta_bytes + MULTIPART_OVERHEAD_BYTES
        length = headers.get(b"content-length")
        if length is None:
            return _count_body(receive, limit, upload=upload)  # chunked: known only as it comes
        # The parser has refused all but digits, and holds the body to its length: one comparison is enough.
        if int(length) > limit:
            raise _too_large(limit, upload=upload)
        return receive


def server_config(
    app: Any, *, host: str, port: int, limits: HttpLimits, trusted_proxies: tuple[str, ...] = ()
) -> uvicorn.Config:
    """Return the only uvicorn configuration this service runs with; `app` comes from `create_app`.

    Client addresses are taken from X-Forwarded-For only when the peer is one of `trusted_proxies`.
    """
    metrics: Metrics = app.state.frame.metrics
    logger: FilteringBoundLogger = app.state.frame.logger
    adopt_server_loggers(logger)

    def on_refusal(code: str, request_id: str) -> None:
        metrics.count_refusal(code)
        logger.info("refused", requestId=request_id, code=code)

    # Behind a proxy the address whose share is taken is in a field that uvicorn reads after the connection.
    hot = None if trusted_proxies else getattr(app.state, "hot_path", None)
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=bind_protocol(limits.connection, on_refusal, hot=hot),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        timeout_keep_alive=max(1, int(limits.connection.keep_alive_s)),
        timeout_graceful_shutdown=20,
        # This would answer in plain text; the protocol and the middleware refuse with problem details.
        limit_concurrency=None,
    )


def route_template(scope: Scope) -> str:
    """Return the template of the chosen route (`/v1/materials/{material_id}`), never the path itself."""
    context = scope.get("fastapi", {}).get("effective_route_context")
    template = getattr(context, "path_format", None) or getattr(scope.get("route"), "path_format", None)
    return template if isinstance(template, str) else "unmatched"


def sent_request_id(scope: Scope) -> bytes:
    """Return the request id that a caller sent, or nothing."""
    return next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")


def client_address(scope: Scope) -> str:
    """Return the address whose share a request takes."""
    client = scope.get("client")
    return client[0] if client else "local"


def _with_frame_headers(headers: Any, request_id: str) -> list[tuple[bytes, bytes]]:
    present = {name for name, _ in headers}
    missing = [pair for pair in SECURITY_HEADERS if pair[0] not in present]
    return [*headers, (b"x-request-id", request_id.encode("ascii")), *missing]


def _count_body(receive: Receive, limit: int, *, upload: bool) -> Receive:
    received = 0

    async def receive_counted() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise _too_large(limit, upload=upload)
        return message

    return receive_counted


def _too_large(limit: int, *, upload: bool) -> HttpError:
    hint = "the limits stand in /v1/info"
    if upload:
        return UploadTooLarge("the upload is larger than this node takes", hint=hint, limit_bytes=limit)
    return RequestTooLarge("the body is larger than this node takes", hint=hint, limit_bytes=limit)


async def read_body(request: Request, *, limit: int) -> bytes:
    """Read the whole body, at most `limit` bytes.

    Raises:
        RequestTooLarge: there is more; nothing beyond the limit is kept.
        RequestMalformed: the caller went away in the middle.
    """
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise _too_large(limit, upload=False)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise _too_large(limit, upload=False)
    except ClientDisconnect:
        raise RequestMalformed("the body ended early", hint="send the request again") from None
    return bytes(body)
