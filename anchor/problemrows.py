"""The one table from error code to HTTP status and words, Chinese and English.

Every code of every `DeltasealError` has a row here or, where no node is asked, in `cli/titles.py`; tests walk the
classes. At the bottom, since the node's HTTP frame and the command line read it and neither may import the other.
Imports nothing. Spec page: docs/reference/problems.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProblemRow:
    """What a code means to a caller: status, title in two languages, whether trying again may help."""

    status: int
    zh: str
    en: str
    retryable: bool = False


# Codes of the frame without a class of their own: raised by the router, or for what nobody foresaw.
FRAME_CODES = frozenset(
    {
        "not_found",
        "method_not_allowed",
        "not_acceptable",
        "range_not_satisfiable",
        "request_refused",
        "internal",
    }
)

REGISTRY: Mapping[str, ProblemRow] = {
    # The frame.
    "not_found": ProblemRow(404, "没有找到", "Not found"),
    "method_not_allowed": ProblemRow(405, "不支持的方法", "Method not allowed"),
    "not_acceptable": ProblemRow(406, "无法按要求的格式应答", "Not acceptable"),
    "range_not_satisfiable": ProblemRow(416, "请求的范围无效", "Range not satisfiable"),
    "request_refused": ProblemRow(400, "请求被拒绝", "Request refused"),
    "internal": ProblemRow(500, "内部错误", "Internal error"),
    # The HTTP edge.
    "http_error": ProblemRow(400, "请求被拒绝", "Request refused"),
    "request_malformed": ProblemRow(400, "请求内容不是规范的 JSON", "Malformed request"),
    "request_too_deep": ProblemRow(400, "JSON 嵌套过深", "Request nested too deeply"),
    "request_not_nfc": ProblemRow(422, "文本不是 NFC 规范形式", "Text is not in NFC"),
    "request_invalid": ProblemRow(422, "请求字段不符合要求", "Invalid request"),
    "request_too_large": ProblemRow(413, "请求内容过大", "Request too large"),
    "request_media_unsupported": ProblemRow(415, "不支持的内容类型", "Unsupported media type"),
    "request_timeout": ProblemRow(408, "请求未在时限内到达", "Request timed out", True),
    "request_framing": ProblemRow(400, "HTTP 报文有歧义或有误", "Ambiguous or broken HTTP message"),
    "request_head_too_large": ProblemRow(431, "请求头过大", "Request head too large"),
    "upload_malformed": ProblemRow(400, "上传内容格式不正确", "Malformed upload"),
    "upload_truncated": ProblemRow(400, "上传内容不完整", "Truncated upload", True),
    "upload_too_large": ProblemRow(413, "文件超过大小上限", "File too large"),
    "file_name_invalid": ProblemRow(422, "文件名无效", "Invalid file name"),
    "auth_missing": ProblemRow(401, "缺少访问密钥", "API key missing"),
    "auth_invalid": ProblemRow(401, "访问密钥无效", "API key invalid"),
    "auth_expired": ProblemRow(401, "访问密钥已过期", "API key expired"),
    "auth_forbidden": ProblemRow(403, "访问密钥没有此项权限", "API key lacks the scope"),
    "scope_unknown": ProblemRow(422, "没有这个权限名", "Unknown scope"),
    "purpose_missing": ProblemRow(400, "缺少用途或办件编号", "Purpose or case missing"),
    "idempotency_missing": ProblemRow(400, "缺少有效的 Idempotency-Key", "Idempotency-Key missing"),
    "idempotency_in_progress": ProblemRow(409, "同一请求正在处理", "Same request in progress", True),
    "idempotency_mismatch": ProblemRow(
        422, "Idempotency-Key 已用于另一请求", "Idempotency-Key used for another request"
    ),
    "cursor_invalid": ProblemRow(400, "分页游标无效", "Invalid cursor"),
    "rate_limited": ProblemRow(429, "请求过于频繁", "Too many requests", True),
    "node_busy": ProblemRow(503, "节点繁忙", "Node busy", True),
    "response_aborted": ProblemRow(500, "应答中断", "Answer cut short", True),
    # anchor: formats.
    "anchor_error": ProblemRow(500, "锚定组件出错", "Anchoring failed"),
    "record_malformed": ProblemRow(422, "上链记录格式不正确", "Malformed record"),
    "entry_malformed": ProblemRow(422, "批次条目格式不正确", "Malformed batch entry"),
    "status_malformed": ProblemRow(500, "链上状态值格式不正确", "Malformed status value"),
    "header_malformed": ProblemRow(422, "区块头格式不正确", "Malformed block header"),
    "opening_malformed": ProblemRow(422, "承诺展开格式不正确", "Malformed opening"),
    "opening_mismatch": ProblemRow(422, "承诺展开与承诺不符", "Opening does not match its commitment"),
    "merkle_invalid": ProblemRow(422, "默克尔路径无效", "Invalid Merkle path"),
    "value_not_canonical": ProblemRow(422, "内容无法规范化", "Value has no canonical form"),
    "base64url_malformed": ProblemRow(422, "base64url 编码不正确", "Malformed base64url"),
    "envelope_malformed": ProblemRow(500, "密钥信封无法打开", "Key envelope cannot be opened"),
    "key_material_invalid": ProblemRow(500, "密钥材料无效", "Invalid key material"),
    "digest_closed": ProblemRow(500, "摘要计算已结束", "Digest already finished"),
    "file_unreadable": ProblemRow(500, "文件无法读取", "File cannot be read"),
    # anchor: chain.
    "chain_unavailable": ProblemRow(503, "区块链暂不可用", "Chain unavailable", True),
    "chain_answer_malformed": ProblemRow(503, "区块链应答不正确", "Malformed answer from the chain", True),
    "chain_mismatch": ProblemRow(503, "连接的不是本节点的链", "Another chain than this node's"),
    "chain_regressed": ProblemRow(503, "区块链已回退", "Chain stepped back behind a final block", True),
    "transaction_refused": ProblemRow(409, "合约拒绝了交易", "Transaction refused by the contract"),
    "keystore_invalid": ProblemRow(500, "链上密钥文件无效", "Invalid key store"),
    "signature_invalid": ProblemRow(401, "签名无效", "Invalid signature"),
    "outbox_corrupt": ProblemRow(500, "待上链队列已损坏", "Outbox damaged"),
    "journal_corrupt": ProblemRow(500, "链日志已损坏", "Chain journal damaged"),
    "engine_missing": ProblemRow(503, "缺少链引擎", "Chain engine missing"),
    "engine_failed": ProblemRow(503, "链引擎运行失败", "Chain engine failed", True),
    "abi_mismatch": ProblemRow(500, "合约接口不符", "Contract interface mismatch"),
    "call_reverted": ProblemRow(500, "合约拒绝了查询", "Call reverted by the contract"),
    "chain_folder_exists": ProblemRow(409, "链目录已存在", "Chain folder exists"),
    "chain_folder_locked": ProblemRow(503, "链目录被另一进程占用", "Chain folder locked by another process"),
    "chain_folder_missing": ProblemRow(503, "没有链目录", "Chain folder missing"),
    "journal_unwritable": ProblemRow(503, "链日志无法写入", "Chain journal cannot be written", True),
    "operation_invalid": ProblemRow(422, "上链操作无效", "Invalid operation"),
    "artifact_missing": ProblemRow(500, "缺少合约构建产物", "Contract artifact missing"),
    # node: store and keys.
    "node_error": ProblemRow(500, "节点出错", "Node failed"),
    "store_missing": ProblemRow(503, "没有数据库", "Store missing"),
    "store_locked": ProblemRow(503, "数据库被另一进程占用", "Store locked by another process"),
    "store_foreign": ProblemRow(503, "数据库属于另一节点", "Store of another node"),
    "store_newer": ProblemRow(503, "数据库由更新的版本写成", "Store written by a newer release"),
    "store_older": ProblemRow(503, "数据库由较早的版本写成，须先迁移", "Store written by an earlier release"),
    "migration_backup_foreign": ProblemRow(503, "不是本次迁移开始时的备份", "Not the migration's backup"),
    "store_damaged": ProblemRow(503, "数据库已损坏", "Store damaged"),
    "store_rolled_back": ProblemRow(503, "数据库被回退", "Store rolled back"),
    "store_full": ProblemRow(503, "存储空间已满", "Store full", True),
    "store_unwritable": ProblemRow(503, "数据库无法写入", "Store cannot be written", True),
    "store_key_exhausted": ProblemRow(503, "存储密钥已用尽", "Store key exhausted"),
    "store_error": ProblemRow(503, "数据库出错", "Store failed"),
    "key_folder_error": ProblemRow(500, "密钥目录出错", "Key folder failed"),
    "descriptors_scarce": ProblemRow(503, "可打开的文件数过少", "Too few file descriptors"),
    "port_taken": ProblemRow(503, "监听地址已被占用", "Address in use"),
    "store_starved": ProblemRow(503, "数据库缺少系统资源", "Store lacks system resources", True),
    "store_closed": ProblemRow(503, "数据库已关闭", "Store closed", True),
    "row_malformed": ProblemRow(500, "存储行格式不正确", "Malformed row"),
    "blob_damaged": ProblemRow(500, "文件内容已损坏", "File content damaged"),
    "blob_truncated": ProblemRow(500, "文件内容不完整", "File content truncated"),
    "key_folder_invalid": ProblemRow(500, "密钥目录无效", "Invalid key folder"),
    "passphrase_wrong": ProblemRow(500, "口令不正确", "Wrong passphrase"),
    "key_erased": ProblemRow(410, "密钥已销毁", "Key erased"),
    "config_invalid": ProblemRow(500, "配置无效", "Invalid configuration"),
    # node: use cases.
    "material_invalid": ProblemRow(422, "材料字段不符合要求", "Invalid material"),
    "digest_mismatch": ProblemRow(422, "文件与声明的摘要不符", "Digest mismatch"),
    "type_unknown": ProblemRow(422, "没有这个材料类型", "Unknown material type"),
    "matter_unknown": ProblemRow(422, "没有这个事项", "Unknown matter"),
    "material_not_found": ProblemRow(404, "没有找到材料", "Material not found"),
    "material_erased": ProblemRow(410, "材料已依法删除", "Material erased"),
    "content_missing": ProblemRow(404, "本节点没有文件内容", "Content not held here"),
    "status_conflict": ProblemRow(409, "当前状态不允许此操作", "Not allowed in the present state"),
    "issuers_too_many": ProblemRow(422, "材料类型的签发方过多", "Too many issuers of the type"),
    "domain_key_missing": ProblemRow(503, "缺少标签域密钥", "Key of a tag domain missing", True),
    "not_admitted": ProblemRow(503, "本节点不是有效成员", "This node is not an active member"),
    "not_issuer": ProblemRow(403, "不是该类型的签发机关", "Not an issuer of the type"),
    "not_reviewer": ProblemRow(403, "没有审核权限", "Not a reviewer"),
    "entry_not_found": ProblemRow(404, "没有找到目录条目", "Catalogue entry not found"),
    "version_required": ProblemRow(428, "需要 If-Match 版本", "Version required"),
    "version_conflict": ProblemRow(412, "版本已变化", "Version conflict"),
    "receipt_pending": ProblemRow(409, "记录尚未最终确认", "Record not final yet", True),
    "reuse_not_found": ProblemRow(404, "没有找到复用记录", "Reuse not found"),
    "job_not_found": ProblemRow(404, "没有找到任务", "Job not found"),
    "operation_not_found": ProblemRow(404, "没有找到操作", "Operation not found"),
    "key_not_found": ProblemRow(404, "没有找到访问密钥", "API key not found"),
    "custodian_unavailable": ProblemRow(503, "保管方暂不可用", "Custodian unavailable", True),
    "endpoint_refused": ProblemRow(503, "对方地址不被允许", "Endpoint refused"),
    "release_refused": ProblemRow(403, "保管方未同意提供", "Release refused by the custodian"),
    "release_broken": ProblemRow(503, "保管方应答不正确", "Broken release answer", True),
    "release_malformed": ProblemRow(422, "调取请求格式不正确", "Malformed release request"),
    "release_unauthorised": ProblemRow(401, "调取请求未获授权", "Release request not authorised"),
    "release_replayed": ProblemRow(409, "调取请求重复", "Release request replayed"),
    "notice_refused": ProblemRow(401, "删除通知未获授权", "Notice of erasure refused"),
    "checkpoint_refused": ProblemRow(503, "对方检查点不被接受", "Checkpoint refused"),
    "tsa_unavailable": ProblemRow(503, "时间戳服务暂不可用", "Time-stamping authority unavailable", True),
    "token_not_found": ProblemRow(404, "核验码无效或已过期", "Token unknown or expired"),
    "fork_not_found": ProblemRow(404, "没有未处理的分叉告警", "No fork alarm"),
    # verifier.
    "verifier_error": ProblemRow(500, "核验组件出错", "Verification failed"),
    "catalog_entry_invalid": ProblemRow(422, "目录条目不符合要求", "Invalid catalogue entry"),
    "subject_invalid": ProblemRow(422, "主体标识无效", "Invalid subject"),
    "index_corrupt": ProblemRow(503, "链索引已损坏", "Chain index damaged", True),
    "index_foreign": ProblemRow(503, "链索引属于另一条链", "Chain index of another chain"),
    "block_out_of_order": ProblemRow(503, "区块次序不对", "Block out of order", True),
    "logs_missing": ProblemRow(503, "链上日志有缺失", "Logs missing from the chain's answer", True),
    "logs_invalid": ProblemRow(503, "链上日志自相矛盾", "Logs contradict themselves"),
    "rollback_too_deep": ProblemRow(503, "链回退越过最终区块", "Roll-back beyond a final block"),
    "receipt_malformed": ProblemRow(422, "回执格式不正确", "Malformed receipt"),
    "timestamp_invalid": ProblemRow(422, "时间戳无效", "Invalid time stamp"),
    "statement_malformed": ProblemRow(422, "状态声明格式不正确", "Malformed status statement"),
    "checkpoint_malformed": ProblemRow(422, "检查点格式不正确", "Malformed checkpoint"),
    "trust_malformed": ProblemRow(422, "信任锚格式不正确", "Malformed trust anchor"),
    "proof_invalid": ProblemRow(422, "证明无效", "Invalid proof"),
}
