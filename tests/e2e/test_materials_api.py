"""Materials through HTTP: what is accepted, what is refused, and that a refusal leaves nothing."""

from __future__ import annotations

import json
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cli.demo import people
from cli.demo.network import Network
from tests.e2e.papers import (
    FIRM,
    LEASE,
    LICENCE,
    OTHER_FIRM,
    Raw,
    fresh_file,
    lease_wish,
    meta_of,
    wait_verdict,
)


@pytest.fixture(scope="module")
def pd(network: Network) -> Raw:
    return Raw(network, people.PD)


@pytest.fixture(scope="module")
def xh(network: Network) -> Raw:
    return Raw(network, people.XH)


def count_materials(client: Raw) -> int:
    found, cursor = 0, None
    while True:
        page = client.get("/v1/materials", limit=200, **({"cursor": cursor} if cursor else {})).json()
        found += len(page["items"])
        cursor = page["nextCursor"]
        if cursor is None:
            return found


def test_a_push_is_final_and_found_by_another_district(pd: Raw, xh: Raw) -> None:
    file = fresh_file()
    answer = pd.push(file, meta_of(file))
    assert answer.status_code == 201
    body = answer.json()
    assert body["sha256"] == file.sha256
    assert (body["version"], body["status"], body["anchor"]["status"]) == (1, "active", "final")
    assert wait_verdict(xh, file.sha256, "valid") == "valid"
    verdict = xh.verify(file.sha256, typeCode=LEASE, subject=FIRM)
    assert (verdict["verdict"], verdict["subjectMatch"], verdict["fresh"]) == ("valid", "match", True)


def test_subjects_leave_masked_and_nowhere_in_clear(pd: Raw) -> None:
    person = people.PEOPLE[0].as_subject()
    file = fresh_file()
    answer = pd.push(file, meta_of(file, subjects=[person]))
    listed = pd.get("/v1/materials")
    read = pd.get(f"/v1/materials/{answer.json()['materialId']}")
    for response in (answer, listed, read):
        assert person["id"] not in response.text
        assert person["id"] not in str(response.headers)


def test_same_bytes_subjects_type_and_dates_answer_with_the_same_material(pd: Raw) -> None:
    file = fresh_file()
    meta = meta_of(file)
    first, second = pd.push(file, meta), pd.push(file, meta)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["materialId"] == second.json()["materialId"]
    assert second.headers["content-location"].endswith(first.json()["materialId"])


def test_two_pushes_of_one_file_at_once_make_one_material(pd: Raw) -> None:
    file = fresh_file()
    meta = meta_of(file)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _n: pd.push(file, meta, wait=None), range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
    assert len({answer.json()["materialId"] for answer in answers}) == 1


def test_a_crowd_of_small_pushes_makes_one_material_for_each_file(pd: Raw) -> None:
    files = [fresh_file(1000 + number) for number in range(6)]
    asked = [(file, meta_of(file, documentNo=f"CROWD-{file.sha256[:12]}")) for file in files for _ in "abc"]
    damaged = fresh_file()
    asked.append((damaged, meta_of(damaged, sha256=files[0].sha256)))
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(lambda one: pd.push(*one), asked))
    assert answers.pop().json()["code"] == "digest_mismatch"
    assert sorted(answer.status_code for answer in answers) == [200] * 12 + [201] * 6
    by_file = {answer.json()["sha256"]: answer.json()["materialId"] for answer in answers}
    assert len(set(by_file.values())) == 6
    assert all(answer.json()["materialId"] == by_file[answer.json()["sha256"]] for answer in answers)
    headers = {"deltaseal-purpose": "audit", "deltaseal-case": "PD-1"}
    for file in files:
        read = pd.http.get(f"/v1/materials/{by_file[file.sha256]}/content", headers=headers)
        assert (read.status_code, read.content) == (200, file.content)


def test_an_unknown_wait_is_refused_as_any_parameter_is(pd: Raw) -> None:
    file = fresh_file()
    answer = pd.push(file, meta_of(file), wait="never")
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")
    assert answer.json()["errors"] == [{"pointer": "/query/wait", "code": "pattern"}]


def test_other_dates_make_a_version_that_supersedes_the_old_one(pd: Raw, xh: Raw) -> None:
    file = fresh_file()
    meta = meta_of(file)
    pd.push(file, meta)
    answer = pd.push(file, {**meta, "expiresOn": "2028-07-01"})
    assert (answer.status_code, answer.json()["version"]) == (201, 2)
    read = pd.get(f"/v1/materials/{answer.json()['materialId']}").json()
    assert [one["status"] for one in read["versions"]] == ["superseded", "active"]
    # The same bytes stand in both versions; the usable one is what the digest answers with.
    assert wait_verdict(xh, file.sha256, "valid") == "valid"


def test_a_replacing_file_makes_the_old_bytes_superseded(pd: Raw, xh: Raw) -> None:
    old, new = fresh_file(), fresh_file()
    meta = meta_of(old)
    first = pd.push(old, meta).json()
    second = pd.push(new, {**meta, "sha256": new.sha256, "replaces": first["materialId"]}).json()
    assert second["version"] == 2
    assert wait_verdict(xh, old.sha256, "superseded") == "superseded"
    assert wait_verdict(xh, new.sha256, "valid") == "valid"


def test_bytes_that_replaced_others_are_known_when_they_come_again(pd: Raw) -> None:
    old, new = fresh_file(), fresh_file()
    meta = meta_of(old)
    first = pd.push(old, meta).json()
    pd.push(new, {**meta, "sha256": new.sha256, "replaces": first["materialId"]})
    again = pd.push(new, {**meta, "sha256": new.sha256})
    assert (again.status_code, again.json()["materialId"], again.json()["version"]) == (
        200,
        first["materialId"],
        2,
    )


def test_a_version_about_somebody_else_is_found_by_him_only(pd: Raw) -> None:
    old, new = fresh_file(), fresh_file()
    meta = meta_of(old)
    first = pd.push(old, meta).json()
    right = {**meta, "subjects": [OTHER_FIRM], "sha256": new.sha256, "replaces": first["materialId"]}
    assert pd.push(new, right).status_code == 201

    def found(subject: dict[str, str]) -> set[str]:
        items = pd.post("/v1/materials/search", {"subject": subject}).json()["items"]
        return {one["materialId"] for one in items}

    assert first["materialId"] not in found(FIRM)
    assert first["materialId"] in found(OTHER_FIRM)


def test_a_retry_with_the_same_key_replays_the_first_answer(pd: Raw) -> None:
    file, key = fresh_file(), secrets.token_hex(8)
    meta = json.dumps(meta_of(file)).encode()
    first, second = pd.push(file, meta, key=key, wait=None), pd.push(file, meta, key=key, wait=None)
    assert second.headers["idempotency-replayed"] == "true"
    assert (second.status_code, second.json()) == (first.status_code, first.json())


def test_the_same_key_for_another_request_is_refused(pd: Raw) -> None:
    key = secrets.token_hex(8)
    one, other = fresh_file(), fresh_file()
    pd.push(one, meta_of(one), key=key)
    answer = pd.push(other, meta_of(other), key=key)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_mismatch")


def test_a_write_without_a_key_is_refused(pd: Raw) -> None:
    answer = pd.http.post("/v1/materials", json=meta_of(fresh_file()))
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_missing")


BAD_META: list[tuple[str, dict[str, Any], int, str]] = [
    ("digest of other bytes", {"sha256": "0" * 64}, 422, "digest_mismatch"),
    ("digest in capitals", {"sha256": "A" * 64}, 422, "request_invalid"),
    ("digest too short", {"sha256": "ab"}, 422, "request_invalid"),
    ("unknown type", {"typeCode": "M9999"}, 422, "type_unknown"),
    ("unknown field", {"colour": "red"}, 422, "request_invalid"),
    ("no subjects", {"subjects": []}, 422, "request_invalid"),
    (
        "USCC check digit",
        {"subjects": [{"idType": "001", "id": "91310104FAKE01016F"}]},
        422,
        "subject_invalid",
    ),
    (
        "citizen id check digit",
        {"subjects": [{"idType": "111", "id": "310104185001010015"}]},
        422,
        "subject_invalid",
    ),
    ("unknown id type", {"subjects": [{"idType": "414", "id": "E12345678"}]}, 422, "subject_invalid"),
    ("subject named twice", {"subjects": [FIRM, FIRM]}, 422, "material_invalid"),
    ("kind of subject", {"typeCode": "M2001"}, 422, "material_invalid"),
    ("date that does not exist", {"issuedOn": "2026-02-30"}, 422, "material_invalid"),
    ("date in another form", {"issuedOn": "30.1.2026"}, 422, "request_invalid"),
    ("expiry before issue", {"issuedOn": "2026-07-01", "expiresOn": "2026-06-01"}, 422, "material_invalid"),
    ("title missing", {"title": None}, 422, "request_invalid"),
    ("case missing", {"caseNo": None}, 422, "request_invalid"),
    ("name in NFD", {"title": "Cafe\u0301"}, 422, "request_not_nfc"),
    ("number for text", {"title": 7}, 422, "request_invalid"),
    ("fraction", {"title": 1.5}, 400, "request_malformed"),
    (
        "material of nobody to replace",
        {"replaces": "mat_01M87Y3M8WXG1XEG9JY8514PRQ"},
        404,
        "material_not_found",
    ),
    ("control character in the name", {"fileName": "a\u0000b"}, 422, "file_name_invalid"),
    ("right-to-left override in the name", {"fileName": "a\u202efdp.exe"}, 422, "file_name_invalid"),
]


@pytest.mark.parametrize(("what", "changes", "status", "code"), BAD_META, ids=[row[0] for row in BAD_META])
def test_bad_meta_is_refused_with_its_code_and_leaves_nothing(
    pd: Raw, what: str, changes: dict[str, Any], status: int, code: str
) -> None:
    file, before = fresh_file(), count_materials(pd)
    meta = meta_of(file, **changes)
    answer = pd.push(file, meta, wait=None)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert count_materials(pd) == before
    for subject in meta.get("subjects", []):
        assert subject["id"] not in answer.text


BAD_BODIES: list[tuple[str, bytes, str]] = [
    ("not JSON", b"{", "request_malformed"),
    ("duplicate key", b'{"title":"a","title":"b"}', "request_malformed"),
    ("NaN", b'{"title":NaN}', "request_malformed"),
    ("lone surrogate", b'{"title":"\\ud800"}', "request_malformed"),
    ("byte order mark", b"\xef\xbb\xbf{}", "request_malformed"),
    ("not UTF-8", b'{"title":"\xff"}', "request_malformed"),
    ("deep nesting", b"[" * 30_000, "request_too_deep"),
    ("trailing text", b"{} {}", "request_malformed"),
    ("huge integer", b'{"version":99999999999999999999}', "request_malformed"),
]


@pytest.mark.parametrize(("what", "body", "code"), BAD_BODIES, ids=[row[0] for row in BAD_BODIES])
def test_bodies_that_two_readers_could_read_differently_are_refused(
    pd: Raw, what: str, body: bytes, code: str
) -> None:
    for answer in (
        pd.push(fresh_file(), body, wait=None),
        pd.post("/v1/verify", body),
        pd.post("/v1/reuses", body),
    ):
        assert answer.json()["code"] == code
        assert 400 <= answer.status_code < 500
    assert pd.get("/healthz").status_code == 200  # a deep body must not end the process


def test_a_file_name_with_folders_is_kept_as_a_bare_name(pd: Raw) -> None:
    file = fresh_file()
    answer = pd.push(file, meta_of(file, fileName="../../etc/passwd"))
    assert answer.json()["fileName"] == "passwd"


def test_a_truncated_upload_leaves_nothing(pd: Raw) -> None:
    file, before = fresh_file(3 << 20), count_materials(pd)
    meta = json.dumps(meta_of(file)).encode()
    head = (
        b'--x\r\ncontent-disposition: form-data; name="meta"\r\ncontent-type: application/json\r\n\r\n' + meta
    )
    body = (
        head + b'\r\n--x\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n' + file.content
    )
    answer = pd.http.post(
        "/v1/materials",
        content=body,  # no closing boundary
        headers={
            "content-type": "multipart/form-data; boundary=x",
            "idempotency-key": "t" + secrets.token_hex(8),
        },
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "upload_truncated")
    assert count_materials(pd) == before
    assert pd.push(file, meta_of(file)).status_code == 201  # the same file is taken afterwards


def test_a_large_file_comes_back_byte_for_byte_and_by_range(pd: Raw) -> None:
    file = fresh_file((5 << 20) + 17)
    material = pd.push(file, meta_of(file)).json()["materialId"]
    headers = {"deltaseal-purpose": "audit", "deltaseal-case": "PD-1"}
    whole = pd.http.get(f"/v1/materials/{material}/content", headers=headers)
    assert whole.content == file.content
    part = pd.http.get(
        f"/v1/materials/{material}/content", headers={**headers, "range": "bytes=1048570-1048590"}
    )
    assert (part.status_code, part.content) == (206, file.content[1048570:1048591])
    assert part.headers["content-range"] == f"bytes 1048570-1048590/{len(file.content)}"
    beyond = pd.http.get(f"/v1/materials/{material}/content", headers={**headers, "range": "bytes=99999999-"})
    assert beyond.status_code == 416


def test_content_is_read_for_a_purpose_only(pd: Raw) -> None:
    file = fresh_file()
    material = pd.push(file, meta_of(file)).json()["materialId"]
    answer = pd.get(f"/v1/materials/{material}/content")
    assert answer.json()["code"] == "purpose_missing"


def test_a_digest_only_material_is_asserted_and_has_no_bytes(pd: Raw, xh: Raw) -> None:
    file = fresh_file()
    answer = pd.post("/v1/materials", meta_of(file), wait="final")
    assert (answer.status_code, answer.json()["asserted"], answer.json()["size"]) == (201, True, None)
    headers = {"deltaseal-purpose": "audit", "deltaseal-case": "PD-1"}
    content = pd.http.get(f"/v1/materials/{answer.json()['materialId']}/content", headers=headers)
    assert (content.status_code, content.json()["code"]) == (404, "content_missing")
    assert wait_verdict(xh, file.sha256, "valid") == "valid"
    # Nobody has seen the bytes; pushed later, they make a material of their own.
    assert pd.push(file, meta_of(file)).json()["asserted"] is False


def test_another_agencys_material_looks_like_none(network: Network, pd: Raw) -> None:
    file = fresh_file()
    material = pd.push(file, meta_of(file)).json()["materialId"]
    neighbour = Raw(network, people.SH_CZ)  # another agency on the same node
    theirs = neighbour.get(f"/v1/materials/{material}")
    none = neighbour.get("/v1/materials/mat_01M87Y3M8WXG1XEG9JY8514PRQ")
    assert (theirs.status_code, theirs.json()["code"]) == (404, "material_not_found")
    assert theirs.json()["detail"] == none.json()["detail"]
    assert (
        neighbour.post(f"/v1/materials/{material}/revoke", {"reasonCode": 1, "reason": "x"}).status_code
        == 404
    )


def test_search_finds_by_subject_and_not_by_another(pd: Raw) -> None:
    file = fresh_file()
    material = pd.push(file, meta_of(file)).json()["materialId"]
    found = pd.post("/v1/materials/search", {"subject": FIRM, "typeCode": LEASE}).json()["items"]
    assert material in [item["materialId"] for item in found]
    other = pd.post("/v1/materials/search", {"subject": OTHER_FIRM, "typeCode": LEASE}).json()["items"]
    assert material not in [item["materialId"] for item in other]


def test_pages_list_every_material_once_from_the_newest_on(pd: Raw) -> None:
    pushed = []
    for _ in range(5):
        file = fresh_file(100)
        pushed.append(pd.push(file, meta_of(file), wait=None).json()["materialId"])
    seen: list[str] = []
    cursor: str | None = None
    while len(seen) < 5:
        page = pd.get("/v1/materials", limit=2, **({"cursor": cursor} if cursor else {})).json()
        seen += [item["materialId"] for item in page["items"]]
        cursor = page["nextCursor"]
    assert seen[:5] == pushed[::-1]
    assert pd.get("/v1/materials", cursor="AAAA").json()["code"] == "cursor_invalid"
    assert pd.get("/v1/materials", cursor=cursor, typeCode=LEASE).json()["code"] == "cursor_invalid"


def test_suspension_holds_until_it_is_lifted_and_revocation_for_good(pd: Raw, xh: Raw) -> None:
    file = fresh_file()
    material = pd.push(file, meta_of(file)).json()["materialId"]
    reason = {"reasonCode": "under_investigation", "reason": "核查"}
    assert pd.post(f"/v1/materials/{material}/suspend", reason, wait="final").json()["status"] == "suspended"
    assert wait_verdict(xh, file.sha256, "suspended") == "suspended"
    pd.post(f"/v1/materials/{material}/resume", {"reasonCode": 7, "reason": "核查完毕"}, wait="final")
    assert wait_verdict(xh, file.sha256, "valid") == "valid"
    pd.post(f"/v1/materials/{material}/revoke", {"reasonCode": 3, "reason": "申请"}, wait="final")
    assert wait_verdict(xh, file.sha256, "revoked") == "revoked"
    again = pd.post(f"/v1/materials/{material}/resume", {"reasonCode": 7, "reason": "再试"})
    assert (again.status_code, again.json()["code"]) == (409, "status_conflict")


def test_a_custodians_own_revocation_counts_at_its_node_before_any_block(pd: Raw) -> None:
    file = fresh_file()
    material = pd.push(file, meta_of(file)).json()["materialId"]
    pd.post(f"/v1/materials/{material}/revoke", {"reasonCode": 1, "reason": "错误"})
    assert pd.verify(file.sha256)["verdict"] == "revoked"


def test_only_an_issuer_revokes_a_document_and_reaches_every_copy(network: Network, pd: Raw, xh: Raw) -> None:
    file, number = fresh_file(), f"LIC-{secrets.token_hex(5)}"
    pd.push(file, meta_of(file, typeCode=LICENCE, documentNo=number, expiresOn=None))
    act = {
        "typeCode": LICENCE,
        "documentNo": number,
        "reasonCode": "cancelled_by_authority",
        "reason": "注销",
    }
    refused = pd.post("/v1/documents/revoke", act)
    assert (refused.status_code, refused.json()["code"]) == (403, "not_issuer")
    assert wait_verdict(xh, file.sha256, "valid") == "valid"
    issuer = Raw(network, people.SH_SC)
    assert issuer.post("/v1/documents/revoke", act, wait="final").status_code == 202
    verdict = xh.verify(file.sha256, typeCode=LICENCE, subject=FIRM)
    assert verdict["verdict"] == "revoked"
    assert {"code": "document_status", "outcome": "fail", "detail": "revoked by its issuer"} in verdict[
        "reasons"
    ]
    wish = lease_wish(typeCode=LICENCE, reqId="R3")
    answer = xh.post("/v1/reuses", wish).json()
    assert answer["outcome"] != "granted" or answer["material"]["commitment"] not in json.dumps(verdict)
