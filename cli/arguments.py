"""Reads the small texts that several commands take: subjects, dates, digests, reason codes, key=value pairs.

What is wrong is said with the flag it stands in, never with the value: an id number must not reach a log.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from anchor.digests import Digests, digest_file
from anchor.errors import FileUnreadable
from cli.errors import ArgumentInvalid, InputMissing
from verifier.errors import SubjectInvalid
from verifier.subjects import parse_subject

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_CHINA = timezone(timedelta(hours=8))


def parse_subject_text(text: str, *, place: str = "--subject") -> dict[str, str]:
    """Read `TYPE:ID[:ROLE]` into the shape the node takes; the id is checked and put into its one spelling.

    Raises:
        ArgumentInvalid: it is not of that form, or the id breaks its standard. The id is not repeated.
    """
    kind, separator, rest = text.strip().partition(":")
    code, _, role = rest.partition(":")
    if not separator or not code:
        raise ArgumentInvalid(
            "a subject is TYPE:ID or TYPE:ID:ROLE",
            hint="for example 001:91310115FAKE010322:tenant",
            place=place,
        )
    try:
        subject = parse_subject(kind, code, today=datetime.now(_CHINA).date())
    except SubjectInvalid as error:
        raise ArgumentInvalid(str(error), hint=error.hint, place=place) from None
    found = {"idType": subject.id_type, "id": subject.id}
    return {**found, "role": role} if role else found


def parse_subjects(texts: Iterable[str], *, place: str = "--subject") -> list[dict[str, str]]:
    """Read several subjects; `@FILE` stands for the lines of a file, so that ids stay out of the process
    list.

    Raises:
        ArgumentInvalid: as `parse_subject_text`, or one subject stands there twice.
        InputMissing: the file is not there.
    """
    subjects = [parse_subject_text(each, place=place) for text in texts for each in _lines(text)]
    keys = [(each["idType"], each["id"], each.get("role", "")) for each in subjects]
    if len(set(keys)) != len(keys):
        raise ArgumentInvalid("a subject is given twice", hint="leave one of them out", place=place)
    return subjects


def one_subject(texts: Sequence[str], *, place: str = "--subject") -> dict[str, str] | None:
    """Read at most one subject, without a role: questions have none.

    Raises:
        ArgumentInvalid: there are several, or as `parse_subject_text`.
    """
    subjects = parse_subjects(texts, place=place)
    if len(subjects) > 1:
        raise ArgumentInvalid("only one subject can be asked about", hint="ask once for each", place=place)
    return {name: subjects[0][name] for name in ("idType", "id")} if subjects else None


def _lines(text: str) -> list[str]:
    if not text.startswith("@"):
        return [text]
    try:
        content = Path(text[1:]).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        raise InputMissing("the file of subjects cannot be read", hint="one TYPE:ID[:ROLE] a line") from None
    return [line for line in content.splitlines() if line.strip()]


def parse_day(text: str | None, *, place: str) -> str | None:
    """Check a date written YYYY-MM-DD; None and empty text are no date.

    Raises:
        ArgumentInvalid: any other spelling, or a day that does not exist.
    """
    if not text:
        return None
    try:
        if date.fromisoformat(text).isoformat() == text:
            return text
    except ValueError:
        pass
    raise ArgumentInvalid("a date is YYYY-MM-DD and must exist", hint="for example 2026-11-03", place=place)


def parse_moment(text: str, *, place: str) -> datetime:
    """Read a time that names its zone.

    Raises:
        ArgumentInvalid: any other spelling: a machine's own zone must not decide.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ArgumentInvalid(
            "a time names its zone", hint="for example 2026-11-03T10:00:00+08:00", place=place
        )
    return found


def parse_sha256(text: str, *, place: str = "--sha256") -> str:
    """Check a digest of 64 hex digits and return it in lower case.

    Raises:
        ArgumentInvalid: it is none.
    """
    if not _SHA256.fullmatch(text.strip()):
        raise ArgumentInvalid(
            "a SHA-256 digest is 64 hex digits", hint="`deltaseal hash FILE` prints it", place=place
        )
    return text.strip().lower()


def parse_reason_code(text: str) -> int | str:
    """Read a reason code: a number from 1 to 65535, or one of the node's names.

    Raises:
        ArgumentInvalid: it is neither.
    """
    if text.isascii() and text.isdigit() and 0 < int(text) < 1 << 16:
        return int(text)
    if re.fullmatch(r"[a-z][a-z0-9_]{1,63}", text):
        return text
    raise ArgumentInvalid(
        "a reason code is a number from 1 to 65535 or a name",
        hint="for example --reason-code 1",
        place="--reason-code",
    )


def parse_pairs(texts: Sequence[str], *, place: str) -> dict[str, Any]:
    """Read `key=text` and `key:=json` pairs into an object; a dot in the key makes a nested object.

    Raises:
        ArgumentInvalid: a pair of another form, JSON that is none, or a key given twice.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        literal = key.endswith(":")
        if not separator or not key.strip(":"):
            raise ArgumentInvalid(
                "a field is key=text or key:=json", hint="for example -f limit:=10", place=place
            )
        _put(found, key.removesuffix(":").split("."), _json_value(value, place) if literal else value, place)
    return found


def _put(target: dict[str, Any], path: Sequence[str], value: Any, place: str) -> None:
    for name in path[:-1]:
        target = target.setdefault(name, {})
        if not isinstance(target, dict):
            raise ArgumentInvalid("a field is given twice", hint="leave one of them out", place=place)
    if path[-1] in target:
        raise ArgumentInvalid("a field is given twice", hint="leave one of them out", place=place)
    target[path[-1]] = value


def _json_value(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise ArgumentInvalid(
            "the value after := is not JSON", hint="use key=text for plain text", place=place
        ) from None


def digest_of(path: Path, *, sm3: bool = False) -> Digests:
    """Digest a file named by the user, naming it in the error.

    Raises:
        InputMissing: it cannot be read.
    """
    try:
        return digest_file(path, sm3=sm3)
    except FileUnreadable as error:
        raise InputMissing(str(error), hint="check its name and its rights", place=str(path)) from None


def parse_fields(text: str | None) -> list[str]:
    """Split a list with commas; empty parts are left out."""
    return [part.strip() for part in (text or "").split(",") if part.strip()]
