"""Render the public status page: validity and as-of in one language, nothing else; it works without scripts.

Must not import services or routes. Spec page: docs/reference/slip.md.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from starlette.responses import HTMLResponse

STYLE = (
    "body{font:1.1rem/1.6 system-ui,sans-serif;color:#1a1a1a;background:#fff;max-width:40rem;margin:0 auto;"
    "padding:1rem}header{display:flex;justify-content:space-between;align-items:baseline}"
    "a{color:#0b4f8a}a:focus-visible{outline:3px solid #0b4f8a;outline-offset:2px}"
    ".verdict{font-size:2rem;padding:.5rem 1rem;border:3px solid}.good{color:#0a5c2b}.bad{color:#9b1c1c}"
    "dt{font-weight:600}dd{margin:0}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Robots-Tag": "noindex",
    "Vary": "Accept-Language",
}
WORDS: dict[str, dict[str, Any]] = {
    "zh": {
        "title": "材料有效性核验",
        "language": "语言",
        "other": "English",
        "other_code": "en",
        "as_of": "核验截至",
        "scope": "本页只说明材料当前是否有效, 不显示材料内容、类型或所属单位和个人。",
        "gone": "核验码无效或已过期",
        "gone_hint": "请向持有人索取新的核验单。",
        "kinds": {
            "valid": "有效",
            "suspended": "已暂停使用",
            "revoked": "已撤销",
            "superseded": "已被新版本取代",
            "expired": "已过期",
            "erased": "已删除",
            "consumed": "已使用",
            "pending": "正在上链",
            "unknown": "没有记录",
            "stale": "暂时无法确认",
        },
    },
    "en": {
        "title": "Document validity",
        "language": "Language",
        "other": "中文",
        "other_code": "zh",
        "as_of": "Checked as of",
        "scope": "This page says only whether the document is valid now; not what it is, nor whose.",
        "gone": "This code is unknown or has expired",
        "gone_hint": "Ask the holder for a new slip.",
        "kinds": {
            "valid": "Valid",
            "suspended": "Suspended",
            "revoked": "Revoked",
            "superseded": "Replaced by a newer version",
            "expired": "Expired",
            "erased": "Erased",
            "consumed": "Used",
            "pending": "Being anchored",
            "unknown": "No record",
            "stale": "Cannot be confirmed now",
        },
    },
}


@dataclass(frozen=True, slots=True)
class ShownVerdict:
    """All that the page says about a document: kind, its sentence, and the time of the last final block."""

    kind: str
    sentence: str
    as_of: str | None


def render_status_page(verdict: ShownVerdict | None, lang: str) -> HTMLResponse:
    """Return the page; without a verdict it says that the code leads nowhere, with 404."""
    text = _template().render(lang=lang, words=WORDS[lang], verdict=verdict, style=STYLE)
    headers = {**HEADERS, "Content-Language": lang}
    return HTMLResponse(text, status_code=404 if verdict is None else 200, headers=headers)


@cache
def _template() -> Template:
    loader = PackageLoader("node", "console")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return environment.get_template("status.html")
