"""What the kill tests do at two nodes while these die, and what the nodes answered; kept outside of them.

PD holds the documents, XH asks for their reuse. An errand is one request under one Idempotency-Key: it is sent
until it is answered, whatever dies meanwhile, and its answer must be true for ever.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx

from cli.demo import people
from cli.demo.network import DemoNode, Network
from tests.e2e.papers import INVOICE, File, Raw, fresh_file, invoice_wish, lease_wish, meta_of
from tests.faults.node_spawner import Spawner, is_serving, wait_serving
from tests.support.waiting import until

SMALL, BIG = 2000, (5 << 20) + 7
REASON = {"reasonCode": 4, "reason": "test"}

Request = Callable[[], httpx.Response]


@dataclass(eq=False)
class Errand:
    """One request, safe to repeat; `note` keeps what its answer makes true; `cuts` counts lost tries."""

    kind: str
    request: Request
    note: Callable[[dict[str, Any]], None]
    answer: dict[str, Any] | None = None
    cuts: int = 0

    def run(self) -> None:
        """Send it once. A lost connection, or a node that says it could not finish, leaves it open."""
        try:
            answer = self.request()
        except httpx.HTTPError:
            answer = None
        if answer is None or answer.status_code >= 500:
            self.cuts += 1
            return
        assert answer.status_code < 300, (self.kind, answer.text)
        self.answer = answer.json()


@dataclass
class Told:
    """What the nodes answered: it must be true for ever."""

    files: dict[str, dict[int, File]] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    granted: dict[str, str] = field(default_factory=dict)  # reuse -> digest of the bytes it hands over
    consumed: dict[str, dict[str, Any]] = field(default_factory=dict)  # reuse -> its request


@dataclass
class Stock:
    """Documents that nodes answered for, each set aside for one use."""

    replace: list[str] = field(default_factory=list)
    revoke: list[str] = field(default_factory=list)
    reuse: dict[str, int] = field(default_factory=dict)  # digest -> size
    invoices: list[tuple[str, str]] = field(default_factory=list)  # digest, document number
    known: set[str] = field(default_factory=set)  # digests that were valid once where they are asked for


@dataclass
class Stand:
    """Two nodes that may be killed, and what they told."""

    network: Network
    spawner: Spawner
    pd: Raw
    xh: Raw
    chance: random.Random
    told: Told = field(default_factory=Told)
    stock: Stock = field(default_factory=Stock)

    def node(self, name: str) -> DemoNode:
        return self.network.nodes[name]

    def start(self, *names: str, failpoint: str = "") -> None:
        for name in names:
            self.spawner.start(self.node(name).folder, failpoint=failpoint)
        for name in names:
            wait_serving(self.node(name).url)

    def wait_serving_or_dead(self, name: str) -> None:
        """Wait until a node is ready, or has ended at its fail point."""
        until(lambda: is_serving(self.node(name).url) or not self.is_running(name), f"{name} serves or ends")

    def is_running(self, name: str) -> bool:
        return self.spawner.is_running(self.node(name).folder)

    def kill(self, name: str) -> None:
        self.spawner.kill(self.node(name).folder)

    def pick_known(self, client: Raw, digests: list[str]) -> str | None:
        """Return one of the digests that `client`'s node calls valid; None when it knows none or is dead."""
        for digest in self.chance.sample(digests, min(3, len(digests))):
            if digest in self.stock.known or _is_valid(client, digest):
                self.stock.known.add(digest)
                return digest
        return None


def _is_valid(client: Raw, digest: str) -> bool:
    try:
        answer = client.post("/v1/verify", {"sha256": digest})
    except httpx.HTTPError:
        return False
    return answer.status_code == 200 and bool(answer.json()["verdict"] == "valid")


# Each act returns an errand, or None while nothing is in stock for it.


def push(stand: Stand, *, size: int = SMALL) -> Errand:
    """Push a new document, and set it aside for one later use."""
    file = fresh_file(size)

    def note(body: dict[str, Any]) -> None:
        stand.told.files[body["materialId"]] = {body["version"]: file}
        use = stand.chance.randrange(3)
        if use == 0 or size == BIG:
            stand.stock.reuse[file.sha256] = size
        else:
            (stand.stock.replace if use == 1 else stand.stock.revoke).append(body["materialId"])

    request = partial(stand.pd.push, file, meta_of(file), key=secrets.token_hex(8), wait=None)
    return Errand("push", request, note)


def big_push(stand: Stand) -> Errand:
    """Push a document of several pieces."""
    return push(stand, size=BIG)


def invoice(stand: Stand) -> Errand:
    """Push an invoice, which can be used once."""
    file, number = fresh_file(SMALL), f"263100{secrets.randbelow(10**14):014d}"

    def note(body: dict[str, Any]) -> None:
        stand.told.files[body["materialId"]] = {body["version"]: file}
        stand.stock.invoices.append((file.sha256, number))

    meta = meta_of(file, typeCode=INVOICE, documentNo=number, expiresOn=None)
    return Errand("invoice", partial(stand.pd.push, file, meta, key=secrets.token_hex(8), wait=None), note)


def supersede(stand: Stand) -> Errand | None:
    """Push a new version of a document, which may still be on its way to the chain."""
    if not stand.stock.replace:
        return None
    first, file = stand.stock.replace.pop(), fresh_file(SMALL)

    def note(body: dict[str, Any]) -> None:
        assert (body["materialId"], body["version"]) == (first, 2)
        stand.told.files[first][2] = file

    meta = meta_of(file, replaces=first)
    return Errand("supersede", partial(stand.pd.push, file, meta, key=secrets.token_hex(8), wait=None), note)


def revoke(stand: Stand) -> Errand | None:
    """Revoke a document, which may still be on its way to the chain."""
    if not stand.stock.revoke:
        return None
    name = stand.stock.revoke.pop()
    path, key = f"/v1/materials/{name}/revoke", secrets.token_hex(8)
    return Errand(
        "revoke", partial(stand.pd.post, path, REASON, key=key), lambda _: stand.told.revoked.add(name)
    )


def reuse(stand: Stand, *, size: int = SMALL) -> Errand | None:
    """Ask XH for the bytes of a document that PD holds."""
    digest = stand.pick_known(stand.xh, [one for one, held in stand.stock.reuse.items() if held == size])
    if digest is None:
        return None

    def note(body: dict[str, Any]) -> None:
        assert body["outcome"] == "granted", body
        stand.told.granted[body["reuseId"]] = digest

    request = partial(stand.xh.post, "/v1/reuses", lease_wish(sha256=digest), key=secrets.token_hex(8))
    return Errand("reuse", request, note)


def big_reuse(stand: Stand) -> Errand | None:
    """Ask XH for the bytes of a document of several pieces."""
    return reuse(stand, size=BIG)


def consume(stand: Stand) -> Errand | None:
    """Use an invoice up."""
    by_digest = dict(stand.stock.invoices)
    digest = stand.pick_known(stand.pd, list(by_digest))
    if digest is None:
        return None
    stand.stock.invoices.remove((digest, by_digest[digest]))
    wish = invoice_wish(by_digest[digest])

    def note(body: dict[str, Any]) -> None:
        assert body["outcome"] in ("pending", "granted"), body
        stand.told.consumed[body["reuseId"]] = wish

    return Errand("consume", partial(stand.pd.post, "/v1/reuses", wish, key=secrets.token_hex(8)), note)


Act = Callable[[Stand], Errand | None]


def make_stand(network: Network, spawner: Spawner, *, seed: int) -> Stand:
    """Return the stand over the nodes of `network`; whoever calls stops and starts them."""
    return Stand(network, spawner, Raw(network, people.PD), Raw(network, people.XH), random.Random(seed))
