"""Routes about the node itself: chain, jobs, operations, keys, audit, info, health, readiness."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from node.context import Node, render_time
from node.errors import JobNotFound, OperationNotFound
from node.http.app import example, frame_of, raw_json, read_json
from node.http.auth import Caller, authenticate_request, issue_key, require
from node.http.limits import read_body
from node.http.problems import request_id_of
from node.http.strictjson import decode_body
from node.http.views import (
    render_backup,
    render_chain,
    render_job,
    render_key,
    render_member,
    render_wait,
)
from node.http.writes import Answer, Kept, actor_of, answer_once, in_threads, node_of
from node.services import apikeys, backups, checkpoints, waits
from node.services.recording import record
from node.services.requests import BackupRequest, KeyRequest, SettleRequest
from node.store import rows

router = APIRouter(tags=["node"])
Admin = Annotated[Caller, Depends(require("admin"))]
ChainReader = Annotated[Caller, Depends(require("chain:read"))]
AuditReader = Annotated[Caller, Depends(require("audit:read"))]


async def any_caller(request: Request) -> Caller:
    """Return the caller, whatever the key may do."""
    return authenticate_request(request)


Anyone = Annotated[Caller, Depends(any_caller)]
VERSION = "0.1.0"
ALARM = {"name": "outbox_queued", "state": "ok", "ageSeconds": 0.4, "maximumSeconds": 900}
KEY = {"agency": "12310104FAKE0011X9", "scopes": ["materials:write", "verify"], "label": "综窗系统"}

BACKUP_MADE = {
    "backupId": "bak_01JCV3Z5Y8K7Q2M4N6P8R0S2T4",
    "createdAt": "2026-11-24T09:30:02+08:00",
    "place": "vault 3, disk 12",
}


@router.get("/healthz", summary="Whether the process lives", openapi_extra=example(response={"status": "ok"}))
async def healthz() -> Response:
    """Answer as long as the process can."""
    return raw_json({"status": "ok"})


@router.get(
    "/readyz",
    summary="Whether the node can do its work",
    openapi_extra=example(
        response={"ready": True, "parts": {"store": "ok", "chain": "ok"}},
        also={503: "The same, with what is wrong"},
    ),
)
async def readyz(request: Request) -> Response:
    """Name each part and what keeps it from working; 503 when one does not."""
    node = node_of(request)
    parts = readiness(node)
    ready = all(state == "ok" for state in parts.values())
    # A new consortium has no catalogue yet, and only a ready node can publish one: said, but no reason to wait.
    notes = [] if node.catalog.material_types() else ["catalog_empty"]
    # What waits too long is not what keeps a node from working.
    notes += [
        f"alarm_{state.wait.name}" for state in await asyncio.to_thread(waits.look, node) if state.raised
    ]
    return raw_json({"ready": ready, "parts": parts, "notes": notes}, 200 if ready else 503)


def readiness(node: Node) -> dict[str, str]:
    """Return the state of each part: ok, or the code of what is wrong."""
    return {
        "store": node.store.failure or "ok",
        "chain": node.chain.problem or "ok",
        "member": "ok" if node.chain.member_id else "not_admitted",
        "outbox": node.chain.outbox_problem or "ok",
        "keys": "ok" if node.keyring.all() else "domain_key_missing",
        "log": node.chain.fork or "ok",
    }


@router.get(
    "/v1/info",
    summary="Version, limits and chain of this node",
    openapi_extra=example(response={"name": "XH", "version": VERSION, "memberId": 2}),
)
async def info(request: Request) -> Response:
    """Say what a client must know before it sends anything; needs no key."""
    node = node_of(request)
    limits = frame_of(request).limits
    return raw_json(
        {
            "name": node.config.name,
            "version": VERSION,
            "memberId": node.chain.member_id or None,
            "limits": {
                "maxFileBytes": node.config.max_file_bytes,
                "maxMetaBytes": node.config.max_meta_bytes,
                "maxBatch": 1000,
                "maxJsonBytes": limits.max_json_bytes,
                "pendingWaitSeconds": node.config.pending_wait_s,
            },
            "chain": {
                "chainId": node.deployment.chain_id,
                "directory": "0x" + node.deployment.directory.hex(),
            },
            "languages": ["zh", "en"],
            "sm3Default": True,
        }
    )


@router.get(
    "/v1/me", summary="Whose key this is", openapi_extra=example(response={"agency": "12310104FAKE0011X9"})
)
async def me(caller: Anyone) -> Response:
    """Name the agency and scopes of the caller's key."""
    return raw_json({"agency": caller.agency, "keyId": caller.key_id, "scopes": sorted(caller.scopes)})


@router.get(
    "/v1/chain/status",
    summary="Where the chain and this node stand",
    openapi_extra=example(response={"chainId": 310000}),
)
async def chain_status(request: Request, caller: ChainReader) -> Response:
    """Report head, final and indexed block, the outbox, and what is wrong."""
    return raw_json(render_chain(node_of(request)))


@router.get(
    "/v1/alarms",
    summary="What waits, how long, and what waits too long",
    openapi_extra=example(response={"raised": 0, "items": [ALARM]}),
)
async def alarms(request: Request, caller: Anyone) -> Response:
    """List every state that waits with the age of its oldest, its maximum and what to do; ages in seconds."""
    found = await asyncio.to_thread(waits.look, node_of(request))
    items = [render_wait(state) for state in found]
    return raw_json({"raised": sum(state.raised for state in found), "items": items})


@router.get(
    "/v1/chain/members", summary="The consortium's members", openapi_extra=example(response={"items": []})
)
async def chain_members(request: Request, caller: ChainReader) -> Response:
    """List the members as the council admitted them."""
    return raw_json({"items": [render_member(member) for member in node_of(request).index.members()]})


@router.get(
    "/v1/chain/contracts",
    summary="Addresses of the contracts",
    openapi_extra=example(response={"ledger": "0x…"}),
)
async def chain_contracts(request: Request, caller: ChainReader) -> Response:
    """List the contracts that the Directory names."""
    return raw_json(render_chain(node_of(request))["contracts"])


@router.get(
    "/v1/jobs/{job_id}",
    summary="State of long work",
    openapi_extra=example(response={"jobId": "job_01J…", "status": "running"}),
)
async def job(request: Request, caller: Anyone, job_id: str) -> Response:
    """Return a job of the caller's agency."""
    row = rows.JOB.get(node_of(request).store, job_id)
    if row is None or row.agency != caller.agency:
        raise JobNotFound("this agency has no such job")
    return raw_json(render_job(row))


@router.get(
    "/v1/operations/{operation_id}",
    summary="State of an operation on its way to the chain",
    openapi_extra=example(response={"operation": "doc.01J…"}),
)
async def operation(request: Request, caller: Anyone, operation_id: str) -> Response:
    """Return where an operation of the outbox stands."""
    status = node_of(request).outbox.status_of(operation_id)
    if status is None:
        raise OperationNotFound("the outbox knows no such operation")
    anchor: dict[str, Any] = {
        "status": "pending" if status.state == "queued" else status.state,
        "transaction": "0x" + status.transaction_hash.hex() if status.transaction_hash else None,
        "block": status.block_number,
        "failure": status.failure,
    }
    return raw_json({"operation": operation_id, "anchor": anchor})


@router.post(
    "/v1/keys",
    status_code=201,
    summary="Issue an API key",
    openapi_extra=example(
        request=KEY, shape=KeyRequest, response={"keyId": "…", "key": "dsk_…"}, status=201, keyed=True
    ),
)
async def issue(request: Request, caller: Admin) -> Response:
    """Issue a key for an agency of this node; its text is shown once, and a repeated request shows it again."""
    body = await read_body(request, limit=16 << 10)
    asked = decode_body(body, KeyRequest)
    node = node_of(request)

    def work(kept: Kept) -> Answer:
        apikeys.check_agency(node, asked.agency)
        text, row = issue_key(
            asked.agency,
            scopes=asked.scopes,
            pepper=node.keys.pepper(),
            now=node.clock(),
            label=asked.label,
            expires_at=asked.expires_at,
        )
        answer = Answer(201, {"keyId": row.key_id, "key": text, "agency": row.agency, "scopes": row.scopes})
        apikeys.keep(node, actor_of(caller), row, kept.keep(answer))
        return answer

    return await answer_once(request, caller, body, work)


@router.get(
    "/v1/keys",
    summary="List API keys",
    openapi_extra=example(response={"items": [{"keyId": "…", "agency": "12310104FAKE0011X9"}]}),
)
async def list_keys(request: Request, caller: Admin) -> Response:
    """List all keys without their secrets."""
    found = await asyncio.to_thread(apikeys.list_keys, node_of(request))
    return raw_json({"items": [render_key(row) for row in found]})


@router.post(
    "/v1/keys/{key_id}/revoke",
    summary="Revoke an API key",
    openapi_extra=example(request={}, response={"keyId": "…", "revokedAt": "…"}, keyed=True),
)
async def revoke(request: Request, caller: Admin, key_id: str) -> Response:
    """Revoke a key; it is refused from this answer on."""
    node = node_of(request)
    body = await read_body(request, limit=1024)

    def work(kept: Kept) -> Answer:
        return Answer(200, render_key(apikeys.revoke(node, actor_of(caller), key_id)))

    response = await answer_once(request, caller, body, work)
    frame_of(request).authenticator.forget(key_id)
    return response


@router.post(
    "/v1/store/backups",
    summary="Back up the store",
    response_class=Response,
    openapi_extra=example(
        request={"place": "vault 3, disk 12"},
        shape=BackupRequest,
        response="(the encrypted backup)",
        response_media_type="application/octet-stream",
    ),
)
async def back_up(request: Request, caller: Admin) -> Response:
    """Stream an encrypted copy of the store as of one moment; the node goes on writing meanwhile.

    The node remembers `place`, so that an erasure can name the backups that hold what was erased.
    """
    node = node_of(request)
    asked = await read_json(request, BackupRequest)

    def work() -> Iterator[bytes]:
        record(
            node,
            [backups.remembered(asked.place, created_at=node.clock())],
            actor=actor_of(caller),
            action="store.backup",
            object_id=node.node_id,
            outcome="started",
        )
        pieces = backups.write_backup(node.store, node.keys, node_id=node.node_id, created_at=node.clock())
        return backups.watched(node, pieces, name=request_id_of(request.scope))

    pieces = await asyncio.to_thread(work)
    return StreamingResponse(in_threads(pieces), media_type="application/octet-stream")


@router.get(
    "/v1/store/backups",
    summary="List the backups that this node made",
    openapi_extra=example(response={"items": [BACKUP_MADE]}),
)
async def list_backups(request: Request, caller: Admin) -> Response:
    """List them, oldest first: what each erasure names is chosen from these."""
    found = await asyncio.to_thread(lambda: list(rows.BACKUP.scan(node_of(request).store)))
    return raw_json({"items": [render_backup(row) for row in found]})


@router.get(
    "/v1/audit/events",
    summary="Read the audit log",
    openapi_extra=example(response={"items": [], "nextCursor": None}),
)
async def audit_events(
    request: Request,
    caller: AuditReader,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=512)] = None,
) -> Response:
    """List entries from the newest on."""
    node, frame = node_of(request), frame_of(request)
    before = int(frame.decode_cursor(cursor, "audit")) if cursor else node.audit.head().sequence + 1
    found = await asyncio.to_thread(lambda: node.audit.before(before, limit=limit))
    following = (
        frame.encode_cursor(str(found[-1].sequence).encode(), "audit") if len(found) == limit else None
    )
    items = [
        {
            "sequence": row.sequence,
            "time": render_time(row.time),
            "actor": row.actor,
            "action": row.action,
            "object": row.object,
            "outcome": row.outcome,
            "reason": row.reason,
            "requestId": row.request_id,
            "hash": row.hash.hex(),
        }
        for row in found
    ]
    return raw_json({"items": items, "nextCursor": following})


@router.get(
    "/v1/audit/verify",
    summary="Check the audit log's chain",
    openapi_extra=example(response={"intact": True, "entries": 12}),
)
async def audit_verify(request: Request, caller: AuditReader) -> Response:
    """Walk the log and name the first entry that is broken or missing."""
    finding = await asyncio.to_thread(node_of(request).audit.verify)
    return raw_json(
        {
            "intact": finding.first_broken is None,
            "firstBroken": finding.first_broken,
            "entries": finding.count,
            "head": finding.head.hash.hex(),
        }
    )


@router.get(
    "/v1/audit/checkpoints",
    summary="What members say of the log, and forks with their evidence",
    openapi_extra=example(
        response={
            "own": {"format": "deltaseal-checkpoint/1", "height": 31, "logSize": 5},
            "peers": [{"memberId": 3, "state": "consistent", "receivedAt": 1795478400, "checkpoint": {}}],
            "forks": [],
        }
    ),
)
async def audit_checkpoints(request: Request, caller: AuditReader) -> Response:
    """Show the own checkpoint, the last one compared of each member, and every fork that was ever found."""
    return raw_json(await asyncio.to_thread(checkpoints.overview, node_of(request)))


@router.post(
    "/v1/audit/forks/{member_id}/settle",
    summary="End the alarm about a fork",
    openapi_extra=example(
        request={"reason": "the member's chain client was cut off and has been rebuilt"},
        response={"memberId": 3, "settledAt": "2026-11-24T09:30:02+08:00"},
    ),
)
async def settle_fork(
    request: Request, caller: Admin, member_id: Annotated[int, Path(ge=1, lt=1 << 32)]
) -> Response:
    """Let verdicts be fresh again; the evidence stays, and the log says who settled it and why."""
    node = node_of(request)
    body = await read_body(request, limit=4096)
    asked = decode_body(body, SettleRequest)

    def work(kept: Kept) -> Answer:
        row = checkpoints.settle(node, actor_of(caller), member_id, asked.reason)
        return Answer(200, {"memberId": row.member_id, "settledAt": render_time(row.settled_at)})

    return await answer_once(request, caller, body, work)
