"""How fast are receipts built, 64 by one eth_getProof? Beside: the chain client's eth_getProof, a call a receipt.

The product does all that a node does beside unwrapping salts: ask, cut the proof by slots, path, build, check. On the
embedded engine and, where go-ethereum 1.13 is installed, on one Clique signer.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from anchor.canonical import JsonValue
from anchor.chain.contracts import event_topic, parse_batch_appended
from anchor.chain.stateproofs import read_headers, read_proofs
from anchor.commitments import Commitment, commit, open_fields
from anchor.entries import BatchEntry
from anchor.headers import Engine
from anchor.merkle import GrowingTree
from anchor.records import RECORD_BYTES, Flag, MaterialRecord, encode_record, record_id
from anchor.slots import batch_slot, claim_slot, document_slot
from anchor.tags import derive_domain_keys
from bench.chains import BareChain, StartChain, engines
from bench.figures import Figure, alternate, compare
from bench.runner import run
from bench.stage import Bench
from verifier.receiptforms import LABELS
from verifier.receipts import ChainFacts, DocumentSlot, build_receipt

BATCHES, BATCH_RECORDS, RECEIPTS, ROUNDS = 200, 64, 64, 5
KEYS = derive_domain_keys(1, 1, b"r" * 32)
OPENED = ("expiresOn", "issuedOn", "sha256", "typeCode")
FLOOR = "eth_getProof of the same slots, one call a receipt"
TOGETHER = "eth_getProof of the same slots, one call for 64"


def fields_of(number: int) -> Mapping[str, JsonValue]:
    """Return the opening of document `number`."""
    return {
        "agency": "12310104FAKE0011X9",
        "documentNo": f"B-{number}",
        "expiresOn": "2027-01-01",
        "issuedOn": "2026-01-01",
        "sha256": f"{number:064x}",
        "subjects": [{"idType": "001", "id": "91310104FAKE01016E", "role": "holder"}],
        "typeCode": "M1001",
    }


def salt_of(number: int) -> bytes:
    """Return the salt key of document `number`."""
    return number.to_bytes(32, "big")


def record_of(number: int) -> bytes:
    """Return the record of document `number`."""
    commitment = Commitment(commit(fields_of(number), salt_of(number)))
    tags = (
        KEYS.subject_tag("001", "91310104FAKE01016E", "M1001"),
        KEYS.content_tag(number.to_bytes(32, "big")),
        KEYS.doc_tag("M1001", f"B-{number}"),
    )
    place = (KEYS.domain, KEYS.epoch, 0)
    dates = (date(2026, 1, 1), date(2027, 1, 1))
    return encode_record(MaterialRecord(commitment, *place, *tags, *dates, Flag.NONE), KEYS)


class Stand:
    """A chain with batches of known documents, and what a node would hold of them."""

    def __init__(self, chain: BareChain) -> None:
        sender = chain.admit(7)
        sender.append([record_of(number) for number in range(BATCHES * BATCH_RECORDS)], batch=BATCH_RECORDS)
        self.chain, self.head = chain, chain.gateway.head()
        made = chain.deployment
        self.facts = ChainFacts(made.chain_id, made.genesis, made.directory, made.ledger)
        self.batches = self._read_batches()
        engine = Engine(chain.engine)
        self.headers, self.finality = read_headers(chain.gateway, [self.head.number], engine), LABELS[engine]

    def _read_batches(self) -> list[tuple[BatchEntry, list[bytes]]]:
        topic, ledger = event_topic("Ledger", "BatchAppended"), self.chain.deployment.ledger
        logs = self.chain.gateway.logs([ledger], first=0, last=self.head.number)
        found = [parse_batch_appended(log) for log in logs if log.topics[0] == topic]
        return [
            (entry, [packed[at : at + RECORD_BYTES] for at in range(0, len(packed), RECORD_BYTES)])
            for entry, packed in found
        ]

    def slots(self, number: int) -> list[bytes]:
        """Return the four slots of a receipt: batch, claim, and the document under two issuers."""
        record = self.batches[number // BATCH_RECORDS][1][number % BATCH_RECORDS]
        tag = KEYS.doc_tag("M1001", f"B-{number}")
        documents = [document_slot(member, KEYS.domain, KEYS.epoch, tag) for member in (7, 8)]
        return [batch_slot(number // BATCH_RECORDS), claim_slot(7, record[:32]), *documents]

    def build(self, numbers: Sequence[int]) -> float:
        """Build these receipts by one question; return receipts a second."""
        started = time.perf_counter()
        gateway, ledger = self.chain.gateway, self.chain.deployment.ledger
        slots = [slot for number in numbers for slot in self.slots(number)]
        proofs = read_proofs(gateway, ledger, slots, block=self.head.number)
        trees: dict[int, GrowingTree] = {}
        for at, number in enumerate(numbers):
            entry, records = self.batches[number // BATCH_RECORDS]
            index, proof = number % BATCH_RECORDS, proofs.of(slice(4 * at, 4 * at + 4))
            if entry.id not in trees:
                trees[entry.id] = tree = GrowingTree()
                for record in records:
                    tree.append(record_id(entry.member_id, record))
            tag = KEYS.doc_tag("M1001", f"B-{number}")
            named = zip((7, 8), proof.values[2:], strict=True)
            build_receipt(
                chain=self.facts,
                finality=self.finality,
                opening=open_fields(fields_of(number), salt_of(number), OPENED),
                batch=records,
                index=index,
                entry=entry,
                headers=self.headers,
                nodes=proof.nodes,
                claim=proof.values[1],
                documents=[
                    DocumentSlot(member, KEYS.domain, KEYS.epoch, tag, value) for member, value in named
                ],
                path=trees[entry.id].inclusion_path(index),
            )
        return len(numbers) / (time.perf_counter() - started)

    def ask(self, numbers: Sequence[int], *, together: bool) -> float:
        """Ask the client for the same proofs and leave the answer as it is; return receipts a second."""
        gateway, ledger = self.chain.gateway, self.chain.deployment.ledger
        started = time.perf_counter()
        parts = [numbers] if together else [[number] for number in numbers]
        for part in parts:
            slots = [slot for number in part for slot in self.slots(number)]
            gateway.proof(ledger, slots, block=self.head.number)
        return len(numbers) / (time.perf_counter() - started)


def measure(_bench: Bench) -> list[Figure]:
    """Build 64 receipts of random documents a round, and ask for the same proofs singly and together."""
    return [figure for name, start in engines() for figure in _engine(name, start)]


def _engine(name: str, start: StartChain) -> list[Figure]:
    with TemporaryDirectory(prefix="deltaseal-bench-") as folder, start(Path(folder) / "chain") as chain:
        stand = Stand(chain)

        def chosen(number: int) -> list[int]:
            return random.Random(number).sample(range(BATCHES * BATCH_RECORDS), RECEIPTS)

        stand.build(chosen(-1))
        figures = []
        for together, floor, goal in ((False, FLOOR, 0.5), (True, TOGETHER, None)):
            pairs = alternate(
                ROUNDS,
                lambda number: stand.build(chosen(number)),
                lambda number, whole=together: stand.ask(chosen(number), together=whole),
            )
            figures.append(
                compare(
                    "receipts built", f"{BATCHES} batches, {name}", pairs, unit="/s", floor=floor, goal=goal
                )
            )
        return figures


if __name__ == "__main__":
    run(measure)
