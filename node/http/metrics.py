"""Counters of one app in the Prometheus text format: requests by route, refusals, gauges of other parts.

A label is a template or a code, never a path or an id, so metrics hold no personal data and stay few.
Must not import routes, services or the store.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable
from itertools import accumulate

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class RequestFigures(Collector):
    """Answered requests and their times, kept as plain numbers and rendered when a scraper asks.

    A `Counter` and a `Histogram` look up labels and take locks for each request, which costs more than a
    verdict. Counted by one thread: the event loop's.
    """

    def __init__(self) -> None:
        self._answered: dict[tuple[str, str, int], int] = {}
        self._buckets: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = {}
        self._created: dict[object, float] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        answered = (method, route, status)
        try:
            self._answered[answered] += 1
            self._buckets[route][bisect_left(_LATENCY_BUCKETS_S, seconds)] += 1
        except KeyError:
            self._count_first(answered, route, seconds)
        self._seconds[route] += seconds

    def collect(self) -> Iterable[Metric]:
        """Render what was counted, under the names and labels of the library's own kinds."""
        requests = CounterMetricFamily(
            "deltaseal_http_requests", "Answered requests.", labels=("method", "route", "status")
        )
        for answered, count in self._answered.items():
            method, route, status = answered
            requests.add_metric((method, route, str(status)), count, created=self._created[answered])
        times = HistogramMetricFamily(
            "deltaseal_http_request_seconds",
            "Time from the head of a request to the end of its answer.",
            labels=("route",),
        )
        bounds = [*map(str, map(float, _LATENCY_BUCKETS_S)), "+Inf"]
        for route, counts in self._buckets.items():
            pairs = list(zip(bounds, accumulate(counts), strict=True))
            times.add_metric((route,), pairs, sum_value=self._seconds[route])
            times.add_sample(times.name + "_created", {"route": route}, self._created[route])
        return requests, times

    def _count_first(self, answered: tuple[str, str, int], route: str, seconds: float) -> None:
        if answered not in self._created:
            self._created[answered], self._answered[answered] = time.time(), 1
        counts = self._buckets.setdefault(route, [0] * (len(_LATENCY_BUCKETS_S) + 1))
        counts[bisect_left(_LATENCY_BUCKETS_S, seconds)] += 1
        self._seconds.setdefault(route, 0.0)
        self._created.setdefault(route, time.time())


class Metrics:
    """One registry an app, so that two nodes in one process do not share figures."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self.requests = RequestFigures()
        self.registry.register(self.requests)
        self._refused = Counter(
            "deltaseal_http_refused",
            "Connections closed before a route was chosen.",
            ("code",),
            registry=self.registry,
        )

    def count_refusal(self, code: str) -> None:
        """Count one connection that was refused below the routes."""
        self._refused.labels(code).inc()

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
