"""Log lines: types, places and templates, and never the words or arguments of anybody."""

import io
import json
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from node.http import logs
from node.http.logs import (
    FLUSH_LINES,
    FLUSH_SECONDS,
    LineHandler,
    RequestLog,
    adopt_server_loggers,
    make_logger,
    places_of,
)

CITIZEN_ID = "310104185001010014"


def no_memory() -> None:
    raise MemoryError


def lines(stream: io.BytesIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_level_and_time() -> None:
    stream = io.BytesIO()
    make_logger(stream).info("request", status=200)
    (line,) = lines(stream)
    assert (line["event"], line["status"], line["level"]) == ("request", 200, "info")
    assert line["timestamp"].endswith("Z")


def test_a_librarys_line_keeps_the_template_and_drops_arguments_and_words() -> None:
    stream, library = io.BytesIO(), logging.getLogger("deltaseal.test.library")
    library.handlers, library.propagate = [LineHandler(make_logger(stream))], False
    library.warning("refused %s", CITIZEN_ID)
    try:
        raise ValueError(CITIZEN_ID)
    except ValueError:
        library.exception("failed for %r", CITIZEN_ID)
    assert CITIZEN_ID not in stream.getvalue().decode()
    first, second = lines(stream)
    assert (first["template"], first["logger"]) == ("refused %s", "deltaseal.test.library")
    assert (second["error"], len(second["places"])) == ("ValueError", 1)


def test_a_pool_whose_thread_got_no_memory_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[bool] = []
    monkeypatch.setattr(logs, "end_starved", lambda: ended.append(True))
    adopt_server_loggers(make_logger(io.BytesIO()))
    pool = ThreadPoolExecutor(1)
    monkeypatch.setattr(pool._idle_semaphore, "release", no_memory)
    assert pool.submit(int).result() == 0
    pool.shutdown()
    assert ended


def test_places_are_modules_and_lines_innermost_last() -> None:
    def fail() -> None:
        raise RuntimeError(CITIZEN_ID)

    with pytest.raises(RuntimeError) as caught:
        fail()
    places = places_of(caught.value)
    assert [place.rsplit(":", 1)[0] for place in places] == [__name__, __name__]
    assert all(place.rsplit(":", 1)[1].isdigit() for place in places)


def test_the_servers_loggers_write_nowhere_else(capfd: pytest.CaptureFixture[str]) -> None:
    stream = io.BytesIO()
    adopt_server_loggers(make_logger(stream))
    logging.getLogger("uvicorn.error").error(
        "Exception in ASGI application\n", exc_info=ValueError(CITIZEN_ID)
    )
    logging.getLogger("asyncio").error("Task exception was never retrieved %s", CITIZEN_ID)
    assert [line["logger"] for line in lines(stream)] == ["uvicorn.error", "asyncio"]
    assert CITIZEN_ID not in stream.getvalue().decode()
    assert capfd.readouterr().err == ""


def write_line(log: RequestLog) -> None:
    log.write("req_1", "POST", "/v1/verify", 200, code=None, key_id="k", seconds=0.0123456)


def test_the_line_of_a_request_is_the_loggers_own() -> None:
    ours, theirs = io.BytesIO(), io.BytesIO()
    write_line(RequestLog(ours))
    fields = {"requestId": "req_1", "method": "POST", "route": "/v1/verify", "status": 200, "code": None}
    make_logger(theirs).info("request", **fields, keyId="k", ms=12.35)
    shape = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z")
    assert shape.sub(b"", ours.getvalue()) == shape.sub(b"", theirs.getvalue())


def test_lines_of_requests_wait_for_each_other_and_none_is_lost() -> None:
    stream, due = io.BytesIO(), []
    log = RequestLog(stream)
    log.use_timer(lambda seconds, flush: due.append((seconds, flush)))
    write_line(log)
    write_line(log)
    assert (log.waiting, stream.getvalue(), [seconds for seconds, _ in due]) == (2, b"", [FLUSH_SECONDS])
    due.pop()[1]()
    assert (log.waiting, len(lines(stream))) == (0, 2)
    for _ in range(FLUSH_LINES + 1):
        write_line(log)
    assert (log.waiting, len(lines(stream))) == (1, 2 + FLUSH_LINES)
    log.use_timer(None)
    assert (log.waiting, len(lines(stream))) == (0, 3 + FLUSH_LINES)
