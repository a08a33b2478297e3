"""The catalogue through HTTP: versions, review, imports, and that every node reads the same with its proof."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

import pytest

from anchor.chain.contracts import decode_result, encode_call
from cli.demo import people
from cli.demo.network import Network
from tests.e2e.papers import Raw
from verifier.catalog import entry_key


@pytest.fixture(scope="module")
def xh(network: Network) -> Raw:
    return Raw(network, people.XH)


@pytest.fixture(scope="module")
def qp(network: Network) -> Raw:
    return Raw(network, people.QP)


def put(client: Raw, kind: str, code: str, entry: dict[str, Any], *, seen: int | None = None) -> Any:
    headers = {"content-type": "application/json", "idempotency-key": secrets.token_hex(8)}
    if seen is not None:
        headers["if-match"] = f'"v{seen}"'
    return client.http.put(
        f"/v1/catalog/{kind}/{code}",
        params={"wait": "final"},
        content=json.dumps(entry).encode(),
        headers=headers,
    )


def some_duty(client: Raw) -> dict[str, Any]:
    """Return the text of a duty that the demonstration published, as a pattern for new ones."""
    return dict(client.get("/v1/catalog/duty").json()["items"][0]["entry"])


def new_duty_code() -> str:
    return f"DY-310000-TEST-{secrets.randbelow(10**4):04d}"


def test_a_version_is_read_on_another_node_with_its_proof(network: Network, xh: Raw, qp: Raw) -> None:
    code, entry = new_duty_code(), some_duty(xh)
    made = put(xh, "duty", code, entry)
    assert (made.status_code, made.json()["version"], made.json()["state"]) == (200, 1, "approved")
    read = wait_entry(qp, "duty", code, 1)
    assert read["entry"] == entry
    assert read["digest"] == made.json()["digest"]
    # The proof's value is what the contract holds.
    call = encode_call("Catalog", "versionOf", entry_key("duty", code), 1)
    held = decode_result("Catalog", "versionOf", network.gateway.call(network.deployment.catalog, call))
    assert "0x" + held[0].hex() == read["proof"]["value"]


def wait_entry(client: Raw, kind: str, code: str, version: int) -> dict[str, Any]:
    for _ in range(1200):
        answer = client.get(f"/v1/catalog/{kind}/{code}", version=version)
        if answer.status_code == 200:
            return dict(answer.json())
        time.sleep(0.05)
    raise AssertionError("the other node did not follow")


def test_a_change_names_the_version_it_saw(xh: Raw) -> None:
    code, entry = new_duty_code(), some_duty(xh)
    put(xh, "duty", code, entry)
    changed = {**entry, "name": {"zh": "改名", "en": "Renamed"}}
    assert put(xh, "duty", code, changed).json()["code"] == "version_required"
    assert put(xh, "duty", code, changed, seen=7).json()["code"] == "version_conflict"
    second = put(xh, "duty", code, changed, seen=1)
    assert second.json()["version"] == 2
    old = xh.get(f"/v1/catalog/duty/{code}", version=1).json()
    assert old["entry"] == entry
    listed = xh.get(f"/v1/catalog/duty/{code}/versions").json()["items"]
    assert [one["version"] for one in listed] == [1, 2]


def test_the_same_text_again_changes_nothing(xh: Raw) -> None:
    code, entry = new_duty_code(), some_duty(xh)
    put(xh, "duty", code, entry)
    again = put(xh, "duty", code, entry, seen=1)
    assert (again.status_code, again.json()["version"]) == (200, 1)


def test_another_member_cannot_publish_under_the_code(xh: Raw, qp: Raw) -> None:
    code, entry = new_duty_code(), some_duty(xh)
    put(xh, "duty", code, entry)
    wait_entry(qp, "duty", code, 1)
    changed = {**entry, "name": {"zh": "冒名", "en": "In another's name"}}
    put(qp, "duty", code, changed, seen=1)
    assert len(xh.get(f"/v1/catalog/duty/{code}/versions").json()["items"]) == 1


def test_a_reviewed_kind_counts_only_when_approved(xh: Raw, qp: Raw) -> None:
    code = f"M{7000 + secrets.randbelow(999)}"
    pattern = xh.get("/v1/catalog/materialType/M5001").json()["entry"]
    made = put(xh, "materialType", code, pattern)
    assert made.json()["state"] == "pending"
    meta = {"typeCode": code}
    assert xh.post("/v1/materials", {**_meta(), **meta}).json()["code"] == "type_unknown"
    approved = xh.post(f"/v1/catalog/materialType/{code}/approve", {"version": 1}, wait="final")
    assert approved.status_code == 202, approved.text
    assert xh.post("/v1/materials", {**_meta(), **meta}).status_code == 201
    refused = qp.post(f"/v1/catalog/materialType/{code}/approve", {"version": 1})
    assert refused.json()["code"] in ("not_reviewer", "entry_not_found")


def _meta() -> dict[str, Any]:
    return {
        "subjects": [people.FIRMS[0].as_subject()],
        "caseNo": "c",
        "title": "t",
        "sha256": secrets.token_hex(32),
    }


def test_a_retired_type_takes_no_more_materials(xh: Raw) -> None:
    code = f"M{8000 + secrets.randbelow(999)}"
    pattern = xh.get("/v1/catalog/materialType/M5001").json()["entry"]
    put(xh, "materialType", code, pattern)
    xh.post(f"/v1/catalog/materialType/{code}/approve", {"version": 1}, wait="final")
    assert xh.post("/v1/materials", {**_meta(), "typeCode": code}).status_code == 201
    xh.post(f"/v1/catalog/materialType/{code}/retire", {"version": 1}, wait="final")
    assert xh.post("/v1/materials", {**_meta(), "typeCode": code}).json()["code"] == "type_unknown"


def test_bad_entries_name_place_and_rule(xh: Raw) -> None:
    dataset = dict(xh.get("/v1/catalog/dataset").json()["items"][0]["entry"])
    code = xh.get("/v1/catalog/dataset").json()["items"][0]["code"]
    for changes, pointer in (
        ({"shareType": "2", "shareCondition": None}, "/shareCondition"),
        ({"shareType": "3", "legalBasis": None, "shareCondition": None}, "/legalBasis"),
    ):
        entry = {key: value for key, value in {**dataset, **changes}.items() if value is not None}
        answer = put(xh, "dataset", code, entry, seen=1)
        assert (answer.status_code, answer.json()["code"]) == (422, "catalog_entry_invalid")
        assert pointer in [one["pointer"] for one in answer.json()["errors"]]
    assert put(xh, "weather", "x", {}).json()["code"] == "entry_not_found"


def lines_of(entries: list[tuple[str, dict[str, Any]]]) -> bytes:
    return "\n".join(
        json.dumps({"kind": "duty", "code": code, "entry": entry}) for code, entry in entries
    ).encode()


def import_lines(client: Raw, body: bytes, mode: str) -> Any:
    headers = {"content-type": "application/x-ndjson", "idempotency-key": secrets.token_hex(8)}
    return client.http.post(
        "/v1/catalog/imports", params={"mode": mode, "wait": "final"}, content=body, headers=headers
    )


def test_an_import_publishes_the_good_lines_and_a_second_run_nothing(xh: Raw) -> None:
    entry = some_duty(xh)
    codes = [f"DY-310000-IMPO-{secrets.randbelow(10**4):04d}" for _ in range(20)]
    good = [(code, entry) for code in dict.fromkeys(codes)]
    bad = [("DY-310000-IMPO-9999", {**entry, "colour": "red"}), ("not a code", entry)]
    body = lines_of(good[:10] + bad[:1] + good[10:] + bad[1:]) + b"\n{broken"
    refused = import_lines(xh, body, "all")
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (422, "catalog_entry_invalid")
    assert problem["errors"] == [
        {"pointer": "/11", "code": "unknown_field"},
        {"pointer": f"/{len(good) + 2}", "code": "code_wrong_format"},
        {"pointer": f"/{len(good) + 3}", "code": "line_malformed"},
    ]
    made = import_lines(xh, body, "partial")
    assert (made.status_code, made.json()["published"]) == (202, len(good))
    assert [one["line"] for one in made.json()["rejected"]] == [11, len(good) + 2, len(good) + 3]
    again = import_lines(xh, body, "partial").json()
    assert (again["published"], again["unchanged"]) == (0, len(good))
