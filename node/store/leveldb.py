"""The node's key-value store: LevelDB that refuses to serve what it cannot vouch for.

Rules: only `create` makes a database; `paranoid_checks` and `verify_checksums` are always on; values are
sealed with their key as associated data, except chunks under `blob/`, which are sealed already; batches are
numbered and chained (`batchchain`), except those of chunks alone; repair is never automatic; after a write
whose outcome is unknown no other is accepted; readers are drained before LevelDB closes; one process only,
and a forked child is shut out. A batch and its fsync are shared by all threads that wait (`groupcommit`).

No plyvel type or exception leaves this module. Keys are not encrypted: they must not hold personal data.
"""

import hashlib
import os
import re
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self

import plyvel

from anchor.failpoints import reach
from anchor.keyvalue import Delete, Put
from node.errors import (
    RowMalformed,
    StoreClosed,
    StoreDamaged,
    StoreError,
    StoreForeign,
    StoreFull,
    StoreKeyExhausted,
    StoreMissing,
    StoreStarved,
    StoreUnwritable,
)
from node.store.batchchain import (
    BatchChain,
    ChainEntry,
    HeadFile,
    batch_digest,
    check_head,
    check_ring,
    genesis_entry,
)
from node.store.envelope import SEAL_LIMIT, RowSeal
from node.store.files import FolderLock, folder_entries, replace_file, sync_folder
from node.store.groupcommit import GroupCommit, Ticket
from node.store.identity import (
    IDENTITY_FILE,
    OLDEST_SCHEMA,
    SCHEMA,
    Identity,
    load_identity,
    new_identity,
)

BLOB_PREFIX: Final = b"blob/"
DATABASE_FOLDER: Final = "leveldb"
HEAD_FILE: Final = "HEAD"
GROUP_BYTES: Final = 4 << 20
DEFAULT_CACHE_BYTES: Final = 32 << 20
DEFAULT_RESERVE_BYTES: Final = 32 << 20
_LOCK_FILE: Final = "lock"
# No other row may begin so; `scan` leaves these out.
_RESERVED: Final = b"\x00deltaseal/"
_BEHIND_RESERVED: Final = b"\x00deltaseal0"
_IDENTITY_KEY: Final = _RESERVED + b"identity"
_CHAIN_PREFIX: Final = _RESERVED + b"chain/"
_PAGE_ROWS: Final = 256
_PIECE_ROWS: Final = 16
_GATE_POLL_S: Final = 0.001
_PAGE_BYTES: Final = 256 << 10
_BEYOND: Final = b"\xff" * 64  # after every key: a key begins with the name of its table
_MANIFEST: Final = re.compile(r"MANIFEST-\d+")
_TABLE_NUMBER: Final = re.compile(rb"^ (\d+):", re.MULTILINE)
_FILE_IN_TEXT: Final = re.compile(r"\d{6,}\.(?:ldb|sst|log)|MANIFEST-\d+|CURRENT|LOCK")

Op = Put | Delete


@dataclass(frozen=True, slots=True)
class StoreStats:
    """Counts since the store was opened, and where its chain stands."""

    sequence: int
    commits: int
    synced_commits: int
    sealed_rows: int


@dataclass(frozen=True, slots=True)
class _Batch:
    """What one caller of `write` wants: rows as they go to disk."""

    ops: Sequence[Op]
    sync: bool
    sealed_rows: int
    chunks_only: bool


class _Gate:
    """Counts who is inside, and closes once all are out.

    Passed for every row that is read, so it takes no lock: appending to and popping from a deque are single
    steps for all threads. Whoever enters is counted before it looks whether the gate is closed, and whoever
    closes says so before it counts.
    """

    def __init__(self) -> None:
        self.inside: deque[None] = deque()
        self.closed = False
        self._closing = threading.Lock()

    def __enter__(self) -> None:
        self.inside.append(None)
        if self.closed:
            self.inside.pop()
            raise _closed()

    def __exit__(self, *_: object) -> None:
        self.inside.pop()

    def close(self) -> bool:
        """Let nobody in any more and wait for the last to leave; False if it was closed before."""
        with self._closing:
            if self.closed:
                return False
            self.closed = True
        while self.inside:
            time.sleep(_GATE_POLL_S)
        return True


class _Cursor:
    """A LevelDB iterator that its reader and a closing store may touch at the same time."""

    def __init__(self, iterator: Any, *, reverse: bool) -> None:
        self._iterator = iterator
        self.reverse = reverse
        self._lock = threading.Lock()
        self._closed = False

    def page(self, limit: int) -> tuple[list[Any], bool]:
        """Read up to `limit` rows; the flag says whether more may follow."""
        rows: list[Any] = []
        size_bytes = 0
        with self._lock:
            if self._closed:
                raise _closed()
            # Several rows at once, in one call; few of them, since each may be a chunk of a MiB.
            while part := list(islice(self._iterator, min(_PIECE_ROWS, limit - len(rows)))):
                rows += part
                size_bytes += sum([len(row) if isinstance(row, bytes) else len(row[1]) for row in part])
                if len(rows) >= limit or size_bytes >= _PAGE_BYTES:
                    return rows, True
        return rows, False

    def seek(self, start: bytes) -> bytes | None:
        """Return the first key from `start` on, of an iterator without values; None after the last one."""
        with self._lock:
            if self._closed:
                raise _closed()
            self._iterator.seek(start)
            found: bytes | None = next(self._iterator, None)
            return found

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                self._iterator.close()

    def forsake(self) -> None:
        """Shut the cursor in a forked child, where its lock and its iterator may be in any state."""
        self._lock = threading.Lock()
        self._closed = True
        _FORSAKEN.append(self._iterator)


class LevelStore:
    """An `anchor.keyvalue.KeyValue` over one LevelDB folder; safe for many threads of one process."""

    def __init__(
        self,
        database: Any,
        lock: FolderLock,
        *,
        folder: Path,
        identity: Identity,
        seal: RowSeal | None,
        chain: BatchChain | None,
        head: HeadFile | None,
        reserve_bytes: int,
    ) -> None:
        """Wrap opened parts; use `create` or `open`."""
        self._db = database
        self._lock = lock
        self._folder = folder
        self._identity = identity
        self._seal = seal
        self._chain = chain
        self._head = head
        self._reserve_bytes = reserve_bytes
        self._gate = _Gate()
        self._cursors: weakref.WeakSet[_Cursor] = weakref.WeakSet()
        self._group: GroupCommit[_Batch] = GroupCommit(self._commit, limit_bytes=GROUP_BYTES)
        self._failure: StoreError | None = None
        self._commits = self._synced_commits = 0
        _OPEN_STORES.add(self)

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        node_id: str,
        seal: RowSeal | None,
        chain: bool = True,
        schema: int = SCHEMA,
        sealed_rows: int = 0,
    ) -> Self:
        """Make an empty store at `path` and open it; with `chain=False` it keeps no batch chain.

        Only a restore names an older `schema`, that of the rows which it is about to put back, and how many
        rows were sealed under the same store key before: nonces are used up by key, not by folder.

        A crash meanwhile leaves a folder without its STORE file, which `open` refuses.

        Raises:
            StoreForeign: the folder holds something already.
            StoreLocked, StoreFull, StoreUnwritable
        """
        with _adapted():
            if any(name != _LOCK_FILE for name in folder_entries(path)):
                raise StoreForeign(
                    "the folder for a new store is not empty", hint="choose another folder, or empty this one"
                )
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = FolderLock(path / _LOCK_FILE)
        try:
            identity = new_identity(node_id, seal=seal, chained=chain, schema=schema)
            _create_files(path, identity, seal, sealed_rows=sealed_rows)
        finally:
            lock.release()
        return cls.open(path, seal=seal, older=True)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        seal: RowSeal | None,
        cache_bytes: int = DEFAULT_CACHE_BYTES,
        bloom_bits: int = 10,
        write_buffer: int = 4 << 20,
        node_id: str | None = None,
        chain: bool | None = None,
        reserve_bytes: int = DEFAULT_RESERVE_BYTES,
        older: bool = False,
    ) -> Self:
        """Open the store at `path`; it is never created or repaired here.

        `node_id` and `chain`, where given, must be those of the store. A write that would leave less than
        `reserve_bytes` free on the file system is refused before LevelDB is touched. An `older` schema is opened
        for migrations and restores only.

        Raises:
            StoreMissing, StoreLocked, StoreForeign, StoreNewer, StoreOlder, StoreDamaged, StoreRolledBack,
            StoreUnwritable, StoreStarved, StoreFull
        """
        if not path.is_dir() or not any(name != _LOCK_FILE for name in folder_entries(path)):
            raise StoreMissing("there is no store in this folder", hint="make one with `deltaseal init`")
        with _adapted():
            lock = FolderLock(path / _LOCK_FILE)
        opened: list[Callable[[], None]] = [lock.release]
        try:
            identity = load_identity(
                path / IDENTITY_FILE, seal=seal, oldest=OLDEST_SCHEMA if older else SCHEMA
            )
            identity.require(node_id=node_id, chained=chain)
            database = _open_database(
                path / DATABASE_FOLDER,
                lru_cache_size=cache_bytes,
                bloom_filter_bits=bloom_bits,
                write_buffer_size=write_buffer,
                compression=None,  # Neither ciphertext nor the index's tags and digests get smaller.
            )
            opened.append(database.close)
            _require_same(database, identity, older=older)
            batch_chain, head = _open_chain(path, database, identity, seal)
        except BaseException:
            for undo in reversed(opened):
                undo()
            raise
        return cls(
            database,
            lock,
            folder=path,
            identity=identity,
            seal=seal,
            chain=batch_chain,
            head=head,
            reserve_bytes=reserve_bytes,
        )

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None. Raises StoreDamaged, StoreClosed."""
        chunk, gate = key.startswith(BLOB_PREFIX), self._gate
        gate.inside.append(None)  # As `with gate`, without two more calls for each row.
        try:
            if gate.closed:
                raise _closed()
            # A chunk is read once; it would only push rows out of the cache.
            stored: bytes | None = self._db.get(key, verify_checksums=True, fill_cache=not chunk)
        except plyvel.Error as error:
            raise _adapt(error) from None
        finally:
            gate.inside.pop()
        if stored is None or chunk or self._seal is None:
            return stored
        return self._seal.open(key, stored)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each row's key, or None; chunks are read by `get`. Raises as `get`."""
        get, seal, gate = self._db.get, self._seal, self._gate
        gate.inside.append(None)  # Once for all: passed for each row it costs as much as the row.
        try:
            if gate.closed:
                raise _closed()
            stored = [get(key, verify_checksums=True) for key in keys]
        except plyvel.Error as error:
            raise _adapt(error) from None
        finally:
            gate.inside.pop()
        if seal is None:
            return stored
        return [
            seal.open(key, one) if one is not None else None for key, one in zip(keys, stored, strict=True)
        ]

    def scan(
        self, prefix: bytes, *, start: bytes = b"", reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield rows under `prefix` from one snapshot, taken now. Raises StoreDamaged, StoreClosed.

        `start` is the first key to yield, inclusive (in reverse the last). The snapshot is given back when
        the iterator ends or is closed, at the latest when the store closes.
        """
        return self._rows(self._cursor(prefix, start, reverse=reverse, values=True))

    def keys(self, prefix: bytes) -> Iterator[bytes]:
        """Yield the keys under `prefix` from one snapshot, without their values."""
        return self._keys(self._cursor(prefix, b"", reverse=False, values=False))

    def first_keys(self, prefix: bytes, *, group_of: Callable[[bytes], bytes]) -> Iterator[bytes]:
        """Yield the first key of each group under `prefix`; `group_of` returns what the keys of its group begin with.

        The rest of a group is jumped over: LevelDB reads a row's value even where only its key is asked for.
        """
        cursor = self._cursor(prefix, b"", reverse=False, values=False)
        start: bytes | None = prefix
        try:
            while cursor is not None and start is not None:
                with _adapted():
                    key = cursor.seek(start)
                if key is None:
                    return
                if not key.startswith(_RESERVED):
                    yield key
                start = _end_of(group_of(key))
        finally:
            if cursor is not None:
                cursor.close()

    def write(self, ops: Sequence[Op], *, sync: bool) -> None:
        """Apply `ops` all or none; with `sync` they are durable before this returns.

        Raises:
            StoreFull: nothing was written; free space and try again.
            StoreDamaged, StoreUnwritable, StoreStarved: the outcome is unknown; no more writes are taken.
            RowMalformed, StoreKeyExhausted, StoreClosed
        """
        with self._gate:
            batch = self._prepared(ops, sync=sync)
            if batch.ops:
                self._group.run(batch, weight=sum(map(_weight, batch.ops)))

    def approximate_size(self, prefix: bytes) -> int:
        """Return about how many bytes the rows under `prefix` take on disk."""
        with self._gate, _adapted():
            return int(self._db.approximate_size(prefix, _end_of(prefix) or _BEYOND))

    def compact(self, prefix: bytes) -> None:
        """Rewrite the files that hold `prefix`, so that deleted and replaced rows leave the disk."""
        with self._gate, _adapted():
            # The binding takes no end for the empty key, and then compacts nothing.
            self._db.compact_range(start=prefix, stop=_end_of(prefix) or _BEYOND)

    @property
    def failure(self) -> str | None:
        """Code of the failed write after which no other is taken until the store is opened again, or None."""
        return self._failure.code if self._failure is not None else None

    @property
    def schema(self) -> int:
        """Which form the rows have; below the present one only in a store that was opened as `older`."""
        return self._identity.schema

    def raise_schema(self, schema: int) -> None:
        """Say for good that the rows have this form: first in the database, then in the STORE file.

        A crash in between leaves a store that still opens as `older` only, and a second call finishes it.
        """
        raised = replace(self._identity, schema=schema)
        with self._gate, _adapted():
            self._db.put(_IDENTITY_KEY, raised.encode(), sync=True)
            reach("migrate.identity", "after")
            replace_file(self._folder / IDENTITY_FILE, raised.render(self._seal))
        self._identity = raised

    def purge(self, *, gone: Sequence[bytes], replaced: Sequence[bytes], prefixes: Sequence[bytes]) -> bool:
        """Rewrite tables until no file holds what was deleted under `gone` or what `replaced` held before.

        `prefixes` name whole ranges from which rows were deleted under keys that nobody remembers. Call it when
        the rows themselves are gone and synced. False: a reader still pins an old file; ask again later.
        """
        with self._gate, _adapted():
            before = set(folder_entries(self._folder / DATABASE_FOLDER))
            self._roll_log()
            # A table that came of one memtable may hold a value beside its deletion, and nothing would take it up
            # again. Markers newer than it, under the same keys, make the compaction merge it.
            self._mark_again(gone, replaced)
            for start, stop in _ranges([*gone, *replaced]):
                self._db.compact_range(start=start, stop=stop)
            for prefix in prefixes:
                self._rewrite_range(prefix)
            return self._has_let_go(before)

    def _roll_log(self) -> None:
        """Write the memtable to a table and begin a new log; LevelDB does so before any manual compaction."""
        self._db.compact_range(start=_RESERVED, stop=_RESERVED + b"\x00")

    def _mark_again(self, gone: Sequence[bytes], replaced: Sequence[bytes]) -> None:
        with self._db.write_batch(sync=True) as batch:
            for key in gone:
                batch.delete(key)
            for key in replaced:
                stored = self._db.get(key, verify_checksums=True)
                if stored is not None:
                    batch.put(key, stored)

    def _rewrite_range(self, prefix: bytes) -> None:
        """Compact a range, with deletions of keys that cannot be at both of its ends.

        Twice: a marker that meets nothing below it is dropped on its way down.
        """
        start, stop = prefix[:-1], prefix + b"\xff" * 9
        for _ in range(2):
            with self._db.write_batch() as batch:
                batch.delete(start)
                batch.delete(stop)
            self._db.compact_range(start=start, stop=stop)

    def _has_let_go(self, before: set[str]) -> bool:
        """Tell whether no log of before is left, and no table that LevelDB does not use any more."""
        live = {int(number) for number in _TABLE_NUMBER.findall(self._db.get_property(b"leveldb.sstables"))}
        names = set(folder_entries(self._folder / DATABASE_FOLDER))
        tables = {int(Path(name).stem) for name in names if name.endswith((".ldb", ".sst"))}
        old_logs = {name for name in names & before if name.endswith(".log")}
        # A table may be on its way in, made by a compaction of its own; that one is newer than all live ones.
        return not old_logs and all(number in live or number > max(live, default=0) for number in tables)

    def stats(self) -> StoreStats:
        """Return counts for metrics and tests."""
        latest = self._chain.latest if self._chain else None
        return StoreStats(
            sequence=latest.sequence if latest else 0,
            commits=self._commits,
            synced_commits=self._synced_commits,
            sealed_rows=latest.sealed_rows if latest else 0,
        )

    def close(self) -> None:
        """Wait for calls under way, end all iterators, close the database; harmless when called again."""
        if not self._gate.close():
            return
        # LevelDB frees memory that a running iterator reads (measured: segmentation fault).
        for cursor in list(self._cursors):
            cursor.close()
        self._db.close()
        if self._head is not None:
            self._head.close()
        self._lock.release()

    def __enter__(self) -> Self:
        """Return the store; leaving closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the store."""
        self.close()

    def _prepared(self, ops: Sequence[Op], *, sync: bool) -> _Batch:
        if any(op.key.startswith(_RESERVED) for op in ops):
            raise RowMalformed("a key lies in the range that the store keeps for itself", row="reserved")
        rows = [op for op in ops if not op.key.startswith(BLOB_PREFIX)]
        sealed_rows = sum(isinstance(op, Put) for op in rows) if self._seal else 0
        return _Batch(tuple(map(self._sealed, ops)), sync, sealed_rows, chunks_only=not rows)

    def _sealed(self, op: Op) -> Op:
        if self._seal is None or isinstance(op, Delete) or op.key.startswith(BLOB_PREFIX):
            return op
        return Put(op.key, self._seal.seal(op.key, op.value))

    def _commit(self, tickets: Sequence[Ticket[_Batch]]) -> None:
        """Write a group: first what need not be synced, so that nobody waits for an fsync without need."""
        if self._failure is not None:
            raise self._failure
        waiting = [ticket for ticket in tickets if ticket.request.sync]
        passing = [ticket for ticket in tickets if not ticket.request.sync]
        self._require_room(tickets)
        if passing:
            self._write_batch([ticket.request for ticket in passing], sync=False)
            for ticket in passing:
                ticket.finish()
        if waiting:
            self._write_batch([ticket.request for ticket in waiting], sync=True)

    def _require_room(self, tickets: Sequence[Ticket[_Batch]]) -> None:
        """Refuse while refusing is harmless: LevelDB never recovers from a log record cut short by ENOSPC."""
        if all(isinstance(op, Delete) for ticket in tickets for op in ticket.request.ops):
            return  # deleting is how room is made
        file_system = os.statvfs(self._folder)
        free_bytes = file_system.f_bavail * file_system.f_frsize
        if free_bytes - 2 * sum(ticket.weight for ticket in tickets) < self._reserve_bytes:
            raise _full()

    def _write_batch(self, batches: Sequence[_Batch], *, sync: bool) -> None:
        ops = [op for batch in batches for op in batch.ops]
        # Chunks alone are not chained: the batch that refers to them comes later in the same log, and is. A
        # chain row among them would make LevelDB merge all it holds with each (measured: 3.5 writes for 2).
        chunks_only = all(batch.chunks_only for batch in batches)
        entry = None if chunks_only else self._next_entry(ops, sum(batch.sealed_rows for batch in batches))
        try:
            self._apply(ops, entry, sync=sync)
            if entry is not None and self._chain is not None:
                self._chain.advance(entry, synced=sync)
                if sync and self._head is not None:
                    # After the database, never before: a head that is ahead would refuse a healthy store.
                    self._head.save(entry)
        except (plyvel.Error, OSError) as error:
            # What reached the disk is unknown, so the chain cannot be continued in this process.
            self._failure = _adapt(error)
            raise self._failure from None
        except BaseException:
            self._failure = _closed()
            raise
        self._commits += 1
        self._synced_commits += sync

    def _next_entry(self, ops: Sequence[Op], sealed_rows: int) -> ChainEntry | None:
        if self._chain is None:
            return None
        sealed = self._seal is not None
        # One more than the caller's rows: the chain row is sealed too.
        entry = self._chain.follow(batch_digest(ops, sealed=sealed), sealed_rows=sealed_rows + sealed)
        if entry.sealed_rows > SEAL_LIMIT:
            raise StoreKeyExhausted(
                "the store key has sealed as many rows as its nonces allow",
                hint="move the store to a new key with `deltaseal store backup` and `restore`",
                sealed=entry.sealed_rows,
            )
        return entry

    def _apply(self, ops: Sequence[Op], entry: ChainEntry | None, *, sync: bool) -> None:
        batch = self._db.write_batch(sync=sync)
        for op in ops:
            if isinstance(op, Put):
                batch.put(op.key, op.value)
            else:
                batch.delete(op.key)
        if entry is not None:
            batch.put(*_chain_row(entry, self._seal))
        batch.write()

    def _cursor(self, prefix: bytes, start: bytes, *, reverse: bool, values: bool) -> _Cursor | None:
        """Open an iterator on the snapshot of now; None if `start` leaves nothing to yield."""
        low, high = prefix, _end_of(prefix)
        bounds: dict[str, Any] = {"start": low, "stop": high}
        if start and reverse:
            if start < low:
                return None
            if high is None or start < high:
                bounds.update(stop=start, include_stop=True)
        elif start > low:
            if high is not None and start >= high:
                return None
            bounds["start"] = start
        chunks = prefix.startswith(BLOB_PREFIX)
        bounds.update(reverse=reverse, include_value=values, verify_checksums=True, fill_cache=not chunks)
        with self._gate, _adapted():
            cursor = _Cursor(self._db.iterator(**bounds), reverse=reverse)
            self._cursors.add(cursor)
        return cursor

    def _rows(self, cursor: _Cursor | None) -> Iterator[tuple[bytes, bytes]]:
        seal = self._seal
        for page in self._pages(cursor):
            if seal is None:
                yield from page
                continue
            for key, value in page:
                yield key, value if key.startswith(BLOB_PREFIX) else seal.open(key, value)

    def _keys(self, cursor: _Cursor | None) -> Iterator[bytes]:
        for page in self._pages(cursor):
            yield from page

    def _pages(self, cursor: _Cursor | None) -> Iterator[list[Any]]:
        """Yield what the cursor reads, without reserved rows; pages grow, as most scans want a few rows."""
        if cursor is None:
            return
        limit, more = 16, True
        try:
            while more:
                with _adapted():
                    rows, more = cursor.page(limit)
                # A page that begins behind the reserved rows, as nearly all do, has none of them.
                if rows and _key_of(rows[-1 if cursor.reverse else 0]) < _BEHIND_RESERVED:
                    rows = [row for row in rows if not _key_of(row).startswith(_RESERVED)]
                yield rows
                limit = min(4 * limit, _PAGE_ROWS)
        finally:
            cursor.close()

    def _forsake(self) -> None:
        """Shut this store in a forked child: LevelDB's threads are not here, its lock is the parent's."""
        self._gate = _Gate()
        self._gate.close()
        for cursor in list(self._cursors):
            cursor.forsake()
        # Never freed: the destructor would wait for a background thread that is not there.
        _FORSAKEN.append(self._db)
        with suppress(OSError):
            self._lock.release()


def _key_of(row: bytes | tuple[bytes, bytes]) -> bytes:
    return row if isinstance(row, bytes) else row[0]


_OPEN_STORES: "weakref.WeakSet[LevelStore]" = weakref.WeakSet()
_FORSAKEN: list[Any] = []


def _forsake_all() -> None:
    for store in list(_OPEN_STORES):
        store._forsake()


os.register_at_fork(after_in_child=_forsake_all)


def _create_files(path: Path, identity: Identity, seal: RowSeal | None, *, sealed_rows: int) -> None:
    """Make database, head file and, last of all, the STORE file that makes the folder a store."""
    first = genesis_entry(identity.store_id, sealed_rows=sealed_rows)
    with _adapted():
        database = plyvel.DB(
            str(path / DATABASE_FOLDER), create_if_missing=True, error_if_exists=True, paranoid_checks=True
        )
        with database.write_batch(sync=True) as batch:
            batch.put(_IDENTITY_KEY, identity.encode())
            if identity.chained:
                batch.put(*_chain_row(first, seal))
        database.close()
        if identity.chained:
            authenticate = _authenticate(seal)
            HeadFile.create(
                path / HEAD_FILE, first, store_id=identity.store_id, authenticate=authenticate
            ).close()
        replace_file(path / IDENTITY_FILE, identity.render(seal))
        sync_folder(path.parent)


def _open_database(path: Path, **options: Any) -> Any:
    with _adapted():
        _require_directory(path)
        return plyvel.DB(str(path), create_if_missing=False, paranoid_checks=True, **options)


def _require_directory(path: Path) -> None:
    """Look for CURRENT and the file it names: without it, LevelDB takes the folder for a new database."""
    current = path / "CURRENT"
    named = current.read_bytes() if current.is_file() else b""
    manifest = named.decode("ascii", "replace").removesuffix("\n")
    for file, sound in (
        ("CURRENT", _MANIFEST.fullmatch(manifest)),
        ("MANIFEST", (path / manifest).is_file()),
    ):
        if not sound:
            raise StoreDamaged(
                f"the database has lost its {file} file, or it is damaged",
                hint="keep the folder as it is and restore the last verified backup",
                file=file,
            )


def _require_same(database: Any, identity: Identity, *, older: bool) -> None:
    with _adapted():
        stored = database.get(_IDENTITY_KEY, verify_checksums=True)
    # A migration that was cut off has raised the schema in the database and not yet in the STORE file.
    same = [replace(identity, schema=n).encode() for n in range(identity.schema, SCHEMA + 1)]
    if stored not in (same if older else same[:1]):
        raise StoreForeign(
            "the database belongs to another store than the STORE file beside it",
            hint="restore the whole store folder from one backup",
        )


def _open_chain(
    path: Path, database: Any, identity: Identity, seal: RowSeal | None
) -> tuple[BatchChain, HeadFile] | tuple[None, None]:
    """Check chain and head file and return both; a store without a chain has neither."""
    if not identity.chained:
        return None, None
    with _adapted(), database.iterator(prefix=_CHAIN_PREFIX, verify_checksums=True) as rows:
        ring = check_ring(_chain_entry(key, value, seal) for key, value in rows)
    with _adapted():
        head = HeadFile(path / HEAD_FILE, store_id=identity.store_id, authenticate=_authenticate(seal))
    try:
        return BatchChain(check_head(ring, head.remembered)), head
    except BaseException:
        head.close()
        raise


def _chain_row(entry: ChainEntry, seal: RowSeal | None) -> tuple[bytes, bytes]:
    key = _CHAIN_PREFIX + entry.slot
    return key, seal.seal(key, entry.encode()) if seal else entry.encode()


def _chain_entry(key: bytes, value: bytes, seal: RowSeal | None) -> ChainEntry:
    entry = ChainEntry.decode(seal.open(key, value) if seal else value)
    if _CHAIN_PREFIX + entry.slot != key:
        raise StoreDamaged("a row of the batch chain lies in another's place", row="chain")
    return entry


def _authenticate(seal: RowSeal | None) -> Callable[[bytes], bytes]:
    return seal.authenticate if seal else lambda content: hashlib.sha256(content).digest()


def _weight(op: Op) -> int:
    return len(op.key) + (len(op.value) if isinstance(op, Put) else 0)


def _ranges(keys: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """Return ranges that cover `keys`: one for the chunks of each blob, one for each other row."""
    found: dict[bytes, tuple[bytes, bytes]] = {}
    for key in sorted(keys):
        stem = key[:-8] if key.startswith(BLOB_PREFIX) else key
        first, _ = found.get(stem, (key, key))
        found[stem] = (first, key + b"\x00")
    return list(found.values())


def _end_of(prefix: bytes) -> bytes | None:
    """Return the first key after all that begin with `prefix`; None if there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None


@contextmanager
def _adapted() -> Iterator[None]:
    """Let no error of plyvel or the operating system out."""
    try:
        yield
    except (plyvel.Error, OSError) as error:
        raise _adapt(error) from None


def _adapt(error: Exception) -> StoreError:
    """Say in our words what LevelDB or the operating system reported, without its paths."""
    reported = error.args[0] if error.args else b""
    text = reported.decode("utf-8", "replace") if isinstance(reported, bytes) else str(error)
    if any(words in text for words in ("No space left", "quota exceeded", "File too large")):
        return _full()
    if any(words in text for words in ("Read-only file system", "Permission denied", "not permitted")):
        return StoreUnwritable(
            "the file system refuses to write to the store",
            hint="check the mount and the owner of the data folder, then start the node again",
        )
    if any(words in text for words in ("Too many open files", "Cannot allocate memory")):
        return StoreStarved(
            "the process has no file descriptors or memory left for the store",
            hint="raise the limits of the process and start the node again",
        )
    found = _FILE_IN_TEXT.search(text)
    file = found.group() if found else "database"
    return StoreDamaged(
        f"the store cannot vouch for its files: reading or writing {file} failed",
        hint="stop the node, keep the folder as it is and restore the last verified backup",
        file=file,
    )


def _full() -> StoreFull:
    return StoreFull(
        "there is no room on the store's file system", hint="free space on the volume of the data folder"
    )


def _closed() -> StoreClosed:
    return StoreClosed(
        "the store is closed, or was opened by the parent of this process",
        hint="open the store in the process that uses it",
    )
