"""Two chains of one beginning: nodes that follow them find the fork over HTTP, and say so until it is settled.

QP's node is stopped; its twin, a copy of its folder, follows a copy of the chain that goes another way. At the end
the twin is gone, QP is back, and the alarms are settled.
"""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from anchor.chain.contracts import event_topic, parse_batch_appended
from anchor.records import Stream
from cli.demo import people
from cli.demo.network import DemoNode, Network, wait_ready
from cli.demo.parts import Part
from node.chainserver import start_chain_process
from tests.e2e.papers import Raw, fresh_file, meta_of
from verifier.checkpoints import checkpoint_signer, find_conflict, parse_checkpoint

BOUND_S = 180.0
# The chains stand still while nobody writes, for longer than a node's usual bound.
SETTINGS = ("checkpoint_period_s = 0.2", "head_age_limit_s = 3600")
USUAL = ("checkpoint_period_s = 60.0", "head_age_limit_s = 180")


def until(probe: Callable[[], Any], what: str) -> Any:
    """Return the first true answer of `probe`."""
    deadline = time.monotonic() + BOUND_S
    while time.monotonic() < deadline:
        if found := probe():
            return found
        time.sleep(0.1)
    raise AssertionError(f"never came: {what}")


def set_lines(folder: Path, *lines: str) -> None:
    path = folder / "deltaseal.toml"
    names = [line.split(" = ")[0] for line in lines]
    kept = [line for line in path.read_text().splitlines() if line.split(" = ")[0] not in names]
    path.write_text("\n".join([*kept, *lines]) + "\n")


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

    def part(self, client: Raw) -> str:
        """Return what a node says of its log at /readyz."""
        answer = httpx.get(client.url + "/readyz", trust_env=False, timeout=30)
        return str(answer.json()["parts"]["log"])

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
    argv = [str(folder / "qp") if each == str(qp.folder) else each for each in qp.part.argv]
    twin = Part("qp-twin", argv, logs=folder, fix="see its log")
    twin.start()
    try:
        wait_ready(twin, qp.url)
        yield Stand(network, Raw(network, people.PD), Raw(network, people.QP))
    finally:
        twin.stop()
        copy.stop()
        chain.argv = argv_before
        leave_whole(network)


def wait_anchored(network: Network) -> None:
    """Wait until every node has anchored its audit log, which it does once an hour: one more would fork the two."""

    def anchored() -> bool:
        logs = network.gateway.logs([network.deployment.ledger], first=0, last=network.head().number)
        batches = [parse_batch_appended(log)[0] for log in logs if log.topics[0] == BATCH_TOPIC]
        return len({each.member_id for each in batches if each.stream is Stream.AUDIT}) == len(network.nodes)

    until(anchored, "the audit logs' anchors")
    network.settle()


def leave_whole(network: Network) -> None:
    """Bring QP and the chain back and settle what is left: other tests of this session find the network as it was."""
    assert isinstance(network.chain, Part)
    network.chain.stop()
    network.restart_chain()
    for name in ("PD", "QP"):
        node = network.nodes[name]
        node.part.stop()
        set_lines(node.folder, *USUAL)
        node.part.start()
        node.part.wait_line()
    for node in network.nodes.values():
        for member in network.nodes.values():
            settle(node, member.member.member_id)
        wait_ready(node.part, node.url)


def settle(node: DemoNode, member_id: int) -> httpx.Response:
    key = (node.folder / "admin.key").read_text().strip()
    headers = {"content-type": "application/json", "idempotency-key": secrets.token_hex(8)}
    headers["authorization"] = f"Bearer {key}"
    return httpx.post(
        f"{node.url}/v1/audit/forks/{member_id}/settle",
        content=json.dumps({"reason": "the twin follows a copy of the chain"}),
        headers=headers,
        trust_env=False,
        timeout=60,
    )


def run_audit(stand: Stand, folder: Path, *more: str) -> tuple[int, dict[str, Any]]:
    """Run `deltaseal audit log` against PD's chain; return its exit code and JSON."""
    made = stand.network.deployment
    trust = folder / "trust.json"
    facts = {name: "0x" + getattr(made, name).hex() for name in ("genesis", "directory", "ledger")}
    trust.write_text(json.dumps({"chainId": made.chain_id, **facts}))
    argv = [sys.executable, "-m", "cli", "audit", "log", "--rpc", stand.network.rpc, "--trust", str(trust)]
    key = stand.pd_node.key_files[people.PD.key]
    argv += ["-o", "json", "--url", stand.pd.url, "--api-key-file", str(key), *more]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=BOUND_S, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else {"error": done.stderr}


def exchanged_since(stand: Stand, client: Raw, member_id: int) -> None:
    """Wait until the node has compared the member's word twice from now on."""
    for _ in range(2):
        before = stand.peer(client, member_id).get("receivedAt", 0)
        until(lambda before=before: stand.peer(client, member_id).get("receivedAt", 0) > before, "exchange")


def test_copy_that_goes_the_same_way_is_consistent(stand: Stand, tmp_path: Path) -> None:
    for client, member in ((stand.pd, people.QP_MEMBER), (stand.qp, people.PD_MEMBER)):
        until(lambda c=client, m=member: stand.peer(c, m).get("state") == "consistent", "consistent")
    assert stand.part(stand.pd) == stand.part(stand.qp) == "ok"
    code, found = run_audit(stand, tmp_path)
    assert (code, found["result"]) == (0, "consistent"), found["checks"]
    assert found["batches"] == stand.overview(stand.pd)["own"]["logSize"]
    assert found["logRoot"] == stand.overview(stand.pd)["own"]["logRoot"][2:]


def test_node_that_is_behind_and_one_that_is_ahead_are_no_fork(stand: Stand) -> None:
    stand.push(stand.pd)
    exchanged_since(stand, stand.pd, people.QP_MEMBER)
    exchanged_since(stand, stand.qp, people.PD_MEMBER)
    assert stand.peer(stand.pd, people.QP_MEMBER)["state"] == "consistent"
    assert stand.peer(stand.qp, people.PD_MEMBER)["state"] == "waiting"
    assert stand.part(stand.pd) == stand.part(stand.qp) == "ok"
    assert stand.pd.verify(stand.documents[0])["verdict"] == "valid"


def test_fork_is_found_by_both_nodes_and_nothing_reads_valid(stand: Stand) -> None:
    stand.push(stand.qp)
    for client in (stand.pd, stand.qp):
        until(lambda c=client: stand.part(c) == "fork_detected", "the alarm")
    verdict = stand.pd.verify(stand.documents[0])
    assert (verdict["verdict"], verdict["lastKnown"]) == ("stale", "valid")
    assert "fork_detected" in {each["code"] for each in verdict["reasons"]}
    metrics = httpx.get(stand.pd.url + "/metrics", trust_env=False).text
    assert "deltaseal_fork_detected 1.0" in metrics


def test_both_signed_checkpoints_are_kept_as_evidence(stand: Stand, tmp_path: Path) -> None:
    forks = [each for each in stand.overview(stand.pd)["forks"] if each["memberId"] == people.QP_MEMBER]
    ours, theirs = (parse_checkpoint(json.dumps(forks[0][side]).encode()) for side in ("ours", "theirs"))
    members = {each["memberId"]: each for each in stand.pd.get("/v1/chain/members").json()["items"]}
    for signed in (ours, theirs):
        account = members[signed.checkpoint.member_id]["account"]
        assert "0x" + checkpoint_signer(signed).hex() == account
    assert find_conflict(ours.checkpoint, theirs.checkpoint) is not None or forks[0]["path"]
    code, found = run_audit(stand, tmp_path)
    assert code == 10 and found["result"] == "broken"
    assert [each["memberId"] for each in found["forks"]] == [people.QP_MEMBER]
    # The chain itself is whole, and what the twin signed is not of it: each by itself.
    assert run_audit(stand, tmp_path, "--offline")[0] == 0
    (tmp_path / "theirs.json").write_text(json.dumps(forks[0]["theirs"]))
    code, found = run_audit(stand, tmp_path, "--offline", "--checkpoint", str(tmp_path / "theirs.json"))
    assert code == 10
    assert [each["outcome"] for each in found["checks"] if each["code"].startswith("checkpoint")] == ["fail"]


def test_alarm_outlives_a_restart_and_ends_when_it_is_settled(stand: Stand) -> None:
    stand.pd_node.part.stop()
    stand.pd_node.part.start()
    stand.pd_node.part.wait_line()
    assert stand.part(stand.pd) == "fork_detected"
    assert settle(stand.pd_node, people.QP_MEMBER).status_code == 200
    until(lambda: stand.part(stand.pd) == "ok", "no alarm")
    exchanged_since(stand, stand.pd, people.QP_MEMBER)
    assert stand.part(stand.pd) == "ok"
    assert stand.overview(stand.pd)["forks"][0]["settledAt"]
    assert settle(stand.pd_node, people.QP_MEMBER).status_code == 404
    until(lambda: stand.pd.verify(stand.documents[0])["verdict"] == "valid", "valid again")
