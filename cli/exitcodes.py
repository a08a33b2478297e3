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

# Codes of errors and problems, those of the node among them: the node itself is not imported here.
_BY_EXIT: dict[ExitCode, str] = {
    ExitCode.UNEXPECTED: """
        deltaseal_error anchor_error verifier_error node_error cli_error http_error store_error
        key_folder_error api_problem internal response_aborted digest_closed abi_mismatch
        operation_invalid block_out_of_order
    """,
    ExitCode.USAGE: """
        argument_invalid secret_refused setting_missing
    """,
    ExitCode.NOT_FOUND: """
        input_missing file_unreadable artifact_missing chain_folder_missing store_missing not_found
        material_not_found content_missing entry_not_found reuse_not_found job_not_found
        operation_not_found token_not_found fork_not_found key_not_found key_erased material_erased
    """,
    ExitCode.PERMISSION: """
        auth_missing auth_invalid auth_expired auth_forbidden not_issuer not_reviewer
        release_refused release_unauthorised notice_refused key_not_for_address keystore_invalid passphrase_wrong
    """,
    ExitCode.CONFLICT: """
        idempotency_in_progress status_conflict version_required version_conflict receipt_pending
        release_replayed transaction_refused call_reverted chain_folder_exists source_changed
        output_refused push_journal_foreign push_journal_busy demo_folder_refused
    """,
    ExitCode.INVALID: """
        header_malformed trust_malformed record_malformed entry_malformed status_malformed
        opening_malformed value_not_canonical base64url_malformed
        envelope_malformed key_material_invalid outbox_corrupt journal_corrupt
        request_malformed request_not_nfc request_too_deep request_too_large request_invalid
        request_media_unsupported request_framing request_head_too_large request_refused
        method_not_allowed not_acceptable range_not_satisfiable upload_malformed upload_truncated
        upload_too_large file_name_invalid scope_unknown purpose_missing idempotency_missing
        idempotency_mismatch cursor_invalid material_invalid issuers_too_many digest_mismatch type_unknown
        matter_unknown catalog_entry_invalid subject_invalid receipt_malformed release_malformed
        index_corrupt index_foreign logs_invalid rollback_too_deep store_foreign store_newer
        store_older migration_backup_foreign store_damaged
        store_rolled_back store_key_exhausted row_malformed blob_damaged
        blob_truncated key_folder_invalid config_invalid chain_mismatch setting_invalid input_invalid
        push_journal_corrupt checkpoint_malformed statement_malformed
    """,
    ExitCode.UNAVAILABLE: """
        descriptors_scarce port_taken
        chain_unavailable chain_answer_malformed chain_regressed chain_folder_locked
        journal_unwritable engine_missing engine_failed logs_missing node_unreachable
        node_answer_malformed node_busy rate_limited request_timeout not_admitted domain_key_missing
        checkpoint_refused tsa_unavailable custodian_unavailable endpoint_refused release_broken store_locked store_full
        store_unwritable store_starved store_closed wait_expired demo_part_failed
    """,
    ExitCode.PROOF_FAILED: """
        merkle_invalid signature_invalid timestamp_invalid opening_mismatch proof_invalid download_digest_mismatch
    """,
}

ERROR_EXITS: dict[str, ExitCode] = {
    code: number for number, codes in _BY_EXIT.items() for code in codes.split()
}

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

# Of a receipt checked without a node (`verifier.receipts.ReceiptVerdict`).
RECEIPT_EXITS: dict[str, ExitCode] = {
    "valid": ExitCode.OK,
    "stale": ExitCode.STALE,
    "unproven": ExitCode.STALE,
    "proof_invalid": ExitCode.PROOF_FAILED,
    "revoked": ExitCode.NOT_USABLE,
    "superseded": ExitCode.NOT_USABLE,
    "suspended": ExitCode.NOT_USABLE,
    "erased": ExitCode.NOT_USABLE,
    "expired": ExitCode.NOT_USABLE,
    "not_yet_issued": ExitCode.NOT_USABLE,
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
