"""The committed artifacts are what the sources compile to, and load from the package."""

import dataclasses
import subprocess
from pathlib import Path

import pytest

from contracts import ARTIFACT_NAMES, ArtifactNotFoundError, build, load_artifact


@pytest.fixture(scope="module")
def built() -> dict[Path, str]:
    return build.build()


def test_committed_files_are_what_the_sources_compile_to(built: dict[Path, str]) -> None:
    assert build.stale_files(built) == []


def test_check_names_a_file_that_differs(
    built: dict[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = {path: text + " " if path.name == "Ledger.json" else text for path, text in built.items()}
    monkeypatch.setattr(build, "build", lambda: changed)
    assert build.main(["--check"]) == 1
    printed = capsys.readouterr().err
    assert "contracts/artifacts/Ledger.json" in printed
    assert "Members.json" not in printed
    assert "hint:" in printed


def test_check_names_an_artifact_without_a_contract(built: dict[Path, str]) -> None:
    ledger = next(path for path in built if path.name == "Ledger.json")
    assert build.stale_files({path: text for path, text in built.items() if path != ledger}) == [ledger]


def test_check_passes_silently(
    built: dict[Path, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "build", lambda: built)
    assert build.main(["--check"]) == 0
    assert capsys.readouterr() == ("", "")


def test_a_missing_compiler_is_an_error_with_its_cause(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(build, "SOLC", tmp_path / "absent")
    assert build.main([]) == 1
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(
    ("file", "code", "accepted"),
    [
        ("contracts/Ledger.sol", "2072", False),
        ("contracts/Directory.sol", "6335", True),
        ("@openzeppelin/contracts/utils/Context.sol", "2072", True),
    ],
)
def test_a_warning_in_our_sources_fails_the_build(file: str, code: str, accepted: bool) -> None:
    finding = {"sourceLocation": {"file": file}, "errorCode": code, "formattedMessage": "Warning: unused"}
    if accepted:
        build._refuse_warnings([finding])
    else:
        with pytest.raises(build.BuildError, match="unused"):
            build._refuse_warnings([finding])


def test_an_unreadable_source_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "ARTIFACT_NAMES", ("Absent",))
    with pytest.raises(build.BuildError, match=r"contracts/Absent\.sol"):
        build.build()


def test_wrapper_refuses_what_it_does_not_know(built: dict[Path, str]) -> None:
    ran = subprocess.run([build.SOLC, "--bin"], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "--bin" in ran.stderr


@pytest.mark.parametrize("name", ARTIFACT_NAMES)
def test_artifacts_load_with_interface_and_code(name: str) -> None:
    artifact = load_artifact(name)
    assert artifact.name == name
    assert any(item["type"] == "error" for item in artifact.abi)
    deployed = bytes.fromhex(artifact.deployed_bytecode.removeprefix("0x"))
    assert len(bytes.fromhex(artifact.bytecode.removeprefix("0x"))) > len(deployed) > 0
    assert all(deployed[at : at + 32] == bytes(32) for at in artifact.immutable_offsets)


@pytest.mark.parametrize("name", ["", "Grants", "ledger", "../Ledger", "artifacts/Ledger"])
def test_an_unknown_artifact_is_refused(name: str) -> None:
    with pytest.raises(ArtifactNotFoundError):
        load_artifact(name)


def test_artifacts_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_artifact("Ledger").bytecode = "0x"  # type: ignore[misc]
