"""What is concluded from blocks and state about our appends, and what is not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from anchor.chain.gateway import AccountSince, Block
from anchor.errors import ChainMismatch
from anchor.outbox_rows import TxKind, TxRow, TxState
from anchor.outbox_sightings import MAX_BLOCKS, Sightings
from tests.unit.chain_factory import DEPLOYMENT

MEMBER, ADDRESS = 7, b"\x09" * 20
ROWS = [TxRow(at, TxState.SUBMITTED, TxKind.APPEND, bytes([at]) * 32, at, 512) for at in (4, 5)]


def block(number: int, *, holds: Sequence[bytes] = (), parent: bytes = b"") -> Block:
    above = parent or bytes([number - 1]) * 32
    return Block(number, bytes([number]) * 32, above, 1_700_000_000, tuple(holds), 60_000_000, {})


class ScriptedChain:
    """Answers one look after the other."""

    def __init__(self, *answers: AccountSince) -> None:
        self.answers = list(answers)

    def account_since(self, address: bytes, calls: object, *, first: int, head: Block) -> AccountSince:
        return self.answers.pop(0)


def state(nonce: int, sequence: int, *blocks: Block | None, speaks: int = MEMBER) -> AccountSince:
    return AccountSince(nonce, (sequence.to_bytes(32), speaks.to_bytes(32)), blocks)


def look(after: AccountSince, *, number: int = 11) -> dict[bytes, tuple[int, bytes]]:
    """Look from block 10, where four nonces and four sequences were used, to `number`."""
    sightings = Sightings(ScriptedChain(state(4, 4), after), ADDRESS, DEPLOYMENT)  # type: ignore[arg-type]
    sightings.begin(block(10), MEMBER)
    return sightings.look(block(number), MEMBER, ROWS)


OURS = [row.hash for row in ROWS]


def test_growth_by_just_what_was_found_places_each() -> None:
    found = look(state(6, 6, block(11, holds=OURS[:1]), block(12, holds=OURS[1:])), number=12)
    assert found == {OURS[0]: (11, block(11).hash), OURS[1]: (12, block(12).hash)}


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(state(6, 5, block(11, holds=OURS)), id="one of ours failed"),
        pytest.param(state(7, 6, block(11, holds=OURS)), id="somebody else used the key"),
        pytest.param(state(6, 6, block(11, holds=OURS[:1])), id="one is in no block"),
        pytest.param(state(6, 6, block(11, holds=OURS, parent=b"\xee" * 32)), id="another branch"),
        pytest.param(state(6, 6, None), id="block missing"),
        pytest.param(state(6, 6, block(11, holds=OURS), speaks=0), id="the account speaks for nobody"),
    ],
)
def test_nothing_is_concluded_when_the_numbers_do_not_fit(after: AccountSince) -> None:
    assert look(after) == {}


def test_heads_that_are_far_apart_tell_nothing() -> None:
    assert look(state(6, 6), number=10 + MAX_BLOCKS) == {}


def test_chain_without_contracts_is_another_chain() -> None:
    with pytest.raises(ChainMismatch):
        look(AccountSince(0, (b"", b""), (block(11),)))
