"""Hot routes: a request that is just what nearly all are, answered by one function between its last byte and ours.

The connection asks here before it starts the frame, the framework and a task for them, which cost several
times what a verdict does. A request is taken only when it can be seen that the ordinary way would answer 200:
head and body came at once, no field twice, a key that was proved a moment ago, a plain body, shares not used
up. Whatever else (a doubt, an error, a refusal) is given back as it came, and the ordinary way answers as if
nobody had looked. A property test sends both ways the same requests.
Must not import routes or services. Spec page: docs/reference/http-conventions.md "Hot routes".
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import Scope

from node.http.auth import Authenticator
from node.http.limits import SECURITY_HEADERS, AdmissionMiddleware, EnvelopeMiddleware
from node.store.rows import ApiKeyRow

# A question has some hundred bytes.
MAX_BODY_BYTES: Final = 16 << 10

_SECURITY_LINES: Final = b"".join([b"%b: %b\r\n" % field for field in SECURITY_HEADERS]) + b"\r\n"
_UNUSUAL_FIELDS: Final = frozenset({b"content-encoding", b"transfer-encoding", b"expect"})

Answer = Callable[[Any, bytes], bytes | None]
Endpoint = TypeVar("Endpoint", bound=Callable[..., Awaitable[Response]])


@dataclass(frozen=True, slots=True)
class HotRoute:
    """A route's template, the scope that a key needs for it, and its answer: `(node, body)` to JSON or None."""

    path_format: str
    scope: str
    answer: Answer


def hot(scope: str, answer: Answer) -> Callable[[Endpoint], Endpoint]:
    """Mark an endpoint without path parameters as hot; `answer` says what it says, or None in any doubt.

    Other threads wait meanwhile, so an answer takes well below a millisecond.
    """

    def mark(endpoint: Endpoint) -> Endpoint:
        endpoint.hot = scope, answer  # type: ignore[attr-defined]
        return endpoint

    return mark


def find_hot(routers: Sequence[APIRouter]) -> dict[tuple[str, str], HotRoute]:
    """Return the marked routes by method and path."""

    def marked() -> Iterator[tuple[tuple[str, str], HotRoute]]:
        for route in (route for router in routers for route in router.routes if isinstance(route, APIRoute)):
            if hasattr(route.endpoint, "hot"):
                found = HotRoute(route.path_format, *route.endpoint.hot)
                yield from (((method, route.path), found) for method in route.methods or ())

    return dict(marked())


class HotPath:
    """Answers the usual requests to hot routes whole, and none of the others."""

    def __init__(
        self,
        routes: Mapping[tuple[str, str], HotRoute],
        *,
        node: object,
        authenticator: Authenticator,
        admission: AdmissionMiddleware,
        envelope: EnvelopeMiddleware,
    ) -> None:
        self._routes = routes
        self._node = node
        self._authenticator = authenticator
        self._admission = admission
        self._envelope = envelope

    def takes(self, scope: Scope) -> bool:
        """Return whether the request's route is hot, so that its body is worth waiting for in this turn."""
        return (scope["method"], scope["path"]) in self._routes

    def answer(self, scope: Scope, body: bytes) -> bytes | None:
        """Return header fields, blank line and body of a 200, counted and logged; None, with nothing done."""
        started = time.perf_counter()
        route = self._routes[scope["method"], scope["path"]]
        fields = dict(scope["headers"])
        row = self._admitted(scope, fields, route.scope, len(body))
        answer = self._answer(scope, route, row.key_id, body) if row is not None else None
        if row is None or answer is None:
            return None
        request_id = self._envelope.ids.take(fields.get(b"x-request-id", b""))
        self._envelope.record(
            request_id,
            scope["method"],
            route.path_format,
            200,
            code=None,
            key_id=row.key_id,
            seconds=time.perf_counter() - started,
        )
        own = b"content-length: %d\r\ncontent-type: application/json\r\nx-request-id: %b\r\n"
        return own % (len(answer), request_id.encode("ascii")) + _SECURITY_LINES + answer

    def _admitted(
        self, scope: Scope, fields: dict[bytes, bytes], needed: str, length: int
    ) -> ApiKeyRow | None:
        """Return the caller's key if the head is the usual one and the node would take the request."""
        if len(fields) != len(scope["headers"]) or not _UNUSUAL_FIELDS.isdisjoint(fields):
            return None  # Which of two fields counts, or what this one asks for, is not decided here.
        row = self._authenticator.recognise(fields.get(b"authorization", b""))
        usual = (
            row is not None
            and needed in row.scopes
            and fields.get(b"content-type") == b"application/json"
            and fields.get(b"content-length") == b"%d" % length
            and not scope["query_string"]
            and not self._admission.full
        )
        return row if usual else None

    def _answer(self, scope: Scope, route: HotRoute, key_id: str, body: bytes) -> bytes | None:
        """Return what the route answers, with the shares taken; None with nothing taken."""
        if not self._authenticator.take_share(key_id):
            return None
        if not self._admission.take_share(scope):
            self._authenticator.give_back_share(key_id)
            return None
        try:
            answer = route.answer(self._node, body)
        except Exception:  # noqa: BLE001 - the ordinary way meets it again, and answers and logs it
            answer = None
        if answer is None:
            self._admission.give_back_share(scope)
            self._authenticator.give_back_share(key_id)
        return answer
