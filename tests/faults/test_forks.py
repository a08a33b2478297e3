"""Two chains of one beginning: nodes that follow them find the fork over HTTP, and say so until it is settled.

QP's node is stopped; its twin, a copy of its folder, follows a copy of the chain that goes another way. At the end
the twin is gone, QP is back, and the alarms are settled.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from anchor.chain.contracts import event_topic, parse_batch_appended
from anchor.records import Stream
from cli.demo import people
from cli.demo.network import DemoNode, Network, wait_ready
from cli.demo.parts import Part
from node.chainserver import start_chain_process
from tests.e2e.papers import Raw, fresh_file, meta_of
from tests.support.forks import leave_whole, log_state, require_alarm, run_audit, set_lines, settle, twin_of
from tests.support.waiting import until
from verifier.checkpoints import checkpoint_signer, find_conflict, parse_checkpoint

# The chains stand still while nobody writes, for longer than a node's usual bound.
SETTINGS = ("checkpoint_period_s = 0.2", "head_age_limit_s = 3600")
USUAL = ("checkpoint_period_s = 3600.0", "head_age_limit_s = 180")


@dataclass
class Stand:
    """PD on the chain, QP's twin on the copy, and the documents that were pushed since."""

    network: Network
    pd: Raw
    qp: Raw
    documents: list[str] = field(default_factory=list)

    @property
    def pd_node(self) -> DemoNode:
        return self.network.nodes["PD"]

    def push(self, client: Raw) -> str:
        file = fresh_file(300)
        assert client.push(file, meta_of(file)).status_code == 201
        self.documents.append(file.sha256)
        return file.sha256

    def overview(self, client: Raw) -> dict[str, Any]:
        found: dict[str, Any] = client.get("/v1/audit/checkpoints").json()
        return found

    def peer(self, client: Raw, member_id: int) -> dict[str, Any]:
        peers = self.overview(client)["peers"]
        return next((each for each in peers if each["memberId"] == member_id), {})


IDLE_S = "600"
BATCH_TOPIC = event_topic("Ledger", "BatchAppended")


@pytest.fixture(scope="module")
def stand(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    wait_anchored(network)
    folder = tmp_path_factory.mktemp("fork")
    qp, chain = network.nodes["QP"], network.chain
    assert isinstance(chain, Part)
    qp.part.stop()
    chain.stop()
    shutil.copytree(network.folder / "chain", folder / "chain")
    shutil.copytree(qp.folder, folder / "qp")
    # Idle blocks of their own times would fork the two before anybody writes.
    argv_before, chain.argv = chain.argv, [*chain.argv, "--idle", IDLE_S]
    network.restart_chain()
    copy = start_chain_process(folder / "chain", idle_s=float(IDLE_S))
    set_lines(folder / "qp", f'chain_rpc = "{copy.rpc}"', *SETTINGS)
    pd = network.nodes["PD"]
    set_lines(pd.folder, *SETTINGS)
    pd.part.stop()
    pd.restart()
    twin = twin_of(qp, folder / "qp")
    twin.start()
    try:
        wait_ready(twin, qp.url)
        yield Stand(network, Raw(network, people.PD), Raw(network, people.QP))
    finally:
        twin.stop()
        copy.stop()
        chain.argv = argv_before
        chain.stop()
        network.restart_chain()
        leave_whole(network, *USUAL)


def wait_anchored(network: Network) -> None:
    """Wait until every node has anchored its audit log, which it does once an hour: one more would fork the two."""

    def anchored() -> bool:
        logs = network.gateway.logs([network.deployment.ledger], first=0, last=network.head().number)
        batches = [parse_batch_appended(log)[0] for log in logs if log.topics[0] == BATCH_TOPIC]
        return len({each.member_id for each in batches if each.stream is Stream.AUDIT}) == len(network.nodes)

    until(anchored, "the audit logs' anchors")
    network.settle()


def exchanged_since(stand: Stand, client: Raw, member_id: int) -> None:
    """Wait until the node has compared the member's word twice from now on."""
    for _ in range(2):
        before = stand.peer(client, member_id).get("receivedAt", 0)
        until(lambda before=before: stand.peer(client, member_id).get("receivedAt", 0) > before, "exchange")


def test_copy_that_goes_the_same_way_is_consistent(stand: Stand, tmp_path: Path) -> None:
    for client, member in ((stand.pd, people.QP_MEMBER), (stand.qp, people.PD_MEMBER)):
        until(lambda c=client, m=member: stand.peer(c, m).get("state") == "consistent", "consistent")
    assert log_state(stand.pd) == log_state(stand.qp) == "ok"
    code, found = run_audit(stand.network, tmp_path)
    assert (code, found["result"]) == (0, "consistent"), found["checks"]
    assert found["batches"] == stand.overview(stand.pd)["own"]["logSize"]
    assert found["logRoot"] == stand.overview(stand.pd)["own"]["logRoot"][2:]


def test_node_that_is_behind_and_one_that_is_ahead_are_no_fork(stand: Stand) -> None:
    stand.push(stand.pd)
    exchanged_since(stand, stand.pd, people.QP_MEMBER)
    exchanged_since(stand, stand.qp, people.PD_MEMBER)
    assert stand.peer(stand.pd, people.QP_MEMBER)["state"] == "consistent"
    assert stand.peer(stand.qp, people.PD_MEMBER)["state"] == "waiting"
    assert log_state(stand.pd) == log_state(stand.qp) == "ok"
    assert stand.pd.verify(stand.documents[0])["verdict"] == "valid"


def test_fork_is_found_by_both_nodes_and_nothing_reads_valid(stand: Stand) -> None:
    stand.push(stand.qp)
    for client in (stand.pd, stand.qp):
        until(lambda c=client: log_state(c) == "fork_detected", "the alarm")
    require_alarm(stand.pd, stand.documents[0])


def test_both_signed_checkpoints_are_kept_as_evidence(stand: Stand, tmp_path: Path) -> None:
    forks = [each for each in stand.overview(stand.pd)["forks"] if each["memberId"] == people.QP_MEMBER]
    ours, theirs = (parse_checkpoint(json.dumps(forks[0][side]).encode()) for side in ("ours", "theirs"))
    members = {each["memberId"]: each for each in stand.pd.get("/v1/chain/members").json()["items"]}
    for signed in (ours, theirs):
        account = members[signed.checkpoint.member_id]["account"]
        assert "0x" + checkpoint_signer(signed).hex() == account
    assert find_conflict(ours.checkpoint, theirs.checkpoint) is not None or forks[0]["path"]
    code, found = run_audit(stand.network, tmp_path)
    assert code == 10 and found["result"] == "broken"
    assert [each["memberId"] for each in found["forks"]] == [people.QP_MEMBER]
    # The chain itself is whole, and what the twin signed is not of it: each by itself.
    assert run_audit(stand.network, tmp_path, "--offline")[0] == 0
    (tmp_path / "theirs.json").write_text(json.dumps(forks[0]["theirs"]))
    code, found = run_audit(
        stand.network, tmp_path, "--offline", "--checkpoint", str(tmp_path / "theirs.json")
    )
    assert code == 10
    assert [each["outcome"] for each in found["checks"] if each["code"].startswith("checkpoint")] == ["fail"]


def test_alarm_outlives_a_restart_and_ends_when_it_is_settled(stand: Stand) -> None:
    stand.pd_node.part.stop()
    stand.pd_node.part.start()
    stand.pd_node.part.wait_line()
    assert log_state(stand.pd) == "fork_detected"
    assert settle(stand.pd_node, people.QP_MEMBER).status_code == 200
    until(lambda: log_state(stand.pd) == "ok", "no alarm")
    exchanged_since(stand, stand.pd, people.QP_MEMBER)
    assert log_state(stand.pd) == "ok"
    assert stand.overview(stand.pd)["forks"][0]["settledAt"]
    assert settle(stand.pd_node, people.QP_MEMBER).status_code == 404
    until(lambda: stand.pd.verify(stand.documents[0])["verdict"] == "valid", "valid again")
