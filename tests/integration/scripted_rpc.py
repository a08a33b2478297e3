"""An HTTP server that answers JSON-RPC as a test tells it: lies, half answers, errors, silence."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[Any], bytes | None]


class ScriptedRpc:
    """`answer` gets the parsed request and returns the body of the answer, or None to close without one."""

    def __init__(self) -> None:
        self.answer: Answer = lambda request: b""
        self.status = 200
        self.requests: list[Any] = []
        self.url = ""

    def result(self, value: Any) -> None:
        """Answer every request with this result."""
        self.answer = lambda request: json.dumps(_answers(request, {"result": value})).encode()

    def error(self, code: int, message: str, **more: Any) -> None:
        """Answer every request with this error."""
        self.answer = lambda request: json.dumps(
            _answers(request, {"error": {"code": code, "message": message, **more}})
        ).encode()


def _answers(request: Any, part: dict[str, Any]) -> Any:
    if isinstance(request, list):
        return [{"jsonrpc": "2.0", "id": item["id"], **part} for item in request]
    return {"jsonrpc": "2.0", "id": request["id"], **part}


@contextmanager
def scripted_rpc() -> Iterator[ScriptedRpc]:
    """Serve on a free loopback port."""
    script = ScriptedRpc()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            script.requests.append(request)
            body = script.answer(request)
            if body is None:
                self.close_connection = True
                return
            self.send_response(script.status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda request, address: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
