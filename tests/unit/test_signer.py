"""Keys, transactions, typed messages and keystores."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_keys.constants import SECPK1_N
from hypothesis import given
from hypothesis import strategies as st

from anchor.errors import KeystoreInvalid, SignatureInvalid
from anchor.signer import Signer, load_keystore, parse_transaction, recover_typed, save_keystore, typed_digest

KEY = bytes.fromhex("4646464646464646464646464646464646464646464646464646464646464646")
SIGNER = Signer.from_key(KEY)
DOMAIN = {"name": "Deltaseal", "version": "1", "chainId": 310000, "verifyingContract": "0x" + "11" * 20}
TYPES = {"Request": [{"name": "digest", "type": "bytes32"}, {"name": "count", "type": "uint64"}]}
MESSAGE = {"digest": b"\x05" * 32, "count": 3}


def sign(message: dict[str, Any] = MESSAGE) -> bytes:
    return SIGNER.sign_typed(DOMAIN, TYPES, "Request", message)


def recover(signature: bytes, **changes: Any) -> bytes:
    domain = {**DOMAIN, **changes.pop("domain", {})}
    return recover_typed(signature, domain, TYPES, "Request", {**MESSAGE, **changes})


# Keys


@pytest.mark.parametrize(
    "key", [b"", b"\x01" * 31, b"\x01" * 33, bytes(32), SECPK1_N.to_bytes(32), b"\xff" * 32]
)
def test_bytes_that_are_no_key_are_refused(key: bytes) -> None:
    with pytest.raises(KeystoreInvalid):
        Signer.from_key(key)


def test_generated_keys_differ() -> None:
    assert Signer.generate().address != Signer.generate().address


def test_key_is_never_shown() -> None:
    assert repr(SIGNER) == "Signer(0x9d8a62f656a8d1615c1294fd71e9cfb3e4855a4f)"
    assert not hasattr(SIGNER, "__dict__")


# Transactions. The vector is the example of EIP-155; price and value differ from ours, so it is parsed, not signed.

EIP155_RAW = bytes.fromhex(
    "f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025"
    "a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276"
    "a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83"
)


def test_eip155_example_is_parsed() -> None:
    parsed = parse_transaction(EIP155_RAW)
    assert (parsed.chain_id, parsed.nonce, parsed.gas, parsed.gas_price) == (1, 9, 21_000, 20 * 10**9)
    assert (parsed.to, parsed.value, parsed.calldata) == (b"5" * 20, 10**18, b"")


@given(st.integers(0, 2**40), st.binary(max_size=300), st.integers(21_000, 10**8), st.integers(1, 2**40))
def test_transactions_are_those_of_eth_account(nonce: int, calldata: bytes, gas: int, chain_id: int) -> None:
    ours = SIGNER.sign_transaction(
        chain_id=chain_id, nonce=nonce, to=b"\x09" * 20, calldata=calldata, gas=gas
    )
    fields = {"chainId": chain_id, "nonce": nonce, "to": b"\x09" * 20, "data": calldata, "gas": gas}
    theirs = Account.from_key(KEY).sign_transaction({**fields, "gasPrice": 0, "value": 0})
    assert (ours.raw, ours.hash) == (bytes(theirs.raw_transaction), bytes(theirs.hash))
    parsed = parse_transaction(ours.raw)
    assert (parsed.chain_id, parsed.nonce, parsed.calldata, parsed.gas) == (chain_id, nonce, calldata, gas)


def test_creation_has_no_receiver() -> None:
    signed = SIGNER.sign_transaction(chain_id=1, nonce=0, to=None, calldata=b"\x60", gas=100_000)
    assert parse_transaction(signed.raw).to == b""


@given(st.binary(max_size=200))
def test_random_bytes_are_no_transaction(raw: bytes) -> None:
    with pytest.raises(SignatureInvalid):
        parse_transaction(raw)


@given(st.integers(0, len(EIP155_RAW) - 1), st.integers(1, 255))
def test_altered_transaction_is_refused_or_says_something_else(at: int, change: int) -> None:
    altered = bytearray(EIP155_RAW)
    altered[at] ^= change
    try:
        parsed = parse_transaction(bytes(altered))
    except SignatureInvalid:
        return
    # What is left may differ in the signature only, which the chain checks.
    assert parsed != parse_transaction(EIP155_RAW) or at >= len(EIP155_RAW) - 66


def test_transaction_with_high_s_is_refused() -> None:
    high = SECPK1_N - int.from_bytes(EIP155_RAW[-32:])
    with pytest.raises(SignatureInvalid):
        parse_transaction(EIP155_RAW[:-32] + high.to_bytes(32))


def test_transaction_without_a_chain_is_refused() -> None:
    raw = Account.from_key(KEY).sign_transaction(
        {"nonce": 0, "to": b"\x01" * 20, "data": b"", "gas": 21_000, "gasPrice": 0, "value": 0}
    )
    with pytest.raises(SignatureInvalid):
        parse_transaction(bytes(raw.raw_transaction))


# Typed messages


def test_typed_signature_recovers_its_signer() -> None:
    assert recover(sign()) == SIGNER.address


@pytest.mark.parametrize(
    "change",
    [{"count": 4}, {"digest": b"\x06" * 32}, {"domain": {"chainId": 1}}, {"domain": {"name": "Other"}}],
)
def test_typed_signature_of_something_else_recovers_another(change: dict[str, Any]) -> None:
    assert recover(sign(), **change) != SIGNER.address


@given(st.integers(0, 64), st.integers(1, 255))
def test_altered_signature_is_never_ours(at: int, change: int) -> None:
    altered = bytearray(sign())
    altered[at] ^= change
    try:
        assert recover(bytes(altered)) != SIGNER.address
    except SignatureInvalid as error:
        assert error.code == "signature_invalid"


@pytest.mark.parametrize("length", [0, 64, 66])
def test_signature_of_wrong_length_is_refused(length: int) -> None:
    with pytest.raises(SignatureInvalid):
        recover((sign() + b"\x00")[:length])


def test_second_form_of_a_signature_is_refused() -> None:
    signature = sign()
    other_s = (SECPK1_N - int.from_bytes(signature[32:64])).to_bytes(32)
    with pytest.raises(SignatureInvalid):
        recover(signature[:32] + other_s + bytes([55 - signature[64]]))


def test_message_that_does_not_fit_its_types_is_refused() -> None:
    with pytest.raises(SignatureInvalid):
        typed_digest(DOMAIN, TYPES, "Request", {"digest": b"\x05" * 40, "count": 3})
    with pytest.raises(SignatureInvalid):
        typed_digest(DOMAIN, TYPES, "Nothing", MESSAGE)


# Keystores


def test_keystore_gives_the_key_back(tmp_path: Path) -> None:
    path = tmp_path / "member.json"
    save_keystore(path, SIGNER, "correct horse")
    assert load_keystore(path, "correct horse").address == SIGNER.address
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert KEY.hex() not in path.read_text()
    assert json.loads(path.read_text())["crypto"]["kdf"] == "scrypt"
    with pytest.raises(KeystoreInvalid):
        load_keystore(path, "wrong horse")


def test_keystore_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "member.json"
    path.write_text("precious")
    with pytest.raises(KeystoreInvalid):
        save_keystore(path, SIGNER, "x")
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "null", '{"version":3,"crypto":{}}', "\xff", '{"version":3}']
)
def test_file_that_is_no_keystore_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "member.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(KeystoreInvalid) as caught:
        load_keystore(path, "x")
    assert str(tmp_path) not in str(caught.value)


def test_missing_keystore_and_folder_are_named_errors(tmp_path: Path) -> None:
    with pytest.raises(KeystoreInvalid):
        load_keystore(tmp_path / "none.json", "x")
    with pytest.raises(KeystoreInvalid):
        save_keystore(tmp_path / "no" / "folder.json", SIGNER, "x")
