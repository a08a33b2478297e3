"""Subjects: one spelling for each, standards held, and never an id in a message."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum.cn import ric

from verifier.areas import is_area
from verifier.errors import SubjectInvalid
from verifier.subjects import Subject, mask_subject, parse_subject

TODAY = date(2026, 11, 10)
CITIZEN, FIRM, PROJECT = "310104185001010014", "91310104FAKE01016E", "2406-310118-04-01-100001"


def refusal(id_type: str, id_: str) -> str:
    with pytest.raises(SubjectInvalid) as caught:
        parse_subject(id_type, id_, today=TODAY)
    error = caught.value
    assert error.hint
    if id_:
        assert id_ not in f"{error} {error.hint} {error.facts}"
    return str(error.facts["reason"])


@pytest.mark.parametrize(
    ("id_type", "id_"),
    [
        ("001", FIRM),
        ("001", "11310000FAKE0003XR"),  # Check digit of the inner organisation code is X.
        ("111", CITIZEN),
        ("900", PROJECT),
        ("111", "360426199101010071"),  # Example of python-stdnum's ric module.
        ("001", "91110000600037341L"),  # Example of python-stdnum's uscc module.
    ],
)
def test_good_subject_is_accepted_as_it_is(id_type: str, id_: str) -> None:
    assert parse_subject(id_type, id_, today=TODAY) == Subject(id_type, id_)


def test_other_spellings_become_the_one() -> None:
    number = "11010519491231002X"  # GB 11643-1999, the standard's own example.
    for spelling in (number, number.lower(), number.translate({ord(c): ord(c) + 0xFEE0 for c in number})):
        assert parse_subject("111", spelling, today=TODAY).id == number
    assert parse_subject("001", FIRM.lower(), today=TODAY).id == FIRM
    assert parse_subject("900", PROJECT.replace("-", "－"), today=TODAY).id == PROJECT


@pytest.mark.parametrize(
    ("id_type", "id_", "reason"),
    [
        ("414", "E12345678", "id_type"),
        ("", FIRM, "id_type"),
        ("001", FIRM[:-1], "length"),
        ("001", "9" * 65, "length"),
        ("900", "9" * 65, "length"),
        ("001", " " + FIRM[:-1], "format"),
        ("001", FIRM[:8] + "-" + FIRM[9:], "format"),
        ("001", FIRM[:9] + "I" + FIRM[10:], "format"),
        ("001", FIRM[:-1] + "F", "check_digit"),
        ("111", CITIZEN[:-1], "length"),
        ("111", "X" + CITIZEN[1:], "format"),
        ("111", CITIZEN[:6] + " " + CITIZEN[7:], "format"),
        ("111", CITIZEN[:-1] + "5", "check_digit"),
        ("111", "³" + CITIZEN[1:], "format"),
        ("900", PROJECT.replace("-", ""), "format"),
        ("900", PROJECT + "\n", "format"),
        ("900", "2413" + PROJECT[4:], "format"),
        ("900", PROJECT.replace("310118", "999999"), "region"),
        ("111", "", "length"),
    ],
)
def test_bad_subject_is_refused_with_its_reason(id_type: str, id_: str, reason: str) -> None:
    assert refusal(id_type, id_) == reason


def with_check_digit(first_17: str) -> str:
    """Complete a citizen id by ISO 7064 MOD 11-2, computed the long way (GB 11643-1999)."""
    total = sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(first_17))
    return first_17 + "10X98765432"[total % 11]


@pytest.mark.parametrize(
    ("first_17", "reason"),
    [
        ("31010419900230001", "date"),
        ("31010419901301001", "date"),
        ("31010419000229001", "date"),
        ("31010420261111001", "date_future"),
        ("31010400000101001", "date"),
        ("99999919900101001", "region"),
        ("00000019900101001", "region"),
    ],
)
def test_date_and_region_of_a_citizen_id_must_exist(first_17: str, reason: str) -> None:
    assert refusal("111", with_check_digit(first_17)) == reason


def test_birth_today_is_no_future_and_old_regions_count_for_any_year() -> None:
    for first_17 in ("31010420261110001", "31011818500101001", "11010318500101001"):
        number = with_check_digit(first_17)
        assert parse_subject("111", number, today=TODAY).id == number


def test_any_single_wrong_digit_of_a_citizen_id_is_noticed() -> None:
    for place in range(17):
        for digit in "0123456789":
            if digit != CITIZEN[place]:
                with pytest.raises(SubjectInvalid):
                    parse_subject("111", CITIZEN[:place] + digit + CITIZEN[place + 1 :], today=TODAY)


def test_mask_shows_first_three_and_last_four() -> None:
    assert mask_subject(Subject("111", CITIZEN)) == "310***********0014"


def test_repr_hides_the_id() -> None:
    assert CITIZEN not in repr(Subject("111", CITIZEN))


@pytest.mark.parametrize(
    ("code", "known"),
    [
        ("310000", True),
        ("310104", True),
        ("310118", True),
        ("320509", True),
        ("330421", True),
        ("310108", True),  # 闸北, merged in 2015: papers still name it.
        ("310199", False),
        ("990000", False),
        ("31010", False),
        ("3101040", False),
        ("３１0104", False),
        ("", False),
    ],
)
def test_areas_are_those_of_the_table(code: str, known: bool) -> None:
    assert is_area(code) is known


@given(st.text("0123456789", min_size=17, max_size=17))
def test_check_digit_of_a_citizen_is_the_librarys(digits: str) -> None:
    last = ric.calc_check_digit(digits + "0")
    with pytest.raises(SubjectInvalid) as refused:
        parse_subject("111", digits + ("0" if last != "0" else "1"), today=date(2026, 1, 1))
    assert refused.value.facts["reason"] == "check_digit"
    try:
        parse_subject("111", digits + last, today=date(2026, 1, 1))
    except SubjectInvalid as error:
        assert error.facts["reason"] in ("date", "date_future", "region")
