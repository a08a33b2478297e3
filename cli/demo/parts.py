"""The processes of the demonstration: start, wait until ready, kill, start again, stop.

A part's standard output and standard error go to files, so that nothing blocks on a full pipe and the
last lines can be shown when it fails. On Linux a part ends with the demonstration, however that ends.
Imports no HTTP client and nothing of the chain.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from cli.demo.errors import DemoPartFailed

T = TypeVar("T")

#: Generous: a busy machine starts four interpreters at once.
READY_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 30.0
_POLL_S = 0.05
_LOG_TAIL_LINES = 12
_PR_SET_PDEATHSIG = 1


class Part:
    """One process with a name, the command that starts it again (`argv`) and its logs in `logs`."""

    def __init__(self, name: str, argv: Sequence[str], *, logs: Path, fix: str) -> None:
        """Describe the process; nothing is started. `fix` says what to do when it fails."""
        self.name, self.argv, self.fix = name, list(argv), fix
        self._out_path, self._log_path = logs / f"{name}.out", logs / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._read_from = 0

    @property
    def pid(self) -> int:
        """Return the process id; 0 before the first start."""
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        """Say whether the process that was started last is alive."""
        return self._process is not None and self._process.poll() is None

    def start(self, argv: Sequence[str] | None = None) -> None:
        """Start the process, by `argv` where the first start differs from later ones.

        Raises:
            DemoPartFailed: the program cannot be started.
        """
        with self._out_path.open("ab") as out, self._log_path.open("ab") as log:
            self._read_from = out.tell()
            try:
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
                    list(argv or self.argv),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=log,
                    env=_environment(),
                    # A Ctrl-C in the terminal reaches the demonstration alone; it stops its parts in order.
                    start_new_session=True,
                    preexec_fn=_die_with_parent,
                )
            except OSError as error:
                raise self.failure(f"it cannot be started ({error.strerror})") from None

    def wait_line(self, *, timeout_s: float = READY_TIMEOUT_S) -> dict[str, Any]:
        """Return the JSON line that the process prints once it is ready.

        Raises:
            DemoPartFailed: it ended or stayed silent; the message ends with its last log lines.
        """

        def printed() -> dict[str, Any] | None:
            for line in self._printed().splitlines(keepends=True):
                if line.startswith("{") and line.endswith("\n"):
                    parsed: dict[str, Any] = json.loads(line)
                    return parsed
            return None

        return self.wait_for(printed, "it printed no line of readiness", timeout_s=timeout_s)

    def wait_for(
        self,
        probe: Callable[[], T | None],
        missing: str | Callable[[], str],
        *,
        timeout_s: float = READY_TIMEOUT_S,
    ) -> T:
        """Return the first answer of `probe` that is not None while the process lives.

        Raises:
            DemoPartFailed: the process ended, or nothing came in time (`missing` says what is).
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            ended = not self.running
            found = probe()
            if found is not None:
                return found
            if ended:
                raise self.failure(f"it ended with exit code {self._exit_code()}")
            time.sleep(_POLL_S)
        said = missing if isinstance(missing, str) else missing()
        raise self.failure(f"{said} within {timeout_s:.0f} s")

    def wait_end(self, *, timeout_s: float = READY_TIMEOUT_S) -> dict[str, Any]:
        """Wait for a process that does one thing and ends; return the JSON line it printed.

        Raises:
            DemoPartFailed: it failed or took too long.
        """
        self.wait_for(lambda: None if self.running else True, "it did not end", timeout_s=timeout_s)
        if self._exit_code() != 0:
            raise self.failure(f"it ended with exit code {self._exit_code()}")
        return self.wait_line(timeout_s=1.0)

    def kill(self) -> None:
        """End the process as a power cut would: SIGKILL, no farewell."""
        self._signal(signal.SIGKILL)
        self._wait(STOP_TIMEOUT_S)

    def terminate(self) -> None:
        """Ask the process to end by SIGTERM, without waiting."""
        self._signal(signal.SIGTERM)

    def stop(self) -> None:
        """End the process by SIGTERM; by SIGKILL where it does not listen."""
        self._signal(signal.SIGTERM)
        if not self._wait(STOP_TIMEOUT_S):
            self.kill()

    def failure(self, what: str) -> DemoPartFailed:
        """Build the error for this part, with its last log lines and the fix."""
        return DemoPartFailed(
            f"part {self.name}: {what}", hint=self.fix, part=self.name, log_lines=_last_lines(self._log_path)
        )

    def _printed(self) -> str:
        with self._out_path.open("rb") as out:
            out.seek(self._read_from)
            return out.read().decode("utf-8", "replace")

    def _exit_code(self) -> int | None:
        return self._process.returncode if self._process else None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self.running:
            self._process.send_signal(number)

    def _wait(self, timeout_s: float) -> bool:
        if self._process is None:
            return True
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True


def run_once(name: str, argv: Sequence[str], *, logs: Path, fix: str) -> Part:
    """Start a process that does one thing; `wait_end` of the returned part gives its answer."""
    part = Part(name, argv, logs=logs, fix=fix)
    part.start()
    return part


def python_argv(*arguments: str) -> list[str]:
    """Return the command that runs a module of this installation with this interpreter.

    `-P` keeps the working folder off the module path, so that no file of the user's can stand in for a
    module; only in the checkout itself that folder is where the modules are.
    """
    in_checkout = Path.cwd() == Path(__file__).resolve().parents[2]
    return [sys.executable, *(() if in_checkout else ("-P",)), "-m", *arguments]


def _environment() -> dict[str, str]:
    """Return the environment without settings meant for one node: they would bend all three."""
    return {name: value for name, value in os.environ.items() if not name.startswith("DELTASEAL_NODE_")}


def _last_lines(path: Path) -> list[str]:
    """Return the last lines of a log, without the requests that only asked whether the node is ready."""
    try:
        text = path.read_bytes()[-65_536:].decode("utf-8", "replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if '"/readyz"' not in line][-_LOG_TAIL_LINES:]


_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    """Ask Linux for SIGTERM when the thread that started this process ends: no orphan keeps a port."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() == 1:  # The parent died before the call above could count.
            os._exit(1)
