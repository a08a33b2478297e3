"""Tokens of slips: what a QR code leads to, and what may be said to whoever scans it.

A token is 144 random bits; only its HMAC is stored. It opens one thing: the present validity of one version. Unknown,
expired and withdrawn tokens answer alike. Spec page: docs/reference/slip.md.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence

import msgspec

from anchor.commitments import Commitment
from anchor.keyvalue import Put
from node.context import Node
from node.errors import TokenNotFound
from node.services import receipts, verifying
from node.services.materials import MaterialView
from node.services.recording import Actor, record
from node.services.requests import TokenRequest
from node.store import rows
from verifier.verdicts import Question, Verdict

TOKEN_BYTES = 18
DAY_S = 86_400
_CONTEXT = b"deltaseal/status-token\x00"


def issue(node: Node, view: MaterialView, asked: TokenRequest) -> tuple[str, rows.StatusTokenRow]:
    """Make a token for one version; `keep` stores it. The token is shown once.

    Raises:
        MaterialInvalid: a field to open does not exist.
    """
    receipts.check_fields(node, view, asked.open)
    token, now = secrets.token_urlsafe(TOKEN_BYTES), node.clock()
    return token, rows.StatusTokenRow(
        digest=_digest(node, token),
        material_id=view.material.material_id,
        version=view.version.version,
        agency=view.material.agency,
        opened=list(asked.open),
        created_at=now,
        expires_at=now + asked.days * DAY_S,
        revoked_at=0,
    )


def keep(node: Node, actor: Actor, row: rows.StatusTokenRow, answer: Sequence[Put]) -> None:
    """Store a new token with the answer that shows it."""
    _record(node, actor, row, answer, action="token.issue", outcome="issued")


def find(node: Node, token: str) -> rows.StatusTokenRow:
    """Return the row of a live token.

    Raises:
        TokenNotFound: unknown, expired and withdrawn alike.
    """
    row = rows.STATUS_TOKEN.get(node.store, _digest(node, token))
    if row is None or row.revoked_at or row.expires_at <= node.clock():
        raise TokenNotFound("no slip leads here any more", hint="ask the holder for a new slip")
    return row


def list_of(node: Node, view: MaterialView) -> list[rows.StatusTokenRow]:
    """List the tokens of a material, withdrawn and expired ones too."""
    material_id = view.material.material_id
    return [row for row in rows.STATUS_TOKEN.scan(node.store) if row.material_id == material_id]


def withdraw(node: Node, actor: Actor, token_id: str) -> rows.StatusTokenRow:
    """Withdraw a token of the actor's agency for good.

    Raises:
        TokenNotFound: there is none with this id, or it is another agency's.
    """
    row = rows.STATUS_TOKEN.get(node.store, token_id)
    if row is None or row.agency != actor.agency:
        raise TokenNotFound("there is no such token", hint="list them: GET /v1/receipts/{id}/tokens")
    if not row.revoked_at:
        row = msgspec.structs.replace(row, revoked_at=node.clock())
        _record(node, actor, row, (), action="token.withdraw", outcome="withdrawn")
    return row


def judge_token(node: Node, row: rows.StatusTokenRow) -> Verdict:
    """Judge the version that a token stands for, as `/v1/verify` would, this node's own acts counted."""
    version = rows.VERSION.get(node.store, row.material_id, row.version)
    material = rows.MATERIAL.get(node.store, row.material_id)
    if version is None or material is None:
        raise TokenNotFound("no slip leads here any more", hint="ask the holder for a new slip")
    question = Question(None, material.type_code, commitment=Commitment(version.commitment))
    return verifying.with_local_acts(node, verifying.moment_of(node).judge(question))


def holder(row: rows.StatusTokenRow) -> Actor:
    """Return whom a token speaks for: the agency that issued it."""
    return Actor(row.agency, "status-token", "")


def address_of(node: Node, token: str) -> str:
    """Return the address that a QR code holds."""
    member = node.index.member(node.chain.member_id) if node.chain.member_id else None
    base = node.config.public_url or (member.endpoint if member else "")
    base = base or f"http://{node.config.host}:{node.config.port}"
    return f"{base.rstrip('/')}/s/{token}"


def _record(
    node: Node, actor: Actor, row: rows.StatusTokenRow, extra: Sequence[Put], *, action: str, outcome: str
) -> None:
    ops = [rows.STATUS_TOKEN.put(row), *extra]
    record(node, ops, actor=actor, action=action, object_id=row.material_id, outcome=outcome)


def _digest(node: Node, token: str) -> str:
    key = node.keys.lookup_key()
    return hmac.new(key, _CONTEXT + token.encode("ascii", "replace"), hashlib.sha256).hexdigest()
