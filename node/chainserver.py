"""HTTP front of the embedded chain: JSON-RPC on POST /, its health on GET /healthz; and how to start it.

A process of its own, so that one chain serves several nodes and outlives each. Plain ASGI: no FastAPI here.
`python -m node.chainserver --folder D --port P` prints one JSON line when blocks can be mined. SIGTERM mines what
was accepted, stops anvil and exits 0. Imports `anchor.chain.embedded` and nothing else of the node.
"""

import argparse
import asyncio
import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import uvicorn
import uvloop

from anchor.chain.embedded import DEFAULT_CHAIN_ID, EmbeddedChain
from anchor.chain.errors import ChainFolderMissing
from anchor.chain.journal import JOURNAL_NAME
from anchor.errors import DeltasealError, EngineFailed

MAX_BODY_BYTES = 16 << 20
MAX_REQUESTS = 32
BODY_TIMEOUT_S = 30.0
LOG_NAME = "chain.log"

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class ChainApp:
    """ASGI application over one EmbeddedChain."""

    def __init__(self, chain: EmbeddedChain) -> None:
        """Serve `chain`, which the caller starts and stops."""
        self._chain = chain
        self._slots = asyncio.Semaphore(MAX_REQUESTS)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            return
        if scope["method"] == "GET" and scope["path"] == "/healthz":
            health = self._chain.health()
            await _reply(
                send, 200 if health.state == "running" and not health.problem else 503, asdict(health)
            )
        elif scope["method"] == "POST" and scope["path"] == "/":
            await self._rpc(receive, send)
        else:
            await _reply(send, 404, {"code": "not_found"})

    async def _rpc(self, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                body = await _read_body(receive)
        except TimeoutError:
            await _reply(send, 408, {"code": "body_too_slow"})
            return
        if body is None:
            await _reply(send, 413, {"code": "body_too_large"})
            return
        try:
            async with self._slots:
                answer = await asyncio.to_thread(self._chain.handle, body)
        except EngineFailed as error:
            await _reply(send, 503, {"code": error.code})
            return
        await _reply_bytes(send, 200, answer)


async def _read_body(receive: Receive) -> bytes | None:
    """Read the whole body; None when it is larger than allowed."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b""
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY_BYTES:
            return None
        if not message.get("more_body"):
            return b"".join(parts)


async def _reply(send: Send, status: int, content: dict[str, Any]) -> None:
    await _reply_bytes(send, status, orjson.dumps(content))


async def _reply_bytes(send: Send, status: int, content: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def run_chain(
    folder: Path,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    chain_id: int | None = None,
    create: bool = False,
    anvil: Path | None = None,
    idle_s: float = 60.0,
    on_ready: Callable[[dict[str, Any]], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Run the chain of `folder` until SIGTERM or SIGINT; `port` 0 takes a free one.

    With `create` a missing chain is made first. `on_ready` receives {"event","rpc","chainId","genesis","pid"}.
    Raises the errors of `EmbeddedChain.start`, and what stopped the chain later, if anything did.
    """
    if create and not (folder / JOURNAL_NAME).exists():
        EmbeddedChain.create(folder, chain_id=chain_id or DEFAULT_CHAIN_ID)
    chain = EmbeddedChain(folder, chain_id=chain_id, anvil=anvil, idle_s=idle_s, on_progress=on_progress)
    listener = _listen(host, port)
    try:
        chain.start(wait=False)
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_serve(chain, listener, on_ready))
        finally:
            chain.stop()
    finally:
        listener.close()
    if chain.failure is not None:
        raise chain.failure


async def _serve(
    chain: EmbeddedChain, listener: socket.socket, on_ready: Callable[[dict[str, Any]], None] | None
) -> None:
    config = uvicorn.Config(
        ChainApp(chain),
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
    )
    server = _Server(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.handle_exit, number, None)
    watcher = asyncio.create_task(_watch(chain, server, listener, on_ready))
    await server.serve(sockets=[listener])
    watcher.cancel()


class _Server(uvicorn.Server):
    """uvicorn without its habit to raise the signal again after it stopped: the last block is still to be mined."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to `_serve`."""
        yield


async def _watch(
    chain: EmbeddedChain,
    server: uvicorn.Server,
    listener: socket.socket,
    on_ready: Callable[[dict[str, Any]], None] | None,
) -> None:
    """Say when the chain runs; stop serving when it has failed for good."""
    told = False
    while chain.failure is None:
        if not told and server.started and chain.health().state == "running":
            told = True
            if on_ready is not None:
                on_ready(_ready_line(chain, listener))
        await asyncio.sleep(0.02 if not told else 0.5)
    server.should_exit = True


def _ready_line(chain: EmbeddedChain, listener: socket.socket) -> dict[str, Any]:
    host, port = listener.getsockname()[:2]
    return {
        "event": "ready",
        "rpc": f"http://{f'[{host}]' if ':' in host else host}:{port}",
        "chainId": chain.chain_id,
        "genesis": "0x" + chain.genesis.hex(),
        "pid": os.getpid(),
    }


def _listen(host: str, port: int) -> socket.socket:
    """Bind and listen. Raises EngineFailed when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sets TCP_NODELAY only then; without it each answer waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(256)
    except OSError as error:
        listener.close()
        raise EngineFailed(
            f"the chain cannot listen on port {port}",
            hint="choose another port, or 0 for a free one",
            port=port,
        ) from error
    return listener


@dataclass(frozen=True, slots=True)
class ChainProcess:
    """A chain that runs as a child process; `argv` starts it again on the same port."""

    process: subprocess.Popen[bytes]
    argv: tuple[str, ...]
    rpc: str
    chain_id: int
    genesis: bytes

    def stop(self, timeout_s: float = 30.0) -> int:
        """Stop it cleanly, or by force after the time-out; returns the exit code."""
        self.process.terminate()
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def start_chain_process(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    chain_id: int | None = None,
    create: bool = False,
    idle_s: float = 60.0,
    timeout_s: float = 120.0,
    die_with_parent: bool = True,
) -> ChainProcess:
    """Start the chain server as a child and wait until it mines.

    With `die_with_parent` (Linux) it ends with the thread that called this, cleanly, also when this process is
    killed. Raises ChainFolderMissing, or EngineFailed with the error line of its log or when it is not ready in time.
    """
    folder = folder.resolve()
    if create:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    elif not (folder / JOURNAL_NAME).exists():
        raise ChainFolderMissing("there is no embedded chain in this folder", hint="create it first")
    port = port or _free_port(host)
    argv = [
        sys.executable,
        "-m",
        "node.chainserver",
        "--folder",
        str(folder),
        "--host",
        host,
        "--port",
        str(port),
    ]
    argv += ["--idle", str(idle_s)]
    argv += ["--chain-id", str(chain_id)] if chain_id is not None else []
    extra = ["--create"] * create + (["--parent", str(os.getpid())] if die_with_parent else [])
    with (folder / LOG_NAME).open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [*argv, *extra],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([_root(), os.environ.get("PYTHONPATH", "")])},
        )
    rpc = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    try:
        found_id, genesis = _wait_ready(process, rpc, folder, timeout_s)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return ChainProcess(process, tuple(argv), rpc, found_id, genesis)


def _wait_ready(
    process: subprocess.Popen[bytes], rpc: str, folder: Path, timeout_s: float
) -> tuple[int, bytes]:
    deadline = time.monotonic() + timeout_s
    with httpx.Client(timeout=5.0, trust_env=False) as client:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise EngineFailed(
                    f"the chain process stopped at its start: {_last_line(folder)}",
                    hint="see the chain's log, chain.log in its folder",
                    exit_code=process.returncode,
                )
            with contextlib.suppress(httpx.HTTPError):
                if client.get(f"{rpc}/healthz").status_code == 200:
                    return _identity(client, rpc)
            time.sleep(0.03)
    raise EngineFailed("the chain process is not ready in time", hint="see chain.log in the chain's folder")


def _identity(client: httpx.Client, rpc: str) -> tuple[int, bytes]:
    def ask(method: str, params: Sequence[object]) -> Any:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return client.post(rpc, json=body).json()["result"]

    block = ask("eth_getBlockByNumber", ["0x0", False])
    return int(ask("eth_chainId", []), 16), bytes.fromhex(block["hash"][2:])


def _last_line(folder: Path) -> str:
    try:
        lines = (folder / LOG_NAME).read_text("utf-8", errors="replace").split("\n")
    except OSError:
        return "no log"
    return next((line for line in reversed(lines) if line.startswith("error:")), "no log line")


def _free_port(host: str) -> int:
    listener = _listen(host, 0)
    try:
        return int(listener.getsockname()[1])
    finally:
        listener.close()


def _root() -> str:
    return str(Path(__file__).resolve().parents[1])


def _end_with(parent: int) -> None:
    """Ask Linux for a SIGTERM when the parent ends, so that no chain outlives the demo or test it served."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        raise SystemExit(0)


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m node.chainserver", description="Run the embedded chain.")
    parser.add_argument("--folder", type=Path, required=True, help="the chain's folder")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--chain-id", type=int, default=None, help="the id the chain must have")
    parser.add_argument("--create", action="store_true", help="make the chain when the folder has none")
    parser.add_argument("--idle", type=float, default=60.0, help="seconds between empty blocks")
    parser.add_argument("--parent", type=int, default=None, help="stop when the process with this id ends")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; prints the ready line on stdout and `error:`, `hint:` on stderr."""
    options = _parse_arguments(arguments)
    if options.parent is not None:
        _end_with(options.parent)
    try:
        run_chain(
            options.folder,
            options.host,
            options.port,
            chain_id=options.chain_id,
            create=options.create,
            idle_s=options.idle,
            on_ready=lambda line: print(json.dumps(line), flush=True),
        )
    except DeltasealError as error:
        print(f"error: {error} [{error.code}]\nhint: {error.hint}", file=sys.stderr, flush=True)
        return 8
    return 0


if __name__ == "__main__":
    sys.exit(main())
