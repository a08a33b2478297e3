"""Taking in a large file over the real store: what a broken upload, or one cut off by a stop, leaves behind."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from anchor.keyvalue import Put
from node.http.routes import materials as routes
from node.services import materials
from node.services.intake import PIECE_BYTES, receive
from node.store.blobs import BATCH_CHUNKS, CHUNK_BYTES
from node.store.leveldb import BLOB_PREFIX, LevelStore
from node.store.rows import upload_prefix

FILE_BYTES = 8 * PIECE_BYTES


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LevelStore]:
    with LevelStore.create(tmp_path / "store", node_id="node_1", seal=None, chain=False) as made:
        yield made


def node_with(store: LevelStore, *, sm3: bool = False) -> Any:
    return SimpleNamespace(store=store, config=SimpleNamespace(sm3_max_bytes=FILE_BYTES + 1 if sm3 else 0))


def left(store: LevelStore) -> tuple[int, int]:
    """Return how many chunks and marks are there."""
    return len(list(store.keys(BLOB_PREFIX))), len(list(store.keys(upload_prefix())))


async def sent(*sizes: int, error: Exception | None = None) -> AsyncIterator[bytes]:
    for size in sizes:
        yield bytes(size)
    if error:
        raise error


class Gate:
    """Holds whoever comes to it until it is opened."""

    def __init__(self) -> None:
        self._entered, self._open = threading.Event(), threading.Event()

    def hold(self) -> None:
        self._entered.set()
        assert self._open.wait(30)

    async def cut_off(self, task: "asyncio.Future[Any]", *, then: Callable[[], None]) -> None:
        """Cancel `task` while somebody is held, and let him go when `then` says so."""
        await asyncio.to_thread(self._entered.wait, 30)
        task.cancel()
        then()
        with pytest.raises(asyncio.CancelledError):
            await task

    def open(self) -> None:
        self._open.set()

    def open_soon(self) -> None:
        asyncio.get_running_loop().call_later(0.2, self.open)


def test_an_upload_that_breaks_off_leaves_neither_thread_nor_chunk(store: LevelStore) -> None:
    before = set(threading.enumerate())
    with pytest.raises(ConnectionResetError):
        asyncio.run(
            receive(
                node_with(store, sm3=True),
                sent(3 * PIECE_BYTES, error=ConnectionResetError()),
                expected_bytes=FILE_BYTES,
            )
        )
    assert {each.name for each in set(threading.enumerate()) - before} == set()
    assert left(store) == (0, 0)


def test_the_last_piece_of_a_cut_off_upload_is_stored_before_it_is_deleted(
    store: LevelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a chunk is written behind the mark's back, and no sweep would find it."""
    gate, write = Gate(), LevelStore.write

    def held(store: LevelStore, ops: Any, *, sync: bool) -> None:
        if any(isinstance(op, Put) for op in ops):
            gate.hold()
        write(store, ops, sync=sync)

    monkeypatch.setattr(LevelStore, "write", held)

    async def push() -> None:
        # The first batch of chunks is full with the last piece.
        chunks = sent((BATCH_CHUNKS - 1) * CHUNK_BYTES + 2, PIECE_BYTES - 1)
        receiving = asyncio.ensure_future(receive(node_with(store), chunks, expected_bytes=None))
        await gate.cut_off(receiving, then=gate.open_soon)

    asyncio.run(push())
    assert left(store) == (0, 0)


def test_a_request_that_is_cut_off_takes_no_chunk_from_the_material_being_stored(
    store: LevelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, node = Gate(), node_with(store)

    def accept(_node: Any, push: Any) -> Any:
        gate.hold()
        store.write(push.received.final_ops(), sync=True)
        return SimpleNamespace(created=True)

    monkeypatch.setattr(materials, "accept", accept)
    monkeypatch.setattr(routes, "_push_of", lambda *_, received, **__: SimpleNamespace(received=received))

    async def push() -> None:
        received = await receive(node, sent(FILE_BYTES), expected_bytes=FILE_BYTES)
        storing = asyncio.ensure_future(routes._accept(node, Mock(), Mock(), received, Mock()))
        await gate.cut_off(storing, then=lambda: None)
        gate.open()

    asyncio.run(push())
    assert left(store) == (FILE_BYTES // CHUNK_BYTES, 0)
