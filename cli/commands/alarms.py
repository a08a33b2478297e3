"""`deltaseal alarms`: what waits in a node, for how long, and what waits too long."""

from __future__ import annotations

import typer

from cli.exitcodes import ExitCode
from cli.session import Session, command


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    command(
        app,
        "alarms",
        examples=("alarms", "alarms -o json"),
        exits=(ExitCode.PERMISSION, ExitCode.UNAVAILABLE, ExitCode.STALE),
    )(alarms)


def alarms(session: Session) -> int:
    """List every state of the node that waits, with its age and its maximum; exit 11 if one is too old."""
    with session.client() as client:
        found = client.get("/v1/alarms")["items"]
    session.out.items("alarm", found)
    raised = [each for each in found if each["state"] == "raised"]
    for each in raised:
        session.out.note(f"too old: {each['name']}: {each['ageSeconds']} s; fix: {each['fix']}")
    return ExitCode.STALE if raised else ExitCode.OK
