"""The ledger's golden files, which the contracts are tested with, give the same values in Python."""

import json
from pathlib import Path
from typing import Any

import pytest
from eth_utils.crypto import keccak

from anchor.commitments import Commitment
from anchor.entries import (
    BatchEntry,
    SlotStatus,
    StatusFlag,
    batch_hash,
    claim_key,
    decode_status,
    document_key,
    encode_entry,
    encode_status,
)
from anchor.errors import RecordMalformed
from anchor.merkle import Frontier, root
from anchor.records import RECORD_BYTES, Stream, parse_frame, record_id
from anchor.tags import Tag

FOLDER = Path(__file__).parents[1] / "vectors" / "ledger"
Case = dict[str, Any]


def cases(kind: str, operation: str) -> list[Any]:
    stored = json.loads((FOLDER / f"{kind}.json").read_text("utf-8"))["cases"]
    return [pytest.param(case, id=case["name"]) for case in stored if case["operation"] == operation]


def split(records: bytes) -> list[bytes]:
    return [records[at : at + RECORD_BYTES] for at in range(0, len(records), RECORD_BYTES)]


@pytest.mark.parametrize("case", cases("accept", "ledger.appends"))
def test_batches_have_the_entries_and_roots_of_the_chain(case: Case) -> None:
    frontier = Frontier()
    for number, (batch, expected) in enumerate(zip(case["input"], case["expected"], strict=True)):
        leaves = [record_id(batch["memberId"], each) for each in split(bytes.fromhex(batch["records"]))]
        entry = BatchEntry(
            id=number,
            member_id=batch["memberId"],
            stream=Stream(batch["stream"]),
            seq=batch["seq"],
            size=len(leaves),
            root=root(leaves),
            time=batch["time"],
        )
        frontier.append(batch_hash(entry))
        assert leaves[0].hex() == expected["firstRecordId"]
        assert entry.root.hex() == expected["root"]
        assert encode_entry(entry).hex() == expected["entry"]
        assert batch_hash(entry).hex() == expected["batchHash"]
        assert frontier.root().hex() == expected["logRoot"]


@pytest.mark.parametrize("case", cases("accept", "ledger.claim"))
def test_claim_keys_name_the_slot_of_the_chain(case: Case) -> None:
    key = claim_key(case["input"]["memberId"], Commitment(bytes.fromhex(case["input"]["commitment"])))
    assert key.hex() == case["expected"]["key"]
    assert keccak(key + (3).to_bytes(32)).hex() == case["expected"]["slot"]


@pytest.mark.parametrize("case", cases("accept", "ledger.document"))
def test_document_keys_name_the_slot_of_the_chain(case: Case) -> None:
    document = bytes.fromhex(case["input"]["document"])
    domain, epoch = int.from_bytes(document[:2]), int.from_bytes(document[2:4])
    key = document_key(case["input"]["memberId"], domain, epoch, Tag(document[4:]))
    assert key.hex() == case["expected"]["key"]
    assert keccak(key + (4).to_bytes(32)).hex() == case["expected"]["slot"]


@pytest.mark.parametrize("case", cases("accept", "ledger.status"))
def test_status_words_are_those_of_the_chain(case: Case) -> None:
    asked = case["input"]
    successor = bytes.fromhex(asked["successor"])
    status = SlotStatus(
        flags=StatusFlag(asked["flags"]),
        since=asked["since"],
        reason=asked["reason"],
        successor=successor if any(successor) else b"",
    )
    assert encode_status(status).hex() == case["expected"]
    assert decode_status(bytes.fromhex(case["expected"])) == status


def malformed() -> list[Any]:
    refused = (case for case in cases("reject", "ledger.append"))
    return [case for case in refused if case.values[0]["error"] == "LedgerRecordMalformed"]


@pytest.mark.parametrize("case", malformed())
def test_records_that_the_chain_refuses_have_no_good_frame(case: Case) -> None:
    record = split(bytes.fromhex(case["input"]["records"]))[case["values"][0]]
    if "another stream" in case["name"]:  # A good frame, only not of the stream it came in.
        assert parse_frame(record).format != case["input"]["stream"]
        return
    with pytest.raises(RecordMalformed):
        parse_frame(record)
