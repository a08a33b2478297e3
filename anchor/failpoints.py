"""Named points between two writes at which a test ends the process or makes it fail; free when off.

`DELTASEAL_FAILPOINT="name:count:kill"` arms one point of one process at its start: the `count`-th time the
point is reached, the process ends as by a power cut (`kill`) or the caller gets `FailpointReached` (`raise`).
No request can arm one. The names are listed in docs/explanation/reliability.md.
Must import nothing of the project: every layer calls it.
"""

import os
import signal
import threading
from dataclasses import dataclass, field

VARIABLE = "DELTASEAL_FAILPOINT"


class FailpointReached(RuntimeError):
    """The armed point was reached. No `DeltasealError`: nobody may handle it as a known fault."""


@dataclass(slots=True)
class _Armed:
    """The one armed point and how often it may still be passed."""

    name: str
    left: int
    kills: bool
    lock: threading.Lock = field(default_factory=threading.Lock)

    def passed(self) -> None:
        with self.lock:
            self.left -= 1
            due = self.left == 0
        if due and self.kills:
            os.kill(os.getpid(), signal.SIGKILL)
        if due:
            raise FailpointReached(self.name)


def _parse(text: str) -> _Armed | None:
    """Return what `text` arms. A wrong text stops the process: a test must not pass because nothing was armed."""
    if not text:
        return None
    name, count, action = text.split(":")
    if action not in ("kill", "raise") or int(count) < 1:
        raise ValueError(f"{VARIABLE} is name:count:kill or name:count:raise")
    return _Armed(name, int(count), action == "kill")


_armed = _parse(os.environ.get(VARIABLE, ""))


def arm(text: str) -> None:
    """Arm by text what `VARIABLE` would at the start; for a process that was forked by a test."""
    global _armed
    _armed = _parse(text)


def reach(place: str, step: str) -> None:
    """Pass the point `place.step`."""
    if _armed is not None and _armed.name == f"{place}.{step}":
        _armed.passed()
