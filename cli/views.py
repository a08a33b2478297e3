"""The one home of every result: its columns, their headings in English and Chinese, the words for its codes.

Must not import httpx, typer or rich; `cli/output.py` writes what stands here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Shown = Callable[[Any, str], str]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `path` is a dotted path into the item, `shown` turns the value into text for a language."""

    path: str
    en: str
    zh: str
    shown: Shown | None = None


@dataclass(frozen=True, slots=True)
class View:
    """How items of one sort are shown; `id_path` is what `-o id` prints."""

    columns: tuple[Column, ...]
    id_path: str


# Words that stand in answers as codes, for tables only: (English, Chinese).
WORDS: dict[str, tuple[str, str]] = {
    "raised": ("raised", "告警"),
    "valid": ("valid", "有效"),
    "suspended": ("suspended", "已暂停"),
    "revoked": ("revoked", "已撤销"),
    "superseded": ("superseded", "已被新版取代"),
    "expired": ("expired", "已过期"),
    "erased": ("erased", "已删除"),
    "accepted": ("accepted", "已受理"),
    "keys_destroyed": ("keys destroyed", "密钥已销毁"),
    "deleted": ("deleted, not yet off the disk", "已删除，尚未从磁盘清除"),
    "done": ("done", "已完成"),
    "consumed": ("consumed", "已核销"),
    "pending": ("pending", "等待上链"),
    "unknown": ("unknown", "未找到"),
    "stale": ("stale", "信息过时"),
    "match": ("match", "主体相符"),
    "mismatch": ("MISMATCH", "主体不符"),
    "unchecked": ("unchecked", "未核对主体"),
    "granted": ("granted", "可以复用"),
    "denied": ("denied", "不予复用"),
    "needs_authorization": ("needs authorization", "需要授权"),
    "needs_review": ("needs review", "需要人工审核"),
    "pass": ("pass", "通过"),
    "fail": ("FAIL", "不通过"),
    "warn": ("warn", "提醒"),
    "skipped": ("skipped", "跳过"),
    "unproven": ("not proved", "未证明"),
    "exempt": ("exempt", "免于提交"),
    "bring_paper": ("bring paper", "请带纸质"),
    "not_configured": ("not configured", "未配置"),
    "unavailable": ("unavailable", "暂不可用"),
    "submitted": ("submitted", "已提交"),
    "included": ("included", "已入块"),
    "final": ("final", "已确认"),
    "failed": ("failed", "失败"),
    "queued": ("queued", "排队"),
    "approved": ("approved", "已审核"),
    "retired": ("retired", "已停用"),
    "active": ("active", "有效"),
    "consistent": ("consistent", "一致"),
    "pushed": ("pushed", "已推送"),
    "held": ("held", "此前已有"),
    "done_before": ("done before", "此前已完成"),
    "refused": ("refused", "被拒"),
    "not_usable": ("NOT USABLE", "不可使用"),
    "unproved": ("not wholly proved", "未全部证明"),
    "broken": ("BROKEN", "不成立"),
}


def word(value: Any, lang: str) -> str:
    """Show a code in words; an unknown one is shown as it is."""
    pair = WORDS.get(str(value))
    return str(value) if pair is None else pair[1 if lang == "zh" else 0]


def named(value: Any, lang: str) -> str:
    """Show a name given as {"zh","en"} in the language, or in the other one; other values as they are."""
    if isinstance(value, Mapping) and value.keys() <= {"zh", "en"}:
        return str(value.get(lang) or value.get("en") or value.get("zh") or "")
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def short_hex(value: Any, _lang: str) -> str:
    """Show the first 12 digits of a digest or hash; JSON and CSV carry all."""
    text = str(value)
    return text if len(text) <= 16 else text[: 14 if text.startswith("0x") else 12] + "…"


def joined(value: Any, lang: str) -> str:
    """Show a list as words with spaces between."""
    return (
        " ".join(word(each, lang) for each in value) if isinstance(value, list | tuple) else word(value, lang)
    )


def reason_codes(value: Any, _lang: str) -> str:
    """Show reasons, given as objects with `code` or as text, by their codes."""
    if not isinstance(value, list | tuple):
        return "" if value is None else str(value)
    return ", ".join(str(each.get("code", "")) if isinstance(each, Mapping) else str(each) for each in value)


_ANCHOR = Column("anchor.status", "anchor", "上链", word)
_SHA256 = Column("sha256", "sha256", "摘要", short_hex)
_MATERIAL = (
    Column("materialId", "material", "材料"),
    Column("version", "version", "版本"),
    Column("typeCode", "type", "类型"),
    Column("status", "status", "状态", word),
    _ANCHOR,
    _SHA256,
)

VIEWS: dict[str, View] = {
    "digest": View(
        (
            Column("sha256", "sha256", "sha256"),
            Column("sm3", "sm3", "sm3"),
            Column("size", "size", "字节"),
            Column("path", "file", "文件"),
        ),
        "sha256",
    ),
    "push": View(
        (
            Column("path", "file", "文件"),
            Column("result", "result", "结果", word),
            Column("materialId", "material", "材料"),
            Column("version", "version", "版本"),
            Column("status", "status", "状态", word),
            Column("sha256", "sha256", "摘要", short_hex),
            _ANCHOR,
            Column("code", "problem", "问题"),
        ),
        "materialId",
    ),
    "material": View(_MATERIAL, "materialId"),
    "material_detail": View(
        (
            *_MATERIAL,
            Column("title", "title", "标题"),
            Column("documentNo", "document no.", "证照编号"),
            Column("issuedOn", "issued", "签发日期"),
            Column("expiresOn", "expires", "有效期至"),
            Column("size", "size", "字节"),
            Column("anchor.block", "block", "区块"),
            Column("asserted", "hash only", "仅摘要"),
            Column("subjects", "subjects", "主体"),
        ),
        "materialId",
    ),
    "verdict": View(
        (
            Column("path", "file", "文件"),
            Column("verdict", "verdict", "结论", word),
            Column("subjectMatch", "subject", "主体", word),
            Column("fresh", "fresh", "新鲜"),
            Column("asOf", "as of", "截至"),
            Column("lastKnown", "last known", "此前结论", word),
            Column("finality", "finality", "终局"),
            Column("record.block", "block", "区块"),
        ),
        "verdict",
    ),
    "check": View(
        (
            Column("code", "check", "检查"),
            Column("outcome", "outcome", "结果", word),
            Column("detail", "why", "说明", named),
        ),
        "code",
    ),
    "fact": View((Column("code", "field", "字段"), Column("detail", "value", "值", named)), "code"),
    "requirement": View(
        (
            Column("reqId", "requirement", "要求"),
            Column("name", "name", "名称", named),
            Column("outcome", "outcome", "结果", word),
            Column("route", "route", "途径"),
            Column("typeCode", "type", "类型"),
            Column("reasons", "why", "原因", reason_codes),
        ),
        "reqId",
    ),
    "reuse": View(
        (
            Column("reuseId", "reuse", "复用"),
            Column("outcome", "outcome", "决定", word),
            Column("code", "reason", "原因"),
            Column("material.custodian.name", "custodian", "保管方", named),
            Column("material.issuedOn", "issued", "签发日期"),
            Column("material.expiresOn", "expires", "有效期至"),
            Column("material.block", "block", "区块"),
            Column("content.fileName", "file", "文件"),
            _ANCHOR,
        ),
        "reuseId",
    ),
    "operation": View((Column("operation", "operation", "操作"), _ANCHOR), "operation"),
    "entry": View(
        (
            Column("kind", "kind", "类别"),
            Column("code", "code", "代码"),
            Column("version", "version", "版本"),
            Column("state", "state", "状态", word),
            Column("entry.name", "name", "名称", named),
            Column("entry.title", "title", "标题", named),
            Column("owner", "owner", "所有者"),
            Column("digest", "digest", "摘要", short_hex),
            Column("anchor.status", "anchor", "上链", word),
        ),
        "code",
    ),
    "erasure": View(
        (
            Column("materialId", "material", "材料"),
            Column("status", "status", "状态", word),
            Column("state", "progress", "进度", word),
            Column("erasedAt", "erased at", "删除时间"),
            Column("reasonCode", "reason", "原因"),
            Column("by", "by", "经办"),
        ),
        "materialId",
    ),
    "backup": View(
        (
            Column("backupId", "backup", "备份"),
            Column("createdAt", "made at", "备份时间"),
            Column("place", "place", "存放处"),
        ),
        "backupId",
    ),
    "notice": View(
        (
            Column("memberId", "member told", "已通知成员"),
            Column("attempts", "attempts", "发送次数"),
            Column("acknowledgedAt", "acknowledged at", "确认时间"),
        ),
        "memberId",
    ),
    "notice_in": View(
        (
            Column("memberId", "custodian", "保管成员"),
            Column("commitment", "commitment", "承诺", short_hex),
            Column("receivedAt", "received at", "收到时间"),
            Column("policy", "policy", "处置", word),
            Column("copies", "copies", "副本", joined),
        ),
        "commitment",
    ),
    "import": View(
        (
            Column("published", "published", "已发布"),
            Column("unchanged", "unchanged", "未变"),
            Column("rejected", "rejected", "拒绝"),
        ),
        "published",
    ),
    "finding": View(
        (
            Column("line", "line", "行"),
            Column("kind", "kind", "类别"),
            Column("code", "code", "代码"),
            Column("pointer", "where", "位置"),
            Column("problem", "problem", "问题"),
        ),
        "line",
    ),
    "api_key": View(
        (
            Column("keyId", "key", "密钥"),
            Column("agency", "agency", "机构"),
            Column("scopes", "scopes", "权限", joined),
            Column("label", "label", "标签"),
            Column("expiresAt", "expires", "到期"),
            Column("revokedAt", "revoked", "撤销"),
        ),
        "keyId",
    ),
    "new_key": View((Column("keyId", "key", "密钥"), Column("keyFile", "written to", "写入")), "keyId"),
    "member_key": View(
        (Column("address", "account", "账户"), Column("keyFile", "written to", "写入")), "address"
    ),
    "identity": View(
        (
            Column("agency", "agency", "机构"),
            Column("keyId", "key", "密钥"),
            Column("scopes", "scopes", "权限", joined),
            Column("node", "node", "节点"),
        ),
        "agency",
    ),
    "member": View(
        (
            Column("memberId", "member", "成员"),
            Column("name", "name", "名称", named),
            Column("state", "state", "状态", word),
            Column("role", "role", "角色"),
            Column("account", "account", "账户"),
            Column("endpoint", "endpoint", "地址"),
        ),
        "memberId",
    ),
    "contract": View(
        (
            Column("name", "contract", "合约"),
            Column("address", "address", "地址"),
            Column("version", "version", "版本"),
        ),
        "address",
    ),
    "chain_status": View(
        (
            Column("chainId", "chain id", "链编号"),
            Column("genesis", "genesis", "创世块"),
            Column("directory", "directory", "目录合约"),
            Column("engine", "engine", "引擎"),
            Column("finality", "finality", "终局"),
            Column("authority", "authority", "治理"),
            Column("head.number", "head", "最新块"),
            Column("head.time", "head time", "最新块时间"),
            Column("final.number", "final", "已确认块"),
            Column("indexed.number", "indexed", "已索引块"),
            Column("lagBlocks", "lag", "落后块"),
            Column("outbox.queued", "queued", "待发"),
            Column("outbox.inFlight", "in flight", "在途"),
            Column("problem", "problem", "问题"),
        ),
        "chainId",
    ),
    "deployment": View(
        (
            Column("chainId", "chain id", "链编号"),
            Column("genesis", "genesis", "创世块"),
            Column("directory", "directory", "目录合约"),
            Column("ledger", "ledger", "账本合约"),
            Column("members", "members", "成员合约"),
            Column("catalog", "catalog", "目录登记合约"),
        ),
        "directory",
    ),
    "signer": View(
        (
            Column("name", "signer", "签名节点"),
            Column("address", "address", "地址"),
            Column("rpc", "RPC", "RPC 地址"),
        ),
        "address",
    ),
    "council_act": View(
        (
            Column("act", "act", "动作"),
            Column("target", "about", "对象"),
            Column("state", "state", "状态", word),
        ),
        "target",
    ),
    "setting": View(
        (
            Column("name", "setting", "设置"),
            Column("value", "value", "值"),
            Column("source", "from", "来源"),
            Column("place", "where", "位置"),
        ),
        "name",
    ),
    "settings_file": View(
        (
            Column("source", "level", "层级"),
            Column("path", "file", "文件"),
            Column("exists", "exists", "存在"),
        ),
        "path",
    ),
    "alarm": View(
        (
            Column("name", "waits", "等待项"),
            Column("state", "state", "状态", word),
            Column("ageSeconds", "age in s", "已等待（秒）"),
            Column("maximumSeconds", "maximum in s", "上限（秒）"),
            Column("what", "what", "说明"),
            Column("fix", "fix", "处理办法"),
        ),
        "name",
    ),
    "doctor": View(
        (
            Column("part", "part", "部分"),
            Column("outcome", "outcome", "结果", word),
            Column("detail", "found", "发现"),
            Column("fix", "fix", "处理办法"),
        ),
        "part",
    ),
    "receipt": View(
        (
            Column("verdict", "verdict", "结论", word),
            Column("opening.typeCode", "type", "类型"),
            Column("opening.sha256", "sha256", "摘要"),
            Column("memberId", "sealed by member", "盖章成员"),
            Column("sealedAt", "sealed at", "盖章时间"),
            Column("status.asOfBlock", "status as of block", "状态截至区块"),
            Column("status.asOfTime", "status as of", "状态截至"),
            Column("opening.issuedOn", "issued", "签发日期"),
            Column("opening.expiresOn", "expires", "有效期至"),
        ),
        "verdict",
    ),
    "slip": View(
        (
            Column("path", "written to", "写入"),
            Column("tokenId", "token id", "核验码编号"),
            Column("url", "leads to", "核验地址"),
            Column("expiresAt", "until", "有效期至"),
        ),
        "tokenId",
    ),
    "log": View(
        (
            Column("result", "result", "结论", word),
            Column("batches", "batches", "批次"),
            Column("records", "records", "记录"),
            Column("logRoot", "log root", "日志根"),
            Column("block.number", "as of block", "截至区块"),
            Column("block.hash", "block hash", "区块哈希", short_hex),
        ),
        "logRoot",
    ),
    "fork": View(
        (
            Column("memberId", "fork: member", "分叉:成员"),
            Column("conflict", "conflict", "矛盾"),
            Column("ours.logSize", "our batches", "本方批次"),
            Column("theirs.logSize", "their batches", "对方批次"),
            Column("ours.height", "our block", "本方区块"),
            Column("theirs.height", "their block", "对方区块"),
            Column("settledAt", "settled", "已处理"),
        ),
        "memberId",
    ),
    "saved": View(
        (
            Column("path", "written to", "写入"),
            Column("size", "size", "字节"),
            Column("sha256", "sha256", "摘要"),
        ),
        "path",
    ),
    "version": View(
        (Column("version", "deltaseal", "deltaseal"), Column("python", "python", "python")), "version"
    ),
    "answer": View((), ""),
}
