"""Errors that only the chain room raises; the shared ones are in `anchor/errors.py`.

AnchorError
├── CallReverted              a contract refused a call that was only asked, not sent
├── ChainFolderMissing, ChainFolderExists, ChainFolderLocked      the embedded chain's folder
├── JournalUnwritable         the journal cannot take a block (disk full, I/O error)
└── AbiMismatch               a call does not fit the compiled contract: a mistake of the caller
"""

from typing import ClassVar

from anchor.errors import AnchorError

__all__ = [
    "AbiMismatch",
    "CallReverted",
    "ChainFolderExists",
    "ChainFolderLocked",
    "ChainFolderMissing",
    "JournalUnwritable",
    "OperationInvalid",
]


class CallReverted(AnchorError):
    """A contract refused an `eth_call`; `reason` holds the raw return bytes (a custom error, or empty)."""

    code: ClassVar[str] = "call_reverted"
    reason: bytes = b""


class ChainFolderMissing(AnchorError):
    """There is no embedded chain in this folder; only creating one makes it."""

    code: ClassVar[str] = "chain_folder_missing"


class ChainFolderExists(AnchorError):
    """This folder holds an embedded chain already; it is never overwritten."""

    code: ClassVar[str] = "chain_folder_exists"


class ChainFolderLocked(AnchorError):
    """Another process runs the embedded chain of this folder."""

    code: ClassVar[str] = "chain_folder_locked"


class JournalUnwritable(AnchorError):
    """A block could not be written to the journal; nothing was mined."""

    code: ClassVar[str] = "journal_unwritable"


class AbiMismatch(AnchorError):
    """A function, event or argument is not one of the compiled contract."""

    code: ClassVar[str] = "abi_mismatch"


class OperationInvalid(AnchorError):
    """An operation for the outbox has a bad id, record or contract."""

    code: ClassVar[str] = "operation_invalid"
