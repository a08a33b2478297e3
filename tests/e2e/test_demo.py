"""The demonstration, run once for real: every scene as it should be, and a folder through the job."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cli.demo.scenes import SCENES
from tests.e2e.demo_process import run_demo

# What people have in folders: names with spaces, quotes, line breaks and no UTF-8; nothing in a file; twins.
NAMES = (
    b"plain.txt",
    b"with space.pdf",
    b"quote\"'.json",
    b"line\nbreak.xml",
    b"-rf",
    b"\xff\xfe.bin",
    "合同(演示).ofd".encode(),
)


def make_folder(root: Path) -> Path:
    folder = root / "files"
    (folder / "sub" / "deeper").mkdir(parents=True)
    for number, name in enumerate(NAMES):
        place = os.fsencode(folder / "sub") if number % 2 else os.fsencode(folder)
        Path(os.fsdecode(place + b"/" + name)).write_bytes(name * (number * 997 + 1))
    (folder / "empty.txt").write_bytes(b"")
    (folder / "sub" / "deeper" / "twin.txt").write_bytes(b"plain.txt")
    (folder / "large.bin").write_bytes(bytes(range(256)) * 12_288)  # 3 MiB: several chunks
    (folder / "link").symlink_to(folder / "large.bin")
    return folder


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[subprocess.CompletedProcess[str], dict[str, Any], Path]:
    scratch = tmp_path_factory.mktemp("demo")
    files = make_folder(tmp_path_factory.mktemp("user"))
    done = run_demo("--json", "--scenes", "--files", str(files), scratch=scratch)
    assert done.stdout.strip(), done.stderr
    return done, json.loads(done.stdout), scratch


def test_every_line_is_as_it_should_be(run: tuple[Any, dict[str, Any], Path]) -> None:
    wrong = [line for line in run[1]["lines"] if not line["passed"]]
    assert wrong == []
    assert run[1]["passed"] is True
    assert run[0].returncode == 0


def test_every_scene_was_played(run: tuple[Any, dict[str, Any], Path]) -> None:
    assert list(dict.fromkeys(line["scene"] for line in run[1]["lines"])) == [
        scene.__name__ for scene in SCENES
    ]


def test_pushed_lines_name_the_block_of_their_record(run: tuple[Any, dict[str, Any], Path]) -> None:
    pushed = [line for line in run[1]["lines"] if line["got"] == "final"]
    assert pushed
    assert all(isinstance(line["block"], int) and line["block"] > 0 for line in pushed)


def test_files_of_any_name_came_through_every_step(run: tuple[Any, dict[str, Any], Path]) -> None:
    report = run[1]["files"]
    assert report["failures"] == []
    assert report["files"] == len(NAMES) + 3
    assert {
        report[name]
        for name in ("pushed", "verified", "turnedBitUnknown", "reusedWithSameBytes", "receiptsChecked")
    } == {report["files"]}
    assert [each["why"] for each in report["skipped"]] == ["no regular file"]


def test_nothing_is_left_behind(run: tuple[Any, dict[str, Any], Path]) -> None:
    assert list(run[2].iterdir()) == []


def test_no_id_number_reaches_the_output(run: tuple[Any, dict[str, Any], Path]) -> None:
    assert "310104185001" not in run[0].stdout + run[0].stderr


def test_folder_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    done = run_demo("--dir", str(tmp_path), scratch=tmp_path)
    assert done.returncode == 5
    assert "not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
