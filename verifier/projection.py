"""How each event changes the rows of the index: the rules of the projection.

A block's rows are staged and written at once. Rules that keep a hostile member harmless:
- the first member to append a commitment holds it; another member's copies are passed over and counted;
- a record whose plain bytes break its format is passed over and counted;
- what a member can write again and again (positions of a claim or tag) has a bound or rows of its own.
What the chain's answer gets wrong is refused: `LogsMissing` for gaps, `LogsInvalid` for contradictions.
Must not import chain or store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Any, Final, TypeAlias

from anchor.entries import BatchEntry, batch_hash, decode_status
from anchor.errors import EntryMalformed, MerkleInvalid, StatusMalformed
from anchor.keyvalue import Delete, KeyValue, Put
from anchor.merkle import Frontier, root
from anchor.records import RECORD_BYTES, Stream
from anchor.tags import ZERO_TAG
from verifier import events, rows
from verifier.catalog import KIND_NAMES
from verifier.errors import LogsInvalid, LogsMissing
from verifier.keyring import KeyRing
from verifier.unmasking import unmask_records
from verifier.writtenkeys import WrittenKeys

ROLES: Final = ("none", "city", "sector", "district", "partner", "observer")
MEMBER_STATES: Final = ("none", "active", "suspended", "left")
ENTRY_STATES: Final = ("none", "pending", "approved", "retired")

_LAST_DAY: Final = (date.max - date(1970, 1, 1)).days.to_bytes(4, "big")
_KNOWN_FLAGS: Final = 3  # anchor.records.Flag: ASSERTED | REPLACES.
_TAG_ROW_BYTES: Final = rows.TAG_POSITIONS * 10
_CLAIM_ROW_BYTES: Final = 4 + rows.CLAIM_POSITIONS * 10
_EMPTY_SLOT: Final = bytes(32)
_ABSENT: Final[Any] = object()

_Placed: TypeAlias = tuple[bytes, bytes]  # A record's position (batch 8 | index 2) and its 96 bytes.


class Stage:
    """Rows on their way into the store: read through it, written by the caller in one go."""

    def __init__(self, kv: KeyValue, written: WrittenKeys | None = None) -> None:
        """Read through `kv`; `written`, where given, knows all keys that it may hold."""
        self._kv = kv
        self._written = written
        self._rows: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        """Return the staged value of `key`, else the stored one."""
        staged: bytes | None = self._rows.get(key, _ABSENT)
        return self._stored(key) if staged is _ABSENT else staged

    def _stored(self, key: bytes) -> bytes | None:
        if self._written is not None and not self._written.perhaps(key):
            return None
        return self._kv.get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Stage a value."""
        self._rows[key] = value

    def delete(self, key: bytes) -> None:
        """Stage a removal."""
        self._rows[key] = None

    def ops(self) -> list[Put | Delete]:
        """Return what to write, and note its keys as written."""
        if self._written is not None:
            self._written.add(self._rows)
        return [Delete(key) if value is None else Put(key, value) for key, value in self._rows.items()]

    def replaced(self) -> list[tuple[bytes, bytes | None]]:
        """Return every staged key with the value that the store holds for it now."""
        return [(key, self._stored(key)) for key in self._rows]


class Projection:
    """Applies events to a stage; `finish` stages what was counted on the way."""

    def __init__(self, stage: Stage, ring: KeyRing) -> None:
        self._stage = stage
        self._ring = ring
        self._frontier = read_frontier(stage.get(rows.FRONTIER))
        self.counts = read_counts(stage.get(rows.COUNTS))
        self._untagged: dict[bytes, list[_Placed]] = {}  # By domain 2 | epoch 2.
        self.catalog_changed = False
        self.members_changed = False

    def take(self, block: events.IndexedBlock) -> None:
        """Apply all events of a block, in order.

        Raises:
            LogsMissing, LogsInvalid: see the module.
        """
        self._block = block
        for event in block.events:
            _HANDLERS[type(event)](self, event)
        self.counts.malformed += block.unreadable

    def finish(self) -> None:
        """Tag the records of all blocks that were taken, at once; stage frontier and counters."""
        for place, records in self._untagged.items():
            domain, epoch = int.from_bytes(place[:2], "big"), int.from_bytes(place[2:], "big")
            self._tag_records(records, domain=domain, epoch=epoch)
        self._untagged = {}
        self._stage.put(rows.FRONTIER, self._frontier.encode())
        self._stage.put(rows.COUNTS, rows.encode_struct(self.counts))

    # Ledger: batches

    def append(self, event: events.BatchAppended) -> None:
        """Check a batch against the log and its root, then store and index its records."""
        entry = event.entry
        self._check_place(entry)
        records = split_records(event.records)
        _check_root(entry, records)
        self._frontier.append(_batch_leaf(entry))
        self.counts.batches += 1
        self.counts.records += entry.size
        self._put_records(event)
        self._index_records(entry, records)

    def learn(self, batch_id: int, records: Sequence[tuple[int, bytes]], *, domain: int, epoch: int) -> None:
        """Index records (index, 96 bytes) that were opaque until the keys of their domain and epoch came."""
        place = domain << 16 | epoch
        left = self.counts.opaque.get(place, 0) - len(records)
        self.counts.opaque = self.counts.opaque | {place: left}
        if left <= 0:
            del self.counts.opaque[place]
        self._stage.delete(rows.opaque_key(domain, epoch, batch_id))
        placed = [(rows.encode_position(batch_id, index), record) for index, record in records]
        self._tag_records(placed, domain=domain, epoch=epoch)

    def _check_place(self, entry: BatchEntry) -> None:
        expected = self._frontier.size
        if entry.id > expected:
            raise LogsMissing("the chain's answer skips batches", expected=expected, got=entry.id)
        if entry.id < expected:
            raise LogsInvalid("the chain's answer repeats a batch", expected=expected, got=entry.id)

    def _put_records(self, event: events.BatchAppended) -> None:
        head = rows.BatchHead(event.entry, self._block.number, event.transaction_hash)
        chunks = range(0, len(event.records), rows.CHUNK_BYTES)
        first, *later = [event.records[at : at + rows.CHUNK_BYTES] for at in chunks]
        self._stage.put(rows.batch_key(event.entry.id), rows.encode_batch(head, first))
        for number, chunk in enumerate(later, 1):
            self._stage.put(rows.chunk_key(event.entry.id, number), chunk)

    def _index_records(self, entry: BatchEntry, records: Sequence[bytes]) -> None:
        """Note who holds each commitment; keep what is to be tagged until all its domain's records are there."""
        held = self._hold(entry, records)
        if entry.stream is not Stream.MATERIAL:
            return
        places = {record[32:36] for _, record in held}
        for place in places:
            these = held if len(places) == 1 else [one for one in held if one[1][32:36] == place]
            self._untagged.setdefault(place, []).extend(these)

    def _hold(self, entry: BatchEntry, records: Sequence[bytes]) -> list[_Placed]:
        """Note positions with their commitments; return those of records whose commitment is the member's."""
        holder = entry.member_id.to_bytes(4, "big")
        batch = entry.id.to_bytes(8, "big")
        get, put = self._stage.get, self._stage.put
        held: list[_Placed] = []
        claims = 0
        for index, record in enumerate(records):
            key = rows.CLAIMS + record[:32]
            row = get(key)
            if row is None:
                claims += 1
                row = holder
            elif not self._may_hold(row, holder):
                continue
            position = batch + index.to_bytes(2, "big")
            put(key, row + position)
            held.append((position, record))
        self.counts.claims += claims
        return held

    def _may_hold(self, row: bytes, holder: bytes) -> bool:
        if row[:4] != holder:
            # A copier saw the commitment in the open. It cannot open it, and must not profit from it.
            self.counts.copied += 1
            return False
        if len(row) >= _CLAIM_ROW_BYTES:
            self.counts.overlong += 1
            return False
        return True

    def _tag_records(self, records: Sequence[_Placed], *, domain: int, epoch: int) -> None:
        keys = self._ring.get(domain, epoch)
        if keys is None:
            self._put_opaque([position for position, _ in records], domain=domain, epoch=epoch)
            return
        put_tag = self._put_tag
        indexed = 0
        for (position, _), body in zip(
            records, unmask_records([record for _, record in records], keys), strict=True
        ):
            if not is_well_formed(body):
                self.counts.malformed += 1
                continue
            indexed += 1
            put_tag(rows.SUBJECT_TAGS, body[:16], position)
            put_tag(rows.CONTENT_TAGS, body[16:32], position)
            put_tag(rows.DOCUMENT_TAGS, body[32:48], position)
        self.counts.indexed += indexed

    def _put_opaque(self, positions: Sequence[bytes], *, domain: int, epoch: int) -> None:
        by_batch: dict[bytes, list[bytes]] = {}
        for position in positions:
            by_batch.setdefault(position[:8], []).append(position[8:])
        for batch, indexes in by_batch.items():
            key = rows.opaque_key(domain, epoch, int.from_bytes(batch, "big"))
            self._stage.put(key, b"".join(indexes))
        place = domain << 16 | epoch
        self.counts.opaque = self.counts.opaque | {place: self.counts.opaque.get(place, 0) + len(positions)}

    def _put_tag(self, kind: bytes, tag: bytes, position: bytes) -> None:
        """Add a position to a tag's row; `kind` is the row's beginning, the kind of tag included."""
        if tag == ZERO_TAG:
            return
        key = kind + tag
        row = self._stage.get(key)
        if row is None:
            self._stage.put(key, position)
        elif len(row) < _TAG_ROW_BYTES:
            self._stage.put(key, row + position)
        else:
            self._stage.put(rows.tag_overflow_key(kind[-1:], tag, position), b"")

    # Ledger: statuses and consumption

    def set_status(self, event: events.StatusChanged) -> None:
        """Keep a claim's newest slot, and the one before this block: the block may not be final yet."""
        _check_slot(event.value)
        key = rows.status_key(event.member_id, event.commitment)
        encoded = self._stage.get(key)
        earlier = _EMPTY_SLOT
        if encoded is not None:
            row = rows.decode_status_row(encoded)
            earlier = row.earlier if row.block_number == self._block.number else row.value
        row = rows.StatusRow(event.value, self._block.number, earlier)
        self._stage.put(key, rows.encode_status_row(row))

    def revoke_document(self, event: events.DocumentRevoked) -> None:
        """Keep each member's act on a document; who counts as issuer is decided when it is read."""
        _check_slot(event.value)
        key = rows.document_row_key(event.document)
        held = [
            row
            for row in rows.decode_document_rows(self._stage.get(key) or b"")
            if row.member_id != event.member_id
        ]
        held.append(rows.DocumentRow(event.member_id, event.value, self._block.number))
        self._stage.put(key, b"".join(map(rows.encode_document_row, held)))

    def consume(self, event: events.Consumed) -> None:
        """Keep who consumed a nullifier."""
        row = rows.Consumption(event.member_id, self._block.time, event.use_commitment, self._block.number)
        self._stage.put(rows.consumption_key(event.nullifier), rows.encode_consumption(row))

    def clear_consumption(self, event: events.ConsumptionCleared) -> None:
        """Forget who consumed a nullifier."""
        self._stage.delete(rows.consumption_key(event.nullifier))

    # Members

    def admit(self, event: events.MemberAdmitted) -> None:
        """Keep a new member and its account."""
        member = rows.Member(
            member_id=event.member_id,
            account=event.account,
            role=_name(ROLES, event.role),
            level=event.level,
            area=f"{event.area:06d}",
            uscc=event.uscc.decode("ascii", "replace"),
            valid_from=event.valid_from,
            valid_until=event.valid_until,
            name=event.name,
            endpoint=event.endpoint,
            hpke_key=event.hpke_key,
            state="active",
            successor=0,
        )
        self._put_account(member)
        self._put_member(member)

    def set_member_state(self, event: events.MemberStateChanged) -> None:
        """Suspend, reinstate or remove a member."""
        self._change_member(event.member_id, state=_name(MEMBER_STATES, event.state))

    def rotate_account(self, event: events.MemberAccountRotated) -> None:
        """Let another account speak for a member; the old one stays known as the member's."""
        self._put_account(self._change_member(event.member_id, account=event.account))

    def name_successor(self, event: events.MemberSuccessorNamed) -> None:
        """Keep who may act on a member's claims."""
        self._change_member(event.member_id, successor=event.successor)

    def set_endpoint(self, event: events.MemberEndpointSet) -> None:
        """Keep where a member's node answers."""
        self._change_member(event.member_id, endpoint=event.endpoint)

    def set_hpke_key(self, event: events.MemberHpkeKeySet) -> None:
        """Keep the key to seal to."""
        self._change_member(event.member_id, hpke_key=event.hpke_key)

    def put_envelope(self, event: events.EnvelopePublished) -> None:
        """Keep a sealed domain key."""
        key = rows.envelope_key(event.member_id, event.domain, event.epoch)
        self._stage.put(key, event.envelope)
        self.members_changed = True

    def put_signers(self, event: events.SignersSet) -> None:
        """Keep a signer set of the chain."""
        self._stage.put(rows.signers_key(event.from_block), b"".join(event.signers))

    def _put_account(self, member: rows.Member) -> None:
        self._stage.put(rows.account_key(member.account), member.member_id.to_bytes(4, "big"))

    def _put_member(self, member: rows.Member) -> None:
        self._stage.put(rows.member_key(member.member_id), rows.encode_struct(member))
        self.members_changed = True

    def _change_member(self, member_id: int, **changes: Any) -> rows.Member:
        encoded = self._stage.get(rows.member_key(member_id))
        if encoded is None:
            raise LogsInvalid("an event names a member that was never admitted", member=member_id)
        member = rows.replace(rows.decode_struct(encoded, rows.Member), **changes)
        self._put_member(member)
        return member

    # Catalog

    def publish(self, event: events.EntryPublished) -> None:
        """Keep a version of an entry."""
        if hashlib.sha256(event.text).digest() != event.digest or event.kind not in KIND_NAMES:
            raise LogsInvalid("a catalogue entry's text is not the one its digest names", kind=event.kind)
        state = _name(ENTRY_STATES, event.state)
        head_key = rows.entry_head_key(event.key)
        old = read_entry_head(self._stage.get(head_key))
        approved = event.version if state == "approved" else old.approved if old else 0
        head = rows.EntryHead(
            kind=KIND_NAMES[event.kind],
            code=event.code,
            latest=event.version,
            approved=approved,
            owner=event.owner,
        )
        self._stage.put(head_key, rows.encode_struct(head))
        self._stage.put(rows.code_key(event.kind, event.code), event.key)
        entry = self._entry_of(event, state)
        self._stage.put(rows.entry_key(event.key, event.version), rows.encode_struct(entry))
        self.catalog_changed = True

    def _entry_of(self, event: events.EntryPublished, state: str) -> rows.EntryVersion:
        return rows.EntryVersion(
            kind=KIND_NAMES[event.kind],
            code=event.code,
            version=event.version,
            owner=event.owner,
            digest=event.digest,
            state=state,
            text=event.text,
            block_number=self._block.number,
            block_hash=self._block.hash,
            transaction_hash=event.transaction_hash,
            log_index=event.log_index,
            time=self._block.time,
        )

    def set_entry_state(self, event: events.EntryStateChanged) -> None:
        """Approve or retire a version. A version whose code could not be decoded is not here."""
        key = rows.entry_key(event.key, event.version)
        encoded = self._stage.get(key)
        head = read_entry_head(self._stage.get(rows.entry_head_key(event.key)))
        if encoded is None or head is None:
            return
        state = _name(ENTRY_STATES, event.state)
        entry = rows.decode_struct(encoded, rows.EntryVersion)
        self._stage.put(key, rows.encode_struct(rows.replace(entry, state=state)))
        if state == "approved" and event.version > head.approved:
            head = rows.replace(head, approved=event.version)
            self._stage.put(rows.entry_head_key(event.key), rows.encode_struct(head))
        self.catalog_changed = True

    def set_entry_owner(self, event: events.EntryOwnerChanged) -> None:
        """Keep who may publish the next version."""
        head_key = rows.entry_head_key(event.key)
        head = read_entry_head(self._stage.get(head_key))
        if head is not None:
            self._stage.put(head_key, rows.encode_struct(rows.replace(head, owner=event.owner)))
            self.catalog_changed = True


_HANDLERS: Final[dict[type, Callable[[Projection, Any], None]]] = {
    events.BatchAppended: Projection.append,
    events.StatusChanged: Projection.set_status,
    events.DocumentRevoked: Projection.revoke_document,
    events.Consumed: Projection.consume,
    events.ConsumptionCleared: Projection.clear_consumption,
    events.MemberAdmitted: Projection.admit,
    events.MemberStateChanged: Projection.set_member_state,
    events.MemberAccountRotated: Projection.rotate_account,
    events.MemberSuccessorNamed: Projection.name_successor,
    events.MemberEndpointSet: Projection.set_endpoint,
    events.MemberHpkeKeySet: Projection.set_hpke_key,
    events.EnvelopePublished: Projection.put_envelope,
    events.SignersSet: Projection.put_signers,
    events.EntryPublished: Projection.publish,
    events.EntryStateChanged: Projection.set_entry_state,
    events.EntryOwnerChanged: Projection.set_entry_owner,
}


def split_records(records: bytes) -> list[bytes]:
    """Split concatenated records of 96 bytes."""
    return [records[at : at + RECORD_BYTES] for at in range(0, len(records), RECORD_BYTES)]


def leaf_hashes(member_id: int, records: Iterable[bytes]) -> list[bytes]:
    """Return the leaf hashes of a batch: SHA-256(0x00 ‖ memberId 4 ‖ record 96)."""
    sha256, prefix = hashlib.sha256, b"\x00" + member_id.to_bytes(4, "big")
    return [sha256(prefix + record).digest() for record in records]


def is_well_formed(body: bytes) -> bool:
    """Return whether 58 plain bytes of a MATERIAL record decode, without decoding them.

    The rules of `anchor.records`: known flags, no reserved bit, dates that exist. Big-endian days
    compare as bytes.
    """
    return (
        body[57] == 0 and body[56] <= _KNOWN_FLAGS and body[48:52] <= _LAST_DAY and body[52:56] <= _LAST_DAY
    )


def read_frontier(encoded: bytes | None) -> Frontier:
    """Return the log's frontier as stored; an empty one if none is.

    Raises:
        IndexCorrupt: the row is damaged.
    """
    try:
        return Frontier.decode(encoded) if encoded is not None else Frontier()
    except MerkleInvalid:
        raise rows.corrupt("frontier") from None


def read_counts(encoded: bytes | None) -> rows.Counts:
    """Return the counters as stored; zeros if none are.

    Raises:
        IndexCorrupt: the row is damaged.
    """
    return rows.decode_struct(encoded, rows.Counts) if encoded is not None else rows.Counts()


def read_entry_head(encoded: bytes | None) -> rows.EntryHead | None:
    """Return an entry's head as stored, or None.

    Raises:
        IndexCorrupt: the row is damaged.
    """
    return rows.decode_struct(encoded, rows.EntryHead) if encoded is not None else None


def _check_root(entry: BatchEntry, records: Sequence[bytes]) -> None:
    whole = 0 < len(records) == entry.size and len(records[-1]) == RECORD_BYTES
    if not whole or root(leaf_hashes(entry.member_id, records)) != entry.root:
        raise LogsInvalid("a batch's records do not lead to its root", batch=entry.id, size=entry.size)


def _batch_leaf(entry: BatchEntry) -> bytes:
    try:
        return batch_hash(entry)
    except EntryMalformed:
        raise LogsInvalid("a batch entry holds a number out of its range") from None


def _check_slot(value: bytes) -> None:
    try:
        decode_status(value)
    except StatusMalformed:
        raise LogsInvalid("a status event holds a slot that no ledger writes") from None


def _name(names: Sequence[str], number: int) -> str:
    if not 0 < number < len(names):
        raise LogsInvalid("an event holds a number that its contract does not know", number=number)
    return names[number]
