"""The connection: uvicorn's httptools protocol with deadlines, a size bound on the head and strict framing.

uvicorn waits for ever for a head or a body (measured: still held after 10 s), answers refusals as text, and
lets a trailer add header fields after routing. This subclass closes what does not arrive in time, refuses
what can be read in two ways (RFC 9112 §6.3, §11.2), and answers with problem details.

Life of a connection:  HEAD → BODY → WORK → IDLE → HEAD …     DRAIN = answered before the body had come.
Must not import FastAPI, routes, services or the store.
Spec page: docs/reference/http-conventions.md "Connections".
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar, Protocol

import httptools
from ulid import ULID
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from node.http.errors import RequestFraming, RequestHeadTooLarge
from node.http.problems import PROBLEM_MEDIA_TYPE, RETRY_AFTER_S, problem_bytes, row_of


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds of one connection; times in seconds, sizes in bytes."""

    head_timeout_s: float = 10.0
    body_interval_s: float = 10.0
    body_interval_bytes: int = 10 << 10  # less than this in an interval is no progress (1 KiB/s)
    body_total_s: float = 6 * 3600.0
    drain_s: float = 5.0
    drain_bytes: int = 64 << 20
    write_stall_s: float = 30.0
    keep_alive_s: float = 15.0
    max_head_bytes: int = 32 << 10
    max_header_fields: int = 100
    max_connections: int = 2000

    @property
    def watch_interval_s(self) -> float:
        """How often a connection is looked at: a quarter of its shortest deadline."""
        shortest = min(
            self.head_timeout_s, self.body_interval_s, self.drain_s, self.write_stall_s, self.keep_alive_s
        )
        return max(0.01, min(2.5, shortest / 4))


class Phase(enum.Enum):
    """Where the newest message of a connection stands."""

    HEAD = "head"
    BODY = "body"
    WORK = "work"
    IDLE = "idle"
    DRAIN = "drain"


class HotAnswers(Protocol):
    """Who may answer a request before an application sees it: `hotpath.HotPath`."""

    def takes(self, scope: Any) -> bool:
        """Return whether `answer` is to be asked when the body is here."""

    def answer(self, scope: Any, body: bytes, *, message: bytes) -> bytes | None:
        """Return a 200 from its first header field on, or None to leave the request to the application.

        `message` is the whole request as it came, if it came alone and in one piece, else empty.
        """

    def answer_known(self, message: bytes, address: str) -> bytes | None:
        """As `answer`, for all that came at once after an answer; None unless its head was answered before."""


class DeadlineProtocol(HttpToolsProtocol):
    """One connection; `bind_protocol` gives the class its limits."""

    limits: ClassVar[ConnectionLimits] = ConnectionLimits()
    hot: ClassVar[HotAnswers | None] = None
    on_refusal: ClassVar[Callable[[str, str], None]] = staticmethod(lambda code, request_id: None)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start watching; refuse at once when the node holds as many connections as it takes."""
        super().connection_made(transport)
        self._phase, self._since = Phase.HEAD, self.loop.time()
        self._body_since = self._watched = self._since
        self._head_bytes = self._received = 0
        self._stalled: tuple[float, int] | None = None
        self._fault = ""
        self._at_head = False
        self._deferred: tuple[RequestResponseCycle, Any] | None = None
        self._server_fields: tuple[object, bytes] = (None, b"")
        self._address = self.client[0] if self.client else "local"
        self._message = b""
        self._watch_timer = self.loop.call_later(self.limits.watch_interval_s, self._watch)
        if len(self.connections) > self.limits.max_connections:
            self._refuse("node_busy")

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching."""
        self._watch_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; every parser error is a refusal and the end of the connection."""
        if self._phase is Phase.IDLE:
            # Between two messages the parser holds nothing, so it need not see one whose head it knows.
            if self.hot is not None and self._answer_known(data):
                return
            self._message = data
        else:
            self._message = b""
        self._unset_keepalive_if_required()
        if self._phase is Phase.DRAIN:
            self._received += len(data)
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._start_deferred()
            # A callback that gets no memory comes back as a parser error, and is not the client's.
            starved = isinstance(error.__context__, MemoryError)
            self._refuse("node_busy" if starved else self._fault or "request_framing")
            return
        self._start_deferred()  # Its body is still on its way: nobody waits for it here.
        # A header line without end reaches no callback, so the raw bytes are counted too.
        if self._phase is Phase.HEAD and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > self.limits.max_head_bytes:
                self._refuse("request_head_too_large")

    def pause_writing(self) -> None:
        """Note since when the peer has not been reading."""
        self._stalled = (self.loop.time(), self.transport.get_write_buffer_size())
        super().pause_writing()

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._stalled = None
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Leave idle connections to `_watch`, which knows when the process stood still."""

    # Callbacks of the parser. What they raise comes back from feed_data as a parser error.

    def on_message_begin(self) -> None:
        """Start the head deadline; until here a fresh connection is under one of the same length."""
        super().on_message_begin()
        self._enter(Phase.HEAD)
        self._head_bytes = self._field_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Count the request target into the head."""
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of the head; a trailer would change header fields that were judged already."""
        if self._phase is not Phase.HEAD:
            self._fault = "request_framing"
            raise RequestFraming("trailer fields are not taken")
        self._count_head(len(name) + len(value) + 4)
        if len(self.headers) >= self.limits.max_header_fields:
            self._fault = "request_head_too_large"
            raise RequestHeadTooLarge("the head has too many fields")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Refuse ambiguous framing, then hand the request over."""
        self._check_framing()
        self._at_head = True
        super().on_headers_complete()
        self._at_head = False
        self._enter(Phase.BODY)
        self._body_since = self._since

    def on_body(self, body: bytes) -> None:
        """Count the body's progress."""
        self._received += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request has arrived; from here on the time is ours."""
        super().on_message_complete()
        self._enter(Phase.IDLE if self.cycle.response_complete else Phase.WORK)
        if self._deferred is not None:
            self._answer_deferred()

    def on_response_complete(self) -> None:
        """The answer is written: wait for the next request, or for the rest of a body nobody wants."""
        super().on_response_complete()
        if self.cycle.response_complete:  # the newest message's, not that of an earlier pipelined one
            if self._phase is Phase.BODY:
                self._enter(Phase.DRAIN)
            elif self._phase is Phase.WORK:
                self._enter(Phase.IDLE)

    # Hot requests: held back from the application until the end of this read, by when a small body is here.

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self._at_head and self.hot is not None and self.hot.takes(cycle.scope):
            self._deferred = cycle, app
        else:
            super()._start_asgi_task(cycle, app)

    def _start_deferred(self) -> None:
        if self._deferred is not None:
            (cycle, app), self._deferred = self._deferred, None
            super()._start_asgi_task(cycle, app)

    def _answer_deferred(self) -> None:
        assert self._deferred is not None and self.hot is not None  # noqa: S101 - its caller has looked
        cycle = self._deferred[0]
        usual = cycle.keep_alive and not self.flow.write_paused and not self.transport.is_closing()
        body = bytes(cycle.body)
        answer = self.hot.answer(cycle.scope, body, message=self._message) if usual else None
        if answer is None:
            self._start_deferred()
            return
        self._deferred = None
        self._write_hot(answer)
        cycle.response_started = cycle.response_complete = True
        cycle.on_response()

    def _answer_known(self, data: bytes) -> bool:
        """Answer `data` without the parser if it is one whole message with a head that was parsed before.

        What the parser, a cycle and its callbacks would leave behind is left here: an idle connection.
        """
        assert self.hot is not None  # noqa: S101 - its caller has looked
        if self.flow.write_paused or self.transport.is_closing():
            return False
        try:
            answer = self.hot.answer_known(data, self._address)
        except MemoryError:
            return False  # The parser's way knows what to say without memory.
        if answer is None:
            return False
        self._write_hot(answer)
        self.server_state.total_requests += 1
        self._since = self.loop.time()
        return True

    def _write_hot(self, answer: bytes) -> None:
        self.transport.write(b"".join((STATUS_LINE[200], self._fields_of_server(), answer)))

    def _fields_of_server(self) -> bytes:
        """Return the fields that the server adds to every answer; it replaces the list once a second."""
        fields = self.server_state.default_headers
        if self._server_fields[0] is not fields:
            self._server_fields = fields, b"".join([b"%b: %b\r\n" % field for field in fields])
        return self._server_fields[1]

    def _enter(self, phase: Phase) -> None:
        self._phase, self._since, self._received = phase, self.loop.time(), 0

    def _count_head(self, size: int) -> None:
        self._field_bytes += size
        if self._field_bytes > self.limits.max_head_bytes:
            self._fault = "request_head_too_large"
            raise RequestHeadTooLarge("the head is too large")

    def _check_framing(self) -> None:
        names = [name for name, _ in self.headers]
        encodings = [value.strip().lower() for name, value in self.headers if name == b"transfer-encoding"]
        version = self.parser.get_http_version()
        wrong = (
            (bool(encodings) and b"content-length" in names)
            or (bool(encodings) and (encodings != [b"chunked"] or version != "1.1"))
            or names.count(b"content-length") > 1
            or names.count(b"host") > 1
            or (version == "1.1" and b"host" not in names)
            or version not in ("1.0", "1.1")
            # After an upgrade the parser stops, and what follows would be read as another protocol.
            or self.parser.should_upgrade()
        )
        if wrong:
            self._fault = "request_framing"
            raise RequestFraming("the message can be read in two ways")

    def _watch(self) -> None:
        self._watch_timer = self.loop.call_later(self.limits.watch_interval_s, self._watch)
        now = self.loop.time()
        self._forgive(now)
        if self._peer_stopped_reading(now):
            self.transport.abort()
        elif self.transport.is_closing():
            return  # until all is written, or the peer stops reading
        elif self._phase is Phase.BODY:
            self._watch_body(now)
        elif self._overdue(now):
            if self._phase is Phase.HEAD:
                self._refuse("request_timeout")
            else:
                self.transport.close()

    def _forgive(self, now: float) -> None:
        """Give back the time in which this process was stopped or too busy to read what had come."""
        late = now - self._watched - 2 * self.limits.watch_interval_s
        self._watched = now
        if late > 0:
            self._since += late
            self._body_since += late
            if self._stalled is not None:
                self._stalled = (self._stalled[0] + late, self._stalled[1])

    def _overdue(self, now: float) -> bool:
        waited = now - self._since
        if self._phase is Phase.HEAD:
            return waited > self.limits.head_timeout_s
        if self._phase is Phase.IDLE:
            return waited > self.limits.keep_alive_s
        if self._phase is Phase.DRAIN:
            return waited > self.limits.drain_s or self._received > self.limits.drain_bytes
        return False  # WORK: the request is here, the time is ours

    def _watch_body(self, now: float) -> None:
        if now - self._body_since > self.limits.body_total_s:
            self._refuse("request_timeout")
        elif self.flow.read_paused:
            self._enter(Phase.BODY)  # we are the slow side
        elif now - self._since > self.limits.body_interval_s:
            if self._received < self.limits.body_interval_bytes:
                self._refuse("request_timeout")
            else:
                self._enter(Phase.BODY)

    def _peer_stopped_reading(self, now: float) -> bool:
        if self._stalled is None and self.transport.is_closing():
            self._stalled = (now, self.transport.get_write_buffer_size())  # a close waits for the peer too
        if self._stalled is None or now - self._stalled[0] <= self.limits.write_stall_s:
            return False
        waiting, self._stalled = self._stalled[1], (now, self.transport.get_write_buffer_size())
        return self._stalled[1] >= waiting

    def _refuse(self, code: str) -> None:
        """Answer `code` if no answer to an earlier request is due first, and close."""
        cycle = self.cycle
        # While an earlier request is being answered, these bytes would be taken for its answer.
        owed = cycle is not None and not cycle.response_complete
        own = owed and self._phase is Phase.BODY and not cycle.response_started and not self.pipeline
        request_id = f"req_{ULID()}"
        if own or not owed:
            self.transport.write(refusal_bytes(code, request_id))
        if owed:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()
        type(self).on_refusal(code, request_id)


def bind_protocol(
    limits: ConnectionLimits, on_refusal: Callable[[str, str], None], *, hot: HotAnswers | None = None
) -> type[DeadlineProtocol]:
    """Return the protocol class with these limits; `on_refusal` takes the code and the request id."""
    members: dict[str, Any] = {"limits": limits, "on_refusal": staticmethod(on_refusal), "hot": hot}
    return type("BoundDeadlineProtocol", (DeadlineProtocol,), members)


def refusal_bytes(code: str, request_id: str) -> bytes:
    """Render the whole HTTP answer to a request that no route will see."""
    body = problem_bytes(code, request_id=request_id, language="zh")
    status = HTTPStatus(row_of(code).status)
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"content-type: {PROBLEM_MEDIA_TYPE}",
        f"content-length: {len(body)}",
        f"x-request-id: {request_id}",
        "x-content-type-options: nosniff",
        "cache-control: no-store",
        "connection: close",
    ]
    if status.value in (429, 503):
        lines.append(f"retry-after: {RETRY_AFTER_S}")
    return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + body
