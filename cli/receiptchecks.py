"""Runs the checks on a receipt and shows them: as a table or JSON, or line by line as each ends.

The lines are the protocol that all verifiers of receipts speak (docs/reference/verifier-protocol.md). Reads no file
and opens no connection.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from cli.exitcodes import RECEIPT_EXITS, ExitCode
from cli.session import Session
from verifier.expectations import Expected, check_expected, planned_expectations
from verifier.receipts import (
    STEPS,
    Outcome,
    Reason,
    Receipt,
    ReceiptFindings,
    ReceiptMalformed,
    ReceiptVerdict,
    StatusReading,
    parse_receipt,
    run_steps,
)
from verifier.timestamps import verify_timestamp
from verifier.trust import TrustAnchor

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

PROTOCOL = "deltaseal-verify/1"
_CHINA = timezone(timedelta(hours=8))


def now() -> datetime:
    """Return the time that a receipt is judged at."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a receipt is judged by: a trust anchor, a time, and what the reader brings beside."""

    trust: TrustAnchor
    at: datetime
    expected: Expected = field(default_factory=Expected)
    known_hash: bytes | None = None  # Of the receipt's block, on the reader's own chain.
    later: StatusReading | None = None  # The status slots, read there.
    max_age_s: int | None = None
    tsa_roots: Sequence[Certificate] = ()  # Roots of time-stamping authorities.

    @property
    def planned(self) -> list[str]:
        """The codes of all checks, in their order; after a failed one none runs."""
        return ["receipt", *STEPS, *planned_expectations(self.expected)]


class Checking:
    """One receipt under check. Iterating runs the checks; what was found stays in `reasons`."""

    def __init__(self, content: bytes, asked: Asked) -> None:
        """Take the bytes of a receipt as they came."""
        self._content, self._asked = content, asked
        self.receipt: Receipt | None = None
        self.fault: ReceiptMalformed | None = None
        self.reasons: list[Reason] = []

    def __iter__(self) -> Iterator[Reason]:
        """Yield the outcome of each check as it ends."""
        for reason in self._run():
            self.reasons.append(reason)
            yield reason

    @property
    def verdict(self) -> ReceiptVerdict:
        """The one word that the outcomes so far amount to."""
        return ReceiptFindings(tuple(self.reasons)).verdict

    @property
    def exit(self) -> ExitCode:
        """The exit code that says the verdict to a script."""
        return RECEIPT_EXITS[self.verdict]

    @property
    def stamped_at(self) -> datetime | None:
        """When a trusted authority saw the batch; None unless that check passed."""
        if self.receipt is None or Reason("timestamp", Outcome.PASS, "stamped") not in self.reasons:
            return None
        return verify_timestamp(self.receipt.timestamp, self.receipt.entry.root, self._asked.tsa_roots).time

    def _run(self) -> Iterator[Reason]:
        try:
            self.receipt = parse_receipt(self._content)
        except ReceiptMalformed as error:
            self.fault = error
            yield Reason("receipt", Outcome.FAIL, error.code)
            return
        yield Reason("receipt", Outcome.PASS, "well_formed")
        asked = self._asked
        yield from run_steps(
            self.receipt,
            asked.trust,
            at=asked.at,
            known_hash=asked.known_hash,
            later=asked.later,
            max_age_s=asked.max_age_s,
            tsa_roots=asked.tsa_roots,
        )
        if self.reasons[-1].outcome is not Outcome.FAIL:
            yield from check_expected(self.receipt, asked.expected)


def verify_lines(content: bytes, asked: Asked) -> Iterator[dict[str, Any]]:
    """Yield the lines of the protocol about the bytes of a receipt: plan, each check as it ends, verdict."""
    yield {"type": "plan", "protocol": PROTOCOL, "verifier": "python", "checks": asked.planned}
    checking = Checking(content, asked)
    for reason in checking:
        yield {"type": "check", **_shown(reason)}
    line = {"type": "verdict", "verdict": checking.verdict.value, "exit": int(checking.exit)}
    if checking.receipt is not None:
        status = checking.receipt.status
        line |= {"asOfBlock": status.as_of_block, "asOfTime": status.as_of_time}
    if checking.stamped_at is not None:
        line["stampedAt"] = int(checking.stamped_at.timestamp())
    yield line


def show_checks(session: Session, content: bytes, asked: Asked) -> ExitCode:
    """Run the checks, show them in the form asked for, and return the exit code."""
    if session.out.form == "jsonl":
        for line in verify_lines(content, asked):
            session.out.line(line)
        return ExitCode(line["exit"])
    checking = Checking(content, asked)
    checks = [_shown(reason) for reason in checking]
    shown: dict[str, Any] = {"verdict": checking.verdict.value, "checks": checks}
    if checking.receipt is not None:
        shown |= receipt_facts(checking.receipt)
        if asked.later is None:
            shown["notProvedOffline"] = list(checking.receipt.not_proved_offline)
    if checking.stamped_at is not None:
        shown["stampedAt"] = checking.stamped_at.astimezone(_CHINA).isoformat()
    session.out.item("receipt", shown, sections=[("check", checks)])
    _explain(session, checking, with_chain=asked.later is not None)
    return checking.exit


def opened_fields(receipt: Receipt) -> dict[str, Any]:
    """Return the fields that the receipt opens."""
    return {each.name: each.value for each in receipt.opening.opened}


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


def _shown(reason: Reason) -> dict[str, str]:
    return {"code": reason.code, "outcome": reason.outcome.value, "detail": reason.detail}


def _explain(session: Session, checking: Checking, *, with_chain: bool) -> None:
    note, verdict = session.out.note, checking.verdict
    if checking.fault is not None:
        note(f"{checking.fault}; {checking.fault.hint or 'get it again: deltaseal receipt get'}")
        return
    if any(each.outcome is Outcome.WARN for each in checking.reasons):
        note(
            "its time stamp counts for nothing: it is not by an authority of --tsa-root, or of something else"
        )
    block = 0 if checking.receipt is None else checking.receipt.status.as_of_block
    if verdict is ReceiptVerdict.VALID and with_chain:
        note("every step is proved, and this chain client has no later word against it")
    elif verdict is ReceiptVerdict.VALID:
        note(f"every step is proved as of block {block}; what came later nobody can tell offline")
    elif verdict is ReceiptVerdict.STALE:
        note(f"every step is proved, but block {block} is older than --max-age allows: get a fresh receipt")
    elif verdict is ReceiptVerdict.UNPROVEN and not with_chain:
        note(
            "nothing is wrong, but some steps are not proved offline: add --rpc URL to `receipt check`, or ask a node"
        )
    elif verdict is ReceiptVerdict.UNPROVEN:
        note("nothing is wrong, but some steps are not proved: see the table")


def _time(seconds: int) -> str | int:
    try:
        return datetime.fromtimestamp(seconds, _CHINA).isoformat()
    except (OverflowError, ValueError, OSError):
        return seconds
