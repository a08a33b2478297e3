"""The parts of a receipt, and its JSON (docs/reference/receipt.md). What they prove is judged in `verifier.receipts`.

Pure: no chain, clock, file or network.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from anchor.base64url import parse_base64url, render_base64url
from anchor.canonical import JsonValue, parse_strict_json
from anchor.commitments import PartialOpening, opening_from_json, opening_to_json
from anchor.entries import STATUS_BYTES, BatchEntry, SlotStatus, decode_status, document_name, encode_entry
from anchor.errors import (
    Base64urlMalformed,
    DeltasealError,
    EntryMalformed,
    HeaderMalformed,
    OpeningMalformed,
    RecordMalformed,
    StatusMalformed,
    ValueNotCanonical,
)
from anchor.headers import MAX_HEADER_BYTES, Engine, Header, decode_header
from anchor.merkle import HASH_BYTES
from anchor.records import RECORD_BYTES, Stream, parse_frame
from anchor.tags import TAG_BYTES, Tag
from verifier.jsonparts import PartReader, render_hex
from verifier.proofs.accounts import MAX_NODE_BYTES, MAX_NODES
from verifier.proofs.headers import MAX_HEADERS
from verifier.timestamps import MAX_TOKEN_BYTES
from verifier.trust import ChainFacts, read_chain, render_chain

FORMAT: Final = "deltaseal-receipt/1"
MAX_RECEIPT_BYTES: Final = 1 << 20
MAX_PATH: Final = 9  # log2 of the 512 records of the largest batch.
MAX_DOCUMENTS: Final = 64
LABELS: Final = {
    Engine.EMBEDDED: "operator",
    Engine.CLIQUE: "crash-final",
    Engine.QBFT: "bft-final",
    Engine.IBFT2: "bft-final",
}
OPERATOR: Final = LABELS[Engine.EMBEDDED]


class ReceiptMalformed(DeltasealError):
    """Bytes that are no receipt, or parts that contradict each other."""

    code = "receipt_malformed"


@dataclass(frozen=True, slots=True)
class Inclusion:
    """Where a record stands in its batch, and the RFC 6962 path to the batch's root."""

    index: int
    path: tuple[bytes, ...]


# Member, domain, epoch, document tag: what names a document's slot.
Place: TypeAlias = tuple[int, int, int, bytes]


@dataclass(frozen=True, slots=True)
class DocumentSlot:
    """The Ledger's 32-byte status value of a document, as one issuing member may have written it."""

    member_id: int
    domain: int
    epoch: int
    doc_tag: Tag
    value: bytes

    @property
    def place(self) -> Place:
        """What names the slot, without its value."""
        return (self.member_id, self.domain, self.epoch, self.doc_tag)

    @property
    def name(self) -> bytes:
        """How the Ledger names the document; 20 bytes."""
        return document_name(self.domain, self.epoch, self.doc_tag)


@dataclass(frozen=True, slots=True)
class StatusReading:
    """Status slots of a claim and of its documents, all of one block."""

    claim: bytes
    documents: tuple[DocumentSlot, ...]
    as_of_block: int
    as_of_time: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """A parsed receipt. Nothing in it is proved before `check_receipt` says so.

    `headers` begins with block N, whose state the trie `nodes` are of; its children follow as far as finality needs.
    """

    chain: ChainFacts
    finality: str
    opening: PartialOpening
    record: bytes
    member_id: int
    inclusion: Inclusion
    entry: BatchEntry
    headers: tuple[Header, ...]
    nodes: tuple[bytes, ...]
    status: StatusReading
    timestamp: bytes = b""  # RFC 3161 token over the batch's root; empty when there is none.

    @property
    def not_proved_offline(self) -> tuple[str, ...]:
        """What a reader without a look at the chain has to take on the operator's word."""
        return admitted_by(self.finality)


def render_receipt(receipt: Receipt) -> dict[str, JsonValue]:
    """Render a receipt as its JSON object (docs/reference/receipt.md)."""
    stamped = {"timestamp": render_base64url(receipt.timestamp)} if receipt.timestamp else {}
    return {
        "format": FORMAT,
        "chain": render_chain(receipt.chain),
        "finality": receipt.finality,
        "opening": opening_to_json(receipt.opening),
        "record": render_base64url(receipt.record),
        "memberId": receipt.member_id,
        "inclusion": {
            "index": receipt.inclusion.index,
            "path": [render_base64url(each) for each in receipt.inclusion.path],
        },
        "entry": _render_entry(receipt.entry),
        "status": render_status(receipt.status),
        "headers": [render_base64url(each.raw) for each in receipt.headers],
        "nodes": [render_base64url(each) for each in receipt.nodes],
        "notProvedOffline": list(receipt.not_proved_offline),
        **stamped,
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


def decode_statuses(reading: StatusReading) -> list[SlotStatus]:
    """Decode the claim's and the documents' values, in this order. Raises StatusMalformed."""
    return [decode_status(reading.claim), *(decode_status(each.value) for each in reading.documents)]


_READ: Final = PartReader(ReceiptMalformed, "receipt")
_PART_ERRORS: Final = (
    Base64urlMalformed,
    EntryMalformed,
    HeaderMalformed,
    OpeningMalformed,
    RecordMalformed,
    StatusMalformed,
    ValueNotCanonical,
)


def _require_readable(receipt: Receipt) -> None:
    parse_frame(receipt.record)
    encode_entry(receipt.entry)
    decode_statuses(receipt.status)
    if not receipt.headers:
        raise ReceiptMalformed("the receipt has no header")
    first, status = receipt.headers[0], receipt.status
    if (status.as_of_block, status.as_of_time) != (first.number, first.time):
        raise ReceiptMalformed("the status is said to be of another block than the first header's")
    if receipt.entry.time > first.time:
        raise ReceiptMalformed("the status was read before the record was there")


def _parse_object(value: JsonValue) -> Receipt:
    # The one member that may be absent.
    optional = ("timestamp",) if isinstance(value, Mapping) and "timestamp" in value else ()
    shape, *parts, finality, admitted = _READ.members(
        value,
        *("format", "chain", "opening", "record", "memberId", "inclusion", "entry"),
        *("headers", "nodes", "status", *optional, "finality", "notProvedOffline"),
    )
    if shape != FORMAT:
        raise ReceiptMalformed("this is no receipt of a known version", hint=f"this version reads {FORMAT}")
    chain, opening, record, member_id, inclusion, entry, headers, nodes, status, *stamps = parts
    if not isinstance(finality, str) or finality not in LABELS.values():
        raise ReceiptMalformed("the receipt names a finality that has no rule here")
    receipt = Receipt(
        read_chain(_READ, chain),
        finality,
        opening_from_json(opening),
        parse_base64url(record, length=RECORD_BYTES),
        _READ.number(member_id, octets=4),
        _parse_inclusion(inclusion),
        _parse_entry(entry),
        parse_headers(headers),
        _READ.blobs(nodes, most=MAX_NODES, most_bytes=MAX_NODE_BYTES),
        parse_status(status),
        _parse_timestamp(stamps[0]) if stamps else b"",
    )
    if admitted != list(receipt.not_proved_offline):
        raise ReceiptMalformed("the receipt does not admit what its finality leaves unproved")
    return receipt


def admitted_by(finality: str) -> tuple[str, ...]:
    """Return what a finality leaves to the operator's word, for a reader without a look at the chain."""
    return ("block_finality",) if finality == OPERATOR else ()


def parse_headers(value: JsonValue) -> tuple[Header, ...]:
    """Read the headers of a receipt or statement. Raises ReceiptMalformed, HeaderMalformed."""
    raw = _READ.blobs(value, most=MAX_HEADERS, most_bytes=MAX_HEADER_BYTES)
    return tuple(decode_header(each) for each in raw)


def _parse_timestamp(value: JsonValue) -> bytes:
    token = parse_base64url(value)
    if not 0 < len(token) <= MAX_TOKEN_BYTES:
        raise ReceiptMalformed("the time stamp is empty or too long", limit=MAX_TOKEN_BYTES)
    return token


def _parse_inclusion(value: JsonValue) -> Inclusion:
    index, path = _READ.members(value, "index", "path")
    hashes = _READ.items(path, MAX_PATH)
    return Inclusion(_READ.number(index), tuple(parse_base64url(each, length=HASH_BYTES) for each in hashes))


def _parse_entry(value: JsonValue) -> BatchEntry:
    number, member_id, stream, seq, size, root, time = _READ.members(
        value, "id", "memberId", "stream", "seq", "size", "root", "time"
    )
    if isinstance(stream, bool) or stream not in (1, 2, 3):
        raise ReceiptMalformed("the entry has an unknown stream")
    return BatchEntry(
        id=_READ.number(number),
        member_id=_READ.number(member_id, octets=4),
        stream=Stream(_READ.number(stream)),
        seq=_READ.number(seq),
        size=_READ.number(size),
        root=parse_base64url(root, length=HASH_BYTES),
        time=_READ.number(time),
    )


def _render_entry(entry: BatchEntry) -> dict[str, JsonValue]:
    return {
        "id": entry.id,
        "memberId": entry.member_id,
        "stream": int(entry.stream),
        "seq": entry.seq,
        "size": entry.size,
        "root": render_base64url(entry.root),
        "time": entry.time,
    }


def render_status(status: StatusReading) -> dict[str, JsonValue]:
    """Render the status of a receipt or statement."""
    return {
        "claim": render_hex(status.claim),
        "documents": [_render_document(each) for each in status.documents],
        "asOfBlock": status.as_of_block,
        "asOfTime": status.as_of_time,
    }


def parse_status(value: JsonValue) -> StatusReading:
    """Read the status of a receipt or statement. Raises ReceiptMalformed."""
    claim, documents, as_of_block, as_of_time = _READ.members(
        value, "claim", "documents", "asOfBlock", "asOfTime"
    )
    slots = tuple(_parse_document(each) for each in _READ.items(documents, MAX_DOCUMENTS))
    if len({each.place for each in slots}) != len(slots):
        raise ReceiptMalformed("a document's status is there twice")
    return StatusReading(
        _READ.hexadecimal(claim, STATUS_BYTES), slots, _READ.number(as_of_block), _READ.number(as_of_time)
    )


def render_places(places: Iterable[Place]) -> list[JsonValue]:
    """Render names of documents' slots in their order, as the field `documentSlots` of an opening has them."""
    return [[*each[:3], render_base64url(each[3])] for each in sorted(places)]


def parse_places(value: JsonValue) -> frozenset[Place]:
    """Read the field `documentSlots` of an opening. Raises ReceiptMalformed, Base64urlMalformed."""
    return frozenset(_parse_place(each) for each in _READ.items(value, MAX_DOCUMENTS))


def _parse_place(value: JsonValue) -> Place:
    if len(parts := _READ.items(value, 4)) != 4:
        raise ReceiptMalformed("the name of a document's slot has another number of parts")
    member_id, domain, epoch, doc_tag = parts
    return (
        _READ.number(member_id, octets=4),
        _READ.number(domain, octets=2),
        _READ.number(epoch, octets=2),
        parse_base64url(doc_tag, length=TAG_BYTES),
    )


def _parse_document(value: JsonValue) -> DocumentSlot:
    member_id, domain, epoch, doc_tag, status = _READ.members(
        value, "memberId", "domain", "epoch", "docTag", "value"
    )
    return DocumentSlot(
        _READ.number(member_id, octets=4),
        _READ.number(domain, octets=2),
        _READ.number(epoch, octets=2),
        Tag(parse_base64url(doc_tag, length=TAG_BYTES)),
        _READ.hexadecimal(status, STATUS_BYTES),
    )


def _render_document(slot: DocumentSlot) -> dict[str, JsonValue]:
    return {
        "memberId": slot.member_id,
        "domain": slot.domain,
        "epoch": slot.epoch,
        "docTag": render_base64url(slot.doc_tag),
        "value": render_hex(slot.value),
    }
