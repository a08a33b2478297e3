"""Power loss, not only process death: whatever was not synced is gone, and every answer still holds.

A node's own code takes files in and anchors them, against the real chain, while every write to its store is
recorded. Then the power fails at each boundary: the store is built anew from what was synced by then, with none,
half or all of the writes after the last sync, as LevelDB's log would keep them. Each such store is opened by the
real node, must hold what was answered by then and nothing by halves, and must anchor it to the end, once.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from anchor.chain.journal import JOURNAL_NAME, Journal, JournalEntry, JournalHeader
from anchor.keyvalue import Delete, Put
from cli.demo import people
from cli.demo.network import Network
from node.config import load_config
from node.context import Node
from node.runtime import close_node, open_node
from node.services import custody, intake, materials
from node.services.recording import Actor
from node.services.requests import MaterialMeta, SubjectRef
from node.store import rows
from node.store.blobs import sweep_orphans
from node.store.envelope import RowSeal
from node.store.leveldb import LevelStore
from node.workers import follow_once
from tests.e2e.papers import File, fresh_file, meta_of
from tests.faults.test_kill import records_of
from tests.support.waiting import BOUND_S

ACTOR = Actor(people.QP.uscc, "test", "req_test")
ENTRY_OVERHEAD_BYTES = 96
Op = Put | Delete


@dataclass
class Recording:
    """The writes of a run, in order, and after how many of them each answer was given."""

    writes: list[tuple[Sequence[Op], bool]] = field(default_factory=list)
    answers: list[tuple[int, File, str]] = field(default_factory=list)

    def kept(self, boundary: int, share: float) -> list[Sequence[Op]]:
        """Return what the disk holds after a power cut that follows write `boundary`.

        All up to the last synced write; of those after it the first `share`, since a log loses its end.
        """
        last = max((n + 1 for n in range(boundary) if self.writes[n][1]), default=0)
        stop = last + round((boundary - last) * share)
        return [ops for ops, _ in self.writes[:stop]]


@dataclass
class Stand:
    """QP's folder as it was before the run, and the run."""

    network: Network
    before: Path
    recording: Recording
    on_chain_before: int


def push(node: Node, file: File) -> str:
    """Take a file in as a request does."""

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, len(file.content), 100_000):
            yield file.content[at : at + 100_000]

    received = asyncio.run(intake.receive(node, chunks(), expected_bytes=len(file.content)))
    wanted = meta_of(file)
    meta = MaterialMeta(
        type_code=wanted["typeCode"],
        subjects=[SubjectRef(one["idType"], one["id"]) for one in wanted["subjects"]],
        case_no=wanted["caseNo"],
        title=wanted["title"],
        sha256=file.sha256,
        document_no=wanted["documentNo"],
        issued_on=wanted["issuedOn"],
        expires_on=wanted["expiresOn"],
    )
    push = materials.Push(ACTOR, meta, received, lambda _: [])
    return materials.accept(node, push).material.material_id


def opened(folder: Path) -> Node:
    """Open a node without its workers and bring it up to the chain, as its start would."""
    node = open_node(load_config(folder))
    sweep_orphans(node.store, live=lambda _: False)
    while follow_once(node):
        pass
    return node


def anchor_all(node: Node) -> None:
    """Step the outbox until nothing waits."""
    deadline = time.monotonic() + BOUND_S
    while time.monotonic() < deadline:
        progress = node.outbox.step()
        follow_once(node)
        if not progress.queued and not progress.in_flight and not progress.included:
            return
        time.sleep(0.01)
    raise AssertionError("the outbox did not come to an end")


@pytest.fixture(scope="module")
def stand(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    node = network.nodes["QP"]
    node.part.stop()
    home = tmp_path_factory.mktemp("power")
    shutil.copytree(node.folder, home / "before")
    shutil.copytree(node.folder, home / "run")
    before = records_of(network, people.QP_MEMBER, materials_stream()).total()
    run = record_run(home / "run")
    # Key epochs are files that are synced before the first row names them; they are there at every cut.
    shutil.rmtree(home / "before" / "keys")
    shutil.copytree(home / "run" / "keys", home / "before" / "keys")
    yield Stand(network, home / "before", run, before)
    # The run used QP's account: its node goes on from what the run left.
    shutil.rmtree(node.folder / "store")
    shutil.copytree(home / "run" / "store", node.folder / "store")
    node.restart()


def materials_stream() -> Any:
    from anchor.records import Stream

    return Stream.MATERIAL


def record_run(folder: Path) -> Recording:
    """Take in and anchor two small files, a large one, and one more; record every write to the store."""
    recording = Recording()
    node = opened(folder)
    write = LevelStore.write

    def recorded(store: LevelStore, ops: Sequence[Op], *, sync: bool) -> None:
        write(store, ops, sync=sync)
        if store is node.store:
            recording.writes.append((list(ops), sync))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LevelStore, "write", recorded)
        for size in (500, 3000, (5 << 20) + 3):
            file = fresh_file(size)
            name = push(node, file)
            recording.answers.append((len(recording.writes), file, name))
            node.outbox.step()
        anchor_all(node)
        file = fresh_file(800)
        recording.answers.append((len(recording.writes) + 1, file, push(node, file)))
        anchor_all(node)
    close_node(node)
    return recording


def rebuilt(stand: Stand, folder: Path, boundary: int, share: float) -> Path:
    """Make the folder that a power cut at `boundary` leaves."""
    shutil.copytree(stand.before, folder)
    keys = open_keys(folder)
    with LevelStore.open(folder / "store", seal=RowSeal(keys)) as store:
        for ops in stand.recording.kept(boundary, share):
            store.write(ops, sync=False)
        store.write([Delete(b"none/none")], sync=True)
    return folder


def open_keys(folder: Path) -> bytes:
    from node.keys import KeyFolder
    from node.runtime import read_passphrase

    config = load_config(folder)
    return KeyFolder.open(folder / "keys", read_passphrase(config)).store_key()


def check(stand: Stand, node: Node, boundary: int) -> None:
    """Whatever was answered is whole; whatever was not is whole or absent."""
    answered = {name: file for at, file, name in stand.recording.answers if at <= boundary}
    known = {name: file for _, file, name in stand.recording.answers}
    for name in answered:
        assert rows.MATERIAL.get(node.store, name) is not None, name
    for name, file in known.items():
        if rows.MATERIAL.get(node.store, name) is None:
            assert not list(rows.VERSION.scan(node.store, name))
            continue
        view = materials.get(node, ACTOR, name)
        held = custody.unlock(node, view.version)
        content = b"".join(custody.read(node, held))
        assert hashlib.sha256(content).hexdigest() == file.sha256
        assert all(node.outbox.status_of(one) is not None for one in view.version.operation_ids)
    referred = {row.blob_id for row in rows.VERSION.scan(node.store)}
    referred |= {row.blob_id for row in rows.REUSE.scan(node.store)}
    held_ids = {rows.chunk_blob_id(key) for key in node.store.keys(b"blob/")}
    assert held_ids == referred - {""}
    assert node.audit.verify().first_broken is None


def test_the_run_has_writes_of_every_kind(stand: Stand) -> None:
    kinds = {sync for _, sync in stand.recording.writes}
    assert kinds == {True, False}
    assert len(stand.recording.writes) > 12
    chunked = [ops for ops, _ in stand.recording.writes if any(op.key.startswith(b"blob/") for op in ops)]
    assert len(chunked) > 3


@pytest.mark.parametrize(
    "share",
    [
        pytest.param(0.0, id="none"),
        pytest.param(0.5, id="half", marks=pytest.mark.full),
        pytest.param(1.0, id="all"),
    ],
)
def test_a_power_cut_at_every_write_keeps_what_was_answered_and_nothing_by_halves(
    stand: Stand, tmp_path: Path, share: float
) -> None:
    seen: set[int] = set()
    for boundary in range(len(stand.recording.writes) + 1):
        kept = len(stand.recording.kept(boundary, share))
        if kept in seen:
            continue  # The same disk as at an earlier boundary.
        seen.add(kept)
        latest = max(
            one
            for one in range(boundary, len(stand.recording.writes) + 1)
            if len(stand.recording.kept(one, share)) == kept
        )
        folder = rebuilt(stand, tmp_path / f"cut-{boundary}", boundary, share)
        node = opened(folder)
        try:
            check(stand, node, latest)
            anchor_all(node)
            check(stand, node, latest)
        finally:
            close_node(node)
            shutil.rmtree(folder)


def test_after_all_power_cuts_each_record_is_on_chain_once(stand: Stand) -> None:
    on_chain = records_of(stand.network, people.QP_MEMBER, materials_stream())
    assert set(on_chain.values()) == {1}
    assert on_chain.total() == stand.on_chain_before + len(stand.recording.answers)


def journal_of(folder: Path, count: int) -> tuple[Path, list[int], list[JournalEntry]]:
    """Write a chain journal of `count` entries; return it with its length after each."""
    Journal.create(folder, JournalHeader(310000, 1_760_000_000, 60_000_000, 1_760_000_000))
    journal = Journal.open(folder)
    path, lengths, entries = folder / JOURNAL_NAME, [], []
    for number in range(1, count + 1):
        lengths.append(path.stat().st_size)
        # Every other entry ends with a sector's edge inside its digest, the rest with one inside the next head.
        size = (10 if number % 2 else 505) - lengths[-1] - ENTRY_OVERHEAD_BYTES
        raw = secrets.token_bytes(size % 512 + 1024)
        entry = JournalEntry(number, 1_760_000_000 + number, bytes(32), (raw,))
        journal.append(entry)
        entries.append(entry)
    journal.close()
    return path, [*lengths, path.stat().st_size], entries


def test_the_chains_journal_survives_a_power_cut_at_every_sector_of_an_append(tmp_path: Path) -> None:
    path, lengths, entries = journal_of(tmp_path / "whole", 6)
    content = path.read_bytes()
    for number, (start, stop) in enumerate(pairwise(lengths)):
        sectors = [at for at in range(0, stop, 512) if start < at]
        # Lost with its length, at any byte; or grown to its length, and sectors never written.
        short = [content[:cut] for cut in {start, start + 1, start + 15, start + 16, stop - 33, stop - 1}]
        torn = [content[:at] + bytes(stop - at) for at in [start, *sectors]]
        for left in (*short, *torn):
            folder = tmp_path / "cut"
            folder.mkdir(exist_ok=True)
            (folder / JOURNAL_NAME).write_bytes(left)
            journal = Journal.open(folder)
            assert list(journal.entries()) == entries[:number]
            journal.append(entries[number])
            assert list(journal.entries()) == entries[: number + 1]
            journal.close()
