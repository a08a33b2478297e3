"""Feeds one target with mutated golden inputs: `python -m tests.fuzz.run TARGET COUNT SEED`.

Prints one JSON line: executions, accepted ones, seconds. Ends with 1 and the input in hex at the first finding: an
exception that is no typed refusal, an accepted input with another meaning, one that takes longer than 30 s, or more
than 4 GiB of memory.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
from dataclasses import dataclass

from tests.fuzz import mutator
from tests.fuzz.targets import Target, target, try_one

INPUT_BOUND_S = 30
MEMORY_BOUND_BYTES = 4 << 30
_BLOCK = 256


@dataclass(frozen=True)
class Findings:
    """What a run did; `failure` is empty when nothing was found."""

    target: str
    executions: int
    accepted: int
    seconds: float
    failure: str = ""


def run(one: Target, *, count: int, seed: int) -> Findings:
    """Run `count` inputs, or up to the first finding."""
    accepted = done = 0
    began = time.monotonic()
    for content in mutator.inputs(one.corpus, count=count, seed=seed):
        if done % _BLOCK == 0:
            signal.alarm(INPUT_BOUND_S)
        done += 1
        try:
            accepted += try_one(one, content)
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            signal.alarm(0)
            failure = f"{type(error).__name__}: {error} for {content.hex()} (seed {seed})"
            return Findings(one.name, done, accepted, time.monotonic() - began, failure)
    signal.alarm(0)
    return Findings(one.name, done, accepted, time.monotonic() - began)


def main(arguments: list[str]) -> int:
    """Run what the arguments ask for."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BOUND_BYTES, MEMORY_BOUND_BYTES))
    name, count, seed = arguments
    found = run(target(name), count=int(count), seed=int(seed))
    print(
        json.dumps(
            {
                "target": found.target,
                "executions": found.executions,
                "accepted": found.accepted,
                "seconds": round(found.seconds, 1),
                "failure": found.failure,
            }
        ),
        flush=True,
    )
    return 1 if found.failure else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
