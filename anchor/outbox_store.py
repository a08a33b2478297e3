"""The outbox's rows as they stand: the queue, the transactions in flight, and every move as one atomic write.

Asks no chain: `anchor/outbox.py` decides, this writes. A move that must survive power loss before anything else
happens is synced; what the chain would tell again is not. One `OutboxStore` per KeyValue; `allocate` may be called
from any thread, everything else from one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeAlias

from anchor.errors import OutboxCorrupt
from anchor.failpoints import reach
from anchor.keyvalue import Delete, KeyValue, Put
from anchor.outbox_queue import OutboxQueue
from anchor.outbox_rows import (
    ADOPTED,
    IDS,
    MOVES,
    RAWS,
    SHOWN,
    TRANSACTIONS,
    AdoptedRow,
    Group,
    OperationRow,
    OperationState,
    Queued,
    TxRow,
    TxState,
    decode_adopted,
    decode_ids,
    decode_operation_row,
    decode_tx_row,
    encode_adopted,
    encode_ids,
    encode_numbers,
    encode_operation_row,
    encode_tx_row,
    key_number,
    mark_key,
    number_key,
    operation_key,
)
from anchor.signer import SignedTransaction

SETTLED = (TxState.FINAL, TxState.DEAD)
NO_MARKS: Mapping[str, int] = MappingProxyType({})
NO_NONCE = (1 << 64) - 1  # Of operations that were found in a transaction that is not ours.


# A transaction, its next state, and the block it was found in; None keeps the block it has.
Move: TypeAlias = tuple[TxRow, TxState, tuple[int, bytes] | None]


@dataclass(frozen=True, slots=True)
class OperationStatus:
    """Where an operation is. The transaction is set from `submitted` on, the block from `included` on."""

    state: OperationState
    transaction_hash: bytes | None
    block_number: int | None
    failure: str | None


@dataclass(frozen=True, slots=True)
class Packed:
    """A transaction and the operations that it takes from the queue."""

    row: TxRow
    transaction: SignedTransaction
    group: Group


class OutboxStore:
    """Rows of one outbox. Raises OutboxCorrupt when they contradict each other."""

    def __init__(self, kv: KeyValue, clock: Callable[[], float]) -> None:
        """Read what is in flight and how much waits."""
        self._kv, self._clock = kv, clock
        self.queue = OutboxQueue(kv, clock)
        (self._floor,) = self.mark("floor", 1)
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

    # Operations

    def status_of(self, operation_id: str) -> OperationStatus | None:
        """Say where an operation is; None when it was never written."""
        order = self.queue.order_of(operation_id)
        if order is None:
            return None
        ended = self._kv.get(operation_key(operation_id))
        if ended is not None:
            return self._ended_status(order, decode_operation_row(ended))
        nonce = self.queue.nonce_of(order)
        if nonce is None:
            return OperationStatus(OperationState.QUEUED, None, None, None)
        tx = self.transaction(nonce)
        block = tx.block_number if tx.state in (TxState.INCLUDED, TxState.FINAL) else None
        return OperationStatus(SHOWN[tx.state], tx.hash, block, None)

    def _ended_status(self, order: int, row: OperationRow) -> OperationStatus:
        if row.nonce is not None:
            tx = self.transaction(row.nonce)
            return OperationStatus(OperationState.FAILED, tx.hash, tx.block_number, row.failure)
        raw = self._kv.get(number_key(ADOPTED, order))
        if raw is None:
            raise OutboxCorrupt("an operation found on chain has no row", hint="check the store")
        found = decode_adopted(order, raw)
        return OperationStatus(OperationState.FINAL, found.transaction_hash, found.block_number, None)

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

    def pack(self, packed: Sequence[Packed]) -> None:
        """Move operations from the queue into new transactions: synced, before any is ever sent."""
        ops: list[Put | Delete] = []
        for item in packed:
            ops += self._new_rows(item.row, item.transaction, item.group.ids())
            ops += self.queue.pack_rows(item.row.nonce, item.group.orders())
        reach("outbox.pack", "before")
        self._kv.write(ops, sync=True)
        reach("outbox.pack", "after")
        self.queue.note_taken([order for item in packed for order in item.group.orders()], untidy=True)
        for item in packed:
            self._track(item.row)

    def fill(self, row: TxRow, transaction: SignedTransaction) -> None:
        """Put a transaction without operations at a nonce that would stay open for ever."""
        self._kv.write(self._new_rows(row, transaction, []), sync=True)
        self._track(row)

    def _new_rows(self, row: TxRow, transaction: SignedTransaction, ids: Sequence[bytes]) -> list[Put]:
        return [
            Put(number_key(TRANSACTIONS, row.nonce), encode_tx_row(row)),
            Put(number_key(RAWS, row.nonce), transaction.raw),
            Put(number_key(IDS, row.nonce), encode_ids(ids)),
        ]

    def move(self, row: TxRow, state: TxState, *, block: tuple[int, bytes] | None = None) -> None:
        """Move one transaction to another state, as `move_all` does."""
        self.move_all([(row, state, block)])

    def move_all(self, moves: Sequence[Move], *, marks: Mapping[str, int] = NO_MARKS) -> None:
        """Move transactions to other states and set marks, in one write. Raises OutboxCorrupt.

        Not synced: the chain tells it again.
        """
        moved = [_moved(row, state, block) for row, state, block in moves]
        ops: list[Put | Delete] = [
            Put(number_key(TRANSACTIONS, row.nonce), encode_tx_row(row)) for row in moved
        ]
        ops += [Put(mark_key(name), encode_numbers([number])) for name, number in marks.items()]
        if not ops:
            return
        reach("outbox.move", "before")
        self._kv.write(ops, sync=False)
        reach("outbox.move", "after")
        for row in moved:
            self._track(row)

    def release(self, row: TxRow, again: Sequence[Queued], failures: Mapping[str, str]) -> None:
        """Bury a transaction that did nothing: operations go back to the queue or fail. Synced."""
        moved = _moved(row, TxState.DEAD, None)
        orders = self.queue.orders_of(self.ids_of(row.nonce))
        ops: list[Put | Delete] = [Put(number_key(TRANSACTIONS, row.nonce), encode_tx_row(moved))]
        ops += [Delete(number_key(IDS, row.nonce)), *self.queue.unpack_rows(orders)]
        ops += [self.queue.queue_row(queued) for queued in again]
        for operation_id, order in zip(failures, self.queue.orders_of(list(failures)), strict=True):
            failed = encode_operation_row(OperationRow(row.nonce, failures[operation_id]))
            ops += [Put(operation_key(operation_id), failed), *self.queue.settle_rows(order, row.nonce)]
        self._kv.write(ops, sync=True)
        self.queue.note_back(again)
        self._track(moved)

    # Found on chain, and lost again

    def adopt(self, found: Sequence[AdoptedRow], *, seen_seq: int, searched: int) -> None:
        """Take operations off the queue whose records are on chain already. Synced."""
        ops: list[Put | Delete] = []
        for row in found:
            ops.append(Put(number_key(ADOPTED, row.queued.order), encode_adopted(row)))
            found_on_chain = encode_operation_row(OperationRow(None))
            ops.append(Put(operation_key(row.queued.operation_id), found_on_chain))
            ops += self.queue.settle_rows(row.queued.order, NO_NONCE)
        ops.append(Put(mark_key("seen"), encode_numbers([seen_seq])))
        ops.append(Put(mark_key("searched"), encode_numbers([searched])))
        ops += self.queue.pack_rows(0, [])
        self._kv.write(ops, sync=True)
        self.queue.note_taken([row.queued.order for row in found], untidy=False)

    def adopted(self) -> list[AdoptedRow]:
        """Return all adopted operations."""
        return [decode_adopted(key_number(key), raw) for key, raw in self._kv.scan(ADOPTED)]

    def step_back(
        self,
        lost: Sequence[TxRow],
        unadopted: Sequence[AdoptedRow],
        *,
        seen_seq: int,
        final: tuple[int, bytes],
    ) -> None:
        """Put transactions whose blocks are gone back in flight, and lost adopted operations in the queue.

        `final` is the block as of which they were looked for: what is lost later is told by it.
        """
        ops: list[Put | Delete] = []
        for row in lost:
            key = number_key(TRANSACTIONS, row.nonce)
            ops.append(Put(key, encode_tx_row(_moved(row, TxState.SUBMITTED, (0, bytes(32))))))
        for found in unadopted:
            ops += [Delete(number_key(ADOPTED, found.queued.order)), *self.queue.queue_rows(found.queued)]
            ops.append(Delete(operation_key(found.queued.operation_id)))
        self._floor = min([self._floor, *(row.nonce for row in lost)])
        ops.append(Put(mark_key("floor"), encode_numbers([self._floor])))
        ops.append(Put(mark_key("seen"), encode_numbers([seen_seq])))
        ops.append(Put(mark_key("searched"), encode_numbers([0])))
        ops.append(
            Put(mark_key("regressed"), encode_numbers([max((row.nonce + 1 for row in lost), default=0)]))
        )
        ops.append(Put(mark_key("final"), encode_numbers([final[0]], final[1])))
        self._kv.write(ops, sync=True)
        self.queue.note_back([found.queued for found in unadopted])
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
