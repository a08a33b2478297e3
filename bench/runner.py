"""Runs one figure, or all of them, and prints the table."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Callable, Sequence

from bench.figures import Figure, render_table, versions
from bench.stage import Bench, open_bench

Measure = Callable[[Bench], Sequence[Figure]]


def run(*measures: Measure) -> None:
    """Measure and print: the command, the versions, the table. What comes meanwhile goes to stderr."""
    options = parse_arguments(sys.argv[1:])
    # Ended from outside, a run still stops the processes that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    figures: list[Figure] = []
    started = time.monotonic()
    with open_bench(
        full=options.full, large_mib=options.large_mib, anchor_records=options.anchor_records
    ) as bench:
        for measure in measures:
            name = measure.__module__.removeprefix("bench.")
            print(f"[{time.monotonic() - started:4.0f} s] {name}", file=sys.stderr, flush=True)
            made = measure(bench)
            for figure in made:
                print("         " + " | ".join(figure.cells()), file=sys.stderr, flush=True)
            figures += made
    print(f"command: python -m bench {' '.join(sys.argv[1:])}".rstrip())
    print(f"machine: {versions()}")
    print(f"seconds: {time.monotonic() - started:.0f}\n")
    print(render_table(figures))


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the options that all figures share."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="measure beside peers and floors")
    parser.add_argument("--full", action="store_true", help="also 1,000,000 records and 10,000 files")
    parser.add_argument("--large-mib", type=int, default=256, help="size of the large file")
    parser.add_argument("--anchor-records", type=int, default=20_000, help="records to anchor in a round")
    return parser.parse_args(arguments)
