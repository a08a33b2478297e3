"""Finds our transactions in new blocks and tells whether all appends did their work, without their receipts.

A receipt of a full batch brings its 512 records back, which costs both sides more than mining it. Blocks name the
hashes of their transactions, and the state says the rest: between two blocks the account's nonce grows by each of its
transactions, and the member's sequence by each append that did its work. If both grew by just what we found of ours,
nobody else used the key in between and nothing of ours failed. In any other case this knows nothing, and receipts
are asked for. Keeps one point in memory and no row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from anchor.chain.contracts import decode_result, encode_call
from anchor.chain.deploy import Deployment
from anchor.chain.gateway import AccountSince, Block, Gateway
from anchor.errors import ChainMismatch
from anchor.outbox_rows import TxKind, TxRow

MAX_BLOCKS = 64

Place = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class _Point:
    """A block, and what the account and the member had done there."""

    number: int
    hash: bytes
    nonce: int
    sequence: int


class Sightings:
    """Looks at the chain from one head to the next."""

    def __init__(self, gateway: Gateway, address: bytes, deployment: Deployment) -> None:
        """Watch the account at `address`."""
        self._gateway, self._address, self._deployment = gateway, address, deployment
        self._point: _Point | None = None

    def begin(self, head: Block, member_id: int) -> None:
        """Take `head` as the point from which blocks are looked at, unless there is one that is near enough."""
        point = self._point
        if point is None or not 0 <= head.number - point.number < MAX_BLOCKS:
            self._ask(head, member_id, first=head.number + 1)

    def look(self, head: Block, member_id: int, rows: Sequence[TxRow]) -> dict[bytes, Place]:
        """Return number and hash of the blocks of those `rows` that are mined since the last look, by row hash.

        Empty when it cannot be said that each append among them did its work.
        """
        before = self._point
        if before is None or not before.number < head.number < before.number + MAX_BLOCKS:
            self._point = None if before is None or head.hash != before.hash else before
            self.begin(head, member_id)
            return {}
        since = self._ask(head, member_id, first=before.number + 1)
        after = self._point
        if after is None or not _is_linked(since.blocks, before.hash, head.hash):
            return {}
        wanted = {row.hash: row for row in rows}
        places: dict[bytes, Place] = {}
        for block in since.blocks:
            places |= {name: (block.number, block.hash) for name in block.transactions if name in wanted}  # type: ignore[union-attr]
        appends = sum(wanted[name].kind is TxKind.APPEND for name in places)
        grown = (after.nonce - before.nonce, after.sequence - before.sequence)
        return places if grown == (len(places), appends) else {}

    def _ask(self, head: Block, member_id: int, *, first: int) -> AccountSince:
        calls = [
            (self._deployment.ledger, encode_call("Ledger", "nextSeq", member_id)),
            (self._deployment.members, encode_call("Members", "activeMemberOf", self._address)),
        ]
        since = self._gateway.account_since(self._address, calls, first=first, head=head)
        sequence, speaks = since.answers
        if not sequence or not speaks:
            raise ChainMismatch(
                "the chain has no Ledger or Members at its address", hint="check directory and chain_rpc"
            )
        # Whoever speaks for the member appends for it: with another account the growth is not ours to explain.
        ours = decode_result("Members", "activeMemberOf", speaks) == (member_id,)
        (count,) = decode_result("Ledger", "nextSeq", sequence)
        self._point = _Point(head.number, head.hash, since.nonce, int(count)) if ours else None
        return since


def _is_linked(blocks: Sequence[Block | None], parent: bytes, last: bytes) -> bool:
    """Return whether the blocks follow each other from `parent` to `last`."""
    for block in blocks:
        if block is None or block.parent_hash != parent:
            return False
        parent = block.hash
    return parent == last
