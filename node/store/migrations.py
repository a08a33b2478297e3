"""Carry a store of an older schema to the present one; a kill at any point leaves one that the same call finishes.

Order: (1) a checked backup, noted in the store, (2) for each schema the synced batches of its migration, each of
which may be applied twice, (3) the identity row in the database, (4) the STORE file. Until (4) no node opens the
store; after it no migration does. A backup is never taken of a store that is half carried over.
Must not import services. Page: docs/how-to/upgrade.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from anchor.failpoints import reach
from anchor.keyvalue import Delete, KeyValue, Put
from node.errors import MigrationBackupForeign
from node.store import rows
from node.store.identity import OLDEST_SCHEMA, SCHEMA
from node.store.leveldb import LevelStore

_NOTE: Final = "migration"
_ROWS_A_BATCH: Final = 500

Op = Put | Delete


@dataclass(frozen=True, slots=True)
class Migration:
    """How rows of one schema become rows of the next: batches of operations, safe to repeat from the start."""

    source: int
    change: str
    batches: Callable[[KeyValue], Iterator[Sequence[Op]]]


def _note_waiting_reuses(kv: KeyValue) -> Iterator[Sequence[Op]]:
    """Schema 1 found the reuses that wait for the chain by reading all; schema 2 keeps a row for each of them."""
    found: list[Op] = []
    for reuse in rows.REUSE.scan(kv):
        if reuse.state == "consuming":
            found.append(rows.WAITING.put(rows.WaitingRow(reuse.reuse_id, reuse.created_at)))
        if len(found) >= _ROWS_A_BATCH:
            yield found
            found = []
    yield found


MIGRATIONS: Final = {
    1: Migration(1, "reuses that wait for the chain get a row of their own", _note_waiting_reuses),
}
assert set(MIGRATIONS) == set(range(OLDEST_SCHEMA, SCHEMA)), "a step from each schema to the next"  # noqa: S101


def migrate(store: LevelStore, *, on_step: Callable[[Migration], None] = lambda _: None) -> int:
    """Carry an `older` store to the present schema and return how many schemas it rose.

    The caller has called `note_backup`. Raises what the store's `write` raises.
    """
    first = store.schema
    while store.schema < SCHEMA:
        step = MIGRATIONS[store.schema]
        on_step(step)
        for batch in step.batches(store):
            store.write(batch, sync=True)
            reach("migrate.batch", "after")
        store.raise_schema(step.source + 1)
    store.write([rows.SETTING.delete(_NOTE)], sync=True)
    return store.schema - first


def noted_backup(store: LevelStore) -> str:
    """Return the SHA-256 of the backup that an unfinished migration began with, "" if there is none."""
    row = rows.SETTING.get(store, _NOTE)
    note = json.loads(row.value) if row else {}
    begun = bool(note) and note["from"] <= store.schema < note["to"]
    return str(note["sha256"]) if begun else ""


def note_backup(store: LevelStore, sha256: str) -> None:
    """Remember the backup before the first row changes.

    Raises:
        MigrationBackupForeign: a migration began with another one.
    """
    noted = noted_backup(store)
    if noted and noted != sha256:
        raise MigrationBackupForeign(
            "a migration of this store began with another backup",
            hint="name the file that the first run made; it alone holds the store as it was",
        )
    if not noted:
        _write_note(store, sha256)
    reach("migrate.note", "after")


def _write_note(store: LevelStore, sha256: str) -> None:
    note = json.dumps({"from": store.schema, "to": SCHEMA, "sha256": sha256}).encode()
    store.write([rows.SETTING.put(rows.SettingRow(_NOTE, note))], sync=True)
