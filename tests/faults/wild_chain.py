"""A chain that misbehaves on command: the engine without its journal, mined by a thread of the test.

It takes blocks back, forgets what waits, stops, and lets somebody else use a member's key. `finality` says how many
blocks on top may be taken back: 0 as on an operator's chain, more as on a network.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from anchor.chain.deploy import CouncilActs, Deployment, deploy
from anchor.chain.engine import find_anvil
from anchor.chain.finality import FinalPoint
from anchor.chain.gateway import Block, Gateway
from anchor.chain.wire import Wire
from anchor.errors import ChainUnavailable
from anchor.signer import Signer
from cli.demo.build import free_ports
from tests.integration.running_chain import COUNCIL, profile_of
from tests.support.waiting import BOUND_S

CHAIN_ID = 310_000
PERIOD_S = 0.03
_FLAGS = (
    *("--hardfork", "berlin", "--gas-price", "0", "--base-fee", "0", "--gas-limit", "60000000"),
    *("--order", "fifo", "--accounts", "0", "--no-mining", "--no-request-size-limit", "--silent"),
)


class LaggingFinality:
    """Blocks so far below the head are final; a depth of 0 is an operator's word."""

    label = "test"

    def __init__(self, depth: int) -> None:
        self._depth = depth

    def final_point(self, gateway: Gateway, head: Block) -> FinalPoint | None:
        """Return the block at this depth."""
        block = head if not self._depth else gateway.block(max(0, head.number - self._depth))
        return FinalPoint(block.number, block.hash, block.time, self.label) if block else None


class WildChain:
    """One anvil on a port of its own, and the thread that mines it."""

    def __init__(self, folder: Path) -> None:
        (port,) = free_ports(1, base=None)
        self.rpc = f"http://127.0.0.1:{port}"
        arguments = [str(find_anvil()), "--port", str(port), "--chain-id", str(CHAIN_ID), *_FLAGS]
        self._process = subprocess.Popen([*arguments, "--cache-path", str(folder)], cwd=folder)
        self._wire = Wire(self.rpc, timeout_s=30)
        self._wait_ready()
        self._lock, self._kept = threading.RLock(), 0
        self._ended, self._frozen = threading.Event(), False
        self._miner = threading.Thread(target=self._mine, daemon=True)
        self._miner.start()
        self.gateway = Gateway(self.rpc, timeout_s=30)
        self.deployment: Deployment = deploy(self.gateway, COUNCIL)

    def admit(self, member_id: int) -> Signer:
        """Admit a member with a key of its own."""
        signer = Signer.generate()
        CouncilActs(self.gateway, COUNCIL, self.deployment).admit_member(member_id, profile_of(signer))
        with self._lock:  # What the council did is never taken back here: it has no outbox.
            self.ask("evm_mine")
            self._kept = self.height()
        return signer

    def close(self) -> None:
        """End the miner and the engine."""
        self._ended.set()
        self._miner.join()
        self.gateway.close()
        self._wire.close()
        self._process.kill()
        self._process.wait()

    def ask(self, method: str, *params: object) -> Any:
        """Call the engine; methods that only a test may call too."""
        body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        return orjson.loads(self._wire.post(body, repeatable=True)).get("result")

    def height(self) -> int:
        return int(self.ask("eth_blockNumber"), 16)

    def wait_blocks(self, count: int) -> None:
        """Wait until so many more blocks are mined."""
        goal, deadline = self.height() + count, time.monotonic() + BOUND_S
        while self.height() < goal:
            assert time.monotonic() < deadline, "the chain does not advance"
            time.sleep(PERIOD_S / 2)

    def reorganise(self, depth: int, *, keep: float, lower: bool, chance: random.Random) -> None:
        """Replace the top blocks by empty ones, or (`lower`) take them away.

        A share `keep` of their transactions waits again in the pool; the others are forgotten.
        """
        with self._lock:
            head = self.height()
            depth = min(depth, head - self._kept)
            if depth <= 0:
                return
            names = [
                name
                for number in range(head - depth + 1, head + 1)
                for name in self.ask("eth_getBlockByNumber", hex(number), False)["transactions"]
            ]
            raws = [self.ask("eth_getRawTransactionByHash", name) for name in names]
            self.ask("anvil_rollback" if lower else "anvil_reorg", depth, *([] if lower else [[]]))
            for raw in raws:
                if chance.random() < keep:
                    self.ask("eth_sendRawTransaction", raw)

    @property
    def frozen(self) -> bool:
        """Whether blocks stand still; nothing is mined any more once it was set."""
        return self._frozen

    @frozen.setter
    def frozen(self, value: bool) -> None:
        with self._lock:
            self._frozen = value

    def forget_pool(self) -> None:
        """Drop whatever waits."""
        self.ask("anvil_dropAllTransactions")

    def put_instead(self, signer: Signer, make: Callable[[int], bytes]) -> None:
        """Put the transaction that `make` signs at the account's next nonce, whatever waits there, and mine it."""
        with self._lock:
            raw = make(self.gateway.nonce(signer.address))
            accepted, deadline = None, time.monotonic() + BOUND_S
            while not accepted:  # The member's node may have sent its own again in between.
                assert time.monotonic() < deadline, "the transaction is not accepted"
                self.forget_pool()
                accepted = self.ask("eth_sendRawTransaction", "0x" + raw.hex())
            self.ask("evm_mine")

    def _mine(self) -> None:
        while not self._ended.wait(PERIOD_S):
            with self._lock:
                if not self._frozen:
                    self.ask("evm_mine")

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + BOUND_S
        while time.monotonic() < deadline:
            try:
                if self.ask("eth_chainId"):
                    return
            except ChainUnavailable:
                time.sleep(0.02)
        raise AssertionError("anvil does not answer")


@contextmanager
def wild_chain() -> Iterator[WildChain]:
    """Start a chain with the contracts on it; end it and drop its files."""
    folder = Path(tempfile.mkdtemp(prefix="deltaseal-wild-"))
    chain = WildChain(folder)
    try:
        yield chain
    finally:
        chain.close()
        shutil.rmtree(folder, ignore_errors=True)
