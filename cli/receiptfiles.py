"""Reads receipts, trust anchors and steps from disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anchor.base64url import render_base64url
from anchor.headers import Engine
from cli.arguments import digest_of
from cli.errors import InputInvalid, InputMissing, SettingMissing
from cli.session import Session
from verifier.receipts import (
    MAX_RECEIPT_BYTES,
    Outcome,
    Receipt,
    ReceiptMalformed,
    check_digest,
    parse_receipt,
    render_receipt,
)
from verifier.statements import (
    MAX_STATEMENT_BYTES,
    StatementMalformed,
    StatusStatement,
    apply_statement,
    parse_statement,
)
from verifier.trust import (
    MAX_TRUST_BYTES,
    ChainFacts,
    TrustAnchor,
    TrustMalformed,
    TrustStep,
    parse_step,
    parse_trust,
)

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_TRUST_FIELDS = {"genesis": 32, "directory": 20, "ledger": 20}
_EXPORT_HINT = "`deltaseal trust export` writes one; `chain deploy --to FILE` names the chain alone"


def receipt_content(path: Path) -> bytes:
    """Read the bytes of a receipt; of one that is too long, as many as show that it is.

    Raises:
        InputMissing: it cannot be opened.
    """
    return _start(path, MAX_RECEIPT_BYTES + 1, "receipt")


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


def read_refreshed(path: Path, statement: Path | None) -> Receipt:
    """Read a receipt and, if given, lay the status statement in the other file over it.

    Raises:
        InputMissing, InputInvalid: as `read_receipt`.
        ProofError: the statement is not about this receipt, or is older.
    """
    receipt = read_receipt(path)
    if statement is None:
        return receipt
    content = _content(statement, MAX_STATEMENT_BYTES, "status statement")
    return apply_statement(receipt, parse_as_statement(content, str(statement)))


def refreshed_content(path: Path, statement: Path | None) -> bytes:
    """Return the bytes of a receipt, with the status statement in the other file laid over it if there is one.

    Raises:
        InputMissing, InputInvalid, ProofError: as `read_refreshed`; without a statement InputMissing alone.
    """
    return receipt_content(path) if statement is None else receipt_bytes(read_refreshed(path, statement))


def receipt_bytes(receipt: Receipt) -> bytes:
    """Return a receipt as it lies in a file."""
    return json.dumps(render_receipt(receipt), ensure_ascii=False).encode()


def parse_as_statement(content: bytes, place: str) -> StatusStatement:
    """Parse a status statement. Raises InputInvalid."""
    try:
        return parse_statement(content)
    except StatementMalformed as error:
        hint = error.hint or "get it again: deltaseal receipt refresh"
        raise InputInvalid(str(error), hint=hint, place=place) from None


def read_roots(paths: Sequence[Path]) -> list[Certificate]:
    """Read PEM files with certificates of time-stamping authorities.

    Raises:
        InputMissing, InputInvalid: one cannot be opened, or holds no certificate.
    """
    return [each for path in paths for each in _certificates(path)]


def _certificates(path: Path) -> list[Certificate]:
    from cryptography.x509 import load_pem_x509_certificates  # Costs every command's start if loaded above.

    content = _content(path, MAX_TRUST_BYTES, "certificate")
    try:
        return load_pem_x509_certificates(content)
    except ValueError:
        raise InputInvalid(
            "the file holds no certificate in PEM form", hint="give the authority's root", place=str(path)
        ) from None


def statement_question(receipt: Receipt) -> dict[str, Any]:
    """Return what a node is asked for a receipt's present status: names of slots, nothing that it opens."""
    documents = [
        {
            "memberId": each.member_id,
            "domain": each.domain,
            "epoch": each.epoch,
            "docTag": render_base64url(each.doc_tag),
        }
        for each in receipt.status.documents
    ]
    return {
        "memberId": receipt.member_id,
        "commitment": receipt.record[:32].hex(),
        "batchId": receipt.entry.id,
        "documents": documents,
    }


def compare_file(receipt_path: Path, file: Path) -> bool:
    """Say whether `file` is the one whose digest the receipt opens.

    Raises:
        InputMissing, InputInvalid: one of them cannot be read.
    """
    reason = check_digest(read_receipt(receipt_path), digest_of(file).sha256)
    return reason.outcome is Outcome.PASS


def read_trust(path: Path) -> TrustAnchor:
    """Read what is trusted: a trust anchor, or the file of `chain deploy` or the answer of `chain status -o json`.

    The latter two name a chain and no signers: no block of it can be proved final offline.

    Raises:
        InputMissing: it cannot be opened.
        InputInvalid: it is neither.
    """
    content = _content(path, MAX_TRUST_BYTES, "trust file")
    try:
        value = json.loads(content)
        if isinstance(value, Mapping) and "format" in value:
            return parse_trust(content)
        return chain_only(value)
    except TrustMalformed as error:
        raise InputInvalid(str(error), hint=error.hint or _EXPORT_HINT, place=str(path)) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputInvalid(
            "the trust file is neither a trust anchor nor JSON with chainId, genesis, directory and ledger",
            hint=_EXPORT_HINT,
            place=str(path),
        ) from None


def chain_only(value: Mapping[str, Any]) -> TrustAnchor:
    """Make an anchor without signers from the four facts that name a chain and its Ledger.

    Raises:
        ValueError, KeyError, TypeError: one is missing or malformed.
    """
    chain_id = value["chainId"]
    if isinstance(chain_id, bool) or not isinstance(chain_id, int) or chain_id < 1:
        raise ValueError("chainId")
    found = {**value.get("contracts", {}), **value}
    genesis, directory, ledger = (_hex(found[name], length) for name, length in _TRUST_FIELDS.items())
    return TrustAnchor(ChainFacts(chain_id, genesis, directory, ledger), bytes(20), Engine.EMBEDDED, ())


def trusted(session: Session) -> TrustAnchor:
    """Read the trust file that the flag or the setting names. Raises SettingMissing."""
    path = session.path("trust_file")
    if path is None:
        raise SettingMissing(
            "a receipt can only be checked against a chain that you trust beforehand",
            hint="give --trust FILE, as `deltaseal trust export` writes it",
        )
    return read_trust(path)


def read_step(path: Path) -> TrustStep:
    """Read a step of a trust anchor.

    Raises:
        InputMissing: it cannot be opened.
        InputInvalid: it is none.
    """
    try:
        return parse_step(_content(path, MAX_TRUST_BYTES, "step"))
    except TrustMalformed as error:
        raise InputInvalid(
            str(error), hint=error.hint or "make it: deltaseal trust step", place=str(path)
        ) from None


def _hex(text: Any, length: int) -> bytes:
    raw = bytes.fromhex(str(text).removeprefix("0x"))
    if len(raw) != length:
        raise ValueError("length")
    return raw


def _content(path: Path, limit: int, what: str) -> bytes:
    content = _start(path, limit + 1, what)
    if len(content) > limit:
        raise InputInvalid(
            f"the {what} is larger than {limit} bytes", hint="is it the right file?", place=str(path)
        )
    return content


def _start(path: Path, length: int, what: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(length)
    except OSError as error:
        raise InputMissing(
            f"the {what} cannot be opened: {error.strerror}", hint="check its name", place=str(path)
        ) from None
