"""Routes of the catalogue on chain: publish, import, read, approve, retire."""

from __future__ import annotations

import asyncio
import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response

from node.context import Node
from node.errors import EntryNotFound, MaterialInvalid, VersionConflict
from node.http.app import check_json_type, example, frame_of, raw_json
from node.http.auth import Caller, require
from node.http.limits import read_body
from node.http.strictjson import decode_body, parse_json
from node.http.views import render_entry, render_import, render_publication
from node.http.writes import Answer, Kept, actor_of, answer_once, node_of, wait_for
from node.services import catalog
from node.services.requests import EntryState, ImportLine
from verifier.catalog import KIND_NUMBERS
from verifier.index import EntryVersion

router = APIRouter(prefix="/v1/catalog", tags=["catalog"])
Reader = Annotated[Caller, Depends(require("catalog:read"))]
Writer = Annotated[Caller, Depends(require("catalog:write"))]
Reviewer = Annotated[Caller, Depends(require("catalog:approve"))]
Wait = Annotated[str | None, Query(pattern="^(included|final)$")]
MAX_ENTRY_BYTES = 128 << 10
MAX_IMPORT_BYTES = 16 << 20
_VERSION_TAG = re.compile(r'"v(\d{1,9})"')
ENTRY: dict[str, Any] = {
    "kind": "duty",
    "code": "DY-310000-SCJG-0007",
    "version": 1,
    "digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "state": "approved",
    "entry": {"name": {"zh": "市场主体登记管理", "en": "Registration of market entities"}},
    "proof": {"transaction": "0x…", "block": 12, "slot": "0x…", "value": "0x…"},
}


def _kind(kind: str) -> str:
    if kind not in KIND_NUMBERS:
        raise EntryNotFound("there is no such kind of entry", hint="kinds: " + ", ".join(KIND_NUMBERS))
    return kind


def _expected(request: Request) -> int | None:
    header = request.headers.get("if-match")
    if header is None:
        return None
    match = _VERSION_TAG.fullmatch(header.strip())
    if match is None:
        raise VersionConflict('If-Match is not of the form "v<number>"', version=0)
    return int(match[1])


@router.post(
    "/imports",
    status_code=202,
    summary="Publish many entries from JSON Lines",
    openapi_extra=example(
        request='{"kind":"duty","code":"DY-310000-SCJG-0007","entry":{}}\n',
        media_type="application/x-ndjson",
        shape=ImportLine,
        response={"published": 1, "unchanged": 0, "rejected": [], "operations": ["cat.01J…"]},
        status=202,
        keyed=True,
    ),
)
async def import_entries(
    request: Request,
    caller: Writer,
    mode: Annotated[str, Query(pattern="^(all|partial)$")] = "all",
    wait: Wait = None,
) -> Response:
    """Publish all lines, or none (`mode=all`) or the good ones (`partial`); entries already there are left alone.

    A refusal of all names each place by the line and where it is in the entry: `/11/tasks/0`.
    """
    node = node_of(request)
    body = await read_body(request, limit=MAX_IMPORT_BYTES)
    operations: list[str] = []

    def work(kept: Kept) -> Answer:
        result = catalog.import_lines(
            node,
            actor_of(caller),
            body.split(b"\n"),
            partial=mode == "partial",
            on_commit=lambda result: kept.keep(Answer(202, render_import(result))),
        )
        operations.extend(one.operation_id for one in result.published)
        return Answer(202, render_import(result))

    response = await answer_once(request, caller, body, work)
    await wait_for(node, _first_of_each(node, operations), wait)
    return response


def _first_of_each(node: Node, operations: list[str]) -> list[str]:
    return [name for name in operations if node.outbox.status_of(name) is not None]


@router.put(
    "/{kind}/{code:path}",
    status_code=202,
    summary="Publish a version of an entry",
    openapi_extra=example(
        request=ENTRY["entry"],
        response={**ENTRY, "anchor": {"status": "pending"}},
        status=202,
        also={200: "The text that stands there already, or that is final now"},
        keyed=True,
    ),
)
async def publish(request: Request, caller: Writer, kind: str, code: str, wait: Wait = None) -> Response:
    """Publish the next version; If-Match names the one the caller saw. The same text again changes nothing."""
    check_json_type(request)
    node = node_of(request)
    body = await read_body(request, limit=MAX_ENTRY_BYTES)
    value = parse_json(body, limit=MAX_ENTRY_BYTES)
    expected = _expected(request)
    made: list[catalog.Publication | EntryVersion] = []

    def work(kept: Kept) -> Answer:
        result = catalog.publish(
            node,
            actor_of(caller),
            _kind(kind),
            code,
            value,
            expected=expected,
            on_commit=lambda one: kept.keep(Answer(202, render_publication(one, anchor="pending"))),
        )
        made.append(result)
        if isinstance(result, EntryVersion):
            return Answer(200, render_publication(result, anchor="final"))
        return Answer(202, render_publication(result, anchor="pending"))

    response = await answer_once(request, caller, body, work)
    if wait is None or not made or isinstance(made[0], EntryVersion):
        return response
    await wait_for(node, [made[0].operation_id], wait)
    found = node.index.entry(kind, code, made[0].version)
    return raw_json(render_entry(node, found)) if found else response


@router.get(
    "/{kind}",
    summary="List the entries of a kind",
    openapi_extra=example(response={"items": [ENTRY], "nextCursor": None}),
)
async def list_entries(
    request: Request,
    caller: Reader,
    kind: str,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=512)] = None,
) -> Response:
    """List the approved version of each entry, or the newest where none is approved, by code."""
    node, frame = node_of(request), frame_of(request)
    after = frame.decode_cursor(cursor, "catalog", kind=_kind(kind)).decode() if cursor else ""

    def work() -> list[EntryVersion]:
        codes = node.index.entry_codes(kind, after=after)
        return [catalog.read_entry(node, kind, code) for code, _ in zip(codes, range(limit), strict=False)]

    found = await asyncio.to_thread(work)
    more = len(found) == limit
    following = frame.encode_cursor(found[-1].code.encode(), "catalog", kind=kind) if more else None
    return raw_json({"items": [render_entry(node, one) for one in found], "nextCursor": following})


@router.get(
    "/{kind}/{code:path}", summary="Read an entry with its proof", openapi_extra=example(response=ENTRY)
)
async def read(
    request: Request, caller: Reader, kind: str, code: str, version: Annotated[int | None, Query(ge=1)] = None
) -> Response:
    """Read a version (`…/versions` lists them all); the proof says where on chain its digest stands."""
    node = node_of(request)
    if code.endswith("/versions"):
        found = node.index.entry_versions(_kind(kind), code.removesuffix("/versions"))
        return raw_json({"items": [render_entry(node, one) for one in found]})
    entry = await asyncio.to_thread(catalog.read_entry, node, _kind(kind), code, version)
    return raw_json(render_entry(node, entry), headers={"ETag": f'"v{entry.version}"'})


@router.post(
    "/{kind}/{code:path}/{verb}",
    status_code=202,
    summary="Approve or retire a version",
    openapi_extra=example(
        request={"version": 1},
        shape=EntryState,
        response={"operation": "cat.01J…"},
        status=202,
        keyed=True,
    ),
)
async def act(
    request: Request, caller: Reviewer, kind: str, code: str, verb: str, wait: Wait = None
) -> Response:
    """Approve a pending version, or retire one for good."""
    if verb not in ("approve", "retire"):
        raise MaterialInvalid("the act is none of approve, retire", pointer="/verb", reason="unknown_act")
    body = await read_body(request, limit=4096)
    asked = decode_body(body, EntryState)
    node = node_of(request)
    operations: list[str] = []

    def work(kept: Kept) -> Answer:
        operation_id = catalog.act(node, actor_of(caller), _kind(kind), code, verb, asked.version)
        operations.extend([operation_id] if operation_id else [])
        return Answer(
            202, {"operation": operation_id or None, "kind": kind, "code": code, "version": asked.version}
        )

    response = await answer_once(request, caller, body, work)
    await wait_for(node, operations, wait)
    return response
