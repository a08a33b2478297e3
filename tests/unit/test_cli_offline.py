"""Commands that need no node: hash, receipt check, catalog lint, config, completion, and how failures look."""

from __future__ import annotations

import hashlib
import json
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from tests.unit import receipt_factory as made
from tests.unit import sealed_chain_factory as sealed
from tests.unit import trust_factory as steps
from tests.unit.cli_runner import CommandLine, Ended
from verifier.browser import page
from verifier.receipts import StatusReading, render_receipt
from verifier.trust import render_step, render_trust

# What `chain deploy` writes: a chain without signers.
TRUST = {
    "chainId": made.CHAIN.chain_id,
    "genesis": "0x" + made.CHAIN.genesis.hex(),
    "directory": "0x" + made.CHAIN.directory.hex(),
    "ledger": "0x" + made.CHAIN.ledger.hex(),
}
KEY = "dsk_4j7kq2m4n6p8r0s2_" + "s" * 43


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> CommandLine:
    """Give the command line with a fresh home and working folder."""
    return CommandLine(tmp_path, monkeypatch, capfd)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every socket fail: what is called offline must not need one."""

    def refuse(*_arguments: Any, **_named: Any) -> None:
        raise AssertionError("a socket was opened offline")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


def test_hash_prints_both_digests_without_a_network(cli: CommandLine, no_network: None) -> None:
    (cli.work / "a.txt").write_bytes(b"abc")
    (row,) = json.loads(cli("hash", "a.txt", "-o", "json").out)
    assert row["sha256"] == hashlib.sha256(b"abc").hexdigest() and row["size"] == 3
    # GB/T 32905-2016, example 1.
    assert row["sm3"] == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
    assert cli("hash", "a.txt", "-o", "id").out.strip() == row["sha256"]


def test_hash_goes_into_folders_only_when_told(cli: CommandLine) -> None:
    (cli.work / "d").mkdir()
    (cli.work / "d" / "a").write_bytes(b"a")
    assert cli("hash", "d").code == 6
    ended = cli("hash", "d", "--recursive", "--no-sm3", "-o", "jsonl")
    assert ended.code == 0 and "sm3" not in json.loads(ended.out)


def test_a_missing_file_ends_with_3_and_says_so(cli: CommandLine) -> None:
    ended = cli("hash", "none.pdf")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith("error: none.pdf: there is no such file") and "\nhint: " in ended.err


def checked(
    cli: CommandLine, receipt: dict[str, Any], *more: str, trust: dict[str, Any] | None = None
) -> Ended:
    (cli.work / "receipt.json").write_text(json.dumps(receipt))
    (cli.work / "trust.json").write_text(json.dumps(render_trust(made.TRUST) if trust is None else trust))
    return cli(
        "verify", *more, "--offline", "--receipt", "receipt.json", "--trust", "trust.json", "-o", "json"
    )


def open_ended(reading: StatusReading | None = None, **how: Any) -> dict[str, Any]:
    """Give a receipt that does not expire."""
    fields = {**made.FIELDS, "expiresOn": None}
    return dict(json.loads(json.dumps(render_receipt(made.receipt(fields, reading=reading, **how)))))


def test_sealed_receipt_is_valid_as_of_its_block_without_a_network(
    cli: CommandLine, no_network: None
) -> None:
    ended = checked(cli, open_ended())
    said = json.loads(ended.out)
    assert (ended.code, said["verdict"], said["status"]["asOfBlock"]) == (0, "valid", 130)
    assert {each["outcome"] for each in said["checks"]} == {"pass", "skipped"}
    assert said["notProvedOffline"] == []
    assert "as of block 130" in ended.err


def test_receipt_check_says_the_same(cli: CommandLine, no_network: None) -> None:
    first = checked(cli, open_ended())
    ended = cli("receipt", "check", "receipt.json", "--trust", "trust.json", "-o", "json")
    assert (ended.code, ended.out) == (first.code, first.out)


def test_receipt_of_an_operators_chain_is_not_called_proved_offline(
    cli: CommandLine, no_network: None
) -> None:
    ended = checked(cli, open_ended(finality="operator"), trust=TRUST)
    said = json.loads(ended.out)
    assert (ended.code, said["verdict"]) == (11, "unproven")
    assert said["notProvedOffline"] == ["block_finality"] and "not proved offline" in ended.err


@pytest.mark.parametrize(("seconds", "code", "verdict"), [(0, 0, "valid"), (1, 11, "stale")])
def test_block_older_than_allowed_ends_with_11(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, seconds: int, code: int, verdict: str
) -> None:
    now = datetime.fromtimestamp(made.AS_OF + 60 + seconds, UTC)
    monkeypatch.setattr("cli.commands.verify.now", lambda: now)
    ended = checked(cli, open_ended(), "--max-age", "60")
    assert (ended.code, json.loads(ended.out)["verdict"]) == (code, verdict)


def test_receipt_sealed_by_too_few_ends_with_10(cli: CommandLine) -> None:
    assert checked(cli, open_ended(sealers=sealed.KEYS[:3])).code == 10


@pytest.mark.parametrize(
    "arguments",
    [
        ["--offline"],
        ["--offline", "--receipt", "receipt.json"],
        ["a.pdf", "b.pdf", "--offline", "--receipt", "receipt.json", "--trust", "trust.json"],
        ["--offline", "--receipt", "receipt.json", "--trust", "trust.json", "--type", "M1001"],
        ["a.pdf", "--trust", "trust.json"],
    ],
)
def test_offline_needs_a_receipt_and_a_trust_anchor_and_no_more(
    cli: CommandLine, arguments: list[str]
) -> None:
    checked(cli, open_ended())
    assert cli("verify", *arguments).code == 2


def test_trust_advances_by_a_step_and_then_proves_what_the_new_signers_sealed(
    cli: CommandLine, no_network: None
) -> None:
    later = open_ended(made.status(as_of_block=200), sealers=steps.NEW_KEYS[:4])
    assert checked(cli, later).code == 10
    (cli.work / "step.json").write_text(json.dumps(render_step(steps.step())))
    assert cli("trust", "advance", "trust.json", "step.json", "--to", "newer.json").code == 0
    newer = json.loads((cli.work / "newer.json").read_text())
    for receipt in (later, open_ended()):
        assert checked(cli, receipt, trust=newer).code == 0
    shown = json.loads(cli("trust", "show", "newer.json", "-o", "json").out)
    assert [each["fromBlock"] for each in shown["signerSets"]] == [0, 200]


def test_step_that_proves_nothing_writes_no_anchor(cli: CommandLine) -> None:
    checked(cli, open_ended())
    (cli.work / "step.json").write_text(json.dumps(render_step(steps.step(sealers=sealed.KEYS[:3]))))
    ended = cli("trust", "advance", "trust.json", "step.json", "--to", "newer.json")
    assert ended.code == 10 and not (cli.work / "newer.json").exists()


@pytest.mark.parametrize("place", ["record", "opening", "inclusion", "entry"])
def test_an_altered_receipt_ends_with_10(cli: CommandLine, place: str) -> None:
    receipt = open_ended()
    if place == "record":
        receipt["record"] = ("B" if receipt["record"][0] != "B" else "C") + receipt["record"][1:]
    elif place == "opening":
        receipt["opening"]["opened"][0]["value"] = "altered"
    elif place == "inclusion":
        receipt["inclusion"]["index"] = 1
    else:
        receipt["entry"]["root"] = "A" * 43
    assert checked(cli, receipt).code == 10


def test_a_receipt_of_another_chain_ends_with_10(cli: CommandLine) -> None:
    assert checked(cli, open_ended(), trust={**render_trust(made.TRUST), "chainId": 1}).code == 10


def test_a_revoked_or_expired_receipt_ends_with_12(cli: CommandLine) -> None:
    from anchor.entries import StatusFlag

    assert checked(cli, open_ended(made.status(made.flagged(StatusFlag.REVOKED)))).code == 12
    expired = render_receipt(
        made.receipt({**made.FIELDS, "issuedOn": "2020-01-01", "expiresOn": "2020-02-01"})
    )
    assert checked(cli, expired).code == 12


def test_the_wrong_file_ends_with_10(cli: CommandLine) -> None:
    (cli.work / "a.pdf").write_bytes(b"another document")
    ended = checked(cli, open_ended(), "a.pdf")
    assert ended.code == 10 and json.loads(ended.out)["checks"][-1]["detail"] == "other_bytes"


def test_a_receipt_needs_a_chain_to_trust(cli: CommandLine) -> None:
    (cli.work / "receipt.json").write_text(json.dumps(open_ended()))
    ended = cli("receipt", "check", "receipt.json")
    assert ended.code == 2 and "trust beforehand" in ended.err


def test_the_answer_of_chain_status_is_a_trust_file(cli: CommandLine) -> None:
    status = {**{k: v for k, v in TRUST.items() if k != "ledger"}, "contracts": {"ledger": TRUST["ledger"]}}
    assert checked(cli, open_ended(finality="operator"), trust={**status, "head": {"number": 3}}).code == 11


@pytest.mark.parametrize(
    "trust", [{}, {**TRUST, "genesis": "0x12"}, {**TRUST, "chainId": True}, [], {**TRUST, "ledger": None}]
)
def test_a_wrong_trust_file_is_refused(cli: CommandLine, trust: Any) -> None:
    assert checked(cli, open_ended(), trust=trust).code == 6


def test_page_for_the_browser_is_written_as_the_package_has_it(cli: CommandLine, no_network: None) -> None:
    assert cli("receipt", "page", "--to", "verify.html").code == 0
    assert (cli.work / "verify.html").read_bytes() == page()
    assert cli("receipt", "page", "--to", "verify.html").code == 5


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[" * 100, b'{"format":"deltaseal-receipt/9"}'])
def test_what_is_no_receipt_proves_nothing(cli: CommandLine, no_network: None, content: bytes) -> None:
    checked(cli, open_ended())
    (cli.work / "receipt.json").write_bytes(content)
    ended = cli("verify", "--offline", "--receipt", "receipt.json", "--trust", "trust.json", "-o", "json")
    said = json.loads(ended.out)
    assert (ended.code, said["verdict"]) == (10, "proof_invalid")
    assert said["checks"] == [{"code": "receipt", "outcome": "fail", "detail": "receipt_malformed"}]
    assert "receipt" in ended.err


def test_subject_expected_comes_from_a_file_and_is_checked_itself(cli: CommandLine) -> None:
    person = {"idType": "001", "id": "91310115FAKE010322", "role": "holder"}
    fields = {**made.FIELDS, "expiresOn": None, "subjects": [person]}
    opened = dict(render_receipt(made.receipt(fields, shown=("documentSlots", "expiresOn", "subjects"))))
    for line, code in (("001:91310115FAKE010322", 0), ("001:12310000FAKE00056H", 10)):
        (cli.work / "who").write_text(line + "\n")
        assert checked(cli, opened, "--expect-subject", "@who").code == code
    ended = checked(cli, opened, "--expect-subject", "001:1")
    assert (ended.code, ended.out) == (2, "") and "--expect-subject" in ended.err


@pytest.mark.parametrize("flag", ["--at=2026-12-01T09:00:00", "--at=tomorrow"])
def test_time_without_a_zone_is_refused(cli: CommandLine, flag: str) -> None:
    assert checked(cli, open_ended(), flag).code == 2


@pytest.mark.parametrize("flag", ["--expect-type=M1001", "--expect-issuer=1", "--at=2026-12-01T09:00:00Z"])
def test_expectations_belong_to_offline(cli: CommandLine, flag: str) -> None:
    assert cli("verify", "--sha256", "00" * 32, flag).code == 2


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[" * 100, b'{"format":"deltaseal-receipt/9"}'])
def test_what_is_no_receipt_is_refused(cli: CommandLine, content: bytes) -> None:
    (cli.work / "r.json").write_bytes(content)
    assert cli("receipt", "show", "r.json").code == 6


def test_receipt_show_proves_nothing_and_says_so(cli: CommandLine) -> None:
    (cli.work / "r.json").write_text(json.dumps(open_ended()))
    ended = cli("receipt", "show", "r.json")
    assert ended.code == 0 and "typeCode" in ended.out and "proved" in ended.err


DUTY = {"kind": "duty", "code": "DY-310000-SCJG-0007", "entry": {"nonsense": True}}


def test_lint_names_line_place_and_problem(cli: CommandLine, no_network: None) -> None:
    (cli.work / "e.jsonl").write_text("\n" + json.dumps(DUTY) + "\n" + "not json\n")
    ended = cli("catalog", "lint", "e.jsonl", "-o", "json")
    found = json.loads(ended.out)
    assert ended.code == 6 and {each["line"] for each in found} == {2, 3}
    assert found[-1]["problem"] == "not_strict_json"


def test_lint_sees_an_entry_that_is_there_twice(cli: CommandLine) -> None:
    (cli.work / "e.jsonl").write_text(json.dumps(DUTY) + "\n" + json.dumps(DUTY) + "\n")
    found = json.loads(cli("catalog", "lint", "e.jsonl", "-o", "json").out)
    assert "repeats_line_1" in [each["problem"] for each in found]


def test_config_says_where_a_value_comes_from(cli: CommandLine) -> None:
    (cli.work / "deltaseal.toml").write_text('[cli]\nurl = "http://project"\n')
    rows = json.loads(cli("config", "explain", "url", "-o", "json").out)
    assert [row["source"] for row in rows] == ["project", "default"]
    assert cli("config", "get", "url", "--url", "http://flag").out == "http://flag\n"
    assert cli("config", "explain", "colour").code == 2
    assert "project" in cli("config", "path").out
    assert "http://project" in cli("config", "list", "-o", "csv").out


def test_flags_before_and_behind_the_command_mean_the_same(cli: CommandLine) -> None:
    assert cli("--url", "http://before", "config", "get", "url").out == "http://before\n"
    assert (
        cli("--url", "http://before", "config", "get", "url", "--url", "http://behind").out
        == "http://behind\n"
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_calls_the_command(cli: CommandLine, shell: str) -> None:
    ended = cli("completion", shell)
    assert ended.code == 0 and f"complete_{shell}" in ended.out
    assert cli("completion", "cmd").code == 2


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["push", "--nonsense"], ["verify"], ["push", "a", "--list", "b"], ["hash"], ["receipt"]],
)
def test_wrong_usage_ends_with_2(cli: CommandLine, arguments: list[str]) -> None:
    ended = cli(*arguments)
    assert ended.code == 2 and ended.out == ""


def test_a_mistyped_command_gets_a_suggestion(cli: CommandLine) -> None:
    assert "'push'" in cli("pusj").err


def test_a_key_on_the_command_line_ends_with_2_and_is_not_repeated(cli: CommandLine) -> None:
    ended = cli("whoami", "--api-key-file", KEY)
    assert ended.code == 2 and KEY not in ended.err + ended.out and "revoke that key" in ended.err


def test_a_wrong_subject_is_never_repeated(cli: CommandLine) -> None:
    ended = cli("verify", "--sha256", "ab" * 32, "--subject", "111:310104185001010015")
    assert ended.code == 2 and "310104" not in ended.err


def test_no_node_ends_with_8(cli: CommandLine) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    ended = cli("api", "GET", "/v1/info", "--url", url)
    assert ended.code == 8 and "cannot be reached" in ended.err and "doctor" in ended.err


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:8400", "http://", "http://u:p@x", "http://x/?q=1"])
def test_an_address_that_is_none_ends_with_6(cli: CommandLine, url: str) -> None:
    assert cli("api", "GET", "/v1/info", "--url", url).code == 6


def test_ctrl_c_ends_with_130(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cli.commands.hashes.walk", interrupt)
    ended = cli("hash", ".", "-r")
    assert ended.code == 130 and "Traceback" not in ended.err


def test_an_unexpected_fault_names_its_type_and_shows_nothing_else(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any) -> None:
        raise RuntimeError("310104185001010014")

    monkeypatch.setattr("cli.commands.hashes.walk", fail)
    ended = cli("hash", ".", "-r")
    assert (
        ended.code == 1
        and "RuntimeError" in ended.err
        and "310104" not in ended.err
        and "Traceback" not in ended.err
    )


def test_a_member_key_is_made_once_and_is_encrypted(cli: CommandLine) -> None:
    (cli.work / "pass").write_text("correct horse\n")
    arguments = ("key", "member-generate", "--to", "k.json", "--passphrase-file", "pass", "-o", "json")
    ended = cli(*arguments)
    assert ended.code == 0 and json.loads(ended.out)["address"].startswith("0x")
    assert (cli.work / "k.json").stat().st_mode & 0o777 == 0o600
    assert "crypto" in json.loads((cli.work / "k.json").read_text())
    assert cli(*arguments).code == 5


def test_version_needs_nothing_heavy() -> None:
    import subprocess
    import sys

    program = (
        "import sys; from cli.main import run; run(['version']);"
        "print([name for name in ('web3', 'eth_account', 'fastapi', 'plyvel', 'reportlab') if name in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.splitlines()[-1] == "[]"


def test_run_gives_numbers_and_not_exceptions() -> None:
    assert run(["--help"]) == 0
