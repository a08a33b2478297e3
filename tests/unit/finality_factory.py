"""A chain client that answers with sealed headers, for finality strategies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anchor.chain.gateway import Block
from anchor.headers import Engine, Header, header_hash

NAMES = (
    *("parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom"),
    *("difficulty", "number", "gasLimit", "gasUsed", "timestamp", "extraData", "mixHash", "nonce"),
)
NUMBERS = {"difficulty", "number", "gasLimit", "gasUsed", "timestamp"}


def block_of(header: Header, engine: Engine = Engine.CLIQUE) -> Block:
    """Render a header as the gateway would from a client's answer."""
    fields = {
        name: hex(int.from_bytes(raw, "big")) if name in NUMBERS else "0x" + raw.hex()
        for name, raw in zip(NAMES, header.fields, strict=True)
    }
    name = header_hash(header, engine)
    return Block(header.number, name, header.parent_hash, header.time, (), 30_000_000, fields)


class SealedGateway:
    """Answers for one chain of consecutive headers; counts what it was asked."""

    def __init__(self, headers: Sequence[Header], engine: Engine = Engine.CLIQUE) -> None:
        """Keep the headers by number."""
        self._blocks = {each.number: block_of(each, engine) for each in headers}
        self.asked = 0

    @property
    def top(self) -> Block:
        """Return the highest block."""
        return self._blocks[max(self._blocks)]

    def head(self) -> Block:
        """Return the highest block, as the gateway does."""
        return self.top

    def block(self, name: Any) -> Block | None:
        """Return a block by number."""
        return self._blocks.get(name)

    def blocks(self, numbers: Sequence[int]) -> list[Block | None]:
        """Return blocks by number."""
        self.asked += 1
        return [self._blocks.get(number) for number in numbers]
