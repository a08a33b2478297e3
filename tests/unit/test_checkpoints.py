"""Checkpoints: signed, read strictly, and compared: a fork is named, being behind or ahead is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from anchor.errors import DeltasealError, SignatureInvalid
from anchor.merkle import consistency_path, leaf_hash, root
from tests.unit import checkpoint_factory as points
from tests.unit import receipt_factory as made
from tests.unit.naive_formats import tree_head
from verifier.checkpoints import (
    TYPES,
    Checkpoint,
    CheckpointMalformed,
    Conflict,
    SignedCheckpoint,
    checkpoint_signer,
    find_conflict,
    parse_checkpoint,
    render_checkpoint,
    verify_extends,
)
from verifier.proofs.errors import ProofError

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "checkpoint.md"
OTHER = bytes(31) + b"\1"


def encoded(signed: SignedCheckpoint) -> bytes:
    return json.dumps(render_checkpoint(signed)).encode()


def test_what_is_written_is_read_again_and_names_its_signer() -> None:
    signed = points.signed(5)
    again = parse_checkpoint(encoded(signed))
    assert again == signed
    assert checkpoint_signer(again) == points.SIGNER.address


@pytest.mark.parametrize("field", [each["name"] for each in TYPES["Checkpoint"]])
def test_every_member_is_signed(field: str) -> None:
    shown: dict[str, Any] = json.loads(encoded(points.signed(5)))
    place = shown["chain"] if field in shown["chain"] else shown
    place[field] = (
        place[field] + 1 if isinstance(place[field], int) else "0x" + "11" * (len(place[field]) // 2 - 1)
    )
    altered = parse_checkpoint(json.dumps(shown).encode())
    with suppress(SignatureInvalid):  # Another message recovers another key, or none at all.
        assert checkpoint_signer(altered) != points.SIGNER.address


def test_another_chain_or_directory_is_another_signature() -> None:
    signed = points.signed(5)
    for changes in ({"chain_id": 1}, {"directory": bytes(20)}):
        chain = replace(made.CHAIN, **changes)
        elsewhere = SignedCheckpoint(replace(signed.checkpoint, chain=chain), signed.signature)
        assert checkpoint_signer(elsewhere) != points.SIGNER.address


def test_a_second_implementation_recovers_the_same_signer() -> None:
    shown: dict[str, Any] = json.loads(encoded(points.signed(5)))
    chain = shown["chain"]
    domain = {"name": "Deltaseal", "version": "1", "chainId": chain["chainId"]}
    domain["verifyingContract"] = chain["directory"]
    message = {name: (shown | chain)[name] for name in (each["name"] for each in TYPES["Checkpoint"])}
    for name in ("genesis", "blockHash", "logRoot"):
        message[name] = bytes.fromhex(message[name][2:])
    found = Account.recover_message(encode_typed_data(domain, TYPES, message), signature=shown["signature"])
    assert found.lower() == "0x" + points.SIGNER.address.hex()


def alterations(text: str) -> dict[str, str]:
    return {
        "cut": text[:-1],
        "two values": text + "{}",
        "a list": f"[{text}]",
        "an unknown member": text.replace('"height"', '"more": 1, "height"'),
        "a missing member": text.replace('"logSize": 5, ', ""),
        "a member twice": text.replace('"logSize": 5', '"logSize": 5, "logSize": 5'),
        "an unknown version": text.replace("checkpoint/1", "checkpoint/2"),
        "a negative number": text.replace('"logSize": 5', '"logSize": -5'),
        "a float": text.replace('"logSize": 5', '"logSize": 5.0'),
        "a short hash": text.replace('"logRoot": "0x', '"logRoot": "0x00'),
        "a short signature": text.replace('"signature": "0x', '"signature": "0x00'),
        "too long": text + " " * 4096,
        "not UTF-8": text.replace("deltaseal", "\udcff"),
    }


@pytest.mark.parametrize("name", alterations(""))
def test_what_is_no_checkpoint_is_refused(name: str) -> None:
    text = encoded(points.signed(5)).decode()
    altered = alterations(text)[name]
    assert altered != text
    with pytest.raises(CheckpointMalformed):
        parse_checkpoint(altered.encode("utf-8", "surrogateescape"))


@given(st.binary(max_size=300))
def test_random_bytes_raise_its_own_error(raw: bytes) -> None:
    with pytest.raises(CheckpointMalformed):
        parse_checkpoint(raw)


Change = Callable[[Checkpoint], Checkpoint]
CONFLICTS: list[tuple[str, Change, Conflict | None]] = [
    ("the same", lambda one: one, None),
    ("said later, by another", lambda one: replace(one, member_id=9, time=one.time + 60), None),
    ("behind", lambda _one: points.checkpoint(3), None),
    ("ahead", lambda _one: points.checkpoint(9), None),
    ("a later block without batches", lambda one: replace(one, height=99, block_hash=OTHER), None),
    ("other batches", lambda one: replace(one, log_root=OTHER), Conflict.LOG_ROOT),
    (
        "other batches at another height",
        lambda one: replace(one, height=99, log_root=OTHER),
        Conflict.LOG_ROOT,
    ),
    ("another block", lambda one: replace(one, block_hash=OTHER), Conflict.BLOCK_HASH),
    (
        "another block with more",
        lambda one: replace(points.checkpoint(6), height=50, block_hash=OTHER),
        Conflict.BLOCK_HASH,
    ),
    ("more in the same block", lambda one: replace(one, log_size=6, log_root=OTHER), Conflict.LOG_SIZE),
    (
        "another chain",
        lambda one: replace(one, chain=replace(one.chain, genesis=OTHER), log_root=OTHER),
        None,
    ),
]


@pytest.mark.parametrize(
    ("change", "expected"), [each[1:] for each in CONFLICTS], ids=[each[0] for each in CONFLICTS]
)
def test_two_checkpoints_contradict_each_other_or_do_not(change: Change, expected: Conflict | None) -> None:
    one = points.checkpoint(5)
    assert find_conflict(one, change(one)) is expected
    assert find_conflict(change(one), one) is expected


def test_longer_log_is_proved_to_begin_with_the_shorter_one() -> None:
    for second in range(len(points.BATCHES) + 1):
        for first in range(second + 1):
            verify_extends(points.checkpoint(first), points.checkpoint(second), points.path(first, second))


@given(st.lists(st.binary(max_size=3), min_size=2, max_size=24), st.binary(max_size=3), st.data())
def test_log_forked_anywhere_is_never_proved(
    contents: list[bytes], other: bytes, data: st.DataObject
) -> None:
    honest = [leaf_hash(each) for each in contents]
    at = data.draw(st.integers(0, len(honest) - 2))
    first = data.draw(st.integers(at + 1, len(honest) - 1))
    forked = [*honest[:at], leaf_hash(b"forked " + other), *honest[at + 1 :]]
    earlier = points.checkpoint(0, log_size=first, log_root=root(honest[:first]))
    later = points.checkpoint(0, log_size=len(forked), log_root=tree_head(forked))
    for log in (forked, honest):
        with pytest.raises(ProofError):
            verify_extends(earlier, later, consistency_path(log, first))


def test_checkpoints_of_two_chains_extend_nothing() -> None:
    elsewhere = replace(made.CHAIN, ledger=bytes(20))
    with pytest.raises(ProofError) as caught:
        verify_extends(points.checkpoint(3), points.checkpoint(7, chain=elsewhere), points.path(3, 7))
    assert caught.value.facts["step"] == "other_chain"


def test_the_pages_example_is_a_checkpoint_of_the_vectors() -> None:
    text = PAGE.read_text("utf-8")
    shown = json.loads(text.split("```json\n")[1].split("```")[0])
    assert parse_checkpoint(json.dumps(shown).encode()) == points.signed(5)
    for conflict in Conflict:
        assert f"`{conflict}`" in text


def test_its_error_is_one_of_ours() -> None:
    assert issubclass(CheckpointMalformed, DeltasealError)
