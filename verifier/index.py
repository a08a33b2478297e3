"""The chain index: a projection of all events of Ledger, Members and Catalog that answers without the chain.

`__init__` takes a `KeyValue` and nothing else. Every block is one write; none is synced, since what a power
cut takes is read from the chain again. Blocks above the final one carry an undo row. Delete the index and
it is rebuilt. One thread writes, any number read. Must not import chain, store or HTTP.
Life of a block: docs/explanation/chain-index.md. Rules of the projection: `verifier/projection.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from anchor.chain.finality import FinalPoint
from anchor.commitments import Commitment
from anchor.entries import BatchEntry, SlotStatus, StatusFlag
from anchor.keyvalue import Delete, KeyValue, Put
from anchor.merkle import inclusion_path
from anchor.records import RecordId, record_id
from anchor.tags import Tag
from verifier import rows
from verifier.catalog import KIND_NUMBERS
from verifier.claims import Claim, ClaimReader
from verifier.errors import BlockOutOfOrder, IndexForeign, RollbackTooDeep
from verifier.events import IndexedBlock
from verifier.keyring import KeyRing
from verifier.projection import (
    Projection,
    Stage,
    leaf_hashes,
    read_counts,
    read_entry_head,
    read_frontier,
    split_records,
)
from verifier.rows import BatchHead, BlockPoint, Consumption, Counts, EntryVersion, Identity, Member
from verifier.writtenkeys import WrittenKeys

__all__ = [
    "BatchHead",
    "BlockPoint",
    "ChainIndex",
    "Claim",
    "Consumption",
    "Counts",
    "EntryVersion",
    "Identity",
    "Member",
    "StoredBatch",
]

LAYOUT: Final = 1
_EMPTY_STATUS: Final = SlotStatus(StatusFlag(0), 0, 0, b"")
_WIPE_ROWS: Final = 10_000


@dataclass(frozen=True, slots=True)
class StoredBatch:
    """A batch with its records (96 bytes each) and the transaction that appended it."""

    entry: BatchEntry
    records: tuple[bytes, ...]
    block_number: int
    block_hash: bytes
    transaction_hash: bytes


class ChainIndex:
    """See the module. Reads decode with the keys of the ring given to `use_keys`."""

    def __init__(self, kv: KeyValue) -> None:
        self._kv = kv
        self._ring = KeyRing()
        self._final: FinalPoint | None = None
        self._claims = ClaimReader(kv, self._read_status)
        self._writing = threading.Lock()
        self._written: WrittenKeys | None = None
        self.catalog_generation = 0
        self.member_generation = 0
        if kv.get(rows.CURSOR) is None and kv.get(rows.IDENTITY) is None:
            self._wipe()  # A crash in the middle of `clear` left rows without a cursor.
            self._written = WrittenKeys()
        self._final = self._load_final()

    def use_keys(self, ring: KeyRing) -> None:
        """Read and index records with the keys of `ring` from now on."""
        self._ring = ring
        self._claims.use_keys(ring)

    # Writing

    def bind(self, identity: Identity) -> None:
        """Tie an empty index to a chain and its contracts, or check that it is tied to these.

        Raises:
            IndexForeign: it was built from another chain, other contracts or by another layout.
        """
        held = self._kv.get(rows.IDENTITY)
        if held is None:
            self._kv.write([Put(rows.IDENTITY, rows.encode_struct(identity))], sync=False)
        elif rows.decode_struct(held, Identity) != identity:
            raise IndexForeign(
                "the index was built from another chain or by another version",
                hint="check the chain and Directory settings; if they are right, rebuild the index",
            )

    def layout(self) -> int | None:
        """Return the layout that the rows have, None while the index is not bound."""
        held = self._kv.get(rows.IDENTITY)
        return rows.decode_layout(held) if held is not None else None

    def apply(self, block: IndexedBlock, *, final: bool = False) -> None:
        """Add a block's events and move the cursor in one write: after a crash both are there or neither.

        A `final` block may leave out blocks without events before it and cannot be taken back.

        Raises:
            BlockOutOfOrder: the block does not follow the cursor.
            LogsMissing, LogsInvalid: the events contradict the log or themselves; nothing is written.
        """
        with self._writing:
            self._take([block], final=final)

    def apply_final(self, blocks: Sequence[IndexedBlock]) -> None:
        """Add final blocks, ascending, in one write, as `apply` would one by one.

        Raises:
            BlockOutOfOrder, LogsMissing, LogsInvalid: as `apply`; nothing is written.
        """
        with self._writing:
            self._take(blocks, final=True)

    def _take(self, blocks: Sequence[IndexedBlock], *, final: bool) -> None:
        cursor = self.cursor()
        stage = Stage(self._kv, self._written)
        projection = Projection(stage, self._ring)
        for block in blocks:
            _check_order(block, cursor, final=final)
            projection.take(block)
            if block.events or block.unreadable:
                stage.put(rows.block_key(block.number), rows.encode_block(block.hash, block.time))
            cursor = BlockPoint(block.number, block.hash, block.time)
        if any(block.events or block.unreadable for block in blocks):
            projection.finish()
        if cursor is not None:
            stage.put(rows.CURSOR, rows.encode_point(cursor))
        if not final:
            stage.put(rows.undo_key(blocks[-1].number), rows.encode_undo(stage.replaced()))
        # No sync: what a power cut takes is read from the chain again.
        self._kv.write(stage.ops(), sync=False)
        self.catalog_generation += projection.catalog_changed
        self.member_generation += projection.members_changed

    def reach_head(self) -> None:
        """Stop remembering which keys a rebuild has written: at the head nearly nothing is looked for in vain."""
        with self._writing:
            self._written = None

    def rollback(self, number: int) -> None:
        """Take back all blocks above `number`, newest first, each in one write.

        Raises:
            RollbackTooDeep: one of them was final.
        """
        with self._writing:
            self._rollback(number)

    def final(self, point: FinalPoint) -> None:
        """Keep the chain's last final block and drop what could take it back.

        A point below the one that is kept changes nothing.

        Raises:
            BlockOutOfOrder: the index has not come so far, or has another block there.
        """
        with self._writing:
            held = self.final_point()
            if held is not None and (point == held or point.number < held.number):
                return
            self._check_final(point)
            encoded = (
                rows.encode_point(BlockPoint(point.number, point.hash, point.time)) + point.label.encode()
            )
            prune: list[Put | Delete] = [Delete(key) for key in self._undo_keys(upto=point.number)]
            self._kv.write([*prune, Put(rows.FINAL, encoded)], sync=False)
            self._final = point

    def learn(self, ring: KeyRing) -> int:
        """Index the records that `ring` can read and that were opaque so far; return how many.

        Blocks that are not final go first: their undo rows do not know of what is added here. The follower
        brings them again.
        """
        self.use_keys(ring)
        readable = [place for place in self.opaque() if ring.get(*place) is not None]
        if not readable:
            return 0
        with self._writing:
            final = self.final_point()
            self._rollback(final.number if final else -1)
            return sum(self._learn_place(domain, epoch) for domain, epoch in readable)

    def clear(self) -> None:
        """Forget everything, so that the follower rebuilds from block 0.

        The cursor goes first: a crash leaves an index that finishes the wiping when it is opened.
        """
        with self._writing:
            self._kv.write([Delete(rows.CURSOR), Delete(rows.IDENTITY)], sync=True)
            self._wipe()
            self._written = WrittenKeys()
            self._final = None
            self._bump()

    def _check_final(self, point: FinalPoint) -> None:
        cursor = self.cursor()
        if cursor is None or point.number > cursor.number:
            raise BlockOutOfOrder("the final block is not indexed yet", got=point.number)
        known = cursor.hash if cursor.number == point.number else self.block_hash(point.number)
        if known is not None and known != point.hash:
            raise BlockOutOfOrder("the final block is not the one that is indexed", got=point.number)

    def _rollback(self, number: int) -> None:
        cursor = self.cursor()
        while cursor is not None and cursor.number > number:
            key = rows.undo_key(cursor.number)
            undo = self._kv.get(key)
            if undo is None:
                raise RollbackTooDeep("a block that was final would have to go", block=cursor.number)
            old = rows.decode_undo(undo)
            ops = [Delete(name) if value is None else Put(name, value) for name, value in old]
            self._kv.write([*ops, Delete(key)], sync=False)
            self._bump()
            cursor = self.cursor()

    def _undo_keys(self, *, upto: int) -> list[bytes]:
        last = rows.undo_key(upto)
        keys = (key for key, _ in self._kv.scan(rows.UNDOS))
        return [key for key in keys if key <= last]

    def _learn_place(self, domain: int, epoch: int) -> int:
        learned = 0
        for key, packed in list(self._kv.scan(rows.opaque_key(domain, epoch))):
            batch_id = int.from_bytes(key[-8:], "big")
            batch = self.batch(batch_id)
            if batch is None:
                continue
            indexes = [int.from_bytes(packed[at : at + 2], "big") for at in range(0, len(packed), 2)]
            stage = Stage(self._kv, self._written)
            projection = Projection(stage, self._ring)
            found = [(index, batch.records[index]) for index in indexes]
            projection.learn(batch_id, found, domain=domain, epoch=epoch)
            projection.finish()
            self._kv.write(stage.ops(), sync=False)
            learned += len(indexes)
        return learned

    def _wipe(self) -> None:
        while keys := [key for key, _ in islice(self._kv.scan(rows.PREFIX), _WIPE_ROWS)]:
            self._kv.write([Delete(key) for key in keys], sync=False)

    def _bump(self) -> None:
        self._claims.forget_places()
        self.catalog_generation += 1
        self.member_generation += 1

    # Where the index stands

    def cursor(self) -> BlockPoint | None:
        """Return the last block taken in, or None."""
        encoded = self._kv.get(rows.CURSOR)
        return rows.decode_point(encoded) if encoded is not None else None

    def final_point(self) -> FinalPoint | None:
        """Return the last final block with its finality label, or None."""
        return self._final  # Every verdict asks for it; only this process writes it.

    def _load_final(self) -> FinalPoint | None:
        encoded = self._kv.get(rows.FINAL)
        if encoded is None:
            return None
        point = rows.decode_point(encoded[:48])
        return FinalPoint(point.number, point.hash, point.time, encoded[48:].decode("utf-8", "replace"))

    def counts(self) -> Counts:
        """Return what the index holds and what it passed over."""
        return read_counts(self._kv.get(rows.COUNTS))

    def copied_commitments(self) -> int:
        """Return how many records copied a commitment that another member held."""
        return self.counts().copied

    def opaque(self) -> dict[tuple[int, int], int]:
        """Return the number of records without a key, by (domain, epoch)."""
        return {(place >> 16, place & 0xFFFF): count for place, count in self.counts().opaque.items()}

    def log_root(self) -> bytes:
        """Return the RFC 6962 root over all batches; Ledger.logRoot at the cursor's block."""
        return read_frontier(self._kv.get(rows.FRONTIER)).root()

    def log_size(self) -> int:
        """Return the number of batches; Ledger.logSize at the cursor's block."""
        return read_frontier(self._kv.get(rows.FRONTIER)).size

    def block_hash(self, number: int) -> bytes | None:
        """Return the hash of a block that held events, or None."""
        encoded = self._kv.get(rows.block_key(number))
        return rows.decode_block(encoded)[0] if encoded is not None else None

    # Records

    def claims_by_content(self, content_tags: Sequence[Tag]) -> list[Claim]:
        """Return the claims about a file, first sealed first."""
        return self._claims.by_tags(rows.CONTENT, [content_tags])[0]

    def claims_by_contents(self, groups: Sequence[Sequence[Tag]]) -> list[list[Claim]]:
        """Return the claims about each of many files, as `claims_by_content` does for one."""
        return self._claims.by_tags(rows.CONTENT, groups)

    def claims_by_subject(self, subject_tags: Sequence[Tag]) -> list[Claim]:
        """Return the claims about a subject and type, first sealed first."""
        return self._claims.by_tags(rows.SUBJECT, [subject_tags])[0]

    def claims_by_subjects(self, groups: Sequence[Sequence[Tag]]) -> list[list[Claim]]:
        """Return the claims about each of many subjects and types."""
        return self._claims.by_tags(rows.SUBJECT, groups)

    def claims_by_document(self, doc_tags: Sequence[Tag]) -> list[Claim]:
        """Return the claims about a document number, first sealed first."""
        return self._claims.by_tags(rows.DOCUMENT, [doc_tags])[0]

    def claim(self, commitment: Commitment) -> Claim | None:
        """Return the claim of a commitment, or None if there is none or no record of it can be read."""
        return self._claims.by_commitment(commitment)

    def status(self, member_id: int, commitment: Commitment) -> SlotStatus:
        """Return a claim's status; a suspension lifted in a block that is not final still counts."""
        return self._read_status(self._kv.get(rows.status_key(member_id, commitment)))

    def _read_status(self, encoded: bytes | None) -> SlotStatus:
        if encoded is None:
            return _EMPTY_STATUS
        row = rows.decode_status_row(encoded)
        status = rows.decode_slot(row.value)
        final = self.final_point()
        if final is not None and row.block_number <= final.number:
            return status
        lasting = rows.decode_slot(row.earlier).flags & StatusFlag.SUSPENDED
        return SlotStatus(status.flags | lasting, status.since, status.reason, status.successor)

    def document_revocations(self, domain: int, epoch: int, doc_tag: Tag) -> list[tuple[int, SlotStatus]]:
        """Return (member id, status) for every member that acted on a document."""
        document = domain.to_bytes(2, "big") + epoch.to_bytes(2, "big") + doc_tag
        encoded = self._kv.get(rows.document_row_key(document))
        if encoded is None:
            return []
        return [(row.member_id, rows.decode_slot(row.value)) for row in rows.decode_document_rows(encoded)]

    def consumption(self, nullifier: bytes) -> Consumption | None:
        """Return who consumed a nullifier, or None."""
        encoded = self._kv.get(rows.consumption_key(nullifier))
        return rows.decode_consumption(encoded) if encoded is not None else None

    def batch(self, batch_id: int) -> StoredBatch | None:
        """Return a batch with its records and place, or None."""
        row = self._kv.get(rows.batch_key(batch_id))
        if row is None:
            return None
        head = rows.decode_batch(batch_id, row)
        chunks = range(1, -(-head.entry.size // rows.CHUNK_RECORDS))
        later = [self._kv.get(rows.chunk_key(batch_id, chunk)) or b"" for chunk in chunks]
        records = split_records(row[rows.BATCH_HEAD_BYTES :] + b"".join(later))
        block_hash = self.block_hash(head.block_number) or b""
        return StoredBatch(head.entry, tuple(records), head.block_number, block_hash, head.transaction_hash)

    def batch_head(self, batch_id: int) -> BatchHead | None:
        """Return a batch's entry and where it was mined, without its records, or None."""
        row = self._kv.get(rows.batch_key(batch_id))
        return rows.decode_batch(batch_id, row) if row is not None else None

    def record_at(self, batch_id: int, index: int) -> bytes | None:
        """Return a record's 96 bytes, or None."""
        found = self._claims.record((batch_id, index))
        return found[1] if found else None

    def record_id(self, batch_id: int, index: int) -> RecordId | None:
        """Return a record's id (its leaf hash), or None."""
        found = self._claims.record((batch_id, index))
        return record_id(found[0].member_id, found[1]) if found else None

    def inclusion(self, batch_id: int, index: int) -> list[bytes] | None:
        """Return the RFC 6962 path of a record to its batch's root, or None if there is no such record."""
        batch = self.batch(batch_id)
        if batch is None or not 0 <= index < batch.entry.size:
            return None
        return inclusion_path(leaf_hashes(batch.entry.member_id, batch.records), index)

    # Members

    def member(self, member_id: int) -> Member | None:
        """Return a member, or None."""
        encoded = self._kv.get(rows.member_key(member_id))
        return rows.decode_struct(encoded, Member) if encoded is not None else None

    def member_by_account(self, account: bytes) -> Member | None:
        """Return the member that a 20-byte account speaks for now, or None; old accounts speak for none."""
        encoded = self._kv.get(rows.account_key(account))
        member = self.member(int.from_bytes(encoded, "big")) if encoded is not None else None
        return member if member is not None and member.account == account else None

    def members(self) -> list[Member]:
        """Return all members ever admitted, by id."""
        return [rows.decode_struct(encoded, Member) for _, encoded in self._kv.scan(rows.MEMBERS)]

    def envelopes_for(self, member_id: int) -> list[tuple[int, int, bytes]]:
        """Return (domain, epoch, envelope) of every key sealed to a member; epoch 0 is the consume key."""
        prefix = rows.envelope_prefix(member_id)
        return [
            (int.from_bytes(key[-4:-2], "big"), int.from_bytes(key[-2:], "big"), sealed)
            for key, sealed in self._kv.scan(prefix)
        ]

    def signer_sets(self) -> list[tuple[int, tuple[bytes, ...]]]:
        """Return (first block, addresses) of every signer set, by first block."""
        return [
            (
                int.from_bytes(key[-8:], "big"),
                tuple(packed[at : at + 20] for at in range(0, len(packed), 20)),
            )
            for key, packed in self._kv.scan(rows.SIGNERS)
        ]

    # Catalogue

    def entry(self, kind: str, code: str, version: int | None = None) -> EntryVersion | None:
        """Return a version of an entry; without one, the newest approved one unless that was retired."""
        if version is not None:
            key = self._entry_key(kind, code)
            return self._entry_version(key, version) if key else None
        found = self.last_approved(kind, code)
        return found if found is not None and found.state == "approved" else None

    def last_approved(self, kind: str, code: str) -> EntryVersion | None:
        """Return the newest version that was ever approved, retired or not, or None."""
        key = self._entry_key(kind, code)
        head = read_entry_head(self._kv.get(rows.entry_head_key(key))) if key else None
        return self._entry_version(key, head.approved) if key and head and head.approved else None

    def entry_versions(self, kind: str, code: str) -> list[EntryVersion]:
        """Return all versions of an entry, oldest first."""
        key = self._entry_key(kind, code)
        if key is None:
            return []
        scan = self._kv.scan(rows.entry_key(key, 0)[:-4])
        return [rows.decode_struct(encoded, EntryVersion) for _, encoded in scan]

    def entries(
        self, kind: str, *, after: str = "", limit: int = 100, approved: bool = False
    ) -> list[EntryVersion]:
        """Return up to `limit` entries with codes above `after`, in code order, each in its newest version.

        With `approved`, each in its newest approved version; codes without one are left out.
        """
        newest = self._approved if approved else self._newest
        found = (newest(kind, code) for code in self.entry_codes(kind, after=after))
        return list(islice((one for one in found if one is not None), limit))

    def entry_codes(self, kind: str, *, after: str = "") -> Iterator[str]:
        """Yield the codes of a kind above `after`, in order."""
        number = KIND_NUMBERS.get(kind)
        if number is None:
            return
        prefix = rows.code_key(number)
        for key, _ in self._kv.scan(prefix, start=rows.code_key(number, after)):
            code = key[len(prefix) :].decode()
            if code != after:
                yield code

    def _approved(self, kind: str, code: str) -> EntryVersion | None:
        return self.entry(kind, code)

    def _newest(self, kind: str, code: str) -> EntryVersion | None:
        key = self._entry_key(kind, code)
        head = read_entry_head(self._kv.get(rows.entry_head_key(key))) if key else None
        return self._entry_version(key, head.latest) if key and head else None

    def _entry_key(self, kind: str, code: str) -> bytes | None:
        number = KIND_NUMBERS.get(kind)
        return self._kv.get(rows.code_key(number, code)) if number is not None else None

    def _entry_version(self, key: bytes, version: int) -> EntryVersion | None:
        encoded = self._kv.get(rows.entry_key(key, version)) if 0 < version < 1 << 32 else None
        return rows.decode_struct(encoded, EntryVersion) if encoded is not None else None


def _check_order(block: IndexedBlock, cursor: BlockPoint | None, *, final: bool) -> None:
    number = cursor.number if cursor else -1
    adjacent = block.number == number + 1
    if not adjacent and not (final and block.number > number):
        raise BlockOutOfOrder("a block does not follow the index", indexed=number, got=block.number)
    if adjacent and cursor and block.parent_hash != cursor.hash:
        raise BlockOutOfOrder("a block has another parent than the index", indexed=number, got=block.number)
