"""The audit log on a real store: no gap, no fork, nothing altered or cut without being noticed."""

import hashlib
import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from anchor.errors import ValueNotCanonical
from anchor.keyvalue import Delete, Put
from node.errors import StoreFull
from node.store.audit import GENESIS, AuditHead, AuditLog, entry_hash
from node.store.leveldb import LevelStore
from node.store.rows import AUDIT, SETTING, AuditRow, SettingRow
from tests.integration import store_factory as make
from tests.unit.keyvalue_suite import MemoryKeyValue

KEYS = ["sequence", "time", "actor", "action", "object", "outcome", "reason", "request_id"]


def append(log: AuditLog, number: int, *, ops: Sequence[Put | Delete] = (), sync: bool = True) -> AuditRow:
    """Append an entry with values of its own."""
    return log.append(
        ops,
        time=1_793_671_200 + number,
        actor="91310000MA1FL0000X/dsk_a",
        action="material.accept",
        object_id=f"mat_{number}.1",
        outcome="accepted",
        reason="",
        request_id=f"req_{number}",
        sync=sync,
    )


def naive_hash(row: AuditRow) -> bytes:
    """Hash an entry as the page says, with nothing of the project; for ASCII text JCS is compact JSON."""
    fields = [getattr(row, name) for name in KEYS]
    text = json.dumps([*fields, row.prev_hash.hex()], separators=(",", ":"))
    return hashlib.sha256(b"deltaseal/audit/1\x00" + text.encode()).digest()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LevelStore]:
    with make.made(tmp_path / "store") as store:
        yield store


def test_empty_log_has_number_0_and_is_sound(store: LevelStore) -> None:
    log = AuditLog(store)
    assert log.head() == AuditHead(0, GENESIS)
    finding = log.verify()
    assert (finding.first_broken, finding.count, finding.head) == (None, 0, AuditHead(0, GENESIS))


def test_entries_follow_one_another_by_hash(store: LevelStore) -> None:
    log = AuditLog(store)
    written = [append(log, number) for number in range(1, 6)]
    assert [row.sequence for row in written] == [1, 2, 3, 4, 5]
    assert [row.prev_hash for row in written] == [GENESIS, *(row.hash for row in written[:-1])]
    assert [row.hash for row in written] == [naive_hash(row) for row in written]
    assert list(log.scan()) == written
    assert log.head() == log.verify().head == AuditHead(5, written[-1].hash)


def test_entry_and_rows_are_written_together(store: LevelStore) -> None:
    log = AuditLog(store)
    append(log, 1, ops=[SETTING.put(SettingRow("a", b"1")), Delete(b"none")])
    assert SETTING.get(store, "a") == SettingRow("a", b"1")
    assert store.stats().synced_commits == 1


def test_log_goes_on_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with make.made(path) as store:
        first = append(AuditLog(store), 1)
    with make.opened(path) as store:
        log = AuditLog(store)
        assert append(log, 2).prev_hash == first.hash
        assert log.verify().count == 2


def test_pages_go_either_way(store: LevelStore) -> None:
    log = AuditLog(store)
    for number in range(1, 6):
        append(log, number, sync=False)
    assert [row.sequence for row in log.scan(start=3, limit=2)] == [3, 4]
    assert [row.sequence for row in log.scan(reverse=True, limit=2)] == [5, 4]
    assert [row.sequence for row in log.before(4, limit=2)] == [3, 2]
    assert log.before(1, limit=2) == []


def test_many_threads_leave_no_gap_and_no_fork_and_share_commits(store: LevelStore) -> None:
    log = AuditLog(store)
    written: list[AuditRow] = []

    def work(thread: int) -> None:
        for turn in range(20):
            row = append(log, thread * 100 + turn, ops=[Put(b"own/%d/%d" % (thread, turn), b"")])
            written.append(row)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(row.sequence for row in written) == list(range(1, 481))
    assert sorted(written, key=lambda row: row.sequence) == list(log.scan())
    assert log.verify().first_broken is None
    assert len(list(store.keys(b"own/"))) == 480
    assert store.stats().synced_commits < 240


# ── harm ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def five() -> tuple[MemoryKeyValue, AuditLog]:
    kv = MemoryKeyValue()
    log = AuditLog(kv)
    for number in range(1, 6):
        append(log, number)
    return kv, log


@pytest.mark.parametrize("field", AuditRow.__struct_fields__[1:])
def test_change_of_any_field_is_noticed_at_its_entry(
    five: tuple[MemoryKeyValue, AuditLog], field: str
) -> None:
    kv, log = five
    row = AUDIT.get(kv, 3)
    assert row is not None
    value = getattr(row, field)
    changed = (
        value + 1
        if isinstance(value, int)
        else value + value[:1]
        if isinstance(value, bytes)
        else value + "x"
    )
    kv.write([AUDIT.put(msgspec.structs.replace(row, **{field: changed}))], sync=False)
    finding = log.verify()
    assert (finding.first_broken, finding.count) == (3, 2)


def test_rewritten_entry_with_a_fitting_hash_breaks_the_next(five: tuple[MemoryKeyValue, AuditLog]) -> None:
    kv, log = five
    row = AUDIT.get(kv, 3)
    assert row is not None
    forged = msgspec.structs.replace(row, outcome="refused")
    kv.write([AUDIT.put(msgspec.structs.replace(forged, hash=entry_hash(forged)))], sync=False)
    assert log.verify().first_broken == 4


@pytest.mark.parametrize("number", [1, 3, 5])
def test_missing_entry_is_noticed(five: tuple[MemoryKeyValue, AuditLog], number: int) -> None:
    kv, log = five
    kv.write([AUDIT.delete(number)], sync=False)
    assert log.verify().first_broken == number


def test_skipped_number_is_noticed_though_all_hashes_fit() -> None:
    kv = MemoryKeyValue()
    log = AuditLog(kv)
    append(log, 1)
    second = append(log, 2)
    kv.write([AUDIT.delete(2)], sync=False)
    moved = msgspec.structs.replace(second, sequence=3)
    kv.write([AUDIT.put(msgspec.structs.replace(moved, hash=entry_hash(moved)))], sync=False)
    finding = log.verify()
    assert (finding.first_broken, finding.count) == (2, 1)


def test_malformed_entry_is_noticed(five: tuple[MemoryKeyValue, AuditLog]) -> None:
    kv, log = five
    kv.write([Put(AUDIT.key(2), b"\x0b\x01garbage")], sync=False)
    assert log.verify().first_broken == 2


def test_text_without_canonical_form_is_refused_and_fails_no_other(
    five: tuple[MemoryKeyValue, AuditLog],
) -> None:
    kv, log = five
    before = log.head()
    for reason in ("e\u0301", "\ud800"):
        with pytest.raises(ValueNotCanonical):
            log.append(
                [Put(b"own", b"")], time=1, actor="a", action="b", object_id="c", outcome="d", reason=reason
            )
    assert (log.head(), kv.get(b"own")) == (before, None)


class SlowToWrite(MemoryKeyValue):
    """A dictionary whose writes last until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.go_on = threading.Event(), threading.Event()

    def write(self, ops: Sequence[Put | Delete], *, sync: bool) -> None:
        self.entered.set()
        self.go_on.wait(timeout=30)
        super().write(ops, sync=sync)


def test_refused_entry_takes_no_other_down_with_it() -> None:
    kv = SlowToWrite()
    log = AuditLog(kv)
    refused: list[str] = []

    def append_malformed() -> None:
        try:
            log.append((), time=1, actor="a", action="b", object_id="c", outcome="d", reason="\ud800")
        except ValueNotCanonical as error:
            refused.append(error.code)

    first = threading.Thread(target=append, args=(log, 1))
    first.start()
    kv.entered.wait(timeout=30)
    bad = threading.Thread(target=append_malformed)
    bad.start()
    while bad.is_alive() and not log._group._queue:
        pass  # refused at once, or it waits for the commit that is under way
    good = threading.Thread(target=append, args=(log, 2))
    good.start()
    while not any(ticket.request.writes[0].event.request_id == "req_2" for ticket in list(log._group._queue)):
        pass
    kv.go_on.set()
    for thread in (first, bad, good):
        thread.join(timeout=30)
    assert refused == ["value_not_canonical"]
    assert [row.request_id for row in log.scan()] == ["req_1", "req_2"]


def test_failed_write_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with make.made(path) as store:
        append(AuditLog(store), 1)
    with LevelStore.open(path, seal=make.seal(), reserve_bytes=1 << 60) as store:
        log = AuditLog(store)
        with pytest.raises(StoreFull):
            append(log, 2)
        assert (log.head().sequence, log.verify().first_broken) == (1, None)
    with make.opened(path) as store:
        log = AuditLog(store)
        assert append(log, 2).sequence == 2
        assert log.verify().count == 2
