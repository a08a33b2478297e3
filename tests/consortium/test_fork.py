"""A quorum of signers that seals two chains: no rule of finality helps then, and the nodes find it out.

Four of the five signers run a second time, on a copy of the chain that goes another way. Each copy is final by its
seals. QP's twin follows the second one; what the nodes sign of their logs gives it away.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cli.consortium.folder import START
from cli.consortium.network import GethSigner, SignerGroup
from cli.demo import people
from cli.demo.build import free_ports
from cli.demo.network import Network, wait_ready
from tests.consortium.conftest import Consortium
from tests.consortium.traffic import push, wait_until
from tests.e2e.papers import Raw
from tests.support.forks import leave_whole, log_state, require_alarm, run_audit, set_lines, twin_of
from tests.support.geth import geth_binary

pytestmark = pytest.mark.timeout(600)
TWICE = 4  # The quorum of five.
OFTEN, USUAL = "checkpoint_period_s = 0.5", "checkpoint_period_s = 60.0"


@dataclass
class Forked:
    """The network, of which QP's twin follows signers that seal a second time."""

    network: Network
    pd: Raw
    qp: Raw


@pytest.fixture(scope="module")
def forked(consortium: Consortium, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forked]:
    network, folder = consortium.network, tmp_path_factory.mktemp("fork")
    network.settle(timeout_s=150.0)
    qp, pd = network.nodes["QP"], network.nodes["PD"]
    qp.part.stop()
    consortium.group.stop()
    home = consortium.group.signers[0].made.folder.parent
    shutil.copytree(home, folder / "chain", ignore=shutil.ignore_patterns("*.ipc"))
    shutil.copytree(qp.folder, folder / "qp")
    with ExitStack() as stack:
        stack.callback(consortium.heal)
        stack.callback(leave_whole, network, USUAL)
        consortium.group.start()
        consortium.group.wait_line()
        second = second_group(consortium.group.signers, folder)
        stack.callback(second.stop)
        second.start()
        second.wait_line()
        # Further than where signers that start together can lock each other up.
        second.wait_blocks(TWICE)
        set_lines(folder / "qp", f'chain_rpc = "{second.signers[2].rpc}"', OFTEN)
        set_lines(pd.folder, OFTEN)
        pd.part.stop()
        pd.restart()
        twin = twin_of(qp, folder / "qp")
        stack.callback(twin.stop)
        twin.start()
        wait_ready(twin, qp.url)
        yield Forked(network, Raw(network, people.PD), Raw(network, people.QP))


def second_group(signers: Sequence[GethSigner], folder: Path) -> SignerGroup:
    """Describe the quorum's second processes: the same keys, ports of their own, no way to the first ones."""
    ports = iter(free_ports(2 * len(signers), base=None))
    moved: dict[int, int] = {}
    for signer in signers:
        peer = signer.made.peer
        moved |= {peer.p2p_port: next(ports), peer.rpc_port: next(ports)}
    found = []
    for signer in signers[:TWICE]:
        home, peer = folder / "chain" / signer.name, signer.made.peer
        for path in (home / START, home / "config.toml"):
            text = path.read_text()
            for old, new in moved.items():
                text = text.replace(str(old), str(new))
            path.write_text(text)
        peer = replace(peer, p2p_port=moved[peer.p2p_port], rpc_port=moved[peer.rpc_port])
        made = replace(signer.made, folder=home, peer=peer)
        found.append(GethSigner(made, geth_binary(), logs=folder))
    return SignerGroup(found)


def test_two_final_chains_are_found_by_both_nodes_and_nothing_reads_valid(
    forked: Forked, tmp_path: Path
) -> None:
    network = forked.network
    ours, theirs = push(network, people.PD), push(network, people.QP)
    for client, material in ((forked.pd, ours), (forked.qp, theirs)):
        place = f"/v1/materials/{material['materialId']}"
        wait_until(
            lambda c=client, p=place: c.get(p).json()["anchor"]["status"] == "final",  # type: ignore[misc]
            "a final record on each chain",
            timeout_s=150.0,
        )
        wait_until(
            lambda c=client: log_state(c) == "fork_detected",  # type: ignore[misc]
            "the alarm",
            timeout_s=150.0,
        )
    require_alarm(forked.pd, ours["sha256"])
    code, said = run_audit(network, tmp_path)
    assert (code, said["result"]) == (10, "broken")
    assert [each["memberId"] for each in said["forks"]] == [people.QP_MEMBER]
