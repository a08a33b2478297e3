"""A scanner of data folders: what a thief of the disk could still find of a document, in clear or in cipher.

It is given everything that was captured before the erasure, also what only the node could know: keys, wrapped keys,
ciphertext of chunks and rows as they lie in the database. `in_files` reads raw files; `in_rows` opens a copy of the
store with its keys and reads every row in clear.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import plyvel

from node.config import load_config
from node.errors import KeyErased, KeyFolderInvalid, StoreDamaged, StoreRolledBack
from node.http.idempotency import unpack_answer
from node.keys import KeyFolder
from node.runtime import read_passphrase
from node.store import rows
from node.store.envelope import RowSeal, unwrap_key
from node.store.leveldb import LevelStore

SLICE_BYTES = 24
# LevelDB cuts a long value at 32 KiB in its logs: of a chunk, several places are looked for.
CHUNK_SLICES = 12


@dataclass
class Traces:
    """Needles by what they are; each is a list of slices, any of which betrays it."""

    sealed: dict[str, list[bytes]] = field(default_factory=dict)
    clear: dict[str, list[bytes]] = field(default_factory=dict)
    wrapped: list[tuple[str, bytes, bytes]] = field(default_factory=list)

    def in_files(self, folder: Path) -> set[str]:
        """Return the names of all needles that lie in any file under `folder`."""
        found: set[str] = set()
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                content = path.read_bytes()
                for name, slices in {**self.sealed, **self.clear}.items():
                    if any(one in content for one in slices):
                        found.add(name)
        return found

    def in_rows(self, folder: Path) -> set[str]:
        """Return the names of the needles in clear that a row of the store holds, read with its keys."""
        found: set[str] = set()
        with copied(folder) as (store, _):
            for key, value in store.scan(b""):
                if key.startswith(b"blob/"):
                    continue
                found |= {
                    name for name, slices in self.clear.items() if any(one in key + value for one in slices)
                }
        return found

    def opened_by(self, folder: Path) -> list[str]:
        """Return the wrapped keys that a key epoch which is still there opens."""
        keys = keys_of(folder)
        found = []
        for agency, wrapped, about in self.wrapped:
            for epoch in range(1, 100):
                try:
                    unwrap_key(keys.kek(agency, epoch)[1], wrapped, about)
                    found.append(f"{about!r} by epoch {epoch}")
                except (KeyErased, StoreDamaged):
                    continue
                except KeyFolderInvalid:
                    break  # there is no such epoch
        return found


def keys_of(folder: Path) -> KeyFolder:
    return KeyFolder.open(folder / "keys", read_passphrase(load_config(folder)))


@contextmanager
def copied(folder: Path) -> Iterator[tuple[LevelStore, Path]]:
    """Open a copy of a data folder's store with its keys; the node may run."""
    with TemporaryDirectory(prefix="traces-") as home:
        store, target = _copy(folder, Path(home))
        yield store, target
        store.close()


def _copy(folder: Path, home: Path) -> tuple[LevelStore, Path]:
    """Copy until no file was replaced meanwhile: LevelDB may compact while its files are read."""
    seal = RowSeal(keys_of(folder).store_key())
    for attempt in range(20):
        target = home / str(attempt)
        try:
            shutil.copytree(folder / "store", target)
            return LevelStore.open(target, seal=seal), target
        except (shutil.Error, StoreDamaged, StoreRolledBack):
            time.sleep(0.2)
    raise AssertionError("the store never stood still")


def slices_of(content: bytes, count: int = CHUNK_SLICES) -> list[bytes]:
    """Return `count` slices of `content` at places that do not change from run to run."""
    chance = random.Random(len(content))
    last = len(content) - SLICE_BYTES
    places = {0, max(last, 0), *(chance.randrange(max(last, 1)) for _ in range(count))}
    return [content[at : at + SLICE_BYTES] for at in sorted(places)]


def capture(folder: Path, material_id: str, content: bytes, secrets: dict[str, str]) -> Traces:
    """Capture all that a custodian's folder holds of a material; `secrets` are texts that name what they are."""
    traces = Traces(clear={name: [text.encode()] for name, text in secrets.items()})
    if content:
        traces.clear["the bytes"] = slices_of(content)
    with copied(folder) as (store, path):
        material = rows.MATERIAL.get(store, material_id)
        assert material is not None
        for version in rows.VERSION.scan(store, material_id):
            _capture_version(folder, store, material, version, traces)
        names = list(_row_keys(store, material_id))
        blobs = [version.blob_id for version in rows.VERSION.scan(store, material_id) if version.blob_id]
        traces.sealed |= {
            f"chunk {number}": slices_of(store.get(key) or b"")
            for blob in blobs
            for number, key in enumerate(store.keys(rows.blob_prefix(blob)))
        }
        store.close()
        database = plyvel.DB(str(path / "leveldb"))
        for key in names:
            name = f"row {key.split(b'/')[0].decode()}"
            traces.sealed.setdefault(name, []).extend(slices_of(database.get(key), 4))
        database.close()
    return traces


def _capture_version(
    folder: Path,
    store: LevelStore,
    material: rows.MaterialRow,
    version: rows.VersionRow,
    traces: Traces,
) -> None:
    about = f"{version.material_id}.{version.version}".encode()
    _, kek = keys_of(folder).kek(material.agency, version.key_epoch)
    for place, wrapped in (
        (b"file\0" + about, version.wrapped_file_key),
        (b"salt\0" + about, version.wrapped_salt),
    ):
        if wrapped:
            name = place.split(b"\0")[0].decode()
            traces.clear[f"the {name} key"] = [unwrap_key(kek, wrapped, place)]
            traces.clear[f"the wrapped {name} key"] = [wrapped[:SLICE_BYTES]]
            traces.wrapped.append((material.agency, wrapped, place))


def _row_keys(store: LevelStore, material_id: str) -> Iterator[bytes]:
    yield rows.MATERIAL.key(material_id)
    yield from (
        rows.VERSION.key(one.material_id, one.version) for one in rows.VERSION.scan(store, material_id)
    )
    for answer in rows.IDEMPOTENCY.scan(store):
        if material_id.encode() in unpack_answer(answer.answer)[1]:
            yield rows.IDEMPOTENCY.key(answer.agency, answer.route, answer.key_digest)
