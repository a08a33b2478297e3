"""Routes of materials: push, list, search, read, content, status acts, and an issuer's document acts."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from node.context import Node
from node.errors import MaterialInvalid
from node.http.app import example, frame_of, raw_json, read_json
from node.http.auth import Caller, read_purpose, require
from node.http.limits import read_body
from node.http.multipart import open_upload, safe_file_name
from node.http.ranges import parse_range
from node.http.strictjson import decode_body
from node.http.views import render_material
from node.http.writes import (
    Answer,
    Kept,
    actor_of,
    answer_once,
    begin_once,
    in_threads,
    keep_late,
    node_of,
    wait_for,
)
from node.services import custody, documents, intake, materials
from node.services.gathering import SMALL_BYTES, PushGatherer
from node.services.recording import record
from node.services.requests import DocumentAct, MaterialMeta, MaterialSearch, StatusAct

router = APIRouter(prefix="/v1", tags=["materials"])
META = {
    "typeCode": "M5001",
    "subjects": [{"idType": "001", "id": "91310104FAKE01016E", "role": "tenant"}],
    "documentNo": "(2026)演示租0187号",
    "caseNo": "PD-20261103-000187",
    "title": "房屋租赁合同",
    "issuedOn": "2026-07-01",
    "expiresOn": "2027-07-01",
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
}
MATERIAL = {
    "materialId": "mat_01JCV3Z5Y8K7Q2M4N6P8R0S2T4",
    "version": 1,
    "typeCode": "M5001",
    "sha256": META["sha256"],
    "status": "active",
    "anchor": {"status": "pending", "transaction": None, "block": None, "recordIds": []},
}
Writer = Annotated[Caller, Depends(require("materials:write"))]
Reader = Annotated[Caller, Depends(require("materials:read"))]
Wait = Annotated[
    str | None, Query(pattern="^(included|final)$", description="answer when the record is so far")
]
Pushed = tuple[Answer, materials.MaterialView]


@router.post(
    "/materials",
    status_code=201,
    summary="Push a file, or only its digest",
    openapi_extra=example(
        request=META,
        shape=MaterialMeta,
        response=MATERIAL,
        status=201,
        also={200: "The material that is held already"},
        keyed=True,
    ),
)
async def push(request: Request, caller: Writer, wait: Wait = None) -> Response:
    """Take one material. Multipart (`meta`, then `file`) brings the bytes; JSON alone only asserts the digest."""
    node = node_of(request)
    if request.headers.get("content-type", "").lower().startswith("multipart/"):
        pushed = await _push_file(request, node, caller)
    else:
        body = await read_body(request, limit=node.config.max_meta_bytes)
        pushed = await _push_digest(request, node, caller, body)
    if isinstance(pushed, Response):
        return pushed
    answer, found = pushed
    if wait is None:
        return answer.response()
    await wait_for(node, found.version.operation_ids, wait)
    fresh = await asyncio.to_thread(materials.view_of, node, found.material, found.version)
    return Answer(answer.status, render_material(fresh), answer.headers).response()


async def _push_file(request: Request, node: Node, caller: Caller) -> Response | Pushed:
    upload = await open_upload(
        request, max_file_bytes=node.config.max_file_bytes, max_meta_bytes=node.config.max_meta_bytes
    )
    assert upload.meta is not None  # noqa: S101 - open_upload requires it
    meta = decode_body(upload.meta, MaterialMeta, limit=node.config.max_meta_bytes)
    names = {
        "file_name": meta.file_name or upload.file_name,
        "media_type": meta.media_type or upload.media_type,
    }
    meta = msgspec.structs.replace(meta, **{key: value for key, value in names.items() if value})
    began = begin_once(request, caller, upload.meta)
    if isinstance(began, Response):
        return began
    with began as slot:
        if upload.content is not None and len(upload.content) <= SMALL_BYTES:
            return await _accept_small(request, caller, _clean(meta), upload.content, Kept(slot))
        length = request.headers.get("content-length", "")
        received = await intake.receive(
            node, upload.chunks(), expected_bytes=int(length) if length.isdigit() else None
        )
        return await _accept(node, caller, _clean(meta), received, Kept(slot))


async def _push_digest(request: Request, node: Node, caller: Caller, body: bytes) -> Response | Pushed:
    meta = decode_body(body, MaterialMeta, limit=node.config.max_meta_bytes)
    began = begin_once(request, caller, body)
    if isinstance(began, Response):
        return began
    with began as slot:
        return await _accept_small(request, caller, _clean(meta), None, Kept(slot))


def _clean(meta: MaterialMeta) -> MaterialMeta:
    return msgspec.structs.replace(meta, file_name=safe_file_name(meta.file_name)) if meta.file_name else meta


def _answer_of(view: materials.MaterialView) -> Answer:
    headers = {"ETag": f'"{view.version.commitment.hex()[:32]}"'}
    location = f"/v1/materials/{view.material.material_id}"
    headers["Location" if view.created else "Content-Location"] = location
    return Answer(201 if view.created else 200, render_material(view), headers)


def _push_of(
    caller: Caller,
    meta: MaterialMeta,
    kept: Kept,
    *,
    received: intake.Received | None = None,
    small: bytes | None = None,
) -> materials.Push:
    actor = actor_of(caller)
    return materials.Push(actor, meta, received, lambda view: kept.keep(_answer_of(view)), small)


async def _accept_small(
    request: Request, caller: Caller, meta: MaterialMeta, content: bytes | None, kept: Kept
) -> Pushed:
    """Accept a small file, or a digest, together with others that come at the same time."""
    gatherer: PushGatherer = request.app.state.gatherer
    found = await gatherer.accept(_push_of(caller, meta, kept, small=content))
    return await _answer(node_of(request), found, kept)


async def _accept(
    node: Node, caller: Caller, meta: MaterialMeta, received: intake.Received, kept: Kept
) -> Pushed:
    def work() -> materials.MaterialView:
        stored = False
        try:
            found = materials.accept(node, _push_of(caller, meta, kept, received=received))
            stored = found.created
            return found
        finally:
            # In the same thread: when a stop cuts the request off, its material may be written a moment later.
            if not stored:
                received.discard()

    return await _answer(node, await asyncio.to_thread(work), kept)


async def _answer(node: Node, found: materials.MaterialView, kept: Kept) -> Pushed:
    answer = kept.answer if found.created and kept.answer else _answer_of(found)
    await keep_late(node, kept, answer)
    return answer, found


@router.get(
    "/materials",
    summary="List the agency's materials",
    openapi_extra=example(response={"items": [MATERIAL], "nextCursor": None}),
)
async def list_materials(
    request: Request,
    caller: Reader,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=512)] = None,
    type_code: Annotated[str | None, Query(alias="typeCode", max_length=64)] = None,
) -> Response:
    """List materials from the newest on."""
    node, frame = node_of(request), frame_of(request)
    filters = {"agency": caller.agency, "typeCode": type_code}
    after = frame.decode_cursor(cursor, "materials", **filters).decode() if cursor else ""
    found = await asyncio.to_thread(
        lambda: list(
            materials.list_materials(node, actor_of(caller), after=after, limit=limit, type_code=type_code)
        )
    )
    more = len(found) == limit
    following = (
        frame.encode_cursor(found[-1].material.material_id.encode(), "materials", **filters) if more else None
    )
    return raw_json({"items": [render_material(view) for view in found], "nextCursor": following})


@router.post(
    "/materials/search",
    summary="Find the agency's materials by subject",
    openapi_extra=example(
        request={"subject": {"idType": "001", "id": "91310104FAKE01016E"}, "typeCode": "M5001"},
        shape=MaterialSearch,
        response={"items": [MATERIAL]},
    ),
)
async def search(request: Request, caller: Reader) -> Response:
    """Find materials; a POST keeps the subject's id out of addresses and logs."""
    query = await read_json(request, MaterialSearch)
    found = await asyncio.to_thread(materials.search, node_of(request), actor_of(caller), query)
    return raw_json({"items": [render_material(view) for view in found]})


@router.get("/materials/{material_id}", summary="Read a material", openapi_extra=example(response=MATERIAL))
async def read(
    request: Request, caller: Reader, material_id: str, version: Annotated[int | None, Query(ge=1)] = None
) -> Response:
    """Read a material and the list of its versions; subjects are masked."""
    node = node_of(request)

    def work() -> dict[str, Any]:
        view = materials.get(node, actor_of(caller), material_id, version)
        return render_material(view, versions=materials.versions(node, material_id))

    return raw_json(await asyncio.to_thread(work))


@router.get(
    "/materials/{material_id}/content",
    summary="Read a material's bytes",
    response_class=Response,
    openapi_extra=example(
        response="(the bytes)",
        response_media_type="application/octet-stream",
        also={206: "The range asked for"},
        purposed=True,
    ),
)
async def content(
    request: Request, caller: Reader, material_id: str, version: Annotated[int | None, Query(ge=1)] = None
) -> Response:
    """Stream the bytes, checked piece by piece; the read is in the audit log before the first byte."""
    node, purpose = node_of(request), read_purpose(request)

    def work() -> tuple[custody.Held, materials.MaterialView]:
        view = materials.get(node, actor_of(caller), material_id, version)
        held = custody.unlock(node, view.version)
        record(
            node,
            [],
            actor=actor_of(caller),
            action="material.read",
            object_id=f"{material_id}.{view.version.version}",
            outcome="read",
            reason=f"{purpose.purpose} / {purpose.case_no}",
        )
        return held, view

    held, view = await asyncio.to_thread(work)
    return stream_blob(
        request,
        custody.read,
        node,
        held,
        view.version.size_bytes,
        view.version.media_type,
        view.version.file_name,
    )


def stream_blob(
    request: Request, reader: Any, node: Node, held: Any, size: int, media_type: str, file_name: str
) -> Response:
    """Answer a blob, whole or the one range asked for. The name is data: percent-encoded, never a path."""
    first, last = parse_range(request.headers.get("range"), size)
    pieces = reader(node, held, first=first, last=last)
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Length": str(max(last - first + 1, 0)),
        **attachment(file_name),
    }
    partial = request.headers.get("range") is not None
    if partial:
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return StreamingResponse(in_threads(pieces), 206 if partial else 200, headers, media_type)


def attachment(file_name: str) -> dict[str, str]:
    """Return a Content-Disposition that no browser renders in place (RFC 6266, RFC 8187)."""
    return {
        "Content-Disposition": "attachment" + (f"; filename*=UTF-8''{quote(file_name)}" if file_name else "")
    }


@router.post(
    "/materials/{material_id}/{verb}",
    summary="Revoke, suspend or resume a material",
    openapi_extra=example(
        request={"reasonCode": "withdrawn_by_holder", "reason": "当事人申请"},
        shape=StatusAct,
        response=MATERIAL,
        keyed=True,
    ),
)
async def act(request: Request, caller: Writer, material_id: str, verb: str, wait: Wait = None) -> Response:
    """Change the status: at once at this node, on chain as soon as it is mined."""
    if verb not in materials.STATUS_MOVES:
        raise MaterialInvalid(
            "the act is none of revoke, suspend, resume", pointer="/verb", reason="unknown_act"
        )
    body = await read_body(request, limit=16 << 10)
    parsed = decode_body(body, StatusAct)
    node = node_of(request)
    operations: list[str] = []

    def work(kept: Kept) -> Answer:
        view, operation_id = materials.act(
            node,
            actor_of(caller),
            material_id,
            verb,
            parsed,
            on_commit=lambda view: kept.keep(Answer(200, render_material(view))),
        )
        operations.append(operation_id)
        return Answer(200, render_material(view))

    response = await answer_once(request, caller, body, work)
    await wait_for(node, operations, wait)
    return response


@router.post(
    "/documents/revoke",
    status_code=202,
    summary="Revoke a document as its issuer, wherever its copies lie",
    openapi_extra=example(
        request={
            "typeCode": "M1002",
            "documentNo": "演示-0001",
            "reasonCode": "cancelled_by_authority",
            "reason": "注销",
        },
        shape=DocumentAct,
        keyed=True,
        response={"operation": "doc.01JCV3Z5Y8K7Q2M4N6P8R0S2T4", "anchor": {"status": "pending"}},
        status=202,
    ),
)
async def revoke_document(request: Request, caller: Writer, wait: Wait = None) -> Response:
    """Revoke a document by type and number; counts on every node because the type's entry names this issuer."""
    body = await read_body(request, limit=16 << 10)
    parsed = decode_body(body, DocumentAct)
    node = node_of(request)
    operations: list[str] = []

    def render(operation_id: str) -> Answer:
        return Answer(202, {"operation": operation_id, "anchor": {"status": "pending"}})

    def work(kept: Kept) -> Answer:
        operation_id = documents.revoke(
            node, actor_of(caller), parsed, on_commit=lambda name: kept.keep(render(name))
        )
        operations.append(operation_id)
        return render(operation_id)

    response = await answer_once(request, caller, body, work)
    await wait_for(node, operations, wait)
    return response
