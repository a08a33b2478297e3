"""The one route between nodes. Requests carry a member's signature, so no API key is needed."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from node.federation.messages import SignedRequest, parse_request
from node.federation.server import answer_release
from node.http.app import check_json_type, example
from node.http.limits import read_body
from node.http.problems import request_id_of
from node.http.writes import in_threads, node_of

router = APIRouter(prefix="/v1/federation", tags=["federation"])
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
