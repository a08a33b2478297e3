"""The peers over HTTP: empty FastAPI routes and a file that is streamed, on the product's own server settings.

`python -m bench.peers --file PATH` listens on a free port and prints it. The routes have no body model, no
checks and no middleware: they show what the server and the framework cost alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import uvicorn
import uvloop
from fastapi import FastAPI
from starlette.responses import Response, StreamingResponse

from node.http.limits import HttpLimits, server_config
from node.http.logs import make_logger
from node.http.metrics import Metrics

PIECE_BYTES = 1 << 20


def make_app(file: Path) -> FastAPI:
    """Return the app; its `state.frame` is what `server_config` reads."""
    app = FastAPI(openapi_url=None)
    app.state.frame = SimpleNamespace(metrics=Metrics(), logger=make_logger())

    @app.post("/empty")
    async def empty() -> Response:
        return Response()

    @app.post("/created", status_code=201)
    async def created() -> Response:
        return Response(status_code=201)

    @app.get("/file")
    async def stream() -> StreamingResponse:
        return StreamingResponse(_pieces(file), headers={"content-length": str(file.stat().st_size)})

    return app


async def _pieces(file: Path) -> AsyncIterator[bytes]:
    with file.open("rb", buffering=0) as source:
        while piece := source.read(PIECE_BYTES):
            yield piece


async def _serve(app: FastAPI, listener: socket.socket) -> None:
    config = server_config(app, host="127.0.0.1", port=0, limits=HttpLimits())
    print(json.dumps({"url": f"http://127.0.0.1:{listener.getsockname()[1]}"}), flush=True)
    await uvicorn.Server(config).serve(sockets=[listener])


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description="serve the peers")
    parser.add_argument("--file", type=Path, required=True, help="the file that /file streams")
    options = parser.parse_args()
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(make_app(options.file), listener))


if __name__ == "__main__":
    main()
