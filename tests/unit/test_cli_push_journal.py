"""The journal of a push: what was acknowledged is found again, whatever the crash left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.errors import PushJournalBusy, PushJournalCorrupt, PushJournalForeign
from cli.push.journal import PushJournal, default_journal

URL = "http://127.0.0.1:8400"
ANSWER = {
    "materialId": "mat_01",
    "version": 1,
    "sha256": "ab" * 32,
    "anchor": {"status": "pending", "block": 3},
}


def test_an_acknowledged_item_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with PushJournal.open(path, url=URL) as journal:
        run, first_key = journal.run, journal.idempotency_key("one")
        journal.add("one", ANSWER)
    with PushJournal.open(path, url=URL) as journal:
        assert (journal.done("one") or {})["materialId"] == "mat_01" and journal.done("two") is None
        assert journal.run == run and journal.idempotency_key("one") == first_key and not journal.is_new
    assert path.stat().st_mode & 0o777 == 0o600


def test_two_journals_never_share_an_idempotency_key(tmp_path: Path) -> None:
    with PushJournal.open(tmp_path / "a", url=URL) as one, PushJournal.open(tmp_path / "b", url=URL) as two:
        assert one.idempotency_key("x") != two.idempotency_key("x")


def test_every_torn_end_loses_at_most_its_own_line(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with PushJournal.open(path, url=URL) as journal:
        journal.add("one", ANSWER)
        journal.add("two", ANSWER)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for end in range(len(lines[0]), len(whole) + 1):
        path.write_bytes(whole[:end])
        with PushJournal.open(path, url=URL) as journal:
            kept = [name for name in ("one", "two") if journal.done(name)]
            journal.add("three", ANSWER)
        complete = sum(len(b"".join(lines[: n + 1])) <= end for n in (1, 2))
        assert kept == ["one", "two"][:complete]
        with PushJournal.open(path, url=URL) as journal:
            assert journal.done("three")


@pytest.mark.parametrize("line", [b"not json\n", b"[]\n", b'{"other":1}\n', b"\xff\n"])
def test_damage_before_the_end_is_refused(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "j"
    with PushJournal.open(path, url=URL) as journal:
        journal.add("one", ANSWER)
    head, rest = path.read_bytes().split(b"\n", 1)
    path.write_bytes(head + b"\n" + line + rest)
    with pytest.raises(PushJournalCorrupt):
        PushJournal.open(path, url=URL)


def test_a_file_that_is_no_journal_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary\n")
    with pytest.raises(PushJournalCorrupt):
        PushJournal.open(path, url=URL)
    assert path.read_text() == "dear diary\n"


def test_another_nodes_journal_is_refused(tmp_path: Path) -> None:
    PushJournal.open(tmp_path / "j", url=URL).close()
    with pytest.raises(PushJournalForeign):
        PushJournal.open(tmp_path / "j", url="http://127.0.0.1:8401")


def test_one_push_at_a_time_holds_a_journal(tmp_path: Path) -> None:
    with PushJournal.open(tmp_path / "j", url=URL), pytest.raises(PushJournalBusy):
        PushJournal.open(tmp_path / "j", url=URL)
    PushJournal.open(tmp_path / "j", url=URL).close()


def test_no_line_carries_a_name_or_more_than_it_needs(tmp_path: Path) -> None:
    with PushJournal.open(tmp_path / "j", url=URL) as journal:
        journal.add("k", {**ANSWER, "title": "private", "subjects": [{"id": "310104185001010014"}]})
    text = (tmp_path / "j").read_text()
    assert "private" not in text and "310104" not in text
    assert json.loads(text.splitlines()[1]).keys() == {"item", "materialId", "version", "sha256", "anchor"}


def test_the_same_command_finds_the_same_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    named = default_journal(tmp_path, URL, ["scans"])
    assert named == default_journal(tmp_path, URL, [str(tmp_path / "scans")])
    assert named != default_journal(tmp_path, "http://other", ["scans"])


def test_an_unused_new_journal_goes_and_a_used_one_stays(tmp_path: Path) -> None:
    with PushJournal.open(tmp_path / "j", url=URL) as journal:
        journal.remove_if_unused()
    assert not (tmp_path / "j").exists()
    with PushJournal.open(tmp_path / "j", url=URL) as journal:
        journal.add("one", ANSWER)
        journal.remove_if_unused()
    assert (tmp_path / "j").exists()
