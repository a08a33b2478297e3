"""Group commit: many threads ask, one of them writes for all.

Life of a request: it joins the queue; if nobody leads, its thread becomes the leader, takes what is queued
(up to `limit_bytes`), commits it in one go, wakes the others and hands the lead to the first that came in
meanwhile. So an fsync is shared by all who wait for it, and a lone writer never waits for company.
Knows nothing of what is committed.
"""

import copy
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from anchor.errors import DeltasealError
from node.errors import StoreClosed

T = TypeVar("T")
# Made while there is memory for it.
_INTERRUPTED = StoreClosed("the write was interrupted; its outcome is not known")


class Ticket(Generic[T]):
    """One request and its waiting thread; `finish` may be called early and is final."""

    def __init__(self, request: T, weight: int) -> None:
        """Hold `request`, which counts `weight` bytes towards the limit of a group."""
        self.request = request
        self.weight = weight
        self.done = False
        self.error: DeltasealError | None = None
        self._wake = threading.Lock()
        self._wake.acquire()

    def finish(self, error: DeltasealError | None = None) -> None:
        """Settle the request and wake its thread; a second call changes nothing."""
        if not self.done:
            self.error = error
            self.done = True
            self._wake.release()

    def wait(self) -> None:
        """Sleep until the request is settled or this thread is to lead."""
        self._wake.acquire()

    def call_to_lead(self) -> None:
        """Wake the thread of an unsettled request: it leads now."""
        self._wake.release()


class GroupCommit(Generic[T]):
    """Runs `commit` on groups of requests, one group at a time, in the order of arrival."""

    def __init__(self, commit: Callable[[Sequence[Ticket[T]]], None], *, limit_bytes: int) -> None:
        """Use `commit`, which settles tickets or leaves that to us; what it raises fails the whole group."""
        self._commit = commit
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._queue: deque[Ticket[T]] = deque()
        self._led = False

    def run(self, request: T, *, weight: int) -> None:
        """Commit `request` with whoever else waits. Raises what the commit of its group raised."""
        ticket = Ticket(request, weight)
        with self._lock:
            self._queue.append(ticket)
            leads, self._led = not self._led, True
        if not leads:
            ticket.wait()
        if not ticket.done:
            self._lead()
        if ticket.error is not None:
            # A copy: several threads raise it, and a traceback belongs to one of them.
            raise copy.copy(ticket.error)

    def _lead(self) -> None:
        group: list[Ticket[T]] = []
        failure: DeltasealError | None = _INTERRUPTED
        try:
            self._fill(group)
            self._commit(group)
            failure = None
        except DeltasealError as error:
            failure = error
        finally:
            # Also on KeyboardInterrupt and without memory: nobody may be left waiting for a leader that is gone.
            self._hand_over(leader_gone=not group)
            for ticket in group:
                ticket.finish(failure)

    def _fill(self, group: list[Ticket[T]]) -> None:
        """Move the leader and whoever fits behind it into `group`; each is in it before it leaves the queue."""
        with self._lock:
            weight = 0
            while self._queue and (not group or weight + self._queue[0].weight <= self._limit_bytes):
                group.append(self._queue[0])
                weight += self._queue.popleft().weight

    def _hand_over(self, *, leader_gone: bool) -> None:
        with self._lock:
            if leader_gone:
                self._queue.popleft()
            if self._queue:
                self._queue[0].call_to_lead()
            else:
                self._led = False
