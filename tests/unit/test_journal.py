"""The chain journal: what a crash, a full disk or a flipped bit leaves, and what is refused."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anchor.chain.errors import ChainFolderExists, ChainFolderMissing, JournalUnwritable
from anchor.chain.journal import (
    HEADER_BYTES,
    JOURNAL_NAME,
    Journal,
    JournalEntry,
    JournalHeader,
    decode_header,
    encode_entry,
    encode_header,
)
from anchor.errors import JournalCorrupt
from tests.vectors import make_journal

HEADER = JournalHeader(
    chain_id=310000, genesis_time=1_700_000_000, gas_limit=60_000_001, created=1_700_000_005
)
ENTRIES = [
    JournalEntry(1, 1_700_000_010, b"\x01" * 32, (b"first", b"", b"third" * 30)),
    JournalEntry(2, 1_700_000_010, b"\x02" * 32, ()),
    JournalEntry(3, 1_700_000_017, b"\x03" * 32, (b"last",)),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Journal.create(tmp_path, HEADER)
    journal = Journal.open(tmp_path)
    for entry in ENTRIES:
        journal.append(entry)
    journal.close()
    return tmp_path


def read(folder: Path) -> list[JournalEntry]:
    journal = Journal.open(folder)
    try:
        return list(journal.entries())
    finally:
        journal.close()


def lengths() -> list[int]:
    """File sizes after the header and after each entry."""
    sizes, digest = [HEADER_BYTES], encode_header(HEADER)[-32:]
    for entry in ENTRIES:
        raw = encode_entry(entry, digest)
        digest = raw[-32:]
        sizes.append(sizes[-1] + len(raw))
    return sizes


def test_entries_are_read_back_in_order(folder: Path) -> None:
    assert read(folder) == ENTRIES


def test_header_is_read_back(folder: Path) -> None:
    assert Journal.open(folder).header == HEADER


@pytest.mark.parametrize("missing", range(1, 4 + 24 + 32 + 44 + 4 + 4))
def test_entry_that_a_crash_cut_short_is_dropped_and_the_rest_kept(folder: Path, missing: int) -> None:
    path, sizes = folder / JOURNAL_NAME, lengths()
    os.truncate(path, sizes[3] - min(missing, sizes[3] - sizes[2] - 1))
    assert read(folder) == ENTRIES[:2]
    assert path.stat().st_size == sizes[2]


def test_journal_goes_on_after_a_cut(folder: Path) -> None:
    os.truncate(folder / JOURNAL_NAME, lengths()[3] - 1)
    journal = Journal.open(folder)
    journal.append(ENTRIES[2])
    journal.close()
    assert read(folder) == ENTRIES


def test_pages_that_never_reached_the_disk_are_a_cut(folder: Path) -> None:
    path, sizes = folder / JOURNAL_NAME, lengths()
    content = path.read_bytes()
    for keep in (sizes[2], sizes[2] + 40, sizes[3] - 32):
        path.write_bytes(content[:keep] + bytes(sizes[3] - keep + 512 * (keep == sizes[2])))
        assert read(folder) == ENTRIES[:2]


def test_every_flipped_bit_before_the_end_is_named(folder: Path) -> None:
    path, sizes = folder / JOURNAL_NAME, lengths()
    content = path.read_bytes()
    for at in range(sizes[3]):
        for bit in (0, 7):
            altered = bytearray(content)
            altered[at] ^= 1 << bit
            path.write_bytes(altered)
            with pytest.raises(JournalCorrupt) as caught:
                read(folder)
            expected = next(number for number, size in enumerate(sizes) if at < size)
            assert caught.value.facts["entry"] == expected
            assert path.read_bytes() == bytes(altered)  # What is refused is not changed.


def test_entry_from_elsewhere_is_refused(folder: Path) -> None:
    path, sizes = folder / JOURNAL_NAME, lengths()
    content = path.read_bytes()
    path.write_bytes(content[: sizes[1]] + content[sizes[2] :])
    with pytest.raises(JournalCorrupt):
        read(folder)


def test_other_versions_are_refused() -> None:
    body = bytearray(encode_header(HEADER)[:-32])
    body[11] = 2
    with pytest.raises(JournalCorrupt):
        decode_header(bytes(body) + sha256(body).digest())


@given(st.binary(max_size=400))
def test_random_bytes_are_refused_by_name(content: bytes) -> None:
    with pytest.raises(JournalCorrupt):
        decode_header(content)


def test_only_create_makes_a_journal(tmp_path: Path) -> None:
    with pytest.raises(ChainFolderMissing):
        Journal.open(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_existing_journal_is_never_overwritten(folder: Path) -> None:
    with pytest.raises(ChainFolderExists):
        Journal.create(folder, HEADER)
    assert read(folder) == ENTRIES


class FailingHandle:
    """A file whose writes stop after some bytes, as on a full disk."""

    def __init__(self, handle: Any, room: int) -> None:
        self._handle, self.room = handle, room

    def write(self, content: Any) -> int:
        """Write what there is room for."""
        if not self.room:
            raise OSError(errno.ENOSPC, "no space")
        part = bytes(content[: self.room])
        self.room -= len(part)
        return int(self._handle.write(part))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)


@pytest.mark.parametrize("room", [0, 1, 16, 30, 60])
def test_full_disk_leaves_no_half_entry(folder: Path, room: int) -> None:
    journal = Journal.open(folder)
    journal._handle = handle = FailingHandle(journal._handle, room)  # type: ignore[assignment]
    entry = JournalEntry(4, 1_700_000_020, b"\x04" * 32, (b"x" * 100,))
    with pytest.raises(JournalUnwritable):
        journal.append(entry)
    assert (folder / JOURNAL_NAME).stat().st_size == lengths()[3]
    handle.room = 10_000
    journal.append(entry)
    journal.close()
    assert read(folder) == [*ENTRIES, entry]


def test_nothing_is_written_after_a_failed_sync(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal.open(folder)

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(JournalUnwritable):
            journal.append(ENTRIES[2])
    with pytest.raises(JournalUnwritable):
        journal.append(ENTRIES[2])


def test_every_entry_is_synced_before_append_returns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, synced = Journal.open(folder), []
    original: Callable[[int], None] = os.fsync

    def count(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        original(descriptor)

    monkeypatch.setattr(os, "fsync", count)
    journal.append(JournalEntry(4, 1_700_000_020, b"\x04" * 32, ()))
    assert synced == [(folder / JOURNAL_NAME).stat().st_size]


# Vectors and the page

VECTORS = Path(make_journal.__file__).parent / "journal"


def vectors(name: str) -> list[Any]:
    cases = json.loads((VECTORS / f"{name}.json").read_text())["cases"]
    return [pytest.param(case, id=case["name"]) for case in cases]


def naive_entries(raw: bytes) -> list[dict[str, Any]]:
    """Read a whole journal the plain way, sharing nothing with the code; stop where the bytes end or break."""
    digest, at, found = raw[44:76], 76, []
    assert sha256(raw[:44]).digest() == digest
    while len(raw) - at >= 16:
        length = int.from_bytes(raw[at : at + 4], "big")
        body, end = raw[at : at + 16 + length], raw[at + 16 + length : at + 48 + length]
        if sha256(digest + body).digest() != end:
            break
        number, time, parent = (
            int.from_bytes(body[4:12], "big"),
            int.from_bytes(body[16:24], "big"),
            body[24:56],
        )
        raws, rest = [], body[60:]
        while rest:
            size = int.from_bytes(rest[:4], "big")
            raws.append(rest[4 : 4 + size].hex())
            rest = rest[4 + size :]
        assert len(raws) == int.from_bytes(body[56:60], "big")
        found.append({"number": number, "time": time, "parentHash": parent.hex(), "transactions": raws})
        digest, at = end, at + len(body) + 32
    return found


def test_golden_files_are_what_the_script_writes() -> None:
    for name, text in make_journal.documents():
        assert (VECTORS / name).read_text("utf-8") == text, f"{name}: run `make vectors`, review the diff"


@pytest.mark.parametrize("case", vectors("accept"))
def test_accepted_vectors_are_read_alike_by_code_and_naive_reader(
    tmp_path: Path, case: dict[str, Any]
) -> None:
    raw = bytes.fromhex(case["input"])
    (tmp_path / JOURNAL_NAME).write_bytes(raw)
    assert [make_journal.shown(entry) for entry in read(tmp_path)] == case["expected"] == naive_entries(raw)


@pytest.mark.parametrize("case", vectors("reject"))
def test_rejected_vectors_name_the_entry(tmp_path: Path, case: dict[str, Any]) -> None:
    (tmp_path / JOURNAL_NAME).write_bytes(bytes.fromhex(case["input"]))
    with pytest.raises(JournalCorrupt) as caught:
        read(tmp_path)
    assert (caught.value.code, caught.value.facts["entry"]) == (case["error"], case["entry"])


def test_example_on_the_page_is_the_vector() -> None:
    page = (VECTORS.parents[2] / "docs" / "reference" / "chain-journal.md").read_text("utf-8")
    example = page.split("```")[1].strip().splitlines()
    shown = bytes.fromhex("".join(line.split("  ")[0] for line in example))
    assert shown == make_journal.journal_bytes(2)
    assert len(page.split()) <= 900
