"""A model of a chain for outbox tests: pool, blocks, reorganisations, restores, two senders, outages, no EVM.

`ModelChain` is the chain; `ModelGateway` answers what the outbox asks of it, with the real types. `CrashKeyValue` is a
store that dies at a chosen write and, as after a power cut, may lose what was not synced.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from anchor.chain.contracts import encode_call, event_topic, parse_append_call, selector
from anchor.chain.deploy import Deployment
from anchor.chain.errors import CallReverted
from anchor.chain.finality import FinalPoint
from anchor.chain.gateway import AccountSince, Block, Glance, Log, Receipt, SendOutcome
from anchor.errors import ChainUnavailable, TransactionRefused
from anchor.keyvalue import Delete, Put
from anchor.outbox import AppendOperation, Outbox
from anchor.records import RECORD_BYTES, Stream
from anchor.signer import Signer, parse_transaction
from tests.unit.keyvalue_suite import MemoryKeyValue

SIGNER = Signer.from_key(b"\x21" * 32)
MEMBER = 7
CHAIN_ID = 310000
LEDGER, MEMBERS = b"\x01" * 20, b"\x02" * 20
ERRORS = {
    "LedgerSequence": ("LedgerSequence(uint32,uint64,uint64)", ["uint32", "uint64", "uint64"]),
    "LedgerStatusUnchanged": (
        "LedgerStatusUnchanged(uint32,bytes32,bytes32)",
        ["uint32", "bytes32", "bytes32"],
    ),
    "LedgerConsumed": ("LedgerConsumed(bytes32,uint64)", ["bytes32", "uint64"]),
    "LedgerNotMember": ("LedgerNotMember(address)", ["address"]),
    "LedgerRecordMalformed": ("LedgerRecordMalformed(uint256)", ["uint256"]),
    "LedgerNotOwner": ("LedgerNotOwner(uint32,address)", ["uint32", "address"]),
}


class Crash(BaseException):
    """The process dies here; nothing may catch it."""


class Reverted(Exception):
    """A contract of the model refuses a transaction."""

    def __init__(self, name: str, *values: object) -> None:
        super().__init__(name)
        signature, kinds = ERRORS[name]
        self.reason = bytes(keccak(text=signature)[:4]) + encode(kinds, values)


@dataclass
class State:
    """What transactions change."""

    nonce: int = 0
    sequence: int = 0
    appended: list[bytes] = field(default_factory=list)
    revoked: set[bytes] = field(default_factory=set)
    consumed: dict[bytes, bytes] = field(default_factory=dict)
    active: bool = True

    def copy(self) -> State:
        """Return a state of its own."""
        fields = (
            self.nonce,
            self.sequence,
            list(self.appended),
            set(self.revoked),
            dict(self.consumed),
            self.active,
        )
        return State(*fields)

    def execute(self, to: bytes, calldata: bytes) -> list[bytes]:
        """Do what a call does; return the records of an append. Raises Reverted."""
        head = calldata[:4]
        if to == LEDGER and not self.active:
            raise Reverted("LedgerNotMember", SIGNER.address)
        if to == LEDGER and head == selector("Ledger", "append"):
            return self._append(calldata)
        if to == LEDGER and head == selector("Ledger", "revoke"):
            claim = calldata[36:68]
            if claim in self.revoked:
                raise Reverted("LedgerStatusUnchanged", MEMBER, claim, bytes(32))
            if claim == b"\xee" * 32:
                raise Reverted("LedgerNotOwner", MEMBER, SIGNER.address)
            self.revoked.add(claim)
        if to == LEDGER and head == selector("Ledger", "consume"):
            self._consume(calldata[4:36], calldata[36:68])
        return []

    def _consume(self, nullifier: bytes, use: bytes) -> None:
        if self.consumed.setdefault(nullifier, use) != use:
            raise Reverted("LedgerConsumed", nullifier, 1)

    def _append(self, calldata: bytes) -> list[bytes]:
        _, seq, records = parse_append_call(calldata)
        if seq != self.sequence:
            raise Reverted("LedgerSequence", MEMBER, self.sequence, seq)
        parts = [records[at : at + RECORD_BYTES] for at in range(0, len(records), RECORD_BYTES)]
        for index, record in enumerate(parts):
            if record[:32] == b"\xbb" * 32:
                raise Reverted("LedgerRecordMalformed", index)
        self.sequence += 1
        self.appended += parts
        return parts


@dataclass
class ModelBlock:
    """A block, the state after it, and what its transactions left."""

    block: Block
    state: State
    receipts: dict[bytes, Receipt]
    logs: list[Log]
    raws: list[bytes]


class ModelChain:
    """Blocks and a pool of one account. `final_lag` blocks on top are not final."""

    def __init__(self, final_lag: int = 0) -> None:
        self.final_lag = final_lag
        self.pool: dict[int, bytes] = {}
        self.refused: set[bytes] = set()
        self._salt = itertools.count()
        self.blocks: list[ModelBlock] = []
        self._add([], State(), {}, [])

    @property
    def state(self) -> State:
        """State after the last block."""
        return self.blocks[-1].state

    def _add(self, raws: list[bytes], state: State, results: dict[bytes, bool], logs: list[Log]) -> None:
        number = len(self.blocks)
        parent = self.blocks[-1].block.hash if self.blocks else bytes(32)
        # Genesis is always the same; every other block is one of its kind.
        mark = b"genesis" if number == 0 else str(next(self._salt)).encode()
        block_hash = sha256(parent + mark).digest()
        hashes = tuple(keccak(raw) for raw in raws)
        block = Block(number, block_hash, parent, 1_700_000_000 + number, hashes, 60_000_000, {})
        receipts = {
            name: Receipt(name, number, block_hash, good, 50_000, None, int(good))
            for name, good in results.items()
        }
        placed = [
            Log(log.address, log.topics, log.body, number, block_hash, log.transaction_hash, 0)
            for log in logs
        ]
        self.blocks.append(ModelBlock(block, state, receipts, placed, raws))

    def mine(self) -> None:
        """Make a block of what is executable in the pool."""
        state, raws, results, logs = self.state.copy(), [], {}, []
        while state.nonce in self.pool:
            raw = self.pool.pop(state.nonce)
            state.nonce += 1
            parsed, name = parse_transaction(raw), keccak(raw)
            raws.append(raw)
            trial = state.copy()
            try:
                records = trial.execute(parsed.to, parsed.calldata)
            except Reverted:
                results[name] = False
                continue
            results[name] = True
            if records:
                logs.append(_batch_log(records, trial.sequence - 1, name))
            state = trial
        self._add(raws, state, results, logs)

    def reorganise(self, depth: int, *, lose: bool = False) -> None:
        """Take back the top blocks, as far as they are not final; their transactions wait again, or are lost."""
        depth = min(depth, self.final_lag, len(self.blocks) - 1)
        self._drop(depth, lose=lose)

    def restore(self, height: int) -> None:
        """Become an older copy of itself, final blocks gone, pool empty."""
        self._drop(max(0, len(self.blocks) - 1 - height), lose=True)
        self.pool.clear()

    def _drop(self, depth: int, *, lose: bool) -> None:
        for _ in range(depth):
            gone = self.blocks.pop()
            for raw in [] if lose else gone.raws:
                self.pool.setdefault(parse_transaction(raw).nonce, raw)

    def change_membership(self, *, active: bool) -> None:
        """Suspend or reinstate the member from the next block on."""
        self._add([], self.state.copy(), {}, [])
        self.state.active = active


def _batch_log(records: Sequence[bytes], seq: int, transaction: bytes) -> Log:
    joined = b"".join(records)
    words = [seq, len(records), 0, 1_700_000_000, 160, len(joined)]
    body = b"".join(word.to_bytes(32) for word in words) + joined + bytes(-len(joined) % 32)
    ids = [number.to_bytes(32) for number in (seq, MEMBER, int(Stream.MATERIAL))]
    return Log(LEDGER, (event_topic("Ledger", "BatchAppended"), *ids), body, 0, b"", transaction, 0)


class ModelGateway:
    """What the outbox asks, answered by a ModelChain; `fail_at` makes the n-th call from now fail."""

    def __init__(self, chain: ModelChain) -> None:
        self.chain = chain
        self.down = False
        self.fail_at: int | None = None
        self.blind: set[bytes] = set()
        self.sent: list[bytes] = []

    def _enter(self) -> None:
        if self.fail_at is not None:
            self.fail_at -= 1
            if self.fail_at < 0:
                self.fail_at = None
                raise ChainUnavailable("the model chain fails here")
        if self.down:
            raise ChainUnavailable("the model chain is down")

    def block(self, name: Any = "latest") -> Block | None:
        """Return a block by number or the latest."""
        self._enter()
        number = len(self.chain.blocks) - 1 if name == "latest" else name
        return self.chain.blocks[number].block if number < len(self.chain.blocks) else None

    def head(self) -> Block:
        """Return the latest block."""
        self._enter()
        return self.chain.blocks[-1].block

    def blocks(self, numbers: Sequence[int]) -> list[Block | None]:
        """Return blocks by number."""
        return [self.block(number) for number in numbers]

    def nonce(self, address: bytes, *, pending: bool = False, block: int | None = None) -> int:
        """Return the account's nonce."""
        self._enter()
        state = self.chain.state if block is None else self.chain.blocks[block].state
        nonce = state.nonce
        while pending and nonce in self.chain.pool:
            nonce += 1
        return nonce

    def glance(self, address: bytes, numbers: Sequence[int]) -> Glance:
        """Return head, nonces and blocks."""
        self._enter()
        found = [self.chain.blocks[at].block if at < len(self.chain.blocks) else None for at in numbers]
        nonces = (self.nonce(address), self.nonce(address, pending=True))
        return Glance(self.chain.blocks[-1].block, *nonces, tuple(found))

    def account_since(
        self, address: bytes, calls: Sequence[tuple[bytes, bytes]], *, first: int, head: Block
    ) -> AccountSince:
        """Return the account's nonce and what calls answer as of `head`, and the blocks that led there."""
        self._enter()
        held = self.chain.blocks[head.number] if head.number < len(self.chain.blocks) else None
        if held is None or held.block.hash != head.hash:
            raise ChainUnavailable("the model chain has no such block")
        answers = tuple([self.call(to, calldata, block=head.number) for to, calldata in calls])
        blocks = tuple([item.block for item in self.chain.blocks[first : head.number + 1]])
        return AccountSince(held.state.nonce, answers, blocks)

    def send_many(self, raws: Sequence[bytes]) -> list[SendOutcome | TransactionRefused | ChainUnavailable]:
        """Take several; a failure loses all answers."""
        answers: list[SendOutcome | TransactionRefused | ChainUnavailable] = []
        for raw in raws:
            try:
                answers.append(self.send_raw(raw))
            except TransactionRefused as error:
                answers.append(error)
        return answers

    def send_raw(self, raw: bytes) -> SendOutcome:
        """Take a raw transaction into the pool."""
        self._enter()
        self.sent.append(raw)
        nonce = parse_transaction(raw).nonce
        if raw in self.chain.refused:
            raise TransactionRefused("the model chain refuses this transaction")
        if nonce < self.chain.state.nonce:
            return SendOutcome.NONCE_TOO_LOW
        held = self.chain.pool.setdefault(nonce, raw)
        self._enter()  # The answer may be lost after the transaction was taken.
        if held != raw:
            return SendOutcome.UNDERPRICED
        return SendOutcome.ACCEPTED

    def receipts(self, hashes: Sequence[bytes]) -> list[Receipt | None]:
        """Return receipts by hash."""
        self._enter()
        known = {name: receipt for item in self.chain.blocks for name, receipt in item.receipts.items()}
        return [None if name in self.blind else known.get(name) for name in hashes]

    def call(
        self, to: bytes, calldata: bytes, *, block: Any = "latest", sender: bytes | None = None
    ) -> bytes:
        """Answer the views that the outbox asks, and rehearse a transaction."""
        self._enter()
        state = self.chain.state if block == "latest" else self.chain.blocks[block].state
        if calldata[:4] == selector("Members", "activeMemberOf"):
            return (MEMBER if state.active else 0).to_bytes(32)
        if calldata[:4] == selector("Ledger", "nextSeq"):
            return state.sequence.to_bytes(32)
        try:
            state.copy().execute(to, calldata)
        except Reverted as error:
            reverted = CallReverted("reverted")
            reverted.reason = error.reason
            raise reverted from error
        return b""

    def logs(self, addresses: Sequence[bytes], *, first: int, last: int) -> list[Log]:
        """Return the batches of blocks first..last."""
        self._enter()
        return [log for item in self.chain.blocks[first : last + 1] for log in item.logs]


class LaggingFinality:
    """The head, less the chain's lag, is final."""

    label = "model"

    def __init__(self, chain: ModelChain) -> None:
        self._chain = chain

    def final_point(self, gateway: Any, head: Block) -> FinalPoint | None:
        """Return the final point of the model."""
        number = head.number - self._chain.final_lag
        if number < 0:
            return None
        block = self._chain.blocks[number].block
        return FinalPoint(number, block.hash, block.time, self.label)


class CrashKeyValue(MemoryKeyValue):
    """A store whose process can die at a write, and that can lose, newest first, what was not synced."""

    def __init__(self) -> None:
        super().__init__()
        self.die_at: int | None = None
        self._unsynced: list[dict[bytes, bytes]] = []

    def write(self, ops: Sequence[Put | Delete], *, sync: bool) -> None:
        """Write, unless the process dies before or right after it."""
        before = self._rows
        if self._counts_down():
            raise Crash
        super().write(ops, sync=sync)
        self._unsynced = [] if sync else [*self._unsynced, before]
        if self._counts_down():
            raise Crash

    def _counts_down(self) -> bool:
        if self.die_at is None:
            return False
        self.die_at -= 1
        if self.die_at >= 0:
            return False
        self.die_at = None
        return True

    def lose_power(self, keep: int) -> None:
        """Forget all unsynced writes but the first `keep`."""
        if keep < len(self._unsynced):
            self._rows = self._unsynced[keep]
        self._unsynced = []

    def copy(self) -> CrashKeyValue:
        """Return a backup of this store."""
        other = CrashKeyValue()
        other._rows = self._rows
        return other


class Clock:
    """A clock that moves by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


class Bench:
    """One model chain and one outbox with its store; `restart` is what a new process does."""

    def __init__(self, chain: ModelChain | None = None, **settings: Any) -> None:
        self.chain = chain or ModelChain()
        self.gateway, self.kv, self.clock = ModelGateway(self.chain), CrashKeyValue(), Clock()
        self._settings = {"batch_records": 4, "window": 3, **settings}
        self.restart()

    def restart(self) -> None:
        """Open the outbox on what the store has."""
        self.outbox = Outbox(
            self.kv,
            gateway=self.gateway,  # type: ignore[arg-type]
            signer=SIGNER,
            deployment=deployment_of(self.chain),
            member_id=MEMBER,
            finality=LaggingFinality(self.chain),
            clock=self.clock,
            **self._settings,
        )

    def put(self, *operations: tuple[str, Any]) -> None:
        """Enqueue and write, as a service does."""
        self.kv.write(self.outbox.enqueue(operations), sync=True)

    def step(self, seconds: float = 0.1) -> Any:
        """Let time pass and step."""
        self.clock.now += seconds
        return self.outbox.step()

    def settle(self, rounds: int = 400) -> None:
        """Step and mine until nothing waits and nothing is in flight."""
        for _ in range(rounds):
            progress = self.step(0.6)
            self.chain.mine()
            if not (progress.queued or progress.in_flight or progress.included):
                return
        raise AssertionError(f"the outbox does not come to rest: {progress}")

    def states(self, ids: Iterator[str] | Sequence[str]) -> list[str]:
        """Return the states of operations."""
        return [str(status.state) if (status := self.outbox.status_of(name)) else "unknown" for name in ids]


def deployment_of(chain: ModelChain) -> Deployment:
    """Return where the model's contracts are."""
    genesis = chain.blocks[0].block.hash
    return Deployment(CHAIN_ID, genesis, b"\x03" * 20, b"\x04" * 20, MEMBERS, LEDGER, b"\x05" * 20)


def record(number: int, stream: Stream = Stream.MATERIAL) -> bytes:
    """Make a record that no other number has."""
    return sha256(str(number).encode()).digest() + b"\x00\x01\x00\x01\x00" + bytes([stream]) + bytes(58)


def append(number: int) -> tuple[str, AppendOperation]:
    """Make an operation that appends record `number`."""
    return f"op-{number}", AppendOperation(Stream.MATERIAL, record(number))


def revoke_call(number: int) -> bytes:
    """Make the calldata that revokes claim `number`."""
    return encode_call("Ledger", "revoke", MEMBER, sha256(b"claim%d" % number).digest(), 1)
