"""A node whose start is not as it should be says what, why and what next, and harms nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cli.demo import people
from cli.demo.network import Network


def node_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "node", *arguments]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(node_command(*arguments), capture_output=True, text=True, timeout=120, check=False)


def init(network: Network, folder: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    options = {
        "--data-dir": str(folder),
        "--chain-rpc": network.rpc,
        "--chain-id": str(network.deployment.chain_id),
        "--directory": "0x" + network.deployment.directory.hex(),
        "--agency": people.XH.uscc,
        "--port": "0",
        **changes,
    }
    return run("init", *[part for pair in options.items() for part in pair])


@pytest.fixture(scope="module")
def template(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template") / "node"
    made = init(network, folder)
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture
def folder(template: Path, tmp_path: Path) -> Path:
    """Return a node's folder of this test's own: a copy of one that was made and never started."""
    copied = tmp_path / "node"
    shutil.copytree(template, copied)
    change_setting(copied, "passphrase_file", str(copied / "passphrase"))
    return copied


def refused(folder: Path) -> tuple[int, str]:
    """Try to serve; return exit code and what was said."""
    tried = run("serve", "--data-dir", str(folder))
    assert "Traceback" not in tried.stderr
    assert "error:" in tried.stderr
    assert "hint:" in tried.stderr
    return tried.returncode, tried.stderr


def change_setting(folder: Path, name: str, value: object) -> None:
    path = folder / "deltaseal.toml"
    lines = [line for line in path.read_text().splitlines() if not line.startswith(f"{name} =")]
    path.write_text("\n".join([*lines, f"{name} = {json.dumps(value)}"]) + "\n")


def test_a_folder_that_holds_a_node_is_not_made_again(network: Network, folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    again = init(network, folder)
    assert again.returncode == 6
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_an_empty_folder_is_no_node(tmp_path: Path) -> None:
    code, said = refused(tmp_path)
    assert (code, "config_invalid" in said) == (6, True)


def test_a_second_process_on_one_folder_is_told_who_holds_it(folder: Path) -> None:
    first = subprocess.Popen(
        node_command("serve", "--data-dir", str(folder)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert first.stdout is not None
        assert json.loads(first.stdout.readline())["event"] == "ready"
        code, said = refused(folder)
        assert (code, "store_locked" in said) == (8, True)
        assert str(first.pid) in said
    finally:
        first.terminate()
        assert first.wait(60) == 0


@pytest.mark.parametrize(
    ("name", "value", "code", "word"),
    [
        ("chain_id", 1, 6, "chain_mismatch"),
        ("directory", "0x" + "12" * 20, 6, "chain_mismatch"),
        ("chain_rpc", "http://127.0.0.1:9", 8, "chain_unavailable"),
        ("colour", "red", 6, "config_invalid"),
        ("agencies", ["12310104FAKE0011X8"], 6, "config_invalid"),
        ("port", 70000, 6, "config_invalid"),
        ("passphrase_file", "/nowhere/passphrase", 6, "config_invalid"),
        ("engine", "magic", 6, "engine_missing"),
    ],
)
def test_a_wrong_setting_is_named(folder: Path, name: str, value: object, code: int, word: str) -> None:
    change_setting(folder, name, value)
    found, said = refused(folder)
    assert (found, word in said) == (code, True), said


def test_a_broken_settings_file_is_refused(folder: Path) -> None:
    (folder / "deltaseal.toml").write_text("name = [")
    assert refused(folder)[0] == 6


def test_a_wrong_passphrase_is_refused_and_not_shown(folder: Path) -> None:
    (folder / "passphrase").write_text("not the passphrase\n")
    code, said = refused(folder)
    assert (code, "passphrase_wrong" in said) == (6, True)
    assert "not the passphrase" not in said


def test_another_nodes_store_is_refused(network: Network, folder: Path, tmp_path: Path) -> None:
    assert init(network, tmp_path / "other").returncode == 0
    shutil.rmtree(folder / "store")
    shutil.copytree(tmp_path / "other" / "store", folder / "store")
    code, said = refused(folder)
    assert (code, "store_foreign" in said) == (6, True), said


def test_a_lost_current_file_is_damage_and_never_an_empty_store(folder: Path) -> None:
    (current,) = (folder / "store").rglob("CURRENT")
    tables = sorted(path.name for path in current.parent.iterdir() if path != current)
    current.unlink()
    code, said = refused(folder)
    assert (code, "store_damaged" in said) == (6, True), said
    assert sorted(path.name for path in current.parent.iterdir()) == tables


def test_a_missing_store_is_not_made_anew(folder: Path) -> None:
    shutil.rmtree(folder / "store")
    code, said = refused(folder)
    assert (code, "store_missing" in said) == (6, True)
    assert not (folder / "store").exists()


def test_the_deleted_index_is_made_again_from_the_chain(folder: Path) -> None:
    shutil.rmtree(folder / "index")
    process = subprocess.Popen(
        node_command("serve", "--data-dir", str(folder)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["event"] == "ready"
    finally:
        process.terminate()
        assert process.wait(60) == 0
