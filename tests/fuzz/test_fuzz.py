"""No input makes a parser raise anything but its typed refusal, hang, swell, or take one thing for another.

The short run feeds each target some thousand inputs with a fixed seed; the full run a million (fewer where one input
takes a millisecond), with a seed that it prints, in a process of bounded memory; the guided run looks for inputs that
reach new code. What each did is listed at the end of the test run.
"""

from __future__ import annotations

import importlib.util
import json
import re
import secrets
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from anchor.errors import RecordMalformed
from tests.fuzz import mutator
from tests.fuzz.run import run
from tests.fuzz.targets import NAMES, Target, target

ROOT = Path(__file__).parents[2]
SLOW = (
    "envelope",
    "receipt",
    "trust_step",
    "catalogue_entry",
    "multipart",
    "push_list",
    "push_journal",
    "chain_journal",
)
SHORT, SHORT_SLOW = 4000, 1000
FULL, FULL_SLOW = 1_000_000, 100_000
GUIDED = (
    "opening",
    "rpc",
    "trust",
    "catalogue_entry",
    "release_request",
    "strict_json",
    "multipart",
    "push_list",
)
GUIDED_RUNS = 20_000
Note = Callable[[str, object], None]


@pytest.mark.parametrize("name", NAMES)
def test_some_thousand_inputs_meet_refusals_or_their_own_meaning(name: str, record_property: Note) -> None:
    found = run(target(name), count=SHORT_SLOW if name in SLOW else SHORT, seed=1)
    record_property("count", f"fuzz, {found.target}: {found.executions} inputs, {found.accepted} accepted")
    assert not found.failure, found.failure
    assert found.executions >= SHORT_SLOW
    assert found.accepted, "the golden inputs themselves were refused: nothing was tested"


@pytest.mark.full
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", NAMES)
def test_a_million_inputs_meet_refusals_or_their_own_meaning(name: str, record_property: Note) -> None:
    count, seed = FULL_SLOW if name in SLOW else FULL, secrets.randbelow(1 << 32)
    command = [sys.executable, "-m", "tests.fuzz.run", name, str(count), str(seed)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr[-2000:]
    found = json.loads(ended.stdout)
    record_property(
        "count",
        f"fuzz, {found['target']}: {found['executions']} inputs, {found['accepted']} accepted,"
        f" {found['seconds']} s, seed {seed}",
    )
    assert found["executions"] == count


@pytest.mark.full
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", GUIDED)
def test_inputs_that_are_led_to_new_code_find_nothing_either(name: str, record_property: Note) -> None:
    if importlib.util.find_spec("atheris") is None:
        warnings.warn("atheris is not built for this machine: the mutator alone has run", stacklevel=1)
        return
    command = [sys.executable, "-m", "tests.fuzz.guided", name, str(GUIDED_RUNS)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    done = re.search(r"Done (\d+) runs", ended.stderr)
    assert done is not None
    assert int(done[1]) == GUIDED_RUNS
    record_property("count", f"fuzz, guided, {name}: {done[1]} inputs")


# Controls: the machinery can fail


def never_right(content: bytes) -> bool:
    """A parser that breaks on one byte value."""
    if b"\x80" in content:
        raise ValueError("unexpected")
    raise RecordMalformed("refused")


def takes_one_for_another(content: bytes) -> bool:
    assert content == b"golden", "accepted with another meaning"
    return True


@pytest.mark.parametrize(
    ("parser", "message"),
    [(never_right, "ValueError"), (takes_one_for_another, "another meaning")],
    ids=["foreign exception", "altered meaning"],
)
def test_a_broken_parser_is_found_and_the_input_is_named(
    parser: Callable[[bytes], bool], message: str
) -> None:
    found = run(Target("broken", [b"golden"], parser), count=5000, seed=1)
    assert message in found.failure
    assert re.search(r"for [0-9a-f]* \(seed 1\)", found.failure)
    assert found.executions < 5000


def test_the_same_seed_gives_the_same_inputs() -> None:
    corpus = [b"golden", b'{"a":1}', bytes(100)]
    first, again = (list(mutator.inputs(corpus, count=500, seed=7)) for _ in range(2))
    assert first == again
    assert len(set(first)) > 300
    assert first != list(mutator.inputs(corpus, count=500, seed=8))
