"""Go on with reuses that wait for their consumption to become final.

The intent was stored first, with a row that says who waits, so a crash at any point leaves one that is found at start.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec

from anchor.commitments import Commitment
from anchor.keyvalue import Delete, Put
from node.context import Node
from node.services import reuses
from node.services.recording import Actor
from node.services.requests import ReuseRequest
from node.services.verifying import subject_of
from node.store import rows
from node.store.envelope import unwrap_key
from verifier.decisions import ConsumeState, Deliver, ReleaseState, decide

_WORKER = "worker"


def load(node: Node) -> None:
    """Find the reuses that were waiting when the process ended."""
    node.pending_reuses.update(row.reuse_id for row in rows.WAITING.scan(node.store))


def finish_once(node: Node) -> bool:
    """Conclude every waiting reuse whose consumption is decided on chain."""
    for reuse_id in sorted(node.pending_reuses):
        with node.epochs.share():
            row = rows.REUSE.get(node.store, reuse_id)
            ended = row is None or row.state != "consuming" or _finish(node, row)
        if ended:
            node.pending_reuses.discard(reuse_id)
    return False


def _finish(node: Node, row: rows.ReuseRow) -> bool:
    kept = msgspec.json.decode(row.fields_json)
    state = _consume_state(node, row, bytes.fromhex(kept["nullifier"]))
    if state is ConsumeState.UNCONFIRMED:
        return False
    body = msgspec.json.decode(row.request_json, type=ReuseRequest)
    gathered = reuses.gather(
        node, row.agency, body, subject_of(node, body.subject), commitment=Commitment(row.commitment)
    )
    delivered = gathered.facts.deliver is not Deliver.NONE and not gathered.facts.own_custody
    facts = replace(
        gathered.facts,
        consume_state=state,
        release_state=ReleaseState.DELIVERED if delivered else ReleaseState.NOT_NEEDED,
    )
    gathered = replace(gathered, facts=facts)
    decision = decide(facts)
    if decision.code in ("stale", "record_pending"):
        return False  # the chain's present state is unknown; a decision now would be a guess
    evidence = reuses.Evidence(kept["fields"])
    done = msgspec.structs.replace(
        row,
        outcome=decision.outcome.value,
        state="done",
        decision_json=reuses.render_decision(node, gathered, decision, evidence, row.reuse_id),
    )
    actor = Actor(row.agency, _WORKER, "")
    settled: list[Put | Delete] = [_job_done(node, row), rows.WAITING.delete(row.reuse_id)]
    reuses.conclude(node, actor, done, gathered, decision, None, lambda _row: [], also=settled)
    return True


def _consume_state(node: Node, row: rows.ReuseRow, nullifier: bytes) -> ConsumeState:
    """Say who holds the nullifier at the last final block; before that it is nobody's word."""
    found, final = node.index.consumption(nullifier), node.index.final_point()
    if found is None or final is None or found.block_number > final.number:
        status = node.outbox.status_of(row.operation_ids[0])
        failed = status is not None and status.state == "failed"
        return ConsumeState.TAKEN if failed and found is not None else ConsumeState.UNCONFIRMED
    _, kek = node.keys.kek(row.agency, row.key_epoch)
    salt_key = unwrap_key(kek, row.wrapped_salt, b"use\0" + row.reuse_id.encode())
    use = reuses.use_commitment(row.reuse_id, row.agency, row.case_no, salt_key)
    ours = found.member_id == node.chain.member_id and found.use_commitment == use
    return ConsumeState.OURS if ours else ConsumeState.TAKEN


def _job_done(node: Node, row: rows.ReuseRow) -> Put:
    job = rows.JOB.get(node.store, reuses.job_id_of(row.reuse_id))
    assert job is not None, "written in the batch of the intent"  # noqa: S101
    return rows.JOB.put(msgspec.structs.replace(job, status="done", progress_done=1, updated_at=node.clock()))
