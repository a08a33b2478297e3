"""A connection's deadlines when the process stood still: looked at with hands on the clock, without a socket."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from node.http.protocol import DeadlineProtocol, Phase

STOPPED_S = 300.0


class Watched:
    """A protocol object in one phase, its clock, and what it did to its connection."""

    def __init__(self, phase: Phase) -> None:
        self.now = 1000.0
        self.done: list[str] = []
        loop = SimpleNamespace(time=lambda: self.now, call_later=lambda *_: None)
        transport = SimpleNamespace(is_closing=lambda: False, close=lambda: self.done.append("closed"))
        made: Any = DeadlineProtocol.__new__(DeadlineProtocol)
        made.loop, made.transport, made.flow = loop, transport, SimpleNamespace(read_paused=False)
        made._phase, made._since, made._received, made._stalled = phase, self.now, 0, None
        made._body_since = made._watched = self.now
        made._refuse = self.done.append
        # What uvicorn's own timer asks before it closes an idle connection.
        made.cycle = SimpleNamespace(response_complete=True)
        self.protocol = made

    def look_every(self, seconds: float, *, until: float) -> None:
        """Look at the connection at its usual pace for so long."""
        end = self.now + until
        while self.now < end:
            self.now += seconds
            self.protocol._watch()


@pytest.mark.parametrize("phase", [Phase.HEAD, Phase.BODY, Phase.IDLE, Phase.DRAIN])
def test_a_deadline_does_not_count_the_time_in_which_the_process_stood_still(phase: Phase) -> None:
    watched = Watched(phase)
    interval_s = watched.protocol.limits.watch_interval_s
    watched.look_every(interval_s, until=2 * interval_s)
    watched.now += STOPPED_S
    watched.protocol._watch()
    assert watched.done == []
    # The time after it counts again.
    watched.look_every(interval_s, until=STOPPED_S / 2)
    assert watched.done


def test_the_servers_own_timer_closes_no_idle_connection() -> None:
    watched = Watched(Phase.IDLE)
    watched.protocol.timeout_keep_alive_handler()
    assert watched.done == []
