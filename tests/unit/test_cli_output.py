"""Output: forms, both languages, and that a name can do nothing to a terminal."""

from __future__ import annotations

import csv
import io
import json

import pytest

from anchor.problemrows import REGISTRY
from cli.errors import ApiProblem, InputInvalid
from cli.output import Output, plain, render_error
from cli.views import VIEWS, WORDS, word
from verifier.verdicts import VerdictKind

MATERIAL = {
    "materialId": "mat_01", "version": 2, "typeCode": "M1001", "status": "active", "sha256": "ab" * 32,
    "anchor": {"status": "final"}, "unknownToTables": [1],
}  # fmt: skip


def written(form: str, lang: str = "en", *, items: list[dict[str, object]] | None = None) -> str:
    stream = io.StringIO()
    Output(form, lang, stdout=stream, stderr=io.StringIO()).items("material", items or [MATERIAL])
    return stream.getvalue()


def test_json_carries_the_answer_unchanged() -> None:
    assert json.loads(written("json")) == [MATERIAL]
    assert [json.loads(line) for line in written("jsonl", items=[MATERIAL, MATERIAL]).splitlines()] == [
        MATERIAL
    ] * 2


def test_csv_carries_the_columns_in_full() -> None:
    rows = list(csv.DictReader(io.StringIO(written("csv"))))
    assert rows[0]["sha256"] == "ab" * 32 and rows[0]["anchor.status"] == "final"


def test_id_prints_one_identifier_a_line() -> None:
    assert written("id", items=[MATERIAL, MATERIAL]) == "mat_01\nmat_01\n"


def test_a_table_speaks_the_language() -> None:
    assert "anchor" in written("table") and "上链" in written("table", "zh")
    assert "active" in written("table") and "有效" in written("table", "zh")


def test_a_name_can_neither_move_the_cursor_nor_mark_up_the_table() -> None:
    text = written("table", items=[{**MATERIAL, "materialId": "[red]x\x1b[2J\u202e\x07\n"}])
    assert "[red]x" in text and "\x1b" not in text and "\u202e" not in text and "\x07" not in text
    assert "\\x1b[2J" in text


def test_a_file_name_that_is_not_utf8_reaches_json() -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    stream = io.StringIO()
    Output("json", stdout=stream).items("digest", [{"path": name}])
    assert json.loads(stream.getvalue()) == [{"path": name}]
    stream.getvalue().encode("utf-8")
    assert plain(name) == "caf\ufffd"


def test_quiet_keeps_notes_and_not_warnings() -> None:
    stream = io.StringIO()
    out = Output(stderr=stream, quiet=True)
    out.note("for your comfort")
    out.warn("act on this")
    assert stream.getvalue() == "warning: act on this\n"


def test_nothing_found_says_so_and_prints_no_row() -> None:
    out, err = io.StringIO(), io.StringIO()
    Output("table", "zh", stdout=out, stderr=err).items("material", [])
    assert out.getvalue() == "" and "无结果" in err.getvalue()


@pytest.mark.parametrize("code", [*VerdictKind, "granted", "denied", "needs_authorization", "needs_review"])
def test_every_verdict_and_outcome_has_words_in_both_languages(code: str) -> None:
    english, chinese = WORDS[str(code)]
    assert english and chinese and english != chinese
    assert word(code, "zh") == chinese


@pytest.mark.parametrize("name", [name for name in VIEWS if name != "answer"])
def test_every_column_has_a_heading_in_both_languages(name: str) -> None:
    view = VIEWS[name]
    assert view.id_path and all(column.en and column.zh for column in view.columns)


def test_an_error_says_what_why_where_and_what_next() -> None:
    text = render_error(InputInvalid("The list is empty", hint="Name its columns", place="a.csv"))
    assert text == "error: a.csv: the list is empty (input_invalid)\nhint: name its columns\n"


def test_an_error_in_chinese_begins_with_its_title() -> None:
    text = render_error(InputInvalid("The list is empty", hint="Name its columns", place="a.csv"), "zh")
    assert text.splitlines() == [
        "错误：输入内容无效（input_invalid）",
        "error: a.csv: the list is empty (input_invalid)",
        "hint: name its columns",
    ]
    assert render_error(ApiProblem("rate_limited", status=429), "zh").startswith(
        f"错误：{REGISTRY['rate_limited'].zh}（rate_limited）"
    )


def test_a_problem_shows_its_code_fields_and_request() -> None:
    problem = ApiProblem(
        "request_invalid", status=422, detail="Two fields are wrong", request_id="req_01",
        errors=[{"pointer": "/subjects/0/id", "code": "check_digit"}],
    )  # fmt: skip
    assert render_error(problem).splitlines() == [
        "error: two fields are wrong (request_invalid)",
        "  at /subjects/0/id: check_digit",
        "request: req_01",
    ]


def test_an_error_cannot_move_the_cursor_either() -> None:
    assert "\x1b" not in render_error(ApiProblem("x", status=400, detail="a\x1b[2J", hint="b\rc"))
