"""Writes results in the form and language asked for; which columns a result has stands in `cli/views.py`.

Results go to stdout; notes, warnings, progress and errors go to stderr. JSON forms carry the node's answer
unchanged, tables and CSV carry the columns of its view. Names and titles are data: control characters are
shown as their escapes, so that no title can move the cursor, and markup in them is text. Must not import
httpx or typer.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from anchor.errors import DeltasealError
from cli.errors import ApiProblem, CliError
from cli.exitcodes import ExitCode, exit_for_code
from cli.titles import chinese_title
from cli.views import VIEWS, Column, View

Item = Mapping[str, Any]


def value_at(item: Any, path: str) -> Any:
    """Follow a dotted path; None where it ends early."""
    for name in path.split("."):
        item = item.get(name) if isinstance(item, Mapping) else None
    return item


def plain(text: str) -> str:
    """Show control and direction characters as escapes, lone surrogates (names not in UTF-8) as U+FFFD."""
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    if "\ud800" <= char <= "\udfff":
        return "\N{REPLACEMENT CHARACTER}"
    return char.encode("unicode_escape").decode("ascii")


class Output:
    """Writes results in one form and language; `quiet` keeps notes and progress off stderr."""

    def __init__(
        self,
        form: str = "table",
        lang: str = "en",
        *,
        quiet: bool = False,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        """Take the form (`table`, `json`, `jsonl`, `csv`, `id`) and the language (`zh`, `en`)."""
        self.form, self.lang, self.quiet = form, lang, quiet
        self._stdout, self._stderr = stdout or sys.stdout, stderr or sys.stderr

    @property
    def live(self) -> bool:
        """Whether a person watches stderr and wants to see progress there."""
        return not self.quiet and self._stderr.isatty()

    @property
    def stderr(self) -> TextIO:
        """Where notes and progress go."""
        return self._stderr

    def items(self, view: str, items: Iterable[Item]) -> None:
        """Write a list of results."""
        found = list(items)
        if self.form == "json":
            self._json(found, indent=2)
        elif self.form == "jsonl":
            for each in found:
                self._json(each)
        elif self.form == "csv":
            self._csv(VIEWS[view], found)
        elif self.form == "id":
            self._ids(VIEWS[view], found)
        else:
            self._table(VIEWS[view], found)

    def item(
        self, view: str, item: Item, *, sections: Sequence[tuple[str, Sequence[Item]]] = (), say: str = ""
    ) -> None:
        """Write one result; a table also shows the sentence `say` and the lists of `sections`."""
        if self.form != "table":
            if self.form == "json":
                return self._json(item, indent=2)
            return self.items(view, [item])
        self._facts(VIEWS[view], item)
        if say:
            self._line(say)
        for name, rows in sections:
            if rows:
                self._table(VIEWS[name], rows)
        return None

    def line(self, value: Any) -> None:
        """Write a JSON value on a line of its own, at once: whoever reads may be waiting for it."""
        self._json(value)
        self._stdout.flush()

    def raw(self, value: Any) -> None:
        """Write a JSON value as it is: indented for a table, on one line for jsonl."""
        self._json(value, indent=None if self.form == "jsonl" else 2)

    def event(self, kind: str, item: Item) -> None:
        """Write one line `{"type": kind, …}`; only for jsonl, where work is reported as it happens."""
        if self.form == "jsonl":
            self._json({"type": kind, **item})
            self._stdout.flush()

    def text(self, text: str) -> None:
        """Write a text that is itself the result (a completion script, a shell line)."""
        self._stdout.write(text if text.endswith("\n") else text + "\n")

    def note(self, text: str) -> None:
        """Say something on stderr, unless quiet."""
        if not self.quiet:
            self._stderr.write(plain(text) + "\n")
            self._stderr.flush()

    def warn(self, text: str) -> None:
        """Warn on stderr, quiet or not: the reader should act on it."""
        self._stderr.write("warning: " + plain(text) + "\n")

    def _line(self, text: str) -> None:
        self._stdout.write(plain(text) + "\n")

    def _json(self, value: Any, indent: int | None = None) -> None:
        # Surrogates in a file name that is not UTF-8 become \udcxx escapes, which any JSON reader takes.
        text = json.dumps(value, ensure_ascii=False, indent=indent, default=str)
        self._stdout.write(text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n")

    def _csv(self, view: View, items: Sequence[Item]) -> None:
        writer = csv.writer(self._stdout, lineterminator="\n")
        writer.writerow([column.path for column in view.columns])
        for each in items:
            writer.writerow([_flat(value_at(each, column.path)) for column in view.columns])

    def _ids(self, view: View, items: Sequence[Item]) -> None:
        for each in items:
            value = value_at(each, view.id_path)
            if value is not None:
                self._line(str(value))

    def _table(self, view: View, items: Sequence[Item]) -> None:
        shown = [
            column
            for column in view.columns
            if any(value_at(each, column.path) is not None for each in items)
        ]
        if not items or not shown:
            self.note("无结果" if self.lang == "zh" else "nothing found")
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column in shown:
            table.add_column(self._heading(column), overflow="fold")
        for each in items:
            table.add_row(*(self._cell(column, each) for column in shown))
        self._print(table)

    def _facts(self, view: View, item: Item) -> None:
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for column in view.columns:
            if value_at(item, column.path) is not None:
                table.add_row(self._heading(column), self._cell(column, item))
        if table.row_count:
            self._print(table)

    def _heading(self, column: Column) -> str:
        return column.zh if self.lang == "zh" else column.en

    def _cell(self, column: Column, item: Item) -> Text:
        value = value_at(item, column.path)
        text = "" if value is None else column.shown(value, self.lang) if column.shown else _flat(value)
        # A Text, not a str: brackets in a title are no markup.
        return Text(plain(text))

    def _print(self, table: Table) -> None:
        # Not on a terminal nothing is cut to a width: a reader of the file wants every digit.
        width = None if self._stdout.isatty() else 1000
        Console(file=self._stdout, width=width, highlight=False).print(table)


def _flat(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return str(value)


def render_error(error: BaseException, lang: str = "en") -> str:
    """Render an error: `error:` what and why, `hint:` what next, and the request's name if it has one.

    In Chinese its title comes first; the words of the program behind it stay English.
    """
    place = f"{error.place}: " if isinstance(error, CliError) and error.place else ""
    message = str(error) or type(error).__name__
    code = str(getattr(error, "code", "internal"))
    lines = [f"错误：{chinese_title(code)}（{code}）"] if lang == "zh" else []
    lines.append(f"error: {place}{_lower_first(message)} ({code})")
    if isinstance(error, ApiProblem):
        lines += [f"  at {each.get('pointer', '')}: {each.get('code', '')}" for each in error.errors]
    lines += [f"  at {each.pointer or '/'}: {each.code}" for each in getattr(error, "problems", ())]
    if hint := getattr(error, "hint", ""):
        lines.append(f"hint: {_lower_first(hint)}")
    if request_id := getattr(error, "request_id", ""):
        lines.append(f"request: {request_id}")
    return "\n".join(plain(line) for line in lines) + "\n"


def report_error(error: DeltasealError, lang: str = "en") -> ExitCode:
    """Write an error to stderr and return the exit code that it ends with."""
    sys.stderr.write(render_error(error, lang))
    return exit_for_code(error.code, status=getattr(error, "status", None))


def _lower_first(text: str) -> str:
    """Begin in lower case, but leave abbreviations (JSON, TLS) alone."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]
