"""Counters of one app in the Prometheus text format: requests by route, refusals, gauges of other parts.

A label is a template or a code, never a path or an id, so metrics hold no personal data and stay few.
Must not import routes, services or the store.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

_LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """One registry an app, so that two nodes in one process do not share figures."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._requests = Counter(
            "deltaseal_http_requests",
            "Answered requests.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "deltaseal_http_request_seconds",
            "Time from the head of a request to the end of its answer.",
            ("route",),
            buckets=_LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self._refused = Counter(
            "deltaseal_http_refused",
            "Connections closed before a route was chosen.",
            ("code",),
            registry=self.registry,
        )
        self._in_flight = Gauge(
            "deltaseal_http_in_flight", "Requests being answered.", registry=self.registry
        )

    def count_request(self, method: str, route: str, status: int, *, seconds: float) -> None:
        """Count one answered request."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def count_refusal(self, code: str) -> None:
        """Count one connection that was refused below the routes."""
        self._refused.labels(code).inc()

    def set_in_flight(self, count: int) -> None:
        """Set the number of requests being answered."""
        self._in_flight.set(count)

    def register_gauge(self, name: str, description: str, read: Callable[[], float]) -> None:
        """Publish `read()` as gauge `name` at every scrape; NaN when it raises, hiding no other."""

        def read_safely() -> float:
            try:
                return float(read())
            except Exception:  # noqa: BLE001 - whatever a part raises, the scrape goes on
                return math.nan

        Gauge(name, description, registry=self.registry).set_function(read_safely)

    def render(self) -> bytes:
        """Render all figures in the Prometheus text format."""
        return generate_latest(self.registry)
