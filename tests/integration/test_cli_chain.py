"""The council's commands and the receipt check against a real embedded chain."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from anchor.chain.contracts import encode_call, gas_for
from anchor.chain.deploy import Deployment, resolve, wait_mined
from anchor.chain.gateway import Gateway
from anchor.chain.stateproofs import header_of, read_proof
from anchor.commitments import commit, open_fields
from anchor.entries import BatchEntry
from anchor.envelopes import RecipientKey, epoch_info, open_
from anchor.headers import Engine
from anchor.merkle import root
from anchor.records import Stream, record_id
from anchor.signer import Signer
from anchor.slots import batch_slot, claim_slot, document_slot
from cli.council import active_recipients, pending_entries
from tests.integration.cli_node_factory import run_cli, start_cli
from tests.unit import receipt_factory as made
from verifier.catalog import entry_key
from verifier.receipts import ChainFacts, DocumentSlot, build_receipt, render_receipt

CHAIN_ID = 310099
MEMBER = made.MEMBER


@dataclass
class Council:
    """A chain with contracts deployed by the command line, and a member's own keys."""

    folder: Path
    rpc: str
    gateway: Gateway
    deployment: Deployment
    signer: Signer
    hpke: RecipientKey

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        facts = json.loads((self.folder / "chain.json").read_text())
        common = [
            *("--rpc", self.rpc, "--directory", facts["directory"], "--chain-id", str(CHAIN_ID)),
            *(
                "--council-key-file",
                "council.json",
                "--council-passphrase-file",
                "council.pass",
                "-o",
                "json",
            ),
        ]
        return run_cli(["chain", *arguments, *common], self.folder)

    def send(self, contract: str, function: str, *arguments: object) -> None:
        """Let the member itself call a contract."""
        calldata = encode_call(contract, function, *arguments)
        transaction = self.signer.sign_transaction(
            chain_id=CHAIN_ID,
            nonce=self.gateway.nonce(self.signer.address),
            to=self.deployment.address_of(contract),
            calldata=calldata,
            gas=gas_for(contract, function, calldata),
        )
        self.gateway.send_raw(transaction.raw)
        assert wait_mined(self.gateway, transaction).succeeded


@pytest.fixture(scope="module")
def council(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Council]:
    folder = tmp_path_factory.mktemp("council")
    argv = [*("-m", "node.chainserver", "--folder", str(folder / "chain"), "--port", "0", "--create")]
    with subprocess.Popen(
        [sys.executable, *argv, "--chain-id", str(CHAIN_ID)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        rpc = json.loads(process.stdout.readline())["rpc"]
        gateway = Gateway(rpc)
        try:
            yield _founded(folder, rpc, gateway)
        finally:
            gateway.close()
            process.terminate()


def _founded(folder: Path, rpc: str, gateway: Gateway) -> Council:
    (folder / "council.pass").write_text("correct horse\n")
    secret = ["--passphrase-file", "council.pass"]
    assert run_cli(["key", "member-generate", "--to", "council.json", *secret], folder).returncode == 0
    key = ["--council-key-file", "council.json", "--council-passphrase-file", "council.pass"]
    ended = run_cli(["chain", "deploy", "--rpc", rpc, *key, "--to", "chain.json"], folder)
    assert ended.returncode == 0, ended.stderr
    facts = json.loads((folder / "chain.json").read_text())
    directory = bytes.fromhex(facts["directory"][2:])
    deployment = resolve(gateway, directory, chain_id=CHAIN_ID, genesis=bytes.fromhex(facts["genesis"][2:]))
    council = Council(folder, rpc, gateway, deployment, Signer.generate(), RecipientKey.generate())
    line = {"address": "0x" + council.signer.address.hex(), "hpkeKey": council.hpke.public_bytes.hex()}
    (folder / "node.json").write_text(json.dumps(line))
    ended = council.run(
        *("admit", "--member-id", str(MEMBER), "--node-file", "node.json", "--agency", "12310115FAKE001287"),
        *("--name", "浦东新区(演示)", "--area", "310115", "--endpoint", "https://pd.example"),
    )
    assert ended.returncode == 0, ended.stderr
    return council


def test_deploying_again_does_not_overwrite_the_addresses(council: Council) -> None:
    arguments = [
        "chain",
        "deploy",
        "--rpc",
        council.rpc,
        "--to",
        "chain.json",
        "--council-key-file",
        "council.json",
    ]
    ended = run_cli([*arguments, "--council-passphrase-file", "council.pass"], council.folder)
    assert ended.returncode == 5 and "exists already" in ended.stderr


def test_an_admitted_member_is_active_and_its_id_is_taken(council: Council) -> None:
    assert active_recipients(council.gateway, council.deployment) == {MEMBER: council.hpke.public_bytes}
    again = council.run(
        *("admit", "--member-id", str(MEMBER), "--node-file", "node.json", "--agency", "12310115FAKE001287"),
        *("--name", "x", "--area", "310115", "--endpoint", "https://pd.example"),
    )
    assert again.returncode == 5 and "transaction_refused" in again.stderr


@pytest.mark.parametrize(
    "change",
    [
        ("--agency", "12310115FAKE001288"),
        ("--area", "3101"),
        ("--role", "king"),
        ("--node-file", "council.pass"),
    ],
)
def test_a_wrong_profile_is_refused_before_anything_is_sent(
    council: Council, change: tuple[str, str]
) -> None:
    given = {
        "--member-id": "9", "--node-file": "node.json", "--agency": "12310115FAKE001287", "--name": "x",
        "--area": "310115", "--endpoint": "https://pd.example", **dict([change]),
    }  # fmt: skip
    nonce = council.gateway.nonce(council.signer.address)
    ended = council.run("admit", *[part for pair in given.items() for part in pair])
    assert ended.returncode in (2, 6) and council.gateway.nonce(council.signer.address) == nonce


def test_an_epochs_secret_reaches_the_member_and_stays_with_the_council(council: Council) -> None:
    for number in ("0", None):
        chosen = ["--epoch", number] if number else []
        name = f"epoch{number or 1}.secret"
        ended = council.run("epoch", "--domain", "1", *chosen, "--secret-file", name)
        assert ended.returncode == 0, ended.stderr
        assert (council.folder / name).stat().st_mode & 0o777 == 0o600
    secret = bytes.fromhex((council.folder / "epoch1.secret").read_text())
    info = epoch_info(CHAIN_ID, council.deployment.directory, 1, 1, MEMBER)
    assert open_(council.hpke, info=info, sealed=_envelope(council, epoch=1)) == secret


def _envelope(council: Council, *, epoch: int) -> bytes:
    from anchor.chain.contracts import decode_event

    last = council.gateway.head().number
    for log in council.gateway.logs([council.deployment.members], first=0, last=last):
        name, values = decode_event("Members", log)
        if name == "EnvelopePublished" and values["epoch"] == epoch:
            return bytes(values["envelope"])
    raise AssertionError("no envelope was published")


def test_a_secret_is_not_made_up_for_a_single_member(council: Council) -> None:
    ended = council.run(
        "epoch", "--domain", "1", "--epoch", "1", "--secret-file", "none", "--member", str(MEMBER)
    )
    assert ended.returncode == 6 and not (council.folder / "none").exists()
    stranger = council.run("epoch", "--domain", "1", "--secret-file", "new", "--member", "99")
    assert stranger.returncode == 2 and not (council.folder / "new").exists()


def test_pending_entries_are_approved_and_approved_ones_left_alone(council: Council) -> None:
    names = [("materialType", 7, "M1001"), ("matter", 8, "990140400100")]
    publications = [{"kind": kind, "code": code, "version": 1, "text": b'{"a":1}'} for _, kind, code in names]
    council.send("Catalog", "publish", publications)
    assert {each.code for each in pending_entries(council.gateway, council.deployment)} == {
        "M1001",
        "990140400100",
    }
    ended = council.run("approve", "materialType/M1001@1")
    assert ended.returncode == 0 and "materialType/M1001@1" in ended.stdout
    assert [each.key for each in pending_entries(council.gateway, council.deployment)] == [
        entry_key("matter", "990140400100")
    ]
    assert council.run("approve", "--pending").returncode == 0
    assert not pending_entries(council.gateway, council.deployment)
    assert council.run("approve", "matter/990140400100@9").returncode == 5
    assert council.run("approve", "king/M1@1").returncode == 2


def test_a_wrong_passphrase_or_chain_is_refused(council: Council) -> None:
    (council.folder / "wrong.pass").write_text("wrong\n")
    facts = json.loads((council.folder / "chain.json").read_text())
    arguments = ["chain", "approve", "--pending", "--rpc", council.rpc, "--council-key-file", "council.json"]
    flags = ["--directory", facts["directory"], "--council-passphrase-file", "wrong.pass"]
    assert run_cli([*arguments, *flags, "--chain-id", str(CHAIN_ID)], council.folder).returncode == 4
    other = run_cli([*arguments, *flags, "--chain-id", "1"], council.folder)
    assert other.returncode == 6 and "chain_mismatch" in other.stderr


def test_a_receipt_is_proved_by_the_chains_word_until_it_is_revoked(council: Council) -> None:
    commitment, receipt = _appended(council)
    (council.folder / "receipt.json").write_text(json.dumps(receipt))
    check = ["receipt", "check", "receipt.json", "--trust", "chain.json", "-o", "json"]
    assert run_cli(check, council.folder).returncode == 11
    proved = run_cli([*check, "--rpc", council.rpc], council.folder)
    assert proved.returncode == 0, proved.stdout
    assert {each["outcome"] for each in json.loads(proved.stdout)["checks"]} == {"pass", "skipped"}
    council.send("Ledger", "revoke", MEMBER, commitment, 3)
    revoked = run_cli([*check, "--rpc", council.rpc], council.folder)
    assert revoked.returncode == 12 and "revoked" in revoked.stdout
    facts = json.loads((council.folder / "chain.json").read_text())
    (council.folder / "other.json").write_text(json.dumps({**facts, "ledger": facts["members"]}))
    other = run_cli([*check[:3], "--trust", "other.json", "--rpc", council.rpc], council.folder)
    assert other.returncode == 6 and "another Ledger" in other.stderr


def test_the_exported_anchor_of_an_operators_chain_names_no_signers(council: Council) -> None:
    facts = json.loads((council.folder / "chain.json").read_text())
    where = ["--rpc", council.rpc, "--directory", facts["directory"], "--chain-id", str(CHAIN_ID)]
    ended = run_cli(["trust", "export", *where, "--to", "trust.json"], council.folder)
    assert ended.returncode == 0, ended.stderr
    anchor = json.loads((council.folder / "trust.json").read_text())
    assert (anchor["ledger"], anchor["members"]) == (facts["ledger"], facts["members"])
    assert anchor["signerSets"] == []
    sealed = run_cli(["trust", "export", *where, "--engine", "clique", "--to", "s.json"], council.folder)
    assert sealed.returncode == 8 and "engine" in sealed.stderr


def _appended(council: Council) -> tuple[bytes, dict[str, Any]]:
    """Seal a record on the chain as the member, and build its receipt."""
    fields = {**made.FIELDS, "expiresOn": None, "issuedOn": None}
    commitment = commit(fields, made.SALT_KEY)
    record = made.sealed_record(commitment)
    council.send("Ledger", "append", 1, 0, record)
    block, ledger = council.gateway.head(), council.deployment.ledger
    entry = BatchEntry(0, MEMBER, Stream.MATERIAL, 0, 1, root([record_id(MEMBER, record)]), block.time)
    slots = [batch_slot(0), claim_slot(MEMBER, commitment), document_slot(MEMBER, 1, 1, made.DOC_TAG)]
    proof = read_proof(council.gateway, ledger, slots, block=block.number)
    receipt = build_receipt(
        chain=ChainFacts(CHAIN_ID, council.deployment.genesis, council.deployment.directory, ledger),
        finality="operator",
        opening=open_fields(fields, made.SALT_KEY, made.SHOWN),
        batch=[record],
        index=0,
        entry=entry,
        headers=[header_of(block, Engine.EMBEDDED)],
        nodes=proof.nodes,
        claim=proof.values[1],
        documents=[DocumentSlot(MEMBER, 1, 1, made.DOC_TAG, proof.values[2])],
    )
    return bytes(commitment), dict(render_receipt(receipt))


def test_doctor_sees_the_chain_and_a_wrong_directory(council: Council) -> None:
    facts = json.loads((council.folder / "chain.json").read_text())
    for directory, outcome in ((facts["directory"], "pass"), ("0x" + "11" * 20, "fail")):
        arguments = ["doctor", "--rpc", council.rpc, "--directory", directory, "-o", "json"]
        (council.folder / "deltaseal.toml").write_text(f"[cli]\nchain_id = {CHAIN_ID}\n")
        ended = run_cli([*arguments, "--url", "http://127.0.0.1:9"], council.folder)
        found = {each["part"]: each["outcome"] for each in json.loads(ended.stdout)}
        assert found["chain"] == outcome and ended.returncode == 8
    (council.folder / "deltaseal.toml").unlink()


def test_a_node_is_made_admitted_and_served_by_the_commands(council: Council) -> None:
    facts = json.loads((council.folder / "chain.json").read_text())
    chain = ["--rpc", council.rpc, "--directory", facts["directory"], "--chain-id", str(CHAIN_ID)]
    folder = ["--data-dir", "xuhui"]
    made_node = start_cli(
        ["init", *folder, *chain, "--agency", "12310104FAKE0011X9", "--port", "0"], council.folder
    )
    line, errors = made_node.communicate(timeout=120)
    assert made_node.returncode == 0, errors
    (council.folder / "xuhui.json").write_text(line)
    ended = council.run(
        *("admit", "--member-id", "2", "--node-file", "xuhui.json", "--agency", "12310104FAKE0011X9"),
        *("--name", "徐汇区(演示)", "--area", "310104", "--endpoint", "https://xh.example"),
    )
    assert ended.returncode == 0, ended.stderr
    served = start_cli(["serve", *folder, "--port", "0"], council.folder)
    assert served.stdout is not None
    try:
        ready = json.loads(served.stdout.readline())
        key = str(Path(json.loads(line)["adminKeyFile"]))
        who = run_cli(["whoami", "--url", ready["url"], "--api-key-file", key, "-o", "json"], council.folder)
        assert json.loads(who.stdout)["agency"] == "12310104FAKE0011X9", who.stderr
        # The command became the node: no process stands between a signal and it.
        assert ready["pid"] == served.pid
    finally:
        served.terminate()
        served.communicate(timeout=120)
    assert served.returncode == 0
    again = start_cli(["init", *folder, *chain, "--agency", "12310104FAKE0011X9"], council.folder)
    assert again.communicate(timeout=120) and again.returncode == 6


def test_a_folder_called_node_is_not_taken_for_the_program(tmp_path: Path) -> None:
    """Whoever stands in somebody else's folder must not run what lies there."""
    (tmp_path / "node").mkdir()
    for name in ("__init__.py", "chainserver.py"):
        (tmp_path / "node" / name).write_text("print('foreign code')\n")
    process = start_cli(["chain", "run", "--folder", "none"], tmp_path)
    out, err = process.communicate(timeout=120)
    assert "foreign" not in out + err and "chain_folder_missing" in out + err
    assert process.returncode != 0
