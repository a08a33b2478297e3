"""How fast does a document go from one node to another? Beside: the same file streamed over plain HTTP."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import httpx

from bench.figures import Figure, alternate, compare
from bench.pushlarge import write_file
from bench.runner import run
from bench.stage import Bench, Stage
from cli.demo import catalogue, people

ROUNDS = 3
SIZE_MIB = 64
FIRM = people.FIRM_SHENQIAO
JOB_POLL_S = 0.01


def stream_plain(url: str, size_bytes: int) -> float:
    """Fetch the file with the client that nodes use among each other; return the seconds."""
    started = time.perf_counter()
    received = 0
    with httpx.Client(trust_env=False, timeout=60) as client, client.stream("GET", url) as response:
        for piece in response.iter_bytes(256 << 10):
            received += len(piece)
    seconds = time.perf_counter() - started
    assert received == size_bytes
    return seconds


def seal(stage: Stage, path: Path, number: int) -> str:
    """Push the file at PD as a lease and wait until it is final; return its digest."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    meta = {
        "typeCode": catalogue.LEASE,
        "subjects": [FIRM.as_subject()],
        "caseNo": f"BENCH-3-{number}",
        "title": "bench",
        "documentNo": f"BENCH-{number}",
        "issuedOn": "2026-01-02",
        "sha256": digest,
    }
    stage.node.clients["PD"].push(meta, path, wait="final")
    stage.network.settle()
    return digest


def hand_over(stage: Stage, digest: str, number: int) -> float:
    """Ask at XH for the document with its bytes; return the seconds until they are checked and stored there."""
    client = stage.network.client(people.XH)
    body: dict[str, Any] = {
        "caseNo": f"BENCH-4-{number}",
        "matterCode": catalogue.OPEN_FIRM,
        "reqId": "R2",
        "typeCode": catalogue.LEASE,
        "subject": FIRM.as_subject(),
        "basis": {"kind": "duty"},
        "purpose": "bench",
        "scenarioCode": catalogue.SCENARIO_OPEN,
        "sha256": digest,
        "deliver": "bytes",
    }
    started = time.perf_counter()
    answer = client.request("POST", "/v1/reuses", json=body, idempotency_key=body["caseNo"])
    decided = answer.body
    if answer.status == 202:
        while client.get(answer.headers["location"])["status"] in ("queued", "running"):
            time.sleep(JOB_POLL_S)
        decided = client.get(f"/v1/reuses/{decided['reuseId']}")
    seconds = time.perf_counter() - started
    assert decided["outcome"] == "granted" and decided["content"], decided
    return seconds


def measure(bench: Bench) -> list[Figure]:
    """Hand over a fresh file in every round; MiB a second."""
    stage, path = bench.stage, bench.stage.file
    stage.wake("XH")
    size = 256 if bench.full else SIZE_MIB

    def product(number: int) -> float:
        return size / hand_over(stage, seal(stage, path, number), number)

    def peer(_number: int) -> float:
        write_file(path, size)
        return size / stream_plain(f"{stage.peer}/file", size << 20)

    pairs = alternate(ROUNDS, product, peer)
    stage.network.nodes["XH"].part.stop()
    return [compare("hand-over", f"{size} MiB", pairs, unit="MiB/s", floor="plain HTTP", goal=0.6)]


if __name__ == "__main__":
    run(measure)
