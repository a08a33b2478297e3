"""How fast does the outbox anchor what waits in it? Beside: raw full batches in flight on the same chain."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from anchor.chain.finality import finality_for
from anchor.outbox import AppendOperation, Outbox
from anchor.records import Stream
from bench.chains import (
    DEADLINE_S,
    WINDOW,
    BareChain,
    ChainStuck,
    RawSender,
    bare_chain,
    bench_keys,
    random_records,
)
from bench.figures import Figure, alternate, compare
from bench.runner import run
from bench.stage import Bench
from node.store.leveldb import LevelStore

ROUNDS = 5
_POLL_S = 0.005


def anchor_all(chain: BareChain, account: RawSender, records: list[bytes], folder: Path) -> float:
    """Anchor records through an outbox over LevelDB; return the seconds until the last one is final.

    They wait in the queue before the clock starts: storing them is part of the push.
    """
    LevelStore.create(folder, node_id="bench", seal=None).close()
    with LevelStore.open(folder, seal=None) as store:
        outbox = Outbox(
            store,
            gateway=chain.gateway,
            signer=account.signer,
            deployment=chain.deployment,
            member_id=account.member_id,
            finality=finality_for("embedded"),
            window=WINDOW,
        )
        named = [(f"r{at}", AppendOperation(Stream.MATERIAL, record)) for at, record in enumerate(records)]
        for at in range(0, len(named), 1_000):
            store.write(outbox.enqueue(named[at : at + 1_000]), sync=False)
        started = time.perf_counter()
        _drain(outbox, started)
        seconds = time.perf_counter() - started
    shutil.rmtree(folder)
    return seconds


def _drain(outbox: Outbox, started: float) -> None:
    """Step as the node's worker does, until nothing waits or is in flight."""
    while True:
        progress = outbox.step()
        if not (progress.queued or progress.in_flight or progress.included):
            return
        if time.perf_counter() - started > DEADLINE_S:
            raise ChainStuck("the outbox does not drain")
        outbox.wait(_POLL_S)


def measure(bench: Bench) -> list[Figure]:
    """Anchor the same number of random records both ways, each outbox under a member of its own."""
    count, keys = bench.anchor_records, bench_keys()
    with bare_chain(bench.folder / "anchoring") as chain:
        raw = chain.admit(1)
        raw.append(random_records(512, keys))

        def product(number: int) -> float:
            account, records = chain.admit(2 + number), random_records(count, keys)
            return count / anchor_all(chain, account, records, bench.folder / "outbox")

        def peer(_number: int) -> float:
            return count / raw.append(random_records(count, keys))

        pairs = alternate(ROUNDS, product, peer)
    floor = f"raw full batches, window {WINDOW}"
    return [compare("anchor records", f"{count:,} records", pairs, unit="/s", floor=floor, goal=0.8)]


if __name__ == "__main__":
    run(measure)
