"""One network for all end-to-end tests: the chain and three nodes of the demonstration, as processes.

Every test pushes documents of its own (random bytes, fresh numbers), so that they do not meet.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.demo.build import open_network
from cli.demo.network import Network


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Start the network once; its processes end with the session."""
    folder: Path = tmp_path_factory.mktemp("network") / "net"
    with open_network(folder, say=lambda _text: None) as opened:
        yield opened
