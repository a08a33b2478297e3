"""Receipts: what one node hands out so that anyone can check a material (docs/reference/receipt.md).

Pure: a receipt, what the reader trusts, and a time go in; findings come out. No logging, clock, file or
network. A failed check is an answer; malformed bytes are an exception. Steps are numbered as on the page.
"""

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from enum import StrEnum
from typing import Final

from anchor.base64url import parse_base64url, render_base64url
from anchor.canonical import JsonValue, canonical_bytes, parse_strict_json
from anchor.commitments import PartialOpening, opening_from_json, opening_to_json, root_of_opening
from anchor.entries import STATUS_BYTES, BatchEntry, SlotStatus, StatusFlag, decode_status, encode_entry
from anchor.errors import (
    Base64urlMalformed,
    DeltasealError,
    EntryMalformed,
    MerkleInvalid,
    OpeningMalformed,
    RecordMalformed,
    StatusMalformed,
    ValueNotCanonical,
)
from anchor.merkle import HASH_BYTES, inclusion_path
from anchor.records import RECORD_BYTES, Stream, parse_frame, record_id
from anchor.tags import TAG_BYTES, Tag
from verifier.proofs.errors import ProofError
from verifier.proofs.inclusion import verify_batch_slot, verify_inclusion

FORMAT: Final = "deltaseal-receipt/0"
MAX_RECEIPT_BYTES: Final = 1 << 20
MAX_PATH: Final = 9  # log2 of the 512 records of the largest batch.
MAX_DOCUMENTS: Final = 64
# What this format leaves to a look at the chain; a receipt must admit all of it.
NOT_PROVED_OFFLINE: Final = ("batch_slot", "block_finality", "status_slots")

_SHANGHAI: Final = timezone(timedelta(hours=8))
_ADDRESS_BYTES: Final = 20
_HEX_DIGITS: Final = frozenset("0123456789abcdef")


class ReceiptMalformed(DeltasealError):
    """Bytes that are no receipt, or parts that contradict each other."""

    code = "receipt_malformed"


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """One chain and one Ledger on it: what a reader must know and trust beforehand."""

    chain_id: int
    genesis: bytes  # Hash of block 0, 32 bytes.
    directory: bytes  # Address, 20 bytes.
    ledger: bytes  # Address, 20 bytes.


@dataclass(frozen=True, slots=True)
class Inclusion:
    """Where a record stands in its batch, and the RFC 6962 path to the batch's root."""

    index: int
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class BlockRef:
    """The block that took the batch: number, 32-byte hash, time in seconds since 1970."""

    number: int
    hash: bytes
    time: int


@dataclass(frozen=True, slots=True)
class DocumentSlot:
    """The Ledger's 32-byte status value of a document, as one issuing member may have written it."""

    member_id: int
    domain: int
    epoch: int
    doc_tag: Tag
    value: bytes

    @property
    def place(self) -> tuple[int, int, int, bytes]:
        """What names the slot, without its value."""
        return (self.member_id, self.domain, self.epoch, self.doc_tag)


@dataclass(frozen=True, slots=True)
class StatusReading:
    """Status slots of a claim and of its documents, all read at one block."""

    claim: bytes
    documents: tuple[DocumentSlot, ...]
    as_of_block: int
    as_of_time: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """A parsed receipt. Nothing in it is proved before `check_receipt` says so."""

    chain: ChainFacts
    opening: PartialOpening
    record: bytes
    member_id: int
    inclusion: Inclusion
    entry: BatchEntry
    block: BlockRef
    status: StatusReading
    not_proved_offline: tuple[str, ...] = NOT_PROVED_OFFLINE


class Outcome(StrEnum):
    """What a step found. UNPROVEN is not a pass: nothing was wrong, and nothing was shown."""

    PASS = "pass"  # noqa: S105  # An outcome, not a password.
    UNPROVEN = "unproven"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Reason:
    """The outcome of one step. `code` names the step, `detail` is a word of docs/reference/receipt.md."""

    code: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True, slots=True)
class ReceiptFindings:
    """Outcomes of the steps that ran, in order; after a failed step none runs.

    `offline_complete` says that every step passed and the format left nothing to a look at the chain.
    """

    reasons: tuple[Reason, ...]
    offline_complete: bool

    @property
    def outcome(self) -> Outcome:
        """The worst outcome of all steps."""
        found = {reason.outcome for reason in self.reasons}
        return next((each for each in (Outcome.FAIL, Outcome.UNPROVEN) if each in found), Outcome.PASS)

    def __bool__(self) -> bool:
        """Refuse to be a condition: `if findings:` must never come to mean "valid"."""
        raise TypeError("compare ReceiptFindings.outcome instead")


@dataclass(frozen=True, slots=True)
class _Question:
    receipt: Receipt
    trust: ChainFacts
    at: datetime
    slot: bytes | None
    statuses: StatusReading | None


def check_receipt(
    receipt: Receipt,
    trust: ChainFacts,
    *,
    at: datetime,
    slot: bytes | None = None,
    statuses: StatusReading | None = None,
) -> ReceiptFindings:
    """Judge `receipt` by `trust` at `at` (aware).

    `slot` is `batchHash[receipt.entry.id]` and `statuses` the status slots that the receipt names, each
    read by the caller from a final block of the trusted chain; without them steps 4 and 5 cannot pass.
    Raises nothing: a failed check is an answer.
    """
    question = _Question(receipt, trust, at, slot, statuses)
    reasons: list[Reason] = []
    for step in STEPS:
        reasons.append(step(question))
        if reasons[-1].outcome is Outcome.FAIL:
            break  # Later steps build on this one.
    passed = all(reason.outcome is Outcome.PASS for reason in reasons)
    return ReceiptFindings(tuple(reasons), passed and not receipt.not_proved_offline)


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
    opening: PartialOpening,
    batch: Sequence[bytes],
    index: int,
    entry: BatchEntry,
    block: BlockRef,
    status: StatusReading,
) -> Receipt:
    """Put a receipt together for record `index` of `batch`, all records (96 bytes each) of `entry`.

    Raises:
        ReceiptMalformed: the parts contradict each other, so that no reader could accept the receipt.
    """
    try:
        leaves = [record_id(entry.member_id, record) for record in batch]
        inclusion = Inclusion(index, tuple(inclusion_path(leaves, index)))
    except (RecordMalformed, MerkleInvalid) as error:
        raise ReceiptMalformed(f"the batch does not fit: {error}", cause=error.code) from None
    parts = Receipt(chain, opening, batch[index], entry.member_id, inclusion, entry, block, status)
    # A receipt that this module would not read again must not leave the node.
    receipt = parse_receipt(_canonical(parts))
    question = _Question(receipt, chain, datetime.fromtimestamp(0, _SHANGHAI), None, None)
    for step in (_check_opening, _check_inclusion, _check_batch_slot):
        if (reason := step(question)).outcome is Outcome.FAIL:
            raise ReceiptMalformed("the parts contradict each other", step=reason.code, detail=reason.detail)
    return receipt


def render_receipt(receipt: Receipt) -> dict[str, JsonValue]:
    """Render a receipt as its JSON object (docs/reference/receipt.md)."""
    entry, block, status = receipt.entry, receipt.block, receipt.status
    return {
        "format": FORMAT,
        "chain": {
            "chainId": receipt.chain.chain_id,
            "genesis": _render_hex(receipt.chain.genesis),
            "directory": _render_hex(receipt.chain.directory),
            "ledger": _render_hex(receipt.chain.ledger),
        },
        "opening": opening_to_json(receipt.opening),
        "record": render_base64url(receipt.record),
        "memberId": receipt.member_id,
        "inclusion": {
            "index": receipt.inclusion.index,
            "path": [render_base64url(each) for each in receipt.inclusion.path],
        },
        "entry": {
            "id": entry.id,
            "memberId": entry.member_id,
            "stream": int(entry.stream),
            "seq": entry.seq,
            "size": entry.size,
            "root": render_base64url(entry.root),
            "time": entry.time,
        },
        "block": {"number": block.number, "hash": _render_hex(block.hash), "time": block.time},
        "status": {
            "claim": _render_hex(status.claim),
            "documents": [_render_document(each) for each in status.documents],
            "asOfBlock": status.as_of_block,
            "asOfTime": status.as_of_time,
        },
        "notProvedOffline": list(receipt.not_proved_offline),
    }


def parse_receipt(raw: bytes) -> Receipt:
    """Parse the bytes of a receipt: strict JSON of at most 1 MiB, no member unknown or missing.

    Raises:
        ReceiptMalformed: anything that `render_receipt` would not have written, white space and order apart.
    """
    try:
        receipt = _parse_object(parse_strict_json(raw, max_bytes=MAX_RECEIPT_BYTES))
        _require_readable(receipt)
    except _PART_ERRORS as error:
        raise ReceiptMalformed(f"the receipt is malformed: {error}", cause=error.code) from None
    return receipt


def _check_chain(question: _Question) -> Reason:
    """Step 1: the receipt speaks of the chain and Ledger that the reader trusts."""
    if question.receipt.chain != question.trust:
        return Reason("chain", Outcome.FAIL, "other_chain")
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


def _check_batch_slot(question: _Question) -> Reason:
    """Step 4: the Ledger has this entry, taken at the time of the named block."""
    entry = question.receipt.entry
    if entry.time != question.receipt.block.time:
        return Reason("batch_slot", Outcome.FAIL, "other_time")
    if question.slot is None:
        return Reason("batch_slot", Outcome.UNPROVEN, "not_read")
    try:
        verify_batch_slot(entry, question.slot)
    except ProofError:
        return Reason("batch_slot", Outcome.FAIL, "other_entry")
    return Reason("batch_slot", Outcome.PASS, "same_entry")


def _check_status(question: _Question) -> Reason:
    """Step 5: no flag stands against the claim or its documents.

    A flag in the receipt itself counts also when nothing was read: nobody forges a revocation to gain by it.
    """
    shown, read = question.receipt.status, question.statuses
    if (flag := _flag_against(shown if read is None else read)) is not None:
        return Reason("status", Outcome.FAIL, flag)
    if read is None:
        return Reason("status", Outcome.UNPROVEN, "not_read")
    if {each.place for each in read.documents} != {each.place for each in shown.documents}:
        return Reason("status", Outcome.UNPROVEN, "other_slots_read")
    # An old reading could hide what the receipt already shows.
    if read.as_of_block < shown.as_of_block:
        return Reason("status", Outcome.UNPROVEN, "read_too_early")
    return Reason("status", Outcome.PASS, "clear")


def _check_validity(question: _Question) -> Reason:
    """Step 6: `at` lies from `issuedOn` on and before `expiresOn`, the first day that no longer counts."""
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


# Order and numbers: docs/reference/receipt.md "Verifying".
STEPS: Final[tuple[Callable[[_Question], Reason], ...]] = (
    _check_chain,
    _check_opening,
    _check_inclusion,
    _check_batch_slot,
    _check_status,
    _check_validity,
)

# The gravest first: one word has to do for a claim that has several.
_AGAINST: Final = (
    (StatusFlag.ERASED, "erased"),
    (StatusFlag.REVOKED, "revoked"),
    (StatusFlag.SUPERSEDED, "superseded"),
    (StatusFlag.SUSPENDED, "suspended"),
)


def _flag_against(reading: StatusReading) -> str | None:
    try:
        claim, *documents = _statuses(reading)
    except StatusMalformed:
        return "status_malformed"
    for flag, word in _AGAINST:
        if claim.flags & flag:
            return word
        if any(each.flags & flag for each in documents):
            return f"document_{word}"
    return None


def _statuses(reading: StatusReading) -> list[SlotStatus]:
    return [decode_status(reading.claim), *(decode_status(each.value) for each in reading.documents)]


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


_PART_ERRORS: Final = (
    Base64urlMalformed,
    EntryMalformed,
    OpeningMalformed,
    RecordMalformed,
    StatusMalformed,
    ValueNotCanonical,
)


def _canonical(receipt: Receipt) -> bytes:
    try:
        return canonical_bytes(render_receipt(receipt))
    except ValueNotCanonical as error:
        raise ReceiptMalformed(f"the parts cannot be written: {error}", cause=error.code) from None


def _require_readable(receipt: Receipt) -> None:
    parse_frame(receipt.record)
    encode_entry(receipt.entry)
    _statuses(receipt.status)
    if receipt.status.as_of_block < receipt.block.number:
        raise ReceiptMalformed("the status was read before the record was there")


def _parse_object(value: JsonValue) -> Receipt:
    shape, chain, opening, record, member_id, inclusion, entry, block, status, admitted = _members(
        value,
        *("format", "chain", "opening", "record", "memberId"),
        *("inclusion", "entry", "block", "status", "notProvedOffline"),
    )
    if shape != FORMAT:
        raise ReceiptMalformed("this is no receipt of a known version", hint=f"this version reads {FORMAT}")
    if admitted != list(NOT_PROVED_OFFLINE):
        raise ReceiptMalformed("the receipt does not admit what its format leaves unproved")
    return Receipt(
        _parse_chain(chain),
        opening_from_json(opening),
        parse_base64url(record, length=RECORD_BYTES),
        _number(member_id, octets=4),
        _parse_inclusion(inclusion),
        _parse_entry(entry),
        _parse_block(block),
        _parse_status(status),
    )


def _parse_chain(value: JsonValue) -> ChainFacts:
    chain_id, genesis, directory, ledger = _members(value, "chainId", "genesis", "directory", "ledger")
    return ChainFacts(
        _number(chain_id),
        _hex(genesis, HASH_BYTES),
        _hex(directory, _ADDRESS_BYTES),
        _hex(ledger, _ADDRESS_BYTES),
    )


def _parse_inclusion(value: JsonValue) -> Inclusion:
    index, path = _members(value, "index", "path")
    return Inclusion(
        _number(index), tuple(parse_base64url(each, length=HASH_BYTES) for each in _list(path, MAX_PATH))
    )


def _parse_entry(value: JsonValue) -> BatchEntry:
    number, member_id, stream, seq, size, root, time = _members(
        value, "id", "memberId", "stream", "seq", "size", "root", "time"
    )
    if isinstance(stream, bool) or stream not in (1, 2, 3):
        raise ReceiptMalformed("the entry has an unknown stream")
    return BatchEntry(
        id=_number(number),
        member_id=_number(member_id, octets=4),
        stream=Stream(_number(stream)),
        seq=_number(seq),
        size=_number(size),
        root=parse_base64url(root, length=HASH_BYTES),
        time=_number(time),
    )


def _parse_block(value: JsonValue) -> BlockRef:
    number, block_hash, time = _members(value, "number", "hash", "time")
    return BlockRef(_number(number), _hex(block_hash, HASH_BYTES), _number(time))


def _parse_status(value: JsonValue) -> StatusReading:
    claim, documents, as_of_block, as_of_time = _members(value, "claim", "documents", "asOfBlock", "asOfTime")
    slots = tuple(_parse_document(each) for each in _list(documents, MAX_DOCUMENTS))
    if len({each.place for each in slots}) != len(slots):
        raise ReceiptMalformed("a document's status is there twice")
    return StatusReading(_hex(claim, STATUS_BYTES), slots, _number(as_of_block), _number(as_of_time))


def _parse_document(value: JsonValue) -> DocumentSlot:
    member_id, domain, epoch, doc_tag, status = _members(
        value, "memberId", "domain", "epoch", "docTag", "value"
    )
    return DocumentSlot(
        _number(member_id, octets=4),
        _number(domain, octets=2),
        _number(epoch, octets=2),
        Tag(parse_base64url(doc_tag, length=TAG_BYTES)),
        _hex(status, STATUS_BYTES),
    )


def _render_document(slot: DocumentSlot) -> dict[str, JsonValue]:
    return {
        "memberId": slot.member_id,
        "domain": slot.domain,
        "epoch": slot.epoch,
        "docTag": render_base64url(slot.doc_tag),
        "value": _render_hex(slot.value),
    }


def _members(value: JsonValue, *names: str) -> list[JsonValue]:
    if not isinstance(value, Mapping) or value.keys() != set(names):
        raise ReceiptMalformed("an object of the receipt lacks a member or has one too many")
    return [value[name] for name in names]


def _list(value: JsonValue, limit: int) -> list[JsonValue]:
    if not isinstance(value, list) or len(value) > limit:
        raise ReceiptMalformed("a list of the receipt is none, or is too long", limit=limit)
    return value


def _number(value: JsonValue, *, octets: int = 8) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 8 * octets:
        raise ReceiptMalformed("a number of the receipt is not a whole one in its range", octets=octets)
    return value


def _render_hex(raw: bytes) -> str:
    return "0x" + raw.hex()


def _hex(value: JsonValue, length: int) -> bytes:
    text = value[2:] if isinstance(value, str) and value.startswith("0x") else ""
    if len(text) != 2 * length or set(text) - _HEX_DIGITS:
        raise ReceiptMalformed("a value is not 0x and lower-case hexadecimal digits", length=length)
    return bytes.fromhex(text)
