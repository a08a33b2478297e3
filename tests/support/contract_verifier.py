"""The contract's verifier: reads receipts, lets ReceiptVerifier judge their parts on a chain, speaks the protocol.

`python -m tests.support.contract_verifier RECEIPT RPC VERIFIER` does so for one receipt against a running chain. Its
plan says what it covers: reading the receipt, steps 2 and 3, and the Ledger's own word instead of step 7's proof.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import httpx
from eth_utils.crypto import keccak

from anchor.canonical import canonical_bytes
from anchor.chain.contracts import creation_code, encode_call, gas_for_creation
from anchor.chain.deploy import contract_address, wait_mined
from anchor.chain.gateway import Gateway
from anchor.signer import Signer
from anchor.slots import batch_slot
from cli.exitcodes import RECEIPT_EXITS
from cli.receiptchecks import PROTOCOL
from contracts import load_artifact
from verifier.receipts import (
    Outcome,
    Reason,
    Receipt,
    ReceiptFindings,
    ReceiptMalformed,
    parse_receipt,
)

Lines = list[dict[str, Any]]
PLAN: Final = ("receipt", "opening", "inclusion", "batch_slot")
PASSES: Final = {"opening": "same_commitment", "inclusion": "included", "batch_slot": "same_entry"}
REFUSALS: Final = {
    "OtherCommitment": "other_commitment",
    "NotIncluded": "not_included",
    "OtherEntry": "other_entry",
    "OpeningMalformed": "receipt_malformed",
    "RecordMalformed": "receipt_malformed",
    "EntryMalformed": "receipt_malformed",
}
_PER_REQUEST: Final = 60


@dataclass(frozen=True)
class ContractVerifier:
    """A deployed ReceiptVerifier, asked over JSON-RPC."""

    rpc: str
    address: bytes
    ledger: bytes

    def judge(self, receipts: Sequence[bytes], *, held: Mapping[int, bytes] | None = None) -> Iterator[Lines]:
        """Yield the lines about each receipt.

        `held` (batch id → hash) is what the Ledger shall hold instead of its own state, for receipts of other chains.
        """
        for start in range(0, len(receipts), _PER_REQUEST):
            yield from self._judge(receipts[start : start + _PER_REQUEST], held)

    def _judge(self, receipts: Sequence[bytes], held: Mapping[int, bytes] | None) -> Iterator[Lines]:
        parsed = [_read(each) for each in receipts]
        calls = [call for receipt in parsed if receipt is not None for call in _calls(receipt)]
        answers = iter(self._ask(calls, {} if held is None else self._state(held)))
        for receipt in parsed:
            yield list(_lines(None if receipt is None else [next(answers) for _ in PASSES]))

    def _state(self, held: Mapping[int, bytes]) -> dict[str, Any]:
        slots = {_hex(batch_slot(number)): _hex(value) for number, value in held.items()}
        return {_hex(self.ledger): {"stateDiff": slots}}

    def _ask(self, calls: Sequence[bytes], state: dict[str, Any]) -> list[str | None]:
        """Return the name of the error of each call, None where it had none."""
        asked = [
            {"jsonrpc": "2.0", "id": number, "method": "eth_call"}
            | {"params": [{"to": _hex(self.address), "data": _hex(call)}, "latest", state]}
            for number, call in enumerate(calls)
        ]
        if not asked:
            return []
        answer = httpx.post(self.rpc, json=asked, timeout=120, trust_env=False)
        found = {each["id"]: each for each in answer.raise_for_status().json()}
        return [_refusal(found[number]) for number in range(len(calls))]


def deploy_verifier(rpc: str, ledger: bytes, signer: Signer) -> ContractVerifier:
    """Deploy a ReceiptVerifier beside a Ledger; anyone may."""
    gateway = Gateway(rpc)
    try:
        nonce, code = gateway.nonce(signer.address), creation_code("ReceiptVerifier", ledger)
        transaction = signer.sign_transaction(
            chain_id=gateway.chain_id(), nonce=nonce, to=None, calldata=code, gas=gas_for_creation(code)
        )
        gateway.send_raw(transaction.raw)
        assert wait_mined(gateway, transaction).succeeded
    finally:
        gateway.close()
    return ContractVerifier(rpc, contract_address(signer.address, nonce), ledger)


def _read(content: bytes) -> Receipt | None:
    try:
        return parse_receipt(content)
    except ReceiptMalformed:
        return None


def _calls(receipt: Receipt) -> list[bytes]:
    """Return the calldata of the three checks, in the order of `PASSES`."""
    opening, where, entry = receipt.opening, receipt.inclusion, receipt.entry
    fields = [
        {"index": each.index, "name": each.name, "salt": each.salt}
        | {"value": canonical_bytes(each.value).decode()}
        for each in opening.opened
    ]
    shown = {"leafCount": opening.leaf_count, "opened": fields, "hidden": list(opening.hidden)}
    logged = {"id": entry.id, "memberId": entry.member_id, "stream": int(entry.stream), "seq": entry.seq}
    logged |= {"size": entry.size, "root": entry.root, "time": entry.time}
    inclusion = {"index": where.index, "path": list(where.path)}
    return [
        encode_call("ReceiptVerifier", "checkOpening", receipt.record, shown),
        encode_call(
            "ReceiptVerifier", "checkInclusion", receipt.record, receipt.member_id, inclusion, logged
        ),
        encode_call("ReceiptVerifier", "checkEntry", logged),
    ]


def _lines(answers: Sequence[str | None] | None) -> Iterator[dict[str, Any]]:
    yield {"type": "plan", "protocol": PROTOCOL, "verifier": "contract", "checks": list(PLAN)}
    reasons = []
    for reason in _reasons(answers):
        reasons.append(reason)
        yield {
            "type": "check",
            "code": reason.code,
            "outcome": reason.outcome.value,
            "detail": reason.detail,
        }
    verdict = ReceiptFindings(tuple(reasons)).verdict
    yield {"type": "verdict", "verdict": verdict.value, "exit": int(RECEIPT_EXITS[verdict])}


def _reasons(answers: Sequence[str | None] | None) -> Iterator[Reason]:
    if answers is None:
        yield Reason("receipt", Outcome.FAIL, ReceiptMalformed.code)
        return
    yield Reason("receipt", Outcome.PASS, "well_formed")
    for (code, good), refused in zip(PASSES.items(), answers, strict=True):
        if refused is not None:
            yield Reason(code, Outcome.FAIL, REFUSALS[refused.removeprefix("ReceiptVerifier")])
            return
        yield Reason(code, Outcome.PASS, good)


def _refusal(answer: Mapping[str, Any]) -> str | None:
    if "result" in answer:
        return None
    return _errors()[answer["error"]["data"][:10]]


@cache
def _errors() -> dict[str, str]:
    found = {}
    for item in load_artifact("ReceiptVerifier").abi:
        if item["type"] == "error":
            signature = f"{item['name']}({','.join(each['type'] for each in item['inputs'])})"
            found[_hex(keccak(text=signature)[:4])] = item["name"]
    return found


def _hex(raw: bytes) -> str:
    return "0x" + raw.hex()


def main(arguments: Sequence[str]) -> int:
    """Judge the receipt of a file by a deployed verifier; return the verdict's exit code."""
    path, rpc, address = arguments
    verifier = ContractVerifier(rpc, bytes.fromhex(address.removeprefix("0x")), b"")
    (lines,) = verifier.judge([Path(path).read_bytes()])
    for line in lines:
        print(json.dumps(line), flush=True)
    return int(lines[-1]["exit"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
