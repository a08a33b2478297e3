"""Sends transactions in order on a thread of its own, so that the next batch is packed while one is on its way.

The chain holds a send back while it mines; without this the outbox would wait with it. Lives for one step: its
thread ends before the step does. Knows neither rows nor store.
"""

import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from anchor.chain.gateway import SendOutcome
from anchor.errors import ChainUnavailable, TransactionRefused

Answer = SendOutcome | ChainUnavailable | TransactionRefused


class Courier:
    """A context: `hand` transactions over; when it ends, `answers` has those that were tried, in order.

    After an answer that makes trying the next one useless, the rest is not tried.
    """

    def __init__(self, send: Callable[[bytes], SendOutcome]) -> None:
        """Send with `send`, which raises ChainUnavailable or TransactionRefused."""
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
        while (item := self._handed.get()) is not None:
            if not going:
                continue
            nonce, raw = item
            answer = self._try(raw)
            if answer is None:
                return
            self.answers.append((nonce, answer))
            going = isinstance(answer, SendOutcome) and answer is not SendOutcome.UNDERPRICED

    def _try(self, raw: bytes) -> Answer | None:
        try:
            return self._send(raw)
        except (ChainUnavailable, TransactionRefused) as error:
            return error
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            self._broken = error
            return None
