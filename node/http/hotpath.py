"""Hot routes: a request that is just what nearly all are, answered by one function between its last byte and ours.

The connection asks here before it starts the frame, the framework and a task for them, which cost several
times what a verdict does. A request is taken only when it can be seen that the ordinary way would answer 200:
head and body came at once, no field twice, a key that was proved a moment ago, a plain body, shares not used
up. Whatever else (a doubt, an error, a refusal) is given back as it came, and the ordinary way answers as if
nobody had looked. A property test sends both ways the same requests.
Must not import routes or services. Spec page: docs/reference/http-conventions.md "Hot routes".
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.types import Scope

from node.http.auth import Authenticator, proof_of
from node.http.limits import SECURITY_HEADERS, AdmissionMiddleware, EnvelopeMiddleware, client_address

# A question has some hundred bytes.
MAX_BODY_BYTES: Final = 16 << 10

_HEAD_END: Final = b"\r\n\r\n"
_KNOWN_HEADS: Final = 1024
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


@dataclass(frozen=True, slots=True)
class _Head:
    """What counts of a request's head: its route, the body's length, what proves its key, the id it asks for."""

    route: HotRoute
    method: str
    length: int
    proof: bytes
    request_id: bytes


class HotPath:
    """Answers the usual requests to hot routes whole, and none of the others.

    A caller sends the same head again and again: one that was parsed, and answered, is known by its digest from
    then on, and the next message with it goes without the parser. The digest, since a head holds a secret. What
    a head asks for (key, shares, room) is looked at each time.
    """

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
        self._heads: dict[bytes, _Head] = {}

    def takes(self, scope: Scope) -> bool:
        """Return whether the request's route is hot, so that its body is worth waiting for in this turn."""
        return (scope["method"], scope["path"]) in self._routes

    def answer(self, scope: Scope, body: bytes, *, message: bytes = b"") -> bytes | None:
        """Return header fields, blank line and body of a 200, counted and logged; None, with nothing done.

        `message` is all that the connection read since it was idle, if that is where this request began.
        """
        head = self._head_of(scope, len(body))
        answer = self._answer(head, client_address(scope), body) if head is not None else None
        if answer is not None and head is not None and not head.request_id:
            self._remember(head, message, fields=len(scope["headers"]))
        return answer

    def answer_known(self, message: bytes, address: str) -> bytes | None:
        """Return what `answer` returns for a whole message with a known head; None, with nothing done."""
        start = message.find(_HEAD_END) + len(_HEAD_END)
        head = self._heads.get(hashlib.sha256(message[:start]).digest())
        if head is None or len(message) - start != head.length:
            return None
        return self._answer(head, address, message[start:])

    def _head_of(self, scope: Scope, length: int) -> _Head | None:
        """Return what counts of the head if it is the usual one."""
        fields = dict(scope["headers"])
        if len(fields) != len(scope["headers"]) or not _UNUSUAL_FIELDS.isdisjoint(fields):
            return None  # Which of two fields counts, or what this one asks for, is not decided here.
        usual = (
            fields.get(b"content-type") == b"application/json"
            and fields.get(b"content-length") == b"%d" % length
            and not scope["query_string"]
        )
        if not usual:
            return None
        route = self._routes[scope["method"], scope["path"]]
        proof = proof_of(fields.get(b"authorization", b""))
        return _Head(route, scope["method"], length, proof, fields.get(b"x-request-id", b""))

    def _remember(self, head: _Head, message: bytes, *, fields: int) -> None:
        """Know the head of `message` again if the message is just one, so that nobody can read it in two ways.

        Each line of the head ends in one line feed: where there are more, the parser saw its end before.
        """
        start = message.find(_HEAD_END) + len(_HEAD_END)
        if len(message) - start != head.length or message.count(b"\n", 0, start) != fields + 2:
            return
        if len(self._heads) >= _KNOWN_HEADS:
            self._heads.clear()
        self._heads[hashlib.sha256(message[:start]).digest()] = head

    def _answer(self, head: _Head, address: str, body: bytes) -> bytes | None:
        started = time.perf_counter()
        row = self._authenticator.recognise(head.proof)
        if row is None or head.route.scope not in row.scopes or self._admission.full:
            return None
        answer = self._charged(head.route, row.key_id, address, body)
        if answer is None:
            return None
        request_id = self._envelope.ids.take(head.request_id)
        self._envelope.record(
            request_id,
            head.method,
            head.route.path_format,
            200,
            code=None,
            key_id=row.key_id,
            seconds=time.perf_counter() - started,
        )
        own = b"content-length: %d\r\ncontent-type: application/json\r\nx-request-id: %b\r\n%b%b"
        return own % (len(answer), request_id.encode("ascii"), _SECURITY_LINES, answer)

    def _charged(self, route: HotRoute, key_id: str, address: str, body: bytes) -> bytes | None:
        """Return what the route answers, with the shares taken; None with nothing taken."""
        if not self._authenticator.take_share(key_id):
            return None
        if not self._admission.take_share(address):
            self._authenticator.give_back_share(key_id)
            return None
        try:
            answer = route.answer(self._node, body)
        except Exception:  # noqa: BLE001 - the ordinary way meets it again, and answers and logs it
            answer = None
        if answer is None:
            self._admission.give_back_share(address)
            self._authenticator.give_back_share(key_id)
        return answer
