"""`deltaseal config`: what the settings are and where each value comes from. It changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.errors import ArgumentInvalid
from cli.exitcodes import ExitCode
from cli.session import Session, command
from cli.settings import SETTINGS, settings_files

_EXITS = (ExitCode.INVALID,)


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="Show settings and where they come from.", no_args_is_help=True)
    app.add_typer(group, name="config")
    command(group, "list", examples=("config list", "config list --profile pudong -o csv"), exits=_EXITS)(
        list_settings
    )
    command(group, "get", examples=("config get url",), exits=_EXITS)(get)
    command(group, "path", examples=("config path",), exits=_EXITS)(path)
    command(group, "explain", examples=("config explain url",), exits=_EXITS)(explain)


def list_settings(session: Session) -> None:
    """List every setting with its value and its source."""
    rows = []
    for name in SETTINGS:
        chosen = session.settings.candidates(name)[0]
        rows.append(
            {"name": name, "value": chosen.value, "source": chosen.source, "place": chosen.place or None}
        )
    session.out.items("setting", rows)


def get(
    session: Session, name: Annotated[str, typer.Argument(metavar="KEY", help="Name of the setting.")]
) -> None:
    """Print the value of one setting; an empty line when it has none."""
    value = session.settings.get(_known(name))
    session.out.text("" if value is None else str(value))


def path(session: Session) -> None:
    """List the settings files in order of precedence, and whether they exist."""
    rows = [
        {"source": source, "path": str(file), "exists": file.is_file()}
        for source, file in settings_files(Path.cwd())
    ]
    session.out.items("settings_file", rows)


def explain(
    session: Session, name: Annotated[str, typer.Argument(metavar="KEY", help="Name of the setting.")]
) -> None:
    """Show every value given for a setting; the first one counts."""
    setting = SETTINGS[_known(name)]
    session.out.note(f"{setting.name}: {setting.help} (variable {setting.env})")
    rows = [
        {"name": name, "value": each.value, "source": each.source, "place": each.place or None}
        for each in session.settings.candidates(name)
    ]
    session.out.items("setting", rows)


def _known(name: str) -> str:
    if name not in SETTINGS:
        raise ArgumentInvalid("there is no such setting", hint="`deltaseal config list` names them all")
    return name
