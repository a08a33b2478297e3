"""Ids of requests: ULIDs that the library reads, and of what a caller sends only that form."""

import pytest
from ulid import ULID

from node.http.requestids import RequestIds

SENT = b"req_01M87Y3M8WXG1XEG9JY8514PRQ"


@pytest.mark.parametrize("now", [0.0, 1.2345, 1_800_000_000.999, 281_474_976_710.655])
def test_an_id_is_a_ulid_of_its_millisecond(now: float) -> None:
    read = ULID.from_str(RequestIds(lambda: now).make().removeprefix("req_"))
    assert read.milliseconds == int(now * 1000)


def test_no_two_ids_are_alike_and_each_random_digit_varies() -> None:
    made = RequestIds(lambda: 1.0)
    ids = [made.make() for _ in range(2000)]
    assert len(set(ids)) == len(ids)
    assert all(len({one[at] for one in ids}) == 16 for at in range(14, 30))


def test_only_an_id_of_our_form_is_taken_from_a_caller() -> None:
    made = RequestIds()
    assert made.take(SENT) == SENT.decode()
    for other in (b"", SENT[:-1], SENT + b"0", SENT.lower(), b"req_8" + SENT[5:], b"310104185001010014"):
        assert made.take(other) != other.decode()
