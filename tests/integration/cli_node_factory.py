"""A small node for tests of the command line: a real HTTP server with the answers of the API, in memory.

It counts what it was asked, and can refuse, delay, or cut a request off in the middle, as a test tells it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cli.main import run

API_KEY = "dsk_4j7kq2m4n6p8r0s2_" + "x" * 43
META_FIELDS = {
    *("typeCode", "subjects", "documentNo", "caseNo", "title", "issuedOn", "expiresOn", "sha256"),
    *("fileName", "mediaType", "replaces"),
}


@dataclass
class Asked:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class SmallNode:
    """State of the server, and what it is to do wrong."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    materials: dict[str, dict[str, Any]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    # path → (status, JSON or problem); asked before anything else.
    fixed: dict[str, tuple[int, Any]] = field(default_factory=dict)
    # Called for every accepted push: may return (status, code) to refuse it, or raise `Cut` to hang up.
    on_push: Callable[[dict[str, Any]], tuple[int, str] | None] = lambda _meta: None
    # How many looks a material takes until its record is final.
    looks_until_final: int = 0
    looks: dict[str, int] = field(default_factory=dict)

    def count(self, method: str, path: str) -> int:
        """Count requests whose path (without its query) is `path`."""
        return sum(each.method == method and each.path.split("?")[0] == path for each in self.asked)


class Cut(Exception):
    """Hang up without an answer."""


def problem(status: int, code: str, **more: Any) -> tuple[int, dict[str, Any]]:
    """Make a problem document as the node writes it."""
    body = {"type": f"urn:deltaseal:problem:{code}", "title": "title", "status": status, "code": code}
    return status, {**body, "detail": "what and why", "requestId": "req_01TEST", "retryable": False, **more}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    node: SmallNode

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        body = self._body()
        if body is None:
            self.close_connection = True
            return
        self._serve(body)

    do_PUT = do_POST  # noqa: N815 - the name that http.server looks for

    def _body(self) -> bytes | None:
        """Read the body; None when the sender broke off."""
        length = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(length)
        return body if len(body) == length else None

    def _serve(self, body: bytes) -> None:
        path = self.path.split("?")[0]
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, body)
        with self.node.lock:
            self.node.asked.append(asked)
        try:
            status, answer = self.node.fixed.get(path) or self._route(asked, path)
        except Cut:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self._answer(status, answer)

    def _answer(self, status: int, answer: Any) -> None:
        raw = isinstance(answer, bytes)
        content = answer if raw else json.dumps(answer).encode()
        kind = "application/octet-stream" if raw else "application/json"
        if status >= 400 and isinstance(answer, dict) and "code" in answer:
            kind = "application/problem+json"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Request-Id", "req_01TEST")
        if status == 202 and isinstance(answer, dict) and "jobId" in answer:
            self.send_header("Location", f"/v1/jobs/{answer['jobId']}")
        self.end_headers()
        self.wfile.write(content)

    def _route(self, asked: Asked, path: str) -> tuple[int, Any]:
        if path == "/v1/info":
            limits = {"maxFileBytes": 1 << 20, "maxMetaBytes": 1 << 16, "maxBatch": 1000}
            return 200, {"name": "small", "version": "0", "memberId": 2, "limits": limits}
        if asked.headers.get("authorization") != f"Bearer {API_KEY}":
            return problem(401, "auth_invalid")
        if path == "/v1/materials" and asked.method == "POST":
            return self._push(asked)
        if path.startswith("/v1/materials/") and path.endswith("/content"):
            return 200, self.node.contents[path.split("/")[3]]
        if path.startswith("/v1/materials/") and asked.method == "GET":
            return self._look(path.rsplit("/", 1)[1])
        if path == "/v1/materials":
            return 200, {"items": list(self.node.materials.values()), "nextCursor": None}
        return problem(404, "not_found")

    def _push(self, asked: Asked) -> tuple[int, Any]:
        key = asked.headers.get("idempotency-key", "")
        if not key.startswith('"') or not key.endswith('"'):
            return problem(400, "idempotency_missing")
        with self.node.lock:
            if key in self.node.answers:
                status, _, body = self.node.answers[key]
                return status, json.loads(body)
        meta, content = _parts(asked)
        if meta.keys() - META_FIELDS:
            return problem(422, "request_invalid", errors=[{"pointer": "/", "code": "unknown_field"}])
        refused = self.node.on_push(meta)
        if refused is not None:
            return problem(*refused)
        if content is not None and hashlib.sha256(content).hexdigest() != meta["sha256"]:
            return problem(422, "digest_mismatch")
        return self._keep(key, meta, content)

    def _keep(self, key: str, meta: dict[str, Any], content: bytes | None) -> tuple[int, Any]:
        same = json.dumps(
            [meta["sha256"], meta["typeCode"], meta["subjects"], meta.get("issuedOn")], sort_keys=True
        )
        name = "mat_" + hashlib.sha256(same.encode()).hexdigest()[:26].upper()
        with self.node.lock:
            held = name in self.node.materials
            anchor = {"status": "pending", "transaction": None, "block": None}
            material = {
                "materialId": name, "version": 1, "typeCode": meta["typeCode"], "sha256": meta["sha256"],
                "title": meta["title"], "status": "active", "asserted": content is None, "anchor": anchor,
            }  # fmt: skip
            self.node.materials.setdefault(name, material)
            self.node.contents[name] = content or b""
            status = 200 if held else 201
            self.node.answers[key] = (status, {}, json.dumps(material).encode())
        return status, material

    def _look(self, name: str) -> tuple[int, Any]:
        material = self.node.materials.get(name)
        if material is None:
            return problem(404, "material_not_found")
        with self.node.lock:
            self.node.looks[name] = self.node.looks.get(name, 0) + 1
            final = self.node.looks[name] > self.node.looks_until_final
        return 200, {**material, "anchor": {"status": "final" if final else "pending", "block": 7}}


def _parts(asked: Asked) -> tuple[dict[str, Any], bytes | None]:
    kind = asked.headers.get("content-type", "")
    if not kind.startswith("multipart/"):
        return json.loads(asked.body), None
    mark = b"--" + kind.split("boundary=")[1].encode()
    first, second = asked.body.split(mark)[1:3]
    assert asked.body.endswith(mark + b"--\r\n")
    assert b'name="meta"' in first.split(b"\r\n\r\n")[0]
    assert b'name="file"' in second.split(b"\r\n\r\n")[0]
    meta = json.loads(first.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n"))
    return meta, second.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")


@contextmanager
def small_node() -> Iterator[SmallNode]:
    """Serve a small node on a free loopback port."""
    node = SmallNode()
    handler = type("Handler", (_Handler,), {"node": node})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    node.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield node
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def key_file(folder: Path, text: str = API_KEY) -> Path:
    """Write an API key as `key create` does."""
    path = folder / "api.key"
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path


def cli_env(folder: Path) -> dict[str, str]:
    """Give an environment in which no settings of the machine count and nothing is left behind."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    checkout = str(Path(__file__).resolve().parents[2])
    return {
        "HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "XDG_STATE_HOME": str(home / "state"),
        "XDG_CONFIG_DIRS": str(home / "none"), "PATH": os.environ["PATH"], "PYTHONPATH": checkout, "LANG": "C.UTF-8",
    }  # fmt: skip


def start_cli(arguments: list[str], folder: Path) -> subprocess.Popen[str]:
    """Start the command in a process of its own, with its settings in `folder`."""
    return subprocess.Popen(
        [sys.executable, "-m", "cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=cli_env(folder),
    )


def run_cli(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the command to its end inside this process, as `main` runs it, with its settings in `folder`."""
    before_env, before_folder, env = dict(os.environ), Path.cwd(), cli_env(folder)
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    try:
        os.environ.clear()
        os.environ.update(env)
        os.chdir(folder)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(arguments)
    finally:
        os.environ.clear()
        os.environ.update(before_env)
        os.chdir(before_folder)
    texts = [stream.buffer.getvalue().decode("utf-8") for stream in (out, err)]
    return subprocess.CompletedProcess(arguments, int(code), *texts)
