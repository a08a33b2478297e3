"""A rebuild may skip a look-up only where nothing was written."""

from __future__ import annotations

import hashlib
import os

from tests.unit.chain_factory import (
    CITY,
    HEALTH,
    Chain,
    admitted,
    content,
    index_of,
    make_final,
    material,
    ring,
)
from tests.unit.keyvalue_suite import MemoryKeyValue
from verifier.index import ChainIndex
from verifier.writtenkeys import WrittenKeys


class Counting(MemoryKeyValue):
    """Counts what is looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.looked_up: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        self.looked_up.append(key)
        return super().get(key)


def test_what_was_written_is_never_denied_and_most_else_is() -> None:
    keys = WrittenKeys()
    held, others = [os.urandom(20) for _ in range(2000)], [os.urandom(20) for _ in range(2000)]
    keys.add(held)
    assert all(map(keys.perhaps, held))
    assert sum(map(keys.perhaps, others)) < 5


def chain_with_repeats() -> Chain:
    chain = Chain()
    chain.add(admitted(3))
    for number in range(30):
        chain.append(3, material(number % 7, line=number // 7), material(("other", number)))
        chain.append(4, material(number % 5))  # A copy of another's commitment.
    return chain


def test_an_index_built_in_ranges_is_the_one_built_block_by_block() -> None:
    chain = chain_with_repeats()
    expected = MemoryKeyValue()
    index_of(chain, kv=expected, final=False)
    for size in (1, 7, 1000):
        kv = MemoryKeyValue()
        index = ChainIndex(kv)
        index.use_keys(ring(CITY))
        for start in range(0, len(chain.blocks), size):
            index.apply_final(chain.blocks[start : start + size])
        plain = {key: value for key, value in expected.scan(b"") if not key.startswith(b"\xc1U")}
        assert dict(kv.scan(b"")) == plain


def test_a_rebuild_looks_up_what_came_before_and_little_else() -> None:
    kv = Counting()
    index = ChainIndex(kv)
    index.use_keys(ring(CITY))
    chain = Chain()
    for number in range(50):
        files = [hashlib.sha256(b"%d %d" % (number, one)).digest() for one in range(20)]
        chain.append(3, *[material(file, subject=None, sha256=file) for file in files])
    for start in range(0, len(chain.blocks), 10):
        index.apply_final(chain.blocks[start : start + 10])
    # Cursor, frontier and counters of each write, and what a bit says in vain.
    assert len(kv.looked_up) < 40
    assert len(index.claims_by_content(content(sha256=files[0]))) == 1


def test_an_index_that_was_not_empty_looks_everything_up() -> None:
    chain, kv = chain_with_repeats(), Counting()
    index = ChainIndex(kv)
    index.use_keys(ring(CITY))
    index.apply_final(chain.blocks[:20])
    again = ChainIndex(kv)
    again.use_keys(ring(CITY))
    again.apply_final(chain.blocks[20:])
    assert again.counts() == index_of(chain).counts()


def test_rows_that_late_keys_brought_are_looked_up_too() -> None:
    chain = Chain()
    for number in range(4):
        chain.append(3, material(number, keys=HEALTH))
    index = ChainIndex(MemoryKeyValue())
    index.use_keys(ring())
    index.apply_final(chain.blocks[:3])
    make_final(index, chain, 2)
    assert index.learn(ring(HEALTH)) == 2
    index.apply_final(chain.blocks[3:])
    assert len(index.claims_by_content(content(HEALTH))) == 4
