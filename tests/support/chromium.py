"""Chromium for tests: the system's own, headless; skipped aloud where it is not there, an error where CI is set."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def chromium_binary() -> str:
    """Return the program; skip the test without it, but fail it in CI."""
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("CI must run these tests: Chromium is not installed")
        warnings.warn("THE BROWSER'S TESTS DO NOT RUN: Chromium is not installed", stacklevel=2)
        pytest.skip("Chromium is not installed")
    return found


@contextmanager
def open_chromium() -> Iterator[Browser]:
    """Start a browser and stop it at the end."""
    program = chromium_binary()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()
