"""The outbox on the real chain: killed, restored, contested; every record there once."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from anchor.chain.contracts import encode_call, gas_for, parse_batch_appended
from anchor.chain.deploy import wait_mined
from anchor.chain.finality import finality_for
from anchor.chain.gateway import Gateway
from anchor.outbox import AppendOperation, CallOperation, Outbox, OutboxProgress
from anchor.records import Stream
from anchor.signer import Signer
from node.chainserver import start_chain_process
from tests.integration.running_chain import RunningChain, random_record, running_chain
from tests.unit.keyvalue_suite import MemoryKeyValue


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[RunningChain]:
    with running_chain(tmp_path / "chain") as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningChain]:
    """One chain for the tests that leave it running; each uses members of its own."""
    with running_chain(tmp_path_factory.mktemp("outbox") / "chain") as running:
        yield running


class Sender:
    """A member's outbox, as one process after another would open it."""

    def __init__(self, chain: RunningChain, member_id: int, signer: Signer, **settings: Any) -> None:
        self.chain, self.member_id, self.signer = chain, member_id, signer
        self.kv, self.promised, self.count = MemoryKeyValue(), {}, 0
        self._settings = {"gather_s": 0.0, **settings}
        self.gateway = Gateway(chain.server.rpc)
        self.promised: dict[str, bytes]
        self.restart()

    def restart(self) -> None:
        """Open a new outbox on the rows there are."""
        self.outbox = Outbox(
            self.kv,
            gateway=self.gateway,
            signer=self.signer,
            deployment=self.chain.deployment,
            member_id=self.member_id,
            finality=finality_for("embedded"),
            **self._settings,
        )

    def put(self, count: int) -> None:
        """Promise records."""
        new = {f"m{self.member_id}-{self.count + at}": random_record() for at in range(count)}
        self.count += count
        operations = [(name, AppendOperation(Stream.MATERIAL, record)) for name, record in new.items()]
        self.kv.write(self.outbox.enqueue(operations), sync=True)
        self.promised |= new

    def settle(self, also: Callable[[], Any] = lambda: None) -> OutboxProgress:
        """Step until all is final."""
        deadline = time.monotonic() + 90
        while True:
            progress = self.outbox.step()
            also()
            if not (progress.queued or progress.in_flight or progress.included):
                return progress
            assert time.monotonic() < deadline, progress
            self.outbox.wait(0.02)

    def states(self) -> set[str]:
        """Return the states that the promised records are in."""
        return {
            str(status.state) if (status := self.outbox.status_of(name)) else "?" for name in self.promised
        }


def appended(chain: RunningChain, *members: int) -> list[bytes]:
    head = chain.gateway.head().number
    found: list[bytes] = []
    for log in chain.gateway.logs([chain.deployment.ledger], first=0, last=head):
        if len(log.topics) == 4:
            entry, records = parse_batch_appended(log)
            if entry.member_id not in members:
                continue
            found += [bytes(records[at : at + 96]) for at in range(0, len(records), 96)]
    return found


def expect_once(chain: RunningChain, *senders: Sender) -> None:
    promised = [record for sender in senders for record in sender.promised.values()]
    assert sorted(appended(chain, *{sender.member_id for sender in senders})) == sorted(promised)
    assert all(sender.states() == {"final"} for sender in senders if sender.promised)


def test_records_and_calls_become_final(shared: RunningChain) -> None:
    sender = Sender(shared, 1, shared.admit(1))
    sender.put(1200)
    calldata = encode_call("Ledger", "revoke", 1, bytes(32), 4)
    call = CallOperation("Ledger", calldata, gas_for("Ledger", "revoke", calldata))
    sender.kv.write(sender.outbox.enqueue([("revoke", call), ("again", call)]), sync=True)
    assert sender.settle().problem is None
    expect_once(shared, sender)
    for name in ("revoke", "again"):
        status = sender.outbox.status_of(name)
        assert status is not None and status.state == "final" and status.block_number


def test_reverts_on_the_real_contracts_are_read(shared: RunningChain) -> None:
    first, second = Sender(shared, 2, shared.admit(2)), Sender(shared, 3, shared.admit(3))
    for sender, use in ((first, b"\x01" * 32), (second, b"\x02" * 32)):
        calldata = encode_call("Ledger", "consume", b"\x0a" * 32, use)
        sender.kv.write(
            sender.outbox.enqueue([("use", CallOperation("Ledger", calldata, 200_000))]), sync=True
        )
        sender.settle()
    foreign = encode_call("Ledger", "revoke", 1, bytes(32), 4)
    rows = second.outbox.enqueue(
        [
            ("foreign", CallOperation("Ledger", foreign, 200_000)),
            ("dry", CallOperation("Ledger", foreign, 30_000)),
        ]
    )
    second.kv.write(rows, sync=True)
    second.settle()
    found = {name: second.outbox.status_of(name) for name in ("use", "foreign", "dry")}
    assert {name: status.failure for name, status in found.items() if status} == {
        "use": "consumed",
        "foreign": "LedgerNotOwner",
        "dry": "LedgerNotOwner",
    }
    assert first.outbox.status_of("use").state == "final"  # type: ignore[union-attr]


def test_killed_chain_and_killed_outbox_lose_and_repeat_nothing(chain: RunningChain) -> None:
    rng = random.Random(3)
    sender = Sender(chain, 1, chain.admit(1), batch_records=16, window=8)
    for _ in range(4):
        sender.put(rng.randrange(40, 160))
        for _ in range(rng.randrange(1, 6)):
            sender.outbox.step()
            time.sleep(rng.uniform(0, 0.03))
        chain.server.process.kill()
        chain.server.process.wait()
        assert sender.outbox.step().problem == "chain_unavailable"
        if rng.random() < 0.5:
            sender.restart()
        chain.restart()
    sender.settle()
    expect_once(chain, sender)


def test_chain_restored_from_an_older_copy_is_filled_again(chain: RunningChain, tmp_path: Path) -> None:
    sender = Sender(chain, 1, chain.admit(1), batch_records=8)
    sender.put(40)
    sender.settle()
    chain.server.stop()
    shutil.copytree(chain.folder, tmp_path / "copy")
    chain.restart()
    for _ in range(3):
        sender.put(20)
        sender.settle()
    chain.server.stop()
    shutil.rmtree(chain.folder)
    shutil.copytree(tmp_path / "copy", chain.folder)
    chain.restart()
    problems: list[str | None] = [sender.outbox.step().problem]
    sender.settle()
    assert problems == ["chain_regressed"]
    assert sender.outbox.step().problem is None
    expect_once(chain, sender)


def test_another_chain_on_the_same_port_gets_nothing(chain: RunningChain, tmp_path: Path) -> None:
    sender = Sender(chain, 1, chain.admit(1))
    port = int(chain.server.rpc.rsplit(":", 1)[1])
    chain.server.stop()
    chain.server = start_chain_process(tmp_path / "other", port=port, create=True)
    sender.put(5)
    assert sender.outbox.step().problem == "chain_mismatch"
    assert chain.gateway.nonce(sender.signer.address, pending=True) == 0


def test_two_nodes_with_one_key_do_each_operation_once(shared: RunningChain) -> None:
    signer = shared.admit(4)
    first = Sender(shared, 4, signer, batch_records=8, window=4)
    second = Sender(shared, 4, signer, batch_records=8, window=4)
    second.count = 10_000
    for sender in (first, second):
        sender.put(100)
    first.settle(also=lambda: second.outbox.step())
    second.settle()
    first.settle()
    expect_once(shared, first, second)


def test_store_restored_from_a_copy_appends_nothing_twice(shared: RunningChain) -> None:
    sender = Sender(shared, 5, shared.admit(5), batch_records=8)
    sender.put(60)
    copy = dict(sender.kv._rows)
    sender.settle()
    sender.kv = MemoryKeyValue()
    sender.kv._rows = copy
    sender.restart()
    sender.put(10)
    sender.settle()
    expect_once(shared, sender)


def test_record_copied_by_another_member_is_still_appended_by_ours(shared: RunningChain) -> None:
    signer, copier = shared.admit(8), Sender(shared, 9, shared.admit(9))
    before = Sender(shared, 8, signer)
    before.put(4)
    before.settle()
    fresh = Sender(shared, 8, signer)  # A new store: it has to search the chain for what it may have sent.
    fresh.count = 100
    fresh.put(1)
    (record,) = fresh.promised.values()
    copied = [("copy", AppendOperation(Stream.MATERIAL, record))]
    copier.kv.write(copier.outbox.enqueue(copied), sync=True)
    copier.settle()
    fresh.settle()
    expect_once(shared, before, fresh)


def test_member_that_is_suspended_meanwhile_loses_nothing(shared: RunningChain) -> None:
    sender = Sender(shared, 6, shared.admit(6), batch_records=8)
    sender.put(30)
    shared.acts.suspend(6)
    for _ in range(3):
        progress = sender.outbox.step()
    assert progress.problem == "member_inactive" and progress.queued == 30
    shared.acts.reinstate(6)
    sender.settle()
    expect_once(shared, sender)


def test_foreign_transaction_between_ours_is_stepped_over(shared: RunningChain) -> None:
    signer = shared.admit(7)
    sender = Sender(shared, 7, signer, batch_records=4)
    sender.put(8)
    sender.settle()
    foreign = random_record()
    calldata = encode_call("Ledger", "append", 1, 2, foreign)
    signed = signer.sign_transaction(
        chain_id=310000, nonce=2, to=shared.deployment.ledger, calldata=calldata, gas=300_000
    )
    shared.gateway.send_raw(signed.raw)
    assert wait_mined(shared.gateway, signed).succeeded
    sender.put(8)
    sender.settle()
    sender.promised["foreign"] = foreign
    assert sorted(appended(shared, 7)) == sorted(sender.promised.values())
