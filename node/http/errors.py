"""Refusals of the HTTP edge: what the frame itself raises before, around and after a use case.

    HttpError
    ├── RequestMalformed ── RequestTooDeep, RequestTooLarge, RequestNotNfc, RequestInvalid,
    │                       RequestMediaUnsupported, RequestTimeout, RequestFraming, RequestHeadTooLarge
    ├── UploadMalformed ─── UploadTruncated, UploadTooLarge, FileNameInvalid
    ├── AuthMissing, AuthInvalid, AuthExpired, AuthForbidden, ScopeUnknown, PurposeMissing
    ├── IdempotencyMissing, IdempotencyInProgress, IdempotencyMismatch
    ├── CursorInvalid
    └── RateLimited, NodeBusy, ResponseAborted

No class knows a status: that table is `problems.py`. Must not import FastAPI or Starlette.
Spec page: docs/reference/problems.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from node.errors import NodeError


@dataclass(frozen=True, slots=True)
class FieldFault:
    """Where a request is wrong (JSON pointer, RFC 6901) and how (a stable code); never what stood there."""

    pointer: str
    code: str


class HttpError(NodeError):
    """Base of the refusals of the HTTP edge; `retry_after_s` becomes a Retry-After header."""

    code = "http_error"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        retry_after_s: int | None = None,
        faults: Sequence[FieldFault] = (),
        **facts: str | int,
    ) -> None:
        super().__init__(message, hint=hint, **facts)
        self.retry_after_s = retry_after_s
        self.faults = tuple(faults)


class RequestMalformed(HttpError):
    """The body is not the strict JSON that this service reads."""

    code = "request_malformed"


class RequestTooDeep(RequestMalformed):
    """Arrays and objects are nested deeper than the bound."""

    code = "request_too_deep"


class RequestTooLarge(RequestMalformed):
    """The body has more bytes than the route takes."""

    code = "request_too_large"


class RequestNotNfc(RequestMalformed):
    """A string is not in Unicode normalisation form C, so two spellings of it would have two digests."""

    code = "request_not_nfc"


class RequestInvalid(RequestMalformed):
    """The body is JSON, and a field of it is missing, unknown or out of range; `faults` says which."""

    code = "request_invalid"


class RequestMediaUnsupported(RequestMalformed):
    """Content-Type or Content-Encoding is none that the route takes."""

    code = "request_media_unsupported"


class RequestTimeout(RequestMalformed):
    """Head or body did not arrive within its deadline."""

    code = "request_timeout"


class RequestFraming(RequestMalformed):
    """The HTTP message can be read in two ways (RFC 9112 §6.3), or not at all."""

    code = "request_framing"


class RequestHeadTooLarge(RequestMalformed):
    """Request line and header fields exceed the bound."""

    code = "request_head_too_large"


class UploadMalformed(HttpError):
    """The multipart body is not one `meta` part followed by one `file` part."""

    code = "upload_malformed"


class UploadTruncated(UploadMalformed):
    """The upload ended before its closing boundary."""

    code = "upload_truncated"


class UploadTooLarge(UploadMalformed):
    """The file has more bytes than this node takes."""

    code = "upload_too_large"


class FileNameInvalid(UploadMalformed):
    """The file name is empty, too long, or carries control characters or bidirectional overrides."""

    code = "file_name_invalid"


class AuthMissing(HttpError):
    """No bearer key was sent."""

    code = "auth_missing"


class AuthInvalid(HttpError):
    """The bearer key is malformed, unknown, wrong or revoked; which of these is not said."""

    code = "auth_invalid"


class AuthExpired(HttpError):
    """The bearer key was right, and its time is over."""

    code = "auth_expired"


class AuthForbidden(HttpError):
    """The key is valid and lacks a scope that the route asks for."""

    code = "auth_forbidden"


class ScopeUnknown(HttpError):
    """A key or a route names a scope that does not exist."""

    code = "scope_unknown"


class PurposeMissing(HttpError):
    """A read of personal data came without purpose or case."""

    code = "purpose_missing"


class IdempotencyMissing(HttpError):
    """A write came without a usable Idempotency-Key."""

    code = "idempotency_missing"


class IdempotencyInProgress(HttpError):
    """Another request with the same key is still running."""

    code = "idempotency_in_progress"


class IdempotencyMismatch(HttpError):
    """The same key was used for another request."""

    code = "idempotency_mismatch"


class CursorInvalid(HttpError):
    """The page cursor was not issued by this node for this route and filter."""

    code = "cursor_invalid"


class RateLimited(HttpError):
    """More requests than the caller's share."""

    code = "rate_limited"


class NodeBusy(HttpError):
    """As many connections or requests are open as the node takes."""

    code = "node_busy"


class ResponseAborted(HttpError):
    """An answer could not be finished; the connection is closed, so nobody takes the half for the whole."""

    code = "response_aborted"
