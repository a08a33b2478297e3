"""`deltaseal catalog`: entries of the catalogue on the chain, and their check without a node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.catalogfiles import Finding, check_lines, read_entry, read_lines
from cli.client import NodeClient, new_idempotency_key, segment
from cli.errors import ApiProblem, ArgumentInvalid, InputInvalid
from cli.exitcodes import ExitCode
from cli.session import Session, command
from verifier.catalog import KIND_NUMBERS

_EXITS = (ExitCode.NOT_FOUND, ExitCode.PERMISSION, ExitCode.INVALID, ExitCode.UNAVAILABLE)
_PAGE = 200

Kind = Annotated[str, typer.Argument(metavar="KIND", help="One of: " + ", ".join(KIND_NUMBERS) + ".")]
Code = Annotated[str, typer.Argument(metavar="CODE", help="Code of the entry.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until it is final on the chain.")]
Version = Annotated[int, typer.Option(min=1, metavar="N", help="The version that is meant.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="Entries of the catalogue on the chain.", no_args_is_help=True)
    app.add_typer(group, name="catalog")
    command(
        group,
        "import",
        exits=(*_EXITS, ExitCode.CONFLICT, ExitCode.PARTIAL),
        examples=("catalog import entries.jsonl", "catalog import entries.jsonl --mode partial --wait"),
    )(import_entries)
    command(
        group,
        "lint",
        examples=("catalog lint entries.jsonl", "catalog lint entries.jsonl -o csv"),
        exits=(ExitCode.NOT_FOUND, ExitCode.INVALID),
    )(lint)
    command(group, "list", examples=("catalog list materialType", "catalog list matter -o id"), exits=_EXITS)(
        list_entries
    )
    command(
        group,
        "get",
        examples=("catalog get materialType M1001", "catalog get matter 990140400100 --version 2 -o json"),
        exits=_EXITS,
    )(get)
    command(
        group,
        "put",
        exits=(*_EXITS, ExitCode.CONFLICT),
        examples=(
            "catalog put duty DY-1 duty.json",
            "catalog put materialType M1001 type.json --if-version 1 --wait",
        ),
    )(put)
    for name, function in (("approve", approve), ("retire", retire)):
        command(
            group,
            name,
            examples=(f"catalog {name} materialType M1001 --version 2",),
            exits=(*_EXITS, ExitCode.CONFLICT),
        )(function)


def import_entries(
    session: Session,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="JSON Lines of kind, code and entry.")],
    mode: Annotated[
        str, typer.Option(metavar="MODE", help="all: all or none. partial: the good ones.")
    ] = "all",
    wait: Wait = False,
) -> int:
    """Publish all entries of a JSON Lines file; what stands there already is left alone."""
    if mode not in ("all", "partial"):
        raise ArgumentInvalid("the mode is all or partial", hint="--mode all", place="--mode")
    lines = read_lines(path)
    findings = check_lines(lines)
    if findings and mode == "all":
        return _show_findings(session, findings)
    with session.client() as client:
        answer = _import(client, b"\n".join(line for _, line in lines) + b"\n", mode, wait=wait)
    rejected = answer.get("rejected") or []
    if session.out.form == "json":
        session.out.raw(answer)
    else:
        session.out.item(
            "import", {**answer, "rejected": len(rejected)}, sections=[("finding", _rows(rejected, lines))]
        )
    if not rejected:
        return ExitCode.OK
    return ExitCode.PARTIAL if answer.get("published") else ExitCode.INVALID


def _import(client: NodeClient, body: bytes, mode: str, *, wait: bool) -> dict[str, Any]:
    query = {"mode": mode, "wait": "final" if wait else None}
    headers = {"Content-Type": "application/x-ndjson"}
    try:
        answer = client.request(
            "POST",
            "/v1/catalog/imports",
            body=body,
            query=query,
            headers=headers,
            idempotency_key=new_idempotency_key(),
        )
    except ApiProblem as problem:
        if problem.code != "catalog_entry_invalid":
            raise
        return {"published": 0, "rejected": [_rejected(error) for error in problem.errors]}
    return dict(answer.body)


def _rejected(error: Mapping[str, Any]) -> dict[str, Any]:
    """Take the line off the place that a refused import names, for the form in which a partial one names it."""
    line, slash, place = str(error.get("pointer", "")).removeprefix("/").partition("/")
    return {
        "line": int(line) if line.isdecimal() else 0,
        "errors": [{"pointer": slash + place, "code": error.get("code")}],
    }


def _rows(rejected: Sequence[dict[str, Any]], lines: Sequence[tuple[int, bytes]]) -> list[dict[str, Any]]:
    """Flatten the node's list; it counts the lines sent, the reader counts those of the file."""
    numbers = [number for number, _ in lines]
    found = []
    for each in rejected:
        sent = each.get("line", 0)
        number = numbers[sent - 1] if isinstance(sent, int) and 0 < sent <= len(numbers) else sent
        for error in each.get("errors") or [{}]:
            found.append({"line": number, "pointer": error.get("pointer"), "problem": error.get("code")})
    return found


def lint(
    session: Session,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="JSON Lines of kind, code and entry.")],
) -> int:
    """Check a catalogue file by schema and rules; no node is asked."""
    lines = read_lines(path)
    findings = check_lines(lines)
    if findings:
        return _show_findings(session, findings)
    session.out.note(f"{len(lines)} entries are well formed")
    return ExitCode.OK


def _show_findings(session: Session, findings: Sequence[Finding]) -> int:
    session.out.items("finding", [each.as_item() for each in findings])
    lines = {each.line for each in findings}
    session.out.note(f"{len(findings)} problems in {len(lines)} lines; nothing was published")
    return ExitCode.INVALID


def list_entries(session: Session, kind: Kind) -> None:
    """List the entries of a kind: the approved version of each, or the newest where none is approved."""
    with session.client() as client:
        session.out.items("entry", list(_pages(client, f"/v1/catalog/{segment(_known(kind))}")))


def _pages(client: NodeClient, path: str) -> Iterator[dict[str, Any]]:
    cursor: str | None = None
    while True:
        page = client.get(path, limit=_PAGE, cursor=cursor)
        yield from page.get("items", [])
        cursor = page.get("nextCursor")
        if not cursor:
            return


def get(
    session: Session,
    kind: Kind,
    code: Code,
    version: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="This version; default: the approved.")
    ] = None,
) -> None:
    """Show an entry with its text, and with where on the chain its version stands."""
    with session.client() as client:
        entry = client.get(_path(kind, code), version=version)
    facts = [{"code": name, "detail": value} for name, value in (entry.get("entry") or {}).items()]
    proof = [{"code": name, "detail": value} for name, value in (entry.get("proof") or {}).items()]
    session.out.item("entry", entry, sections=[("fact", facts), ("fact", proof)])


def put(
    session: Session,
    kind: Kind,
    code: Code,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The entry as JSON.")],
    if_version: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Version it follows; needed once there is one.")
    ] = None,
    wait: Wait = False,
) -> None:
    """Publish an entry, or its next version; the same text again changes nothing."""
    entry = read_entry(path, _known(kind), code)
    with session.client() as client:
        query = {"wait": "final"} if wait else None
        session.out.item("entry", client.put(_path(kind, code), entry, if_version=if_version, query=query))


def approve(session: Session, kind: Kind, code: Code, version: Version, wait: Wait = False) -> None:
    """Approve a version through a node whose chain key may review."""
    _act(session, kind, code, "approve", version, wait=wait)


def retire(session: Session, kind: Kind, code: Code, version: Version, wait: Wait = False) -> None:
    """Retire a version for good."""
    _act(session, kind, code, "retire", version, wait=wait)


def _act(session: Session, kind: str, code: str, act: str, version: int, *, wait: bool) -> None:
    query = {"wait": "final"} if wait else None
    with session.client() as client:
        answer = client.post(f"{_path(kind, code)}/{act}", {"version": version}, query=query)
    session.out.item("entry", answer)


def _path(kind: str, code: str) -> str:
    return f"/v1/catalog/{segment(_known(kind))}/{segment(code)}"


def _known(kind: str) -> str:
    if kind not in KIND_NUMBERS:
        raise InputInvalid("there is no such kind of entry", hint="kinds: " + ", ".join(KIND_NUMBERS))
    return kind
