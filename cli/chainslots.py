"""Reads from a chain client what a receipt is about: its block's hash, and the status slots at one later block."""

from __future__ import annotations

from dataclasses import dataclass, replace

from anchor.chain.contracts import decode_result, encode_call
from anchor.chain.deploy import resolve
from anchor.chain.gateway import Block, Gateway
from anchor.errors import ChainMismatch
from verifier.receipts import ChainFacts, DocumentSlot, Receipt, StatusReading


@dataclass(frozen=True, slots=True)
class SlotReading:
    """The hash that the chain has for the receipt's block (empty: none), and the slots with their block."""

    block_hash: bytes
    statuses: StatusReading


def read_slots(rpc: str, receipt: Receipt, trust: ChainFacts) -> SlotReading:
    """Read the hash and the slots at the head of the chain that `trust` names.

    Raises:
        ChainUnavailable: the chain client cannot be asked.
        ChainMismatch: it follows another chain, or its Directory names another Ledger.
    """
    gateway = Gateway(rpc, timeout_s=10.0)
    try:
        found = resolve(gateway, trust.directory, chain_id=trust.chain_id, genesis=trust.genesis)
        if found.ledger != trust.ledger:
            raise ChainMismatch(
                "the Directory names another Ledger than the trust file", hint="get the trust file again"
            )
        return _read(gateway, receipt, trust.ledger, gateway.head())
    finally:
        gateway.close()


def _read(gateway: Gateway, receipt: Receipt, ledger: bytes, head: Block) -> SlotReading:
    def ask(function: str, *arguments: object) -> bytes:
        # By the block's hash: all slots are of one state, whatever is mined meanwhile.
        raw = gateway.call(ledger, encode_call("Ledger", function, *arguments), block=head.hash)
        return bytes(decode_result("Ledger", function, raw)[0])

    def document(slot: DocumentSlot) -> DocumentSlot:
        return replace(slot, value=ask("documentStatusOf", slot.member_id, slot.name))

    block = gateway.block(receipt.status.as_of_block)
    return SlotReading(
        block_hash=b"" if block is None else block.hash,
        statuses=StatusReading(
            claim=ask("statusOf", receipt.member_id, receipt.record[:32]),
            documents=tuple(document(each) for each in receipt.status.documents),
            as_of_block=head.number,
            as_of_time=head.time,
        ),
    )
