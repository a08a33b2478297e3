"""Problem details: every error has its row, each has words in two languages, nothing is repeated."""

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request

import anchor
import node
import verifier
from anchor.errors import DeltasealError
from anchor.problemrows import FRAME_CODES, REGISTRY
from node.http.errors import FieldFault, NodeBusy, RateLimited, RequestInvalid
from node.http.problems import (
    _http_problem,
    _parameter_error,
    choose_language,
    frame_problem,
    problem_response,
)

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "problems.md"
CITIZEN_ID = "310104185001010014"


def error_classes() -> Iterator[type[DeltasealError]]:
    """Yield every error class of the packages behind the HTTP service."""
    for package in (anchor, verifier, node):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not module.name.endswith(".__main__"):
                importlib.import_module(module.name)
    waiting = [DeltasealError]
    while waiting:
        for found in waiting.pop().__subclasses__():
            waiting.append(found)
            if found.__module__.split(".")[0] in ("anchor", "verifier", "node"):
                yield found


def request(**headers: str) -> Request:
    fields = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    state = {"request_id": "req_01J00000000000000000000000"}
    return Request(
        {"type": "http", "method": "GET", "path": f"/{CITIZEN_ID}", "headers": fields, "state": state}
    )


def test_every_error_has_a_code_of_its_own_and_a_row() -> None:
    classes = list(dict.fromkeys(error_classes()))
    codes = [found.__dict__.get("code") for found in classes]
    nameless = [found.__name__ for found, code in zip(classes, codes, strict=True) if not code]
    assert nameless == []
    assert sorted(code for code in set(codes) if codes.count(code) > 1) == []
    assert sorted(set(codes) - set(REGISTRY)) == []
    assert len(classes) > 60


def test_every_row_belongs_to_an_error_or_to_the_frame() -> None:
    codes = {found.code for found in error_classes()}
    assert sorted(set(REGISTRY) - codes - FRAME_CODES) == []


def test_the_table_of_the_page_is_the_registry() -> None:
    written = [
        line
        for line in PAGE.read_text("utf-8").splitlines()
        if re.match(r"\| `[a-z0-9_]+` \| \d{3} \|", line)
    ]
    rows = [
        f"| `{code}` | {row.status} | {row.zh} | {row.en} | {'yes' if row.retryable else 'no'} |"
        for code, row in sorted(REGISTRY.items())
    ]
    assert written == rows


@pytest.mark.parametrize("code", sorted(REGISTRY))
def test_a_row_is_complete(code: str) -> None:
    row = REGISTRY[code]
    assert re.fullmatch(r"[a-z][a-z0-9_]*", code)
    assert 400 <= row.status <= 599
    assert re.search(r"[\u4e00-\u9fff]", row.zh)
    assert row.en.isascii()
    assert row.en[0].isupper()


def test_a_problem_has_the_members_of_rfc_9457_and_ours() -> None:
    error = RequestInvalid("a field is wrong", hint="look", faults=[FieldFault("/subjects/0/id", "length")])
    response = problem_response(error, request(accept_language="en"))
    assert response.media_type == "application/problem+json"
    assert json.loads(response.body) == {
        "type": "https://deltaseal.example/problems/request_invalid",
        "title": "Invalid request",
        "status": 422,
        "detail": "a field is wrong",
        "instance": "urn:deltaseal:request:req_01J00000000000000000000000",
        "code": "request_invalid",
        "requestId": "req_01J00000000000000000000000",
        "retryable": False,
        "hint": "look",
        "errors": [{"pointer": "/subjects/0/id", "code": "length"}],
    }


def test_facts_are_not_repeated_except_a_place_and_its_reason() -> None:
    class Named(DeltasealError):
        code = "request_invalid"

    error = Named("wrong", pointer="/meta/issuedOn", reason="date_order", size_bytes=7)
    body = json.loads(problem_response(error, request()).body)
    assert body["errors"] == [{"pointer": "/meta/issuedOn", "code": "date_order"}]
    assert "size_bytes" not in json.dumps(body)
    prose = json.loads(problem_response(Named("wrong", reason=f"not {CITIZEN_ID}"), request()).body)
    assert "errors" not in prose


def test_the_path_is_in_no_member() -> None:
    assert CITIZEN_ID.encode() not in frame_problem("not_found", request().scope).body


def test_an_unknown_code_is_an_internal_error_under_its_own_name() -> None:
    response = frame_problem("never_heard_of", request().scope)
    assert response.status_code == 500
    assert json.loads(response.body)["code"] == "never_heard_of"


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "zh"),
        ("en", "en"),
        ("en-GB,en;q=0.9", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("fr", "zh"),
        ("fr, en;q=0.5", "en"),
        ("en;q=0.3, zh;q=0.4", "zh"),
        ("en;q=0", "zh"),
        ("*", "zh"),
        ("en;q=nonsense", "zh"),
        ("en;q=nan", "zh"),
        (",;,=" * 200, "zh"),
    ],
)
def test_the_language_follows_accept_language_and_is_chinese_otherwise(header: str, language: str) -> None:
    assert choose_language(header) == language
    response = frame_problem("not_found", request(accept_language=header).scope)
    assert response.headers["content-language"] == language
    assert json.loads(response.body)["title"] == getattr(REGISTRY["not_found"], language)


def test_retry_after_stands_where_waiting_helps() -> None:
    assert problem_response(RateLimited("x", retry_after_s=17), request()).headers["retry-after"] == "17"
    assert int(problem_response(NodeBusy("x"), request()).headers["retry-after"]) > 0
    assert "retry-after" not in problem_response(RequestInvalid("x"), request()).headers


def test_a_refusal_of_the_router_keeps_its_headers_and_loses_its_words() -> None:
    error = HTTPException(405, detail=CITIZEN_ID, headers={"Allow": "GET"})
    response = _http_problem(error, request())
    assert (response.status_code, response.headers["allow"]) == (405, "GET")
    assert json.loads(response.body)["code"] == "method_not_allowed"
    assert CITIZEN_ID.encode() not in response.body


def test_an_error_that_the_framework_wrapped_is_answered_as_itself() -> None:
    error = HTTPException(400)
    error.__cause__ = NodeBusy("busy")
    assert _http_problem(error, request()).status_code == 503


@pytest.mark.parametrize(
    ("status", "code"), [(404, "not_found"), (418, "request_refused"), (502, "internal")]
)
def test_any_status_of_the_framework_becomes_a_registered_code(status: int, code: str) -> None:
    assert json.loads(_http_problem(HTTPException(status), request()).body)["code"] == code


def test_parameters_are_named_and_their_values_are_not() -> None:
    found = [
        {"type": "int_parsing", "loc": ("query", "limit"), "msg": CITIZEN_ID, "input": CITIZEN_ID},
        {"type": "extra_forbidden", "loc": ("query", CITIZEN_ID), "msg": "", "input": 1},
        {"type": "dict_type", "loc": ("body", "known", CITIZEN_ID), "msg": "", "input": 1},
    ]
    error = _parameter_error(RequestValidationError(found))
    assert error.faults == (
        FieldFault("/query/limit", "type"),
        FieldFault("/query", "unknown_field"),
        FieldFault("/body/known", "invalid"),
    )
    assert CITIZEN_ID not in problem_response(error, request()).body.decode()


def test_a_refusal_without_pointer_names_the_whole_request() -> None:
    class Refused(DeltasealError):
        code = "subject_invalid"

    body = json.loads(problem_response(Refused("no", reason="check_digit"), request()).body)
    assert body["errors"] == [{"pointer": "", "code": "check_digit"}]
