"""Takes a folder of a user's own files through the whole job: push in PD, verify and reuse in XH, receipt.

Each file is pushed as the permit of a project of its own, so that a reuse by that project's code must
bring back exactly these bytes. Beside every digest a second one with one bit turned is asked for, which
must be unknown. Names are data: they are cleaned for the title, printed escaped, and never joined to a
path. Must not import `node`.
"""

from __future__ import annotations

import mimetypes
import os
import stat
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from anchor.digests import digest_file
from anchor.errors import DeltasealError
from cli.demo import catalogue as codes
from cli.demo import people
from cli.demo.chainproof import judge_receipt
from cli.demo.stage import Body, Stage, Wish
from cli.errors import InputMissing

_BATCH = 400  # two questions a file; a node takes 1,000 in one call
_MAX_TITLE = 200
_MAX_NAME_BYTES = 255
_TURNED_BIT = 1

Progress = Callable[[str, int, int], None]


@dataclass(slots=True)
class Item:
    """One file on its way. `failed` names the step and the reason of the first thing that went wrong."""

    number: int
    path: Path
    size_bytes: int
    sha256: str = ""
    material_id: str = ""
    failed: str = ""

    @property
    def project(self) -> people.Party:
        """Return the project that this file stands for."""
        return people.file_project(self.number)


@dataclass(slots=True)
class FolderReport:
    """Counts and seconds of a run over a folder. `skipped` are (path, why) of files that were not tried."""

    files: int = 0
    size_bytes: int = 0
    pushed: int = 0
    verified: int = 0
    turned_unknown: int = 0
    reused: int = 0
    receipts: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Say whether every file that was tried came through every step."""
        counts = {self.pushed, self.verified, self.turned_unknown, self.reused, self.receipts}
        return self.files > 0 and counts == {self.files}

    def as_json(self) -> dict[str, Any]:
        """Render the report for `--json`."""
        return {
            "files": self.files,
            "bytes": self.size_bytes,
            "pushed": self.pushed,
            "verified": self.verified,
            "turnedBitUnknown": self.turned_unknown,
            "reusedWithSameBytes": self.reused,
            "receiptsChecked": self.receipts,
            "skipped": [{"path": path, "why": why} for path, why in self.skipped],
            "failures": [{"path": path, "why": why} for path, why in self.failures],
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            "passed": self.passed,
        }


def play_folder(stage: Stage, folder: Path, *, parallel: int, on_progress: Progress) -> FolderReport:
    """Take every regular file below `folder` through the job; `on_progress` gets (step, done, of).

    A file that fails a step is reported and left out of the later ones.

    Raises:
        InputMissing: the folder is none, or holds no file that can be read.
    """
    report = FolderReport()
    items = list(_find(stage, folder, report))
    if not items:
        raise InputMissing(
            "the folder holds no regular file that can be read", hint="name another folder", place=str(folder)
        )
    report.files, report.size_bytes = len(items), sum(item.size_bytes for item in items)
    run = _Run(stage, report, parallel, on_progress)
    run.each("push", items, run.push)
    stage.network.settle(timeout_s=60.0 + len(items) / 10)
    run.verify([item for item in items if not item.failed])
    run.each("reuse", [item for item in items if not item.failed], run.reuse)
    run.each("receipt", [item for item in items if not item.failed], run.receipt)
    report.failures = [(str(item.path), item.failed) for item in items if item.failed]
    return report


@dataclass(frozen=True, slots=True)
class _Run:
    """The steps over a folder, with what they share."""

    stage: Stage
    report: FolderReport
    parallel: int
    on_progress: Progress

    def each(self, step: str, items: Sequence[Item], act: Callable[[Item], None]) -> None:
        """Do `act` for every item, several at once; an error marks its item and nothing else."""
        started = time.monotonic()
        with ThreadPoolExecutor(self.parallel) as pool:
            try:
                futures = [pool.submit(_marked, step, act, item) for item in items]
                for done, future in enumerate(as_completed(futures), start=1):
                    future.result()
                    self.on_progress(step, done, len(items))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        self.report.seconds[step] = time.monotonic() - started

    def push(self, item: Item) -> None:
        """Hash the file and push it in PD."""
        item.sha256 = digest_file(item.path, sm3=False).sha256.hex()
        name = clean_name(item.path.name)
        meta: Body = {
            "typeCode": codes.LAND_PERMIT,
            "subjects": [item.project.as_subject()],
            "documentNo": f"FILE-{item.number + 1:06d}",
            "caseNo": self.stage.new_case(people.PD),
            "title": name[:_MAX_TITLE],
            "issuedOn": self.stage.today.isoformat(),
            "sha256": item.sha256,
            "fileName": name,
            "mediaType": mimetypes.guess_type(name)[0] or "application/octet-stream",
        }
        answer = self.stage.network.client(people.PD).push(meta, item.path, file_name=name)
        item.material_id = answer["materialId"]
        self.report.pushed += 1

    def verify(self, items: Sequence[Item]) -> None:
        """Ask XH for each digest with its project, and for the digest with one bit turned."""
        started = time.monotonic()
        for first in range(0, len(items), _BATCH):
            part = items[first : first + _BATCH]
            questions = [*(_question(item, item.sha256) for item in part)]
            questions += [_question(item, _turned(item.sha256)) for item in part]
            answers = self.stage.network.client(people.XH).post(
                "/v1/verify/batch", {"items": questions}, idempotency=False
            )["items"]
            for item, plain, turned in zip(part, answers, answers[len(part) :], strict=False):
                self._judge(item, plain, turned)
            self.on_progress("verify", first + len(part), len(items))
        self.report.seconds["verify"] = time.monotonic() - started

    def _judge(self, item: Item, plain: Body, turned: Body) -> None:
        found = (plain["verdict"], plain["subjectMatch"])
        self.report.verified += found == ("valid", "match")
        self.report.turned_unknown += turned["verdict"] == "unknown"
        if found != ("valid", "match"):
            item.failed = f"verify: {found[0]}, subject {found[1]}"
        elif turned["verdict"] != "unknown":
            item.failed = f"verify: {turned['verdict']} for a digest with one bit turned"

    def reuse(self, item: Item) -> None:
        """Reuse the file in XH; only the same bytes count."""
        wish = Wish(codes.BUILD, "R2", codes.SCENARIO_BUILD, item.project, codes.LAND_PERMIT, deliver="bytes")
        released = self.stage.reuse(people.XH, wish)
        if released.outcome != "granted":
            item.failed = f"reuse: {released.outcome}, {released.why}"
        elif released.sha256 != item.sha256:
            item.failed = "reuse: other bytes came back"
        else:
            self.report.reused += 1

    def receipt(self, item: Item) -> None:
        """Fetch the receipt in PD and check it against the chain."""
        shown = self.stage.network.client(people.PD).get(f"/v1/receipts/{item.material_id}")
        outcome, why = judge_receipt(self.stage.network, shown, sha256=item.sha256, at=datetime.now(UTC))
        if outcome == "pass":
            self.report.receipts += 1
        else:
            item.failed = f"receipt: {outcome}, {why}"


def _marked(step: str, act: Callable[[Item], None], item: Item) -> None:
    try:
        act(item)
    except DeltasealError as error:
        item.failed = f"{step}: {error.code}"
    except OSError as error:
        item.failed = f"{step}: {error.strerror or 'the file cannot be read'}"


def _find(stage: Stage, folder: Path, report: FolderReport) -> Iterator[Item]:
    """Yield the regular files in a fixed order; links are not followed, what is skipped is reported."""
    if not folder.is_dir():
        raise InputMissing("there is no such folder", hint="name a folder with --files", place=str(folder))
    limit = int(stage.network.client(people.PD).get("/v1/info")["limits"]["maxFileBytes"])
    number = 0
    for path in _walk(folder):
        try:
            found = path.lstat()
        except OSError as error:
            report.skipped.append((str(path), error.strerror or "cannot be read"))
            continue
        why = _why_skipped(path, found, limit)
        if why:
            report.skipped.append((str(path), why))
            continue
        yield Item(number, path, found.st_size)
        number += 1


def _walk(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield Path(root) / name


def _why_skipped(path: Path, found: os.stat_result, limit: int) -> str:
    if not stat.S_ISREG(found.st_mode):
        return "no regular file"
    if found.st_size > limit:
        return f"larger than the node takes ({limit} bytes)"
    return "" if os.access(path, os.R_OK) else "may not be read"


def _question(item: Item, sha256: str) -> Body:
    return {"sha256": sha256, "typeCode": codes.LAND_PERMIT, "subject": item.project.as_subject()}


def _turned(sha256: str) -> str:
    return f"{int(sha256, 16) ^ _TURNED_BIT:064x}"


def clean_name(name: str) -> str:
    """Return `name` as a title and a file name may be: NFC, printable, at most 255 bytes of UTF-8.

    A long name is cut before its extension.
    """
    text = os.fsencode(name).decode("utf-8", "replace")
    text = unicodedata.normalize("NFC", "".join(char if char.isprintable() else "�" for char in text))
    text = text.replace("/", "_").replace("\\", "_")
    suffix = Path(text).suffix
    stem = text.removesuffix(suffix)
    suffix_bytes = len(suffix.encode())
    if suffix_bytes > _MAX_NAME_BYTES // 2:
        stem, suffix, suffix_bytes = text, "", 0
    kept = stem.encode()[: _MAX_NAME_BYTES - suffix_bytes].decode("utf-8", "ignore")
    return kept + suffix or "file"
