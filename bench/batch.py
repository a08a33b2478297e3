"""What does a document cost in a batch of 1,000? Beside: one question a call, on the same connection."""

from __future__ import annotations

import json

from bench.figures import Figure, alternate, compare
from bench.load import json_request, rate, send_all
from bench.runner import run
from bench.stage import Bench
from bench.verify import questions

DOCUMENTS = 1_000
ROUNDS = 7


def measure(bench: Bench) -> list[Figure]:
    """Ask about the same 1,000 documents in one call and in 1,000 calls."""
    stage = bench.stage
    stage.grow(bench.sizes[-1])
    asked = [questions(stage.documents, DOCUMENTS, subject=False, seed=number) for number in range(ROUNDS)]

    def product(number: int) -> float:
        request = json_request("/v1/verify/batch", {"items": asked[number]}, key=stage.key)
        seconds, answer = send_all(stage.node.url, [request], status=200, connections=1)
        items = json.loads(answer.partition(b"\r\n\r\n")[2])["items"]
        assert all(item["verdict"] == "valid" for item in items)
        return DOCUMENTS / seconds

    def peer(number: int) -> float:
        requests = [json_request("/v1/verify", question, key=stage.key) for question in asked[number]]
        return rate(stage.node.url, requests, status=200, connections=1)

    pairs = alternate(ROUNDS, product, peer)
    n = f"{DOCUMENTS:,} of {stage.documents:,}"
    return [compare("verify/batch", n, pairs, unit="documents/s", floor="single verify", goal=20)]


if __name__ == "__main__":
    run(measure)
