"""How fast is the index built again from the chain? Beside: fetching the same events with eth_getLogs."""

from __future__ import annotations

import http.client
import json
import shutil
import time
from pathlib import Path
from urllib.parse import urlsplit

from anchor.chain.finality import finality_for
from bench.chains import FULL_BATCH, BareChain, bare_chain, bench_keys, document_records
from bench.figures import Figure, alternate, compare
from bench.runner import run
from bench.stage import Bench
from node.store.leveldb import LevelStore
from verifier.follower import Follower
from verifier.index import ChainIndex
from verifier.keyring import KeyRing

ROUNDS = 3
BLOCKS_A_CALL = 16
INDEX_CACHE_BYTES = 256 << 20


def follow_all(chain: BareChain, folder: Path) -> float:
    """Build an index from block 0 to the head: roots checked, unmasked, stored. Returns the seconds."""
    keys = bench_keys()
    ring = KeyRing({(keys.domain, keys.epoch): keys})
    LevelStore.create(folder, node_id="bench", seal=None, chain=False).close()
    with LevelStore.open(folder, seal=None, chain=False, cache_bytes=INDEX_CACHE_BYTES) as store:
        index = ChainIndex(store)
        index.use_keys(ring)
        follower = Follower(
            chain.gateway,
            index,
            deployment=chain.deployment,
            finality=finality_for("embedded", signer_sets=index.signer_sets),
            keys=ring,
        )
        started = time.perf_counter()
        while follower.step().behind:
            pass
        seconds = time.perf_counter() - started
    shutil.rmtree(folder)
    return seconds


def transfer_all(chain: BareChain) -> float:
    """Fetch every event of the ledger as bytes, in calls of 16 blocks; return the seconds."""
    parts = urlsplit(chain.rpc)
    head = chain.gateway.head().number
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    started = time.perf_counter()
    for first in range(0, head + 1, BLOCKS_A_CALL):
        connection.request("POST", "/", logs_request(chain, first, min(first + BLOCKS_A_CALL - 1, head)))
        connection.getresponse().read()
    seconds = time.perf_counter() - started
    connection.close()
    return seconds


def logs_request(chain: BareChain, first: int, last: int) -> bytes:
    """Return the call for the ledger's events in blocks first..last."""
    where = {
        "fromBlock": hex(first),
        "toBlock": hex(last),
        "address": "0x" + chain.deployment.ledger.hex(),
    }
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": [where]}).encode()


def measure(bench: Bench) -> list[Figure]:
    """Rebuild from full batches, at every size, and from batches of one."""
    figures = []
    with bare_chain(bench.folder / "rebuild") as chain:
        sender, done = chain.admit(1), 0
        for records in bench.sizes:
            sender.append(document_records(bench_keys(), done, records))
            done = records
            figures.append(_figure(bench, chain, f"batches of {FULL_BATCH}", records))
    singles = 50_000 if bench.full else 2_000
    with bare_chain(bench.folder / "singles") as chain:
        chain.admit(1).append(document_records(bench_keys(), 0, singles), batch=1)
        figures.append(_figure(bench, chain, "batches of 1", singles))
    return figures


def _figure(bench: Bench, chain: BareChain, kind: str, records: int) -> Figure:
    pairs = alternate(
        ROUNDS,
        lambda _number: records / follow_all(chain, bench.folder / "index"),
        lambda _number: records / transfer_all(chain),
    )
    stage, n = f"rebuild index, {kind}", f"{records:,} records"
    return compare(stage, n, pairs, unit="records/s", floor="eth_getLogs, transfer only", goal=0.3)


if __name__ == "__main__":
    run(measure)
