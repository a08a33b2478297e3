"""How fast is the index built again from the chain? Beside: fetching the same events with eth_getLogs.

On the embedded engine and, where go-ethereum 1.13 is installed, on one Clique signer: how fast a client hands
events out differs by much. Processor time is of this process, and bends less than the clock on a busy machine.
"""

from __future__ import annotations

import http.client
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from anchor.chain.finality import finality_for
from bench.chains import (
    FULL_BATCH,
    BareChain,
    StartChain,
    bench_keys,
    document_records,
    engines,
)
from bench.figures import Figure, alternate, compare
from bench.runner import run
from bench.stage import Bench
from node.store.leveldb import LevelStore
from verifier.follower import Follower
from verifier.index import ChainIndex
from verifier.keyring import KeyRing

ROUNDS = 3
BLOCKS_A_CALL = 16
SINGLES_WINDOW = 1000  # A Clique signer makes a block in two seconds only.
_JSON = {"content-type": "application/json"}
INDEX_CACHE_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds by the clock and of this process's processors."""

    clock: float
    processor: float


@contextmanager
def spending(found: list[Spent]) -> Iterator[None]:
    """Add to `found` what the block takes."""
    clock, processor = time.perf_counter(), time.process_time()
    yield
    found.append(Spent(time.perf_counter() - clock, time.process_time() - processor))


def follow_all(chain: BareChain, folder: Path, records: int) -> Spent:
    """Build an index from block 0 to the head: events proven, roots checked, unmasked, stored."""
    keys = bench_keys()
    ring = KeyRing({(keys.domain, keys.epoch): keys})
    LevelStore.create(folder, node_id="bench", seal=None, chain=False).close()
    found: list[Spent] = []
    with LevelStore.open(folder, seal=None, chain=False, cache_bytes=INDEX_CACHE_BYTES) as store:
        index = ChainIndex(store)
        follower = Follower(
            chain.gateway,
            index,
            deployment=chain.deployment,
            finality=finality_for(chain.engine, signer_sets=index.signer_sets),
            keys=ring,
        )
        with spending(found):
            # The head of a real network goes on; all records are what is compared.
            while index.counts().records < records:
                follower.step()
        assert index.counts().indexed == records
    shutil.rmtree(folder)
    return found[0]


def transfer_all(chain: BareChain) -> Spent:
    """Fetch every event of the ledger as bytes, in calls of 16 blocks."""
    parts = urlsplit(chain.rpc)
    head = chain.gateway.head().number
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    found: list[Spent] = []
    with spending(found):
        for first in range(0, head + 1, BLOCKS_A_CALL):
            last = min(first + BLOCKS_A_CALL - 1, head)
            connection.request("POST", "/", logs_request(chain, first, last), _JSON)
            connection.getresponse().read()
    connection.close()
    return found[0]


def logs_request(chain: BareChain, first: int, last: int) -> bytes:
    """Return the call for the ledger's events in blocks first..last."""
    where = {
        "fromBlock": hex(first),
        "toBlock": hex(last),
        "address": "0x" + chain.deployment.ledger.hex(),
    }
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": [where]}).encode()


def measure(bench: Bench) -> list[Figure]:
    """Rebuild from full batches, at every size, and from batches of one, on each engine that is there."""
    figures: list[Figure] = []
    for name, start in engines():
        sizes = bench.sizes if name == "embedded" else bench.sizes[1:]
        figures += _measure_engine(bench, start, sizes, name)
    return figures


def _measure_engine(bench: Bench, start: StartChain, sizes: Sequence[int], engine: str) -> list[Figure]:
    figures: list[Figure] = []
    with start(bench.folder / f"rebuild-{engine}") as chain:
        sender, done = chain.admit(1), 0
        for records in sizes:
            sender.append(document_records(bench_keys(), done, records))
            done = records
            figures += _figures(bench, chain, f"{engine}, batches of {FULL_BATCH}", records)
    singles = 50_000 if bench.full else 2_000
    with start(bench.folder / f"singles-{engine}") as chain:
        sender = chain.admit(1)
        sender.window = SINGLES_WINDOW
        sender.append(document_records(bench_keys(), 0, singles), batch=1)
        figures += _figures(bench, chain, f"{engine}, batches of 1", singles)
    return figures


def _figures(bench: Bench, chain: BareChain, kind: str, records: int) -> list[Figure]:
    pairs = alternate(
        ROUNDS,
        lambda _number: follow_all(chain, bench.folder / "index", records),
        lambda _number: transfer_all(chain),
    )
    stage, n = f"rebuild index, {kind}", f"{records:,} records"
    rates = [(records / one.clock, records / other.clock) for one, other in pairs]
    spent = [(1e6 * one.processor / records, 1e6 * other.processor / records) for one, other in pairs]
    floor = "eth_getLogs, transfer only"
    return [
        compare(stage, n, rates, unit="records/s", floor=floor, goal=0.3),
        compare(f"{stage}: processor", n, spent, unit="µs/record", floor="the same client", goal=None),
    ]


if __name__ == "__main__":
    run(measure)
