"""What the council's commands read from the chain: members and their keys, entries that wait for approval.

Reads events from the first block on, in ranges, and asks the contracts for the present state. Adapts
`anchor.chain`; opens nothing itself but the gateway it is given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anchor.chain.contracts import decode_event, decode_result, encode_call
from anchor.chain.deploy import Deployment
from anchor.chain.gateway import Gateway
from verifier.catalog import KIND_NAMES

_RANGE = 2000
_ACTIVE = 1
_PENDING = 1


@dataclass(frozen=True, slots=True)
class PendingEntry:
    """A version that waits for approval; `key` is the contract's name of the entry."""

    kind: str
    code: str
    version: int
    key: bytes


def active_recipients(gateway: Gateway, deployment: Deployment) -> dict[int, bytes]:
    """Return the public HPKE key of every active member.

    Raises:
        ChainUnavailable: the chain cannot be asked.
    """
    keys: dict[int, bytes] = {}
    for name, values in _events(gateway, "Members", deployment.members):
        if name == "MemberAdmitted":
            keys[values["memberId"]] = bytes(_member_of(values["profile"], "hpkeKey", -1))
        elif name == "MemberHpkeKeySet":
            keys[values["memberId"]] = bytes(values["hpkeKey"])
    states = {member: _view(gateway, deployment, "Members", "stateOf", member) for member in keys}
    return {member: key for member, key in keys.items() if states[member] == _ACTIVE}


def current_epoch(gateway: Gateway, deployment: Deployment, domain: int) -> int:
    """Return the newest epoch of a domain, 0 when it has none."""
    return int(_view(gateway, deployment, "Members", "currentEpoch", domain))


def pending_entries(gateway: Gateway, deployment: Deployment) -> list[PendingEntry]:
    """List the versions that wait for approval now, in the order they were published.

    Raises:
        ChainUnavailable: the chain cannot be asked.
    """
    found = []
    for name, values in _events(gateway, "Catalog", deployment.catalog):
        kind = KIND_NAMES.get(values.get("kind", 0))
        if name == "EntryPublished" and kind is not None and values["state"] == _PENDING:
            entry = PendingEntry(kind, values["code"], values["version"], bytes(values["key"]))
            if state_of(gateway, deployment, entry) == _PENDING:
                found.append(entry)
    return found


def state_of(gateway: Gateway, deployment: Deployment, entry: PendingEntry) -> int:
    """Return the present state of a version: 0 unknown, 1 pending, 2 approved, 3 retired."""
    raw = gateway.call(deployment.catalog, encode_call("Catalog", "versionOf", entry.key, entry.version))
    return int(decode_result("Catalog", "versionOf", raw)[1])


def _view(gateway: Gateway, deployment: Deployment, contract: str, function: str, *arguments: object) -> Any:
    raw = gateway.call(deployment.address_of(contract), encode_call(contract, function, *arguments))
    return decode_result(contract, function, raw)[0]


def _events(gateway: Gateway, contract: str, address: bytes) -> Iterator[tuple[str, Mapping[str, Any]]]:
    last = gateway.head().number
    for first in range(0, last + 1, _RANGE):
        for log in gateway.logs([address], first=first, last=min(first + _RANGE - 1, last)):
            yield decode_event(contract, log)


def _member_of(struct: Mapping[str, Any] | Sequence[Any], name: str, place: int) -> Any:
    return struct[name] if isinstance(struct, Mapping) else struct[place]
