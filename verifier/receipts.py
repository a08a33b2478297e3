"""Receipts: what one node hands out so that anyone can check a material (docs/reference/receipt.md).

Pure: a receipt, what the reader trusts, and a time go in; findings and one verdict come out. No logging, clock,
file or network. A failed check is an answer; malformed bytes are an exception. Steps are numbered as on the page.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from anchor.canonical import JsonValue, canonical_bytes
from anchor.commitments import PartialOpening, root_of_opening
from anchor.entries import BatchEntry, StatusFlag
from anchor.errors import (
    Base64urlMalformed,
    MerkleInvalid,
    OpeningMalformed,
    RecordMalformed,
    StatusMalformed,
    ValueNotCanonical,
)
from anchor.headers import Engine, Header
from anchor.merkle import HASH_BYTES, inclusion_path
from anchor.records import record_id
from anchor.slots import batch_slot, claim_slot, document_slot
from verifier.proofs.accounts import NodeSet, account_at, storage_at
from verifier.proofs.errors import ProofError
from verifier.proofs.headers import verify_final, verify_linked
from verifier.proofs.inclusion import verify_batch_slot, verify_inclusion
from verifier.receiptforms import (
    FORMAT,
    LABELS,
    MAX_RECEIPT_BYTES,
    OPERATOR,
    DocumentSlot,
    Inclusion,
    Receipt,
    ReceiptMalformed,
    StatusReading,
    decode_statuses,
    parse_places,
    parse_receipt,
    render_receipt,
)
from verifier.timestamps import TimestampInvalid, verify_timestamp
from verifier.trust import ChainFacts, TrustAnchor

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = [
    "FORMAT",
    "MAX_RECEIPT_BYTES",
    "OPERATOR",
    "STEPS",
    "ChainFacts",
    "DocumentSlot",
    "Inclusion",
    "Outcome",
    "Reason",
    "Receipt",
    "ReceiptFindings",
    "ReceiptMalformed",
    "ReceiptVerdict",
    "StatusReading",
    "TrustAnchor",
    "build_receipt",
    "check_digest",
    "check_receipt",
    "parse_receipt",
    "render_receipt",
    "run_steps",
]

# The opened field that names the documents' slots at sealing.
SLOTS_FIELD: Final = "documentSlots"
_SHANGHAI: Final = timezone(timedelta(hours=8))


class Outcome(StrEnum):
    """What a step found. UNPROVEN is not a pass: nothing was wrong, and nothing was shown.

    WARN and SKIPPED are of a step that no verdict rests on: a warning counts for nothing, either way.
    """

    PASS = "pass"  # noqa: S105  # An outcome, not a password.
    UNPROVEN = "unproven"
    WARN = "warn"
    SKIPPED = "skipped"
    FAIL = "fail"


class ReceiptVerdict(StrEnum):
    """One word for all steps. VALID is always "as of block N", the block of the first header."""

    VALID = "valid"
    REVOKED = "revoked"
    SUPERSEDED = "superseded"
    SUSPENDED = "suspended"
    ERASED = "erased"
    EXPIRED = "expired"
    NOT_YET_ISSUED = "not_yet_issued"
    STALE = "stale"
    UNPROVEN = "unproven"
    PROOF_INVALID = "proof_invalid"


@dataclass(frozen=True, slots=True)
class Reason:
    """The outcome of one step. `code` names the step, `detail` is a word of docs/reference/receipt.md."""

    code: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True, slots=True)
class ReceiptFindings:
    """Outcomes of the steps that ran, in order; after a failed step none runs."""

    reasons: tuple[Reason, ...]

    @property
    def outcome(self) -> Outcome:
        """The worst outcome of all steps."""
        found = {reason.outcome for reason in self.reasons}
        return next((each for each in (Outcome.FAIL, Outcome.UNPROVEN) if each in found), Outcome.PASS)

    @property
    def verdict(self) -> ReceiptVerdict:
        """The one word that the steps amount to."""
        worst = self.outcome
        reason = next((each for each in self.reasons if each.outcome is worst), None)
        if reason is None or worst is Outcome.PASS:
            return ReceiptVerdict.VALID if reason is not None else ReceiptVerdict.UNPROVEN
        if worst is Outcome.FAIL:
            return _FAILURES.get(reason.detail.removeprefix("document_"), ReceiptVerdict.PROOF_INVALID)
        return ReceiptVerdict.STALE if reason.detail == "stale" else ReceiptVerdict.UNPROVEN

    def __bool__(self) -> bool:
        """Refuse to be a condition: `if findings:` must never come to mean "valid"."""
        raise TypeError("compare ReceiptFindings.verdict instead")


@dataclass(slots=True)
class _State:
    """The Ledger's storage at block N, as far as the receipt's nodes prove it. Step 6 opens it."""

    nodes: NodeSet | None = None
    storage_root: bytes = b""

    def open(self, receipt: Receipt) -> None:
        nodes = NodeSet(receipt.nodes)
        account = account_at(receipt.headers[0].state_root, receipt.chain.ledger, nodes)
        if account is None:
            raise ProofError("the state has no Ledger", step="account_missing")
        self.nodes, self.storage_root = nodes, account.storage_root

    def at(self, slot: bytes) -> bytes:
        if self.nodes is None:
            raise ProofError("the account was not proved", step="account_missing")
        return storage_at(self.storage_root, slot, self.nodes)

    def verify_all_used(self) -> None:
        if self.nodes is not None:
            self.nodes.verify_all_used()


@dataclass(frozen=True, slots=True)
class _Question:
    receipt: Receipt
    trust: TrustAnchor
    at: datetime
    known_hash: bytes | None
    later: StatusReading | None
    max_age_s: int | None
    tsa_roots: Sequence[Certificate] = ()
    state: _State = field(default_factory=_State)


def check_receipt(
    receipt: Receipt,
    trust: TrustAnchor,
    *,
    at: datetime,
    known_hash: bytes | None = None,
    later: StatusReading | None = None,
    max_age_s: int | None = None,
    tsa_roots: Sequence[Certificate] = (),
) -> ReceiptFindings:
    """Judge `receipt` by `trust` at `at` (aware).

    A reader that follows the trusted chain itself MAY bring `known_hash`, the hash of block N there (empty when
    its chain has no such final block), and `later`, the same status slots read at a final block above N.
    `max_age_s` bounds how old block N may be at `at`; `tsa_roots` are certificates of time-stamping authorities.
    Raises nothing: a failed check is an answer.
    """
    question = _Question(receipt, trust, at, known_hash, later, max_age_s, tsa_roots)
    return ReceiptFindings(tuple(_run(question)))


def run_steps(
    receipt: Receipt,
    trust: TrustAnchor,
    *,
    at: datetime,
    known_hash: bytes | None = None,
    later: StatusReading | None = None,
    max_age_s: int | None = None,
    tsa_roots: Sequence[Certificate] = (),
) -> Iterator[Reason]:
    """Yield the outcome of each of `STEPS` as it ends; takes what `check_receipt` takes."""
    return _run(_Question(receipt, trust, at, known_hash, later, max_age_s, tsa_roots))


def _run(question: _Question) -> Iterator[Reason]:
    for step in STEPS.values():
        reason = step(question)
        yield reason
        if reason.outcome is Outcome.FAIL:
            return  # Later steps build on this one.


def check_digest(receipt: Receipt, sha256: bytes) -> Reason:
    """Compare the 32-byte digest of a file in hand with the one that the receipt opens.

    Says something only about a receipt whose steps 1 to 3 passed.
    """
    if "sha256" not in (opened := _opened(receipt)):
        return Reason("file", Outcome.UNPROVEN, "sha256_hidden")
    if opened["sha256"] == sha256.hex():
        return Reason("file", Outcome.PASS, "same_bytes")
    return Reason("file", Outcome.FAIL, "other_bytes")


def build_receipt(
    *,
    chain: ChainFacts,
    finality: str,
    opening: PartialOpening,
    batch: Sequence[bytes],
    index: int,
    entry: BatchEntry,
    headers: Sequence[Header],
    nodes: Sequence[bytes],
    claim: bytes,
    documents: Sequence[DocumentSlot],
    path: Sequence[bytes] | None = None,
    timestamp: bytes = b"",
) -> Receipt:
    """Put a receipt together for record `index` of `batch`, all records (96 bytes each) of `entry`.

    Who makes many from one batch MAY bring the inclusion `path`; it is checked like all else.

    Raises:
        ReceiptMalformed: the parts contradict each other, so that no reader could accept the receipt.
    """
    if not headers:
        raise ReceiptMalformed("a receipt needs the header of its block")
    try:
        if path is None:
            path = inclusion_path([record_id(entry.member_id, record) for record in batch], index)
        inclusion = Inclusion(index, tuple(path))
    except (RecordMalformed, MerkleInvalid) as error:
        raise ReceiptMalformed(f"the batch does not fit: {error}", cause=error.code) from None
    status = StatusReading(claim, tuple(documents), headers[0].number, headers[0].time)
    proof = (tuple(headers), tuple(nodes), status)
    parts = Receipt(
        chain, finality, opening, batch[index], entry.member_id, inclusion, entry, *proof, timestamp
    )
    # A receipt that this module would not read again must not leave the node.
    receipt = parse_receipt(_canonical(parts))
    _require_consistent(receipt)
    return receipt


def _require_consistent(receipt: Receipt) -> None:
    nobody = TrustAnchor(receipt.chain, b"", Engine.EMBEDDED, ())
    question = _Question(receipt, nobody, datetime.fromtimestamp(0, _SHANGHAI), None, None, None)
    for step in (_check_opening, _check_inclusion, _check_state, _check_batch_slot, _check_status_slots):
        if (reason := step(question)).outcome is Outcome.FAIL:
            raise ReceiptMalformed("the parts contradict each other", step=reason.code, detail=reason.detail)


def _check_chain(question: _Question) -> Reason:
    """Step 1: the receipt speaks of the chain, Ledger and engine that the reader trusts."""
    receipt, trust = question.receipt, question.trust
    if receipt.chain != trust.chain:
        return Reason("chain", Outcome.FAIL, "other_chain")
    if trust.signer_sets and receipt.finality != LABELS[trust.engine]:
        return Reason("chain", Outcome.FAIL, "other_engine")
    return Reason("chain", Outcome.PASS, "same_chain")


def _check_opening(question: _Question) -> Reason:
    """Step 2: the opened fields lead to the commitment at the start of the record."""
    try:
        commitment = root_of_opening(question.receipt.opening)
    except OpeningMalformed:
        return Reason("opening", Outcome.FAIL, "malformed")
    if not hmac.compare_digest(commitment, question.receipt.record[:HASH_BYTES]):
        return Reason("opening", Outcome.FAIL, "other_commitment")
    return Reason("opening", Outcome.PASS, "same_commitment")


def _check_inclusion(question: _Question) -> Reason:
    """Step 3: the record is in the batch that the entry describes."""
    receipt = question.receipt
    where = receipt.inclusion
    try:
        verify_inclusion(receipt.record, receipt.member_id, where.index, receipt.entry, where.path)
    except ProofError:
        return Reason("inclusion", Outcome.FAIL, "not_included")
    return Reason("inclusion", Outcome.PASS, "included")


def _check_headers(question: _Question) -> Reason:
    """Step 4: each header is the child of the one before it, and the first is the block that the reader knows."""
    headers, engine = question.receipt.headers, question.trust.engine
    try:
        name = verify_linked(headers, engine)
    except ProofError:
        return Reason("headers", Outcome.FAIL, "headers_unlinked")
    if question.known_hash is not None and not hmac.compare_digest(name, question.known_hash):
        return Reason("headers", Outcome.FAIL, "other_block")
    return Reason("headers", Outcome.PASS, "linked")


def _check_finality(question: _Question) -> Reason:
    """Step 5: enough trusted signers stand behind block N, or the reader's own chain holds it as final."""
    trust, headers = question.trust, question.receipt.headers
    if trust.signers_at(headers[0].number):
        try:
            verify_final(headers, trust.signers_at, trust.engine)
        except ProofError:
            return Reason("finality", Outcome.FAIL, "quorum_missing")
        return Reason("finality", Outcome.PASS, "quorum")
    if question.known_hash is not None:
        return Reason("finality", Outcome.PASS, "known_block")  # Step 4 has compared it.
    return Reason("finality", Outcome.UNPROVEN, "before_anchor" if trust.signer_sets else "no_signers")


def _check_state(question: _Question) -> Reason:
    """Step 6: the state of block N has the Ledger."""
    try:
        question.state.open(question.receipt)
    except ProofError:
        return Reason("state", Outcome.FAIL, "account_not_proved")
    return Reason("state", Outcome.PASS, "account_proved")


def _check_batch_slot(question: _Question) -> Reason:
    """Step 7: the Ledger holds this entry."""
    entry = question.receipt.entry
    try:
        held = question.state.at(batch_slot(entry.id))
    except ProofError:
        return Reason("batch_slot", Outcome.FAIL, "slot_not_proved")
    try:
        verify_batch_slot(entry, held)
    except ProofError:
        return Reason("batch_slot", Outcome.FAIL, "other_entry")
    return Reason("batch_slot", Outcome.PASS, "same_entry")


def _check_status_slots(question: _Question) -> Reason:
    """Step 8: the Ledger holds the shown status values, set or empty, and no node is left over."""
    shown, state = question.receipt.status, question.state
    slots = [(claim_slot(question.receipt.member_id, question.receipt.record[:HASH_BYTES]), shown.claim)]
    slots += [(document_slot(*each.place), each.value) for each in shown.documents]
    try:
        held = [state.at(slot) for slot, _ in slots]
        state.verify_all_used()
    except ProofError:
        return Reason("status_slots", Outcome.FAIL, "slot_not_proved")
    if held != [value for _, value in slots]:
        return Reason("status_slots", Outcome.FAIL, "other_status")
    return _check_documents(question.receipt)


def _check_documents(receipt: Receipt) -> Reason:
    """Compare the documents shown with those sealed: who presents a receipt must not choose them."""
    opened = _opened(receipt)
    if SLOTS_FIELD not in opened:
        return Reason("status_slots", Outcome.UNPROVEN, "documents_hidden")
    try:
        sealed = parse_places(opened[SLOTS_FIELD])
    except (ReceiptMalformed, Base64urlMalformed):
        return Reason("status_slots", Outcome.FAIL, "documents_malformed")
    # More may be shown: a statement adds the slots of issuers since.
    if not sealed <= {each.place for each in receipt.status.documents}:
        return Reason("status_slots", Outcome.FAIL, "other_documents")
    return Reason("status_slots", Outcome.PASS, "same_status")


def _check_status(question: _Question) -> Reason:
    """Step 9: no flag stands against the claim or its documents."""
    shown, later = question.receipt.status, question.later
    if (flag := _flag_against(shown if later is None else later)) is not None:
        return Reason("status", Outcome.FAIL, flag)
    if later is None:
        return Reason("status", Outcome.PASS, "clear")
    if {each.place for each in later.documents} != {each.place for each in shown.documents}:
        return Reason("status", Outcome.UNPROVEN, "other_slots_read")
    # An old reading could hide what the receipt already shows.
    if later.as_of_block < shown.as_of_block:
        return Reason("status", Outcome.UNPROVEN, "read_too_early")
    return Reason("status", Outcome.PASS, "clear")


def _check_validity(question: _Question) -> Reason:
    """Step 10: `at` lies from `issuedOn` on and before `expiresOn`, the first day that no longer counts."""
    if (today := _local_day(question.at)) is None:
        return Reason("validity", Outcome.UNPROVEN, "time_unusable")
    opened = _opened(question.receipt)
    try:
        issued_on, expires_on = _day(opened.get("issuedOn")), _day(opened.get("expiresOn"))
    except ValueError:
        return Reason("validity", Outcome.FAIL, "date_malformed")
    if issued_on is not None and today < issued_on:
        return Reason("validity", Outcome.FAIL, "not_yet_issued")
    if expires_on is not None and today >= expires_on:
        return Reason("validity", Outcome.FAIL, "expired")
    if "expiresOn" not in opened:
        return Reason("validity", Outcome.UNPROVEN, "expires_on_hidden")
    return Reason("validity", Outcome.PASS, "no_expiry" if expires_on is None else "in_force")


def _check_freshness(question: _Question) -> Reason:
    """Step 11: the status that counts is not older than the reader allows."""
    if question.max_age_s is None:
        return Reason("freshness", Outcome.PASS, "no_bound")
    if question.at.tzinfo is None:
        return Reason("freshness", Outcome.UNPROVEN, "time_unusable")
    reading = question.later or question.receipt.status
    if question.at.timestamp() - reading.as_of_time > question.max_age_s:
        return Reason("freshness", Outcome.UNPROVEN, "stale")
    return Reason("freshness", Outcome.PASS, "fresh")


def _check_timestamp(question: _Question) -> Reason:
    """Step 12: a trusted authority stamped the batch's root. It never fails: no verdict rests on a stamp."""
    receipt = question.receipt
    if not receipt.timestamp:
        return Reason("timestamp", Outcome.SKIPPED, "no_timestamp")
    try:
        stamp = verify_timestamp(receipt.timestamp, receipt.entry.root, question.tsa_roots)
    except TimestampInvalid as error:
        return Reason("timestamp", Outcome.WARN, error.code)
    if not stamp.trusted:
        return Reason("timestamp", Outcome.WARN, "tsa_unknown")
    return Reason("timestamp", Outcome.PASS, "stamped")


# By the code of their reason. Order and numbers: docs/reference/receipt.md "Verifying".
STEPS: Final[Mapping[str, Callable[[_Question], Reason]]] = {
    "chain": _check_chain,
    "opening": _check_opening,
    "inclusion": _check_inclusion,
    "headers": _check_headers,
    "finality": _check_finality,
    "state": _check_state,
    "batch_slot": _check_batch_slot,
    "status_slots": _check_status_slots,
    "status": _check_status,
    "validity": _check_validity,
    "freshness": _check_freshness,
    "timestamp": _check_timestamp,
}

# The gravest first: one word has to do for a claim that has several.
_FLAGS: Final = (
    (StatusFlag.ERASED.value, "erased"),
    (StatusFlag.REVOKED.value, "revoked"),
    (StatusFlag.SUPERSEDED.value, "superseded"),
    (StatusFlag.SUSPENDED.value, "suspended"),
)
# Failed steps that speak of the document and not of the proof, by their detail.
_FAILURES: Final[Mapping[str, ReceiptVerdict]] = {
    each.value: each
    for each in (
        ReceiptVerdict.ERASED,
        ReceiptVerdict.REVOKED,
        ReceiptVerdict.SUPERSEDED,
        ReceiptVerdict.SUSPENDED,
        ReceiptVerdict.EXPIRED,
        ReceiptVerdict.NOT_YET_ISSUED,
    )
}


def _flag_against(reading: StatusReading) -> str | None:
    try:
        claim, *documents = (each.flags.value for each in decode_statuses(reading))
    except StatusMalformed:
        return "status_malformed"
    for flag, word in _FLAGS:
        if claim & flag:
            return word
        if any(flags & flag for flags in documents):
            return f"document_{word}"
    return None


def _opened(receipt: Receipt) -> Mapping[str, JsonValue]:
    return {each.name: each.value for each in receipt.opening.opened}


def _local_day(at: datetime) -> date | None:
    if at.tzinfo is None:
        return None  # Python would take it for the time of the machine's own zone.
    try:
        return at.astimezone(_SHANGHAI).date()
    except OverflowError:
        return None


def _day(value: JsonValue) -> date | None:
    if value is None:
        return None
    # `fromisoformat` also reads 20260101 and 2026-W01-1: one day must have one text.
    if not isinstance(value, str) or (day := date.fromisoformat(value)).isoformat() != value:
        raise ValueError
    return day


def _canonical(receipt: Receipt) -> bytes:
    try:
        return canonical_bytes(render_receipt(receipt))
    except ValueNotCanonical as error:
        raise ReceiptMalformed(f"the parts cannot be written: {error}", cause=error.code) from None
