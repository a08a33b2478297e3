"""The catalogue: kinds, entries as canonical text, and the four kinds that drive decisions as typed values.

An entry's text on chain is RFC 8785 bytes of its normalised value (docs/reference/catalog-entry.md). Any
member may publish any bytes, so a reader checks again: what breaks the rules counts as not there.
Must not import chain or HTTP; reads an index through `CatalogView`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from anchor.canonical import canonical_bytes, parse_strict_json
from anchor.errors import ValueNotCanonical
from verifier.entryrules import Entry, check_code, check_rules, check_structure
from verifier.errors import CatalogEntryInvalid, FieldProblem

if TYPE_CHECKING:
    from verifier.index import ChainIndex
    from verifier.rows import EntryVersion

# Numbers as in contracts/Catalog.sol; names as in URLs and import files.
KIND_NUMBERS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "agency": 1,
        "duty": 2,
        "dataset": 3,
        "system": 4,
        "standard": 5,
        "scenario": 6,
        "materialType": 7,
        "matter": 8,
        "link": 9,
        "assessment": 10,
    }
)
KIND_NAMES: Final[Mapping[int, str]] = MappingProxyType(
    {number: name for name, number in KIND_NUMBERS.items()}
)
REVIEWED_KINDS: Final = frozenset({"agency", "scenario", "materialType", "matter"})
MAX_TEXT_BYTES: Final = 65_536
_CACHE_LIMIT: Final = 100_000
_ABSENT: Final[Any] = object()

T = TypeVar("T")


def entry_key(kind: str, code: str) -> bytes:
    """Return the contract's key of an entry: SHA-256(kind 1 ‖ code), docs/reference/contracts.md "Catalog"."""
    return hashlib.sha256(bytes([KIND_NUMBERS[kind]]) + code.encode()).digest()


def validate_entry(kind: str, code: str, value: object) -> Entry:
    """Check an entry from outside and return it in its one spelling (sharing classes as text).

    Raises:
        CatalogEntryInvalid: `problems` holds every pointer and code; structure first, then the rules.
    """
    if kind not in KIND_NUMBERS:
        raise CatalogEntryInvalid("unknown", [FieldProblem("", "kind_unknown")])
    normal = _normalise(value)
    _raise_if(kind, [*check_code(kind, code), *check_structure(kind, normal), *_check_encoding(normal)])
    entry: Entry = normal  # type: ignore[assignment]  # The schema accepts objects only.
    _raise_if(kind, check_rules(kind, entry))
    return entry


def render_entry(kind: str, code: str, value: object) -> bytes:
    """Return the text of an entry as it goes on chain: RFC 8785 bytes of the validated value.

    Raises:
        CatalogEntryInvalid: as `validate_entry`.
    """
    return canonical_bytes(validate_entry(kind, code, value))


def parse_entry(kind: str, code: str, text: bytes) -> Entry:
    """Read an entry's text from the chain; it must be the one canonical text of a valid entry.

    Raises:
        CatalogEntryInvalid: no strict JSON, not canonical, or as `validate_entry`.
    """
    try:
        value = parse_strict_json(text, max_bytes=MAX_TEXT_BYTES)
    except ValueNotCanonical:
        raise CatalogEntryInvalid(kind, [FieldProblem("", "not_canonical")]) from None
    if render_entry(kind, code, value) != text:
        raise CatalogEntryInvalid(kind, [FieldProblem("", "not_canonical")])
    return value  # type: ignore[return-value]  # Validated as an object just above.


def _normalise(value: object) -> object:
    """Write sharing classes as text: forms and spreadsheets send 1, 2, 3 as numbers."""
    if not isinstance(value, Mapping):
        return value
    normal = dict(value)
    for name in ("shareType", "openType"):
        if isinstance(normal.get(name), int):
            normal[name] = str(normal[name])
    return normal


def _check_encoding(value: object) -> list[FieldProblem]:
    try:
        size_bytes = len(canonical_bytes(value))  # type: ignore[arg-type]  # It refuses what it cannot encode.
    except ValueNotCanonical:
        return [FieldProblem("", "not_canonical")]
    return [FieldProblem("", "too_large")] if size_bytes > MAX_TEXT_BYTES else []


def _raise_if(kind: str, problems: Sequence[FieldProblem]) -> None:
    if problems:
        raise CatalogEntryInvalid(kind, problems)


# Typed entries. Field meanings: docs/reference/catalog-entry.md.


@dataclass(frozen=True, slots=True)
class Names:
    """A display name in both languages."""

    zh: str
    en: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Agency:
    """An organ. `code` is its USCC, `member_id` the member whose node serves it."""

    code: str
    version: int
    name: Names
    area: str
    level: str
    member_id: int
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MaterialType:
    """A kind of material. `share_type` is "1", "2" or "3"; `level` "L1" to "L4"; `issuers` are USCCs."""

    code: str
    version: int
    name: Names
    kind: str
    subject_kinds: frozenset[str]
    level: str
    share_type: str
    issuers: frozenset[str]
    domains: tuple[int, ...]
    indexed: bool
    freshness_seconds: int
    validity_days: int | None
    retention: str
    consume_once: bool
    consume_domain: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """What a matter asks for: any one of `any_of`, by the first route that works."""

    req_id: str
    name: Names
    any_of: tuple[str, ...]
    necessity: str
    copies: int
    exemption_routes: tuple[str, ...]
    freshness_days: int | None
    consume: bool
    fund: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Matter:
    """A service item. `owner` and `agencies` (USCCs) may ask for its materials."""

    code: str
    version: int
    name: Names
    area: str
    owner: str
    agencies: frozenset[str]
    requirements: tuple[Requirement, ...]

    def requirement(self, req_id: str) -> Requirement | None:
        """Return the requirement with this id, or None."""
        return next((one for one in self.requirements if one.req_id == req_id), None)

    def asks_for(self, req_id: str, type_code: str) -> bool:
        """Return whether this requirement accepts a material of this type."""
        requirement = self.requirement(req_id)
        return requirement is not None and type_code in requirement.any_of

    def may_ask(self, agency: str) -> bool:
        """Return whether the matter is among the agency's (USCC) duties."""
        return agency == self.owner or agency in self.agencies


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A declared use. It is live on the days from `first_day` to `last_day` (None: open), both included."""

    code: str
    version: int
    title: Names
    owner: str
    status: str
    matters: frozenset[str]
    material_types: frozenset[str]
    first_day: date
    last_day: date | None

    def is_live(self, day: date) -> bool:
        """Return whether the use is declared live and `day` (+08:00) lies in its time."""
        in_time = self.first_day <= day and (self.last_day is None or day <= self.last_day)
        return self.status == "live" and in_time

    def covers(self, matter_code: str, type_code: str, day: date) -> bool:
        """Return whether the scenario is live on `day` and names both the matter and the type."""
        return self.is_live(day) and matter_code in self.matters and type_code in self.material_types


class CatalogView:
    """The approved catalogue as typed values, parsed once per change of the index's catalogue.

    Safe for many reading threads: a change replaces the cache as a whole.
    """

    def __init__(self, index: ChainIndex) -> None:
        self._index = index
        self._generation = -1
        self._cache: dict[tuple[str, str], Any] = {}

    def material_type(self, code: str) -> MaterialType | None:
        """Return the approved material type, or None."""
        if self._index.catalog_generation == self._generation:  # Each verdict asks: as `_derived`, shorter.
            held: MaterialType | None = self._cache.get(("materialType", code), _ABSENT)
            if held is not _ABSENT:
                return held
        found: MaterialType | None = self._current("materialType", code)
        return found

    def matter(self, code: str) -> Matter | None:
        """Return the approved matter, or None."""
        found: Matter | None = self._current("matter", code)
        return found

    def scenario(self, code: str) -> Scenario | None:
        """Return the approved scenario, or None."""
        found: Scenario | None = self._current("scenario", code)
        return found

    def agency(self, uscc: str) -> Agency | None:
        """Return the approved agency, or None."""
        found: Agency | None = self._current("agency", uscc)
        return found

    def material_types(self) -> tuple[MaterialType, ...]:
        """Return all approved material types, by code."""
        return self._derived("material_types", "", lambda: tuple(self._all_types(lasting=False)))

    def issuer_members(self, type_code: str) -> frozenset[int]:
        """Return the members that host an issuer of the type.

        Retired entries count here: what an issuer revoked stays revoked when its entry or the type goes.
        """
        return self._derived("issuers", type_code, lambda: self._issuers_of(type_code))

    def hosts_of_issuers(self, type_code: str) -> frozenset[int]:
        """Return the members that host a present issuer of the approved type."""
        return self._derived("hosts", type_code, lambda: self._present_hosts(type_code))

    def issuer_members_in(self, domain: int) -> frozenset[int]:
        """Return the members that host an issuer of any type with records in `domain`; retired ones count."""
        return self._derived("domain_issuers", str(domain), lambda: self._issuers_in(domain))

    def _issuers_of(self, type_code: str) -> frozenset[int]:
        material_type: MaterialType | None = self._lasting("materialType", type_code)
        return self._hosts(material_type.issuers) if material_type else frozenset()

    def _issuers_in(self, domain: int) -> frozenset[int]:
        types = [one for one in self._all_types(lasting=True) if domain in one.domains]
        return self._hosts(frozenset().union(*(one.issuers for one in types)))

    def _present_hosts(self, type_code: str) -> frozenset[int]:
        material_type = self.material_type(type_code)
        agencies = [self.agency(uscc) for uscc in material_type.issuers] if material_type else []
        return frozenset(agency.member_id for agency in agencies if agency is not None)

    def _hosts(self, issuers: frozenset[str]) -> frozenset[int]:
        agencies = (self._lasting("agency", uscc) for uscc in issuers)
        return frozenset(agency.member_id for agency in agencies if agency is not None)

    def _all_types(self, *, lasting: bool) -> list[MaterialType]:
        look_up = self._lasting if lasting else self._current
        found = [look_up("materialType", code) for code in self._index.entry_codes("materialType")]
        return [one for one in found if one is not None]

    def _current(self, kind: str, code: str) -> Any:
        return self._derived(kind, code, lambda: _read(self._index.entry(kind, code)))

    def _lasting(self, kind: str, code: str) -> Any:
        return self._derived(f"lasting {kind}", code, lambda: _read(self._index.last_approved(kind, code)))

    def _derived(self, name: str, code: str, make: Callable[[], T]) -> T:
        generation = self._index.catalog_generation
        if generation != self._generation:
            # The cache goes first: a thread between the two lines then fills the new one.
            self._cache, self._generation = {}, generation
        cache = self._cache
        found: T = cache.get((name, code), _ABSENT)
        if found is _ABSENT:
            # Absent codes are remembered too; asking for ever new ones must not fill the memory.
            if len(cache) >= _CACHE_LIMIT:
                cache.clear()
            found = cache[name, code] = make()
        return found


def _read(entry: EntryVersion | None) -> Any:
    if entry is None:
        return None
    try:
        value = parse_entry(entry.kind, entry.code, entry.text)
    except CatalogEntryInvalid:
        return None
    return _READERS[entry.kind](entry, value)


def _read_names(value: Mapping[str, str]) -> Names:
    return Names(value["zh"], value["en"])


def _read_agency(entry: EntryVersion, value: Entry) -> Agency:
    return Agency(
        code=entry.code,
        version=entry.version,
        name=_read_names(value["name"]),
        area=value["area"],
        level=value["level"],
        member_id=value["memberId"],
        role=value["role"],
    )


def _read_material_type(entry: EntryVersion, value: Entry) -> MaterialType:
    return MaterialType(
        code=entry.code,
        version=entry.version,
        name=_read_names(value["name"]),
        kind=value["kind"],
        subject_kinds=frozenset(value["subjectKinds"]),
        level=value["level"],
        share_type=value["shareType"],
        issuers=frozenset(value["issuers"]),
        domains=tuple(value["domains"]),
        indexed=value["indexed"],
        freshness_seconds=value["freshnessSeconds"],
        validity_days=value.get("validityDays"),
        retention=value["retention"],
        consume_once=value["consumeOnce"],
        consume_domain=value.get("consumeDomain"),
    )


def _read_requirement(value: Entry) -> Requirement:
    return Requirement(
        req_id=value["reqId"],
        name=_read_names(value["name"]),
        any_of=tuple(value["anyOf"]),
        necessity=value["necessity"],
        copies=value["copies"],
        exemption_routes=tuple(value["exemptionRoutes"]),
        freshness_days=value.get("freshnessDays"),
        consume=value.get("consume", False),
        fund=value.get("fund"),
    )


def _read_matter(entry: EntryVersion, value: Entry) -> Matter:
    return Matter(
        code=entry.code,
        version=entry.version,
        name=_read_names(value["name"]),
        area=value["area"],
        owner=value["owner"],
        agencies=frozenset(value["agencies"]),
        requirements=tuple(_read_requirement(one) for one in value["requirements"]),
    )


def _read_scenario(entry: EntryVersion, value: Entry) -> Scenario:
    last_day = value["period"].get("to")
    return Scenario(
        code=entry.code,
        version=entry.version,
        title=_read_names(value["title"]),
        owner=value["owner"],
        status=value["status"],
        matters=frozenset(value["matters"]),
        material_types=frozenset(value["materialTypes"]),
        first_day=date.fromisoformat(value["period"]["from"]),
        last_day=date.fromisoformat(last_day) if last_day else None,
    )


_READERS: Final[Mapping[str, Callable[[EntryVersion, Entry], Any]]] = {
    "agency": _read_agency,
    "materialType": _read_material_type,
    "matter": _read_matter,
    "scenario": _read_scenario,
}
