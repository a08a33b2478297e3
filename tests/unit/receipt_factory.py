"""Receipts of small batches with fixed keys, for tests and vectors. Every value is made up and fixed."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date

from coincurve import PrivateKey

from anchor.base64url import render_base64url
from anchor.canonical import JsonValue
from anchor.commitments import Commitment, PartialOpening, commit, open_fields
from anchor.entries import BatchEntry, SlotStatus, StatusFlag, batch_hash, encode_status
from anchor.headers import Engine, Header
from anchor.merkle import inclusion_path, root
from anchor.records import Flag, MaterialRecord, Stream, encode_record, record_id
from anchor.slots import batch_slot, claim_slot
from anchor.slots import document_slot as slots_document
from anchor.tags import Tag, derive_domain_keys
from tests.unit import sealed_chain_factory as sealed
from verifier.receiptforms import Inclusion
from verifier.receipts import ChainFacts, DocumentSlot, Receipt, StatusReading, build_receipt
from verifier.trust import SignerSet, TrustAnchor

MEMBER = 7
SEALED_AT = 1793671200  # 2026-11-03T10:00:00+08:00
AS_OF = SEALED_AT + 600
EMPTY_SLOT = bytes(32)


def bytes_of(label: str, length: int = 32) -> bytes:
    """Return bytes that depend on the label alone."""
    return hashlib.shake_256(label.encode()).digest(length)


CHAIN = ChainFacts(
    chain_id=31007,
    genesis=bytes_of("genesis"),
    directory=bytes_of("directory", 20),
    ledger=bytes_of("ledger", 20),
)
MEMBERS = bytes_of("members", 20)
TRUST = TrustAnchor(CHAIN, MEMBERS, Engine.CLIQUE, (SignerSet(0, sealed.SIGNERS),))
OPERATOR_TRUST = TrustAnchor(CHAIN, MEMBERS, Engine.EMBEDDED, ())
BFT_TRUST = TrustAnchor(CHAIN, MEMBERS, Engine.QBFT, (SignerSet(0, sealed.SIGNERS),))
KEYS = derive_domain_keys(1, 1, bytes_of("city secret"))
SALT_KEY = bytes_of("salt key")
FILE_SHA256 = bytes_of("file")
DOC_TAG = KEYS.doc_tag("LICENCE", "DEMO-310104-0001")
FIELDS: Mapping[str, JsonValue] = {
    "agency": "11310104MB2F30001T",
    "documentNo": "DEMO-310104-0001",
    "documentSlots": [[MEMBER, KEYS.domain, KEYS.epoch, render_base64url(DOC_TAG)]],
    "expiresOn": "2027-01-01",
    "issuedOn": "2026-01-01",
    "sha256": FILE_SHA256.hex(),
    "subjects": [{"idType": "001", "id": "91310115MA1K30000X", "role": "holder"}],
    "typeCode": "LICENCE",
}
SHOWN = ("documentSlots", "expiresOn", "issuedOn", "sha256", "typeCode")


def sealed_record(commitment: Commitment, *, line: int = 0) -> bytes:
    """Encode a MATERIAL record of the fixed document."""
    record = MaterialRecord(
        commitment,
        *(KEYS.domain, KEYS.epoch, line),
        KEYS.subject_tag("001", "91310115MA1K30000X", "LICENCE"),
        KEYS.content_tag(FILE_SHA256),
        DOC_TAG,
        *(date(2026, 1, 1), date(2027, 1, 1)),
        Flag.NONE,
    )
    return encode_record(record, KEYS)


def sealed_batch(commitment: Commitment, *, size: int, index: int) -> tuple[list[bytes], BatchEntry]:
    """Return a batch with the record of `commitment` at `index`, and its entry."""
    others = [sealed_record(Commitment(bytes_of(f"other {each}"))) for each in range(size)]
    records = [sealed_record(commitment) if each == index else others[each] for each in range(size)]
    head = root([record_id(MEMBER, record) for record in records])
    return records, BatchEntry(41, MEMBER, Stream.MATERIAL, 12, size, head, SEALED_AT)


def document_slot(value: bytes = EMPTY_SLOT, *, tag: Tag = DOC_TAG) -> DocumentSlot:
    """Return the status slot of the fixed document under the fixed member."""
    return DocumentSlot(MEMBER, KEYS.domain, KEYS.epoch, tag, value)


def status(claim: bytes = EMPTY_SLOT, *documents: DocumentSlot, as_of_block: int = 130) -> StatusReading:
    """Return a reading; without documents, of the one document with an empty slot."""
    return StatusReading(claim, documents or (document_slot(),), as_of_block, AS_OF)


def flagged(flags: StatusFlag) -> bytes:
    """Return a slot value with `flags`, set a minute after sealing."""
    return encode_status(SlotStatus(flags, SEALED_AT + 60, 3, b""))


def storage_of(entry: BatchEntry, record: bytes, reading: StatusReading) -> dict[bytes, bytes]:
    """Return the Ledger's slots that hold the entry and the statuses."""
    slots = {batch_slot(entry.id): batch_hash(entry), claim_slot(MEMBER, record[:32]): reading.claim}
    return slots | {slots_document(*each.place): each.value for each in reading.documents}


def receipt(
    fields: Mapping[str, JsonValue] = FIELDS,
    *,
    shown: tuple[str, ...] = SHOWN,
    size: int = 5,
    index: int = 3,
    reading: StatusReading | None = None,
    finality: str = "crash-final",
    sealers: Sequence[PrivateKey] = sealed.KEYS[:4],
    crowd: int = 20,
    built: bool = True,
) -> Receipt:
    """Build a receipt that opens `shown` of `fields`, on a Clique chain of five signers, four of them in turn.

    Without `built` as nobody's node would, whatever the parts say.
    """
    records, entry = sealed_batch(commit(fields, SALT_KEY), size=size, index=index)
    found = status() if reading is None else reading
    slots = storage_of(entry, records[index], found)
    state = sealed.state_of({CHAIN.ledger: slots}, crowd=crowd)
    headers = headers_of(state.root, sealers=sealers, finality=finality, number=found.as_of_block)
    nodes = state.nodes_for(CHAIN.ledger, list(slots))
    if not built:
        leaves = [record_id(MEMBER, record) for record in records]
        where = Inclusion(index, tuple(inclusion_path(leaves, index)))
        sealed_parts = (_opening(fields, shown), records[index], MEMBER, where, entry)
        return Receipt(CHAIN, finality, *sealed_parts, headers, tuple(nodes), found)
    return build_receipt(
        chain=CHAIN,
        finality=finality,
        opening=_opening(fields, shown),
        batch=records,
        index=index,
        entry=entry,
        headers=headers,
        nodes=nodes,
        claim=found.claim,
        documents=found.documents,
    )


def headers_of(
    root: bytes, *, sealers: Sequence[PrivateKey], finality: str, number: int
) -> tuple[Header, ...]:
    """Seal headers over a state root, as the finality's engine does."""
    if finality == "crash-final":
        return sealed.clique_chain(sealers, state_root=root, number=number, time=AS_OF)
    if finality == "bft-final":
        return (sealed.bft_header(sealers, qbft=True, state_root=root, number=number, time=AS_OF),)
    return sealed.clique_chain([sealed.OUTSIDER], state_root=root, number=number, time=AS_OF)


def _opening(fields: Mapping[str, JsonValue], shown: tuple[str, ...]) -> PartialOpening:
    return open_fields(fields, SALT_KEY, shown)
