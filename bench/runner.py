"""Runs one figure, or all of them, and prints the table."""

from __future__ import annotations

import argparse
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.figures import Figure, render_table, versions
from bench.stage import Bench, open_bench

Measure = Callable[[Bench], Sequence[Figure]]


def run(*measures: Measure) -> None:
    """Measure and print: the command, the versions, the table. What comes meanwhile goes to stderr.

    A figure that cannot be measured is named below the table, and the exit code is 1; the others go on.
    """
    options = parse_arguments(sys.argv[1:])
    # Ended from outside, a run still stops the processes that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    figures: list[Figure] = []
    failures: list[str] = []
    started = time.monotonic()
    with open_bench(
        full=options.full, large_mib=options.large_mib, anchor_records=options.anchor_records
    ) as bench:
        for measure in measures:
            name = measure.__module__.removeprefix("bench.")
            print(f"[{time.monotonic() - started:4.0f} s] {name}", file=sys.stderr, flush=True)
            try:
                made = measure(bench)
            except Exception as error:  # noqa: BLE001 - whatever it is, what was measured is worth having
                traceback.print_exc()
                failures.append(f"not measured: {name}: {type(error).__name__}: {error}")
                continue
            for figure in made:
                print("         " + " | ".join(figure.cells()), file=sys.stderr, flush=True)
            figures += made
    print(f"command: {command()}")
    print(f"machine: {versions()}")
    print(f"seconds: {time.monotonic() - started:.0f}\n")
    print(render_table(figures))
    if failures:
        print("\n".join(["", *failures]))
        sys.exit(1)


def command() -> str:
    """Return the command of this run: all figures, or the module that was started."""
    name = Path(sys.argv[0]).stem
    module = "bench" if name == "__main__" else f"bench.{name}"
    return " ".join(["python -m", module, *sys.argv[1:]])


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the options that all figures share."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="measure beside peers and floors")
    parser.add_argument("--full", action="store_true", help="also 1,000,000 records and 10,000 files")
    parser.add_argument("--large-mib", type=int, default=256, help="size of the large file")
    parser.add_argument("--anchor-records", type=int, default=20_000, help="records to anchor in a round")
    return parser.parse_args(arguments)
