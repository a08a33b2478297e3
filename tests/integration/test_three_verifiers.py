"""Python, browser and contract judge every receipt alike: the same vectors, every single-field change, each byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anchor.base64url import render_base64url
from anchor.canonical import canonical_bytes
from anchor.commitments import Commitment, verify_opening
from anchor.entries import batch_hash
from anchor.errors import OpeningMismatch
from tests.integration.running_chain import COUNCIL, running_chain
from tests.support.browser_verifier import NODE, SOURCES, ask_browser
from tests.support.contract_verifier import ContractVerifier, deploy_verifier
from tests.support.verifier_cases import (
    AT,
    VerifierCase,
    byte_flips,
    encode,
    mutations,
    network_case,
    network_cases,
    tangles,
    text_flips,
    vector_cases,
)
from tests.unit import receipt_factory as made
from verifier.proofs.errors import ProofError
from verifier.proofs.inclusion import verify_batch_slot, verify_inclusion
from verifier.receipts import SLOTS_FIELD, Receipt, ReceiptMalformed, parse_receipt, render_receipt
from verifier.trust import render_trust

Lines = list[dict[str, Any]]


def judged(lines: Lines) -> Lines:
    """Return what a verifier said, without its own name."""
    return [{name: value for name, value in line.items() if name != "verifier"} for line in lines]


def without_reading_stamps(lines: Lines) -> Lines:
    """Return what a verifier says that does all of it, but names a time stamp only: the browser reads no CMS."""
    found = []
    for line in lines:
        unread = {**line, "outcome": "warn", "detail": "tsa_unchecked"}
        stamped = line.get("code") == "timestamp" and line["outcome"] != "skipped"
        found.append(unread if stamped else {key: value for key, value in line.items() if key != "stampedAt"})
    return found


def compare(cases: Sequence[VerifierCase]) -> list[Lines]:
    """Ask both and require the same lines of each case; return them."""
    answers = list(ask_browser(cases))
    assert len(answers) == len(cases)
    found = []
    for case, answer in zip(cases, answers, strict=True):
        lines = case.python_lines()
        said = judged(answer.get("lines", [answer]))
        assert said == judged(without_reading_stamps(lines)), case.name
        found.append(lines)
    return found


def test_vectors_are_judged_alike() -> None:
    found = compare(list(vector_cases()))
    verdicts = {lines[-1]["verdict"] for lines in found}
    assert {"valid", "revoked", "expired", "stale", "unproven", "proof_invalid"} <= verdicts


def test_every_single_field_change_is_judged_alike_and_none_passes_that_alters_the_meaning() -> None:
    case = network_case()
    changed = list(mutations(case))
    assert len(changed) > 1000
    for each, lines in zip(changed, compare(changed), strict=True):
        if lines[-1]["verdict"] == "valid":
            assert meaning(each.receipt) == meaning(case.receipt), each.name


def test_time_stamp_decides_nothing_and_its_form_is_judged_alike() -> None:
    vectors = {case.name: case for case in vector_cases()}
    case = vectors["a time stamp"]
    changed = [each for each in mutations(case) if "/timestamp" in each.name]
    changed += [each for each in byte_flips(case, every=1) if "/timestamp" in each.name][::17]
    assert len(changed) > 60
    outcomes = set()
    for each, lines in zip([case, *changed], compare([case, *changed]), strict=True):
        checks = {line["code"]: line for line in lines if line["type"] == "check"}
        if checks["receipt"]["outcome"] == "pass":
            assert lines[-1]["verdict"] == "valid", each.name
            outcomes.add((checks["timestamp"]["outcome"], checks["timestamp"]["detail"]))
        else:
            assert lines[-1]["verdict"] == "proof_invalid", each.name
    assert outcomes == {
        ("pass", "stamped"),
        ("warn", "tsa_unknown"),
        ("warn", "timestamp_invalid"),
        ("skipped", "no_timestamp"),
    }
    for name, verdict in {"a claim REVOKED": "revoked", "an operator's chain": "unproven"}.items():
        (lines,) = compare([vectors[f"a time stamp of {name}"]])
        assert lines[-1]["verdict"] == verdict


def meaning(receipt: bytes) -> Any:
    """Return what a receipt says. Where the opened leaves stand only shapes the tree; the nodes have no order."""
    said = json.loads(receipt)
    opening, nodes = said.pop("opening"), said.pop("nodes")
    shown = [(each["name"], each["value"], each["salt"]) for each in opening["opened"]]
    return said, shown, opening["hidden"], sorted(nodes)


@pytest.mark.parametrize(
    "every", [pytest.param(29, id="sampled"), pytest.param(1, id="all", marks=pytest.mark.full)]
)
def test_no_flipped_bit_of_a_proof_passes(every: int) -> None:
    case = network_case()
    changed = list(byte_flips(case, every=every))
    assert len(changed) > 3000 // every
    for each, lines in zip(changed, compare(changed), strict=True):
        assert lines[-1]["verdict"] != "valid" or meaning(each.receipt) == meaning(case.receipt), each.name


@pytest.mark.parametrize(
    "every", [pytest.param(41, id="sampled"), pytest.param(1, id="all", marks=pytest.mark.full)]
)
def test_flipped_text_is_judged_alike(every: int) -> None:
    case = network_case()
    changed = list(text_flips(case, every=every))
    for each, lines in zip(changed, compare(changed), strict=True):
        assert lines[-1]["verdict"] != "valid" or meaning(each.receipt) == meaning(case.receipt), each.name


def genuine() -> list[VerifierCase]:
    """Return the signers' receipts, whatever they say, and all valid vectors (so the signers' valid one twice)."""
    return [
        *network_cases(),
        *(case for case in vector_cases() if case.python_lines()[-1]["verdict"] == "valid"),
    ]


def told(receipt: bytes) -> bytes:
    """Return what a receipt says without what no verdict rests on.

    That is a time stamp; headers behind the first, of which the seals alone count; and documents that were not sealed,
    whose status is proved as well and is no part of the material.
    """
    said, shown, *rest = meaning(receipt)
    said.pop("timestamp", None)
    sealed = next((value for name, value, _ in shown if name == SLOTS_FIELD), [])
    names = ("memberId", "domain", "epoch", "docTag")
    documents = [each for each in said["status"]["documents"] if [each[name] for name in names] in sealed]
    status = {**said["status"], "documents": documents}
    return canonical_bytes([{**said, "headers": said["headers"][:1], "status": status}, shown, *rest])


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(600, id="600"),
        pytest.param(60_000, id="60000", marks=[pytest.mark.full, pytest.mark.timeout(1800)]),
    ],
)
def test_several_changes_at_once_are_judged_alike_and_none_passes_that_alters_the_meaning(
    count: int, record_property: Callable[[str, object], None]
) -> None:
    cases, step, ends = genuine(), 600, Counter[str]()
    said = {told(each.receipt) for each in cases}
    for seed in range(count // step):
        changed = list(tangles(cases, count=step, seed=seed))
        for each, lines in zip(changed, compare(changed), strict=True):
            ends[lines[-2]["detail"] if lines[-1]["verdict"] != "valid" else "valid"] += 1
            assert lines[-1]["verdict"] != "valid" or told(each.receipt) in said, each.name
    # Changes that only break the form would prove little.
    assert sum(ends.values()) - ends["receipt_malformed"] > count // 5
    record_property("count", f"receipts with several changes: {count}, {dict(ends.most_common())}")


TEXTS = {
    "white space everywhere": (b'{"format":', b' \r\n\t{ "format" :\n'),
    "a key that is escaped": (b'"memberId":7,', b'"\\u006demberId":7,'),
    "escapes in capitals": (b'"LICENCE"', b'"\\u004C\\u0049CENCE"'),
    "an escaped slash": (b'"LICENCE"', b'"LICENCE\\/"'),
    "an unknown escape": (b'"LICENCE"', b'"LICENCE\\x41"'),
    "a surrogate pair": (b'"LICENCE"', b'"\\ud83d\\ude00"'),
    "surrogates the wrong way round": (b'"LICENCE"', b'"\\ude00\\ud83d"'),
    "surrogates in UTF-8": (b'"LICENCE"', b'"\xed\xa0\xbd\xed\xb8\x80"'),
    "an overlong zero": (b'"LICENCE"', b'"\xc0\x80"'),
    "text that is only NFC after joining": (b'"LICENCE"', '"A\u030a"'.encode()),
    "text in NFC": (b'"LICENCE"', '"\u00c5"'.encode()),
    "minus zero": (b'"id":0,', b'"id":-0,'),
    "a fraction": (b'"id":0,', b'"id":0.0,'),
    "infinity": (b'"id":0,', b'"id":Infinity,'),
    "a huge exponent": (b'"id":0,', b'"id":1e400,'),
    "a plus sign": (b'"id":0,', b'"id":+0,'),
    "hexadecimal": (b'"id":0,', b'"id":0x0,'),
    "5,000 digits": (b'"id":0,', b'"id":' + b"1" * 5000 + b","),
    "a NUL byte": (b'"id":0,', b'"id":0,\0'),
    "a DEL in text": (b'"LICENCE"', b'"LICENCE\x7f"'),
    "a no-break space": (b'"id":0,', b'"id":\xc2\xa00,'),
    "an empty key": (b'"id":0,', b'"id":0,"":0,'),
    "brackets in text": (b'"LICENCE"', b'"' + b"[{" * 20 + b'"'),
    "a value of 17 levels": (b'"LICENCE"', b"[" * 13 + b"]" * 13),
    "a value of 16 levels": (b'"LICENCE"', b"[" * 12 + b"]" * 12),
    "a value of 17 KiB": (b'"LICENCE"', b'"' + b"A" * (17 << 10) + b'"'),
}


SAME_MEANING = {"white space everywhere", "a key that is escaped", "escapes in capitals", "minus zero"}


def test_json_that_readers_take_differently_is_judged_alike() -> None:
    case = network_case()
    assert all(old in case.receipt for old, _ in TEXTS.values())
    asked = [case.of(name, case.receipt.replace(old, new, 1)) for name, (old, new) in TEXTS.items()]
    accepted = {
        name for name, lines in zip(TEXTS, compare(asked), strict=True) if lines[-1]["verdict"] == "valid"
    }
    assert accepted == SAME_MEANING


def test_megabytes_are_refused_and_a_whole_one_is_read() -> None:
    case = network_case()
    shown, room = json.loads(case.receipt), (1 << 20) - len(case.receipt)
    many = [render_base64url(b"%04d" % each + bytes(700)) for each in range(1_000)]
    headers = [
        shown["headers"][0],
        *(render_base64url(bytes(16 << 10) + bytes([each])) for each in range(40)),
    ]
    deep = b"[" * (1 << 20)
    found = compare(
        [
            case.of("a whole megabyte", case.receipt + b" " * room),
            case.of("one byte more", case.receipt + b" " * (room + 1)),
            case.of("a thousand nodes", encode({**shown, "nodes": [*shown["nodes"], *many]})),
            case.of(
                "1,025 nodes", encode({**shown, "nodes": [render_base64url(b"%d" % n) for n in range(1025)]})
            ),
            case.of("headers of 16 KiB", encode({**shown, "headers": headers})),
            case.of("brackets", deep),
            case.of("quotes", b'"' * (1 << 20)),
            case.of("objects", b'{"a":' * 200_000),
        ]
    )
    words = [lines[-2]["detail"] for lines in found]
    assert words == ["no_timestamp", "receipt_malformed", "slot_not_proved", *["receipt_malformed"] * 5]


def commands(folder: Path, case: VerifierCase, *more: str) -> list[tuple[int, Lines]]:
    """Run both command lines on files; return how each ended and what it printed."""
    (folder / "receipt.json").write_bytes(case.receipt)
    (folder / "trust.json").write_bytes(case.trust)
    python = [sys.executable, "-m", "cli", "verify", "--offline", "-o", "jsonl"]
    python += ["--receipt", "receipt.json", "--trust", "trust.json"]
    browser = [str(NODE), str(SOURCES / "cli.mjs"), "receipt.json", "trust.json"]
    environment = {**os.environ, "PYTHONPATH": str(SOURCES.parents[1]), "HOME": str(folder)}
    found = []
    for argv in (python, browser):
        ran = subprocess.run(
            [*argv, "--at", AT, *more], cwd=folder, env=environment, capture_output=True, text=True
        )
        found.append((ran.returncode, judged([json.loads(line) for line in ran.stdout.splitlines()])))
    return found


@pytest.mark.parametrize(
    ("name", "more", "code", "last"),
    [
        ("network valid", [], 0, "no_bound"),
        ("network revoked", [], 12, "document_revoked"),
        ("cut off", [], 10, "receipt_malformed"),
        ("network valid", ["--max-age", "1"], 11, "stale"),
        ("network valid", ["--expect-type", "M1001"], 10, "other_type"),
    ],
)
def test_both_command_lines_list_their_checks_stream_them_and_end_alike(
    tmp_path: Path, name: str, more: list[str], code: int, last: str
) -> None:
    case = next(each for each in vector_cases() if each.name == name)
    python, browser = commands(tmp_path, case, *more)
    assert python == browser
    ended, (plan, *checks, verdict) = python
    ran = [each["detail"] for each in checks if each["outcome"] != "skipped"]
    assert (ended, verdict["exit"], ran[-1]) == (code, code, last)
    assert plan["checks"][: len(checks)] == [each["code"] for each in checks]


def test_a_trust_file_that_is_none_is_a_fault_of_the_reader_and_no_verdict(tmp_path: Path) -> None:
    for ended, lines in commands(tmp_path, VerifierCase("", network_case().receipt, b"{}")):
        assert (ended, lines) == (6, [])


EXPECTED = {
    "issuer": ("11310104MB2F30001T", "11310104MB2F30002R"),
    "type": ("LICENCE", "PERMIT"),
    "subject": (
        {"idType": "001", "id": "91310115MA1K30000X"},
        {"idType": "001", "id": "91310115MA1K30001X"},
    ),
    "sha256": (made.FILE_SHA256.hex(), "00" * 32),
}


@pytest.mark.parametrize("what", EXPECTED)
def test_valid_proof_of_the_wrong_thing_fails_by_name(what: str) -> None:
    shown = {"issuer": "agency", "type": "typeCode", "subject": "subjects"}.get(what, what)
    right, wrong = EXPECTED[what]
    always = ("documentSlots", "expiresOn")
    opened = encode(render_receipt(made.receipt(shown=(*always, shown))))
    hidden = encode(render_receipt(made.receipt(shown=always)))
    case = VerifierCase(what, opened, encode(render_trust(made.TRUST)))
    answers = [replace(case, asked={what: each}) for each in (right, wrong)]
    good, bad, unseen = compare([*answers, replace(answers[0], receipt=hidden)])
    word = {"sha256": "bytes"}.get(what, what)
    assert (good[-2]["detail"], good[-1]["exit"]) == (f"same_{word}", 0)
    assert (bad[-2]["detail"], bad[-1]["exit"]) == (f"other_{word}", 10)
    assert (unseen[-2]["detail"], unseen[-1]["exit"]) == (f"{what}_hidden", 11)


@pytest.fixture(scope="module")
def contract(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContractVerifier]:
    with running_chain(tmp_path_factory.mktemp("chain")) as chain:
        yield deploy_verifier(chain.server.rpc, chain.deployment.ledger, COUNCIL)


def covered(case: VerifierCase, held: Mapping[int, bytes]) -> Lines:
    """Answer a case by the pure Python functions of the steps that the contract covers, in the protocol's lines."""
    found = []
    try:
        receipt = parse_receipt(case.receipt)
    except ReceiptMalformed:
        return [{"type": "check", "code": "receipt", "outcome": "fail", "detail": "receipt_malformed"}]
    steps = {
        "receipt": (lambda: None, "well_formed", ""),
        "opening": (lambda: _opening(receipt), "same_commitment", "other_commitment"),
        "inclusion": (lambda: _inclusion(receipt), "included", "not_included"),
        "batch_slot": (
            lambda: verify_batch_slot(receipt.entry, held.get(receipt.entry.id, bytes(32))),
            "same_entry",
            "other_entry",
        ),
    }
    for code, (prove, good, bad) in steps.items():
        try:
            prove()
        except (ProofError, OpeningMismatch):
            return [*found, {"type": "check", "code": code, "outcome": "fail", "detail": bad}]
        found.append({"type": "check", "code": code, "outcome": "pass", "detail": good})
    return found


def _opening(receipt: Receipt) -> None:
    verify_opening(receipt.opening, Commitment(receipt.record[:32]))


def _inclusion(receipt: Receipt) -> None:
    where = receipt.inclusion
    verify_inclusion(receipt.record, receipt.member_id, where.index, receipt.entry, where.path)


def compare_contract(
    contract: ContractVerifier, cases: Sequence[VerifierCase], held: dict[int, bytes]
) -> set[str]:
    """Require of the contract, on the checks that it covers, what Python says; return the last words."""
    ends = set()
    for case, lines in zip(cases, contract.judge([each.receipt for each in cases], held=held), strict=True):
        plan, *checks, verdict = lines
        assert plan["checks"] == ["receipt", "opening", "inclusion", "batch_slot"]
        assert checks == covered(case, held), case.name
        assert verdict["exit"] == (0 if checks[-1]["outcome"] == "pass" else 10), case.name
        ends.add(checks[-1]["detail"])
    return ends


def logged_by(receipt: bytes) -> dict[int, bytes]:
    """Return what the Ledger that a receipt speaks of has logged."""
    entry = parse_receipt(receipt).entry
    return {entry.id: batch_hash(entry)}


def test_contract_judges_vectors_alike_on_the_checks_it_covers(contract: ContractVerifier) -> None:
    cases = list(vector_cases())
    ends = compare_contract(contract, cases[:-2], logged_by(cases[0].receipt))
    assert ends == {"same_entry", "other_entry", "not_included", "other_commitment", "receipt_malformed"}
    assert compare_contract(contract, cases[-2:], logged_by(cases[-1].receipt)) == {"same_entry"}


def test_contract_judges_every_single_field_change_alike(contract: ContractVerifier) -> None:
    case = network_case()
    compare_contract(contract, list(mutations(case)), logged_by(case.receipt))


@pytest.mark.parametrize(
    "every", [pytest.param(17, id="sampled"), pytest.param(1, id="all", marks=pytest.mark.full)]
)
def test_contract_judges_flipped_bits_alike(contract: ContractVerifier, every: int) -> None:
    whole = made.receipt(shown=("agency", "documentNo", "subjects", "typeCode"))
    case = VerifierCase("made", encode(render_receipt(whole)), b"")
    compare_contract(contract, list(byte_flips(case, every=every)), logged_by(case.receipt))


@pytest.mark.parametrize(
    "count", [pytest.param(200, id="200"), pytest.param(5_000, id="5000", marks=pytest.mark.full)]
)
def test_contract_judges_several_changes_at_once_alike(contract: ContractVerifier, count: int) -> None:
    case = network_case()
    changed = [
        each
        for each in tangles([*network_cases()], count=count, seed=7)
        if len(each.receipt) < 2 * len(case.receipt)
    ]
    ends = compare_contract(contract, changed, logged_by(case.receipt))
    assert {"other_commitment", "not_included", "same_entry"} <= ends
