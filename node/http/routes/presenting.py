"""Routes by which others are shown something: tokens, slips, and the public status page that a slip leads to."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from node.context import Node, render_time
from node.errors import TokenNotFound
from node.http.app import example, raw_json, read_json
from node.http.auth import Caller, address_of, authenticate_request, check_scopes, require
from node.http.errors import RateLimited
from node.http.limits import read_body
from node.http.problems import choose_language
from node.http.statuspage import ShownVerdict, render_status_page
from node.http.strictjson import decode_body
from node.http.writes import Answer, Kept, actor_of, answer_once, node_of
from node.services import materials, receipts, slips, tokens
from node.services.explanations import explain_verdict
from node.services.requests import SlipRequest, TokenRequest
from node.store import rows
from verifier.receipts import render_receipt

router = APIRouter(tags=["present"])
Reader = Annotated[Caller, Depends(require("materials:read"))]
Writer = Annotated[Caller, Depends(require("materials:write"))]
TOKEN: dict[str, Any] = {
    "tokenId": "9f86d081884c7d65…",
    "version": 1,
    "open": ["typeCode", "sha256"],
    "createdAt": "2026-11-24T09:30:02+08:00",
    "expiresAt": "2027-02-22T09:30:02+08:00",
    "withdrawnAt": None,
}


def render_token(row: rows.StatusTokenRow) -> dict[str, Any]:
    """Render a token without the token itself."""
    return {
        "tokenId": row.digest,
        "version": row.version,
        "open": row.opened,
        "createdAt": render_time(row.created_at),
        "expiresAt": render_time(row.expires_at),
        "withdrawnAt": render_time(row.revoked_at) if row.revoked_at else None,
    }


@router.post(
    "/v1/receipts/{material_id}/tokens",
    status_code=201,
    summary="Issue the token of a slip",
    openapi_extra=example(
        request={"days": 90, "open": ["typeCode", "sha256"]},
        response={**TOKEN, "token": "24 characters", "url": "https://node.example/s/…"},
        status=201,
    ),
)
async def issue(request: Request, caller: Writer, material_id: str) -> Response:
    """Issue a token that leads to the public status of one version; it is shown once."""
    body = await read_body(request, limit=4096)
    asked, node = decode_body(body, TokenRequest), node_of(request)

    def work(kept: Kept) -> Answer:
        view = materials.get(node, actor_of(caller), material_id, asked.version)
        token, row = tokens.issue(node, view, asked)
        shown = {**render_token(row), "token": token, "url": tokens.address_of(node, token)}
        answer = Answer(201, shown)
        tokens.keep(node, actor_of(caller), row, kept.keep(answer))
        return answer

    return await answer_once(request, caller, body, work)


@router.get(
    "/v1/receipts/{material_id}/tokens",
    summary="List the tokens of a material",
    openapi_extra=example(response={"items": [TOKEN]}),
)
async def list_tokens(request: Request, caller: Reader, material_id: str) -> Response:
    """List the tokens that were issued for a material, withdrawn and expired ones too."""
    node = node_of(request)

    def work() -> list[dict[str, Any]]:
        view = materials.get(node, actor_of(caller), material_id, None)
        return [render_token(row) for row in tokens.list_of(node, view)]

    return raw_json({"items": await asyncio.to_thread(work)})


@router.post(
    "/v1/tokens/{token_id}/withdraw",
    summary="Withdraw a token",
    openapi_extra=example(request={}, response={**TOKEN, "withdrawnAt": "2026-11-24T09:30:02+08:00"}),
)
async def withdraw(request: Request, caller: Writer, token_id: str) -> Response:
    """Withdraw a token; its slip leads nowhere from this answer on."""
    node = node_of(request)
    body = await read_body(request, limit=1024)

    def work(kept: Kept) -> Answer:
        return Answer(200, render_token(tokens.withdraw(node, actor_of(caller), token_id)))

    return await answer_once(request, caller, body, work)


@router.post(
    "/v1/receipts/{material_id}/slip",
    summary="Draw a slip",
    response_class=Response,
    openapi_extra=example(
        request={"token": "24 characters"}, response="(a PDF)", response_media_type="application/pdf"
    ),
)
async def slip(request: Request, caller: Reader, material_id: str) -> Response:
    """Draw a page with the fields that the token opens and a QR code that leads to the status page."""
    asked, node = await read_json(request, SlipRequest), node_of(request)

    def work() -> bytes:
        row = tokens.find(node, asked.token)
        view = materials.get(node, actor_of(caller), material_id, row.version)
        if row.material_id != view.material.material_id:
            raise TokenNotFound("the token is another material's", hint="issue one for this material")
        made = receipts.make_receipt(node, view, opened=row.opened)
        address = tokens.address_of(node, asked.token)
        return slips.draw_slip(made, address=address, expires_at=row.expires_at)

    return Response(await asyncio.to_thread(work), media_type="application/pdf")


@router.get(
    "/s/{token}",
    summary="The public status page of a slip",
    response_class=Response,
    openapi_extra=example(
        response="(a page: validity and as-of)",
        response_media_type="text/html",
        also={404: "There is no such token, or it has ended; as a page"},
    ),
)
async def status_page(
    request: Request, token: str, lang: Annotated[Literal["zh", "en"] | None, Query()] = None
) -> Response:
    """Show whether the document is valid and as of when, and nothing else; needs no key, is limited by address."""
    node = node_of(request)
    _take_view(node, request)
    language = lang or choose_language(request.headers.get("accept-language", ""))
    return render_status_page(await asyncio.to_thread(_verdict_of, node, token, language), language)


@router.get(
    "/s/{token}/receipt",
    summary="The receipt behind a slip",
    openapi_extra=example(response={"format": "deltaseal-receipt/1"}),
)
async def receipt_by_token(request: Request, token: str) -> Response:
    """Make the receipt that the token opens; needs the scope verify unless the node's setting says otherwise."""
    node = node_of(request)
    _take_view(node, request)
    if not node.config.public_receipts:
        check_scopes(authenticate_request(request), {"verify"})

    def work() -> dict[str, Any]:
        row = tokens.find(node, token)
        view = materials.get(node, tokens.holder(row), row.material_id, row.version)
        return render_receipt(receipts.make_receipt(node, view, opened=row.opened))

    return raw_json(await asyncio.to_thread(work))


def _take_view(node: Node, request: Request) -> None:
    wait_s = node.public_views.take(address_of(request))
    if wait_s > 0:
        raise RateLimited(
            "this address asks for more slips than its share",
            hint="wait as Retry-After says",
            retry_after_s=int(wait_s) + 1,
        )


def _verdict_of(node: Node, token: str, language: str) -> ShownVerdict | None:
    try:
        verdict = tokens.judge_token(node, tokens.find(node, token))
    except TokenNotFound:
        return None
    sentence = explain_verdict(verdict.kind.value, "unchecked")[language]
    as_of = render_time(int(verdict.as_of.timestamp())) if verdict.as_of else None
    return ShownVerdict(verdict.kind.value, sentence, as_of)
