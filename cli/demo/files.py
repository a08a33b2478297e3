"""The papers of the demonstration, made from a seed: PDF, OFD, PNG and JSON, the same bytes on every machine.

Nothing here depends on a compressor, a clock or a locale: streams are stored and dates fixed, so that the
digests of the default seed are golden values in the tests. The papers carry no dates of their own; those
stand in what is pushed with them. Imports reportlab (PDF) and `cli.demo.people`.
"""

import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

from cli.demo.people import Party

#: The date of the work points; the golden digests belong to it.
DEFAULT_SEED = 20230314

_PDF_FONT = "STSong-Light"  # one of the CID fonts that every PDF reader brings: nothing is embedded
_OFD_NAMESPACE = "http://www.ofdspec.org/2016"
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_PNG_SIDE_PX = 160
_STORED_BLOCK_BYTES = 65_535


@dataclass(frozen=True, slots=True)
class Paper:
    """A file as a person would bring it."""

    file_name: str
    media_type: str
    content: bytes

    @property
    def sha256(self) -> str:
        """Return the digest in lower-case hex."""
        return hashlib.sha256(self.content).hexdigest()

    def flipped(self, *, bit: int) -> bytes:
        """Return the bytes with one bit turned, `bit` counted from the first byte's highest."""
        altered = bytearray(self.content)
        altered[bit // 8] ^= 0x80 >> (bit % 8)
        return bytes(altered)


@dataclass(frozen=True, slots=True)
class PaperMill:
    """Makes papers; the same seed and arguments give the same bytes."""

    seed: int = DEFAULT_SEED

    def licence(self, firm: Party, document_no: str) -> Paper:
        """Return a business licence (PDF)."""
        lines = (f"名称 {firm.zh}", f"统一社会信用代码 {firm.id}", f"证照编号 {document_no}", firm.en)
        return self._pdf("营业执照", document_no, lines)

    def lease(self, tenants: Sequence[Party], document_no: str, *, edition: int = 1) -> Paper:
        """Return a registered lease (PDF); `edition` tells a renewed one from the first."""
        parties = tuple(f"承租人 {tenant.zh} {tenant.id}" for tenant in tenants)
        return self._pdf(
            "房屋租赁合同(备案)", document_no, (*parties, f"备案号 {document_no}", f"第 {edition} 版")
        )

    def insurance(self, party: Party, document_no: str) -> Paper:
        """Return a proof of social-insurance payments (PDF)."""
        return self._pdf(
            "社会保险缴费证明", document_no, (f"缴费主体 {party.zh} {party.id}", f"编号 {document_no}")
        )

    def permit(self, project: Party, title: str, document_no: str) -> Paper:
        """Return an approval of a project (OFD)."""
        lines = (
            title,
            f"项目 {project.zh}",
            f"项目代码 {project.id}",
            f"文号 {document_no}",
            self._serial(document_no),
        )
        content = encode_ofd(title, lines, document_id=self._digest("ofd", document_no).hex()[:32])
        return Paper(f"{title}-{document_no}.ofd", "application/ofd", content)

    def scan(self, title: str, document_no: str) -> Paper:
        """Return a scanned certificate (PNG, grey): a seal on paper noise that follows the seed."""
        rows = _seal_rows(self._digest("scan", document_no))
        return Paper(f"{title}-{document_no}.png", "image/png", encode_png(_PNG_SIDE_PX, rows))

    def invoice(self, buyer: Party, number: str, *, amount_fen: int) -> Paper:
        """Return a structured e-invoice (JSON); `number` has 20 digits, the amount is in fen."""
        fields = {
            "invoiceNumber": number,
            "buyerCode": buyer.id,
            "buyerName": buyer.zh,
            "amountFen": amount_fen,
            "note": "演示",
            "serial": self._serial(number),
        }
        content = json.dumps(fields, ensure_ascii=False, sort_keys=True, indent=1).encode()
        return Paper(f"增值税电子发票-{number}.json", "application/json", content)

    def _pdf(self, title: str, document_no: str, lines: Sequence[str]) -> Paper:
        content = encode_pdf(f"{title}(演示)", (*lines, self._serial(document_no)))
        return Paper(f"{title}-{document_no}.pdf", "application/pdf", content)

    def _serial(self, document_no: str) -> str:
        return f"流水 {self._digest('serial', document_no).hex()[:24]}"

    def _digest(self, use: str, document_no: str) -> bytes:
        return hashlib.sha256(f"{self.seed}/{use}/{document_no}".encode()).digest()


def encode_pdf(title: str, lines: Sequence[str]) -> bytes:
    """Return a one-page PDF with `title` above `lines`; `invariant` keeps date and identifier fixed."""
    if _PDF_FONT not in pdfmetrics.getRegisteredFontNames():
        pdfmetrics.registerFont(UnicodeCIDFont(_PDF_FONT))
    sink = io.BytesIO()
    # No page compression: the bytes then do not depend on which zlib the machine has.
    canvas = Canvas(sink, invariant=1, pageCompression=0)
    canvas.setTitle(title)
    canvas.setFont(_PDF_FONT, 22)
    canvas.drawCentredString(297, 740, title)
    canvas.setFont(_PDF_FONT, 12)
    for number, line in enumerate(lines):
        canvas.drawString(90, 680 - 24 * number, line)
    canvas.showPage()
    canvas.save()
    return sink.getvalue()


def encode_ofd(title: str, lines: Sequence[str], *, document_id: str) -> bytes:
    """Return a minimal OFD of one page (GB/T 33190-2016): a ZIP of XML parts with fixed dates, stored."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as package:
        for name, text in _ofd_parts(title, lines, document_id).items():
            entry = zipfile.ZipInfo(name, date_time=_ZIP_EPOCH)
            entry.create_system = 3  # Python writes the system it runs on otherwise.
            entry.external_attr = 0o644 << 16
            package.writestr(entry, text.encode())
    return sink.getvalue()


def _ofd_parts(title: str, lines: Sequence[str], document_id: str) -> Mapping[str, str]:
    document = (
        "<ofd:CommonData><ofd:MaxUnitID>99</ofd:MaxUnitID>"
        "<ofd:PageArea><ofd:PhysicalBox>0 0 210 297</ofd:PhysicalBox></ofd:PageArea>"
        "<ofd:PublicRes>PublicRes.xml</ofd:PublicRes></ofd:CommonData>"
        '<ofd:Pages><ofd:Page ID="1" BaseLoc="Pages/Page_0/Content.xml"/></ofd:Pages>'
    )
    body = (
        f"<ofd:DocBody><ofd:DocInfo><ofd:DocID>{document_id}</ofd:DocID><ofd:Title>{escape(title)}</ofd:Title>"
        "<ofd:CreationDate>2000-01-01</ofd:CreationDate></ofd:DocInfo>"
        "<ofd:DocRoot>Doc_0/Document.xml</ofd:DocRoot></ofd:DocBody>"
    )
    fonts = '<ofd:Fonts><ofd:Font ID="2" FontName="宋体" FamilyName="宋体"/></ofd:Fonts>'
    return {
        "OFD.xml": _ofd_xml("OFD", body, ' Version="1.1" DocType="OFD"'),
        "Doc_0/Document.xml": _ofd_xml("Document", document),
        "Doc_0/PublicRes.xml": _ofd_xml("Res", fonts, ' BaseLoc="Res"'),
        "Doc_0/Pages/Page_0/Content.xml": _ofd_xml("Page", _ofd_page(lines)),
    }


def _ofd_xml(root: str, body: str, attributes: str = "") -> str:
    head = f'<?xml version="1.0" encoding="UTF-8"?>\n<ofd:{root} xmlns:ofd="{_OFD_NAMESPACE}"{attributes}>'
    return f"{head}{body}</ofd:{root}>\n"


def _ofd_page(lines: Sequence[str]) -> str:
    texts = "".join(
        f'<ofd:TextObject ID="{10 + number}" Boundary="20 {30 + 12 * number} 170 10" Font="2" Size="5">'
        f'<ofd:TextCode X="0" Y="6">{escape(line)}</ofd:TextCode></ofd:TextObject>'
        for number, line in enumerate(lines)
    )
    return f'<ofd:Content><ofd:Layer ID="3" Type="Body">{texts}</ofd:Layer></ofd:Content>'


def encode_png(side_px: int, rows: Iterator[bytes]) -> bytes:
    """Return a square 8-bit grey PNG of `rows`, each `side_px` bytes (ISO/IEC 15948)."""
    header = struct.pack(">IIBBBBB", side_px, side_px, 8, 0, 0, 0, 0)
    pixels = b"".join(b"\0" + row for row in rows)  # filter 0: none
    chunks = ((b"IHDR", header), (b"IDAT", _zlib_stored(pixels)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(kind, body) for kind, body in chunks)


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _zlib_stored(content: bytes) -> bytes:
    """Return `content` as a zlib stream of stored blocks (RFC 1950; RFC 1951 §3.2.4), free of compressors."""
    blocks = []
    for start in range(0, len(content), _STORED_BLOCK_BYTES):
        block = content[start : start + _STORED_BLOCK_BYTES]
        last = start + len(block) == len(content)
        blocks.append(struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF) + block)
    return b"\x78\x01" + b"".join(blocks) + struct.pack(">I", zlib.adler32(content))


def _seal_rows(key: bytes) -> Iterator[bytes]:
    """Yield grey rows: a ring and a bar, as a stamp has, on noise that `key` decides."""
    middle = _PNG_SIDE_PX // 2
    for y in range(_PNG_SIDE_PX):
        noise = hashlib.shake_128(key + y.to_bytes(2, "big")).digest(_PNG_SIDE_PX)
        yield bytes(_seal_grey(x - middle, y - middle, noise[x]) for x in range(_PNG_SIDE_PX))


def _seal_grey(x: int, y: int, noise: int) -> int:
    on_ring = 60**2 <= x * x + y * y <= 66**2
    on_bar = abs(x) <= 36 and abs(y) <= 4
    return 40 + noise % 24 if on_ring or on_bar else 224 + noise % 32
