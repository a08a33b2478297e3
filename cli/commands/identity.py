"""`deltaseal whoami` and `deltaseal version`."""

from __future__ import annotations

import platform
from importlib import metadata

import typer

from cli.exitcodes import ExitCode
from cli.session import Session, command


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    command(
        app,
        "whoami",
        examples=("whoami", "whoami -o json"),
        exits=(ExitCode.PERMISSION, ExitCode.UNAVAILABLE),
    )(whoami)
    command(app, "version", examples=("version", "version -o json"))(version)


def whoami(session: Session) -> None:
    """Show which agency the key speaks for, and what it may do there."""
    with session.client() as client:
        session.out.item("identity", {**client.get("/v1/me"), "node": client.url})


def version(session: Session) -> None:
    """Show the version of this program and of Python."""
    session.out.item("version", {"version": program_version(), "python": platform.python_version()})


def program_version() -> str:
    """Return the installed version; a checkout that was not installed has none of its own."""
    try:
        return metadata.version("deltaseal")
    except metadata.PackageNotFoundError:
        return "0+checkout"
