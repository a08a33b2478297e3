"""Routes of reuses: ask, read the decision, read the bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from node.context import Node
from node.http.app import example, raw_json
from node.http.auth import Caller, require
from node.http.limits import read_body
from node.http.routes.materials import stream_blob
from node.http.strictjson import decode_body
from node.http.views import render_reuse
from node.http.writes import Answer, Kept, actor_of, answer_once, node_of, wait_indexed
from node.services import custody, reuses
from node.services.recording import record
from node.services.requests import ReuseRequest
from node.store import rows
from node.store.blobs import read_blob

router = APIRouter(prefix="/v1/reuses", tags=["reuses"])
Writer = Annotated[Caller, Depends(require("reuses:write"))]
Reader = Annotated[Caller, Depends(require("reuses:read"))]
ASKED = {
    "caseNo": "XH-20261110-000042",
    "matterCode": "990110100100",
    "reqId": "r2",
    "typeCode": "M5001",
    "subject": {"idType": "001", "id": "91310104FAKE01016E"},
    "basis": {"kind": "duty"},
    "purpose": "开办企业-住所证明",
    "scenarioCode": "SC-310000-0001",
    "deliver": "bytes",
}
DECIDED: dict[str, Any] = {
    "reuseId": "reu_01JCV3Z5Y8K7Q2M4N6P8R0S2T4",
    "outcome": "granted",
    "code": None,
    "checks": [{"code": "member", "result": "pass", "detail": ""}],
    "explain": {
        "zh": "可以复用，无需再交。",
        "en": "The material may be reused; nothing needs to be handed in.",
    },
    "material": {"commitment": "64 hex", "custodian": {"memberId": 3, "name": "浦东"}, "block": 31},
    "content": {"url": "/v1/reuses/reu_01JCV3Z5Y8K7Q2M4N6P8R0S2T4/content", "size": 48213},
    "anchor": {"status": "pending"},
}


@router.post(
    "",
    summary="Ask to use a document",
    openapi_extra=example(
        request=ASKED,
        shape=ReuseRequest,
        response=DECIDED,
        also={202: "A job that goes on until the single use is final"},
        keyed=True,
    ),
)
async def ask(
    request: Request, caller: Writer, wait: Annotated[str | None, Query(pattern="^final$")] = None
) -> Response:
    """Decide; a refusal is an answer (200), a use that must become final first is 202 with a job."""
    body = await read_body(request, limit=32 << 10)
    asked = decode_body(body, ReuseRequest)
    node = node_of(request)
    made: list[rows.ReuseRow] = []

    def answer_of(row: rows.ReuseRow) -> Answer:
        if row.state == "done":
            return Answer(200, render_reuse(node, row))
        headers = {"Location": f"/v1/jobs/{reuses.job_id_of(row.reuse_id)}", "Retry-After": "1"}
        return Answer(202, render_reuse(node, row), headers)

    def work(kept: Kept) -> Answer:
        row = reuses.request_reuse(
            node, actor_of(caller), asked, on_commit=lambda row: kept.keep(answer_of(row))
        )
        made.append(row)
        return answer_of(row)

    response = await answer_once(request, caller, body, work, threads=node.peer_threads)
    if wait is None or not made or made[0].state == "done":
        return response
    reuse_id = made[0].reuse_id
    await wait_indexed(node, lambda: reuse_id not in node.pending_reuses)
    row = rows.REUSE.get(node.store, reuse_id)
    return answer_of(row).response() if row is not None else response


@router.get("/{reuse_id}", summary="Read a decision", openapi_extra=example(response=DECIDED))
async def read(request: Request, caller: Reader, reuse_id: str) -> Response:
    """Return the decision as it was made."""
    node = node_of(request)
    return raw_json(render_reuse(node, await asyncio.to_thread(reuses.get, node, actor_of(caller), reuse_id)))


@router.get(
    "/{reuse_id}/content",
    summary="Read the bytes that a reuse delivered",
    response_class=Response,
    openapi_extra=example(
        response="(the bytes)",
        response_media_type="application/octet-stream",
        also={206: "The range asked for"},
    ),
)
async def content(request: Request, caller: Reader, reuse_id: str) -> Response:
    """Stream the bytes; they were checked against the commitment before the decision was given."""
    node = node_of(request)

    def work() -> tuple[rows.ReuseRow, Any]:
        row = reuses.get(node, actor_of(caller), reuse_id)
        held = reuses.content(node, row)
        record(node, [], actor=actor_of(caller), action="reuse.read", object_id=reuse_id, outcome="read")
        return row, held

    row, held = await asyncio.to_thread(work)
    shown = msgspec.json.decode(row.decision_json)["content"]
    return stream_blob(request, _read, node, held, shown["size"], shown["mediaType"], "")


def _read(node: Node, held: Any, *, first: int, last: int) -> Iterator[bytes]:
    if isinstance(held, custody.Held):
        return custody.read(node, held, first=first, last=last)
    row, file_key = held
    return read_blob(node.store, row.blob_id, file_key, first=first, last=last)
