"""Read a whole store and say what is damaged; copy it, as of one moment, into an encrypted file, and back.

A backup holds every row and chunk of the store and nothing of the key folder: without that folder and its
passphrase it is random bytes, and what an erasure destroyed there stays destroyed. Rows of what was erased later
still open with that folder, so the node remembers its backups and an erasure names them. The index is not in it; a node
rebuilds it from the chain. Spec page: docs/reference/backup-file.md. Must not import FastAPI, plyvel or a client.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from ulid import ULID

from anchor.keyvalue import Put
from node.context import Node
from node.errors import (
    BlobDamaged,
    BlobTruncated,
    KeyErased,
    KeyFolderInvalid,
    RowMalformed,
    StoreDamaged,
    StoreForeign,
    StoreUnwritable,
)
from node.keys import KeyFolder
from node.store import rows
from node.store.audit import AuditLog
from node.store.blobs import read_blob
from node.store.envelope import RowSeal, unwrap_key
from node.store.identity import OLDEST_SCHEMA, require_schema
from node.store.leveldb import BLOB_PREFIX, LevelStore

Progress = Callable[[int], None]
_AFTER_BLOBS: Final = b"blob0"
_TABLES: Final = {table.prefix: table for table in rows.TABLES}


# Verify


@dataclass(frozen=True, slots=True)
class Damage:
    """What is damaged: a code, and where (a material or reuse with its version, a table, a file of the store)."""

    code: str
    where: str


@dataclass(slots=True)
class StoreFinding:
    """What a walk through the whole store found; it is sound when `damages` is empty."""

    rows: int = 0
    blobs: int = 0
    blob_bytes: int = 0
    erased: int = 0
    audit_entries: int = 0
    damages: list[Damage] = field(default_factory=list)


def verify_store(
    store: LevelStore, keys: KeyFolder, *, on_progress: Progress = lambda _: None
) -> StoreFinding:
    """Read every row and chunk of an open store and return what was found. Opening it checked chain and head.

    Steps: 1 every row is authentic and of its table's form; 2 every file decrypts chunk by chunk and has the
    digest and size of its row; 3 no chunk lies there that nothing refers to; 4 the audit log is whole.
    """
    finding = StoreFinding()
    _check_rows(store, finding)
    referred = set(_check_blobs(store, keys, finding, on_progress))
    _check_orphans(store, referred, finding)
    audit = AuditLog(store).verify()
    finding.audit_entries = audit.count
    if audit.first_broken is not None:
        finding.damages.append(Damage("audit_broken", f"audit entry {audit.first_broken}"))
    return finding


def _check_rows(store: LevelStore, finding: StoreFinding) -> None:
    try:
        for key, value in _all_rows(store):
            finding.rows += 1
            table = _TABLES.get(key[: key.find(b"/") + 1])
            if table is not None:
                table.decode(key, value)
    except (StoreDamaged, RowMalformed) as error:
        where = error.facts.get("file") or error.facts.get("row") or "store"
        finding.damages.append(Damage(error.code, str(where)))


def _all_rows(store: LevelStore) -> Iterator[tuple[bytes, bytes]]:
    """Yield every row but the chunks, which are read with the files they belong to."""
    for key, value in store.scan(b""):
        if key.startswith(BLOB_PREFIX):
            break
        yield key, value
    yield from store.scan(b"", start=_AFTER_BLOBS)


@dataclass(frozen=True, slots=True)
class _File:
    """A stored file as a row describes it."""

    where: str
    blob_id: str
    sha256: str
    agency: str
    key_epoch: int
    wrapped_key: bytes
    about: bytes


def _files(store: LevelStore) -> Iterator[_File]:
    for version in rows.VERSION.scan(store):
        material = rows.MATERIAL.get(store, version.material_id)
        name = f"{version.material_id}.{version.version}"
        if version.blob_id and material is not None:
            yield _File(
                name,
                version.blob_id,
                version.sha256,
                material.agency,
                version.key_epoch,
                version.wrapped_file_key,
                b"file\0" + name.encode(),
            )
    for reuse in rows.REUSE.scan(store):
        if reuse.blob_id:
            content = msgspec.json.decode(reuse.decision_json).get("content") or {}
            yield _File(
                reuse.reuse_id,
                reuse.blob_id,
                str(content.get("sha256") or ""),
                reuse.agency,
                reuse.key_epoch,
                reuse.wrapped_file_key,
                b"reuse\0" + reuse.reuse_id.encode(),
            )


def _check_blobs(
    store: LevelStore, keys: KeyFolder, finding: StoreFinding, on_progress: Progress
) -> Iterator[str]:
    """Read each file and yield its blob id."""
    try:
        for one in _files(store):
            yield one.blob_id
            damage = _check_file(store, keys, one, finding)
            if damage:
                finding.damages.append(Damage(damage, one.where))
            finding.blobs += 1
            on_progress(finding.blob_bytes)
    except (StoreDamaged, RowMalformed) as error:
        finding.damages.append(Damage(error.code, str(error.facts.get("file") or error.facts.get("row"))))


def _check_file(store: LevelStore, keys: KeyFolder, one: _File, finding: StoreFinding) -> str:
    """Return the code of what is wrong with a file, "" if nothing is."""
    try:
        _, kek = keys.kek(one.agency, one.key_epoch)
        file_key = unwrap_key(kek, one.wrapped_key, one.about)
        digest, size_bytes = _digest_blob(read_blob(store, one.blob_id, file_key))
        finding.blob_bytes += size_bytes
    except KeyErased:
        finding.erased += 1
        return ""
    except (BlobDamaged, BlobTruncated, StoreDamaged, KeyFolderInvalid) as error:
        return error.code
    return "" if one.sha256 in ("", digest) else "digest_mismatch"


def _digest_blob(pieces: Iterator[bytes]) -> tuple[str, int]:
    """Return SHA-256 in hex and size; of a large file one piece is digested while the next one is read."""
    digest, size_bytes = hashlib.sha256(), 0
    first = next(pieces, b"")
    second = next(pieces, b"")
    digest.update(first)
    if not second:
        return digest.hexdigest(), len(first)
    with ThreadPoolExecutor(1) as thread:
        size_bytes, waiting = len(first) + len(second), thread.submit(digest.update, second)
        for piece in pieces:
            waiting.result()
            size_bytes, waiting = size_bytes + len(piece), thread.submit(digest.update, piece)
    waiting.result()
    return digest.hexdigest(), size_bytes


def _check_orphans(store: LevelStore, referred: set[str], finding: StoreFinding) -> None:
    try:
        unfinished = {rows.upload_id(key) for key in store.keys(rows.upload_prefix())}
        firsts = store.first_keys(BLOB_PREFIX, group_of=lambda key: key[:-8])
        held = {rows.chunk_blob_id(key) for key in firsts}
    except (StoreDamaged, RowMalformed) as error:
        finding.damages.append(Damage(error.code, str(error.facts.get("file") or error.facts.get("row"))))
        return
    for blob_id in sorted(held - referred - unfinished):
        finding.damages.append(Damage("chunk_orphaned", blob_id))


# Backup

FORMAT: Final = "deltaseal-backup/1"
FRAME_BYTES: Final = 1 << 20
_MAX_HEADER_BYTES: Final = 4096
_LENGTH: Final = struct.Struct(">I")
_ROW: Final = struct.Struct(">II")
_MAX_ROW_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class BackupSummary:
    """What a backup holds: rows (chunks among them), bytes of them, and the SHA-256 over all, in hex.

    `schema` is that of the store it was made from.
    """

    node_id: str
    schema: int
    created_at: int
    rows: int
    size_bytes: int
    sha256: str


def remembered(place: str, *, created_at: int) -> Put:
    """Return the row by which the node remembers a backup; written before its snapshot, so that it holds itself."""
    return rows.BACKUP.put(rows.BackupRow(f"bak_{ULID()}", created_at, place))


def write_backup(store: LevelStore, keys: KeyFolder, *, node_id: str, created_at: int) -> Iterator[bytes]:
    """Yield the backup of `store` as of now: one snapshot, also while the node goes on writing."""
    salt = secrets.token_bytes(32)
    # The snapshot is taken here, before the first byte is asked for; the count after it covers all of it.
    found = store.scan(b"")
    sealed_rows = store.stats().sealed_rows
    fields = {"format": FORMAT, "nodeId": node_id, "createdAt": created_at, "salt": salt.hex()}
    counts = {"schema": store.schema, "sealedRows": sealed_rows}
    header = json.dumps({**fields, **counts}, sort_keys=True).encode()
    return _sealed_frames(header, _cipher(keys, salt), found)


def _sealed_frames(header: bytes, cipher: AESGCM, found: Iterable[tuple[bytes, bytes]]) -> Iterator[bytes]:
    yield _LENGTH.pack(len(header)) + header
    digest, count, size, number = hashlib.sha256(), 0, 0, 0
    frame = bytearray()
    for key, value in found:
        row = _ROW.pack(len(key), len(value)) + key + value
        digest.update(row)
        count, size = count + 1, size + len(row)
        frame += row
        if len(frame) >= FRAME_BYTES:
            yield _seal_frame(cipher, header, number, bytes(frame), last=False)
            number, frame = number + 1, bytearray()
    yield _seal_frame(cipher, header, number, bytes(frame), last=False)
    trailer = json.dumps({"rows": count, "bytes": size, "sha256": digest.hexdigest()}).encode()
    yield _seal_frame(cipher, header, number + 1, trailer, last=True)


def watched(node: Node, pieces: Iterator[bytes], *, name: str) -> Iterator[bytes]:
    """Yield a running node's backup; note while it is read, and when it was read to its end."""
    node.backups[name] = time.monotonic()
    began = node.clock()
    try:
        yield from pieces
        note_done(node.store, began)
    finally:
        node.backups.pop(name, None)


def note_done(store: LevelStore, when: int) -> None:
    """Remember the moment that the last backup is of."""
    store.write([rows.SETTING.put(rows.SettingRow(rows.LAST_BACKUP, b"%d" % when))], sync=False)


def _cipher(keys: KeyFolder, salt: bytes) -> AESGCM:
    """Return the cipher of one backup: a fresh key for each, so that frame numbers may be the nonces."""
    return AESGCM(HKDF(SHA256(), 32, salt, b"deltaseal/v1 backup").derive(keys.store_key()))


def _seal_frame(cipher: AESGCM, header: bytes, number: int, plaintext: bytes, *, last: bool) -> bytes:
    sealed = cipher.encrypt(number.to_bytes(12, "big"), plaintext, _frame_aad(header, last=last))
    return _LENGTH.pack(len(sealed)) + sealed


def _frame_aad(header: bytes, *, last: bool) -> bytes:
    return hashlib.sha256(header).digest() + bytes([last])


class BackupReader:
    """Reads a backup from its beginning to its end; the summary is there once all rows were yielded.

    `sealed_rows` is what the store had sealed under its key when the copy was made.
    """

    def __init__(self, source: BinaryIO, keys: KeyFolder) -> None:
        """Read the header. Raises StoreForeign: no backup, or of another format; StoreNewer: of a later release."""
        self._source = source
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
        if length > _MAX_HEADER_BYTES:
            raise _no_backup()
        self._header = self._read(length)
        try:
            self._fields: dict[str, Any] = json.loads(self._header)
            if self._fields["format"] != FORMAT:
                raise _no_backup()
            self._cipher = _cipher(keys, bytes.fromhex(self._fields["salt"]))
            # Backups of the first schema named neither.
            self._schema = int(self._fields.get("schema", OLDEST_SCHEMA))
            self.sealed_rows = int(self._fields.get("sealedRows", 0))
        except (ValueError, KeyError, TypeError):
            raise _no_backup() from None
        require_schema(self._schema, oldest=OLDEST_SCHEMA)
        self.summary: BackupSummary | None = None

    def rows(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield all rows; the end is reached only if the trailer agrees with them.

        Raises:
            StoreDamaged: the file was altered or ends early.
            StoreForeign: it was made under another key folder.
        """
        digest, count, size, number = hashlib.sha256(), 0, 0, 0
        while True:
            frame, last = self._open(number)
            number += 1
            if last:
                break
            for key, value, row in _split_rows(frame):
                digest.update(row)
                count, size = count + 1, size + len(row)
                yield key, value
        trailer = json.loads(frame)
        if trailer != {"rows": count, "bytes": size, "sha256": digest.hexdigest()} or self._source.read(1):
            raise _damaged_backup()
        made = str(self._fields["nodeId"]), self._schema, int(self._fields["createdAt"])
        self.summary = BackupSummary(*made, count, size, digest.hexdigest())

    def _open(self, number: int) -> tuple[bytes, bool]:
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
        if length > _MAX_ROW_BYTES:
            raise _damaged_backup()
        sealed = self._read(length)
        for last in (False, True):
            try:
                aad = _frame_aad(self._header, last=last)
                return self._cipher.decrypt(number.to_bytes(12, "big"), sealed, aad), last
            except InvalidTag:
                continue
        if number == 0:
            raise StoreForeign(
                "the backup was made under another key folder, or altered",
                hint="use the key folder of the node that made the backup",
            )
        raise _damaged_backup()

    def _read(self, size_bytes: int) -> bytes:
        found = self._source.read(size_bytes)
        if len(found) != size_bytes:
            raise _damaged_backup()
        return found


def _split_rows(frame: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    at = 0
    while at < len(frame):
        if at + _ROW.size > len(frame):
            raise _damaged_backup()
        key_bytes, value_bytes = _ROW.unpack_from(frame, at)
        end = at + _ROW.size + key_bytes + value_bytes
        if end > len(frame):
            raise _damaged_backup()
        middle = at + _ROW.size + key_bytes
        yield frame[at + _ROW.size : middle], frame[middle:end], frame[at:end]
        at = end


def save_backup(pieces: Iterable[bytes], target: Path, keys: KeyFolder) -> BackupSummary:
    """Write a backup to a new file, durable, read it back to its end, and only then give it its name.

    Raises:
        StoreUnwritable: the file is there already or cannot be written. StoreDamaged: what was written is not whole.
    """
    part = target.with_name(target.name + ".part")
    try:
        if target.exists():
            raise StoreUnwritable("the backup's file exists already", hint="choose another file name")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        summary = check_backup(part, keys)
        part.rename(target)
        _sync_folder(target.parent)
    except OSError:
        raise StoreUnwritable("the backup cannot be written", hint="check the folder and its space") from None
    finally:
        part.unlink(missing_ok=True)
    return summary


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_backup(path: Path, keys: KeyFolder) -> BackupSummary:
    """Read a backup from beginning to end. Raises StoreDamaged, StoreForeign."""
    with _opened(path) as source:
        reader = BackupReader(source, keys)
        for _ in reader.rows():
            pass
    return _summary_of(reader)


# Restore

_BATCH_BYTES: Final = 2 << 20


def restore_store(path: Path, folder: Path, keys: KeyFolder) -> BackupSummary:
    """Make the store of `folder` (empty or absent) from a backup; the index beside it is made empty.

    The file is read to its end first, so a damaged one makes no store. Raises what `check_backup` and
    `LevelStore.create` raise.
    """
    checked = check_backup(path, keys)
    seal = RowSeal(keys.store_key())
    with _opened(path) as source:
        reader = BackupReader(source, keys)
        # The store key goes on, so its count does: a store that began at 0 could seal beyond what nonces allow.
        made = LevelStore.create(
            folder / "store",
            node_id=checked.node_id,
            seal=seal,
            schema=checked.schema,
            sealed_rows=reader.sealed_rows,
        )
        with made as store:
            _fill(store, reader)
            # What was erased since the copy was made is erased again once the chain is read (services/erasures).
            store.write([rows.SETTING.put(rows.SettingRow("restored", b"1"))], sync=True)
    LevelStore.create(folder / "index", node_id=checked.node_id, seal=None, chain=False).close()
    return _summary_of(reader)


def _fill(store: LevelStore, reader: BackupReader) -> None:
    batch: list[Put] = []
    size = 0
    for key, value in reader.rows():
        batch.append(Put(key, value))
        size += len(key) + len(value)
        if size >= _BATCH_BYTES:
            # Synced: LevelDB may change logs in between, and a later sync does not reach an earlier log.
            store.write(batch, sync=True)
            batch, size = [], 0
    store.write(batch, sync=True)


def _summary_of(reader: BackupReader) -> BackupSummary:
    if reader.summary is None:
        raise _damaged_backup()
    return reader.summary


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError:
        raise StoreDamaged(
            "the backup cannot be read", hint="name a file that `deltaseal store backup` made", file="backup"
        ) from None


def _no_backup() -> StoreForeign:
    return StoreForeign(
        "the file is no backup of this format", hint="name a file that `deltaseal store backup` made"
    )


def _damaged_backup() -> StoreDamaged:
    return StoreDamaged(
        "the backup was altered or ends early",
        hint="use another backup; this one restores nothing",
        file="backup",
    )
