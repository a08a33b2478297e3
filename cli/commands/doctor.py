"""`deltaseal doctor`: looks at every part and names the one that fails, and its fix."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.checks import FAIL, run_checks
from cli.exitcodes import ExitCode
from cli.session import Session, command


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    command(
        app,
        "doctor",
        examples=("doctor", "doctor --data-dir ./pudong", "doctor --rpc http://127.0.0.1:8545 -o json"),
        exits=(ExitCode.PERMISSION, ExitCode.INVALID, ExitCode.UNAVAILABLE),
    )(doctor)


def doctor(
    session: Session,
    data_dir: Annotated[
        str | None, typer.Option(metavar="DIR", help="Folder of a node on this machine.")
    ] = None,
    rpc: Annotated[str | None, typer.Option(metavar="URL", help="JSON-RPC address of the chain.")] = None,
    directory: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Directory contract.")] = None,
) -> int:
    """Check versions, settings, keys, folder, ports, chain and node, and name the fix of what fails."""
    session.add_flags(data_dir=data_dir, chain_rpc=rpc, directory=directory)
    found = list(run_checks(session))
    session.out.items("doctor", [each.as_item() for each in found])
    failed = [each for each in found if each.outcome == FAIL]
    for each in failed:
        session.out.note(f"failing: {each.part}: {each.detail}; fix: {each.fix or 'see above'}")
    return min((each.exit for each in failed), key=_gravest_first, default=ExitCode.OK)


def _gravest_first(code: ExitCode) -> int:
    """What is wrong here comes before what is not reachable: the second often follows from the first."""
    return (ExitCode.INVALID, ExitCode.PERMISSION, ExitCode.UNAVAILABLE).index(code)
