"""Block headers of the engines: their bytes, their hashes, and who sealed them.

Pure: no chain, clock or store. Rules about which seals suffice stand beside, in `crash_quorum` and `bft_quorum`.
Sources: Yellow Paper §4.3 (header), EIP-225 (Clique), Besu's IBFT 2.0 and QBFT extra data.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from coincurve import PublicKey

from anchor import rlpcodec
from anchor.errors import HeaderMalformed, SignatureInvalid
from anchor.keccak import keccak

MAX_HEADER_BYTES: Final = 16 << 10  # 64 validators and as many seals make about 6 KiB.
VANITY_BYTES: Final = 32
SEAL_BYTES: Final = 65
ADDRESS_BYTES: Final = 20

# Berlin has 15 fields; later forks append: base fee, withdrawals, blob gas used and in excess, beacon, requests.
_FEWEST_FIELDS: Final = 15
_MOST_FIELDS: Final = 21
_PARENT, _STATE, _RECEIPTS, _BLOOM, _DIFFICULTY, _NUMBER = 0, 3, 5, 6, 7, 8
_GAS_USED, _TIME, _EXTRA = 10, 11, 12
# Lengths of the fields before and behind numbers and extra data.
_FIRST_LENGTHS: Final = (32, 32, 20, 32, 32, 32, 256)
_MIX_AND_NONCE: Final = slice(13, 15)
_MIX_AND_NONCE_LENGTHS: Final = (32, 8)
_NUMBERS: Final = slice(_DIFFICULTY, _EXTRA)


class Engine(StrEnum):
    """How the chain agrees, which decides what a header's extra data and hash mean."""

    EMBEDDED = "embedded"
    CLIQUE = "clique"
    QBFT = "qbft"
    IBFT2 = "ibft2"


@dataclass(frozen=True, slots=True)
class Header:
    """A decoded header: `raw` its RLP, `fields` the byte strings in their order."""

    raw: bytes
    fields: tuple[bytes, ...]

    @property
    def parent_hash(self) -> bytes:
        """Hash of the parent block, 32 bytes."""
        return self.fields[_PARENT]

    @property
    def state_root(self) -> bytes:
        """Root of the state after this block, 32 bytes."""
        return self.fields[_STATE]

    @property
    def receipts_root(self) -> bytes:
        """Root of the receipts of this block's transactions, 32 bytes."""
        return self.fields[_RECEIPTS]

    @property
    def bloom(self) -> bytes:
        """Bloom filter over addresses and topics of this block's events, 256 bytes."""
        return self.fields[_BLOOM]

    @property
    def gas_used(self) -> int:
        """Gas that this block's transactions used."""
        return int.from_bytes(self.fields[_GAS_USED], "big")

    @property
    def number(self) -> int:
        """Height of the block."""
        return int.from_bytes(self.fields[_NUMBER], "big")

    @property
    def time(self) -> int:
        """Time of the block in seconds since 1970, as its sealer says."""
        return int.from_bytes(self.fields[_TIME], "big")

    @property
    def extra(self) -> bytes:
        """Extra data: vanity, seals, and what the engine puts between."""
        return self.fields[_EXTRA]


def decode_header(raw: bytes) -> Header:
    """Decode the RLP of a header strictly.

    Raises:
        HeaderMalformed: not one canonical RLP list of 15 to 21 byte strings of the right lengths.
    """
    if len(raw) > MAX_HEADER_BYTES:
        raise HeaderMalformed("the header is too long", limit=MAX_HEADER_BYTES)
    fields = _strings(_decode(raw))
    if not _FEWEST_FIELDS <= len(fields) <= _MOST_FIELDS:
        raise HeaderMalformed("the header has a wrong number of fields", count=len(fields))
    lengths = tuple(map(len, fields))
    if lengths[: len(_FIRST_LENGTHS)] != _FIRST_LENGTHS or lengths[_MIX_AND_NONCE] != _MIX_AND_NONCE_LENGTHS:
        raise HeaderMalformed("a field of the header has a wrong length")
    if lengths[_DIFFICULTY] > 32 or max(lengths[_NUMBER:_EXTRA]) > 8:
        raise HeaderMalformed("a number of the header is too large")
    if any(number[:1] == b"\0" for number in fields[_NUMBERS]):
        raise HeaderMalformed("a number of the header is not a canonical one")
    return Header(raw, tuple(fields))


def encode_header(fields: Sequence[bytes]) -> Header:
    """Encode the fields of a header, each as its bytes (numbers without leading zeros).

    Raises:
        HeaderMalformed: `decode_header` would not read it again.
    """
    return decode_header(rlpcodec.encode(fields))


def header_hash(header: Header, engine: Engine) -> bytes:
    """Return the block hash: Keccak-256 of the RLP, without round and seals where many sets of seals may stand.

    Raises:
        HeaderMalformed: the extra data is not that of a BFT engine.
    """
    if header.number == 0 or engine in (Engine.EMBEDDED, Engine.CLIQUE):
        return keccak(header.raw)
    vanity, validators, vote, *_ = _bft_extra(header, engine)
    # IBFT 2.0 leaves round and seals out; QBFT keeps their places, empty.
    rest: list[object] = [b"", []] if engine is Engine.QBFT else []
    return _hash_with(header, rlpcodec.encode([vanity, validators, vote, *rest]))


def header_signers(header: Header, engine: Engine) -> tuple[bytes, ...]:
    """Recover who sealed the header (20-byte addresses, in order of the seals); none on an embedded chain.

    Raises:
        HeaderMalformed: the extra data is not that of the engine, or a seal recovers no key.
    """
    if engine is Engine.EMBEDDED or header.number == 0:
        return ()
    try:
        if engine is Engine.CLIQUE:
            return (_clique_signer(header),)
        return _bft_signers(header, engine)
    except SignatureInvalid:
        raise HeaderMalformed("a seal of the header recovers no key") from None


def genesis_signers(header: Header, engine: Engine) -> tuple[bytes, ...]:
    """Return the signers that the genesis header names, ascending.

    Raises:
        HeaderMalformed: its extra data names none.
    """
    if engine is Engine.CLIQUE:
        packed = header.extra[VANITY_BYTES:-SEAL_BYTES]
        found = [packed[start : start + ADDRESS_BYTES] for start in range(0, len(packed), ADDRESS_BYTES)]
    elif engine is Engine.EMBEDDED:
        return ()
    else:
        found = _strings(_bft_extra(header, engine)[1])
    if not found or any(len(each) != ADDRESS_BYTES for each in found):
        raise HeaderMalformed("the genesis block names no signers")
    return tuple(sorted(set(found)))


def crash_quorum(signers: int) -> int:
    """Return ⌊(N+f)/2⌋+1 with f = ⌊(N−1)/3⌋: two such sets share a signer that follows the rules."""
    return (signers + (signers - 1) // 3) // 2 + 1


def bft_quorum(signers: int) -> int:
    """Return ⌈2N/3⌉, the commit seals that Besu asks for."""
    return -(-2 * signers // 3)


def recover_signer(seal: bytes, digest: bytes) -> bytes:
    """Return the address that signed the 32-byte `digest`; `seal` is r, s and a recovery id of 0 or 1.

    Raises:
        SignatureInvalid: no key fits.
    """
    if len(seal) != SEAL_BYTES or seal[-1] > 1:
        raise SignatureInvalid("a seal is not 65 bytes that end with 0 or 1")
    try:
        public = PublicKey.from_signature_and_message(seal, digest, hasher=None)
    except Exception as error:  # coincurve raises bare Exception for a seal that fits no key.
        raise SignatureInvalid("the seal recovers no key") from error
    return keccak(public.format(compressed=False)[1:])[12:]


def clique_seal_hash(header: Header) -> bytes:
    """Return what a Clique signer signs: the header's hash without the last 65 bytes of its extra data (EIP-225).

    Raises:
        HeaderMalformed: the extra data has no room for vanity and seal.
    """
    between = len(header.extra) - VANITY_BYTES - SEAL_BYTES
    if between < 0 or between % ADDRESS_BYTES:
        raise HeaderMalformed("the extra data is not vanity, signers and a seal")
    return _hash_with(header, header.extra[:-SEAL_BYTES])


def commit_seal_hash(header: Header, engine: Engine) -> bytes:
    """Return what a validator's commit seal signs: the header's hash with round, without seals.

    Raises:
        HeaderMalformed: the extra data is not that of a BFT engine.
    """
    vanity, validators, vote, turn, _ = _bft_extra(header, engine)
    rest: list[object] = [[]] if engine is Engine.QBFT else []
    return _hash_with(header, rlpcodec.encode([vanity, validators, vote, turn, *rest]))


def _clique_signer(header: Header) -> bytes:
    return recover_signer(header.extra[-SEAL_BYTES:], clique_seal_hash(header))


def _bft_signers(header: Header, engine: Engine) -> tuple[bytes, ...]:
    digest = commit_seal_hash(header, engine)
    return tuple(recover_signer(seal, digest) for seal in _strings(_bft_extra(header, engine)[4]))


def _bft_extra(header: Header, engine: Engine) -> list[rlpcodec.Item]:
    """Decode vanity, validators, vote, round and seals; the parts keep their bytes, so hashing repeats them."""
    if engine not in (Engine.QBFT, Engine.IBFT2):
        raise HeaderMalformed("this engine has no commit seals", hint="use qbft or ibft2")
    extra = _decode(header.extra)
    if not isinstance(extra, list) or len(extra) != 5 or not isinstance(extra[4], list):
        raise HeaderMalformed("the extra data is not vanity, validators, vote, round and seals")
    return extra


def _hash_with(header: Header, extra: bytes) -> bytes:
    """Hash the header with other extra data; all the rest is taken as it is encoded already."""
    raw, behind = header.raw, rlpcodec.join(header.fields[_EXTRA + 1 :])
    # A bloom filter alone makes it a long list: its prefix is one byte, and as many as that says.
    before = raw[raw[0] - 0xF6 : len(raw) - len(behind) - len(rlpcodec.encode(header.extra))]
    return keccak(rlpcodec.enlist(before + rlpcodec.encode(extra) + behind))


def _decode(raw: bytes) -> rlpcodec.Item:
    try:
        return rlpcodec.decode(raw)
    except rlpcodec.RlpMalformed:
        raise HeaderMalformed("the bytes are not canonical RLP") from None


def _strings(value: rlpcodec.Item) -> list[bytes]:
    found = [each for each in value if isinstance(each, bytes)] if isinstance(value, list) else []
    if not isinstance(value, list) or len(found) != len(value):
        raise HeaderMalformed("a list of byte strings is something else")
    return found
