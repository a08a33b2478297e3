"""Receipts, their refreshing, checkpoints and the audit of the log, on a chain of five signers."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cli.demo import people
from cli.demo.network import Network
from tests.consortium.conftest import Consortium
from tests.consortium.traffic import wait_until
from tests.e2e.papers import LICENCE, Raw, fresh_file, meta_of
from tests.integration.cli_node_factory import run_cli
from tests.support.browser_verifier import ask_browser
from tests.support.verifier_cases import VerifierCase

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def trust(consortium: Consortium, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export a trust anchor as a bank would."""
    path = tmp_path_factory.mktemp("trust") / "trust.json"
    made = consortium.network.deployment
    chain = ["--chain-id", str(made.chain_id), "--directory", "0x" + made.directory.hex()]
    code, said = deltaseal(
        consortium.network, "trust", "export", "--engine", "clique", *chain, "--to", str(path)
    )
    assert code == 0, said
    return path


def deltaseal(network: Network, *arguments: str) -> tuple[int, str]:
    """Run the command as PD's clerk, beside the first signer's client."""
    node = network.nodes["PD"]
    known = ["--url", node.url, "--api-key-file", str(node.key_files[people.PD.key])]
    if arguments[0] in ("trust", "audit"):
        known += ["--rpc", network.rpc]
    done = run_cli([*arguments, *known], network.folder)
    return done.returncode, done.stdout + done.stderr


def seal(network: Network) -> tuple[str, str]:
    """Push a licence at PD; return its id and number."""
    file, number = fresh_file(), f"LIC-{secrets.token_hex(5)}"
    meta = meta_of(file, typeCode=LICENCE, documentNo=number, expiresOn=None)
    pushed = Raw(network, people.PD).push(file, meta)
    assert pushed.status_code == 201, pushed.text
    return str(pushed.json()["materialId"]), number


def revoke_claim(network: Network, material: str, _number: str) -> None:
    act = {"reasonCode": 6, "reason": "test"}
    answer = Raw(network, people.PD).post(f"/v1/materials/{material}/revoke", act)
    assert answer.status_code in (200, 202), answer.text


def revoke_document(network: Network, _material: str, number: str) -> None:
    act = {"typeCode": LICENCE, "documentNo": number, "reasonCode": 6, "reason": "test"}
    answer = Raw(network, people.SH_SC).post("/v1/documents/revoke", act)
    assert answer.status_code == 202, answer.text


def verdicts(receipt: Path, trust: Path) -> tuple[str, str]:
    """Judge a receipt by Python and by the browser's modules, neither of which is told of any chain."""
    now = datetime.now(UTC).isoformat()
    case = VerifierCase(receipt.name, receipt.read_bytes(), trust.read_bytes(), at=now)
    (answer,) = ask_browser([case])
    return case.python_lines()[-1]["verdict"], answer["lines"][-1]["verdict"]


def test_fresh_proof_says_revoked_and_the_old_one_valid_as_of_its_block(
    consortium: Consortium, trust: Path, tmp_path: Path
) -> None:
    """Of one document the custodian revokes its claim, of another the issuer the document."""
    network = consortium.network
    sealed = {revoke: seal(network) for revoke in (revoke_claim, revoke_document)}
    network.settle(timeout_s=150.0)
    folders = {revoke: tmp_path / revoke.__name__ for revoke in sealed}
    for revoke, (material, _) in sealed.items():
        folders[revoke].mkdir()
        old, before = folders[revoke] / "old.json", folders[revoke] / "before.json"
        assert deltaseal(network, "receipt", "get", material, "--to", str(old))[0] == 0
        code, said = deltaseal(network, "receipt", "refresh", str(old), "--to", str(before))
        assert code == 0, said
        offline = ["verify", "--offline", "--receipt", str(old), "--trust", str(trust)]
        assert deltaseal(network, *offline)[0] == 0
        assert deltaseal(network, *offline, "--statement", str(before))[0] == 0
    for revoke, (material, number) in sealed.items():
        revoke(network, material, number)
    network.settle(timeout_s=150.0)
    for revoke, (material, _) in sealed.items():
        old, fresh, after = (folders[revoke] / f"{name}.json" for name in ("old", "fresh", "after"))
        code, said = deltaseal(network, "receipt", "refresh", str(old), "--to", str(after))
        assert code == 12, said
        offline = ["verify", "--offline", "--receipt", str(old), "--trust", str(trust)]
        assert deltaseal(network, *offline)[0] == 0
        assert deltaseal(network, *offline, "--statement", str(after))[0] == 12
        assert deltaseal(network, "receipt", "get", material, "--to", str(fresh))[0] == 0
        assert verdicts(old, trust) == ("valid", "valid")
        assert verdicts(fresh, trust) == ("revoked", "revoked")


def test_nodes_agree_on_the_log_and_its_audit_derives_it_from_the_chain(
    consortium: Consortium, trust: Path
) -> None:
    network = consortium.network
    network.settle(timeout_s=150.0)
    pd = Raw(network, people.PD)

    def agree() -> bool:
        found = pd.get("/v1/audit/checkpoints").json()
        states = {each["memberId"]: each["state"] for each in found["peers"]}
        return [states.get(member) for member in (people.XH_MEMBER, people.QP_MEMBER)] == ["consistent"] * 2

    wait_until(agree, "consistent checkpoints of both other nodes", timeout_s=150.0)
    code, said = deltaseal(network, "audit", "log", "--trust", str(trust), "-o", "json")
    assert code == 0, said
    found = json.loads(said[said.index("{") : said.rindex("}") + 1])
    assert found["result"] == "consistent"
    assert found["batches"] == pd.get("/v1/audit/checkpoints").json()["own"]["logSize"]
