"""Reads receipts and trust files from disk, and runs the offline check of `verifier.receipts` on them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.arguments import digest_of
from cli.errors import InputInvalid, InputMissing
from verifier.receipts import (
    MAX_RECEIPT_BYTES,
    ChainFacts,
    Outcome,
    Receipt,
    ReceiptMalformed,
    check_digest,
    parse_receipt,
)

_TRUST_LIMIT_BYTES = 64 << 10
_TRUST_FIELDS = {"genesis": 32, "directory": 20, "ledger": 20}


def read_receipt(path: Path) -> Receipt:
    """Read and parse a receipt.

    Raises:
        InputMissing: it cannot be opened.
        InputInvalid: it is no receipt.
    """
    try:
        return parse_receipt(_content(path, MAX_RECEIPT_BYTES, "receipt"))
    except ReceiptMalformed as error:
        raise InputInvalid(
            str(error), hint=error.hint or "get it again: deltaseal receipt get", place=str(path)
        ) from None


def read_receipt_json(path: Path) -> dict[str, Any]:
    """Read a receipt, check that it is one, and return its JSON object as it is.

    Raises:
        InputMissing, InputInvalid: as `read_receipt`.
    """
    read_receipt(path)  # It accepts objects only, and refuses what another JSON reader might read otherwise.
    return dict(json.loads(_content(path, MAX_RECEIPT_BYTES, "receipt")))


def compare_file(receipt_path: Path, file: Path) -> bool:
    """Say whether `file` is the one whose digest the receipt opens.

    Raises:
        InputMissing, InputInvalid: one of them cannot be read.
    """
    reason = check_digest(read_receipt(receipt_path), digest_of(file).sha256)
    return reason.outcome is Outcome.PASS


def opened_fields(receipt: Receipt) -> dict[str, Any]:
    """Return the fields that the receipt opens."""
    return {each.name: each.value for each in receipt.opening.opened}


def read_trust(path: Path) -> ChainFacts:
    """Read which chain and Ledger are trusted: the file of `chain deploy`, or the answer of `chain status -o
    json`.

    Raises:
        InputMissing: it cannot be opened.
        InputInvalid: one of the four is missing or malformed.
    """
    try:
        return parse_trust(json.loads(_content(path, _TRUST_LIMIT_BYTES, "trust file")))
    except (ValueError, KeyError, TypeError):
        raise InputInvalid(
            "the trust file must be JSON with chainId, genesis, directory and ledger",
            hint="`deltaseal chain deploy --to FILE` writes one, and so does `chain status -o json`",
            place=str(path),
        ) from None


def parse_trust(value: Mapping[str, Any]) -> ChainFacts:
    """Parse the four facts.

    Raises:
        ValueError, KeyError, TypeError: one is missing or malformed.
    """
    chain_id = value["chainId"]
    if isinstance(chain_id, bool) or not isinstance(chain_id, int) or chain_id < 1:
        raise ValueError("chainId")
    found = {**value.get("contracts", {}), **value}
    genesis, directory, ledger = (_hex(found[name], length) for name, length in _TRUST_FIELDS.items())
    return ChainFacts(chain_id, genesis, directory, ledger)


def _hex(text: Any, length: int) -> bytes:
    raw = bytes.fromhex(str(text).removeprefix("0x"))
    if len(raw) != length:
        raise ValueError("length")
    return raw


def _content(path: Path, limit: int, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise InputMissing(
            f"the {what} cannot be opened: {error.strerror}", hint="check its name", place=str(path)
        ) from None
    if len(content) > limit:
        raise InputInvalid(
            f"the {what} is larger than {limit} bytes", hint="is it the right file?", place=str(path)
        )
    return content
