"""`deltaseal verify`: asks the node whether a document may be relied on. The bytes are digested here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.arguments import digest_of, one_subject, parse_moment, parse_sha256
from cli.client import NodeClient
from cli.errors import ArgumentInvalid, NodeAnswerMalformed
from cli.exitcodes import ExitCode, exit_for_verdict, worst
from cli.push.items import walk
from cli.receiptchecks import Asked, now, show_checks
from cli.receiptfiles import compare_file, read_receipt_json, read_roots, refreshed_content, trusted
from cli.session import Session, command
from cli.views import named
from verifier.expectations import Expected

_BATCH = 1000


@dataclass(frozen=True, slots=True)
class _Offline:
    """What only --offline takes."""

    trust: Path | None = None
    statement: Path | None = None
    max_age_s: int | None = None
    at: str | None = None
    issuer: str | None = None
    type_code: str | None = None
    subject: Sequence[str] | None = None
    tsa_roots: Sequence[Path] | None = None

    def verify(self, session: Session, receipt: Path, file: Path | None) -> ExitCode:
        """Check the receipt, and the file where there is one."""
        session.add_flags(trust_file=None if self.trust is None else str(self.trust))
        at = now() if self.at is None else parse_moment(self.at, place="--at")
        expected, roots = self._expected(file), read_roots(self.tsa_roots or [])
        asked = Asked(trusted(session), at, expected, max_age_s=self.max_age_s, tsa_roots=roots)
        return show_checks(session, refreshed_content(receipt, self.statement), asked)

    def _expected(self, file: Path | None) -> Expected:
        about = one_subject(self.subject or [], place="--expect-subject")
        return Expected(
            issuer=self.issuer,
            type_code=self.type_code,
            subject=None if about is None else (about["idType"], about["id"]),
            sha256=None if file is None else digest_of(file).sha256,
        )


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    command(
        app,
        "verify",
        examples=(
            "verify licence.pdf --type M1001 --subject 001:91310115FAKE010322",
            "verify scans/ -o jsonl",
            "verify --sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --explain",
            "verify licence.pdf --receipt receipt.json",
            "verify licence.pdf --offline --receipt receipt.json --trust trust.json",
            "verify --offline --receipt receipt.json --trust trust.json --expect-type M1001 -o jsonl",
            "verify --offline --receipt receipt.json --statement status.json --trust trust.json",
        ),
        exits=(
            ExitCode.NOT_FOUND,
            ExitCode.PERMISSION,
            ExitCode.INVALID,
            ExitCode.UNAVAILABLE,
            ExitCode.PROOF_FAILED,
            ExitCode.STALE,
            ExitCode.NOT_USABLE,
        ),
    )(verify)


def verify(
    session: Session,
    files: Annotated[list[Path] | None, typer.Argument(metavar="FILE", help="Files and folders.")] = None,
    sha256: Annotated[
        str | None, typer.Option("--sha256", metavar="HEX", help="Digest instead of a file.")
    ] = None,
    receipt: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Receipt to verify at the node.")
    ] = None,
    type_code: Annotated[
        str | None, typer.Option("--type", metavar="CODE", help="Type it must be of.")
    ] = None,
    subject: Annotated[
        list[str] | None,
        typer.Option(metavar="TYPE:ID", help="Whom it must be about, or @FILE with that line."),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show every check.")] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Check the receipt here; no connection is opened.")
    ] = False,
    trust: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --offline: the trust anchor.")
    ] = None,
    statement: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --offline: a newer status, as `receipt refresh` writes it."),
    ] = None,
    tsa_root: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="With --offline: root (PEM) of a time-stamping authority; may be repeated."
        ),
    ] = None,
    max_age_s: Annotated[
        int | None,
        typer.Option("--max-age", min=0, metavar="SECONDS", help="With --offline: how old its block may be."),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="With --offline: judge at this time; default: now."),
    ] = None,
    expect_issuer: Annotated[
        str | None,
        typer.Option(metavar="USCC", help="With --offline: the agency that it must be from."),
    ] = None,
    expect_type: Annotated[
        str | None, typer.Option(metavar="CODE", help="With --offline: the type that it must be of.")
    ] = None,
    expect_subject: Annotated[
        list[str] | None,
        typer.Option(metavar="TYPE:ID", help="With --offline: whom it must be about, or @FILE."),
    ] = None,
) -> int:
    """Ask the node for the verdict about files, a digest or a receipt; no bytes leave this machine.

    With --offline nobody is asked: the receipt is checked against a trust anchor and nothing else. 0 then says
    that it was sealed and not revoked as of its block. -o jsonl lists the checks first, then streams each.
    """
    own = _Offline(trust, statement, max_age_s, at, expect_issuer, expect_type, expect_subject, tsa_root)
    if offline:
        if receipt is None or sha256 or type_code or subject:
            raise ArgumentInvalid(
                "offline, a receipt is checked, alone or with one file",
                hint="verify [FILE] --offline --receipt R --trust T [--expect-type CODE]",
            )
        return own.verify(session, receipt, _one_file(files or []))
    if own != _Offline():
        raise ArgumentInvalid(
            "--trust, --statement, --tsa-root, --max-age, --at and --expect-… belong to --offline",
            hint="add --offline",
        )
    if not (files or sha256 or receipt) or (sha256 and (files or receipt)):
        raise ArgumentInvalid(
            "give files, a digest or a receipt", hint="FILE..., --sha256 HEX or --receipt FILE"
        )
    about: dict[str, Any] = {"typeCode": type_code, "subject": one_subject(subject or [])}
    with session.client() as client:
        if receipt is not None:
            return _verify_receipt(session, client, receipt, files or [], about, explain=explain)
        if sha256 is not None:
            answer = client.verify(parse_sha256(sha256), type_code=type_code, subject=about["subject"])
            return _show(session, [answer], explain=explain)
        answers = list(_verify_files(client, list(walk(files or [])), about))
        return _show(session, answers, explain=explain)


def _one_file(files: Sequence[Path]) -> Path | None:
    if len(files) > 1:
        raise ArgumentInvalid("a receipt is about one file", hint="give one file with --receipt")
    return files[0] if files else None


def _verify_receipt(
    session: Session,
    client: NodeClient,
    path: Path,
    files: Sequence[Path],
    about: Mapping[str, Any],
    *,
    explain: bool,
) -> int:
    file = _one_file(files)
    if any(about.values()):
        raise ArgumentInvalid("a receipt says itself what it is about", hint="leave --type and --subject out")
    answer = client.verify(receipt=read_receipt_json(path))
    code = _show(session, [answer], explain=explain)
    if file is not None and not compare_file(path, file):
        session.out.warn("the file is not the one that the receipt is about")
        return ExitCode.PROOF_FAILED
    return code


def _verify_files(
    client: NodeClient, paths: Sequence[Path], about: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    known = {name: value for name, value in about.items() if value is not None}
    for start in range(0, len(paths), _BATCH):
        part = paths[start : start + _BATCH]
        questions = [{**known, "sha256": digest_of(path).sha256.hex()} for path in part]
        if len(paths) == 1:
            answers = [client.post("/v1/verify", questions[0], idempotency=False)]
        else:
            found = client.post("/v1/verify/batch", {"items": questions}, idempotency=False)
            answers = found.get("items", []) if isinstance(found, dict) else []
        if len(answers) != len(part):
            raise NodeAnswerMalformed("the node answered another number of questions than it was asked")
        for path, question, answer in zip(part, questions, answers, strict=True):
            yield {"path": str(path), "sha256": question["sha256"], **answer}


def _show(session: Session, answers: Sequence[Mapping[str, Any]], *, explain: bool) -> int:
    out = session.out
    if len(answers) == 1:
        answer = answers[0]
        checks = list(answer.get("reasons") or []) if explain else []
        out.item("verdict", answer, sections=[("check", checks)], say=named(answer.get("explain"), out.lang))
    else:
        out.items("verdict", answers)
    return worst(_exit(answer) for answer in answers)


def _exit(answer: Mapping[str, Any]) -> ExitCode:
    return exit_for_verdict(
        str(answer.get("verdict")),
        subject_match=str(answer.get("subjectMatch", "unchecked")),
        fresh=answer.get("fresh") is True,
    )
