"""What the consortium's tests do at its nodes: push documents, wait for a state, count records on chain."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from cli.demo.chainproof import count_records
from cli.demo.network import Network
from cli.demo.people import Agency
from tests.e2e.papers import OTHER_FIRM, Raw, fresh_file, meta_of


def push(network: Network, agency: Agency, *, wait: str | None = None) -> dict[str, Any]:
    """Push a document of random bytes; it must be accepted whatever the chain does.

    It is about a firm that no scene of the demonstration asks for: what those find must not hang on the order of tests.
    """
    file = fresh_file()
    answer = Raw(network, agency).push(file, meta_of(file, subjects=[OTHER_FIRM]), wait=wait)
    assert answer.status_code == 201, answer.text
    return {**answer.json(), "sha256": file.sha256}


def status_of(network: Network, agency: Agency, material: dict[str, Any]) -> str:
    """Ask how far the newest version of a material has come."""
    return str(anchor_of(network, agency, material)["status"])


def anchor_of(network: Network, agency: Agency, material: dict[str, Any]) -> dict[str, Any]:
    """Ask where the newest version of a material stands on chain."""
    found = Raw(network, agency).get(f"/v1/materials/{material['materialId']}").json()["anchor"]
    assert isinstance(found, dict)
    return found


def part_states(network: Network, name: str) -> dict[str, str]:
    """Ask a node for the state of its parts."""
    answer = httpx.get(f"{network.nodes[name].url}/readyz", timeout=10.0, trust_env=False)
    states: dict[str, str] = answer.json()["parts"]
    return states


def wait_until(true: Callable[[], bool], what: str, *, timeout_s: float = 90.0) -> None:
    """Wait until `true` holds; `what` says what did not come."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"{what} did not come within {timeout_s:.0f} s"
        time.sleep(0.25)


def require_once(network: Network, agency: Agency, materials: Sequence[dict[str, Any]]) -> None:
    """Require that each material is final and each of its records stands on chain exactly once."""
    ids = []
    for material in materials:
        wait_until(
            lambda one=material: status_of(network, agency, one) == "final",  # type: ignore[misc]
            "a final record",
            timeout_s=150.0,
        )
        ids += anchor_of(network, agency, material)["recordIds"]
    assert len(ids) >= len(materials)
    counted = count_records(network, ids)
    assert counted == dict.fromkeys(ids, 1)
