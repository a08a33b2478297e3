"""Lists and items of a push: what is wrong is refused by line, and no list reaches a file outside its folder."""

from __future__ import annotations

import contextlib
import csv
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.errors import ArgumentInvalid, CliError, InputInvalid, InputMissing
from cli.push.items import PushItem, items_of_paths, require_fields, safe_name, walk
from cli.push.lists import PushList, clear_rejects, read_list, write_rejects

SUBJECT = {"idType": "001", "id": "91310115FAKE010322"}
DEFAULTS = {"typeCode": "M1001", "caseNo": "PD-1", "subjects": [SUBJECT]}
DIGEST = "ab" * 32


def reading(folder: Path, text: str, **more: object) -> PushList:
    path = folder / "list.csv"
    path.write_bytes(text.encode())
    return read_list(path, defaults=DEFAULTS, **more)  # type: ignore[arg-type]


def refusal(found: PushList) -> str:
    assert not found.items and len(found.rejected) == 1
    return str(found.rejected[0].error)


def test_a_line_fills_what_the_flags_do_not(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"a")
    text = (
        "path,typeCode,subject,documentNo,caseNo,title,issuedOn,expiresOn\n"
        "a.pdf,M5001,001:91310115FAKE010322:tenant;111:310104185001010014:owner,"
        "No 7,PD-9,租赁合同,2026-01-01,2027-01-01\n"
    )
    (item,) = reading(tmp_path, text).items
    assert item.path == tmp_path / "a.pdf" and item.line == 2
    assert item.meta(DIGEST) == {
        "typeCode": "M5001",
        "caseNo": "PD-9",
        "subjects": [
            {**SUBJECT, "role": "tenant"},
            {"idType": "111", "id": "310104185001010014", "role": "owner"},
        ],
        "documentNo": "No 7",
        "title": "租赁合同",
        "issuedOn": "2026-01-01",
        "expiresOn": "2027-01-01",
        "sha256": DIGEST,
        "fileName": "a.pdf",
        "mediaType": "application/pdf",
    }


def test_columns_are_mapped_and_left_out(tmp_path: Path) -> None:
    found = reading(tmp_path, f"摘要,备注,title\n{DIGEST},x,执照\n", mapping=["摘要=sha256", "备注=-"])
    assert found.items[0].sha256 == DIGEST and found.items[0].path is None


def test_a_spreadsheets_mark_and_encoding_are_read(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes("\ufeffsha256,title\n".encode() + f"{DIGEST},执照\n".encode())
    assert read_list(path, defaults=DEFAULTS).items[0].fields["title"] == "执照"
    path.write_bytes(f"sha256,title\n{DIGEST},执照\n".encode("gb18030"))
    assert read_list(path, defaults=DEFAULTS, encoding="gb18030").items[0].fields["title"] == "执照"
    with pytest.raises(InputInvalid, match="encoding"):
        read_list(path, defaults=DEFAULTS)


@pytest.mark.parametrize(
    "name", ["../secret.pdf", "/etc/passwd", "sub/../../secret.pdf", "link.pdf", "folder-link/secret.pdf"]
)
def test_a_path_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "secret.pdf").write_bytes(b"secret")
    (inner / "link.pdf").symlink_to(tmp_path / "secret.pdf")
    (inner / "folder-link").symlink_to(tmp_path)
    assert "leads out" in refusal(reading(inner, f"path\n{name}\n"))


def test_root_allows_another_folder(tmp_path: Path) -> None:
    files, lists = tmp_path / "files", tmp_path / "lists"
    files.mkdir()
    lists.mkdir()
    (files / "a.pdf").write_bytes(b"a")
    assert reading(lists, "path\na.pdf\n", root=files).items[0].path == files / "a.pdf"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a.pdf,", "no such file"),
        (",12", "64 hex digits"),
        (f",{DIGEST},extra", "3 cells"),
    ],
)
def test_a_wrong_line_is_refused_and_the_others_are_read(tmp_path: Path, line: str, words: str) -> None:
    found = reading(tmp_path, f"path,sha256\n,{DIGEST}\n{line}\n")
    assert len(found.items) == 1 and words in str(found.rejected[0].error)
    assert found.rejected[0].item.line == 3


@pytest.mark.parametrize(
    ("column", "cell", "words"),
    [
        ("subject", "111:310104185001010015", "check_digit"),
        ("subject", "123:1", "id_type"),
        ("subject", "91310115FAKE010322", "TYPE:ID"),
        ("subject", "@ids.txt", "files of subjects"),
        ("issuedOn", "2026-02-30", "YYYY-MM-DD"),
        ("issuedOn", "20260201", "YYYY-MM-DD"),
        ("title", "e\u0301", "NFC"),
        ("title", "a\x07b", "NFC"),
        ("title", "x" * 5000, "4096"),
    ],
)
def test_a_wrong_cell_is_named_and_never_repeated(tmp_path: Path, column: str, cell: str, words: str) -> None:
    message = refusal(reading(tmp_path, f"sha256,{column}\n{DIGEST},{cell}\n"))
    assert words in message and cell not in message


def test_a_line_without_path_and_digest_is_refused(tmp_path: Path) -> None:
    assert "neither a path nor a digest" in refusal(reading(tmp_path, "path,sha256,title\n,,x\n"))


def test_dates_in_the_wrong_order_are_refused(tmp_path: Path) -> None:
    text = f"sha256,issuedOn,expiresOn\n{DIGEST},2026-01-01,2026-01-01\n"
    assert "must follow" in refusal(reading(tmp_path, text))


def test_a_line_that_repeats_another_is_refused(tmp_path: Path) -> None:
    found = reading(tmp_path, f"sha256,title\n{DIGEST},a\n{DIGEST},b\n{DIGEST},a\n")
    assert len(found.items) == 2 and "repeats line 2" in str(found.rejected[0].error)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("path,colour\na,b\n", "unknown column, number 2"),
        ("path,path\na,b\n", "mean the same"),
        ("title\nx\n", "neither path nor sha256"),
        ('path\n"a\n', "not CSV"),
    ],
)
def test_a_wrong_header_refuses_the_list(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(InputInvalid, match=words):
        reading(tmp_path, text)


@pytest.mark.parametrize("mapping", ["path", "=path", "path=colour", "nowhere=path"])
def test_a_wrong_mapping_is_refused(tmp_path: Path, mapping: str) -> None:
    with pytest.raises(ArgumentInvalid):
        reading(tmp_path, f"sha256\n{DIGEST}\n", mapping=[mapping])


@given(st.binary(max_size=300))
def test_random_bytes_raise_only_typed_errors(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "list.csv"
        path.write_bytes(b"path,sha256,subject,title\n" + content)
        with contextlib.suppress(CliError):
            read_list(path, defaults=DEFAULTS)


def test_rejects_can_be_corrected_and_read_again(tmp_path: Path) -> None:
    found = reading(tmp_path, f"sha256,备注\n{DIGEST[:-1]},x\n", mapping=["备注=-"])
    path = tmp_path / "rejects.csv"
    write_rejects(path, found.columns, [(found.rejected[0].item, "argument_invalid", "why")])
    assert path.stat().st_mode & 0o777 == 0o600
    rows = list(csv.DictReader(path.open()))
    assert rows == [
        {"sha256": DIGEST[:-1], "备注": "x", "rejectCode": "argument_invalid", "rejectDetail": "why"}
    ]
    path.write_text(path.read_text().replace(DIGEST[:-1], DIGEST))
    assert len(read_list(path, defaults=DEFAULTS, mapping=["备注=-"]).items) == 1


def test_a_file_that_no_push_wrote_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "thesis.csv"
    path.write_text("my,data\n")
    with pytest.raises(InputInvalid, match="no reject list"):
        write_rejects(path, ["path"], [])
    with pytest.raises(InputInvalid):
        clear_rejects(path)
    assert path.read_text() == "my,data\n"


def test_folders_are_walked_in_order_without_following_links(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("z.txt", "b/y.txt", "a.txt"):
        (tmp_path / name).write_text(name)
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    found = [str(path.relative_to(tmp_path)) for path in walk([tmp_path, tmp_path / "a.txt"])]
    assert found == ["a.txt", "z.txt", "b/y.txt"]


def test_what_is_not_there_or_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputMissing):
        list(walk([tmp_path / "none"]))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputInvalid):
        list(walk([tmp_path / "pipe"]))


@pytest.mark.parametrize("missing", ["typeCode", "caseNo", "subjects"])
def test_a_material_without_type_case_or_subject_is_refused(missing: str) -> None:
    with pytest.raises(ArgumentInvalid, match=missing):
        require_fields({name: value for name, value in DEFAULTS.items() if name != missing})


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("e\u0301te\u0301.pdf", "été.pdf"),
        ("a\nb.pdf", "a\ufffdb.pdf"),
        (b"caf\xe9.txt".decode("utf-8", "surrogateescape"), "caf\ufffd.txt"),
        ('q"uote.txt', "q\ufffduote.txt"),
    ],
)
def test_a_file_name_is_made_safe_for_the_node(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@given(st.text(min_size=1, max_size=400))
def test_a_safe_name_is_short_and_printable(name: str) -> None:
    safe = safe_name(name)
    assert 0 < len(safe.encode()) <= 255 and safe.isprintable() and "/" not in safe


def test_an_items_key_changes_with_file_meta_and_run(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("a")
    (item,) = items_of_paths([path], DEFAULTS)
    other = PushItem(item.shown, {**DEFAULTS, "caseNo": "PD-2"}, path)
    keys = {item.key("run"), item.key("other run"), other.key("run")}
    assert len(keys) == 3 and item.key("run") in keys
    path.write_text("ab")
    assert item.key("run") not in keys
