"""Draw the slip of a material: one A4 page with what the receipt opens and a QR code to its status page.

The QR code holds an address, never the receipt or a field of it. Chinese text is set in STSong-Light, one of the
fonts that PDF viewers bring with their Chinese support: it is named in the file, not embedded, since none that may be
passed on is at hand. Spec page: docs/reference/slip.md.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import segno
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas

from node.context import render_time
from verifier.receipts import SLOTS_FIELD, Receipt

FONT = "STSong-Light"
QR_MM = 46
_LINE_CHARACTERS = 44
NAMES = {
    "agency": "机构 Agency",
    "asserted": "仅登记摘要 Digest only",
    "caseNo": "办件编号 Case",
    "custodian": "保管成员 Custodian",
    "documentNo": "证件编号 Document no.",
    "expiresOn": "有效期至 Expires",
    "issuedOn": "签发日期 Issued",
    "level": "分级 Level",
    "mediaType": "格式 Media type",
    "sha256": "SHA-256",
    "sm3": "SM3",
    "size": "字节 Bytes",
    "typeCode": "材料类型 Type",
    "version": "版本 Version",
}


def draw_slip(receipt: Receipt, *, address: str, expires_at: int) -> bytes:
    """Return the PDF of a slip; the same receipt, address and time give the same bytes."""
    pdfmetrics.registerFont(UnicodeCIDFont(FONT))
    sheet = io.BytesIO()
    canvas = Canvas(sheet, pagesize=A4, invariant=True, lang="zh-CN")
    canvas.setTitle("材料核验单 Verification slip")
    canvas.setAuthor("Deltaseal")
    canvas.setFont(FONT, 20)
    canvas.drawString(20 * mm, 270 * mm, "材料核验单  Verification slip")
    _draw_lines(canvas, _facts(receipt), top_mm=255)
    _draw_code(canvas, address)
    canvas.setFont(FONT, 10)
    for number, line in enumerate(_notes(address, expires_at)):
        canvas.drawString(72 * mm, (58 - 6 * number) * mm, line)
    canvas.showPage()
    canvas.save()
    return sheet.getvalue()


def _facts(receipt: Receipt) -> list[tuple[str, str]]:
    # Names of slots are for programs that verify.
    opened = [each for each in receipt.opening.opened if each.name != SLOTS_FIELD]
    shown = [(NAMES.get(each.name, each.name), str(each.value)) for each in opened]
    status = receipt.status
    return [
        *shown,
        ("上链时间 Sealed at", render_time(receipt.entry.time)),
        ("上链成员 Sealed by member", str(receipt.member_id)),
        ("制单时区块 Made at block", f"{status.as_of_block}, {render_time(status.as_of_time)}"),
    ]


def _notes(address: str, expires_at: int) -> list[str]:
    return [
        "扫码查看当前是否有效; 本单不证明现时状态。",
        "Scan for the present validity; this slip proves none.",
        f"核验码有效期至 Code works until {render_time(expires_at)}",
        address,
    ]


def _draw_lines(canvas: Canvas, facts: Sequence[tuple[str, str]], *, top_mm: float) -> None:
    at = top_mm
    for name, value in facts:
        canvas.setFont(FONT, 10)
        canvas.drawString(20 * mm, at * mm, name)
        for start in range(0, max(len(value), 1), _LINE_CHARACTERS):
            canvas.drawString(72 * mm, at * mm, value[start : start + _LINE_CHARACTERS])
            at -= 5.5
        at -= 1.5


def _draw_code(canvas: Canvas, address: str) -> None:
    code = segno.make(address, error="m", micro=False)
    size = len(code.matrix)
    module = QR_MM * mm / size
    for row, line in enumerate(code.matrix):
        for column, dark in enumerate(line):
            if dark:
                canvas.rect(
                    20 * mm + column * module,
                    14 * mm + (size - 1 - row) * module,
                    module,
                    module,
                    stroke=0,
                    fill=1,
                )
