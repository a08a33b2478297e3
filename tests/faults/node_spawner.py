"""Starts nodes quickly for the kill tests: one process imports the node once and forks before it opens anything.

`python -m tests.faults.node_spawner` reads one JSON object a line from standard input, `{"dir", "log", "failpoint"}`,
forks a child that runs `python -m node serve` on that folder, and answers with `{"pid"}`. It holds no store, no
key and no thread, so the children are as if started by themselves. It ends, with its children, when its input does.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from eth_account import Account

from tests.support.waiting import BOUND_S, until

ROOT = Path(__file__).resolve().parents[2]


class Spawner:
    """The test's side: starts and kills nodes by the folder they serve."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._pids: dict[Path, int] = {}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.node_spawner"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, folder: Path, *, failpoint: str = "") -> None:
        """Start the node of `folder`; it does not wait."""
        log = str(self._logs / f"{folder.name}.kill.log")
        self._pids[folder] = self._ask({"dir": str(folder), "log": log, "failpoint": failpoint})["pid"]

    def kill(self, folder: Path, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal and wait until the process is gone."""
        self._ask({"kill": self._pids[folder], "signal": int(number)})

    def wait_dead(self, folder: Path) -> None:
        """Wait until a node has ended by itself, at its fail point."""
        self._ask({"wait": self._pids[folder]})

    def is_running(self, folder: Path) -> bool:
        return bool(self._ask({"probe": self._pids[folder]})["running"])

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(BOUND_S)

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer


def wait_serving(url: str) -> None:
    """Wait until the node answers and is ready."""
    until(lambda: is_serving(url), "the node is ready")


def is_serving(url: str) -> bool:
    """Return whether the node answers and is ready."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def ease_start(folder: Path, passphrase: str) -> None:
    """Write a node's chain key again under a low work factor: a thousand starts need no brake on guessing."""
    path = folder / "keys" / "member.json"
    key = Account.decrypt(json.loads(path.read_bytes()), passphrase)
    path.write_text(json.dumps(Account.encrypt(key, passphrase, kdf="scrypt", iterations=1 << 12)))


def main() -> None:
    """Serve orders until the input ends."""
    import node.runtime  # noqa: F401 - the point of this process: imported once for all children

    children: set[int] = set()
    for line in sys.stdin:
        print(json.dumps(_obey(json.loads(line), children)), flush=True)
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def _obey(order: dict[str, Any], children: set[int]) -> dict[str, Any]:
    if "dir" in order:
        pid = os.fork()
        if pid == 0:
            _become_node(order)
        children.add(pid)
        return {"pid": pid}
    if "kill" in order:
        if order["kill"] in children:
            os.kill(order["kill"], order["signal"])
        return _reap(order["kill"], children)
    if "wait" in order:
        return _reap(order["wait"], children)
    _reap(order["probe"], children, flags=os.WNOHANG)
    return {"running": order["probe"] in children}


def _reap(pid: int, children: set[int], *, flags: int = 0) -> dict[str, Any]:
    """Wait for a child; without WNOHANG at most `BOUND_S`."""
    deadline = time.monotonic() + BOUND_S
    while pid in children and time.monotonic() < deadline:
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            children.discard(pid)
        elif flags:
            break
        else:
            time.sleep(0.01)
    return {} if flags or pid not in children else {"error": "the node did not end"}


def _become_node(order: dict[str, Any]) -> None:
    from anchor import failpoints
    from node.__main__ import main as run_node

    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.dup2(log, 2)
    failpoints.arm(order["failpoint"])
    os._exit(run_node(["serve", "--data-dir", order["dir"]]))


if __name__ == "__main__":
    main()
