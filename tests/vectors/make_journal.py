"""Write the golden files of the chain journal (docs/reference/chain-journal.md): accepts, cut tails, rejects.

`make vectors` runs this; a test compares the files with a rerun and reads them with a second, naive reader.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anchor.chain.journal import HEADER_BYTES, JournalEntry, JournalHeader, encode_entry, encode_header

FOLDER = Path(__file__).parent / "journal"
HEADER = JournalHeader(
    chain_id=310000, genesis_time=1_790_000_000, gas_limit=60_012_345, created=1_790_000_000
)
ENTRIES = [
    JournalEntry(1, 1_790_000_003, b"\x11" * 32, (bytes.fromhex("f84001"), b"\xaa" * 5)),
    JournalEntry(2, 1_790_000_063, b"\x22" * 32, ()),
]
SOURCE = "docs/reference/chain-journal.md"


def journal_bytes(count: int) -> bytes:
    """Return a journal with the first `count` entries."""
    raw = encode_header(HEADER)
    for entry in ENTRIES[:count]:
        raw += encode_entry(entry, raw[-32:])
    return raw


def shown(entry: JournalEntry) -> dict[str, Any]:
    """Return an entry as JSON."""
    raws = [raw.hex() for raw in entry.transactions]
    place = {"number": entry.number, "time": entry.time, "parentHash": entry.parent_hash.hex()}
    return {**place, "transactions": raws}


def accepts() -> Iterator[dict[str, Any]]:
    """Yield journals that are read; what a crash left at the end is cut, the rest kept."""
    whole, one, none = journal_bytes(2), journal_bytes(1), journal_bytes(0)
    cases = {
        "no entry yet": (none, 0),
        "one entry": (one, 1),
        "two entries, the second without transactions": (whole, 2),
        "cut inside the head of the last entry": (one + whole[len(one) : len(one) + 9], 1),
        "cut inside the payload of the last entry": (whole[:-40], 1),
        "cut inside the digest of the last entry": (whole[:-1], 1),
        "last pages never written: zeros from the head on": (one + bytes(200), 1),
        "last pages never written: zeros from the digest on": (whole[:-32] + bytes(32), 1),
    }
    for name, (raw, count) in cases.items():
        yield {"name": name, "input": raw.hex(), "expected": [shown(entry) for entry in ENTRIES[:count]]}


def rejects() -> Iterator[dict[str, Any]]:
    """Yield journals that are refused, each broken in one way, with the entry that is named (0: the header)."""
    whole, one = journal_bytes(2), journal_bytes(1)
    first, second = HEADER_BYTES, len(one)
    flips = {
        "magic": (0, 0), "version": (11, 0), "chain id": (19, 0), "header digest": (first - 1, 0),
        "length of the first entry": (first, 1), "number of the first entry": (first + 11, 1),
        "check of the first entry": (first + 12, 1), "time of the first entry": (first + 20, 1),
        "parent of the first entry": (first + 30, 1), "a transaction of the first entry": (second - 34, 1),
        "digest of the first entry": (second - 1, 1), "length of the last entry": (second + 3, 2),
        "payload of the last entry": (second + 20, 2), "digest of the last entry": (len(whole) - 1, 2),
    }  # fmt: skip
    for name, (at, entry) in flips.items():
        altered = bytearray(whole)
        altered[at] ^= 1
        yield {"name": f"{name}, one bit", "input": altered.hex(), "error": "journal_corrupt", "entry": entry}
    swapped = whole[:first] + whole[second:] + whole[first:second]
    others = {"empty file": (b"", 0), "cut header": (whole[:70], 0), "entries swapped": (swapped, 1)}
    others["first entry missing"] = (whole[:first] + whole[second:], 1)
    others["zeros, then more"] = (one + bytes(60) + whole[second:], 2)
    for name, (raw, entry) in others.items():
        yield {"name": name, "input": raw.hex(), "error": "journal_corrupt", "entry": entry}


def documents() -> Iterator[tuple[str, str]]:
    """Yield (file name, text) of both files."""
    for name, cases in (("accept.json", accepts()), ("reject.json", rejects())):
        yield name, json.dumps({"source": SOURCE, "cases": list(cases)}, indent=1) + "\n"


def main() -> int:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in documents():
        (FOLDER / name).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
