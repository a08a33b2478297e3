"""Problem details (RFC 9457): answers made of an error and its row in `problemrows`.

Detail and hint are the error's own English words, which never hold user input; the title is Chinese or English by
Accept-Language.
Must not import the store, services or routes. Spec page: docs/reference/problems.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from anchor.errors import DeltasealError
from anchor.problemrows import REGISTRY, ProblemRow
from node.http.errors import FieldFault, HttpError, RequestInvalid
from verifier.errors import declared_places

Language = Literal["zh", "en"]

PROBLEM_MEDIA_TYPE = "application/problem+json"
PROBLEM_TYPE_BASE = "https://deltaseal.example/problems/"
RETRY_AFTER_S = 5  # where the error does not know better


_STATUS_CODES = {
    400: "request_refused",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "request_timeout",
    413: "request_too_large",
    415: "request_media_unsupported",
    416: "range_not_satisfiable",
    429: "rate_limited",
    503: "node_busy",
}
# pydantic's type → our code; the others are "invalid". Its message may hold the input and is never used.
_PARAMETER_CODES = {
    "missing": "missing",
    "extra_forbidden": "unknown_field",
    "enum": "not_allowed",
    "literal_error": "not_allowed",
    "string_too_long": "length",
    "string_too_short": "length",
    "string_pattern_mismatch": "pattern",
    "greater_than_equal": "range",
    "less_than_equal": "range",
    "greater_than": "range",
    "less_than": "range",
    "int_parsing": "type",
    "bool_parsing": "type",
    "string_type": "type",
}
_QUALITY = re.compile(r"(?:q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?")  # RFC 9110 §12.4.2
_REASON = re.compile(r"[a-z][a-z0-9_]{0,63}")  # a code, never prose
_INTERNAL_ROW = REGISTRY["internal"]


def row_of(code: str) -> ProblemRow:
    """Return the row of `code`; an unknown code is an internal error, never something milder."""
    return REGISTRY.get(code, _INTERNAL_ROW)


def problem_response(error: DeltasealError, request: Request) -> Response:
    """Render `error` as problem details in the caller's language."""
    return _render(
        error.code, request.scope, detail=str(error), hint=error.hint, faults=_faults_of(error), error=error
    )


def frame_problem(code: str, scope: Scope, *, headers: Mapping[str, str] | None = None) -> Response:
    """Render one of `FRAME_CODES`, which have no words beyond their title."""
    return _render(code, scope, headers=headers)


def install_handlers(app: FastAPI) -> None:
    """Answer every error that a route raises as problem details; unforeseen ones are the middleware's."""

    async def on_error(request: Request, error: Exception) -> Response:
        return problem_response(_as_error(error), request)

    async def on_http_exception(request: Request, error: Exception) -> Response:
        return _http_problem(_as_http(error), request)

    async def on_invalid_parameters(request: Request, error: Exception) -> Response:
        return problem_response(_parameter_error(error), request)

    app.add_exception_handler(DeltasealError, on_error)
    app.add_exception_handler(HTTPException, on_http_exception)
    app.add_exception_handler(RequestValidationError, on_invalid_parameters)


def choose_language(accept_language: str) -> Language:
    """Return the caller's first choice of zh and en (RFC 9110 §12.5.4); zh when neither is named."""
    best: tuple[float, Language] = (0.0, "zh")
    for item in accept_language[:256].split(","):
        tag, _, parameter = item.strip().partition(";")
        primary = tag.strip().lower().partition("-")[0]
        weight = _weight(parameter.strip())
        if primary in ("zh", "en") and weight > best[0]:
            best = (weight, "zh" if primary == "zh" else "en")
    return best[1]


def problem_bytes(
    code: str,
    *,
    request_id: str,
    language: Language,
    detail: str = "",
    hint: str = "",
    faults: tuple[FieldFault, ...] = (),
) -> bytes:
    """Encode the problem object of docs/reference/problems.md; empty members are left out."""
    row = row_of(code)
    body: dict[str, Any] = {
        "type": PROBLEM_TYPE_BASE + code,
        "title": row.zh if language == "zh" else row.en,
        "status": row.status,
        "detail": detail,
        # The path may hold what should not stand there, so the occurrence is named by its request.
        "instance": "urn:deltaseal:request:" + request_id,
        "code": code,
        "requestId": request_id,
        "retryable": row.retryable,
        "hint": hint,
        "errors": [{"pointer": fault.pointer, "code": fault.code} for fault in faults],
    }
    return msgspec.json.encode({name: value for name, value in body.items() if value not in ("", [])})


def _render(
    code: str,
    scope: Scope,
    *,
    detail: str = "",
    hint: str = "",
    faults: tuple[FieldFault, ...] = (),
    error: DeltasealError | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    row = row_of(code)
    language = choose_language(_header(scope, b"accept-language"))
    request_id = request_id_of(scope)
    # For the access log: the code says more than the status.
    scope.setdefault("state", {})["problem_code"] = code
    return Response(
        problem_bytes(
            code, request_id=request_id, language=language, detail=detail, hint=hint, faults=faults
        ),
        status_code=row.status,
        media_type=PROBLEM_MEDIA_TYPE,
        headers={
            "Content-Language": language,
            **_retry_after(row, error),
            **_challenge(row),
            **(headers or {}),
        },
    )


def request_id_of(scope: Scope) -> str:
    """Return the id that the frame gave this request; "" outside of the frame."""
    value = scope.get("state", {}).get("request_id", "")
    return value if isinstance(value, str) else ""


def _faults_of(error: DeltasealError) -> tuple[FieldFault, ...]:
    # The verifier names the places in a catalogue entry `problems`; they have the same two members.
    found: Sequence[Any] = getattr(error, "faults", ()) or declared_places(getattr(error, "problems", ()))
    reason = str(error.facts.get("reason", ""))
    if not found and _REASON.fullmatch(reason):  # a use case names one field, or the whole, by facts
        return (FieldFault(str(error.facts.get("pointer", "")), reason),)
    return tuple(FieldFault(item.pointer, item.code) for item in found)


def _retry_after(row: ProblemRow, error: DeltasealError | None) -> dict[str, str]:
    if row.status not in (429, 503):
        return {}
    wait = error.retry_after_s if isinstance(error, HttpError) else None
    return {"Retry-After": str(RETRY_AFTER_S if wait is None else wait)}


def _challenge(row: ProblemRow) -> dict[str, str]:
    return {"WWW-Authenticate": 'Bearer realm="deltaseal"'} if row.status == 401 else {}


def _http_problem(error: HTTPException, request: Request) -> Response:
    cause = error.__cause__
    if isinstance(cause, DeltasealError):  # the framework wraps what a body stream raises
        return problem_response(cause, request)
    code = _STATUS_CODES.get(error.status_code, "request_refused" if error.status_code < 500 else "internal")
    # error.detail may repeat the input, so only headers such as Allow are kept.
    return frame_problem(code, request.scope, headers=error.headers)


def _parameter_error(error: Exception) -> RequestInvalid:
    found = error.errors() if isinstance(error, RequestValidationError) else ()
    faults = tuple(
        FieldFault(_parameter_pointer(item), _PARAMETER_CODES.get(item["type"], "invalid")) for item in found
    )
    return RequestInvalid(
        "a parameter of the request is not as it should be",
        hint="errors names the parameter; the operation's schema is in /openapi.json",
        faults=faults[:32],
    )


def _parameter_pointer(item: Mapping[str, Any]) -> str:
    # Only the declared names and positions: a key below them could be the caller's own text.
    location = item["loc"] if item["type"] != "extra_forbidden" else item["loc"][:-1]
    return "".join(f"/{part}" for part in location[:2])


def _weight(parameter: str) -> float:
    match = _QUALITY.fullmatch(parameter)
    return float(match.group(1) or 1.0) if match else 0.0


def _header(scope: Scope, name: bytes) -> str:
    for key, value in scope.get("headers", ()):
        if key == name:
            return str(value.decode("latin-1"))
    return ""


def _as_error(error: Exception) -> DeltasealError:
    if not isinstance(error, DeltasealError):
        raise error
    return error


def _as_http(error: Exception) -> HTTPException:
    if not isinstance(error, HTTPException):
        raise error
    return error
