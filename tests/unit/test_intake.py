"""Taking in a large file: what a broken upload leaves behind."""

import asyncio
import threading
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from node.services.intake import PIECE_BYTES, receive
from tests.unit.keyvalue_suite import MemoryKeyValue

FILE_BYTES = 8 * PIECE_BYTES


async def cut_off() -> AsyncIterator[bytes]:
    yield bytes(2 * PIECE_BYTES)
    raise ConnectionResetError


def test_an_upload_that_breaks_off_leaves_neither_thread_nor_chunk() -> None:
    before = set(threading.enumerate())
    node: Any = SimpleNamespace(store=MemoryKeyValue(), config=SimpleNamespace(sm3_max_bytes=FILE_BYTES + 1))
    with pytest.raises(ConnectionResetError):
        asyncio.run(receive(node, cut_off(), expected_bytes=FILE_BYTES))
    assert {each.name for each in set(threading.enumerate()) - before} == set()
    assert list(node.store.scan(b"")) == []
