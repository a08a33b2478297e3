"""Keep the log of final batches, sign checkpoints of it, and compare what other members signed with it.

A contradiction means that somebody was shown another chain: from then on nothing here reads `valid`, over restarts
too, until an administrator has settled it. Nothing is concluded from silence, and nothing from being behind.
Spec page: docs/reference/checkpoint.md.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from anchor.canonical import JsonValue
from anchor.chain.finality import FinalPoint
from anchor.entries import batch_hash
from anchor.errors import SignatureInvalid
from node.context import Node
from node.errors import CheckpointRefused, ForkNotFound
from node.http.logs import make_logger
from node.services.receipts import chain_facts
from node.services.recording import Actor, record
from node.store import rows
from verifier.checkpoints import (
    Checkpoint,
    Conflict,
    SignedCheckpoint,
    checkpoint_signer,
    find_conflict,
    parse_checkpoint,
    render_checkpoint,
    sign_checkpoint,
    verify_extends,
)
from verifier.proofs.errors import ProofError

LOG = make_logger()
FORK = "fork_detected"
_BATCHES_A_STEP = 20_000


@dataclass(frozen=True, slots=True)
class Shown:
    """What the federation route answers: a checkpoint and a consistency proof (hex), each None where there is none."""

    checkpoint: dict[str, JsonValue] | None
    path: list[str] | None


@dataclass(frozen=True, slots=True)
class Evidence:
    """A contradiction: how, and what the other checkpoint contradicts; a signature only if it was signed before."""

    conflict: Conflict
    ours: Checkpoint
    signature: bytes = b""


def load(node: Node) -> None:
    """Raise the alarm again that was raised before the node was stopped."""
    _set_alarm(node)


def current(node: Node) -> SignedCheckpoint | None:
    """Return the signed checkpoint of the last final block, or of the last one the log has come up to."""
    with node.log.lock:
        return _current(node)


def current_json(node: Node) -> dict[str, Any] | None:
    """Return the current checkpoint as its JSON object."""
    signed = current(node)
    return None if signed is None else render_checkpoint(signed)


def show(node: Node, first: int | None) -> Shown:
    """Return the current checkpoint with the proof that its log begins with the one of `first` batches."""
    with node.log.lock:
        signed = _current(node)
        if signed is None:
            return Shown(None, None)
        size, path = signed.checkpoint.log_size, None
        if first is not None and first <= size:
            path = [each.hex() for each in node.log.tree.consistency_path(first, size)]
        return Shown(render_checkpoint(signed), path)


def read_signed(node: Node, raw: bytes, member_id: int) -> SignedCheckpoint:
    """Parse what `member_id` is said to have signed about this chain, and make sure that it did.

    Raises:
        CheckpointMalformed: no checkpoint.
        CheckpointRefused: another chain, another signer, or a member that may not act now.
    """
    signed = parse_checkpoint(raw)
    if signed.checkpoint.chain != chain_facts(node):
        raise CheckpointRefused("the checkpoint is of another chain", reason="other_chain")
    member = node.index.member(member_id)
    try:
        account = checkpoint_signer(signed)
    except SignatureInvalid:
        account = b""
    if member is None or account != member.account or signed.checkpoint.member_id != member_id:
        raise CheckpointRefused("the checkpoint is not signed by the member", reason="signature_foreign")
    if not member.is_active(node.clock()):
        raise CheckpointRefused("the checkpoint's signer is no active member", reason="signer_inactive")
    return signed


def compare(
    node: Node, signed: SignedCheckpoint, *, first: int = 0, path: Sequence[bytes] | None = None
) -> str:
    """Compare a checkpoint of another member with this node's log; keep it, or raise the alarm. Return its state.

    `path` is the proof that its log begins with this node's of `first` batches, as the member's node gave it.

    Raises:
        ChainUnavailable: the chain cannot be asked for its block; nothing is concluded.
    """
    with node.log.lock:
        row = _row_of(node, signed.checkpoint.member_id)
        if row.waiting:
            row = _judge(node, row, parse_checkpoint(row.waiting))
        row = _judge(node, row, signed, first=first, path=path)
        node.store.write([rows.PEER_CHECKPOINT.put(row)], sync=False)
        return row.state


def overview(node: Node) -> dict[str, Any]:
    """Return the own checkpoint, the ones of others as last compared, and every fork with its evidence."""
    own = current_json(node)
    peers = [_peer_json(row) for row in rows.PEER_CHECKPOINT.scan(node.store)]
    return {"own": own, "peers": peers, "forks": [_fork_json(row) for row in rows.FORK.scan(node.store)]}


def settle(node: Node, actor: Actor, member_id: int, reason: str) -> rows.ForkRow:
    """End the alarm about a member. Its contradictions raise none until its word fits the log again.

    Raises:
        ForkNotFound: no alarm stands about this member.
    """
    with node.log.lock:
        row = next((each for each in rows.FORK.scan(node.store, member_id) if not each.settled_at), None)
        if row is None:
            raise ForkNotFound("no alarm stands about this member", hint="see GET /v1/audit/checkpoints")
        settled = msgspec.structs.replace(row, settled_at=node.clock(), settled_by=actor.name)
        record(
            node,
            [rows.FORK.put(settled)],
            actor=actor,
            action="fork.settle",
            object_id=f"member-{member_id}",
            outcome="settled",
            reason=reason,
        )
        _set_alarm(node)
    return settled


def _current(node: Node) -> SignedCheckpoint | None:
    final, held = node.index.final_point(), node.log.signed
    if final is None or not node.chain.member_id or (held and held.checkpoint.block_hash == final.hash):
        return held
    if not _extend(node, final):
        return held
    node.log.signed = sign_checkpoint(_state(node, final.number, final.hash, node.log.tree.size), node.signer)
    return node.log.signed


def _extend(node: Node, final: FinalPoint) -> bool:
    """Take final batches into the tree; return whether it holds all of them.

    Only final ones: what is not final may be taken back, and a checkpoint must not.
    """
    tree = node.log.tree
    for _ in range(_BATCHES_A_STEP):
        head = node.index.batch_head(tree.size)
        if head is None or head.block_number > final.number:
            # An index that is being built anew lacks batches that the tree has.
            return _size_at(node, final.number) == tree.size
        tree.append(batch_hash(head.entry))
    return False


def _size_at(node: Node, height: int) -> int:
    def block_of(batch_id: int) -> int:
        head = node.index.batch_head(batch_id)
        return height + 1 if head is None else head.block_number

    return bisect_right(range(node.log.tree.size), height, key=block_of)


def _state(node: Node, height: int, block_hash: bytes, size: int) -> Checkpoint:
    root, member = node.log.tree.root_at(size), node.chain.member_id
    return Checkpoint(chain_facts(node), height, block_hash, size, root, member, node.clock())


def _judge(
    node: Node,
    row: rows.PeerCheckpointRow,
    signed: SignedCheckpoint,
    *,
    first: int = 0,
    path: Sequence[bytes] | None = None,
) -> rows.PeerCheckpointRow:
    """Return the row as it is after this checkpoint; raise the alarm if it contradicts what is known."""
    encoded = json.dumps(render_checkpoint(signed)).encode()
    newest, theirs = _current(node), signed.checkpoint
    if newest is None:
        return row  # Nothing to compare with yet; it will be asked for again.
    own = newest.checkpoint
    found = _contradiction(node, row, theirs, own)
    if found is None and path is not None:
        found = _proof_fails(node, theirs, own, first=first, path=path)
    if found is not None:
        if row.state != "disputed":
            _alarm(node, found, signed, path or ())
        return msgspec.structs.replace(row, state="disputed", waiting=b"", received_at=node.clock())
    if theirs.log_size > own.log_size or theirs.height > own.height:
        # The first that waits stays: a member that is always ahead must be compared some day.
        return msgspec.structs.replace(
            row,
            waiting=row.waiting or encoded,
            state="disputed" if row.state == "disputed" else "waiting",
            received_at=node.clock(),
        )
    waiting = b"" if row.waiting == encoded else row.waiting
    state = "waiting" if waiting else "consistent"
    return msgspec.structs.replace(
        row, checkpoint=encoded, waiting=waiting, state=state, received_at=node.clock()
    )


def _contradiction(
    node: Node, row: rows.PeerCheckpointRow, theirs: Checkpoint, own: Checkpoint
) -> Evidence | None:
    """Compare with what the member signed before, with the own log, and with the own chain, in this order."""
    if row.checkpoint:
        earlier = parse_checkpoint(row.checkpoint)
        if (conflict := find_conflict(earlier.checkpoint, theirs)) is not None:
            return Evidence(conflict, earlier.checkpoint, earlier.signature)
    tree = node.log.tree
    if theirs.log_size <= own.log_size and tree.root_at(theirs.log_size) != theirs.log_root:
        return Evidence(Conflict.LOG_ROOT, _state_of_size(node, theirs.log_size) or own)
    if theirs.height > own.height:
        return None
    block = node.gateway.block(theirs.height)
    if block is None:
        return None  # The chain client is not where the index is: its own fault, named elsewhere.
    ours = _state(node, theirs.height, block.hash, _size_at(node, theirs.height))
    conflict = find_conflict(ours, theirs)
    return None if conflict is None else Evidence(conflict, ours)


def _state_of_size(node: Node, size: int) -> Checkpoint | None:
    """Return the state in which the log had `size` batches; None when no block ended with so many."""
    if size == 0:
        return _state(node, 0, node.deployment.genesis, 0)
    head = node.index.batch_head(size - 1)
    block_hash = node.index.block_hash(head.block_number) if head is not None else None
    if head is None or block_hash is None or _size_at(node, head.block_number) != size:
        return None
    return _state(node, head.block_number, block_hash, size)


def _proof_fails(
    node: Node, theirs: Checkpoint, own: Checkpoint, *, first: int, path: Sequence[bytes]
) -> Evidence | None:
    """Check the proof that a log which is longer than ours begins with it."""
    if not first <= own.log_size < theirs.log_size:
        return None
    ours = own if own.log_size == first else _state_of_size(node, first)
    if ours is None:
        return None
    try:
        verify_extends(ours, theirs, path)
    except ProofError:
        return Evidence(Conflict.NO_CONSISTENCY, ours)
    return None


def _alarm(node: Node, found: Evidence, theirs: SignedCheckpoint, path: Sequence[bytes]) -> None:
    member_id = theirs.checkpoint.member_id
    # The own side is signed now, unless the member contradicts what it signed itself.
    signature = found.signature
    mine = SignedCheckpoint(found.ours, signature) if signature else sign_checkpoint(found.ours, node.signer)
    ours, other = (json.dumps(render_checkpoint(each)).encode() for each in (mine, theirs))
    row = rows.ForkRow(member_id, node.clock(), found.conflict, ours, other, b"".join(path), 0, "")
    record(
        node,
        [rows.FORK.put(row)],
        actor=Actor(node.config.agencies[0], "worker", ""),
        action="fork.detect",
        object_id=f"member-{member_id}",
        outcome="alarm",
        reason=found.conflict,
    )
    _set_alarm(node)
    LOG.error("fork_detected", member=member_id, conflict=found.conflict.value)


def _set_alarm(node: Node) -> None:
    stands = any(not row.settled_at for row in rows.FORK.scan(node.store))
    node.chain.fork = FORK if stands else None


def _row_of(node: Node, member_id: int) -> rows.PeerCheckpointRow:
    held = rows.PEER_CHECKPOINT.get(node.store, member_id)
    return held or rows.PeerCheckpointRow(member_id, b"", b"", "waiting", 0)


def _peer_json(row: rows.PeerCheckpointRow) -> dict[str, Any]:
    held = row.checkpoint or row.waiting
    return {
        "memberId": row.member_id,
        "state": row.state,
        "receivedAt": row.received_at,
        "checkpoint": json.loads(held) if held else None,
    }


def _fork_json(row: rows.ForkRow) -> dict[str, Any]:
    return {
        "memberId": row.member_id,
        "conflict": row.conflict,
        "detectedAt": row.detected_at,
        "settledAt": row.settled_at or None,
        "ours": json.loads(row.ours),
        "theirs": json.loads(row.theirs),
        "path": [row.path[at : at + 32].hex() for at in range(0, len(row.path), 32)],
    }
