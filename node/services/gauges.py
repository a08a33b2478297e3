"""Figures of a node for /metrics: what waits, how old it is, how far behind the chain we are."""

from __future__ import annotations

from functools import partial

from node.context import Node
from node.http.metrics import Metrics
from node.services import waits


def register_gauges(node: Node, metrics: Metrics) -> None:
    """Register the gauges; each reads memory or a few rows."""
    gauges = {
        "deltaseal_outbox_queued": (
            "Operations that wait for a transaction.",
            lambda: node.outbox.progress().queued,
        ),
        "deltaseal_outbox_in_flight": (
            "Transactions that are not final.",
            lambda: node.outbox.progress().in_flight,
        ),
        "deltaseal_chain_behind_blocks": ("Blocks between head and index.", lambda: node.chain.behind),
        "deltaseal_index_unmerged_records": (
            "Records that the index took in since its files were merged.",
            lambda: node.index.counts().records - node.chain.merged_records,
        ),
        "deltaseal_chain_head": ("Number of the newest block seen.", lambda: node.chain.head_number),
        "deltaseal_chain_problem": (
            "1 while the chain's present state is unknown.",
            lambda: bool(node.chain.problem),
        ),
        "deltaseal_fork_detected": (
            "1 while another member's checkpoint contradicts this node's log.",
            lambda: bool(node.chain.fork),
        ),
        "deltaseal_log_batches": ("Final batches in the log.", lambda: node.log.tree.size),
        "deltaseal_chain_head_age_seconds": (
            "Age of the newest block.",
            lambda: max(node.clock() - node.chain.head_time, 0),
        ),
        "deltaseal_erasures_waiting": (
            "Erasures of which bytes or keys may still be on disk.",
            lambda: len(node.waiting.erasures),
        ),
        "deltaseal_notices_waiting": (
            "Notices of erasure that a member has not acknowledged.",
            lambda: len(node.waiting.notices),
        ),
    }
    for name, (text, read) in gauges.items():
        metrics.register_gauge(name, text, read)
    for wait in waits.WAITS:
        metrics.register_gauge(wait.gauge, f"Age of the oldest: {wait.what}.", partial(wait.age, node))
    metrics.register_gauge(
        "deltaseal_alarms",
        "Waits that are older than they may be.",
        lambda: sum(s.raised for s in waits.look(node)),
    )
