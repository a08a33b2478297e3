"""`deltaseal store verify|backup|restore|migrate|reindex`: start the node's own program for the store of its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from cli.commands.nodes import run_program
from cli.exitcodes import ExitCode
from cli.session import Session, command

DataDir = Annotated[str | None, typer.Option(metavar="DIR", help="The node's folder.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(
        no_args_is_help=True,
        help="Check, back up, restore and migrate the store of a node, and drop its index.",
    )
    app.add_typer(group, name="store")
    exits = (ExitCode.INVALID, ExitCode.UNAVAILABLE, ExitCode.PROOF_FAILED)
    command(group, "verify", examples=("store verify --data-dir ./pudong",), exits=exits)(verify)
    command(
        group,
        "migrate",
        examples=("store migrate --data-dir ./pudong --backup pudong-before.backup",),
        exits=exits,
    )(migrate)
    command(
        group, "backup", examples=("store backup pudong-20261103.backup --data-dir ./pudong",), exits=exits
    )(backup)
    command(
        group, "restore", examples=("store restore pudong-20261103.backup --data-dir ./new",), exits=exits
    )(restore)
    command(group, "reindex", examples=("store reindex --data-dir ./pudong",), exits=exits)(reindex)


def verify(session: Session, data_dir: DataDir = None) -> NoReturn:
    """Read every row and file of a stopped node's store and name what is damaged."""
    _run(session, "verify", data_dir)


def backup(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to make.")],
    data_dir: DataDir = None,
) -> NoReturn:
    """Copy the store as of one moment into an encrypted file, also while the node runs; then read it back."""
    _run(session, "backup", data_dir, str(file))


def restore(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that `store backup` made.")],
    data_dir: DataDir = None,
) -> NoReturn:
    """Make the store of a folder that holds the node's settings and key folder and no store."""
    _run(session, "restore", data_dir, str(file))


def migrate(
    session: Session,
    backup: Annotated[Path, typer.Option(metavar="FILE", help="File for the backup made first.")],
    data_dir: DataDir = None,
) -> NoReturn:
    """Carry the store of a stopped node over from an earlier release, after a checked backup.

    A run that was cut off is finished by the same command.
    """
    _run(session, "migrate", data_dir, "--backup", str(backup))


def reindex(session: Session, data_dir: DataDir = None) -> NoReturn:
    """Drop the index of a stopped node, which then reads it from the chain again: after damage, and to go on with a
    chain that was brought back from an older copy (`chain_regressed`). Nothing else of the node is lost with it.
    """
    _run(session, "reindex", data_dir)


def _run(session: Session, verb: str, data_dir: str | None, *arguments: str) -> NoReturn:
    session.add_flags(data_dir=data_dir)
    folder = session.settings.require("data_dir", why=f"store {verb}")
    run_program("node", ["store", verb, "--data-dir", folder, *arguments])
