"""Reads receipts, trust anchors and steps from disk, and runs the check of `verifier.receipts` on them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anchor.headers import Engine
from cli.arguments import digest_of
from cli.errors import InputInvalid, InputMissing, SettingMissing
from cli.exitcodes import RECEIPT_EXITS, ExitCode
from cli.session import Session
from verifier.receipts import (
    MAX_RECEIPT_BYTES,
    Outcome,
    Reason,
    Receipt,
    ReceiptFindings,
    ReceiptMalformed,
    ReceiptVerdict,
    check_digest,
    check_receipt,
    parse_receipt,
)
from verifier.trust import (
    MAX_TRUST_BYTES,
    ChainFacts,
    TrustAnchor,
    TrustMalformed,
    TrustStep,
    parse_step,
    parse_trust,
)

if TYPE_CHECKING:
    from cli.chainslots import SlotReading

_TRUST_FIELDS = {"genesis": 32, "directory": 20, "ledger": 20}
_EXPORT_HINT = "`deltaseal trust export` writes one; `chain deploy --to FILE` names the chain alone"
_CHINA = timezone(timedelta(hours=8))


def read_receipt(path: Path) -> Receipt:
    """Read and parse a receipt.

    Raises:
        InputMissing: it cannot be opened.
        InputInvalid: it is no receipt.
    """
    try:
        return parse_receipt(_content(path, MAX_RECEIPT_BYTES, "receipt"))
    except ReceiptMalformed as error:
        raise InputInvalid(
            str(error), hint=error.hint or "get it again: deltaseal receipt get", place=str(path)
        ) from None


def read_receipt_json(path: Path) -> dict[str, Any]:
    """Read a receipt, check that it is one, and return its JSON object as it is.

    Raises:
        InputMissing, InputInvalid: as `read_receipt`.
    """
    read_receipt(path)  # It accepts objects only, and refuses what another JSON reader might read otherwise.
    return dict(json.loads(_content(path, MAX_RECEIPT_BYTES, "receipt")))


def compare_file(receipt_path: Path, file: Path) -> bool:
    """Say whether `file` is the one whose digest the receipt opens.

    Raises:
        InputMissing, InputInvalid: one of them cannot be read.
    """
    reason = check_digest(read_receipt(receipt_path), digest_of(file).sha256)
    return reason.outcome is Outcome.PASS


def opened_fields(receipt: Receipt) -> dict[str, Any]:
    """Return the fields that the receipt opens."""
    return {each.name: each.value for each in receipt.opening.opened}


def read_trust(path: Path) -> TrustAnchor:
    """Read what is trusted: a trust anchor, or the file of `chain deploy` or the answer of `chain status -o json`.

    The latter two name a chain and no signers: no block of it can be proved final offline.

    Raises:
        InputMissing: it cannot be opened.
        InputInvalid: it is neither.
    """
    content = _content(path, MAX_TRUST_BYTES, "trust file")
    try:
        value = json.loads(content)
        if isinstance(value, Mapping) and "format" in value:
            return parse_trust(content)
        return chain_only(value)
    except TrustMalformed as error:
        raise InputInvalid(str(error), hint=error.hint or _EXPORT_HINT, place=str(path)) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputInvalid(
            "the trust file is neither a trust anchor nor JSON with chainId, genesis, directory and ledger",
            hint=_EXPORT_HINT,
            place=str(path),
        ) from None


def chain_only(value: Mapping[str, Any]) -> TrustAnchor:
    """Make an anchor without signers from the four facts that name a chain and its Ledger.

    Raises:
        ValueError, KeyError, TypeError: one is missing or malformed.
    """
    chain_id = value["chainId"]
    if isinstance(chain_id, bool) or not isinstance(chain_id, int) or chain_id < 1:
        raise ValueError("chainId")
    found = {**value.get("contracts", {}), **value}
    genesis, directory, ledger = (_hex(found[name], length) for name, length in _TRUST_FIELDS.items())
    return TrustAnchor(ChainFacts(chain_id, genesis, directory, ledger), bytes(20), Engine.EMBEDDED, ())


def trusted(session: Session) -> TrustAnchor:
    """Read the trust file that the flag or the setting names. Raises SettingMissing."""
    path = session.path("trust_file")
    if path is None:
        raise SettingMissing(
            "a receipt can only be checked against a chain that you trust beforehand",
            hint="give --trust FILE, as `deltaseal trust export` writes it",
        )
    return read_trust(path)


def read_step(path: Path) -> TrustStep:
    """Read a step of a trust anchor.

    Raises:
        InputMissing: it cannot be opened.
        InputInvalid: it is none.
    """
    try:
        return parse_step(_content(path, MAX_TRUST_BYTES, "step"))
    except TrustMalformed as error:
        raise InputInvalid(
            str(error), hint=error.hint or "make it: deltaseal trust step", place=str(path)
        ) from None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a receipt amounts to: one word, every step, and the exit code that says so to a script."""

    verdict: ReceiptVerdict
    reasons: tuple[Reason, ...]
    exit: ExitCode


def judge(findings: ReceiptFindings, file: Reason | None) -> Judgement:
    """Add what was found about the file in hand; another file's receipt proves nothing about this one."""
    if file is None or findings.outcome is Outcome.FAIL:
        return Judgement(findings.verdict, findings.reasons, RECEIPT_EXITS[findings.verdict])
    verdict = findings.verdict
    if file.outcome is Outcome.FAIL:
        verdict = ReceiptVerdict.PROOF_INVALID
    elif file.outcome is Outcome.UNPROVEN:
        verdict = ReceiptVerdict.UNPROVEN
    return Judgement(verdict, (*findings.reasons, file), RECEIPT_EXITS[verdict])


def now() -> datetime:
    """Return the time that a receipt is judged at."""
    return datetime.now(UTC)


def check_files(
    receipt: Receipt,
    trust: TrustAnchor,
    *,
    file: Path | None,
    reading: SlotReading | None,
    max_age_s: int | None,
) -> Judgement:
    """Check a receipt by what is trusted, and by the chain client's `reading` where there is one.

    Raises:
        InputMissing, FileUnreadable: the file cannot be read.
    """
    findings = check_receipt(
        receipt,
        trust,
        at=now(),
        known_hash=None if reading is None else reading.block_hash,
        later=None if reading is None else reading.statuses,
        max_age_s=max_age_s,
    )
    return judge(findings, None if file is None else check_digest(receipt, digest_of(file).sha256))


def show_judgement(session: Session, receipt: Receipt, judged: Judgement, *, with_chain: bool) -> ExitCode:
    """Show verdict, block and steps, and return the exit code."""
    checks = [
        {"code": each.code, "outcome": each.outcome.value, "detail": each.detail} for each in judged.reasons
    ]
    shown = {"verdict": judged.verdict.value, **receipt_facts(receipt), "checks": checks}
    if not with_chain:
        shown["notProvedOffline"] = list(receipt.not_proved_offline)
    session.out.item("receipt", shown, sections=[("check", checks)])
    _explain(session, receipt, judged, with_chain=with_chain)
    return judged.exit


def receipt_facts(receipt: Receipt) -> dict[str, Any]:
    """Return what a receipt says, in the form that the output shows."""
    status = receipt.status
    return {
        "opening": opened_fields(receipt),
        "memberId": receipt.member_id,
        "sealedAt": _time(receipt.entry.time),
        "finality": receipt.finality,
        "status": {"asOfBlock": status.as_of_block, "asOfTime": _time(status.as_of_time)},
    }


def _explain(session: Session, receipt: Receipt, judged: Judgement, *, with_chain: bool) -> None:
    note, block = session.out.note, receipt.status.as_of_block
    if judged.verdict is ReceiptVerdict.VALID and with_chain:
        note("every step is proved, and this chain client has no later word against it")
    elif judged.verdict is ReceiptVerdict.VALID:
        note(f"every step is proved as of block {block}; what came later nobody can tell offline")
    elif judged.verdict is ReceiptVerdict.STALE:
        note(f"every step is proved, but block {block} is older than --max-age allows: get a fresh receipt")
    elif judged.verdict is ReceiptVerdict.UNPROVEN and not with_chain:
        note(
            "nothing is wrong, but some steps are not proved offline: add --rpc URL to `receipt check`, or ask a node"
        )
    elif judged.verdict is ReceiptVerdict.UNPROVEN:
        note("nothing is wrong, but some steps are not proved: see the table")


def _time(seconds: int) -> str | int:
    try:
        return datetime.fromtimestamp(seconds, _CHINA).isoformat()
    except (OverflowError, ValueError, OSError):
        return seconds


def _hex(text: Any, length: int) -> bytes:
    raw = bytes.fromhex(str(text).removeprefix("0x"))
    if len(raw) != length:
        raise ValueError("length")
    return raw


def _content(path: Path, limit: int, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise InputMissing(
            f"the {what} cannot be opened: {error.strerror}", hint="check its name", place=str(path)
        ) from None
    if len(content) > limit:
        raise InputInvalid(
            f"the {what} is larger than {limit} bytes", hint="is it the right file?", place=str(path)
        )
    return content
