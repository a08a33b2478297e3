"""Status statements: the part of a receipt that ages, as of a newer block (docs/reference/status-statement.md).

A statement says for one claim what the Ledger's slots hold at a newer final block, with the proof of it. Laid over
an old receipt it gives a receipt as of that block, which `verifier.receipts` checks like any other. Pure: no chain,
clock, file or network.
"""

from dataclasses import dataclass, replace
from typing import Final

from anchor.base64url import render_base64url
from anchor.canonical import JsonValue, parse_strict_json
from anchor.errors import DeltasealError, HeaderMalformed, StatusMalformed, ValueNotCanonical
from anchor.headers import Header
from anchor.merkle import HASH_BYTES
from verifier.jsonparts import PartReader, render_hex
from verifier.proofs.accounts import MAX_NODE_BYTES, MAX_NODES
from verifier.proofs.errors import ProofError
from verifier.receiptforms import (
    LABELS,
    MAX_RECEIPT_BYTES,
    Receipt,
    ReceiptMalformed,
    StatusReading,
    admitted_by,
    decode_statuses,
    parse_headers,
    parse_status,
    render_status,
)
from verifier.trust import ChainFacts, read_chain, render_chain

FORMAT: Final = "deltaseal-status/1"
MAX_STATEMENT_BYTES: Final = MAX_RECEIPT_BYTES


class StatementMalformed(DeltasealError):
    """Bytes that are no status statement."""

    code = "statement_malformed"


@dataclass(frozen=True, slots=True)
class StatusStatement:
    """A parsed statement about the claim (member, commitment) in one batch. Nothing in it is proved yet."""

    chain: ChainFacts
    finality: str
    member_id: int
    commitment: bytes
    batch_id: int
    status: StatusReading
    headers: tuple[Header, ...]
    nodes: tuple[bytes, ...]


def apply_statement(receipt: Receipt, statement: StatusStatement) -> Receipt:
    """Return the receipt as of the statement's block; whether it holds there is for `check_receipt` to say.

    Raises:
        ProofError: the statement is about another chain or claim, is older than the receipt, or leaves out a
            document's slot that the receipt shows. `facts["step"]` names which.
    """
    if statement.chain != receipt.chain:
        raise ProofError("the statement is about another chain", step="statement_chain")
    claim = (receipt.member_id, receipt.record[:HASH_BYTES], receipt.entry.id)
    if (statement.member_id, statement.commitment, statement.batch_id) != claim:
        raise ProofError("the statement is about another claim", step="statement_claim")
    if statement.status.as_of_block < receipt.status.as_of_block:
        raise ProofError("the statement is older than the receipt", step="statement_older")
    shown = {each.place for each in statement.status.documents}
    if not {each.place for each in receipt.status.documents} <= shown:
        raise ProofError("the statement leaves out a document's status", step="statement_slots")
    return replace(
        receipt,
        finality=statement.finality,
        status=statement.status,
        headers=statement.headers,
        nodes=statement.nodes,
    )


def render_statement(statement: StatusStatement) -> dict[str, JsonValue]:
    """Render a statement as its JSON object."""
    return {
        "format": FORMAT,
        "chain": render_chain(statement.chain),
        "finality": statement.finality,
        "memberId": statement.member_id,
        "commitment": render_hex(statement.commitment),
        "batchId": statement.batch_id,
        "status": render_status(statement.status),
        "headers": [render_base64url(each.raw) for each in statement.headers],
        "nodes": [render_base64url(each) for each in statement.nodes],
        "notProvedOffline": list(admitted_by(statement.finality)),
    }


def parse_statement(raw: bytes) -> StatusStatement:
    """Parse a statement: strict JSON of at most 1 MiB, no member unknown or missing.

    Raises:
        StatementMalformed: anything that `render_statement` would not have written, white space and order apart.
    """
    try:
        statement = _parse_object(parse_strict_json(raw, max_bytes=MAX_STATEMENT_BYTES))
        decode_statuses(statement.status)
    except (ValueNotCanonical, ReceiptMalformed, HeaderMalformed, StatusMalformed) as error:
        raise StatementMalformed(f"the status statement is malformed: {error}", cause=error.code) from None
    return statement


_READ: Final = PartReader(StatementMalformed, "status statement")


def _parse_object(value: JsonValue) -> StatusStatement:
    shape, chain, finality, member_id, commitment, batch_id, status, headers, nodes, admitted = _READ.members(
        value,
        *("format", "chain", "finality", "memberId", "commitment", "batchId"),
        *("status", "headers", "nodes", "notProvedOffline"),
    )
    if shape != FORMAT:
        raise StatementMalformed(
            "this is no status statement of a known version", hint=f"this version reads {FORMAT}"
        )
    if not isinstance(finality, str) or finality not in LABELS.values():
        raise StatementMalformed("the statement names a finality that has no rule here")
    statement = StatusStatement(
        read_chain(_READ, chain),
        finality,
        _READ.number(member_id, octets=4),
        _READ.hexadecimal(commitment, HASH_BYTES),
        _READ.number(batch_id),
        parse_status(status),
        parse_headers(headers),
        _READ.blobs(nodes, most=MAX_NODES, most_bytes=MAX_NODE_BYTES),
    )
    if admitted != list(admitted_by(finality)):
        raise StatementMalformed("the statement does not admit what its finality leaves unproved")
    _require_one_block(statement)
    return statement


def _require_one_block(statement: StatusStatement) -> None:
    if not statement.headers:
        raise StatementMalformed("the statement has no header")
    first, status = statement.headers[0], statement.status
    if (status.as_of_block, status.as_of_time) != (first.number, first.time):
        raise StatementMalformed("the status is said to be of another block than the first header's")
