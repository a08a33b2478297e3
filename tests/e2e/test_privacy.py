"""Nothing on chain, in logs, metrics or the index lets anyone without the key find or link a subject (promise 3)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta
from typing import Any

import httpx
import pytest
from eth_utils.crypto import keccak

from anchor.chain.contracts import event_topic, parse_batch_appended
from anchor.entries import BatchEntry, batch_hash
from anchor.records import RECORD_BYTES
from anchor.slots import batch_slot, claim_slot
from cli.demo import people
from cli.demo.network import Network
from tests.e2e.papers import LEASE, Raw, fresh_file, meta_of

GUESSES, MILLION = 20_000, 1_000_000
WINDOW_BYTES = 8
WEIGHTS = [2 ** (17 - place) % 11 for place in range(17)]


@pytest.fixture(scope="module")
def planted(network: Network) -> list[dict[str, str]]:
    """Push a material for each person, and use their ids in every way that could leave a trace."""
    pd = Raw(network, people.PD)
    subjects = [person.as_subject() for person in people.PEOPLE]
    for subject in subjects:
        file = fresh_file()
        assert pd.push(file, meta_of(file, subjects=[subject])).status_code == 201
        pd.verify(file.sha256, typeCode=LEASE, subject=subject)
        pd.post("/v1/materials/search", {"subject": subject})
        pd.post("/v1/verify", {"sha256": "0" * 64, "subject": {"idType": "111", "id": subject["id"] + "9"}})
        pd.post("/v1/reuses", {"subject": subject})
        pd.get("/v1/materials", cursor=subject["id"])
    network.settle()
    return subjects


def chain_bytes(network: Network) -> bytes:
    """Return everything that the chain shows: every event, every transaction's data, every storage slot."""
    return b"\x00".join([*event_bytes(network), *calldata(network), *storage(network)])


def event_bytes(network: Network) -> Iterator[bytes]:
    made = network.deployment
    addresses = [made.authority, made.members, made.ledger, made.catalog]
    for log in network.gateway.logs(addresses, first=0, last=network.head().number):
        yield log.body + b"".join(log.topics)


def calldata(network: Network) -> Iterator[bytes]:
    for number in range(network.head().number + 1):
        block = rpc(network, "eth_getBlockByNumber", hex(number), True)
        yield from (bytes.fromhex(one["input"][2:]) for one in block["transactions"])


def storage(network: Network) -> Iterator[bytes]:
    """Read the slots that the contracts keep: plain ones, each batch's, each record's claim (ledger-storage.md)."""
    made = network.deployment
    for address in (made.authority, made.members, made.ledger, made.catalog):
        yield from (network.gateway.storage(address, slot.to_bytes(32)) for slot in range(48))
    for entry, body in batches(network):
        yield network.gateway.storage(made.ledger, batch_slot(entry.id))
        for at in range(0, len(body), RECORD_BYTES):
            yield network.gateway.storage(made.ledger, claim_slot(entry.member_id, body[at : at + 32]))


def batches(network: Network) -> Iterator[tuple[BatchEntry, bytes]]:
    topic = event_topic("Ledger", "BatchAppended")
    for log in network.gateway.logs([network.deployment.ledger], first=0, last=network.head().number):
        if log.topics[0] == topic:
            entry, body = parse_batch_appended(log)
            yield entry, bytes(body)


def rpc(network: Network, method: str, *params: Any) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
    answer = httpx.post(network.rpc, json=body, trust_env=False, timeout=60).json()
    assert "result" in answer, answer
    return answer["result"]


def records(network: Network) -> list[bytes]:
    return [
        body[at : at + RECORD_BYTES]
        for _, body in batches(network)
        for at in range(0, len(body), RECORD_BYTES)
    ]


def candidate_ids(planted: list[dict[str, str]], count: int = GUESSES) -> Iterator[str]:
    """Enumerate ids as an attacker would: all serials of one area and birth date, then of other dates."""
    area, born = planted[0]["id"][:6], date(1850, 1, 1)
    assert planted[0]["id"][6:14] == f"{born:%Y%m%d}"
    for number in range(count):
        body = f"{area}{born + timedelta(days=number // 1000):%Y%m%d}{number % 1000:03d}"
        check = "10X98765432"[
            sum(int(digit) * weight for digit, weight in zip(body, WEIGHTS, strict=True)) % 11
        ]
        yield body + check


def forms(number: str) -> list[bytes]:
    """Return what one would hash: the id bare, with its kind, and as our tags write it, with and without the type."""
    return [
        text.encode()
        for text in (number, f"111{number}", f'["111","{number}"]', f'["111","{number}","{LEASE}"]')
    ]


def digests(form: bytes) -> list[bytes]:
    """Return every digest that needs no secret: bare, and under keys that everybody knows."""
    keyed = [hmac.digest(key, form, "sha256") for key in (bytes(32), b"subject", b"\x00\x01\x00\x01")]
    return [hashlib.sha256(form).digest(), keccak(form), hashlib.sha1(form).digest(), *keyed]  # noqa: S324


def windows_of(haystack: bytes) -> set[bytes]:
    return {haystack[at : at + WINDOW_BYTES] for at in range(len(haystack) - WINDOW_BYTES + 1)}


def guess_hits(windows: set[bytes], haystack: bytes, ids: Iterable[str]) -> set[str]:
    """Return the ids of which a plain form, or the beginning of a digest, is in `haystack` at any place."""
    hits = set()
    for number in ids:
        pieces = (digest[:WINDOW_BYTES] for form in forms(number) for digest in digests(form))
        if not windows.isdisjoint(pieces) or (
            number[:WINDOW_BYTES].encode() in windows and number.encode() in haystack
        ):
            hits.add(number)
    return hits


def bare(subject: dict[str, str], form: int, digest: int) -> bytes:
    """Return a tag as a careless chain would hold it: an unkeyed digest, cut to 16 bytes."""
    return digests(forms(subject["id"])[form])[digest][:16]


def test_the_planted_ids_are_among_the_guesses(planted: list[dict[str, str]]) -> None:
    guesses = set(candidate_ids(planted, 1000))
    assert {subject["id"] for subject in planted} <= guesses


def test_everything_on_chain_is_searched(network: Network, planted: list[dict[str, str]]) -> None:
    """The records are found again in the events and in the calldata, their batch in the storage."""
    record = records(network)[-1]
    assert any(record in one for one in event_bytes(network))
    assert any(record in one for one in calldata(network))
    (entry, _), held = list(batches(network))[-1], set(storage(network))
    assert batch_hash(entry) in held
    assert len(held) > len(records(network)) // 512 + 1


def test_no_guess_is_confirmed_by_the_chain(network: Network, planted: list[dict[str, str]]) -> None:
    haystack = chain_bytes(network)
    assert guess_hits(windows_of(haystack), haystack, candidate_ids(planted)) == set()


@pytest.mark.parametrize("digest", range(6))
@pytest.mark.parametrize("form", range(4))
def test_the_same_search_catches_bare_hashes(
    network: Network, planted: list[dict[str, str]], form: int, digest: int
) -> None:
    """The control: with unkeyed digests on chain every planted id is found, and no other."""
    careless = b"\x01".join(bare(subject, form, digest) for subject in planted)
    found = guess_hits(windows_of(careless), careless, candidate_ids(planted, 1000))
    assert found == {subject["id"] for subject in planted}


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_none_of_a_million_guesses_is_confirmed_by_the_chain(
    network: Network, planted: list[dict[str, str]], record_property: Callable[[str, object], None]
) -> None:
    haystack = chain_bytes(network)
    windows = windows_of(haystack)
    found = guess_hits(windows, haystack, candidate_ids(planted, MILLION))
    record_property(
        "count", f"guesses of ids: {MILLION} against {len(haystack)} bytes on chain, {len(found)} hits"
    )
    assert found == set()
    careless = haystack + b"".join(bare(subject, 3, 0) for subject in planted)
    assert guess_hits(windows_of(careless), careless, candidate_ids(planted, 10_000)) == {
        subject["id"] for subject in planted
    }


def test_two_records_of_one_subject_share_nothing(network: Network, planted: list[dict[str, str]]) -> None:
    """Bodies are masked by a stream bound to the commitment: equal tags must not show as equal bytes."""
    pd = Raw(network, people.PD)
    for _ in range(2):
        file = fresh_file()
        pd.push(file, meta_of(file, subjects=[planted[0]], documentNo="SAME-NUMBER"))
    # Another test lets a member copy a record whole; that one is of the same document.
    bodies = [record[38:] for record in set(records(network))]
    pieces = [body[at : at + 8] for body in bodies for at in range(0, 48, 8)]
    assert len(set(pieces)) == len(pieces)


def test_logs_metrics_and_audit_objects_hold_no_id(network: Network, planted: list[dict[str, str]]) -> None:
    texts = [path.read_text("utf-8", "replace") for path in (network.folder / "logs").glob("*.log")]
    assert any("/v1/materials" in text for text in texts)  # the logs are the real ones
    texts += [httpx.get(node.url + "/metrics", trust_env=False).text for node in network.nodes.values()]
    for subject in planted:
        for text in texts:
            assert subject["id"] not in text


def test_the_data_folder_holds_no_id_no_title_and_no_file_bytes(
    network: Network, planted: list[dict[str, str]]
) -> None:
    pd = Raw(network, people.PD)
    marker = b"MARKER-" + hashlib.sha256(b"deltaseal").hexdigest().encode()
    file = type(fresh_file())(marker * 40)
    pd.push(file, meta_of(file, title="独一无二的标题MARKER"))
    raw = b"".join(path.read_bytes() for path in network.nodes["PD"].folder.rglob("*") if path.is_file())
    for needle in [marker, "独一无二的标题MARKER".encode(), *(s["id"].encode() for s in planted)]:
        assert needle not in raw
