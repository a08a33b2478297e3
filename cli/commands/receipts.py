"""`deltaseal receipt`: gets receipts from the node, and checks them without it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.arguments import digest_of, parse_fields
from cli.client import segment
from cli.downloads import require_new, save_checked
from cli.exitcodes import ExitCode
from cli.receiptchecks import Asked, now, opened_fields, receipt_facts, show_checks
from cli.receiptfiles import read_receipt, read_receipt_json, receipt_content, trusted
from cli.session import Session, command
from verifier.browser import page
from verifier.expectations import Expected
from verifier.receipts import Receipt
from verifier.trust import TrustAnchor

if TYPE_CHECKING:
    from cli.chainslots import SlotReading

_EXITS = (ExitCode.NOT_FOUND, ExitCode.INVALID)


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="Get receipts and check them offline.", no_args_is_help=True)
    app.add_typer(group, name="receipt")
    command(
        group,
        "get",
        examples=(
            "receipt get mat_01JCV3 --to receipt.json",
            "receipt get mat_01JCV3 --open typeCode,sha256,expiresOn",
        ),
        exits=(*_EXITS, ExitCode.PERMISSION, ExitCode.CONFLICT, ExitCode.UNAVAILABLE),
    )(get)
    command(group, "show", examples=("receipt show receipt.json",), exits=_EXITS)(show)
    command(
        group,
        "check",
        examples=(
            "receipt check receipt.json --trust chain.json",
            "receipt check receipt.json --trust chain.json --file licence.pdf",
            "receipt check receipt.json --trust chain.json --rpc http://127.0.0.1:8545",
        ),
        exits=(*_EXITS, ExitCode.UNAVAILABLE, ExitCode.PROOF_FAILED, ExitCode.STALE, ExitCode.NOT_USABLE),
    )(check)
    command(group, "page", examples=("receipt page --to verify.html",), exits=(ExitCode.CONFLICT,))(
        write_page
    )


def get(
    session: Session,
    material_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the material.")],
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write it; default: stdout.")
    ] = None,
    version: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="This version; default: the latest.")
    ] = None,
    opened: Annotated[
        str | None,
        typer.Option(
            "--open", metavar="FIELD,FIELD", help="Open these fields only; default: the usual ones."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over an existing file.")] = False,
) -> None:
    """Get the receipt of a material: a proof that others can check without this node."""
    if to is not None:
        require_new(to, force=force)
    fields = ",".join(parse_fields(opened)) or None
    with session.client() as client:
        receipt = client.get(f"/v1/receipts/{segment(material_id)}", version=version, open=fields)
    if to is None:
        session.out.raw(receipt)
        return
    text = json.dumps(receipt, ensure_ascii=False, indent=2) + "\n"
    session.out.item("saved", save_checked([text.encode()], to, sha256=None, force=force))


def show(
    session: Session, path: Annotated[Path, typer.Argument(metavar="FILE", help="The receipt.")]
) -> None:
    """Show what a receipt says; this proves nothing."""
    receipt = read_receipt(path)
    if session.out.form == "json":
        session.out.raw(read_receipt_json(path))
        return
    facts = [{"code": name, "detail": value} for name, value in opened_fields(receipt).items()]
    session.out.item("receipt", receipt_facts(receipt), sections=[("fact", facts)])
    session.out.note("this shows what the receipt says; `deltaseal receipt check` says what of it is proved")


def check(
    session: Session,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The receipt.")],
    trust: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What to trust: a trust anchor, or the file of `chain deploy`."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The document it should be about.")
    ] = None,
    rpc: Annotated[str | None, typer.Option(metavar="URL", help="Ask this chain client as well.")] = None,
) -> int:
    """Check a receipt without any node, and say what of it is not proved.

    Without --rpc no connection is opened: 0 says that every step is proved as of the receipt's block, 11 that
    some are not (an operator's chain has no seals to prove them by). With --rpc the chain's present word counts.
    """
    session.add_flags(trust_file=None if trust is None else str(trust))
    content, anchor = receipt_content(path), trusted(session)
    reading = _read_slots(rpc, read_receipt(path), anchor) if rpc is not None else None
    expected = Expected(sha256=None if file is None else digest_of(file).sha256)
    asked = Asked(anchor, now(), expected)
    if reading is not None:
        asked = replace(asked, known_hash=reading.block_hash, later=reading.statuses)
    return show_checks(session, content, asked)


def _read_slots(rpc: str, receipt: Receipt, trust: TrustAnchor) -> SlotReading:
    from cli.chainslots import read_slots

    return read_slots(rpc, receipt, trust.chain)


def write_page(
    session: Session,
    to: Annotated[Path, typer.Option(metavar="FILE", help="Where to write it.")],
    force: Annotated[bool, typer.Option("--force", help="Write over an existing file.")] = False,
) -> None:
    """Write the page that checks receipts in a browser: one file, for whoever has neither node nor command."""
    require_new(to, force=force)
    session.out.item("saved", save_checked([page()], to, sha256=None, force=force))
