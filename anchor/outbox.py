"""The durable outbox: every operation that was stored reaches the chain exactly once, without a hand.

Life of a record (docs/explanation/outbox.md):
1. `enqueue` gives the caller rows, which it writes with its own; from then on the operation cannot be lost.
2. `step` packs up to 512 records, or one call, into a transaction, signs it and stores it, synced.
3. Only then is it sent, and sent again, the same bytes, until its nonce is used in a block.
4. Included, then final. A revert or a foreign transaction counts only when it is final; then what did no work
   moves back to the queue, unless there is nothing left to do.
5. The bytes stay: a chain that steps back behind its final block is given them again, by nonce.

An operation belongs to at most one transaction that can still do its work; that is why it is done once.
States and moves: the table `MOVES` in `anchor/outbox_rows.py`. Writes: `anchor/outbox_store.py`. Chain
trouble is told in `OutboxProgress.problem`, never raised.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, starmap

from anchor.chain.contracts import (
    MAX_CALLDATA_BYTES,
    decode_result,
    decode_revert,
    encode_call,
    event_topic,
    parse_append_call,
    parse_batch_appended,
)
from anchor.chain.deploy import Deployment
from anchor.chain.errors import CallReverted, OperationInvalid
from anchor.chain.finality import Finality, FinalPoint
from anchor.chain.gateway import Block, Gateway, Receipt, SendOutcome
from anchor.errors import (
    ChainAnswerMalformed,
    ChainMismatch,
    ChainRegressed,
    ChainUnavailable,
    TransactionRefused,
)
from anchor.keyvalue import KeyValue, Put
from anchor.outbox_courier import Courier
from anchor.outbox_packing import Packer
from anchor.outbox_rows import (
    MAX_ID_BYTES,
    AdoptedRow,
    AppendOperation,
    CallOperation,
    Group,
    Operation,
    OperationState,
    Queued,
    TxKind,
    TxRow,
    TxState,
    Waiting,
    decode_queued,
    stream_of,
)
from anchor.outbox_sightings import Place, Sightings
from anchor.outbox_store import Move, OperationStatus, OutboxStore
from anchor.records import RECORD_BYTES, Stream
from anchor.signer import Signer, parse_transaction

__all__ = [
    "AppendOperation",
    "CallOperation",
    "Operation",
    "OperationState",
    "OperationStatus",
    "Outbox",
    "OutboxProgress",
]

RESEND_S = 1.0
GAP_S = 10.0  # How long a nonce may stay open below ours before a transaction without effect fills it.
HOLD_S = 2.0  # How long packing rests after a revert that another try may not meet again.
MISSES = 3  # Looks at which a mined nonce has no receipt of ours before it counts as another's.
REFUSALS = 3
CROWD_RECORDS = 8
CROWD_GATHERS = 5
FILLER_GAS = 21_000
LOG_RANGE = 64
HISTORY_STEP = 64

# Reverts of a call after which nothing is left to do, or that its own member cannot help.
DONE = frozenset({"LedgerStatusUnchanged"})
INACTIVE = frozenset({"LedgerNotMember", "LedgerObserver", "CatalogNotMember"})
FAILURES = {"LedgerConsumed": "consumed"}


@dataclass(frozen=True, slots=True)
class OutboxProgress:
    """What a step found. `problem` is an error code or None; ages in seconds."""

    queued: int
    in_flight: int
    included: int
    final: int
    failed: int
    problem: str | None
    oldest_queued_s: float


@dataclass(frozen=True, slots=True)
class _View:
    """The chain as one step sees it. `mined` and `pending` are the account's nonces."""

    head: Block
    final: FinalPoint | None
    mined: int
    pending: int


class Outbox:
    """The outbox of one member's account. `enqueue`, `wake` and `status_of` may be called from any thread."""

    def __init__(
        self,
        kv: KeyValue,
        *,
        gateway: Gateway,
        signer: Signer,
        deployment: Deployment,
        member_id: int,
        finality: Finality,
        batch_records: int = 512,
        window: int = 64,
        gather_s: float = 0.05,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the rows; the chain is first asked by `step`. Raises OutboxCorrupt."""
        self._gateway, self._signer, self._deployment = gateway, signer, deployment
        self._member_id, self._finality, self._clock = member_id, finality, clock
        self._batch_records, self._window, self._gather_s = batch_records, window, gather_s
        self._store = OutboxStore(kv, clock)
        self._sightings = Sightings(gateway, signer.address, deployment)
        self._contracts = {deployment.address_of(name): name for name in ("Members", "Ledger", "Catalog")}
        self.on_final: list[Callable[[Sequence[str]], None]] = []
        self._lock = threading.Lock()
        self._wakened = threading.Event()
        # All below is forgotten at a restart without harm.
        self._limit = window  # Shrinks when another sender uses our key, so that a lost race costs little.
        self._sent: dict[int, float] = {}
        self._misses: dict[int, int] = {}
        self._refusals: dict[int, int] = {}
        self._is_known_active = False
        self._hold_until = 0.0
        self._gap_since: float | None = None
        self._gathering_since: float | None = None
        self._gathered = 0
        self._oldest: tuple[int, float] | None = None
        self._trouble: str | None = None
        self._notice: tuple[str, float] = ("", 0.0)
        self._counts = {"final": 0, "failed": 0}

    # For callers

    def enqueue(self, operations: Sequence[tuple[str, Operation]]) -> list[Put]:
        """Return the rows of `operations` that are not known yet; the CALLER writes them, synced, with its own.

        An id names one operation for ever (1 to 64 printable ASCII characters); a known id gives no row.
        Raises OperationInvalid.
        """
        for operation_id, operation in operations:
            _check_id(operation_id)
            self._check_operation(operation)
        return self._store.queue.allocate(operations)

    def become(self, member_id: int) -> None:
        """Say which member the account speaks for: a node may be admitted after it was opened."""
        with self._lock:
            self._member_id = member_id

    def wake(self) -> None:
        """Tell the worker that there is work."""
        self._wakened.set()

    def wait(self, timeout_s: float) -> None:
        """Wait for `wake`, the time-out, or until records that gather are due."""
        if self._gathering_since is not None:
            timeout_s = min(timeout_s, max(0.0, self._gathering_since + self._gather_bound() - self._clock()))
        self._wakened.wait(timeout_s)
        self._wakened.clear()

    def status_of(self, operation_id: str) -> OperationStatus | None:
        """Say where an operation is; None when it was never written."""
        # Ids are ASCII by their making; a caller may ask for anything.
        return self._store.status_of(operation_id) if operation_id.isascii() else None

    def progress(self) -> OutboxProgress:
        """Say what waits now, without asking the chain."""
        return self._progress()

    def lowest_in_flight(self) -> int | None:
        """Return the lowest nonce whose transaction is not settled, None when all are."""
        return min(list(self._store.flights), default=None)

    def step(self) -> OutboxProgress:
        """Look at the chain, settle, send again, pack and send. Never raises chain trouble. Raises OutboxCorrupt."""
        with self._lock:
            self._trouble = None
            try:
                view = self._look()
                self._observe(view)
                self._send(view)
                self._pack(view)
            except (
                ChainUnavailable,
                ChainMismatch,
                ChainRegressed,
                TransactionRefused,
                CallReverted,
            ) as error:
                self._trouble = error.code
                # Nothing is packed without a chain, and what waits for it grows old all the same.
                self._note_oldest(self._store.queue.first())
            self._store.queue.tidy(idle=not self._store.flights)
            return self._progress()

    def _check_operation(self, operation: Operation) -> None:
        if isinstance(operation, CallOperation):
            if operation.contract not in self._contracts.values() or operation.gas <= 0:
                raise OperationInvalid("a call names Members, Ledger or Catalog and has a gas limit")
            if len(operation.calldata) > MAX_CALLDATA_BYTES:
                raise OperationInvalid("a call is at most 128 KiB", hint="split it into several operations")
            return
        record = operation.record
        # The Ledger refuses the whole batch for one such record, so it must not get that far.
        keyed = any(record[32:34]) and any(record[34:36])
        if len(record) != RECORD_BYTES or record[37] != operation.stream or not keyed:
            raise OperationInvalid("a record has 96 bytes, a domain, an epoch and its stream's format")

    # Looking

    def _look(self) -> _View:
        """Ask for head, final point and nonces. Raises ChainMismatch on another chain."""
        mark = self._store.final_mark()
        seen = self._gateway.glance(self._signer.address, [0, mark[0] if mark else 0])
        genesis, known = seen.blocks
        if genesis is None or genesis.hash != self._deployment.genesis:
            raise ChainMismatch(
                "the chain has another genesis block: it is another chain", hint="check chain_rpc"
            )
        if mark is not None and (known is None or known.hash != mark[1]):
            self._step_back(seen.head)
        final = self._finality.final_point(self._gateway, seen.head)
        return _View(seen.head, final, seen.mined, max(seen.mined, seen.pending))

    def _step_back(self, head: Block) -> None:
        """The chain lost a final block: find what went with it and put it in flight again.

        Raises ChainRegressed, and changes nothing, while the chain has no final block or steps back again: what was
        read of it before and after would not belong together, and the mark that tells must not be given up.
        """
        final = self._finality.final_point(self._gateway, head)
        lost: list[TxRow] = []
        history = self._store.history()
        while part := list(islice(history, HISTORY_STEP)):
            placed = [row for row in part if row.block_number]
            gone = self._not_canonical([(row.block_number, row.block_hash) for row in placed])
            lost += [
                row for row in placed if (row.block_number, row.block_hash) in gone and row.state in _PLACED
            ]
            if placed and not gone:
                break  # Nonces and blocks go up together: whatever is older is still there.
        adopted = self._store.adopted()
        gone = self._not_canonical([(row.block_number, row.block_hash) for row in adopted])
        unadopted = [row for row in adopted if (row.block_number, row.block_hash) in gone]
        (seen,) = self._store.mark("seen", 1)
        sequence = self._sequence()
        if final is None or self._not_canonical([(head.number, head.hash)]):
            raise ChainRegressed("the chain is stepping back", hint="see the chain's client")
        self._store.step_back(lost, unadopted, seen_seq=min(seen, sequence), final=(final.number, final.hash))
        self._sent.clear()
        self._trouble = "chain_regressed"

    def _not_canonical(self, places: Collection[Place]) -> set[Place]:
        """Return those (number, hash) that the chain does not have."""
        numbers = sorted({number for number, _ in places})
        blocks = dict(zip(numbers, self._gateway.blocks(numbers), strict=True)) if numbers else {}
        return {place for place in places if (found := blocks[place[0]]) is None or found.hash != place[1]}

    # Settling

    def _observe(self, view: _View) -> None:
        self._settle(view, sure=self._find_mined(view))
        self._find_displaced(view)
        self._store.raise_floor()
        if view.final is not None and self._store.final_mark() != (view.final.number, view.final.hash):
            self._store.set_final_mark(view.final.number, view.final.hash)
        (bound,) = self._store.mark("regressed", 1)
        if bound and min(self._store.flights, default=bound) < bound:
            self._trouble = "chain_regressed"
        elif bound:
            self._store.set_mark("regressed", 0)

    def _find_mined(self, view: _View) -> set[Place]:
        """Note which of our transactions are mined: by sight, or else by their receipts.

        Returns the blocks that are known to be the chain's as of this head.
        """
        rows = self._in_state(TxState.SUBMITTED)
        sighted = self._sightings.look(view.head, self._member_id, rows) if self._store.flights else {}
        moves: list[Move] = []
        asked = []
        for row in rows:
            if row.kind is TxKind.APPEND and row.hash in sighted:
                self._misses.pop(row.nonce, None)
                moves.append((row, TxState.INCLUDED, sighted[row.hash]))
            elif row.nonce < view.mined:
                asked.append(row)
        for row, receipt in zip(asked, self._gateway.receipts([row.hash for row in asked]), strict=True):
            moves += self._judge_receipt(row, receipt)
        self._store.move_all(moves)
        return set(sighted.values())

    def _judge_receipt(self, row: TxRow, receipt: Receipt | None) -> list[Move]:
        if receipt is None:
            self._misses[row.nonce] = self._misses.get(row.nonce, 0) + 1
            return []
        self._misses.pop(row.nonce, None)
        if receipt.succeeded and row.kind is TxKind.APPEND and not receipt.events:
            raise ChainAnswerMalformed(
                "the chain says that a batch was appended and has no event of it",
                hint="check the chain's client; the outbox asks again",
            )
        state = TxState.INCLUDED if receipt.succeeded else TxState.REVERTED
        return [(row, state, (receipt.block_number, receipt.block_hash))]

    def _settle(self, view: _View, *, sure: set[Place]) -> None:
        """Take back what a reorganisation removed, and make final what is."""
        rows = [*self._in_state(TxState.INCLUDED), *self._in_state(TxState.REVERTED)]
        gone = self._not_canonical({(row.block_number, row.block_hash) for row in rows} - sure)
        back: list[Move] = []
        done: list[TxRow] = []
        for row in sorted(rows, key=lambda item: item.nonce):
            if (row.block_number, row.block_hash) in gone:
                back.append((row, TxState.SUBMITTED, (0, bytes(32))))
            elif view.final is not None and row.block_number <= view.final.number and self._is_done(row):
                done.append(row)
        self._store.move_all(back)
        self._finish(done)

    def _is_done(self, row: TxRow) -> bool:
        """Return whether a transaction in a final block did its work, or had nothing left to do."""
        return row.state is TxState.INCLUDED or row.kind is TxKind.FILLER or self._judge_revert(row)

    def _finish(self, done: Sequence[TxRow]) -> None:
        """Make transactions final, which come in the order of their nonces."""
        if not done:
            return
        (seen,) = self._store.mark("seen", 1)
        marks: dict[str, int] = {}
        for row in done:
            self._sent.pop(row.nonce, None)
            if row.kind is TxKind.APPEND and row.seq == seen:
                seen += 1
                marks = {"seen": seen, "searched": row.block_number}
        self._store.move_all([(row, TxState.FINAL, None) for row in done], marks=marks)
        self._limit = min(self._window, self._limit * 2 ** min(len(done), 6))
        self._counts["final"] += sum(row.count for row in done)
        ids = [name for row in done for name in self._store.ids_of(row.nonce)] if self.on_final else []
        for callback in self.on_final:
            callback(ids)

    def _judge_revert(self, row: TxRow) -> bool:
        """Decide on a final revert. Returns True when nothing was left to do; otherwise the row is buried."""
        self._sent.pop(row.nonce, None)
        parsed = parse_transaction(self._store.raw_of(row.nonce))
        name, facts = self._revert_reason(row, parsed.to, parsed.calldata)
        queued = self._operations_of(row)
        if row.kind is TxKind.CALL and name in DONE:
            return True
        failures: dict[str, str] = {}
        if name == "LedgerSequence":
            self._limit = 1
        elif name in INACTIVE:
            self._is_known_active = False
        elif row.kind is TxKind.CALL:
            failures = {item.operation_id: FAILURES.get(name, name or "reverted") for item in queued}
        elif name == "LedgerRecordMalformed" and facts.get("index", row.count) < row.count:
            failures = {queued[facts["index"]].operation_id: name}
        else:
            self._hold("append_reverted", HOLD_S)
        self._counts["failed"] += len(failures)
        self._store.release(row, [item for item in queued if item.operation_id not in failures], failures)
        return False

    def _revert_reason(self, row: TxRow, to: bytes, calldata: bytes) -> tuple[str, Mapping[str, int]]:
        try:
            self._gateway.call(to, calldata, block=row.block_number, sender=self._signer.address)
        except CallReverted as error:
            return decode_revert(error.reason)
        return "", {}

    def _operations_of(self, row: TxRow) -> list[Queued]:
        """Read a transaction's operations back from its bytes."""
        ids, parsed = self._store.ids_of(row.nonce), parse_transaction(self._store.raw_of(row.nonce))
        orders = self._store.queue.orders_of(ids)
        if row.kind is TxKind.CALL:
            call = CallOperation(self._contracts[parsed.to], parsed.calldata, parsed.gas)
            return [Queued(orders[0], ids[0], call)]
        stream, _, records = parse_append_call(parsed.calldata)
        return [
            Queued(order, operation_id, AppendOperation(stream, records[at * RECORD_BYTES :][:RECORD_BYTES]))
            for at, (order, operation_id) in enumerate(zip(orders, ids, strict=True))
        ]

    def _find_displaced(self, view: _View) -> None:
        """Bury transactions whose nonce another one used in a final block, and queue their operations again."""
        rows = [row for row in self._in_state(TxState.SUBMITTED) if self._misses.get(row.nonce, 0) >= MISSES]
        if not rows or view.final is None:
            return
        used = self._gateway.nonce(self._signer.address, block=view.final.number)
        for row in rows:
            if row.nonce < used:
                self._limit = 1
                self._misses.pop(row.nonce)
                self._store.release(
                    row, self._operations_of(row) if row.kind is not TxKind.FILLER else [], {}
                )

    def _in_state(self, state: TxState) -> list[TxRow]:
        return [row for _, row in sorted(self._store.flights.items()) if row.state is state]

    # Packing

    def _pack(self, view: _View) -> None:
        """Fill the window from the queue: whole batches, calls, and what has gathered long enough."""
        free = min(self._limit, self._window) - len(self._in_state(TxState.SUBMITTED))
        if free <= 0 or self._clock() < self._hold_until:
            return
        with Courier(self._gateway.send_many) as courier:
            packer = Packer(
                self._store,
                self._signer,
                deployment=self._deployment,
                nonce=self._store.next_nonce(view.pending),
                courier=courier,
            )
            self._pack_groups(view, free, packer)
            packer.close()
        self._note_answers(courier)

    def _pack_groups(self, view: _View, free: int, packer: Packer) -> None:
        seq: int | None = None
        asked = False
        for group in islice(self._groups(), free):
            if not self._is_active():
                return
            self._sightings.begin(view.head, self._member_id)
            if group.stream is None:
                packer.call(group)
                continue
            if not asked:
                seq, asked = self._next_sequence(view), True
            if seq is not None:  # Calls go on; records wait until it is known which are on chain.
                packer.append(group, seq)
                seq += 1

    def _groups(self) -> Iterator[Group]:
        """Yield groups from the queue, in the order in which they are complete; those not full only when due."""
        open_: dict[Stream, list[Waiting]] = {}
        head = None
        for order, raw in chain.from_iterable(self._store.queue.waiting()):
            if head is None:
                head = order
                self._note_oldest(head)
            stream = stream_of(raw)
            if stream is None:
                yield Group(None, [(order, raw)])
                continue
            group = open_.setdefault(stream, [])
            group.append((order, raw))
            if len(group) == self._batch_records:
                yield Group(stream, open_.pop(stream))
        if head is None:
            self._note_oldest(None)
        if self._has_gathered(max(map(len, open_.values()), default=0)):
            yield from [Group(stream, group) for stream, group in open_.items()]

    def _has_gathered(self, partial: int) -> bool:
        """Return whether batches that are not full are due; `partial` is how many records the largest has."""
        self._gathered = partial
        if not partial:
            self._gathering_since = None
        elif self._gathering_since is None:
            self._gathering_since = self._clock()
        due = partial > 0 and self._clock() >= (self._gathering_since or 0.0) + self._gather_bound()
        if due:
            self._gathering_since = None
        return due

    def _gather_bound(self) -> float:
        """Return how long a batch may gather: longer while others are under way, since small ones are dear.

        Records that come in company are followed by more: they gather longer, and share a sync with these.
        """
        crowd = CROWD_GATHERS if self._gathered >= CROWD_RECORDS else 1
        return self._gather_s * max(crowd, min(20, 1 + len(self._store.flights)))

    def _note_oldest(self, head: int | None) -> None:
        if head is None or self._oldest is None or head != self._oldest[0]:
            self._oldest = None if head is None else (head, self._clock())

    def _is_active(self) -> bool:
        """Return whether our account speaks for our member now; asked again each second while it does not."""
        if not self._is_known_active:
            raw = self._gateway.call(
                self._deployment.members, encode_call("Members", "activeMemberOf", self._signer.address)
            )
            if decode_result("Members", "activeMemberOf", raw) != (self._member_id,):
                self._hold("member_inactive", RESEND_S)
                return False
            self._is_known_active = True
        return True

    def _hold(self, problem: str, seconds: float) -> None:
        """Rest from packing, and say why."""
        self._hold_until = self._clock() + seconds
        self._tell(problem, seconds)

    def _tell(self, problem: str, seconds: float) -> None:
        """Show a problem for some time, so that it does not flicker between two tries."""
        self._notice = (problem, self._clock() + 2 * seconds)

    def _next_sequence(self, view: _View) -> int | None:
        """Return the sequence of our next batch, None while it cannot be known.

        All batches below the mark `seen` are ours and final, or were searched for records that wait here.
        """
        live = [row.seq for row in self._store.flights.values() if row.kind is TxKind.APPEND]
        (seen,) = self._store.mark("seen", 1)
        if live:
            # A hole below them is a batch of which we do not know what became of it; wait for the others to settle.
            return max(live) + 1 if min(live) == seen else None
        latest = self._sequence()
        if latest == seen or (latest > seen and self._adopt(view, latest)):
            return latest
        return None

    def _sequence(self, block: int | None = None) -> int:
        """Ask the Ledger for the next sequence of our member."""
        raw = self._gateway.call(
            self._deployment.ledger,
            encode_call("Ledger", "nextSeq", self._member_id),
            block="latest" if block is None else block,
        )
        if not raw:
            raise ChainMismatch(
                "the chain has no Ledger at its address", hint="check directory and chain_rpc"
            )
        (sequence,) = decode_result("Ledger", "nextSeq", raw)
        return int(sequence)

    def _adopt(self, view: _View, latest: int) -> bool:
        """Look through batches of our member that we did not send for records that still wait here.

        They are there when this store was restored from a copy, or another node shares the member: what they hold
        must not be appended again. Returns False until all of them are in final blocks.
        """
        if view.final is None or self._sequence(view.final.number) != latest:
            return False
        found = self._search(view.final.number)
        rows = []
        waiting = chain.from_iterable(self._store.queue.waiting()) if found else ()
        for queued in starmap(decode_queued, waiting):
            if isinstance(queued.operation, AppendOperation) and queued.operation.record in found:
                rows.append(AdoptedRow(queued, *found[queued.operation.record]))
        self._store.adopt(rows, seen_seq=latest, searched=view.final.number)
        # The group at hand was read before; what was adopted is not in the queue any more. Pack at the next step.
        return not rows

    def _search(self, last: int) -> dict[bytes, tuple[bytes, int, bytes]]:
        """Return where each record of our member's batches is: transaction hash, block number, block hash."""
        places: dict[bytes, tuple[bytes, int, bytes]] = {}
        topic = event_topic("Ledger", "BatchAppended")
        (searched,) = self._store.mark("searched", 1)
        for first in range(searched, last + 1, LOG_RANGE):
            stop = min(first + LOG_RANGE - 1, last)
            for log in self._gateway.logs([self._deployment.ledger], first=first, last=stop):
                if log.topics[:1] != (topic,) or int.from_bytes(log.topics[2]) != self._member_id:
                    continue
                _, records = parse_batch_appended(log)
                for at in range(0, len(records), RECORD_BYTES):
                    place = (log.transaction_hash, log.block_number, log.block_hash)
                    places.setdefault(records[at : at + RECORD_BYTES], place)
        return places

    # Sending

    def _send(self, view: _View) -> None:
        """Send what was never sent, and again what the chain does not hold, from the lowest nonce up."""
        self._fill_gap(view)
        now = self._clock()
        rows = [row for row in self._in_state(TxState.SUBMITTED) if row.nonce >= view.mined]
        with Courier(self._gateway.send_many) as courier:
            for row in rows[: self._window]:
                last = self._sent.get(row.nonce)
                if last is None or (row.nonce >= view.pending and now - last >= RESEND_S):
                    courier.hand(row.nonce, self._store.raw_of(row.nonce))
        self._note_answers(courier)

    def _note_answers(self, courier: Courier) -> None:
        """Note what the chain said to each transaction. Raises the first answer that was an error."""
        now, trouble = self._clock(), None
        for nonce, answer in courier.answers:
            if isinstance(answer, TransactionRefused):
                self._refused(self._store.flights[nonce], now)
            if not isinstance(answer, SendOutcome):
                trouble = trouble or answer
                continue
            self._sent[nonce] = now
            self._refusals.pop(nonce, None)
            if answer is SendOutcome.UNDERPRICED:
                # Another sender's transaction waits at our nonce. It is not ours to replace: see who is mined.
                self._tell("nonce_contested", RESEND_S)
        if trouble is not None:
            raise trouble

    def _refused(self, row: TxRow, now: float) -> None:
        """Count a refusal; after the third the nonce is filled and the operations move on."""
        if now - self._sent.get(row.nonce, now - RESEND_S) >= RESEND_S:
            self._refusals[row.nonce] = self._refusals.get(row.nonce, 0) + 1
            self._sent[row.nonce] = now
        if self._refusals.get(row.nonce, 0) < REFUSALS:
            return
        self._refusals.pop(row.nonce)
        queued = self._operations_of(row) if row.kind is not TxKind.FILLER else []
        failed = {item.operation_id: TransactionRefused.code for item in queued if row.kind is TxKind.CALL}
        self._counts["failed"] += len(failed)
        self._store.release(row, [] if failed else queued, failed)
        self._hold(TransactionRefused.code, HOLD_S)
        self._fill(row.nonce)

    def _fill_gap(self, view: _View) -> None:
        """Fill a nonce below ours that nothing of ours can use: all behind it would wait for ever."""
        is_open = view.mined == view.pending and view.mined not in self._store.flights
        if not is_open or max(self._store.flights, default=0) < view.mined:
            self._gap_since = None
        elif self._gap_since is None:
            self._gap_since = self._clock()
        elif self._clock() - self._gap_since >= GAP_S:
            self._gap_since = None
            self._fill(view.mined)

    def _fill(self, nonce: int) -> None:
        signed = self._signer.sign_transaction(
            chain_id=self._deployment.chain_id,
            nonce=nonce,
            to=self._signer.address,
            calldata=b"",
            gas=FILLER_GAS,
        )
        self._sent.pop(nonce, None)
        self._store.fill(TxRow(nonce, TxState.SUBMITTED, TxKind.FILLER, signed.hash, 0, 0), signed)

    # Telling

    def _progress(self) -> OutboxProgress:
        # Copied at once: another thread may ask while a step moves rows.
        states = [row.state for row in list(self._store.flights.values())]
        mined = sum(state is not TxState.SUBMITTED for state in states)
        age = self._clock() - self._oldest[1] if self._oldest and self._store.queue.queued else 0.0
        notice, until = self._notice
        problem = self._trouble or (notice if self._clock() < until else None)
        counts = self._counts["final"], self._counts["failed"]
        return OutboxProgress(self._store.queue.queued, len(states) - mined, mined, *counts, problem, age)


_PLACED = frozenset({TxState.INCLUDED, TxState.REVERTED, TxState.FINAL})


def _check_id(operation_id: str) -> None:
    if (
        not 0 < len(operation_id) <= MAX_ID_BYTES
        or not operation_id.isascii()
        or not operation_id.isprintable()
    ):
        raise OperationInvalid("an operation id is 1 to 64 printable ASCII characters")
