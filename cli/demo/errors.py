"""Errors of the demonstration. Exit codes: `cli/exitcodes.py`."""

from collections.abc import Sequence

from cli.errors import CliError


class DemoPartFailed(CliError):
    """A process of the demonstration ended, never became ready, or answered what it must not.

    `log_lines` are the last lines of its log, for the terminal; they are no part of the message.
    """

    code = "demo_part_failed"

    def __init__(self, message: str, *, hint: str, part: str, log_lines: Sequence[str] = ()) -> None:
        """Name the part and what is wrong with it; `hint` is the fix."""
        super().__init__(message, hint=hint, part=part)
        self.log_lines = tuple(log_lines)


class DemoFolderRefused(CliError):
    """The folder for the demonstration holds something already, or cannot be written."""

    code = "demo_folder_refused"
