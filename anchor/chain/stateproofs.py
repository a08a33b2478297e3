"""Gets from a chain client what proofs are made of: headers as RLP, and the trie nodes of slots.

Nothing is believed: a header must hash to its block's hash, and `verifier.proofs` judges the nodes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from anchor.chain.gateway import Block, Gateway
from anchor.errors import ChainAnswerMalformed, HeaderMalformed
from anchor.headers import Engine, Header, encode_header, header_hash
from anchor.rlpcodec import scalar

MAX_PATH_NODES: Final = 64  # A key has 64 nibbles: no way through a trie is longer.

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


@dataclass(frozen=True, slots=True)
class SlotProof:
    """The value of one slot as the client says (32 bytes), and the trie nodes on the way to it."""

    value: bytes
    nodes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class SlotProofs:
    """The answer to one question about many slots of one account, each with nodes of its own."""

    account: tuple[bytes, ...]
    slots: tuple[SlotProof, ...]

    def of(self, chosen: slice) -> StateProof:
        """Return the proof of some of the slots alone, each node once, in order of first use."""
        parts = [self.account, *(each.nodes for each in self.slots[chosen])]
        nodes = tuple(dict.fromkeys(node for part in parts for node in part))
        return StateProof(nodes, tuple(each.value for each in self.slots[chosen]))


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
    return read_proofs(gateway, address, slots, block=block).of(slice(None))


def read_proofs(gateway: Gateway, address: bytes, slots: Sequence[bytes], *, block: int) -> SlotProofs:
    """Ask once as `read_proof` does, and keep apart which nodes each slot needs.

    Raises:
        ChainUnavailable: the chain does not answer, or not well, or no longer has that state.
    """
    answer = gateway.proof(address, slots, block=block)
    known: dict[str, bytes] = {}

    def nodes_of(texts: Sequence[str]) -> tuple[bytes, ...]:
        # The upper nodes come with every slot again: each text is decoded once.
        found = (known.get(text) or known.setdefault(text, _octets(text)) for text in texts)
        # Clients answer the proof of an empty trie with its root, the RLP of nothing: no reader needs it.
        return tuple(node for node in found if node != b"\x80")

    try:
        account = nodes_of(answer["accountProof"])
        read = tuple(
            SlotProof(_octets_of_number(each["value"]), nodes_of(each["proof"]))
            for each in answer["storageProof"]
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise _malformed("eth_getProof did not answer with a proof") from error
    if len(read) != len(slots) or any(len(each.value) > 32 for each in read) or _too_many(account, read):
        raise _malformed("eth_getProof did not answer with a proof of each slot")
    return SlotProofs(account, read)


def _too_many(account: Sequence[bytes], read: Sequence[SlotProof]) -> bool:
    return max(len(account), *(len(each.nodes) for each in read), 0) > MAX_PATH_NODES


def _octets(value: Any) -> bytes:
    if not isinstance(value, str) or value[:2] != "0x":
        raise ValueError("hex")
    return bytes.fromhex(value[2:])


def _digits(value: Any) -> bytes:
    if not isinstance(value, str) or value[:2] != "0x":
        raise ValueError("hex")
    return scalar(int(value[2:], 16))


def _octets_of_number(value: Any) -> bytes:
    return _digits(value).rjust(32, b"\0")


def _malformed(message: str) -> ChainAnswerMalformed:
    return ChainAnswerMalformed(message, hint="check chain_rpc and the setting engine")
