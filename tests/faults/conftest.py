"""One network for the fault tests: a chain that mines every second and three nodes, as processes.

Tests here restart and kill its parts, and leave it whole: each waits until all nodes are ready again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.demo.build import open_network
from cli.demo.network import Network
from cli.demo.parts import Part

IDLE_S = "1"


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Start the network once; its processes end with the session."""
    folder: Path = tmp_path_factory.mktemp("faults") / "net"
    with open_network(folder, say=lambda _text: None) as opened:
        # Freshness of seconds asks for a chain whose newest block is seconds old, also when nobody writes.
        chain = opened.chain
        assert isinstance(chain, Part)
        chain.stop()
        chain.argv += ["--idle", IDLE_S]
        opened.restart_chain()
        opened.settle()
        yield opened
