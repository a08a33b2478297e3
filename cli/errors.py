"""Errors of the command line; the exit code of each stands in `cli/exitcodes.py`.

Must not import httpx or typer. `ApiProblem` carries the node's own code, so that a script sees the same word
in the terminal and over HTTP.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anchor.errors import DeltasealError


class CliError(DeltasealError):
    """Base of this package; never raised itself.

    `place` (a file, a line, a flag) is printed before the message on the user's own terminal. It is no part
    of the message, so that a log or a report of the error carries no name.
    """

    code = "cli_error"

    def __init__(self, message: str, *, hint: str = "", place: str = "", **facts: str | int) -> None:
        """Say what failed and why in `message`, where in `place`, what to do next in `hint`."""
        super().__init__(message, hint=hint, **facts)
        self.place = place


class ApiProblem(CliError):
    """A node's refusal (RFC 9457). `code` is the node's code, `status` the HTTP status.

    `errors` holds `{"pointer", "code"}` pairs for single fields; `retry_after_s` is what the node asked for;
    `body` is the parsed JSON of the answer, None when it is none.
    """

    code = "api_problem"

    def __init__(
        self,
        code: str,
        *,
        status: int,
        title: str = "",
        detail: str = "",
        hint: str = "",
        request_id: str = "",
        retryable: bool = False,
        retry_after_s: float | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
        body: Any = None,
    ) -> None:
        """Take over what the node said; `code` is looked up for the exit code."""
        super().__init__(detail or title or f"the node answered {status}", hint=hint)
        # The class attribute is the family's name; each problem carries the code that the node gave.
        self.__dict__["code"] = code
        self.status, self.title, self.detail = status, title, detail
        self.request_id, self.retryable, self.retry_after_s = request_id, retryable, retry_after_s
        self.errors, self.body = tuple(errors), body


class NodeUnreachable(CliError):
    """No answer: refused, timed out, or cut off in the middle."""

    code = "node_unreachable"


class NodeAnswerMalformed(CliError):
    """An answer that is not what docs/reference/http-conventions.md promises."""

    code = "node_answer_malformed"


class ArgumentInvalid(CliError):
    """A flag or argument whose value cannot be used."""

    code = "argument_invalid"


class SecretRefused(CliError):
    """A secret where others can read it: a command line, an environment variable or a project file."""

    code = "secret_refused"


class SettingInvalid(CliError):
    """A setting with a value that is refused, or a settings file that cannot be read."""

    code = "setting_invalid"


class SettingMissing(CliError):
    """A setting without which the command cannot run."""

    code = "setting_missing"


class KeyNotForAddress(CliError):
    """A project file names the address, but the key is the user's own: it would be sent to a stranger."""

    code = "key_not_for_address"


class InputMissing(CliError):
    """A file or folder that is not there or cannot be opened."""

    code = "input_missing"


class InputInvalid(CliError):
    """A file whose content is refused: a list, a catalogue file, a receipt, a trust file."""

    code = "input_invalid"


class SourceChanged(CliError):
    """A file that changed between its digest and its upload."""

    code = "source_changed"


class OutputRefused(CliError):
    """A target that exists already or cannot be written; nothing was overwritten."""

    code = "output_refused"


class DownloadDigestMismatch(CliError):
    """Bytes that are not those the node promised; the download was thrown away."""

    code = "download_digest_mismatch"


class PushJournalForeign(CliError):
    """A journal written for another node."""

    code = "push_journal_foreign"


class PushJournalBusy(CliError):
    """A journal that another push holds."""

    code = "push_journal_busy"


class PushJournalCorrupt(CliError):
    """A journal with a damaged line before its end."""

    code = "push_journal_corrupt"


class WaitExpired(CliError):
    """What was waited for did not come within the bound; it may still come."""

    code = "wait_expired"
