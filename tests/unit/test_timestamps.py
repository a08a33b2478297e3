"""Time stamps: one over the batch by a trusted authority is shown, an unknown one is named and counts for nothing."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from node.errors import TsaUnavailable
from node.services.stamping import request_token
from tests.support.tsa import STAMPED_AT, Authority, der, integer, serving
from tests.unit import receipt_factory as made
from tests.unit.cli_runner import CommandLine
from verifier.receipts import (
    Outcome,
    Receipt,
    ReceiptMalformed,
    ReceiptVerdict,
    check_receipt,
    parse_receipt,
    render_receipt,
)
from verifier.timestamps import MAX_TOKEN_BYTES, TimestampInvalid, token_of_response, verify_timestamp
from verifier.trust import render_trust

AT = datetime(2026, 12, 1, tzinfo=UTC)
TRUSTED, STRANGER = Authority.create("trusted"), Authority.create("stranger")
ROOT = made.receipt().entry.root
IMPRINT = hashlib.sha256(ROOT).digest()
TOKEN = TRUSTED.stamp(IMPRINT)


def stamped(token: bytes = TOKEN) -> Receipt:
    return replace(made.receipt(), timestamp=token)


def last_reason(receipt: Receipt, *authorities: Authority) -> tuple[str, Outcome, ReceiptVerdict]:
    findings = check_receipt(receipt, made.TRUST, at=AT, tsa_roots=[each.root for each in authorities])
    reason = findings.reasons[-1]
    assert reason.code == "timestamp"
    return reason.detail, reason.outcome, findings.verdict


def test_stamp_of_a_trusted_authority_shows_its_time() -> None:
    stamp = verify_timestamp(TOKEN, ROOT, [STRANGER.root, TRUSTED.root])
    assert (stamp.time, stamp.trusted) == (STAMPED_AT, True)
    detail, outcome, verdict = last_reason(stamped(), TRUSTED)
    assert (outcome, verdict) == (Outcome.PASS, ReceiptVerdict.VALID)
    assert detail == "stamped"


@pytest.mark.parametrize("authorities", [(), (STRANGER,)])
def test_unknown_authority_is_a_named_warning_and_counts_for_nothing(
    authorities: tuple[Authority, ...],
) -> None:
    found = last_reason(stamped(), *authorities)
    assert found == ("tsa_unknown", Outcome.WARN, ReceiptVerdict.VALID)


def test_stamp_never_makes_a_receipt_valid() -> None:
    operated = replace(made.receipt(finality="operator"), timestamp=TOKEN)
    roots = [TRUSTED.root]
    assert (
        check_receipt(operated, made.OPERATOR_TRUST, at=AT, tsa_roots=roots).verdict
        is ReceiptVerdict.UNPROVEN
    )
    few = made.receipt(sealers=made.sealed.KEYS[:3])
    found = check_receipt(replace(few, timestamp=TOKEN), made.TRUST, at=AT, tsa_roots=roots)
    assert found.verdict is ReceiptVerdict.PROOF_INVALID


@pytest.mark.parametrize("token", [TRUSTED.stamp(hashlib.sha256(b"another root").digest()), b"no CMS"])
def test_stamp_of_something_else_is_a_named_warning_and_counts_for_nothing(token: bytes) -> None:
    expected = ("timestamp_invalid", Outcome.WARN, ReceiptVerdict.VALID)
    assert last_reason(stamped(token), TRUSTED) == expected


def test_receipt_without_a_stamp_is_not_said_to_have_one() -> None:
    expected = ("no_timestamp", Outcome.SKIPPED, ReceiptVerdict.VALID)
    assert last_reason(made.receipt(), TRUSTED) == expected


def test_certificate_for_something_else_is_no_authority() -> None:
    server = Authority.create("server", usage=ExtendedKeyUsageOID.SERVER_AUTH)
    assert not verify_timestamp(server.stamp(IMPRINT), ROOT, [server.root]).trusted


def test_stamp_outside_its_certificates_time_is_untrusted() -> None:
    late = TRUSTED.stamp(IMPRINT, at=datetime(2050, 1, 1, tzinfo=UTC))
    assert not verify_timestamp(late, ROOT, [TRUSTED.root]).trusted


@given(st.integers(0, len(TOKEN) * 8 - 1))
def test_flipped_bit_is_never_a_trusted_stamp_of_another_time_or_root(bit: int) -> None:
    altered = bytearray(TOKEN)
    altered[bit // 8] ^= 1 << bit % 8
    try:
        stamp = verify_timestamp(bytes(altered), ROOT, [TRUSTED.root])
    except TimestampInvalid:
        return
    assert not stamp.trusted or stamp.time == STAMPED_AT


@given(st.binary(max_size=200))
def test_random_bytes_raise_its_own_error(raw: bytes) -> None:
    with pytest.raises(TimestampInvalid):
        verify_timestamp(raw, ROOT, [TRUSTED.root])
    with pytest.raises(TimestampInvalid):
        token_of_response(raw)


@pytest.mark.parametrize("token", [b"", TOKEN[:-1], TOKEN + b"\0", b"\x30" * (MAX_TOKEN_BYTES + 1)])
def test_tokens_of_another_form_are_refused(token: bytes) -> None:
    with pytest.raises(TimestampInvalid):
        verify_timestamp(token, ROOT, [TRUSTED.root])


def test_refusal_of_an_authority_is_no_token() -> None:
    with pytest.raises(TimestampInvalid):
        token_of_response(der(0x30, der(0x30, integer(2)), TOKEN))


def test_receipt_with_a_stamp_is_read_as_it_was_written() -> None:
    shown = json.dumps(render_receipt(stamped()))
    assert parse_receipt(shown.encode()) == stamped()
    assert "timestamp" not in render_receipt(made.receipt())
    for broken in ("", "AA=", "A" * (2 * MAX_TOKEN_BYTES), None, 1, []):
        with pytest.raises(ReceiptMalformed):
            parse_receipt(json.dumps({**render_receipt(made.receipt()), "timestamp": broken}).encode())


def test_node_gets_a_token_from_an_authority_over_http() -> None:
    with serving(TRUSTED) as (url, asked):
        token = request_token(url, ROOT, timeout_s=30)
        assert len(asked) == 1
    assert verify_timestamp(token, ROOT, [TRUSTED.root]).trusted
    with pytest.raises(TsaUnavailable):
        request_token(url, ROOT, timeout_s=5)


def test_command_takes_the_authoritys_root_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    call = CommandLine(tmp_path, monkeypatch, capfd)
    (tmp_path / "receipt.json").write_text(json.dumps(render_receipt(stamped())))
    (tmp_path / "trust.json").write_text(json.dumps(render_trust(made.TRUST)))
    (tmp_path / "tsa.pem").write_bytes(TRUSTED.root.public_bytes(Encoding.PEM))
    files = [
        "--receipt",
        str(tmp_path / "receipt.json"),
        "--trust",
        str(tmp_path / "trust.json"),
        "-o",
        "json",
    ]
    shown_at = {"warn": None, "pass": STAMPED_AT.astimezone(timezone(timedelta(hours=8))).isoformat()}
    for more, outcome in (((), "warn"), (("--tsa-root", str(tmp_path / "tsa.pem")), "pass")):
        found = call("verify", "--offline", *files, *more)
        assert found.code == 0, found.err
        shown = json.loads(found.out)
        assert (shown["checks"][-1]["outcome"], shown.get("stampedAt")) == (outcome, shown_at[outcome])
        assert ("counts for nothing" in found.err) == (outcome == "warn")
    assert call("verify", "--offline", *files, "--tsa-root", str(tmp_path / "trust.json")).code == 6
