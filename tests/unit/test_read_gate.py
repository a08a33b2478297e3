"""The gate of the embedded chain: reads together, mining alone and first."""

from __future__ import annotations

import threading

from anchor.chain.embedded import ReadGate


def test_nobody_reads_while_a_block_is_made() -> None:
    gate, inside, mined = ReadGate(), threading.Event(), threading.Event()
    seen: list[bool] = []

    def read() -> None:
        inside.wait(10)
        with gate.reading():
            seen.append(mined.is_set())

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    with gate.mining():
        inside.set()
        for reader in readers:
            reader.join(0.05)  # they must be waiting, not through
        mined.set()
    for reader in readers:
        reader.join(10)
    assert seen == [True] * 4


def test_mining_waits_for_the_readers_inside_and_readers_read_together() -> None:
    gate, both = ReadGate(), threading.Barrier(2)
    order: list[str] = []

    def read() -> None:
        with gate.reading():
            both.wait(10)  # passes only when two are inside at once
            order.append("read")

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(10)
    with gate.mining():
        order.append("mined")
    assert order == ["read", "read", "mined"]


def test_a_failed_block_opens_the_gate_again() -> None:
    gate = ReadGate()
    try:
        with gate.mining():
            raise RuntimeError
    except RuntimeError:
        pass
    with gate.reading():
        pass
