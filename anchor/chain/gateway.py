"""Typed, strict JSON-RPC to an Ethereum client: one home for fees, time-outs, retries and answer checks.

The chain is not trusted to answer well: every field is checked for its form before it is used, and whatever does
not fit raises ChainAnswerMalformed. Decoding is by hand (fixed offsets), because it is 20 times faster than
web3.py's for logs. Thread-safe. Methods follow the Ethereum execution-apis specification.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import orjson

from anchor.chain.errors import CallReverted
from anchor.chain.wire import Ahead, Wire
from anchor.errors import AnchorError, ChainAnswerMalformed, ChainUnavailable, TransactionRefused
from anchor.failpoints import reach

BlockName: TypeAlias = int | bytes | Literal["latest", "pending", "finalized", "earliest"]

BATCH = 100
_QUANTITY = re.compile(r"0x(?:0|[1-9a-f][0-9a-f]{0,63})")


class SendOutcome(StrEnum):
    """What the chain said to a raw transaction. None of these says whether it is, or will be, in a block."""

    ACCEPTED = "accepted"
    KNOWN = "known"
    NONCE_TOO_LOW = "nonce_too_low"
    UNDERPRICED = "underpriced"


@dataclass(frozen=True, slots=True)
class Block:
    """A block without its transactions' bodies; `header` holds the raw header fields, for seals and proofs."""

    number: int
    hash: bytes
    parent_hash: bytes
    time: int
    transactions: tuple[bytes, ...]
    gas_limit: int
    header: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Log:
    """One event. `body` is the ABI-encoded part that is not in topics."""

    address: bytes
    topics: tuple[bytes, ...]
    body: bytes
    block_number: int
    block_hash: bytes
    transaction_hash: bytes
    log_index: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where a transaction was mined and whether it did its work; `contract` is what it created, if anything.

    `events` counts what it left in the log.
    """

    transaction_hash: bytes
    block_number: int
    block_hash: bytes
    succeeded: bool
    gas_used: int
    contract: bytes | None
    events: int


@dataclass(frozen=True, slots=True)
class BlockReceipt:
    """A transaction's receipt with all that the receipts root of its block commits to.

    `kind` is the transaction's type (0 legacy), `bloom` 256 bytes, `cumulative_gas` counts from the block's start.
    """

    transaction_hash: bytes
    kind: int
    status: int
    cumulative_gas: int
    bloom: bytes
    logs: tuple[Log, ...]


class ReceiptsAhead:
    """The receipts of some blocks, asked for already."""

    def __init__(self, blocks: Sequence[Block], ahead: Ahead | None) -> None:
        """Keep which blocks they are of."""
        self._blocks, self._ahead = blocks, ahead

    def result(self) -> list[list[BlockReceipt]]:
        """Return the receipts of each block, in the block's order. Raises ChainUnavailable when one is unknown."""
        if self._ahead is None:
            return []
        answers = _open_batch(self._ahead.result(), len(self._blocks))
        return [
            _decode_block_receipts(answer, block) for answer, block in zip(answers, self._blocks, strict=True)
        ]

    def drop(self) -> None:
        """Give the question up."""
        if self._ahead is not None:
            self._ahead.drop()


@dataclass(frozen=True, slots=True)
class Glance:
    """The head, an account's nonces (`pending`: with what waits in order), and blocks that were asked for."""

    head: Block
    mined: int
    pending: int
    blocks: tuple[Block | None, ...]


@dataclass(frozen=True, slots=True)
class AccountSince:
    """An account's nonce and the answers of calls as of a head, and the blocks that led there."""

    nonce: int
    answers: tuple[bytes, ...]
    blocks: tuple[Block | None, ...]


class Gateway:
    """Calls to one RPC address. Raises ChainUnavailable and its kin; never an HTTP or JSON error."""

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        """Prepare; the first call connects. `timeout_s` bounds each wait on the socket."""
        self._wire = Wire(url, timeout_s=timeout_s)

    def close(self) -> None:
        """Close idle connections."""
        self._wire.close()

    # Blocks and logs

    def chain_id(self) -> int:
        """Return the chain id."""
        return _quantity(self._ask("eth_chainId"))

    def block(self, name: BlockName = "latest") -> Block | None:
        """Return one block by number, hash or name; None when the chain has none."""
        if isinstance(name, bytes):
            return _decode_block(self._ask("eth_getBlockByHash", _hex(name), False))
        return _decode_block(self._ask("eth_getBlockByNumber", _block_name(name), False))

    def head(self) -> Block:
        """Return the latest block. Raises ChainAnswerMalformed when the chain has none."""
        block = self.block("latest")
        if block is None:
            raise _malformed("the chain has no latest block")
        return block

    def blocks(self, numbers: Sequence[int]) -> list[Block | None]:
        """Return several blocks by number, in order, None for those the chain has not (one batch each 100)."""
        calls = [("eth_getBlockByNumber", (hex(number), False)) for number in numbers]
        return [_decode_block(answer) for answer in self._ask_many(calls)]

    def logs(self, addresses: Sequence[bytes], *, first: int, last: int) -> list[Log]:
        """Return the events of `addresses` in blocks first..last, in chain order."""
        query = {
            "fromBlock": hex(first),
            "toBlock": hex(last),
            "address": [_hex(address) for address in addresses],
        }
        answer = self._ask("eth_getLogs", query)
        if not isinstance(answer, list):
            raise _malformed("eth_getLogs did not answer with a list")
        return [_decode_log(item) for item in answer]

    def ask_receipts(self, blocks: Sequence[Block]) -> ReceiptsAhead:
        """Ask for all receipts of at most 100 blocks, by their hashes; the chain works while the caller does."""
        calls = [("eth_getBlockReceipts", (_hex(block.hash),)) for block in blocks]
        return ReceiptsAhead(blocks, self._wire.ask_ahead(_batch(calls)) if calls else None)

    # State

    def call(
        self, to: bytes, calldata: bytes, *, block: BlockName = "latest", sender: bytes | None = None
    ) -> bytes:
        """Run a call at `block` without sending it. Raises CallReverted with the contract's reason."""
        fields = {"to": _hex(to), "data": _hex(calldata)}
        if sender is not None:
            fields["from"] = _hex(sender)
        return _bytes(self._ask("eth_call", fields, _block_name(block)))

    def code(self, address: bytes) -> bytes:
        """Return the code at `address`, empty when there is none."""
        return _bytes(self._ask("eth_getCode", _hex(address), "latest"))

    def nonce(self, address: bytes, *, pending: bool = False, block: int | None = None) -> int:
        """Return how many transactions of `address` are mined (at `block`; `pending`: or wait in order)."""
        name: BlockName = block if block is not None else ("pending" if pending else "latest")
        return _quantity(self._ask("eth_getTransactionCount", _hex(address), _block_name(name)))

    def storage(self, address: bytes, slot: bytes, *, block: BlockName = "latest") -> bytes:
        """Return the 32 bytes of one storage slot."""
        return _bytes(self._ask("eth_getStorageAt", _hex(address), _hex(slot), _block_name(block)), 32)

    def proof(self, address: bytes, slots: Sequence[bytes], *, block: BlockName = "latest") -> dict[str, Any]:
        """Return the raw answer of eth_getProof (EIP-1186); whoever uses it verifies it."""
        names = [_hex(slot) for slot in slots]
        answer = self._ask("eth_getProof", _hex(address), names, _block_name(block))
        if not isinstance(answer, dict):
            raise _malformed("eth_getProof did not answer with an object")
        return answer

    # Several at once

    def glance(self, address: bytes, numbers: Sequence[int]) -> Glance:
        """Ask in one batch for the head, blocks by number, and the account's nonces."""
        calls: list[tuple[str, Sequence[object]]] = [("eth_getBlockByNumber", ("latest", False))]
        calls += [("eth_getTransactionCount", (_hex(address), name)) for name in ("latest", "pending")]
        calls += [("eth_getBlockByNumber", (hex(number), False)) for number in numbers]
        head, mined, pending, *blocks = self._ask_many(calls)
        latest = _decode_block(head)
        if latest is None:
            raise _malformed("the chain has no latest block")
        known = tuple([_decode_block(block) for block in blocks])
        return Glance(latest, _quantity(mined), _quantity(pending), known)

    def account_since(
        self, address: bytes, calls: Sequence[tuple[bytes, bytes]], *, first: int, head: Block
    ) -> AccountSince:
        """Ask in one batch for blocks `first`..head and, as of `head`, the account's nonce and what `calls` answer.

        Each call is (contract, calldata); fewer than 90 blocks.
        """
        at = _block_name(head.hash)
        asked: list[tuple[str, Sequence[object]]] = [("eth_getTransactionCount", (_hex(address), at))]
        asked += [("eth_call", ({"to": _hex(to), "data": _hex(calldata)}, at)) for to, calldata in calls]
        asked += [("eth_getBlockByNumber", (hex(number), False)) for number in range(first, head.number + 1)]
        nonce, *rest = self._ask_many(asked)
        answers, blocks = rest[: len(calls)], rest[len(calls) :]
        found = tuple([_decode_block(block) for block in blocks])
        return AccountSince(_quantity(nonce), tuple([_bytes(one) for one in answers]), found)

    # Transactions

    def send_many(self, raws: Sequence[bytes]) -> list[SendOutcome | TransactionRefused | ChainUnavailable]:
        """Send raw transactions once, in this order, in one batch; return what the chain said to each.

        Raises ChainUnavailable when there is no answer, which says nothing of what the chain took.
        """
        requests = [_request(at, "eth_sendRawTransaction", (_hex(raw),)) for at, raw in enumerate(raws)]
        body = b"[" + b",".join(requests) + b"]"
        answers = _batch_answers(self._wire.post(body, repeatable=False), len(raws))
        reach("chain.send", "after")
        return [_sent(answer) for answer in answers]

    def send_raw(self, raw: bytes) -> SendOutcome:
        """Send a raw transaction once. Raises TransactionRefused when the chain will never take it."""
        body = _request(1, "eth_sendRawTransaction", (_hex(raw),))
        answer = _open_answer(self._wire.post(body, repeatable=False), 1)
        reach("chain.send", "after")
        outcome = _sent(answer)
        if not isinstance(outcome, SendOutcome):
            raise outcome
        return outcome

    def receipt(self, transaction_hash: bytes) -> Receipt | None:
        """Return the receipt of a mined transaction, None when it is in no block."""
        return _receipt_of(self._ask("eth_getTransactionReceipt", _hex(transaction_hash)), transaction_hash)

    def receipts(self, hashes: Sequence[bytes]) -> list[Receipt | None]:
        """Return several receipts in order. Each brings its events back: ask for own transactions only."""
        calls = [("eth_getTransactionReceipt", (_hex(item),)) for item in hashes]
        answers = zip(self._ask_many(calls), hashes, strict=True)
        return [_receipt_of(answer, asked) for answer, asked in answers]

    # One request, or a batch

    def _ask(self, method: str, *params: object) -> Any:
        answer = _open_answer(self._wire.post(_request(1, method, params), repeatable=True), 1)
        return _result(answer)

    def _ask_many(self, calls: Sequence[tuple[str, Sequence[object]]]) -> Iterator[Any]:
        for start in range(0, len(calls), BATCH):
            part = calls[start : start + BATCH]
            yield from _open_batch(self._wire.post(_batch(part), repeatable=True), len(part))


# Answers


def _request(identity: int, method: str, params: Sequence[object]) -> bytes:
    return orjson.dumps({"jsonrpc": "2.0", "id": identity, "method": method, "params": params})


def _batch(calls: Sequence[tuple[str, Sequence[object]]]) -> bytes:
    requests = [_request(number, method, params) for number, (method, params) in enumerate(calls)]
    return b"[" + b",".join(requests) + b"]"


def _parse(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _malformed("the chain did not answer with JSON") from error


def _open_answer(raw: bytes, identity: int) -> dict[str, Any]:
    answer = _parse(raw)
    if (
        not isinstance(answer, dict)
        or answer.get("id") != identity
        or not ("result" in answer) ^ ("error" in answer)
    ):
        raise _malformed("the chain did not answer with a JSON-RPC answer to this request")
    return answer


def _sent(answer: dict[str, Any]) -> SendOutcome | TransactionRefused | ChainUnavailable:
    if "error" not in answer:
        _bytes(answer.get("result"), 32)
        return SendOutcome.ACCEPTED
    try:
        return _classify_refusal(answer["error"])
    except (TransactionRefused, ChainUnavailable) as error:
        return error


def _open_batch(raw: bytes, count: int) -> Iterator[Any]:
    for answer in _batch_answers(raw, count):
        yield _result(answer)


def _batch_answers(raw: bytes, count: int) -> list[dict[str, Any]]:
    """Return the answers of a batch in the order of its requests."""
    answers = _parse(raw)
    if not isinstance(answers, list) or not all(isinstance(item, dict) for item in answers):
        raise _malformed("the chain did not answer a batch with a list")
    # The order of a batch's answers is free (JSON-RPC 2.0 §6).
    by_id = {item.get("id"): item for item in answers if isinstance(item.get("id"), int)}
    if len(answers) != count or set(by_id) != set(range(count)):
        raise _malformed("the chain did not answer each request of a batch")
    return [by_id[number] for number in range(count)]


def _result(answer: dict[str, Any]) -> Any:
    if "error" in answer:
        raise _call_error(answer["error"])
    if "result" not in answer:
        raise _malformed("a JSON-RPC answer has neither result nor error")
    return answer["result"]


def _call_error(error: Any) -> AnchorError:
    """Turn a JSON-RPC error into ours; code 3 is a revert with its reason (geth, anvil, Besu)."""
    number, text = _error_parts(error)
    reason = error.get("data")
    if number == 3 or "revert" in text:
        reverted = CallReverted("the contract refused the call")
        if isinstance(reason, str) and reason.startswith("0x"):
            reverted.reason = _bytes(reason)
        return reverted
    return ChainUnavailable(
        f"the chain refused to answer: JSON-RPC error {number}",
        hint="see the chain client's log",
        rpc_code=number,
    )


def _error_parts(error: Any) -> tuple[int, str]:
    number, text = (error.get("code"), error.get("message")) if isinstance(error, dict) else (None, None)
    if not isinstance(number, int) or not isinstance(text, str):
        raise _malformed("a JSON-RPC error has no code or message")
    return number, text.lower()


def _classify_refusal(error: Any) -> SendOutcome:
    """Read what clients say to a transaction that they hold already or cannot take (anvil, geth, Besu)."""
    number, text = _error_parts(error)
    if "already known" in text or "already imported" in text or "known transaction" in text:
        return SendOutcome.KNOWN
    if "nonce too low" in text or "nonce is too low" in text or "nonce below" in text:
        return SendOutcome.NONCE_TOO_LOW
    if "underpriced" in text:
        return SendOutcome.UNDERPRICED
    if number == -32005 or any(
        word in text for word in ("too many", "pool is full", "limit exceeded", "busy")
    ):
        raise ChainUnavailable(
            "the chain takes no transactions at this moment", hint="it is sent again later"
        )
    raise TransactionRefused(
        "the chain refused the transaction", hint="check gas limit, size and chain id", rpc_code=number
    )


# Fields


def _malformed(message: str) -> ChainAnswerMalformed:
    return ChainAnswerMalformed(message, hint="check that chain_rpc names an Ethereum JSON-RPC endpoint")


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


def _block_name(name: BlockName) -> object:
    """Encode a block argument; a hash must be canonical (EIP-1898)."""
    if isinstance(name, int):
        return hex(name)
    return {"blockHash": _hex(name), "requireCanonical": True} if isinstance(name, bytes) else name


def _quantity(value: object) -> int:
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise _malformed("the chain answered with something else than a number")
    return int(value, 16)


def _bytes(value: object, length: int | None = None) -> bytes:
    if not isinstance(value, str) or value[:2] != "0x":
        raise _malformed("the chain answered with something else than hex bytes")
    try:
        decoded = bytes.fromhex(value[2:])
    except ValueError as error:
        raise _malformed("the chain answered with something else than hex bytes") from error
    if len(value) != 2 + 2 * len(decoded) or (length is not None and len(decoded) != length):
        raise _malformed("the chain answered with bytes of the wrong length")
    return decoded


def _word(value: str) -> bytes:
    """Decode 32 bytes, of which a history has millions. Raises as `_bytes`."""
    if len(value) == 66 and value[:2] == "0x":
        try:
            return bytes.fromhex(value[2:])
        except ValueError:
            pass
    return _bytes(value, 32)


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise _malformed("the chain answered with something else than a list")
    return value


def _decode_block(answer: Any) -> Block | None:
    if answer is None:
        return None
    try:
        header = {name: value for name, value in answer.items() if isinstance(value, str)}
        hashes = tuple([_word(item) for item in answer["transactions"]])
        return Block(
            _quantity(answer["number"]),
            _bytes(answer["hash"], 32),
            _bytes(answer["parentHash"], 32),
            _quantity(answer["timestamp"]),
            hashes,
            _quantity(answer["gasLimit"]),
            MappingProxyType(header),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise _malformed("a block of the chain lacks a field") from error


def _decode_log(answer: Any) -> Log:
    try:
        if answer.get("removed"):
            raise _malformed("the chain answered with a removed event")
        return Log(
            _bytes(answer["address"], 20),
            tuple([_bytes(topic, 32) for topic in answer["topics"]]),
            _bytes(answer["data"]),
            _quantity(answer["blockNumber"]),
            _bytes(answer["blockHash"], 32),
            _bytes(answer["transactionHash"], 32),
            _quantity(answer["logIndex"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise _malformed("an event of the chain lacks a field") from error


def _decode_block_receipts(answer: Any, block: Block) -> list[BlockReceipt]:
    if answer is None:
        raise ChainUnavailable("the chain no longer knows a block that it named", hint="it is asked again")
    found: list[BlockReceipt] = []
    count = 0
    try:
        for item in answer:
            found.append(_decode_block_receipt(item, block, count))
            count += len(found[-1].logs)
    except (KeyError, TypeError, AttributeError) as error:
        raise _malformed("a receipt of the chain lacks a field") from error
    return found


def _decode_block_receipt(answer: Any, block: Block, first_index: int) -> BlockReceipt:
    """Decode a receipt; block and place of its events come from where it stands, not from what they say."""
    transaction_hash = _word(answer["transactionHash"])
    number, name = block.number, block.hash
    logs = [
        Log(
            _bytes(item["address"], 20),
            tuple([_word(topic) for topic in item["topics"]]),
            _bytes(item["data"]),
            number,
            name,
            transaction_hash,
            index,
        )
        for index, item in enumerate(answer["logs"], first_index)
    ]
    return BlockReceipt(
        transaction_hash,
        _quantity(answer["type"]),
        _quantity(answer["status"]),
        _quantity(answer["cumulativeGasUsed"]),
        _bytes(answer["logsBloom"], 256),
        tuple(logs),
    )


def _receipt_of(answer: Any, asked: bytes) -> Receipt | None:
    """Decode a receipt. One that speaks of another transaction, or contradicts itself, is no answer."""
    receipt = _decode_receipt(answer)
    if receipt is not None and receipt.transaction_hash != asked:
        raise _malformed("the chain answered with the receipt of another transaction")
    if receipt is not None and receipt.events and not receipt.succeeded:
        raise _malformed("a receipt of the chain has events of a transaction that failed")
    return receipt


def _decode_receipt(answer: Any) -> Receipt | None:
    if answer is None:
        return None
    try:
        created = answer["contractAddress"]
        return Receipt(
            _bytes(answer["transactionHash"], 32),
            _quantity(answer["blockNumber"]),
            _bytes(answer["blockHash"], 32),
            _quantity(answer["status"]) == 1,
            _quantity(answer["gasUsed"]),
            None if created is None else _bytes(created, 20),
            len(_list(answer["logs"])),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise _malformed("a receipt of the chain lacks a field") from error
