"""One write, one answer: the frame around every use case that changes something.

The answer is stored in the use case's own batch, so a retry with the same Idempotency-Key replays it and a crash in
between leaves neither. Spec page: docs/reference/http-conventions.md "Idempotency".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from anchor.keyvalue import Put
from node.context import Node
from node.http.app import frame_of
from node.http.auth import Caller
from node.http.idempotency import Replay, Slot, digest_request, read_idempotency_key, replay_response
from node.http.limits import route_template
from node.services.recording import Actor

POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, a JSON value and headers."""

    status: int
    value: object
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        return msgspec.json.encode(self.value)

    def response(self) -> Response:
        return Response(self.body, self.status, dict(self.headers), "application/json")


@dataclass(slots=True)
class Kept:
    """Collects the answer that goes into the use case's batch."""

    slot: Slot
    answer: Answer | None = None

    def keep(self, answer: Answer) -> list[Put]:
        """Remember `answer` and return the rows that store it."""
        self.answer = answer
        return self.slot.finish_ops(answer.status, answer.headers, answer.body)


def node_of(request: Request) -> Node:
    """Return the node behind this app."""
    node: Node = request.app.state.node
    return node


def actor_of(caller: Caller) -> Actor:
    """Return the caller as use cases know it."""
    return Actor(caller.agency, caller.key_id, caller.request_id)


def begin_once(request: Request, caller: Caller, payload: bytes) -> Slot | Response:
    """Open the slot of a write, or return the stored answer of the first one.

    Raises:
        IdempotencyMissing, IdempotencyInProgress, IdempotencyMismatch.
    """
    key = read_idempotency_key(request.headers.get("idempotency-key"))
    query = request.scope["query_string"].decode("latin-1")
    target = request.scope["path"] + ("?" + query if query else "")
    began = frame_of(request).idempotency.begin(
        caller.agency,
        f"{request.method} {route_template(request.scope)}",
        key=key,
        request_digest=digest_request(request.method, target, payload),
    )
    if isinstance(began, Replay):
        return replay_response(began)
    return began


async def answer_once(
    request: Request,
    caller: Caller,
    payload: bytes,
    work: Callable[[Kept], Answer],
    *,
    threads: Executor | None = None,
) -> Response:
    """Run `work` in a thread, one of `threads` if given, for a first request; replay a repeated one."""
    began = begin_once(request, caller, payload)
    if isinstance(began, Response):
        return began
    with began as slot:
        return (await finish_once(node_of(request), slot, work, threads=threads)).response()


async def finish_once(
    node: Node, slot: Slot, work: Callable[[Kept], Answer], *, threads: Executor | None = None
) -> Answer:
    """Run `work` in a thread; store its answer if its own batch did not, and return the one that is stored.

    What could be said a moment later may differ: a repeat answers with the same bytes.
    """
    kept = Kept(slot)
    answer = await asyncio.get_running_loop().run_in_executor(threads, work, kept)
    await keep_late(node, kept, answer)
    return kept.answer or answer


async def keep_late(node: Node, kept: Kept, answer: Answer) -> None:
    """Store an answer that did not go into a batch of its use case: nothing was changed by it."""
    if kept.answer is None:
        await asyncio.to_thread(node.store.write, kept.keep(answer), sync=True)


async def wait_for(node: Node, operation_ids: list[str], goal: str | None) -> None:
    """Return when all operations have come as far as `goal` (included, final), or the bound has passed.

    Final means for this node's own answers too: its index has followed to the operations' blocks by then.
    """
    if goal not in ("included", "final"):
        return
    enough = ("included", "final", "failed") if goal == "included" else ("final", "failed")
    deadline = asyncio.get_running_loop().time() + node.config.pending_wait_s
    while asyncio.get_running_loop().time() < deadline:
        states = [node.outbox.status_of(name) for name in operation_ids]
        if all(state is not None and state.state in enough for state in states):
            blocks = [state.block_number or 0 for state in states if state is not None]
            if goal == "included" or _followed(node) >= max(blocks, default=0):
                return
        await asyncio.sleep(POLL_S)


def _followed(node: Node) -> int:
    final = node.index.final_point()
    return final.number if final else -1


async def wait_indexed(node: Node, known: Callable[[], bool]) -> None:
    """Return when this node's own index knows it too, or the bound has passed: final on chain comes first."""
    deadline = asyncio.get_running_loop().time() + node.config.pending_wait_s
    while not known() and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(POLL_S)


async def in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield what a blocking iterator yields, each piece made in a thread while the one before it is sent."""
    coming = asyncio.ensure_future(asyncio.to_thread(next, pieces, None))
    try:
        while (piece := await asyncio.shield(coming)) is not None:
            coming = asyncio.ensure_future(asyncio.to_thread(next, pieces, None))
            yield piece
    finally:
        # The iterator may be closed, or collected, only when no thread is inside of it any more.
        await asyncio.wait([coming])
        if not coming.cancelled():
            coming.exception()  # of a piece that nobody waits for any more
