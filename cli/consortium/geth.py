"""Finds go-ethereum 1.13, the last release with Clique, and builds it where it is missing.

`python -m cli.consortium.geth` prints the path of the program. It is built from source by Go's own tools, which check
every module against the checksum database, into a cache folder outside the checkout.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from anchor.errors import DeltasealError, EngineMissing

VERSION = "1.13.15"
MODULE = f"github.com/ethereum/go-ethereum/cmd/geth@v{VERSION}"
_BUILD_TIMEOUT_S = 1800
_HINT = "install Go and run `python -m cli.consortium.geth`, or set DELTASEAL_GETH to a geth 1.13 program"


def find_geth() -> Path:
    """Find the program: DELTASEAL_GETH, the cache folder, PATH.

    Raises:
        EngineMissing: there is none, or it is another version than 1.13.
    """
    named = os.environ.get("DELTASEAL_GETH")
    built = cache_folder() / "geth"
    found = named or (str(built) if built.exists() else shutil.which("geth"))
    if not found:
        raise EngineMissing("go-ethereum 1.13 is not installed", hint=_HINT)
    program = Path(found)
    if f"Version: {VERSION.rpartition('.')[0]}." not in _version_text(program):
        raise EngineMissing("the geth program is not a go-ethereum 1.13, which Clique needs", hint=_HINT)
    return program.resolve()


def obtain_geth() -> Path:
    """Find the program, or build it once; others that want it meanwhile wait for that build.

    Raises:
        EngineMissing: there is no Go to build it with, or the build failed.
    """
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if "DELTASEAL_GETH" not in os.environ and not (folder / "geth").exists():
            try:
                return find_geth()
            except EngineMissing:
                _build(folder)
        return find_geth()


def cache_folder() -> Path:
    """Return the folder outside the checkout that keeps the program of this version."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "deltaseal" / f"geth-{VERSION}"


def _build(folder: Path) -> None:
    go = shutil.which("go")
    if go is None:
        raise EngineMissing("go-ethereum 1.13 is not installed, and there is no Go to build it", hint=_HINT)
    # A dependency of this release reaches into the runtime in a way that newer linkers refuse unless told.
    command = [go, "install", "-ldflags=-checklinkname=0", MODULE]
    done = subprocess.run(  # noqa: S603 - fixed arguments
        command,
        cwd=folder,
        env={**os.environ, "GOBIN": str(folder)},
        capture_output=True,
        text=True,
        timeout=_BUILD_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no message")
        raise EngineMissing(f"go-ethereum cannot be built: {last}", hint=_HINT)


def _version_text(program: Path) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - the program of the setting
            [str(program), "version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def main() -> int:
    """Print the path of the program; 8 and what is missing where there is none."""
    try:
        print(obtain_geth())
    except DeltasealError as error:
        print(f"error: {error} [{error.code}]\nhint: {error.hint}", file=sys.stderr)
        return 8
    return 0


if __name__ == "__main__":
    sys.exit(main())
