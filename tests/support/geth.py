"""go-ethereum for tests: built once, skipped aloud where it cannot be, an error where CI is set."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import warnings
from functools import cache
from pathlib import Path

import pytest

from anchor.errors import EngineMissing
from cli.consortium.geth import MODULE, cache_folder, obtain_geth


@cache
def geth_binary() -> Path:
    """Return go-ethereum 1.13, built at the first call; skip the test without it, but fail it in CI."""
    try:
        return obtain_geth()
    except EngineMissing as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI must run these tests: {error} ({error.hint})")
        warnings.warn(f"THE CONSORTIUM'S TESTS DO NOT RUN: {error} ({error.hint})", stacklevel=2)
        pytest.skip(str(error))


#: Seconds by which the clock of a signer that runs `skewed_geth` goes ahead.
OFFSET_VARIABLE = "SIGNER_CLOCK_OFFSET_S"
_OFFSET_SOURCE = f"""package time

import "syscall"

var clockOffset = readClockOffset()

func readClockOffset() int64 {{
	text, _ := syscall.Getenv("{OFFSET_VARIABLE}")
	sign, total := int64(1), int64(0)
	for _, each := range text {{
		if each == '-' {{
			sign = -1
		}} else {{
			total = 10*total + int64(each-'0')
		}}
	}}
	return sign * total
}}
"""
_READING = re.compile(r"(func Now\(\) Time \{\n(?:.*\n)*?\tsec, nsec, mono := \w+\(\)\n)")


@cache
def skewed_geth() -> Path:
    """Return a go-ethereum whose clock is off by what the environment says, built beside the right one.

    Go asks the kernel for the time by itself, so no preloaded library can shift it: the build takes a `time`
    package with one line more (`go build -overlay`). Skips or fails as `geth_binary` does.
    """
    geth_binary()
    folder = cache_folder() / "skewed"
    go = shutil.which("go")
    if (folder / "geth").exists():
        return folder / "geth"
    if go is None:
        pytest.skip("there is no Go to build a signer with a wrong clock")
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(_output(go, "env", "GOROOT")) / "src" / "time"
    patched, count = _READING.subn(r"\1\tsec += clockOffset\n", (source / "time.go").read_text("utf-8"))
    assert count == 1, "this Go reads the clock in another way"
    (folder / "time.go").write_text(patched, "utf-8")
    (folder / "offset.go").write_text(_OFFSET_SOURCE, "utf-8")
    replaced = {"time.go": "time.go", "clockoffset.go": "offset.go"}
    overlay = {"Replace": {str(source / name): str(folder / ours) for name, ours in replaced.items()}}
    (folder / "overlay.json").write_text(json.dumps(overlay), "utf-8")
    _output(
        *(go, "install", "-ldflags=-checklinkname=0", "-overlay", str(folder / "overlay.json"), MODULE),
        GOBIN=str(folder),
    )
    return folder / "geth"


def _output(*argv: str, **environment: str) -> str:
    done = subprocess.run(
        argv, env={**os.environ, **environment}, capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
