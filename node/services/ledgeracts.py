"""Calls of the Ledger contract that change a status: one home for their names, gas and reason codes."""

from __future__ import annotations

from anchor.chain.contracts import encode_call, gas_for
from anchor.commitments import Commitment
from anchor.outbox_rows import CallOperation
from node.context import Node
from node.errors import MaterialInvalid
from node.store import rows

REASONS = {
    1: "issued_in_error",
    2: "replaced",
    3: "withdrawn_by_holder",
    4: "forged",
    5: "cancelled_by_authority",
    6: "under_investigation",
    7: "investigation_closed",
    8: "erasure_requested",
    9: "other",
}
_BY_NAME = {name: code for code, name in REASONS.items()}


def parse_reason(value: int | str) -> int:
    """Return the uint16 reason code for a number or one of the names of `REASONS`.

    Raises:
        MaterialInvalid: neither.
    """
    if isinstance(value, str):
        code = _BY_NAME.get(value) or (int(value) if value.isascii() and value.isdigit() else 0)
    else:
        code = value
    if not 1 <= code <= 65535:
        raise MaterialInvalid(
            "the reason code is none of " + ", ".join(_BY_NAME), pointer="/reasonCode", reason="reason_code"
        )
    return code


def call(contract: str, function: str, *arguments: object) -> CallOperation:
    """Encode a call of one of our contracts with its gas limit."""
    calldata = encode_call(contract, function, *arguments)
    return CallOperation(contract, calldata, gas_for(contract, function, calldata))


def claim_call(node: Node, verb: str, version: rows.VersionRow, argument: int | Commitment) -> CallOperation:
    """Encode `revoke`, `suspend`, `resume`, `erase` (argument: reason) or `supersede` (argument: successor)."""
    return call("Ledger", verb, node.chain.member_id, version.commitment, argument)


def document_call(documents: list[bytes], reason: int) -> CallOperation:
    """Encode `revokeDocuments` for `documents` (20 bytes each: domain, epoch, docTag)."""
    return call("Ledger", "revokeDocuments", documents, reason)


def consume_call(nullifier: bytes, use: bytes) -> CallOperation:
    """Encode `consume`."""
    return call("Ledger", "consume", nullifier, use)
