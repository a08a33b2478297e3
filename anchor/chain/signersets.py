"""Reads from a chain who seals its blocks: the sets that the council named in Members, and the genesis block's.

For whoever has no index of the chain. What it returns is as good as the client that was asked.
"""

from dataclasses import dataclass
from typing import Final

from anchor.chain.contracts import decode_event
from anchor.chain.finality import Signers
from anchor.chain.gateway import Gateway
from anchor.headers import Engine

_RANGE_BLOCKS: Final = 5000


@dataclass(frozen=True, slots=True)
class NamedSet:
    """A signer set that the council named in block `named_in`: who seals from `from_block` on, ascending."""

    named_in: int
    from_block: int
    signers: tuple[bytes, ...]


def read_named_sets(gateway: Gateway, members: bytes, *, last: int) -> list[NamedSet]:
    """Return the sets that Members was told up to block `last`, in order.

    Raises:
        ChainUnavailable: the chain does not answer, or not well.
    """
    found = []
    for first in range(0, last + 1, _RANGE_BLOCKS):
        for log in gateway.logs([members], first=first, last=min(last, first + _RANGE_BLOCKS - 1)):
            name, values = decode_event("Members", log)
            if name == "SignersSet":
                found.append(NamedSet(log.block_number, values["fromBlock"], tuple(values["signers"])))
    return found


def read_signer_sets(
    gateway: Gateway, members: bytes, engine: Engine, *, last: int
) -> list[tuple[int, tuple[bytes, ...]]]:
    """Return (first block, ascending signers) of each set, the genesis block's below those of Members.

    Raises:
        ChainUnavailable: the chain does not answer, or not well.
    """
    if engine is Engine.EMBEDDED:
        return []
    named = [(each.from_block, each.signers) for each in read_named_sets(gateway, members, last=last)]
    sets = Signers(engine, lambda: named).sets(gateway)
    return [(first, tuple(sorted(signers))) for first, signers in sets]
