"""A real server for the frame's tests: toy routes inside the real app, real sockets, its log lines kept.

The routes do with the frame what the service's routes do, and nothing else.
"""

import asyncio
import io
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from typing import Annotated

import msgspec
import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Path, Query, Request
from starlette.responses import Response, StreamingResponse

from node.errors import StoreFull
from node.http.app import FrameParts, create_app, frame_of, raw_json, read_json
from node.http.auth import Caller, issue_key, read_purpose, require
from node.http.idempotency import (
    IdempotencyGate,
    Replay,
    digest_request,
    read_idempotency_key,
    replay_response,
)
from node.http.limits import HttpLimits, read_body, server_config
from node.http.logs import RequestLog, make_logger
from node.http.multipart import open_upload, safe_file_name
from node.store.rows import ApiKeyRow
from tests.unit.keyvalue_suite import MemoryKeyValue

AGENCY = "11310104MB2D01234K"
PEPPER = b"p" * 32
SECRET = b"s" * 32
BOUND_SECONDS = 20  # generous: how long a socket test waits for the server to do its part


class Subject(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A nested body."""

    id_type: str
    id: Annotated[str, msgspec.Meta(max_length=32)]


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What the toy routes take."""

    type_code: Annotated[str, msgspec.Meta(pattern="^M[0-9]+$")]
    subject: Subject | None = None


@dataclass
class KeyTable:
    """API keys in memory."""

    rows: dict[str, ApiKeyRow] = field(default_factory=dict)

    def find(self, key_id: str) -> ApiKeyRow | None:
        """Return the row as it stands now."""
        return self.rows.get(key_id)

    def issue(self, *scopes: str, expires_at: int = 0) -> str:
        """Add a key and return its text."""
        text, row = issue_key(
            AGENCY, scopes=scopes, pepper=PEPPER, now=int(time.time()), expires_at=expires_at
        )
        self.rows[row.key_id] = row
        return text

    def revoke(self, text: str) -> str:
        """Mark the key as revoked and return its id."""
        key_id = text.split("_")[1]
        self.rows[key_id] = msgspec.structs.replace(self.rows[key_id], revoked_at=1)
        return key_id


@dataclass
class Toy:
    """What the toy routes note down."""

    kv: MemoryKeyValue = field(default_factory=MemoryKeyValue)
    received: int = 0
    written: int = 0
    may_finish: threading.Event = field(default_factory=threading.Event)
    bytes_held: bytes = b""


def toy_router() -> APIRouter:
    """Return routes that use every part of the frame."""
    router = APIRouter(prefix="/v1")

    @router.post("/questions")
    async def ask(request: Request, caller: Annotated[Caller, Depends(require("verify"))]) -> Response:
        question = await read_json(request, Question)
        return raw_json({"typed": question.type_code[:1], "agency": caller.agency})

    @router.post("/writes/{thing}")
    async def write(
        request: Request, thing: str, caller: Annotated[Caller, Depends(require("materials:write"))]
    ) -> Response:
        toy: Toy = request.app.state.node
        key = read_idempotency_key(request.headers.get("idempotency-key"))
        body = await request.body()
        begun = frame_of(request).idempotency.begin(
            caller.agency, "writes", key=key, request_digest=digest_request("POST", request.url.path, body)
        )
        if isinstance(begun, Replay):
            return replay_response(begun)
        with begun:
            if thing == "slow":
                await asyncio.to_thread(toy.may_finish.wait, BOUND_SECONDS)
            if thing == "broken":
                raise StoreFull("the store has no room", hint="free some space")
            toy.written += 1
            answer = msgspec.json.encode({"count": toy.written})
            toy.kv.write(begun.finish_ops(201, {"Location": "/v1/writes/1"}, answer), sync=True)
        return raw_json(answer, 201, {"Location": "/v1/writes/1"})

    @router.post("/late")
    async def late(
        request: Request, caller: Annotated[Caller, Depends(require("materials:write"))]
    ) -> Response:
        toy: Toy = request.app.state.node
        await asyncio.to_thread(toy.may_finish.wait, BOUND_SECONDS)
        return raw_json({"size": len(await read_body(request, limit=1 << 20))})

    @router.post("/files")
    async def push(
        request: Request, caller: Annotated[Caller, Depends(require("materials:write"))]
    ) -> Response:
        toy: Toy = request.app.state.node
        upload = await open_upload(request, max_file_bytes=frame_of(request).limits.max_file_bytes)
        size, held = 0, bytearray()
        async for chunk in upload.chunks():
            size += len(chunk)
            held += chunk
            toy.received = size
        toy.bytes_held = bytes(held)
        return raw_json(
            {"meta": len(upload.meta or b""), "size": size, "named": bool(safe_file_name(upload.file_name))},
            201,
        )

    @router.get("/things/{thing_id}")
    async def thing(
        request: Request,
        thing_id: Annotated[str, Path(pattern="^thg_[0-9]+$")],
        caller: Annotated[Caller, Depends(require("materials:read"))],
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> Response:
        return raw_json({"purpose": len(read_purpose(request).purpose), "limit": limit})

    @router.get("/open/{what}")
    async def unguarded(what: str) -> Response:
        if what == "fault":
            raise RuntimeError("310104185001010014")
        if what == "stream":
            return StreamingResponse(_broken_stream())
        if what == "large":
            return Response(b"x" * (8 << 20))
        return raw_json({"ok": True})

    return router


async def _broken_stream() -> AsyncIterator[bytes]:
    yield b"begun"
    raise RuntimeError("310104185001010014")


@dataclass
class RunningFrame:
    """One running server and what it wrote."""

    port: int
    app: FastAPI
    toy: Toy
    keys: KeyTable
    log: io.BytesIO
    server: uvicorn.Server

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def log_text(self) -> str:
        """All log lines so far; lines of requests come a moment after their answers."""
        until(lambda: not self.app.state.frame.request_log.waiting)
        return self.log.getvalue().decode("utf-8")

    def connect(self) -> socket.socket:
        """Open a raw connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=BOUND_SECONDS)

    def exchange(self, raw: bytes) -> bytes:
        """Send `raw`, and return all that comes until the server closes."""
        with self.connect() as client:
            client.sendall(raw)
            return read_to_end(client)


def read_to_end(client: socket.socket) -> bytes:
    """Return what comes until the peer closes or resets."""
    pieces = []
    try:
        while piece := client.recv(65536):
            pieces.append(piece)
    except ConnectionResetError:
        pass
    return b"".join(pieces)


@contextmanager
def running_frame(limits: HttpLimits | None = None) -> Iterator[RunningFrame]:
    """Run the toy app on an ephemeral port until the block ends."""
    toy, keys, log = Toy(), KeyTable(), io.BytesIO()
    bounds = limits or HttpLimits()
    app = create_app(
        FrameParts(
            api_keys=keys,
            pepper=PEPPER,
            cursor_key=SECRET,
            idempotency=IdempotencyGate(toy.kv, secret=SECRET),
            limits=bounds,
            version="1.2.3",
            logger=make_logger(log),
            request_log=RequestLog(log),
        ),
        [toy_router()],
        node=toy,
        lifespan=_lifespan,
    )
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(server_config(app, host="127.0.0.1", port=0, limits=bounds))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield RunningFrame(listener.getsockname()[1], app, toy, keys, log, server)
    finally:
        toy.may_finish.set()
        server.should_exit = True
        thread.join(BOUND_SECONDS)
        listener.close()


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield


def quick_connection(limits: HttpLimits, **bounds: float) -> HttpLimits:
    """Return `limits` with other bounds of the connection."""
    return replace(limits, connection=replace(limits.connection, **bounds))  # type: ignore[arg-type]


def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition()` holds; fail after a generous bound."""
    pause = threading.Event()
    for _ in range(BOUND_SECONDS * 50):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError("the server did not get there")
