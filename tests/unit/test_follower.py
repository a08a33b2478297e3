"""The follower: whatever the chain's answers do, the index is right, or it says that it is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from anchor.chain.finality import FinalPoint
from anchor.chain.gateway import Block, Log
from anchor.entries import StatusFlag
from anchor.errors import ChainAnswerMalformed, ChainMismatch, ChainRegressed, ChainUnavailable
from anchor.keyvalue import KeyValue
from tests.unit.chain_factory import (
    CITY,
    DEPLOYMENT,
    HEALTH,
    Chain,
    ScriptedGateway,
    admitted,
    agency_value,
    commitment,
    content,
    document_revoked,
    entry_key,
    index_of,
    material,
    published,
    ring,
    status,
    to_log,
)
from tests.unit.keyvalue_suite import MemoryKeyValue
from verifier import events
from verifier.errors import IndexForeign, LogsInvalid
from verifier.follower import MOST_BLOCKS, Follower, FollowProgress, read_block
from verifier.index import ChainIndex
from verifier.keyring import KeyRing


class Lagging:
    """Finality some blocks below the head."""

    label = "lagging"

    def __init__(self, depth: int) -> None:
        self.depth = depth

    def final_point(self, gateway: ScriptedGateway, head: Block) -> FinalPoint | None:
        block = gateway._block(head.number - self.depth)
        return FinalPoint(block.number, block.hash, block.time, self.label) if block else None


class Net:
    """A chain, its gateway, an index and a follower."""

    def __init__(
        self, chain: Chain, *, depth: int = 0, keys: KeyRing | None = None, kv: KeyValue | None = None
    ) -> None:
        self.chain = chain
        self.kv = kv or MemoryKeyValue()
        self.gateway = ScriptedGateway(chain)
        self.ring = keys or ring(CITY)
        self.index = ChainIndex(self.kv)
        self.depth = depth
        self.follower = self.new_follower()

    def new_follower(self) -> Follower:
        deployment = replace(DEPLOYMENT, genesis=self.chain.genesis)
        return Follower(
            self.gateway,  # type: ignore[arg-type]
            self.index,
            deployment=deployment,
            finality=Lagging(self.depth),  # type: ignore[arg-type]
            keys=self.ring,
        )

    def catch_up(self, steps: int = 200) -> FollowProgress:
        for _ in range(steps):
            progress = self.follower.step()
            if not progress.behind and not progress.problem:
                return progress
        raise AssertionError(f"the follower never caught up: {progress}")

    def assert_right(self) -> None:
        """The index holds what one that read the chain once, in order and without faults holds."""
        expected = index_of(self.chain, *self.ring.all(), final=False)
        for name in ("cursor", "counts", "log_root", "members", "opaque"):
            assert getattr(self.index, name)() == getattr(expected, name)(), name
        assert self.index.claims_by_content(content()) == expected.claims_by_content(content())
        assert self.index.entries("agency") == expected.entries("agency")


def long_chain(blocks: int, *, every: int = 7) -> Chain:
    """A chain with a batch in every seventh block and quiet ones between."""
    chain = Chain()
    for number in range(1, blocks):
        if number % every:
            chain.add()
        else:
            chain.append(3, material(number))
    return chain


def test_history_is_read_in_growing_ranges_and_the_newest_blocks_by_hash() -> None:
    net = Net(long_chain(1000))
    progress = net.catch_up()
    assert (progress.indexed_to, progress.head_number, progress.behind) == (999, 999, 0)
    assert progress.final == FinalPoint(999, net.chain.head.hash, net.chain.head.time, "lagging")
    assert net.gateway.calls.count("logs") < 12
    assert net.gateway.calls.count("logs_of_block") == 8
    net.assert_right()


def test_ranges_stay_bounded() -> None:
    net = Net(long_chain(1500, every=100))
    asked: list[int] = []
    net.gateway.logs = lambda addresses, *, first, last: (  # type: ignore[method-assign]
        asked.append(last - first + 1) or ScriptedGateway.logs(net.gateway, addresses, first=first, last=last)
    )
    net.catch_up()
    assert max(asked) == MOST_BLOCKS and asked[0] == 16


def test_new_blocks_are_taken_as_they_come() -> None:
    net = Net(Chain())
    for number in range(30):
        net.chain.append(3, material(number))
        assert net.follower.step().indexed_to == number + 1
    net.assert_right()
    calls = len(net.gateway.calls)
    net.follower.step()
    assert len(net.gateway.calls) - calls <= 4


def test_every_event_survives_the_way_through_logs() -> None:
    chain, agency = Chain(), "11310000FAKE000212"
    chain.add(
        chain.batch(3, material("m", document_no="No 1")),
        status(3, "m", StatusFlag.SUSPENDED),
        document_revoked(3, "No 1"),
        events.Consumed(b"n" * 32, 3, b"u" * 32),
        events.ConsumptionCleared(b"o" * 32),
        admitted(3),
        events.MemberStateChanged(3, 2),
        events.MemberAccountRotated(3, b"r" * 20),
        events.MemberSuccessorNamed(3, 4),
        events.MemberEndpointSet(3, "https://new.example"),
        events.MemberHpkeKeySet(3, b"k" * 40),
        events.EnvelopePublished(1, 1, 3, b"sealed"),
        events.SignersSet(0, (b"s" * 20,)),
        published("agency", agency, agency_value(3), log_index=13),
        events.EntryStateChanged(entry_key("agency", agency), 1, 2),
        events.EntryOwnerChanged(entry_key("agency", agency), 4),
    )
    block = chain.head
    logs = [to_log(event, block, number) for number, event in enumerate(block.events)]
    decoded = read_block(_header(block), logs, replace(DEPLOYMENT, genesis=chain.genesis))
    assert decoded == block


def _header(block: events.IndexedBlock) -> Block:
    return Block(block.number, block.hash, block.parent_hash, block.time, (), 0, {})


# Forks


@pytest.mark.parametrize("depth", range(1, 21))
def test_fork_above_the_final_block_is_taken_back(depth: int) -> None:
    chain = long_chain(40, every=2)
    net = Net(chain, depth=20)
    net.catch_up()
    chain.fork(39 - depth)
    for number in range(depth + 1):
        chain.append(4, material(("fork", number)))
    net.catch_up()
    net.assert_right()


def test_fork_that_ends_lower_is_taken_back() -> None:
    chain = long_chain(40, every=2)
    net = Net(chain, depth=20)
    net.catch_up()
    chain.fork(30)
    chain.append(4, material("fork"))
    net.gateway.calls.clear()
    assert net.catch_up().indexed_to == 31
    net.assert_right()


def test_fork_in_the_middle_of_a_step_is_noticed() -> None:
    chain = long_chain(30, every=2)
    net = Net(chain, depth=12)
    net.catch_up()
    for _ in range(6):
        chain.add()
    done = False

    def fork_once(method: str, answer: Any) -> Any:
        nonlocal done
        if method == "logs_of_block" and not done:
            done = True
            chain.fork(28)
            for number in range(12):
                chain.append(5, material(("late", number)))
        return answer

    net.gateway.spoil = fork_once
    with pytest.raises(ChainUnavailable):
        net.follower.step()  # The client no longer knows the block whose events we ask for.
    net.catch_up()
    net.assert_right()


def test_fork_between_two_questions_of_a_step_heals_with_the_next() -> None:
    chain = long_chain(30, every=2)
    net = Net(chain, depth=12)
    net.catch_up()
    chain.add()
    chain.add()

    def fork_after(method: str, answer: Any) -> Any:
        if method == "block":
            net.gateway.spoil = None
            chain.fork(27)
            chain.append(5, material("late"))  # As many batches as before: only the hashes tell.
            for _ in range(8):
                chain.add()
        return answer

    net.gateway.spoil = fork_after
    assert net.follower.step().indexed_to == 29
    net.catch_up()
    net.assert_right()


@pytest.mark.parametrize("depth", [0, 10])
def test_vanished_final_block_is_a_regress_and_the_index_stays(depth: int) -> None:
    chain = long_chain(40)
    net = Net(chain, depth=depth)
    net.catch_up()
    before = dict(net.kv.scan(b""))
    chain.fork(20)
    for steps in (0, 30):
        for _ in range(steps):
            chain.add()
        with pytest.raises(ChainRegressed):
            net.follower.step()
    assert dict(net.kv.scan(b"")) == before
    net.follower.rebuild()
    net.catch_up()
    net.assert_right()


def test_other_genesis_and_other_chain_id_are_refused() -> None:
    net = Net(Chain())
    net.gateway.chain_id_ = 1
    with pytest.raises(ChainMismatch):
        net.follower.step()
    net = Net(Chain())
    net.catch_up()
    net.gateway.chain = Chain(salt="another")
    with pytest.raises(ChainMismatch):
        net.follower.step()


def test_index_of_another_deployment_is_refused() -> None:
    net = Net(Chain())
    net.catch_up()
    follower = Follower(
        net.gateway,  # type: ignore[arg-type]
        net.index,
        deployment=replace(DEPLOYMENT, genesis=net.chain.genesis, ledger=b"x" * 20),
        finality=Lagging(0),  # type: ignore[arg-type]
        keys=ring(),
    )
    with pytest.raises(IndexForeign):
        follower.step()


# Answers that are wrong


def spoil_times(times: int, method: str, change: Callable[[Any], Any]) -> Callable[[str, Any], Any]:
    """Change the first answers of a method that have something in them."""
    left = times

    def spoil(asked: str, answer: Any) -> Any:
        nonlocal left
        if asked == method and left and answer:
            left -= 1
            return change(answer)
        return answer

    return spoil


def drop_first(logs: list[Log]) -> list[Log]:
    return logs[1:]


def drop_middle(logs: list[Log]) -> list[Log]:
    return logs[: len(logs) // 2] + logs[len(logs) // 2 + 1 :]


def repeat_first(logs: list[Log]) -> list[Log]:
    return [logs[0], *logs]


def turn_round(logs: list[Log]) -> list[Log]:
    return logs[::-1]


def other_hash(logs: list[Log]) -> list[Log]:
    return [replace(log, block_hash=bytes(32)) for log in logs]


def far_away(logs: list[Log]) -> list[Log]:
    return [replace(log, block_number=log.block_number + 10_000) for log in logs]


def flipped(logs: list[Log]) -> list[Log]:
    return [replace(logs[0], body=logs[0].body[:200] + b"\xff" + logs[0].body[201:]), *logs[1:]]


@pytest.mark.parametrize(
    "change", [drop_first, drop_middle, repeat_first, turn_round, other_hash, far_away, flipped]
)
@pytest.mark.parametrize("method", ["logs", "logs_of_block"])
def test_wrong_events_are_named_asked_again_and_leave_no_trace(
    change: Callable[[list[Log]], list[Log]], method: str
) -> None:
    chain = Chain()
    for number in range(40):
        chain.add(chain.batch(3, material(number)), chain.batch(3, material((number, 1)), ahead=1))
    net = Net(chain)
    net.gateway.spoil = spoil_times(1, method, change)
    problems = []
    for _ in range(30):
        progress = net.follower.step()
        problems.append(progress.problem)
        if not progress.behind:
            break
    assert set(problems) - {None} <= {"logs_missing", "logs_invalid"}
    assert len(set(problems)) == 2, "the fault was not noticed"
    net.catch_up()
    net.assert_right()


def test_gap_that_stays_is_a_problem_and_never_an_index_with_a_hole() -> None:
    chain = long_chain(60, every=2)
    net = Net(chain)
    net.gateway.spoil = lambda method, answer: answer[1:] if method.startswith("logs") else answer
    for _ in range(10):
        progress = net.follower.step()
    assert progress.problem == "logs_missing" and progress.behind
    net.gateway.spoil = None
    net.catch_up()
    net.assert_right()


@pytest.mark.parametrize("method", ["head", "blocks", "block", "logs", "logs_of_block", "call", "chain_id"])
@pytest.mark.parametrize("error", [ChainUnavailable, ChainAnswerMalformed])
def test_chain_that_does_not_answer_is_the_callers_to_know(
    method: str, error: type[ChainUnavailable]
) -> None:
    net = Net(long_chain(60))
    failing = True

    def fail(asked: str, answer: Any) -> Any:
        if asked == method and failing:
            raise error("gone")
        return answer

    net.gateway.spoil = fail
    with pytest.raises(error):
        net.catch_up()
    failing = False
    net.catch_up()
    net.assert_right()


def test_range_shrinks_when_the_chain_cannot_answer_it() -> None:
    net = Net(long_chain(1200))
    asked: list[int] = []

    def logs(addresses: Any, *, first: int, last: int) -> list[Log]:
        asked.append(last - first + 1)
        if last - first + 1 > 40:
            raise ChainUnavailable("too many blocks at once")
        return ScriptedGateway.logs(net.gateway, addresses, first=first, last=last)

    net.gateway.logs = logs  # type: ignore[method-assign]
    for _ in range(200):
        try:
            if not net.follower.step().behind:
                break
        except ChainUnavailable:
            continue
    net.assert_right()
    assert max(asked) == 64


def test_text_that_is_not_utf8_does_not_stop_the_chain() -> None:
    chain = Chain()
    chain.add(published("agency", "11310000FAKE000212", agency_value(1)), admitted(4))
    block = chain.head
    logs = [to_log(event, block, number) for number, event in enumerate(block.events)]
    broken = replace(logs[0], body=logs[0].body.replace(b"11310000FAKE", b"\xff1310000FAKE"))
    decoded = read_block(_header(block), [broken, logs[1]], DEPLOYMENT)
    assert (decoded.unreadable, decoded.events) == (1, (chain.head.events[1],))


def test_event_that_breaks_its_abi_is_refused() -> None:
    chain = Chain()
    chain.add(admitted(4))
    log = to_log(chain.head.events[0], chain.head, 0)
    for broken in (replace(log, body=log.body[:-40]), replace(log, topics=log.topics[:1])):
        with pytest.raises(ChainAnswerMalformed):
            read_block(_header(chain.head), [broken], DEPLOYMENT)
    with pytest.raises(LogsInvalid):
        read_block(_header(chain.head), [log, log], DEPLOYMENT)


def test_event_of_no_interest_is_left_out() -> None:
    chain = Chain()
    log = replace(to_log(admitted(4), chain.head, 0), topics=(b"\x01" * 32,))
    bare = replace(log, topics=(), log_index=1)
    assert read_block(_header(chain.head), [log, bare], DEPLOYMENT).events == ()


# Stopping anywhere, late keys, lateness


class Killed(BaseException):
    """The process is gone."""


class KilledAfter(MemoryKeyValue):
    """Dies before the n-th write; what was written stays."""

    def __init__(self) -> None:
        super().__init__()
        self.left = -1

    def write(self, ops: Any, *, sync: bool) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1
        super().write(ops, sync=sync)


@pytest.mark.parametrize("left", range(0, 42, 2))
def test_killed_anywhere_the_index_goes_on_where_it_was(left: int) -> None:
    chain, kv = long_chain(60, every=2), KilledAfter()
    net = Net(chain, kv=kv, depth=5)
    kv.left = left
    with pytest.raises(Killed):
        net.catch_up()
    kv.left = -1
    net.index = ChainIndex(kv)
    net.follower = net.new_follower()
    net.catch_up()
    net.assert_right()


@pytest.mark.parametrize("depth", [0, 10])
def test_keys_that_come_later_open_what_was_opaque(depth: int) -> None:
    chain = Chain()
    for number in range(40):
        chain.append(3, material(number, keys=HEALTH))
    net = Net(chain, depth=depth)
    net.catch_up()
    assert net.index.opaque() == {(2, 1): 40}
    net.ring.add(HEALTH)
    net.catch_up()
    assert net.index.opaque() == {}
    assert len(net.index.claims_by_content(content(HEALTH))) == 40
    net.assert_right()


def test_index_far_behind_its_head_is_named() -> None:
    net = Net(long_chain(2000))
    assert net.follower.step().problem == "index_behind"
    assert net.catch_up().problem is None


def test_final_point_never_runs_ahead_of_what_is_indexed() -> None:
    net = Net(long_chain(500))
    progress = net.follower.step()
    assert progress.final is not None and progress.final.number == progress.indexed_to < 499


def test_chain_without_a_final_block_has_none_in_the_index() -> None:
    net = Net(long_chain(30), depth=100)
    assert net.catch_up().final is None
    assert net.index.claim(commitment(7)) is not None
