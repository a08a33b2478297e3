"""Write the golden files of the formats that `anchor` and `verifier.receipts` define.

`make vectors` runs this; the same input always gives the same bytes, and a test compares the files with a
rerun. A case has a name, an input, and either what is expected or the code of the error. Whether the
expected values are right is not decided here: tests/unit/test_vectors.py computes them a second time.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from anchor.errors import DeltasealError
from tests.vectors import (
    checkpoint_cases,
    commitment_cases,
    key_cases,
    ledger_cases,
    receipt_cases,
    record_cases,
    statement_cases,
    trust_cases,
)
from tests.vectors.common import Asked
from tests.vectors.operations import OPERATIONS, Json

HERE = Path(__file__).parent
Case = dict[str, Any]

SOURCES: Mapping[str, tuple[str, Callable[[], Iterator[Asked]], Callable[[], Iterator[Asked]]]] = {
    "record": ("docs/reference/record.md", record_cases.record_accepts, record_cases.record_rejects),
    "commitment": (
        "docs/reference/commitment.md, RFC 6962, RFC 8785",
        commitment_cases.commitment_accepts,
        commitment_cases.commitment_rejects,
    ),
    "tags": ("docs/reference/tags.md, RFC 2104, RFC 5869", key_cases.tags_accepts, key_cases.tags_rejects),
    "envelope": (
        "docs/reference/epoch-envelope.md, RFC 9180, draft-connolly-cfrg-xwing-kem-08",
        key_cases.envelope_accepts,
        key_cases.envelope_rejects,
    ),
    "merkle": (
        "RFC 6962 §2.1 and the leaves of the Certificate Transparency tests",
        ledger_cases.merkle_accepts,
        ledger_cases.merkle_rejects,
    ),
    "entry": ("docs/reference/batch-and-log.md", ledger_cases.entry_accepts, ledger_cases.entry_rejects),
    "checkpoint": (
        "docs/reference/checkpoint.md, EIP-712, RFC 9162 §2.1.4",
        checkpoint_cases.checkpoint_accepts,
        checkpoint_cases.checkpoint_rejects,
    ),
    "receipt": (
        "docs/reference/receipt.md, EIP-225, EIP-1186",
        receipt_cases.receipt_accepts,
        receipt_cases.receipt_rejects,
    ),
    "statement": (
        "docs/reference/status-statement.md",
        statement_cases.statement_accepts,
        statement_cases.statement_rejects,
    ),
    "trust": ("docs/reference/trust-anchor.md", trust_cases.trust_accepts, trust_cases.trust_rejects),
}


def run(operation: str, asked: Json) -> Case:
    """Run a case and say what came of it: `expected`, or the code of the `error`."""
    try:
        return {"expected": OPERATIONS[operation](asked)}
    except DeltasealError as error:
        return {"error": error.code}


def documents() -> Iterator[tuple[str, str]]:
    """Yield (path below tests/vectors, text) of every golden file."""
    for name, (source, accepts, rejects) in SOURCES.items():
        for kind, cases, wanted in (("accept", accepts(), "expected"), ("reject", rejects(), "error")):
            written = [_case(*asked, wanted=wanted) for asked in cases]
            text = json.dumps({"source": source, "cases": written}, indent=1) + "\n"
            yield f"{name}/{kind}.json", text
    yield from receipt_files()


def receipt_files() -> Iterator[tuple[str, str]]:
    """Yield (path, text) of receipts and trust anchors as files of their own, as anybody can put before a verifier.

    `valid-*` verify with the `trust-*` of the same name, `reject-*` with none. `clique` is of a real network.
    """
    network = json.loads((HERE / "receipt" / "clique-network.json").read_text("utf-8"))
    vectors = {name: asked for name, _, asked in receipt_cases.receipt_accepts()}
    made, qbft = vectors["no expiry"], vectors["QBFT, by its own commit seals"]
    whole = {
        "valid-clique": network["receipts"]["valid"],
        "trust-clique": network["trust"],
        "valid-made": made["receipt"],
        "trust-made": made["trust"],
        "valid-qbft": qbft["receipt"],
        "trust-qbft": qbft["trust"],
        "reject-revoked": network["receipts"]["revoked"],
    }
    for name, words in receipt_cases.REJECT_FILES.items():
        whole[f"reject-{name}"] = vectors[words]["receipt"]
    for name, value in whole.items():
        yield f"receipt/{name}.json", json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"


def _case(name: str, operation: str, asked: Json, *, wanted: str) -> Case:
    found = run(operation, asked)
    if wanted not in found:
        raise AssertionError(f"{operation}, {name}: wanted {wanted}, found {found}")
    return {"name": name, "operation": operation, "input": asked, **found}


def main() -> int:
    """Write every file and name those that changed."""
    for name, text in documents():
        path = HERE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            sys.stderr.write(f"changed: tests/vectors/{name}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
