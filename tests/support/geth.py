"""go-ethereum for tests: built once, skipped aloud where it cannot be, an error where CI is set."""

from __future__ import annotations

import os
import warnings
from functools import cache
from pathlib import Path

import pytest

from anchor.errors import EngineMissing
from cli.consortium.geth import obtain_geth


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
