"""What does an offline check cost beside its bare hashes and signatures, and how large are receipts?

The floor is recorded: every Keccak-256, SHA-256 and key recovery that one check asks for, with its bytes, and replayed
without anything around it. In Chromium the same modules are bundled twice, once with recording hashes.
"""

from __future__ import annotations

import hashlib
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from coincurve import PublicKey
from playwright.sync_api import sync_playwright

import anchor.entries
import anchor.headers
import anchor.merkle
import anchor.slots
import verifier.proofs.accounts
from anchor.canonical import canonical_bytes
from anchor.commitments import commit, open_fields
from anchor.entries import batch_hash
from anchor.keccak import keccak
from anchor.rlpcodec import encode
from anchor.slots import batch_slot, claim_slot
from anchor.slots import document_slot as slots_document
from bench.figures import Figure, alternate, compare
from bench.runner import run
from bench.sparseproofs import SparseTrie
from bench.stage import Bench
from node.services.receipts import DEFAULT_OPENED
from tests.unit import receipt_factory as made
from tests.unit import sealed_chain_factory as sealed
from verifier.receipts import (
    SLOTS_FIELD,
    Receipt,
    ReceiptVerdict,
    build_receipt,
    check_receipt,
    parse_receipt,
    render_receipt,
)
from verifier.trust import render_trust

ROUNDS = 9
PER_ROUND = 30
LIMIT_KIB = 16
ACCOUNTS = 100
AT = datetime(2026, 12, 1, 1, tzinfo=UTC)
# The fields of a real material; those of `SHOWN` are what a node opens unless asked otherwise.
SHOWN = (*DEFAULT_OPENED, SLOTS_FIELD)
FIELDS = {
    **made.FIELDS,
    "caseNo": "PD-20261103-000001",
    "custodian": 7,
    "level": "L2",
    "materialId": "mat_01JCV3ZJ3M0000000000000000",
    "mediaType": "application/pdf",
    "shareType": "conditional",
    "size": 123_456,
    "sm3": made.bytes_of("sm3").hex(),
    "version": 1,
}
Call = tuple[Callable[..., Any], tuple[Any, ...]]


def receipt_among(records: int, *, batch: int) -> Receipt:
    """Make a receipt on a Ledger with so many records in batches of `batch`, sealed by four of five signers."""
    rows, entry = made.sealed_batch(commit(FIELDS, made.SALT_KEY), size=batch, index=batch // 2)
    claim, shown = claim_slot(made.MEMBER, rows[batch // 2][:32]), made.document_slot()
    wanted = {
        batch_slot(entry.id): encode(batch_hash(entry)),
        claim: None,
        slots_document(*shown.place): None,
    }
    storage = SparseTrie(
        {keccak(slot): value for slot, value in wanted.items()}, records // batch, seed=records
    )
    account = encode([b"\1", b"", storage.root(), bytes(32)])
    state = SparseTrie({keccak(made.CHAIN.ledger): account}, ACCOUNTS, seed=1)
    headers = made.headers_of(state.root(), sealers=sealed.KEYS[:4], finality="crash-final", number=130)
    return build_receipt(
        chain=made.CHAIN,
        finality="crash-final",
        opening=open_fields(FIELDS, made.SALT_KEY, SHOWN),
        batch=rows,
        index=batch // 2,
        entry=entry,
        headers=headers,
        nodes=tuple(dict.fromkeys([*state.nodes, *storage.nodes])),
        claim=made.EMPTY_SLOT,
        documents=(shown,),
    )


def check(raw: bytes) -> None:
    """Check a receipt as the command does, from its bytes; it must be valid."""
    assert check_receipt(parse_receipt(raw), made.TRUST, at=AT).verdict is ReceiptVerdict.VALID


def recorded_calls(raw: bytes) -> list[Call]:
    """Return every hash and key recovery that a check of `raw` asks for, with its arguments."""
    calls: list[Call] = []
    with _recording(calls):
        check(raw)
    return calls


@contextmanager
def _recording(calls: list[Call]) -> Iterator[None]:
    def recorder(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any) -> Any:
            calls.append((function, arguments))
            return function(*arguments)

        return called

    recover = recorder(_recover)
    keys = SimpleNamespace(
        from_signature_and_message=lambda seal, digest, hasher: SimpleNamespace(
            format=lambda compressed: recover(seal, digest)
        )
    )
    places = [(each, "keccak", recorder(keccak)) for each in _KECCAK_USERS]
    hashes = SimpleNamespace(sha256=recorder(hashlib.sha256))
    places += [(anchor.merkle, "hashlib", hashes), (anchor.entries, "hashlib", hashes)]
    places += [(anchor.headers, "PublicKey", keys)]
    before = [(module, name, getattr(module, name)) for module, name, _ in places]
    try:
        for module, name, value in places:
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


_KECCAK_USERS = (anchor.headers, anchor.slots, verifier.proofs.accounts)


def _recover(seal: bytes, digest: bytes) -> bytes:
    key = PublicKey.from_signature_and_message(seal, digest, hasher=None)
    return bytes(key.format(compressed=False))


def _replay(calls: list[Call]) -> None:
    for function, arguments in calls:
        function(*arguments)


def _median_us(work: Callable[[], object]) -> float:
    """Return the median of the processor's time: what else the machine does takes longer work away more often."""
    times = []
    for _ in range(PER_ROUND):
        started = time.thread_time()
        work()
        times.append(time.thread_time() - started)
    return statistics.median(times) * 1e6


def measure(bench: Bench) -> list[Figure]:
    """Measure both verifiers on a receipt among 10^6 records, and the size among 10^3 to 10^6."""
    largest = canonical_bytes(render_receipt(receipt_among(1_000_000, batch=512)))
    sizes = [_size(10**power, batch) for batch in (512, 1) for power in (3, 4, 5, 6)]
    return [_python(largest), *_chromium(largest, bench.folder), *sizes]


def _size(records: int, batch: int) -> Figure:
    raw = canonical_bytes(render_receipt(receipt_among(records, batch=batch)))
    check(raw)
    return compare(
        "size of a receipt",
        f"{records:,} records, batches of {batch}",
        [(len(raw) / 1024, LIMIT_KIB)],
        unit="KiB",
        floor="bound",
        goal=1,
        at_least=False,
    )


def _python(raw: bytes) -> Figure:
    calls = recorded_calls(raw)
    check(raw)
    pairs = alternate(
        ROUNDS, lambda _: _median_us(lambda: check(raw)), lambda _: _median_us(lambda: _replay(calls))
    )
    return _figure("offline check, Python", len(raw), pairs)


def _figure(stage: str, size: int, pairs: list[tuple[float, float]]) -> Figure:
    floor = "its hashes and key recoveries"
    return compare(stage, f"{size:,} bytes", pairs, unit="µs", floor=floor, goal=1.5, at_least=False)


def _chromium(raw: bytes, folder: Path) -> list[Figure]:
    """Measure the browser's modules in Chromium; no figure where there is none."""
    program = shutil.which("chromium")
    if program is None:
        return []
    script = _bundle(folder)
    trust = canonical_bytes(render_trust(made.TRUST))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.add_script_tag(content=script)
        asked = {"receipt": raw.decode(), "trust": trust.decode(), "at": AT.timestamp()}
        pairs = page.evaluate("asked => measure(asked)", asked | {"rounds": ROUNDS, "perRound": PER_ROUND})
        browser.close()
    return [
        _figure("offline check, Chromium", len(raw), [(each["product"], each["floor"]) for each in pairs])
    ]


def _bundle(folder: Path) -> str:
    target = folder / "receiptpage.js"
    script = Path(__file__).with_name("bundle.mjs")
    subprocess.run(["node", str(script), str(target)], check=True)  # noqa: S607
    return target.read_text("utf-8")


if __name__ == "__main__":
    run(measure)
