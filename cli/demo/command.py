"""`deltaseal demo`: starts the network, plays scenes or a user's folder, prints what came of it, stops all.

Only here the demonstration meets typer; the parts with their libraries are imported when the command
runs, so that `deltaseal --help` stays quick.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.demo.errors import DemoPartFailed
from cli.errors import ArgumentInvalid
from cli.exitcodes import ExitCode
from cli.output import Output
from cli.session import Session, command

if TYPE_CHECKING:
    from cli.demo.build import ChainStarter
    from cli.demo.folder import FolderReport
    from cli.demo.network import Network
    from cli.demo.scenes import Line

_SHANGHAI = timezone(timedelta(hours=8))
_TICK_S = 10.0
ENGINES = ("embedded", "clique")

KeepFlag = Annotated[bool, typer.Option("--keep", help="Leave all running until Ctrl-C or SIGTERM.")]
JsonFlag = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON line instead of tables; with --keep as soon as all is ready."
    ),
]
DirFlag = Annotated[
    Path | None, typer.Option("--dir", metavar="DIR", help="New or empty folder for all data; it is kept.")
]
FilesFlag = Annotated[
    Path | None,
    typer.Option(
        "--files", metavar="DIR", help="Take this folder's files through the job instead of the scenes."
    ),
]
ScenesFlag = Annotated[
    bool | None,
    typer.Option(
        "--scenes/--no-scenes", help="Play the scenes also with --files or --keep --json, or never."
    ),
]
SeedFlag = Annotated[int, typer.Option("--seed", min=0, help="Seed of the papers that are made.")]
PortFlag = Annotated[
    int | None,
    typer.Option(
        "--port-base", min=1024, max=65_000, help="First port of four (of 13 with clique); else free ones."
    ),
]
EngineFlag = Annotated[
    str,
    typer.Option(
        "--engine", metavar="NAME", help="embedded, or clique: five go-ethereum signers on this machine."
    ),
]
ParallelFlag = Annotated[int, typer.Option("--parallel", min=1, max=32, help="Files at once, for --files.")]


class _Stopped(BaseException):
    """SIGTERM came: unwind, so that every part is stopped in order."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run of the command is to do."""

    keep: bool
    json: bool
    files: Path | None
    scenes: bool
    seed: int
    port_base: int | None
    parallel: int
    engine: str


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    command(
        app,
        "demo",
        examples=(
            "demo",
            "demo --files ~/Documents",
            "demo --keep --json --dir /tmp/deltaseal-demo",
            "demo --engine clique",
        ),
        exits=(ExitCode.NOT_FOUND, ExitCode.CONFLICT, ExitCode.PARTIAL, ExitCode.UNAVAILABLE),
    )(demo)


def demo(
    session: Session,
    *,
    keep: KeepFlag = False,
    json_: JsonFlag = False,
    dir_: DirFlag = None,
    files: FilesFlag = None,
    scenes: ScenesFlag = None,
    seed: SeedFlag = 20230314,
    port_base: PortFlag = None,
    parallel: ParallelFlag = 8,
    engine: EngineFlag = "embedded",
) -> int:
    """Start a chain and three districts' nodes, play the main job on them and show what came of it.

    Exits with 7 when a line is not as it should be; `--keep` stays until it is stopped.
    """
    if engine not in ENGINES:
        raise ArgumentInvalid("there is no such engine", hint=" or ".join(ENGINES), place="--engine")
    played = scenes if scenes is not None else files is None and not (keep and json_)
    plan = Plan(keep, json_, files, played, seed, port_base, parallel, engine)
    with _terminable(), _data_folder(dir_, session.out) as folder:
        code = _run(plan, folder.path, session.out)
        folder.kept = folder.kept or code is not ExitCode.OK
    return int(code)


def _run(plan: Plan, folder: Path, out: Output) -> ExitCode:
    from cli.demo.build import open_network
    from cli.demo.report import everything_passed

    started, kept = time.monotonic(), False
    try:
        with open_network(
            folder, say=out.note, port_base=plan.port_base, start_chain=_starter(plan.engine)
        ) as network:
            lines, report = _play(plan, network, out)
            _show(plan, lines, report, network, elapsed_s=time.monotonic() - started)
            passed = everything_passed(lines, report)
            if plan.keep:
                kept = True
                out.note("all keeps running; stop it with Ctrl-C or SIGTERM")
                _wait_for_ever()
    except DemoPartFailed as error:
        for line in error.log_lines:
            out.note(f"{error.facts['part']}| {line}")
        raise
    except (_Stopped, KeyboardInterrupt):
        if not kept:
            raise KeyboardInterrupt from None
    return ExitCode.OK if passed else ExitCode.PARTIAL


def _starter(engine: str) -> ChainStarter | None:
    if engine == "embedded":
        return None
    from cli.consortium.network import CliqueStarter

    return CliqueStarter()


def _play(plan: Plan, network: Network, out: Output) -> tuple[list[Line], FolderReport | None]:
    from cli.demo.files import PaperMill
    from cli.demo.folder import play_folder
    from cli.demo.scenes import play
    from cli.demo.stage import Stage

    stage = Stage(network, PaperMill(plan.seed), datetime.now(_SHANGHAI).date())
    lines = play(stage, on_line=lambda line: out.note(_one_line(line))) if plan.scenes else []
    if plan.files is None:
        return lines, None
    return lines, play_folder(stage, plan.files, parallel=plan.parallel, on_progress=_Progress(out))


def _one_line(line: Line) -> str:
    mark = "ok  " if line.passed else "FAIL"
    return f"{mark} {line.who} {line.what}: {line.got}"


def _show(
    plan: Plan, lines: list[Line], report: FolderReport | None, network: Network, *, elapsed_s: float
) -> None:
    from cli.demo.report import everything_passed, print_folder, print_lines, render_json

    if plan.json and plan.keep:
        ready: dict[str, Any] = network.describe()
        if lines or report:
            ready["result"] = json.loads(render_json(lines, report, elapsed_s=elapsed_s))
        _print(json.dumps(ready))
        return
    if plan.json:
        _print(render_json(lines, report, elapsed_s=elapsed_s))
        return
    if lines:
        print_lines(lines, sys.stdout)
    if report:
        print_folder(report, sys.stdout)
    as_it_should = sum(line.passed for line in lines)
    counted = f"{as_it_should} of {len(lines)} lines as they should be, " if lines else ""
    _print(f"{'passed' if everything_passed(lines, report) else 'FAILED'}: {counted}{elapsed_s:.0f} s")
    if plan.keep:
        for node in network.nodes.values():
            key_file = node.key_files[node.member.own.key]
            _print(f"{node.member.key}: deltaseal chain status --url {node.url} --api-key-file {key_file}")


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class _Progress:
    """Says how far a step is: at its end, and every ten seconds before."""

    def __init__(self, out: Output) -> None:
        self._out, self._said_at = out, time.monotonic()

    def __call__(self, step: str, done: int, of: int) -> None:
        if done == of or time.monotonic() - self._said_at >= _TICK_S:
            self._said_at = time.monotonic()
            self._out.note(f"{step}: {done:,} of {of:,} files")


@dataclass(slots=True)
class _DataFolder:
    """Where all data lies; `kept` folders are not removed at the end."""

    path: Path
    kept: bool


@contextmanager
def _data_folder(wanted: Path | None, out: Output) -> Iterator[_DataFolder]:
    """Yield the folder for all data; one of our own making is removed unless something went wrong."""
    made = wanted is None
    folder = _DataFolder(
        Path(tempfile.mkdtemp(prefix="deltaseal-demo-")) if wanted is None else wanted, not made
    )
    folder.path = folder.path.resolve()
    try:
        yield folder
    except Exception:
        folder.kept = True
        raise
    finally:
        if not folder.kept:
            shutil.rmtree(folder.path, ignore_errors=True)
        elif made:
            out.note(f"data and logs stay in {folder.path}")


@contextmanager
def _terminable() -> Iterator[None]:
    """Turn SIGTERM into an exception of the main thread while the block runs."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Once is enough; the parts are being stopped.
        raise _Stopped

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _wait_for_ever() -> None:
    while True:
        with suppress(InterruptedError):
            time.sleep(3600)
