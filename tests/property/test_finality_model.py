"""Finality against a model: signers that follow the rules, some that seal two chains at once, and their forks."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from anchor.headers import Engine, bft_quorum, crash_quorum
from tests.unit import sealed_chain_factory as sealed
from verifier.proofs.headers import sealed_by, shortest_final

ROOTS = (b"\x11" * 32, b"\x22" * 32)


@settings(deadline=None, max_examples=300)
@given(st.integers(min_value=1, max_value=40), st.data())
def test_two_rival_blocks_are_never_both_final(count: int, data: st.DataObject) -> None:
    """Honest signers stay on the side that they sealed first; up to f seal both sides (design section 3)."""
    faulty = (count - 1) // 3
    sides = data.draw(st.lists(st.sampled_from(((1, 0), (0, 1), (0, 0))), min_size=count, max_size=count))
    liars = data.draw(st.sets(st.integers(min_value=0, max_value=count - 1), max_size=faulty))
    votes = [sum(1 if each in liars else sides[each][side] for each in range(count)) for side in (0, 1)]
    for quorum in (crash_quorum(count), bft_quorum(count)):
        assert min(votes) < quorum
    # One signer fewer would not do: the bound is tight where the sides can be even.
    if faulty and (count + faulty) % 2 == 0:
        half = (count + faulty) // 2
        assert half == crash_quorum(count) - 1 and 2 * half - faulty == count


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.integers(min_value=0, max_value=4), min_size=1, max_size=9),
    st.lists(st.integers(min_value=0, max_value=4), min_size=1, max_size=9),
    st.integers(min_value=0, max_value=4),
)
def test_forks_of_one_chain_are_final_as_the_naive_count_says(
    left: list[int], right: list[int], liar: int
) -> None:
    """Five signers; all but one honest, who never seal on a second side. The headers and seals are real."""
    taken: dict[int, int] = {}
    chains = ([], [])  # type: tuple[list[int], list[int]]
    for side, sealers in ((0, left), (1, right)):
        for each in sealers:
            if each == liar or taken.setdefault(each, side) == side:
                chains[side].append(each)
    finals = []
    for side, sealers in enumerate(chains):
        keys = [sealed.KEYS[each] for each in sealers]
        headers = sealed.clique_chain(keys, state_root=ROOTS[side], number=7, time=1000)
        found = shortest_final(headers, lambda _: sealed.SIGNERS, Engine.CLIQUE)
        assert len(sealed_by(headers, lambda _: sealed.SIGNERS, Engine.CLIQUE)) == len(set(sealers))
        naive = next((end for end in range(1, len(sealers) + 1) if len(set(sealers[:end])) == 4), None)
        assert (None if found is None else len(found)) == naive
        finals.append(found is not None)
    assert not all(finals)
