"""The wheel carries everything a node needs: it runs outside the checkout, with nothing of the checkout on its path."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from anchor.chain.engine import find_anvil

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the tree and unpack it into a folder of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    ignored = shutil.ignore_patterns(
        ".git",
        ".venv",
        "node_modules",
        "tests",
        "bench",
        "docs",
        "__pycache__",
        "*.egg-info",
        ".*_cache",
        "build",
    )
    shutil.copytree(ROOT, tree, ignore=ignored)
    build = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(folder / "dist"),
        str(tree),
    ]
    subprocess.run(build, check=True, capture_output=True, timeout=240)
    (wheel,) = (folder / "dist").glob("deltaseal-*.whl")
    target = folder / "site"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        str(target),
        str(wheel),
    ]
    subprocess.run(pip, check=True, capture_output=True, timeout=120)
    return target


def outside(installed: Path, *arguments: str, folder: Path) -> subprocess.Popen[str]:
    """Start Python with the unpacked wheel before everything else, in a folder that is no checkout."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": str(installed),
        "DELTASEAL_ANVIL": str(find_anvil()),
    }
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(installed: Path, *arguments: str, folder: Path) -> str:
    process = outside(installed, *arguments, folder=folder)
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return out


def test_the_modules_come_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    names = (
        "import anchor, cli, contracts, node, verifier; print(anchor.__file__, cli.__file__, node.__file__)"
    )
    assert all(
        path.startswith(str(installed)) for path in run(installed, "-c", names, folder=tmp_path).split()
    )


def test_artifacts_and_schemas_are_inside(installed: Path, tmp_path: Path) -> None:
    check = (
        "from contracts import load_artifact; assert load_artifact('Ledger').bytecode.startswith('0x60');"
        "from verifier.catalog import KIND_NUMBERS; from importlib import resources;"
        "assert all((resources.files('verifier') / 'schemas' / f'{k}.json').is_file() for k in KIND_NUMBERS)"
    )
    run(installed, "-c", check, folder=tmp_path)


def test_receipts_are_checked_and_the_page_is_written_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    vectors = ROOT / "tests" / "vectors" / "receipt"
    asked = ("--receipt", str(vectors / "valid-clique.json"), "--trust", str(vectors / "trust-clique.json"))
    at = ("--at", "2026-12-01T09:00:00+08:00", "-o", "jsonl")
    printed = run(installed, "-m", "cli", "verify", "--offline", *asked, *at, folder=tmp_path)
    assert json.loads(printed.splitlines()[-1])["verdict"] == "valid"
    run(installed, "-m", "cli", "receipt", "page", "--to", "verify.html", folder=tmp_path)
    page = ROOT / "verifier" / "browser" / "verify.html"
    assert (tmp_path / "verify.html").read_bytes() == page.read_bytes()


def test_a_node_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    made = run(
        installed,
        *("-m", "node", "init", "--embedded-chain", "--data-dir", "office"),
        *("--agency", "12310104FAKE0011X9", "--port", "0"),
        folder=tmp_path,
    )
    assert json.loads(made)["adminKeyFile"].endswith("admin.key")
    process = outside(installed, "-m", "node", "serve", "--data-dir", "office", folder=tmp_path)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert httpx.get(ready["url"] + "/v1/info", trust_env=False).json()["memberId"] in (None, 1)
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0
