"""Whether a catalogue entry may be published: JSON Schema per kind, then the rules that a schema cannot say.

Page: docs/reference/catalog-entry.md. Schemas: verifier/schemas/<kind>.json (draft 2020-12). A problem is a
pointer and a code, never the value. Must not import index or chain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from functools import cache
from importlib import resources
from typing import Any, Final, TypeAlias

import orjson
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from referencing import Registry, Resource

from verifier.areas import is_area
from verifier.errors import FieldProblem
from verifier.subjects import check_uscc

Entry: TypeAlias = dict[str, Any]
Rule: TypeAlias = Callable[[Entry], Iterator[FieldProblem]]

# Kinds whose own coding rules are known are held to them; codes of others are opaque (31-character
# implementing codes of matters begin with a USCC and go on as each organ likes).
_CODE_PATTERNS: Final = {
    "agency": re.compile(r"[0-9A-HJ-NP-RTUW-Y]{18}"),
    "duty": re.compile(r"DY-(?P<area>[0-9]{6})-[A-Z0-9]{1,16}-[0-9]{4}"),
    "dataset": re.compile(r"[0-9]{1,9}/[0-9]{1,9}"),
    "system": re.compile(r"IS-(?P<area>[0-9]{6})-[0-9]{4}"),
    "standard": re.compile(r"DS-[A-Z0-9][A-Z0-9.-]{0,39}"),
    "scenario": re.compile(r"SC-(?P<area>[0-9]{6})-[0-9]{4}"),
    "materialType": re.compile(r"[A-Z0-9][A-Z0-9.-]{1,39}"),
    "matter": re.compile(r"[A-Z0-9][A-Z0-9-]{3,39}"),
    "link": re.compile(r"LK-[A-Z0-9][A-Z0-9-]{0,39}"),
    "assessment": re.compile(r"AS-[A-Z0-9][A-Z0-9-]{0,39}"),
}

_SCHEMA_CODES: Final = {
    "type": "wrong_type",
    "anyOf": "wrong_type",
    "enum": "not_allowed",
    "pattern": "wrong_format",
    "minLength": "too_short",
    "maxLength": "too_long",
    "minItems": "too_few",
    "maxItems": "too_many",
    "uniqueItems": "duplicate",
    "minimum": "out_of_range",
    "maximum": "out_of_range",
}

_LEVELS: Final = ("L1", "L2", "L3", "L4")


def check_code(kind: str, code: str) -> list[FieldProblem]:
    """Return what is wrong with an entry's code; the pointer is empty, since the code is no field."""
    match = _CODE_PATTERNS[kind].fullmatch(code)
    if match is None:
        return [FieldProblem("", "code_wrong_format")]
    if kind == "agency" and (reason := check_uscc(code)):
        return [FieldProblem("", f"code_{reason}")]
    area = match.groupdict().get("area")
    if area is not None and not is_area(area):
        return [FieldProblem("", "code_area_unknown")]
    return []


def check_structure(kind: str, value: object) -> list[FieldProblem]:
    """Return where `value` breaks the schema of its kind, without repeats, in document order."""
    found: dict[FieldProblem, None] = dict.fromkeys(_control_characters(value, ""))
    for error in _validator(kind).iter_errors(value):
        found.update(dict.fromkeys(_schema_problems(error)))
    return sorted(found, key=lambda problem: problem.pointer)


def check_rules(kind: str, value: Entry) -> list[FieldProblem]:
    """Return which rules beyond the schema a well-formed `value` breaks."""
    return [problem for rule in _RULES[kind] for problem in rule(value)]


@cache
def _validator(kind: str) -> Draft202012Validator:
    registry: Registry[Any] = Registry().with_resource("common.json", Resource.from_contents(_load("common")))
    return Draft202012Validator(_load(kind), registry=registry)


def _load(name: str) -> Any:
    return orjson.loads(resources.files("verifier").joinpath("schemas", f"{name}.json").read_bytes())


def _schema_problems(error: ValidationError) -> Iterator[FieldProblem]:
    pointer = "".join(f"/{_escape(str(part))}" for part in error.absolute_path)
    keyword = str(error.validator)
    if keyword == "required":
        for name in error.validator_value:
            if name not in error.instance:
                yield FieldProblem(f"{pointer}/{name}", "missing")
    elif keyword == "additionalProperties":
        for name in error.instance.keys() - error.schema["properties"].keys():
            yield FieldProblem(f"{pointer}/{_escape(str(name))}", "unknown_field")
    else:
        yield FieldProblem(pointer, _SCHEMA_CODES[keyword])


def _escape(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")


def _control_characters(value: object, pointer: str) -> Iterator[FieldProblem]:
    # Python's `$` also matches before a final newline, so a schema pattern alone would let one through.
    if isinstance(value, str):
        if any(ord(char) < 0x20 or ord(char) == 0x7F for char in value):
            yield FieldProblem(pointer, "control_character")
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _control_characters(item, f"{pointer}/{_escape(str(name))}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _control_characters(item, f"{pointer}/{index}")


# Rules. Each takes a value that its schema has accepted.


def _uscc_at(field: str) -> Rule:
    def rule(value: Entry) -> Iterator[FieldProblem]:
        if field in value and (reason := check_uscc(value[field])):
            yield FieldProblem(f"/{field}", f"uscc_{reason}")

    return rule


def _usccs_in(field: str) -> Rule:
    def rule(value: Entry) -> Iterator[FieldProblem]:
        for index, code in enumerate(value[field]):
            if reason := check_uscc(code):
                yield FieldProblem(f"/{field}/{index}", f"uscc_{reason}")

    return rule


def _date_at(*path: str) -> Rule:
    def rule(value: Entry) -> Iterator[FieldProblem]:
        node: Any = value
        for name in path:
            if name not in node:
                return
            node = node[name]
        if _parse_date(node) is None:
            yield FieldProblem("/" + "/".join(path), "date_unknown")

    return rule


def _parse_date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _area(value: Entry) -> Iterator[FieldProblem]:
    if not is_area(value["area"]):
        yield FieldProblem("/area", "area_unknown")


def _period(value: Entry) -> Iterator[FieldProblem]:
    first, last = (_parse_date(value["period"].get(end, "")) for end in ("from", "to"))
    if first and last and last < first:
        yield FieldProblem("/period/to", "before_start")


def _sharing(value: Entry) -> Iterator[FieldProblem]:
    """Class 2 needs its condition in words, class 3 a legal basis (national catalogue guide, 2017)."""
    if value["shareType"] == "2" and "shareCondition" not in value:
        yield FieldProblem("/shareCondition", "share_condition_required")
    if value["shareType"] == "3" and "legalBasis" not in value:
        yield FieldProblem("/legalBasis", "share_basis_required")


def _consumption(value: Entry) -> Iterator[FieldProblem]:
    if value["consumeOnce"] and "consumeDomain" not in value:
        yield FieldProblem("/consumeDomain", "missing")
    if not value["consumeOnce"] and "consumeDomain" in value:
        yield FieldProblem("/consumeDomain", "not_allowed")


def _requirements(value: Entry) -> Iterator[FieldProblem]:
    seen: set[str] = set()
    for index, requirement in enumerate(value["requirements"]):
        at = f"/requirements/{index}"
        if requirement["reqId"] in seen:
            yield FieldProblem(f"{at}/reqId", "duplicate")
        seen.add(requirement["reqId"])
        if requirement["necessity"] == "conditional" and "condition" not in requirement:
            yield FieldProblem(f"{at}/condition", "missing")
        if requirement.get("consume") and "fund" not in requirement:
            yield FieldProblem(f"{at}/fund", "missing")


def _dataset_level(value: Entry) -> Iterator[FieldProblem]:
    """A dataset is as sensitive as its most sensitive item."""
    highest = max((item["level"] for item in value["items"] if "level" in item), default="L1")
    if _LEVELS.index(value["securityLevel"]) < _LEVELS.index(highest):
        yield FieldProblem("/securityLevel", "below_items")


def _item_names(value: Entry) -> Iterator[FieldProblem]:
    seen: set[str] = set()
    for index, item in enumerate(value["items"]):
        if item["name"] in seen:
            yield FieldProblem(f"/items/{index}/name", "duplicate")
        seen.add(item["name"])


_PERIOD: Final[tuple[Rule, ...]] = (_date_at("period", "from"), _date_at("period", "to"), _period)

_RULES: Final[Mapping[str, Iterable[Rule]]] = {
    "agency": (_area,),
    "duty": (_uscc_at("agencyId"), _date_at("effectiveFrom")),
    "dataset": (_uscc_at("providerId"), _sharing, _dataset_level, _item_names, _date_at("publishedOn")),
    "system": (
        _uscc_at("ownerId"),
        _uscc_at("operatorId"),
        _date_at("goLive"),
        _date_at("cryptoReview", "date"),
    ),
    "standard": (_date_at("effectiveFrom"),),
    "scenario": (_uscc_at("owner"), *_PERIOD),
    "materialType": (_usccs_in("issuers"), _sharing, _consumption),
    "matter": (_area, _uscc_at("owner"), _usccs_in("agencies"), _requirements),
    "link": (),
    "assessment": (_uscc_at("assessor"), *_PERIOD),
}
