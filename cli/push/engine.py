"""Does the pushing: some threads share one client and one list; every answer goes to the journal first.

A refusal of one item does not stop the others; a refused key or a node that is gone stops all, because every
further item would fail alike. `stop()` lets the files in work finish. Must not import rich or typer:
`progress` shows it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from anchor.errors import DeltasealError
from cli.arguments import digest_of
from cli.client import NodeClient, segment
from cli.errors import ApiProblem, InputInvalid, InputMissing, NodeUnreachable, WaitExpired
from cli.push.items import PushItem
from cli.push.journal import PushJournal

# How far an anchor has come for each thing one may wait for.
REACHED: dict[str, frozenset[str]] = {
    "included": frozenset({"included", "final"}),
    "final": frozenset({"final"}),
}
_LOOKS_PER_ROUND = 64
_ROUND_S = 0.5


class PushOutcome(StrEnum):
    """What became of an item."""

    PUSHED = "pushed"
    HELD = "held"
    DONE_BEFORE = "done_before"
    REFUSED = "refused"


@dataclass(slots=True)
class PushResult:
    """One item's end: the node's `answer`, or the `error` that refused it."""

    item: PushItem
    outcome: PushOutcome
    answer: dict[str, Any]
    error: DeltasealError | None = None

    def as_item(self) -> dict[str, Any]:
        """Give the row that the output shows."""
        error = self.error
        facts = {"code": error.code, "detail": str(error)} if error is not None else {}
        if isinstance(error, ApiProblem) and error.request_id:
            facts["requestId"] = error.request_id
        return {"path": self.item.shown, "result": self.outcome.value, **self.answer, **facts}


class Counters:
    """What a progress display reads while the work goes on; adding is locked, reading is not."""

    def __init__(self, items: Sequence[PushItem]) -> None:
        """Count what lies ahead."""
        self.items, self.bytes = len(items), sum(item.size_bytes for item in items)
        self.items_done = self.bytes_done = self.anchored = self.refused = 0
        self._lock = threading.Lock()

    def add(self, *, items: int = 0, bytes_: int = 0, anchored: int = 0, refused: int = 0) -> None:
        """Add to the counts."""
        with self._lock:
            self.items_done += items
            self.bytes_done += bytes_
            self.anchored += anchored
            self.refused += refused


class PushEngine:
    """One push of many items. Create it, `run` it once."""

    def __init__(
        self,
        client: NodeClient,
        journal: PushJournal,
        *,
        parallel: int,
        hash_only: bool = False,
        max_file_bytes: int | None = None,
        watch: str | None = None,
        on_result: Callable[[PushResult], None] = lambda _result: None,
    ) -> None:
        """`watch` is `included` or `final`: how far each anchor is followed; None follows none.

        `on_result` is called from one thread at a time, after the journal was written.
        """
        self._client, self._journal = client, journal
        self._parallel, self._hash_only, self._max_file_bytes = parallel, hash_only, max_file_bytes
        self._on_result = on_result
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._watch = AnchorWatch(client, watch) if watch else None
        self.fatal: DeltasealError | None = None
        self.interrupted = False

    @property
    def stopped(self) -> bool:
        """Whether no further item will be begun."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Begin no further item; those in work are finished."""
        self._stop.set()

    def interrupt(self) -> None:
        """Stop because the user asked for it."""
        self.interrupted = True
        self.stop()

    def run(
        self, items: Sequence[PushItem], counters: Counters, *, tick: Callable[[], None]
    ) -> list[PushResult]:
        """Push all items and return the results in the order of the items; `tick` is called about 5 times a
        second.

        What was not begun, because of `stop` or a fatal error (see `fatal`), has no result.
        """
        results: dict[int, PushResult] = {}
        todo = deque(enumerate(items))
        threads = [
            threading.Thread(target=self._work, args=(todo, results, counters), name=f"push-{n}", daemon=True)
            for n in range(min(self._parallel, len(items)))
        ]
        if self._watch is not None:
            self._watch.start(counters)
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            tick()
            next((thread for thread in threads if thread.is_alive()), threads[0]).join(0.2)
        if self._watch is not None:
            self._watch.close()
        return [results[number] for number in sorted(results)]

    def await_anchors(self, *, timeout_s: float, tick: Callable[[], None]) -> None:
        """Wait until every anchor has come as far as `watch` says; what prevents it becomes `fatal`."""
        deadline = time.monotonic() + timeout_s
        try:
            while self._watch is not None and not self.stopped and self._watch.look():
                tick()
                if time.monotonic() > deadline:
                    raise WaitExpired(
                        f"{self._watch.open} accepted materials are not {self._watch.until} on the chain yet",
                        hint="they are safe at the node; look again with `deltaseal chain status`",
                    )
                time.sleep(_ROUND_S)
        except DeltasealError as error:
            self._give_up(error)

    def _work(
        self, todo: deque[tuple[int, PushItem]], results: dict[int, PushResult], counters: Counters
    ) -> None:
        while not self.stopped:
            try:
                number, item = todo.popleft()
            except IndexError:
                return
            try:
                result = self._push_or_refuse(item, counters)
            except DeltasealError as error:
                self._give_up(error)
                return
            with self._lock:
                results[number] = result
                self._on_result(result)
            counters.add(items=1, refused=int(result.outcome is PushOutcome.REFUSED))
            if self._watch is not None and result.error is None:
                self._watch.add(result)

    def _give_up(self, error: DeltasealError) -> None:
        with self._lock:
            self.fatal = self.fatal or error
        self.stop()

    def _push_or_refuse(self, item: PushItem, counters: Counters) -> PushResult:
        try:
            return self._push_one(item, counters)
        except (ApiProblem, InputInvalid, InputMissing) as error:
            if isinstance(error, ApiProblem) and error.status in (401, 403, 429, 503):
                raise
            return PushResult(item, PushOutcome.REFUSED, {}, error)
        except NodeUnreachable:
            raise
        except DeltasealError as error:
            return PushResult(item, PushOutcome.REFUSED, {}, error)

    def _push_one(self, item: PushItem, counters: Counters) -> PushResult:
        key = _key(item, self._journal.run)
        if (line := self._journal.done(key)) is not None:
            counters.add(bytes_=item.size_bytes)
            return PushResult(item, PushOutcome.DONE_BEFORE, {k: v for k, v in line.items() if k != "item"})
        sha256 = self._digest(item)
        answer = self._client.upload(
            item.meta(sha256),
            None if self._hash_only else item.path,
            file_name=item.meta(sha256).get("fileName"),
            idempotency_key=self._journal.idempotency_key(key),
            on_bytes=lambda size: counters.add(bytes_=size),
        )
        body = answer.body if isinstance(answer.body, dict) else {}
        with self._lock:
            self._journal.add(key, body)
        outcome = PushOutcome.HELD if answer.status == 200 else PushOutcome.PUSHED
        return PushResult(item, outcome, body)

    def _digest(self, item: PushItem) -> str:
        """Digest the file; refuse one that is too big or not the list's before a byte is sent."""
        if item.path is None:
            return str(item.sha256)
        limit = self._max_file_bytes
        if limit is not None and not self._hash_only and item.size_bytes > limit:
            raise InputInvalid(
                f"the file is larger than the node accepts ({limit} bytes)", hint="push its hash only"
            )
        found = digest_of(item.path).sha256.hex()
        if item.sha256 is not None and item.sha256 != found:
            raise InputInvalid("the file is not the one whose digest the list gives", hint="check the line")
        return found


def _key(item: PushItem, run: str) -> str:
    try:
        return item.key(run)
    except OSError as error:
        raise InputMissing(
            f"the file cannot be read: {error.strerror}", hint="check its name and rights"
        ) from None


class AnchorWatch:
    """Follows anchors by asking for the materials, oldest first: the outbox keeps that order.

    A round ends at the first one that has not come far enough, so that waiting costs one request a round.
    """

    def __init__(self, client: NodeClient, until: str) -> None:
        """`until` is `included` or `final`."""
        self.until = until
        self._client, self._open, self._closed = client, deque[PushResult](), threading.Event()
        self._lock = threading.Lock()
        self._counters: Counters | None = None
        self._thread = threading.Thread(target=self._follow, name="anchors", daemon=True)

    @property
    def open(self) -> int:
        """How many have not come far enough."""
        return len(self._open)

    def start(self, counters: Counters) -> None:
        """Begin to follow in a thread of its own, for the display."""
        self._counters = counters
        self._thread.start()

    def add(self, result: PushResult) -> None:
        """Follow one more."""
        self._open.append(result)

    def close(self) -> None:
        """End the thread; `look` still works."""
        self._closed.set()
        self._thread.join()

    def look(self) -> bool:
        """Do one round; say whether some are still open.

        Raises:
            ApiProblem, NodeUnreachable, NodeAnswerMalformed: asking failed.
        """
        with self._lock:
            for _ in range(_LOOKS_PER_ROUND):
                if not self._open or not self._arrived(self._open[0]):
                    break
                result = self._open.popleft()
                if self._counters is not None and result.error is None:
                    self._counters.add(anchored=1)
            return bool(self._open)

    def _arrived(self, result: PushResult) -> bool:
        if _state(result) not in REACHED[self.until]:
            material = self._client.get(f"/v1/materials/{segment(str(result.answer.get('materialId')))}")
            result.answer["anchor"] = material.get("anchor")
        if _state(result) == "failed":
            result.outcome, result.error = (
                PushOutcome.REFUSED,
                InputInvalid("the record was refused by the chain"),
            )
            return True
        return _state(result) in REACHED[self.until]

    def _follow(self) -> None:
        while not self._closed.wait(_ROUND_S):
            try:
                self.look()
            except DeltasealError:
                # Only the display suffers; who waits for anchors asks again and hears the error then.
                continue


def _state(result: PushResult) -> str:
    anchor = result.answer.get("anchor")
    return str(anchor.get("status")) if isinstance(anchor, dict) else ""
