"""One JSON line an event on stderr: request, refusal, fault. No path, query, body or message text is in it.

An exception is logged by its type and the places it passed, since its words may hold what a caller sent.
Must not import routes, services or the store. Spec page: docs/reference/http-conventions.md "Logs".
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, BinaryIO, Final, NoReturn

import orjson
import structlog
from structlog.typing import FilteringBoundLogger

EXIT_STARVED = 8
_MAX_PLACES = 12
# Lines of requests are written together: the newest wait this long at most, or until so many are there.
FLUSH_SECONDS: Final = 0.02
FLUSH_LINES: Final = 64
_LINE: Final = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE
_POOL_LOGGER = "concurrent.futures"
_SERVER_LOGGERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", _POOL_LOGGER)


def make_logger(stream: BinaryIO | None = None) -> FilteringBoundLogger:
    """Return a logger that writes JSON lines to `stream`, by default stderr."""
    logger: FilteringBoundLogger = structlog.wrap_logger(
        structlog.BytesLogger(stream if stream is not None else sys.stderr.buffer),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=_encode),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    return logger


class RequestLog:
    """Writes the line of each answered request, as `make_logger` would, at a tenth of its cost.

    Belongs to one event loop, whose `call_later` it is lent; without one every line is written at once. A
    process that is killed loses the lines of its last `FLUSH_SECONDS`.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lines: list[bytes] = []
        self._later: Callable[[float, Callable[[], None]], object] | None = None
        self._due = False

    @property
    def waiting(self) -> int:
        """How many lines are not written yet."""
        return len(self._lines)

    def use_timer(self, call_later: Callable[[float, Callable[[], None]], object] | None) -> None:
        """Let lines wait for each other and have them written by `call_later`; None ends that."""
        self._later = call_later
        self.flush()

    def write(
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
        """Write one line; `code` is that of the problem that was answered, if any."""
        self._lines.append(
            orjson.dumps(
                {
                    "requestId": request_id,
                    "method": method,
                    "route": route,
                    "status": status,
                    "code": code,
                    "keyId": key_id,
                    "ms": round(seconds * 1000, 2),
                    "event": "request",
                    "level": "info",
                    "timestamp": datetime.now(UTC),
                },
                option=_LINE,
            )
        )
        if self._later is None or len(self._lines) >= FLUSH_LINES:
            self.flush()
        elif not self._due:
            self._due = True
            self._later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write the lines that wait."""
        self._due = False
        if self._lines:
            waiting, self._lines = b"".join(self._lines), []
            self._stream.write(waiting)
            self._stream.flush()


def places_of(error: BaseException) -> list[str]:
    """Return where `error` passed, innermost last, as module:line; neither its words nor any value."""
    places: list[str] = []
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "?")
        places.append(f"{module}:{trace.tb_lineno}")
        trace = trace.tb_next
    return places[-_MAX_PLACES:]


class LineHandler(logging.Handler):
    """Passes records of libraries on as JSON lines: the template of the message, never its arguments."""

    def __init__(self, logger: FilteringBoundLogger) -> None:
        super().__init__(logging.WARNING)
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; the message's arguments and an exception's words are left out."""
        if record.name == _POOL_LOGGER and record.exc_info and record.exc_info[0] is MemoryError:
            # The pool counts on the thread still, and somebody may wait for what it was to do.
            end_starved()
        fields: dict[str, Any] = {"logger": record.name, "template": str(record.msg)[:200]}
        if record.exc_info and record.exc_info[1] is not None:
            fields |= {"error": type(record.exc_info[1]).__name__, "places": places_of(record.exc_info[1])}
        self._logger.warning("library", **fields)


def adopt_server_loggers(logger: FilteringBoundLogger) -> None:
    """Send what uvicorn, asyncio and pools of threads log through `logger`, so that no traceback text is printed."""
    for name in _SERVER_LOGGERS:
        library = logging.getLogger(name)
        below = name.startswith("uvicorn.")
        library.handlers = [] if below else [LineHandler(logger)]
        library.propagate = below
        library.setLevel(logging.WARNING)


def _encode(event: dict[str, Any], **_options: Any) -> bytes:
    return orjson.dumps(event)


def end_starved() -> NoReturn:
    """End the process at once: what a thread without memory has left half done in here, nobody can know.

    The store is whole after any end; whoever supervises the node starts it again.
    """
    os.write(2, b'{"event":"no_memory","level":"error"}\n')
    os._exit(EXIT_STARVED)
