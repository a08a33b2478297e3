"""Issue, list and revoke the API keys of this node."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from anchor.keyvalue import Put
from node.context import Node
from node.errors import KeyNotFound, MaterialInvalid
from node.services.recording import Actor, record
from node.store import rows


class StoredKeys:
    """Key rows of this node's store, as the authenticator wants them."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def find(self, key_id: str) -> rows.ApiKeyRow | None:
        """Return the row of `key_id`."""
        return rows.API_KEY.get(self._node.store, key_id)


def check_agency(node: Node, agency: str) -> None:
    """Let only agencies that this node serves have keys.

    Raises:
        MaterialInvalid: the setting `agencies` does not name it.
    """
    if agency not in node.config.agencies:
        raise MaterialInvalid(
            "this node does not serve that agency", pointer="/agency", reason="agency_foreign"
        )


def keep(node: Node, actor: Actor, row: rows.ApiKeyRow, answer: Sequence[Put]) -> None:
    """Store a new key with the answer that shows it once."""
    record(
        node,
        [rows.API_KEY.put(row), *answer],
        actor=actor,
        action="key.issue",
        object_id=row.key_id,
        outcome="issued",
        reason=" ".join(row.scopes),
    )


def list_keys(node: Node) -> list[rows.ApiKeyRow]:
    """List all keys, revoked ones too."""
    return list(rows.API_KEY.scan(node.store))


def revoke(node: Node, actor: Actor, key_id: str) -> rows.ApiKeyRow:
    """Revoke a key for good.

    Raises:
        KeyNotFound: there is none with this id.
    """
    row = rows.API_KEY.get(node.store, key_id)
    if row is None:
        raise KeyNotFound("there is no such API key", hint="list the keys with `deltaseal key list`")
    if not row.revoked_at:
        row = msgspec.structs.replace(row, revoked_at=node.clock())
        record(
            node,
            [rows.API_KEY.put(row)],
            actor=actor,
            action="key.revoke",
            object_id=key_id,
            outcome="revoked",
        )
    return row
