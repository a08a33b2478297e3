"""`deltaseal exemptions`: which papers of a matter the subject need not bring."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.arguments import one_subject
from cli.exitcodes import ExitCode
from cli.session import Session, command


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    command(
        app,
        "exemptions",
        examples=(
            "exemptions --matter 990140400100 --subject 111:310104185001010014",
            "exemptions --matter 990140400100 --subject @subject.txt -o json",
        ),
        exits=(
            ExitCode.NOT_FOUND,
            ExitCode.PERMISSION,
            ExitCode.INVALID,
            ExitCode.UNAVAILABLE,
            ExitCode.STALE,
        ),
    )(exemptions)


def exemptions(
    session: Session,
    matter: Annotated[str, typer.Option(metavar="CODE", help="Code of the matter.")],
    subject: Annotated[
        list[str], typer.Option(metavar="TYPE:ID", help="Whom it is about, or @FILE with that line.")
    ],
) -> int:
    """List for each requirement of a matter whether the subject is exempt from bringing a paper, and why."""
    with session.client() as client:
        question = {"matterCode": matter, "subject": one_subject(subject)}
        found = client.post("/v1/exemptions", question, idempotency=False)
    rows = found.get("requirements", [])
    if session.out.form == "json":
        session.out.raw(found)
    else:
        session.out.items("requirement", rows)
    session.out.note(
        f"exempt from {found.get('exempted', 0)} of {found.get('total', len(rows))}, "
        f"as of {found.get('asOf')}"
    )
    unclear = any(each.get("outcome") == "unavailable" for each in rows)
    return ExitCode.STALE if unclear else ExitCode.OK
