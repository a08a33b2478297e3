"""Chains for tests of index and follower: blocks with real records, roots and logs; a scripted gateway."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from datetime import date
from functools import reduce
from operator import or_
from types import MappingProxyType
from typing import Any

import rlp
from eth_abi.abi import encode
from eth_utils import keccak
from trie import HexaryTrie

from anchor.chain.deploy import Deployment
from anchor.chain.finality import FinalPoint
from anchor.chain.gateway import Block, BlockReceipt, Log
from anchor.commitments import Commitment
from anchor.entries import BatchEntry, SlotStatus, StatusFlag, document_name, encode_status
from anchor.errors import ChainUnavailable
from anchor.headers import Header, encode_header
from anchor.keyvalue import KeyValue
from anchor.merkle import leaf_hash, root
from anchor.records import Flag, MaterialRecord, Stream, encode_record
from anchor.tags import ZERO_TAG, DomainKeys, Tag, derive_domain_keys
from contracts import load_artifact
from tests.unit.keyvalue_suite import MemoryKeyValue
from verifier import events
from verifier.catalog import KIND_NUMBERS, entry_key, render_entry
from verifier.index import ChainIndex
from verifier.keyring import KeyRing
from verifier.proofs.receipts import bloom_mask
from verifier.subjects import Subject

T0 = 1_790_000_000  # 2026-09-21, a Monday.
CITY, HEALTH = derive_domain_keys(1, 1, b"c" * 32), derive_domain_keys(2, 1, b"h" * 32)
CITY_2 = derive_domain_keys(1, 2, b"d" * 32)
DEPLOYMENT = Deployment(310000, b"", *[bytes([number]) * 20 for number in range(1, 6)])
FIRM = Subject("001", "91310104FAKE01016E")
OTHER_FIRM = Subject("001", "91320509FAKE01024A")
SHA = hashlib.sha256(b"a licence").digest()


def commitment(name: object) -> Commitment:
    """A commitment that looks random and is always the same for one name."""
    return Commitment(hashlib.sha256(f"commitment {name}".encode()).digest())


def material(
    name: object = "m",
    *,
    keys: DomainKeys = CITY,
    subject: Subject | None = FIRM,
    type_code: str = "M1002",
    sha256: bytes = SHA,
    document_no: str | None = None,
    issued_on: date | None = None,
    expires_on: date | None = None,
    flags: Flag = Flag.NONE,
    line: int = 0,
) -> bytes:
    """The 96 bytes of a material's record under its commitment `name`."""
    record = MaterialRecord(
        commitment(name),
        keys.domain,
        keys.epoch,
        line,
        keys.subject_tag(subject.id_type, subject.id, type_code) if subject else ZERO_TAG,
        keys.content_tag(sha256),
        keys.doc_tag(type_code, document_no) if document_no else ZERO_TAG,
        issued_on,
        expires_on,
        flags,
    )
    return encode_record(record, keys)


def status(
    member_id: int, name: object, flags: StatusFlag, *, reason: int = 1, since: int = T0
) -> events.StatusChanged:
    """A status event on the claim `name`."""
    value = encode_status(SlotStatus(flags, since, reason, b""))
    return events.StatusChanged(member_id, commitment(name), value)


def document_revoked(
    member_id: int, document_no: str, *, type_code: str = "M1002", keys: DomainKeys = CITY
) -> events.DocumentRevoked:
    """A member's revocation of a document number."""
    document = document_name(keys.domain, keys.epoch, keys.doc_tag(type_code, document_no))
    value = encode_status(SlotStatus(StatusFlag.REVOKED, T0, 7, b""))
    return events.DocumentRevoked(member_id, document, value)


def admitted(member_id: int, **changes: Any) -> events.MemberAdmitted:
    """A district admitted by the council."""
    plain: dict[str, Any] = {
        "member_id": member_id,
        "account": bytes([member_id]) * 20,
        "role": 3,
        "level": 1,
        "area": 310104,
        "uscc": b"12310104FAKE0011X9",
        "valid_from": 0,
        "valid_until": 0,
        "name": f"member {member_id}",
        "endpoint": f"https://member{member_id}.example",
        "hpke_key": bytes([member_id]) * 32,
    }
    return events.MemberAdmitted(**plain | changes)


def published(
    kind: str,
    code: str,
    value: object,
    *,
    version: int = 1,
    state: int = 2,
    owner: int = 1,
    log_index: int = 0,
) -> events.EntryPublished:
    """A version of a valid entry."""
    return published_text(
        kind,
        code,
        render_entry(kind, code, value),
        version=version,
        state=state,
        owner=owner,
        log_index=log_index,
    )


def published_text(
    kind: str, code: str, text: bytes, *, version: int = 1, state: int = 2, owner: int = 1, log_index: int = 0
) -> events.EntryPublished:
    """A version of an entry with any text."""
    return events.EntryPublished(
        key=entry_key(kind, code),
        kind=KIND_NUMBERS[kind],
        code=code,
        version=version,
        owner=owner,
        digest=hashlib.sha256(text).digest(),
        state=state,
        text=text,
        transaction_hash=hashlib.sha256(text).digest(),
        log_index=log_index,
    )


def names(text: str) -> dict[str, str]:
    """A display name."""
    return {"zh": f"{text}(演示)", "en": text}


def agency_value(member_id: int, *, area: str = "310000", role: str = "issuer") -> dict[str, Any]:
    """An agency's entry."""
    return {"name": names("agency"), "area": area, "level": "city", "memberId": member_id, "role": role}


def type_value(**changes: Any) -> dict[str, Any]:
    """A material type's entry: a licence issued by 11310000FAKE000212."""
    plain: dict[str, Any] = {
        "name": names("licence"),
        "kind": "certificate",
        "subjectKinds": ["001"],
        "level": "L1",
        "shareType": "1",
        "issuers": ["11310000FAKE000212"],
        "domains": [1],
        "indexed": True,
        "freshnessSeconds": 3600,
        "retention": "permanent",
        "consumeOnce": False,
    }
    return plain | changes


@dataclass
class Chain:
    """A chain under construction. `add` mines a block of events; `fork` goes back to try another future."""

    blocks: list[events.IndexedBlock] = field(default_factory=list)
    salt: str = ""
    headers: dict[bytes, Header] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.add()

    @property
    def genesis(self) -> bytes:
        return self.blocks[0].hash

    @property
    def head(self) -> events.IndexedBlock:
        return self.blocks[-1]

    def add(self, *found: events.Event, seconds: int = 1) -> events.IndexedBlock:
        """Mine a block with these events."""
        number = len(self.blocks)
        parent = self.blocks[-1].hash if self.blocks else bytes(32)
        time = self.blocks[-1].time + seconds if self.blocks else T0
        header = header_over(number, parent, time, found, extra=self.salt.encode())
        block = events.IndexedBlock(number, keccak(header.raw), parent, time, found)
        self.headers[block.hash] = header
        self.blocks.append(block)
        return block

    def append(
        self, member_id: int, *records: bytes, stream: Stream = Stream.MATERIAL
    ) -> events.IndexedBlock:
        """Mine a block with one batch."""
        return self.add(self.batch(member_id, *records, stream=stream))

    def batch(
        self, member_id: int, *records: bytes, stream: Stream = Stream.MATERIAL, ahead: int = 0
    ) -> events.BatchAppended:
        """The next batch of the log; `ahead` counts batches that go before it into the same block."""
        before = [
            event
            for block in self.blocks
            for event in block.events
            if isinstance(event, events.BatchAppended)
        ]
        leaves = [leaf_hash(member_id.to_bytes(4, "big") + record) for record in records]
        entry = BatchEntry(
            len(before) + ahead,
            member_id,
            stream,
            sum(event.entry.member_id == member_id for event in before) + ahead,
            len(records),
            root(leaves),
            self.head.time + 1,
        )
        return events.BatchAppended(entry, b"".join(records), leaf_hash(root(leaves)))

    def fork(self, number: int, *, salt: str = "fork") -> None:
        """Forget all blocks above `number`; new ones get other hashes."""
        del self.blocks[number + 1 :]
        self.salt = salt


def index_of(chain: Chain, *keys: DomainKeys, kv: KeyValue | None = None, final: bool = True) -> ChainIndex:
    """An index of the whole chain, its head final unless told."""
    index = ChainIndex(kv or MemoryKeyValue())
    index.use_keys(ring(*keys or (CITY,)))
    for block in chain.blocks:
        index.apply(block)
    if final:
        make_final(index, chain)
    return index


def make_final(index: ChainIndex, chain: Chain, number: int = -1) -> None:
    """Let a block of the chain, by default its head, be final."""
    block = chain.blocks[number]
    index.final(FinalPoint(block.number, block.hash, block.time, "operator"))


def ring(*keys: DomainKeys) -> KeyRing:
    """A ring of these keys."""
    return KeyRing({(key.domain, key.epoch): key for key in keys})


def content(keys: DomainKeys = CITY, sha256: bytes = SHA) -> list[Tag]:
    """The content tag of a file, as a list."""
    return [keys.content_tag(sha256)]


# Logs, as the contracts would write them

_CONTRACTS = {
    events.BatchAppended: "Ledger",
    events.StatusChanged: "Ledger",
    events.DocumentRevoked: "Ledger",
    events.Consumed: "Ledger",
    events.ConsumptionCleared: "Ledger",
    events.EntryPublished: "Catalog",
    events.EntryStateChanged: "Catalog",
    events.EntryOwnerChanged: "Catalog",
}


def to_log(event: events.Event, block: events.IndexedBlock, log_index: int) -> Log:
    """Encode an event as the log that its contract would emit."""
    contract = _CONTRACTS.get(type(event), "Members")
    abi = next(
        item
        for item in load_artifact(contract).abi
        if item["type"] == "event" and item["name"] == type(event).__name__
    )
    values = _values(event)
    indexed = [part for part in abi["inputs"] if part["indexed"]]
    plain = [part for part in abi["inputs"] if not part["indexed"]]
    signature = f"{abi['name']}({','.join(_type(part) for part in abi['inputs'])})"
    topics = [keccak(text=signature), *[encode([part["type"]], [values[part["name"]]]) for part in indexed]]
    body = encode([_type(part) for part in plain], [values[part["name"]] for part in plain])
    transaction = getattr(event, "transaction_hash", None) or hashlib.sha256(body).digest()
    return Log(
        DEPLOYMENT.address_of(contract), tuple(topics), body, block.number, block.hash, transaction, log_index
    )


def _values(event: Any) -> dict[str, Any]:
    values = {_camel(one.name): getattr(event, one.name) for one in fields(event)}
    if isinstance(event, events.BatchAppended):
        values |= {_camel(one.name): getattr(event.entry, one.name) for one in fields(event.entry)}
    if isinstance(event, events.MemberAdmitted):
        values["profile"] = tuple(value for name, value in values.items() if name != "memberId")
    if isinstance(event, events.ConsumptionCleared):
        values["reason"] = 1
    return values


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.title() for part in tail)


def _type(part: dict[str, Any]) -> str:
    if part["type"] != "tuple":
        kind: str = part["type"]
        return kind
    return f"({','.join(_type(inner) for inner in part['components'])})"


def receipts_of(block: events.IndexedBlock) -> list[BlockReceipt]:
    """The receipts of a block whose transactions made one event each."""
    found = []
    for number, event in enumerate(block.events):
        log = to_log(event, block, number)
        bloom = reduce(or_, map(bloom_mask, (log.address, *log.topics))).to_bytes(256, "big")
        found.append(BlockReceipt(log.transaction_hash, 0, 1, 21_000 * (number + 1), bloom, (log,)))
    return found


def header_over(
    number: int, parent: bytes, time: int, found: Sequence[events.Event], *, extra: bytes
) -> Header:
    """The header of a block that holds these events. Receipts by the libraries `rlp` and `trie`, not by ours."""
    receipts = receipts_of(events.IndexedBlock(number, bytes(32), parent, time, tuple(found)))
    tree = HexaryTrie({})
    for index, one in enumerate(receipts):
        logs = [[log.address, list(log.topics), log.body] for log in one.logs]
        tree[rlp.encode(index)] = rlp.encode([one.status, one.cumulative_gas, one.bloom, logs])
    bloom = reduce(or_, (int.from_bytes(one.bloom, "big") for one in receipts), 0)
    numbers = (2, number, 60_000_000, 21_000 * len(receipts), time)
    fields = [parent, bytes(32), bytes(20), bytes(32), bytes(32), tree.root_hash, bloom.to_bytes(256, "big")]
    fields += [one.to_bytes((one.bit_length() + 7) // 8, "big") for one in numbers]
    return encode_header([*fields, extra, bytes(32), bytes(8)])


@dataclass
class ScriptedReceipts:
    """Receipts under way, as `Gateway.ask_receipts` returns them."""

    result: Callable[[], list[list[BlockReceipt]]]
    dropped: bool = False

    def drop(self) -> None:
        self.dropped = True


@dataclass
class ScriptedGateway:
    """Answers from a `Chain` as a client would; `spoil` may change what it answers, call by call."""

    chain: Chain
    chain_id_: int = 310000
    spoil: Callable[[str, Any], Any] | None = None
    calls: list[str] = field(default_factory=list)

    def chain_id(self) -> int:
        return self._answer("chain_id", self.chain_id_)

    def head(self) -> Block:
        return self._answer("head", self._block(self.chain.head.number))

    def block(self, name: Any = "latest") -> Block | None:
        return self._answer("block", self._block(name))

    def blocks(self, numbers: Sequence[int]) -> list[Block | None]:
        return self._answer("blocks", [self._block(number) for number in numbers])

    def ask_receipts(self, blocks: Sequence[Block]) -> ScriptedReceipts:
        return ScriptedReceipts(lambda: self._answer("receipts", [self._receipts(one) for one in blocks]))

    def _answer(self, method: str, answer: Any) -> Any:
        self.calls.append(method)
        return self.spoil(method, answer) if self.spoil else answer

    def _receipts(self, block: Block) -> list[BlockReceipt]:
        found = next((one for one in self.chain.blocks if one.hash == block.hash), None)
        if found is None:
            raise ChainUnavailable("unknown block")
        return receipts_of(found)

    def _block(self, number: int) -> Block | None:
        if not 0 <= number < len(self.chain.blocks):
            return None
        block = self.chain.blocks[number]
        transactions = tuple(one.transaction_hash for one in receipts_of(block))
        return Block(
            block.number,
            block.hash,
            block.parent_hash,
            block.time,
            transactions,
            60_000_000,
            MappingProxyType(_render_header(self.chain.headers[block.hash])),
        )


HEADER_NAMES = (
    *("parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom"),
    *("difficulty", "number", "gasLimit", "gasUsed", "timestamp", "extraData", "mixHash", "nonce"),
)


def _render_header(header: Header) -> dict[str, str]:
    """The header as a client's JSON has it: numbers have a digit, strings may be empty."""
    shown = {name: "0x" + value.hex() for name, value in zip(HEADER_NAMES, header.fields, strict=True)}
    return shown | {name: hex(int("0" + shown[name][2:], 16)) for name in HEADER_NAMES[7:12]}
