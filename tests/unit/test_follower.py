"""The follower: whatever the chain's answers do, the index is right, or it says that it is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from anchor.chain.finality import FinalPoint
from anchor.chain.gateway import Block, BlockReceipt, Log
from anchor.entries import StatusFlag
from anchor.errors import ChainAnswerMalformed, ChainMismatch, ChainRegressed, ChainUnavailable
from anchor.headers import Engine
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
    engine = Engine.EMBEDDED

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


def test_history_is_read_in_growing_ranges_and_a_range_is_few_writes() -> None:
    kv = KilledAfter()
    net = Net(long_chain(1000), kv=kv)
    progress = net.catch_up()
    assert (progress.indexed_to, progress.head_number, progress.behind) == (999, 999, 0)
    assert progress.final == FinalPoint(999, net.chain.head.hash, net.chain.head.time, "lagging")
    assert net.gateway.calls.count("head") < 10
    assert -kv.left < 60
    net.assert_right()


def test_ranges_stay_bounded() -> None:
    net = Net(long_chain(3 * MOST_BLOCKS, every=100))
    asked = count_blocks(net)
    net.catch_up()
    assert max(asked) == MOST_BLOCKS
    assert min(asked) <= 16


def test_blocks_without_events_cost_no_receipts() -> None:
    net = Net(Chain())
    net.chain.append(3, material("m"))
    for _ in range(200):
        net.chain.add()
    asked: list[int] = []

    def ask_receipts(blocks: Any) -> Any:
        asked.append(len(blocks))
        return ScriptedGateway.ask_receipts(net.gateway, blocks)

    net.gateway.ask_receipts = ask_receipts  # type: ignore[method-assign]
    net.catch_up()
    assert sum(asked) == 1
    net.assert_right()


def count_blocks(net: Net) -> list[int]:
    """Return a list that grows by the number of blocks that each call of `blocks` asks for."""
    asked: list[int] = []

    def blocks(numbers: Any) -> list[Block | None]:
        asked.append(len(numbers))
        return ScriptedGateway.blocks(net.gateway, numbers)

    net.gateway.blocks = blocks  # type: ignore[method-assign]
    return asked


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
    for number in range(6):
        chain.append(3, material(("early", number)))
    done = False

    def fork_once(method: str, answer: Any) -> Any:
        nonlocal done
        if method == "blocks" and len(answer) > 2 and not done:
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


Told = list[list[BlockReceipt]]  # The receipts of some blocks.


def change_first(change: Callable[[BlockReceipt], list[BlockReceipt]]) -> Callable[[Told], Told]:
    """Change the first receipt of the last block that was asked about."""
    return lambda told: [*told[:-1], [*change(told[-1][0]), *told[-1][1:]]]


def relog(receipt: BlockReceipt, *logs: Log) -> list[BlockReceipt]:
    return [replace(receipt, logs=logs)]


def altered(receipt: BlockReceipt) -> list[BlockReceipt]:
    log = receipt.logs[0]
    return relog(receipt, replace(log, body=log.body[:-1] + bytes([log.body[-1] ^ 1])))


LIES: dict[str, Callable[[Told], Told]] = {
    "an event left out": change_first(lambda one: relog(one)),
    "a transaction left out": change_first(lambda _one: []),
    "all of a block left out": lambda told: [*told[:-1], []],
    "an event added": change_first(lambda one: relog(one, *one.logs, *one.logs)),
    "a transaction added": change_first(lambda one: [one, one]),
    "an event altered": change_first(altered),
    "a topic altered": change_first(
        lambda one: relog(one, replace(one.logs[0], topics=(*one.logs[0].topics[:-1], bytes(32))))
    ),
    "another contract named": change_first(lambda one: relog(one, replace(one.logs[0], address=bytes(20)))),
    "another order": lambda told: [*told[:-1], told[-1][::-1]],
    "the events of another block": lambda told: [*told[:-1], told[0]],
    "a transaction that failed": change_first(lambda one: [replace(one, status=0)]),
    "another transaction named": change_first(lambda one: [replace(one, transaction_hash=bytes(32))]),
}


@pytest.mark.parametrize("place", ["in history", "at the head"])
@pytest.mark.parametrize("lie", LIES)
def test_any_event_left_out_added_or_changed_is_named_and_leaves_no_trace(lie: str, place: str) -> None:
    chain = Chain()
    for number in range(5):
        chain.add(chain.batch(3, material(number)), chain.batch(3, material((number, 1)), ahead=1))
    chain.add(admitted(4), status(3, 1, StatusFlag.REVOKED))  # A revocation alone: no ledger counts it.
    for _ in range(40 if place == "in history" else 0):
        chain.add()
    net = Net(chain)
    net.gateway.spoil = spoil_times(1, "receipts", LIES[lie])
    progress = net.follower.step()
    assert progress.problem in {"logs_missing", "logs_invalid"}, "the fault was not noticed"
    assert progress.indexed_to < 6
    net.catch_up()
    net.assert_right()
    assert net.index.status(3, commitment(1)).flags == StatusFlag.REVOKED


def test_revocation_that_stays_left_out_is_a_problem_and_never_an_index_with_a_hole() -> None:
    chain = long_chain(60, every=2)
    revoked = chain.add(status(3, 2, StatusFlag.REVOKED))
    for _ in range(30):
        chain.add()
    net = Net(chain)

    def hide(method: str, answer: Any) -> Any:
        if method != "receipts":
            return answer
        return [[] if told and told[0].logs[0].block_hash == revoked.hash else told for told in answer]

    net.gateway.spoil = hide
    for _ in range(10):
        progress = net.follower.step()
    assert progress.problem == "logs_missing"
    assert progress.indexed_to < revoked.number
    net.gateway.spoil = None
    net.catch_up()
    net.assert_right()


@pytest.mark.parametrize("name", ["receiptsRoot", "logsBloom", "timestamp", "stateRoot"])
def test_header_that_is_not_its_blocks_is_refused(name: str) -> None:
    net = Net(long_chain(60))

    def forge(method: str, answer: Any) -> Any:
        if method != "blocks" or len(answer) < 3:
            return answer
        header = dict(answer[1].header)
        header[name] = header[name][:-1] + ("1" if header[name][-1] != "1" else "2")
        return [answer[0], replace(answer[1], header=header), *answer[2:]]

    net.gateway.spoil = forge
    with pytest.raises(ChainAnswerMalformed):
        net.follower.step()
    net.gateway.spoil = None
    net.catch_up()
    net.assert_right()


def test_final_blocks_that_are_not_one_chain_are_named() -> None:
    net, other = Net(long_chain(60)), long_chain(60, every=3)
    net.gateway.spoil = lambda method, answer: (
        [*answer[:5], *ScriptedGateway(other).blocks(range(5, len(answer)))]
        if method == "blocks" and len(answer) > 5
        else answer
    )
    assert net.follower.step().problem == "logs_invalid"
    net.gateway.spoil = None
    net.catch_up()
    net.assert_right()


def test_final_block_of_another_chain_than_was_read_is_named() -> None:
    net = Net(long_chain(40), depth=3)
    net.catch_up()
    net.chain.add()
    forged = FinalPoint(37, b"f" * 32, net.chain.head.time, "lagging")
    net.follower._finality = SimpleNamespace(final_point=lambda _gateway, _head: forged)
    assert net.follower.step().problem == "logs_invalid"
    assert net.index.final_point() == FinalPoint(
        36, net.chain.blocks[36].hash, net.chain.blocks[36].time, "lagging"
    )


@pytest.mark.parametrize("method", ["head", "blocks", "block", "receipts", "chain_id"])
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

    def blocks(numbers: Any) -> list[Block | None]:
        asked.append(len(numbers))
        if len(numbers) > 40:
            raise ChainUnavailable("too many blocks at once")
        return ScriptedGateway.blocks(net.gateway, numbers)

    net.gateway.blocks = blocks  # type: ignore[method-assign]
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


@pytest.mark.parametrize("left", range(15))
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
