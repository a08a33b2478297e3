"""`deltaseal hash`: digests of files, without any node."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer

from anchor.digests import sm3_default
from cli.arguments import digest_of
from cli.errors import CliError, InputInvalid
from cli.exitcodes import ExitCode, exit_for_code
from cli.push.items import walk
from cli.session import Session, command


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    command(
        app,
        "hash",
        examples=("hash licence.pdf", "hash scans/ --recursive -o jsonl", "hash contract.ofd -o id"),
        exits=(ExitCode.NOT_FOUND, ExitCode.INVALID, ExitCode.PARTIAL),
    )(hash_files)


def hash_files(
    session: Session,
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Files, or folders with --recursive.")],
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Go into folders.")] = False,
    sm3: Annotated[
        bool | None, typer.Option("--sm3/--no-sm3", help="SM3 too; default: for files below 64 MiB.")
    ] = None,
) -> int:
    """Print SHA-256 and SM3 digests of files; no node is asked."""
    paths = list(walk(_checked(files, recursive=recursive)))
    with ThreadPoolExecutor(max_workers=min(int(session.settings.get("parallel")), 64)) as pool:
        found = list(pool.map(lambda path: _digest(path, sm3), paths))
    failed = [each for each in found if isinstance(each, CliError)]
    if failed and len(found) == 1:
        raise failed[0]
    session.out.items("digest", [each for each in found if isinstance(each, dict)])
    for error in failed:
        session.out.note(f"not read: {error.place}: {error}")
    if len(failed) == len(found) and failed:
        return exit_for_code(failed[0].code)
    return ExitCode.PARTIAL if failed else ExitCode.OK


def _checked(files: list[Path], *, recursive: bool) -> list[Path]:
    for path in files:
        if path.is_dir() and not recursive:
            raise InputInvalid("this is a folder", hint="add --recursive to go into it", place=str(path))
    return files


def _digest(path: Path, sm3: bool | None) -> dict[str, Any] | CliError:
    try:
        wanted = sm3_default(path.stat().st_size) if sm3 is None else sm3
        found = digest_of(path, sm3=wanted)
    except CliError as error:
        return error
    except OSError as error:
        return InputInvalid(f"the file cannot be read: {error.strerror}", place=str(path))
    row = {"path": str(path), "size": found.size_bytes, "sha256": found.sha256.hex()}
    return row if found.sm3 is None else {**row, "sm3": found.sm3.hex()}
