"""Nodes that die again and again under load: at named fail points between two writes, and at random moments.

A life begins with an armed fail point or a random delay, and ends by `kill -9`. Requests run all the time; those
that were cut off go into the next life, under their Idempotency-Key, so that repeats die too.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tests.faults.kill_acts import (
    Act,
    Errand,
    Stand,
    big_push,
    big_reuse,
    consume,
    invoice,
    push,
    reuse,
    revoke,
    supersede,
)
from tests.support.waiting import BOUND_S

CLIENTS = 5
REPEATED = 40
#: What may be asked at a random moment, with its weight.
USUAL: list[tuple[Act, int]] = [
    (push, 6),
    (supersede, 4),
    (revoke, 4),
    (reuse, 5),
    (invoice, 2),
    (consume, 3),
    (big_push, 1),
]


@dataclass(frozen=True)
class Point:
    """A fail point, whose life ends at it, and the act that passes it."""

    victim: str
    name: str
    act: Act


POINTS = [
    Point("PD", "material.accept.before:1", push),
    Point("PD", "material.accept.after:1", push),
    Point("PD", "outbox.pack.before:1", push),
    Point("PD", "outbox.pack.after:1", push),
    Point("PD", "chain.send.after:1", push),
    Point("PD", "outbox.move.before:1", push),
    Point("PD", "outbox.move.after:1", push),
    Point("PD", "outbox.move.before:2", push),
    Point("PD", "outbox.move.after:2", push),
    Point("PD", "intake.piece:4", big_push),
    Point("PD", "material.accept.before:1", big_push),
    Point("PD", "material.accept.before:2", supersede),
    Point("PD", "material.accept.after:2", supersede),
    Point("PD", "outbox.pack.after:2", supersede),
    Point("PD", "chain.send.after:2", supersede),
    Point("PD", "material.revoke.before:1", revoke),
    Point("PD", "material.revoke.after:1", revoke),
    Point("PD", "release.nonce.after:1", big_reuse),
    Point("PD", "release.before:1", big_reuse),
    Point("PD", "release.after:1", big_reuse),
    Point("PD", "release.head.after:1", big_reuse),
    Point("PD", "reuse.consume.before:1", consume),
    Point("PD", "reuse.consume.after:1", consume),
    Point("PD", "reuse.decide.before:1", consume),
    Point("PD", "reuse.decide.after:1", consume),
    Point("XH", "release.piece.after:3", big_reuse),
    Point("XH", "reuse.decide.before:1", big_reuse),
    Point("XH", "reuse.decide.after:1", big_reuse),
    Point("XH", "outbox.pack.after:1", reuse),
    Point("XH", "chain.send.after:1", reuse),
]


@dataclass
class Storm:
    """Runs lives one after the other; `kills` counts how they ended, `cuts` the requests that were cut off."""

    stand: Stand
    kills: Counter[str] = field(default_factory=Counter)
    cuts: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    open: list[Errand] = field(default_factory=list)
    last: deque[Errand] = field(default_factory=lambda: deque(maxlen=REPEATED))

    def run(self, *, points: Sequence[Point], kills: int) -> None:
        """Kill a node at each of `points`, in random order, and at random moments until it was `kills` times."""
        chance, left = self.stand.chance, list(points)
        chance.shuffle(left)
        with ThreadPoolExecutor(CLIENTS) as self._pool:
            self._wave([act(self.stand) for act in (push, push, push, invoice, invoice, big_push)])
            while left or self.kills.total() < kills:
                missing = max(1, kills - self.kills.total())
                if chance.random() < len(left) / missing:
                    self._die_at(left.pop())
                else:
                    self._die_some_time(chance.choice(("PD", "PD", "XH")))
            self._finish()

    def _die_at(self, point: Point) -> None:
        """Start the victim with a fail point armed, and ask until it has ended there."""
        self._end(point.victim, "random moment")
        self._begin(point.victim, failpoint=f"{point.name}:kill")
        deadline = time.monotonic() + BOUND_S
        while self.stand.is_running(point.victim):
            assert time.monotonic() < deadline, f"{point.name} was never reached"
            self._wave([point.act(self.stand), *self._some(1)])
        self.kills[f"{point.victim} {point.name}"] += 1

    def _die_some_time(self, victim: str) -> None:
        """Kill the victim at a random moment of its start, or of requests under way."""
        chance = self.stand.chance
        if not self.stand.is_running(victim) and chance.random() < 0.3:
            self.stand.spawner.start(self.stand.node(victim).folder)
            time.sleep(chance.uniform(0.0, 0.5))
            self._end(victim, "start")
        self._begin(victim)
        running = self._send(self._some(CLIENTS - len(self.open)))
        time.sleep(chance.uniform(0.0, 0.15))
        self._end(victim, "random moment")
        self._wait(running)

    def _end(self, victim: str, how: str) -> None:
        if self.stand.is_running(victim):
            self.stand.kill(victim)
            self.kills[f"{victim} {how}"] += 1

    def _begin(self, victim: str, *, failpoint: str = "") -> None:
        """Start what does not run. A node with an armed point may end while it starts: work was left for it."""
        for name in ("PD", "XH"):
            if not self.stand.is_running(name):
                armed = failpoint if name == victim else ""
                self.stand.spawner.start(self.stand.node(name).folder, failpoint=armed)
        for name in ("PD", "XH"):
            self.stand.wait_serving_or_dead(name)

    def _some(self, count: int) -> list[Errand]:
        acts, weights = zip(*USUAL, strict=True)
        chosen = self.stand.chance.choices(acts, weights, k=max(0, count))
        return [act(self.stand) or push(self.stand) for act in chosen]

    def _send(self, errands: Sequence[Errand | None]) -> list[Future[None]]:
        """Begin with these and with what is left over."""
        self.open += [errand for errand in errands if errand is not None]
        return [self._pool.submit(errand.run) for errand in self.open]

    def _wait(self, running: Sequence[Future[None]]) -> None:
        for one in running:
            one.result()
        self._sort()

    def _wave(self, errands: Sequence[Errand | None]) -> None:
        self._wait(self._send(errands))

    def _sort(self) -> None:
        """Note what was answered and keep the rest for the next wave."""
        for errand in self.open:
            if errand.answer is not None:
                errand.note(errand.answer)
                self.answered[errand.kind] += 1
                self.cuts[errand.kind] += errand.cuts
                self.last.append(errand)
        self.open = [errand for errand in self.open if errand.answer is None]

    def _finish(self) -> None:
        """Ask with all nodes up until nothing is open; what was answered is answered alike again."""
        self._begin("PD")
        deadline = time.monotonic() + BOUND_S
        while self.open:
            assert time.monotonic() < deadline, [errand.kind for errand in self.open]
            self._wave([])
        for errand in self.last:
            again = errand.request().json()
            assert again == errand.answer, (errand.kind, errand.answer, again)

    def counts(self) -> dict[str, Any]:
        """Return what is printed."""
        at_points = sum(number for name, number in self.kills.items() if ":" in name)
        return {
            "kills": self.kills.total(),
            "at fail points": at_points,
            "while starting": sum(n for name, n in self.kills.items() if name.endswith(" start")),
            "answered": dict(self.answered),
            "cut off and repeated": dict(self.cuts),
        }
