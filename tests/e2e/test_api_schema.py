"""Requests made from the API's own description meet no fault: schemathesis over every operation of a running node.

The key has all scopes, and where an id is asked for it is often one that exists, so that requests come past the
edge. Whatever is answered is described: a status of success that the operation names, with its content type, or a
problem whose code is in the registry with that status.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import httpx
import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis.schemas import APIOperation

from anchor.problemrows import REGISTRY
from cli.demo import catalogue, people
from cli.demo.build import open_network
from cli.demo.network import Network
from node.http.problems import PROBLEM_MEDIA_TYPE
from node.runtime import ROUTERS
from tests.e2e.papers import FIRM, LEASE, Raw, fresh_file, lease_wish, meta_of

SHORT, FULL = 6, 100
# Every path and method, from the routers: a route without an entry in the description would be missed otherwise.
OPERATIONS = sorted(
    (method, route.path)
    for router in ROUTERS
    for route in router.routes
    for method in getattr(route, "methods", None) or ()
)
Note = Callable[[str, object], None]


@schemathesis.serializer("application/x-ndjson")
def one_line(_context: Any, value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A network of this file alone: made-up requests suspend the matters that other tests ask about."""
    with open_network(tmp_path_factory.mktemp("schema") / "net", say=lambda _text: None) as opened:
        yield opened


class Node:
    """A node as a caller with all scopes sees it, with some things in it."""

    def __init__(self, network: Network) -> None:
        node = network.nodes["XH"]
        self.url = node.url
        self.key = (node.folder / "admin.key").read_text().strip()
        self.http = httpx.Client(
            base_url=node.url, headers={"authorization": f"Bearer {self.key}"}, trust_env=False, timeout=60
        )
        self.document: dict[str, Any] = self.http.get("/openapi.json").json()
        self.known = self._fill(network)
        self.answered: dict[str, set[int]] = {}

    def _fill(self, network: Network) -> dict[str, list[str]]:
        """Return ids that exist, by the name of the path parameter."""
        xh, pd = Raw(network, people.XH), Raw(network, people.PD)
        own, other = fresh_file(), fresh_file()
        material = xh.push(own, meta_of(own)).json()
        pd.push(other, meta_of(other))
        network.settle()
        reuse = xh.post("/v1/reuses", lease_wish(sha256=other.sha256)).json()
        operation = xh.post(
            f"/v1/materials/{xh_material(xh)}/suspend", {"reasonCode": 6, "reason": "x"}
        ).json()
        assert reuse["outcome"] == "granted"
        assert operation["status"] == "suspended"
        return {
            "material_id": [material["materialId"]],
            "reuse_id": [reuse["reuseId"]],
            "verb": ["revoke", "suspend", "resume", "approve", "retire"],
            "kind": ["materialType", "duty", "matter", "scenario"],
            "code": [LEASE, catalogue.OPEN_FIRM],
        }

    def schema(self) -> Any:
        return schemathesis.openapi.from_dict(self.document)


def xh_material(xh: Raw) -> str:
    file = fresh_file()
    answer: dict[str, Any] = xh.push(file, meta_of(file)).json()
    return str(answer["materialId"])


@pytest.fixture(scope="module")
def node(network: Network) -> Node:
    return Node(network)


def described(node: Node, method: str, path: str) -> APIOperation:
    return node.schema()[path.replace(":path", "")][method]


def with_known_ids(node: Node, case: Any) -> None:
    """Put ids that exist in the place of most made-up ones; which, follows from what was made up."""
    for name, value in (case.path_parameters or {}).items():
        known = node.known.get(name)
        if known and len(str(value)) % 4:
            case.path_parameters[name] = known[len(str(value)) % len(known)]
    if isinstance(case.body, dict) and isinstance(case.body.get("subject"), dict) and len(case.body) % 2:
        case.body["subject"] = FIRM


def ask(node: Node, case: Any) -> httpx.Response:
    arguments = case.as_transport_kwargs(base_url=node.url)
    arguments = {key: value for key, value in arguments.items() if value is not None}
    arguments.pop("cookies", None)
    if "data" in arguments:
        arguments["content"] = arguments.pop("data")
    given = dict(arguments.get("headers") or {})
    headers = {name: value for name, value in given.items() if name.lower() != "authorization"}
    arguments["headers"] = {**headers, "authorization": f"Bearer {node.key}"}
    return node.http.request(**arguments)


def check(node: Node, method: str, path: str, answer: httpx.Response) -> None:
    """Compare an answer with the description of its operation."""
    operation = node.document["paths"][path.replace(":path", "")][method.lower()]
    status, media_type = str(answer.status_code), answer.headers.get("content-type", "")
    named = operation["responses"].get(status)
    if media_type.startswith(PROBLEM_MEDIA_TYPE):
        check_problem(answer)
        return
    assert named is not None, f"{status} is not described for {method} {path}: {answer.text[:300]}"
    plain = media_type.partition(";")[0]
    assert plain in {one.partition(";")[0] for one in named["content"]}, (method, path, media_type)
    if plain == "application/json":
        answer.json()


def check_problem(answer: httpx.Response) -> None:
    body = answer.json()
    row = REGISTRY[body["code"]]
    assert body["status"] == answer.status_code == row.status
    assert body["status"] != 500, body
    assert {"type", "title", "instance", "code", "requestId", "retryable"} <= set(body)
    assert set(body) <= {
        *(
            "type",
            "title",
            "status",
            "detail",
            "instance",
            "code",
            "requestId",
            "retryable",
            "hint",
            "errors",
        ),
    }
    for fault in body.get("errors", ()):
        assert re.fullmatch(r"(/[A-Za-z0-9_*~-]*)*", fault["pointer"]), fault
    if answer.status_code == 503:
        # A fault of this healthy stand: only what really is not there may be named.
        assert body["code"] in ("custodian_unavailable", "domain_key_missing"), body


def play(node: Node, method: str, path: str, count: int) -> int:
    """Send `count` requests of one operation; return how many were sent."""
    sent = 0
    operation = described(node, method, path)

    @hypothesis.settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=count == SHORT,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @hypothesis.given(case=operation.as_strategy())
    def one(case: Any) -> None:
        nonlocal sent
        with_known_ids(node, case)
        answer = ask(node, case)
        sent += 1
        node.answered.setdefault(f"{method} {path}", set()).add(answer.status_code)
        check(node, method, path, answer)

    one()
    return sent


@pytest.mark.parametrize(
    ("method", "path"), OPERATIONS, ids=[f"{method} {path}" for method, path in OPERATIONS]
)
def test_requests_from_the_description_meet_no_fault(
    node: Node, method: str, path: str, record_property: Note
) -> None:
    sent = play(node, method, path, SHORT)
    record_property("count", f"schemathesis, {method} {path}: {sent} requests")
    assert sent


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("method", "path"), OPERATIONS, ids=[f"{method} {path}" for method, path in OPERATIONS]
)
def test_many_requests_from_the_description_meet_no_fault(
    node: Node, method: str, path: str, record_property: Note
) -> None:
    sent = play(node, method, path, FULL)
    record_property("count", f"schemathesis, {method} {path}: {sent} requests")
    operation = node.document["paths"][path.replace(":path", "")][method.lower()]
    varies = {"parameters", "requestBody"} & set(operation)
    assert sent >= (FULL // 4 if varies else 1)


def test_the_description_has_every_operation_and_no_other(node: Node) -> None:
    written = {
        (method.upper(), path) for path, found in node.document["paths"].items() for method in found
    } - {("GET", "/metrics")}
    assert written == {(method, path.replace(":path", "")) for method, path in OPERATIONS}


def test_every_write_names_its_idempotency_key_and_refuses_a_request_without(node: Node) -> None:
    keyed = [
        (method, path)
        for path, found in node.document["paths"].items()
        for method, operation in found.items()
        if any(one["name"] == "Idempotency-Key" for one in operation.get("parameters", ()))
    ]
    assert len(keyed) == 10
    for method, path in keyed:
        operation = node.document["paths"][path][method]
        ((media_type, content),) = operation["requestBody"]["content"].items()
        example = content["example"]
        body = example if isinstance(example, str) else json.dumps(example)
        target = path.replace("{material_id}", node.known["material_id"][0]).replace("{verb}", "revoke")
        target = target.replace("{kind}", "duty").replace("{code}", "X").replace("{key_id}", "k")
        answer = node.http.request(
            method, target, content=body.encode(), headers={"content-type": media_type}
        )
        assert answer.json()["code"] in ("idempotency_missing", "material_invalid"), (path, answer.text)


def test_an_operation_of_any_name_is_not_found(node: Node) -> None:
    """Found by these requests: an id beyond ASCII was an internal error."""
    for name in ("é", "材料", "x" * 300, "\x00"):
        answer = node.http.get(f"/v1/operations/{quote(name)}")
        assert (answer.status_code, answer.json()["code"]) == (404, "operation_not_found"), name


def test_a_refused_entry_does_not_repeat_names_of_unknown_fields(node: Node) -> None:
    """Found by these requests: the pointer to an unknown field held its name, which may be anything."""
    number = people.PEOPLE[0].id
    body = {number: {number: "x\n"}}
    refused = node.http.put(
        "/v1/catalog/duty/DY-310000-SCJG-0007", json=body, headers={"idempotency-key": "unknown-field"}
    )
    line = json.dumps({"kind": "duty", "code": "DY-310000-SCJG-0007", "entry": body})
    imported = node.http.post(
        "/v1/catalog/imports",
        content=line.encode(),
        headers={"content-type": "application/x-ndjson", "idempotency-key": "unknown-line"},
    )
    assert (refused.status_code, imported.status_code) == (422, 422)
    for answer in (refused, imported):
        assert number not in answer.text
        assert "unknown_field" in answer.text


def test_the_requests_came_past_the_edge(node: Node) -> None:
    """The control: were all of them refused at the door, nothing would be tested."""
    good = {name for name, statuses in node.answered.items() if any(200 <= one < 300 for one in statuses)}
    assert len(good) > len(node.answered) // 2, node.answered


def test_the_check_catches_what_is_not_described(node: Node) -> None:
    """The control of `check`: a status that no one names, a foreign type, a problem with a foreign code."""
    wrong = [
        httpx.Response(200, json={}, headers={"content-type": "text/html"}),
        httpx.Response(418, json={}),
        httpx.Response(
            500, json={"code": "internal", "status": 500}, headers={"content-type": PROBLEM_MEDIA_TYPE}
        ),
        httpx.Response(400, json={"code": "no_such_code"}, headers={"content-type": PROBLEM_MEDIA_TYPE}),
    ]
    for answer in wrong:
        with pytest.raises((AssertionError, KeyError)):
            check(node, "POST", "/v1/verify", answer)
