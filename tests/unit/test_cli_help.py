"""Help and reference pages: every command has examples and exit codes, and the pages say what the code says."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer

from cli import docs
from cli.exitcodes import ExitCode
from cli.main import build_app
from cli.settings import SETTINGS

TREE: Any = typer.main.get_command(build_app())
COMMANDS = dict(docs.walk_commands(TREE))
ASKED_FOR = {
    *(
        "hash",
        "push",
        "verify",
        "exemptions",
        "doctor",
        "alarms",
        "init",
        "serve",
        "demo",
        "completion",
        "version",
        "whoami",
        "api",
    ),
    *(f"material {verb}" for verb in ("list", "show", "get", "search", "revoke", "suspend", "resume")),
    *(f"material {verb}" for verb in ("erase", "erasure", "notices")),
    *("document revoke", "reuse request", "reuse show", "reuse get"),
    *(f"receipt {verb}" for verb in ("get", "refresh", "slip", "withdraw", "show", "check", "page")),
    "audit log",
    "audit settle",
    *(f"trust {verb}" for verb in ("export", "show", "step", "advance")),
    *(f"catalog {verb}" for verb in ("import", "get", "list", "put", "approve", "retire", "lint")),
    *(f"key {verb}" for verb in ("create", "list", "revoke", "member-generate")),
    *(
        f"chain {verb}"
        for verb in (
            "run",
            "genesis",
            "status",
            "members",
            "contracts",
            "deploy",
            "admit",
            "epoch",
            "signers",
            "approve",
        )
    ),
    *(f"store {verb}" for verb in ("verify", "backup", "restore", "migrate", "reindex")),
    *(f"config {verb}" for verb in ("list", "get", "path", "explain")),
}


def test_no_command_is_missing_and_none_is_undocumented() -> None:
    assert {name.removeprefix("deltaseal ") for name in COMMANDS} == ASKED_FOR


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_one_sentence_examples_and_exit_codes(name: str) -> None:
    text, mark, examples = str(COMMANDS[name].help).partition("\b\nExamples:\n")
    assert mark and text[0].isupper() and text.split("\n\n")[0].endswith(".")
    for line in examples.splitlines():
        assert line.strip().startswith(name), f"{line!r} is no example of {name}"
    codes = re.findall(r"^  (\d+) ", str(COMMANDS[name].epilog), flags=re.MULTILINE)
    assert {"0", "2", "130"} <= set(codes) <= {str(int(code)) for code in ExitCode}


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_accepted_by_the_parser(name: str) -> None:
    _, _, examples = str(COMMANDS[name].help).partition("\b\nExamples:\n")
    for line in examples.splitlines():
        words = shlex.split(line.partition(" > ")[0])[len(name.split()) :]
        with COMMANDS[name].make_context(name, words):
            pass  # Making the context parses every flag and argument.


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_says_what_it_is(name: str) -> None:
    for param in COMMANDS[name].params:
        assert param.help and param.help.endswith("."), f"{name} {param.name}"


def test_the_pages_are_up_to_date() -> None:
    assert docs.main(["--check"]) == 0, "run python -m cli.docs"


def test_every_command_flag_setting_and_code_stands_on_its_page() -> None:
    page = (docs.FOLDER / "cli.md").read_text("utf-8")
    for name, command in COMMANDS.items():
        assert f"### {name}\n" in page
        assert all(f"`{param.opts[0]}`" in page for param in command.params if param.opts[0].startswith("-"))
    assert all(f"| {int(code)} |" in page for code in ExitCode)
    settings = (docs.FOLDER / "settings.md").read_text("utf-8")
    assert all(f"`{each.name}` | `{each.env}`" in settings for each in SETTINGS.values())


def test_writing_the_settings_leaves_the_rest_of_the_page_alone() -> None:
    page = docs.render_settings("# Settings\n\n## Of a node\n\ntext\n")
    assert page.startswith("# Settings\n\n## Of a node\n\ntext\n")
    assert docs.render_settings(page) == page
    moved = docs.render_settings(page + "\n## After\n")
    assert moved.endswith("\n## After\n") and moved.count(docs.BEGIN) == 1
