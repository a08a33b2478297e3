"""Follows the chain into the index: history in ranges, the newest blocks one by one.

`step()` does one bounded piece of work and may be stopped or killed at any time: each write takes in whole blocks.
- Before anything else the genesis and the stored final block are looked up: another genesis raises
  `ChainMismatch`, a final block that is gone `ChainRegressed`; nothing is then taken in.
- A fork above the final block is rolled back block by block to the common one.
- Each block must be the child of the one before and its events complete by proof (`verifier.history`): clients
  lose events after reorganisations, and some lie. Else the step says so, and asks again with the next.
It catches nothing that it cannot name: what the gateway raises goes to the caller. Has no clock: the age of
the head is the caller's to judge. Must not import HTTP or store.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from anchor.chain.contracts import decode_event, event_topic, parse_batch_appended
from anchor.chain.deploy import Deployment
from anchor.chain.finality import Finality, FinalPoint
from anchor.chain.gateway import Block, Gateway, Log
from anchor.errors import ChainAnswerMalformed, ChainMismatch, ChainRegressed, ChainUnavailable
from verifier import events
from verifier.errors import LogsInvalid, LogsMissing, RollbackTooDeep
from verifier.history import History, ProvenBlock
from verifier.index import LAYOUT, BlockPoint, ChainIndex, Identity
from verifier.keyring import KeyRing

__all__ = ["FollowProgress", "Follower", "KeyRing"]

NEAR_BLOCKS: Final = 8  # This close to the head blocks are taken one by one: each may be taken back.
FEWEST_BLOCKS: Final = 16
MOST_BLOCKS: Final = 1000
# A step ends soon after so many bytes of events, so that it can be stopped.
AIM_BYTES: Final = 8 << 20
# An index this far behind its head, in chain time, is named as such: verdicts from it are stale.
LATE_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class FollowProgress:
    """Where the index stands after a step. `behind` counts blocks to the head; times are Unix seconds.

    `problem` is the code of what keeps the index from advancing and heals by asking again, or None.
    """

    indexed_to: int
    head_number: int
    head_time: int
    final: FinalPoint | None
    behind: int
    problem: str | None


class Follower:
    """Brings one index up to one chain. One thread steps it."""

    def __init__(
        self,
        gateway: Gateway,
        index: ChainIndex,
        *,
        deployment: Deployment,
        finality: Finality,
        keys: KeyRing,
    ) -> None:
        self._gateway = gateway
        self._index = index
        self._deployment = deployment
        self._finality = finality
        self._keys = keys
        addresses = (deployment.ledger, deployment.members, deployment.catalog)
        self._history = History(gateway, addresses, finality.engine)
        self._range = FEWEST_BLOCKS
        self._bound = False
        self._hashes: dict[
            int, bytes
        ] = {}  # Of the blocks that were taken one by one, from the final one on.
        index.use_keys(keys)

    def step(self) -> FollowProgress:
        """Take in the next blocks, at most a range of history or the few blocks below the head.

        Raises:
            ChainUnavailable: the chain does not answer, or not sensibly. ChainMismatch: another chain.
            ChainRegressed: a final block is gone. IndexForeign, IndexCorrupt: rebuild the index.
        """
        self._check_identity()
        head = self._gateway.head()
        final = self._finality.final_point(self._gateway, head)
        problem = None
        try:
            self._go_back(head)
            self._index.learn(self._keys)
            self._go_forward(head, final.number if final else -1)
            self._keep_final(final)
        except (LogsMissing, LogsInvalid) as error:
            # The chain's answer is incomplete or contradicts itself: it is asked again, for less.
            self._range = FEWEST_BLOCKS
            problem = error.code
        progress = self._progress(head, problem)
        if not progress.behind:
            self._index.reach_head()
        return progress

    def rebuild(self) -> None:
        """Forget the index, so that the next steps build it anew from block 0."""
        self._index.clear()
        self._bound = False
        self._range = FEWEST_BLOCKS

    # Is it our chain?

    def _check_identity(self) -> None:
        final = self._index.final_point()
        genesis, *rest = self._gateway.blocks([0] if final is None else [0, final.number])
        if genesis is None or genesis.hash != self._deployment.genesis:
            raise ChainMismatch(
                "the chain has another genesis block",
                hint="check chain_rpc; another genesis is another chain and needs a node of its own",
            )
        if final is not None and (rest[0] is None or rest[0].hash != final.hash):
            raise _regressed(final.number)
        if not self._bound:
            self._bind()

    def _bind(self) -> None:
        if self._gateway.chain_id() != self._deployment.chain_id:
            raise ChainMismatch("the chain has another chain id", hint="check chain_rpc and chain_id")
        made = self._deployment
        self._index.bind(
            Identity(
                LAYOUT, made.chain_id, made.genesis, made.directory, made.members, made.ledger, made.catalog
            )
        )
        self._bound = True

    # Backward

    def _go_back(self, head: Block) -> None:
        """Roll back to the newest block that the chain still has."""
        while (cursor := self._index.cursor()) is not None and not self._is_on_chain(cursor, head):
            self._hashes.clear()
            try:
                self._index.rollback(cursor.number - 1)
            except RollbackTooDeep:
                raise _regressed(cursor.number) from None

    def _is_on_chain(self, point: BlockPoint, head: Block) -> bool:
        if point.number >= head.number:
            return point.number == head.number and point.hash == head.hash
        block = self._gateway.block(point.number)
        return block is not None and block.hash == point.hash

    # Forward

    def _go_forward(self, head: Block, final_number: int) -> None:
        cursor = self._index.cursor()
        first = cursor.number + 1 if cursor else 0
        history = min(final_number, max(head.number - NEAR_BLOCKS, -1))
        # So near the head a step goes on to it: where blocks come as fast as steps, it would never be reached.
        if first <= history and first + FEWEST_BLOCKS <= head.number:
            self._take_range(first, min(first + self._range - 1, history))
        else:
            self._take_blocks(first, min(head.number, first + FEWEST_BLOCKS - 1), final_number)

    def _take_range(self, first: int, last: int) -> None:
        """Take in final blocks, a group in one write."""
        try:
            blocks = self._linked(first, last)
            if len(blocks) <= last - first:
                raise LogsInvalid("the chain's final blocks are not one chain", first=first, last=last)
            taken_bytes = 0
            for group in self._history.read(blocks):
                self._index.apply_final(self._worth_writing(group))
                taken_bytes += _size(group)
                if taken_bytes > AIM_BYTES:
                    return
        except ChainUnavailable:
            # Too much at once is one of the reasons; the next step asks for less.
            self._range = max(FEWEST_BLOCKS, self._range // 2)
            raise
        self._range = min(MOST_BLOCKS, self._range * 2)

    def _take_blocks(self, first: int, last: int, final_number: int) -> None:
        """Take in blocks one by one. A fork ends the step; the next one finds it."""
        taken_bytes = 0
        for group in self._history.read(self._linked(first, last)):
            for proven in group:
                self._index.apply(self._decode(proven), final=proven.block.number <= final_number)
                self._hashes[proven.block.number] = proven.block.hash
            taken_bytes += _size(group)
            if taken_bytes > AIM_BYTES:
                return

    def _linked(self, first: int, last: int) -> list[Block]:
        """Return the blocks first..last, up to the first that is not the child of the one before."""
        cursor = self._index.cursor()
        parent = cursor.hash if cursor else None
        found: list[Block] = []
        for number, block in enumerate(self._gateway.blocks(range(first, last + 1)), first):
            if block is None or block.number != number:
                break
            if (block.parent_hash != parent) if number else (block.hash != self._deployment.genesis):
                break
            found.append(block)
            parent = block.hash
        return found

    def _worth_writing(self, group: Sequence[ProvenBlock]) -> list[events.IndexedBlock]:
        """Return the blocks that hold events, and the last one, where the index then stands."""
        return [self._decode(proven) for proven in group if proven.logs or proven is group[-1]]

    def _decode(self, proven: ProvenBlock) -> events.IndexedBlock:
        return read_block(proven.block, proven.logs, self._deployment)

    # Where we stand

    def _keep_final(self, final: FinalPoint | None) -> None:
        cursor = self._index.cursor()
        if final is None or cursor is None:
            return
        if cursor.number < final.number:
            # History up to here was final before we read it: its own newest block is as far as we know.
            self._index.final(FinalPoint(cursor.number, cursor.hash, cursor.time, final.label))
            return
        # After a start nobody knows the newest blocks' hashes; the next final block will be one that was read.
        known = cursor.hash if cursor.number == final.number else self._hashes.get(final.number)
        if known not in (None, final.hash):
            raise LogsInvalid("the final block is not of the chain that was read", block=final.number)
        if known:
            self._index.final(final)
            self._hashes = {number: name for number, name in self._hashes.items() if number >= final.number}

    def _progress(self, head: Block, problem: str | None) -> FollowProgress:
        cursor = self._index.cursor()
        indexed_to = cursor.number if cursor else -1
        late = head.time - (cursor.time if cursor else 0) > LATE_SECONDS
        if problem is None and late and head.number - indexed_to > NEAR_BLOCKS:
            problem = "index_behind"
        return FollowProgress(
            indexed_to,
            head.number,
            head.time,
            self._index.final_point(),
            max(0, head.number - indexed_to),
            problem,
        )


def _size(group: Sequence[ProvenBlock]) -> int:
    return sum(len(log.body) for proven in group for log in proven.logs)


def _regressed(number: int) -> ChainRegressed:
    return ChainRegressed(
        "the chain no longer has a block that was final",
        hint="bring the chain back from its newest copy; the node sends again what is missing",
        block=number,
    )


# From logs to events


def read_block(block: Block, logs: Sequence[Log], deployment: Deployment) -> events.IndexedBlock:
    """Decode the contracts' events of a block, in their order.

    A member may publish text that is not UTF-8; such an event is counted and left out, since it must not
    stop every reader of the chain.

    Raises:
        ChainAnswerMalformed: an event does not fit its ABI. LogsInvalid: the order is not the chain's.
    """
    if [log.log_index for log in logs] != sorted({log.log_index for log in logs}):
        raise LogsInvalid("the chain's events are out of order", block=block.number)
    found: list[events.Event] = []
    unreadable = 0
    for log in logs:
        try:
            found.extend(_read_log(log, deployment))
        except ChainAnswerMalformed as error:
            if not isinstance(error.__cause__, UnicodeDecodeError):
                raise
            unreadable += 1
    return events.IndexedBlock(
        block.number, block.hash, block.parent_hash, block.time, tuple(found), unreadable
    )


def _read_log(log: Log, deployment: Deployment) -> Iterator[events.Event]:
    if log.address == deployment.ledger and log.topics and log.topics[0] == _BATCH_TOPIC:
        entry, records = parse_batch_appended(log)
        yield events.BatchAppended(entry, records, log.transaction_hash)
        return
    contract = {deployment.ledger: "Ledger", deployment.members: "Members", deployment.catalog: "Catalog"}
    name, values = decode_event(contract[log.address], log)
    reader = _READERS.get(name)
    if reader is not None:
        yield reader(values, log)


_BATCH_TOPIC: Final = event_topic("Ledger", "BatchAppended")


def _admitted(values: Any, _log: Log) -> events.MemberAdmitted:
    profile = values["profile"]
    return events.MemberAdmitted(
        member_id=values["memberId"],
        account=profile["account"],
        role=profile["role"],
        level=profile["level"],
        area=profile["area"],
        uscc=profile["uscc"],
        valid_from=profile["validFrom"],
        valid_until=profile["validUntil"],
        name=profile["name"],
        endpoint=profile["endpoint"],
        hpke_key=profile["hpkeKey"],
    )


def _published(values: Any, log: Log) -> events.EntryPublished:
    return events.EntryPublished(
        key=values["key"],
        kind=values["kind"],
        code=values["code"],
        version=values["version"],
        owner=values["owner"],
        digest=values["digest"],
        state=values["state"],
        text=values["text"],
        transaction_hash=log.transaction_hash,
        log_index=log.log_index,
    )


def _fields(event: Any, *names: str) -> Any:
    """Return a reader that makes `event` from the values of these names, in order."""
    return lambda values, _log: event(*[values[name] for name in names])


_READERS: Final[dict[str, Any]] = {
    "StatusChanged": _fields(events.StatusChanged, "memberId", "commitment", "value"),
    "DocumentRevoked": _fields(events.DocumentRevoked, "memberId", "document", "value"),
    "Consumed": _fields(events.Consumed, "nullifier", "memberId", "useCommitment"),
    "ConsumptionCleared": _fields(events.ConsumptionCleared, "nullifier"),
    "MemberAdmitted": _admitted,
    "MemberStateChanged": _fields(events.MemberStateChanged, "memberId", "state"),
    "MemberAccountRotated": _fields(events.MemberAccountRotated, "memberId", "account"),
    "MemberSuccessorNamed": _fields(events.MemberSuccessorNamed, "memberId", "successor"),
    "MemberEndpointSet": _fields(events.MemberEndpointSet, "memberId", "endpoint"),
    "MemberHpkeKeySet": _fields(events.MemberHpkeKeySet, "memberId", "hpkeKey"),
    "EnvelopePublished": _fields(events.EnvelopePublished, "domain", "epoch", "memberId", "envelope"),
    "SignersSet": _fields(events.SignersSet, "fromBlock", "signers"),
    "EntryPublished": _published,
    "EntryStateChanged": _fields(events.EntryStateChanged, "key", "version", "state"),
    "EntryOwnerChanged": _fields(events.EntryOwnerChanged, "key", "owner"),
}
