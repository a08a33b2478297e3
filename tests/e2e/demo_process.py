"""Starts `deltaseal demo` as a user does, in a process of its own, and reads what it prints."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

TIMEOUT_S = 240


def demo_argv(*arguments: str) -> list[str]:
    """Return the command line of the demonstration with this interpreter."""
    return [sys.executable, "-m", "cli", "demo", *arguments]


def run_demo(*arguments: str, scratch: Path) -> subprocess.CompletedProcess[str]:
    """Run the demonstration to its end; folders of its own making go into `scratch`."""
    environment = {**os.environ, "TMPDIR": str(scratch)}
    return subprocess.run(
        demo_argv(*arguments), capture_output=True, text=True, timeout=TIMEOUT_S, env=environment, check=False
    )


class KeptDemo:
    """A demonstration that keeps running; `ready` is its JSON line."""

    def __init__(self, folder: Path) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed by `close`
        self.process = subprocess.Popen(
            demo_argv("--keep", "--json", "--dir", str(folder)),
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        line = self._first_line()
        assert line, f"no line came: {self.errors()}"
        self.ready: dict[str, Any] = json.loads(line)

    def _first_line(self) -> str:
        assert self.process.stdout is not None
        watch = threading.Timer(TIMEOUT_S, self.process.kill)
        watch.start()
        try:
            return self.process.stdout.readline()
        finally:
            watch.cancel()

    def node(self, name: str) -> dict[str, Any]:
        """Return a node of the ready line."""
        found: dict[str, Any] = next(node for node in self.ready["nodes"] if node["name"] == name)
        return found

    def pids(self) -> list[int]:
        """Return the process ids of all parts."""
        return [self.ready["chain"]["pid"], *(node["pid"] for node in self.ready["nodes"])]

    def terminate(self) -> tuple[int, str]:
        """Send SIGTERM; return the exit code and what came on stdout after the ready line."""
        self.process.send_signal(signal.SIGTERM)
        rest, _ = self.process.communicate(timeout=TIMEOUT_S)
        return self.process.returncode, rest

    def errors(self) -> str:
        """Return what was said on stderr so far."""
        self._errors.seek(0)
        return self._errors.read()

    def close(self) -> None:
        """End the process if it still runs."""
        if self.process.poll() is None:
            self.terminate()
        self._errors.close()


def alive(pid: int) -> bool:
    """Say whether a process runs; one that only waits to be taken note of does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
