"""The routes between nodes: no API key; a release request and a checkpoint carry a member's signature."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from node.federation.messages import SignedRequest, parse_request
from node.federation.server import answer_release
from node.http.app import check_json_type, example, raw_json
from node.http.limits import read_body
from node.http.problems import request_id_of
from node.http.writes import in_threads, node_of
from node.services import checkpoints

router = APIRouter(prefix="/v1/federation", tags=["federation"])
CHECKPOINT: dict[str, Any] = {
    "format": "deltaseal-checkpoint/1",
    "chain": {"chainId": 310000, "genesis": "0x…", "directory": "0x…", "ledger": "0x…"},
    "height": 31,
    "blockHash": "0x…",
    "logSize": 5,
    "logRoot": "0x…",
    "memberId": 2,
    "time": 1795478400,
    "signature": "0x…",
}
MAX_REQUEST_BYTES = 64 << 10


@router.post(
    "/releases",
    summary="Ask this custodian for a document (between members)",
    response_class=Response,
    openapi_extra=example(
        request={"request": {"requester": 2, "audience": 3}, "signature": "130 hex"},
        shape=SignedRequest,
        response="(a release stream: docs/reference/release.md)",
        response_media_type="application/vnd.deltaseal.release",
    ),
)
async def release(request: Request) -> Response:
    """Check the signature, decide by this node's own rules, and stream the sealed answer."""
    check_json_type(request)
    signed = parse_request(await read_body(request, limit=MAX_REQUEST_BYTES))
    frames = await asyncio.to_thread(
        answer_release, node_of(request), signed, request_id=request_id_of(request.scope)
    )
    return StreamingResponse(in_threads(frames), media_type="application/vnd.deltaseal.release")


@router.get(
    "/checkpoint",
    summary="What this node says, signed, of the log",
    openapi_extra=example(response={"checkpoint": CHECKPOINT, "path": ["64 hex"]}),
)
async def checkpoint(
    request: Request, first: Annotated[int | None, Query(alias="from", ge=0, lt=1 << 63)] = None
) -> Response:
    """Show the newest signed checkpoint, with the proof that its log begins with the one of `from` batches."""
    shown = await asyncio.to_thread(checkpoints.show, node_of(request), first)
    return raw_json({"checkpoint": shown.checkpoint, "path": shown.path})
