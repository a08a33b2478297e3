"""Root of every error that Deltaseal raises on purpose, and the leaves of `anchor`.

    DeltasealError
    └── AnchorError
        ├── RecordMalformed, EntryMalformed, StatusMalformed     bytes that came from a chain
        ├── OpeningMalformed, OpeningMismatch, MerkleInvalid     proofs about a commitment or a tree
        ├── ValueNotCanonical, Base64urlMalformed                values that have no single encoding
        ├── HeaderMalformed                                      a block header
        ├── EnvelopeMalformed, KeyMaterialInvalid                sealed keys and keys
        ├── DigestClosed, FileUnreadable                         digests of streams and files
        ├── ChainUnavailable ── ChainAnswerMalformed             the chain's RPC
        ├── ChainMismatch, ChainRegressed, TransactionRefused
        ├── KeystoreInvalid, SignatureInvalid
        └── OutboxCorrupt, JournalCorrupt, EngineMissing, EngineFailed, ArtifactMissing

No error knows an HTTP status or an exit code: `node` and `cli` map codes. Imports nothing of the project.
Messages and facts never carry an id number, a name, a tag, a key or a path of a user: they reach logs.
"""

from typing import ClassVar


class DeltasealError(Exception):
    """Root of all errors a caller may catch. `code` is API: never renamed, never reused."""

    code: ClassVar[str]

    def __init__(self, message: str, *, hint: str = "", **facts: str | int) -> None:
        """Say what failed and why in `message`, what to do next in `hint`; `facts` are for machines."""
        super().__init__(message)
        self.hint = hint
        self.facts = facts


class AnchorError(DeltasealError):
    """Base of this package; never raised itself."""

    code = "anchor_error"


class RecordMalformed(AnchorError):
    """A 96-byte record breaks docs/reference/record.md."""

    code = "record_malformed"


class EntryMalformed(AnchorError):
    """A 65-byte batch entry breaks docs/reference/batch-and-log.md."""

    code = "entry_malformed"


class StatusMalformed(AnchorError):
    """A status slot holds bits that no version of the Ledger writes."""

    code = "status_malformed"


class OpeningMalformed(AnchorError):
    """An opening cannot be one of docs/reference/commitment.md, whatever it is compared with."""

    code = "opening_malformed"


class OpeningMismatch(AnchorError):
    """A well-formed opening leads to another commitment."""

    code = "opening_mismatch"


class MerkleInvalid(AnchorError):
    """A Merkle path or frontier has the wrong shape or proves another root."""

    code = "merkle_invalid"


class ValueNotCanonical(AnchorError):
    """A value has no single JSON encoding: a float, a huge integer, non-NFC text, too deep a nesting."""

    code = "value_not_canonical"


class Base64urlMalformed(AnchorError):
    """Text is not the one unpadded base64url form of some bytes."""

    code = "base64url_malformed"


class EnvelopeMalformed(AnchorError):
    """A sealed envelope cannot be opened: other key, other header, or altered bytes."""

    code = "envelope_malformed"


class KeyMaterialInvalid(AnchorError):
    """A key, secret or key coordinate has the wrong length or range, or belongs to another domain."""

    code = "key_material_invalid"


class DigestClosed(AnchorError):
    """A digest stream was fed or finished after it had ended."""

    code = "digest_closed"


class FileUnreadable(AnchorError):
    """A file to hash cannot be opened or read."""

    code = "file_unreadable"


class HeaderMalformed(AnchorError):
    """Bytes are not a block header of the engine they are said to be of."""

    code = "header_malformed"


class ChainUnavailable(AnchorError):
    """The chain cannot be asked: unreachable, timed out, or it answered with a server error."""

    code = "chain_unavailable"


class ChainAnswerMalformed(ChainUnavailable):
    """The chain answered with something that JSON-RPC does not allow here."""

    code = "chain_answer_malformed"


class ChainMismatch(AnchorError):
    """This is another chain: chain id, genesis, Directory or contract code differ."""

    code = "chain_mismatch"


class ChainRegressed(AnchorError):
    """The chain no longer has a block that was final."""

    code = "chain_regressed"


class TransactionRefused(AnchorError):
    """The chain refused a transaction, or a contract reverted it."""

    code = "transaction_refused"


class KeystoreInvalid(AnchorError):
    """A keystore file is not one, or its passphrase is wrong."""

    code = "keystore_invalid"


class SignatureInvalid(AnchorError):
    """A signature does not verify, or was made by another account."""

    code = "signature_invalid"


class OutboxCorrupt(AnchorError):
    """A stored outbox row contradicts the others."""

    code = "outbox_corrupt"


class JournalCorrupt(AnchorError):
    """The journal of the embedded chain is damaged before its last entry."""

    code = "journal_corrupt"


class EngineMissing(AnchorError):
    """A program or library feature that this setting needs is not installed."""

    code = "engine_missing"


class EngineFailed(AnchorError):
    """A chain engine was started and stopped, or never became ready."""

    code = "engine_failed"


class ArtifactMissing(AnchorError):
    """A compiled contract is not in this installation."""

    code = "artifact_missing"
