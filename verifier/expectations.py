"""What a reader expects a receipt to be about: a valid proof of the wrong thing is worth nothing.

Pure. The checks run after the steps of `verifier.receipts` and say something only when those passed. A field that
the receipt does not open is no match and no mismatch: `unproven`. Spec page: docs/reference/receipt.md.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from anchor.canonical import JsonValue
from verifier.receipts import Outcome, Reason, Receipt, check_digest


@dataclass(frozen=True, slots=True)
class Expected:
    """What the receipt must be about; None expects nothing."""

    issuer: str | None = None  # Agency that sealed it, by its unified social credit code.
    type_code: str | None = None
    subject: tuple[str, str] | None = field(
        default=None, repr=False
    )  # Kind and id; an id must not reach a log.
    sha256: bytes | None = None  # Digest of the document in hand.


def planned_expectations(expected: Expected) -> tuple[str, ...]:
    """Return the codes of the checks that `expected` asks for, in their order."""
    return tuple(code for code in _CHECKS if _wanted(code, expected) is not None)


def check_expected(receipt: Receipt, expected: Expected) -> Iterator[Reason]:
    """Yield the outcome of each check asked for; none runs after a failed one."""
    for code in planned_expectations(expected):
        reason = _CHECKS[code](receipt, expected)
        yield reason
        if reason.outcome is Outcome.FAIL:
            return


def _check_issuer(receipt: Receipt, expected: Expected) -> Reason:
    return _compare(receipt, "agency", "issuer", lambda value: value == expected.issuer)


def _check_type(receipt: Receipt, expected: Expected) -> Reason:
    return _compare(receipt, "typeCode", "type", lambda value: value == expected.type_code)


def _check_subject(receipt: Receipt, expected: Expected) -> Reason:
    def among(value: JsonValue) -> bool:
        subjects = value if isinstance(value, Sequence) and not isinstance(value, str) else ()
        return any(_is_subject(each, expected.subject) for each in subjects)

    return _compare(receipt, "subjects", "subject", among)


def _check_file(receipt: Receipt, expected: Expected) -> Reason:
    return check_digest(receipt, expected.sha256 or b"")


def _compare(receipt: Receipt, name: str, word: str, agrees: Callable[[JsonValue], bool]) -> Reason:
    opened = {each.name: each.value for each in receipt.opening.opened}
    if name not in opened:
        return Reason(word, Outcome.UNPROVEN, f"{word}_hidden")
    if agrees(opened[name]):
        return Reason(word, Outcome.PASS, f"same_{word}")
    return Reason(word, Outcome.FAIL, f"other_{word}")


def _is_subject(value: JsonValue, subject: tuple[str, str] | None) -> bool:
    return isinstance(value, Mapping) and (value.get("idType"), value.get("id")) == subject


def _wanted(code: str, expected: Expected) -> object:
    return {
        "issuer": expected.issuer,
        "type": expected.type_code,
        "subject": expected.subject,
        "file": expected.sha256,
    }[code]


_CHECKS: Final[Mapping[str, Callable[[Receipt, Expected], Reason]]] = {
    "issuer": _check_issuer,
    "type": _check_type,
    "subject": _check_subject,
    "file": _check_file,
}
