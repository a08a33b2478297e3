"""The hot path says what the ordinary way says, byte for byte, and takes nothing that it should not."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anchor.entries import StatusFlag
from bench.load import answer_size
from node.http.limits import HttpLimits
from node.http.strictjson import PlainDecoder, decode_body
from node.services.requests import ExemptionRequest, VerifyRequest
from node.store import rows
from tests.integration.frame_factory import until
from tests.integration.hot_factory import AGENCY, VerifyingNode, Way, verifying_node
from tests.unit.chain_factory import (
    CITY,
    FIRM,
    HEALTH,
    OTHER_FIRM,
    SHA,
    Chain,
    agency_value,
    commitment,
    document_revoked,
    material,
    names,
    published,
    status,
    type_value,
)

ISSUER, MATTER = "11310000FAKE000212", "990110100100"
FILES = [bytes([number]) * 32 for number in range(8)]
CITIZEN = "310104185001010014"
REQUEST_ID = "req_01M87Y3M8WXG1XEG9JY8514PRQ"


def requirement(number: int, code: str) -> dict[str, Any]:
    return {
        "reqId": f"R{number}",
        "name": names(code),
        "anyOf": [code],
        "necessity": "required",
        "copies": 1,
        "exemptionRoutes": ["certificate", "history", "paper"],
    }


def chain() -> Chain:
    """A chain on which each kind of verdict can be asked for."""
    made = Chain()
    matter = {
        "name": names("matter"),
        "area": "310104",
        "owner": ISSUER,
        "agencies": [ISSUER],
        "dutyCode": "DY-310000-SCJG-0007",
        "requirements": [requirement(1, "M1002"), requirement(2, "M5001")],
    }
    made.add(
        published("agency", ISSUER, agency_value(2), log_index=0),
        published("materialType", "M1002", type_value(), log_index=1),
        published("materialType", "M5001", type_value(issuers=[], freshnessSeconds=1), log_index=2),
        published("matter", MATTER, matter, log_index=3),
    )
    made.append(
        2,
        material("valid"),
        material("revoked", sha256=FILES[1]),
        material("twice", sha256=FILES[2], issued_on=date(2030, 1, 1)),
        material("expired", sha256=FILES[3], expires_on=date(2026, 1, 2), subject=OTHER_FIRM),
        material("by issuer", sha256=FILES[4], document_no="D-1"),
        material("unreadable", sha256=FILES[5], keys=HEALTH),
    )
    made.append(3, material("copy", sha256=FILES[2], type_code="M5001"))
    made.add(status(2, "revoked", StatusFlag.REVOKED), status(3, "copy", StatusFlag.SUSPENDED))
    made.add(document_revoked(2, "D-1"))
    return made


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VerifyingNode]:
    with verifying_node(tmp_path_factory.mktemp("hot"), chain(), CITY) as opened:
        yield opened


@pytest.fixture(scope="module")
def key(both: VerifyingNode) -> str:
    return both.issue("verify")


def request(path: str, body: bytes, fields: list[tuple[str, str]]) -> bytes:
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n{head}\r\n".encode() + body


def usual(path: str, value: object, key: str) -> bytes:
    fields = [("content-type", "application/json"), ("authorization", f"Bearer {key}")]
    return request(path, json.dumps(value).encode(), fields)


def comparable(answer: bytes) -> bytes:
    """Leave out what no two answers share: the date and a request id that the node chose."""
    answer = re.sub(rb"date: [^\r]+\r\n", b"", answer)
    chosen = re.compile(rb"req_(?!01M87Y3M8WXG1XEG9JY8514PRQ)[0-9A-Z]{26}")
    assert len(set(chosen.findall(answer))) <= 1
    return re.sub(chosen, b"req_", answer)


def same(both: VerifyingNode, sent: bytes) -> bytes:
    """Send both ways the same request; their answers and log lines must be the same."""
    (hot, hot_line), (ordinary, ordinary_line) = (way.ask_logged(sent) for way in both.ways)
    assert comparable(hot) == comparable(ordinary)
    for line in (hot_line, ordinary_line):
        line["requestId"] = REQUEST_ID if line["requestId"] == REQUEST_ID else "req_"
    assert hot_line == ordinary_line
    return comparable(hot)


DIGESTS = st.sampled_from([SHA.hex(), *(file.hex() for file in FILES), "AB" * 32, "ab", "", None, 7])
SUBJECTS = st.sampled_from(
    [
        None,
        {"idType": "001", "id": FIRM.id},
        {"idType": "001", "id": OTHER_FIRM.id.lower()},
        {"idType": "001", "id": "９１310104FAKE01016E"},
        {"idType": "111", "id": CITIZEN},
        {"idType": "001", "id": "91310104FAKE01016F"},
        {"idType": "001", "id": FIRM.id, "role": "x"},
        {"idType": "001"},
        "nobody",
    ]
)
CODES = st.sampled_from(["M1002", "M5001", "M0000", "m 1", "", "/._-", None, 5])
QUESTIONS = st.fixed_dictionaries(
    {},
    optional={"sha256": DIGESTS, "typeCode": CODES, "subject": SUBJECTS, "receipt": st.just({}), "x": CODES},
)
PLANS = st.fixed_dictionaries(
    {"matterCode": st.sampled_from([MATTER, "990110100101", "", "é"]), "subject": SUBJECTS}
)
TWICE = st.sampled_from(
    [
        b'{"sha256":"%b","sha256":"%b"}' % (SHA.hex().encode(), FILES[1].hex().encode()),
        b'{"sha256":null,"sha256":"%b"}' % SHA.hex().encode(),
        b'{"sha256":"%b","subject":null,"subject":null}' % SHA.hex().encode(),
        rb'{"sha256":"%b","typeCode":"M\u0031002"}' % SHA.hex().encode(),
        rb'{"sh\u0061256":"%b"}' % SHA.hex().encode(),
        b'{"sha256":"%b"} x' % SHA.hex().encode(),
        b'{"sha256":"%b","typeCode":"M1\x7f"}' % SHA.hex().encode(),
        b'{"sha256":"%b","typeCode":"M1\x01"}' % SHA.hex().encode(),
        b"\xef\xbb\xbf" + b'{"sha256":"%b"}' % SHA.hex().encode(),
        b'{"receipt":' + b"[" * 40 + b"]" * 40 + b"}",
        b'{"receipt":{"a":1e999}}',
        b'{"sha256":"%b","receipt":NaN}' % SHA.hex().encode(),
    ]
)


def rendered(value: object) -> st.SearchStrategy[bytes]:
    plain = json.dumps(value)
    return st.sampled_from(
        [
            plain,
            plain,
            json.dumps(value, ensure_ascii=False),
            json.dumps(value, indent=3),
            f"\t{plain}\r\n",
            plain[:-1],
        ]
    ).map(lambda text: text.encode())


BODIES = (QUESTIONS | PLANS).flatmap(rendered) | TWICE | st.binary(max_size=40)
PATHS = st.sampled_from(
    ["/v1/verify"] * 4 + ["/v1/exemptions"] * 3 + ["/v1/verify?x=1", "/v1/verify/", "/V1/verify"]
)
TYPES = st.sampled_from(
    ["application/json"] * 6
    + ["application/json; charset=utf-8", "text/plain", "multipart/form-data; boundary=b"]
)
AUTHORITIES = st.sampled_from(
    ["right"] * 8 + ["scope", "wrong", "none", "twice", "lower", "expired", "spaces"]
)
MORE = st.lists(
    st.sampled_from(
        [
            ("x-request-id", REQUEST_ID),
            ("x-request-id", CITIZEN),
            ("accept-language", "en"),
            ("accept", "*/*"),
            ("accept", "text/html"),
            ("content-encoding", "gzip"),
            ("content-encoding", "identity"),
            ("deltaseal-purpose", "x"),
            ("connection", "keep-alive"),
            ("content-type", "application/json"),
            ("x-forwarded-for", "192.0.2.1"),
        ]
    ),
    max_size=3,
)


@pytest.fixture(scope="module")
def authorities(both: VerifyingNode, key: str) -> dict[str, list[str]]:
    others, old = both.issue("materials:read"), both.issue("verify", expires_at=1)
    return {
        "right": [f"Bearer {key}"],
        "lower": [f"bearer {key}"],
        "spaces": [f"Bearer  {key} "],
        "scope": [f"Bearer {others}"],
        "expired": [f"Bearer {old}"],
        "wrong": [f"Bearer {key[:-1]}"],
        "twice": [f"Bearer {key}", f"Bearer {key}"],
        "none": [],
    }


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(PATHS, BODIES, TYPES, AUTHORITIES, MORE)
def test_both_ways_answer_alike(
    both: VerifyingNode,
    authorities: dict[str, list[str]],
    path: str,
    body: bytes,
    media_type: str,
    authority: str,
    more: list[tuple[str, str]],
) -> None:
    fields = [
        ("content-type", media_type),
        *(("authorization", one) for one in authorities[authority]),
        *more,
    ]
    sent = request(path, body, fields)
    answer = same(both, sent)
    for _ in range(2):  # The head is known from the second hot answer of a connection on.
        assert comparable(both.hot.ask(sent)) == answer


VERDICTS = {
    "valid": {"sha256": SHA.hex()},
    "revoked": {"sha256": FILES[1].hex(), "typeCode": "M1002", "subject": {"idType": "001", "id": FIRM.id}},
    "suspended": {"sha256": FILES[2].hex(), "typeCode": "M5001", "subject": {"idType": "001", "id": FIRM.id}},
    "expired": {"sha256": FILES[3].hex()},
    "unknown": {"sha256": FILES[7].hex()},
    "stale": {"sha256": SHA.hex(), "typeCode": "M5001"},
}


@pytest.mark.parametrize("kind", VERDICTS)
def test_each_kind_of_verdict_takes_the_hot_path(both: VerifyingNode, key: str, kind: str) -> None:
    sent = usual("/v1/verify", VERDICTS[kind], key)
    same(both, sent)
    before = both.hot.hot_answers
    answer = same(both, sent)
    assert both.hot.hot_answers == before + 1
    expected = "stale" if kind == "suspended" else kind  # That type is fresh for a second only.
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["verdict"] == expected


def test_a_plan_takes_the_hot_path(both: VerifyingNode, key: str) -> None:
    sent = usual("/v1/exemptions", {"matterCode": MATTER, "subject": {"idType": "001", "id": FIRM.id}}, key)
    same(both, sent)
    before = both.hot.hot_answers
    plan = json.loads(same(both, sent).partition(b"\r\n\r\n")[2])
    assert both.hot.hot_answers == before + 1
    assert [one["outcome"] for one in plan["requirements"]] == ["exempt", "unavailable"]


def known(both: VerifyingNode, sent: bytes) -> bytes:
    """Ask until the head of `sent` is known; return the answer."""
    for _ in range(3):
        both.hot.ask(sent)
    before = both.hot.known_heads
    answer = same(both, sent)
    assert both.hot.known_heads == before + 1
    return answer


def padded(question: dict[str, Any], key: str, *, length: int = 200) -> bytes:
    """Ask `question` in a body of `length`, so that all heads are alike."""
    fields = [("content-type", "application/json"), ("authorization", f"Bearer {key}")]
    return request("/v1/verify", json.dumps(question).encode().ljust(length), fields)


def test_a_head_that_was_answered_is_not_parsed_again(both: VerifyingNode, key: str) -> None:
    known(both, padded(VERDICTS["valid"], key))
    for kind, question in VERDICTS.items():
        before = both.hot.known_heads
        answer = same(both, padded(question, key))
        expected = "stale" if kind == "suspended" else kind
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["verdict"] == expected
        assert both.hot.known_heads == before + 1


def test_a_known_head_asks_for_the_key_each_time(both: VerifyingNode) -> None:
    mine = both.issue("verify")
    sent = usual("/v1/verify", {"sha256": SHA.hex()}, mine)
    known(both, sent)
    both.revoke(mine)
    both.hot.app.state.frame.authenticator.forget(mine.split("_")[1])
    assert b"401 Unauthorized" in both.hot.ask(sent)


def test_a_head_with_an_id_of_its_own_is_not_kept(both: VerifyingNode, key: str) -> None:
    body = json.dumps({"sha256": SHA.hex()}).encode()
    fields = [("content-type", "application/json"), ("authorization", f"Bearer {key}")]
    before = both.hot.known_heads
    for _ in range(4):
        answer = both.hot.ask(request("/v1/verify", body, [*fields, ("x-request-id", REQUEST_ID)]))
        assert REQUEST_ID.encode() in answer
    assert both.hot.known_heads == before


@pytest.mark.parametrize("cut", [1, 30, -130, -1])
def test_a_message_in_two_pieces_goes_to_the_parser(both: VerifyingNode, key: str, cut: int) -> None:
    sent = padded(VERDICTS["valid"], key)
    whole, before = known(both, sent), both.hot.known_heads
    with socket.create_connection(("127.0.0.1", both.hot.port), timeout=60) as client:
        client.sendall(sent)
        assert comparable(_read_answer(client)) == whole
        client.sendall(sent[:cut])
        time.sleep(0.05)
        client.sendall(sent[cut:])
        assert comparable(_read_answer(client)) == whole
    assert both.hot.known_heads == before


@pytest.mark.parametrize(
    ("before", "after", "statuses"),
    [(b"\r\n", b"", [200]), (b"", b"\r\n", [200]), (b"", b"x", [200, 400]), (b"\r\n\r\n", b"", [200])],
)
def test_more_than_one_message_goes_to_the_parser(
    both: VerifyingNode, key: str, before: bytes, after: bytes, statuses: list[int]
) -> None:
    sent = padded(VERDICTS["valid"], key)
    known(both, sent)
    count = both.hot.known_heads
    with socket.create_connection(("127.0.0.1", both.hot.port), timeout=60) as client:
        client.sendall(sent)
        _read_answer(client)
        client.sendall(before + sent + after + (b" / HTTP/9\r\n\r\n" if 400 in statuses else b""))
        client.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: client.recv(1 << 16), b""))
    assert [int(one) for one in re.findall(rb"HTTP/1.1 (\d+) ", received)] == statuses
    assert both.hot.known_heads == count


def test_a_head_that_might_end_twice_is_not_kept(both: VerifyingNode, key: str) -> None:
    hot = both.hot.app.state.hot_path
    body = json.dumps({"sha256": SHA.hex()}).encode()
    fields = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"authorization", f"Bearer {key}".encode()),
    ]
    scope = {"method": "POST", "path": "/v1/verify", "headers": fields, "query_string": b"", "client": None}
    known(both, usual("/v1/verify", {"sha256": SHA.hex()}, key))
    head = b"POST /v1/verify HTTP/1.1\r\n" + b"".join(b"%b: %b\r\n" % field for field in fields)
    hidden = head.replace(b"\r\n", b"\n") + b"\n" + body + b"GET / HTTP/1.1\r\n\r\n" + body
    for message, kept in (
        (hidden, False),
        (head + b"\r\n" + body + b" ", False),
        (head + b"\r\n" + body, True),
    ):
        assert hot.answer(scope, body, message=message) is not None
        assert (hot.answer_known(message, "local") is not None) is kept


def test_a_secret_is_not_kept_to_know_a_head(both: VerifyingNode, key: str) -> None:
    known(both, padded(VERDICTS["valid"], key))
    assert key.split("_", 2)[2] not in repr(both.hot.app.state.hot_path._heads)


def test_many_questions_are_answered_as_one_by_one(both: VerifyingNode, key: str) -> None:
    alone = [
        json.loads(both.hot.ask(usual("/v1/verify", one, key)).partition(b"\r\n\r\n")[2])
        for one in VERDICTS.values()
    ]
    answer = both.hot.ask(usual("/v1/verify/batch", {"items": [*VERDICTS.values()] * 3}, key))
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["items"] == alone * 3


def test_both_ways_count_alike(both: VerifyingNode, key: str) -> None:
    def counted(way: Way) -> dict[str, str]:
        text = way.app.state.frame.metrics.render().decode()
        found = re.findall(
            r"^(deltaseal_http_requests?_(?:total|seconds_count)\S*) (\S+)$", text, re.MULTILINE
        )
        assert "deltaseal_http_request_seconds_bucket" in text and "_created" in text
        return dict(found)

    before = [counted(way) for way in both.ways]
    for _ in range(3):
        same(both, usual("/v1/verify", VERDICTS["valid"], key))
    after = [counted(way) for way in both.ways]
    name = 'deltaseal_http_requests_total{method="POST",route="/v1/verify",status="200"}'
    times = 'deltaseal_http_request_seconds_count{route="/v1/verify"}'
    for old, new in zip(before, after, strict=True):
        assert float(new[name]) - float(old.get(name, 0)) == 3
        assert float(new[times]) - float(old.get(times, 0)) == 3


def test_an_act_of_this_node_counts_on_the_hot_path_before_the_chain_has_it(
    both: VerifyingNode, key: str
) -> None:
    sent = usual("/v1/verify", {"sha256": SHA.hex()}, key)
    version = rows.VersionRow(
        *("mat_1", 1, SHA.hex(), "", 1, "", "", "", "", False, "", b"", b"", 1, commitment("valid"), [], 0),
        *("revoked", "", b"{}"),
    )
    place = rows.CommitmentRow(commitment("valid").hex(), "mat_1", 1)
    both.node.store.write([rows.VERSION.put(version), rows.COMMITMENT.put(place)], sync=False)
    try:
        answer = json.loads(same(both, sent).partition(b"\r\n\r\n")[2])
        assert (answer["verdict"], answer["reasons"][-1]["code"]) == ("revoked", "custodian_act")
    finally:
        both.node.store.write([rows.COMMITMENT.delete(commitment("valid").hex())], sync=False)


def test_a_fault_of_the_chain_shows_on_the_hot_path_at_once(both: VerifyingNode, key: str) -> None:
    sent = usual("/v1/verify", {"sha256": SHA.hex()}, key)
    both.hot.ask(sent)
    both.node.chain.problem = "chain_regressed"
    try:
        answer = json.loads(same(both, sent).partition(b"\r\n\r\n")[2])
    finally:
        both.node.chain.problem = None
    assert (answer["verdict"], answer["reasons"][0]["code"]) == ("stale", "chain_regressed")


def test_a_key_without_the_scope_is_refused_also_when_it_is_known(both: VerifyingNode) -> None:
    sent = usual("/v1/verify", {"sha256": SHA.hex()}, both.issue("materials:read", "admin"))
    for _ in range(3):
        assert b"auth_forbidden" in same(both, sent)


def test_a_revocation_counts_with_the_next_request(both: VerifyingNode) -> None:
    mine = both.issue("verify")
    sent = usual("/v1/verify", {"sha256": SHA.hex()}, mine)
    assert b"200 OK" in both.hot.ask(sent)
    before = both.hot.hot_answers
    assert b"200 OK" in both.hot.ask(sent) and both.hot.hot_answers == before + 1
    both.revoke(mine)
    both.hot.app.state.frame.authenticator.forget(mine.split("_")[1])
    assert b"401 Unauthorized" in both.hot.ask(sent)


def test_a_key_expires_on_the_hot_path_in_its_second(both: VerifyingNode) -> None:
    mine = both.issue("verify", expires_at=int(time.time()) + 2)
    sent = usual("/v1/verify", {"sha256": SHA.hex()}, mine)
    assert b"200 OK" in both.hot.ask(sent)
    authenticator = both.hot.app.state.frame.authenticator
    clock, authenticator._clock = authenticator._clock, lambda: time.time() + 3
    try:
        assert b"auth_expired" in both.hot.ask(sent)
    finally:
        authenticator._clock = clock


def test_a_body_that_comes_later_is_waited_for_by_the_ordinary_way(both: VerifyingNode, key: str) -> None:
    sent = usual("/v1/verify", {"sha256": SHA.hex()}, key)
    whole = comparable(both.hot.ask(sent))
    before, metrics = both.hot.hot_answers, both.hot.app.state.frame.metrics
    for cut in (sent.index(b"\r\n\r\n") + 4, len(sent) - 1):
        with socket.create_connection(("127.0.0.1", both.hot.port), timeout=60) as client:
            client.sendall(sent[:cut])
            until(lambda: b"deltaseal_http_in_flight 1.0" in metrics.render())
            client.sendall(sent[cut:])
            assert comparable(_read_answer(client)) == whole
    assert both.hot.hot_answers == before


def test_a_head_that_comes_in_pieces_is_read_whole(both: VerifyingNode, key: str) -> None:
    sent = usual("/v1/verify", {"sha256": SHA.hex()}, key)
    whole = comparable(both.hot.ask(sent))
    with socket.create_connection(("127.0.0.1", both.hot.port), timeout=60) as client:
        for piece in (sent[:20], sent[20:90], sent[90:]):
            client.sendall(piece)
            time.sleep(0.01)
        assert comparable(_read_answer(client)) == whole


def test_requests_behind_one_another_are_answered_in_order(both: VerifyingNode, key: str) -> None:
    kinds = ["valid", "unknown", "expired", "revoked"] * 3
    sent = [usual("/v1/verify", VERDICTS[kind], key) for kind in kinds]
    slow = usual("/v1/verify/batch", {"items": [VERDICTS["valid"]] * 50}, key)
    with socket.create_connection(("127.0.0.1", both.hot.port), timeout=60) as client:
        client.sendall(b"".join(sent[:6]) + slow + b"".join(sent[6:]))
        received, found = b"", []
        while len(found) < len(kinds) + 1:
            while (size := answer_size(received)) is None or len(received) < size:
                received += client.recv(1 << 20)
            found.append(json.loads(received[:size].partition(b"\r\n\r\n")[2]))
            received = received[size:]
    batch = found.pop(6)
    assert [one["verdict"] for one in found] == kinds
    assert len(batch["items"]) == 50


def test_the_hot_path_takes_shares_as_the_ordinary_way_does(tmp_path: Path) -> None:
    limits = HttpLimits(key_rate_per_s=0.001, key_burst=4, address_rate_per_s=0.001, address_burst=6)
    with verifying_node(tmp_path, chain(), CITY, limits=limits) as both:
        first, second = both.issue("verify"), both.issue("verify")
        for way in both.ways:
            # A bad body costs a share too, and no more than one.
            asked = [usual("/v1/verify", one, first) for one in ({"sha256": SHA.hex()}, {"sha256": "x"}) * 3]
            codes = [way.ask(one).split(b" ", 2)[1] for one in asked]
            assert codes == [b"200", b"422", b"200", b"422", b"429", b"429"]
            codes = [way.ask(usual("/v1/verify", {"sha256": SHA.hex()}, second)).split(b" ", 2)[1]]
            assert codes == [b"429"]


def test_a_full_node_takes_nothing_on_the_hot_path(tmp_path: Path) -> None:
    with verifying_node(tmp_path, chain(), CITY, limits=HttpLimits(max_requests=0)) as both:
        mine = both.issue("verify")
        both.hot.app.state.frame.authenticator.authenticate(f"Bearer {mine}", address="a", request_id="")
        assert b"node_busy" in both.hot.ask(usual("/v1/verify", {"sha256": SHA.hex()}, mine))


def test_hot_requests_leave_no_task_and_no_count_behind(both: VerifyingNode, key: str) -> None:
    for _ in range(5):
        both.hot.ask(usual("/v1/verify", VERDICTS["valid"], key))
    text = both.hot.app.state.frame.metrics.render().decode()
    assert "deltaseal_http_in_flight 0.0" in text
    assert AGENCY not in text


@settings(deadline=None, max_examples=400)
@given(BODIES)
def test_plain_bodies_are_read_as_the_strict_reader_reads_them(body: bytes) -> None:
    for shape in (VerifyRequest, ExemptionRequest):
        found = PlainDecoder(shape, limit=1 << 14).decode(body)  # type: ignore[type-var]
        if found is not None:
            assert found == decode_body(body, shape)


def _read_answer(client: socket.socket) -> bytes:
    received = b""
    while (size := answer_size(received)) is None or len(received) < size:
        received += client.recv(1 << 16)
    return received
