"""When a block is final: one strategy per engine, chosen by name. Each states its label; verdicts repeat it.

Pure but for the gateway it is given. A strategy never guesses: without proof it returns None.
"""

from dataclasses import dataclass
from typing import Protocol

from anchor.chain.gateway import Block, Gateway
from anchor.errors import EngineMissing


@dataclass(frozen=True, slots=True)
class FinalPoint:
    """The highest block that will not be taken back, and by whose word (`label`). `time` in seconds since 1970."""

    number: int
    hash: bytes
    time: int
    label: str


class Finality(Protocol):
    """Finds the final point below a head."""

    label: str

    def final_point(self, gateway: Gateway, head: Block) -> FinalPoint | None:
        """Return the highest final block at or below `head`, None when nothing is final."""
        ...


class OperatorFinality:
    """One operator runs the chain: its head is final on the operator's word and on nothing else."""

    label = "operator"

    def final_point(self, gateway: Gateway, head: Block) -> FinalPoint | None:
        """Return `head` itself."""
        return FinalPoint(head.number, head.hash, head.time, self.label)


_STRATEGIES = {"embedded": OperatorFinality}


def finality_for(engine: str) -> Finality:
    """Return the strategy of an engine by its name. Raises EngineMissing for an engine we have no rule for."""
    strategy = _STRATEGIES.get(engine)
    if strategy is None:
        raise EngineMissing(
            "there is no finality rule for this engine", hint=f"use one of: {', '.join(sorted(_STRATEGIES))}"
        )
    return strategy()
