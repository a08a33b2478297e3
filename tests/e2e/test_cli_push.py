"""The command line against real nodes on a real chain: a killed push, and a document from push to proved receipt."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.client import NodeClient
from tests.e2e.demo_process import KeptDemo
from tests.integration.cli_node_factory import key_file, run_cli, start_cli

LEASE = ["--type", "M5001", "--subject", "001:91310115FAKE010322:tenant"]
LICENCE = ["--type", "M1002", "--subject", "001:91310104FAKE01016E:holder"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeptDemo]:
    kept = KeptDemo(tmp_path_factory.mktemp("network"))
    try:
        yield kept
    finally:
        kept.close()


class At:
    """The command line with the settings of one node."""

    def __init__(self, demo: KeptDemo, name: str, folder: Path) -> None:
        self.node, self.folder = demo.node(name), folder
        keys = folder / name
        keys.mkdir(exist_ok=True)
        self.flags = ["--url", self.node["url"], "--api-key-file", str(key_file(keys, self.node["apiKey"]))]

    def run(self, *arguments: str) -> tuple[int, str, str]:
        ended = run_cli([*arguments, *self.flags], self.folder)
        return ended.returncode, ended.stdout, ended.stderr

    def json(self, *arguments: str, code: int = 0) -> Any:
        number, out, err = self.run(*arguments, "-o", "json")
        assert number == code, err + out
        return json.loads(out)


def test_a_push_killed_in_the_middle_is_resumed_to_exactly_all_materials(
    demo: KeptDemo, tmp_path: Path
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for number in range(300):
        (files / f"{number:03d}.txt").write_text(f"document {number}\n")
    at = At(demo, "PD", tmp_path)
    push = ["push", str(files), *LEASE, "--case", "PD-20261103-000300", "--journal", "j"]
    held = len(at.json("material", "list", "--all"))
    process = start_cli([*push, *at.flags], tmp_path)
    with NodeClient(at.node["url"], at.node["apiKey"]) as client:
        deadline = time.monotonic() + 120
        while not client.get("/v1/materials", limit=200)["items"][30 + held :]:
            assert process.poll() is None and time.monotonic() < deadline
    process.kill()
    process.communicate(timeout=60)
    acknowledged = len((tmp_path / "j").read_text().splitlines()) - 1
    assert 0 < acknowledged < 300, "the kill came too early or too late to show anything"
    summary = at.json(*push, "--wait", "final")["summary"]
    assert summary["done_before"] >= acknowledged and summary["anchored"] == 300 and summary["refused"] == 0
    assert len(at.json("material", "list", "--all")) - held == 300
    verdicts = at.json("verify", str(files), "--type", "M5001")
    assert len(verdicts) == 300 and {each["verdict"] for each in verdicts} == {"valid"}


def test_a_document_goes_from_push_to_reuse_receipt_and_revocation(demo: KeptDemo, tmp_path: Path) -> None:
    (tmp_path / "licence.pdf").write_bytes(b"a licence")
    pudong, xuhui = At(demo, "PD", tmp_path), At(demo, "XH", tmp_path)
    pushed = pudong.json("push", "licence.pdf", *LICENCE, "--case", "PD-20261103-000001", "--wait", "final")
    name = pushed["items"][0]["materialId"]
    subject = ["--subject", "001:91310104FAKE01016E"]
    _until(lambda: xuhui.run("verify", "licence.pdf", "--type", "M1002", *subject)[0] == 0)
    about = [
        "--case",
        "XH-1",
        "--matter",
        "990110100100",
        "--req",
        "R3",
        "--scenario",
        "SC-310000-0001",
        *subject,
    ]
    request = ["reuse", "request", *about, "--purpose", "开办企业", "--type", "M1002"]
    granted = xuhui.json(*request, "--deliver", "bytes", "--to", "reused.pdf")
    assert granted["outcome"] == "granted"
    _until(lambda: pudong.run("receipt", "get", name, "--to", "receipt.json", "--force")[0] == 0)
    (tmp_path / "chain.json").write_text(json.dumps(pudong.json("chain", "status")))
    check = ["receipt", "check", "receipt.json", "--trust", "chain.json", "--file", "licence.pdf"]
    assert run_cli(check, tmp_path).returncode == 11
    proved = run_cli([*check, "--rpc", demo.ready["chain"]["rpc"]], tmp_path)
    assert proved.returncode == 0, proved.stdout
    assert xuhui.run("verify", "licence.pdf", "--receipt", "receipt.json")[0] == 0
    pudong.json("material", "revoke", name, "--reason-code", "1", "--reason", "办理有误")
    _until(lambda: xuhui.run("verify", "licence.pdf")[0] == 12)
    assert run_cli([*check, "--rpc", demo.ready["chain"]["rpc"]], tmp_path).returncode == 12
    assert xuhui.run(*request)[0] == 13


def _until(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


READING = (
    ["whoami"],
    ["chain", "status"],
    ["chain", "members"],
    ["chain", "contracts"],
    ["catalog", "list", "matter"],
    ["catalog", "get", "materialType", "M1002"],
    ["api", "GET", "/v1/info"],
    ["exemptions", "--matter", "990110100100", "--subject", "001:91310104FAKE01016E"],
    ["material", "search", "--subject", "001:91310104FAKE01016E"],
)
CASES = [(each, form) for each in READING for form in ("table", "json")]
CASES += [(["chain", "members"], form) for form in ("jsonl", "csv", "id")]


@pytest.mark.parametrize(("arguments", "form"), CASES, ids=lambda case: str(case))
def test_every_reading_command_speaks_its_forms(
    demo: KeptDemo, tmp_path: Path, arguments: list[str], form: str
) -> None:
    code, out, err = At(demo, "PD", tmp_path).run(*arguments, "-o", form)
    assert code == 0 and out, err


def test_doctor_finds_a_running_network_well(demo: KeptDemo, tmp_path: Path) -> None:
    at = At(demo, "PD", tmp_path)
    found = at.json("doctor", "--data-dir", at.node["dataDir"])
    assert "fail" not in {each["outcome"] for each in found}
    lock = next(each for each in found if each["part"] == "data folder lock")
    assert str(at.node["pid"]) in lock["detail"]
