"""Looks at the chain without asking a node: receipts against its slots, records counted in its log.

What the scenes claim ("sealed", "exactly once") is checked here by whoever has the chain's address and
the deployment. Must not import `node` and takes nothing from a node but the receipt under test.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from anchor.chain.contracts import decode_result, encode_call, event_topic, parse_batch_appended
from anchor.chain.signersets import read_signer_sets
from anchor.records import RECORD_BYTES, record_id
from cli.demo.network import Network
from verifier.receipts import (
    ChainFacts,
    Outcome,
    Receipt,
    StatusReading,
    TrustAnchor,
    check_digest,
    check_receipt,
    parse_receipt,
)
from verifier.trust import SignerSet

_LOG_RANGE_BLOCKS = 200


def judge_receipt(
    network: Network, shown: Mapping[str, Any], *, sha256: str, at: datetime
) -> tuple[str, str]:
    """Check a receipt and the file's digest against the chain; return (outcome, reason).

    Raises:
        ReceiptMalformed: it is no receipt.
        ChainUnavailable: the chain does not answer.
    """
    receipt = parse_receipt(json.dumps(shown).encode())
    block = network.gateway.block(receipt.headers[0].number)
    findings = check_receipt(
        receipt,
        _trust(network),
        at=at,
        # Empty stands for "our chain has no such block": an operator's chain is believed, not proved.
        known_hash=block.hash if block else b"",
        later=_later_statuses(network, receipt),
    )
    reasons = (*findings.reasons, check_digest(receipt, bytes.fromhex(sha256)))
    for reason in reasons:
        if reason.outcome in (Outcome.FAIL, Outcome.UNPROVEN):
            return reason.outcome.value, f"{reason.code}: {reason.detail}"
    return (
        Outcome.PASS.value,
        "opening, inclusion, header, state proof, status, dates and bytes agree with the chain",
    )


def count_records(network: Network, wanted: Iterable[str]) -> Counter[str]:
    """Count on chain the records with these ids (hex leaf hashes); an id that is not there counts 0.

    Raises:
        ChainUnavailable: the chain does not answer.
    """
    ids = set(wanted)
    found: Counter[str] = Counter(dict.fromkeys(ids, 0))
    head = network.head().number
    for first in range(0, head + 1, _LOG_RANGE_BLOCKS):
        last = min(head, first + _LOG_RANGE_BLOCKS - 1)
        for name in _record_ids(network, first, last):
            if name in ids:
                found[name] += 1
    return found


def _record_ids(network: Network, first: int, last: int) -> Iterable[str]:
    topic = event_topic("Ledger", "BatchAppended")
    for log in network.gateway.logs([network.deployment.ledger], first=first, last=last):
        if log.topics[0] != topic:
            continue
        entry, records = parse_batch_appended(log)
        for start in range(0, len(records), RECORD_BYTES):
            yield record_id(entry.member_id, bytes(records[start : start + RECORD_BYTES])).hex()


def _trust(network: Network) -> TrustAnchor:
    """Return what an auditor believes beforehand: which chain it is, and who seals it (nobody on an operator's)."""
    made = network.deployment
    facts = ChainFacts(made.chain_id, made.genesis, made.directory, made.ledger)
    sets = read_signer_sets(network.gateway, made.members, network.engine, last=network.head().number)
    named = tuple(SignerSet(first, signers) for first, signers in sets)
    return TrustAnchor(facts, made.members, network.engine, named)


def _later_statuses(network: Network, receipt: Receipt) -> StatusReading:
    """Read the receipt's status slots at the head, which is the receipt's block or one after it."""
    head = network.head()
    documents = tuple(
        replace(slot, value=_read(network, "documentStatusOf", slot.member_id, slot.name))
        for slot in receipt.status.documents
    )
    claim = _read(network, "statusOf", receipt.member_id, receipt.record[:32])
    return StatusReading(claim, documents, head.number, head.time)


def _read(network: Network, function: str, *arguments: int | bytes) -> bytes:
    calldata = encode_call("Ledger", function, *arguments)
    answer = network.gateway.call(network.deployment.ledger, calldata, block="latest")
    value: bytes = decode_result("Ledger", function, answer)[0]
    return value
