"""Rows and keys of the main store: every table round trips, and nothing else is taken for a row."""

import contextlib
import typing
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ulid import ULID

from node.errors import RowMalformed
from node.store import rows
from node.store.rows import TABLES, Table
from tests.unit.keyvalue_suite import MemoryKeyValue

ULIDS = st.binary(min_size=16, max_size=16).map(lambda raw: str(ULID.from_bytes(raw)))
IDS = st.builds(lambda prefix, ulid: f"{prefix}_{ulid}", st.sampled_from(["mat", "req", "blb"]), ULIDS)
HEX = st.binary(min_size=32, max_size=32).map(bytes.hex)
# Texts that are stored as the bytes they stand for, and others that almost are.
TEXT = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=20),
    st.text("0123456789abcdef", min_size=63, max_size=65),
    st.builds(lambda name, rest: name + rest, IDS, st.sampled_from(["", ".1", ".1.2.0", "…"])),
    IDS.map(str.lower),
    HEX.map(str.upper),
    HEX,
)
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    bytes: st.binary(max_size=20),
    int: st.integers(0, 2**63 - 1),
    bool: st.booleans(),
    list[str]: st.lists(TEXT, max_size=3),
    dict[str, str]: st.dictionaries(TEXT, TEXT, max_size=3),
    list[int]: st.lists(st.integers(0, 2**63 - 1), max_size=3),
    list[bytes]: st.lists(st.binary(max_size=20), max_size=3),
    list[rows.SubjectRow]: st.lists(st.builds(rows.SubjectRow, TEXT, TEXT, TEXT), max_size=3),
    list[rows.ErasedVersion]: st.lists(
        st.builds(rows.ErasedVersion, st.integers(0, 9), st.binary(max_size=9)), max_size=3
    ),
    list[rows.ErasedBlob]: st.lists(st.builds(rows.ErasedBlob, TEXT, st.integers(0, 9)), max_size=3),
}


each_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)


def any_row(table: Table[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for rows of a table."""
    hints = typing.get_type_hints(table.row_type)
    return st.builds(
        table.row_type, **{name: VALUES[hints[name]] for name in table.row_type.__struct_fields__}
    )


def sample(table: Table[Any]) -> Any:
    """Return a row of the table with plain values."""
    plain: dict[Any, Any] = {
        str: "a",
        bytes: b"b",
        int: 7,
        bool: True,
        list[str]: ["c"],
        dict[str, str]: {"d": "e"},
    }
    plain |= {list[int]: [7], list[bytes]: [b"b"]}
    plain[list[rows.SubjectRow]] = [rows.SubjectRow("111", "id", "holder")]
    plain[list[rows.ErasedVersion]] = [rows.ErasedVersion(1, b"c")]
    plain[list[rows.ErasedBlob]] = [rows.ErasedBlob("blb_1", 2)]
    hints = typing.get_type_hints(table.row_type)
    return table.row_type(**{name: plain[hints[name]] for name in table.row_type.__struct_fields__})


def test_kinds_and_names_on_disk_never_change() -> None:
    pinned = {table.put(sample(table)).value[:2]: table.name for table in TABLES}
    names = (
        "material version by_agency by_subject dedupe commitment api_key idempotency reuse job audit nonce"
    )
    names += " release checkpoint setting unconfirmed waiting peer_checkpoint fork status_token timestamp"
    kinds = {bytes([kind, 1]): name for kind, name in enumerate(names.split(), start=1)}
    kinds |= {
        bytes([kind, 1]): name for kind, name in enumerate(["erasure", "backup", "notice", "notice_in"], 24)
    }
    assert pinned == kinds


@each_table
@settings(max_examples=15)
@given(st.data())
def test_every_row_comes_back_as_it_was(table: Table[Any], data: st.DataObject) -> None:
    kv, row = MemoryKeyValue(), data.draw(any_row(table))
    kv.write([table.put(row)], sync=False)
    ids = [getattr(row, name) for name in table._ids]
    assert table.get(kv, *ids) == row
    assert list(table.scan(kv)) == [row]
    kv.write([table.delete(*ids)], sync=False)
    assert table.get(kv, *ids) is None


@each_table
@given(content=st.binary(max_size=60))
def test_random_bytes_raise_only_the_typed_error(table: Table[Any], content: bytes) -> None:
    put = table.put(sample(table))
    for value in (content, put.value[:2] + content):
        with contextlib.suppress(RowMalformed):
            assert table.put(table.decode(put.key, value)).key == put.key


@each_table
def test_unknown_kind_version_and_surplus_field_are_refused(table: Table[Any]) -> None:
    put = table.put(sample(table))
    fields = msgspec.msgpack.decode(put.value[2:])
    broken = [
        b"",
        bytes([put.value[0] + 1]) + put.value[1:],
        put.value[:1] + b"\x02" + put.value[2:],
        put.value[:2] + msgspec.msgpack.encode([*fields, "more"]),
        put.value + b"\x00",
        put.value[:2] + msgspec.msgpack.encode({}),
        put.value[:2],
    ]
    if fields:
        broken.append(put.value[:2] + msgspec.msgpack.encode(fields[:-1]))
        broken.append(put.value[:2] + msgspec.msgpack.encode([None, *fields[1:]]))
    for value in broken:
        with pytest.raises(RowMalformed) as caught:
            table.decode(put.key, value)
        assert caught.value.facts == {"row": table.name}


@each_table
def test_row_under_the_key_of_another_is_refused(table: Table[Any]) -> None:
    put = table.put(sample(table))
    with pytest.raises(RowMalformed):
        table.decode(put.key + b"\x00", put.value)


def test_rows_are_as_small_as_their_values() -> None:
    put = rows.COMMITMENT.put(rows.CommitmentRow("ab", "mat_1", 1))
    assert (put.key, put.value) == (b"commitment/\x02ab", b"\x06\x01\x92\xa5mat_1\x01")


def test_a_commitment_is_found_by_its_bytes_where_its_hex_is_kept() -> None:
    commitment = bytes(range(32))
    assert rows.commitment_key(commitment) == rows.COMMITMENT.key(commitment.hex())


def test_ids_and_digests_are_stored_as_the_bytes_they_stand_for() -> None:
    digest, material = "5a" * 32, "mat_01JCV3Z5Y8K7Q2M4N6P8R0S2T4"
    packed = b"mat" + ULID.from_str(material[4:]).bytes
    put = rows.COMMITMENT.put(rows.CommitmentRow(digest, material, 1))
    assert put.key == b"commitment/\xf9" + b"\x5a" * 32
    assert put.value == b"\x06\x01\x92\xc4\x14\x02" + packed + b"\x01"
    assert rows.MATERIAL.key(material) == b"material/\xf8" + packed
    assert rows.chunk_key("blb" + material[3:], 1) == b"blob/\xf8blb" + packed[3:] + bytes(7) + b"\x01"


@given(st.lists(IDS, min_size=2, max_size=6))
def test_compact_ids_sort_as_the_ids_do(ids: list[str]) -> None:
    assert sorted(ids, key=rows.MATERIAL.key) == sorted(ids)


@given(TEXT | st.text(max_size=100))
def test_a_text_comes_back_from_its_compact_form(text: str) -> None:
    assert rows.expand(rows.compact(text)) == text


@pytest.mark.parametrize(
    "stored", [b"", b"\x01", b"\x01" + bytes(31), b"\x02" + bytes(18), b"\x03" + bytes(32)]
)
def test_bytes_that_stand_for_no_text_are_refused(stored: bytes) -> None:
    with pytest.raises(ValueError, match="compact"):
        rows.expand(stored)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=2, max_size=2, unique=True))
def test_two_different_ids_never_share_a_key(pair: list[tuple[str, str]]) -> None:
    first, second = (rows.BY_AGENCY.key(*ids) for ids in pair)
    assert first != second and not first.startswith(second) and not second.startswith(first)


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_numbers_sort_as_numbers(a: int, b: int) -> None:
    assert (a < b) == (rows.AUDIT.key(a) < rows.AUDIT.key(b))


@pytest.mark.parametrize("part", [-1, 2**63, "x" * 256, b"x" * 256, "\ud800"])
def test_part_that_cannot_be_in_a_key_is_refused(part: rows.KeyPart) -> None:
    with pytest.raises(RowMalformed):
        rows.SETTING.key(part)


def test_row_without_an_encoding_is_refused() -> None:
    for value in ("\ud800", 2**64):
        with pytest.raises(RowMalformed):
            rows.NONCE.put(rows.NonceRow(1, b"n", value))  # type: ignore[arg-type]


def test_wrong_number_of_ids_is_refused() -> None:
    for ids in ((), ("a",), ("a", 1, 2)):
        with pytest.raises(RowMalformed):
            rows.VERSION.get(MemoryKeyValue(), *ids)
        with pytest.raises(RowMalformed):
            rows.VERSION.delete(*ids)


@pytest.fixture
def listed() -> MemoryKeyValue:
    kv = MemoryKeyValue()
    kv.write(
        [
            rows.BY_AGENCY.put(rows.AgencyLookupRow(agency, f"mat_{n}"))
            for agency in ("A", "AB", "B")
            for n in range(1, 6)
        ],
        sync=False,
    )
    return kv


def names(found: typing.Iterable[rows.AgencyLookupRow]) -> list[str]:
    return [row.material_id[-1] for row in found]


def test_scan_stays_with_its_ids(listed: MemoryKeyValue) -> None:
    assert {row.agency for row in rows.BY_AGENCY.scan(listed, "A")} == {"A"}
    assert names(rows.BY_AGENCY.scan(listed, "A")) == ["1", "2", "3", "4", "5"]
    assert names(rows.BY_AGENCY.scan(listed, "A", reverse=True)) == ["5", "4", "3", "2", "1"]
    assert names(rows.BY_AGENCY.scan(listed, "none")) == []


def test_scan_begins_at_start_inclusive(listed: MemoryKeyValue) -> None:
    assert names(rows.BY_AGENCY.scan(listed, "A", start="mat_3")) == ["3", "4", "5"]
    assert names(rows.BY_AGENCY.scan(listed, "A", start="mat_3", reverse=True)) == ["3", "2", "1"]


def test_scan_in_reverse_begins_below_before(listed: MemoryKeyValue) -> None:
    assert names(rows.BY_AGENCY.scan(listed, "A", before="mat_3", reverse=True)) == ["2", "1"]
    assert names(rows.BY_AGENCY.scan(listed, "A", before="", reverse=True, limit=2)) == ["5", "4"]
    assert names(rows.BY_AGENCY.scan(listed, "A", before="mat_1", reverse=True)) == []


def test_limit_ends_a_scan(listed: MemoryKeyValue) -> None:
    assert names(rows.BY_AGENCY.scan(listed, "A", limit=2)) == ["1", "2"]
    assert names(rows.BY_AGENCY.scan(listed, "A", limit=0)) == []


@given(IDS | st.text("abcXYZ019_", min_size=1, max_size=64), st.integers(0, 2**40))
def test_upload_mark_and_chunk_name_their_blob(blob_id: str, number: int) -> None:
    assert rows.upload_id(rows.upload_key(blob_id)) == blob_id
    assert rows.chunk_blob_id(rows.chunk_key(blob_id, number)) == blob_id
    assert rows.chunk_key(blob_id, number).startswith(rows.blob_prefix(blob_id))


@pytest.mark.parametrize("blob_id", ["", "a/b", "a" * 65, "ü", "a\x00", "a b"])
def test_blob_id_with_other_characters_is_refused(blob_id: str) -> None:
    with pytest.raises(RowMalformed):
        rows.chunk_key(blob_id, 0)


@pytest.mark.parametrize(
    "key", [b"upload/", b"upload/\x05ab", b"upload/\x02a/", b"upload/\x02\xff\xff", b"upload/\xf8"]
)
def test_malformed_upload_mark_is_refused(key: bytes) -> None:
    with pytest.raises(RowMalformed):
        rows.upload_id(key)
