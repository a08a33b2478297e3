"""Whose store this is: the STORE file, one line of JSON that is read before the database is touched.

It stands in the database too, so that two stores' parts cannot be mixed. Must not import plyvel.
"""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from node.errors import StoreDamaged, StoreForeign, StoreNewer, StoreOlder
from node.store.envelope import RowSeal

IDENTITY_FILE: Final = "STORE"
FORMAT: Final = "deltaseal-store"
# What changed from one to the next: `MIGRATIONS` in node/store/migrations.py.
SCHEMA: Final = 2
OLDEST_SCHEMA: Final = 1
STORE_ID_BYTES: Final = 16
_LIMIT_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class Identity:
    """Format, schema version, owner and kind of a store."""

    node_id: str
    store_id: bytes
    sealed: bool
    chained: bool
    schema: int = SCHEMA

    def encode(self) -> bytes:
        """Return the JSON text that is authenticated and that the database holds too."""
        return json.dumps(
            {
                "chained": self.chained,
                "format": FORMAT,
                "nodeId": self.node_id,
                "schema": self.schema,
                "sealed": self.sealed,
                "storeId": self.store_id.hex(),
            },
            ensure_ascii=True,
        ).encode()

    def render(self, seal: RowSeal | None) -> bytes:
        """Return the content of the STORE file: the JSON text, a line feed, and its MAC in hex if sealed."""
        return self.encode() + b"\n" + (_mac(seal, self.encode()) + b"\n" if seal else b"")

    def require(self, *, node_id: str | None, chained: bool | None) -> None:
        """Refuse another node's store, or another kind of store. Raises StoreForeign."""
        if node_id is not None and node_id != self.node_id:
            raise StoreForeign(
                "this store belongs to another node", hint="point data_dir to the folder that this node made"
            )
        if chained is not None and chained != self.chained:
            raise StoreForeign(
                "this store is of another kind", hint="keep the store folder and the index folder apart"
            )


def new_identity(node_id: str, *, seal: RowSeal | None, chained: bool, schema: int = SCHEMA) -> Identity:
    """Return the identity of a store that is about to be made."""
    return Identity(node_id, secrets.token_bytes(STORE_ID_BYTES), seal is not None, chained, schema)


def load_identity(path: Path, *, seal: RowSeal | None, oldest: int = SCHEMA) -> Identity:
    """Read the STORE file; a schema below `oldest` is refused.

    Raises:
        StoreDamaged: it is missing beside a database, or altered.
        StoreNewer, StoreOlder: another release wrote it.
        StoreForeign: another format, or sealed under another key.
    """
    try:
        text, _, mac = path.read_bytes()[:_LIMIT_BYTES].partition(b"\n")
    except OSError:
        raise _damaged("the STORE file is missing: the store was never finished, or lost it") from None
    identity = _parse(text, oldest)
    if identity.sealed != (seal is not None):
        raise StoreForeign("the store is sealed and no key was given, or the other way round")
    if seal and mac.strip() != _mac(seal, text):
        raise StoreForeign(
            "the store is sealed under another key than this node's",
            hint="use the key folder that was made with this store",
        )
    return identity


def _parse(text: bytes, oldest: int) -> Identity:
    try:
        fields = json.loads(text)
        if fields["format"] != FORMAT:
            raise StoreForeign("the folder is not a store of this format", hint="choose another folder")
        require_schema(int(fields["schema"]), oldest=oldest)
        store_id = bytes.fromhex(fields["storeId"])
        identity = Identity(fields["nodeId"], store_id, fields["sealed"], fields["chained"], fields["schema"])
    except (ValueError, KeyError, TypeError):
        raise _damaged("the STORE file is not what a node wrote") from None
    if identity.encode() != text:
        raise _damaged("the STORE file is not what a node wrote")
    return identity


def require_schema(schema: int, *, oldest: int = SCHEMA) -> None:
    """Refuse what this release does not read. Raises StoreNewer, StoreOlder."""
    if schema < oldest:
        raise StoreOlder(
            f"the store has schema {schema}, this release works with {SCHEMA}",
            hint="stop the node and run `deltaseal store migrate --backup FILE`",
            schema=schema,
            supported=SCHEMA,
        )
    if schema > SCHEMA:
        raise StoreNewer(
            f"the store has schema {schema}, this release reads up to {SCHEMA}",
            hint="use the release that wrote the store, or a later one",
            schema=schema,
            supported=SCHEMA,
        )


def _mac(seal: RowSeal, text: bytes) -> bytes:
    return seal.authenticate(b"identity\x00" + text).hex().encode()


def _damaged(message: str) -> StoreDamaged:
    return StoreDamaged(message, hint="restore the store folder from the last verified backup", file="STORE")
