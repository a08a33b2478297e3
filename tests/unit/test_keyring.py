"""Domain keys: how sealed envelopes in the index become a ring, and what cannot be opened."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from anchor.envelopes import RecipientKey, epoch_info, seal
from anchor.tags import derive_consume_key, derive_domain_keys
from node.context import Node
from tests.unit.chain_factory import DEPLOYMENT, Chain, index_of
from verifier.events import EnvelopePublished
from verifier.index import ChainIndex
from verifier.keyring import KeyRing, open_envelopes, read_envelopes

MINE, OTHER = RecipientKey.from_bytes(b"m" * 32), RecipientKey.from_bytes(b"o" * 32)


def envelope(
    domain: int, epoch: int, *, key: RecipientKey = MINE, member_id: int = 3, secret: bytes = b"s" * 32
) -> EnvelopePublished:
    info = epoch_info(DEPLOYMENT.chain_id, DEPLOYMENT.directory, domain, epoch, member_id)
    return EnvelopePublished(domain, epoch, member_id, seal(key.public_bytes, info=info, plaintext=secret))


def index_with(*envelopes: EnvelopePublished) -> ChainIndex:
    chain = Chain()
    chain.add(*envelopes)
    return index_of(chain)


def test_epoch_0_is_the_consume_key_and_the_others_are_domain_keys() -> None:
    index = index_with(envelope(1, 0), envelope(1, 1), envelope(2, 7))
    held = KeyRing()
    for key in open_envelopes(index, 3, MINE, DEPLOYMENT):
        assert held.add(key)
    assert held.consume_key(1) == derive_consume_key(1, b"s" * 32)
    assert held.get(2, 7) == derive_domain_keys(2, 7, b"s" * 32)
    assert {(one.domain, one.epoch) for one in held.all()} == {(1, 1), (2, 7)}


def test_envelope_that_cannot_be_opened_is_named_and_keeps_no_other_shut() -> None:
    foreign = replace(envelope(1, 3), envelope=envelope(1, 2).envelope)
    index = index_with(envelope(1, 1), envelope(1, 2, key=OTHER), foreign, envelope(1, 4, secret=b"short"))
    found = read_envelopes(index, 3, MINE, DEPLOYMENT)
    assert [(one.domain, one.epoch) for one in found.keys] == [(1, 1)]  # type: ignore[union-attr]
    assert found.unreadable == ((1, 2), (1, 3), (1, 4))
    assert len(open_envelopes(index, 3, MINE, DEPLOYMENT)) == 1


def test_envelope_of_another_deployment_or_member_does_not_open() -> None:
    index = index_with(envelope(1, 1), replace(envelope(1, 1), member_id=4))
    assert open_envelopes(index, 4, MINE, DEPLOYMENT) == []
    assert open_envelopes(index, 3, MINE, replace(DEPLOYMENT, directory=b"x" * 20)) == []
    assert open_envelopes(index, 5, MINE, DEPLOYMENT) == []


def test_keys_that_are_held_are_not_opened_again() -> None:
    index = index_with(envelope(1, 0), envelope(1, 1))
    held = KeyRing()
    for key in open_envelopes(index, 3, MINE, DEPLOYMENT):
        held.add(key)
    assert read_envelopes(index, 3, OTHER, DEPLOYMENT, held=held).unreadable == ()
    assert read_envelopes(index, 3, OTHER, DEPLOYMENT).unreadable == ((1, 0), (1, 1))


def test_keys_never_show_in_a_repr() -> None:
    (key,) = open_envelopes(index_with(envelope(1, 1)), 3, MINE, DEPLOYMENT)
    assert "key=" not in repr(key)


def test_a_widened_ring_is_another_one() -> None:
    first, second = derive_domain_keys(1, 1, b"a" * 32), derive_domain_keys(1, 2, b"b" * 32)
    held = KeyRing({(1, 1): first}, consume_keys=[derive_consume_key(1, b"s" * 32)])
    wider = held.widened([second])
    assert wider.all() == (second, first)
    assert wider.consume_key(1) == held.consume_key(1)
    assert held.all() == (first,)


def test_a_node_is_given_keys_only_when_the_index_has_read_what_they_unmask() -> None:
    index, held = index_with(envelope(1, 1)), KeyRing()
    seen: list[tuple[bool, bool]] = []

    def learn(ring: KeyRing) -> int:
        seen.append((ring.holds(1, 1), held.holds(1, 1)))
        return 1

    watched = SimpleNamespace(envelopes_for=index.envelopes_for, learn=learn, use_keys=lambda _ring: None)
    node: Any = SimpleNamespace(
        chain=SimpleNamespace(member_id=3),
        index=watched,
        keys=SimpleNamespace(recipient_key=lambda: MINE),
        deployment=DEPLOYMENT,
        keyring=held,
    )
    assert Node.learn_keys(node) is True
    assert seen == [(True, False)]
    assert held.holds(1, 1)
    assert Node.learn_keys(node) is False
