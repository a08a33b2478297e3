"""`deltaseal push`: hands files, folders, lists or digests to the node; the work is in `cli/push/`."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from cli.arguments import digest_of, parse_day, parse_subjects
from cli.client import NodeClient
from cli.errors import ArgumentInvalid, CliError, InputInvalid
from cli.exitcodes import ExitCode, exit_for_code
from cli.push.engine import REACHED, Counters, PushEngine, PushOutcome, PushResult
from cli.push.items import PushItem, items_of_paths
from cli.push.journal import PushJournal, default_journal
from cli.push.lists import PushList, clear_rejects, read_list, write_rejects
from cli.push.progress import PushProgress, summary_line
from cli.session import Session, command

_RETRIES = 4
_SHOWN_REFUSALS = 20
_LONGEST_TABLE = 50


@dataclass(frozen=True, slots=True)
class _Plan:
    """What to push and under which names; `rejected` are lines of a list that cannot be pushed."""

    items: Sequence[PushItem]
    rejected: Sequence[PushResult]
    columns: Sequence[str]
    names: Sequence[str]
    list_path: Path | None


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    command(
        app,
        "push",
        examples=(
            "push licence.pdf --type M1001 --subject 001:91310115FAKE010322 --case PD-20261103-000001",
            "push scans/ --type M5001 --subject @subjects.txt --case PD-20261103-000002 --parallel 8",
            "push --list materials.csv --map 文件=path --map 事项=caseNo --wait final",
            "push --list digests.csv --hash-only --dry-run -o jsonl",
        ),
        exits=(
            ExitCode.NOT_FOUND,
            ExitCode.PERMISSION,
            ExitCode.CONFLICT,
            ExitCode.INVALID,
            ExitCode.PARTIAL,
            ExitCode.UNAVAILABLE,
        ),
    )(push)


def push(
    session: Session,
    paths: Annotated[list[Path] | None, typer.Argument(metavar="PATH", help="Files and folders.")] = None,
    type_code: Annotated[
        str | None, typer.Option("--type", metavar="CODE", help="Material type of all.")
    ] = None,
    subject: Annotated[
        list[str] | None,
        typer.Option(metavar="TYPE:ID[:ROLE]", help="Whom it is about; repeat it, or @FILE with one a line."),
    ] = None,
    case: Annotated[str | None, typer.Option(metavar="NO", help="Case number.")] = None,
    title: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Title; default: the file's name.")
    ] = None,
    document_no: Annotated[str | None, typer.Option(metavar="NO", help="Number on the document.")] = None,
    issued_on: Annotated[str | None, typer.Option(metavar="DATE", help="Day of issue, YYYY-MM-DD.")] = None,
    expires_on: Annotated[
        str | None, typer.Option(metavar="DATE", help="First day it no longer counts.")
    ] = None,
    replaces: Annotated[
        str | None, typer.Option(metavar="ID", help="Material that this is the new version of.")
    ] = None,
    list_file: Annotated[
        Path | None, typer.Option("--list", metavar="FILE", help="CSV list, one material a line.")
    ] = None,
    map_columns: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="COLUMN=FIELD", help="What a column of the list means; repeat it."),
    ] = None,
    encoding: Annotated[str, typer.Option(metavar="NAME", help="Encoding of the list.")] = "utf-8-sig",
    root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder that paths of the list may lie in.")
    ] = None,
    hash_only: Annotated[
        bool, typer.Option("--hash-only", help="Send digests only; the bytes stay here.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and digest everything, send nothing.")
    ] = False,
    parallel: Annotated[str | None, typer.Option(metavar="N", help="Files at once.")] = None,
    journal: Annotated[Path | None, typer.Option(metavar="FILE", help="Journal to resume by.")] = None,
    rejects: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where refused lines are written.")
    ] = None,
    wait: Annotated[
        str | None, typer.Option(metavar="STATE", help="Wait until included or final on the chain.")
    ] = None,
    wait_timeout: Annotated[float, typer.Option(metavar="SECONDS", help="Longest time to wait.")] = 120.0,
) -> int:
    """Push files, folders, a CSV list or digests to the node, where each becomes a sealed material on the
    chain.

    Run the same command again after an interruption: what is done is left out.
    """
    session.add_flags(parallel=parallel)
    if wait is not None and wait not in REACHED:
        raise ArgumentInvalid("one can wait for included or final", hint="--wait final", place="--wait")
    fields = _fields(
        typeCode=type_code,
        caseNo=case,
        title=title,
        documentNo=document_no,
        replaces=replaces,
        issuedOn=parse_day(issued_on, place="--issued-on"),
        expiresOn=parse_day(expires_on, place="--expires-on"),
        subjects=parse_subjects(subject or []),
    )
    plan = _plan(paths or [], list_file, fields, map_columns or [], encoding=encoding, root=root)
    if replaces and len(plan.items) > 1:
        raise ArgumentInvalid(
            "only one material can replace another", hint="push one file", place="--replaces"
        )
    if not plan.items and not plan.rejected:
        raise InputInvalid("there is nothing to push", hint="give files, or a folder or list that has some")
    if dry_run:
        return _dry_run(session, plan)
    state_dir = session.settings.state_dir()
    url = str(session.settings.get("url"))
    journal_path = journal or _journal_path(plan, state_dir, url)
    with PushJournal.open(journal_path, url=url) as book:
        try:
            results, engine = _run(
                session, plan, book, hash_only=hash_only, wait=wait, wait_timeout=wait_timeout
            )
        finally:
            book.remove_if_unused()
        code = _exit_of(plan, results, engine)
        if code is ExitCode.OK and journal is None:
            book.remove()
    _write_rejects(session, plan, results, rejects, complete=engine.fatal is None and not engine.stopped)
    if engine.fatal is not None:
        _note_resume(session, journal_path, code)
        raise engine.fatal
    if len(plan.items) + len(plan.rejected) == 1 and results and results[0].error is not None:
        raise results[0].error
    if code is ExitCode.INTERRUPTED:
        _note_resume(session, journal_path, code)
    return code


def _fields(**given: Any) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value}


def _plan(
    paths: Sequence[Path],
    list_file: Path | None,
    fields: Mapping[str, Any],
    mapping: Sequence[str],
    *,
    encoding: str,
    root: Path | None,
) -> _Plan:
    if bool(paths) == bool(list_file):
        raise ArgumentInvalid("give either files and folders or a list", hint="PATH..., or --list FILE.csv")
    if list_file is None:
        if mapping:
            raise ArgumentInvalid(
                "columns can be mapped in a list only", hint="add --list FILE", place="--map"
            )
        return _Plan(items_of_paths(paths, fields), (), (), [str(path) for path in paths], None)
    found = read_list(list_file, defaults=fields, mapping=mapping, encoding=encoding, root=root)
    return _Plan(found.items, _rejected(found), found.columns, [str(list_file)], list_file)


def _rejected(found: PushList) -> list[PushResult]:
    return [PushResult(each.item, PushOutcome.REFUSED, {}, each.error) for each in found.rejected]


def _journal_path(plan: _Plan, state_dir: Path, url: str) -> Path:
    if plan.list_path is not None:
        return plan.list_path.with_name(plan.list_path.name + ".journal")
    return default_journal(state_dir, url, plan.names)


def _dry_run(session: Session, plan: _Plan) -> int:
    """Digest what would be sent, and show it as it would be sent."""
    results = list(plan.rejected)
    for item in plan.items:
        try:
            found = item.sha256 if item.path is None else digest_of(item.path).sha256.hex()
            if item.sha256 not in (None, found):
                raise InputInvalid(
                    "the file is not the one whose digest the list gives", hint="check the line"
                )
            results.append(PushResult(item, PushOutcome.PUSHED, {"sha256": found}))
        except CliError as error:
            results.append(PushResult(item, PushOutcome.REFUSED, {}, error))
    rows = [{**each.as_item(), "result": "refused" if each.error else "would_push"} for each in results]
    session.out.items("push", rows)
    _note_refusals(session, results)
    if len(results) == 1 and results[0].error is not None:
        raise results[0].error
    refused = sum(each.error is not None for each in results)
    session.out.note(
        f"dry run: {len(results) - refused} would be pushed, {refused} refused, nothing was sent"
    )
    return _exit_of_results(results)


def _run(
    session: Session,
    plan: _Plan,
    book: PushJournal,
    *,
    hash_only: bool,
    wait: str | None,
    wait_timeout: float,
) -> tuple[list[PushResult], PushEngine]:
    out = session.out
    parallel = max(1, min(int(session.settings.get("parallel")), 64))
    with session.client(retries=_RETRIES, connections=parallel + 2) as client:
        counters = Counters(plan.items)
        engine = PushEngine(
            client,
            book,
            parallel=parallel,
            hash_only=hash_only,
            max_file_bytes=_file_limit(client),
            watch=wait or ("included" if out.live else None),
            on_result=lambda result: out.event("item", result.as_item()),
        )
        for each in plan.rejected:
            out.event("item", each.as_item())
        with PushProgress(out, counters) as shown, _stop_on_signal(session, engine):
            results = engine.run(plan.items, counters, tick=shown.tick)
            if wait is not None:
                engine.await_anchors(timeout_s=wait_timeout, tick=shown.tick)
    results = [*plan.rejected, *results]
    _show(session, results, counters, open_items=len(plan.items) + len(plan.rejected) - len(results))
    return results, engine


def _file_limit(client: NodeClient) -> int | None:
    """Ask for the largest file the node takes: better refused here than after the upload."""
    limits = client.get("/v1/info").get("limits", {})
    limit = limits.get("maxFileBytes")
    return limit if isinstance(limit, int) else None


@contextmanager
def _stop_on_signal(session: Session, engine: PushEngine) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM finish the files in work; a second Ctrl-C ends at once."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        if engine.stopped:
            raise KeyboardInterrupt
        session.out.note("finishing the files in work; press Ctrl-C again to end at once")
        engine.interrupt()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show(session: Session, results: Sequence[PushResult], counters: Counters, *, open_items: int) -> None:
    out = session.out
    counts = {outcome.value: sum(each.outcome is outcome for each in results) for outcome in PushOutcome}
    summary = {**counts, "notTried": open_items, "bytes": counters.bytes_done, "anchored": counters.anchored}
    rows = [each.as_item() for each in results]
    if out.form == "jsonl":
        out.event("summary", summary)
    elif out.form == "json":
        out.raw({"items": rows, "summary": summary})
    elif out.form != "table" or len(rows) <= _LONGEST_TABLE:
        out.items("push", rows)
    _note_refusals(session, results)
    if len(results) != 1:
        parts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)
        not_tried = f", {open_items} not tried" if open_items else ""
        out.note(f"{summary_line(counters)}: {parts or 'nothing done'}{not_tried}")


def _note_refusals(session: Session, results: Sequence[PushResult]) -> None:
    refused = [each for each in results if each.error is not None]
    if len(results) == 1:
        return  # The command ends with the error itself.
    for each in refused[:_SHOWN_REFUSALS]:
        code = each.error.code if each.error else ""
        where = f" line {each.item.line}" if each.item.line else ""
        session.out.note(f"refused: {each.item.shown}{where}: {each.error} ({code})")
    if len(refused) > _SHOWN_REFUSALS:
        session.out.note(f"and {len(refused) - _SHOWN_REFUSALS} more")


def _write_rejects(
    session: Session, plan: _Plan, results: Sequence[PushResult], path: Path | None, *, complete: bool
) -> None:
    refused = [(each.item, each.error.code, str(each.error)) for each in results if each.error is not None]
    if path is None and plan.list_path is not None:
        path = plan.list_path.with_name(plan.list_path.name + ".rejects.csv")
    if path is None:
        return
    if refused:
        write_rejects(path, plan.columns, refused)
        session.out.note(f"refused lines are in {path}: correct them and push that list")
    elif complete:
        clear_rejects(path)


def _note_resume(session: Session, journal: Path, code: int) -> None:
    if code in (ExitCode.INTERRUPTED, ExitCode.UNAVAILABLE):
        session.out.note(f"what is done stands in {journal}; run the same command again to go on")


def _exit_of(plan: _Plan, results: Sequence[PushResult], engine: PushEngine) -> ExitCode:
    if engine.fatal is not None:
        return _exit_of_error(engine.fatal)
    if engine.interrupted:
        return ExitCode.INTERRUPTED
    if len(results) < len(plan.items) + len(plan.rejected):
        return ExitCode.UNEXPECTED
    return _exit_of_results(results)


def _exit_of_results(results: Sequence[PushResult]) -> ExitCode:
    """0 when all are there; the common code when all failed alike; else partial."""
    codes = {_exit_of_error(each.error) for each in results if each.error is not None}
    if not codes:
        return ExitCode.OK
    all_failed = all(each.error is not None for each in results)
    return codes.pop() if all_failed and len(codes) == 1 else ExitCode.PARTIAL


def _exit_of_error(error: Any) -> ExitCode:
    return exit_for_code(error.code, status=getattr(error, "status", None))
