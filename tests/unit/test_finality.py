"""Finality strategies: enough distinct signers on or above a block, and nothing less."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from coincurve import PrivateKey

from anchor.chain.finality import MAX_WALK_BLOCKS, finality_for
from anchor.chain.stateproofs import header_of, read_headers, read_proof
from anchor.errors import ChainAnswerMalformed, EngineMissing
from anchor.headers import Engine, Header, encode_header, header_hash
from tests.unit import sealed_chain_factory as sealed
from tests.unit.finality_factory import SealedGateway, block_of

A, B, C, D, E = sealed.KEYS
ROOT = b"\x11" * 32


def genesis(extra: bytes = bytes(32) + b"".join(sealed.SIGNERS) + bytes(65)) -> Header:
    return encode_header(
        sealed.header_fields(parent=bytes(32), state_root=ROOT, number=0, time=1000, extra=extra)
    )


def chain(sealers: Sequence[PrivateKey], first: Header | None = None) -> SealedGateway:
    start = first or genesis()
    name = block_of(start).hash
    rest = sealed.clique_chain(sealers, state_root=ROOT, number=1, time=1002, parent=name)
    return SealedGateway([start, *rest])


def final(gateway: Any, engine: str = "clique", **how: Any) -> int | None:
    found = finality_for(engine, **how).final_point(gateway, gateway.top)
    assert found is None or found.hash == gateway.block(found.number).hash
    return None if found is None else found.number


@pytest.mark.parametrize(
    ("sealers", "number"),
    [
        ([A, B, C], None),
        ([A, B, C, D], 1),
        ([A, B, C, D, E], 2),
        ([A, B, C, A, B, C], None),
        ([A, B, C, D, A, B], 3),
        ([A, B, C, D, A, A, A], 2),
        ([A, B, C, sealed.OUTSIDER, sealed.OUTSIDER], None),
        ([A, B, C, sealed.OUTSIDER, D], 1),
    ],
)
def test_clique_block_is_final_when_four_of_five_stand_on_it(
    sealers: Sequence[PrivateKey], number: int | None
) -> None:
    assert final(chain(sealers)) == number


def test_labels_say_what_is_promised() -> None:
    assert [finality_for(engine).label for engine in ("embedded", "clique", "qbft", "ibft2")] == [
        "operator",
        "crash-final",
        "bft-final",
        "bft-final",
    ]
    with pytest.raises(EngineMissing):
        finality_for("raft")


def test_genesis_block_alone_is_not_final() -> None:
    assert final(SealedGateway([genesis()])) is None


def test_signers_that_the_council_named_count_from_their_block_on() -> None:
    sets = [(3, sealed.SIGNERS[:3])]
    assert final(chain([A, B, C, D, E]), signer_sets=lambda: sets) is None
    assert final(chain([D, E, A, B]), signer_sets=lambda: sets) == 3
    assert final(chain([A, B, A, A]), signer_sets=lambda: sets) is None
    assert final(chain([A, B, D, E, D]), signer_sets=lambda: sets) is None
    assert final(chain([A, B, A, B, C]), signer_sets=lambda: sets) == 4
    assert final(chain([A, B, C, D]), signer_sets=lambda: [(0, sealed.SIGNERS[:2])]) == 1


def test_walk_is_bounded_and_remembers_seals() -> None:
    gateway = chain([A] * (MAX_WALK_BLOCKS + 40))
    assert final(gateway) is None
    assert gateway.asked <= MAX_WALK_BLOCKS // 16 + 1


def test_reorg_in_the_middle_of_the_walk_is_no_finality() -> None:
    gateway, other = chain([A, B, C, D]), chain([E, B, C, D])
    gateway._blocks[1] = other._blocks[1]
    assert final(gateway) is None


def test_answer_that_does_not_hash_to_its_hash_is_refused() -> None:
    for changed in ({"extraData": "0x" + "00" * 97}, {"stateRoot": "0x" + "00" * 32}):
        gateway = chain([A, B, C, D])
        top = gateway.top
        gateway._blocks[4] = replace(top, header={**top.header, **changed})
        with pytest.raises(ChainAnswerMalformed):
            final(gateway)


@pytest.mark.parametrize("engine", ["qbft", "ibft2"])
@pytest.mark.parametrize(("count", "number"), [(3, None), (4, 9), (5, 9)])
def test_bft_block_is_final_by_its_commit_seals(engine: str, count: int, number: int | None) -> None:
    header = sealed.bft_header(
        sealed.KEYS[:count], qbft=engine == "qbft", state_root=ROOT, number=9, time=1_800_000_000
    )
    gateway = SealedGateway([header], Engine(engine))
    assert final(gateway, engine, signer_sets=lambda: [(0, sealed.SIGNERS)]) == number


def test_chain_of_another_engine_is_refused() -> None:
    with pytest.raises(ChainAnswerMalformed):
        final(chain([A, B, C, D]), "qbft")
    with pytest.raises(ChainAnswerMalformed):
        final(chain([A, B, C, D], genesis(b"")))


def test_one_signer_twice_in_a_set_counts_once() -> None:
    assert final(chain([A, B]), signer_sets=lambda: [(0, (sealed.SIGNERS[0],) * 5)]) == 1


# What proofs are made of


def test_headers_are_read_up_to_the_first_that_is_missing() -> None:
    gateway: Any = chain([A, B, C])
    assert [each.number for each in read_headers(gateway, range(1, 9), Engine.CLIQUE)] == [1, 2, 3]


def test_header_with_fields_of_later_forks_is_read() -> None:
    fields = [*genesis().fields, b"\7", bytes(32)]
    later = encode_header(fields)
    block = block_of(encode_header(fields[:15]))
    header = {**block.header, "baseFeePerGas": "0x7", "withdrawalsRoot": "0x" + "00" * 32}
    named = replace(block, header=header, hash=header_hash(later, Engine.CLIQUE))
    assert header_of(named, Engine.CLIQUE) == later


@pytest.mark.parametrize("change", [{"nonce": "0x0"}, {"number": "9"}, {"miner": "zz"}, {"gasUsed": None}])
def test_header_that_cannot_be_encoded_is_refused(change: dict[str, Any]) -> None:
    block = block_of(genesis())
    with pytest.raises(ChainAnswerMalformed):
        header_of(replace(block, header={**block.header, **change}), Engine.CLIQUE)
    with pytest.raises(ChainAnswerMalformed):
        header_of(replace(block, header={}), Engine.CLIQUE)


class ProofGateway:
    """Answers eth_getProof with one thing."""

    def __init__(self, answer: Any) -> None:
        """Keep the answer."""
        self._answer = answer

    def proof(self, *_: Any, **__: Any) -> Any:
        """Give the answer."""
        return self._answer


GOOD = {"accountProof": ["0xc0"], "storageProof": [{"value": "0x1", "proof": ["0xc0", "0x80", "0xc101"]}]}


def test_proof_nodes_come_once_each_without_the_empty_trie() -> None:
    gateway: Any = ProofGateway(GOOD)
    found = read_proof(gateway, bytes(20), [bytes(32)], block=1)
    assert found.nodes == (b"\xc0", b"\xc1\x01") and found.values == (b"\1".rjust(32, b"\0"),)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {**GOOD, "storageProof": []},
        {**GOOD, "storageProof": None},
        {**GOOD, "accountProof": ["zz"]},
        {**GOOD, "accountProof": [7]},
        {**GOOD, "accountProof": [f"0x{each:04x}" for each in range(1025)]},
        {**GOOD, "storageProof": [{"value": "0x" + "1" * 65, "proof": []}]},
        {**GOOD, "storageProof": [{"value": "1", "proof": []}]},
    ],
)
def test_answer_that_is_no_proof_is_refused(answer: Any) -> None:
    gateway: Any = ProofGateway(answer)
    with pytest.raises(ChainAnswerMalformed):
        read_proof(gateway, bytes(20), [bytes(32)], block=1)
