"""Runs the command line inside the test's process, as `main` runs it, with no settings of the machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.main import run


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


class CommandLine:
    """Call it with the arguments of the command."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        self.folder, self._capfd = folder, capfd
        home = folder / "home"
        home.mkdir()
        for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CONFIG_DIRS"):
            monkeypatch.setenv(name, str(home / name.lower()))
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("LANG", "C.UTF-8")
        monkeypatch.delenv("LC_ALL", raising=False)
        monkeypatch.delenv("LC_MESSAGES", raising=False)
        self.work = folder / "work"
        self.work.mkdir()
        monkeypatch.chdir(self.work)

    def __call__(self, *arguments: str) -> Ended:
        """Run one command line and return how it ended."""
        self._capfd.readouterr()
        code = run(list(arguments))
        out, err = self._capfd.readouterr()
        return Ended(int(code), out, err)
