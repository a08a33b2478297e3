"""`kill -9` at any point loses nothing that was answered, leaves nothing half done, and doubles nothing on chain.

PD holds the documents, XH asks for their reuse; either dies at a named fail point between two writes, or at a
random moment under load. What the nodes answered is kept outside of them, in `Told`; each request that was cut
off is repeated under its Idempotency-Key. In the end the nodes' stores, lists and the chain must agree with it.
"""

from __future__ import annotations

import hashlib
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import pytest

from anchor.chain.contracts import event_topic, parse_batch_appended
from anchor.records import RECORD_BYTES, Stream, record_id
from cli.demo import catalogue, people
from cli.demo.network import DemoNode, Network
from node.config import load_config
from node.keys import KeyFolder
from node.runtime import read_passphrase
from node.store import rows
from node.store.envelope import RowSeal
from node.store.leveldb import LevelStore
from tests.e2e.papers import INVOICE, File, Raw, fresh_file, lease_wish, meta_of
from tests.faults.node_spawner import Spawner, wait_serving

# Each case waits for nodes to come back, minutes in all: part of `make test-all`.
pytestmark = pytest.mark.full

BOUND_S = 90.0
BIG_BYTES = (5 << 20) + 7
READ = {"deltaseal-purpose": "test", "deltaseal-case": "C-1"}
ACT = {"reasonCode": 4, "reason": "test"}

Request = Callable[[], httpx.Response]


@dataclass
class Told:
    """What the nodes answered: it must be true for ever. Kept outside of the nodes."""

    files: dict[str, dict[int, File]] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    granted: set[str] = field(default_factory=set)

    def pushed(self, file: File, answer: httpx.Response) -> dict[str, Any]:
        body: dict[str, Any] = answer.json()
        self.files.setdefault(body["materialId"], {})[body["version"]] = file
        return body


@dataclass
class Stand:
    """Two nodes that may be killed, and what they told."""

    network: Network
    spawner: Spawner
    told: Told
    pd: Raw
    xh: Raw

    def node(self, name: str) -> DemoNode:
        return self.network.nodes[name]

    def start(self, *names: str, failpoint: str = "") -> None:
        for name in names:
            self.spawner.start(self.node(name).folder, failpoint=failpoint)
        for name in names:
            wait_serving(self.node(name).url)

    def restart_armed(self, name: str, failpoint: str) -> None:
        # What an earlier case left to send would reach the point while the node starts, before it is ready.
        self.until(partial(nothing_to_send, self.node(name)), f"{name} has sent everything")
        self.spawner.kill(self.node(name).folder)
        self.start(name, failpoint=failpoint)

    def push(self, *, size: int = 2000, **changes: Any) -> dict[str, Any]:
        file = fresh_file(size)
        answer = self.pd.push(file, meta_of(file, **changes), wait="final")
        assert answer.status_code == 201, answer.text
        self.wait_known(file)
        return self.told.pushed(file, answer)

    def wait_known(self, file: File) -> None:
        self.until(lambda: self.xh.verify(file.sha256)["verdict"] == "valid", "XH knows the document")

    def until(self, probe: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + BOUND_S
        while time.monotonic() < deadline:
            if probe():
                return
            time.sleep(0.03)
        raise AssertionError(f"never came: {what}")


@pytest.fixture(scope="module")
def stand(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    spawner = Spawner(tmp_path_factory.mktemp("kill"))
    made = Stand(network, spawner, Told(), Raw(network, people.PD), Raw(network, people.XH))
    for name in ("PD", "XH"):
        made.node(name).part.stop()
    made.start("PD", "XH")
    yield made
    spawner.close()
    for name in ("PD", "XH"):
        made.node(name).restart()


def nothing_to_send(node: DemoNode) -> bool:
    outbox = node.client.get("/v1/chain/status")["outbox"]
    return bool(outbox["queued"] == outbox["inFlight"] == 0)


def try_once(request: Request) -> httpx.Response | None:
    """Return the answer, or None when the connection was lost or the node could not finish."""
    try:
        answer = request()
    except httpx.HTTPError:
        return None
    return answer if answer.status_code < 500 else None


# What is done when the node dies. Each returns the request, safe to repeat, and what its answer makes true.

Done = Callable[[httpx.Response], None]


def a_push(stand: Stand, *, size: int = 2000) -> tuple[Request, Done]:
    file, key = fresh_file(size), secrets.token_hex(8)
    meta = meta_of(file)

    def done(answer: httpx.Response) -> None:
        assert answer.status_code == 201, answer.text
        stand.told.pushed(file, answer)

    return partial(stand.pd.push, file, meta, key=key, wait=None), done


def a_big_push(stand: Stand) -> tuple[Request, Done]:
    return a_push(stand, size=BIG_BYTES)


def a_supersede(stand: Stand) -> tuple[Request, Done]:
    first = stand.push()["materialId"]
    file, key = fresh_file(), secrets.token_hex(8)

    def done(answer: httpx.Response) -> None:
        assert answer.status_code == 201, answer.text
        assert stand.told.pushed(file, answer)["version"] == 2

    return partial(stand.pd.push, file, meta_of(file, replaces=first), key=key, wait=None), done


def a_revocation(stand: Stand) -> tuple[Request, Done]:
    name, key = stand.push()["materialId"], secrets.token_hex(8)

    def done(answer: httpx.Response) -> None:
        assert answer.status_code < 300, answer.text
        stand.told.revoked.add(name)

    return partial(stand.pd.post, f"/v1/materials/{name}/revoke", ACT, key=key), done


def a_reuse(stand: Stand, *, size: int = BIG_BYTES) -> tuple[Request, Done]:
    material = stand.push(size=size)
    wish, key = lease_wish(sha256=material["sha256"]), secrets.token_hex(8)

    def done(answer: httpx.Response) -> None:
        body = answer.json()
        assert body["outcome"] == "granted", body
        stand.told.granted.add(body["reuseId"])
        content = stand.xh.http.get(body["content"]["url"], headers=READ)
        assert hashlib.sha256(content.content).hexdigest() == material["sha256"]

    return partial(stand.xh.post, "/v1/reuses", wish, key=key), done


def a_consumption(stand: Stand) -> tuple[Request, Done]:
    number, key = f"263100{secrets.randbelow(10**14):014d}", secrets.token_hex(8)
    stand.push(typeCode=INVOICE, documentNo=number, expiresOn=None)
    wish = lease_wish(
        matterCode=catalogue.FUND,
        typeCode=INVOICE,
        scenarioCode=catalogue.SCENARIO_FUND,
        documentNo=number,
        deliver="facts",
        consume=True,
    )

    def done(answer: httpx.Response) -> None:
        name = answer.json()["reuseId"]
        stand.until(
            lambda: stand.pd.get(f"/v1/reuses/{name}").json()["outcome"] == "granted", "granted in the end"
        )
        again = stand.pd.post("/v1/reuses", wish, wait="final").json()
        assert again["outcome"] == "denied"

    return partial(stand.pd.post, "/v1/reuses", wish, key=key), done


Act = Callable[[Stand], tuple[Request, Done]]
POINTS: list[tuple[Act, str, str]] = [
    (a_push, "PD", "material.accept.before:1"),
    (a_push, "PD", "material.accept.after:1"),
    (a_push, "PD", "outbox.pack.before:1"),
    (a_push, "PD", "outbox.pack.after:1"),
    (a_push, "PD", "chain.send.after:1"),
    (a_push, "PD", "outbox.move.before:1"),
    (a_push, "PD", "outbox.move.after:1"),
    (a_push, "PD", "outbox.move.before:2"),
    (a_big_push, "PD", "intake.piece:4"),
    (a_big_push, "PD", "material.accept.before:1"),
    (a_supersede, "PD", "material.accept.before:1"),
    (a_supersede, "PD", "material.accept.after:1"),
    (a_supersede, "PD", "outbox.pack.after:2"),
    (a_supersede, "PD", "chain.send.after:2"),
    (a_revocation, "PD", "material.revoke.before:1"),
    (a_revocation, "PD", "material.revoke.after:1"),
    (a_revocation, "PD", "chain.send.after:1"),
    (a_reuse, "XH", "release.piece.after:3"),
    (a_reuse, "XH", "reuse.decide.before:1"),
    (a_reuse, "XH", "reuse.decide.after:1"),
    (a_reuse, "PD", "release.nonce.after:1"),
    (a_reuse, "PD", "release.before:1"),
    (a_reuse, "PD", "release.after:1"),
    (a_reuse, "PD", "release.head.after:1"),
    (a_consumption, "PD", "reuse.consume.before:1"),
    (a_consumption, "PD", "reuse.consume.after:1"),
    (a_consumption, "PD", "reuse.decide.before:1"),
    (a_consumption, "PD", "reuse.decide.after:1"),
]


@pytest.mark.parametrize(
    ("act", "victim", "point"), POINTS, ids=[f"{act.__name__}-{who}-{point}" for act, who, point in POINTS]
)
def test_a_node_killed_between_two_writes_finishes_what_it_promised(
    stand: Stand, act: Act, victim: str, point: str
) -> None:
    request, done = act(stand)
    stand.restart_armed(victim, f"{point}:kill")
    first = try_once(request)
    stand.spawner.wait_dead(stand.node(victim).folder)
    stand.start(victim)
    if first is not None:
        done(first)
    again = request()
    done(again)
    if first is not None:
        assert again.json() == first.json()


@pytest.mark.timeout(900)
def test_after_random_kills_under_load_everything_answered_is_true(stand: Stand) -> None:
    kill_at_random(stand, rounds=25, seed=1)


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_after_a_thousand_random_kills_under_load_everything_answered_is_true(stand: Stand) -> None:
    kill_at_random(stand, rounds=500, seed=2)


def kill_at_random(stand: Stand, *, rounds: int, seed: int) -> None:
    """Kill both nodes in each round, at a random moment of seven requests that run at once."""
    chance = random.Random(seed)
    cut = 0
    for _ in range(rounds):
        acts: list[Act] = [
            a_push,
            a_push,
            a_push,
            a_big_push,
            a_supersede,
            a_revocation,
            partial(a_reuse, size=9000),
        ]
        with ThreadPoolExecutor(len(acts)) as pool:
            prepared = list(pool.map(lambda act: act(stand), acts))
            running = [pool.submit(try_once, request) for request, _ in prepared]
            time.sleep(chance.uniform(0.0, 0.25))
            for name in chance.sample(["PD", "XH"], 2):
                stand.spawner.kill(stand.node(name).folder)
            answers = [one.result() for one in running]
        stand.start("PD", "XH")
        for (request, done), answer in zip(prepared, answers, strict=True):
            cut += answer is None
            done(answer or request())
    assert cut > rounds  # Most kills must have met requests under way.


def test_in_the_end_lists_contents_and_chain_agree_with_what_was_told(stand: Stand) -> None:
    told = stand.told
    listed = {one["materialId"]: one for one in list_all(stand.pd) if one["caseNo"] == "PD-TEST-1"}
    assert set(told.files) <= set(listed)
    assert told.revoked <= {name for name, one in listed.items() if one["status"] == "revoked"}
    ids: list[str] = []
    for name in listed:
        for version in stand.pd.get(f"/v1/materials/{name}").json()["versions"]:
            ids += anchored(stand, name, version["version"])
            check_content(stand, name, version["version"], version["sha256"])
            if name in told.files:
                assert told.files[name][version["version"]].sha256 == version["sha256"]
    on_chain = records_of(stand.network, people.PD_MEMBER, Stream.MATERIAL)
    assert Counter(ids) == on_chain
    assert set(on_chain.values()) == {1}


def test_in_the_end_each_granted_reuse_has_one_record_on_chain(stand: Stand) -> None:
    reuses = [stand.xh.get(f"/v1/reuses/{name}").json() for name in stand.told.granted]
    assert {one["outcome"] for one in reuses} <= {"granted"}

    def all_final() -> bool:
        return all(
            stand.xh.get(f"/v1/reuses/{name}").json()["anchor"]["status"] == "final"
            for name in stand.told.granted
        )

    stand.until(all_final, "the records of all reuses are final")
    on_chain = records_of(stand.network, people.XH_MEMBER, Stream.REUSE)
    assert on_chain.total() == len(stand.told.granted)
    assert set(on_chain.values()) <= {1}


def test_in_the_end_no_chunk_is_left_that_nothing_refers_to(stand: Stand) -> None:
    for name in ("PD", "XH"):
        folder = stand.node(name).folder
        # A kill first, then a start: the sweep of the start must have found whatever there was.
        stand.spawner.kill(folder)
        stand.start(name)
        stand.spawner.kill(folder)
        held, referred, marked = blobs_in(stand.node(name))
        stand.start(name)
        assert held == referred
        assert not marked


def list_all(client: Raw) -> Iterator[dict[str, Any]]:
    cursor: dict[str, str] = {}
    while True:
        page = client.get("/v1/materials", limit=200, **cursor).json()
        yield from page["items"]
        if page["nextCursor"] is None:
            return
        cursor = {"cursor": page["nextCursor"]}


def anchored(stand: Stand, name: str, version: int) -> list[str]:
    found: list[str] = []

    def is_final() -> bool:
        anchor = stand.pd.get(f"/v1/materials/{name}", version=version).json()["anchor"]
        found[:] = anchor["recordIds"]
        return anchor["status"] == "final" and bool(found)

    stand.until(is_final, f"{name}.{version} is final")
    return found


def check_content(stand: Stand, name: str, version: int, sha256: str) -> None:
    path = f"/v1/materials/{name}/content?version={version}"
    assert hashlib.sha256(stand.pd.http.get(path, headers=READ).content).hexdigest() == sha256


def records_of(network: Network, member_id: int, stream: Stream) -> Counter[str]:
    """Count the records of a member in one stream, read from the chain itself."""
    topic, found = event_topic("Ledger", "BatchAppended"), Counter[str]()
    for log in network.gateway.logs([network.deployment.ledger], first=0, last=network.head().number):
        if log.topics[0] != topic:
            continue
        entry, records = parse_batch_appended(log)
        if (entry.member_id, entry.stream) == (member_id, stream):
            for start in range(0, len(records), RECORD_BYTES):
                found[record_id(member_id, bytes(records[start : start + RECORD_BYTES])).hex()] += 1
    return found


def blobs_in(node: DemoNode) -> tuple[set[str], set[str], list[bytes]]:
    """Read a stopped node's store: blobs that have chunks, blobs that rows name, marks of unfinished uploads."""
    config = load_config(node.folder)
    keys = KeyFolder.open(node.folder / "keys", read_passphrase(config))
    with LevelStore.open(node.folder / "store", seal=RowSeal(keys.store_key())) as store:
        held = {key[len(b"blob/") + 1 : -8].decode() for key in store.keys(b"blob/")}
        named = {row.blob_id for row in rows.VERSION.scan(store)} | {
            row.blob_id for row in rows.REUSE.scan(store)
        }
        return held, named - {""}, list(store.keys(rows.upload_prefix()))
