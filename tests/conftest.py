"""What all tests share: hypothesis profiles, no network settings of the machine, and what runs on one worker."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "ci", deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "full", deadline=None, max_examples=2000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# A proxy or a profile of the person who runs the tests must not change what they find.
for name in list(os.environ):
    if name.lower() in ("http_proxy", "https_proxy", "all_proxy") or name.startswith("DELTASEAL_"):
        del os.environ[name]


# Before xdist looks at the groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep each file on one worker, and all tests of the five signers on one: each starts its network once.

    The signers' tests come first. They wait for blocks, so other workers have the processor meanwhile.
    """
    items.sort(key=lambda item: item.path.parent.name != "consortium")
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group_of(item.path)))


def _group_of(path: Path) -> str:
    return path.parent.name if path.parent.name == "consortium" else str(path)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List what tests counted (`record_property("count", …)`): how many inputs, kills, requests."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ())]
    counted = [
        f"{report.nodeid.partition('::')[2]}: {text}"
        for report in reports
        for name, text in report.user_properties
        if name == "count" and report.when == "call"
    ]
    if counted:
        terminalreporter.section("counts")
        for text in sorted(counted):
            terminalreporter.line(text)
