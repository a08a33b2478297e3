"""Entry point: puts the commands together, runs one, and turns its end into an exit code and an `error:`
line.

Every failure ends here: typed errors through the table in `cli/exitcodes.py`, Ctrl-C as 130, a closed pipe
quietly.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from functools import cache
from typing import Any, NoReturn

import typer

# Typer's own exceptions are public; the usage error's class is reached through one of them.
from typer.exceptions import Abort, Exit, TyperException

from anchor.errors import DeltasealError
from cli.commands import (
    alarms,
    api,
    audit,
    catalog,
    chain,
    completion,
    config,
    doctor,
    exemptions,
    hashes,
    identity,
    keys,
    materials,
    nodes,
    push,
    receipts,
    reuses,
    store,
    trust,
    verify,
)
from cli.demo import command as demo
from cli.exitcodes import ExitCode
from cli.output import report_error
from cli.session import root_callback
from cli.settings import refuse_secret_arguments

PROGRAM = "deltaseal"
# Set by the demo and by tests that want the trace of an unexpected fault.
TRACE_VARIABLE = "DELTASEAL_TRACE"
_MODULES = (
    push,
    verify,
    exemptions,
    reuses,
    materials,
    receipts,
    trust,
    audit,
    catalog,
    hashes,
    keys,
    identity,
    chain,
    nodes,
    store,
    doctor,
    alarms,
    config,
    api,
    completion,
    demo,
)


def build_app() -> typer.Typer:
    """Put all commands together."""
    app = typer.Typer(
        name=PROGRAM,
        help="Seal a document in one agency, find, verify and lawfully reuse it in another.",
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.callback()(root_callback)
    for module in _MODULES:
        module.register(app)
    return app


@cache
def _app() -> typer.Typer:
    return build_app()


def run(argv: Sequence[str]) -> int:
    """Run one command line (without the program's name) and return its exit code."""
    try:
        refuse_secret_arguments(argv)
        result = _app()(list(argv), prog_name=PROGRAM, standalone_mode=False)
        return int(result) if isinstance(result, int) else ExitCode.OK
    except (Exit, SystemExit) as ended:
        return _code_of(ended)
    except (Abort, KeyboardInterrupt):
        sys.stderr.write("error: interrupted\n")
        return ExitCode.INTERRUPTED
    except TyperException as error:
        return _report_usage(error)
    except DeltasealError as error:
        return report_error(error)
    except BrokenPipeError:
        return _close_pipe()
    except Exception as error:  # noqa: BLE001 - the last line of defence: no trace reaches a user
        return _report_unexpected(error)


def main() -> NoReturn:
    """Run the command line of this process."""
    sys.exit(run(sys.argv[1:]))


def _code_of(ended: Any) -> int:
    code = getattr(ended, "exit_code", getattr(ended, "code", 0))
    return int(code) if isinstance(code, int) else ExitCode.OK


def _report_usage(error: TyperException) -> int:
    message = error.format_message().strip().rstrip(".")
    if message.startswith("Usage:"):  # No command was named: the help itself is the answer.
        sys.stderr.write(message + "\n")
        return ExitCode.USAGE
    command = getattr(getattr(error, "ctx", None), "command_path", PROGRAM)
    sys.stderr.write(f"error: {message[:1].lower()}{message[1:]}\nhint: see `{command} --help`\n")
    return ExitCode.USAGE


def _report_unexpected(error: Exception) -> int:
    """Name the fault's type only: its text may hold anything."""
    if os.environ.get(TRACE_VARIABLE):
        traceback.print_exception(error)
    sys.stderr.write(
        f"error: unexpected fault {type(error).__name__} (internal)\n"
        f"hint: run it again with {TRACE_VARIABLE}=1 and report the trace\n"
    )
    return ExitCode.UNEXPECTED


def _close_pipe() -> int:
    """End quietly when the reader is gone, and keep the interpreter from complaining at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.OK
