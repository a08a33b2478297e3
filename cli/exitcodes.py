"""The one table of exit codes: what each number means, and which error, verdict or decision leads to it.

Must not import anything but the standard library. A code that is unknown here counts as a failure (1), and so
must a script treat a number it does not know. Spec page: docs/reference/cli.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """What the process says when it ends."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    NOT_FOUND = 3
    PERMISSION = 4
    CONFLICT = 5
    INVALID = 6
    PARTIAL = 7
    UNAVAILABLE = 8
    PROOF_FAILED = 10
    STALE = 11
    NOT_USABLE = 12
    DENIED = 13
    INTERRUPTED = 130


MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "ok",
    ExitCode.UNEXPECTED: "unexpected fault",
    ExitCode.USAGE: "usage: a flag or argument is wrong or missing",
    ExitCode.NOT_FOUND: "not found",
    ExitCode.PERMISSION: "no key, a wrong key, or no right",
    ExitCode.CONFLICT: "conflict with the present state",
    ExitCode.INVALID: "invalid input",
    ExitCode.PARTIAL: "partial: some items failed",
    ExitCode.UNAVAILABLE: "unavailable or timed out: trying again is sensible",
    ExitCode.PROOF_FAILED: "a proof failed, or the subject does not match",
    ExitCode.STALE: "stale, pending, unknown or not wholly proved",
    ExitCode.NOT_USABLE: "revoked, suspended, expired, superseded, consumed or erased",
    ExitCode.DENIED: "reuse denied, or it needs authorization or review",
    ExitCode.INTERRUPTED: "interrupted",
}

_BY_EXIT: dict[ExitCode, tuple[str, ...]] = {
    ExitCode.UNEXPECTED: (
        "deltaseal_error",
        "anchor_error",
        "verifier_error",
        "node_error",
        "cli_error",
        "api_problem",
        "internal",
    ),
    ExitCode.USAGE: ("argument_invalid", "secret_refused", "setting_missing"),
    ExitCode.NOT_FOUND: ("input_missing", "artifact_missing"),
    ExitCode.PERMISSION: (
        "auth_missing",
        "auth_invalid",
        "auth_expired",
        "auth_forbidden",
        "key_not_for_address",
        "keystore_invalid",
    ),
    ExitCode.CONFLICT: (
        "idempotency_in_progress",
        "source_changed",
        "output_refused",
        "push_journal_foreign",
        "push_journal_busy",
        "transaction_refused",
    ),
    ExitCode.INVALID: (
        "record_malformed",
        "opening_malformed",
        "value_not_canonical",
        "envelope_malformed",
        "outbox_corrupt",
        "journal_corrupt",
        "engine_failed",
        "request_malformed",
        "request_not_nfc",
        "request_too_deep",
        "request_too_large",
        "request_invalid",
        "upload_truncated",
        "upload_too_large",
        "idempotency_missing",
        "idempotency_mismatch",
        "cursor_invalid",
        "catalog_entry_invalid",
        "index_corrupt",
        "subject_invalid",
        "receipt_malformed",
        "setting_invalid",
        "input_invalid",
        "push_journal_corrupt",
        "config_invalid",
    ),
    ExitCode.UNAVAILABLE: (
        "chain_unavailable",
        "chain_answer_malformed",
        "chain_mismatch",
        "chain_regressed",
        "engine_missing",
        "node_unreachable",
        "node_answer_malformed",
        "custodian_unavailable",
        "wait_expired",
        "program_missing",
        "index_behind",
    ),
    ExitCode.PROOF_FAILED: (
        "merkle_invalid",
        "signature_invalid",
        "opening_mismatch",
        "proof_invalid",
        "download_digest_mismatch",
    ),
}

ERROR_EXITS: dict[str, ExitCode] = {code: number for number, codes in _BY_EXIT.items() for code in codes}

VERDICT_EXITS: dict[str, ExitCode] = {
    "valid": ExitCode.OK,
    "pending": ExitCode.STALE,
    "unknown": ExitCode.STALE,
    "stale": ExitCode.STALE,
    "suspended": ExitCode.NOT_USABLE,
    "revoked": ExitCode.NOT_USABLE,
    "superseded": ExitCode.NOT_USABLE,
    "expired": ExitCode.NOT_USABLE,
    "erased": ExitCode.NOT_USABLE,
    "consumed": ExitCode.NOT_USABLE,
}

OUTCOME_EXITS: dict[str, ExitCode] = {
    "granted": ExitCode.OK,
    "denied": ExitCode.DENIED,
    "needs_authorization": ExitCode.DENIED,
    "needs_review": ExitCode.DENIED,
    "pending": ExitCode.STALE,
}

_BY_STATUS: dict[int, ExitCode] = {
    401: ExitCode.PERMISSION,
    403: ExitCode.PERMISSION,
    404: ExitCode.NOT_FOUND,
    410: ExitCode.NOT_FOUND,
    408: ExitCode.UNAVAILABLE,
    409: ExitCode.CONFLICT,
    412: ExitCode.CONFLICT,
    423: ExitCode.CONFLICT,
    428: ExitCode.CONFLICT,
    429: ExitCode.UNAVAILABLE,
}

# Worst first: of several answers the one that a script must not overlook decides.
_WORST_FIRST = (
    ExitCode.UNEXPECTED,
    ExitCode.PERMISSION,
    ExitCode.INVALID,
    ExitCode.PROOF_FAILED,
    ExitCode.NOT_USABLE,
    ExitCode.DENIED,
    ExitCode.UNAVAILABLE,
    ExitCode.STALE,
)


def exit_for_code(code: str, *, status: int | None = None) -> ExitCode:
    """Give the exit code of an error code; an unknown one is judged by its HTTP `status`, if it has one."""
    known = ERROR_EXITS.get(code)
    if known is not None or status is None:
        return known or ExitCode.UNEXPECTED
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return ExitCode.UNAVAILABLE if status >= 500 else ExitCode.INVALID


def exit_for_verdict(verdict: str, *, subject_match: str = "unchecked", fresh: bool = True) -> ExitCode:
    """Give the exit code of a verdict.

    A document of another person is never 0, whatever its state, and neither is a verdict that is not fresh.
    """
    if subject_match == "mismatch":
        return ExitCode.PROOF_FAILED
    number = VERDICT_EXITS.get(verdict, ExitCode.STALE)
    return ExitCode.STALE if number is ExitCode.OK and not fresh else number


def exit_for_outcome(outcome: str) -> ExitCode:
    """Give the exit code of a reuse decision; an outcome unknown here counts as denied."""
    return OUTCOME_EXITS.get(outcome, ExitCode.DENIED)


def worst(numbers: Iterable[int]) -> ExitCode:
    """Give the number that must not be overlooked among `numbers`; 0 when all are 0."""
    present = {ExitCode(number) for number in numbers} - {ExitCode.OK}
    for candidate in _WORST_FIRST:
        if candidate in present:
            return candidate
    return max(present, default=ExitCode.OK)
