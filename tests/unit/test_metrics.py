"""Figures of requests: the same text as the library's own counter and histogram write."""

import re

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from node.http.metrics import _LATENCY_BUCKETS_S, Metrics

COUNTED = [
    ("POST", "/v1/verify", 200, 0.0004),
    ("POST", "/v1/verify", 200, 0.001),
    ("POST", "/v1/verify", 429, 0.0011),
    ("GET", "/v1/me", 200, 31.0),
    ("POST", "/v1/verify", 200, 10.0),
]


def plain(text: bytes) -> list[str]:
    """Leave out when a series was made."""
    return sorted(re.sub(r"(_created\S*) .*", r"\1", line) for line in text.decode().splitlines())


def test_requests_are_written_as_the_library_writes_them() -> None:
    metrics, theirs = Metrics(), CollectorRegistry()
    requests = Counter(
        "deltaseal_http_requests", "Answered requests.", ("method", "route", "status"), registry=theirs
    )
    seconds = Histogram(
        "deltaseal_http_request_seconds",
        "Time from the head of a request to the end of its answer.",
        ("route",),
        buckets=_LATENCY_BUCKETS_S,
        registry=theirs,
    )
    for method, route, status, spent in COUNTED:
        metrics.requests.count(method, route, status, spent)
        requests.labels(method, route, str(status)).inc()
        seconds.labels(route).observe(spent)
    ours = [line for line in plain(metrics.render()) if "refused" not in line]
    assert ours == plain(generate_latest(theirs))
