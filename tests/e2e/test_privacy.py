"""Nothing on chain, in logs, metrics or the index lets anyone without the key find or link a subject (promise 3)."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator

import httpx
import pytest

from anchor.chain.contracts import event_topic, parse_batch_appended
from cli.demo import people
from cli.demo.network import Network
from tests.e2e.papers import LEASE, Raw, fresh_file, meta_of

GUESSES = 20_000


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
    """Return everything that the chain shows of the ledger: calldata is repeated in the events."""
    head = network.head().number
    logs = network.gateway.logs([network.deployment.ledger], first=0, last=head)
    return b"".join(log.body + b"".join(log.topics) for log in logs)


def records(network: Network) -> list[bytes]:
    head = network.head().number
    topic = event_topic("Ledger", "BatchAppended")
    found: list[bytes] = []
    for log in network.gateway.logs([network.deployment.ledger], first=0, last=head):
        if log.topics[0] == topic:
            _, body = parse_batch_appended(log)
            found += [bytes(body[at : at + 96]) for at in range(0, len(body), 96)]
    return found


def candidate_ids(planted: list[dict[str, str]]) -> Iterator[str]:
    """Enumerate ids as an attacker would: here all serials of one area and birth date, the planted ones among them."""
    area_and_date = planted[0]["id"][:14]
    weights = [2 ** (17 - place) % 11 for place in range(17)]
    for serial in range(GUESSES):
        body = f"{area_and_date}{serial % 1000:03d}" if serial < 1000 else f"3101041990{serial % 10**7:07d}"
        check = "10X98765432"[
            sum(int(digit) * weight for digit, weight in zip(body, weights, strict=True)) % 11
        ]
        yield body + check


def guess_hits(haystack: bytes, ids: Iterator[str]) -> set[str]:
    """Return the ids of which any plain form or unkeyed hash, whole or cut to a tag, is in `haystack`."""
    windows = {haystack[at : at + 8] for at in range(len(haystack) - 7)}
    hits = set()
    for number in ids:
        forms = [number.encode(), f"111{number}".encode(), f'["111","{number}","{LEASE}"]'.encode()]
        digests = [hashlib.sha256(form).digest() for form in forms]
        if any(piece[:8] in windows for piece in digests) or any(form in haystack for form in forms[:1]):
            hits.add(number)
    return hits


def test_the_planted_ids_are_among_the_guesses(planted: list[dict[str, str]]) -> None:
    guesses = set(itertools.islice(candidate_ids(planted), 1000))
    assert {subject["id"] for subject in planted} <= guesses


def test_no_guess_is_confirmed_by_the_chain(network: Network, planted: list[dict[str, str]]) -> None:
    assert guess_hits(chain_bytes(network), candidate_ids(planted)) == set()


def test_the_same_search_catches_bare_hashes(network: Network, planted: list[dict[str, str]]) -> None:
    """The control: with unkeyed hashes on chain every planted id is found, so the search can fail."""
    bare = b"".join(hashlib.sha256(f'["111","{s["id"]}","{LEASE}"]'.encode()).digest()[:16] for s in planted)
    found = guess_hits(chain_bytes(network) + bare, candidate_ids(planted))
    assert found >= {subject["id"] for subject in planted}


def test_two_records_of_one_subject_share_nothing(network: Network, planted: list[dict[str, str]]) -> None:
    """Bodies are masked by a stream bound to the commitment: equal tags must not show as equal bytes."""
    pd = Raw(network, people.PD)
    for _ in range(2):
        file = fresh_file()
        pd.push(file, meta_of(file, subjects=[planted[0]], documentNo="SAME-NUMBER"))
    bodies = [record[38:] for record in records(network)]
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
