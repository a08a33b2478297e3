"""`deltaseal receipt`: gets receipts from the node, and checks them without it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.arguments import digest_of, parse_fields
from cli.client import segment
from cli.downloads import require_new, save_checked
from cli.errors import SettingMissing
from cli.exitcodes import ExitCode
from cli.receiptfiles import opened_fields, read_receipt, read_receipt_json, read_trust
from cli.session import Session, command
from verifier.receipts import (
    ChainFacts,
    Outcome,
    Reason,
    Receipt,
    check_digest,
    check_receipt,
)

if TYPE_CHECKING:
    from cli.chainslots import SlotReading

_CHINA = timezone(timedelta(hours=8))
_EXITS = (ExitCode.NOT_FOUND, ExitCode.INVALID)
_NOT_USABLE = frozenset({"revoked", "superseded", "suspended", "erased", "expired"})


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
    session.out.item("receipt", _facts(receipt), sections=[("fact", facts)])
    session.out.note("this shows what the receipt says; `deltaseal receipt check` says what of it is proved")


def check(
    session: Session,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The receipt.")],
    trust: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Chain to trust: the file of `chain deploy` or `chain status`."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The document it should be about.")
    ] = None,
    rpc: Annotated[
        str | None, typer.Option(metavar="URL", help="Read the slots from this chain client as well.")
    ] = None,
) -> int:
    """Check a receipt without any node, and say what of it is not proved.

    0 needs --rpc, because a receipt of this version cannot prove offline that nothing was revoked since:
    without it the answer is 11 at best. 10 is a proof that failed, 12 a document that is revoked or expired.
    """
    session.add_flags(trust_file=None if trust is None else str(trust))
    receipt, anchor = read_receipt(path), _trust(session)
    reading = _read_slots(rpc, receipt, anchor) if rpc is not None else None
    findings = check_receipt(
        receipt,
        anchor,
        at=datetime.now(UTC),
        slot=None if reading is None else reading.slot,
        statuses=None if reading is None else reading.statuses,
    )
    reasons = list(findings.reasons)
    if file is not None and not any(each.outcome is Outcome.FAIL for each in reasons):
        reasons.append(check_digest(receipt, digest_of(file).sha256))
    code = _exit(reasons)
    checks = [{"code": each.code, "outcome": each.outcome.value, "detail": each.detail} for each in reasons]
    shown = {**_facts(receipt), "result": _result(code), "checks": checks}
    if reading is None:
        shown["notProvedOffline"] = list(receipt.not_proved_offline)
    session.out.item("receipt", shown, sections=[("check", checks)])
    _explain(session, code, with_chain=reading is not None)
    return code


def _trust(session: Session) -> ChainFacts:
    path = session.path("trust_file")
    if path is None:
        raise SettingMissing(
            "a receipt can only be checked against a chain that you trust beforehand",
            hint="give --trust FILE, as `chain deploy` or `chain status -o json` writes it",
        )
    return read_trust(path)


def _read_slots(rpc: str, receipt: Receipt, trust: ChainFacts) -> SlotReading:
    from cli.chainslots import read_slots

    return read_slots(rpc, receipt, trust)


def _exit(reasons: list[Reason]) -> ExitCode:
    failed = next((each for each in reasons if each.outcome is Outcome.FAIL), None)
    if failed is not None:
        against = failed.detail.removeprefix("document_")
        return ExitCode.NOT_USABLE if against in _NOT_USABLE else ExitCode.PROOF_FAILED
    proved = all(each.outcome is Outcome.PASS for each in reasons)
    return ExitCode.OK if proved else ExitCode.STALE


def _result(code: ExitCode) -> str:
    return {ExitCode.OK: "consistent", ExitCode.STALE: "unproved", ExitCode.NOT_USABLE: "not_usable"}.get(
        code, "broken"
    )


def _explain(session: Session, code: ExitCode, *, with_chain: bool) -> None:
    note = session.out.note
    if code is ExitCode.STALE and not with_chain:
        note(
            "nothing is wrong, but offline nobody can tell whether it was revoked since: "
            "add --rpc URL, or ask a node"
        )
    elif code is ExitCode.STALE:
        note("nothing is wrong, but some steps are not proved: see the table")
    elif code is ExitCode.OK:
        note(
            "every step is proved by the slots that this chain client gave; "
            "whether its blocks are final is not checked"
        )


def _facts(receipt: Receipt) -> dict[str, Any]:
    block, status = receipt.block, receipt.status
    return {
        "opening": opened_fields(receipt),
        "memberId": receipt.member_id,
        "block": {"number": block.number, "time": _time(block.time)},
        "status": {"asOfBlock": status.as_of_block, "asOfTime": _time(status.as_of_time)},
    }


def _time(seconds: int) -> str | int:
    try:
        return datetime.fromtimestamp(seconds, _CHINA).isoformat()
    except (OverflowError, ValueError, OSError):
        return seconds
