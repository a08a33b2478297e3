"""Steps of the fixed chain's trust anchor, to five other signers."""

from collections.abc import Sequence

from coincurve import PrivateKey

from anchor.slots import signers_slot
from tests.unit import receipt_factory as made
from tests.unit import sealed_chain_factory as sealed
from verifier.trust import SignerSet, TrustStep

NEW_KEYS = sorted((sealed.key_of(number) for number in range(5, 10)), key=sealed.address_of)
NEW_SIGNERS = tuple(sealed.address_of(key) for key in NEW_KEYS)


def step(
    *, from_block: int = 200, sealers: Sequence[PrivateKey] = sealed.KEYS[:4], number: int = 150
) -> TrustStep:
    """Build the step to `NEW_SIGNERS`, proved in the state of block `number`, sealed by `sealers` in turn."""
    named = SignerSet(from_block, NEW_SIGNERS)
    slot = signers_slot(from_block)
    state = sealed.state_of({made.MEMBERS: {slot: named.digest}})
    headers = sealed.clique_chain(sealers, state_root=state.root, number=number, time=made.AS_OF)
    chain = made.CHAIN
    nodes = state.nodes_for(made.MEMBERS, [slot])
    return TrustStep(chain.chain_id, chain.genesis, made.MEMBERS, named, headers, nodes)
