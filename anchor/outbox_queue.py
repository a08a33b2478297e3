"""The outbox's queue: orders given out, rows that wait, and which of them are packed.

A packed row is not deleted one by one, which would cost as much as all the rest of packing: a segment row says
"orders a to b went into nonce n", and packed rows are tidied away later. Orders are never used twice, so a row
that a slow caller writes late, or writes again, is seen for what it is by its order alone.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice

from anchor.errors import OutboxCorrupt
from anchor.keyvalue import Delete, KeyValue, Put
from anchor.outbox_rows import (
    QUEUE,
    SEGMENTS,
    Operation,
    Queued,
    Waiting,
    decode_segment,
    encode_numbers,
    encode_queued,
    encode_segment,
    id_of,
    key_number,
    mark_key,
    number_key,
    wanted_key,
)

RECOUNT_S = 60.0
MAX_RESERVED = 200_000
TIDY_ROWS = 2_000
PAGE_ROWS = 256


class OutboxQueue:
    """Rows that callers write and the outbox packs. `allocate` may be called from any thread."""

    def __init__(self, kv: KeyValue, clock: Callable[[], float]) -> None:
        """Count what waits."""
        self._kv, self._clock = kv, clock
        self._lock = threading.Lock()
        # Orders given out and not yet seen in the queue: their rows may be written late, in any order.
        self._awaited: dict[int, float] = {}
        self._reserved: dict[str, int] = {}
        # Every row that waits is at `_position` or beyond, or is one of these: seen and not packed, or awaited.
        self._seen: set[int] = set()
        self._position = 0
        self._untidy = 0
        raw = kv.get(mark_key("orders"))
        self._orders_used = int.from_bytes(raw or b"")
        self.queued = 0
        self._recounted = clock()
        self._recount()

    # Coming in

    def allocate(self, operations: Sequence[tuple[str, Operation]]) -> list[Put]:
        """Give each new operation its order; return the rows that the caller writes with its own.

        Until its rows are seen, an id keeps its order: two callers that race with one id write the same rows.
        """
        rows: list[Put] = []
        seen: set[str] = set()
        for operation_id, operation in operations:
            key = wanted_key(operation_id)
            if operation_id in seen or self._kv.get(key) is not None:
                continue
            seen.add(operation_id)
            order = self._order_for(operation_id)
            rows.append(Put(key, encode_numbers([order])))
            rows.append(Put(number_key(QUEUE, order), encode_queued(Queued(order, operation_id, operation))))
        return rows

    def _order_for(self, operation_id: str) -> int:
        with self._lock:
            order = self._reserved.get(operation_id)
            if order is None:
                order = self._orders_used = self._orders_used + 1
                self._reserved[operation_id] = order
                self.queued += 1
                if len(self._reserved) > MAX_RESERVED:
                    self._reserved.pop(next(iter(self._reserved)), None)
            self._awaited[order] = self._clock()
            return order

    # Waiting

    def first(self) -> int | None:
        """Return the order that waits longest, without reading the queue; None when nothing waits."""
        with self._lock:
            if not self.queued:
                return None
            return min(min(orders, default=self._position) for orders in (self._seen, self._awaited))

    def waiting(self) -> Iterator[list[Waiting]]:
        """Yield what waits and is not packed, in order, in lists."""
        if self._clock() - self._recounted >= RECOUNT_S:
            self._recount()
        with self._lock:
            start = min(
                self._position,
                *(min(orders, default=self._position) for orders in (self._seen, self._awaited)),
            )
            self._seen.clear()
        for waiting, packed in self._pages(start):
            orders = [order for order, _ in waiting]
            # What the caller leaves of a list was seen, and is where the next look begins.
            self._seen.update(orders)
            self._position = max([*orders[-1:], *packed[-1:]]) + 1
            for order in (*orders, *packed):
                self._awaited.pop(order, None)
            for _, raw in waiting:
                self._reserved.pop(id_of(raw), None)
            yield waiting

    def _pages(self, start: int) -> Iterator[tuple[list[Waiting], list[int]]]:
        """Yield queue rows from `start` on, page by page: those that wait, and the orders of the packed ones."""
        packed = _PackedOrders(self._kv.scan(SEGMENTS, start=number_key(SEGMENTS, start)))
        rows = self._kv.scan(QUEUE, start=number_key(QUEUE, start))
        while page := [(key_number(key), raw) for key, raw in islice(rows, PAGE_ROWS)]:
            yield packed.part(page)

    def _recount(self) -> None:
        """Count the queue anew, and look at all of it once: a caller may have failed to write its rows."""
        with self._lock:
            self._recounted = self._clock()
            oldest = self._recounted - RECOUNT_S
            self._awaited = {order: since for order, since in self._awaited.items() if since > oldest}
        queued, untidy, last = 0, 0, 0
        first: int | None = None
        for waiting, packed in self._pages(0):
            queued, untidy = queued + len(waiting), untidy + len(packed)
            first = waiting[0][0] if waiting and first is None else first
            last = max([last, *packed[-1:], *[order for order, _ in waiting[-1:]]])
        with self._lock:
            self.queued, self._untidy = queued, untidy
            self._orders_used = max(self._orders_used, last)
            self._seen.clear()
            self._position = last + 1 if first is None else first

    # Packed

    def order_of(self, operation_id: str) -> int | None:
        """Return an operation's order, None when it was never written."""
        raw = self._kv.get(wanted_key(operation_id))
        return None if raw is None else int.from_bytes(raw)

    def orders_of(self, operation_ids: Sequence[str]) -> list[int]:
        """Return the orders of operations that were written. Raises OutboxCorrupt."""
        found = [order for name in operation_ids if (order := self.order_of(name)) is not None]
        if len(found) != len(operation_ids):
            raise OutboxCorrupt("an operation of the outbox has no row", hint="check the store")
        return found

    def nonce_of(self, order: int) -> int | None:
        """Return the nonce that an order was packed into, None while it waits."""
        for key, raw in self._kv.scan(SEGMENTS, start=number_key(SEGMENTS, order)):
            first, nonce = decode_segment(raw)
            return nonce if first <= order <= key_number(key) else None
        return None

    def pack_rows(self, nonce: int, orders: Sequence[int]) -> list[Put | Delete]:
        """Return the rows that say operations went into the transaction of `nonce`."""
        rows: list[Put | Delete] = [Put(mark_key("orders"), encode_numbers([self._orders_used]))]
        for first, last in _segments(orders):
            rows.append(Put(number_key(SEGMENTS, last), encode_segment(first, nonce)))
        return rows

    def settle_rows(self, order: int, nonce: int) -> list[Put | Delete]:
        """Return the rows that take one operation off the queue for good, also if its row is written again."""
        segment = Put(number_key(SEGMENTS, order), encode_segment(order, nonce))
        return [Delete(number_key(QUEUE, order)), segment]

    def queue_rows(self, queued: Queued) -> list[Put | Delete]:
        """Return the rows that put one operation back that `settle_rows` took off."""
        return [Delete(number_key(SEGMENTS, queued.order)), self.queue_row(queued)]

    def unpack_rows(self, orders: Sequence[int]) -> list[Put | Delete]:
        """Return the rows that undo `pack_rows` for all orders of one transaction."""
        return [Delete(number_key(SEGMENTS, last)) for _, last in _segments(orders)]

    def queue_row(self, queued: Queued) -> Put:
        """Return the row that puts an operation back."""
        return Put(number_key(QUEUE, queued.order), encode_queued(queued))

    def note_taken(self, orders: Sequence[int], *, untidy: bool) -> None:
        """Note operations that were packed (their rows are still there) or dropped."""
        with self._lock:
            self._seen.difference_update(orders)
            self.queued = max(0, self.queued - len(orders))
            self._untidy += len(orders) if untidy else 0

    def note_back(self, again: Sequence[Queued]) -> None:
        """Note operations that wait again."""
        with self._lock:
            self.queued += len(again)
            self._seen.update(item.order for item in again)

    def tidy(self, *, idle: bool) -> None:
        """Delete some packed rows: when nothing else is to do, or too many lie about. Not synced."""
        if not self._untidy or (self._untidy < 10 * TIDY_ROWS and not idle):
            return
        orders = chain.from_iterable(packed for _, packed in self._pages(0))
        gone = [Delete(number_key(QUEUE, order)) for order in islice(orders, TIDY_ROWS)]
        self._untidy = max(0, self._untidy - len(gone)) if len(gone) == TIDY_ROWS else 0
        self._kv.write(gone, sync=False)


class _PackedOrders:
    """Tells which rows of an ascending queue are packed, by the segments that go up beside them."""

    def __init__(self, segments: Iterator[tuple[bytes, bytes]]) -> None:
        self._segments: Iterator[tuple[bytes, bytes]] | None = segments
        self._first, self._last = 0, -1

    def part(self, page: list[Waiting]) -> tuple[list[Waiting], list[int]]:
        """Part rows that wait from the orders of those that are packed."""
        if self._segments is None and self._last < page[0][0]:
            return page, []
        waiting: list[Waiting] = []
        packed: list[int] = []
        for order, raw in page:
            self._advance(order)
            if self._first <= order <= self._last:
                packed.append(order)
            else:
                waiting.append((order, raw))
        return waiting, packed

    def _advance(self, order: int) -> None:
        while self._last < order and self._segments is not None:
            row = next(self._segments, None)
            if row is None:
                self._segments = None
                return
            self._last, (self._first, _) = key_number(row[0]), decode_segment(row[1])


def _segments(orders: Sequence[int]) -> list[tuple[int, int]]:
    """Return the runs of numbers that follow each other without a gap; a gap may be a row written late."""
    if orders and orders[-1] - orders[0] == len(orders) - 1 == len(set(orders)) - 1:
        return [(orders[0], orders[-1])]
    runs: list[tuple[int, int]] = []
    for order in sorted(orders):
        if runs and runs[-1][1] == order - 1:
            runs[-1] = (runs[-1][0], order)
        else:
            runs.append((order, order))
    return runs
