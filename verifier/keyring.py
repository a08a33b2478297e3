"""The domain keys that a member holds, and how they arrive: sealed envelopes in the index.

Must not import chain, store or HTTP. Envelope format: docs/reference/epoch-envelope.md.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from anchor.envelopes import RecipientKey, epoch_info, open_
from anchor.errors import EnvelopeMalformed, KeyMaterialInvalid
from anchor.tags import ConsumeKey, DomainKeys, derive_consume_key, derive_domain_keys

if TYPE_CHECKING:
    from anchor.chain.deploy import Deployment
    from verifier.index import ChainIndex

HeldKey: TypeAlias = DomainKeys | ConsumeKey


class KeyRing:
    """Tag and mask keys by (domain, epoch), and consume keys by domain. It only grows.

    Safe for many reading threads: an addition replaces the mappings as a whole.
    """

    def __init__(
        self,
        keys: Mapping[tuple[int, int], DomainKeys] | None = None,
        *,
        consume_keys: Iterable[ConsumeKey] = (),
    ) -> None:
        self._lock = threading.Lock()
        self._keys = dict(keys or {})
        self._all = tuple(self._keys.values())
        self._consume = {key.domain: key for key in consume_keys}

    def add(self, key: HeldKey) -> bool:
        """Add a key; return whether it is new. A key that is there already stays as it is."""
        with self._lock:
            if isinstance(key, ConsumeKey):
                new = key.domain not in self._consume
                self._consume = {key.domain: key} | self._consume
            else:
                new = (key.domain, key.epoch) not in self._keys
                self._keys = {(key.domain, key.epoch): key} | self._keys
                self._all = tuple(self._keys.values())
            return new

    def widened(self, more: Iterable[HeldKey]) -> KeyRing:
        """Return another ring with these keys as well."""
        wider = KeyRing(self._keys, consume_keys=self._consume.values())
        for key in more:
            wider.add(key)
        return wider

    def get(self, domain: int, epoch: int) -> DomainKeys | None:
        """Return the keys of an epoch, or None."""
        return self._keys.get((domain, epoch))

    def holds(self, domain: int, epoch: int) -> bool:
        """Return whether the key of an epoch (0: the consume key) is here."""
        return (domain, epoch) in self._keys if epoch else domain in self._consume

    def all(self) -> tuple[DomainKeys, ...]:
        """Return the keys of all epochs: a record of an old epoch is as good as one of the newest."""
        return self._all

    def newest(self, domain: int) -> DomainKeys | None:
        """Return the keys under which new records of a domain are written, or None."""
        held = [keys for keys in self._all if keys.domain == domain]
        return max(held, key=lambda keys: keys.epoch, default=None)

    def newest_of_any(self) -> DomainKeys | None:
        """Return the newest keys of the lowest domain, or None: for records that belong to no domain."""
        return self.newest(min(keys.domain for keys in self._all)) if self._all else None

    def consume_key(self, domain: int) -> ConsumeKey | None:
        """Return the domain's consume key, or None."""
        return self._consume.get(domain)


@dataclass(frozen=True, slots=True)
class EnvelopeReading:
    """The keys that could be opened, and the (domain, epoch) of envelopes that could not."""

    keys: tuple[HeldKey, ...]
    unreadable: tuple[tuple[int, int], ...]


def open_envelopes(
    index: ChainIndex, member_id: int, recipient_key: RecipientKey, deployment: Deployment
) -> list[HeldKey]:
    """Open the envelopes that the index holds for a member; those that cannot be opened are left out."""
    return list(read_envelopes(index, member_id, recipient_key, deployment).keys)


def read_envelopes(
    index: ChainIndex,
    member_id: int,
    recipient_key: RecipientKey,
    deployment: Deployment,
    *,
    held: KeyRing | None = None,
) -> EnvelopeReading:
    """Open a member's envelopes and name those that cannot be opened; skip keys that `held` has.

    An envelope that was sealed to an older HPKE key, or badly, does not keep the others shut.
    """
    keys: list[HeldKey] = []
    unreadable: list[tuple[int, int]] = []
    for domain, epoch, sealed in index.envelopes_for(member_id):
        if held is not None and held.holds(domain, epoch):
            continue
        info = epoch_info(deployment.chain_id, deployment.directory, domain, epoch, member_id)
        try:
            keys.append(_derive(domain, epoch, open_(recipient_key, info=info, sealed=sealed)))
        except (EnvelopeMalformed, KeyMaterialInvalid):
            unreadable.append((domain, epoch))
    return EnvelopeReading(tuple(keys), tuple(unreadable))


def _derive(domain: int, epoch: int, secret: bytes) -> HeldKey:
    """Epoch 0 carries the consume key, which never rotates; the others carry tag and mask keys."""
    return derive_domain_keys(domain, epoch, secret) if epoch else derive_consume_key(domain, secret)
