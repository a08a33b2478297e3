"""The pure parts of the bench: ratios, goals, the table, requests, answers and floors."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from pathlib import Path

import pytest

from anchor.canonical import canonical_bytes
from anchor.chain.contracts import parse_append_call
from anchor.records import MaterialRecord, decode_record
from bench import __main__ as all_figures
from bench import disk, gas, load, processor, pushlarge, pushsmall, receipts, verify
from bench.chains import bench_keys, document_digest, document_record, document_records, random_records
from bench.figures import Figure, alternate, compare, render_number, render_table, versions
from bench.runner import parse_arguments, run
from verifier.receipts import render_receipt


def figure(ratio: float, goal: float | None, *, at_least: bool = True) -> Figure:
    return Figure("stage", "1", ratio, 1.0, "/s", "peer", ratio, goal, at_least)


def test_ratio_is_the_median_of_the_rounds_and_not_of_the_sides() -> None:
    made = compare("s", "1", [(10, 10), (50, 100), (1, 1)], unit="/s", floor="peer", goal=0.9)
    assert (made.ratio, made.product, made.peer) == (1, 10, 10)
    assert made.holds


@pytest.mark.parametrize(
    ("ratio", "goal", "at_least", "holds"),
    [
        (0.8, 0.8, True, True),
        (0.79, 0.8, True, False),
        (3.0, 3, False, True),
        (3.1, 3, False, False),
        (9.0, None, True, None),
    ],
)
def test_goal_bounds_the_ratio_on_its_side(
    ratio: float, goal: float | None, at_least: bool, holds: bool | None
) -> None:
    made = figure(ratio, goal, at_least=at_least)
    assert made.holds is holds
    assert made.cells()[-1] == {True: "met", False: "missed", None: ""}[holds]


def test_product_and_peer_take_turns() -> None:
    calls: list[str] = []

    def called(name: str) -> float:
        calls.append(name)
        return float(len(calls))

    pairs = alternate(2, lambda at: called(f"product {at}"), lambda at: called(f"peer {at}"))
    assert calls == ["peer 0", "product 0", "peer 1", "product 1"]
    assert pairs == [(2.0, 1.0), (4.0, 3.0)]


def test_table_is_aligned_and_has_a_line_for_each_figure() -> None:
    lines = render_table([figure(0.5, 0.8), figure(12345.0, 6, at_least=False)]).splitlines()
    assert len(lines) == 4
    assert len({len(line) for line in lines}) == 1
    assert "missed" in lines[2] and "12,345 /s" in lines[3] and "≤ 6" in lines[3]


def test_numbers_keep_three_digits() -> None:
    assert [render_number(value) for value in (0.1234, 12.34, 123.4, 12345.6)] == [
        "0.123",
        "12.3",
        "123",
        "12,346",
    ]


def test_versions_name_interpreter_and_packages() -> None:
    assert "Python 3." in versions() and "plyvel" in versions()


def test_answer_is_complete_when_head_and_body_have_come() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx: y\r\n\r\n"
    assert load.answer_size(head[:-1]) is None
    assert load.answer_size(head) == load.answer_size(head + b"hello") == len(head) + 5
    with pytest.raises(load.LoadFailed):
        load.answer_size(b"HTTP/1.1 200 OK\r\n\r\n")


def test_request_names_its_length_and_key() -> None:
    request = load.json_request("/v1/verify", {"sha256": "ab"}, key="dsk_x")
    head, _, body = request.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1/verify HTTP/1.1\r\n")
    assert f"content-length: {len(body)}".encode() in head and b"authorization: Bearer dsk_x" in head
    assert json.loads(body) == {"sha256": "ab"}


def test_push_declares_the_digest_of_its_bytes_and_no_two_share_a_key() -> None:
    requests = [pushsmall.push_request("/v1/materials", b"content", key="k") for _ in range(2)]
    assert all(hashlib.sha256(b"content").hexdigest().encode() in request for request in requests)
    assert requests[0].count(b"\r\ncontent\r\n") == 1
    keys = [request.split(b"idempotency-key: ")[1].split(b"\r\n")[0] for request in requests]
    assert keys[0] != keys[1]


def test_syncs_are_counted_from_the_summary() -> None:
    summary = (
        "% time     seconds  usecs/call     calls    errors syscall\n"
        "------ ----------- ----------- --------- --------- ------------------\n"
        " 99.00    0.020000          40       500           fdatasync\n"
        "  1.00    0.000100          10        12         1 fsync\n"
        "------ ----------- ----------- --------- --------- ------------------\n"
        "100.00    0.020100          39       512         1 total\n"
    )
    assert pushsmall.count_syncs(summary) == 512
    assert pushsmall.count_syncs("") == 0


def test_questions_are_about_documents_of_the_index_and_repeat_by_seed() -> None:
    known = {document_digest(number).hex() for number in range(10)}
    asked = verify.questions(10, 50, subject=False, seed=1)
    assert {str(question["sha256"]) for question in asked} <= known
    assert asked == verify.questions(10, 50, subject=False, seed=1)
    assert all("subject" in question for question in verify.questions(10, 2, subject=True, seed=1))


def test_bulk_records_are_found_by_the_digest_of_their_document() -> None:
    keys = bench_keys()
    found = [decode_record(record, keys) for record in document_records(keys, 3, 5)]
    assert [record.content_tag for record in found if isinstance(record, MaterialRecord)] == [
        keys.content_tag(document_digest(number)) for number in (3, 4)
    ]


def test_a_paper_is_found_by_its_subject() -> None:
    keys = bench_keys()
    tag = keys.subject_tag("111", "310104185001010014", "M1001")
    record = decode_record(document_record(keys, bytes(32), subject_tag=tag), keys)
    assert isinstance(record, MaterialRecord) and record.subject_tag == tag


def test_floor_of_gas_is_that_of_the_bytes_alone() -> None:
    assert gas.floor_gas(b"", 0) == 21_000 + 375 + 375
    assert gas.floor_gas(b"\x00\x01", 1) - gas.floor_gas(b"", 0) == 4 + 16 + 8 * 96


def test_floor_of_gas_is_of_an_append_that_the_contract_takes() -> None:
    stream, sequence, records = parse_append_call(gas.append_calldata(3))
    assert (int(stream), sequence, len(records)) == (1, 1, 3 * 96)
    assert len(set(random_records(3, bench_keys()))) == 3


def test_gas_figures_cover_the_table_of_the_contracts() -> None:
    figures = gas.measure(None)  # type: ignore[arg-type]  # It needs no stage.
    assert {made.n for made in figures} >= {"batch of 1", "batch of 256", "batch of 512"}
    assert all(made.holds for made in figures if made.goal is not None)


def test_floor_of_the_large_push_reads_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "large"
    pushlarge.write_file(path, 3)
    first = path.read_bytes()
    pushlarge.write_file(path, 3)
    assert len(first) == 3 << 20 and path.read_bytes() != first
    assert pushlarge.store_alone(path, tmp_path / "store") > 0
    assert not (tmp_path / "store").exists()


def test_folder_is_weighed_with_what_lies_below(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "a").write_bytes(bytes(3))
    (tmp_path / "below" / "b").write_bytes(bytes(4))
    assert disk.folder_bytes(tmp_path) == 7


def test_every_figure_has_a_script_and_a_question() -> None:
    for module in all_figures.FIGURES:
        assert callable(module.measure) and "?" in (module.__doc__ or "").splitlines()[0]


def test_options_have_a_short_and_a_full_run() -> None:
    assert not parse_arguments([]).full
    assert parse_arguments(["--full", "--large-mib", "8"]).large_mib == 8


def test_no_document_is_asked_for_twice_in_a_round() -> None:
    asked = verify.questions(5000, 3000, subject=False, seed=1)
    assert len({question["sha256"] for question in asked}) == 3000
    assert len(verify.questions(10, 50, subject=False, seed=1)) == 10


def test_processor_time_is_that_of_the_process_asked_for() -> None:
    def work() -> float:
        begun = time.process_time()
        while time.process_time() - begun < 0.1:
            pass
        return 7.0

    result, seconds = processor.spent_by(os.getpid(), work)
    assert result == 7.0 and seconds >= 0.05
    assert processor.spent_seconds(os.getppid()) >= 0


def test_a_figure_that_fails_is_named_and_does_not_cost_the_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_bench: object) -> list[Figure]:
        raise RuntimeError("the engine stands still")

    monkeypatch.setattr("sys.argv", ["/somewhere/bench/batch.py", "--full"])
    with pytest.raises(SystemExit) as ended:
        run(fails, lambda _bench: [figure(0.5, 0.8)])
    printed = capsys.readouterr().out
    assert ended.value.code == 1
    assert "| stage | 1 " in printed and "not measured: " in printed and "RuntimeError" in printed
    assert "command: python -m bench.batch --full" in printed


@pytest.mark.parametrize("batch", [1, 512])
def test_receipt_from_a_sparse_trie_is_valid_and_its_bare_work_is_written_down(batch: int) -> None:
    raw = canonical_bytes(render_receipt(receipts.receipt_among(20_000, batch=batch)))
    receipts.check(raw)
    calls = receipts.recorded_calls(raw)
    names = Counter(function.__name__ for function, _ in calls)
    assert names["_recover"] == 4 and names["keccak"] > 20 and names["openssl_sha256"] > 10
    assert all(function(*arguments) is not None for function, arguments in calls)
    assert len(receipts.recorded_calls(raw)) == len(calls)
