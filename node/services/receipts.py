"""Make the receipt of a material this node holds, and check receipts that callers bring.

The slots are read from the chain at its last final block, not from the index: a receipt says what the consensus
state held. Spec page: docs/reference/receipt.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from anchor.canonical import JsonValue
from anchor.chain.contracts import decode_result, encode_call
from anchor.commitments import Commitment, open_fields
from anchor.records import MaterialRecord
from anchor.tags import ZERO_TAG
from node.context import Node
from node.errors import MaterialInvalid, ReceiptPending
from node.services import custody
from node.services.materials import MaterialView
from verifier.index import Claim
from verifier.receipts import (
    BlockRef,
    ChainFacts,
    DocumentSlot,
    Receipt,
    ReceiptFindings,
    StatusReading,
    build_receipt,
    check_receipt,
    parse_receipt,
)

# What a bank or notary needs and nothing about the person: the default of `open`.
DEFAULT_OPENED = (
    "agency",
    "documentNo",
    "expiresOn",
    "issuedOn",
    "sha256",
    "sm3",
    "size",
    "typeCode",
    "version",
)


def chain_facts(node: Node) -> ChainFacts:
    """Return the chain that this node follows, as a receipt names it."""
    made = node.deployment
    return ChainFacts(made.chain_id, made.genesis, made.directory, made.ledger)


def make_receipt(node: Node, view: MaterialView, *, opened: Sequence[str] = ()) -> Receipt:
    """Return the receipt of one version.

    Raises:
        ReceiptPending: its record is not final yet.
        MaterialInvalid: `opened` names a field that the opening does not have.
        ChainUnavailable: the status slots cannot be read now.
    """
    claim = node.index.claim(Commitment(view.version.commitment))
    final = node.index.final_point()
    if claim is None or final is None or claim.block_number > final.number:
        raise ReceiptPending(
            "the record is not final yet", hint="ask again in a few seconds, or push with ?wait=final"
        )
    held = custody.unlock(node, view.version)
    names = tuple(opened) or DEFAULT_OPENED
    unknown = sorted(set(names) - set(held.fields))
    if unknown:
        raise MaterialInvalid("a field to open does not exist", pointer="/open", reason="field_unknown")
    batch_id, index = claim.positions[0]
    batch = node.index.batch(batch_id)
    if batch is None:
        raise ReceiptPending("the index is being rebuilt", hint="ask again in a few seconds")
    return build_receipt(
        chain=chain_facts(node),
        opening=open_fields(held.fields, held.salt_key, names),
        batch=batch.records,
        index=index,
        entry=batch.entry,
        block=BlockRef(batch.block_number, batch.block_hash, batch.entry.time),
        status=read_statuses(node, claim.member_id, claim.commitment, document_places(node, view, claim)),
    )


def document_places(node: Node, view: MaterialView, claim: Claim) -> list[tuple[int, MaterialRecord]]:
    """Name the document slots that could hold a revocation: one per issuer member and record with a number."""
    issuers = sorted(node.catalog.issuer_members(view.material.type_code))
    records = {
        (record.domain, record.epoch): record for record in claim.records if record.doc_tag != ZERO_TAG
    }
    return [(member, record) for member in issuers for record in records.values()]


def read_statuses(
    node: Node, member_id: int, commitment: bytes, documents: Sequence[tuple[int, MaterialRecord]]
) -> StatusReading:
    """Read the claim's and the documents' status from the chain at its last final block.

    Raises:
        ChainUnavailable: the chain does not answer.
    """
    final = node.index.final_point()
    if final is None:
        raise ReceiptPending("no block is final yet", hint="ask again in a few seconds")
    claim = _read(node, final.number, "statusOf", member_id, commitment)
    slots = tuple(
        DocumentSlot(
            issuer,
            record.domain,
            record.epoch,
            record.doc_tag,
            _read(node, final.number, "documentStatusOf", issuer, _document(record)),
        )
        for issuer, record in documents
    )
    return StatusReading(claim, slots, final.number, final.time)


def _document(record: MaterialRecord) -> bytes:
    return record.domain.to_bytes(2, "big") + record.epoch.to_bytes(2, "big") + record.doc_tag


def _read(node: Node, block: int, function: str, *arguments: int | bytes) -> bytes:
    calldata = encode_call("Ledger", function, *arguments)
    answer = node.gateway.call(node.deployment.ledger, calldata, block=block)
    value: bytes = decode_result("Ledger", function, answer)[0]
    return value


def check(node: Node, shown: dict[str, JsonValue]) -> tuple[Receipt, ReceiptFindings]:
    """Check a receipt against this node's own view of the chain: slot and statuses are read, not believed.

    Raises:
        ReceiptMalformed: it is no receipt. ChainUnavailable: the chain does not answer.
    """
    receipt = parse_receipt(json.dumps(shown).encode())
    slot = node.gateway.call(
        node.deployment.ledger, encode_call("Ledger", "batchHash", receipt.entry.id), block="latest"
    )
    commitment = receipt.record[:32]
    final = node.index.final_point()
    if final is None:
        raise ReceiptPending("no block is final yet", hint="ask again in a few seconds")
    documents = tuple(
        DocumentSlot(
            slot_.member_id,
            slot_.domain,
            slot_.epoch,
            slot_.doc_tag,
            _read(
                node,
                final.number,
                "documentStatusOf",
                slot_.member_id,
                slot_.domain.to_bytes(2, "big") + slot_.epoch.to_bytes(2, "big") + slot_.doc_tag,
            ),
        )
        for slot_ in receipt.status.documents
    )
    claim = _read(node, final.number, "statusOf", receipt.member_id, commitment)
    statuses = StatusReading(claim, documents, final.number, final.time)
    findings = check_receipt(receipt, chain_facts(node), at=node.now(), slot=slot, statuses=statuses)
    return receipt, findings
