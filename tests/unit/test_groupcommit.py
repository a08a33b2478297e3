"""Group commit without a database: order, sharing, failure, and no thread left waiting."""

import threading
from collections import deque
from collections.abc import Sequence

import pytest

from node.errors import StoreClosed, StoreFull
from node.store.groupcommit import GroupCommit, Ticket


class Recorder:
    """A commit that notes its groups, and can be held to let a queue grow."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.entered = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.failures: list[BaseException] = []

    def commit(self, tickets: Sequence[Ticket[int]]) -> None:
        self.groups.append([ticket.request for ticket in tickets])
        self.entered.release()
        self.go_on.acquire()
        if self.failures:
            raise self.failures.pop()


def start(
    group: GroupCommit[int], number: int, errors: list[BaseException], *, weight: int = 1
) -> threading.Thread:
    """Run a request in a thread of its own and note what it raised."""

    def run() -> None:
        try:
            group.run(number, weight=weight)
        except BaseException as error:  # noqa: BLE001  # the test looks at whatever came
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def queued(
    group: GroupCommit[int], recorder: Recorder, count: int, *, weight: int = 1
) -> tuple[list[threading.Thread], list[BaseException]]:
    """Hold request 0 in its commit and queue requests 1 to `count` behind it."""
    errors: list[BaseException] = []
    threads = [start(group, 0, errors)]
    recorder.entered.acquire()
    for number in range(1, count + 1):
        threads.append(start(group, number, errors, weight=weight))
        while len(group._queue) < number:
            pass
    return threads, errors


def finish(recorder: Recorder, threads: list[threading.Thread]) -> None:
    for _ in threads:
        recorder.go_on.release()
    for thread in threads:
        thread.join(timeout=30)
    assert not any(thread.is_alive() for thread in threads)


def test_requests_that_queue_meanwhile_are_one_group_in_order() -> None:
    recorder = Recorder()
    threads, errors = queued(GroupCommit(recorder.commit, limit_bytes=100), recorder, 5)
    finish(recorder, threads)
    assert (recorder.groups, errors) == ([[0], [1, 2, 3, 4, 5]], [])


def test_group_stays_below_its_limit_and_a_large_request_goes_alone() -> None:
    recorder = Recorder()
    threads, errors = queued(GroupCommit(recorder.commit, limit_bytes=10), recorder, 4, weight=5)
    finish(recorder, threads)
    assert (recorder.groups, errors) == ([[0], [1, 2], [3, 4]], [])
    huge = GroupCommit(recorder.commit, limit_bytes=1)
    recorder.go_on.release()
    huge.run(7, weight=50)
    assert recorder.groups[-1] == [7]


def test_failure_reaches_each_request_of_the_group_and_no_other() -> None:
    recorder = Recorder()
    group = GroupCommit(recorder.commit, limit_bytes=100)
    threads, errors = queued(group, recorder, 4)
    recorder.go_on.release()
    recorder.entered.acquire()
    recorder.failures.append(StoreFull("no room", hint="free some", file="x"))
    finish(recorder, threads)
    assert [type(error) for error in errors] == [StoreFull] * 4
    assert len({id(error) for error in errors}) == 4
    for error in errors:
        assert isinstance(error, StoreFull)
        assert (str(error), error.hint, error.facts) == ("no room", "free some", {"file": "x"})
    group.run(9, weight=1)
    assert recorder.groups[-1] == [9]


def test_interrupted_leader_leaves_nobody_waiting() -> None:
    recorder = Recorder()
    threads, errors = queued(GroupCommit(recorder.commit, limit_bytes=100), recorder, 3)
    recorder.go_on.release()
    recorder.entered.acquire()
    recorder.failures.append(KeyboardInterrupt())
    finish(recorder, threads)
    assert sorted(type(error).__name__ for error in errors) == [
        "KeyboardInterrupt",
        "StoreClosed",
        "StoreClosed",
    ]


class Starving(deque[Ticket[int]]):
    """A queue that gets no memory the `fails_at`-th time it is read, first by whoever hands over."""

    fails_at = 0

    def __getitem__(self, place: int) -> Ticket[int]:  # type: ignore[override]
        self.fails_at -= 1
        if self.fails_at == 0:
            raise MemoryError
        return super().__getitem__(place)


@pytest.mark.parametrize(
    ("fails_at", "raised"),
    [(2, {"MemoryError"}), (5, {"MemoryError", "StoreClosed"})],
    ids=["nobody taken", "two taken"],
)
def test_leader_without_memory_leaves_nobody_waiting(fails_at: int, raised: set[str]) -> None:
    recorder = Recorder()
    group = GroupCommit(recorder.commit, limit_bytes=100)
    threads, errors = queued(group, recorder, 3)
    group._queue = Starving(group._queue)
    group._queue.fails_at = fails_at
    finish(recorder, threads)
    assert sorted(type(error).__name__ for error in errors) == sorted(raised)
    group.run(9, weight=1)
    assert recorder.groups[-1] == [9]


def test_early_settled_request_does_not_share_a_later_failure() -> None:
    def commit(tickets: Sequence[Ticket[int]]) -> None:
        tickets[0].finish()
        raise StoreClosed("later")

    GroupCommit(commit, limit_bytes=10).run(1, weight=1)


def test_many_threads_all_get_through() -> None:
    done: list[int] = []
    group: GroupCommit[int] = GroupCommit(
        lambda tickets: done.extend(t.request for t in tickets), limit_bytes=8
    )
    errors: list[BaseException] = []
    threads = [start(group, number, errors) for number in range(200)]
    for thread in threads:
        thread.join(timeout=30)
    assert (sorted(done), errors) == (list(range(200)), [])


def test_a_lone_request_needs_no_company() -> None:
    done: list[int] = []
    group: GroupCommit[int] = GroupCommit(
        lambda tickets: done.extend(t.request for t in tickets), limit_bytes=8
    )
    for number in range(3):
        group.run(number, weight=1)
    assert done == [0, 1, 2]


def test_unexpected_exception_passes_to_its_own_thread() -> None:
    def commit(tickets: Sequence[Ticket[int]]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        GroupCommit(commit, limit_bytes=8).run(1, weight=1)
