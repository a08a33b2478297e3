"""How fast is a verdict by digest over HTTP, and does it stay so as the index grows? Beside: an empty route."""

from __future__ import annotations

import json
import random

from bench.chains import document_digest
from bench.figures import Figure, alternate, compare
from bench.load import json_request, rate, send_all
from bench.runner import run
from bench.stage import PERSON, Bench, Stage

REQUESTS = 1_000
ROUNDS = 5
FLOOR = "empty FastAPI route"


def questions(documents: int, count: int, *, subject: bool, seed: int) -> list[dict[str, object]]:
    """Return `count` questions about documents that are in the index, at random."""
    rng = random.Random(seed)
    about = {"typeCode": "M1001", "subject": PERSON.as_subject()} if subject else {}
    return [{"sha256": document_digest(rng.randrange(documents)).hex(), **about} for _ in range(count)]


def measure(bench: Bench) -> list[Figure]:
    """Ask about random documents on 16 connections, at every size of the index."""
    stage = bench.stage
    figures = []
    for documents in bench.sizes:
        stage.grow(documents)
        figures.append(_figure(stage, documents, subject=False))
    return [*figures, _figure(stage, bench.sizes[-1], subject=True)]


def require_valid(stage: Stage, request: bytes) -> None:
    """Ask once and look at the answer: an `unknown` is cheaper and would make another figure."""
    _, answer = send_all(stage.node.url, [request], status=200)
    verdict = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert verdict["verdict"] == "valid", verdict


def _figure(stage: Stage, documents: int, *, subject: bool) -> Figure:
    def product(number: int) -> float:
        return rate(stage.node.url, _requests(number, "/v1/verify"), status=200)

    def peer(number: int) -> float:
        return rate(stage.peer, _requests(number, "/empty"), status=200)

    def _requests(number: int, path: str) -> list[bytes]:
        asked = questions(documents, REQUESTS, subject=subject, seed=number)
        return [json_request(path, question, key=stage.key) for question in asked]

    require_valid(stage, _requests(-1, "/v1/verify")[0])
    product(-1)
    pairs = alternate(ROUNDS, product, peer)
    stage_name = "verify by digest and subject" if subject else "verify by digest"
    return compare(stage_name, f"{documents:,} records", pairs, unit="/s", floor=FLOOR, goal=0.8)


if __name__ == "__main__":
    run(measure)
