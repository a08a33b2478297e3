"""Move every wrapped key of an agency from key epochs that are to be destroyed to another one.

The rows are read again inside the gate, page by page, so that no use case writes back what it read before. A crash
leaves some rows moved; the next pass moves the rest. Must not import routes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set
from functools import partial
from itertools import islice

import msgspec

from anchor.failpoints import reach
from anchor.keyvalue import Put
from node.context import Node
from node.errors import StoreDamaged
from node.store import rows
from node.store.envelope import unwrap_key, wrap_key

_ROWS_A_PAGE = 256

Move = Callable[[], Put | None]


def move(node: Node, agency: str, retired: Set[int]) -> None:
    """Wrap every row of `agency` under an epoch outside of `retired`.

    Raises:
        StoreDamaged: a row is left under one of them; nothing may be destroyed then.
    """
    if max(node.keys.epochs(agency)) in retired:
        node.keys.rotate_kek(agency)
        reach("erasure.rotate", "after")
    with node.epochs.alone():
        pass  # whoever took a key before the rotation has written by now
    for page in _pages(_moves(node, agency, retired)):
        with node.epochs.alone():
            ops = [op for op in (one() for one in page) if op is not None]
            node.store.write(ops, sync=True)
        reach("erasure.page", "after")
    if any(True for _ in _under(node, agency, retired)):
        raise StoreDamaged("a wrapped key was not moved to the new key epoch", row="wrapped_key")


def _pages(moves: Iterator[Move]) -> Iterator[list[Move]]:
    while page := list(islice(moves, _ROWS_A_PAGE)):
        yield page


def _under(node: Node, agency: str, epochs: Set[int]) -> Iterable[rows.VersionRow | rows.ReuseRow]:
    for held in rows.BY_AGENCY.scan(node.store, agency):
        for version in rows.VERSION.scan(node.store, held.material_id):
            if version.key_epoch in epochs:
                yield version
    for reuse in rows.REUSE.scan(node.store):
        if reuse.agency == agency and reuse.key_epoch in epochs:
            yield reuse


def _moves(node: Node, agency: str, retired: Set[int]) -> Iterator[Move]:
    for row in _under(node, agency, retired):
        if isinstance(row, rows.VersionRow):
            yield partial(_moved_version, node, agency, row, retired)
        else:
            yield partial(_moved_reuse, node, agency, row, retired)


def _moved_version(node: Node, agency: str, seen: rows.VersionRow, retired: Set[int]) -> Put | None:
    row = rows.VERSION.get(node.store, seen.material_id, seen.version)
    if row is None or row.key_epoch not in retired:
        return None
    about = f"{row.material_id}.{row.version}".encode()
    change = _Change(node, agency, row.key_epoch)
    moved = msgspec.structs.replace(
        row,
        wrapped_file_key=change.wrapped(row.wrapped_file_key, b"file\0" + about),
        wrapped_salt=change.wrapped(row.wrapped_salt, b"salt\0" + about),
        key_epoch=change.epoch,
    )
    return rows.VERSION.put(moved)


def _moved_reuse(node: Node, agency: str, seen: rows.ReuseRow, retired: Set[int]) -> Put | None:
    row = rows.REUSE.get(node.store, seen.reuse_id)
    if row is None or row.key_epoch not in retired:
        return None
    name = row.reuse_id.encode()
    # The salt of a use that waits becomes that of the decision's record once there is one.
    salt = b"reuse salt\0" if any(one.endswith(".record") for one in row.operation_ids) else b"use\0"
    change = _Change(node, agency, row.key_epoch)
    moved = msgspec.structs.replace(
        row,
        wrapped_file_key=change.wrapped(row.wrapped_file_key, b"reuse\0" + name),
        wrapped_salt=change.wrapped(row.wrapped_salt, salt + name),
        key_epoch=change.epoch,
    )
    return rows.REUSE.put(moved)


class _Change:
    """From one epoch of an agency to its newest."""

    def __init__(self, node: Node, agency: str, epoch: int) -> None:
        _, self._old = node.keys.kek(agency, epoch)
        self.epoch, self._new = node.keys.kek(agency)

    def wrapped(self, key: bytes, place: bytes) -> bytes:
        """Return the key wrapped anew; b"" stays."""
        return wrap_key(self._new, unwrap_key(self._old, key, place), place) if key else b""
