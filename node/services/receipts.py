"""Make the receipt of a material this node holds, and check receipts that callers bring.

What a receipt proves comes from the chain's state at its last final block, not from the index: headers and one
eth_getProof call for all slots. Spec page: docs/reference/receipt.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from anchor.canonical import JsonValue
from anchor.chain.contracts import decode_result, encode_call
from anchor.chain.finality import FinalPoint, Signers
from anchor.chain.stateproofs import StateProof, header_of, read_headers, read_proof
from anchor.commitments import Commitment, PartialOpening, open_fields
from anchor.errors import ChainAnswerMalformed
from anchor.headers import Engine, Header
from anchor.records import MaterialRecord
from anchor.slots import batch_slot, claim_slot, document_slot
from anchor.tags import ZERO_TAG
from node.context import Node
from node.errors import MaterialInvalid, ReceiptPending
from node.services import custody
from node.services.materials import MaterialView
from verifier.index import Claim, StoredBatch
from verifier.proofs.errors import ProofError
from verifier.proofs.headers import MAX_HEADERS, shortest_final, verify_linked
from verifier.receipts import (
    ChainFacts,
    DocumentSlot,
    Receipt,
    ReceiptFindings,
    ReceiptMalformed,
    StatusReading,
    build_receipt,
    check_receipt,
    parse_receipt,
)
from verifier.trust import SignerSet, TrustAnchor

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

ATTEMPTS = 5


def chain_facts(node: Node) -> ChainFacts:
    """Return the chain that this node follows, as a receipt names it."""
    made = node.deployment
    return ChainFacts(made.chain_id, made.genesis, made.directory, made.ledger)


def trust_anchor(node: Node) -> TrustAnchor:
    """Return what this node trusts: its chain, and who seals it by Members and the genesis block.

    Raises:
        ChainUnavailable: the genesis block cannot be read.
    """
    engine = Engine(node.config.engine)
    sets: tuple[SignerSet, ...] = ()
    if engine is not Engine.EMBEDDED:
        named = Signers(engine, node.index.signer_sets).sets(node.gateway)
        sets = tuple(SignerSet(first, tuple(sorted(signers))) for first, signers in named)
    return TrustAnchor(chain_facts(node), node.deployment.members, engine, sets)


def make_receipt(node: Node, view: MaterialView, *, opened: Sequence[str] = ()) -> Receipt:
    """Return the receipt of one version.

    Raises:
        ReceiptPending: its record is not final yet, or the chain moved on under each attempt.
        MaterialInvalid: `opened` names a field that the opening does not have.
        ChainUnavailable: the chain cannot be read now.
    """
    claim = node.index.claim(Commitment(view.version.commitment))
    final = _final_point(node)
    if claim is None or claim.block_number > final.number:
        raise ReceiptPending(
            "the record is not final yet", hint="ask again in a few seconds, or push with ?wait=final"
        )
    opening = _open(node, view, opened)
    batch = node.index.batch(claim.positions[0][0])
    if batch is None:
        raise ReceiptPending("the index is being rebuilt", hint="ask again in a few seconds")
    places = document_places(node, view, claim)
    for _ in range(ATTEMPTS):
        try:
            return _prove(node, claim, batch, opening, places, final)
        except (ReceiptMalformed, ChainAnswerMalformed, ProofError):
            # The embedded chain keeps the state of its newest blocks only, and a reorg may run: begin again above.
            final = _final_point(node)
    raise ReceiptPending(
        "the chain moved on while the proof was made", hint="ask again in a few seconds", attempts=ATTEMPTS
    )


def _open(node: Node, view: MaterialView, opened: Sequence[str]) -> PartialOpening:
    held = custody.unlock(node, view.version)
    names = tuple(opened) or DEFAULT_OPENED
    if set(names) - set(held.fields):
        raise MaterialInvalid("a field to open does not exist", pointer="/open", reason="field_unknown")
    return open_fields(held.fields, held.salt_key, names)


def _final_point(node: Node) -> FinalPoint:
    """Return the last final block by the chain itself: the index may be behind it."""
    final = node.finality.final_point(node.gateway, node.gateway.head())
    if final is None:
        raise ReceiptPending("no block is final yet", hint="ask again in a few seconds")
    return final


def _prove(
    node: Node,
    claim: Claim,
    batch: StoredBatch,
    opening: PartialOpening,
    places: Sequence[tuple[int, MaterialRecord]],
    final: FinalPoint,
) -> Receipt:
    """Ask for headers and state of `final`, and put the receipt together; it is checked before it leaves."""
    slots = [
        batch_slot(batch.entry.id),
        claim_slot(claim.member_id, claim.commitment),
        *(document_slot(issuer, each.domain, each.epoch, each.doc_tag) for issuer, each in places),
    ]
    proof = read_proof(node.gateway, node.deployment.ledger, slots, block=final.number)
    return build_receipt(
        chain=chain_facts(node),
        finality=final.label,
        opening=opening,
        batch=batch.records,
        index=claim.positions[0][1],
        entry=batch.entry,
        headers=_final_headers(node, final),
        nodes=proof.nodes,
        claim=proof.values[1],
        documents=_documents(places, proof),
    )


def _documents(places: Sequence[tuple[int, MaterialRecord]], proof: StateProof) -> list[DocumentSlot]:
    return [
        DocumentSlot(issuer, record.domain, record.epoch, record.doc_tag, value)
        for (issuer, record), value in zip(places, proof.values[2:], strict=True)
    ]


def _final_headers(node: Node, final: FinalPoint) -> Sequence[Header]:
    """Return the header of `final`, and as many children as its signers' quorum needs."""
    trust = trust_anchor(node)
    if trust.engine is not Engine.CLIQUE:
        headers = read_headers(node.gateway, [final.number], trust.engine)
        return _require_same(headers, final, node, trust.engine)
    last = min(node.gateway.head().number, final.number + MAX_HEADERS - 1)
    headers = read_headers(node.gateway, range(final.number, last + 1), trust.engine)
    verify_linked(headers, trust.engine)
    shown = shortest_final(headers, trust.signers_at, trust.engine)
    return _require_same(shown or (), final, node, trust.engine)


def _require_same(
    headers: Sequence[Header], final: FinalPoint, node: Node, engine: Engine
) -> Sequence[Header]:
    block = node.gateway.block(final.hash)
    if block is None or not headers or headers[0] != header_of(block, engine):
        raise ChainAnswerMalformed("the final block is another one now", hint="ask again")
    return headers


def document_places(node: Node, view: MaterialView, claim: Claim) -> list[tuple[int, MaterialRecord]]:
    """Name the document slots that could hold a revocation: one per issuer member and record with a number."""
    issuers = sorted(node.catalog.issuer_members(view.material.type_code))
    records = {
        (record.domain, record.epoch): record for record in claim.records if record.doc_tag != ZERO_TAG
    }
    return [(member, record) for member in issuers for record in records.values()]


def _read_later(node: Node, receipt: Receipt, final: FinalPoint) -> StatusReading:
    """Read the slots that a receipt names at a final block, through a predecessor Ledger if there is one."""

    def read(function: str, *arguments: int | bytes) -> bytes:
        answer = node.gateway.call(
            node.deployment.ledger, encode_call("Ledger", function, *arguments), block=final.number
        )
        value: bytes = decode_result("Ledger", function, answer)[0]
        return value

    documents = tuple(
        DocumentSlot(*slot.place[:3], slot.doc_tag, read("documentStatusOf", slot.member_id, slot.name))
        for slot in receipt.status.documents
    )
    claim = read("statusOf", receipt.member_id, receipt.record[:32])
    return StatusReading(claim, documents, final.number, final.time)


def check(node: Node, shown: dict[str, JsonValue]) -> tuple[Receipt, ReceiptFindings]:
    """Check a receipt against this node's own view of the chain: its block is compared, its status read again.

    Raises:
        ReceiptMalformed: it is no receipt. ChainUnavailable: the chain does not answer.
    """
    receipt = parse_receipt(json.dumps(shown).encode())
    final, trust = _final_point(node), trust_anchor(node)
    if receipt.chain != trust.chain or receipt.status.as_of_block > final.number:
        return receipt, check_receipt(receipt, trust, at=node.now())
    block = node.gateway.block(receipt.status.as_of_block)
    findings = check_receipt(
        receipt,
        trust,
        at=node.now(),
        known_hash=b"" if block is None else block.hash,
        later=_read_later(node, receipt, final),
    )
    return receipt, findings
