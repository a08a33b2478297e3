"""A Clique chain of several go-ethereum signers on this machine: for trials, for the demonstration and for tests.

Its signers are started by the very scripts that `deltaseal chain genesis` writes. Must not import `node`.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from anchor.chain.gateway import Gateway
from anchor.errors import ChainUnavailable
from anchor.headers import Engine, crash_quorum
from cli.consortium.folder import START, SignerFolder, SignerPlace, write_network
from cli.consortium.geth import find_geth
from cli.demo.build import CHAIN_ID, HOST, free_ports
from cli.demo.errors import DemoPartFailed
from cli.demo.network import Sealer, StartedChain
from cli.demo.parts import Part

SIGNERS = 5
# Thirty blocks that did not come, or did not become final.
HEAD_AGE_LIMIT_S = 60
_FIX = "look at the signer's log; `python -m cli.consortium.geth` says whether the program is right"
_MAX_ANSWER_BYTES = 1 << 20
# Ten blocks that did not come.
_STANDSTILL_S = 20.0
_LOOK_S = 1.0


class GethSigner:
    """One signer: its folder, its process, and calls over the socket that only its operator reaches."""

    def __init__(self, made: SignerFolder, program: Path, *, logs: Path) -> None:
        """Describe it; nothing is started."""
        self.made = made
        self.name, self.address, self.rpc = made.peer.name, made.peer.address, made.rpc
        argv = ["/usr/bin/env", f"DELTASEAL_GETH={program}", "/bin/sh", str(made.folder / START)]
        self.part = Part(self.name, argv, logs=logs, fix=_FIX)
        self.gateway = Gateway(made.rpc)

    def start(self) -> None:
        """Start it; it dials its peers by itself."""
        # A killed geth leaves its socket behind, which would be taken for a living one.
        (self.made.folder / "geth.ipc").unlink(missing_ok=True)
        self.part.start()

    def wait_ready(self) -> None:
        """Wait until it answers and takes transactions that pay nothing.

        Raises:
            DemoPartFailed: it does not.
        """
        self.part.wait_for(self._ready, "it does not answer")

    def call(self, method: str, *params: object) -> Any:
        """Call a method of the operator's (`admin_*`, `clique_propose`, …).

        Raises:
            DemoPartFailed: it refuses or does not answer.
        """
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        try:
            answer: Mapping[str, Any] = json.loads(_ask(self.made.folder, body))
        except (OSError, ValueError):
            raise self.part.failure(f"it does not answer {method}") from None
        if "error" in answer:
            raise self.part.failure(f"it refuses {method}: {answer['error'].get('message', '')}")
        return answer["result"]

    def forget_chain(self) -> None:
        """Delete its copy of the chain, as a lost disk would; keys and configuration stay."""
        shutil.rmtree(self.made.folder / "chain")

    def _ready(self) -> Literal[True] | None:
        try:
            self.gateway.head()
            # The start script asks the same; whoever is first, afterwards it is so.
            self.call("miner_setGasPrice", "0x0")
        except (ChainUnavailable, DemoPartFailed):
            return None
        return True


def _ask(folder: Path, body: bytes) -> bytes:
    """Send one request over the signer's socket and return the line of its answer."""
    # The name of a socket is short; the folder's may be long. Through its descriptor it is short again.
    handle = os.open(folder, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(10.0)
            line.connect(f"/proc/self/fd/{handle}/geth.ipc")
            line.sendall(body)
            answer = b""
            while not answer.endswith(b"\n") and len(answer) < _MAX_ANSWER_BYTES:
                piece = line.recv(65_536)
                if not piece:
                    break
                answer += piece
            return answer
    finally:
        os.close(handle)


def _hash_at(signer: GethSigner, number: int) -> bytes:
    block = signer.gateway.block(number)
    return block.hash if block else b""


class SignerGroup:
    """All signers of a chain as one part: started, killed and waited for together; a standstill is ended for them."""

    def __init__(self, signers: Sequence[GethSigner]) -> None:
        """Take the signers in their order."""
        self.signers = tuple(signers)
        self._stop = threading.Event()
        self._watch: threading.Thread | None = None

    @property
    def pid(self) -> int:
        """Return the process id of the first signer."""
        return self.signers[0].part.pid

    @property
    def argv(self) -> list[str]:
        """Return the command of the first signer."""
        return self.signers[0].part.argv

    def start(self) -> None:
        """Start the signers that do not run, and from now on end their standstills (`end_standstill`)."""
        for signer in self.signers:
            if not signer.part.running:
                signer.start()
        if self._watch is None:
            self._stop.clear()
            self._watch = threading.Thread(target=self._end_standstills, name="standstill", daemon=True)
            self._watch.start()

    def wait_line(self) -> None:
        """Wait until all answer.

        Raises:
            DemoPartFailed: one does not.
        """
        for signer in self.signers:
            signer.wait_ready()

    def kill(self) -> None:
        """Kill all by SIGKILL."""
        for signer in self.signers:
            signer.part.kill()

    def stop(self) -> None:
        """Stop all by SIGTERM."""
        if self._watch is not None:
            self._stop.set()
            self._watch.join()
            self._watch = None
        for signer in self.signers:
            signer.gateway.close()
            signer.part.terminate()
        for signer in self.signers:
            signer.part.stop()

    def failure(self, what: str) -> DemoPartFailed:
        """Build the error for the chain, with the first signer's log."""
        return self.signers[0].part.failure(what)

    def wait_agreed(self, *, timeout_s: float = 120.0) -> None:
        """Wait until all signers stand on one chain, close to its head; all must run.

        A signer that was away asks for what it missed every ten seconds only.

        Raises:
            DemoPartFailed: they do not come together.
        """
        self.signers[0].part.wait_for(
            lambda: True if self._agree() else None, "the signers are not on one chain", timeout_s=timeout_s
        )

    def _agree(self) -> bool:
        heads = [signer.gateway.head().number for signer in self.signers]
        number = max(0, min(heads) - 2)
        hashes = {_hash_at(signer, number) for signer in self.signers}
        return len(hashes) == 1 and max(heads) - min(heads) <= 2

    def wait_blocks(self, count: int = 1, *, timeout_s: float = 60.0) -> None:
        """Wait until the first running signer has `count` more blocks.

        Raises:
            DemoPartFailed: they do not come.
        """
        signer = next(each for each in self.signers if each.part.running)
        first = signer.gateway.head().number
        signer.part.wait_for(
            lambda: True if signer.gateway.head().number >= first + count else None,
            "it makes no blocks",
            timeout_s=timeout_s,
        )

    def _end_standstills(self) -> None:
        heads, since = self._heads(), time.monotonic()
        while not self._stop.wait(_LOOK_S):
            before, heads = heads, self._heads()
            if heads != before:
                since = time.monotonic()
            elif len(heads) >= crash_quorum(len(self.signers)) and time.monotonic() - since > _STANDSTILL_S:
                with suppress(DemoPartFailed, ChainUnavailable):
                    self.end_standstill()
                since = time.monotonic()

    def _heads(self) -> dict[str, bytes]:
        """Return the newest block of each signer that answers."""
        heads = {}
        for signer in self.signers:
            if signer.part.running:
                with suppress(ChainUnavailable):
                    heads[signer.name] = signer.gateway.head().hash
        return heads

    def end_standstill(self) -> None:
        """Take all running signers back to the last block that they share; they seal on from there.

        Clique can lock itself up: signers stand on two heads of equal difficulty, and on either each that could go on
        has sealed too recently. It happens to those that start together, since a signer drops the blocks that it is
        sent while it looks for its peers.

        Raises:
            ChainUnavailable: a signer does not answer.
            DemoPartFailed: a signer refuses, or a block that would be taken back may be final.
        """
        running = [signer for signer in self.signers if signer.part.running]
        heads = [signer.gateway.head() for signer in running]
        if len({head.hash for head in heads}) == 1:
            return
        shared = min(head.number for head in heads)
        while len({_hash_at(signer, shared) for signer in running}) > 1:
            shared -= 1
        # Fewer blocks than a quorum has signers hold no quorum of seals.
        if max(head.number for head in heads) - shared >= crash_quorum(len(self.signers)):
            raise self.failure(f"its signers stand on two chains that part after block {shared}")
        for signer in running:
            signer.call("debug_setHead", hex(shared))


class CliqueStarter:
    """Starts a Clique chain; `group` is there once it has been called."""

    def __init__(
        self,
        *,
        signers: int = SIGNERS,
        chain_id: int = CHAIN_ID,
        program: Path | None = None,
        head_age_limit_s: int = HEAD_AGE_LIMIT_S,
    ) -> None:
        """Plan a chain of `signers`. Raises EngineMissing when there is no geth 1.13."""
        self.port_count, self._head_age_limit_s = 2 * signers, head_age_limit_s
        self._chain_id, self._program = chain_id, program or find_geth()
        self.group = SignerGroup(())

    def __call__(self, folder: Path, logs: Path, ports: Sequence[int], stack: ExitStack) -> StartedChain:
        """Make keys and genesis, start all signers and wait for the first blocks.

        Raises:
            DemoPartFailed: a signer does not start, or no block is made.
        """
        places = [SignerPlace(HOST, *pair) for pair in zip(ports[::2], ports[1::2], strict=True)]
        made = write_network(folder, Engine.CLIQUE, places, chain_id=self._chain_id, time=int(time.time()))
        self.group = SignerGroup([GethSigner(each, self._program, logs=logs) for each in made])
        stack.callback(self.group.stop)
        self.group.start()
        self.group.wait_line()
        self.group.wait_blocks()
        sealers = [Sealer(each.address, each.rpc, each.part) for each in self.group.signers]
        settings: dict[str, str | int] = {"head_age_limit_s": self._head_age_limit_s}
        rpcs = [each.rpc for each in self.group.signers]
        return StartedChain(self.group, Engine.CLIQUE, rpcs, sealers, settings)


@contextmanager
def open_signers(
    folder: Path, *, signers: int = SIGNERS, program: Path | None = None
) -> Iterator[SignerGroup]:
    """Start a Clique chain alone in the new `folder`, without contracts and nodes, and stop it at the end.

    Raises:
        EngineMissing: there is no geth 1.13. DemoPartFailed: a signer does not start.
    """
    starter = CliqueStarter(signers=signers, program=program)
    logs = folder / "logs"
    logs.mkdir(parents=True, mode=0o700)
    with ExitStack() as stack:
        starter(folder / "chain", logs, free_ports(starter.port_count, base=None), stack)
        yield starter.group
