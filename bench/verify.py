"""How fast is a verdict by digest over HTTP, and does it stay so as the index grows? Beside: an empty route."""

from __future__ import annotations

import json
import random

from bench.chains import document_digest
from bench.figures import Figure, alternate, compare
from bench.growth import index_figures
from bench.load import json_request, rate, send_all
from bench.processor import spent_by
from bench.runner import run
from bench.stage import PERSON, Bench, Stage

REQUESTS = 3_000
ROUNDS = 5
FLOOR = "empty FastAPI route"
GOAL = 0.8


def questions(documents: int, count: int, *, subject: bool, seed: int) -> list[dict[str, object]]:
    """Return `count` questions about documents that are in the index, at random, each asked once."""
    rng = random.Random(seed)
    about = {"typeCode": "M1001", "subject": PERSON.as_subject()} if subject else {}
    chosen = rng.sample(range(documents), min(count, documents))
    return [{"sha256": document_digest(number).hex(), **about} for number in chosen]


def measure(bench: Bench) -> list[Figure]:
    """Ask about random documents on 16 connections, at every size of the index; weigh and open the index."""
    stage = bench.stage
    figures = []
    for documents in bench.sizes:
        stage.grow(documents)
        figures += [*_figures(stage, documents, subject=False), *_figures(stage, documents, subject=True)]
        figures += index_figures(stage)
    return figures


def require_valid(stage: Stage, request: bytes) -> None:
    """Ask once and look at the answer: an `unknown` is cheaper and would make another figure."""
    _, answer = send_all(stage.node.url, [request], status=200)
    verdict = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert verdict["verdict"] == "valid", verdict


def _figures(stage: Stage, documents: int, *, subject: bool) -> list[Figure]:
    """Compare requests a second, and processor time a request, of the node and of the peer."""
    spent: list[tuple[float, float]] = []

    def requests(number: int, path: str) -> list[bytes]:
        asked = questions(documents, REQUESTS, subject=subject, seed=number)
        return [json_request(path, question, key=stage.key) for question in asked]

    def measured(number: int, path: str, url: str, pid: int) -> tuple[float, float]:
        sent = requests(number, path)
        answered, seconds = spent_by(pid, lambda: rate(url, sent, status=200))
        return answered, 1e6 * seconds / len(sent)

    def peer(number: int) -> float:
        answered, spent_us = measured(number, "/empty", stage.peer, stage.peer_pid)
        spent.append((0.0, spent_us))
        return answered

    def product(number: int) -> float:
        answered, spent_us = measured(number, "/v1/verify", stage.node.url, stage.node.part.pid)
        spent[-1] = spent_us, spent[-1][1]
        return answered

    require_valid(stage, requests(-1, "/v1/verify")[0])
    measured(-1, "/v1/verify", stage.node.url, stage.node.part.pid)
    pairs = alternate(ROUNDS, product, peer)
    name, n = "verify by digest and subject" if subject else "verify by digest", f"{documents:,} records"
    return [
        compare(name, n, pairs, unit="/s", floor=FLOOR, goal=GOAL),
        compare(f"{name}, processor time", n, spent, unit="µs", floor=FLOOR, goal=1 / GOAL, at_least=False),
    ]


if __name__ == "__main__":
    run(measure)
