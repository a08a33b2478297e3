"""`deltaseal reuse`: asks for decisions about materials that others hold, and fetches what they grant."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.arguments import digest_of, one_subject
from cli.client import Answer, NodeClient, segment
from cli.downloads import require_new, save_checked
from cli.errors import ArgumentInvalid, NodeAnswerMalformed
from cli.exitcodes import ExitCode, exit_for_outcome
from cli.session import Session, command
from cli.views import named

_DELIVERIES = ("none", "facts", "bytes")
_ROUND_S = 0.5
_EXITS = (ExitCode.NOT_FOUND, ExitCode.PERMISSION, ExitCode.INVALID, ExitCode.UNAVAILABLE)


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="Ask for reuse decisions and fetch what they grant.", no_args_is_help=True)
    app.add_typer(group, name="reuse")
    command(
        group,
        "request",
        examples=(
            "reuse request --case XH-20261110-000042 --matter 990140400100 --req r6 --type M5001 "
            "--subject 111:310104185001010014 --purpose 落户 --scenario SC-310000-0003",
            "reuse request --case XH-1 --matter 990140400100 --req r2 --subject @subject.txt --purpose 落户 "
            "--scenario SC-310000-0003 --document-no '(2026)沪0187' --deliver bytes --to lease.pdf",
        ),
        exits=(*_EXITS, ExitCode.CONFLICT, ExitCode.PROOF_FAILED, ExitCode.STALE, ExitCode.DENIED),
    )(request)
    command(
        group,
        "show",
        examples=("reuse show reu_01JCV3", "reuse show reu_01JCV3 -o json"),
        exits=(*_EXITS, ExitCode.STALE, ExitCode.DENIED),
    )(show)
    command(
        group,
        "get",
        examples=("reuse get reu_01JCV3 --to lease.pdf", "reuse get reu_01JCV3 --to - > lease.pdf"),
        exits=(*_EXITS, ExitCode.CONFLICT, ExitCode.PROOF_FAILED),
    )(get)


def request(
    session: Session,
    case: Annotated[str, typer.Option(metavar="NO", help="Case number.")],
    matter: Annotated[str, typer.Option(metavar="CODE", help="Code of the matter.")],
    req: Annotated[str, typer.Option(metavar="ID", help="Requirement of the matter.")],
    subject: Annotated[
        list[str], typer.Option(metavar="TYPE:ID", help="Whom it is about, or @FILE with that line.")
    ],
    purpose: Annotated[str, typer.Option(metavar="TEXT", help="What it is needed for.")],
    scenario: Annotated[str, typer.Option(metavar="CODE", help="Code of the scenario.")],
    type_code: Annotated[
        str | None, typer.Option("--type", metavar="CODE", help="Type, if several would do.")
    ] = None,
    document_no: Annotated[
        str | None, typer.Option(metavar="NO", help="Number on the document, if there are several.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The paper in hand; only its digest is sent.")
    ] = None,
    basis: Annotated[str, typer.Option(metavar="KIND", help="duty or grant.")] = "duty",
    grant: Annotated[str | None, typer.Option(metavar="ID", help="Grant, for --basis grant.")] = None,
    deliver: Annotated[str, typer.Option(metavar="FORM", help="none, facts or bytes.")] = "facts",
    consume: Annotated[bool, typer.Option("--consume", help="Use up a thing that counts once.")] = False,
    to: Annotated[Path | None, typer.Option(metavar="FILE", help="Where the bytes go; - is stdout.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over an existing file.")] = False,
    wait_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="Wait for a pending decision.")
    ] = 60.0,
) -> int:
    """Ask for a decision about reusing a material, and with --deliver bytes fetch it when granted."""
    _require_choice(deliver, _DELIVERIES, "--deliver")
    _require_choice(basis, ("duty", "grant"), "--basis")
    if to is not None:
        require_new(to, force=force)
        if deliver != "bytes":
            raise ArgumentInvalid("--to needs the bytes", hint="add --deliver bytes", place="--to")
    question = {
        "caseNo": case,
        "matterCode": matter,
        "reqId": req,
        "typeCode": type_code,
        "documentNo": document_no,
        "sha256": digest_of(file).sha256.hex() if file is not None else None,
        "subject": one_subject(subject),
        "basis": {"kind": basis, **({"grantId": grant} if grant else {})},
        "purpose": purpose,
        "scenarioCode": scenario,
        "deliver": deliver,
        **({"consume": True} if consume else {}),
    }
    with session.client() as client:
        decision = ask(client, {k: v for k, v in question.items() if v is not None}, wait_s=wait_timeout)
        code = _show(session, decision)
        if to is not None and code is ExitCode.OK:
            _fetch(session, client, decision, to, force=force)
    return code


def show(
    session: Session,
    reuse_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the decision.")],
) -> int:
    """Show a decision with every check that led to it."""
    with session.client() as client:
        return _show(session, client.get(f"/v1/reuses/{segment(reuse_id)}"))


def get(
    session: Session,
    reuse_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the decision.")],
    to: Annotated[Path, typer.Option(metavar="FILE", help="Where the bytes go; - is stdout.")],
    force: Annotated[bool, typer.Option("--force", help="Write over an existing file.")] = False,
) -> None:
    """Fetch the bytes that a decision granted, checked against the digest that was sealed."""
    require_new(to, force=force)
    with session.client() as client:
        _fetch(session, client, client.get(f"/v1/reuses/{segment(reuse_id)}"), to, force=force)


def ask(client: NodeClient, question: Mapping[str, Any], *, wait_s: float) -> dict[str, Any]:
    """Ask for a decision; one that is pending is waited for, and returned as pending when it stays so.

    Raises:
        ApiProblem, NodeUnreachable, NodeAnswerMalformed: as `NodeClient.request`.
    """
    from cli.client import new_idempotency_key

    answer = client.request("POST", "/v1/reuses", json=dict(question), idempotency_key=new_idempotency_key())
    return _settled(client, answer, wait_s)


def _settled(client: NodeClient, answer: Answer, wait_s: float) -> dict[str, Any]:
    decision: Any = answer.body
    job = answer.headers.get("location", "")
    deadline = time.monotonic() + wait_s
    while answer.status == 202 and job.startswith("/v1/jobs/") and time.monotonic() < deadline:
        state = client.get(job)
        if state.get("resultUrl"):
            decision = client.get(state["resultUrl"])
            break
        if state.get("problem") or state.get("status") in ("failed", "cancelled"):
            break
        time.sleep(_ROUND_S)
    if not isinstance(decision, dict):
        raise NodeAnswerMalformed("the node's answer is no decision", hint="is the node of this version?")
    return decision


def _show(session: Session, decision: Mapping[str, Any]) -> ExitCode:
    out = session.out
    checks = [{**each, "outcome": each.get("result")} for each in decision.get("checks") or []]
    facts = [{"code": name, "detail": value} for name, value in (decision.get("facts") or {}).items()]
    sections = [("check", checks), ("fact", facts)]
    out.item("reuse", decision, sections=sections, say=named(decision.get("explain"), out.lang))
    return exit_for_outcome(str(decision.get("outcome")))


def _fetch(
    session: Session, client: NodeClient, decision: Mapping[str, Any], to: Path, *, force: bool
) -> None:
    content = decision.get("content")
    if not isinstance(content, dict):
        raise ArgumentInvalid("this decision carries no bytes", hint="ask again with --deliver bytes")
    with client.stream(f"/v1/reuses/{segment(str(decision.get('reuseId')))}/content") as (_headers, pieces):
        saved = save_checked(pieces, to, sha256=str(content.get("sha256")), force=force)
    session.out.note(f"written to {saved['path']}: {saved['size']} bytes")


def _require_choice(value: str, choices: tuple[str, ...], place: str) -> None:
    if value not in choices:
        raise ArgumentInvalid(
            f"it must be one of {', '.join(choices)}", hint=f"{place} {choices[0]}", place=place
        )
