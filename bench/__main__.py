"""Measure all figures and print one table. Options: `python -m bench --help`."""

from bench import (
    anchoring,
    batch,
    disk,
    exemptions,
    gas,
    handover,
    memory,
    opening,
    pushlarge,
    pushsmall,
    rebuild,
    receiptbuilding,
    receipts,
    storeverify,
    verify,
)
from bench.runner import run

FIGURES = (
    verify,
    batch,
    exemptions,
    pushsmall,
    pushlarge,
    anchoring,
    rebuild,
    handover,
    gas,
    disk,
    memory,
    storeverify,
    opening,
    receipts,
    receiptbuilding,
)

if __name__ == "__main__":
    run(*(figure.measure for figure in FIGURES))
