"""What a node says about itself, its keys and its chain; and its description as OpenAPI."""

from __future__ import annotations

import secrets
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate

from cli.demo import people
from cli.demo.network import Network
from tests.e2e.papers import Raw


@pytest.fixture(scope="module")
def xh(network: Network) -> Raw:
    return Raw(network, people.XH)


@pytest.fixture(scope="module")
def admin(network: Network) -> httpx.Client:
    """A client with the first key that `init` made."""
    node = network.nodes["XH"]
    key = (node.folder / "admin.key").read_text().strip()
    return httpx.Client(base_url=node.url, headers={"authorization": f"Bearer {key}"}, trust_env=False)


def test_a_node_is_alive_and_ready_and_says_its_limits(xh: Raw) -> None:
    assert xh.get("/healthz").json() == {"status": "ok"}
    ready = xh.get("/readyz")
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
    info = httpx.get(xh.url + "/v1/info", trust_env=False).json()
    assert info["memberId"] == people.XH_MEMBER
    assert info["limits"]["maxBatch"] == 1000


def test_chain_status_is_honest_about_who_runs_it(network: Network, xh: Raw) -> None:
    status = xh.get("/v1/chain/status").json()
    assert status["authority"] == "single_operator"
    assert status["finality"] == "operator"
    assert status["directory"] == "0x" + network.deployment.directory.hex()
    assert status["problem"] is None
    assert {one["memberId"] for one in xh.get("/v1/chain/members").json()["items"]} >= {2, 3, 4}


def issue(admin: httpx.Client, **changes: Any) -> httpx.Response:
    body = {"agency": people.XH.uscc, "scopes": ["verify"], "label": "test", **changes}
    return admin.post("/v1/keys", json=body, headers={"idempotency-key": secrets.token_hex(8)})


def test_a_key_does_what_its_scopes_say_until_it_is_revoked(admin: httpx.Client, xh: Raw) -> None:
    made = issue(admin)
    assert made.status_code == 201
    caller = httpx.Client(
        base_url=xh.url, headers={"authorization": f"Bearer {made.json()['key']}"}, trust_env=False
    )
    assert caller.get("/v1/me").json()["scopes"] == ["verify"]
    assert caller.post("/v1/verify", json={"sha256": "0" * 64}).status_code == 200
    refused = caller.get("/v1/materials")
    assert (refused.status_code, refused.json()["code"]) == (403, "auth_forbidden")
    gone = admin.post(
        f"/v1/keys/{made.json()['keyId']}/revoke", json={}, headers={"idempotency-key": secrets.token_hex(8)}
    )
    assert gone.json()["revokedAt"] is not None
    assert caller.get("/v1/me").status_code == 401
    assert made.json()["key"] not in admin.get("/v1/keys").text


def test_keys_are_for_agencies_of_this_node_and_known_scopes(admin: httpx.Client) -> None:
    assert issue(admin, agency=people.QP.uscc).json()["code"] == "material_invalid"
    assert issue(admin, scopes=["everything"]).status_code in (403, 422)


def test_requests_without_a_right_key_are_refused(xh: Raw) -> None:
    for header in (None, "Bearer nonsense", "Basic abc", "Bearer dsk_" + "a" * 16 + "_" + "b" * 43):
        headers = {"authorization": header} if header else {}
        answer = httpx.get(xh.url + "/v1/me", headers=headers, trust_env=False)
        assert answer.status_code == 401


def test_every_operation_is_described_with_an_example(xh: Raw) -> None:
    document = httpx.get(xh.url + "/openapi.json", trust_env=False).json()
    validate(document)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            content = [
                part
                for status, response in operation["responses"].items()
                if status != "default"
                for part in response.get("content", {}).values()
            ]
            assert any("example" in part for part in content), f"{method} {path} has no example of its answer"


def test_metrics_name_the_outbox_and_the_chain(xh: Raw) -> None:
    text = httpx.get(xh.url + "/metrics", trust_env=False).text
    for name in ("deltaseal_outbox_queued", "deltaseal_chain_head", "deltaseal_chain_problem"):
        assert name in text


def test_problems_speak_the_callers_language(xh: Raw) -> None:
    path = "/v1/materials/mat_01M87Y3M8WXG1XEG9JY8514PRQ"
    zh = xh.http.get(path).json()["title"]
    en = xh.http.get(path, headers={"accept-language": "en"}).json()["title"]
    assert zh != en
    assert en.isascii()
