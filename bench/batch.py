"""What does a document cost in a batch of 1,000? Beside: one question a call, on one connection.

Each side asks about documents of its own: whoever came second would find the rows that the first has read.
"""

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
    """Ask about 1,000 documents in one call, and about 1,000 others in 1,000 calls."""
    stage = bench.stage
    stage.grow(bench.sizes[-1])

    def asked(number: int, *, together: bool) -> list[dict[str, object]]:
        return questions(stage.documents, DOCUMENTS, subject=False, seed=2 * number + together)

    def product(number: int) -> float:
        request = json_request("/v1/verify/batch", {"items": asked(number, together=True)}, key=stage.key)
        seconds, answer = send_all(stage.node.url, [request], status=200, connections=1)
        items = json.loads(answer.partition(b"\r\n\r\n")[2])["items"]
        assert all(item["verdict"] == "valid" for item in items)
        return DOCUMENTS / seconds

    def peer(number: int) -> float:
        questions_alone = asked(number, together=False)
        requests = [json_request("/v1/verify", question, key=stage.key) for question in questions_alone]
        return rate(stage.node.url, requests, status=200, connections=1)

    peer(-1)  # What a connection and a first look cost is no part of the figure.
    product(-1)
    pairs = alternate(ROUNDS, product, peer)
    n = f"{DOCUMENTS:,} of {stage.documents:,}"
    return [compare("verify/batch", n, pairs, unit="documents/s", floor="single verify", goal=20)]


if __name__ == "__main__":
    run(measure)
