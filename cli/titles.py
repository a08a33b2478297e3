"""Chinese titles of errors on the terminal; the English words are each error's own.

Codes that a node may answer have their titles in `anchor/problemrows.py`. Must not import typer or httpx.
"""

from __future__ import annotations

from anchor.problemrows import REGISTRY

OWN_TITLES: dict[str, str] = {
    "deltaseal_error": "程序错误",
    "cli_error": "命令行错误",
    "api_problem": "节点拒绝了请求",
    "argument_invalid": "参数无法使用",
    "input_invalid": "输入内容无效",
    "input_missing": "找不到输入文件",
    "output_refused": "输出位置不可用",
    "secret_refused": "拒绝以此方式接收密钥",
    "setting_invalid": "设置项无效",
    "setting_missing": "缺少设置项",
    "key_not_for_address": "密钥不属于这个地址",
    "node_unreachable": "无法连接节点",
    "node_answer_malformed": "节点的应答格式不正确",
    "download_digest_mismatch": "下载内容的摘要不一致",
    "source_changed": "文件在读取过程中被改动",
    "push_journal_busy": "推送记录正被另一进程使用",
    "push_journal_corrupt": "推送记录已损坏",
    "push_journal_foreign": "推送记录属于另一次推送",
    "wait_expired": "等待超时",
    "demo_folder_refused": "演示目录不可用",
    "demo_part_failed": "演示的某个进程失败",
}


def chinese_title(code: str) -> str:
    """Return the Chinese title of `code`; of an unknown one that of an internal error."""
    if code in OWN_TITLES:
        return OWN_TITLES[code]
    return REGISTRY.get(code, REGISTRY["internal"]).zh
