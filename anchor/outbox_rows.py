"""The outbox's rows: their keys, their bytes, and the table of states. Pure; `anchor/outbox.py` moves them.

    outbox/w/<id>      wanted: the operation's order; the caller writes it, and it stays
    outbox/q/<order>   queue: the operation itself; the caller writes it, and once packed it is tidied away
    outbox/s/<last>    segment: orders first..last went into the transaction of a nonce
    outbox/o/<id>      ended apart: the nonce at which it failed and why, or that it was found on chain
    outbox/t/<nonce>   transaction: state, hash, sequence, block
    outbox/r/<nonce>   its raw bytes, kept for ever: a chain that steps back is given them again
    outbox/i/<nonce>   the ids of its operations, in the order of its records
    outbox/a/<order>   operation found on chain in a transaction that this outbox does not know
    outbox/m/<name>    marks: final point, floor, sequence seen, blocks searched, orders used

Numbers are big-endian, so that rows sort by them.
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final, NamedTuple, TypeAlias

from anchor.errors import OutboxCorrupt
from anchor.records import RECORD_BYTES, Stream

PREFIX: Final = b"outbox/"
WANTED: Final = PREFIX + b"w/"
SEGMENTS: Final = PREFIX + b"s/"
OPERATIONS: Final = PREFIX + b"o/"
QUEUE: Final = PREFIX + b"q/"
TRANSACTIONS: Final = PREFIX + b"t/"
RAWS: Final = PREFIX + b"r/"
IDS: Final = PREFIX + b"i/"
ADOPTED: Final = PREFIX + b"a/"
MARKS: Final = PREFIX + b"m/"
MAX_ID_BYTES: Final = 64


class TxState(IntEnum):
    """Where a transaction is. `MOVES` lists every change there can be."""

    SUBMITTED = 1  # Stored, perhaps sent, in no block that we know of.
    INCLUDED = 2  # In a block, and it did its work.
    REVERTED = 3  # In a block that is not final, and it did nothing.
    FINAL = 4  # In a final block, and its work is done.
    DEAD = 5  # Will never do anything; its operations have moved on. Its bytes are not sent again.


MOVES: Final[dict[TxState, frozenset[TxState]]] = {
    # Mined; mined without effect; or another transaction took its nonce, or the chain refuses it for good.
    TxState.SUBMITTED: frozenset({TxState.INCLUDED, TxState.REVERTED, TxState.DEAD}),
    # Its block became final, or was taken back.
    TxState.INCLUDED: frozenset({TxState.FINAL, TxState.SUBMITTED}),
    # The block of a revert became final: nothing was left to do, or its operations move on. Or taken back.
    TxState.REVERTED: frozenset({TxState.FINAL, TxState.DEAD, TxState.SUBMITTED}),
    # The chain stepped back behind a final block.
    TxState.FINAL: frozenset({TxState.SUBMITTED}),
    # Only with other bytes: a transaction that does nothing fills the nonce.
    TxState.DEAD: frozenset({TxState.SUBMITTED}),
}


class TxKind(IntEnum):
    """What a transaction carries."""

    FILLER = 0
    APPEND = 1
    CALL = 2


class OperationState(StrEnum):
    """Where an operation is, as callers see it."""

    QUEUED = "queued"
    SUBMITTED = "submitted"
    INCLUDED = "included"
    FINAL = "final"
    FAILED = "failed"


SHOWN: Final[dict[TxState, OperationState]] = {
    TxState.SUBMITTED: OperationState.SUBMITTED,
    TxState.INCLUDED: OperationState.INCLUDED,
    # Not "failed" before its block is final: another block may still let it do its work.
    TxState.REVERTED: OperationState.SUBMITTED,
    TxState.FINAL: OperationState.FINAL,
    TxState.DEAD: OperationState.SUBMITTED,
}


# Tuples, since a push makes one of each of these two: a frozen dataclass takes three times as long.


class AppendOperation(NamedTuple):
    """Put one 96-byte record on chain, in a batch with others of its stream."""

    stream: Stream
    record: bytes


@dataclass(frozen=True, slots=True)
class CallOperation:
    """Call a contract, by its name, in a transaction of its own."""

    contract: str
    calldata: bytes
    gas: int


Operation: TypeAlias = AppendOperation | CallOperation


class Queued(NamedTuple):
    """An operation that waits."""

    order: int
    operation_id: str
    operation: Operation


# An operation that waits, as its queue row holds it: order and value. `decode_queued` reads it.
Waiting: TypeAlias = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class Group:
    """What goes into one transaction: records of one `stream`, or one call (`stream` None).

    Kept as rows: to decode each record of a full batch costs as much as all the rest of packing it.
    """

    stream: Stream | None
    waiting: Sequence[Waiting]

    def orders(self) -> list[int]:
        """Return the orders of its operations."""
        return [order for order, _ in self.waiting]

    def ids(self) -> list[bytes]:
        """Return the ids of its operations, in ASCII."""
        return [raw[2 : 2 + raw[1]] for _, raw in self.waiting]

    def records(self) -> bytes:
        """Return the records of an append, one after the other."""
        return b"".join([raw[-RECORD_BYTES:] for _, raw in self.waiting])


@dataclass(frozen=True, slots=True)
class OperationRow:
    """How an operation ended apart from its batch: failed at `nonce`, or (None) found on chain already."""

    nonce: int | None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class TxRow:
    """A transaction without its bytes. `seq` and `count` are of an append; the block is of its inclusion."""

    nonce: int
    state: TxState
    kind: TxKind
    hash: bytes
    seq: int
    count: int
    block_number: int = 0
    block_hash: bytes = bytes(32)


@dataclass(frozen=True, slots=True)
class AdoptedRow:
    """An operation whose record was found on chain, and the transaction and final block it was found in."""

    queued: Queued
    transaction_hash: bytes
    block_number: int
    block_hash: bytes


# Keys


def number_key(table: bytes, number: int) -> bytes:
    """Return the key of a row that is numbered."""
    return table + number.to_bytes(8)


def key_number(key: bytes) -> int:
    """Return the number in such a key."""
    return int.from_bytes(key[-8:])


def wanted_key(operation_id: str) -> bytes:
    """Return the key of a wanted row."""
    return WANTED + operation_id.encode("ascii")


def operation_key(operation_id: str) -> bytes:
    """Return the key of an operation row."""
    return OPERATIONS + operation_id.encode("ascii")


def mark_key(name: str) -> bytes:
    """Return the key of a mark."""
    return MARKS + name.encode("ascii")


# Values

_TRANSACTION = struct.Struct(">BB32sQIQ32s")
_PLACE = struct.Struct(">32sQ32s")
_APPEND, _CALL = 1, 2
_STREAMS: Final = {int(stream): stream for stream in Stream}


def encode_operation_row(row: OperationRow) -> bytes:
    """Encode an operation row: 8 bytes nonce and the failure, or nothing for one that was found on chain."""
    return b"" if row.nonce is None else row.nonce.to_bytes(8) + row.failure.encode()


def decode_operation_row(raw: bytes) -> OperationRow:
    """Decode an operation row. Raises OutboxCorrupt."""
    if not raw:
        return OperationRow(None)
    try:
        if len(raw) >= 8:
            return OperationRow(int.from_bytes(raw[:8]), raw[8:].decode())
    except UnicodeDecodeError as error:
        raise _corrupt("an operation row") from error
    raise _corrupt("an operation row")


def encode_segment(first: int, nonce: int) -> bytes:
    """Encode a segment row; its last order is in the key."""
    return encode_numbers([first, nonce])


def decode_segment(raw: bytes) -> tuple[int, int]:
    """Decode a segment row to its first order and nonce. Raises OutboxCorrupt."""
    if len(raw) != 16:
        raise _corrupt("a segment row")
    return int.from_bytes(raw[:8]), int.from_bytes(raw[8:])


def encode_queued(queued: Queued) -> bytes:
    """Encode a queue row's value; its order is in the key."""
    name, operation = queued.operation_id.encode("ascii"), queued.operation
    head = bytes([len(name)]) + name
    if isinstance(operation, AppendOperation):
        return bytes([_APPEND]) + head + bytes([operation.stream]) + operation.record
    contract = operation.contract.encode("ascii")
    gas = operation.gas.to_bytes(8)
    return bytes([_CALL]) + head + gas + bytes([len(contract)]) + contract + operation.calldata


def stream_of(raw: bytes) -> Stream | None:
    """Return the stream of a queue row's record, None for a call. Raises OutboxCorrupt."""
    try:
        kind, at = raw[0], 2 + raw[1]
        if kind == _APPEND and len(raw) == at + 1 + RECORD_BYTES:
            return _STREAMS[raw[at]]
    except (IndexError, KeyError) as error:
        raise _corrupt("a queue row") from error
    if kind != _CALL:
        raise _corrupt("a queue row")
    return None


def id_of(raw: bytes) -> str:
    """Return the id in a queue row's value. Raises OutboxCorrupt."""
    try:
        return raw[2 : 2 + raw[1]].decode("ascii")
    except (IndexError, UnicodeDecodeError) as error:
        raise _corrupt("a queue row") from error


def decode_queued(order: int, raw: bytes) -> Queued:
    """Decode a queue row's value. Raises OutboxCorrupt."""
    try:
        kind, at = raw[0], 2 + raw[1]
        operation_id = raw[2:at].decode("ascii")
        if kind == _APPEND and len(raw) == at + 1 + RECORD_BYTES:
            return Queued(order, operation_id, AppendOperation(_STREAMS[raw[at]], raw[at + 1 :]))
        if kind == _CALL:
            rest = raw[at:]
            stop = 9 + rest[8]
            call = CallOperation(rest[9:stop].decode("ascii"), rest[stop:], int.from_bytes(rest[:8]))
            return Queued(order, operation_id, call)
    except (IndexError, KeyError, ValueError) as error:
        raise _corrupt("a queue row") from error
    raise _corrupt("a queue row")


def encode_tx_row(row: TxRow) -> bytes:
    """Encode a transaction row; its nonce is in the key."""
    place = (row.block_number, row.block_hash)
    return _TRANSACTION.pack(row.state, row.kind, row.hash, row.seq, row.count, *place)


def decode_tx_row(nonce: int, raw: bytes) -> TxRow:
    """Decode a transaction row. Raises OutboxCorrupt."""
    try:
        state, kind, *rest = _TRANSACTION.unpack(raw)
        return TxRow(nonce, TxState(state), TxKind(kind), *rest)
    except (struct.error, ValueError) as error:
        raise _corrupt("a transaction row") from error


def encode_ids(ids: Iterable[bytes]) -> bytes:
    """Encode the ids of a transaction's operations, which are in ASCII already."""
    return b"\n".join(ids)


def decode_ids(raw: bytes) -> list[str]:
    """Decode the ids of a transaction's operations. Raises OutboxCorrupt."""
    try:
        return raw.decode("ascii").split("\n") if raw else []
    except UnicodeDecodeError as error:
        raise _corrupt("a row of ids") from error


def encode_adopted(row: AdoptedRow) -> bytes:
    """Encode an adopted row; the order is in the key."""
    return _PLACE.pack(row.transaction_hash, row.block_number, row.block_hash) + encode_queued(row.queued)


def decode_adopted(order: int, raw: bytes) -> AdoptedRow:
    """Decode an adopted row. Raises OutboxCorrupt."""
    try:
        place = _PLACE.unpack_from(raw)
    except struct.error as error:
        raise _corrupt("an adopted row") from error
    return AdoptedRow(decode_queued(order, raw[_PLACE.size :]), *place)


def encode_numbers(numbers: Sequence[int], tail: bytes = b"") -> bytes:
    """Encode a mark: 8 bytes a number, then `tail`."""
    return b"".join(number.to_bytes(8) for number in numbers) + tail


def _corrupt(what: str) -> OutboxCorrupt:
    return OutboxCorrupt(f"{what} of the outbox cannot be read", hint="check the store; restore it if needed")
