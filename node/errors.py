"""Errors of a node's store and keys: leaves under `anchor.errors.DeltasealError`.

    NodeError
    ├── StoreError     StoreMissing, StoreLocked, StoreForeign (StoreNewer, StoreOlder), StoreDamaged, StoreRolledBack,
    │                  StoreFull, StoreUnwritable, StoreStarved, StoreClosed, StoreKeyExhausted,
    │                  RowMalformed, BlobDamaged, BlobTruncated, MigrationBackupForeign
    └── KeyFolderError KeyFolderInvalid, PassphraseWrong, KeyErased

`code` is API: never renamed, never reused. Messages and facts name files, kinds of rows and numbers, never
a key, a path of the user's, an id number or a tag. This module knows no HTTP status and no exit code.
"""

from typing import ClassVar

from anchor.errors import DeltasealError


class NodeError(DeltasealError):
    """Root of the errors that a node raises itself; never raised as such."""

    code: ClassVar[str] = "node_error"


class StoreError(NodeError):
    """Root of what the local store raises; never raised as such."""

    code: ClassVar[str] = "store_error"


class StoreMissing(StoreError):
    """There is no store where one was expected; only `init` makes one."""

    code: ClassVar[str] = "store_missing"


class StoreLocked(StoreError):
    """Another process, or this one, has the store open (fact: pid, 0 if unknown)."""

    code: ClassVar[str] = "store_locked"


class StoreForeign(StoreError):
    """The folder is not this node's store: another format, node or key."""

    code: ClassVar[str] = "store_foreign"


class StoreNewer(StoreForeign):
    """A later release wrote this store (facts: schema, supported)."""

    code: ClassVar[str] = "store_newer"


class StoreOlder(StoreForeign):
    """An earlier release wrote this store (facts: schema, supported); `store migrate` carries it over."""

    code: ClassVar[str] = "store_older"


class MigrationBackupForeign(StoreError):
    """The file named is not the backup that this store's interrupted migration began with."""

    code: ClassVar[str] = "migration_backup_foreign"


class StoreDamaged(StoreError):
    """Stored bytes are not what was written (facts: file, or row = kind of row)."""

    code: ClassVar[str] = "store_damaged"


class StoreRolledBack(StoreError):
    """The database is older than, or other than, its head file remembers (facts: found, expected)."""

    code: ClassVar[str] = "store_rolled_back"


class StoreFull(StoreError):
    """There is no room for this write; free some and try again."""

    code: ClassVar[str] = "store_full"


class StoreUnwritable(StoreError):
    """The file system refuses to write here: read-only, or no permission."""

    code: ClassVar[str] = "store_unwritable"


class StoreStarved(StoreError):
    """The process has no file descriptors or memory left for the store; its files are whole."""

    code: ClassVar[str] = "store_starved"


class StoreClosed(StoreError):
    """The store was closed, or belongs to the process that this one was forked from."""

    code: ClassVar[str] = "store_closed"


class StoreKeyExhausted(StoreError):
    """The store key has sealed as many rows as random 96-bit nonces allow (fact: sealed)."""

    code: ClassVar[str] = "store_key_exhausted"


class RowMalformed(StoreError):
    """A row, or a part of a key, is not of the form this release writes (fact: row = kind of row)."""

    code: ClassVar[str] = "row_malformed"


class BlobDamaged(StoreError):
    """A chunk of a file was altered, swapped or moved (fact: chunk = its number from 0)."""

    code: ClassVar[str] = "blob_damaged"


class BlobTruncated(StoreError):
    """A file ends before its last chunk (fact: chunk = first missing number)."""

    code: ClassVar[str] = "blob_truncated"


class KeyFolderError(NodeError):
    """Root of what the key folder raises; never raised as such."""

    code: ClassVar[str] = "key_folder_error"


class KeyFolderInvalid(KeyFolderError):
    """The key folder is missing, incomplete, altered or readable by others (fact: file)."""

    code: ClassVar[str] = "key_folder_invalid"


class PassphraseWrong(KeyFolderError):
    """The passphrase does not open the key folder."""

    code: ClassVar[str] = "passphrase_wrong"


class KeyErased(KeyFolderError):
    """This key epoch was erased on purpose; what it wrapped can never be opened again (fact: epoch)."""

    code: ClassVar[str] = "key_erased"


class ConfigInvalid(NodeError):
    """A setting is missing or refused; `facts["setting"]` names it."""

    code = "config_invalid"


class DescriptorsScarce(NodeError):
    """The process may open fewer files than a node needs (facts: allowed, needed)."""

    code = "descriptors_scarce"


class PortTaken(NodeError):
    """The address to listen on is in use, or may not be used."""

    code = "port_taken"


class MaterialInvalid(NodeError):
    """A field of a request about materials is refused; `facts` holds pointer and reason."""

    code = "material_invalid"


class DigestMismatch(NodeError):
    """The bytes that arrived do not have the declared digest."""

    code = "digest_mismatch"


class TypeUnknown(NodeError):
    """No approved material type has this code."""

    code = "type_unknown"


class MatterUnknown(NodeError):
    """No approved matter has this code."""

    code = "matter_unknown"


class MaterialNotFound(NodeError):
    """There is no such material, or the caller has no right to know of it."""

    code = "material_not_found"


class MaterialErased(NodeError):
    """The material was erased on purpose; a tombstone is left."""

    code = "material_erased"


class ContentMissing(NodeError):
    """The bytes are not held here."""

    code = "content_missing"


class StatusConflict(NodeError):
    """The act is not allowed from the state that the material is in."""

    code = "status_conflict"


class DomainKeyMissing(NodeError):
    """This node holds no key of a tag domain that it must write into."""

    code = "domain_key_missing"


class IssuersTooMany(NodeError):
    """More members may revoke documents of a type than a receipt can show."""

    code = "issuers_too_many"


class NotAdmitted(NodeError):
    """This node's key is not an active member's."""

    code = "not_admitted"


class NotIssuer(NodeError):
    """The caller's agency is no issuer of the type."""

    code = "not_issuer"


class NotReviewer(NodeError):
    """This node's key may not approve entries."""

    code = "not_reviewer"


class EntryNotFound(NodeError):
    """The chain holds no such catalogue entry."""

    code = "entry_not_found"


class VersionRequired(NodeError):
    """A change needs the version that the caller saw."""

    code = "version_required"


class VersionConflict(NodeError):
    """The entry has another version than the caller saw."""

    code = "version_conflict"


class ReceiptPending(NodeError):
    """The record is not final yet, so nothing can be proved."""

    code = "receipt_pending"


class ReuseNotFound(NodeError):
    """There is no such reuse, or it is another agency's."""

    code = "reuse_not_found"


class JobNotFound(NodeError):
    """There is no such job, or it is another agency's."""

    code = "job_not_found"


class OperationNotFound(NodeError):
    """The outbox knows no such operation."""

    code = "operation_not_found"


class KeyNotFound(NodeError):
    """There is no such API key."""

    code = "key_not_found"


class PeerUnavailable(NodeError):
    """Another member's node cannot be reached or has a fault; this says nothing about any document."""

    code = "custodian_unavailable"


class EndpointRefused(NodeError):
    """A member's endpoint lies where this node must not dial."""

    code = "endpoint_refused"


class ReleaseRefused(NodeError):
    """The custodian decided against a release; `facts["reason"]` is its code."""

    code = "release_refused"


class ReleaseBroken(NodeError):
    """An answer to a release request is not what it must be."""

    code = "release_broken"


class ReleaseMalformed(NodeError):
    """A release message breaks docs/reference/release.md."""

    code = "release_malformed"


class ReleaseUnauthorised(NodeError):
    """A release request is not signed by an active member, not for this node, or outside its time."""

    code = "release_unauthorised"


class ReleaseReplayed(NodeError):
    """A release request with this nonce was answered before."""

    code = "release_replayed"


class NoticeRefused(NodeError):
    """A notice of erasure is not signed by the document's custodian, or not for this node."""

    code = "notice_refused"


class CheckpointRefused(NodeError):
    """A checkpoint is of another chain, or not signed by the member it is said to be of."""

    code = "checkpoint_refused"


class ForkNotFound(NodeError):
    """No fork alarm stands about this member."""

    code = "fork_not_found"


class TokenNotFound(NodeError):
    """No slip leads here: the token was never issued, its time is over, or it was withdrawn."""

    code = "token_not_found"


class TsaUnavailable(NodeError):
    """The time-stamping authority does not answer or refuses; nothing waits for it."""

    code = "tsa_unavailable"
