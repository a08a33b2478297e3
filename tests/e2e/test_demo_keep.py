"""`demo --keep --json`: one line, a network that outlives the kill of a node, a clean end on SIGTERM."""

import hashlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.client import NodeClient
from cli.demo import catalogue, people
from cli.demo.network import missing_for_readiness
from cli.demo.parts import Part
from cli.errors import ApiProblem
from tests.e2e.demo_process import KeptDemo, alive, demo_argv
from tests.support.waiting import until


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeptDemo]:
    demo = KeptDemo(tmp_path_factory.mktemp("kept") / "data")
    yield demo
    demo.close()


def client_of(node: dict[str, Any]) -> NodeClient:
    return NodeClient(node["url"], node["apiKey"], timeout_s=60)


def start_again(node: dict[str, Any], logs: Path) -> Part:
    part = Part(node["name"].lower() + "-again", node["argv"], logs=logs, fix="see its log")
    part.start()
    part.wait_line()
    part.wait_for(lambda: None if missing_for_readiness(node["url"]) else True, "it is not ready")
    return part


def push(client: NodeClient, content: bytes, number: str) -> dict[str, Any]:
    meta = {
        "typeCode": catalogue.LICENCE,
        "subjects": [people.FIRM_SHENQIAO.as_subject()],
        "documentNo": number,
        "caseNo": f"CASE-{number}",
        "title": "营业执照(演示)",
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    answer: dict[str, Any] = client.push(meta, content, file_name="licence.pdf", wait="final")
    return answer


def test_ready_line_has_what_a_caller_needs(kept: KeptDemo) -> None:
    assert {"rpc", "chainId", "directory", "pid", "argv"} <= set(kept.ready["chain"])
    assert [node["name"] for node in kept.ready["nodes"]] == ["XH", "PD", "QP"]
    for node in kept.ready["nodes"]:
        assert {"name", "url", "apiKey", "agency", "dataDir", "pid", "argv"} <= set(node)
        assert node["apiKey"].startswith("dsk_")
        assert Path(node["dataDir"]).is_dir()
        with client_of(node) as client:
            assert client.get("/v1/me")["agency"] == node["agency"]
            assert client.get("/v1/chain/status")["directory"] == kept.ready["chain"]["directory"]
            assert client.get("/v1/catalog/materialType/M1002")["state"] == "approved"


def test_entry_put_and_approved_at_one_node_is_live_at_all(kept: KeptDemo) -> None:
    entry = next(each.entry for each in catalogue.entries() if each.code == catalogue.LICENCE)
    with client_of(kept.node("XH")) as client:
        made = client.put("/v1/catalog/materialType/M9001", entry, query={"wait": "final"})
        assert (made["version"], made["state"]) == (1, "pending")
        client.post("/v1/catalog/materialType/M9001/approve", {"version": 1}, query={"wait": "final"})
    for node in kept.ready["nodes"]:
        with client_of(node) as client:
            until(
                lambda client=client: state_of(client, "M9001") == "approved",
                "the entry is approved",
                within_s=60,
            )
            found = client.get("/v1/catalog/materialType/M9001")
            assert found["digest"] == made["digest"]
            assert found["proof"]["block"] > 0


def state_of(client: NodeClient, code: str) -> str:
    try:
        return str(client.get(f"/v1/catalog/materialType/{code}")["state"])
    except ApiProblem as problem:
        return problem.code


def test_killed_node_starts_by_its_argv_with_all_it_held(kept: KeptDemo, tmp_path: Path) -> None:
    node = kept.node("PD")
    content = b"%PDF- sealed before the kill"
    with client_of(node) as client:
        before = push(client, content, "LIC-KEEP-1")
    os.kill(node["pid"], signal.SIGKILL)
    again = start_again(node, tmp_path)
    try:
        with client_of(node) as client:
            after = client.get(f"/v1/materials/{before['materialId']}")
            assert after["anchor"]["status"] == "final"
            assert after["anchor"]["recordIds"] == before["anchor"]["recordIds"]
            assert client.verify(hashlib.sha256(content).hexdigest())["verdict"] == "valid"
            assert push(client, b"%PDF- sealed after the kill", "LIC-KEEP-2")["anchor"]["status"] == "final"
    finally:
        again.stop()


def test_killed_chain_starts_by_its_argv_with_the_same_blocks(kept: KeptDemo, tmp_path: Path) -> None:
    chain = kept.ready["chain"]
    node = kept.node("QP")
    with client_of(node) as client:
        pushed = push(client, b"%PDF- sealed before the chain's kill", "LIC-KEEP-3")
    os.kill(chain["pid"], signal.SIGKILL)
    again = Part("chain-again", chain["argv"], logs=tmp_path, fix="see its log")
    again.start()
    again.wait_line()
    try:
        with client_of(node) as client:
            assert (
                push(client, b"%PDF- sealed after the chain's kill", "LIC-KEEP-4")["anchor"]["status"]
                == "final"
            )
            assert client.get(f"/v1/materials/{pushed['materialId']}")["anchor"]["status"] == "final"
    finally:
        again.stop()


def test_sigterm_stops_everything_cleanly(kept: KeptDemo) -> None:
    pids = kept.pids()
    code, rest = kept.terminate()
    assert code == 0, kept.errors()
    assert rest == "", "exactly one line is printed"
    assert [pid for pid in pids if alive(pid)] == []
    assert Path(kept.node("XH")["dataDir"]).is_dir(), "the folder that --dir named is kept"


def test_sigterm_while_starting_stops_what_has_started(tmp_path: Path) -> None:
    process = subprocess.Popen(
        demo_argv("--keep", "--json", "--dir", str(tmp_path / "data")),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "chain" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    out, _errors = process.communicate(timeout=90)
    assert process.returncode == 130
    assert out == ""
