"""Tell members that received a document that its custodian erased it, and obey when another custodian tells us.

A notice is signed by the member's key and sent until it is acknowledged: a member that is down gets it when it is
back. Receiving is repeatable: a notice that is known already is acknowledged again and changes nothing.
Spec page: docs/reference/erasure-notice.md. Must not import routes.
"""

from __future__ import annotations

from collections.abc import Sequence

import httpx
import msgspec

from anchor.commitments import Commitment
from anchor.failpoints import reach
from anchor.keyvalue import Delete, Put
from node.context import Node
from node.errors import NoticeRefused, PeerUnavailable
from node.federation.messages import (
    ErasureNotice,
    SignedNotice,
    notice_signer,
    render,
    sign_notice,
)
from node.services import copies
from node.services.recording import Actor, record
from node.store import rows

NOTICE_PATH = "/v1/federation/erasures"
FIRST_RETRY_S = 5
LAST_RETRY_S = 3600
CLOCK_SLACK_S = 60

# Sending


def write(node: Node, erased: Sequence[rows.ErasureRow]) -> list[rows.NoticeRow]:
    """Sign a notice for each member and version that this node released; nothing is stored here."""
    reasons = {
        version.commitment: (row, version)
        for row in erased
        if row.kind == "material"
        for version in row.versions
    }
    found: dict[tuple[int, bytes], rows.NoticeRow] = {}
    for release in rows.RELEASE.scan(node.store) if reasons else ():
        if release.outcome == "released" and release.commitment in reasons:
            row, _ = reasons[release.commitment]
            found[release.requester_member, release.commitment] = _notice(node, row, release)
    return list(found.values())


def _notice(node: Node, row: rows.ErasureRow, release: rows.ReleaseRow) -> rows.NoticeRow:
    notice = ErasureNotice(
        custodian=node.chain.member_id,
        audience=release.requester_member,
        commitment=release.commitment.hex(),
        reason_code=row.reason_code,
        erased_at=row.erased_at,
    )
    return rows.NoticeRow(
        material_id=row.erasure_id,
        member_id=release.requester_member,
        commitment=release.commitment,
        body=render(sign_notice(notice, node.signer, node.deployment)),
        created_at=node.clock(),
        due_at=node.clock(),
        attempts=0,
        acknowledged_at=0,
    )


def remember(node: Node, written: Sequence[rows.NoticeRow]) -> None:
    """Let the worker see notices that are now stored."""
    node.waiting.notices |= {(row.material_id, row.member_id, row.commitment) for row in written}


def of_material(node: Node, material_id: str) -> list[rows.NoticeRow]:
    """List the notices that an erasure sent."""
    return list(rows.NOTICE.scan(node.store, material_id))


def load(node: Node) -> None:
    """Find the notices that are not acknowledged, and received ones that are not applied."""
    remember(node, [row for row in rows.NOTICE.scan(node.store) if not row.acknowledged_at])
    node.waiting.received |= {
        (row.custodian, row.commitment) for row in rows.NOTICE_IN.scan(node.store) if not row.applied_at
    }


def work_once(node: Node) -> bool:
    """Send what is due, and apply what came."""
    for name in sorted(node.waiting.notices):
        row = rows.NOTICE.get(node.store, *name)
        if row is None or row.acknowledged_at:
            node.waiting.notices.discard(name)
        elif row.due_at <= node.clock():
            _send(node, row)
    for about in sorted(node.waiting.received):
        # Before the work: a use that is decided meanwhile puts it back.
        node.waiting.received.discard(about)
        try:
            _apply(node, *about)
        except BaseException:
            node.waiting.received.add(about)
            raise
    return False


def _send(node: Node, row: rows.NoticeRow) -> None:
    delivered = _deliver(node, row)
    reach("notice.send", "after")
    wait = min(FIRST_RETRY_S << min(row.attempts, 16), LAST_RETRY_S)
    after = msgspec.structs.replace(
        row,
        attempts=row.attempts + 1,
        due_at=node.clock() + wait,
        acknowledged_at=node.clock() if delivered else 0,
    )
    node.store.write([rows.NOTICE.put(after)], sync=True)


def _deliver(node: Node, row: rows.NoticeRow) -> bool:
    """Tell whether the member took the notice; any fault means: later again."""
    member = node.index.member(row.member_id)
    if member is None or not member.endpoint:
        return False
    url = member.endpoint.rstrip("/") + NOTICE_PATH
    try:
        with node.peers.stream(
            "POST", url, content=row.body, headers={"content-type": "application/json"}
        ) as answer:
            return answer.status_code == 202
    except (httpx.HTTPError, httpx.InvalidURL, OSError, PeerUnavailable):
        return False


# Receiving


def receive(node: Node, signed: SignedNotice, *, request_id: str) -> rows.ReceivedNoticeRow:
    """Check a notice and keep it; the worker applies it.

    Raises:
        NoticeRefused: it is not signed by an active member, not for this node, from the future, or about another
            member's document.
    """
    notice = signed.notice
    commitment = bytes.fromhex(notice.commitment)
    _authenticate(node, signed, commitment)
    known = rows.NOTICE_IN.get(node.store, notice.custodian, commitment)
    if known is not None:
        return known
    row = rows.ReceivedNoticeRow(
        custodian=notice.custodian,
        commitment=commitment,
        body=render(signed),
        received_at=node.clock(),
        policy=node.config.on_erasure_notice,
        copies=[],
        applied_at=0,
    )
    record(
        node,
        [rows.NOTICE_IN.put(row)],
        actor=Actor(f"member-{notice.custodian}", "member", request_id),
        action="notice.receive",
        object_id=notice.commitment,
        outcome=row.policy,
    )
    node.waiting.received.add((row.custodian, row.commitment))
    return row


def _authenticate(node: Node, signed: SignedNotice, commitment: bytes) -> None:
    notice, now = signed.notice, node.clock()
    member = node.index.member_by_account(notice_signer(signed, node.deployment))
    if member is None or member.member_id != notice.custodian or not member.is_active(now):
        raise NoticeRefused("the notice is not signed by an active member", reason="signer")
    if notice.audience != node.chain.member_id:
        raise NoticeRefused("the notice is for another member", reason="audience")
    if notice.erased_at > now + CLOCK_SLACK_S:
        raise NoticeRefused("the notice is from the future", reason="time")
    claim = node.index.claim(Commitment(commitment))
    if claim is not None and claim.member_id != notice.custodian:
        raise NoticeRefused("the document is another member's", reason="custodian")


def _apply(node: Node, custodian: int, commitment: bytes) -> None:
    """Erase or flag every copy that came from this custodian.

    A use that is being decided is left to its decision, which looks for a notice once it is stored.
    """
    row = rows.NOTICE_IN.get(node.store, custodian, commitment)
    if row is None:
        return
    with node.epochs.share():
        found = [one for one in copies.of_commitments(node, {commitment}) if one.custodian == custodian]
        ready = [one for one in found if one.state == "done" and not copies.is_flagged(one)]
        signed = msgspec.json.decode(row.body, type=SignedNotice)
        ops: list[Put | Delete] = []
        if row.policy == "erase":
            ops += copies.erase_ops(node, ready, signed.notice.erased_at)
        else:
            ops += [rows.REUSE.put(copies.flagged(one, signed.notice.erased_at)) for one in ready]
        named = sorted({*row.copies, *(one.reuse_id for one in ready)})
        ops.append(rows.NOTICE_IN.put(msgspec.structs.replace(row, copies=named, applied_at=node.clock())))
        record(
            node,
            ops,
            actor=Actor(f"member-{custodian}", "worker", ""),
            action="notice.apply",
            object_id=commitment.hex(),
            outcome=row.policy,
        )
    if row.policy == "erase":
        node.waiting.erasures |= {one.reuse_id for one in ready}


def received(node: Node, *, limit: int) -> list[rows.ReceivedNoticeRow]:
    """List notices from other members, at most `limit`."""
    return list(rows.NOTICE_IN.scan(node.store, limit=limit))
