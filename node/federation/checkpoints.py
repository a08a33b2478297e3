"""Ask other members' nodes for their checkpoints, and have them compared. The peer is hostile.

A peer that is silent, slow or faulty says nothing about the log. Spec page: docs/reference/checkpoint.md, "Exchange".
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass

import httpx

from anchor.canonical import JsonValue, parse_strict_json
from anchor.errors import DeltasealError
from node.context import Node
from node.errors import CheckpointRefused, PeerUnavailable
from node.http.logs import make_logger
from node.services import checkpoints
from verifier.checkpoints import MAX_PATH
from verifier.index import Member

LOG = make_logger()
CHECKPOINT_PATH = "/v1/federation/checkpoint"
MAX_ANSWER_BYTES = 16 << 10


@dataclass(frozen=True, slots=True)
class PeerAnswer:
    """What a peer showed: a checkpoint as it came, and a path of 32-byte hashes."""

    checkpoint: bytes
    path: tuple[bytes, ...] | None


def exchange_once(node: Node) -> bool:
    """Compare what came with releases; when it is time, ask every active member."""
    while node.log.inbox:
        member_id, raw = node.log.inbox.popleft()
        _take(node, member_id, PeerAnswer(raw, None), first=0)
    if not node.chain.member_id or node.chain.problem or time.monotonic() < node.log.exchange_at:
        return False
    node.log.exchange_at = time.monotonic() + node.config.checkpoint_period_s
    for member in node.index.members():
        if member.member_id != node.chain.member_id and member.is_active(node.clock()):
            _ask(node, member)
    return False


def _ask(node: Node, member: Member) -> None:
    own = checkpoints.current(node)
    first = own.checkpoint.log_size if own else 0
    try:
        answer = fetch(node, member.endpoint, first)
    except DeltasealError as error:
        LOG.info("checkpoint_not_got", member=member.member_id, code=error.code)
        return
    if answer is not None:
        _take(node, member.member_id, answer, first=first)


def _take(node: Node, member_id: int, answer: PeerAnswer, *, first: int) -> None:
    try:
        signed = checkpoints.read_signed(node, answer.checkpoint, member_id)
        checkpoints.compare(node, signed, first=first, path=answer.path)
    except DeltasealError as error:
        reason = str(error.facts.get("reason", ""))
        LOG.warning("checkpoint_not_compared", member=member_id, code=error.code, reason=reason)


def fetch(node: Node, endpoint: str, first: int) -> PeerAnswer | None:
    """Get a peer's checkpoint with its proof from `first` batches on; None when it has none yet.

    Raises:
        PeerUnavailable: no answer in time, or none of this kind. EndpointRefused: it must not be dialled.
        CheckpointRefused: the answer is not of the form.
    """
    url = endpoint.rstrip("/") + CHECKPOINT_PATH
    try:
        with node.peers.stream("GET", url, params={"from": first}) as response:
            if response.status_code != 200:
                raise PeerUnavailable("the peer has no checkpoint to show", reason="peer_refuses")
            body = b""
            for chunk in response.iter_bytes(4096):
                body += chunk
                if len(body) > MAX_ANSWER_BYTES:
                    raise CheckpointRefused("the answer is too long", reason="too_long")
    except (httpx.HTTPError, httpx.InvalidURL, OSError):
        raise PeerUnavailable("the peer does not answer", reason="no_answer") from None
    return _parse_answer(body)


def _parse_answer(body: bytes) -> PeerAnswer | None:
    try:
        value = parse_strict_json(body, max_bytes=MAX_ANSWER_BYTES)
        if not isinstance(value, dict) or value.keys() != {"checkpoint", "path"}:
            raise ValueError("members")
        path = None if value["path"] is None else _path(value["path"])
    except (DeltasealError, ValueError):
        raise CheckpointRefused("the answer is not a checkpoint with its path", reason="malformed") from None
    if value["checkpoint"] is None:
        return None
    return PeerAnswer(json.dumps(value["checkpoint"]).encode(), path)


def _path(value: JsonValue) -> tuple[bytes, ...]:
    if not isinstance(value, list) or len(value) > MAX_PATH:
        raise ValueError("path")
    found = tuple(bytes.fromhex(str(each)) for each in value)
    if any(len(each) != 32 for each in found):
        raise ValueError("hash")
    return found
