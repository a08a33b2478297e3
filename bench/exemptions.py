"""What does a plan of twelve requirements cost? Beside: one verify, on the same connection."""

from __future__ import annotations

import json

from bench.figures import Figure, alternate, compare
from bench.load import json_request, rate, send_all
from bench.runner import run
from bench.stage import PERSON, TYPES, WIDE_MATTER, Bench
from bench.verify import questions

CALLS = 300
ROUNDS = 7


def measure(bench: Bench) -> list[Figure]:
    """Plan for a subject that has a paper of every type; milliseconds a call."""
    stage = bench.stage
    stage.grow(bench.sizes[-1])
    plan = {"matterCode": WIDE_MATTER, "subject": PERSON.as_subject()}
    plans = [json_request("/v1/exemptions", plan, key=stage.key)] * CALLS

    _, answer = send_all(stage.node.url, plans[:1], status=200)
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["total"] == len(TYPES)

    def product(_number: int) -> float:
        return 1000 / rate(stage.node.url, plans, status=200, connections=1)

    def peer(number: int) -> float:
        asked = questions(stage.documents, CALLS, subject=False, seed=number)
        requests = [json_request("/v1/verify", question, key=stage.key) for question in asked]
        return 1000 / rate(stage.node.url, requests, status=200, connections=1)

    pairs = alternate(ROUNDS, product, peer)
    n = f"{len(TYPES)} requirements"
    return [compare("exemptions", n, pairs, unit="ms", floor="single verify", goal=6, at_least=False)]


if __name__ == "__main__":
    run(measure)
