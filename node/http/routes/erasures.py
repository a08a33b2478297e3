"""Routes of erasures: erase a material, read its tombstone, read and take notices of erasure."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from node.federation.messages import SignedNotice, parse_notice
from node.http.app import check_json_type, example, raw_json
from node.http.auth import Caller, require
from node.http.limits import read_body
from node.http.problems import request_id_of
from node.http.strictjson import decode_body
from node.http.views import render_erasure, render_notice
from node.http.writes import Answer, Kept, actor_of, answer_once, node_of
from node.services import erasures, notices
from node.services.requests import ErasureAct
from node.store import rows

router = APIRouter(prefix="/v1", tags=["erasures"])
Eraser = Annotated[Caller, Depends(require("materials:erase"))]
Reader = Annotated[Caller, Depends(require("materials:read"))]
MAX_NOTICE_BYTES = 4096
TOMBSTONE: dict[str, Any] = {
    "materialId": "mat_01JCV3Z5Y8K7Q2M4N6P8R0S2T4",
    "status": "erased",
    "state": "accepted",
    "erasedAt": "2026-11-24T09:30:02+08:00",
    "reasonCode": "erasure_requested",
    "by": "12310115FAKE001287/4j7kq2m4n6p8r0s2",
    "versions": [{"version": 1, "commitment": "64 hex", "anchor": {"status": "pending"}}],
    "backups": [
        {
            "backupId": "bak_01JCV3Z5Y8K7Q2M4N6P8R0S2T4",
            "createdAt": "2026-11-01T02:00:00+08:00",
            "place": "vault 3",
        }
    ],
    "notices": [],
}


@router.post(
    "/materials/{material_id}/erase",
    status_code=202,
    summary="Erase a material for good",
    openapi_extra=example(
        request={
            "reasonCode": "erasure_requested",
            "reason": "依申请删除",
            "purpose": "个人信息保护法第四十七条",
            "confirm": "mat_01JCV3Z5Y8K7Q2M4N6P8R0S2T4",
        },
        shape=ErasureAct,
        response=TOMBSTONE,
        status=202,
        keyed=True,
    ),
)
async def erase(request: Request, caller: Eraser, material_id: str) -> Response:
    """Erase all versions: unreadable from this answer on, off the disk when the tombstone's state is `done`."""
    body = await read_body(request, limit=16 << 10)
    asked = decode_body(body, ErasureAct)
    node = node_of(request)

    def answer_of(row: rows.ErasureRow) -> Answer:
        rendered = render_erasure(node, row, erasures.backups_with(node, row), ())
        return Answer(202, rendered, {"Location": f"/v1/materials/{material_id}/erasure"})

    def work(kept: Kept) -> Answer:
        row = erasures.erase(
            node, actor_of(caller), material_id, asked, on_commit=lambda row: kept.keep(answer_of(row))
        )
        return answer_of(row)

    return await answer_once(request, caller, body, work)


@router.get(
    "/materials/{material_id}/erasure",
    summary="Read the tombstone of an erased material",
    openapi_extra=example(response={**TOMBSTONE, "state": "done"}),
)
async def tombstone(request: Request, caller: Reader, material_id: str) -> Response:
    """Say how far the erasing has come, which backups hold the material, and which members were told."""
    node = node_of(request)

    def work() -> dict[str, Any]:
        row = erasures.get(node, actor_of(caller), material_id)
        return render_erasure(
            node, row, erasures.backups_with(node, row), notices.of_material(node, material_id)
        )

    return raw_json(await asyncio.to_thread(work))


@router.get(
    "/erasure-notices",
    summary="List notices of erasure from other members",
    openapi_extra=example(
        response={
            "items": [
                {
                    "memberId": 3,
                    "commitment": "64 hex",
                    "receivedAt": "2026-11-24T09:30:03+08:00",
                    "appliedAt": "2026-11-24T09:30:04+08:00",
                    "policy": "erase",
                    "copies": ["reu_01JCV3Z5Y8K7Q2M4N6P8R0S2T4"],
                    "signed": {"notice": {"custodian": 3}, "signature": "130 hex"},
                }
            ]
        }
    ),
)
async def list_notices(
    request: Request, caller: Reader, limit: Annotated[int, Query(ge=1, le=1000)] = 200
) -> Response:
    """List what custodians told this node to erase, as they signed it, and what was done about it."""
    found = await asyncio.to_thread(notices.received, node_of(request), limit=limit)
    return raw_json({"items": [render_notice(row) for row in found]})


@router.post(
    "/federation/erasures",
    status_code=202,
    summary="Take a notice of erasure (between members)",
    openapi_extra=example(
        request={
            "notice": {
                "custodian": 3,
                "audience": 2,
                "commitment": "64 hex",
                "reasonCode": 8,
                "erasedAt": 1795478400,
            },
            "signature": "130 hex",
        },
        shape=SignedNotice,
        response={"received": True},
        status=202,
    ),
)
async def take_notice(request: Request) -> Response:
    """Check the custodian's signature, keep the notice, and answer; copies are dealt with after the answer."""
    check_json_type(request)
    signed = parse_notice(await read_body(request, limit=MAX_NOTICE_BYTES))
    node, request_id = node_of(request), request_id_of(request.scope)
    await asyncio.to_thread(notices.receive, node, signed, request_id=request_id)
    return raw_json({"received": True}, 202)
