"""Errors of `verifier`; `ProofError` (`verifier/proofs/errors.py`) and `ReceiptMalformed` live elsewhere.

    DeltasealError
    └── VerifierError
        ├── SubjectInvalid         a subject's kind or id is not what its standard asks for
        ├── CatalogEntryInvalid    an entry breaks its kind's schema or rules; carries all problems
        ├── IndexCorrupt           a stored row of the index is not what the index wrote: rebuild
        ├── IndexForeign           the index was built from another chain or other contracts: rebuild
        ├── LogsMissing            the chain's answer leaves out events: ask again
        ├── LogsInvalid            the chain's answer contradicts itself (root, digest, order)
        ├── BlockOutOfOrder        a block does not follow the index's last one
        └── RollbackTooDeep        blocks that were final would have to go

None knows an HTTP status or an exit code. Must not import anything but `anchor.errors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from anchor.errors import DeltasealError


class VerifierError(DeltasealError):
    """Base of the verifier's errors; never raised itself."""

    code: ClassVar[str] = "verifier_error"


class SubjectInvalid(VerifierError):
    """A subject's kind or id breaks its standard. The fact `reason` says how; the id is never repeated."""

    code: ClassVar[str] = "subject_invalid"


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One thing wrong with a document: where (RFC 6901 JSON pointer) and what (stable code)."""

    pointer: str
    code: str


def declared_places(problems: Sequence[FieldProblem]) -> list[FieldProblem]:
    """Return the problems without names that only the sender knows, for answers, logs and messages.

    An unknown field, and all that lies in it, is told of at the object that holds it: its name may be anything,
    an id number too. `problems` itself keeps the names, for whoever holds the entry.
    """
    unknown = [one.pointer for one in problems if one.code == "unknown_field"]

    def place(pointer: str) -> str:
        for one in unknown:
            if pointer == one or pointer.startswith(one + "/"):
                return place(one.rpartition("/")[0])
        return pointer

    return list(dict.fromkeys(FieldProblem(place(one.pointer), one.code) for one in problems))


class CatalogEntryInvalid(VerifierError):
    """A catalogue entry breaks its kind's schema or a code rule; `problems` names every place."""

    code: ClassVar[str] = "catalog_entry_invalid"

    def __init__(self, kind: str, problems: Sequence[FieldProblem]) -> None:
        first = declared_places(problems)[0]
        super().__init__(
            f"the {kind} entry breaks its schema in {len(problems)} place(s), first at "
            f"{first.pointer or 'its root'}: {first.code}",
            hint="compare it with docs/reference/catalog-entry.md; `deltaseal catalog lint` lists all places",
            kind=kind,
            problems=len(problems),
        )
        self.problems = tuple(problems)


class IndexCorrupt(VerifierError):
    """A stored row is not what the index wrote."""

    code: ClassVar[str] = "index_corrupt"


class IndexForeign(VerifierError):
    """The index belongs to another chain, or to other contracts."""

    code: ClassVar[str] = "index_foreign"


class LogsMissing(VerifierError):
    """Events are missing between what a block's header or the log commits to and what the chain answered."""

    code: ClassVar[str] = "logs_missing"


class LogsInvalid(VerifierError):
    """An event contradicts its block's header or itself: root, digest, order or place."""

    code: ClassVar[str] = "logs_invalid"


class BlockOutOfOrder(VerifierError):
    """A block does not follow the last one of the index, or a final point lies beyond it."""

    code: ClassVar[str] = "block_out_of_order"


class RollbackTooDeep(VerifierError):
    """A roll-back would take away blocks that were final."""

    code: ClassVar[str] = "rollback_too_deep"
