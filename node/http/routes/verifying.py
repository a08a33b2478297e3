"""Routes that answer whether a document may be trusted: verify, verify/batch, exemptions, receipts."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from anchor.digests import DigestStream
from anchor.errors import DeltasealError
from node.context import Node
from node.errors import MaterialInvalid
from node.http.app import example, raw_json, read_json
from node.http.auth import Caller, require
from node.http.hotpath import MAX_BODY_BYTES, hot
from node.http.multipart import open_upload
from node.http.strictjson import PlainDecoder, decode_body
from node.http.views import encode_verdict, render_plan, render_receipt_check
from node.http.writes import actor_of, node_of
from node.services import exemptions, materials, receipts, verifying
from node.services.materials import MaterialView
from node.services.requests import (
    ExemptionRequest,
    ReceiptsRequest,
    StatementRequest,
    VerifyBatch,
    VerifyRequest,
)
from verifier.receipts import Receipt, render_receipt
from verifier.statements import render_statement

router = APIRouter(prefix="/v1", tags=["verify"])
Verifier = Annotated[Caller, Depends(require("verify"))]
Reader = Annotated[Caller, Depends(require("materials:read"))]
MAX_BATCH_BYTES = 1 << 20
QUESTION = {
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "typeCode": "M5001",
    "subject": {"idType": "001", "id": "91310104FAKE01016E"},
}
VERDICT: dict[str, Any] = {
    "verdict": "valid",
    "fresh": True,
    "asOf": "2026-11-24T09:30:02+08:00",
    "lastKnown": None,
    "subjectMatch": "match",
    "finality": "operator",
    "reasons": [{"code": "status", "outcome": "pass", "detail": "clear"}],
    "explain": {"zh": "文件有效，可以使用。", "en": "The document is valid and may be used."},
    "record": {"batch": 4, "index": 0, "block": 31},
}


def encode_plan(node: Node, asked: ExemptionRequest) -> bytes:
    """Plan each requirement of a matter and encode the plan."""
    return msgspec.json.encode(render_plan(node, exemptions.plan(node, asked)))


_PLAIN_QUESTION = PlainDecoder(VerifyRequest, limit=MAX_BODY_BYTES)
_PLAIN_PLAN = PlainDecoder(ExemptionRequest, limit=MAX_BODY_BYTES)


def _answer_question(node: Node, body: bytes) -> bytes | None:
    """Answer a plain question by digest."""
    question = _PLAIN_QUESTION.decode(body)
    return encode_verdict(verifying.verify(node, question)) if question is not None else None


def _answer_plan(node: Node, body: bytes) -> bytes | None:
    """Answer a plain request for a plan."""
    asked = _PLAIN_PLAN.decode(body)
    return encode_plan(node, asked) if asked is not None else None


@router.post(
    "/verify",
    summary="Ask whether a document may be trusted",
    openapi_extra=example(request=QUESTION, shape=VerifyRequest, response=VERDICT),
)
@hot("verify", _answer_question)
async def verify(request: Request, caller: Verifier) -> Response:
    """Answer from the local index; by digest, by file (multipart), or by receipt."""
    node = node_of(request)
    if request.headers.get("content-type", "").lower().startswith("multipart/"):
        question = await _question_of_file(request, node)
    else:
        question = await read_json(request, VerifyRequest, limit=MAX_BATCH_BYTES)
    if question.receipt is not None:
        receipt, findings = await asyncio.to_thread(receipts.check, node, question.receipt)
        return raw_json(render_receipt_check(receipt, findings, now=node.clock()))
    return raw_json(encode_verdict(verifying.verify(node, question)))


async def _question_of_file(request: Request, node: Node) -> VerifyRequest:
    upload = await open_upload(request, max_file_bytes=node.config.max_file_bytes, meta_required=False)
    asked = decode_body(upload.meta, VerifyRequest) if upload.meta else VerifyRequest()
    if asked.receipt is not None:
        raise MaterialInvalid(
            "a receipt is sent as JSON, without a file", pointer="/receipt", reason="with_file"
        )
    stream = DigestStream(sm3=False)
    async for chunk in upload.chunks():
        stream.update(chunk)
    digest = stream.finish().sha256.hex()
    if asked.sha256 not in (None, digest):
        raise MaterialInvalid(
            "the file does not have the sha256 that was sent with it", pointer="/sha256", reason="mismatch"
        )
    return VerifyRequest(digest, asked.type_code, asked.subject)


@router.post(
    "/verify/batch",
    summary="Ask about up to 1,000 documents",
    openapi_extra=example(request={"items": [QUESTION]}, shape=VerifyBatch, response={"items": [VERDICT]}),
)
async def verify_batch(request: Request, caller: Verifier) -> Response:
    """Answer in the order of the questions; one bad question refuses the call, so that no place is lost."""
    batch = await read_json(request, VerifyBatch, limit=MAX_BATCH_BYTES)
    node = node_of(request)

    def work() -> bytes:
        found = verifying.verify_all(node, batch.items)
        return b'{"items":[' + b",".join(map(encode_verdict, found)) + b"]}"

    return raw_json(await asyncio.to_thread(work))


@router.post(
    "/exemptions",
    summary="What need not be handed in for a matter",
    openapi_extra=example(
        request={"matterCode": "990110100100", "subject": {"idType": "001", "id": "91310104FAKE01016E"}},
        shape=ExemptionRequest,
        response={
            "matterCode": "990110100100",
            "requirements": [
                {"reqId": "r2", "route": "history", "outcome": "exempt", "typeCode": "M5001", "reasons": []}
            ],
            "exempted": 1,
            "total": 1,
        },
    ),
)
@hot("verify", _answer_plan)
async def plan(request: Request, caller: Verifier) -> Response:
    """Plan each requirement: the first route that spares the paper, and why."""
    node = node_of(request)
    asked = await read_json(request, ExemptionRequest)
    return raw_json(encode_plan(node, asked))


@router.post(
    "/receipts",
    summary="The receipts of up to 64 materials",
    openapi_extra=example(
        request={"materialIds": ["mat_01J…", "mat_01K…"], "open": ["typeCode", "sha256", "expiresOn"]},
        response={
            "items": [
                {"materialId": "mat_01J…", "receipt": {"format": "deltaseal-receipt/1"}, "problem": None},
                {"materialId": "mat_01K…", "receipt": None, "problem": {"code": "receipt_pending"}},
            ]
        },
    ),
)
async def receipts_of(request: Request, caller: Reader) -> Response:
    """Make the receipts of several materials at once, all as of one block; each item has a receipt or a problem."""
    asked = await read_json(request, ReceiptsRequest)
    node = node_of(request)

    def work() -> list[dict[str, Any]]:
        views = [_view_of(node, caller, name) for name in asked.material_ids]
        held = [each for each in views if not isinstance(each, DeltasealError)]
        made = iter(receipts.make_receipts(node, held, opened=asked.open))
        found = [each if isinstance(each, DeltasealError) else next(made) for each in views]
        return [_item(name, each) for name, each in zip(asked.material_ids, found, strict=True)]

    return raw_json({"items": await asyncio.to_thread(work)})


def _view_of(node: Node, caller: Caller, material_id: str) -> MaterialView | DeltasealError:
    try:
        return materials.get(node, actor_of(caller), material_id, None)
    except DeltasealError as error:
        return error


def _item(material_id: str, made: Receipt | DeltasealError) -> dict[str, Any]:
    if isinstance(made, DeltasealError):
        return {"materialId": material_id, "receipt": None, "problem": {"code": made.code, "hint": made.hint}}
    return {"materialId": material_id, "receipt": render_receipt(made), "problem": None}


@router.post(
    "/receipts/statements",
    summary="The present status of an old receipt's claim",
    openapi_extra=example(
        request={
            "memberId": 3,
            "commitment": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "batchId": 41,
            "documents": [{"memberId": 3, "domain": 1, "epoch": 1, "docTag": "86CurObjITZ2jwowVgPptw"}],
        },
        response={"format": "deltaseal-status/1", "memberId": 3, "batchId": 41},
    ),
)
async def statement(request: Request, caller: Verifier) -> Response:
    """Prove what the status slots of a claim hold at the last final block; nothing that a receipt opens is sent."""
    asked = await read_json(request, StatementRequest)
    made = await asyncio.to_thread(receipts.make_statement, node_of(request), asked)
    return raw_json(render_statement(made))


@router.get(
    "/receipts/{material_id}",
    summary="The receipt of a material",
    openapi_extra=example(response={"format": "deltaseal-receipt/1"}),
)
async def receipt(
    request: Request,
    caller: Reader,
    material_id: str,
    version: Annotated[int | None, Query(ge=1)] = None,
    opened: Annotated[str, Query(alias="open", max_length=512, pattern="^[A-Za-z0-9,]*$")] = "",
) -> Response:
    """Make a receipt that opens the named fields only, with the status slots as of the last final block."""
    node = node_of(request)

    def work() -> dict[str, Any]:
        view = materials.get(node, actor_of(caller), material_id, version)
        made = receipts.make_receipt(node, view, opened=[name for name in opened.split(",") if name])
        return render_receipt(made)

    return raw_json(await asyncio.to_thread(work))
