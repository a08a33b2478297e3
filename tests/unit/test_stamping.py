"""The worker that has batches stamped: own final batches once each, again after an outage, none without a setting."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from node.context import ChainState
from node.errors import TsaUnavailable
from node.services.receipts import _timestamp_of
from node.services.stamping import request_token, stamp_once
from node.store import rows
from tests.support.tsa import Authority, serving
from tests.unit import chain_factory as made
from tests.unit.keyvalue_suite import MemoryKeyValue
from verifier.timestamps import TimestampInvalid, verify_timestamp

AUTHORITY = Authority.create()


def node_on(chain: made.Chain, url: str) -> Any:
    config = SimpleNamespace(tsa_url=url, peer_timeout_s=10.0)
    state = ChainState(member_id=1, problem=None)
    return SimpleNamespace(
        store=MemoryKeyValue(),
        index=made.index_of(chain),
        config=config,
        chain=state,
        clock=lambda: made.T0 + 1000,
    )


def batches() -> made.Chain:
    """Return a chain with two batches of member 1 and one of member 2 between them."""
    chain = made.Chain()
    for number, member in enumerate((1, 2, 1)):
        chain.append(member, made.material(number))
    return chain


def stamped(node: Any) -> list[int]:
    return [row.batch_id for row in rows.TIMESTAMP.scan(node.store)]


def test_own_final_batches_are_stamped_once_each() -> None:
    chain = batches()
    with serving(AUTHORITY) as (url, asked):
        node = node_on(chain, url)
        chain.append(1, made.material("not final"))
        node.index.apply(chain.head)
        for _ in range(3):
            assert stamp_once(node) is False
        assert (stamped(node), len(asked)) == ([0, 2], 2)
        made.make_final(node.index, chain)
        stamp_once(node)
        assert (stamped(node), len(asked)) == ([0, 2, 3], 3)
    token = _timestamp_of(node, 2)
    assert verify_timestamp(token, node.index.batch_head(2).entry.root, [AUTHORITY.root]).trusted
    assert _timestamp_of(node, 1) == b""


def test_authority_that_was_down_is_asked_again() -> None:
    with serving(AUTHORITY) as (url, _asked):
        pass
    node = node_on(batches(), url)
    with pytest.raises(TsaUnavailable):
        stamp_once(node)
    assert stamped(node) == []
    with serving(AUTHORITY) as (again, _asked):
        node.config.tsa_url = again
        stamp_once(node)
    assert stamped(node) == [0, 2]


class Flooding:
    """An authority whose answer has no end in sight."""

    def answer(self, imprint: bytes, nonce: int | None = None) -> bytes:
        return AUTHORITY.answer(imprint, nonce) + bytes(8 << 20)


class Careless:
    """An authority that stamps something else than it is asked for."""

    def answer(self, imprint: bytes, nonce: int | None = None) -> bytes:
        return AUTHORITY.answer(bytes(len(imprint)), nonce)


def test_stamp_of_something_else_is_not_kept() -> None:
    with serving(Careless()) as (url, _asked):
        node = node_on(batches(), url)
        with pytest.raises(TimestampInvalid):
            stamp_once(node)
    assert stamped(node) == []


def test_answer_without_an_end_is_not_read_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    whole = httpx.Response.iter_raw

    def counted(self: httpx.Response, size: int | None = None) -> Iterator[bytes]:
        for chunk in whole(self, size):
            read.append(len(chunk))
            yield chunk

    monkeypatch.setattr(httpx.Response, "iter_raw", counted)
    with serving(Flooding()) as (url, _asked), pytest.raises(TsaUnavailable):
        request_token(url, bytes(32), timeout_s=30)
    assert sum(read) < 1 << 20


def test_without_the_setting_nobody_is_asked() -> None:
    node = node_on(batches(), "")
    assert stamp_once(node) is False
    assert stamped(node) == []
