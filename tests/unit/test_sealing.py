"""What a version is committed with: the slots in which its document's issuers could revoke it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from anchor.base64url import render_base64url
from anchor.tags import derive_domain_keys
from node.errors import IssuersTooMany
from node.services.sealing import Draft, document_slots
from tests.unit.receipt_factory import bytes_of
from tests.unit.test_decisions import TYPE
from verifier.catalog import MaterialType
from verifier.receiptforms import MAX_DOCUMENTS, parse_places

CITY, SECTOR = (derive_domain_keys(domain, 3, bytes_of(f"secret {domain}")) for domain in (1, 9))


def a_draft(kind: MaterialType, **changes: Any) -> Draft:
    draft = Draft(
        material_id="mat_1",
        version=1,
        kind=kind,
        agency="11310104MB2F30001T",
        subjects=(),
        sha256=bytes(32),
        sm3=None,
        size_bytes=1,
        media_type="application/pdf",
        document_no="DEMO-0001",
        case_no="",
        issued_on=date(2026, 1, 1),
        expires_on=None,
        asserted=False,
        replaces=False,
    )
    return replace(draft, **changes)


def test_each_issuer_has_a_slot_under_each_domain_with_the_tag_of_the_document() -> None:
    slots = document_slots(a_draft(TYPE), [CITY, SECTOR], [5, 2])
    expected = [
        [member, keys.domain, 3, render_base64url(keys.doc_tag(TYPE.code, "DEMO-0001"))]
        for member in (2, 5)
        for keys in (CITY, SECTOR)
    ]
    assert slots == expected
    assert len(parse_places(slots)) == 4


def test_document_without_a_number_or_without_issuers_has_none() -> None:
    assert document_slots(a_draft(TYPE, document_no=""), [CITY], [2]) == []
    assert document_slots(a_draft(TYPE), [CITY], []) == []


def test_more_slots_than_a_receipt_can_show_are_refused() -> None:
    assert len(document_slots(a_draft(TYPE), [CITY], range(1, MAX_DOCUMENTS + 1))) == MAX_DOCUMENTS
    with pytest.raises(IssuersTooMany):
        document_slots(a_draft(TYPE), [CITY, SECTOR], range(1, MAX_DOCUMENTS))
