"""Blocks of the chain and the events of our contracts in them, complete by proof.

- Each header hashes to its block's name and names the block before: from a final head down nothing can be put in.
- A header's bloom that lacks the contracts' addresses proves that the block holds no event of theirs.
- Of each other block all receipts are asked for; they must lead to the header's receipts root, so that an event
  left out, added, altered or moved is noticed, whatever it tells.
Who sealed the head is the finality strategy's to verify. Must not import store or HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Final, TypeAlias

from anchor.chain.gateway import Block, BlockReceipt, Gateway, Log, ReceiptsAhead
from anchor.chain.stateproofs import header_of
from anchor.headers import Engine, Header
from verifier.errors import LogsInvalid, LogsMissing
from verifier.proofs.errors import ProofError
from verifier.proofs.receipts import bloom_mask, may_hold, verify_receipts

# Events cost gas: a group of blocks that used less brings a MiB of them at most, unless one block has more.
GROUP_GAS: Final = 24_000_000
GROUP_BLOCKS: Final = 64

_Headed: TypeAlias = tuple[Block, Header]


@dataclass(frozen=True, slots=True)
class ProvenBlock:
    """A block and all events of our contracts in it, in their order."""

    block: Block
    logs: tuple[Log, ...]


class History:
    """Reads blocks of one chain for some contracts (20-byte addresses)."""

    def __init__(self, gateway: Gateway, addresses: Iterable[bytes], engine: Engine) -> None:
        """Keep whom to ask, about whom, and how the engine hashes its headers."""
        self._gateway = gateway
        self._addresses = frozenset(addresses)
        self._masks = [bloom_mask(address) for address in sorted(self._addresses)]
        self._engine = engine

    def read(self, blocks: Iterable[Block]) -> Iterator[list[ProvenBlock]]:
        """Yield `blocks` in groups, with their events; the next group is asked for while one is worked on.

        Raises:
            ChainUnavailable: the chain does not answer, or no longer knows a block.
            ChainAnswerMalformed: a header is not its block's. LogsMissing, LogsInvalid: receipts are not.
        """
        asked: _Asked | None = None
        try:
            for group in _groups([(block, header_of(block, self._engine)) for block in blocks]):
                ready, asked = asked, self._ask(group)
                if ready is not None:
                    yield self._prove(ready)
            if asked is not None:
                ready, asked = asked, None
                yield self._prove(ready)
        finally:
            if asked is not None:
                asked.receipts.drop()

    def _ask(self, group: list[_Headed]) -> _Asked:
        wanted = [(block, header) for block, header in group if may_hold(header.bloom, self._masks)]
        return _Asked(group, wanted, self._gateway.ask_receipts([block for block, _ in wanted]))

    def _prove(self, asked: _Asked) -> list[ProvenBlock]:
        found: dict[bytes, tuple[Log, ...]] = {}
        for (block, header), receipts in zip(asked.wanted, asked.receipts.result(), strict=True):
            _verify(receipts, block, header)
            logs = [log for receipt in receipts for log in receipt.logs if log.address in self._addresses]
            found[block.hash] = tuple(logs)
        return [ProvenBlock(block, found.get(block.hash, ())) for block, _ in asked.group]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A group of blocks, those of them that may hold events, and the receipts of these, under way."""

    group: list[_Headed]
    wanted: list[_Headed]
    receipts: ReceiptsAhead


def _groups(blocks: Sequence[_Headed]) -> Iterator[list[_Headed]]:
    group: list[_Headed] = []
    gas = 0
    for headed in blocks:
        if group and (gas + headed[1].gas_used > GROUP_GAS or len(group) == GROUP_BLOCKS):
            yield group
            group, gas = [], 0
        group.append(headed)
        gas += headed[1].gas_used
    if group:
        yield group


def _verify(receipts: Sequence[BlockReceipt], block: Block, header: Header) -> None:
    try:
        verify_receipts(receipts, header.receipts_root)
    except ProofError:
        if int.from_bytes(header.bloom, "big") & ~_shown(receipts):
            raise LogsMissing("the chain's answer leaves out events of a block", block=block.number) from None
        raise LogsInvalid("a block's events are not those of its header", block=block.number) from None
    # The root commits to what was done, not to the names of the transactions.
    if tuple([receipt.transaction_hash for receipt in receipts]) != block.transactions:
        raise LogsInvalid("a block's receipts name other transactions than the block", block=block.number)


def _shown(receipts: Sequence[BlockReceipt]) -> int:
    """Return the bloom bits of all that the receipts hold."""
    logs = [log for receipt in receipts for log in receipt.logs]
    return reduce(or_, [bloom_mask(item) for log in logs for item in (log.address, *log.topics)], 0)
