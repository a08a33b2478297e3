"""Every row of the main store and every key: the one place where either is built.

A row is `kind 1 | version 1 | msgpack array of its fields in order`, without those that make its key; its key
is `<table>/` and its parts, text with a length byte in front, numbers as 8 bytes big-endian, so that keys sort
as their parts do. Ids and hex digests, in keys and values, are stored as the bytes they stand for
(`compact`). Keys are not encrypted: what could name a person is in them as an HMAC or not at all. Times are
unix seconds (UTC), dates ISO text or "". An unknown kind or version, or a surplus field, is refused.

Must not import plyvel, services or HTTP.
"""

import base64
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final, Generic, TypeAlias, TypeVar, get_type_hints

import msgspec

from anchor.keyvalue import Delete, KeyValue, Put
from node.errors import RowMalformed

KeyPart: TypeAlias = str | int | bytes

_MAX_PART_BYTES: Final = 0xF7
_ID_MARK: Final = 0xF8  # in a key, where a length would stand: an id, 19 bytes
_HEX_MARK: Final = 0xF9  # a hex digest, 32 bytes
_ID_BYTES: Final = 19
_ID_CHARS: Final = 30
_ID: Final = re.compile(r"[a-z]{3}_[0-7][0-9A-HJKMNP-TV-Z]{25}")
_HEX: Final = re.compile(r"[0-9a-f]{64}")
# Crockford's digits as those that `int` and RFC 4648 use.
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_TO_INT: Final = str.maketrans(_CROCKFORD, "0123456789abcdefghijklmnopqrstuv")
_FROM_B32: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", _CROCKFORD)
_MAX_NUMBER: Final = 2**63 - 1
_BLOB_ID: Final = re.compile(r"[0-9A-Za-z_]{1,64}")


class Row(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Base of all rows."""


class SubjectRow(Row, frozen=True):
    """One subject of a material."""

    id_type: str
    id: str
    role: str


class MaterialRow(Row, frozen=True):
    """A material; its versions are rows of their own."""

    material_id: str
    agency: str
    type_code: str
    title: str
    subjects: list[SubjectRow]
    document_no: str
    case_no: str
    latest_version: int
    created_at: int
    level: str
    share_type: str


class VersionRow(Row, frozen=True):
    """One version: digests, dates, where its bytes lie, its wrapped keys, its commitment, its status.

    `sm3` and `blob_id` are "" where there is none; `status` is active, suspended, superseded, revoked or
    erased; `fields_json` holds, in JCS, the opening fields that the other fields and the material's row do not
    tell; of a version that is not the newest, all of them (`custody.unlock`).
    """

    material_id: str
    version: int
    sha256: str
    sm3: str
    size_bytes: int
    media_type: str
    file_name: str
    issued_on: str
    expires_on: str
    asserted: bool
    blob_id: str
    wrapped_file_key: bytes
    wrapped_salt: bytes
    key_epoch: int
    commitment: bytes
    operation_ids: list[str]
    created_at: int
    status: str
    status_reason: str
    fields_json: bytes


class AgencyLookupRow(Row, frozen=True):
    """Lists an agency's materials; ids are ULIDs, so they sort by time."""

    agency: str
    material_id: str


class SubjectLookupRow(Row, frozen=True):
    """Finds materials by subject; `digest` is the hex HMAC of agency and subject under the lookup key."""

    digest: str
    material_id: str


class DedupeRow(Row, frozen=True):
    """Finds the material that an agency holds already; `digest` is a hex HMAC under the lookup key."""

    digest: str
    material_id: str


class CommitmentRow(Row, frozen=True):
    """Finds the version behind a commitment, in hex."""

    commitment: str
    material_id: str
    version: int


class UnconfirmedRow(Row, frozen=True):
    """A version whose records are not known to be the chain's first under their commitment."""

    material_id: str
    version: int


class ApiKeyRow(Row, frozen=True):
    """An API key: hash of its secret, whose it is, what it may; `expires_at` and `revoked_at` 0 = never."""

    key_id: str
    secret_hash: bytes
    agency: str
    scopes: list[str]
    label: str
    created_at: int
    expires_at: int
    revoked_at: int


class IdempotencyRow(Row, frozen=True):
    """What a write with this Idempotency-Key answered; `answer` is packed by `node/http/idempotency.py`."""

    agency: str
    route: str
    key_digest: bytes
    request_digest: bytes
    status: int
    answer: bytes
    created_at: int


class ReuseRow(Row, frozen=True):
    """A decision about the use of a material in a case, with what was asked and where its bytes lie."""

    reuse_id: str
    agency: str
    case_no: str
    matter_code: str
    req_id: str
    type_code: str
    commitment: bytes
    custodian: int
    outcome: str
    decision_json: bytes
    created_at: int
    operation_ids: list[str]
    state: str
    blob_id: str
    wrapped_file_key: bytes
    request_json: bytes
    key_epoch: int
    wrapped_salt: bytes
    fields_json: bytes


class WaitingRow(Row, frozen=True):
    """A reuse whose consumption is on its way to the chain; `since` is when it was asked for."""

    reuse_id: str
    since: int


class JobRow(Row, frozen=True):
    """Long work that a caller may ask about; `status` is queued, running, done, failed or cancelled."""

    job_id: str
    agency: str
    kind: str
    status: str
    progress_done: int
    progress_total: int
    unit: str
    result_url: str
    problem_json: bytes
    created_at: int
    updated_at: int


class AuditRow(Row, frozen=True):
    """One entry of the audit log. Page: docs/reference/audit-entry.md."""

    sequence: int
    time: int
    actor: str
    action: str
    object: str
    outcome: str
    reason: str
    request_id: str
    prev_hash: bytes
    hash: bytes


class NonceRow(Row, frozen=True):
    """A nonce that another member has used, kept until its request would have expired."""

    member_id: int
    nonce: bytes
    expires_at: int


class ReleaseRow(Row, frozen=True):
    """A signed release request and what this custodian decided: the evidence it keeps."""

    release_id: str
    commitment: bytes
    requester_member: int
    request: bytes
    signature: bytes
    decided_at: int
    outcome: str
    bytes_sent: int


class CheckpointRow(Row, frozen=True):
    """The last block that this node took for final, under a name."""

    name: str
    number: int
    hash: bytes
    time: int


class ErasedVersion(Row, frozen=True):
    """A version that was erased: its number and the commitment that stays on chain."""

    version: int
    commitment: bytes


class ErasedBlob(Row, frozen=True):
    """A file that was erased: which chunks its bytes lay in."""

    blob_id: str
    chunks: int


class ErasureRow(Row, frozen=True):
    """The tombstone of a material (or of the copy that a reuse brought), and how far its erasing has come.

    `kind` is material or reuse; `state` is accepted, keys_destroyed, deleted or done. `epochs` are the key epochs to
    destroy; `gone` and `replaced` are keys of rows, which name nobody. It holds no personal data.
    """

    erasure_id: str
    agency: str
    kind: str
    erased_at: int
    reason_code: int
    actor: str
    held_since: int
    versions: list[ErasedVersion]
    operation_ids: list[str]
    epochs: list[int]
    blobs: list[ErasedBlob]
    gone: list[bytes]
    replaced: list[bytes]
    state: str
    updated_at: int


class BackupRow(Row, frozen=True):
    """A backup that this node made, so that an erasure can name those that hold the material."""

    backup_id: str
    created_at: int
    place: str


class NoticeRow(Row, frozen=True):
    """A signed notice of erasure to a member that received the document; sent until it is acknowledged."""

    material_id: str
    member_id: int
    commitment: bytes
    body: bytes
    created_at: int
    due_at: int
    attempts: int
    acknowledged_at: int


class ReceivedNoticeRow(Row, frozen=True):
    """Another member's notice of erasure, as it was signed, and what was done here about copies.

    `policy` is erase or flag; `copies` are the reuses that were concerned; `applied_at` 0 = not yet.
    """

    custodian: int
    commitment: bytes
    body: bytes
    received_at: int
    policy: str
    copies: list[str]
    applied_at: int


class PeerCheckpointRow(Row, frozen=True):
    """What another member's node said last of the log; empty bytes are none. Page: docs/reference/checkpoint.md.

    `checkpoint` was compared with the own log and fits; `waiting` lies ahead of it. `state` is consistent,
    waiting or disputed.
    """

    member_id: int
    checkpoint: bytes
    waiting: bytes
    state: str
    received_at: int


class ForkRow(Row, frozen=True):
    """Two signed checkpoints that contradict each other; `settled_at` 0 = the alarm stands."""

    member_id: int
    detected_at: int
    conflict: str
    ours: bytes
    theirs: bytes
    path: bytes
    settled_at: int
    settled_by: str


class StatusTokenRow(Row, frozen=True):
    """What a slip's QR code leads to, by the hex HMAC of its token; `revoked_at` 0 = not. `opened`: fields shown."""

    digest: str
    material_id: str
    version: int
    agency: str
    opened: list[str]
    created_at: int
    expires_at: int
    revoked_at: int


class TimestampRow(Row, frozen=True):
    """An RFC 3161 token over the root of one of this member's batches."""

    batch_id: int
    token: bytes
    stamped_at: int


class SettingRow(Row, frozen=True):
    """A small value that the node itself keeps."""

    name: str
    value: bytes


# Names of settings that more than one room reads.
LAST_BACKUP: Final = "last_backup"

R = TypeVar("R", bound=Row)


def _id_bytes(text: str) -> bytes:
    """Return the 19 bytes of an id: its three letters and its ULID."""
    return text[:3].encode("ascii") + int(text[4:_ID_CHARS].translate(_TO_INT), 32).to_bytes(16, "big")


def _id_text(packed: bytes) -> str:
    digits = base64.b32encode(bytes(4) + packed[3:_ID_BYTES]).decode("ascii")[-26:]
    return packed[:3].decode("ascii") + "_" + digits.translate(_FROM_B32)


def compact(text: str) -> str | bytes:
    """Return what is stored of a text: an id with what follows it as 0x02 ‖ 19 ‖ rest, a hex digest as 0x01 ‖ 32."""
    size = len(text)
    if size == 64 and _HEX.fullmatch(text):
        return b"\x01" + bytes.fromhex(text)
    if size >= _ID_CHARS and text[3] == "_" and _ID.match(text):
        return b"\x02" + _id_bytes(text) + text[_ID_CHARS:].encode("utf-8")
    return text


def expand(stored: object) -> object:
    """Return the text that `compact` made `stored` of; anything else as it is. Raises ValueError."""
    if not isinstance(stored, bytes):
        return stored
    if len(stored) == 33 and stored[0] == 1:
        return stored[1:].hex()
    if len(stored) > _ID_BYTES and stored[0] == 2:
        return _id_text(stored[1:]) + stored[1 + _ID_BYTES :].decode("utf-8")
    raise ValueError("no compact text")


class Table(Generic[R]):
    """Rows of one type under one prefix; `ids` are the fields that make the key, in order."""

    def __init__(
        self, row_type: type[R], *, kind: int, version: int = 1, name: str, ids: Sequence[str]
    ) -> None:
        """Declare a table; `kind`, `version` and `name` are on disk and MUST NOT be given to another."""
        self.row_type = row_type
        self.name = name
        self.prefix = name.encode("ascii") + b"/"
        self._header = bytes([kind, version])
        self._ids = tuple(ids)
        names = row_type.__struct_fields__
        hints = get_type_hints(row_type)
        self._id_types = [hints[name] for name in ids]
        self._body = [name for name in names if name not in ids]
        self._texts = [index for index, name in enumerate(self._body) if hints[name] is str]
        self._lists = [index for index, name in enumerate(self._body) if hints[name] == list[str]]
        # Where each field of a row is found in its ids and its body, one after the other.
        self._order = [[*ids, *self._body].index(name) for name in names]
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(list[Any])

    def key(self, *ids: KeyPart) -> bytes:
        """Return the key of a row, or a prefix of keys if not all `ids` are given. Raises RowMalformed."""
        if len(ids) == 1:
            return self.prefix + self._part(ids[0])
        return self.prefix + b"".join([self._part(part) for part in ids])

    def put(self, row: R) -> Put:
        """Return the operation that stores `row`. Raises RowMalformed if it has no encoding."""
        body = [getattr(row, name) for name in self._body]
        try:
            for index in self._texts:
                body[index] = compact(body[index])
            for index in self._lists:
                body[index] = [compact(text) for text in body[index]]
            return Put(self._key_of(row), self._header + self._encoder.encode(body))
        except (UnicodeError, OverflowError, TypeError):
            raise self._malformed() from None

    def delete(self, *ids: KeyPart) -> Delete:
        """Return the operation that removes the row with these `ids`."""
        self._require_all(ids)
        return Delete(self.key(*ids))

    def get(self, kv: KeyValue, *ids: KeyPart) -> R | None:
        """Return the row with these `ids`, or None. Raises RowMalformed."""
        self._require_all(ids)
        key = self.key(*ids)
        value = kv.get(key)
        return None if value is None else self.decode(key, value)

    def get_many(self, kv: KeyValue, ids: Sequence[KeyPart]) -> list[R | None]:
        """Return the row with each of `ids`, for a table of one id. Raises RowMalformed."""
        keys = [self.key(one) for one in ids]
        found = zip(keys, kv.get_many(keys), strict=True)
        return [None if value is None else self.decode(key, value) for key, value in found]

    def scan(
        self,
        kv: KeyValue,
        *ids: KeyPart,
        start: KeyPart = "",
        before: KeyPart = "",
        reverse: bool = False,
        limit: int | None = None,
    ) -> Iterator[R]:
        """Yield the rows whose first ids are `ids`, in the order of their keys, from one snapshot taken now.

        `start` is the value of the next id to begin with, inclusive; `before`, with `reverse`, the one to
        begin below. "" means no bound. Raises RowMalformed.
        """
        prefix = self.key(*ids)
        bound = before if reverse and before != "" else start
        begin = b"" if bound == "" else prefix + self._part(bound)
        if reverse and before == "" and begin:
            begin += b"\xff"  # rows that share the bound and go on are inside it
        found = kv.scan(prefix, start=begin, reverse=reverse)
        return islice(self._rows(found, skip=begin if before != "" else b""), limit)

    def decode(self, key: bytes, value: bytes) -> R:
        """Return the row stored under `key`. Raises RowMalformed, also if the row names another key."""
        try:
            if value[:2] != self._header:
                raise self._malformed()
            row = self._row_of(key, self._decoder.decode(memoryview(value)[2:]))
        except (
            msgspec.MsgspecError,
            ValueError,
            TypeError,
            IndexError,
        ):  # a UnicodeDecodeError is a ValueError
            raise self._malformed() from None
        if self._key_of(row) != key:
            raise self._malformed()
        return row

    def _row_of(self, key: bytes, body: list[Any]) -> R:
        if len(body) != len(self._body):
            raise ValueError("a field is missing or too many")
        for index in self._texts:
            body[index] = expand(body[index])
        for index in self._lists:
            body[index] = [expand(text) for text in body[index]]
        parts = [*self._parts(key), *body]
        return msgspec.convert([parts[at] for at in self._order], self.row_type)

    def _parts(self, key: bytes) -> Iterator[KeyPart]:
        """Yield the ids in a key. Raises ValueError, IndexError."""
        at = len(self.prefix)
        for kind in self._id_types:
            if kind is int:
                part, at = key[at : at + 8], at + 8
                yield int.from_bytes(part, "big")
            else:
                part, at = _split_part(key, at)
                yield part if kind is bytes else _text_of(part)

    def _rows(self, found: Iterator[tuple[bytes, bytes]], *, skip: bytes) -> Iterator[R]:
        for key, value in found:
            if not skip or not key.startswith(skip):
                yield self.decode(key, value)

    def _key_of(self, row: R) -> bytes:
        return self.key(*(getattr(row, name) for name in self._ids))

    def _require_all(self, ids: tuple[KeyPart, ...]) -> None:
        if len(ids) != len(self._ids):
            raise self._malformed()

    def _part(self, part: KeyPart) -> bytes:
        if isinstance(part, int):
            if not 0 <= part <= _MAX_NUMBER:
                raise self._malformed()
            return part.to_bytes(8, "big")
        if isinstance(part, str) and len(part) in (_ID_CHARS, 64):
            packed = compact(part)
            if isinstance(packed, bytes):
                return bytes([_ID_MARK if packed[0] == 2 else _HEX_MARK]) + packed[1:]
        encoded = _encoded(part)
        if encoded is None or len(encoded) > _MAX_PART_BYTES:
            raise self._malformed()
        return bytes([len(encoded)]) + encoded

    def _malformed(self) -> RowMalformed:
        return RowMalformed(
            f"a row of table {self.name} is not of the form that this release writes",
            hint="use the release that wrote the store, or restore the last verified backup",
            row=self.name,
        )


def commitment_key(commitment: bytes) -> bytes:
    """Return `COMMITMENT.key` of 32 bytes without the way over their hex: every verdict looks there.

    A test holds the two together.
    """
    return b"commitment/\xf9" + commitment


def _split_part(key: bytes, at: int) -> tuple[bytes, int]:
    """Return a text part at `at`, with the mark of what is compact, and where the next one begins."""
    mark = key[at]
    if mark in (_ID_MARK, _HEX_MARK):
        end = at + 1 + (_ID_BYTES if mark == _ID_MARK else 32)
        return key[at:end], end
    return key[at + 1 : at + 1 + mark], at + 1 + mark


def _text_of(part: bytes) -> str:
    if part[:1] == bytes([_ID_MARK]) and len(part) == 1 + _ID_BYTES:
        return _id_text(part[1:])
    if part[:1] == bytes([_HEX_MARK]) and len(part) == 33:
        return part[1:].hex()
    return part.decode("utf-8")


def _encoded(part: str | bytes) -> bytes | None:
    try:
        return part.encode("utf-8") if isinstance(part, str) else part
    except UnicodeEncodeError:
        return None


MATERIAL: Final = Table(MaterialRow, kind=1, name="material", ids=["material_id"])
VERSION: Final = Table(VersionRow, kind=2, name="version", ids=["material_id", "version"])
BY_AGENCY: Final = Table(AgencyLookupRow, kind=3, name="by_agency", ids=["agency", "material_id"])
BY_SUBJECT: Final = Table(SubjectLookupRow, kind=4, name="by_subject", ids=["digest", "material_id"])
DEDUPE: Final = Table(DedupeRow, kind=5, name="dedupe", ids=["digest"])
COMMITMENT: Final = Table(CommitmentRow, kind=6, name="commitment", ids=["commitment"])
API_KEY: Final = Table(ApiKeyRow, kind=7, name="api_key", ids=["key_id"])
IDEMPOTENCY: Final = Table(IdempotencyRow, kind=8, name="idempotency", ids=["agency", "route", "key_digest"])
REUSE: Final = Table(ReuseRow, kind=9, name="reuse", ids=["reuse_id"])
JOB: Final = Table(JobRow, kind=10, name="job", ids=["job_id"])
AUDIT: Final = Table(AuditRow, kind=11, name="audit", ids=["sequence"])
NONCE: Final = Table(NonceRow, kind=12, name="nonce", ids=["member_id", "nonce"])
RELEASE: Final = Table(ReleaseRow, kind=13, name="release", ids=["release_id"])
CHECKPOINT: Final = Table(CheckpointRow, kind=14, name="checkpoint", ids=["name"])
SETTING: Final = Table(SettingRow, kind=15, name="setting", ids=["name"])
UNCONFIRMED: Final = Table(UnconfirmedRow, kind=16, name="unconfirmed", ids=["material_id", "version"])
WAITING: Final = Table(WaitingRow, kind=17, name="waiting", ids=["reuse_id"])
PEER_CHECKPOINT: Final = Table(PeerCheckpointRow, kind=18, name="peer_checkpoint", ids=["member_id"])
FORK: Final = Table(ForkRow, kind=19, name="fork", ids=["member_id", "detected_at"])
STATUS_TOKEN: Final = Table(StatusTokenRow, kind=20, name="status_token", ids=["digest"])
TIMESTAMP: Final = Table(TimestampRow, kind=21, name="timestamp", ids=["batch_id"])
ERASURE: Final = Table(ErasureRow, kind=24, name="erasure", ids=["erasure_id"])
BACKUP: Final = Table(BackupRow, kind=25, name="backup", ids=["backup_id"])
NOTICE: Final = Table(NoticeRow, kind=26, name="notice", ids=["material_id", "member_id", "commitment"])
NOTICE_IN: Final = Table(ReceivedNoticeRow, kind=27, name="notice_in", ids=["custodian", "commitment"])

TABLES: Final[tuple[Table[Any], ...]] = (
    MATERIAL, VERSION, BY_AGENCY, BY_SUBJECT, DEDUPE, COMMITMENT, API_KEY, IDEMPOTENCY, REUSE, JOB, AUDIT,
    NONCE, RELEASE, CHECKPOINT, SETTING, UNCONFIRMED, WAITING, PEER_CHECKPOINT, FORK, STATUS_TOKEN, ERASURE,
    BACKUP, NOTICE, NOTICE_IN, TIMESTAMP,
)  # fmt: skip

BLOB_TABLE: Final = b"blob/"
UPLOAD_TABLE: Final = b"upload/"


def blob_prefix(blob_id: str) -> bytes:
    """Return what the keys of all chunks of a blob begin with."""
    return BLOB_TABLE + _id_part(blob_id)


def chunk_key(blob_id: str, number: int) -> bytes:
    """Return the key of a chunk, counted from 0."""
    return blob_prefix(blob_id) + number.to_bytes(8, "big")


def upload_prefix() -> bytes:
    """Return what the keys of all upload marks begin with."""
    return UPLOAD_TABLE


def upload_key(blob_id: str) -> bytes:
    """Return the key of the mark that says: nothing refers to this blob yet, or any more."""
    return UPLOAD_TABLE + _id_part(blob_id)


def upload_id(key: bytes) -> str:
    """Return the blob id in the key of an upload mark. Raises RowMalformed."""
    return _blob_id_in(key[len(UPLOAD_TABLE) :], "upload")


def chunk_blob_id(key: bytes) -> str:
    """Return the blob id in the key of a chunk. Raises RowMalformed."""
    return _blob_id_in(key[len(BLOB_TABLE) : -8], "blob")


def _blob_id_in(part: bytes, row: str) -> str:
    if part[:1] == bytes([_ID_MARK]) and len(part) == 1 + _ID_BYTES:
        blob_id = _id_text(part[1:]) if part[1:4].isalpha() and part[1:4].isascii() else ""
    else:
        blob_id = part[1:].decode("ascii", "replace")
    if not _BLOB_ID.fullmatch(blob_id) or _id_part(blob_id) != part:
        raise RowMalformed(f"the key of a row of table {row} is malformed", row=row)
    return blob_id


def _id_part(blob_id: str) -> bytes:
    """Return the part of a key that names a blob: 1 to 64 characters A-Z, a-z, 0-9 and _."""
    if not _BLOB_ID.fullmatch(blob_id):
        raise RowMalformed("a blob id has 1 to 64 characters A-Z, a-z, 0-9 and _", row="blob")
    if _ID.fullmatch(blob_id):
        return bytes([_ID_MARK]) + _id_bytes(blob_id)
    return bytes([len(blob_id)]) + blob_id.encode("ascii")
