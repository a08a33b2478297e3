"""The golden files of the release exchange: they are what the script writes, and what the page promises."""

from __future__ import annotations

import json
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data

from tests.vectors import make_release
from tests.vectors.make_release import FOLDER, OPERATIONS


def load(kind: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / f"{kind}.json").read_text("utf-8"))
    return content


def test_golden_files_are_what_the_script_writes() -> None:
    for name, text in make_release.documents():
        assert (FOLDER / name).read_text("utf-8") == text, "run `make vectors` and review the diff"


@pytest.mark.parametrize("case", load("accept")["cases"], ids=lambda case: case["name"])
def test_accepted_inputs_give_what_is_written(case: dict[str, Any]) -> None:
    assert OPERATIONS[case["operation"]](case["input"]) == case["expected"]


def test_there_are_more_rejects_than_accepts_and_each_has_a_code() -> None:
    rejects = load("reject")["cases"]
    assert len(rejects) > len(load("accept")["cases"])
    for case in rejects:
        assert case["error"] in ("release_malformed", "release_broken", "signature_invalid"), case["name"]


def test_a_second_implementation_recovers_the_same_signer() -> None:
    """eth-account's own recovery over the message as the page describes it."""
    content = load("accept")
    case = content["cases"][0]
    body = json.loads(case["input"]["body"])
    message = dict(body["request"])
    for name in ("commitment", "subjectTag", "grant", "caseTag", "nonce"):
        message[name] = bytes.fromhex(message[name])
    message["hpkeKey"] = make_release.fixed("hpke", 1216)
    domain = {
        "name": "Deltaseal",
        "version": "1",
        "chainId": content["chain"]["chainId"],
        "verifyingContract": "0x" + content["chain"]["directory"],
    }
    signable = encode_typed_data(domain, make_release.REQUEST_TYPES, message)
    recovered = Account.recover_message(signable, signature=bytes.fromhex(body["signature"]))
    assert recovered.lower() == "0x" + case["expected"]["signer"]
