"""The error tree of `anchor`: what a caller may rely on."""

from collections.abc import Iterator

import pytest

from anchor import errors
from anchor.errors import AnchorError, DeltasealError


def leaves(root: type[DeltasealError]) -> Iterator[type[DeltasealError]]:
    for child in root.__subclasses__():
        yield child
        yield from leaves(child)


OURS = [error for error in leaves(AnchorError) if error.__module__ == errors.__name__]


def test_codes_are_unique_and_snake_case() -> None:
    codes = [error.code for error in OURS]
    assert len(set(codes)) == len(codes) > 20
    assert all(code.replace("_", "").isalnum() and code == code.lower() for code in codes)


@pytest.mark.parametrize("error", OURS)
def test_code_is_the_name_of_the_class(error: type[DeltasealError]) -> None:
    words = "".join("_" + letter.lower() if letter.isupper() else letter for letter in error.__name__)
    assert error.code == words.lstrip("_")


def test_error_carries_message_hint_and_facts() -> None:
    error = errors.ChainAnswerMalformed("the answer has no result", hint="check the RPC address", method=7)
    assert (str(error), error.hint, error.facts) == (
        "the answer has no result",
        "check the RPC address",
        {"method": 7},
    )
    assert isinstance(error, errors.ChainUnavailable)
