"""When a block is final: one strategy per engine, chosen by name. Each states its label; verdicts repeat it.

Pure but for the gateway it is given. A strategy never guesses: without proof it returns None. Who seals is said by
`Members`, and before that by the genesis block, whose hash every node is configured with.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from anchor.chain.gateway import Block, Gateway
from anchor.chain.stateproofs import header_of
from anchor.errors import ChainAnswerMalformed, EngineMissing, HeaderMalformed
from anchor.headers import Engine, bft_quorum, crash_quorum, genesis_signers, header_signers

SignerSets: TypeAlias = Sequence[tuple[int, tuple[bytes, ...]]]

MAX_WALK_BLOCKS: Final = 256  # 64 signers need 43 seals; twice over, and room for what others sealed.
_PART_BLOCKS: Final = 16
_REMEMBERED: Final = 1024


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
    engine: Engine

    def final_point(self, gateway: Gateway, head: Block) -> FinalPoint | None:
        """Return the highest final block at or below `head`, None when nothing is final."""
        ...


class OperatorFinality:
    """One operator runs the chain: its head is final on the operator's word and on nothing else."""

    label = "operator"
    engine = Engine.EMBEDDED

    def final_point(self, gateway: Gateway, head: Block) -> FinalPoint | None:
        """Return `head` itself."""
        return FinalPoint(head.number, head.hash, head.time, self.label)


class Signers:
    """Who may seal which block: the sets that `read` returns, below them those of the genesis block."""

    def __init__(self, engine: Engine, read: Callable[[], SignerSets]) -> None:
        """Keep `read`; it is asked each time, because the council names new sets while the node runs."""
        self._engine, self._read = engine, read
        self._genesis: tuple[bytes, ...] | None = None

    def sets(self, gateway: Gateway) -> list[tuple[int, frozenset[bytes]]]:
        """Return (first block, signers), ascending. Raises ChainUnavailable."""
        named = sorted(self._read())
        if not named or named[0][0] > 0:
            named.insert(0, (0, self._genesis_signers(gateway)))
        return [(first, frozenset(signers)) for first, signers in named]

    def _genesis_signers(self, gateway: Gateway) -> tuple[bytes, ...]:
        if self._genesis is None:
            block = gateway.block(0)
            if block is None:
                raise ChainAnswerMalformed("the chain has no genesis block", hint="check chain_rpc")
            try:
                self._genesis = genesis_signers(header_of(block, self._engine), self._engine)
            except HeaderMalformed as error:
                raise ChainAnswerMalformed(
                    f"the genesis block is not of this engine: {error}", hint="check the setting engine"
                ) from None
        return self._genesis


class CrashFinality:
    """Clique: ⌊(N+f)/2⌋+1 distinct signers, f = ⌊(N−1)/3⌋, on or above the block (design section 3).

    Signers that crash cannot take such a block back; signers that return to a fork they left could.
    """

    label = "crash-final"
    engine = Engine.CLIQUE

    def __init__(self, signers: Signers) -> None:
        """Count the seals of `signers`."""
        self._signers = signers
        self._sealer: OrderedDict[bytes, bytes] = OrderedDict()

    def final_point(self, gateway: Gateway, head: Block) -> FinalPoint | None:
        """Walk down from `head` until enough signers stand on or above a block, at most 256 blocks."""
        sets = self._signers.sets(gateway)
        found: set[bytes] = set()
        for block in _walk(gateway, head):
            if block.number == 0:
                return None  # Nobody seals the genesis block; it needs no finality.
            signers = signers_of(sets, block.number)
            if (sealer := self._sealer_of(block)) in signers:
                found.add(sealer)  # One that was no signer at this height counts for nothing below either.
            if len(found & signers) >= crash_quorum(len(signers)):
                return FinalPoint(block.number, block.hash, block.time, self.label)
        return None

    def _sealer_of(self, block: Block) -> bytes:
        known = self._sealer.get(block.hash)
        if known is None:
            (known,) = _signers_in(block, Engine.CLIQUE)
            self._sealer[block.hash] = known
            if len(self._sealer) > _REMEMBERED:
                self._sealer.popitem(last=False)
        return known


class BftFinality:
    """QBFT and IBFT 2.0: a block is final at once, by the ⌈2N/3⌉ commit seals that it carries."""

    label = "bft-final"

    def __init__(self, engine: Engine, signers: Signers) -> None:
        """Count the commit seals of `signers`."""
        self.engine, self._signers = engine, signers

    def final_point(self, gateway: Gateway, head: Block) -> FinalPoint | None:
        """Return `head`, None when its seals do not suffice."""
        if head.number == 0:
            return None
        signers = signers_of(self._signers.sets(gateway), head.number)
        if len(signers & set(_signers_in(head, self.engine))) < bft_quorum(len(signers)):
            return None
        return FinalPoint(head.number, head.hash, head.time, self.label)


def signers_of(sets: Sequence[tuple[int, frozenset[bytes]]], number: int) -> frozenset[bytes]:
    """Return the signers of block `number` from ascending `sets`, the first of which begins at 0."""
    return next(signers for first, signers in reversed(sets) if first <= number)


def _walk(gateway: Gateway, head: Block) -> Iterator[Block]:
    """Yield `head` and its ancestors, in parts; end where the chain's answers are not one chain (a reorg runs)."""
    yield head
    child, lowest = head, max(0, head.number - MAX_WALK_BLOCKS + 1)
    while child.number > lowest:
        first = max(lowest, child.number - _PART_BLOCKS)
        for block in reversed(gateway.blocks(range(first, child.number))):
            if block is None or block.hash != child.parent_hash:
                return
            yield block
            child = block


def _signers_in(block: Block, engine: Engine) -> tuple[bytes, ...]:
    try:
        return header_signers(header_of(block, engine), engine)
    except HeaderMalformed as error:
        raise ChainAnswerMalformed(
            f"a block is not one of this engine: {error}", hint="check the setting engine"
        ) from None


def finality_for(engine: str, *, signer_sets: Callable[[], SignerSets] = tuple) -> Finality:
    """Return the strategy of an engine by its name.

    `signer_sets` returns what Members names: (first block, signers) for each set. Raises EngineMissing for an
    engine we have no rule for.
    """
    try:
        found = Engine(engine)
    except ValueError:
        raise EngineMissing(
            "there is no finality rule for this engine", hint=f"use one of: {', '.join(sorted(Engine))}"
        ) from None
    if found is Engine.EMBEDDED:
        return OperatorFinality()
    signers = Signers(found, signer_sets)
    return CrashFinality(signers) if found is Engine.CLIQUE else BftFinality(found, signers)
