"""How do the index's size and its opening grow with its records? Beside: LevelDB alone on the same files.

Measured by `bench.verify` at every size that it grows to; alone it grows the index by itself.
"""

from __future__ import annotations

from bench.disk import folder_bytes
from bench.figures import Figure, alternate, compare
from bench.opening import open_alone, open_index
from bench.runner import run
from bench.stage import Bench, Stage, restart_measured

ROUNDS = 5
BOUND_BYTES = 400


def index_figures(stage: Stage) -> list[Figure]:
    """Weigh and open the measured node's index while the node is stopped."""
    folder = stage.node.folder / "index"
    stage.node.part.stop()
    try:
        # The first opening moves the log of the last run into a table, which is no part of what is compared.
        open_alone(folder)
        size = folder_bytes(folder) / stage.documents
        pairs = alternate(
            ROUNDS, lambda _number: open_index(folder, catalogue=False), lambda _number: open_alone(folder)
        )
    finally:
        restart_measured(stage)
    n = f"{stage.documents:,} records"
    return [
        compare(
            "index size a record",
            n,
            [(size, BOUND_BYTES)],
            unit="bytes",
            floor="bound",
            goal=1,
            at_least=False,
        ),
        compare("open the index", n, pairs, unit="ms", floor="LevelDB alone", goal=3.0, at_least=False),
    ]


def measure(bench: Bench) -> list[Figure]:
    """Weigh and open the index at every size."""
    figures = []
    for documents in bench.sizes:
        bench.stage.grow(documents)
        figures += index_figures(bench.stage)
    return figures


if __name__ == "__main__":
    run(measure)
