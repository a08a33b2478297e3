"""`kill -9` at any point loses nothing that was answered, leaves nothing half done, and doubles nothing on chain.

PD holds the documents, XH asks for their reuse; both die again and again (`kill_storm`), while a list outside of
them keeps what they answered (`kill_acts`). In the end the nodes' stores, lists and the chain must agree with it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from anchor.chain.contracts import event_topic, parse_batch_appended
from anchor.records import RECORD_BYTES, Stream, record_id
from cli.demo import people
from cli.demo.network import DemoNode, Network
from node.config import load_config
from node.keys import KeyFolder
from node.runtime import read_passphrase
from node.store import rows
from node.store.envelope import RowSeal
from node.store.leveldb import LevelStore
from tests.e2e.papers import Raw
from tests.faults.kill_acts import Stand, make_stand
from tests.faults.kill_storm import POINTS, Storm
from tests.faults.node_spawner import Spawner, ease_start
from tests.support.waiting import until

READ = {"deltaseal-purpose": "test", "deltaseal-case": "C-1"}

Record = Callable[[str, object], None]


@dataclass(frozen=True)
class Before:
    """What tests of other files left in the network that they share with these."""

    listed: frozenset[str]
    materials: Counter[str]
    reuses: Counter[str]


@pytest.fixture(scope="module")
def before(network: Network) -> Before:
    network.settle()
    return Before(
        frozenset(one["materialId"] for one in list_all(Raw(network, people.PD))),
        records_of(network, people.PD_MEMBER, Stream.MATERIAL),
        records_of(network, people.XH_MEMBER, Stream.REUSE),
    )


@pytest.fixture(scope="module")
def stand(network: Network, before: Before, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    spawner = Spawner(tmp_path_factory.mktemp("kill"))
    made = make_stand(network, spawner, seed=1)
    for name in ("PD", "XH"):
        made.node(name).part.stop()
        ease_start(made.node(name).folder, read_passphrase(load_config(made.node(name).folder)))
    made.start("PD", "XH")
    yield made
    spawner.close()
    for name in ("PD", "XH"):
        made.node(name).restart()


@pytest.mark.timeout(900)
def test_fifty_kills_at_fail_points_and_random_moments_break_no_promise(
    stand: Stand, record_property: Record
) -> None:
    run_storm(stand, record_property, kills=50, times=1)


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_a_thousand_kills_at_fail_points_and_random_moments_break_no_promise(
    stand: Stand, record_property: Record
) -> None:
    run_storm(stand, record_property, kills=1000, times=10)


def run_storm(stand: Stand, record_property: Record, *, kills: int, times: int) -> None:
    storm = Storm(stand)
    storm.run(points=POINTS * times, kills=kills)
    record_property("count", storm.counts())
    assert all(storm.kills[f"{point.victim} {point.name}"] >= times for point in POINTS)
    # Most kills must have met requests under way, of each kind.
    assert storm.cuts.total() > kills / 2
    assert set(storm.cuts) >= {"push", "supersede", "revoke", "reuse", "consume"}


def test_in_the_end_lists_contents_and_chain_agree_with_what_was_told(stand: Stand, before: Before) -> None:
    told = stand.told
    assert told.files
    listed = {one["materialId"]: one for one in list_all(stand.pd) if one["materialId"] not in before.listed}
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
    assert Counter(ids) == on_chain - before.materials
    assert set(on_chain.values()) == {1}


def test_in_the_end_each_granted_reuse_has_its_bytes_and_one_record_on_chain(
    stand: Stand, before: Before
) -> None:
    told = stand.told
    assert told.granted

    def all_final() -> bool:
        found = [stand.xh.get(f"/v1/reuses/{name}").json() for name in told.granted]
        assert {one["outcome"] for one in found} == {"granted"}
        return all(one["anchor"]["status"] == "final" for one in found)

    until(all_final, "the records of all reuses are final")
    for name, digest in told.granted.items():
        url = stand.xh.get(f"/v1/reuses/{name}").json()["content"]["url"]
        assert hashlib.sha256(stand.xh.http.get(url, headers=READ).content).hexdigest() == digest
    on_chain = records_of(stand.network, people.XH_MEMBER, Stream.REUSE)
    assert (on_chain - before.reuses).total() == len(told.granted)
    assert set(on_chain.values()) == {1}


def test_in_the_end_each_invoice_is_used_up_by_the_one_that_asked(stand: Stand) -> None:
    assert stand.told.consumed
    for name, wish in stand.told.consumed.items():
        until(
            lambda name=name: stand.pd.get(f"/v1/reuses/{name}").json()["outcome"] == "granted",  # type: ignore[misc]
            "granted in the end",
        )
        assert stand.pd.post("/v1/reuses", wish, wait="final").json()["outcome"] == "denied"


def test_in_the_end_no_chunk_is_left_that_nothing_refers_to(stand: Stand) -> None:
    for name in ("PD", "XH"):
        # A kill first, then a start: the sweep of the start must have found whatever there was.
        stand.kill(name)
        stand.start(name)
        stand.kill(name)
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

    until(is_final, f"{name}.{version} is final")
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
        held = {rows.chunk_blob_id(key) for key in store.keys(b"blob/")}
        named = {row.blob_id for row in rows.VERSION.scan(store)} | {
            row.blob_id for row in rows.REUSE.scan(store)
        }
        return held, named - {""}, list(store.keys(rows.upload_prefix()))
