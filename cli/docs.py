"""Writes docs/reference/cli.md and the command line's part of docs/reference/settings.md from the code.

Run `python -m cli.docs` after a change of a command, flag or setting; `--check` only compares, and a test
does so too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer

from cli.exitcodes import ERROR_EXITS, MEANINGS, OUTCOME_EXITS, VERDICT_EXITS, ExitCode
from cli.main import PROGRAM, build_app
from cli.session import COMMON
from cli.settings import SETTINGS, Setting

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
BEGIN = "<!-- begin: settings of the command line, written by `python -m cli.docs` -->"
END = "<!-- end: settings of the command line -->"

_INTRO = """\
# The `deltaseal` command

```console
$ deltaseal push licence.pdf --type M1001 --subject 001:91310115FAKE010322 --case PD-20261103-000001
$ deltaseal verify licence.pdf && echo "may be relied on"
```

This page is written by `python -m cli.docs` from the commands themselves; `deltaseal COMMAND --help` says the
same.

## Conventions

- Results go to stdout; notes, progress, warnings and errors go to stderr. An error is `error:` what and why,
  with its code in brackets, then `hint:` what to do next, then `request:` the node's name for the request.
  In Chinese a line with the error's title comes before them.
- `-o table|json|jsonl|csv|id` chooses the form of results. JSON carries the node's answer unchanged; tables
  and CSV carry columns; `id` prints one identifier a line for use in pipes. `NO_COLOR` is honoured.
- Names and titles are data: control characters in them are shown as escapes, markup in them is text.
- Keys and passphrases are read from files or asked for. One on the command line, in an environment variable
  or in a settings file is refused.
- Personal ids can be kept out of the process list and the shell's history: `--subject @FILE` reads lines
  `TYPE:ID[:ROLE]` from a file. Kinds: 001 unified social credit code, 111 citizen id, 900 project code.
- A GET and any request under an Idempotency-Key may be repeated without harm. `push` repeats a request that
  was cut off, and those answered with 429 or 503, under the same key.
- `DELTASEAL_TRACE=1` prints the trace of an unexpected fault (exit 1); it may hold personal data, read it before you
  pass it on.

## Pushing many files

`push` digests each file, sends it, and writes the node's answer to a journal before it counts as done. After
Ctrl-C (which lets the files in work finish), a crash or a kill, run the same command again: what the journal
has is left out, what was on its way is sent again under the same Idempotency-Key, and the node answers with
the material it holds already. The journal lies beside a list (`LIST.csv.journal`), else under `state_dir`;
`--journal` names another. It is removed when all is done, unless it was named. It holds no name and no id.

A list is a CSV file whose first line names its columns: `path`, `sha256`, `typeCode`, `subject`
(`TYPE:ID[:ROLE]`, several with `;`) or `idType`, `id` and `role`, `documentNo`, `caseNo`, `title`,
`issuedOn`, `expiresOn`, `fileName`, `replaces`. `--map COLUMN=FIELD` names others, `--map COLUMN=-` leaves
one out; a column that nobody explained is refused. Flags fill what a line leaves empty. A line needs a path
or a digest; with both, the file must have that digest. Paths count from the list's folder (or `--root`) and
may not leave it, not through a link either. Lines that are refused are written to `LIST.csv.rejects.csv` (or
`--rejects`) with the reason, as a list that can be corrected and pushed again.

With `-o jsonl` each item is reported as it ends, `{"type":"item",…}`, and the counts at the end,
`{"type":"summary",…}`.
"""


def render_cli() -> str:
    """Render docs/reference/cli.md."""
    tree: Any = typer.main.get_command(build_app())
    commands = "\n".join(_render_command(path, each) for path, each in walk_commands(tree))
    return "\n".join([_INTRO, _render_exits(), _render_common(), "## Commands\n", commands]).rstrip() + "\n"


def walk_commands(tree: Any, path: tuple[str, ...] = (PROGRAM,)) -> Iterator[tuple[str, Any]]:
    """Yield (full name, command) of every command, groups left out, in the order of the help."""
    for name, each in tree.commands.items():
        if hasattr(each, "commands"):
            yield from walk_commands(each, (*path, name))
        else:
            yield " ".join((*path, name)), each


def render_settings(page: str) -> str:
    """Put the command line's settings between their marks in `page`; the rest of the page is left alone."""
    part = "\n".join([BEGIN, *_settings_lines(), END])
    if BEGIN not in page or END not in page:
        return (page.rstrip() + "\n\n" if page.strip() else "") + part + "\n"
    before, _, rest = page.partition(BEGIN)
    return before + part + rest.partition(END)[2]


def _settings_lines() -> list[str]:
    rows = [
        (f"`{each.name}`", f"`{each.env}`", _default(each), each.help + _choices(each))
        for each in SETTINGS.values()
    ]
    return [
        "## Settings of the command line",
        "",
        "Flag > environment variable > the nearest `deltaseal.toml` upwards that has a `[cli]` table > the",
        "user's `config.toml` > the system's > default. `deltaseal config path` says where the files are,",
        "`config explain KEY` where a value comes from. Paths in a file count from the file's folder.",
        "",
        "```toml",
        "[cli]",
        'url = "https://node.xh.example:8400"',
        'api_key_file = "~/.config/deltaseal/window.key"',
        "",
        "[cli.profiles.pudong]",
        'url = "https://node.pd.example:8400"',
        'api_key_file = "~/.config/deltaseal/pudong.key"',
        "```",
        "",
        "An unknown name, a value of the wrong kind and a secret (`api_key`, `passphrase`, a text that",
        "begins like a key) are refused. A key that a user or system file names is not sent to an address",
        "that a project file names: whoever wrote that file would receive it.",
        "",
        *_table(("setting", "variable", "default", "meaning"), rows),
        "",
    ]


def _default(setting: Setting) -> str:
    return "" if setting.default is None else f"`{setting.default}`"


def _choices(setting: Setting) -> str:
    return f" ({', '.join(setting.choices)})" if setting.choices else ""


def _render_exits() -> str:
    rows = []
    for code in ExitCode:
        words = [
            word for table in (VERDICT_EXITS, OUTCOME_EXITS, ERROR_EXITS) for word in _words(table, code)
        ]
        rows.append((str(int(code)), MEANINGS[code], ", ".join(f"`{word}`" for word in words)))
    text = (
        "## Exit codes\n\nA number that is not in this table counts as a failure. Of several answers the gravest\n"
        "decides. A problem code of the node that is not listed is judged by its HTTP status.\n"
    )
    return "\n".join([text, *_table(("exit", "meaning", "verdicts, outcomes and error codes"), rows), ""])


def _words(table: dict[str, ExitCode], code: ExitCode) -> list[str]:
    return sorted(word for word, number in table.items() if number is code)


def _render_common() -> str:
    tree: Any = typer.main.get_command(build_app())
    rows = [_option_row(each) for each in tree.params if each.name in COMMON]
    text = "## Flags of every command\n\nThey may stand before the command's name too; those behind it win.\n"
    return "\n".join([text, *_table(("flag", "meaning"), rows), ""])


def _render_command(path: str, each: Any) -> str:
    text, _, examples = str(each.help).partition("\b\nExamples:\n")
    own = [param for param in each.params if param.name not in COMMON]
    rows = [
        _argument_row(param) if not param.opts[0].startswith("-") else _option_row(param) for param in own
    ]
    lines = [f"### {path}", "", text.strip(), "", "```console"]
    lines += [f"$ {line.strip()}" for line in examples.splitlines()] + ["```", ""]
    if rows:
        lines += [*_table(("argument or flag", "meaning"), rows), ""]
    codes = [line.split()[0] for line in str(each.epilog).splitlines() if line.startswith("  ")]
    return "\n".join([*lines, f"Exit codes: {', '.join(codes)}", ""])


def _argument_row(param: Any) -> tuple[str, str]:
    needed = "" if param.required else " (optional)"
    return f"`{param.metavar or param.name}`{needed}", param.help or ""


def _option_row(param: Any) -> tuple[str, str]:
    names = ", ".join(f"`{name}`" for name in (*param.opts, *param.secondary_opts))
    value = f" `{param.metavar}`" if param.metavar else ""
    needed = " Required." if param.required else ""
    plain = param.default not in (None, False, "", ()) and not callable(param.default)
    default = f" Default: `{param.default}`." if plain else ""
    return names + value, f"{param.help or ''}{needed}{default}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return [lines[0], "|" + " --- |" * len(header), *lines[1:]]


def main(argv: Sequence[str]) -> int:
    """Write the pages, or with `--check` say which are out of date."""
    settings = FOLDER / "settings.md"
    written = settings.read_text("utf-8") if settings.exists() else "# Settings\n"
    pages = {FOLDER / "cli.md": render_cli(), settings: render_settings(written)}
    stale = [path for path, text in pages.items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" in argv:
        for path in stale:
            sys.stderr.write(f"error: {path.name} is out of date\nhint: run python -m cli.docs\n")
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pages[path], "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
