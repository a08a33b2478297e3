"""Connections over real sockets: deadlines, framing, bounds. Time is measured by generous bounds only."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from node.http.errors import RequestFraming
from node.http.limits import HttpLimits
from node.http.protocol import ConnectionLimits, DeadlineProtocol
from tests.integration.frame_factory import RunningFrame, quick_connection, read_to_end, running_frame, until

HEAD = b"POST /v1/open/x HTTP/1.1\r\nHost: a\r\n"
GET = b"GET /v1/open/x HTTP/1.1\r\nHost: a\r\n"
CLOSE = b"Connection: close\r\n\r\n"


def code_of(answer: bytes) -> str:
    """Return status and code of a refusal that closed the connection."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    assert b"application/problem+json" in head.lower()
    problem = json.loads(body)
    assert head.split(b" ")[1] == str(problem["status"]).encode()
    return str(problem["code"])


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HT", GET, GET + b"X-A: 1\r\nX-B"], ids=["none", "line", "open", "field"]
)
def test_a_head_that_does_not_arrive_in_time_closes_the_connection(sent: bytes) -> None:
    with running_frame(quick_connection(HttpLimits(), head_timeout_s=0.2)) as frame:
        assert code_of(frame.exchange(sent)) == "request_timeout"
        assert '"code":"request_timeout"' in frame.log_text()


def test_dripping_a_head_does_not_put_off_its_deadline() -> None:
    with (
        running_frame(quick_connection(HttpLimits(), head_timeout_s=0.3)) as frame,
        frame.connect() as client,
    ):
        client.settimeout(0.05)
        client.sendall(GET)
        answer = b""
        for number in range(400):
            try:
                client.sendall(b"X-%d: 1\r\n" % number if number < 90 else b"X")
                answer += client.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                break
            if answer:
                break
        assert b" 408 " in answer


def test_a_body_without_progress_closes_the_connection() -> None:
    with running_frame(quick_connection(HttpLimits(), body_interval_s=0.2)) as frame:
        key = frame.keys.issue("materials:write")
        head = b"POST /v1/writes/x HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nAuthorization: Bearer "
        answer = frame.exchange(head + key.encode() + b"\r\nContent-Length: 100\r\n\r\nabc")
        assert code_of(answer) == "request_timeout"
        assert frame.toy.written == 0


def test_a_body_that_makes_progress_is_not_cut() -> None:
    limits = quick_connection(HttpLimits(), body_interval_s=0.2, body_interval_bytes=1)
    with running_frame(limits) as frame, frame.connect() as client:
        key = frame.keys.issue("verify").encode()
        body = b'{"typeCode":"M1"}'
        client.sendall(
            b"POST /v1/questions HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer " + key + b"\r\nContent-Length: 17\r\n" + CLOSE
        )
        for at in range(len(body)):
            client.sendall(body[at : at + 1])
            threading.Event().wait(0.06)  # the sender's own pace
        assert b" 200 " in read_to_end(client)


def test_a_sender_is_not_cut_while_the_node_is_the_slow_side() -> None:
    limits = quick_connection(HttpLimits(), body_interval_s=0.1, body_interval_bytes=1)
    with running_frame(limits) as frame, frame.connect() as client:
        key = frame.keys.issue("materials:write").encode()
        client.sendall(
            b"POST /v1/late HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\nAuthorization: Bearer "
            + key
            + b"\r\n"
            + CLOSE
        )
        sender = threading.Thread(target=client.sendall, args=(b"x" * 1_000_000,))
        sender.start()
        threading.Event().wait(0.5)  # the node's own pace
        frame.toy.may_finish.set()
        assert b'{"size":1000000}' in read_to_end(client)
        sender.join()


def test_an_idle_connection_is_closed_after_its_time() -> None:
    with running_frame(quick_connection(HttpLimits(), keep_alive_s=0.2)) as frame, frame.connect() as client:
        client.sendall(GET + b"\r\n")
        assert b" 200 " in client.recv(65536)
        client.sendall(b"\r\n")  # stops the server's own keep-alive timer
        assert read_to_end(client) == b""


def test_the_rest_of_a_refused_body_is_drained_for_a_bounded_time_only() -> None:
    with running_frame(quick_connection(HttpLimits(), drain_s=0.2)) as frame, frame.connect() as client:
        client.sendall(HEAD + b"Content-Length: 1000000\r\n\r\n" + b"x" * 1000)
        assert b" 405 " in client.recv(65536)
        client.sendall(b"x" * 1000)  # stops the server's own keep-alive timer
        assert read_to_end(client) == b""


def test_a_connection_is_used_again_when_the_refused_body_has_come() -> None:
    with running_frame() as frame, frame.connect() as client:
        client.sendall(HEAD + b"Content-Length: 10\r\n\r\n")
        first = client.recv(65536)
        client.sendall(b"x" * 10 + GET + CLOSE)
        assert b" 405 " in first
        assert b" 200 " in read_to_end(client)


@pytest.mark.parametrize("ending", [CLOSE, b"\r\n"], ids=["close", "keep alive"])
def test_a_peer_that_stops_reading_is_cut_off(ending: bytes) -> None:
    limits = quick_connection(HttpLimits(), write_stall_s=0.2)
    with running_frame(limits) as frame, frame.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(b"GET /v1/open/large HTTP/1.1\r\nHost: a\r\n" + ending)
        until(lambda: '"route":"/v1/open/{what}"' in frame.log_text())
        until(lambda: not frame.server.server_state.connections)


AMBIGUOUS = {
    "CL and TE": HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE and CL": HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
    "same length twice": HEAD + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
    "length list": HEAD + b"Content-Length: 4, 4\r\n\r\nabcd",
    "signed length": HEAD + b"Content-Length: +4\r\n\r\nabcd",
    "other coding": HEAD + b"Transfer-Encoding: gzip\r\n\r\nabcd",
    "two codings": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "disguised coding": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked in 1.0": HEAD.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "space before colon": HEAD + b"Content-Length : 4\r\n\r\nabcd",
    "folded field": HEAD + b"X-A: 1\r\n Content-Length: 4\r\n\r\n",
    "bare line feeds": (HEAD + b"Content-Length: 0\r\n\r\n").replace(b"\r\n", b"\n"),
    "NUL in a field": HEAD + b"X-A: a\x00b\r\n\r\n",
    "no host": b"GET /v1/open/x HTTP/1.1\r\n\r\n",
    "two hosts": GET + b"Host: b\r\n\r\n",
    "upgrade": GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "connect": b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "trailer": HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: Bearer x\r\n\r\n",
    "bad chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "other version": b"GET / HTTP/3.0\r\nHost: a\r\n\r\n",
    "http 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "not http": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.fixture(scope="module")
def shared() -> Iterator[RunningFrame]:
    """One server for the tests that change nothing in it."""
    with running_frame() as frame:
        yield frame


@pytest.mark.parametrize("raw", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_a_message_that_can_be_read_in_two_ways_is_refused_and_ends_the_connection(
    shared: RunningFrame, raw: bytes
) -> None:
    smuggled = b"GET /v1/open/smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    answer = shared.exchange(raw + smuggled)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert code_of(answer) == "request_framing"


def test_no_answer_is_given_that_could_be_taken_for_an_earlier_requests() -> None:
    with running_frame() as frame, frame.connect() as client:
        key = frame.keys.issue("materials:write").encode()
        client.sendall(
            b"POST /v1/writes/slow HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 0\r\n"
            b"Authorization: Bearer " + key + b"\r\n\r\n" + b"\x00\x00\x00 garbage\r\n\r\n"
        )
        assert read_to_end(client) == b""


def test_pipelined_requests_are_answered_in_their_order(shared: RunningFrame) -> None:
    answer = shared.exchange(GET + b"\r\n" + HEAD + b"Content-Length: 0\r\n\r\n" + GET + CLOSE)
    assert re.findall(rb"HTTP/1.1 (\d+) ", answer) == [b"200", b"405", b"200"]


@pytest.mark.parametrize(
    "raw",
    [
        GET + b"X-A: " + b"a" * 40_000 + b"\r\n\r\n",
        GET + b"X-A: " + b"a" * 40_000,
        GET + b"".join(b"X-%d: 1\r\n" % number for number in range(101)) + b"\r\n",
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        GET + (b"X-A: " + b"a" * 1000 + b"\r\n") * 40 + b"\r\n",
    ],
    ids=["long field", "endless field", "many fields", "long target", "sum of fields"],
)
def test_a_head_beyond_its_bounds_is_refused(shared: RunningFrame, raw: bytes) -> None:
    assert code_of(shared.exchange(raw)) == "request_head_too_large"


def test_connections_beyond_the_bound_get_a_problem_and_are_closed() -> None:
    with running_frame(quick_connection(HttpLimits(), max_connections=2)) as frame:
        held = [frame.connect() for _ in range(2)]
        for client in held:
            client.sendall(GET + b"\r\n")
            assert b" 200 " in client.recv(65536)
        answer = frame.exchange(b"")
        assert code_of(answer) == "node_busy"
        assert b"retry-after: " in answer
        for client in held:
            client.close()


def test_the_watch_looks_often_enough_for_the_shortest_deadline() -> None:
    assert ConnectionLimits().watch_interval_s <= 2.5
    assert ConnectionLimits(drain_s=0.4).watch_interval_s == 0.1
    assert ConnectionLimits(drain_s=0.001).watch_interval_s == 0.01


class _Parser:
    """A parser that is more lenient than today's."""

    def __init__(self, version: str) -> None:
        self._version = version

    def get_http_version(self) -> str:
        return self._version

    def should_upgrade(self) -> bool:
        return False


@pytest.mark.parametrize(
    ("fields", "version"),
    [
        ({"content-length": "4", "transfer-encoding": "chunked"}, "1.1"),
        ({"transfer-encoding": "chunked, identity"}, "1.1"),
        ({"transfer-encoding": "chunked"}, "1.0"),
        ({}, "0.9"),
    ],
)
def test_framing_is_judged_here_also_if_the_parser_lets_it_pass(fields: dict[str, str], version: str) -> None:
    connection = object.__new__(DeadlineProtocol)
    connection.parser = _Parser(version)
    connection.headers = [
        (b"host", b"a"),
        *((name.encode(), value.encode()) for name, value in fields.items()),
    ]
    with pytest.raises(RequestFraming):
        connection._check_framing()
    connection.parser, connection.headers = _Parser("1.1"), [(b"host", b"a"), (b"content-length", b"4")]
    connection._check_framing()


def test_a_body_that_trickles_for_ever_is_cut_in_the_end() -> None:
    limits = quick_connection(HttpLimits(), body_interval_s=0.1, body_interval_bytes=1, body_total_s=0.5)
    with running_frame(limits) as frame, frame.connect() as client:
        key = frame.keys.issue("materials:write").encode()
        client.sendall(
            b"POST /v1/writes/x HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 100000\r\n"
            b"Authorization: Bearer " + key + b"\r\n\r\n"
        )
        client.settimeout(0.02)
        answer = b""
        for _ in range(2000):
            try:
                client.sendall(b"x")
                answer = client.recv(65536)
                break
            except TimeoutError:
                continue
        assert b" 408 " in answer
        assert frame.toy.written == 0


def test_time_in_which_the_process_stood_still_counts_against_nobody() -> None:
    limits = quick_connection(HttpLimits(), body_interval_s=2.0, head_timeout_s=2.0, keep_alive_s=2.0)
    with (
        running_frame(limits) as frame,
        frame.connect() as client,
        frame.connect() as other,
        frame.connect() as idle,
    ):
        key = frame.keys.issue("materials:write").encode()
        client.sendall(
            b"POST /v1/writes/x HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 30000\r\n"
            b"Authorization: Bearer " + key + b"\r\n" + CLOSE + b"x"
        )
        other.sendall(GET)
        idle.sendall(GET + b"\r\n")
        assert b" 200 " in idle.recv(65536)
        awake = threading.Event()
        # For longer than all deadlines; what the peers send comes just after it.
        frame.server.servers[0].get_loop().call_soon_threadsafe(lambda: (time.sleep(5), awake.set()))
        assert awake.wait(60)
        idle.sendall(GET + CLOSE)
        client.sendall(b"x" * 29_999)
        other.sendall(CLOSE)
        assert b" 200 " in read_to_end(idle)
        assert b" 201 " in read_to_end(client)
        assert b" 200 " in read_to_end(other)


def test_a_lack_of_memory_while_a_request_arrives_is_not_called_the_clients_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def on_body(self: DeadlineProtocol, body: bytes) -> None:
        raise MemoryError

    monkeypatch.setattr(DeadlineProtocol, "on_body", on_body)
    with running_frame() as frame:
        key = frame.keys.issue("materials:write").encode()
        head = b"POST /v1/writes/x HTTP/1.1\r\nHost: a\r\nIdempotency-Key: k\r\nContent-Length: 3\r\n"
        answer = frame.exchange(head + b"Authorization: Bearer " + key + b"\r\n\r\nabc")
        assert code_of(answer) == "node_busy"
