"""Processes of the demonstration: real child processes, started, killed, started again and stopped."""

import os
import sys
from pathlib import Path

import pytest

from cli.demo.errors import DemoPartFailed
from cli.demo.parts import Part, python_argv, run_once

READY = 'import sys, time; print(\'{"event": "ready", "url": "x"}\', flush=True); time.sleep(60)'


def part(tmp_path: Path, program: str, name: str = "unit") -> Part:
    return Part(name, [sys.executable, "-c", program], logs=tmp_path, fix="run the doctor")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_ready_line_is_returned_and_stop_ends_the_process(tmp_path: Path) -> None:
    unit = part(tmp_path, READY)
    unit.start()
    assert unit.wait_line()["event"] == "ready"
    assert unit.running
    unit.stop()
    assert not alive(unit.pid)


def test_killed_part_starts_again_and_its_second_line_is_read(tmp_path: Path) -> None:
    unit = part(tmp_path, f"import os; print('{{\"pid\": %d}}' % os.getpid(), flush=True)\n{READY}")
    unit.start()
    first = unit.wait_line()["pid"]
    unit.kill()
    unit.start()
    second = unit.wait_line()["pid"]
    unit.stop()
    assert first != second == unit.pid


def test_part_that_ends_names_itself_its_last_log_lines_and_the_fix(tmp_path: Path) -> None:
    unit = part(tmp_path, "import sys; print('the port is taken', file=sys.stderr); sys.exit(3)")
    unit.start()
    with pytest.raises(DemoPartFailed) as caught:
        unit.wait_line()
    assert "part unit" in str(caught.value)
    assert "exit code 3" in str(caught.value)
    assert caught.value.log_lines == ("the port is taken",)
    assert caught.value.hint == "run the doctor"


def test_silent_part_fails_within_its_bound(tmp_path: Path) -> None:
    unit = part(tmp_path, "import time; time.sleep(60)")
    unit.start()
    with pytest.raises(DemoPartFailed, match="no line of readiness"):
        unit.wait_line(timeout_s=0.3)
    unit.stop()


def test_half_a_line_is_not_taken_for_the_answer(tmp_path: Path) -> None:
    unit = part(tmp_path, "import time; print('{\"event\":', end='', flush=True); time.sleep(60)")
    unit.start()
    with pytest.raises(DemoPartFailed):
        unit.wait_line(timeout_s=0.5)
    unit.stop()


def test_part_that_ignores_sigterm_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.demo.parts.STOP_TIMEOUT_S", 0.5)
    unit = part(tmp_path, f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n{READY}")
    unit.start()
    unit.wait_line()
    unit.stop()
    assert not alive(unit.pid)


def test_one_time_process_gives_its_answer_or_its_failure(tmp_path: Path) -> None:
    good = run_once("good", [sys.executable, "-c", "print('{\"made\": 1}')"], logs=tmp_path, fix="x")
    assert good.wait_end() == {"made": 1}
    bad = run_once("bad", [sys.executable, "-c", "raise SystemExit(6)"], logs=tmp_path, fix="x")
    with pytest.raises(DemoPartFailed, match="exit code 6"):
        bad.wait_end()


def test_program_that_does_not_exist_is_a_failure_of_its_part(tmp_path: Path) -> None:
    unit = Part("ghost", [str(tmp_path / "no-such-program")], logs=tmp_path, fix="x")
    with pytest.raises(DemoPartFailed, match="part ghost"):
        unit.start()


def test_part_ends_when_the_demonstration_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from cli.demo.parts import Part\n"
        f"unit = Part('child', [sys.executable, '-c', {READY!r}], logs=Path({str(tmp_path)!r}), fix='x')\n"
        "unit.start(); unit.wait_line(); print('{\"child\": %d}' % unit.pid, flush=True); time.sleep(60)"
    )
    parent = part(tmp_path, program, name="parent")
    parent.start()
    child = parent.wait_line()["child"]
    assert alive(child)
    parent.kill()
    waiter = part(tmp_path, "import time; time.sleep(60)", name="waiter")
    waiter.start()
    waiter.wait_for(lambda: None if _runs(child) else True, "the child lives on", timeout_s=20)
    waiter.stop()


def _runs(pid: int) -> bool:
    """Say whether a process runs; one that waits for its new parent to take note of its end does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_settings_of_the_users_own_node_do_not_reach_a_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DELTASEAL_NODE_PORT", "1")
    unit = part(tmp_path, "import json, os; print(json.dumps({'names': sorted(os.environ)}))")
    unit.start()
    assert "DELTASEAL_NODE_PORT" not in unit.wait_end()["names"]


def test_a_file_in_the_working_folder_cannot_stand_in_for_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong module')")
    monkeypatch.chdir(tmp_path)
    unit = run_once("tool", python_argv("json.tool", "--help"), logs=tmp_path, fix="x")
    unit.wait_for(lambda: None if unit.running else True, "it did not end")
    assert "-P" in unit.argv
    assert "wrong module" not in (tmp_path / "tool.log").read_text()
