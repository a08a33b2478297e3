"""Subjects: whom or what a material is about, as kind and id, checked and in one spelling.

Kinds: 001 unified social credit code (GB 32100-2015), 111 citizen id (GB 11643-1999), 900 project code.
The spelling matters: tags are keyed digests of it, so two spellings would be two subjects.
No message carries the id. Must not import index, catalogue or chain.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from operator import mul
from typing import Final, NoReturn

import msgspec
from stdnum.cn import uscc

from verifier.areas import is_area
from verifier.errors import SubjectInvalid

ORGANISATION: Final = "001"
CITIZEN: Final = "111"
PROJECT: Final = "900"

_USCC: Final = re.compile(r"[0-9]{8}[0-9A-HJ-NP-RTUW-Y]{10}")
_CITIZEN: Final = re.compile(r"[0-9]{17}[0-9X]")
# GB 11643-1999: ISO 7064 MOD 11-2. Written out, since every question about a citizen asks; a test compares `stdnum`.
_WEIGHTS: Final = tuple(pow(2, 17 - place, 11) for place in range(17))
_CHECK_DIGITS: Final = "10X98765432"
_PROJECT: Final = re.compile(r"[0-9]{2}(0[1-9]|1[0-2])-([0-9]{6})-[0-9]{2}-[0-9]{2}-[0-9]{6}")
_LONGEST: Final = 64
# Forms filled in with a Chinese keyboard hold full-width digits, letters and hyphens; they mean the same.
_HALF_WIDTH: Final = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}


class Subject(msgspec.Struct, frozen=True, gc=False):
    """Kind and id of a subject in its one spelling; made by `parse_subject`."""

    id_type: str
    id: str

    def __repr__(self) -> str:
        """Name the kind alone: a repr ends up in logs; an id must not."""
        return f"Subject(id_type={self.id_type!r})"


def parse_subject(id_type: str, id: str, *, today: date) -> Subject:
    """Check and normalise a subject's kind and id.

    Full-width characters become ASCII and letters upper case; blanks and other separators are refused.
    `today` bounds dates of birth: the verifier has no clock.

    Raises:
        SubjectInvalid: the fact `reason` is id_type, length, format, check_digit, date, date_future or
            region.
    """
    check = _CHECKS.get(id_type)
    if check is None:
        _refuse("id_type")
    if len(id) > _LONGEST:
        _refuse("length")
    spelled = (id if id.isascii() else id.translate(_HALF_WIDTH)).upper()
    check(spelled, today)
    return Subject(id_type, spelled)


def check_uscc(code: str) -> str | None:
    """Return why `code` is no unified social credit code, or None if it is one (GB 32100-2015)."""
    if len(code) != 18:
        return "length"
    if not _USCC.fullmatch(code):
        return "format"
    return None if uscc.calc_check_digit(code) == code[-1] else "check_digit"


def check_project_code(code: str) -> str | None:
    """Return why `code` is no project code `YYMM-area6-xx-xx-seq6`, or None if it is one."""
    match = _PROJECT.fullmatch(code)
    if match is None:
        return "format"
    return None if is_area(match.group(2)) else "region"


def mask_subject(subject: Subject) -> str:
    """Return what may be shown of the id: the first three and last four characters."""
    hidden = len(subject.id) - 7
    return f"{subject.id[:3]}{'*' * hidden}{subject.id[-4:]}"


def _check_organisation(code: str, _today: date) -> None:
    reason = check_uscc(code)
    if reason:
        _refuse(reason)


def _check_citizen(code: str, today: date) -> None:
    if len(code) != 18:
        _refuse("length")
    if not _CITIZEN.fullmatch(code):
        _refuse("format")
    if _CHECK_DIGITS[sum(map(mul, _WEIGHTS, map(int, code[:17]))) % 11] != code[-1]:
        _refuse("check_digit")
    try:
        born = date(int(code[6:10]), int(code[10:12]), int(code[12:14]))
    except ValueError:
        _refuse("date")
    if born > today:
        _refuse("date_future")
    if not is_area(code[:6]):
        _refuse("region")


def _check_project(code: str, _today: date) -> None:
    reason = check_project_code(code)
    if reason:
        _refuse(reason)


_CHECKS: Final[dict[str, Callable[[str, date], None]]] = {
    ORGANISATION: _check_organisation,
    CITIZEN: _check_citizen,
    PROJECT: _check_project,
}

_HINTS: Final = {
    "id_type": "use 001 (unified social credit code), 111 (citizen id) or 900 (project code)",
    "length": "codes of kind 001 and 111 have 18 characters",
    "format": "write the code without blanks or other separators",
    "check_digit": "compare the code with the document: its last character does not fit the others",
    "date": "compare characters 7 to 14 with the date of birth on the document",
    "date_future": "compare characters 7 to 14 with the date of birth on the document",
    "region": "the six digits of the area are in no version of GB/T 2260",
}


def _refuse(reason: str) -> NoReturn:
    raise SubjectInvalid(
        f"the subject is not accepted: {reason}", hint=_HINTS[reason], reason=reason
    ) from None
