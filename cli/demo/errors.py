"""Errors of the demonstration. Exit codes: `cli/exitcodes.py`."""

from cli.errors import CliError


class DemoPartFailed(CliError):
    """A process of the demonstration ended, never became ready, or answered what it must not."""

    code = "demo_part_failed"


class DemoFolderRefused(CliError):
    """The folder for the demonstration holds something already, or cannot be written."""

    code = "demo_folder_refused"
