"""One plain sentence for each verdict, decision and reason, in Chinese and English."""

from __future__ import annotations

VERDICTS: dict[str, tuple[str, str]] = {
    "valid": ("文件有效，可以使用。", "The document is valid and may be used."),
    "suspended": ("文件已被暂停使用，请联系保管单位。", "The document is suspended; ask its custodian."),
    "revoked": ("文件已被撤销，不能使用。", "The document has been revoked and must not be used."),
    "superseded": ("文件已有新版本，请使用新版本。", "A newer version replaces this document; use that one."),
    "expired": ("文件已过有效期。", "The document has expired."),
    "erased": ("文件已依法删除，不能再使用。", "The document has been erased and can no longer be used."),
    "consumed": ("文件只能使用一次，且已被使用。", "The document counts once and has been used."),
    "pending": ("文件已收存，正在上链，请稍后再查。", "The document is being anchored; ask again shortly."),
    "unknown": ("没有找到这份文件的记录。", "No record of this document was found."),
    "stale": (
        "暂时无法确认链上最新状态，请稍后再查。",
        "The present state of the chain cannot be confirmed; ask again shortly.",
    ),
}


def explain_verdict(kind: str, subject_match: str) -> dict[str, str]:
    """Return the sentence for a verdict; about somebody else's file only that is said, it is what counts."""
    zh, en = VERDICTS[kind]
    if subject_match == "mismatch":
        zh = "文件与所填对象不符，不能用于该对象。"
        en = "The document is not about this subject; it must not be used for it."
    return {"zh": zh, "en": en}
