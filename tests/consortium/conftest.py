"""One consortium for all its tests: five Clique signers, three nodes, as processes. A test heals what it broke."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.consortium.network import CliqueStarter, SignerGroup
from cli.demo.build import open_network
from cli.demo.network import Network
from tests.support.geth import geth_binary

#: What runs for the tests of this folder.
_RUNNING = ExitStack()
#: Short, so that a test need not wait long for a node to say what is wrong.
HEAD_AGE_LIMIT_S = 20


@dataclass(frozen=True)
class Consortium:
    """The running network and its signers; node XH follows the first signer, PD the second, QP the third."""

    network: Network
    group: SignerGroup

    def heal(self) -> None:
        """Start what does not run and wait until all signers are on one chain again."""
        self.group.start()
        self.group.wait_line()
        self.group.wait_blocks(len(self.group.signers), timeout_s=150.0)
        self.group.wait_agreed()
        self.network.settle(timeout_s=150.0)


@pytest.fixture(scope="session")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    """Start the network once; its processes end with the last test of this folder."""
    folder: Path = tmp_path_factory.mktemp("consortium") / "net"
    starter = CliqueStarter(program=geth_binary(), head_age_limit_s=HEAD_AGE_LIMIT_S)
    with _RUNNING:
        opened = open_network(folder, say=lambda _text: None, start_chain=starter)
        network = _RUNNING.enter_context(opened)
        yield Consortium(network, starter.group)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Stop the network when the next test is of another folder: eight processes would run on beside it.

    Last, since a module's fixtures heal what they broke of it.
    """
    if nextitem is None or nextitem.path.parent != item.path.parent:
        _RUNNING.close()
