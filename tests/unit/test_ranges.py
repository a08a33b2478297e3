"""Which bytes a Range header asks for (RFC 9110 §14)."""

from __future__ import annotations

import pytest
from starlette.exceptions import HTTPException

from node.http.ranges import parse_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-5", (0, 5)),
        ("bytes=90-", (90, 99)),
        ("bytes=90-500", (90, 99)),
        ("bytes=-5", (95, 99)),
        ("bytes=-500", (0, 99)),
        (None, (0, 99)),
        ("bytes=-", (0, 99)),
        ("bytes=0-1,5-6", (0, 99)),
        ("lines=0-5", (0, 99)),
        ("bytes=\u0663-5", (0, 99)),
    ],
)
def test_one_range_is_taken_and_others_mean_the_whole(header: str | None, expected: tuple[int, int]) -> None:
    assert parse_range(header, 100) == expected


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=7-5", "bytes=-0"])
def test_range_without_a_byte_is_refused(header: str) -> None:
    """`bytes=-0`, the last none of the bytes, was found by fuzzing."""
    with pytest.raises(HTTPException) as refused:
        parse_range(header, 100)
    assert refused.value.status_code == 416
