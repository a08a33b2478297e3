"""What gas does a record cost, all checks in? Beside: the transaction, its calldata and its log, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

from anchor.chain.contracts import encode_call
from anchor.records import RECORD_BYTES, Stream
from bench.chains import bench_keys, random_records
from bench.figures import Figure, compare
from bench.runner import run
from bench.stage import Bench
from contracts import __file__ as contracts_file

# Ethereum yellow paper, appendix G; EIP-2028.
TRANSACTION, ZERO_BYTE, OTHER_BYTE = 21_000, 4, 16
LOG, LOG_TOPIC, LOG_BYTE = 375, 375, 8
GOALS = {256: 1.5, 512: 1.45}


def floor_gas(calldata: bytes, records: int) -> int:
    """Return the gas of a transaction that carries `calldata` and logs its records, without running any code."""
    zeros = calldata.count(0)
    carried = TRANSACTION + ZERO_BYTE * zeros + OTHER_BYTE * (len(calldata) - zeros)
    return carried + LOG + LOG_TOPIC + LOG_BYTE * RECORD_BYTES * records


def append_calldata(records: int) -> bytes:
    """Return the calldata of an append of records that look random, as masked ones do."""
    return encode_call(
        "Ledger", "append", int(Stream.MATERIAL), 1, b"".join(random_records(records, bench_keys()))
    )


def measure(_bench: Bench) -> list[Figure]:
    """Compare the measured table of contracts/gas.json, which `make test` keeps true, with the formula."""
    measured = json.loads((Path(contracts_file).parent / "gas.json").read_text())["append"]
    figures = []
    for text, gas in measured.items():
        records = int(text)
        floor = floor_gas(append_calldata(records), records)
        figures.append(
            compare(
                "gas a record",
                f"batch of {records}",
                [(gas / records, floor / records)],
                unit="gas",
                floor="transaction + calldata + log",
                goal=GOALS.get(records),
                at_least=False,
            )
        )
    return figures


if __name__ == "__main__":
    run(measure)
