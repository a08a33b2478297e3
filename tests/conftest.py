"""What all tests share: hypothesis profiles, no network settings of the machine, and what runs on one worker."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

SIGNERS = "tests/consortium/"

# What these require is said in full where it fails.
pytest.register_assert_rewrite("tests.support", "tests.consortium.traffic", "tests.e2e.papers")

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


class _ByNetwork(LoadScopeScheduling):
    """Keeps each file on one worker, and all tests of the five signers on one: each starts its network once."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return SIGNERS if path.startswith(SIGNERS) else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Schedule by network."""
    return _ByNetwork(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the signers' tests. They wait for blocks, so other workers have the processor meanwhile."""
    items.sort(key=lambda item: not item.nodeid.startswith(SIGNERS))


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
