"""One network for the fault tests: a chain that mines every second and three nodes, as processes.

Tests here restart and kill its parts, and leave it whole: each waits until all nodes are ready again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from cli.demo.build import EmbeddedStarter, open_network
from cli.demo.network import Network, StartedChain
from cli.demo.parts import Part

IDLE_S = "1"
# Here nodes are shown chains that lie, and sign what they were shown: nobody asks them for it but tests of forks.
CHECKPOINT_PERIOD_S = 3600


class RarelyAsking(EmbeddedStarter):
    """Starts a chain whose nodes compare checkpoints when they start, and then for a long time no more."""

    def __call__(self, folder: Path, logs: Path, ports: Sequence[int], stack: ExitStack) -> StartedChain:
        """Start it as in the demonstration."""
        started = super().__call__(folder, logs, ports, stack)
        return replace(started, settings={**started.settings, "checkpoint_period_s": CHECKPOINT_PERIOD_S})


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Start the network once; its processes end with the session."""
    folder: Path = tmp_path_factory.mktemp("faults") / "net"
    with open_network(folder, say=lambda _text: None, start_chain=RarelyAsking()) as opened:
        # Freshness of seconds asks for a chain whose newest block is seconds old, also when nobody writes.
        chain = opened.chain
        assert isinstance(chain, Part)
        chain.stop()
        chain.argv += ["--idle", IDLE_S]
        opened.restart_chain()
        opened.settle()
        yield opened
