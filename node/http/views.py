"""JSON forms of what use cases return. Subjects leave masked; ids of persons never leave in clear.

Spec page: docs/reference/http-api.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from node.context import Node, render_time
from node.services.catalog import ImportResult, Publication, version_slot
from node.services.exemptions import ExemptionPlan
from node.services.explanations import explain_verdict
from node.services.ledgeracts import REASONS
from node.services.materials import MaterialView
from node.services.waits import WaitState
from node.store import rows
from verifier.errors import declared_places
from verifier.index import EntryVersion, Member
from verifier.receipts import Receipt, ReceiptFindings, ReceiptVerdict
from verifier.subjects import Subject, mask_subject
from verifier.verdicts import Reason, Verdict

JsonObject = dict[str, Any]
# What a receipt's verdict is called beside a document's own: a proof that fails or shows too little is `unknown`.
_RECEIPT_UNKNOWN = frozenset(
    {
        ReceiptVerdict.PROOF_INVALID,
        ReceiptVerdict.UNPROVEN,
        ReceiptVerdict.STALE,
        ReceiptVerdict.NOT_YET_ISSUED,
    }
)


def render_anchor(view: MaterialView) -> JsonObject:
    """Render where a version's records stand."""
    return {
        "status": "pending" if view.anchor == "queued" else view.anchor,
        "transaction": view.transaction,
        "block": view.block,
        "recordIds": list(view.record_ids),
    }


def render_material(view: MaterialView, *, versions: list[rows.VersionRow] | None = None) -> JsonObject:
    """Render a material; with `versions`, its history too."""
    material, version = view.material, view.version
    rendered: JsonObject = {
        "materialId": material.material_id,
        "version": version.version,
        "typeCode": material.type_code,
        "title": material.title,
        "agency": material.agency,
        "caseNo": material.case_no,
        "documentNo": material.document_no or None,
        "subjects": [
            {"idType": row.id_type, "id": mask_subject(Subject(row.id_type, row.id)), "role": row.role}
            for row in material.subjects
        ],
        "level": material.level,
        "shareType": material.share_type,
        "sha256": version.sha256,
        "sm3": version.sm3 or None,
        "size": None if version.asserted else version.size_bytes,
        "mediaType": version.media_type,
        "fileName": version.file_name or None,
        "issuedOn": version.issued_on or None,
        "expiresOn": version.expires_on or None,
        "asserted": version.asserted,
        "status": version.status,
        "createdAt": render_time(version.created_at),
        "anchor": render_anchor(view),
        "links": {
            "self": f"/v1/materials/{material.material_id}",
            "receipt": f"/v1/receipts/{material.material_id}?version={version.version}",
        },
    }
    if versions is not None:
        rendered["versions"] = [
            {
                "version": row.version,
                "sha256": row.sha256,
                "issuedOn": row.issued_on or None,
                "expiresOn": row.expires_on or None,
                "status": row.status,
                "createdAt": render_time(row.created_at),
            }
            for row in versions
        ]
    return rendered


def render_reason(reason: Reason) -> JsonObject:
    """Render one reason."""
    return {"code": reason.code, "outcome": reason.outcome.value, "detail": reason.detail}


def encode_verdict(verdict: Verdict) -> bytes:
    """Encode a verdict as JSON. Custodian and type are not in it: the caller showed no matter and basis.

    Nearly all verdicts find the same: their text is made once, and only time and place are put in.
    """
    findings = (
        verdict.kind,
        verdict.last_known,
        verdict.subject_match,
        verdict.finality,
        verdict.fresh,
        verdict.reasons,
    )
    held = _RENDERED.get(findings)
    if held is None:
        held = _render_findings(verdict)
        if len(_RENDERED) >= _RENDERED_LIMIT:
            _RENDERED.clear()
        _RENDERED[findings] = held
    claim, record = verdict.claim, _NULL
    if claim is not None:
        record = b'{"batch":%d,"index":%d,"block":%d}' % (*claim.positions[0], claim.block_number)
    return held[0] + _encode_time(verdict.as_of) + held[1] + record + held[2]


_RENDERED: dict[Any, tuple[bytes, bytes, bytes]] = {}
_RENDERED_LIMIT = 1024
_NULL = b"null"
_GAP = "\x00"  # No reason holds it; JSON writes it in six characters that nothing else makes.


def _render_findings(verdict: Verdict) -> tuple[bytes, bytes, bytes]:
    """Encode a verdict in three parts: before its time, between, and after its place."""
    rendered = {
        "verdict": verdict.kind.value,
        "fresh": verdict.fresh,
        "asOf": _GAP,
        "lastKnown": verdict.last_known.value if verdict.last_known else None,
        "subjectMatch": verdict.subject_match,
        "finality": verdict.finality,
        "reasons": [render_reason(reason) for reason in verdict.reasons],
        "explain": explain_verdict(verdict.kind.value, verdict.subject_match),
        "record": _GAP,
    }
    before, between, after = msgspec.json.encode(rendered).split(msgspec.json.encode(_GAP))
    return before, between, after


@lru_cache(maxsize=16)
def _encode_time(time: datetime | None) -> bytes:
    return _NULL if time is None else msgspec.json.encode(render_time(int(time.timestamp())))


def render_plan(node: Node, plan: ExemptionPlan) -> JsonObject:
    """Render the exemption plan of a matter."""
    names = {requirement.req_id: requirement for requirement in plan.matter.requirements}
    final = node.index.final_point()
    return {
        "matterCode": plan.matter.code,
        "requirements": [
            {
                "reqId": one.req_id,
                "name": {"zh": names[one.req_id].name.zh, "en": names[one.req_id].name.en},
                "necessity": names[one.req_id].necessity,
                "route": one.route,
                "outcome": one.outcome,
                "typeCode": one.type_code,
                "reasons": [render_reason(reason) for reason in one.reasons],
            }
            for one in plan.requirements
        ],
        "exempted": plan.exempted,
        "total": len(plan.requirements),
        "asOf": render_time(final.time) if final else None,
    }


def render_publication(made: Publication | EntryVersion, *, anchor: str) -> JsonObject:
    """Render an entry that was just published, or that stood there already."""
    return {
        "kind": made.kind,
        "code": made.code,
        "version": made.version,
        "digest": made.digest.hex(),
        "state": made.state if isinstance(made, EntryVersion) else "pending",
        "operation": None if isinstance(made, EntryVersion) else made.operation_id,
        "anchor": {"status": anchor},
    }


def render_import(result: ImportResult) -> JsonObject:
    """Render what became of an import's lines."""
    return {
        "published": len(result.published),
        "unchanged": result.unchanged,
        "rejected": [
            {
                "line": line,
                "errors": [{"pointer": one.pointer, "code": one.code} for one in declared_places(problems)],
            }
            for line, problems in result.rejected
        ],
        "operations": [one.operation_id for one in result.published],
    }


def render_entry(node: Node, entry: EntryVersion) -> JsonObject:
    """Render an entry's version with where the chain holds it: transaction, block, log, and its storage slot."""
    final = node.index.final_point()
    return {
        "kind": entry.kind,
        "code": entry.code,
        "version": entry.version,
        "digest": entry.digest.hex(),
        "state": entry.state,
        "owner": entry.owner,
        "entry": msgspec.Raw(entry.text),
        "proof": {
            "contract": "0x" + node.deployment.catalog.hex(),
            "transaction": "0x" + entry.transaction_hash.hex(),
            "block": entry.block_number,
            "blockHash": "0x" + entry.block_hash.hex(),
            "logIndex": entry.log_index,
            "time": render_time(entry.time),
            "final": final is not None and entry.block_number <= final.number,
            "slot": "0x" + version_slot(entry.kind, entry.code, entry.version).hex(),
            "value": "0x" + entry.digest.hex(),
        },
    }


def render_receipt_check(receipt: Receipt, findings: ReceiptFindings, *, now: int) -> JsonObject:
    """Render what a receipt proved here, with the chain's own slots read."""
    found = findings.verdict
    kind = "unknown" if found in _RECEIPT_UNKNOWN else found.value
    return {
        "verdict": kind,
        "fresh": True,
        "asOf": render_time(now),
        "lastKnown": None,
        "subjectMatch": "unchecked",
        "reasons": [
            {"code": reason.code, "outcome": reason.outcome.value, "detail": reason.detail}
            for reason in findings.reasons
        ],
        "explain": explain_verdict(kind, "unchecked"),
        "record": {
            "batch": receipt.entry.id,
            "index": receipt.inclusion.index,
            "asOfBlock": receipt.status.as_of_block,
        },
    }


def render_chain(node: Node) -> JsonObject:
    """Render where the chain, the index and the outbox stand."""
    made, final, cursor = node.deployment, node.index.final_point(), node.index.cursor()
    depth = node.outbox.progress()
    return {
        "chainId": made.chain_id,
        "genesis": "0x" + made.genesis.hex(),
        "directory": "0x" + made.directory.hex(),
        "contracts": {
            name.lower(): "0x" + made.address_of(name).hex()
            for name in ("Authority", "Members", "Ledger", "Catalog")
        },
        "engine": node.config.engine,
        "finality": node.finality.label,
        "authority": "single_operator" if node.finality.label == "operator" else "council",
        "head": {"number": node.chain.head_number, "time": render_time(node.chain.head_time)},
        "final": {"number": final.number, "hash": "0x" + final.hash.hex(), "time": render_time(final.time)}
        if final
        else None,
        "indexed": {"number": cursor.number, "hash": "0x" + cursor.hash.hex()} if cursor else None,
        "lagBlocks": node.chain.behind,
        "problem": node.chain.problem or node.chain.outbox_problem,
        "outbox": {
            "queued": depth.queued,
            "inFlight": depth.in_flight + depth.included,
            "oldestSeconds": round(depth.oldest_queued_s, 1),
        },
        "log": {"size": node.index.log_size(), "root": node.index.log_root().hex()},
    }


def render_wait(state: WaitState) -> JsonObject:
    """Render a wait: what it is, how old its oldest is, and what happens and helps at its maximum."""
    return {
        "name": state.wait.name,
        "state": "raised" if state.raised else "ok",
        "ageSeconds": int(state.age_s),
        "maximumSeconds": state.maximum_s,
        "what": state.wait.what,
        "atMaximum": state.wait.at_maximum,
        "fix": state.wait.fix,
    }


def render_member(member: Member) -> JsonObject:
    """Render a member of the consortium."""
    return {
        "memberId": member.member_id,
        "name": member.name,
        "role": member.role,
        "level": member.level,
        "area": member.area,
        "uscc": member.uscc,
        "account": "0x" + member.account.hex(),
        "endpoint": member.endpoint,
        "state": member.state,
        "successor": member.successor or None,
    }


def render_job(row: rows.JobRow) -> JsonObject:
    """Render a job."""
    return {
        "jobId": row.job_id,
        "kind": row.kind,
        "status": row.status,
        "progress": {"done": row.progress_done, "total": row.progress_total, "unit": row.unit},
        "resultUrl": row.result_url or None,
        "problem": msgspec.Raw(row.problem_json) if row.problem_json else None,
        "createdAt": render_time(row.created_at),
        "updatedAt": render_time(row.updated_at),
    }


def render_erasure(
    node: Node,
    row: rows.ErasureRow,
    backups: Sequence[rows.BackupRow],
    notices: Sequence[rows.NoticeRow],
) -> JsonObject:
    """Render a tombstone: what was erased, how far it is, where copies may still be, who was told."""
    found = {name: node.outbox.status_of(name) for name in row.operation_ids}
    states = {
        name: "pending" if one is None or one.state == "queued" else one.state for name, one in found.items()
    }
    return {
        "materialId": row.erasure_id,
        "status": "erased",
        "state": row.state,
        "erasedAt": render_time(row.erased_at),
        "reasonCode": REASONS.get(row.reason_code, str(row.reason_code)),
        "by": row.actor,
        "versions": [
            {
                "version": one.version,
                "commitment": one.commitment.hex(),
                # Without an operation of its own the chain said so before.
                "anchor": {"status": states.get(f"{row.erasure_id}.{one.version}.erase", "final")},
            }
            for one in row.versions
        ],
        "backups": [render_backup(one) for one in backups],
        "notices": [
            {
                "memberId": one.member_id,
                "commitment": one.commitment.hex(),
                "attempts": one.attempts,
                "acknowledgedAt": render_time(one.acknowledged_at) if one.acknowledged_at else None,
            }
            for one in notices
        ],
    }


def render_backup(row: rows.BackupRow) -> JsonObject:
    """Render a backup that this node made."""
    return {"backupId": row.backup_id, "createdAt": render_time(row.created_at), "place": row.place}


def render_notice(row: rows.ReceivedNoticeRow) -> JsonObject:
    """Render another member's notice of erasure with its signature, and what became of the copies here."""
    return {
        "memberId": row.custodian,
        "commitment": row.commitment.hex(),
        "receivedAt": render_time(row.received_at),
        "appliedAt": render_time(row.applied_at) if row.applied_at else None,
        "policy": row.policy,
        "copies": row.copies,
        "signed": msgspec.Raw(row.body),
    }


def render_key(row: rows.ApiKeyRow) -> JsonObject:
    """Render an API key without its secret."""
    return {
        "keyId": row.key_id,
        "agency": row.agency,
        "scopes": row.scopes,
        "label": row.label,
        "createdAt": render_time(row.created_at),
        "expiresAt": render_time(row.expires_at) if row.expires_at else None,
        "revokedAt": render_time(row.revoked_at) if row.revoked_at else None,
    }


def render_reuse(node: Node, row: rows.ReuseRow) -> JsonObject:
    """Render a reuse: the decision as it was made, and where its record stands now."""
    rendered: JsonObject = msgspec.json.decode(row.decision_json)
    name = next((name for name in row.operation_ids if name.endswith(".record")), None)
    status = node.outbox.status_of(name) if name else None
    # Without a status it is on its way: the operation is in the batch that this answer goes into.
    state = status.state if status and status.state != "queued" else "pending"
    rendered["anchor"] = {"status": state} if name else None
    return rendered
