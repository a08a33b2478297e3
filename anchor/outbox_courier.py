"""Sends transactions in order on a thread of its own, so that the next ones are packed while these are on their way.

The chain holds a send back while it mines; without this the outbox would wait with it. Lives for one step: its
thread ends before the step does. Knows neither rows nor store.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from anchor.chain.gateway import SendOutcome
from anchor.errors import ChainUnavailable, TransactionRefused

MAX_TOGETHER = 8  # Full batches are 50 KB each and twice that in hex; clients take a few megabytes.

Answer = SendOutcome | ChainUnavailable | TransactionRefused


class Courier:
    """A context: `hand` transactions over; when it ends, `answers` has those that were tried, in order.

    After an answer that makes trying the next one useless, the rest is not tried.
    """

    def __init__(self, send: Callable[[Sequence[bytes]], Sequence[Answer]]) -> None:
        """Send with `send`, which returns an answer for each and may raise ChainUnavailable for all."""
        self._send = send
        self._handed: queue.SimpleQueue[tuple[int, bytes] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._broken: BaseException | None = None
        self.answers: list[tuple[int, Answer]] = []

    def __enter__(self) -> Self:
        """Begin; the thread starts with the first transaction."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until all is sent that will be. Raises what no one foresaw."""
        if self._thread is not None:
            self._handed.put(None)
            self._thread.join()
        if self._broken is not None and error is None:
            raise self._broken

    def hand(self, nonce: int, raw: bytes) -> None:
        """Give a transaction to be sent after those before it."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="outbox-courier", daemon=True)
            self._thread.start()
        self._handed.put((nonce, raw))

    def _run(self) -> None:
        going = True
        while going and (items := self._next()):
            answers = self._try([raw for _, raw in items])
            self.answers += [(nonce, answer) for (nonce, _), answer in zip(items, answers, strict=False)]
            going = bool(answers) and all(_goes_on(answer) for answer in answers)

    def _next(self) -> list[tuple[int, bytes]]:
        """Wait for one transaction and take with it what else is there; empty at the end."""
        items: list[tuple[int, bytes]] = []
        while len(items) < MAX_TOGETHER and not (items and self._handed.empty()):
            item = self._handed.get()
            if item is None:
                self._handed.put(None)
                break
            items.append(item)
        return items

    def _try(self, raws: Sequence[bytes]) -> Sequence[Answer]:
        try:
            return self._send(raws)
        except ChainUnavailable as error:
            return [error]
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            self._broken = error
            return []


def _goes_on(answer: Answer) -> bool:
    return isinstance(answer, SendOutcome) and answer is not SendOutcome.UNDERPRICED
