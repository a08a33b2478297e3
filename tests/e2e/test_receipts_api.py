"""Receipts of a real node: many at a time, refreshed after a revocation, and read by the command line offline."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from anchor.entries import StatusFlag
from cli.demo import people
from cli.demo.network import Network
from tests.e2e.papers import LICENCE, Raw, fresh_file, meta_of
from verifier.receiptforms import decode_statuses, parse_places
from verifier.receipts import parse_receipt

REVOKE = {"reasonCode": "under_investigation", "reason": "test"}


@pytest.fixture(scope="module")
def pd(network: Network) -> Raw:
    return Raw(network, people.PD)


@pytest.fixture(scope="module")
def materials(pd: Raw) -> list[str]:
    """Push five leases and return their ids."""
    files = [fresh_file(200) for _ in range(5)]
    return [str(pd.push(file, meta_of(file)).json()["materialId"]) for file in files]


@pytest.fixture(scope="module")
def trust(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = network.deployment
    facts = {name: "0x" + getattr(made, name).hex() for name in ("genesis", "directory", "ledger")}
    path = tmp_path_factory.mktemp("trust") / "trust.json"
    path.write_text(json.dumps({"chainId": made.chain_id, **facts}))
    return path


def deltaseal(network: Network, *arguments: str) -> tuple[int, str]:
    """Run the command as PD's clerk."""
    node = network.nodes["PD"]
    known = ["--url", node.url, "--api-key-file", str(node.key_files[people.PD.key])]
    argv = [sys.executable, "-m", "cli", *arguments, *known]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def test_many_receipts_come_at_once_and_each_stands_alone(pd: Raw, materials: list[str]) -> None:
    answer = pd.post(
        "/v1/receipts", {"materialIds": [*materials, "mat_unknown"], "open": ["sha256", "expiresOn"]}
    )
    assert answer.status_code == 200, answer.text
    *found, unknown = answer.json()["items"]
    assert (unknown["receipt"], unknown["problem"]["code"]) == (None, "material_not_found")
    receipts = [parse_receipt(json.dumps(each["receipt"]).encode()) for each in found]
    assert len({each.status.as_of_block for each in receipts}) == 1
    assert {each.name for each in receipts[0].opening.opened} == {"sha256", "expiresOn", "documentSlots"}
    for shown in found:
        checked = pd.post("/v1/verify", {"receipt": shown["receipt"]}).json()
        assert checked["verdict"] == "valid", checked


def test_each_of_many_has_the_nodes_of_the_one_asked_for_alone(pd: Raw, materials: list[str]) -> None:
    (one, *_), single = (
        pd.post("/v1/receipts", {"materialIds": materials}).json()["items"],
        pd.get(f"/v1/receipts/{materials[0]}").json(),
    )
    assert set(one["receipt"]["nodes"]) == set(single["nodes"])


@pytest.mark.parametrize("body", [{"materialIds": []}, {"materialIds": ["a"] * 65}, {}])
def test_lists_out_of_bounds_are_refused(pd: Raw, body: dict[str, Any]) -> None:
    assert pd.post("/v1/receipts", body).status_code == 422


def test_command_gets_many_into_a_folder_and_names_those_it_could_not(
    network: Network, materials: list[str], tmp_path: Path
) -> None:
    folder = tmp_path / "receipts"
    folder.mkdir()
    code, said = deltaseal(network, "receipt", "get", *materials, "mat_unknown", "--to-dir", str(folder))
    assert code == 7, said
    assert "mat_unknown: material_not_found" in said
    assert {path.name for path in folder.iterdir()} == {f"{each}.receipt.json" for each in materials}


def test_refreshed_receipt_says_revoked_after_a_revocation_and_the_old_one_does_not(
    network: Network, pd: Raw, materials: list[str], trust: Path, tmp_path: Path
) -> None:
    material, receipt = materials[-1], tmp_path / "receipt.json"
    assert deltaseal(network, "receipt", "get", material, "--to", str(receipt))[0] == 0
    before = tmp_path / "before.json"
    code, said = deltaseal(network, "receipt", "refresh", str(receipt), "--to", str(before))
    assert code == 0, said
    revoked = pd.post(f"/v1/materials/{material}/revoke", REVOKE, wait="final")
    assert revoked.status_code in (200, 202), revoked.text
    after = tmp_path / "after.json"
    code, said = deltaseal(network, "receipt", "refresh", str(receipt), "--to", str(after))
    assert code == 12, said
    for statement, expected in ((before, 11), (after, 12)):
        asked = ["verify", "--offline", "--receipt", str(receipt), "--trust", str(trust)]
        code, said = deltaseal(network, *asked, "--statement", str(statement))
        assert code == expected, said  # 11: an operator's chain has no seals to prove a block by.


def test_slots_of_a_documents_issuers_are_sealed_and_shown_and_its_revocation_is_seen(
    network: Network, pd: Raw
) -> None:
    file, number = fresh_file(200), f"LIC-{secrets.token_hex(5)}"
    pushed = pd.push(file, meta_of(file, typeCode=LICENCE, documentNo=number, expiresOn=None), wait="final")
    path = f"/v1/receipts/{pushed.json()['materialId']}?open=expiresOn"
    receipt = parse_receipt(pd.get(path).content)
    opened = {each.name: each.value for each in receipt.opening.opened}
    assert parse_places(opened["documentSlots"]) == {each.place for each in receipt.status.documents}
    issuer = Raw(network, people.SH_SC)
    assert {each.member_id for each in receipt.status.documents} == {people.XH_MEMBER}
    act = {"typeCode": LICENCE, "documentNo": number, "reasonCode": 6, "reason": "test"}
    assert issuer.post("/v1/documents/revoke", act, wait="final").status_code == 202
    network.settle()
    revoked = parse_receipt(pd.get(path).content)
    assert decode_statuses(revoked.status)[1].flags is StatusFlag.REVOKED


def test_statement_of_a_batch_that_is_not_there_is_refused(pd: Raw) -> None:
    asked = {"memberId": 3, "commitment": "00" * 32, "batchId": 10**6, "documents": []}
    answer = pd.post("/v1/receipts/statements", asked)
    assert (answer.status_code, answer.json()["code"]) == (409, "receipt_pending")


def test_statement_is_made_by_a_node_that_does_not_hold_the_material(pd: Raw, materials: list[str]) -> None:
    shown = pd.get(f"/v1/receipts/{materials[0]}").json()
    receipt = parse_receipt(json.dumps(shown).encode())
    asked = {
        "memberId": receipt.member_id,
        "commitment": receipt.record[:32].hex(),
        "batchId": receipt.entry.id,
        "documents": [
            {name: value for name, value in each.items() if name != "value"}
            for each in shown["status"]["documents"]
        ],
    }
    for other in pd.others():
        assert other.post("/v1/receipts/statements", asked).json()["status"]["claim"] == "0x" + "00" * 32
