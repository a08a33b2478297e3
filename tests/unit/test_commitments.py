"""Commitments and openings: what a reader learns, and what nobody can bend."""

import json
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest

from anchor.canonical import parse_strict_json
from anchor.commitments import (
    Commitment,
    OpenedField,
    PartialOpening,
    commit,
    field_salt,
    new_salt_key,
    open_fields,
    opening_from_json,
    opening_to_json,
    root_of_opening,
    verify_opening,
)
from anchor.errors import KeyMaterialInvalid, OpeningMalformed, OpeningMismatch

SALT_KEY = bytes(range(32))
FIELDS: dict[str, Any] = {
    "agency": "11310104MB2F30001T",
    "documentNo": "DEMO-0001",
    "expiresOn": None,
    "subjects": [{"idType": "111", "id": "310101199001010010"}],
    "typeCode": "LICENCE",
}


@pytest.mark.parametrize("names", [names for n in range(1, 6) for names in combinations(FIELDS, n)])
def test_every_choice_of_fields_opens_the_same_commitment(names: tuple[str, ...]) -> None:
    opening = open_fields(FIELDS, SALT_KEY, names)
    shown = verify_opening(opening, commit(FIELDS, SALT_KEY))
    assert shown == {name: FIELDS[name] for name in names}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 8, 9, 31, 32, 33, 63, 64])
def test_each_single_field_opens_in_trees_of_every_shape(count: int) -> None:
    fields = {f"f{each:02}": each for each in range(count)}
    commitment = commit(fields, SALT_KEY)
    for name in fields:
        assert verify_opening(open_fields(fields, SALT_KEY, [name]), commitment) == {name: fields[name]}


def test_order_of_the_mapping_does_not_matter() -> None:
    assert commit(dict(reversed(FIELDS.items())), SALT_KEY) == commit(FIELDS, SALT_KEY)


def test_another_salt_key_gives_another_commitment() -> None:
    assert commit(FIELDS, SALT_KEY) != commit(FIELDS, bytes(32))
    assert len({new_salt_key() for _ in range(50)}) == 50


def test_opening_holds_no_hidden_value_and_no_salt_of_one() -> None:
    opening = open_fields(FIELDS, SALT_KEY, ["typeCode"])
    text = json.dumps(opening_to_json(opening), ensure_ascii=False)
    assert "LICENCE" in text
    for hidden in ("310101199001010010", "DEMO-0001", "11310104MB2F30001T", "subjects"):
        assert hidden not in text
    salts = {field_salt(SALT_KEY, name) for name in FIELDS if name != "typeCode"}
    assert salts.isdisjoint({*opening.hidden, *(each.salt for each in opening.opened)})
    assert SALT_KEY not in {each.salt for each in opening.opened}


def test_fields_are_not_shown_by_repr() -> None:
    assert "310101199001010010" not in repr(open_fields(FIELDS, SALT_KEY, FIELDS))


def test_json_round_trip() -> None:
    opening = open_fields(FIELDS, SALT_KEY, ["agency", "subjects"])
    text = json.dumps(opening_to_json(opening)).encode()
    assert opening_from_json(parse_strict_json(text, max_bytes=10_000)) == opening


@pytest.mark.parametrize(
    "change",
    [
        {"value": "LICENSE"},
        {"value": ["LICENCE"]},
        {"value": None},
        {"salt": bytes(32)},
        {"name": "typecode"},
    ],
)
def test_altered_field_opens_something_else(change: dict[str, Any]) -> None:
    opening = open_fields(FIELDS, SALT_KEY, ["typeCode"])
    altered = replace(opening, opened=(replace(opening.opened[0], **change),))
    with pytest.raises(OpeningMismatch):
        verify_opening(altered, commit(FIELDS, SALT_KEY))


def test_field_at_another_index_opens_something_else() -> None:
    opening = open_fields(FIELDS, SALT_KEY, ["documentNo"])
    (field,) = opening.opened
    for index in (0, 2, 3):
        with pytest.raises(OpeningMismatch):
            verify_opening(replace(opening, opened=(replace(field, index=index),)), commit(FIELDS, SALT_KEY))


def test_one_field_may_not_be_shown_twice() -> None:
    # Both leaves of a tree could hold the same name, if the sealer built it by hand.
    twice = PartialOpening(2, tuple(OpenedField(index, "a", 1, bytes(32)) for index in (0, 1)), ())
    with pytest.raises(OpeningMalformed):
        root_of_opening(twice)


def test_two_fields_may_not_share_an_index() -> None:
    # Only one of them would be hashed into the tree; the other would ride along unproved.
    (real,) = open_fields({"b": 2}, SALT_KEY, ["b"]).opened
    smuggled = PartialOpening(1, (OpenedField(0, "a", "unproved", bytes(32)), real), ())
    with pytest.raises(OpeningMalformed):
        verify_opening(smuggled, commit({"b": 2}, SALT_KEY))


def test_opening_that_shows_nothing_is_refused() -> None:
    with pytest.raises(OpeningMalformed):
        open_fields(FIELDS, SALT_KEY, [])
    with pytest.raises(OpeningMalformed):
        root_of_opening(PartialOpening(5, (), (commit(FIELDS, SALT_KEY),)))


def test_true_is_not_the_number_one() -> None:
    shown: Any = opening_to_json(open_fields({"a": 1}, SALT_KEY, ["a"]))
    with pytest.raises(OpeningMalformed):
        opening_from_json(shown | {"leafCount": True})


def test_inner_node_does_not_pass_as_a_field() -> None:
    # A leaf is hashed after 0x00 and a node after 0x01, so hidden hashes cannot be opened as content.
    opening = open_fields({"a": 1, "b": 2}, SALT_KEY, ["a"])
    fake = PartialOpening(1, (replace(opening.opened[0], index=0),), ())
    assert root_of_opening(fake) != commit({"a": 1, "b": 2}, SALT_KEY)


def test_commitment_of_another_length_is_a_mismatch() -> None:
    opening = open_fields({"a": 1}, SALT_KEY, ["a"])
    with pytest.raises(OpeningMismatch):
        verify_opening(opening, Commitment(b""))


def test_values_up_to_16_kib_are_allowed() -> None:
    longest = "x" * ((16 << 10) - 2)  # Two bytes go to the quotes.
    assert len(commit({"a": longest}, SALT_KEY)) == 32
    with pytest.raises(OpeningMalformed):
        commit({"a": longest + "x"}, SALT_KEY)


def test_salt_key_of_another_length_is_refused() -> None:
    for key in (b"", bytes(31), bytes(33)):
        with pytest.raises(KeyMaterialInvalid):
            commit({"a": 1}, key)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "opening",
        {},
        {"leafCount": 1, "opened": [], "hidden": []},
        {"leafCount": 1, "opened": [1], "hidden": []},
    ],
)
def test_json_of_another_shape_is_refused(value: Any) -> None:
    with pytest.raises(OpeningMalformed):
        opening_from_json(value)


def test_opened_value_without_canonical_form_is_malformed() -> None:
    field: Any = {"index": 0, "name": "a", "value": 0.5, "salt": "A" * 43}
    with pytest.raises(OpeningMalformed):
        opening_from_json({"leafCount": 1, "opened": [field], "hidden": []})


def test_copy_of_a_parsed_opening_with_other_parts_has_a_root_of_its_own() -> None:
    salt_key = bytes(32)
    parsed = opening_from_json(opening_to_json(open_fields({"a": 1, "b": 2, "c": 3}, salt_key, ["b"])))
    other = replace(parsed, hidden=tuple(reversed(parsed.hidden)))
    assert root_of_opening(parsed) == commit({"a": 1, "b": 2, "c": 3}, salt_key) != root_of_opening(other)
