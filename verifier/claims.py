"""Claims: what one member says on chain about one commitment, read from the rows of the index.

Any number of questions is read in one pass, stage by stage (positions of the tags, records there, claims of
their commitments, records of the claims), so that a row is read once and one pass of the cipher unmasks all.
Must not import chain, store or HTTP. Rows: `verifier/rows.py`; who writes them: `verifier/projection.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Final, TypeAlias

import msgspec

from anchor.commitments import Commitment
from anchor.entries import SlotStatus
from anchor.errors import RecordMalformed
from anchor.keyvalue import KeyValue
from anchor.records import RECORD_BYTES, MaterialRecord, Stream, decode_material
from anchor.tags import Tag
from verifier import rows
from verifier.keyring import KeyRing
from verifier.unmasking import Unmasker

# Positions read for one tag; more come only from a member that floods its own domain.
_TAG_LIMIT: Final = 1000
_HELD_PLACES: Final = 1 << 16

Position: TypeAlias = tuple[int, int]  # Batch id, index in the batch.
FoundRecord: TypeAlias = tuple[rows.BatchPlace, bytes]
DecodedRecord: TypeAlias = tuple[rows.BatchPlace, MaterialRecord]


class Claim(msgspec.Struct, frozen=True, gc=False):
    """What one member says on chain about one commitment, as far as this index can read it.

    `positions` (batch id, index) and `blocks` (numbers) run along `records`. `block_number` and `block_time`
    are those of the first record. `status` is the newest slot; a suspension that was lifted in a block
    that is not final yet still counts.
    """

    member_id: int
    commitment: Commitment
    records: tuple[MaterialRecord, ...]
    positions: tuple[Position, ...]
    block_number: int
    block_time: int
    status: SlotStatus
    blocks: tuple[int, ...]


class ClaimReader:
    """Reads claims from the rows in `kv`; `read_status` reads a status row. Safe for many threads."""

    def __init__(self, kv: KeyValue, read_status: Callable[[bytes | None], SlotStatus]) -> None:
        self._kv = kv
        self._read_status = read_status
        self._ring = KeyRing()
        self._unmaskers: dict[bytes, Unmasker] = {}
        self._places: dict[int, rows.BatchPlace] = {}

    def use_keys(self, ring: KeyRing) -> None:
        """Decode with the keys of `ring` from now on."""
        self._ring, self._unmaskers = ring, {}

    def forget_places(self) -> None:
        """Forget where batches stand; call after a roll-back, since another batch may get the same id."""
        self._places = {}

    def by_tags(self, kind: bytes, groups: Sequence[Sequence[Tag]]) -> list[list[Claim]]:
        """Return for each group of tags the claims that one of them finds, first sealed first."""
        if len(groups) == 1:
            alone = self._usual(kind, groups[0])
            return [alone] if alone is not None else self._by_stages(kind, groups)
        usual = self._all_usual(kind, groups)
        unusual = [tags for tags, one in zip(groups, usual, strict=True) if one is None]
        rest = iter(self._by_stages(kind, unusual) if unusual else ())
        return [next(rest) if one is None else one for one in usual]

    def _by_stages(self, kind: bytes, groups: Sequence[Sequence[Tag]]) -> list[list[Claim]]:
        """Read whatever there is: many records of a tag, many lines of a claim, many claims of a file."""
        reading = _Reading(self._kv, self._places)
        positions = self._positions(kind, groups)
        reading.fetch(chain.from_iterable(positions))
        found = [reading.commitments_at(group) for group in positions]
        claims = self._claims(list(dict.fromkeys(chain.from_iterable(found))), reading)
        return [
            sorted([claims[one] for one in commitments if one in claims], key=_first_position)
            for commitments in found
        ]

    def by_commitment(self, commitment: Commitment) -> Claim | None:
        """Return the claim of a commitment, or None if there is none or no record of it can be read."""
        return self._claims((commitment,), _Reading(self._kv, self._places)).get(commitment)

    def record(self, position: Position) -> FoundRecord | None:
        """Return a record's batch and its 96 bytes, or None."""
        return _Reading(self._kv, self._places).record(position)

    def _usual(self, kind: bytes, tags: Sequence[Tag]) -> list[Claim] | None:
        """Read an answer of at most one record without what many records need; None if it is not of that kind.

        Nearly every document has one record. This costs half of what the stages do, and says the same.
        """
        at = None
        for tag in tags:
            row = self._kv.get(rows.tag_key(kind, tag))
            if row is not None:
                if at is not None or len(row) != rows.POSITION_BYTES:
                    return None
                at = row
        if at is None:
            return []
        position = rows.decode_position(at)
        place = self._places.get(position[0])
        if place is None or position[1] < rows.CHUNK_RECORDS:
            read = _Reading(self._kv, self._places).read(*position)
            if read is None:
                return None
            place, record = read
        else:
            record = self._chunked(place, *position)
        if not record:
            return None  # Missing or cut: the stages tell which.
        commitment = record[:32]
        # The claim is that of who appended its first record, so both rows can be asked for at once.
        claim, status = self._kv.get_many(
            [rows.claim_row_key(commitment), rows.status_key(place.member_id, commitment)]
        )
        unmasker = self._unmasker(record[32:36])
        if unmasker is None or record[37] != Stream.MATERIAL:
            return None
        if claim != place.member_id.to_bytes(4, "big") + at:
            return None
        try:
            decoded = decode_material(record, unmasker.unmask_one(record))
        except RecordMalformed:
            return None
        return [_single_claim(place, position, decoded, self._read_status(status))]

    def _all_usual(self, kind: bytes, groups: Sequence[Sequence[Tag]]) -> list[list[Claim] | None]:
        """Read for each of many groups what `_usual` reads for one, each kind of row in one pass."""
        read = iter(self._kv.get_many([rows.tag_key(kind, tag) for tags in groups for tag in tags]))
        found = [[row for row in islice(read, len(tags)) if row is not None] for tags in groups]
        usual: list[list[Claim] | None] = [None if here else [] for here in found]
        single = {
            number: here[0]
            for number, here in enumerate(found)
            if len(here) == 1 and len(here[0]) == rows.POSITION_BYTES
        }
        for number, claim in zip(single, self._single_claims([*single.values()]), strict=True):
            usual[number] = [claim] if claim is not None else None
        return usual

    def _single_claims(self, encoded: Sequence[bytes]) -> list[Claim | None]:
        """Return the claim of the record at each encoded position, None where it is not the claim's only one."""
        positions = [*map(rows.decode_position, encoded)]
        reading = _Reading(self._kv, self._places)
        reading.fetch(positions)
        found = [reading.read(*position) for position in positions]
        held = [
            (at, position, *one)
            for at, position, one in zip(encoded, positions, found, strict=True)
            if one is not None
        ]
        claims = self._kv.get_many([rows.claim_row_key(record[:32]) for _, _, _, record in held])
        statuses = self._kv.get_many(
            [rows.status_key(place.member_id, record[:32]) for _, _, place, record in held]
        )
        decoded = self._decode([(place, record) for _, _, place, record in held])
        made: Iterator[Claim | None] = (
            _single_claim(place, position, read, self._read_status(status))
            if read is not None and claim == place.member_id.to_bytes(4, "big") + at
            else None
            for (at, position, place, _), claim, status, read in zip(
                held, claims, statuses, decoded, strict=True
            )
        )
        return [next(made) if one is not None else None for one in found]

    def _chunked(self, place: rows.BatchPlace, batch_id: int, index: int) -> bytes:
        """Return a record beyond the first chunk of a batch that is known; b"" if it is not there."""
        chunk, at = divmod(index, rows.CHUNK_RECORDS)
        row = self._kv.get(rows.chunk_key(batch_id, chunk)) if index < place.size else None
        record = row[at * RECORD_BYTES : (at + 1) * RECORD_BYTES] if row is not None else b""
        return record if len(record) == RECORD_BYTES else b""

    def _positions(self, kind: bytes, groups: Sequence[Sequence[Tag]]) -> list[list[Position]]:
        flat = [tag for tags in groups for tag in tags]
        found = iter(self._kv.get_many([rows.tag_key(kind, tag) for tag in flat]))
        return [[place for tag in tags for place in self._unfold(kind, tag, next(found))] for tags in groups]

    def _unfold(self, kind: bytes, tag: Tag, row: bytes | None) -> list[Position]:
        if row is None:
            return []
        positions = rows.decode_positions(row)
        if len(positions) == rows.TAG_POSITIONS:
            overflow = islice(self._kv.scan(rows.tag_overflow_key(kind, tag)), _TAG_LIMIT)
            positions += [position for key, _ in overflow for position in rows.decode_positions(key[-10:])]
        return positions

    def _claims(self, commitments: Sequence[bytes], reading: _Reading) -> dict[bytes, Claim]:
        encoded = self._kv.get_many([rows.claim_row_key(one) for one in commitments])
        held = {
            commitment: (int.from_bytes(row[:4], "big"), rows.decode_positions(row[4:]))
            for commitment, row in zip(commitments, encoded, strict=True)
            if row is not None
        }
        records = self._records({place for _, positions in held.values() for place in positions}, reading)
        statuses = self._kv.get_many(
            [rows.status_key(member_id, commitment) for commitment, (member_id, _) in held.items()]
        )
        claims = {}
        for (commitment, (member_id, positions)), status in zip(held.items(), statuses, strict=True):
            readable = [place for place in positions if place in records]
            if readable:
                found = [records[place] for place in readable]
                first = found[0][0]
                claims[commitment] = Claim(
                    member_id,
                    Commitment(commitment),
                    tuple([record for _, record in found]),
                    tuple(readable),
                    first.block_number,
                    first.time,
                    self._read_status(status),
                    tuple([place.block_number for place, _ in found]),
                )
        return claims

    def _records(self, positions: Iterable[Position], reading: _Reading) -> dict[Position, DecodedRecord]:
        """Return the MATERIAL records there that can be read."""
        pairs = [(position, reading.record(position)) for position in positions]
        found = [(position, one) for position, one in pairs if one is not None]
        decoded = self._decode([one for _, one in found])
        return {
            position: (place, record)
            for (position, (place, _)), record in zip(found, decoded, strict=True)
            if record is not None
        }

    def _decode(self, found: Sequence[FoundRecord]) -> list[MaterialRecord | None]:
        """Unmask and decode records, one pass of the cipher for each domain epoch; None for what has no key."""
        decoded: list[MaterialRecord | None] = [None] * len(found)
        epochs: dict[bytes, list[int]] = {}
        for number, (_, record) in enumerate(found):
            if record[37] == Stream.MATERIAL:
                epochs.setdefault(record[32:36], []).append(number)
        for epoch, numbers in epochs.items():
            unmasker = self._unmasker(epoch)
            if unmasker is None:
                continue
            bodies = unmasker.unmask([found[number][1] for number in numbers])
            for number, body in zip(numbers, bodies, strict=True):
                try:
                    decoded[number] = decode_material(found[number][1], body)
                except RecordMalformed:  # `suppress` costs as much as the decoding.
                    continue
        return decoded

    def _unmasker(self, epoch: bytes) -> Unmasker | None:
        """Return what unmasks a domain epoch (domain 2 | epoch 2), or None without its keys."""
        held = self._unmaskers.get(epoch)
        if held is None:
            keys = self._ring.get(int.from_bytes(epoch[:2], "big"), int.from_bytes(epoch[2:], "big"))
            if keys is None:
                return None
            held = self._unmaskers[epoch] = Unmasker(keys)
        return held


def _single_claim(
    place: rows.BatchPlace, position: Position, record: MaterialRecord, status: SlotStatus
) -> Claim:
    """Return the claim that has one record."""
    return Claim(
        place.member_id,
        record.commitment,
        (record,),
        (position,),
        place.block_number,
        place.time,
        status,
        (place.block_number,),
    )


def _first_position(claim: Claim) -> Position:
    return claim.positions[0]


class _Reading:
    """The rows that one query has read: it meets most records twice, by its tag and by its claim.

    `places` outlives it. The mapping is the one of the query's begin: what a query that saw a roll-back puts
    there is forgotten with it.
    """

    __slots__ = ("_kv", "_places", "_records", "_rows")

    def __init__(self, kv: KeyValue, places: dict[int, rows.BatchPlace]) -> None:
        self._kv = kv
        self._places = places
        self._records: dict[Position, FoundRecord | None] = {}
        self._rows: dict[bytes, bytes | None] = {}

    def fetch(self, positions: Iterable[Position]) -> None:
        """Read ahead the rows that hold the records there, in the order of their keys."""
        wanted = set(positions)
        keys = {_row_key(*position) for position in wanted}
        keys |= {rows.batch_key(one) for one in {batch_id for batch_id, _ in wanted} - self._places.keys()}
        ordered = sorted(keys)
        self._rows = dict(zip(ordered, self._kv.get_many(ordered), strict=True))

    def commitments_at(self, positions: Iterable[Position]) -> dict[bytes, None]:
        """Return the commitments of the records there, in order, each once."""
        found = map(self.record, positions)
        return {one[1][:32]: None for one in found if one is not None}

    def record(self, position: Position) -> FoundRecord | None:
        """Return a record's batch and its 96 bytes. A roll-back between two reads makes it None."""
        try:
            return self._records[position]
        except KeyError:
            found = self._records[position] = self.read(*position)
            return found

    def read(self, batch_id: int, index: int) -> FoundRecord | None:
        """Read a record as `record` does, without remembering it."""
        held = self._row(_row_key(batch_id, index))
        if held is None:
            return None
        chunk, place = divmod(index, rows.CHUNK_RECORDS)
        batch = self._places.get(batch_id)
        if batch is None or not chunk:
            head = self._row(rows.batch_key(batch_id)) if chunk else held
            if head is None:
                return None
            batch = self._remember(batch_id, head)
        if not 0 <= index < batch.size:
            return None
        start = place * RECORD_BYTES + (0 if chunk else rows.BATCH_HEAD_BYTES)
        record = held[start : start + RECORD_BYTES]
        if len(record) != RECORD_BYTES:
            raise rows.corrupt("batch")
        return batch, record

    def _row(self, key: bytes) -> bytes | None:
        return self._rows[key] if key in self._rows else self._kv.get(key)

    def _remember(self, batch_id: int, row: bytes) -> rows.BatchPlace:
        if len(self._places) >= _HELD_PLACES:
            self._places.clear()
        found = self._places[batch_id] = rows.decode_batch_place(row)
        return found


def _row_key(batch_id: int, index: int) -> bytes:
    """Return the key of the row that holds a record: its batch's own row has the first ones."""
    chunk = index // rows.CHUNK_RECORDS
    return rows.chunk_key(batch_id, chunk) if chunk else rows.batch_key(batch_id)
