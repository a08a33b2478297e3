"""Make the receipt of a material this node holds, and check receipts that callers bring.

What a receipt proves comes from the chain's state at its last final block, not from the index: headers and one
eth_getProof call for all slots. Spec page: docs/reference/receipt.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from anchor.canonical import JsonValue, canonical_bytes
from anchor.chain.contracts import decode_result, encode_call
from anchor.chain.finality import FinalPoint, Signers
from anchor.chain.stateproofs import StateProof, header_of, read_headers, read_proof, read_proofs
from anchor.commitments import Commitment, PartialOpening, open_fields
from anchor.errors import ChainAnswerMalformed, DeltasealError
from anchor.headers import Engine, Header
from anchor.merkle import GrowingTree
from anchor.records import record_id
from anchor.slots import batch_slot, claim_slot, document_slot
from anchor.tags import ZERO_TAG, Tag
from node.context import Node
from node.errors import MaterialInvalid, ReceiptPending
from node.services import custody
from node.services.custody import version_by_commitment
from node.services.materials import MaterialView
from node.services.requests import StatementRequest
from node.store import rows
from verifier.index import Claim, StoredBatch
from verifier.proofs.errors import ProofError
from verifier.proofs.headers import MAX_HEADERS, shortest_final, verify_linked
from verifier.receiptforms import MAX_DOCUMENTS, Place, parse_places
from verifier.receipts import (
    SLOTS_FIELD,
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
from verifier.statements import StatementMalformed, StatusStatement, parse_statement, render_statement
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
RECEIPTS_A_CALL, SLOTS_A_CALL = 64, 512
T = TypeVar("T")


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
    (made,) = make_receipts(node, [view], opened=opened)
    if isinstance(made, DeltasealError):
        raise made
    return made


def make_receipts(
    node: Node, views: Sequence[MaterialView], *, opened: Sequence[str] = ()
) -> list[Receipt | DeltasealError]:
    """Return for each version its receipt, or why there is none; all as of one block, by one question for all slots.

    Raises:
        ReceiptPending: the chain moved on under each attempt. ChainUnavailable: the chain cannot be read now.
    """
    final, wanted = _final_point(node), []
    found: list[Receipt | DeltasealError | None] = []
    for view in views:
        try:
            wanted.append(_want(node, view, opened, final))
            found.append(None)
        except DeltasealError as error:
            found.append(error)
    made = iter(_at_final(node, final, lambda point: _prove_all(node, wanted, point)) if wanted else ())
    return [next(made) if each is None else each for each in found]


def make_statement(node: Node, asked: StatementRequest) -> StatusStatement:
    """Return what the Ledger's slots of a claim hold at the last final block, with the proof.

    Slots that the caller names are shown; where this node holds the material, those of issuers since are added.

    Raises:
        ReceiptPending: the batch is not final yet. ChainUnavailable: the chain cannot be read now.
    """
    commitment, final = bytes.fromhex(asked.commitment), _final_point(node)
    head = node.index.batch_head(asked.batch_id)
    if head is None or head.block_number > final.number:
        raise ReceiptPending("the batch is not final here", hint="ask again in a few seconds")
    places = dict.fromkeys([*(each.place for each in asked.documents), *_known_places(node, commitment)])

    def prove(point: FinalPoint) -> StatusStatement:
        slots = [batch_slot(asked.batch_id), claim_slot(asked.member_id, commitment)]
        slots += [document_slot(*place) for place in places]
        proof = read_proof(node.gateway, node.deployment.ledger, slots, block=point.number)
        documents = tuple(_documents(list(places), proof))
        headers = tuple(_final_headers(node, point))
        status = StatusReading(proof.values[1], documents, headers[0].number, headers[0].time)
        about = (asked.member_id, commitment, asked.batch_id)
        made = StatusStatement(chain_facts(node), point.label, *about, status, headers, proof.nodes)
        return parse_statement(canonical_bytes(render_statement(made)))

    return _at_final(node, final, prove)


def _known_places(node: Node, commitment: bytes) -> Sequence[Place]:
    version, claim = version_by_commitment(node, commitment), node.index.claim(Commitment(commitment))
    material = rows.MATERIAL.get(node.store, version.material_id) if version else None
    if material is None or claim is None:
        return ()
    return document_places(node, material.type_code, claim)


def _at_final(node: Node, final: FinalPoint, prove: Callable[[FinalPoint], T]) -> T:
    for _ in range(ATTEMPTS):
        try:
            return prove(final)
        except (ReceiptMalformed, StatementMalformed, ChainAnswerMalformed, ProofError):
            # The embedded chain keeps the state of its newest blocks only, and a reorg may run: begin again above.
            final = _final_point(node)
    raise ReceiptPending(
        "the chain moved on while the proof was made", hint="ask again in a few seconds", attempts=ATTEMPTS
    )


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What goes into one receipt beside the chain's proofs."""

    claim: Claim
    batch: StoredBatch
    opening: PartialOpening
    places: Sequence[Place]

    @property
    def slots(self) -> list[bytes]:
        """The slots to prove: batch, claim, documents."""
        return [
            batch_slot(self.batch.entry.id),
            claim_slot(self.claim.member_id, self.claim.commitment),
            *(document_slot(*place) for place in self.places),
        ]


def _want(node: Node, view: MaterialView, opened: Sequence[str], final: FinalPoint) -> _Wanted:
    claim = node.index.claim(Commitment(view.version.commitment))
    if claim is None or claim.block_number > final.number:
        raise ReceiptPending(
            "the record is not final yet", hint="ask again in a few seconds, or push with ?wait=final"
        )
    held = custody.unlock(node, view.version)
    batch = node.index.batch(claim.positions[0][0])
    if batch is None:
        raise ReceiptPending("the index is being rebuilt", hint="ask again in a few seconds")
    # Those of issuers since, as far as a receipt has room.
    since = document_places(node, view.material.type_code, claim)
    places = dict.fromkeys([*_sealed_places(held), *since])
    return _Wanted(claim, batch, _open(held, opened), tuple(places)[:MAX_DOCUMENTS])


def check_fields(node: Node, view: MaterialView, opened: Sequence[str]) -> None:
    """Make sure that a receipt could open these fields. Raises MaterialInvalid."""
    _open(custody.unlock(node, view.version), opened)


def _open(held: custody.Held, opened: Sequence[str]) -> PartialOpening:
    names = set(opened or DEFAULT_OPENED)
    if names - set(held.fields):
        raise MaterialInvalid("a field to open does not exist", pointer="/open", reason="field_unknown")
    # Without the names of its documents' slots a receipt proves nothing of an issuer's revocation.
    return open_fields(held.fields, held.salt_key, sorted(names | {SLOTS_FIELD} & set(held.fields)))


def _final_point(node: Node) -> FinalPoint:
    """Return the last final block by the chain itself: the index may be behind it."""
    final = node.finality.final_point(node.gateway, node.gateway.head())
    if final is None:
        raise ReceiptPending("no block is final yet", hint="ask again in a few seconds")
    return final


def _prove_all(node: Node, wanted: Sequence[_Wanted], final: FinalPoint) -> list[Receipt]:
    """Ask for headers and state of `final`, and put the receipts together; each is checked before it leaves."""
    headers, made = _final_headers(node, final), []
    trees: dict[int, GrowingTree] = {}
    for part in _parts(wanted):
        slots = [slot for each in part for slot in each.slots]
        proofs, at = read_proofs(node.gateway, node.deployment.ledger, slots, block=final.number), 0
        for each in part:
            proof = proofs.of(slice(at, at := at + len(each.slots)))
            path = _tree_of(each.batch, trees).inclusion_path(each.claim.positions[0][1])
            made.append(_build(node, each, proof, headers, final, path))
    return made


def _parts(wanted: Sequence[_Wanted]) -> Iterator[list[_Wanted]]:
    """Cut into questions of bounded length: a client answers 64 receipts at once many times faster than 64 calls."""
    part: list[_Wanted] = []
    slots = 0
    for each in wanted:
        if part and (len(part) == RECEIPTS_A_CALL or slots + len(each.slots) > SLOTS_A_CALL):
            yield part
            part, slots = [], 0
        part.append(each)
        slots += len(each.slots)
    if part:
        yield part


def _build(
    node: Node,
    wanted: _Wanted,
    proof: StateProof,
    headers: Sequence[Header],
    final: FinalPoint,
    path: Sequence[bytes],
) -> Receipt:
    return build_receipt(
        chain=chain_facts(node),
        finality=final.label,
        opening=wanted.opening,
        batch=wanted.batch.records,
        index=wanted.claim.positions[0][1],
        entry=wanted.batch.entry,
        headers=headers,
        nodes=proof.nodes,
        claim=proof.values[1],
        documents=_documents(wanted.places, proof),
        path=path,
        timestamp=_timestamp_of(node, wanted.batch.entry.id),
    )


def _timestamp_of(node: Node, batch_id: int) -> bytes:
    row = rows.TIMESTAMP.get(node.store, batch_id)
    return row.token if row else b""


def _tree_of(batch: StoredBatch, trees: dict[int, GrowingTree]) -> GrowingTree:
    """Return the tree over a batch's records; many receipts of one batch share it."""
    tree = trees.get(batch.entry.id)
    if tree is None:
        tree = trees[batch.entry.id] = GrowingTree()
        for record in batch.records:
            tree.append(record_id(batch.entry.member_id, record))
    return tree


def _documents(places: Sequence[Place], proof: StateProof) -> list[DocumentSlot]:
    named = zip(places, proof.values[2:], strict=True)
    return [DocumentSlot(*place[:3], Tag(place[3]), value) for place, value in named]


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


def _sealed_places(held: custody.Held) -> list[Place]:
    return sorted(parse_places(held.fields.get(SLOTS_FIELD, [])))


def document_places(node: Node, type_code: str, claim: Claim) -> list[Place]:
    """Name the document slots that could hold a revocation by present issuers: one per member and record's tag."""
    tags = {(each.domain, each.epoch, each.doc_tag) for each in claim.records if each.doc_tag != ZERO_TAG}
    issuers = sorted(node.catalog.issuer_members(type_code))
    return [(member, *tag) for member in issuers for tag in sorted(tags)]


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
