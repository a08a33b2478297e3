"""Genesis blocks and configurations of a chain of several signers."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from jsonschema import Draft202012Validator

from anchor.chain.genesis import GAS_LIMIT, clique_extra, qbft_extra, render_genesis
from anchor.errors import HeaderMalformed
from anchor.headers import Engine, encode_header, genesis_signers
from cli.consortium.folder import SignerPlace, write_network
from cli.consortium.planning import plan_chain
from cli.errors import ArgumentInvalid, OutputRefused

SIGNERS = [bytes([number]) * 20 for number in (9, 3, 7)]
SCHEMA = Path(__file__).with_name("besu_genesis.schema.json")
# Besu's documentation, "Configure QBFT consensus", example genesis file with four validators.
BESU_VALIDATORS = (
    "64a702e6263b7297a96638cac6ae65e6541f4169",
    "3923390ad55e90c237593b3b0e401f3b08a03185",
    "aefdb9a738c9f433e5b6b212a6d62f6370c2f692",
    "c7eeb9a4e00ce683cf93039b212648e01c6c6b78",
)
BESU_EXTRA = (
    "f87aa00000000000000000000000000000000000000000000000000000000000000000f854"
    + "".join("94" + each for each in BESU_VALIDATORS)
    + "c080c0"
)


def _genesis(engine: Engine) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(render_genesis(engine, SIGNERS, chain_id=310_000, time=1_700_000_000))
    return found


def _header_extra(extra: bytes) -> Any:
    """Return a genesis header with this extra data."""
    fixed = [bytes(32), bytes(32), bytes(20), bytes(32), bytes(32), bytes(32), bytes(256)]
    return encode_header([*fixed, b"\x01", b"", b"\x01", b"", b"\x01", extra, bytes(32), bytes(8)])


@pytest.mark.parametrize("engine", [Engine.CLIQUE, Engine.QBFT])
def test_genesis_names_the_signers_that_the_finality_rule_reads(engine: Engine) -> None:
    header = _header_extra(bytes.fromhex(_genesis(engine)["extraData"][2:]))
    assert genesis_signers(header, engine) == tuple(sorted(SIGNERS))


def test_qbft_extra_is_that_of_the_published_example() -> None:
    assert qbft_extra([bytes.fromhex(each) for each in BESU_VALIDATORS]).hex() == BESU_EXTRA


def test_clique_extra_has_vanity_signers_and_room_for_a_seal() -> None:
    assert clique_extra(SIGNERS) == bytes(32) + b"".join(SIGNERS) + bytes(65)


@pytest.mark.parametrize("engine", [Engine.CLIQUE, Engine.QBFT])
def test_chain_stays_under_the_berlin_rules_and_nobody_owns_anything(engine: Engine) -> None:
    genesis = _genesis(engine)
    rules = genesis["config"]
    assert rules["berlinBlock"] == 0 and rules["chainId"] == 310_000
    assert not {"londonBlock", "terminalTotalDifficulty", "shanghaiTime"} & set(rules)
    assert genesis["alloc"] == {} and int(genesis["gasLimit"], 16) == GAS_LIMIT


def test_qbft_genesis_fits_the_schema_and_a_changed_one_does_not() -> None:
    validator = Draft202012Validator(json.loads(SCHEMA.read_text()))
    genesis = _genesis(Engine.QBFT)
    assert list(validator.iter_errors(genesis)) == []
    for change in (
        {"mixHash": "0x" + "00" * 32},
        {"difficulty": "0x2"},
        {"extraData": "0x"},
        {"config": {**genesis["config"], "londonBlock": 0}},
        {"config": {name: value for name, value in genesis["config"].items() if name != "qbft"}},
    ):
        assert list(validator.iter_errors({**genesis, **change})), change


@pytest.mark.parametrize(
    ("engine", "signers"),
    [
        (Engine.CLIQUE, []),
        (Engine.CLIQUE, [*SIGNERS, SIGNERS[0]]),
        (Engine.QBFT, [b"short"]),
        (Engine.QBFT, [number.to_bytes(20, "big") for number in range(65)]),
        (Engine.EMBEDDED, SIGNERS),
    ],
)
def test_no_genesis_without_a_set_of_signers(engine: Engine, signers: list[bytes]) -> None:
    with pytest.raises(HeaderMalformed):
        render_genesis(engine, signers, chain_id=1, time=1)


# The folder


def _places(count: int, host: str = "127.0.0.1") -> list[SignerPlace]:
    return [SignerPlace(host, 30_000 + 2 * number, 30_001 + 2 * number) for number in range(count)]


def test_clique_folder_holds_keys_that_open_and_peers_that_are_the_others(tmp_path: Path) -> None:
    made = write_network(tmp_path / "net", Engine.CLIQUE, _places(3), chain_id=5, time=1)
    enodes = {each.peer.enode for each in made}
    for each in made:
        keystore = json.loads((each.folder / "keystore" / "signer.json").read_text())
        key = Account.decrypt(keystore, (each.folder / "password").read_text().strip())
        assert Account.from_key(key).address.lower() == "0x" + each.peer.address.hex()
        config = tomllib.loads((each.folder / "config.toml").read_text())
        assert set(config["Node"]["P2P"]["StaticNodes"]) == enodes - {each.peer.enode}
        script = (each.folder / "start.sh").read_text()
        assert "--networkid 5 " in script and f"--miner.etherbase 0x{each.peer.address.hex()}" in script
        assert "--netrestrict 127.0.0.0/8" in script
        subprocess.run(["/bin/sh", "-n", str(each.folder / "start.sh")], check=True)
    listed = json.loads((tmp_path / "net" / "network.json").read_text())
    assert {each["enode"] for each in listed["signers"]} == enodes
    assert "keystore" not in json.dumps(listed)


def test_secrets_of_signers_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    for engine, names in (
        (Engine.CLIQUE, ("password", "nodekey", "keystore/signer.json")),
        (Engine.QBFT, ("key",)),
    ):
        made = write_network(tmp_path / engine.value, engine, _places(1), chain_id=5, time=1)
        for name in names:
            assert stat.S_IMODE(os.stat(made[0].folder / name).st_mode) == 0o600


def test_signers_on_several_machines_are_not_tied_to_the_loopback(tmp_path: Path) -> None:
    made = write_network(tmp_path / "net", Engine.CLIQUE, _places(1, "10.20.3.4"), chain_id=5, time=1)
    script = (made[0].folder / "start.sh").read_text()
    assert "--netrestrict" not in script
    assert "--http.addr 127.0.0.1" in script


def test_besu_validator_seals_with_the_key_its_peers_know_and_takes_price_zero(tmp_path: Path) -> None:
    made = write_network(tmp_path / "net", Engine.QBFT, _places(4), chain_id=5, time=1)
    enodes = [each.peer.enode for each in made]
    for each in made:
        key = (each.folder / "key").read_text()
        assert re.fullmatch("0x[0-9a-f]{64}", key)
        account = Account.from_key(key)
        assert account.address.lower() == "0x" + each.peer.address.hex()
        assert account._key_obj.public_key.to_bytes() == each.peer.public_key
        config = tomllib.loads((each.folder / "config.toml").read_text())
        assert (config["min-gas-price"], config["data-storage-format"]) == (0, "FOREST")
        allowed = tomllib.loads((each.folder / config["permissions-nodes-config-file"]).read_text())
        assert allowed["nodes-allowlist"] == enodes
        others = json.loads((each.folder / config["static-nodes-file"]).read_text())
        assert others == [enode for enode in enodes if enode != each.peer.enode]
        named = config["genesis-file"]
        assert (each.folder / named).read_text() == (tmp_path / "net" / "genesis.json").read_text()


def test_a_folder_that_holds_something_is_never_written_to(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(OutputRefused):
        write_network(tmp_path, Engine.CLIQUE, _places(1), chain_id=5, time=1)
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]


# What was asked for


def _plan(folder: Path, engine: str, signers: str, host: str = "127.0.0.1") -> list[dict[str, str]]:
    return plan_chain(engine, signers, folder, chain_id=5, period_s=2, host=host, port_base=30_000)


def test_addresses_give_the_genesis_alone(tmp_path: Path) -> None:
    names = ["0x" + each.hex() for each in SIGNERS]
    rows = _plan(tmp_path / "net", "clique", ",".join(names))
    assert [row["address"] for row in rows] == sorted(names)
    assert [each.name for each in (tmp_path / "net").iterdir()] == ["genesis.json"]


@pytest.mark.parametrize(
    ("engine", "signers", "host"),
    [
        ("embedded", "5", "127.0.0.1"),
        ("ethash", "5", "127.0.0.1"),
        ("clique", "4", "127.0.0.1"),
        ("clique", "0", "127.0.0.1"),
        ("clique", "65", "127.0.0.1"),
        ("clique", "five", "127.0.0.1"),
        ("clique", "0x12", "127.0.0.1"),
        ("clique", ",".join(["0x" + "ab" * 20] * 2), "127.0.0.1"),
        ("clique", "0x" + "ab" * 20 + ",0x" + "AB" * 20, "127.0.0.1"),
        ("clique", "5", "chain.example"),
        ("qbft", "3", "127.0.0.1"),
    ],
)
def test_what_makes_no_chain_is_refused_before_a_file_is_written(
    tmp_path: Path, engine: str, signers: str, host: str
) -> None:
    with pytest.raises(ArgumentInvalid):
        _plan(tmp_path / "net", engine, signers, host)
    assert not (tmp_path / "net").exists()
