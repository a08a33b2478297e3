"""The route of the page that checks receipts in the browser: one file, the same for everybody, needs no key."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from node.http.app import example
from verifier.browser import page, page_policy

router = APIRouter(tags=["node"])


@router.get(
    "/verify",
    summary="The page that checks receipts in a browser",
    response_class=Response,
    openapi_extra=example(response="<!doctype html>…", response_media_type="text/html"),
)
async def verifier_page() -> Response:
    """Serve the page; files chosen there stay in the browser, and its policy forbids every connection."""
    # A page in a frame of somebody else's could be made to look like theirs; only a header can forbid that.
    policy = f"{page_policy()}; frame-ancestors 'none'"
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-cache"}
    return Response(page(), media_type="text/html", headers=headers)
