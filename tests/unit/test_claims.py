"""Claims read one by one, many at once, and across a roll-back: always what the rows say now."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anchor.entries import StatusFlag
from anchor.records import Flag
from tests.unit.chain_factory import CITY, CITY_2, HEALTH, Chain, commitment, index_of, material, status
from tests.unit.keyvalue_suite import MemoryKeyValue
from verifier import rows
from verifier.claims import ClaimReader
from verifier.index import ChainIndex

FILES = [hashlib.sha256(bytes([number])).digest() for number in range(4)]

# (member, claim, file, keys, line): few values, so that copies, lines and common files come up.
sealed = st.tuples(
    st.sampled_from([3, 4]),
    st.integers(0, 4),
    st.integers(0, 3),
    st.sampled_from([CITY, CITY_2, HEALTH]),
    st.integers(0, 1),
)


def chain_of(batches: list[list[tuple[int, int, int, object, int]]]) -> Chain:
    made = Chain()
    for batch in batches:
        records = [
            material(claim, keys=keys, sha256=FILES[file], line=line)  # type: ignore[arg-type]
            for _, claim, file, keys, line in batch
        ]
        made.append(batch[0][0], *records)
        made.add(status(batch[0][0], batch[0][1], StatusFlag.SUSPENDED))
    return made


def tags(number: int) -> list[bytes]:
    return [keys.content_tag(FILES[number]) for keys in (CITY, CITY_2, HEALTH)]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(sealed, min_size=1, max_size=20), min_size=1, max_size=5))
def test_one_question_and_many_say_the_same(batches: list[list[tuple[int, int, int, object, int]]]) -> None:
    index = index_of(chain_of(batches), CITY, CITY_2)
    together = index.claims_by_contents([tags(number) for number in range(4)])  # type: ignore[misc]
    alone = [index.claims_by_content(tags(number)) for number in range(4)]  # type: ignore[arg-type]
    staged = index._claims._by_stages(rows.CONTENT, [tags(number) for number in range(4)])  # type: ignore[misc]
    assert together == alone == staged
    for claims in alone:
        assert [claim.positions for claim in claims] == sorted(claim.positions for claim in claims)
        assert all(index.claim(claim.commitment) == claim for claim in claims)


def test_the_usual_answer_is_read_without_the_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    index = index_of(Chain(), CITY)
    monkeypatch.setattr(ClaimReader, "_claims", lambda *_: pytest.fail("the stages were used"))
    assert index.claims_by_content([CITY.content_tag(FILES[0])]) == []
    chain = Chain()
    chain.append(3, *[material(number, sha256=FILES[number % 4]) for number in range(4)])
    found = index_of(chain, CITY).claims_by_content([CITY.content_tag(FILES[2])])
    assert [claim.commitment for claim in found] == [commitment(2)]


def test_a_rollback_forgets_where_batches_stood() -> None:
    chain = Chain()
    chain.append(3, *[material(number, sha256=FILES[0]) for number in range(20)])
    index = index_of(chain, CITY, final=False)
    before = index.claim(commitment(17))
    assert before is not None and before.member_id == 3
    chain.fork(0)
    chain.add(seconds=500)
    chain.append(4, *[material(number, sha256=FILES[0], flags=Flag.REPLACES) for number in range(20)])
    index.rollback(0)
    for block in chain.blocks[1:]:
        index.apply(block)
    after = index.claim(commitment(17))
    assert after is not None and after.member_id == 4
    assert (after.block_number, after.block_time) == (2, chain.blocks[2].time)


def test_a_batch_row_that_was_cut_is_named_and_not_passed_over() -> None:
    chain = Chain()
    chain.append(3, *[material(number, sha256=FILES[0]) for number in range(18)])
    kv = MemoryKeyValue()
    index = index_of(chain, CITY, kv=kv)
    key = rows.chunk_key(0, 1)
    kv._rows[key] = (kv.get(key) or b"")[:-1]
    with pytest.raises(rows.IndexCorrupt):
        ChainIndex(kv).record_at(0, 17)
    with pytest.raises(rows.IndexCorrupt):
        index.claim(commitment(17))
