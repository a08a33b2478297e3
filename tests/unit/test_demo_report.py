"""What the demonstration says: a line that is not as it should be can never look like one that is."""

import io
import json
from collections.abc import Iterator

import pytest

from cli.demo import scenes
from cli.demo.errors import DemoPartFailed
from cli.demo.folder import FolderReport
from cli.demo.report import everything_passed, print_folder, print_lines, render_json
from cli.demo.scenes import Cast, Line, play
from cli.demo.stage import Stage

GOOD = Line("licence", "XH 徐汇", "reuses the licence", "granted", "granted", "all checks pass", 12)
BAD = Line("licence", "XH 徐汇", "reuses the licence", "granted", "denied", "status: revoked", 12)
WHOLE = FolderReport(files=2, pushed=2, verified=2, turned_unknown=2, reused=2, receipts=2)


def table_of(*lines: Line) -> str:
    sink = io.StringIO()
    print_lines(lines, sink)
    return sink.getvalue()


def test_line_passes_only_when_it_got_what_it_should() -> None:
    assert GOOD.passed
    assert not BAD.passed


def test_table_shows_who_what_outcome_why_and_block() -> None:
    shown = table_of(GOOD)
    assert all(
        word in shown for word in ("XH 徐汇", "reuses the licence", "granted", "all checks pass", "12", "✓")
    )


def test_table_marks_a_failed_line_and_says_what_should_have_come() -> None:
    shown = " ".join(table_of(BAD).split())
    assert "✗" in shown
    assert "denied (expected: granted)" in shown


def test_control_characters_of_a_name_are_escaped() -> None:
    shown = table_of(Line("x", "PD", "pushes \x1b[31mred\x07", "a", "a"))
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_json_is_one_line_with_every_row() -> None:
    text = render_json([GOOD, BAD], WHOLE, elapsed_s=1.0)
    assert "\n" not in text
    body = json.loads(text)
    assert [line["passed"] for line in body["lines"]] == [True, False]
    assert body["passed"] is False
    assert body["files"]["files"] == 2


def test_json_holds_names_that_are_no_utf8() -> None:
    report = FolderReport(failures=[("bad\udcff", "push: input_missing")])
    assert json.loads(render_json([], report, elapsed_s=0.0))["files"]["failures"][0]["path"] == "bad\udcff"


@pytest.mark.parametrize("count", ["pushed", "verified", "turned_unknown", "reused", "receipts"])
def test_one_file_short_in_any_step_is_no_pass(count: str) -> None:
    assert everything_passed([GOOD], WHOLE)
    short = FolderReport(files=2, pushed=2, verified=2, turned_unknown=2, reused=2, receipts=2)
    setattr(short, count, 1)
    assert not everything_passed([GOOD], short)


def test_empty_folder_is_no_pass() -> None:
    assert not FolderReport().passed


def test_folder_table_counts_files_and_shows_the_first_failures() -> None:
    sink = io.StringIO()
    report = FolderReport(files=20, pushed=8, failures=[(f"f{n}", "push: x") for n in range(12)])
    print_folder(report, sink)
    assert "8 of 20" in sink.getvalue()
    assert "f9" in sink.getvalue()
    assert "and 2 more" in sink.getvalue()


def _breaks(_stage: Stage, _cast: Cast) -> Iterator[Line]:
    """Play half of a scene."""
    yield GOOD
    raise DemoPartFailed("part pd: gone", hint="start it", part="pd")


def _misses(_stage: Stage, cast: Cast) -> Iterator[Line]:
    """Want a paper that nobody pushed."""
    yield Line("x", "PD", str(cast.held["nothing"]), "a", "a")


def _works(_stage: Stage, _cast: Cast) -> Iterator[Line]:
    """Come after the ones that break."""
    yield GOOD


def test_scene_that_breaks_is_a_failed_line_and_the_next_one_is_played(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scenes, "SCENES", (_breaks, _misses, _works))
    stage = Stage.__new__(Stage)  # no scene above touches it
    seen: list[Line] = []
    lines = play(stage, on_line=seen.append)
    assert [line.passed for line in lines] == [True, False, False, True]
    assert lines[1].got == "demo_part_failed"
    assert seen == lines


def test_every_scene_says_what_it_shows() -> None:
    assert all((scene.__doc__ or "").strip() for scene in scenes.SCENES)
    assert len({scene.__name__ for scene in scenes.SCENES}) == len(scenes.SCENES)
