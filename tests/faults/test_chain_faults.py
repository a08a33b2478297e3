"""Anchoring ends complete and single whatever the chain does: every record once, statuses right, without a hand.

An outbox over LevelDB sends records and revocations to a real engine that takes blocks back, forgets what waits,
stands still, lies about receipts or lets somebody else use the member's key. Then all faults end, nobody helps, and
the chain itself is read: each record once, none but these, the right ones revoked.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from anchor import outbox
from anchor.chain.contracts import encode_call
from tests.faults.chain_load import LoadedOutbox, appended, expect_once, mix
from tests.faults.chain_proxy import ChainProxy
from tests.faults.wild_chain import WildChain, wild_chain
from tests.integration.running_chain import random_record

DEPTHS = range(1, 21)
#: Blocks on top that are not final: none, as on an operator's chain, or more than any reorganisation here takes.
OPERATOR, NETWORK = 0, 25

Record = Callable[[str, object], None]


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> Iterator[WildChain]:
    """A chain for one test: the engine loses states when blocks are taken back high above its start."""
    monkeypatch.setattr(outbox, "GAP_S", 1.0)
    with wild_chain() as made:
        yield made


@dataclass
class Stand:
    """One outbox behind a proxy to the chain."""

    chain: WildChain
    proxy: ChainProxy
    node: LoadedOutbox
    chance: random.Random


_members = iter(range(1, 10_000))


@contextmanager
def a_stand(chain: WildChain, folder: Path, *, depth: int, seed: int) -> Iterator[Stand]:
    member_id, proxy = next(_members), ChainProxy(chain.rpc)
    signer = chain.admit(member_id)
    node = LoadedOutbox(chain, folder / "a", rpc=proxy.url, member_id=member_id, signer=signer, depth=depth)
    try:
        yield Stand(chain, proxy, node, random.Random(seed))
    finally:
        proxy.heal()
        chain.frozen = False
        node.close()
        proxy.close()


# Blocks taken back


@pytest.mark.parametrize("finality", [OPERATOR, NETWORK], ids=["operator", "network"])
def test_reorganisations_under_load_lose_and_double_nothing(
    chain: WildChain, tmp_path: Path, finality: int, record_property: Record
) -> None:
    reorganise_under_load(chain, tmp_path, finality, [1, 2, 5, 20], record_property)


@pytest.mark.full
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("finality", [OPERATOR, NETWORK], ids=["operator", "network"])
def test_reorganisations_of_every_depth_under_load_lose_and_double_nothing(
    chain: WildChain, tmp_path: Path, finality: int, record_property: Record
) -> None:
    reorganise_under_load(chain, tmp_path, finality, [*DEPTHS] * 4, record_property)


def reorganise_under_load(
    chain: WildChain, folder: Path, finality: int, depths: list[int], record_property: Record
) -> None:
    with a_stand(chain, folder, depth=finality, seed=finality) as stand:
        for depth in stand.chance.sample(depths, len(depths)):
            mix(stand.chance, stand.node)
            chain.wait_blocks(stand.chance.randrange(depth, depth + 5))
            if finality == OPERATOR and depth >= 5:
                wait_seen(stand)
            keep, lower = stand.chance.choice([0.0, 0.5, 1.0]), stand.chance.random() < 0.5
            chain.reorganise(depth, keep=keep, lower=lower, chance=stand.chance)
            chain.frozen = False
        stand.node.settle()
        expect_once(chain, stand.node)
        record_property("counts", {"reorganisations": len(depths), "records": len(stand.node.records)})
        assert ("chain_regressed" in stand.node.problems) == (finality == OPERATOR)


def wait_seen(stand: Stand) -> None:
    """Stop the chain and wait until the outbox has seen its last block as a final one."""
    stand.chain.frozen = True
    until(lambda: stand.node.final_height() == stand.chain.height())


# Lies, and answers that get lost

LIES = [
    "shuffled",
    "swallow",
    "lost_answers",
    "late",
    "drop",
    "cut",
    "garbage",
    "other_id",
    "receipt_hidden",
    "receipt_failed",
    "receipt_succeeded",
    "receipt_elsewhere",
    "receipt_of_another",
]


@pytest.mark.parametrize("lie", LIES)
def test_chain_that_lies_or_loses_answers_makes_nothing_lost_or_double(
    chain: WildChain, tmp_path: Path, lie: str
) -> None:
    with a_stand(chain, tmp_path, depth=2, seed=1) as stand:
        stand.node.put(20)
        stand.node.settle()
        # What another transaction displaces makes those behind it fail, so that there is a failure to lie about.
        chain.frozen = True
        mix(stand.chance, stand.node)
        until(lambda: stand.node.outbox.progress().in_flight > 2)
        stand.proxy.become(lie)
        replace_lowest(stand)
        chain.frozen = False
        mix(stand.chance, stand.node)
        until(lambda: stand.proxy.met > 0)
        chain.wait_blocks(12)
        stand.proxy.heal()
        stand.node.settle()
        expect_once(chain, stand.node)


# Somebody else with the member's key


def test_foreign_transactions_at_our_nonces_displace_nothing_for_good(
    chain: WildChain, tmp_path: Path
) -> None:
    with a_stand(chain, tmp_path, depth=2, seed=2) as stand:
        for _ in range(4):
            chain.frozen = True
            mix(stand.chance, stand.node)
            until(lambda: stand.node.outbox.progress().in_flight > 0)
            replace_lowest(stand)
            chain.frozen = False
        stand.node.settle()
        expect_once(chain, stand.node)


def test_foreign_batch_with_our_sequence_is_found_and_ours_moves_on(chain: WildChain, tmp_path: Path) -> None:
    with a_stand(chain, tmp_path, depth=2, seed=3) as stand:
        stand.node.put(30)
        stand.node.settle()
        chain.frozen = True
        stand.node.put(30)
        until(lambda: stand.node.outbox.progress().in_flight > 0)
        foreign = random_record()
        seq = encode_call("Ledger", "nextSeq", stand.node.member_id)
        sequence = int.from_bytes(chain.gateway.call(chain.deployment.ledger, seq))
        calldata = encode_call("Ledger", "append", 1, sequence, foreign)
        chain.put_instead(stand.node.signer, lambda nonce: stand.node.foreign(nonce, calldata=calldata))
        chain.frozen = False
        stand.node.settle()
        found = Counter(appended(chain, stand.node.member_id))
        assert found == Counter([*stand.node.records.values(), foreign])


def test_gap_below_our_nonces_is_filled(chain: WildChain, tmp_path: Path) -> None:
    with a_stand(chain, tmp_path, depth=2, seed=4) as stand:
        chain.frozen = True
        nonce = chain.gateway.nonce(stand.node.signer.address)
        # The pool shows nonces that somebody else took; ours begin above them. Then the pool forgets them.
        for above in range(3):
            raw = stand.node.foreign(nonce + above)
            chain.ask("eth_sendRawTransaction", "0x" + raw.hex())
        stand.node.put(12)
        until(lambda: stand.node.outbox.progress().in_flight > 0)
        chain.forget_pool()
        chain.frozen = False
        stand.node.settle()
        expect_once(chain, stand.node)


@pytest.mark.parametrize("finality", [OPERATOR, NETWORK], ids=["operator", "network"])
def test_two_nodes_with_one_key_do_each_operation_once_while_blocks_are_taken_back(
    chain: WildChain, tmp_path: Path, finality: int
) -> None:
    with a_stand(chain, tmp_path, depth=finality, seed=5) as stand:
        first, signer = stand.node, stand.node.signer
        second = LoadedOutbox(
            chain,
            tmp_path / "b",
            rpc=chain.rpc,
            member_id=first.member_id,
            signer=signer,
            depth=finality,
        )
        try:
            for depth in (1, 4):
                mix(stand.chance, first)
                mix(stand.chance, second)
                chain.wait_blocks(3)
                chain.reorganise(depth, keep=0.5, lower=False, chance=stand.chance)
            first.settle()
            second.settle()
            first.settle()
            expect_once(chain, first, second)
        finally:
            second.close()


def replace_lowest(stand: Stand) -> None:
    """Let somebody else's transaction take the lowest nonce that waits."""
    stand.chain.put_instead(stand.node.signer, stand.node.foreign)


def until(probe: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not probe():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Everything at random


def _reorganise(stand: Stand) -> None:
    depth, chance = stand.chance.randrange(1, 21), stand.chance
    stand.chain.reorganise(depth, keep=chance.random(), lower=chance.random() < 0.5, chance=chance)


def _freeze(stand: Stand) -> None:
    stand.chain.frozen = True
    time.sleep(0.2)
    stand.chain.frozen = False


def _bend(stand: Stand) -> None:
    stand.proxy.become(stand.chance.choice(LIES))
    time.sleep(0.3)
    stand.proxy.heal()


FAULTS: dict[str, Callable[[Stand], None]] = {
    "reorganisation": _reorganise,
    "older copy": lambda stand: stand.chain.reorganise(40, keep=0.0, lower=True, chance=stand.chance),
    "pool forgotten": lambda stand: stand.chain.forget_pool(),
    "frozen": _freeze,
    "bent answers": _bend,
    "foreign transaction": replace_lowest,
    "outbox killed": lambda stand: stand.node.restart(),
}


@pytest.mark.parametrize("finality", [OPERATOR, NETWORK], ids=["operator", "network"])
def test_a_story_of_all_faults_ends_complete_and_single(
    chain: WildChain, tmp_path: Path, finality: int, record_property: Record
) -> None:
    tell_story(chain, tmp_path, finality, record_property, faults=14)


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("finality", [OPERATOR, NETWORK], ids=["operator", "network"])
@pytest.mark.parametrize("seed", range(5))
def test_long_stories_of_all_faults_end_complete_and_single(
    chain: WildChain, tmp_path: Path, finality: int, seed: int, record_property: Record
) -> None:
    tell_story(chain, tmp_path, finality, record_property, faults=60, seed=seed)


def tell_story(
    chain: WildChain,
    folder: Path,
    finality: int,
    record_property: Record,
    *,
    faults: int,
    seed: int = 100,
) -> None:
    told: Counter[str] = Counter()
    with a_stand(chain, folder, depth=finality, seed=seed) as stand:
        for at in range(faults):
            mix(stand.chance, stand.node)
            chain.wait_blocks(stand.chance.randrange(1, 4))
            name = [*FAULTS][at % len(FAULTS)] if at < len(FAULTS) else stand.chance.choice([*FAULTS])
            FAULTS[name](stand)
            told[name] += 1
        stand.node.settle()
        expect_once(chain, stand.node)
        record_property("counts", {**told, "records": len(stand.node.records)})
