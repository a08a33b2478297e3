"""`deltaseal receipt`: gets receipts from the node, and checks them without it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anchor.headers import Engine
from cli.arguments import digest_of, parse_fields
from cli.client import segment
from cli.downloads import require_new, save_checked
from cli.errors import ArgumentInvalid
from cli.exitcodes import ExitCode
from cli.receiptchecks import Asked, now, opened_fields, receipt_facts, show_checks
from cli.receiptfiles import (
    parse_as_statement,
    read_receipt,
    read_receipt_json,
    read_refreshed,
    read_roots,
    receipt_bytes,
    refreshed_content,
    statement_question,
    trusted,
)
from cli.session import Session, command
from verifier.browser import page
from verifier.expectations import Expected
from verifier.receipts import Receipt
from verifier.statements import apply_statement
from verifier.trust import TrustAnchor

if TYPE_CHECKING:
    from cli.chainslots import SlotReading

_RECEIPTS_A_CALL = 64
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
            "receipt get mat_01JCV3 mat_01JCV4 mat_01JCV5 --to-dir receipts/",
        ),
        exits=(*_EXITS, ExitCode.PERMISSION, ExitCode.CONFLICT, ExitCode.PARTIAL, ExitCode.UNAVAILABLE),
    )(get)
    command(
        group,
        "refresh",
        examples=(
            "receipt refresh receipt.json --to status.json",
            "receipt refresh receipt.json --trust trust.json --to status.json",
        ),
        exits=(
            *_EXITS,
            ExitCode.PERMISSION,
            ExitCode.CONFLICT,
            ExitCode.UNAVAILABLE,
            ExitCode.PROOF_FAILED,
            ExitCode.STALE,
            ExitCode.NOT_USABLE,
        ),
    )(refresh)
    command(
        group,
        "slip",
        examples=("receipt slip mat_01JCV3 --to slip.pdf --days 90 --open typeCode,expiresOn,sha256",),
        exits=(*_EXITS, ExitCode.PERMISSION, ExitCode.CONFLICT, ExitCode.UNAVAILABLE),
    )(slip)
    command(
        group,
        "withdraw",
        examples=("receipt withdraw 5f70bf18a08660ab…",),
        exits=(ExitCode.NOT_FOUND, ExitCode.PERMISSION, ExitCode.UNAVAILABLE),
    )(withdraw)
    command(group, "show", examples=("receipt show receipt.json",), exits=_EXITS)(show)
    command(
        group,
        "check",
        examples=(
            "receipt check receipt.json --trust chain.json",
            "receipt check receipt.json --trust chain.json --file licence.pdf",
            "receipt check receipt.json --trust chain.json --statement status.json",
            "receipt check receipt.json --trust chain.json --rpc http://127.0.0.1:8545",
        ),
        exits=(*_EXITS, ExitCode.UNAVAILABLE, ExitCode.PROOF_FAILED, ExitCode.STALE, ExitCode.NOT_USABLE),
    )(check)
    command(group, "page", examples=("receipt page --to verify.html",), exits=(ExitCode.CONFLICT,))(
        write_page
    )


def get(
    session: Session,
    material_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of materials.")],
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write it; default: stdout.")
    ] = None,
    to_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for several, one file ID.receipt.json each.")
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
) -> int:
    """Get the receipt of a material: a proof that others can check without this node.

    Several are asked for 64 at a time, all of a part as of one block. Exit 7 says that some could not be had.
    """
    fields = parse_fields(opened)
    if to_dir is not None:
        if to is not None or version is not None:
            raise ArgumentInvalid("--to-dir stands alone", hint="leave --to and --version out")
        return _get_many(session, material_ids, to_dir, fields, force=force)
    if len(material_ids) != 1:
        raise ArgumentInvalid("several receipts need a folder", hint="give --to-dir DIR")
    if to is not None:
        require_new(to, force=force)
    with session.client() as client:
        path = f"/v1/receipts/{segment(material_ids[0])}"
        receipt = client.get(path, version=version, open=",".join(fields) or None)
    if to is None:
        session.out.raw(receipt)
        return ExitCode.OK
    session.out.item("saved", _save(receipt, to, force=force))
    return ExitCode.OK


def _get_many(
    session: Session, material_ids: Sequence[str], folder: Path, fields: Sequence[str], *, force: bool
) -> int:
    targets = {name: folder / f"{segment(name)}.receipt.json" for name in material_ids}
    for target in targets.values():
        require_new(target, force=force)
    saved, missing, names = [], 0, list(targets)
    with session.client() as client:
        for start in range(0, len(names), _RECEIPTS_A_CALL):
            body = {"materialIds": names[start : start + _RECEIPTS_A_CALL], "open": list(fields)}
            for item in client.post("/v1/receipts", body, idempotency=False).get("items", []):
                if item["receipt"] is None:
                    missing += 1
                    session.out.warn(f"{item['materialId']}: {item['problem']['code']}")
                else:
                    saved.append(_save(item["receipt"], targets[item["materialId"]], force=force))
    session.out.items("saved", saved)
    if not missing:
        return ExitCode.OK
    return ExitCode.PARTIAL if saved else ExitCode.NOT_FOUND


def _save(document: Any, to: Path, *, force: bool = False) -> dict[str, Any]:
    text = json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    return dict(save_checked([text.encode()], to, sha256=None, force=force))


def refresh(
    session: Session,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The old receipt.")],
    to: Annotated[Path, typer.Option(metavar="FILE", help="Where to write the status statement.")],
    trust: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Check the outcome against this trust anchor.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over an existing file.")] = False,
) -> int:
    """Get a short statement of the present status of an old receipt; both together verify offline as of now.

    What the receipt opens is not sent. 12 says that it counts no longer. With --trust the two are checked together,
    and 10 and 11 say that they do not prove it; without, only that the statement is about this receipt.
    """
    require_new(to, force=force)
    session.add_flags(trust_file=None if trust is None else str(trust))
    receipt = read_receipt(path)
    with session.client() as client:
        answer = client.post("/v1/receipts/statements", statement_question(receipt), idempotency=False)
    found = parse_as_statement(json.dumps(answer).encode(), "the node's answer")
    newer = apply_statement(receipt, found)
    saved = _save(answer, to, force=force)
    session.out.note(f"written to {saved['path']}")
    checked = session.path("trust_file") is not None
    anchor = trusted(session) if checked else TrustAnchor(receipt.chain, bytes(20), Engine.EMBEDDED, ())
    code = show_checks(session, receipt_bytes(newer), Asked(anchor, now()))
    return code if checked or code is ExitCode.NOT_USABLE else ExitCode.OK


def slip(
    session: Session,
    material_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the material.")],
    to: Annotated[Path, typer.Option(metavar="FILE", help="Where to write the PDF.")],
    days: Annotated[int, typer.Option(min=1, max=3660, metavar="N", help="Days its QR code works.")] = 90,
    opened: Annotated[
        str | None,
        typer.Option(
            "--open", metavar="FIELD,FIELD", help="Show these fields only; default: the usual ones."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over an existing file.")] = False,
) -> None:
    """Get a PDF slip with a QR code that leads to the public page of the material's present validity.

    The code holds an address, not the receipt. `receipt withdraw` with the printed id ends it early.
    """
    require_new(to, force=force)
    path = f"/v1/receipts/{segment(material_id)}"
    with session.client() as client:
        issued = client.post(f"{path}/tokens", {"days": days, "open": parse_fields(opened)})
        with client.stream(f"{path}/slip", json={"token": issued["token"]}) as (_, pieces):
            saved = save_checked(pieces, to, sha256=None, force=force)
    session.out.item("slip", {**saved, **{name: issued[name] for name in ("tokenId", "url", "expiresAt")}})


def withdraw(
    session: Session, token_id: Annotated[str, typer.Argument(metavar="TOKEN-ID", help="Id of the token.")]
) -> None:
    """Withdraw the token of a slip: its QR code leads nowhere from then on."""
    with session.client() as client:
        session.out.raw(client.post(f"/v1/tokens/{segment(token_id)}/withdraw", {}))


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
    statement: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A newer status, as `receipt refresh` writes it.")
    ] = None,
    tsa_root: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Root certificate (PEM) of a time-stamping authority; may be repeated."
        ),
    ] = None,
) -> int:
    """Check a receipt without any node, and say what of it is not proved.

    Without --rpc no connection is opened: 0 says that every step is proved as of the receipt's block, 11 that
    some are not (an operator's chain has no seals to prove them by). With --rpc the chain's present word counts.
    """
    session.add_flags(trust_file=None if trust is None else str(trust))
    content, anchor = refreshed_content(path, statement), trusted(session)
    reading = _read_slots(rpc, read_refreshed(path, statement), anchor) if rpc is not None else None
    expected = Expected(sha256=None if file is None else digest_of(file).sha256)
    asked = Asked(anchor, now(), expected, tsa_roots=read_roots(tsa_root or []))
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
