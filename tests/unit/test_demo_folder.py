"""A user's folder through the job: what is found, and that no wrong answer of a node passes for a right one."""

import os
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli.demo import folder
from cli.demo.folder import FolderReport, play_folder
from cli.demo.stage import Released
from cli.errors import ApiProblem, InputMissing

VALID = {"verdict": "valid", "subjectMatch": "match"}
UNKNOWN = {"verdict": "unknown", "subjectMatch": "unchecked"}


class ScriptedStage:
    """Stands for the network: answers as an honest node would, unless a test bends one answer."""

    def __init__(self, *, limit: int = 1000) -> None:
        self.today = SimpleNamespace(isoformat=lambda: "2026-11-01")
        self.network = SimpleNamespace(client=lambda _agency: self, settle=lambda timeout_s: None)
        self.limit, self.cases = limit, count(1)
        self.pushed: dict[str, dict[str, Any]] = {}
        self.refused: set[str] = set()
        self.plain, self.turned = VALID, UNKNOWN
        self.released: Released | None = None

    def new_case(self, _agency: object) -> str:
        return f"CASE-{next(self.cases)}"

    def get(self, path: str) -> dict[str, Any]:
        return {"limits": {"maxFileBytes": self.limit}} if path == "/v1/info" else {"receipt": path}

    def push(self, meta: dict[str, Any], path: Path, *, file_name: str) -> dict[str, Any]:
        if path.name in self.refused:
            raise ApiProblem("material_invalid", status=422)
        self.pushed[meta["subjects"][0]["id"]] = meta
        return {"materialId": f"mat_{file_name}"}

    def post(self, _path: str, body: dict[str, Any], *, idempotency: bool) -> dict[str, Any]:
        known = {meta["sha256"] for meta in self.pushed.values()}
        questions: Sequence[dict[str, Any]] = body["items"]
        return {"items": [self.plain if each["sha256"] in known else self.turned for each in questions]}

    def reuse(self, _agency: object, wish: Any) -> Released:
        return self.released or Released("granted", "", "", 1, self.pushed[wish.subject.id]["sha256"])


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.txt").write_text("b")
    return tmp_path


@pytest.fixture(autouse=True)
def receipts_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "judge_receipt", lambda *_args, **_more: ("pass", ""))


def play(stage: ScriptedStage, files: Path) -> FolderReport:
    return play_folder(stage, files, parallel=2, on_progress=lambda *_: None)  # type: ignore[arg-type]


def test_honest_nodes_pass_every_file(files: Path) -> None:
    report = play(ScriptedStage(), files)
    assert report.passed
    assert (report.files, report.size_bytes, report.failures) == (2, 2, [])


def test_every_file_is_pushed_about_a_project_of_its_own(files: Path) -> None:
    (files / "twin.txt").write_text("a")
    stage = ScriptedStage()
    assert play(stage, files).passed
    assert len(stage.pushed) == 3


@pytest.mark.parametrize(
    "plain", [UNKNOWN, {**VALID, "subjectMatch": "mismatch"}, {**VALID, "verdict": "stale"}]
)
def test_file_that_is_not_found_valid_and_matching_fails(files: Path, plain: dict[str, str]) -> None:
    stage = ScriptedStage()
    stage.plain = plain
    report = play(stage, files)
    assert not report.passed
    assert report.verified == 0
    assert [why.split(":")[0] for _, why in report.failures] == ["verify", "verify"]


@pytest.mark.parametrize("verdict", ["valid", "stale", "revoked"])
def test_digest_with_a_bit_turned_must_be_unknown(files: Path, verdict: str) -> None:
    stage = ScriptedStage()
    stage.turned = {**VALID, "verdict": verdict}
    report = play(stage, files)
    assert not report.passed
    assert report.turned_unknown == 0
    assert ["bit turned" in why for _, why in report.failures] == [True, True]


@pytest.mark.parametrize(
    ("released", "why"),
    [
        (Released("granted", "", "", 1, "00" * 32), "other bytes"),
        (Released("granted", "", "", 1, ""), "other bytes"),
        (Released("denied", "status: revoked", "no", None), "denied"),
    ],
)
def test_reuse_without_exactly_the_same_bytes_fails(files: Path, released: Released, why: str) -> None:
    stage = ScriptedStage()
    stage.released = released
    report = play(stage, files)
    assert report.reused == 0
    assert all(why in text for _, text in report.failures)


def test_receipt_that_does_not_pass_fails(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "judge_receipt", lambda *_args, **_more: ("unproven", "status: x"))
    report = play(ScriptedStage(), files)
    assert not report.passed
    assert report.receipts == 0


def test_refused_file_is_reported_and_the_others_go_on(files: Path) -> None:
    stage = ScriptedStage()
    stage.refused = {"a.txt"}
    report = play(stage, files)
    assert report.failures == [(str(files / "a.txt"), "push: material_invalid")]
    assert (report.pushed, report.reused, report.passed) == (1, 1, False)


def test_links_devices_and_oversize_files_are_skipped_and_named(files: Path) -> None:
    (files / "big.bin").write_bytes(b"x" * 1001)
    (files / "link").symlink_to(files / "a.txt")
    os.mkfifo(files / "pipe")
    (files / "sub" / "loop").symlink_to(files, target_is_directory=True)
    report = play(ScriptedStage(), files)
    assert report.files == 2
    assert report.passed
    assert {Path(path).name: why for path, why in report.skipped} == {
        "big.bin": "larger than the node takes (1000 bytes)",
        "link": "no regular file",
        "pipe": "no regular file",
    }


@pytest.mark.parametrize("missing", ["empty", "nowhere"])
def test_folder_without_files_is_refused(tmp_path: Path, missing: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputMissing):
        play(ScriptedStage(), tmp_path / missing)
