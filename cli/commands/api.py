"""`deltaseal api`: any request to the node, for what has no command of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from cli.arguments import parse_pairs
from cli.client import new_idempotency_key
from cli.errors import ArgumentInvalid, InputInvalid, InputMissing
from cli.exitcodes import ExitCode
from cli.session import Session, command

_METHODS = ("GET", "POST", "PUT")
_OPEN_PATHS = ("/v1/info", "/healthz", "/readyz", "/openapi.json")


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    command(
        app,
        "api",
        examples=(
            "api GET /v1/info",
            "api GET /v1/materials -f limit:=5",
            "api POST /v1/exemptions -f matterCode=990140400100 -f subject.idType=001 "
            "-f subject.id=91310115FAKE010322",
            "api POST /v1/verify --input question.json",
        ),
        exits=(
            ExitCode.NOT_FOUND,
            ExitCode.PERMISSION,
            ExitCode.CONFLICT,
            ExitCode.INVALID,
            ExitCode.UNAVAILABLE,
        ),
    )(api)


def api(
    session: Session,
    method: Annotated[str, typer.Argument(metavar="METHOD", help="GET, POST or PUT.")],
    path: Annotated[str, typer.Argument(metavar="PATH", help="Path that begins with /.")],
    field: Annotated[
        list[str] | None,
        typer.Option("-f", "--field", metavar="KEY=TEXT", help="Field; KEY:=JSON for other values."),
    ] = None,
    input_file: Annotated[
        Path | None, typer.Option("--input", metavar="FILE", help="Body, as JSON; - is stdin.")
    ] = None,
) -> None:
    """Send one request to the node and print its answer; fields become the query of a GET, else the body."""
    verb = method.upper()
    if verb not in _METHODS:
        raise ArgumentInvalid(f"the method must be one of {', '.join(_METHODS)}", hint="api GET /v1/info")
    fields = parse_pairs(field or [], place="--field")
    if input_file is not None and (fields or verb == "GET"):
        raise ArgumentInvalid("--input is the whole body of a POST or PUT", hint="leave the fields out")
    with session.client(anonymous=path in _OPEN_PATHS) as client:
        answer = client.request(
            verb,
            path,
            query=fields if verb == "GET" else None,
            json=None if verb == "GET" else _body(input_file, fields),
            idempotency_key=None if verb == "GET" else new_idempotency_key(),
        )
    session.out.raw(answer.body)


def _body(path: Path | None, fields: dict[str, Any]) -> Any:
    if path is None:
        return fields
    try:
        content = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        return orjson.loads(content)
    except OSError as error:
        raise InputMissing(
            f"the body cannot be read: {error.strerror}", hint="check --input", place=str(path)
        ) from None
    except orjson.JSONDecodeError:
        raise InputInvalid("the body is not JSON", hint="check the file", place=str(path)) from None
