"""One JSON line an event on stderr: request, refusal, fault. No path, query, body or message text is in it.

An exception is logged by its type and the places it passed, since its words may hold what a caller sent.
Must not import routes, services or the store. Spec page: docs/reference/http-conventions.md "Logs".
"""

from __future__ import annotations

import logging
import sys
from types import TracebackType
from typing import Any, BinaryIO

import orjson
import structlog
from structlog.typing import FilteringBoundLogger

_MAX_PLACES = 12
_SERVER_LOGGERS = ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio")


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
        fields: dict[str, Any] = {"logger": record.name, "template": str(record.msg)[:200]}
        if record.exc_info and record.exc_info[1] is not None:
            fields |= {"error": type(record.exc_info[1]).__name__, "places": places_of(record.exc_info[1])}
        self._logger.warning("library", **fields)


def adopt_server_loggers(logger: FilteringBoundLogger) -> None:
    """Send what uvicorn and asyncio log through `logger`, so that no traceback text reaches stderr."""
    for name in _SERVER_LOGGERS:
        library = logging.getLogger(name)
        library.handlers = [LineHandler(logger)] if "." not in name else []
        library.propagate = "." in name
        library.setLevel(logging.WARNING)


def _encode(event: dict[str, Any], **_options: Any) -> bytes:
    return orjson.dumps(event)
