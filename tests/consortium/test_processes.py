"""Signers end with the program that started them, however it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.consortium.traffic import wait_until
from tests.e2e.demo_process import alive
from tests.support.geth import geth_binary

pytestmark = pytest.mark.timeout(180)

PROGRAM = """
import sys, time
from pathlib import Path
from cli.consortium.network import open_signers
with open_signers(Path(sys.argv[1]), signers=1, program=Path(sys.argv[2])) as group:
    print(group.pid, flush=True)
    time.sleep(600)
"""


def test_no_signer_outlives_a_killed_starter(tmp_path: Path) -> None:
    # A long name: a signer's socket must be reachable all the same.
    folder = tmp_path / ("a" * 120) / "net"
    command = [sys.executable, "-c", PROGRAM, str(folder), str(geth_binary())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        signer = int(starter.stdout.readline())
        assert alive(signer)
        starter.kill()
    wait_until(lambda: not alive(signer), "the signer's end", timeout_s=30.0)
