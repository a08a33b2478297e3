"""Reads from a chain who seals its blocks: the sets that the council named in Members, and the genesis block's.

For whoever has no index of the chain. What it returns is as good as the client that was asked.
"""

from typing import Final

from anchor.chain.contracts import decode_event, event_topic
from anchor.chain.finality import Signers
from anchor.chain.gateway import Gateway
from anchor.headers import Engine

_RANGE_BLOCKS: Final = 5000


def read_signer_sets(
    gateway: Gateway, members: bytes, engine: Engine, *, last: int
) -> list[tuple[int, tuple[bytes, ...]]]:
    """Return (first block, ascending signers) of each set named up to block `last`, the genesis block's first.

    Raises:
        ChainUnavailable: the chain does not answer, or not well.
    """
    if engine is Engine.EMBEDDED:
        return []
    named = [
        found
        for first in range(0, last + 1, _RANGE_BLOCKS)
        for found in _named(gateway, members, first, min(last, first + _RANGE_BLOCKS - 1))
    ]
    sets = Signers(engine, lambda: named).sets(gateway)
    return [(first, tuple(sorted(signers))) for first, signers in sets]


def _named(gateway: Gateway, members: bytes, first: int, last: int) -> list[tuple[int, tuple[bytes, ...]]]:
    topic = event_topic("Members", "SignersSet")
    found = []
    for log in gateway.logs([members], first=first, last=last):
        if log.topics[0] == topic:
            values = decode_event("Members", log)
            found.append((int(values["fromBlock"]), tuple(values["signers"])))
    return found
