"""What a node takes for the time when its machine's clock is set while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from node.clocks import JUMP_S, Clock
from node.context import ChainState
from node.http.idempotency import LIFE_SECONDS, IdempotencyGate, Replay, Slot
from node.services.sweeps import sweep_once
from node.store import rows
from node.workers import _clock_problem
from tests.unit.keyvalue_suite import MemoryKeyValue

START, DAY = 1_760_000_000, 86400


@dataclass
class Hands:
    """The clock's hands: what the machine says, what has passed, and the time of the last final block."""

    wall: float = START
    passed: float = 50.0
    block: int = START - 2

    def clock(self) -> Clock:
        return Clock(block_time=lambda: self.block, wall=lambda: self.wall, steady=lambda: self.passed)

    def go(self, seconds: float, *, chain: bool = True) -> None:
        self.wall += seconds
        self.passed += seconds
        self.block += int(seconds) if chain else 0


@pytest.mark.parametrize("step", [-DAY, -1800, -JUMP_S - 1])
def test_a_clock_that_is_set_back_makes_nothing_younger(step: float) -> None:
    hands = Hands()
    clock = hands.clock()
    hands.go(100, chain=False)
    hands.wall += step
    assert clock.jumped()
    assert clock.judging() - hands.block == 102


@pytest.mark.parametrize("step", [DAY, 1800, JUMP_S + 1])
def test_a_clock_that_is_set_forward_makes_things_older(step: float) -> None:
    hands = Hands()
    clock = hands.clock()
    hands.wall += step
    assert clock.jumped()
    assert clock.judging() == START + step


def test_a_clock_that_is_kept_right_by_small_steps_has_not_jumped() -> None:
    hands = Hands()
    clock = hands.clock()
    hands.wall += JUMP_S - 1
    assert not clock.jumped()
    hands.wall -= 2 * JUMP_S - 3
    assert not clock.jumped()


@pytest.mark.parametrize("step", [-DAY, DAY])
def test_what_expires_and_what_is_deleted_go_by_clock_and_chain(step: float) -> None:
    hands = Hands()
    clock = hands.clock()
    hands.wall += step
    assert clock.latest() == max(START + step, START)
    assert clock.earliest() == min(START + step, START - 2)


def node_with(hands: Hands, **more: Any) -> Any:
    clock = hands.clock()
    chain = ChainState(head_time=hands.block)
    config = SimpleNamespace(head_age_limit_s=180)
    return SimpleNamespace(time=clock, clock=clock.now, chain=chain, config=config, **more)


@pytest.mark.parametrize("step", [-DAY, -1200, 1200, DAY])
def test_a_jump_is_a_fault_until_the_newest_block_bears_the_clock_out(step: float) -> None:
    hands = Hands()
    node = node_with(hands)
    hands.wall += step
    assert _clock_problem(node) == "clock_jumped"
    hands.wall -= step
    assert _clock_problem(node) is None
    # A clock that was wrong from the start and is put right: the chain agrees with it at once.
    hands.wall += step
    node.chain.head_time = int(hands.wall)
    assert _clock_problem(node) is None
    assert not node.time.jumped()


def test_a_stored_answer_outlives_a_clock_that_is_set_forward() -> None:
    hands, kv = Hands(), MemoryKeyValue()
    clock = hands.clock()
    gate = IdempotencyGate(kv, secret=b"s", clock=clock.now, horizon=clock.earliest)
    first = gate.begin("a", "r", key="k", request_digest=b"d")
    assert isinstance(first, Slot)
    with first as slot:
        kv.write(slot.finish_ops(201, {}, b"{}"), sync=True)
    hands.wall += 5 * DAY
    assert gate.sweep() == 0
    assert isinstance(gate.begin("a", "r", key="k", request_digest=b"d"), Replay)
    hands.go(LIFE_SECONDS + 10)
    assert gate.sweep() == 1


def test_a_nonce_is_kept_until_its_request_is_old_by_clock_and_chain() -> None:
    hands, kv = Hands(), MemoryKeyValue()
    kv.write([rows.NONCE.put(rows.NonceRow(2, b"n" * 32, START + 300))], sync=True)
    idempotency = SimpleNamespace(sweep=lambda limit: 0)
    store = SimpleNamespace(write=kv.write, get=kv.get, scan=kv.scan, keys=lambda prefix: iter(()))
    node = node_with(hands, store=store, idempotency=idempotency)
    hands.wall += DAY
    sweep_once(node)
    assert rows.NONCE.get(kv, 2, b"n" * 32) is not None
    hands.go(400)
    sweep_once(node)
    assert rows.NONCE.get(kv, 2, b"n" * 32) is None
