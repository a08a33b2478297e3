"""An outbox over LevelDB under load: records and revocations come while the chain misbehaves."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from anchor.chain.contracts import decode_result, encode_call, event_topic, gas_for, parse_batch_appended
from anchor.chain.gateway import Gateway
from anchor.outbox import AppendOperation, CallOperation, Operation, Outbox, OutboxProgress
from anchor.outbox_rows import mark_key
from anchor.records import RECORD_BYTES, Stream
from anchor.signer import Signer
from node.store.leveldb import LevelStore
from tests.faults.wild_chain import LaggingFinality, WildChain
from tests.integration.running_chain import random_record
from tests.support.waiting import BOUND_S

BATCH_RECORDS = 8
WINDOW = 6
REVOKED = 4


class LoadedOutbox:
    """One node's outbox with the thread that steps it; it may be killed and started again at any moment."""

    def __init__(
        self, chain: WildChain, folder: Path, *, rpc: str, member_id: int, signer: Signer, depth: int
    ) -> None:
        self.chain, self.member_id, self.signer = chain, member_id, signer
        self._folder, self._rpc, self._finality = folder, rpc, LaggingFinality(depth)
        self.records: dict[str, bytes] = {}
        self.revoked: dict[str, bytes] = {}
        self.problems: Counter[str] = Counter()
        self._broken: BaseException | None = None
        self._looks = 0
        LevelStore.create(folder, node_id=folder.name, seal=None).close()
        self._open()

    def put(self, records: int, *, revocations: int = 0) -> None:
        """Promise records, and revocations of records that were promised before."""
        first = len(self.records)
        fresh = {f"{self._folder.name}-{first + at}": random_record() for at in range(records)}
        earlier = [record[:32] for record in self.records.values()][len(self.revoked) :]
        acts = {
            f"{self._folder.name}-x{len(self.revoked) + at}": earlier[at]
            for at in range(min(revocations, len(earlier)))
        }
        operations: list[tuple[str, Operation]] = [
            (name, AppendOperation(Stream.MATERIAL, record)) for name, record in fresh.items()
        ]
        operations += [(name, self._revocation(commitment)) for name, commitment in acts.items()]
        self._store.write(self.outbox.enqueue(operations), sync=True)
        self.records |= fresh
        self.revoked |= acts
        self.outbox.wake()

    def _revocation(self, commitment: bytes) -> CallOperation:
        calldata = encode_call("Ledger", "revoke", self.member_id, commitment, REVOKED)
        return CallOperation("Ledger", calldata, gas_for("Ledger", "revoke", calldata))

    def restart(self) -> None:
        """Open all anew, as a process that was killed."""
        self.close()
        self._open()

    def close(self) -> None:
        """Stop stepping and close the store. Raises what stopped the thread."""
        self._ended.set()
        self.outbox.wake()
        self._thread.join()
        self._store.close()
        self._gateway.close()
        if self._broken is not None:
            raise self._broken

    def settle(self) -> None:
        """Wait until all that was promised is final, by looks at the chain that began after this call."""
        deadline, known = time.monotonic() + BOUND_S, self._looks + 2
        while True:
            if self._broken is not None:
                raise self._broken
            progress = self.outbox.progress()
            waits = progress.queued or progress.in_flight or progress.included or progress.problem
            if self._looks >= known and not waits and self.states() == {"final"}:
                return
            assert time.monotonic() < deadline, (progress, self.problems)
            time.sleep(0.05)

    def final_height(self) -> int:
        """Return the last final block that the outbox has seen."""
        raw = self._store.get(mark_key("final")) or bytes(8)
        return int.from_bytes(raw[:8])

    def states(self) -> set[str]:
        """Return the states of all that was promised."""
        found = [self.outbox.status_of(name) for name in [*self.records, *self.revoked]]
        return {str(status.state) if status else "unknown" for status in found}

    def foreign(self, nonce: int, *, calldata: bytes = b"") -> bytes:
        """Sign a transaction with the member's key that this outbox knows nothing of."""
        to = self.chain.deployment.ledger if calldata else self.signer.address
        return self.signer.sign_transaction(
            chain_id=self.chain.deployment.chain_id, nonce=nonce, to=to, calldata=calldata, gas=400_000
        ).raw

    def _open(self) -> None:
        self._store = LevelStore.open(self._folder, seal=None)
        self._gateway = Gateway(self._rpc, timeout_s=5.0)
        self.outbox = Outbox(
            self._store,
            gateway=self._gateway,
            signer=self.signer,
            deployment=self.chain.deployment,
            member_id=self.member_id,
            finality=self._finality,
            batch_records=BATCH_RECORDS,
            window=WINDOW,
            gather_s=0.01,
        )
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                progress: OutboxProgress = self.outbox.step()
                self._looks += 1
                if progress.problem:
                    self.problems[progress.problem] += 1
                self.outbox.wait(0.02)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
            self._broken = error


def expect_once(chain: WildChain, *nodes: LoadedOutbox) -> None:
    """Each record is on chain once and no other of the member is; what was revoked is, and nothing else.

    Each operation's transaction is in the block that the outbox names.
    """
    (member_id,) = {node.member_id for node in nodes}
    promised = [record for node in nodes for record in node.records.values()]
    found = appended(chain, member_id)
    lost, surplus = Counter(promised) - Counter(found), Counter(found) - Counter(promised)
    assert not lost and not surplus, f"lost {_names(lost, nodes)}, surplus {_names(surplus, nodes)}"
    revoked = {commitment for node in nodes for commitment in node.revoked.values()}
    for record in promised:
        assert _is_revoked(chain, member_id, record[:32]) == (record[:32] in revoked)
    for node in nodes:
        assert node.states() == {"final"}
        _expect_places(chain, node)


def _names(found: Counter[bytes], nodes: Sequence[LoadedOutbox]) -> list[str]:
    """Name records with what the outbox says of them."""
    told = {record: (name, node) for node in nodes for name, record in node.records.items()}
    return [
        f"{told[record][0]} {told[record][1].outbox.status_of(told[record][0])}"
        if record in told
        else "foreign"
        for record in found
    ]


def _expect_places(chain: WildChain, node: LoadedOutbox) -> None:
    placed: dict[int, set[bytes]] = {}
    for name in [*node.records, *node.revoked]:
        status = node.outbox.status_of(name)
        assert status is not None and status.block_number and status.transaction_hash
        placed.setdefault(status.block_number, set()).add(status.transaction_hash)
    for number, names in placed.items():
        block = chain.gateway.block(number)
        assert block is not None and names <= set(block.transactions)


def appended(chain: WildChain, member_id: int) -> list[bytes]:
    """Read a member's records from the chain itself."""
    topic, found = event_topic("Ledger", "BatchAppended"), []
    for log in chain.gateway.logs([chain.deployment.ledger], first=0, last=chain.height()):
        if log.topics[0] == topic and int.from_bytes(log.topics[2]) == member_id:
            _, records = parse_batch_appended(log)
            found += [bytes(records[at : at + RECORD_BYTES]) for at in range(0, len(records), RECORD_BYTES)]
    return found


def _is_revoked(chain: WildChain, member_id: int, commitment: bytes) -> bool:
    call = encode_call("Ledger", "statusOf", member_id, commitment)
    (word,) = decode_result("Ledger", "statusOf", chain.gateway.call(chain.deployment.ledger, call))
    return any(word)


def mix(chance: random.Random, node: LoadedOutbox) -> None:
    """Promise some more."""
    node.put(chance.randrange(4, 30), revocations=chance.randrange(0, 3))
