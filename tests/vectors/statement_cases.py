"""Vectors of status statements (docs/reference/status-statement.md)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

from anchor.entries import StatusFlag
from tests.unit import receipt_factory as made
from tests.vectors.common import Asked
from tests.vectors.operations import Json
from verifier.receipts import Receipt, render_receipt
from verifier.statements import StatusStatement, render_statement
from verifier.trust import render_trust

AT = "2026-12-01T09:00:00+08:00"


def statement_accepts() -> Iterator[Asked]:
    """Old receipts with statements, and what the steps find."""
    revoked, old = made.flagged(StatusFlag.REVOKED), made.receipt()
    yield _ask("not revoked since", old, _statement())
    yield _ask("revoked since", old, _statement(claim=revoked))
    yield _ask("the document was revoked since", old, _statement(document=revoked))
    yield _ask("a receipt that showed a suspension, resumed since", _suspended(), _statement())
    hidden = {**_statement(claim=revoked), "status": _statement()["status"]}
    yield _ask("a revocation that is not shown", old, hidden)
    short = _statement()
    yield _ask("a seal too few", old, {**short, "headers": short["headers"][:-1]})
    yield _ask("a node left out", old, {**short, "nodes": short["nodes"][:-1]})
    yield _ask("of the same block", old, _statement(block=130))


def statement_rejects() -> Iterator[Asked]:
    """Statements that are not about the receipt, and bytes that are none."""
    old, shown = made.receipt(), _statement()
    yield _ask("another chain", old, {**shown, "chain": {**shown["chain"], "chainId": 1}})
    yield _ask("another member", old, {**shown, "memberId": 8})
    yield _ask("another commitment", old, {**shown, "commitment": "0x" + "00" * 32})
    yield _ask("another batch", old, {**shown, "batchId": 40})
    yield _ask("older than the receipt", old, _statement(block=129))
    yield _ask("a document left out", old, {**shown, "status": {**shown["status"], "documents": []}})
    for member in shown:
        yield _ask(f"without {member}", old, {name: value for name, value in shown.items() if name != member})
    yield _ask("an unknown version", old, {**shown, "format": "deltaseal-status/2"})
    yield _ask("an unknown member", old, {**shown, "more": 1})
    yield _ask("no header", old, {**shown, "headers": []})
    yield _ask(
        "of another block than its header's", old, {**shown, "status": {**shown["status"], "asOfBlock": 141}}
    )
    twice = json.dumps(shown).replace('"batchId": 41', '"batchId": 41, "batchId": 41')
    yield "a member twice", "statement.parse", base64.b64encode(twice.encode()).decode()


def _suspended() -> Receipt:
    return made.receipt(reading=made.status(made.flagged(StatusFlag.SUSPENDED)))


def _statement(
    *, claim: bytes = made.EMPTY_SLOT, document: bytes = made.EMPTY_SLOT, block: int = 140
) -> dict[str, Json]:
    one = made.receipt(reading=made.status(claim, made.document_slot(document), as_of_block=block))
    about = (one.member_id, one.record[:32], one.entry.id)
    return dict(
        render_statement(StatusStatement(one.chain, one.finality, *about, one.status, one.headers, one.nodes))
    )


def _ask(name: str, receipt: Receipt, statement: Json) -> Asked:
    asked = {"receipt": render_receipt(receipt), "statement": statement, "trust": render_trust(made.TRUST)}
    return name, "statement.check", {**asked, "at": AT}
