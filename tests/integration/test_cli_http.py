"""The command line against a real HTTP server: pushes that are cut, refused, resumed; problems; downloads; verdicts."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.client import NodeClient, segment
from cli.errors import ApiProblem, ArgumentInvalid, NodeAnswerMalformed, NodeUnreachable, SourceChanged
from tests.integration.cli_node_factory import (
    API_KEY,
    Cut,
    SmallNode,
    cli_env,
    key_file,
    problem,
    run_cli,
    small_node,
    start_cli,
)

SUBJECT = "001:91310115FAKE010322"
META = {
    "typeCode": "M1001", "caseNo": "PD-1", "title": "执照", "sha256": hashlib.sha256(b"abc").hexdigest(),
    "subjects": [{"idType": "001", "id": "91310115FAKE010322"}],
}  # fmt: skip


@pytest.fixture
def node() -> Iterator[SmallNode]:
    with small_node() as served:
        yield served


def flags(node: SmallNode, folder: Path) -> list[str]:
    return ["--url", node.url, "--api-key-file", str(key_file(folder))]


def push_flags(node: SmallNode, folder: Path) -> list[str]:
    return ["--type", "M1001", "--subject", SUBJECT, "--case", "PD-1", *flags(node, folder)]


def make_files(folder: Path, count: int) -> Path:
    files = folder / "files"
    files.mkdir()
    for number in range(count):
        (files / f"{number:04d}.txt").write_text(f"content {number}")
    return files


# The client


def test_a_file_is_streamed_with_its_meta_first(node: SmallNode, tmp_path: Path) -> None:
    content = bytes(range(256)) * 3000
    path = tmp_path / 'q"u\no.bin'
    path.write_bytes(content)
    meta = {**META, "sha256": hashlib.sha256(content).hexdigest()}
    seen: list[int] = []
    with NodeClient(node.url, API_KEY) as client:
        answer = client.upload(meta, path, on_bytes=seen.append)
    assert answer.status == 201 and answer.request_id == "req_01TEST"
    assert node.contents[answer.body["materialId"]] == content
    assert sum(seen) == len(content) and max(seen) < len(content)
    assert node.asked[-1].headers["content-length"] == str(len(node.asked[-1].body))


def test_bytes_and_digests_alone_can_be_pushed(node: SmallNode) -> None:
    with NodeClient(node.url, API_KEY) as client:
        assert client.push(META, b"abc")["asserted"] is False
        assert client.push({**META, "caseNo": "PD-2", "sha256": "cd" * 32})["asserted"] is True


@pytest.mark.parametrize("change", [b"", b"longer than before"])
def test_a_file_that_changes_while_it_is_sent_is_refused(
    node: SmallNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: bytes
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    from cli import client as module

    real = module._Form.pieces

    def altered(form: Any) -> Iterator[bytes]:
        path.write_bytes(change)
        return real(form)

    monkeypatch.setattr(module._Form, "pieces", altered)
    with NodeClient(node.url, API_KEY) as client, pytest.raises(SourceChanged):
        client.push(META, path)
    assert not node.materials


def test_a_problem_keeps_the_nodes_code_and_request(node: SmallNode) -> None:
    node.fixed["/v1/me"] = problem(
        403, "auth_forbidden", hint="ask for the scope", errors=[{"pointer": "/a", "code": "b"}]
    )
    with NodeClient(node.url, API_KEY) as client, pytest.raises(ApiProblem) as caught:
        client.get("/v1/me")
    error = caught.value
    assert (error.code, error.status, error.request_id) == ("auth_forbidden", 403, "req_01TEST")
    assert error.hint == "ask for the scope" and error.errors == ({"pointer": "/a", "code": "b"},)
    assert ApiProblem.code == "api_problem"


@pytest.mark.parametrize(
    ("status", "answer", "expected"),
    [(502, b"<html>proxy</html>", "http_502"), (503, {"ready": False}, "http_503"), (404, [1], "http_404")],
)
def test_a_refusal_that_is_no_problem_document_keeps_its_status(
    node: SmallNode, status: int, answer: Any, expected: str
) -> None:
    node.fixed["/v1/me"] = (status, answer)
    with NodeClient(node.url, API_KEY) as client, pytest.raises(ApiProblem) as caught:
        client.get("/v1/me")
    assert (caught.value.code, caught.value.status) == (expected, status)


@pytest.mark.parametrize(("status", "answer"), [(200, b"not json"), (302, {}), (200, b"\xff")])
def test_an_answer_that_cannot_be_understood_is_named(node: SmallNode, status: int, answer: Any) -> None:
    node.fixed["/v1/me"] = (status, answer)
    with NodeClient(node.url, API_KEY) as client, pytest.raises(NodeAnswerMalformed):
        client.get("/v1/me")


def test_a_cut_push_is_repeated_under_the_same_key_and_counts_once(node: SmallNode) -> None:
    cuts = [1, 2]

    def cut(_meta: dict[str, Any]) -> None:
        if cuts:
            cuts.pop()
            raise Cut

    node.on_push = cut
    with NodeClient(node.url, API_KEY, retries=3) as client:
        client.push(META, b"abc")
    keys = {each.headers["idempotency-key"] for each in node.asked}
    assert len(node.asked) == 3 and len(keys) == 1 and len(node.materials) == 1


def test_a_write_without_a_key_is_never_repeated(node: SmallNode) -> None:
    with NodeClient("http://127.0.0.1:9", API_KEY, retries=3) as client:
        began = time.monotonic()
        with pytest.raises(NodeUnreachable):
            client.post("/v1/verify", {}, idempotency=False)
        assert time.monotonic() - began < 30
    node.fixed["/v1/verify"] = problem(503, "node_busy")
    with NodeClient(node.url, API_KEY, retries=3) as client, pytest.raises(ApiProblem):
        client.post("/v1/verify", {}, idempotency=False)
    assert node.count("POST", "/v1/verify") == 1


def test_a_busy_node_is_asked_again_and_a_refusal_is_not(node: SmallNode) -> None:
    node.fixed["/v1/me"] = problem(503, "node_busy")
    with NodeClient(node.url, API_KEY, retries=2) as client, pytest.raises(ApiProblem):
        client.get("/v1/me")
    node.fixed["/v1/other"] = problem(422, "request_invalid")
    with NodeClient(node.url, API_KEY, retries=2) as client, pytest.raises(ApiProblem):
        client.get("/v1/other")
    assert (node.count("GET", "/v1/me"), node.count("GET", "/v1/other")) == (3, 1)


def test_a_silent_node_times_out() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            NodeClient(url, API_KEY, timeout_s=0.3) as client,
            pytest.raises(NodeUnreachable, match="in time"),
        ):
            client.get("/v1/me")


def test_the_key_goes_to_the_node_only_and_a_proxy_of_the_environment_is_ignored(
    node: SmallNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with NodeClient(node.url, API_KEY) as client:
        assert client.get("/v1/materials") == {"items": [], "nextCursor": None}


@pytest.mark.parametrize(
    ("text", "path"), [("a/b", "a%2Fb"), ("a?b", "a%3Fb"), ("é", "%C3%A9"), ("..a", "..a")]
)
def test_an_id_stays_one_segment_of_the_path(text: str, path: str) -> None:
    assert segment(text) == path


@pytest.mark.parametrize("text", ["", ".", ".."])
def test_an_id_that_is_a_step_is_refused(text: str) -> None:
    with pytest.raises(ArgumentInvalid):
        segment(text)


# Push


def test_a_single_file_is_pushed_and_shown(node: SmallNode, tmp_path: Path) -> None:
    (tmp_path / "执照.pdf").write_bytes(b"abc")
    ended = run_cli(["push", "执照.pdf", *push_flags(node, tmp_path), "-o", "json"], tmp_path)
    assert ended.returncode == 0, ended.stderr
    shown = json.loads(ended.stdout)
    assert shown["items"][0]["result"] == "pushed" and shown["summary"]["pushed"] == 1
    (material,) = node.materials.values()
    assert material["title"] == "执照" and material["sha256"] == META["sha256"]
    assert not list((tmp_path / "home").rglob("*.journal"))


def test_pushing_again_answers_with_what_is_held(node: SmallNode, tmp_path: Path) -> None:
    files = make_files(tmp_path, 3)
    for result in ("pushed", "held"):
        ended = run_cli(["push", str(files), *push_flags(node, tmp_path), "-o", "json"], tmp_path)
        assert [each["result"] for each in json.loads(ended.stdout)["items"]] == [result] * 3
    assert len(node.materials) == 3


def test_wait_answers_when_the_records_are_final(node: SmallNode, tmp_path: Path) -> None:
    node.looks_until_final = 2
    files = make_files(tmp_path, 5)
    ended = run_cli(
        ["push", str(files), *push_flags(node, tmp_path), "--wait", "final", "-o", "json"], tmp_path
    )
    shown = json.loads(ended.stdout)
    assert ended.returncode == 0 and shown["summary"]["anchored"] == 5
    assert {each["anchor"]["status"] for each in shown["items"]} == {"final"}


def test_a_wait_that_is_too_long_ends_with_8_and_keeps_the_materials(node: SmallNode, tmp_path: Path) -> None:
    node.looks_until_final = 10**6
    files = make_files(tmp_path, 2)
    arguments = ["push", str(files), *push_flags(node, tmp_path), "--wait", "final", "--wait-timeout", "0.2"]
    ended = run_cli(arguments, tmp_path)
    assert ended.returncode == 8 and "wait_expired" in ended.stderr and len(node.materials) == 2


def test_refused_items_do_not_stop_the_others_and_can_be_pushed_again(
    node: SmallNode, tmp_path: Path
) -> None:
    files = make_files(tmp_path, 6)
    rows = [{"path": f"files/{number:04d}.txt", "title": f"t{number}"} for number in range(6)]
    path = tmp_path / "list.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "title"])
        writer.writeheader()
        writer.writerows(rows)
    node.on_push = lambda meta: (422, "type_unknown") if meta["title"] in ("t1", "t4") else None
    ended = run_cli(["push", "--list", "list.csv", *push_flags(node, tmp_path), "-o", "jsonl"], tmp_path)
    assert ended.returncode == 7 and len(node.materials) == 4
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [line["code"] for line in lines if line.get("result") == "refused"] == ["type_unknown"] * 2
    assert lines[-1] == {
        "type": "summary", "pushed": 4, "held": 0, "done_before": 0, "refused": 2, "notTried": 0,
        "bytes": sum(len(f"content {n}") for n in range(6)), "anchored": 0,
    }  # fmt: skip
    rejects = tmp_path / "list.csv.rejects.csv"
    assert [row["rejectCode"] for row in csv.DictReader(rejects.open())] == ["type_unknown"] * 2
    node.on_push = lambda _meta: None
    again = run_cli(["push", "--list", str(rejects), *push_flags(node, tmp_path)], tmp_path)
    assert again.returncode == 0 and len(node.materials) == 6
    once_more = run_cli(["push", "--list", "list.csv", *push_flags(node, tmp_path), "-o", "json"], tmp_path)
    assert once_more.returncode == 0 and not rejects.exists()
    results = [each["result"] for each in json.loads(once_more.stdout)["items"]]
    assert sorted(results) == ["done_before"] * 4 + ["held"] * 2
    assert files.exists()


def test_all_refused_alike_ends_with_their_own_code(node: SmallNode, tmp_path: Path) -> None:
    files = make_files(tmp_path, 3)
    node.on_push = lambda _meta: (422, "type_unknown")
    assert run_cli(["push", str(files), *push_flags(node, tmp_path)], tmp_path).returncode == 6
    ended = run_cli(["push", str(files / "0000.txt"), *push_flags(node, tmp_path)], tmp_path)
    assert (
        ended.returncode == 6 and ended.stderr.startswith("error: ") and "request: req_01TEST" in ended.stderr
    )


def test_a_refused_key_stops_everything_at_once(node: SmallNode, tmp_path: Path) -> None:
    files = make_files(tmp_path, 40)
    node.fixed["/v1/materials"] = problem(401, "auth_expired")
    ended = run_cli(["push", str(files), *push_flags(node, tmp_path), "--parallel", "2"], tmp_path)
    assert ended.returncode == 4 and "auth_expired" in ended.stderr
    assert node.count("POST", "/v1/materials") <= 2


def test_a_file_over_the_nodes_limit_is_refused_before_it_is_sent(node: SmallNode, tmp_path: Path) -> None:
    (tmp_path / "big.bin").write_bytes(bytes((1 << 20) + 1))
    ended = run_cli(["push", "big.bin", *push_flags(node, tmp_path)], tmp_path)
    assert ended.returncode == 6 and "larger than the node accepts" in ended.stderr
    assert node.count("POST", "/v1/materials") == 0


def test_hash_only_sends_no_bytes(node: SmallNode, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"abc secret bytes")
    ended = run_cli(["push", "a.pdf", "--hash-only", *push_flags(node, tmp_path)], tmp_path)
    (material,) = node.materials.values()
    assert ended.returncode == 0 and material["asserted"] is True
    assert not any(b"secret bytes" in each.body for each in node.asked)


def test_dry_run_asks_nobody(node: SmallNode, tmp_path: Path) -> None:
    files = make_files(tmp_path, 3)
    ended = run_cli(["push", str(files), "--dry-run", *push_flags(node, tmp_path), "-o", "json"], tmp_path)
    assert ended.returncode == 0 and not node.asked
    assert json.loads(ended.stdout)[0]["sha256"] == hashlib.sha256(b"content 0").hexdigest()


def test_a_list_whose_file_is_another_is_refused(node: SmallNode, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"abc")
    (tmp_path / "list.csv").write_text(f"path,sha256\na.pdf,{'00' * 32}\n")
    ended = run_cli(["push", "--list", "list.csv", *push_flags(node, tmp_path)], tmp_path)
    assert ended.returncode == 6 and "not the one whose digest" in ended.stderr and not node.materials


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def slow(node: SmallNode) -> SmallNode:
    node.on_push = lambda _meta: time.sleep(0.02)
    return node


def test_a_killed_push_is_resumed_and_each_file_counts_once(slow: SmallNode, tmp_path: Path) -> None:
    files = make_files(tmp_path, 120)
    arguments = ["push", str(files), *push_flags(slow, tmp_path), "--journal", "j", "-o", "json"]
    killed = start_cli(arguments, tmp_path)
    wait_until(lambda: len(slow.materials) > 20)
    killed.kill()
    killed.communicate(timeout=60)
    before = slow.count("POST", "/v1/materials")
    assert 20 < before < 120
    resumed = run_cli(arguments, tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    summary = json.loads(resumed.stdout)["summary"]
    assert len(slow.materials) == 120
    assert (
        summary["done_before"] >= before - 5
        and summary["pushed"] + summary["held"] + summary["done_before"] == 120
    )
    # Only what was on its way when the kill came is sent twice.
    assert slow.count("POST", "/v1/materials") <= 120 + 5


def test_ctrl_c_finishes_the_files_in_work_and_keeps_the_journal(slow: SmallNode, tmp_path: Path) -> None:
    files = make_files(tmp_path, 120)
    arguments = ["push", str(files), *push_flags(slow, tmp_path), "-o", "json"]
    process = start_cli(arguments, tmp_path)
    wait_until(lambda: len(slow.materials) > 20)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (
        process.returncode == 130
        and "finishing the files in work" in err
        and "run the same command again" in err
    )
    summary = json.loads(out)["summary"]
    assert summary["pushed"] == len(slow.materials) < 120 and summary["notTried"] == 120 - summary["pushed"]
    (journal,) = (tmp_path / "home").rglob("*.journal")
    again = run_cli(arguments, tmp_path)
    assert again.returncode == 0 and len(slow.materials) == 120 and not journal.exists()
    assert slow.count("POST", "/v1/materials") == 120


def test_two_pushes_of_one_folder_do_not_run_at_once(node: SmallNode, tmp_path: Path) -> None:
    files, go_on = make_files(tmp_path, 6), threading.Event()

    def wait(_meta: dict[str, Any]) -> None:
        go_on.wait(60)

    node.on_push = wait
    arguments = ["push", str(files), *push_flags(node, tmp_path)]
    first = start_cli(arguments, tmp_path)
    wait_until(lambda: node.count("POST", "/v1/materials"))
    second = run_cli(arguments, tmp_path)
    go_on.set()
    assert second.returncode == 5 and "push_journal_busy" in second.stderr
    first.communicate(timeout=60)
    assert first.returncode == 0


def test_a_node_that_dies_in_the_middle_ends_with_8_and_is_resumed(tmp_path: Path) -> None:
    files = make_files(tmp_path, 30)
    with small_node() as node:
        url, count = node.url, threading.Semaphore(10)

        def die(_meta: dict[str, Any]) -> None:
            if not count.acquire(blocking=False):
                raise Cut

        node.on_push = die
        arguments = ["push", str(files), *push_flags(node, tmp_path), "--parallel", "1", "--journal", "j"]
        ended = run_cli(arguments, tmp_path)
        assert ended.returncode == 8 and "node_unreachable" in ended.stderr and len(node.materials) == 10
        node.on_push = lambda _meta: None
        assert run_cli(arguments, tmp_path).returncode == 0 and len(node.materials) == 30
        assert url == node.url


def test_an_unreachable_node_leaves_no_journal(tmp_path: Path) -> None:
    make_files(tmp_path, 1)
    with small_node() as node:
        arguments = ["push", "files", *push_flags(node, tmp_path), "--journal", "j"]
    ended = run_cli(arguments, tmp_path)
    assert ended.returncode == 8 and not (tmp_path / "j").exists()


# Other commands

VERDICT = {
    "verdict": "valid", "fresh": True, "asOf": "2026-11-03T10:00:00+08:00", "lastKnown": None,
    "subjectMatch": "match", "finality": "operator",
    "reasons": [{"code": "status", "outcome": "pass", "detail": "clear"}],
    "explain": {"zh": "该文件有效。", "en": "The document is valid."},
}  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({}, 0),
        ({"verdict": "revoked"}, 12),
        ({"verdict": "stale", "fresh": False, "lastKnown": "valid"}, 11),
        ({"verdict": "unknown"}, 11),
        ({"verdict": "pending"}, 11),
        ({"subjectMatch": "mismatch"}, 10),
        ({"fresh": False}, 11),
        ({"verdict": "brilliant"}, 11),
    ],
)
def test_a_verdict_decides_the_exit_code(
    node: SmallNode, tmp_path: Path, answer: dict[str, Any], code: int
) -> None:
    node.fixed["/v1/verify"] = (200, {**VERDICT, **answer})
    (tmp_path / "a.pdf").write_bytes(b"abc secret bytes")
    ended = run_cli(["verify", "a.pdf", "--explain", "--lang", "zh", *flags(node, tmp_path)], tmp_path)
    assert ended.returncode == code
    assert "该文件有效。" in ended.stdout and "通过" in ended.stdout
    asked = json.loads(node.asked[-1].body)
    assert asked == {"sha256": hashlib.sha256(b"abc secret bytes").hexdigest()}


def test_many_files_are_asked_about_at_once_and_the_worst_decides(node: SmallNode, tmp_path: Path) -> None:
    make_files(tmp_path, 3)
    answers = [VERDICT, {**VERDICT, "verdict": "revoked"}, {**VERDICT, "verdict": "stale"}]
    node.fixed["/v1/verify/batch"] = (200, {"items": answers})
    ended = run_cli(["verify", "files", *flags(node, tmp_path), "-o", "jsonl"], tmp_path)
    assert ended.returncode == 12
    assert [json.loads(line)["verdict"] for line in ended.stdout.splitlines()] == [
        "valid",
        "revoked",
        "stale",
    ]
    node.fixed["/v1/verify/batch"] = (200, {"items": answers[:2]})
    assert run_cli(["verify", "files", *flags(node, tmp_path)], tmp_path).returncode == 8


def test_bytes_are_written_only_when_their_digest_is_right(node: SmallNode, tmp_path: Path) -> None:
    with NodeClient(node.url, API_KEY) as client:
        name = client.push(META, b"abc")["materialId"]
    get = ["material", "get", name, "--purpose", "复核", "--case", "XH-1", *flags(node, tmp_path), "--to"]
    assert run_cli([*get, "a.bin"], tmp_path).returncode == 0
    assert (tmp_path / "a.bin").read_bytes() == b"abc"
    sent = next(each for each in node.asked if each.path.endswith("/content"))
    assert sent.headers["deltaseal-purpose"] == "%E5%A4%8D%E6%A0%B8"
    assert run_cli([*get, "a.bin"], tmp_path).returncode == 5
    node.contents[name] = b"abd"
    ended = run_cli([*get, "b.bin"], tmp_path)
    assert ended.returncode == 10 and not (tmp_path / "b.bin").exists()
    assert run_cli([*get, "-"], tmp_path).stdout == ""
    assert not list(tmp_path.glob(".deltaseal-*"))


def reuse(outcome: str, **more: Any) -> dict[str, Any]:
    checks = [{"code": "basis", "result": "pass", "detail": "duty"}]
    return {
        "reuseId": "reu_01",
        "outcome": outcome,
        "checks": checks,
        "explain": {"zh": "可以", "en": "yes"},
        **more,
    }


REUSE = [
    *("reuse", "request", "--case", "XH-1", "--matter", "990140400100", "--req", "r1", "--subject", SUBJECT),
    *("--purpose", "落户", "--scenario", "SC-1"),
]


@pytest.mark.parametrize(
    ("outcome", "code"),
    [("granted", 0), ("denied", 13), ("needs_authorization", 13), ("needs_review", 13), ("surprising", 13)],
)
def test_a_decision_decides_the_exit_code(node: SmallNode, tmp_path: Path, outcome: str, code: int) -> None:
    node.fixed["/v1/reuses"] = (200, reuse(outcome))
    ended = run_cli([*REUSE, *flags(node, tmp_path)], tmp_path)
    assert ended.returncode == code and "basis" in ended.stdout
    asked = json.loads(node.asked[-1].body)
    assert asked["basis"] == {"kind": "duty"} and asked["deliver"] == "facts" and "consume" not in asked


def test_a_request_names_the_paper_by_its_number_and_by_the_file_in_hand(
    node: SmallNode, tmp_path: Path
) -> None:
    node.fixed["/v1/reuses"] = (200, reuse("granted"))
    (tmp_path / "lease.pdf").write_bytes(b"abc")
    narrow = ["--document-no", "(2026)沪0187", "--file", "lease.pdf"]
    assert run_cli([*REUSE, *narrow, *flags(node, tmp_path)], tmp_path).returncode == 0
    asked = json.loads(node.asked[-1].body)
    assert asked["documentNo"] == "(2026)沪0187"
    assert asked["sha256"] == hashlib.sha256(b"abc").hexdigest()
    missing = run_cli([*REUSE, "--file", "none.pdf", *flags(node, tmp_path)], tmp_path)
    assert missing.returncode != 0 and "none.pdf" in missing.stderr


def test_a_pending_decision_is_waited_for(node: SmallNode, tmp_path: Path) -> None:
    node.fixed["/v1/reuses"] = (202, {**reuse("pending"), "jobId": "job_01"})
    node.fixed["/v1/jobs/job_01"] = (200, {"status": "done", "resultUrl": "/v1/reuses/reu_01"})
    node.fixed["/v1/reuses/reu_01"] = (200, reuse("granted"))
    assert run_cli([*REUSE, *flags(node, tmp_path)], tmp_path).returncode == 0
    node.fixed["/v1/jobs/job_01"] = (200, {"status": "running"})
    assert run_cli([*REUSE, "--wait-timeout", "0.1", *flags(node, tmp_path)], tmp_path).returncode == 11


def test_granted_bytes_are_fetched_and_checked(node: SmallNode, tmp_path: Path) -> None:
    content = {"url": "/v1/reuses/reu_01/content", "sha256": META["sha256"], "size": 3}
    node.fixed["/v1/reuses"] = (200, reuse("granted", content=content))
    node.fixed["/v1/reuses/reu_01/content"] = (200, b"abc")
    arguments = [*REUSE, "--deliver", "bytes", "--to", "lease.pdf", *flags(node, tmp_path)]
    assert run_cli(arguments, tmp_path).returncode == 0
    assert (tmp_path / "lease.pdf").read_bytes() == b"abc"
    assert run_cli(arguments, tmp_path).returncode == 5
    node.fixed["/v1/reuses/reu_01/content"] = (200, b"abd")
    assert run_cli([*arguments, "--force"], tmp_path).returncode == 10
    assert (tmp_path / "lease.pdf").read_bytes() == b"abc"


def test_a_stopped_custodian_ends_with_8(node: SmallNode, tmp_path: Path) -> None:
    node.fixed["/v1/reuses"] = problem(503, "custodian_unavailable", retryable=True)
    ended = run_cli([*REUSE, *flags(node, tmp_path)], tmp_path)
    assert ended.returncode == 8 and "custodian_unavailable" in ended.stderr


def test_a_new_key_is_written_to_a_file_of_ones_own_and_shown_nowhere(
    node: SmallNode, tmp_path: Path
) -> None:
    node.fixed["/v1/keys"] = (201, {"keyId": "k1", "key": "dsk_k1_" + "z" * 43})
    arguments = [
        "key",
        "create",
        "--agency",
        "12310104FAKE0011X9",
        "--scopes",
        "verify,materials:read",
        "--to",
        "new.key",
    ]
    ended = run_cli(
        [*arguments, "--expires-on", "2027-01-01", *flags(node, tmp_path), "-o", "json"], tmp_path
    )
    assert ended.returncode == 0 and "zzz" not in ended.stdout + ended.stderr
    assert (tmp_path / "new.key").read_text() == "dsk_k1_" + "z" * 43 + "\n"
    assert (tmp_path / "new.key").stat().st_mode & 0o777 == 0o600
    asked = json.loads(node.asked[-1].body)
    assert asked["scopes"] == ["verify", "materials:read"] and asked["expiresAt"] == 1798732800
    assert run_cli([*arguments, *flags(node, tmp_path)], tmp_path).returncode == 5


def test_an_import_is_checked_here_first(node: SmallNode, tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_text('{"kind":"duty","code":"X","entry":{}}\n')
    ended = run_cli(["catalog", "import", "e.jsonl", *flags(node, tmp_path)], tmp_path)
    assert ended.returncode == 6 and not node.asked
    rejected = [{"line": 1, "errors": [{"pointer": "/name", "code": "required"}]}]
    node.fixed["/v1/catalog/imports"] = (202, {"published": 0, "unchanged": 0, "rejected": rejected})
    ended = run_cli(["catalog", "import", "e.jsonl", "--mode", "partial", *flags(node, tmp_path)], tmp_path)
    assert ended.returncode == 6 and "required" in ended.stdout
    assert node.asked[-1].headers["content-type"] == "application/x-ndjson"


AGENCY_LINE = {
    "kind": "agency",
    "code": "11310000FAKE000137",
    "entry": {"name": {"zh": "市数据枢纽局(演示)", "en": "City data hub (demo)"}, "area": "310000"}
    | {"level": "city", "memberId": 1, "role": "owner"},
}


def test_the_nodes_refusal_of_an_import_names_the_files_lines(node: SmallNode, tmp_path: Path) -> None:
    (tmp_path / "e.jsonl").write_text("\n" + json.dumps(AGENCY_LINE) + "\n")
    errors = [{"pointer": "/1/memberId", "code": "unknown"}]
    node.fixed["/v1/catalog/imports"] = problem(422, "catalog_entry_invalid", errors=errors)
    arguments = ["catalog", "import", "e.jsonl", *flags(node, tmp_path), "-o", "json"]
    ended = run_cli(arguments, tmp_path)
    assert ended.returncode == 6 and node.asked
    told = json.loads(ended.stdout)
    assert told["rejected"] == [{"line": 1, "errors": [{"pointer": "/memberId", "code": "unknown"}]}]
    table = run_cli(arguments[:-2], tmp_path).stdout
    assert "2" in table and "/memberId" in table and "unknown" in table


def test_api_sends_any_request(node: SmallNode, tmp_path: Path) -> None:
    node.fixed["/v1/exemptions"] = (200, {"seen": True})
    arguments = [
        "api",
        "POST",
        "/v1/exemptions",
        "-f",
        "matterCode=1",
        "-f",
        "subject.idType=001",
        "-f",
        "n:=[1]",
    ]
    ended = run_cli([*arguments, *flags(node, tmp_path)], tmp_path)
    assert ended.returncode == 0 and json.loads(ended.stdout) == {"seen": True}
    assert json.loads(node.asked[-1].body) == {"matterCode": "1", "subject": {"idType": "001"}, "n": [1]}
    run_cli(["api", "GET", "/v1/materials", "-f", "limit:=5", *flags(node, tmp_path)], tmp_path)
    assert node.asked[-1].path == "/v1/materials?limit=5"


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_language_goes_to_the_node_too(node: SmallNode, tmp_path: Path, lang: str) -> None:
    run_cli(["material", "list", "--lang", lang, *flags(node, tmp_path)], tmp_path)
    assert node.asked[-1].headers["accept-language"] == lang


def test_a_key_file_that_others_can_read_is_warned_about(node: SmallNode, tmp_path: Path) -> None:
    arguments = ["material", "list", *flags(node, tmp_path)]
    (tmp_path / "api.key").chmod(0o644)
    ended = run_cli(arguments, tmp_path)
    assert ended.returncode == 0 and "warning: other users can read the key file" in ended.stderr


@pytest.mark.parametrize(("state", "code"), [("ok", 0), ("raised", 11)])
def test_alarms_ends_with_11_if_something_waits_too_long(
    node: SmallNode, tmp_path: Path, state: str, code: int
) -> None:
    wait = {"name": "outbox_queued", "state": state, "ageSeconds": 901, "maximumSeconds": 900, "fix": "look"}
    node.fixed["/v1/alarms"] = (200, {"raised": int(state == "raised"), "items": [wait]})
    done = run_cli(["alarms", "-o", "json", *flags(node, tmp_path)], tmp_path)
    assert (done.returncode, json.loads(done.stdout)) == (code, [wait])
    assert ("too old: outbox_queued" in done.stderr) is (state == "raised")


def test_doctor_names_the_part_that_fails_and_its_fix(node: SmallNode, tmp_path: Path) -> None:
    parts = {"store": "ok", "chain": "chain_unavailable", "member": "not_admitted"}
    node.fixed["/readyz"] = (503, {"ready": False, "parts": parts})
    node.fixed["/v1/me"] = (200, {"agency": "12310104FAKE0011X9", "scopes": [], "keyId": "k"})
    ended = run_cli(["doctor", *flags(node, tmp_path), "-o", "json"], tmp_path)
    found = {each["part"]: each for each in json.loads(ended.stdout)}
    assert ended.returncode == 8
    assert found["python"]["outcome"] == found["node: store"]["outcome"] == "pass"
    assert found["node: chain"]["outcome"] == "fail" and "chain run" in found["node: chain"]["fix"]
    assert "failing: node: member" in ended.stderr and "chain admit" in ended.stderr


def test_doctor_tells_what_is_wrong_here_before_what_is_not_reachable(tmp_path: Path) -> None:
    (tmp_path / "api.key").write_text("not a key\n")
    ended = run_cli(
        ["doctor", "--url", "http://127.0.0.1:9", "--api-key-file", "api.key", "-o", "json"], tmp_path
    )
    found = {each["part"]: each["outcome"] for each in json.loads(ended.stdout)}
    assert ended.returncode == 6 and found["api key"] == found["node"] == "fail"


def test_no_key_and_no_id_reaches_any_output(node: SmallNode, tmp_path: Path) -> None:
    node.fixed["/v1/materials"] = problem(
        422, "request_invalid", errors=[{"pointer": "/subjects/0/id", "code": "x"}]
    )
    (tmp_path / "a.pdf").write_bytes(b"abc")
    ended = run_cli(["push", "a.pdf", *push_flags(node, tmp_path)], tmp_path)
    said = ended.stdout + ended.stderr
    assert API_KEY not in said and "91310115FAKE010322" not in said
    assert re.search(r"at /subjects/0/id: x", said)


def test_a_closed_pipe_is_no_error(node: SmallNode, tmp_path: Path) -> None:
    import subprocess
    import sys

    command = f"{sys.executable} -m cli config list | head -1; echo ${{PIPESTATUS[0]}}"
    ended = subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=cli_env(tmp_path),
        timeout=60,
    )
    assert "Traceback" not in ended.stderr and "Broken" not in ended.stderr


def test_doctor_sees_who_holds_a_folder_without_taking_its_lock(tmp_path: Path) -> None:
    import fcntl
    import os

    from cli.checks import lock_holder

    (tmp_path / "store").mkdir()
    path = tmp_path / "store" / "lock"
    path.touch()
    assert lock_holder(tmp_path) is None
    with path.open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert lock_holder(tmp_path) == os.getpid()
    assert lock_holder(tmp_path) is None and lock_holder(tmp_path / "none") is None
