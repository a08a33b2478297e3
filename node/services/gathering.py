"""Small pushes that come at the same time are stored together: one batch, one sync, one hop to a thread.

Life of a small push: its request is read in the event loop, it joins those that wait, and at the loop's next turn
one thread takes all of them: digests, seals, builds their rows and writes them in one batch. What comes meanwhile
is the next group. A lone push waits for nobody. The members of a crowd come back as soon as they are answered: the
next group leaves when all of it are there again, those who were just answered and those who waited, or after half
the time that the last one took, since to wait longer would cost more than a sync saves. Two groups that take turns
would share the processor all the same, and sync twice as often. Everything but `_accept` runs in the event loop's
thread and needs no lock.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

from node.context import Node
from node.services import materials
from node.services.materials import MaterialView, Push

SMALL_BYTES = 64 << 10
_GROUP = 64
_LONGEST_WAIT_S = 0.02

_Waiting = tuple[Push, "asyncio.Future[MaterialView]"]


class PushGatherer:
    """Accepts small pushes in groups; one object per node, used from its event loop."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._waiting: list[_Waiting] = []
        self._busy = False
        self._wanted = 0
        self._sent_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gather")
        # Started now: when there is no memory for a thread any more, a group would wait for one for ever.
        self._thread.submit(int).result()

    async def accept(self, push: Push) -> MaterialView:
        """Accept `push` with whoever else waits. Raises what `materials.accept` raises."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[MaterialView] = loop.create_future()
        self._waiting.append((push, answer))
        if not self._busy:
            self._busy = True
            # At the next turn: requests that arrived together join before the group leaves.
            loop.call_soon(self._send, loop)
        elif self._timer is not None and len(self._waiting) >= self._wanted:
            self._send(loop)
        return await answer

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        group, self._waiting = self._waiting[:_GROUP], self._waiting[_GROUP:]
        self._busy = bool(group)
        if group:
            self._sent_at = loop.time()
            self._thread.submit(self._accept, loop, group)

    def _accept(self, loop: asyncio.AbstractEventLoop, group: list[_Waiting]) -> None:
        found: list[MaterialView | Exception]
        try:
            found = materials.accept_all(self._node, [push for push, _ in group])
        except Exception as error:  # noqa: BLE001 - raised again in each request of the group
            found = [error for _ in group]
        loop.call_soon_threadsafe(self._settle, loop, group, found)

    def _settle(
        self, loop: asyncio.AbstractEventLoop, group: list[_Waiting], found: list[MaterialView | Exception]
    ) -> None:
        for (_, answer), one in zip(group, found, strict=True):
            if answer.done():
                continue  # its request has gone away; what was stored stays
            if isinstance(one, Exception):
                answer.set_exception(one)
            else:
                answer.set_result(one)
        self._wanted = min(len(group) + len(self._waiting), _GROUP)
        if len(self._waiting) >= self._wanted or len(group) == 1:
            self._send(loop)
        else:
            wait_s = min((loop.time() - self._sent_at) / 2, _LONGEST_WAIT_S)
            self._timer = loop.call_later(wait_s, self._send, loop)
