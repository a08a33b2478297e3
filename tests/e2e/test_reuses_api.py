"""Reuse through HTTP: who may use what, what is delivered, and that races have one outcome."""

from __future__ import annotations

import hashlib
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cli.demo import catalogue, people
from cli.demo.network import Network
from tests.e2e.papers import (
    FIRM,
    INVOICE,
    LEASE,
    OPEN_FIRM,
    OTHER_FIRM,
    SCENARIO_OPEN,
    File,
    Raw,
    fresh_file,
    invoice_wish,
    lease_wish,
    meta_of,
)
from tests.support.waiting import until


@pytest.fixture(scope="module")
def pd(network: Network) -> Raw:
    return Raw(network, people.PD)


@pytest.fixture(scope="module")
def xh(network: Network) -> Raw:
    return Raw(network, people.XH)


@pytest.fixture(scope="module")
def qp(network: Network) -> Raw:
    return Raw(network, people.QP)


def pushed(client: Raw, **changes: Any) -> tuple[File, dict[str, Any]]:
    """Push a fresh lease and return it with the node's answer."""
    file = fresh_file()
    answer = client.push(file, meta_of(file, **changes))
    assert answer.status_code == 201, answer.text
    wait_known(client, file.sha256)
    return file, answer.json()


def wait_known(client: Raw, sha256: str) -> None:
    """Wait until every node has followed the chain to the document; its own node has when the push answers."""
    for other in client.others():
        until(
            lambda other=other: other.verify(sha256)["verdict"] not in ("unknown", "pending"),
            "the document is known",
            within_s=60,
        )


def failed_check(answer: dict[str, Any]) -> str:
    return next((f"{one['code']}:{one['detail']}" for one in answer["checks"] if one["result"] == "fail"), "")


def test_a_lease_pushed_in_one_district_is_used_in_another(pd: Raw, xh: Raw) -> None:
    file, _ = pushed(pd)
    answer = xh.post("/v1/reuses", lease_wish(sha256=file.sha256)).json()
    assert answer["outcome"] == "granted"
    assert all(one["result"] in ("pass", "skipped") for one in answer["checks"])
    content = xh.get(answer["content"]["url"])
    assert hashlib.sha256(content.content).hexdigest() == file.sha256
    assert answer["facts"]["sha256"] == file.sha256
    read = xh.get(f"/v1/reuses/{answer['reuseId']}").json()
    assert (read["outcome"], read["anchor"]["status"]) == ("granted", read["anchor"]["status"])


def test_a_large_document_crosses_whole(pd: Raw, xh: Raw) -> None:
    file = fresh_file((7 << 20) + 5)
    assert pd.push(file, meta_of(file)).status_code == 201
    wait_known(pd, file.sha256)
    answer = xh.post("/v1/reuses", lease_wish(sha256=file.sha256)).json()
    assert answer["outcome"] == "granted"
    assert hashlib.sha256(xh.get(answer["content"]["url"]).content).hexdigest() == file.sha256


@pytest.mark.parametrize(
    "named", [{"sha256": "5e" * 32}, {"documentNo": "NO SUCH NUMBER"}], ids=["file", "number"]
)
def test_another_paper_of_the_subject_is_not_taken_for_the_one_that_was_named(
    pd: Raw, xh: Raw, named: dict[str, str]
) -> None:
    file, _ = pushed(pd)
    assert xh.post("/v1/reuses", lease_wish(sha256=file.sha256)).json()["outcome"] == "granted"
    answer = xh.post("/v1/reuses", lease_wish(**named)).json()
    assert (answer["outcome"], failed_check(answer)) == ("denied", "found:not_found")


def test_a_number_leads_to_its_own_paper(pd: Raw, xh: Raw) -> None:
    numbers = [f"NUMBER-{secrets.token_hex(4)}" for _ in range(2)]
    files = [pushed(pd, documentNo=number)[0] for number in numbers]
    for number, file in zip(numbers, files, strict=True):
        answer = xh.post("/v1/reuses", lease_wish(documentNo=number)).json()
        assert (answer["outcome"], answer["facts"]["sha256"]) == ("granted", file.sha256)


def test_the_request_names_nobody_to_the_custodian_but_the_subject_it_holds(pd: Raw, xh: Raw) -> None:
    file, _ = pushed(pd)
    answer = xh.post("/v1/reuses", lease_wish(sha256=file.sha256)).json()
    assert "caseNo" not in answer["facts"]
    assert "subjects" not in answer["facts"]
    assert "materialId" not in answer["facts"]


def test_facts_and_none_deliver_no_bytes(pd: Raw, xh: Raw) -> None:
    file, _ = pushed(pd)
    facts = xh.post("/v1/reuses", lease_wish(sha256=file.sha256, deliver="facts")).json()
    none = xh.post("/v1/reuses", lease_wish(sha256=file.sha256, deliver="none")).json()
    assert (facts["outcome"], none["outcome"]) == ("granted", "granted"), none["checks"]
    assert "facts" in facts
    assert "content" not in facts
    assert "facts" not in none
    assert xh.get(f"/v1/reuses/{facts['reuseId']}/content").json()["code"] == "content_missing"


DENIALS: list[tuple[str, dict[str, Any], str]] = [
    ("matter that is no entry", {"matterCode": "990199999999"}, "matter:matter_unknown"),
    ("requirement that the matter has not", {"reqId": "R9"}, "requirement:requirement_unknown"),
    ("type that the requirement does not take", {"typeCode": INVOICE}, "requirement:type_not_asked"),
    ("scenario that is no entry", {"scenarioCode": "SC-310000-9999"}, "scenario:scenario_unknown"),
    ("scenario that is suspended", {"scenarioCode": catalogue.SCENARIO_PILOT}, "scenario:scenario_not_live"),
    (
        "scenario for something else",
        {"scenarioCode": catalogue.SCENARIO_FUND},
        "scenario:scenario_not_covering",
    ),
    ("no basis", {"basis": None}, "basis:no_basis"),
    ("basis of an unknown kind", {"basis": {"kind": "curiosity"}}, "basis:no_basis"),
    ("no purpose", {"purpose": " "}, "basis:purpose_missing"),
    ("subject without such a paper", {"subject": people.FIRMS[2].as_subject()}, "found:not_found"),
]


@pytest.mark.parametrize(("what", "changes", "failed"), DENIALS, ids=[row[0] for row in DENIALS])
def test_a_use_without_right_is_denied_and_learns_nothing(
    pd: Raw, xh: Raw, what: str, changes: dict[str, Any], failed: str
) -> None:
    pushed(pd)
    response = xh.post("/v1/reuses", lease_wish(**changes))
    answer = response.json()
    assert (response.status_code, answer["outcome"], failed_check(answer)) == (200, "denied", failed)
    assert not {"material", "facts", "content"} & set(answer)
    after = [one["result"] for one in answer["checks"]]
    assert set(after[after.index("fail") + 1 :]) <= {"skipped"}


def test_a_grant_that_nobody_gave_needs_authorization(pd: Raw, xh: Raw) -> None:
    pushed(pd)
    answer = xh.post("/v1/reuses", lease_wish(basis={"kind": "grant", "grantId": "grt_1"})).json()
    assert answer["outcome"] == "needs_authorization"


def test_an_agency_outside_the_matter_has_no_basis(pd: Raw, qp: Raw) -> None:
    pushed(pd)
    answer = qp.post("/v1/reuses", lease_wish()).json()
    assert failed_check(answer) == "basis:no_basis"


def test_another_agency_cannot_read_the_reuse_or_its_bytes(network: Network, pd: Raw, xh: Raw) -> None:
    file, _ = pushed(pd)
    answer = xh.post("/v1/reuses", lease_wish(sha256=file.sha256)).json()
    neighbour = Raw(network, people.SH_SC)  # on the same node
    for path in (f"/v1/reuses/{answer['reuseId']}", answer["content"]["url"]):
        assert (neighbour.get(path).status_code, neighbour.get(path).json()["code"]) == (
            404,
            "reuse_not_found",
        )


def test_a_revoked_document_is_denied_with_its_cause(pd: Raw, xh: Raw) -> None:
    file, material = pushed(pd)
    pd.post(
        f"/v1/materials/{material['materialId']}/revoke", {"reasonCode": 4, "reason": "伪造"}, wait="final"
    )
    answer = xh.post("/v1/reuses", lease_wish(sha256=file.sha256)).json()
    # XH may not have followed the block yet: then the custodian itself refuses. Never granted.
    assert answer["outcome"] == "denied"
    assert failed_check(answer) in ("status:revoked", "release:custodian_refused")


def test_an_expired_document_is_denied(pd: Raw, xh: Raw) -> None:
    file, _ = pushed(pd, issuedOn="2020-01-01", expiresOn="2021-01-01")
    assert failed_check(xh.post("/v1/reuses", lease_wish(sha256=file.sha256)).json()) == "validity:expired"


def test_an_asserted_document_asks_for_the_file(pd: Raw, xh: Raw) -> None:
    file = fresh_file()
    pd.post("/v1/materials", meta_of(file), wait="final")
    wait_known(pd, file.sha256)
    answer = xh.post("/v1/reuses", lease_wish(sha256=file.sha256)).json()
    assert (answer["outcome"], failed_check(answer)) == ("needs_review", "release:asserted_bring_file")


def test_a_repeated_request_is_one_reuse(pd: Raw, xh: Raw) -> None:
    file, _ = pushed(pd)
    key, wish = secrets.token_hex(8), lease_wish(sha256=file.sha256)
    first, second = xh.post("/v1/reuses", wish, key=key), xh.post("/v1/reuses", wish, key=key)
    assert first.json()["reuseId"] == second.json()["reuseId"]


def invoice(pd: Raw) -> str:
    number = f"263100{secrets.randbelow(10**14):014d}"
    pushed(pd, typeCode=INVOICE, documentNo=number, expiresOn=None)
    return number


def test_an_invoice_counts_once(pd: Raw, qp: Raw) -> None:
    number = invoice(pd)
    first = qp.post("/v1/reuses", invoice_wish(number), wait="final")
    assert (first.status_code, first.json()["outcome"]) == (200, "granted")
    for client in (pd, qp):
        second = client.post("/v1/reuses", invoice_wish(number), wait="final").json()
        assert (second["outcome"], failed_check(second)) == ("denied", "consume:consumed")


def test_an_invoice_is_not_used_without_being_consumed(pd: Raw, qp: Raw) -> None:
    number = invoice(pd)
    answer = qp.post("/v1/reuses", invoice_wish(number, consume=False), wait="final").json()
    assert answer["outcome"] == "granted"  # the requirement consumes, whatever the caller says
    again = qp.post("/v1/reuses", invoice_wish(number, consume=False), wait="final").json()
    assert failed_check(again) == "consume:consumed"


def test_a_pending_use_names_its_job_and_ends(pd: Raw, qp: Raw) -> None:
    number = invoice(pd)
    answer = qp.post("/v1/reuses", invoice_wish(number))
    assert (answer.status_code, answer.json()["outcome"]) == (202, "pending")
    job = qp.get(answer.headers["location"])
    assert job.json()["resultUrl"] == f"/v1/reuses/{answer.json()['reuseId']}"
    ended = qp.post("/v1/reuses", invoice_wish(number), wait="final").json()
    assert failed_check(ended) == "consume:consumed"
    # The chain may know of the consumption before the worker has written down what the first asking got.
    until(
        lambda: qp.get(answer.headers["location"]).json()["status"] == "done", "the job is done", within_s=60
    )
    assert qp.get(job.json()["resultUrl"]).json()["outcome"] == "granted"


def test_an_invoice_raced_by_two_districts_is_won_by_exactly_one(pd: Raw, qp: Raw) -> None:
    for _ in range(3):
        number = invoice(pd)
        with ThreadPoolExecutor(4) as pool:
            answers = list(
                pool.map(
                    lambda client, number=number: client.post(
                        "/v1/reuses", invoice_wish(number), wait="final"
                    ).json(),
                    [pd, qp, pd, qp],
                )
            )
        outcomes = sorted(answer["outcome"] for answer in answers)
        assert outcomes == ["denied", "denied", "denied", "granted"]


def test_exemptions_say_by_which_route_no_paper_is_needed(pd: Raw, xh: Raw) -> None:
    pushed(pd)
    answer = xh.post("/v1/exemptions", {"matterCode": OPEN_FIRM, "subject": FIRM}).json()
    lines = {line["reqId"]: line for line in answer["requirements"]}
    assert (lines["R2"]["outcome"], lines["R2"]["typeCode"]) == ("exempt", LEASE)
    assert lines["R2"]["route"] in ("certificate", "history")
    assert answer["total"] == 3
    assert answer["exempted"] == sum(line["outcome"] == "exempt" for line in lines.values())
    unknown = xh.post("/v1/exemptions", {"matterCode": "990100000000", "subject": FIRM})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "matter_unknown")


def test_a_document_that_was_just_revoked_here_exempts_nobody(pd: Raw) -> None:
    person = {"idType": "111", "id": "310104185001010997"}
    _, material = pushed(pd, subjects=[person])

    def outcome() -> str:
        plan = pd.post("/v1/exemptions", {"matterCode": OPEN_FIRM, "subject": person}).json()
        return next(str(line["outcome"]) for line in plan["requirements"] if line["reqId"] == "R2")

    assert outcome() == "exempt"
    act = {"reasonCode": 1, "reason": "entered by mistake"}
    assert pd.post(f"/v1/materials/{material['materialId']}/revoke", act).status_code < 300
    assert outcome() == "bring_paper"


def test_a_file_about_somebody_else_says_so(pd: Raw, xh: Raw) -> None:
    file, _ = pushed(pd)
    verdict = xh.verify(file.sha256, typeCode=LEASE, subject=OTHER_FIRM)
    assert verdict["subjectMatch"] == "mismatch"
    assert xh.verify(file.sha256)["subjectMatch"] == "unchecked"


def test_a_material_about_two_persons_is_found_by_either(pd: Raw, qp: Raw) -> None:
    one, two, third = (person.as_subject() for person in people.PEOPLE[:3])
    file, _ = pushed(pd, subjects=[one, two])
    rent = {
        "matterCode": catalogue.RENT_WITHDRAWAL,
        "reqId": "R2",
        "scenarioCode": catalogue.SCENARIO_RENT,
        "sha256": file.sha256,
        "purpose": "公积金提取",
    }
    for person, outcome in ((one, "granted"), (two, "granted"), (third, "denied")):
        assert qp.post("/v1/reuses", lease_wish(subject=person, **rent)).json()["outcome"] == outcome


def test_verify_takes_a_file_a_batch_and_a_receipt(pd: Raw, xh: Raw) -> None:
    file, material = pushed(pd)
    upload = xh.http.post("/v1/verify", files={"file": ("x", file.content)})
    assert upload.json()["verdict"] == "valid"
    batch = xh.post("/v1/verify/batch", {"items": [{"sha256": file.sha256}, {"sha256": "0" * 64}]}).json()[
        "items"
    ]
    assert [one["verdict"] for one in batch] == ["valid", "unknown"]
    too_many = xh.post("/v1/verify/batch", {"items": [{"sha256": "0" * 64}] * 1001})
    assert (too_many.status_code, too_many.json()["code"]) == (422, "request_invalid")
    receipt = pd.get(f"/v1/receipts/{material['materialId']}").json()
    assert xh.post("/v1/verify", {"receipt": receipt}).json()["verdict"] == "valid"


def test_a_receipt_opens_what_was_asked_and_nothing_else(pd: Raw) -> None:
    _, material = pushed(pd)
    receipt = pd.get(f"/v1/receipts/{material['materialId']}", open="typeCode,sha256,expiresOn")
    opened = {one["name"] for one in receipt.json()["opening"]["opened"]}
    assert opened == {"typeCode", "sha256", "expiresOn", "documentSlots"}
    assert FIRM["id"] not in receipt.text
    unknown = pd.get(f"/v1/receipts/{material['materialId']}", open="colour")
    assert (unknown.status_code, unknown.json()["code"]) == (422, "material_invalid")


def test_the_scenario_of_a_reuse_is_the_one_it_was_asked_under(pd: Raw, xh: Raw) -> None:
    file, _ = pushed(pd)
    answer = xh.post("/v1/reuses", lease_wish(sha256=file.sha256, scenarioCode=SCENARIO_OPEN)).json()
    events = xh.get("/v1/audit/events", limit=200).json()["items"]
    mine = [event for event in events if event["object"] == answer["reuseId"]]
    assert [event["action"] for event in mine] == ["reuse.decide"]
    assert xh.get("/v1/audit/verify").json()["intact"] is True
