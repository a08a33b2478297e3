"""The demonstration's papers: real files of four formats, the same bytes from the same seed."""

import io
import json
import struct
import zipfile
import zlib
from xml.etree import ElementTree

import pytest

from cli.demo import people
from cli.demo.files import DEFAULT_SEED, Paper, PaperMill
from cli.demo.folder import clean_name

FIRM, PROJECT = people.FIRM_SHENQIAO, people.PROJECT_QP
OFD = "{http://www.ofdspec.org/2016}"


def papers(seed: int = DEFAULT_SEED) -> dict[str, Paper]:
    mill = PaperMill(seed)
    return {
        "licence": mill.licence(FIRM, "LIC-DEMO-0001"),
        "lease": mill.lease([FIRM, people.PEOPLE[0]], "LEASE-DEMO-0001"),
        "insurance": mill.insurance(people.FIRM_FENHU, "INS-DEMO-0001"),
        "permit": mill.permit(PROJECT, "建设用地规划许可证", "LAND-DEMO-0001"),
        "marriage": mill.scan("结婚证", "MARR-DEMO-0001"),
        "invoice": mill.invoice(FIRM, "26310000000000000001", amount_fen=1_280_000),
    }


# Made once by the code under test and pinned: they change only when the papers are meant to change.
GOLDEN = {
    "licence": "93943b4b5b1a586e014e924d296b05bd1def649d758af7f3c6c9f07043f3d144",
    "lease": "94796cabdf84cc5b0385b4d8100dad9225c7262d54c87149ceaa6f3eafdfdf89",
    "insurance": "58bfb44619d176f9c3a400028d542a9dbac0cf42841d20b96450b7b59fa82151",
    "permit": "685a742d0c85b207e54fd327a8134434759a1b28c269264b495d8b4d9af6686d",
    "marriage": "57cda045bfb90c900acc05f3aa3a5569c9160d9c714665d0e8163486c2a9e717",
    "invoice": "074b0304f3b0ebcea8b0f00a24589ecf1dbb2e63e659e725eba4596fe2ba7c46",
}


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_default_seed_gives_the_golden_bytes(name: str) -> None:
    assert papers()[name].sha256 == GOLDEN[name]


def test_another_seed_gives_other_bytes() -> None:
    first, second = papers(), papers(seed=1)
    assert all(first[name].sha256 != second[name].sha256 for name in first)


def test_pdf_has_header_text_and_trailer() -> None:
    content = papers()["licence"].content
    assert content.startswith(b"%PDF-1.")
    assert content.rstrip().endswith(b"%%EOF")
    assert b"/STSong-Light" in content
    start = int(content.rsplit(b"startxref", 1)[1].split()[0])
    assert content[start:].startswith(b"xref")


def test_ofd_is_a_package_whose_parts_lead_to_its_text() -> None:
    with zipfile.ZipFile(io.BytesIO(papers()["permit"].content)) as package:
        assert package.testzip() is None
        root = ElementTree.fromstring(package.read("OFD.xml"))  # noqa: S314 - our own bytes
        document = root.find(f".//{OFD}DocRoot").text
        body = ElementTree.fromstring(package.read(document))  # noqa: S314
        page = body.find(f".//{OFD}Page").get("BaseLoc")
        text = ElementTree.fromstring(package.read(f"Doc_0/{page}"))  # noqa: S314
    lines = [code.text for code in text.iter(f"{OFD}TextCode")]
    assert f"项目代码 {PROJECT.id}" in lines


def test_png_chunks_have_right_checksums_and_pixels() -> None:
    content = papers()["marriage"].content
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = {}, 8
    while at < len(content):
        size, kind = struct.unpack_from(">I4s", content, at)
        body = content[at + 8 : at + 8 + size]
        assert zlib.crc32(kind + body) == struct.unpack_from(">I", content, at + 8 + size)[0]
        chunks[kind] = body
        at += 12 + size
    width, height, depth, colour = struct.unpack_from(">IIBB", chunks[b"IHDR"])
    assert (depth, colour) == (8, 0)
    assert len(zlib.decompress(chunks[b"IDAT"])) == height * (width + 1)


def test_invoice_is_json_with_its_amount_in_fen() -> None:
    invoice = json.loads(papers()["invoice"].content)
    assert (invoice["invoiceNumber"], invoice["amountFen"]) == ("26310000000000000001", 1_280_000)


def test_renewed_lease_differs_from_the_first() -> None:
    mill = PaperMill()
    assert mill.lease([FIRM], "L-1").sha256 != mill.lease([FIRM], "L-1", edition=2).sha256


@pytest.mark.parametrize("bit", [0, 7, 8, 4_001])
def test_flipped_changes_exactly_one_bit(bit: int) -> None:
    paper = papers()["licence"]
    altered = paper.flipped(bit=bit)
    differing = int.from_bytes(paper.content, "big") ^ int.from_bytes(altered, "big")
    assert differing.bit_count() == 1
    assert len(altered) == len(paper.content)


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("licence.pdf", "licence.pdf"),
        ("e\u0301.txt", "\u00e9.txt"),
        ("a\nb\x1b[31m.txt", "a\ufffdb\ufffd[31m.txt"),
        ("back\\slash", "back_slash"),
        ("x" * 300 + ".tar", "x" * 251 + ".tar"),
        ("档" * 100 + ".pdf", "档" * 83 + ".pdf"),
        ("bad\udcff.bin", "bad\ufffd.bin"),
        ("...", "..."),
    ],
)
def test_file_names_become_plain_text(name: str, clean: str) -> None:
    assert clean_name(name) == clean
    assert len(clean_name(name).encode()) <= 255
