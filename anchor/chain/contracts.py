"""The contracts' ABI in one home: calls, results, events, reverts and gas.

Built from the compiled artifacts, so a function or event that is not in them is an error here and not on chain.
Addresses are 20 bytes both ways; structs are mappings by the Solidity names. The one large event, BatchAppended, is
parsed by fixed offsets (docs/reference/batch-and-log.md); the small ones go through eth_abi.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from eth_abi.abi import decode, encode

from anchor.chain.errors import AbiMismatch
from anchor.chain.gateway import Log
from anchor.entries import MAX_BATCH_RECORDS, BatchEntry
from anchor.errors import ArtifactMissing, ChainAnswerMalformed
from anchor.keccak import keccak
from anchor.records import RECORD_BYTES, Stream
from contracts import Artifact, ArtifactNotFoundError, load_artifact

CONTRACT_NAMES: Final = ("Authority", "Directory", "Members", "Ledger", "Catalog")
WORD: Final = 32
MAX_CALLDATA_BYTES: Final = (128 << 10) - 256  # Common clients take transactions of at most 128 KiB.
_BUILT_IN_ERRORS: Final[dict[bytes, tuple[str, list[str]]]] = {
    keccak(b"Error(string)")[:4]: ("Error", ["string"]),
    keccak(b"Panic(uint256)")[:4]: ("Panic", ["uint256"]),
}


@dataclass(frozen=True, slots=True)
class _Item:
    """One function, event or error of an ABI, with what coding it needs."""

    name: str
    selector: bytes
    inputs: tuple[dict[str, Any], ...]
    outputs: tuple[dict[str, Any], ...]


# Artifacts


def artifact_of(contract: str) -> Artifact:
    """Return a compiled contract. Raises ArtifactMissing."""
    try:
        return load_artifact(contract)
    except ArtifactNotFoundError as error:
        raise ArtifactMissing(
            "a compiled contract is not in this installation", hint="install the release again"
        ) from error


def creation_code(contract: str, *arguments: object) -> bytes:
    """Return the calldata that creates `contract` with these constructor arguments. Raises AbiMismatch."""
    artifact = artifact_of(contract)
    inputs: list[dict[str, Any]] = next(
        (item["inputs"] for item in artifact.abi if item["type"] == "constructor"), []
    )
    return bytes.fromhex(artifact.bytecode.removeprefix("0x")) + _encode(inputs, arguments)


@cache
def _items(contract: str, kind: str) -> dict[str, _Item]:
    return {item["name"]: _item(item) for item in artifact_of(contract).abi if item["type"] == kind}


def _item(item: dict[str, Any]) -> _Item:
    signature = f"{item['name']}({','.join(_type(part) for part in item['inputs'])})"
    return _Item(
        item["name"], keccak(signature.encode()), tuple(item["inputs"]), tuple(item.get("outputs", ()))
    )


def _find(contract: str, kind: str, name: str) -> _Item:
    found = _items(contract, kind).get(name)
    if found is None:
        raise AbiMismatch(f"{contract} has no {kind} of this name", contract=contract)
    return found


def _type(part: Mapping[str, Any]) -> str:
    """Return the canonical type of an ABI part, with the types of a struct's components written out."""
    kind: str = part["type"]
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_type(inner) for inner in part['components'])}){kind.removeprefix('tuple')}"


# Calls and results


def encode_call(contract: str, function: str, *arguments: object) -> bytes:
    """Encode the calldata of a function call. Raises AbiMismatch when the arguments do not fit."""
    item = _find(contract, "function", function)
    return item.selector[:4] + _encode(item.inputs, arguments)


def decode_result(contract: str, function: str, raw: bytes) -> tuple[Any, ...]:
    """Decode what a view returned, always as a tuple. Raises ChainAnswerMalformed."""
    return tuple(_decode(_find(contract, "function", function).outputs, raw).values())


def selector(contract: str, function: str) -> bytes:
    """Return the 4-byte selector of a function."""
    return _find(contract, "function", function).selector[:4]


def _encode(parts: Sequence[Mapping[str, Any]], values: Sequence[object]) -> bytes:
    if len(values) != len(parts):
        raise AbiMismatch("the number of arguments does not fit the contract", expected=len(parts))
    prepared = [_prepare(part, value) for part, value in zip(parts, values, strict=True)]
    try:
        return encode([_type(part) for part in parts], prepared)
    except Exception as error:  # eth_abi and its coders raise unrelated types for a value that does not fit.
        raise AbiMismatch("an argument does not fit the contract's type") from error


def _prepare(part: Mapping[str, Any], value: Any) -> Any:
    """Turn mappings into the tuples that eth_abi wants, by component name, inside arrays too."""
    kind: str = part["type"]
    if not kind.startswith("tuple"):
        return value
    if kind == "tuple":
        return tuple(_prepare(inner, value[inner["name"]]) for inner in part["components"])
    element = {**part, "type": kind[: kind.rindex("[")]}
    return [_prepare(element, item) for item in value]


def _decode(parts: Sequence[Mapping[str, Any]], raw: bytes) -> dict[str, Any]:
    try:
        values = decode([_type(part) for part in parts], raw)
    except Exception as error:  # As above: any shape of wrong bytes may fail anywhere inside the coders.
        raise ChainAnswerMalformed("a contract's answer does not fit its ABI") from error
    named = zip(parts, values, strict=True)
    return {part["name"] or str(number): _restore(part, value) for number, (part, value) in enumerate(named)}


def _restore(part: Mapping[str, Any], value: Any) -> Any:
    """Turn eth_abi's addresses into 20 bytes and its struct tuples into mappings."""
    kind: str = part["type"]
    if kind.endswith("]"):
        element = {**part, "type": kind[: kind.rindex("[")]}
        return tuple(_restore(element, item) for item in value)
    if kind == "address":
        return bytes.fromhex(value[2:])
    if kind == "tuple":
        inner = zip(part["components"], value, strict=True)
        return {component["name"]: _restore(component, item) for component, item in inner}
    return value


# Events


def event_topic(contract: str, event: str) -> bytes:
    """Return the first topic of an event."""
    return _find(contract, "event", event).selector


def decode_event(contract: str, log: Log) -> tuple[str, Mapping[str, Any]]:
    """Decode an event to its name and arguments; an event this ABI does not know has the name "".

    Raises ChainAnswerMalformed when it has a known topic and does not fit it.
    """
    item = _events_by_topic(contract).get(log.topics[0] if log.topics else b"")
    if item is None:
        return "", {}
    indexed = [part for part in item.inputs if part.get("indexed")]
    if len(log.topics) != 1 + len(indexed):
        raise ChainAnswerMalformed("an event has the wrong number of topics")
    plain = [part for part in item.inputs if not part.get("indexed")]
    values = {**_decode(indexed, b"".join(log.topics[1:])), **_decode(plain, log.body)}
    return item.name, values


@cache
def _events_by_topic(contract: str) -> dict[bytes, _Item]:
    return {item.selector: item for item in _items(contract, "event").values()}


_STREAMS: Final = {int(stream): stream for stream in Stream}


def parse_batch_appended(log: Log) -> tuple[BatchEntry, bytes]:
    """Parse a BatchAppended event to its entry and the `size · 96` bytes of its records.

    Topics: event, id, memberId, stream. Body: seq | size | root | time | offset 160 | length | records, in words.
    Raises ChainAnswerMalformed when a length, range or padding is not as the Ledger writes it.
    """
    body, topics = log.body, log.topics
    number = int.from_bytes
    if len(topics) != 4 or len(body) < 6 * WORD or topics[0] != event_topic("Ledger", "BatchAppended"):
        raise _bad_batch()
    size, length = number(body[32:64]), number(body[160:192])
    stream = _STREAMS.get(number(topics[3]))
    padded = 6 * WORD + -(-length // WORD) * WORD
    if (
        stream is None
        or not 1 <= size <= MAX_BATCH_RECORDS
        or length != size * RECORD_BYTES
        or len(body) != padded
    ):
        raise _bad_batch()
    batch_id, member_id = number(topics[1]), number(topics[2])
    seq, time = number(body[:32]), number(body[96:128])
    if batch_id >> 64 or member_id >> 32 or seq >> 64 or time >> 64 or number(body[128:160]) != 5 * WORD:
        raise _bad_batch()
    entry = BatchEntry(batch_id, member_id, stream, seq, size, body[64:96], time)
    return entry, body[192 : 192 + length]


def parse_append_call(calldata: bytes) -> tuple[Stream, int, bytes]:
    """Parse the calldata of our own `append` to stream, sequence and records. Raises AbiMismatch."""
    words = [int.from_bytes(calldata[4 + WORD * index :][:WORD]) for index in range(4)]
    records = calldata[4 + 4 * WORD :][: words[3]]
    if calldata[:4] != selector("Ledger", "append") or words[0] not in _STREAMS or len(records) != words[3]:
        raise AbiMismatch("this is not the calldata of an append")
    return _STREAMS[words[0]], words[1], records


def _bad_batch() -> ChainAnswerMalformed:
    return ChainAnswerMalformed("a BatchAppended event is not as the Ledger writes it")


# Reverts


def decode_revert(reason: bytes) -> tuple[str, Mapping[str, Any]]:
    """Decode the bytes of a revert to the error's name and arguments; ("", {}) when they are none we know."""
    head, rest = reason[:4], reason[4:]
    try:
        if head in _BUILT_IN_ERRORS:
            name, kinds = _BUILT_IN_ERRORS[head]
            return name, {"0": decode(kinds, rest)[0]}
        item = _errors_by_selector().get(head)
        return (item.name, _decode(item.inputs, rest)) if item else ("", {})
    except Exception:  # noqa: BLE001 - a hostile contract may answer with anything; then there is no reason to tell.
        return "", {}


@cache
def _errors_by_selector() -> dict[bytes, _Item]:
    items = [item for contract in CONTRACT_NAMES for item in _items(contract, "error").values()]
    return {item.selector[:4]: item for item in items}


# Gas. Blocks are packed by gas limit, not by what is used, so each limit follows what the call can cost.


@dataclass(frozen=True, slots=True)
class _Gas:
    base: int
    per_byte: int = 40
    per_item: int = 0
    counted: int = 0  # Which argument is the array whose items count.


_DEFAULT_GAS: Final = _Gas(base=250_000)
_GAS: Final[dict[tuple[str, str], _Gas]] = {
    ("Ledger", "append"): _Gas(base=220_000, per_byte=35),
    ("Ledger", "revokeDocuments"): _Gas(base=90_000, per_item=32_000),
    ("Ledger", "consume"): _Gas(base=160_000),
    ("Members", "admit"): _Gas(base=400_000),
    ("Members", "publishEnvelopes"): _Gas(base=120_000, per_item=45_000, counted=2),
    ("Members", "setSigners"): _Gas(base=150_000, per_item=6_000, counted=1),
    ("Catalog", "publish"): _Gas(base=100_000, per_item=110_000),
    ("Catalog", "approveMany"): _Gas(base=80_000, per_item=25_000),
}


def gas_for_append(records: int) -> int:
    """Return the gas limit of an append: enough for any log size up to 2^32 batches and for records without zero bytes.

    Measured: 80,000 for one record, 1,512,000 for 512 (contracts/gas.json).
    """
    return 220_000 + 2_900 * records


def gas_for_creation(code: bytes) -> int:
    """Return the gas limit of creating a contract: 200 a byte stored, 16 a byte sent, and its constructor."""
    return 600_000 + 240 * len(code)


def gas_for(contract: str, function: str, calldata: bytes) -> int:
    """Return the gas limit of a call by its length and the number of its items."""
    gas = _GAS.get((contract, function), _DEFAULT_GAS)
    items = _array_length(calldata, gas.counted) if gas.per_item else 0
    return gas.base + gas.per_byte * len(calldata) + gas.per_item * items


def _array_length(calldata: bytes, argument: int) -> int:
    """Return the length of a dynamic array argument, read from the head of the calldata."""
    arguments = memoryview(calldata)[4:]
    offset = int.from_bytes(arguments[argument * WORD : (argument + 1) * WORD])
    return int.from_bytes(arguments[offset : offset + WORD])
