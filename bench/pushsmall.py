"""How many small files a second does a node take in? Beside: the same bodies to a route that answers at once."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from bench.figures import Figure, alternate, compare
from bench.load import rate, render_request
from bench.runner import run
from bench.stage import PERSON, Bench, Stage

FILE_BYTES = 4 << 10
# A folder of files is pushed by as many workers as one likes; of 16, 32 and 64 this gave the most a second.
CONNECTIONS = 32
ROUNDS = 3
SYNC_FILES = 400
_CALLS = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s.*\b(?:fsync|fdatasync)$", re.MULTILINE)


def push_request(path: str, content: bytes, *, key: str) -> bytes:
    """Return a push of `content` as a multipart form, under a fresh Idempotency-Key."""
    meta = {
        "typeCode": "M1001",
        "subjects": [{**PERSON.as_subject(), "role": "holder"}],
        "caseNo": "BENCH-000001",
        "title": "bench",
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    boundary = "bench-" + secrets.token_hex(8)
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="meta"\r\n'
        f"Content-Type: application/json\r\n\r\n{json.dumps(meta)}"
        f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="bench.bin"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()
    headers = {
        "content-type": f"multipart/form-data; boundary={boundary}",
        "authorization": f"Bearer {key}",
        "idempotency-key": f'"{secrets.token_hex(16)}"',
    }
    return render_request("POST", path, body + content + f"\r\n--{boundary}--\r\n".encode(), headers)


def count_syncs(summary: str) -> int:
    """Return the number of fsync and fdatasync calls in a summary of `strace -c`."""
    return sum(int(calls) for calls in _CALLS.findall(summary))


def measure(bench: Bench) -> list[Figure]:
    """Push distinct random files on 32 connections; the outbox and the follower work meanwhile."""
    stage, files = bench.stage, 10_000 if bench.full else 1_000
    stage.grow(bench.sizes[0])

    def product(_number: int) -> float:
        found = rate(
            stage.node.url, _pushes(stage, "/v1/materials", files), status=201, connections=CONNECTIONS
        )
        stage.network.settle(timeout_s=300.0)
        return found

    def peer(_number: int) -> float:
        return rate(stage.peer, _pushes(stage, "/created", files), status=201, connections=CONNECTIONS)

    pairs = alternate(ROUNDS, product, peer)
    floor = "route that answers at once"
    figures = [compare("push 4 KiB files", f"{files:,} files", pairs, unit="/s", floor=floor, goal=0.5)]
    return figures + _syncs(stage)


def _pushes(stage: Stage, path: str, count: int) -> list[bytes]:
    return [push_request(path, os.urandom(FILE_BYTES), key=stage.key) for _ in range(count)]


def _syncs(stage: Stage) -> list[Figure]:
    """Count what one file costs in syncs; in a pass of its own, since strace slows the node. Empty without it."""
    program = shutil.which("strace")
    if program is None:
        return []
    pushes = _pushes(stage, "/v1/materials", SYNC_FILES)
    with tempfile.TemporaryDirectory() as folder:
        summary = Path(folder) / "summary"
        command = [program, "-f", "-c", "-e", "trace=fsync,fdatasync", "-o", str(summary)]
        tracer = subprocess.Popen([*command, "-p", str(stage.node.part.pid)], stderr=subprocess.PIPE)
        try:
            assert tracer.stderr is not None
            tracer.stderr.readline()  # It says that it is attached.
            rate(stage.node.url, pushes, status=201, connections=CONNECTIONS)
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(30)
        counted = count_syncs(summary.read_text()) if summary.exists() else 0
    if not counted:
        return []
    pair = (counted / SYNC_FILES, 1.0)
    floor = "one sync a file"
    n = f"{SYNC_FILES} files"
    return [compare("syncs a 4 KiB file", n, [pair], unit="syncs", floor=floor, goal=0.2, at_least=False)]


if __name__ == "__main__":
    run(measure)
