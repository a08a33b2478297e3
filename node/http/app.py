"""Puts routers into the frame: one FastAPI app with strict bodies, problems, ids, limits, logs and metrics.

Routes import their helpers from here: `raw_json`, `read_json`, `example`. Must not import routes, services or
the store's engine. Spec page: docs/reference/http-conventions.md.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from node.http.auth import ApiKeys, Authenticator
from node.http.cursors import cursor_scope, decode_cursor, encode_cursor
from node.http.errors import RequestMediaUnsupported
from node.http.hotpath import HotPath, find_hot
from node.http.idempotency import IdempotencyGate
from node.http.limits import AdmissionMiddleware, EnvelopeMiddleware, HttpLimits, read_body
from node.http.logs import RequestLog, make_logger
from node.http.metrics import Metrics
from node.http.problems import PROBLEM_MEDIA_TYPE, install_handlers
from node.http.ratelimits import TokenBuckets
from node.http.strictjson import decode_body

T = TypeVar("T")
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
_JSON_TYPE = re.compile(r"application/json(?:\s*;\s*charset=\"?utf-8\"?)?", re.IGNORECASE)
_PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Problem details (RFC 9457); see docs/reference/problems.md.",
    "required": ["type", "title", "status", "instance", "code", "requestId", "retryable"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string", "format": "uri"},
        "code": {"type": "string"},
        "requestId": {"type": "string"},
        "retryable": {"type": "boolean"},
        "hint": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "code"],
                "properties": {"pointer": {"type": "string"}, "code": {"type": "string"}},
            },
        },
    },
}


@dataclass(frozen=True, slots=True)
class FrameParts:
    """What the frame needs of a node; `runtime` fills it in."""

    api_keys: ApiKeys
    pepper: bytes
    cursor_key: bytes
    idempotency: IdempotencyGate
    clock: Callable[[], float] = time.time
    limits: HttpLimits = field(default_factory=HttpLimits)
    version: str = "0"
    logger: FilteringBoundLogger = field(default_factory=make_logger)
    request_log: RequestLog = field(default_factory=lambda: RequestLog(sys.stderr.buffer))


@dataclass(frozen=True, slots=True)
class Frame:
    """The parts that routes reach through `frame_of(request)`."""

    authenticator: Authenticator
    idempotency: IdempotencyGate
    limits: HttpLimits
    metrics: Metrics
    logger: FilteringBoundLogger
    request_log: RequestLog
    cursor_key: bytes

    def encode_cursor(self, position: bytes, route: str, **filters: str | int | None) -> str:
        """Return a cursor that is good for this route and these filters only."""
        return encode_cursor(self.cursor_key, position, scope=cursor_scope(route, **filters))

    def decode_cursor(self, cursor: str, route: str, **filters: str | int | None) -> bytes:
        """Return the position in `cursor`; raises CursorInvalid."""
        return decode_cursor(self.cursor_key, cursor, scope=cursor_scope(route, **filters))


def create_app(
    parts: FrameParts, routers: Sequence[APIRouter], *, node: object = None, lifespan: Lifespan | None = None
) -> FastAPI:
    """Return the app that serves `routers`; routes find `node` at `request.app.state.node`."""
    frame = _make_frame(parts)
    inner: list[ASGIApp] = []

    async def framework(scope: Scope, receive: Receive, send: Send) -> None:
        await inner[0](scope, receive, send)

    admission = AdmissionMiddleware(framework, limits=frame.limits)
    envelope = EnvelopeMiddleware(
        admission, metrics=frame.metrics, logger=frame.logger, request_log=frame.request_log
    )

    def wrap(others: ASGIApp) -> ASGIApp:
        inner[:] = [others]  # The framework builds its stack when it is first called.
        return envelope

    app = FastAPI(
        title="Deltaseal",
        version=parts.version,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        lifespan=lifespan,
        # A redirect would repeat the path, and with it whatever a caller put there.
        redirect_slashes=False,
        middleware=[Middleware(wrap)],
    )
    app.state.frame, app.state.node = frame, node
    app.state.hot_path = HotPath(
        find_hot(routers),
        node=node,
        authenticator=frame.authenticator,
        admission=admission,
        envelope=envelope,
    )
    install_handlers(app)
    app.include_router(_metrics_router())
    for router in routers:
        app.include_router(router)
    _describe(app)
    return app


def frame_of(request: Request) -> Frame:
    """Return the frame that `request` came through."""
    frame: Frame = request.app.state.frame
    return frame


def raw_json(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer `value` as JSON without a response model: bytes go out as they are, all else through msgspec."""
    body = value if isinstance(value, bytes) else msgspec.json.encode(value)
    return Response(body, status_code=status, media_type="application/json", headers=dict(headers or {}))


async def read_json(request: Request, shape: type[T], *, limit: int | None = None, floats: bool = False) -> T:
    """Read the body of `request` strictly as `shape`.

    Raises:
        RequestMediaUnsupported: the content type is not application/json.
        RequestMalformed: as `strictjson.decode_body`, RequestTooLarge beyond `limit`.
    """
    check_json_type(request)
    bound = frame_of(request).limits.max_json_bytes if limit is None else limit
    return decode_body(await read_body(request, limit=bound), shape, limit=bound, floats=floats)


def check_json_type(request: Request) -> None:
    """Refuse a content type other than application/json in UTF-8."""
    if not _JSON_TYPE.fullmatch(request.headers.get("content-type", "").strip()):
        raise RequestMediaUnsupported(
            "the body is not application/json", hint="send Content-Type: application/json"
        )


# Schemas of request bodies, by name; collected while the routes are declared.
_SHAPES: dict[str, Any] = {}
_KEY_PARAMETER: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": "names this write: a repeated request is answered as the first was",
    "schema": {"type": "string", "pattern": "^[!#-~]{1,128}$"},
}
_PURPOSE_PARAMETERS: tuple[dict[str, Any], ...] = tuple(
    {
        "name": name,
        "in": "header",
        "required": True,
        "description": text,
        "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-$&-~]+$"},
    }
    for name, text in (
        ("Deltaseal-Purpose", "what the document is read for, percent-encoded UTF-8; kept in the audit log"),
        ("Deltaseal-Case", "number of the case, percent-encoded UTF-8; kept in the audit log"),
    )
)


def example(
    *,
    request: object = None,
    response: object = None,
    status: int = 200,
    media_type: str = "application/json",
    shape: Any = None,
    response_media_type: str = "application/json",
    also: Mapping[int, str] | None = None,
    keyed: bool = False,
    purposed: bool = False,
) -> dict[str, Any]:
    """Return `openapi_extra` for a route: an example of what it takes and of what it answers.

    The frame cannot derive what routes read themselves: `shape` is the struct of the request body, `also` names
    further statuses of success, `keyed` says that the route takes an Idempotency-Key, `purposed` that it takes
    purpose and case.
    """
    extra: dict[str, Any] = {}
    if request is not None:
        content = {"schema": _schema_of(shape), "example": request}
        extra["requestBody"] = {"required": True, "content": {media_type: content}}
    found = {status: "Successful Response", **(also or {})} if response is not None else dict(also or {})
    if found:
        extra["responses"] = {
            str(number): {"description": text, "content": {response_media_type: {}}}
            for number, text in found.items()
        }
    if response is not None:
        extra["responses"][str(status)]["content"][response_media_type] = {"example": response}
    parameters = [*([_KEY_PARAMETER] if keyed else ()), *(_PURPOSE_PARAMETERS if purposed else ())]
    return {**extra, "parameters": parameters} if parameters else extra


def _schema_of(shape: Any) -> dict[str, Any]:
    if shape is None:
        return {"type": "object"}
    (schema,), components = msgspec.json.schema_components(
        [shape], ref_template="#/components/schemas/{name}"
    )
    _SHAPES.update(components)
    return dict(schema)


def _make_frame(parts: FrameParts) -> Frame:
    limits = parts.limits
    authenticator = Authenticator(
        parts.api_keys,
        pepper=parts.pepper,
        clock=parts.clock,
        failures=TokenBuckets(rate_per_s=limits.failure_rate_per_s, burst=limits.failure_burst),
        requests=TokenBuckets(rate_per_s=limits.key_rate_per_s, burst=limits.key_burst),
    )
    return Frame(
        authenticator,
        parts.idempotency,
        limits,
        Metrics(),
        parts.logger,
        parts.request_log,
        parts.cursor_key,
    )


def _metrics_router() -> APIRouter:
    router = APIRouter()

    @router.get(
        "/metrics",
        summary="Figures in the Prometheus text format",
        openapi_extra=example(
            response="deltaseal_http_in_flight 1.0\n", response_media_type="text/plain; version=0.0.4"
        ),
        response_class=Response,
    )
    async def metrics(request: Request) -> Response:
        figures = frame_of(request).metrics
        return Response(figures.render(), headers={"Content-Type": figures.content_type})

    return router


def _describe(app: FastAPI) -> None:
    """Serve an OpenAPI document in which every operation may answer our problem, and no other."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(title=app.title, version=app.version, routes=app.routes)
            app.openapi_schema = _with_problems(document)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _with_problems(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas |= {**_SHAPES, "Problem": _PROBLEM_SCHEMA}
    content = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path in document.get("paths", {}).values():
        for operation in path.values():
            own = operation["responses"].pop("422", {})
            if (
                own and own["description"] != "Validation Error"
            ):  # that is the framework's, which we never answer
                own["content"]["application/json"].pop("schema", None)
                operation["responses"]["422"] = own
            operation["responses"]["default"] = {"description": "Problem", "content": content}
    return document
