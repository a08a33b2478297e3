"""What every command shares: the common flags, the settings behind them, the output and the client.

`command` registers a function as a command: it adds the common flags, hands the function a `Session`, and
builds the help from the docstring's first sentence, the examples and the exit codes. Spec page:
docs/reference/cli.md.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from anchor.errors import DeltasealError
from cli.client import NodeClient
from cli.exitcodes import MEANINGS, ExitCode
from cli.output import Output, report_error
from cli.settings import OUTPUT_FORMATS, Settings, read_secret, readable_by_others, sends_key_in_clear

Handler = Callable[..., int | None]

OutputFlag = Annotated[
    str | None,
    typer.Option(
        "--output", "-o", metavar="FORM", help="Form of results: " + ", ".join(OUTPUT_FORMATS) + "."
    ),
]
LangFlag = Annotated[
    str | None, typer.Option("--lang", metavar="LANG", help="Language of results: zh, en or auto.")
]
QuietFlag = Annotated[bool, typer.Option("--quiet", "-q", help="No notes and no progress on stderr.")]
UrlFlag = Annotated[str | None, typer.Option("--url", metavar="URL", help="Address of the node.")]
KeyFlag = Annotated[
    str | None, typer.Option("--api-key-file", metavar="FILE", help="File that holds the API key.")
]
ProfileFlag = Annotated[
    str | None, typer.Option("--profile", metavar="NAME", help="Profile of the settings files.")
]
TimeoutFlag = Annotated[
    str | None, typer.Option("--timeout", metavar="SECONDS", help="Seconds the node may stay silent.")
]

# Name of the flag in Settings → annotation; `quiet` is no setting.
COMMON: dict[str, tuple[Any, Any]] = {
    "output": (OutputFlag, None),
    "lang": (LangFlag, None),
    "quiet": (QuietFlag, False),
    "url": (UrlFlag, None),
    "api_key_file": (KeyFlag, None),
    "profile": (ProfileFlag, None),
    "timeout": (TimeoutFlag, None),
}


class Session:
    """One run of one command. Settings and client are made when first asked for: `--help` needs neither."""

    def __init__(self, flags: Mapping[str, Any]) -> None:
        """Keep the common flags, named as in `COMMON`."""
        self._quiet = bool(flags.get("quiet"))
        self._flags = {name: value for name, value in flags.items() if value is not None and name != "quiet"}
        self._settings: Settings | None = None
        self._out: Output | None = None

    @property
    def settings(self) -> Settings:
        """The settings with the common flags on top."""
        if self._settings is None:
            self._settings = Settings.load(self._flags)
        return self._settings

    def add_flags(self, **flags: Any) -> None:
        """Put a command's own flags on top of the settings of the same name; None is no value."""
        self._flags |= {name: value for name, value in flags.items() if value is not None}
        self._settings = None

    @property
    def out(self) -> Output:
        """Where results and notes go."""
        if self._out is None:
            self._out = Output(str(self.settings.get("output")), self.settings.language(), quiet=self._quiet)
        return self._out

    def client(self, *, anonymous: bool = False, retries: int = 0, connections: int = 16) -> NodeClient:
        """Make a client of the node with the agency's key, or without one.

        Raises:
            SettingMissing, SettingInvalid, KeyNotForAddress: as the settings are.
        """
        url = str(self.settings.get("url"))
        return NodeClient(
            url,
            None if anonymous else self._api_key(url),
            timeout_s=float(self.settings.get("timeout")),
            retries=retries,
            lang=self.settings.language(),
            ca_file=self.settings.get("ca_file"),
            connections=connections,
        )

    def language(self) -> str:
        """Return the language of results, also where the settings themselves are at fault."""
        try:
            return self.settings.language()
        except DeltasealError:
            return Settings(self._flags, os.environ).language()

    def path(self, name: str) -> Path | None:
        """Return a path setting as a path."""
        value = self.settings.get(name)
        return None if value is None else Path(str(value))

    def _api_key(self, url: str) -> str:
        path = self.settings.api_key_file()
        if path is not None and readable_by_others(path):
            self.out.warn(f"other users can read the key file; run: chmod 600 {path}")
        if sends_key_in_clear(url):
            self.out.warn("the key goes over the network unencrypted; give the node an https address")
        return read_secret(path, prompt=f"API key for {url}", setting="api_key_file")


def command(
    app: typer.Typer, name: str, *, examples: Sequence[str], exits: Sequence[ExitCode] = ()
) -> Callable[[Handler], Handler]:
    """Register a function as the command `name`; what it returns becomes the exit code, None is 0.

    `examples` are written without the leading `deltaseal`. `exits` are the codes beside 0, 1, 2 and 130 that
    scripts should expect.
    """

    def register(function: Handler) -> Handler:
        paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
        sentence, *more = (each.replace("\n", " ") for each in paragraphs)
        lines = "\n".join(f"  deltaseal {each}" for each in examples)
        help_text = "\n\n".join([sentence, *more, f"\b\nExamples:\n{lines}"])
        app.command(name, help=help_text, short_help=sentence, epilog=_epilog(exits))(_runner(function))
        return function

    return register


def root_callback(
    ctx: typer.Context,
    output: OutputFlag = None,
    lang: LangFlag = None,
    quiet: QuietFlag = False,
    url: UrlFlag = None,
    api_key_file: KeyFlag = None,
    profile: ProfileFlag = None,
    timeout: TimeoutFlag = None,
) -> None:
    """Keep the common flags that stand before the command's name; those behind it win."""
    given = (output, lang, quiet, url, api_key_file, profile, timeout)
    ctx.obj = _given(dict(zip(COMMON, given, strict=True)))


def _runner(function: Handler) -> Callable[..., None]:
    """Wrap a command so that typer sees its flags and the common ones, and the command sees a `Session`."""
    hints = get_type_hints(function, include_extras=True)
    own = [each for name, each in inspect.signature(function).parameters.items() if name != "session"]

    def run(**values: Any) -> None:
        ctx: typer.Context = values.pop("ctx")
        before = ctx.obj if isinstance(ctx.obj, dict) else {}
        flags = {**before, **_given({name: values.pop(name) for name in COMMON})}
        session = Session(flags)
        try:
            code = function(session, **values)
        except DeltasealError as error:
            code = report_error(error, session.language())
        if code:
            raise typer.Exit(int(code))

    flag = partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY)
    shown = [
        flag("ctx", annotation=typer.Context),
        *(flag(each.name, default=each.default, annotation=hints[each.name]) for each in own),
        *(flag(name, default=default, annotation=hint) for name, (hint, default) in COMMON.items()),
    ]
    # typer reads the flags from the signature, so a made one is as good as a written one.
    run.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in shown}
    run.__name__, run.__doc__ = function.__name__, function.__doc__
    return run


def _given(flags: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flags.items() if value is not None and value is not False}


def _epilog(exits: Sequence[ExitCode]) -> str:
    always = (ExitCode.OK, ExitCode.UNEXPECTED, ExitCode.USAGE, ExitCode.INTERRUPTED)
    lines = "\n".join(f"  {int(code):<4}{MEANINGS[code]}" for code in sorted({*always, *exits}))
    return f"\b\nExit codes:\n{lines}"
