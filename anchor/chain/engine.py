"""anvil as a child process: found, started on a private loopback port, asked, stopped.

Only `anchor/chain/embedded.py` uses it. The flags are those measured to give identical block hashes on
replay: Berlin rules, price 0, first come first served, no mining of its own (docs/reference/chain-journal.md).
"""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from anchor.chain.journal import JournalHeader
from anchor.chain.wire import Wire
from anchor.errors import ChainUnavailable, EngineFailed, EngineMissing

READY_TIMEOUT_S = 20.0
CALL_TIMEOUT_S = 120.0  # A full block of 60M gas takes seconds on a busy machine.
KEPT_STATES = 512  # Older states are dropped: each is a copy of the whole state, on disk.
_PACKAGE = Path("node_modules/@foundry-rs")
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class EngineRefusal(Exception):
    """The engine answered a call with a JSON-RPC error. Handled where it is asked; never leaves the chain room."""

    def __init__(self, number: int, text: str) -> None:
        """Keep the JSON-RPC error's code and message."""
        super().__init__(text)
        self.number, self.text = number, text


@dataclass(frozen=True, slots=True)
class Mined:
    """The block that the engine made."""

    number: int
    hash: bytes
    parent_hash: bytes
    transaction_count: int


def find_anvil(setting: Path | None = None) -> Path:
    """Find the anvil program: the setting, DELTASEAL_ANVIL, node_modules here and beside the code, PATH.

    Raises EngineMissing.
    """
    named = setting or (Path(os.environ["DELTASEAL_ANVIL"]) if os.environ.get("DELTASEAL_ANVIL") else None)
    if named is not None:
        if named.is_file() and os.access(named, os.X_OK):
            return named.resolve()
        raise _missing("the anvil program named by the setting is not there or not executable")
    for root in (Path.cwd(), Path(__file__).resolve().parents[2]):
        for found in sorted((root / _PACKAGE).glob("anvil-*/bin/anvil*")):
            if os.access(found, os.X_OK):
                return found
    on_path = shutil.which("anvil")
    if on_path is None:
        raise _missing("anvil, the engine of the embedded chain, is not installed")
    return Path(on_path)


def _missing(message: str) -> EngineMissing:
    return EngineMissing(message, hint="run `npm ci` in the checkout, or set DELTASEAL_ANVIL to the program")


class Engine:
    """One running anvil. Start it from a thread that lives as long as it: Linux ties the child to that thread."""

    def __init__(self, program: Path, header: JournalHeader, scratch: Path) -> None:
        """Prepare; `scratch` holds old states while anvil runs and is emptied at each start."""
        self._program, self._header, self._scratch = program, header, scratch
        self._process: subprocess.Popen[bytes] | None = None
        self._wire: Wire | None = None

    @property
    def pid(self) -> int | None:
        """Process id while started."""
        return self._process.pid if self._process else None

    def start(self) -> bytes:
        """Start anvil, wait until it answers for this chain, return the hash of block 0. Raises EngineFailed."""
        for _ in range(3):  # The free port may be taken by another process before anvil binds it.
            port = _free_port()
            self._spawn(port)
            self._wire = Wire(f"http://127.0.0.1:{port}", timeout_s=CALL_TIMEOUT_S)
            if self._wait_ready():
                return self._block(0).hash
            self.stop()
        raise EngineFailed("anvil did not start", hint="run the anvil program by hand to see why")

    def call(self, method: str, *params: object) -> Any:
        """Call one method. Raises EngineRefusal (its error answer) or EngineFailed (no answer)."""
        body = orjson.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        answer = orjson.loads(self.forward(body))
        if "error" in answer:
            raise EngineRefusal(answer["error"]["code"], answer["error"]["message"])
        return answer["result"]

    def forward(self, body: bytes) -> bytes:
        """Pass a JSON-RPC body through. Raises EngineFailed."""
        if self._wire is None or self._process is None or self._process.poll() is not None:
            raise _stopped()
        try:
            return self._wire.post(body, repeatable=False)
        except ChainUnavailable as error:
            raise _stopped() from error

    def mine(self, timestamp: int) -> Mined:
        """Mine one block with exactly this time from what the engine holds. Raises EngineFailed."""
        try:
            self.call("evm_setNextBlockTimestamp", timestamp)
            self.call("evm_mine")
            return self._block("latest")
        except EngineRefusal as refusal:
            raise EngineFailed(
                f"anvil refused to mine: {refusal.text}", hint="restart the chain"
            ) from refusal

    def waiting(self) -> int:
        """Count transactions that the next block could take."""
        return int(self.call("txpool_status")["pending"], 16)

    def stop(self) -> None:
        """Stop anvil and drop its old states; the journal is the chain, so it may be killed at any time."""
        if self._wire is not None:
            self._wire.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = self._wire = None
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _spawn(self, port: int) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir(parents=True, mode=0o700)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - fixed arguments, program from find_anvil
                [str(self._program), *_flags(self._header, port, self._scratch)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=self._scratch,
                env={"HOME": str(self._scratch), "PATH": os.defpath},
                # Without its own session a Ctrl-C meant for us would stop anvil before the last block.
                start_new_session=True,
                preexec_fn=_die_with(os.getpid()),
            )
        except OSError as error:
            raise EngineFailed(
                "the anvil program cannot be run", hint="check DELTASEAL_ANVIL", errno=error.errno or 0
            ) from error

    def _wait_ready(self) -> bool:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                return False
            try:
                return bool(int(self.call("eth_chainId"), 16) == self._header.chain_id)
            except EngineFailed:
                time.sleep(0.01)
        return False

    def _block(self, which: int | str) -> Mined:
        name = hex(which) if isinstance(which, int) else which
        block = self.call("eth_getBlockByNumber", name, False)
        hashes = bytes.fromhex(block["hash"][2:]), bytes.fromhex(block["parentHash"][2:])
        return Mined(int(block["number"], 16), *hashes, len(block["transactions"]))


def _flags(header: JournalHeader, port: int, scratch: Path) -> list[str]:
    """Return anvil's arguments; the first group decides block hashes and never changes for a journal version."""
    pinned = [
        *("--chain-id", str(header.chain_id)),
        *("--timestamp", str(header.genesis_time)),
        *("--gas-limit", str(header.gas_limit)),
        *("--hardfork", "berlin", "--gas-price", "0", "--base-fee", "0", "--order", "fifo"),
        *("--accounts", "0", "--no-mining"),
    ]
    served = ["--host", "127.0.0.1", "--port", str(port), "--no-cors", "--no-request-size-limit", "--silent"]
    return [*pinned, *served, "--cache-path", str(scratch), "--max-persisted-states", str(KEPT_STATES)]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with(parent: int) -> Callable[[], None] | None:
    """Return what the child runs first on Linux: be killed when its starter dies, even by `kill -9`."""
    if _LIBC is None:
        return None
    prctl = _LIBC.prctl

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # The starter died before the call above.
            os._exit(1)

    return bind


def _stopped() -> EngineFailed:
    return EngineFailed("anvil stopped or does not answer", hint="it is started again from the journal")
