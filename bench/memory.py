"""How much memory does a node need beyond its idle size while four large files come in at once?

Counted is what the process holds for itself (RssAnon, read ten times a second). Table files that LevelDB maps
are in VmHWM too; the system takes their pages back when it needs them.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.figures import Figure, compare
from bench.pushlarge import push_once, write_file
from bench.runner import run
from bench.stage import Bench

UPLOADS = 4
SIZE_MIB = 512
FULL_SIZE_MIB = 2048
BOUND_MIB = 300
_LOOK_S = 0.1


def anonymous_mib(pid: int) -> float:
    """Return what a process holds of its own, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise LookupError("this system does not tell anonymous memory")


class Peak:
    """The largest size of a process while it is watched."""

    def __init__(self, pid: int) -> None:
        """Begin with its size now."""
        self._pid = pid
        self._ended = threading.Event()
        self.idle = self.highest = anonymous_mib(pid)
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        """Watch until it is left."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop watching."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK_S):
            self.highest = max(self.highest, anonymous_mib(self._pid))


def measure(bench: Bench) -> list[Figure]:
    """Push four files at once, as the CLI does; MiB over idle."""
    stage = bench.stage
    size = FULL_SIZE_MIB if bench.full else SIZE_MIB
    paths = [bench.folder / f"upload-{number}" for number in range(UPLOADS)]
    for path in paths:
        write_file(path, size)
    time.sleep(1.0)  # the node rests
    with Peak(stage.node.part.pid) as peak, ThreadPoolExecutor(UPLOADS) as pool:
        list(pool.map(lambda path: push_once(stage, path), paths))
    for path in paths:
        path.unlink()
    over = peak.highest - peak.idle
    return [
        compare(
            "memory of four uploads",
            f"4 × {size:,} MiB",
            [(over, BOUND_MIB)],
            unit="MiB",
            floor="bound over idle",
            goal=1,
            at_least=False,
        )
    ]


if __name__ == "__main__":
    run(measure)
