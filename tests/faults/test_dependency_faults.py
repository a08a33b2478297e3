"""A fault of the chain is never a verdict: what the node cannot know is `stale`, and heals without a hand.

QP's node reads the chain through a proxy that breaks or lies; the documents are PD's, one of every verdict.
The tests wait for what the node says of itself, not for a clock.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import pytest

from cli.demo import catalogue, people
from cli.demo.chainproof import count_records
from cli.demo.network import Network, wait_ready
from tests.e2e.papers import Raw, fresh_file, meta_of
from tests.faults.chain_proxy import ChainProxy
from tests.support.waiting import until

FRESH_S = 2
TYPE = "M9901"
ACT = {"reasonCode": "under_investigation", "reason": "test"}


@dataclass
class Stand:
    """The network, the proxy before QP's chain, and documents by the verdict that is true of them."""

    network: Network
    proxy: ChainProxy
    pd: Raw
    qp: Raw
    documents: dict[str, str] = field(default_factory=dict)
    own: list[str] = field(default_factory=list)

    def ask(self, sha256: str) -> dict[str, Any]:
        return self.qp.verify(sha256, typeCode=TYPE)

    def says(self, sha256: str, kind: str) -> bool:
        return bool(self.ask(sha256)["verdict"] == kind)

    def names(self, cause: str) -> bool:
        return self.chain_part() == cause

    def chain_part(self) -> str:
        """Return what QP says of its chain: ok, or the cause."""
        parts = httpx.get(self.qp.url + "/readyz", trust_env=False, timeout=30).json()["parts"]
        return str(parts["chain"])

    def push(self, client: Raw, **changes: Any) -> tuple[str, dict[str, Any]]:
        file = fresh_file(300)
        wait = changes.pop("wait", "final")
        answer = client.push(file, meta_of(file, **{"typeCode": TYPE, **changes}), wait=wait)
        assert answer.status_code == 201, answer.text
        return file.sha256, answer.json()

    def wait_truth(self) -> None:
        """Wait until QP says the truth about every document and is ready."""
        for kind, sha256 in self.documents.items():
            until(partial(self.says, sha256, kind), kind)
        until(lambda: self.chain_part() == "ok", "ready")


def publish_type(network: Network) -> None:
    """Publish a type whose documents must be known to the second."""
    entry = next(one for one in catalogue.entries() if one.code == catalogue.LEASE)
    line = json.dumps(
        {"kind": "materialType", "code": TYPE, "entry": {**entry.entry, "freshnessSeconds": FRESH_S}}
    )
    client = network.client(people.XH)
    client.request(
        "POST",
        "/v1/catalog/imports",
        body=line.encode(),
        headers={"Content-Type": "application/x-ndjson"},
        idempotency_key=secrets.token_hex(8),
    )
    network.settle()
    client.request(
        "POST",
        f"/v1/catalog/materialType/{TYPE}/approve",
        json={"version": 1},
        idempotency_key=secrets.token_hex(8),
    )
    network.settle()


def set_chain(network: Network, name: str, rpc: str) -> None:
    """Point a node at another address of its chain, with a short bound for a head that stands still."""
    node = network.nodes[name]
    path = node.folder / "deltaseal.toml"
    kept = [line for line in path.read_text().splitlines() if not line.startswith(("chain_rpc", "head_age"))]
    path.write_text("\n".join([*kept, f'chain_rpc = "{rpc}"', "head_age_limit_s = 5"]) + "\n")
    node.part.stop()
    node.restart()


@pytest.fixture(scope="module")
def stand(network: Network) -> Iterator[Stand]:
    publish_type(network)
    proxy = ChainProxy(network.rpc)
    set_chain(network, "QP", proxy.url)
    made = Stand(network, proxy, Raw(network, people.PD), Raw(network, people.QP))
    lay_out_documents(made)
    made.wait_truth()
    yield made
    proxy.close()
    set_chain(network, "QP", network.rpc)


@pytest.fixture(autouse=True)
def healed(stand: Stand) -> Iterator[None]:
    """End a fault that a failed test left: each test fails for its own reason only."""
    yield
    stand.proxy.heal()


def lay_out_documents(stand: Stand) -> None:
    pd, documents = stand.pd, stand.documents
    documents["valid"], _ = stand.push(pd)
    documents["expired"], _ = stand.push(pd, issuedOn="2020-01-01", expiresOn="2021-01-01")
    for kind, verb in (("suspended", "suspend"), ("revoked", "revoke")):
        documents[kind], material = stand.push(pd)
        acted = pd.post(f"/v1/materials/{material['materialId']}/{verb}", ACT, wait="final")
        assert acted.status_code in (200, 202), acted.text
    documents["superseded"], material = stand.push(pd)
    stand.push(pd, replaces=material["materialId"])
    documents["unknown"] = fresh_file().sha256


def fault_head(stand: Stand, fault: str) -> int:
    head = stand.network.head().number
    return head - 30 if fault == "regress" else head


FAULTS = {
    "drop": "chain_unavailable",
    "http_500": "chain_unavailable",
    "cut": "chain_unavailable",
    "slow": "chain_unavailable",
    "garbage": "chain_answer_malformed",
    "other_id": "chain_answer_malformed",
    "freeze": "chain_stalled",
    "regress": "chain_regressed",
    "other_genesis": "chain_mismatch",
    "missing_logs": "logs_missing",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_chain_is_stale_with_its_cause_and_heals_by_itself(stand: Stand, fault: str) -> None:
    cause = FAULTS[fault]
    stand.proxy.become(fault, head=fault_head(stand, fault))
    # Somebody must write: events that nobody made cannot be missing.
    newer, material = stand.push(stand.pd)

    until(lambda: stand.chain_part() == cause, f"{cause} at /readyz")
    assert stand.proxy.met > 0
    for kind, sha256 in stand.documents.items():
        assert_stale(stand.ask(sha256), kind, cause)
    own, pushed = stand.push(stand.qp, wait=None)
    stand.own.append(pushed["materialId"])
    assert pushed["anchor"]["status"] == "pending"
    assert_stale(stand.ask(own), "unknown", cause)
    stand.pd.post(f"/v1/materials/{material['materialId']}/revoke", ACT, wait="final")
    assert stand.ask(newer)["verdict"] == "stale"

    stand.proxy.heal()
    stand.wait_truth()
    until(lambda: stand.ask(newer)["verdict"] == "revoked", "the act during the fault")
    until(lambda: stand.ask(own)["verdict"] == "valid", "the material pushed during the fault")


def assert_stale(answer: dict[str, Any], last_known: str, cause: str) -> None:
    assert (answer["verdict"], answer["fresh"], answer["lastKnown"]) == ("stale", False, last_known)
    failed = {one["code"] for one in answer["reasons"] if one["outcome"] == "fail"}
    assert cause in failed


LIES = {
    "status_left_out": "logs_missing",
    "status_altered": "logs_invalid",
    "status_added": "logs_invalid",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_chain_that_lies_about_one_revocation_is_named_and_believed_again_when_it_does_not(
    stand: Stand, lie: str
) -> None:
    """No ledger counts acts on a claim: only the block's receipts root tells that one was left out or changed."""
    document, material = stand.push(stand.pd)
    until(partial(stand.says, document, "valid"), "valid")
    stand.proxy.become(lie)
    stand.pd.post(f"/v1/materials/{material['materialId']}/revoke", ACT, wait="final")
    until(partial(stand.names, LIES[lie]), LIES[lie])
    assert stand.proxy.met > 0
    assert_stale(stand.ask(document), "valid", LIES[lie])
    stand.proxy.heal()
    until(partial(stand.says, document, "revoked"), "revoked")
    stand.wait_truth()


def test_a_head_that_stands_still_makes_a_document_stale_before_the_node_calls_it_a_fault(
    stand: Stand,
) -> None:
    stand.proxy.become("freeze", head=fault_head(stand, "freeze"))
    seen = until(
        lambda: (answer := stand.ask(stand.documents["valid"]))["verdict"] == "stale" and answer, "stale"
    )
    assert "final_block_old" in {one["code"] for one in seen["reasons"]}
    stand.proxy.heal()
    stand.wait_truth()


def test_a_node_that_starts_at_another_chain_says_so_and_recovers(stand: Stand) -> None:
    node = stand.network.nodes["QP"]
    for fault in ("other_chain_id", "drop"):
        node.part.stop()
        stand.proxy.become(fault)
        node.part.start()
        node.part.wait_line()
        expected = FAULTS.get(fault, "chain_mismatch")
        until(partial(stand.names, expected), expected)
        for kind, sha256 in stand.documents.items():
            assert_stale(stand.ask(sha256), kind, expected)
        stand.proxy.heal()
        wait_ready(node.part, node.url)
        stand.wait_truth()


def test_a_node_without_its_index_knows_nothing_until_it_has_read_the_chain(stand: Stand) -> None:
    """Delete the index of a stopped node; whatever is asked while it reads the chain again is stale."""
    node = stand.network.nodes["QP"]
    sealed, _ = stand.push(stand.pd, typeCode=catalogue.LEASE)  # An hour is fresh enough for its type.
    node.part.stop()
    shutil.rmtree(node.folder / "index")
    stand.proxy.become("late")
    node.part.start()
    node.part.wait_line()
    answers = []
    while not answers or answers[-1]["verdict"] == "stale":
        answers.append(stand.qp.verify(sealed, typeCode=catalogue.LEASE))
    assert {one["verdict"] for one in answers} == {"stale", "valid"}
    causes = {reason["code"] for one in answers for reason in one["reasons"] if reason["outcome"] == "fail"}
    assert "index_behind" in causes
    stand.proxy.heal()
    stand.wait_truth()


def test_a_reuse_during_a_fault_is_never_granted(stand: Stand) -> None:
    wish = {
        "caseNo": f"QP-{secrets.token_hex(4)}",
        "matterCode": catalogue.OPEN_FIRM,
        "reqId": "R2",
        "typeCode": catalogue.LEASE,
        "subject": people.FIRMS[0].as_subject(),
        "basis": {"kind": "duty"},
        "purpose": "test",
        "scenarioCode": catalogue.SCENARIO_OPEN,
        "deliver": "none",
    }
    stand.proxy.become("drop")
    until(lambda: stand.chain_part() == "chain_unavailable", "the fault")
    answer = stand.qp.post("/v1/reuses", wish).json()
    assert answer.get("outcome") != "granted"
    stand.proxy.heal()
    stand.wait_truth()


def test_what_was_pushed_during_the_faults_is_on_chain_exactly_once(stand: Stand) -> None:
    assert stand.own
    until(lambda: all(_anchor(stand, name)["status"] == "final" for name in stand.own), "all final")
    ids = [record for name in stand.own for record in _anchor(stand, name)["recordIds"]]
    assert len(ids) == len(stand.own)
    assert set(count_records(stand.network, ids).values()) == {1}


def _anchor(stand: Stand, material_id: str) -> dict[str, Any]:
    anchor: dict[str, Any] = stand.qp.get(f"/v1/materials/{material_id}").json()["anchor"]
    return anchor
