"""Derives the whole log anew from a chain client's events, and compares it with the Ledger's proved state.

Nothing that a node says is believed: its checkpoints are what is compared. Every leaf, root and entry is computed
here; the log's root is proved in the state of a final block. Spec pages: docs/reference/batch-and-log.md,
docs/reference/checkpoint.md.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from anchor.chain.contracts import decode_result, encode_call, event_topic, parse_batch_appended
from anchor.chain.finality import FinalPoint, finality_for
from anchor.chain.gateway import Gateway, Log
from anchor.chain.stateproofs import read_headers, read_proof
from anchor.entries import BatchEntry, batch_hash
from anchor.errors import ChainUnavailable, SignatureInvalid
from anchor.headers import Engine
from anchor.merkle import EMPTY_ROOT, GrowingTree, root
from anchor.records import RECORD_BYTES, record_id
from anchor.slots import LOG_ROOT, LOG_SIZE, plain_slot
from cli.checks import FAIL, PASS, SKIPPED, WARN
from cli.errors import InputInvalid
from verifier.checkpoints import SignedCheckpoint, checkpoint_signer
from verifier.proofs.accounts import NodeSet, account_at, storage_at
from verifier.proofs.errors import ProofError
from verifier.proofs.headers import MAX_HEADERS, block_hash, shortest_final, verify_linked
from verifier.trust import TrustAnchor

MOST_BLOCKS = 200
Tick = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check, as the output shows it."""

    code: str
    outcome: str
    detail: str

    def as_item(self) -> dict[str, str]:
        """Give the row that the output shows."""
        return {"code": self.code, "outcome": self.outcome, "detail": self.detail}


@dataclass(slots=True)
class DerivedLog:
    """The log as the events give it: `faults` name every batch that is not as it must be."""

    tree: GrowingTree = field(default_factory=GrowingTree)
    records: int = 0
    blocks: list[int] = field(default_factory=list)
    next_seq: dict[int, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def take(self, log: Log) -> None:
        """Check one batch against its records and against the log so far, and add it."""
        entry, records = parse_batch_appended(log)
        for fault in self._faults_of(entry, records):
            self.faults.append(f"batch {entry.id}: {fault}")
        self.tree.append(batch_hash(entry))
        self.records += entry.size
        self.blocks.append(log.block_number)
        self.next_seq[entry.member_id] = entry.seq + 1

    def _faults_of(self, entry: BatchEntry, records: bytes) -> Iterator[str]:
        leaves = [
            record_id(entry.member_id, records[at : at + RECORD_BYTES])
            for at in range(0, len(records), RECORD_BYTES)
        ]
        if root(leaves) != entry.root:
            yield "its records give another root"
        if entry.id != self.tree.size:
            yield f"it stands where batch {self.tree.size} should"
        if entry.seq != self.next_seq.get(entry.member_id, 0):
            yield "it is out of its member's sequence"

    def size_at(self, height: int) -> int:
        """Return how many batches blocks up to `height` hold."""
        return bisect_right(self.blocks, height)


@dataclass(frozen=True, slots=True)
class ProvedLog:
    """Size and root of the log in the proved state of `final`, or `fault`: why that state proves none."""

    final: FinalPoint
    size: int = 0
    root: bytes = EMPTY_ROOT
    fault: str = ""


def prove_log(gateway: Gateway, trust: TrustAnchor) -> ProvedLog:
    """Prove the Ledger's log in the state of the last final block, before the events are read.

    A chain client may keep the state of its newest blocks only, and reading all events takes its time.

    Raises:
        ChainUnavailable: the client cannot be asked. InputInvalid: nothing is final under the anchor's signers.
    """
    final = final_point(gateway, trust)
    try:
        return ProvedLog(final, *_prove(gateway, trust, final))
    except ProofError as error:
        return ProvedLog(final, fault=f"the Ledger's log is not proved: {error}")


def derive_log(gateway: Gateway, ledger: bytes, *, last: int, tick: Tick) -> DerivedLog:
    """Read every batch up to block `last` and check it; `tick(block, last)` is told of the progress.

    Raises:
        ChainUnavailable: the client cannot be asked.
    """
    derived, first, step = DerivedLog(), 0, MOST_BLOCKS
    while first <= last:
        until = min(first + step - 1, last)
        try:
            found = gateway.logs([ledger], first=first, last=until)
        except ChainUnavailable:
            if step == 1:
                raise
            step = max(1, step // 2)  # Too much in one answer is one of the reasons.
            continue
        for log in found:
            if log.topics and log.topics[0] == event_topic("Ledger", "BatchAppended"):
                derived.take(log)
        tick(until, last)
        first, step = until + 1, min(MOST_BLOCKS, step * 2)
    return derived


def check_chain(gateway: Gateway, trust: TrustAnchor) -> Finding:
    """Make sure that the client follows the chain that is trusted."""
    genesis = gateway.block(0)
    same = gateway.chain_id() == trust.chain.chain_id and genesis and genesis.hash == trust.chain.genesis
    return Finding(
        "chain", PASS if same else FAIL, "the trusted chain" if same else "another chain id or genesis"
    )


def final_point(gateway: Gateway, trust: TrustAnchor) -> FinalPoint:
    """Return the last final block by the anchor's signers; by the operator's word where it has none.

    Raises:
        InputInvalid: nothing is final under these signers.
    """
    sets = [(each.from_block, each.signers) for each in trust.signer_sets]
    found = finality_for(trust.engine.value, signer_sets=lambda: sets).final_point(gateway, gateway.head())
    if found is None:
        raise InputInvalid(
            "no block is final under the anchor's signers", hint="is the trust anchor of this chain?"
        )
    return found


def check_state(held: ProvedLog, trust: TrustAnchor, derived: DerivedLog) -> Iterator[Finding]:
    """Compare the log that the state of the final block holds with the derived one."""
    if held.fault:
        yield Finding("state", FAIL, held.fault)
        return
    yield _finality_finding(trust, held.final)
    yield _compare("log_size", held.size, derived.tree.size)
    yield _compare("log_root", held.root.hex(), derived.tree.root_at(derived.tree.size).hex())


def check_checkpoints(
    gateway: Gateway,
    trust: TrustAnchor,
    final: FinalPoint,
    derived: DerivedLog,
    shown: Iterable[SignedCheckpoint],
) -> Iterator[Finding]:
    """Compare what members signed with the derived log and with the chain's blocks."""
    for signed in shown:
        point = signed.checkpoint
        code = f"checkpoint of member {point.member_id} at block {point.height}"
        if point.chain != trust.chain:
            yield Finding(code, FAIL, "it is of another chain")
        elif not _signed_by_member(gateway, trust, signed):
            yield Finding(code, FAIL, "it is not signed by the member's account")
        elif point.log_size <= derived.tree.size and derived.tree.root_at(point.log_size) != point.log_root:
            yield Finding(code, FAIL, f"the log of {point.log_size} batches has another root")
        elif point.height > final.number:
            yield Finding(code, WARN, "it is ahead of this client's last final block: not compared")
        else:
            yield _compare_block(gateway, derived, signed, code)


def _compare_block(gateway: Gateway, derived: DerivedLog, signed: SignedCheckpoint, code: str) -> Finding:
    point = signed.checkpoint
    block = gateway.block(point.height)
    if block is None or block.hash != point.block_hash:
        return Finding(code, FAIL, "the chain has another block there")
    if derived.size_at(point.height) != point.log_size:
        return Finding(code, FAIL, "that block has another number of batches behind it")
    return Finding(code, PASS, f"{point.log_size} batches, the same root and block")


def _signed_by_member(gateway: Gateway, trust: TrustAnchor, signed: SignedCheckpoint) -> bool:
    call = encode_call("Members", "accountOf", signed.checkpoint.member_id)
    answer = gateway.call(_members(gateway, trust), call)
    account: bytes = decode_result("Members", "accountOf", answer)[0]
    try:
        return any(account) and checkpoint_signer(signed) == account
    except SignatureInvalid:
        return False


def _members(gateway: Gateway, trust: TrustAnchor) -> bytes:
    """Return the address of Members: an anchor without signers need not name it, the Ledger does."""
    if any(trust.members):
        return trust.members
    answer = gateway.call(trust.chain.ledger, encode_call("Ledger", "members"))
    found: bytes = decode_result("Ledger", "members", answer)[0]
    return found


def _prove(gateway: Gateway, trust: TrustAnchor, final: FinalPoint) -> tuple[int, bytes]:
    headers = read_headers(gateway, range(final.number, final.number + MAX_HEADERS), trust.engine)
    verify_linked(headers, trust.engine)
    if block_hash(headers[0], trust.engine) != final.hash:
        raise ProofError("the final block is another one now", step="other_block")
    if trust.signer_sets and shortest_final(headers, trust.signers_at, trust.engine) is None:
        raise ProofError("too few trusted signers sealed the block", step="quorum_missing")
    slots = [plain_slot(LOG_SIZE), plain_slot(LOG_ROOT)]
    proof = read_proof(gateway, trust.chain.ledger, slots, block=final.number)
    nodes = NodeSet(proof.nodes)
    account = account_at(headers[0].state_root, trust.chain.ledger, nodes)
    if account is None:
        raise ProofError("the state has no Ledger", step="account_missing")
    size, held = (storage_at(account.storage_root, slot, nodes) for slot in slots)
    number = int.from_bytes(size, "big")
    # The Ledger holds zero where RFC 6962 has the hash of nothing.
    return number, EMPTY_ROOT if number == 0 and not any(held) else held


def _finality_finding(trust: TrustAnchor, final: FinalPoint) -> Finding:
    if trust.engine is Engine.EMBEDDED or not trust.signer_sets:
        return Finding("finality", SKIPPED, "one operator makes the blocks: its word alone makes them final")
    return Finding("finality", PASS, f"block {final.number} is sealed by a quorum of the anchor's signers")


def _compare(code: str, held: Any, derived: Any) -> Finding:
    if held == derived:
        return Finding(code, PASS, f"the Ledger's state holds {held}")
    return Finding(code, FAIL, f"the Ledger's state holds {held}, its events give {derived}")


def check_batches(derived: DerivedLog) -> Finding:
    """Say whether every batch is as its records and its place ask for."""
    if derived.faults:
        more = f" and {len(derived.faults) - 3} more" if len(derived.faults) > 3 else ""
        return Finding("batches", FAIL, "; ".join(derived.faults[:3]) + more)
    return Finding(
        "batches", PASS, f"{derived.tree.size} batches with {derived.records} records, every root right"
    )
