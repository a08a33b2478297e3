"""`deltaseal key`: API keys of a node, and keystores of members."""

from __future__ import annotations

from datetime import datetime, time, timedelta, timezone
from pathlib import Path
from typing import Annotated

import typer

from cli.arguments import parse_day, parse_fields
from cli.client import segment
from cli.downloads import STDOUT, require_new, save_secret
from cli.errors import NodeAnswerMalformed
from cli.exitcodes import ExitCode
from cli.session import Session, command
from cli.settings import read_secret

_CHINA = timezone(timedelta(hours=8))
_EXITS = (ExitCode.PERMISSION, ExitCode.INVALID, ExitCode.UNAVAILABLE)


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="API keys of agencies, and keystores of members.", no_args_is_help=True)
    app.add_typer(group, name="key")
    command(
        group,
        "create",
        examples=("key create --agency 12310104FAKE0011X9 --scopes materials:read,verify --to window.key",),
        exits=(*_EXITS, ExitCode.CONFLICT),
    )(create)
    command(group, "list", examples=("key list", "key list -o csv"), exits=_EXITS)(list_keys)
    command(group, "revoke", examples=("key revoke 4J7KQ2M4N6P8R0S2",), exits=(*_EXITS, ExitCode.NOT_FOUND))(
        revoke
    )
    command(
        group,
        "member-generate",
        examples=("key member-generate --to council.json --passphrase-file council.pass",),
        exits=(ExitCode.PERMISSION, ExitCode.CONFLICT, ExitCode.INVALID),
    )(member_generate)


def create(
    session: Session,
    agency: Annotated[str, typer.Option(metavar="USCC", help="Agency that the key speaks for.")],
    scopes: Annotated[str, typer.Option(metavar="SCOPE,SCOPE", help="What it may do.")],
    to: Annotated[Path, typer.Option(metavar="FILE", help="New file for the key; - is stdout.")],
    label: Annotated[str, typer.Option(metavar="TEXT", help="Who will use it.")] = "",
    expires_on: Annotated[
        str | None, typer.Option(metavar="DATE", help="First day it no longer works.")
    ] = None,
) -> None:
    """Issue an API key and write it to a file that only you can read; it is never shown again."""
    require_new(to)
    day = parse_day(expires_on, place="--expires-on")
    body: dict[str, object] = {"agency": agency, "scopes": parse_fields(scopes), "label": label}
    if day is not None:
        body["expiresAt"] = int(datetime.combine(datetime.fromisoformat(day), time(), _CHINA).timestamp())
    with session.client() as client:
        made = client.post("/v1/keys", body)
    if not isinstance(made, dict) or not isinstance(made.get("key"), str):
        raise NodeAnswerMalformed("the node's answer holds no key", hint="is the node of this version?")
    if to == STDOUT:
        session.out.text(made["key"])
        return
    save_secret(made["key"], to)
    session.out.item("new_key", {"keyId": made.get("keyId"), "keyFile": str(to)})


def list_keys(session: Session) -> None:
    """List the API keys of the node, without their secrets."""
    with session.client() as client:
        session.out.items("api_key", client.get("/v1/keys").get("items", []))


def revoke(
    session: Session, key_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key.")]
) -> None:
    """Revoke an API key at once and for good."""
    with session.client() as client:
        session.out.item("api_key", client.post(f"/v1/keys/{segment(key_id)}/revoke", {}))


def member_generate(
    session: Session,
    to: Annotated[Path, typer.Option(metavar="FILE", help="New keystore file.")],
    passphrase_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with its passphrase; default: it is asked for.")
    ] = None,
) -> None:
    """Make a chain key in an encrypted keystore file, for a council or a member."""
    from anchor.signer import Signer, save_keystore

    require_new(to)
    passphrase = read_secret(
        passphrase_file, prompt="passphrase of the new keystore", setting="passphrase_file"
    )
    signer = Signer.generate()
    save_keystore(to, signer, passphrase)
    session.out.item("member_key", {"address": "0x" + signer.address.hex(), "keyFile": str(to)})
