"""The outbox's rows as they stand: the queue, the transactions in flight, and every move as one atomic write.

Asks no chain: `anchor/outbox.py` decides, this writes. A move that must survive power loss before anything else
happens is synced; what the chain would tell again is not. One `OutboxStore` per KeyValue; `allocate` may be called
from any thread, everything else from one.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from anchor.errors import OutboxCorrupt
from anchor.failpoints import reach
from anchor.keyvalue import Delete, KeyValue, Put
from anchor.outbox_rows import (
    ADOPTED,
    IDS,
    MOVES,
    QUEUE,
    RAWS,
    SHOWN,
    TRANSACTIONS,
    AdoptedRow,
    Operation,
    OperationRow,
    OperationState,
    Queued,
    TxRow,
    TxState,
    decode_adopted,
    decode_ids,
    decode_operation_row,
    decode_queued,
    decode_tx_row,
    encode_adopted,
    encode_ids,
    encode_numbers,
    encode_operation_row,
    encode_queued,
    encode_tx_row,
    key_number,
    mark_key,
    number_key,
    operation_key,
    wanted_key,
)
from anchor.signer import SignedTransaction

SETTLED = (TxState.FINAL, TxState.DEAD)
RECOUNT_S = 60.0


@dataclass(frozen=True, slots=True)
class OperationStatus:
    """Where an operation is. The transaction is set from `submitted` on, the block from `included` on."""

    state: OperationState
    transaction_hash: bytes | None
    block_number: int | None
    failure: str | None


class OutboxStore:
    """Rows of one outbox. Raises OutboxCorrupt when they contradict each other."""

    def __init__(self, kv: KeyValue, clock: Callable[[], float]) -> None:
        """Read what is in flight and how much waits."""
        self._kv, self._clock = kv, clock
        self._lock = threading.Lock()
        # Orders given out and not yet seen in the queue: their rows may be written late, in any order.
        self._awaited: dict[int, float] = {}
        self._first_waiting = 0
        self._recounted = clock()
        (self._orders_used,) = self.mark("orders", 1)
        (self._floor,) = self.mark("floor", 1)
        self.queued = 0
        self._recount()
        self.flights: dict[int, TxRow] = {}
        self._next_nonce = self._floor
        self.load_flights()

    # Marks

    def mark(self, name: str, count: int) -> tuple[int, ...]:
        """Return the numbers of a mark, zeros when it was never set."""
        raw = self._kv.get(mark_key(name)) or bytes(8 * count)
        return tuple(int.from_bytes(raw[8 * index :][:8]) for index in range(count))

    def final_mark(self) -> tuple[int, bytes] | None:
        """Return number and hash of the last final block that was seen."""
        raw = self._kv.get(mark_key("final"))
        return None if raw is None else (int.from_bytes(raw[:8]), raw[8:])

    def set_final_mark(self, number: int, block_hash: bytes) -> None:
        """Remember a final block. Not synced: an older one still tells a chain that stepped back."""
        self._kv.write([Put(mark_key("final"), encode_numbers([number], block_hash))], sync=False)

    def set_mark(self, name: str, *numbers: int, sync: bool = False) -> None:
        """Set a mark."""
        self._kv.write([Put(mark_key(name), encode_numbers(numbers))], sync=sync)

    # The queue

    def allocate(self, operations: Sequence[tuple[str, Operation]]) -> list[Put]:
        """Give each new operation its order; return the rows that the caller writes with its own.

        The rows that say an operation is packed are written by `pack` alone, so two callers that race with one
        id, or one that writes late, cannot make it look unpacked.
        """
        rows, seen = [], set()
        for operation_id, operation in operations:
            key = wanted_key(operation_id)
            if operation_id in seen or self._kv.get(key) is not None:
                continue
            seen.add(operation_id)
            order = self._take_order()
            rows.append(Put(key, encode_numbers([order])))
            queued = Queued(order, operation_id, operation)
            rows.append(Put(number_key(QUEUE, order), encode_queued(queued)))
        return rows

    def _take_order(self) -> int:
        with self._lock:
            self._orders_used += 1
            self._awaited[self._orders_used] = self._clock()
            self.queued += 1
            return self._orders_used

    def waiting(self) -> Iterator[Queued]:
        """Yield what waits, in order. A row whose operation is packed, or was yielded, is dropped."""
        if self._clock() - self._recounted >= RECOUNT_S:
            self._recount()
        with self._lock:
            start = min(next(iter(self._awaited), self._first_waiting), self._first_waiting)
        yielded: set[str] = set()
        for key, raw in self._kv.scan(QUEUE, start=number_key(QUEUE, start)):
            queued = decode_queued(key_number(key), raw)
            self._awaited.pop(queued.order, None)
            name = queued.operation_id
            if name in yielded or self._kv.get(operation_key(name)) is not None:
                self._kv.write([Delete(key)], sync=False)
                continue
            if not yielded:
                self._first_waiting = queued.order
            yielded.add(name)
            yield queued
        if not yielded:
            with self._lock:
                self._first_waiting = self._orders_used + 1

    def _recount(self) -> None:
        """Count the queue anew, and look at all of it once: a caller may have failed to write its rows."""
        with self._lock:
            self._recounted = self._clock()
            oldest = self._recounted - RECOUNT_S
            self._awaited = {order: since for order, since in self._awaited.items() if since > oldest}
        orders = [key_number(key) for key, _ in self._kv.scan(QUEUE)]
        with self._lock:
            self.queued = len(orders)
            self._first_waiting = orders[0] if orders else 0
            self._orders_used = max(self._orders_used, orders[-1] if orders else 0)

    def order_of(self, operation_id: str) -> int:
        """Return an operation's order. Raises OutboxCorrupt when it was never wanted."""
        raw = self._kv.get(wanted_key(operation_id))
        if raw is None:
            raise OutboxCorrupt("an operation of the outbox has no row", hint="check the store")
        return int.from_bytes(raw)

    def status_of(self, operation_id: str) -> OperationStatus | None:
        """Say where an operation is; None when it was never written."""
        raw = self._kv.get(operation_key(operation_id))
        if raw is None:
            wanted = self._kv.get(wanted_key(operation_id)) is not None
            return OperationStatus(OperationState.QUEUED, None, None, None) if wanted else None
        row = decode_operation_row(raw)
        if row.nonce is None:
            return self._adopted_status(self.order_of(operation_id))
        tx = self.transaction(row.nonce)
        block = tx.block_number if tx.state in (TxState.INCLUDED, TxState.FINAL) or row.failure else None
        state = OperationState.FAILED if row.failure else SHOWN[tx.state]
        return OperationStatus(state, tx.hash, block, row.failure or None)

    def _adopted_status(self, order: int) -> OperationStatus:
        raw = self._kv.get(number_key(ADOPTED, order))
        if raw is None:
            raise OutboxCorrupt("an operation found on chain has no row", hint="check the store")
        adopted = decode_adopted(order, raw)
        return OperationStatus(OperationState.FINAL, adopted.transaction_hash, adopted.block_number, None)

    # Transactions

    def load_flights(self) -> None:
        """Read every transaction that is not settled."""
        self.flights = {}
        for key, raw in self._kv.scan(TRANSACTIONS, start=number_key(TRANSACTIONS, self._floor)):
            row = decode_tx_row(key_number(key), raw)
            self._next_nonce = max(self._next_nonce, row.nonce + 1)
            if row.state not in SETTLED:
                self.flights[row.nonce] = row

    def next_nonce(self, pending: int) -> int:
        """Return the next nonce to sign with: above ours, and above what the chain holds of others."""
        return max(self._next_nonce, pending)

    def transaction(self, nonce: int) -> TxRow:
        """Return a transaction's row. Raises OutboxCorrupt when there is none."""
        raw = self._kv.get(number_key(TRANSACTIONS, nonce))
        if raw is None:
            raise OutboxCorrupt("a transaction of the outbox has no row", hint="check the store")
        return decode_tx_row(nonce, raw)

    def raw_of(self, nonce: int) -> bytes:
        """Return a transaction's bytes."""
        raw = self._kv.get(number_key(RAWS, nonce))
        if raw is None:
            raise OutboxCorrupt("a transaction of the outbox has no bytes", hint="check the store")
        return raw

    def ids_of(self, nonce: int) -> list[str]:
        """Return the ids of a transaction's operations."""
        return decode_ids(self._kv.get(number_key(IDS, nonce)) or b"")

    def history(self) -> Iterator[TxRow]:
        """Yield all transactions, the newest first."""
        for key, raw in self._kv.scan(TRANSACTIONS, reverse=True):
            yield decode_tx_row(key_number(key), raw)

    def pack(self, row: TxRow, transaction: SignedTransaction, group: Sequence[Queued]) -> None:
        """Move operations from the queue into a new transaction: synced, before it is ever sent."""
        ops: list[Put | Delete] = [*self._new_rows(row, transaction, [item.operation_id for item in group])]
        packed = encode_operation_row(OperationRow(row.nonce))
        for item in group:
            ops.append(Put(operation_key(item.operation_id), packed))
            ops.append(Delete(number_key(QUEUE, item.order)))
        ops.append(Put(mark_key("orders"), encode_numbers([self._orders_used])))
        reach("outbox.pack", "before")
        self._kv.write(ops, sync=True)
        reach("outbox.pack", "after")
        with self._lock:
            self.queued = max(0, self.queued - len(group))
        self._track(row)

    def fill(self, row: TxRow, transaction: SignedTransaction) -> None:
        """Put a transaction without operations at a nonce that would stay open for ever."""
        self._kv.write(self._new_rows(row, transaction, []), sync=True)
        self._track(row)

    def _new_rows(self, row: TxRow, transaction: SignedTransaction, ids: Sequence[str]) -> list[Put]:
        return [
            Put(number_key(TRANSACTIONS, row.nonce), encode_tx_row(row)),
            Put(number_key(RAWS, row.nonce), transaction.raw),
            Put(number_key(IDS, row.nonce), encode_ids(ids)),
        ]

    def move(self, row: TxRow, state: TxState, *, block: tuple[int, bytes] | None = None) -> TxRow:
        """Move a transaction to another state. Not synced: the chain tells it again. Raises OutboxCorrupt."""
        moved = _moved(row, state, block)
        reach("outbox.move", "before")
        self._kv.write([Put(number_key(TRANSACTIONS, row.nonce), encode_tx_row(moved))], sync=False)
        reach("outbox.move", "after")
        self._track(moved)
        return moved

    def release(self, row: TxRow, again: Sequence[Queued], failures: Mapping[str, str]) -> None:
        """Bury a transaction that did nothing: operations go back to the queue or fail. Synced."""
        moved = _moved(row, TxState.DEAD, None)
        ops: list[Put | Delete] = [Put(number_key(TRANSACTIONS, row.nonce), encode_tx_row(moved))]
        ops.append(Put(number_key(IDS, row.nonce), encode_ids(failures)))
        for queued in again:
            ops += self._requeue_rows(queued)
        for operation_id, failure in failures.items():
            failed = encode_operation_row(OperationRow(row.nonce, failure))
            ops.append(Put(operation_key(operation_id), failed))
        self._kv.write(ops, sync=True)
        self._note_requeued(again)
        self._track(moved)

    def _requeue_rows(self, queued: Queued) -> list[Put | Delete]:
        return [
            Delete(operation_key(queued.operation_id)),
            Put(number_key(QUEUE, queued.order), encode_queued(queued)),
        ]

    def _note_requeued(self, again: Sequence[Queued]) -> None:
        with self._lock:
            self.queued += len(again)
            self._first_waiting = min([self._first_waiting, *(item.order for item in again)])

    # Found on chain, and lost again

    def adopt(self, found: Sequence[AdoptedRow], *, seen_seq: int, searched: int) -> None:
        """Take operations off the queue whose records are on chain already. Synced."""
        ops: list[Put | Delete] = []
        for row in found:
            ops.append(Put(number_key(ADOPTED, row.queued.order), encode_adopted(row)))
            found_on_chain = encode_operation_row(OperationRow(None))
            ops.append(Put(operation_key(row.queued.operation_id), found_on_chain))
            ops.append(Delete(number_key(QUEUE, row.queued.order)))
        ops.append(Put(mark_key("seen"), encode_numbers([seen_seq])))
        ops.append(Put(mark_key("searched"), encode_numbers([searched])))
        ops.append(Put(mark_key("orders"), encode_numbers([self._orders_used])))
        self._kv.write(ops, sync=True)
        with self._lock:
            self.queued = max(0, self.queued - len(found))

    def adopted(self) -> list[AdoptedRow]:
        """Return all adopted operations."""
        return [decode_adopted(key_number(key), raw) for key, raw in self._kv.scan(ADOPTED)]

    def step_back(self, lost: Sequence[TxRow], unadopted: Sequence[AdoptedRow], *, seen_seq: int) -> None:
        """Put transactions whose blocks are gone back in flight, and lost adopted operations in the queue."""
        ops: list[Put | Delete] = []
        for row in lost:
            key = number_key(TRANSACTIONS, row.nonce)
            ops.append(Put(key, encode_tx_row(_moved(row, TxState.SUBMITTED, (0, bytes(32))))))
        for found in unadopted:
            ops += [Delete(number_key(ADOPTED, found.queued.order)), *self._requeue_rows(found.queued)]
        self._floor = min([self._floor, *(row.nonce for row in lost)])
        ops.append(Put(mark_key("floor"), encode_numbers([self._floor])))
        ops.append(Put(mark_key("seen"), encode_numbers([seen_seq])))
        ops.append(Put(mark_key("searched"), encode_numbers([0])))
        ops.append(
            Put(mark_key("regressed"), encode_numbers([max((row.nonce + 1 for row in lost), default=0)]))
        )
        ops.append(Delete(mark_key("final")))
        self._kv.write(ops, sync=True)
        self._note_requeued([found.queued for found in unadopted])
        self.load_flights()

    def raise_floor(self) -> None:
        """Remember below which nonce all is settled, so that a start reads only what is not."""
        floor = min(self.flights, default=self._next_nonce)
        if floor != self._floor:
            self._floor = floor
            self.set_mark("floor", floor)

    def _track(self, row: TxRow) -> None:
        self._next_nonce = max(self._next_nonce, row.nonce + 1)
        if row.state in SETTLED:
            self.flights.pop(row.nonce, None)
        else:
            self.flights[row.nonce] = row


def _moved(row: TxRow, state: TxState, block: tuple[int, bytes] | None) -> TxRow:
    """Return `row` in another state. Raises OutboxCorrupt for a move that is not in the table."""
    if state not in MOVES[row.state]:
        raise OutboxCorrupt("the outbox's rows ask for a move that cannot be", hint="check the store")
    number, block_hash = block or (row.block_number, row.block_hash)
    return replace(row, state=state, block_number=number, block_hash=block_hash)
