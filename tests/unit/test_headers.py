"""Block headers: their bytes, their hashes, and who sealed them, by rules written down a second time."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, floor
from typing import Any

import pytest
import rlp
from coincurve import PrivateKey
from eth_utils.crypto import keccak

from anchor.errors import HeaderMalformed, SignatureInvalid
from anchor.headers import (
    MAX_HEADER_BYTES,
    Engine,
    bft_quorum,
    crash_quorum,
    decode_header,
    encode_header,
    genesis_signers,
    header_hash,
    header_signers,
    recover_signer,
)
from tests.unit import sealed_chain_factory as sealed

ROOT = b"\x11" * 32


def clique(**changes: Any) -> Any:
    made: dict[str, Any] = {
        "parent": b"\7" * 32,
        "state_root": ROOT,
        "number": 9,
        "time": 1_800_000_000,
    } | changes
    return sealed.clique_header(sealed.KEYS[0], **made)


# Goerli's genesis extra data (EIP-225 network): 32 bytes of vanity, one signer, an empty seal. Public chain data.
GOERLI_SIGNER = bytes.fromhex("e0a2bd4258d2768837baa26a28fe71dc079f84c7")


def test_header_reads_its_fields_and_encodes_again() -> None:
    header = clique()
    assert (header.number, header.time) == (9, 1_800_000_000)
    assert (header.parent_hash, header.state_root) == (b"\7" * 32, ROOT)
    assert encode_header(header.fields) == header


def test_clique_seal_names_its_signer_on_checkpoint_blocks_too() -> None:
    for header in (clique(), clique(signers=sealed.SIGNERS)):
        assert header_signers(header, Engine.CLIQUE) == (sealed.SIGNERS[0],)
        assert header_hash(header, Engine.CLIQUE) == keccak(header.raw)


def test_signers_of_the_genesis_block_come_from_its_extra_data() -> None:
    fields = sealed.header_fields(
        parent=bytes(32), state_root=ROOT, number=0, time=1, extra=bytes(32) + GOERLI_SIGNER + bytes(65)
    )
    assert genesis_signers(encode_header(fields), Engine.CLIQUE) == (GOERLI_SIGNER,)
    fields[12] = bytes(97)
    with pytest.raises(HeaderMalformed):
        genesis_signers(encode_header(fields), Engine.CLIQUE)
    fields[12] = rlp.encode([bytes(32), list(sealed.SIGNERS), [], b"", []])
    assert genesis_signers(encode_header(fields), Engine.QBFT) == sealed.SIGNERS
    assert header_signers(encode_header(fields), Engine.QBFT) == ()


@pytest.mark.parametrize("qbft", [True, False])
def test_commit_seals_name_their_validators_and_hash_ignores_round_and_seals(qbft: bool) -> None:
    engine = Engine.QBFT if qbft else Engine.IBFT2
    made: dict[str, Any] = {"qbft": qbft, "state_root": ROOT, "number": 9, "time": 1_800_000_000}
    header = sealed.bft_header(sealed.KEYS[:4], **made)
    assert header_signers(header, engine) == sealed.SIGNERS[:4]
    again = sealed.bft_header(sealed.KEYS[1:], **made, turn=3)
    assert header_signers(again, engine) == sealed.SIGNERS[1:]
    assert header_hash(header, engine) == header_hash(again, engine) != keccak(header.raw)
    fewer = sealed.bft_header(sealed.KEYS[:4], **made, validators=sealed.SIGNERS[:4])
    assert header_hash(fewer, engine) != header_hash(header, engine)


def test_ibft2_header_hashes_as_besus_own_test_has_it() -> None:
    """Rebuild the header of Besu's IbftBlockHashingTest: keys 1 to 4, round 0x00FEDCBA, one vote."""
    keys = [PrivateKey(number.to_bytes(32, "big")) for number in range(1, 5)]
    validators = [number.to_bytes(20, "big") for number in (1, 2)]
    vote = [(3).to_bytes(20, "big"), b"\xff"]
    turn = bytes.fromhex("00fedcba")
    head: list[Any] = [bytes(range(32)), validators, vote]

    def fields(extra: bytes) -> list[bytes]:
        empty = bytes.fromhex("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421")
        return [
            bytes.fromhex("a7762d3307dbf2ae6a1ae1b09cf61c7603722b2379731b6b90409cdb8c8288a0"),
            bytes.fromhex("1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"),
            bytes(20),
            bytes.fromhex("ca07595b82f908822971b7e848398e3395e59ee52565c7ef3603df1a1fa7bc80"),
            *(empty, empty, bytes(256), b"\1", b"\1", sealed.number_bytes(4704588), b""),
            *(sealed.number_bytes(1530674616), extra),
            bytes.fromhex("63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365"),
            bytes(8),
        ]

    digest = keccak(rlp.encode(fields(rlp.encode([*head, turn]))))
    seals = [key.sign_recoverable(digest, hasher=None) for key in keys]
    header = encode_header(fields(rlp.encode([*head, turn, seals])))
    assert header_hash(header, Engine.IBFT2) == keccak(rlp.encode(fields(rlp.encode(head))))
    assert header_signers(header, Engine.IBFT2) == tuple(sealed.address_of(key) for key in keys)


@pytest.mark.parametrize("change", range(15))
def test_every_field_is_under_the_seal_and_the_hash(change: int) -> None:
    header = clique()
    fields = list(header.fields)
    fields[change] = bytes([fields[change][0] ^ 1 or 3]) + fields[change][1:] if fields[change] else b"\1"
    other = encode_header(fields)
    assert header_signers(other, Engine.CLIQUE) != header_signers(header, Engine.CLIQUE)
    assert header_hash(other, Engine.CLIQUE) != header_hash(header, Engine.CLIQUE)


def _with(index: int, value: Any) -> Callable[[list[Any]], None]:
    def change(fields: list[Any]) -> None:
        fields[index] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields.pop(),
        lambda fields: fields.extend([b"\1"] * 7),
        _with(0, bytes(31)),
        _with(6, bytes(255)),
        _with(8, b"\0\1"),
        _with(8, b"\1" * 9),
        _with(7, b"\1" * 33),
        _with(11, []),
        _with(12, bytes(MAX_HEADER_BYTES)),
        _with(14, b""),
    ],
)
def test_malformed_header_is_refused(change: Callable[[list[Any]], None]) -> None:
    fields: list[Any] = list(clique().fields)
    change(fields)
    with pytest.raises(HeaderMalformed):
        decode_header(rlp.encode(fields))


@pytest.mark.parametrize(
    "raw", [b"", b"\x80", b"\xc0", b"\xf8", clique().raw + b"\0", b"\xc1" * 3000, b"\xff" * 20]
)
def test_bytes_that_are_no_header_are_refused(raw: bytes) -> None:
    with pytest.raises(HeaderMalformed):
        decode_header(raw)


@pytest.mark.parametrize(
    ("engine", "extra"),
    [
        (Engine.CLIQUE, bytes(96)),
        (Engine.CLIQUE, bytes(98)),
        (Engine.CLIQUE, bytes(32) + b"\xff" * 64 + b"\2"),
        (Engine.CLIQUE, bytes(97)),
        (Engine.QBFT, b""),
        (Engine.QBFT, rlp.encode([bytes(32), [], [], b"", b"seals"])),
        (Engine.QBFT, rlp.encode([bytes(32), [], [], b""])),
        (Engine.QBFT, rlp.encode([bytes(32), [], [], b"", [[b"nested"]]])),
        (Engine.IBFT2, rlp.encode([bytes(32), [], b"", bytes(4), [b"short"]])),
    ],
)
def test_extra_data_of_another_engine_is_refused(engine: Engine, extra: bytes) -> None:
    fields = sealed.header_fields(parent=bytes(32), state_root=ROOT, number=9, time=1, extra=extra)
    with pytest.raises(HeaderMalformed):
        header_signers(encode_header(fields), engine)


def test_seal_that_fits_no_key_is_refused() -> None:
    for seal in (b"", bytes(65), bytes(64) + b"\x1b", b"\xff" * 64 + b"\0"):
        with pytest.raises(SignatureInvalid):
            recover_signer(seal, bytes(32))


@pytest.mark.parametrize("count", range(1, 65))
def test_quorums_are_those_of_the_papers(count: int) -> None:
    faulty = floor((count - 1) / 3)
    assert crash_quorum(count) == floor((count + faulty) / 2) + 1
    assert bft_quorum(count) == ceil(2 * count / 3)
    # Any two quorums share more signers than may be faulty.
    assert 2 * crash_quorum(count) - count > faulty
    assert 2 * bft_quorum(count) - count > faulty
