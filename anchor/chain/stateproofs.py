"""Gets from a chain client what proofs are made of: headers as RLP, and the trie nodes of slots.

Nothing is believed: a header must hash to its block's hash, and `verifier.proofs` judges the nodes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from anchor.chain.gateway import Block, Gateway
from anchor.errors import ChainAnswerMalformed, HeaderMalformed
from anchor.headers import Engine, Header, encode_header, header_hash

MAX_PROOF_NODES: Final = 1024

_BYTES: Final = (
    "parentHash",
    "sha3Uncles",
    "miner",
    "stateRoot",
    "transactionsRoot",
    "receiptsRoot",
    "logsBloom",
)
_NUMBERS: Final = ("difficulty", "number", "gasLimit", "gasUsed", "timestamp")
_REST: Final = ("extraData", "mixHash", "nonce")
# In the order of the forks that brought them; an RPC answer leaves out those it has not.
_LATER: Final = (
    ("baseFeePerGas", True),
    ("withdrawalsRoot", False),
    ("blobGasUsed", True),
    ("excessBlobGas", True),
    ("parentBeaconBlockRoot", False),
    ("requestsHash", False),
)


@dataclass(frozen=True, slots=True)
class StateProof:
    """Trie nodes that prove an account and its slots at one block, each node once, in order of first use."""

    nodes: tuple[bytes, ...]
    values: tuple[bytes, ...]  # 32 bytes for each slot asked for, as the client says.


def header_of(block: Block, engine: Engine) -> Header:
    """Return the header of a block that a client answered with.

    Raises:
        ChainAnswerMalformed: a field is missing, or the header does not hash to the block's hash.
    """
    try:
        fields = [_octets(block.header[name]) for name in _BYTES]
        fields += [_digits(block.header[name]) for name in _NUMBERS]
        fields += [_octets(block.header[name]) for name in _REST]
        for name, is_number in _LATER:
            if name in block.header:
                fields.append((_digits if is_number else _octets)(block.header[name]))
        header = encode_header(fields)
        matches = header_hash(header, engine) == block.hash
    except (KeyError, ValueError, HeaderMalformed) as error:
        raise _malformed("a block's header cannot be encoded") from error
    if not matches:
        raise _malformed("a block's header does not hash to its hash under this engine")
    return header


def read_headers(gateway: Gateway, numbers: Sequence[int], engine: Engine) -> list[Header]:
    """Return the headers of these blocks, up to the first that the chain has not.

    Raises:
        ChainUnavailable: the chain does not answer, or not well.
    """
    found: list[Header] = []
    for block in gateway.blocks(numbers):
        if block is None:
            break
        found.append(header_of(block, engine))
    return found


def read_proof(gateway: Gateway, address: bytes, slots: Sequence[bytes], *, block: int) -> StateProof:
    """Ask once for the proofs of all `slots` of `address` at block number `block`.

    Raises:
        ChainUnavailable: the chain does not answer, or not well, or no longer has that state.
    """
    answer = gateway.proof(address, slots, block=block)
    try:
        parts = [answer["accountProof"], *(each["proof"] for each in answer["storageProof"])]
        values = tuple(_octets_of_number(each["value"]) for each in answer["storageProof"])
        nodes = tuple(dict.fromkeys(_octets(node) for part in parts for node in part))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _malformed("eth_getProof did not answer with a proof") from error
    if len(values) != len(slots) or any(len(each) > 32 for each in values) or len(nodes) > MAX_PROOF_NODES:
        raise _malformed("eth_getProof did not answer with a proof of each slot")
    # Clients answer the proof of an empty trie with its root, the RLP of nothing: no reader needs it.
    return StateProof(tuple(node for node in nodes if node != b"\x80"), values)


def _octets(value: Any) -> bytes:
    if not isinstance(value, str) or value[:2] != "0x":
        raise ValueError("hex")
    return bytes.fromhex(value[2:])


def _digits(value: Any) -> bytes:
    if not isinstance(value, str) or value[:2] != "0x":
        raise ValueError("hex")
    number = int(value[2:], 16)
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _octets_of_number(value: Any) -> bytes:
    return _digits(value).rjust(32, b"\0")


def _malformed(message: str) -> ChainAnswerMalformed:
    return ChainAnswerMalformed(message, hint="check chain_rpc and the setting engine")
