"""Verdicts: what may be said about a document from the local index, and why.

Rules (docs/reference/verdict.md):
- A verdict speaks of the document; `subject_match` says whether it is about the subject that was named.
- It is the worst of what the claim's status, the document's status, the dates and finality say.
- Whatever keeps the node from knowing the present state (a fault, no final block, an old one) makes it
  `stale`, with what it would have been in `last_known`: never `valid`, `revoked` or `unknown`.
Frozen values in, a verdict with reasons out. No logging, clock, file or chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from enum import StrEnum
from typing import Final, NoReturn, TypeAlias

from anchor.chain.finality import FinalPoint
from anchor.commitments import Commitment
from anchor.entries import StatusFlag
from anchor.records import MaterialRecord
from anchor.tags import ZERO_TAG, DomainKeys, Tag
from verifier.catalog import CatalogView, MaterialType
from verifier.index import ChainIndex, Claim
from verifier.keyring import KeyRing
from verifier.subjects import Subject

CHINA: Final = timezone(timedelta(hours=8))
DEFAULT_FRESHNESS_SECONDS: Final = 3600
# Chain time may run ahead under load (a second a block); a clock that lags more cannot tell what is fresh.
CLOCK_LAG_SECONDS: Final = 3600


class VerdictKind(StrEnum):
    """What is said about a document."""

    VALID = "valid"
    SUSPENDED = "suspended"
    REVOKED = "revoked"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    ERASED = "erased"
    CONSUMED = "consumed"
    PENDING = "pending"
    UNKNOWN = "unknown"
    STALE = "stale"


class Outcome(StrEnum):
    """What one check found. `skipped`: it does not apply or an earlier one failed."""

    PASS = "pass"  # noqa: S105 - an outcome, not a password
    FAIL = "fail"
    WARN = "warn"
    SKIPPED = "skipped"


class SubjectMatch(StrEnum):
    """Whether the document is about the named subject; `unchecked` never feeds a decision."""

    MATCH = "match"
    MISMATCH = "mismatch"
    UNCHECKED = "unchecked"


@dataclass(frozen=True, slots=True)
class Reason:
    """One check, what it found, and a plain sentence or figure without personal data."""

    code: str
    outcome: Outcome
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """Which document, by its SHA-256 (32 bytes) or, without one, by type and subject.

    `commitment` narrows it to one claim. `document_no` and `fund` let consumption be looked up.
    """

    sha256: bytes | None
    type_code: str | None = None
    subject: Subject | None = None
    commitment: Commitment | None = None
    document_no: str | None = None
    fund: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """An answer with its reasons. `as_of` is the time of the last final block (UTC), `finality` its label.

    `last_known` is set when `kind` is `stale` only. Compare `kind`; a verdict has no truth value.
    """

    kind: VerdictKind
    reasons: tuple[Reason, ...]
    subject_match: SubjectMatch
    as_of: datetime | None
    fresh: bool
    last_known: VerdictKind | None
    claim: Claim | None
    finality: str

    def __bool__(self) -> NoReturn:
        """Refuse: `if verdict:` would take a revoked document for a good one."""
        raise TypeError("a verdict is not true or false; compare its kind")


# From the worst on. A claim that is revoked and erased is `revoked`: that is what a reader must know first.
_WORST_FIRST: Final = (
    VerdictKind.REVOKED,
    VerdictKind.ERASED,
    VerdictKind.SUPERSEDED,
    VerdictKind.SUSPENDED,
    VerdictKind.CONSUMED,
    VerdictKind.EXPIRED,
    VerdictKind.PENDING,
    VerdictKind.VALID,
)
_SEVERITY: Final = {kind: rank for rank, kind in enumerate(_WORST_FIRST)}
_MATCH_RANK: Final = {SubjectMatch.MATCH: 0, SubjectMatch.UNCHECKED: 1, SubjectMatch.MISMATCH: 2}
# Reasons that carry no figure are made once: verdicts are asked for by the thousand.
_FRESH: Final = (Reason("freshness", Outcome.PASS),)
_FOUND: Final = Reason("found", Outcome.PASS)
_FINAL: Final = Reason("final", Outcome.PASS)
_NOT_FINAL: Final = Reason("final", Outcome.WARN, "its block is not final yet")
_CLAIM_CLEAR: Final = Reason("claim_status", Outcome.PASS)
_DOCUMENT_CLEAR: Final = Reason("document_status", Outcome.PASS)
_IN_TIME: Final = Reason("validity", Outcome.PASS)
_NOT_CONSUMABLE: Final = Reason("consumption", Outcome.SKIPPED)
_MATCH_REASONS: Final = {
    SubjectMatch.MATCH: Reason("subject", Outcome.PASS),
    SubjectMatch.MISMATCH: Reason("subject", Outcome.FAIL, "the document is not about this subject"),
    SubjectMatch.UNCHECKED: Reason("subject", Outcome.SKIPPED),
}
_FLAG_KINDS: Final = (
    (StatusFlag.REVOKED, VerdictKind.REVOKED),
    (StatusFlag.ERASED, VerdictKind.ERASED),
    (StatusFlag.SUPERSEDED, VerdictKind.SUPERSEDED),
    (StatusFlag.SUSPENDED, VerdictKind.SUSPENDED),
)


def judge(
    question: Question,
    *,
    index: ChainIndex,
    catalog: CatalogView,
    keys: KeyRing,
    faults: tuple[str, ...],
    now: datetime,
) -> Verdict:
    """Judge the document that `question` names, at `now` (aware).

    `faults` are codes of what keeps the node from knowing the chain's present state.

    Among several claims of the same content the one about the subject comes first, then a usable one.
    """
    context = _Context(question, index, catalog, keys, now)
    stale = check_freshness(
        context.final, faults=faults, now=now, bound_seconds=freshness_bound(context.material_type)
    )
    found = context.assess_all()
    if not found:
        return context.verdict(_nothing_found(index), stale)
    best = min(found, key=_preference)
    return context.verdict(best.counted_among(len(found)), stale)


def judge_claims(
    question: Question,
    *,
    index: ChainIndex,
    catalog: CatalogView,
    keys: KeyRing,
    faults: tuple[str, ...],
    now: datetime,
) -> list[Verdict]:
    """Judge each claim that answers `question`, the one that `judge` would choose first."""
    context = _Context(question, index, catalog, keys, now)
    stale = check_freshness(
        context.final, faults=faults, now=now, bound_seconds=freshness_bound(context.material_type)
    )
    found = sorted(context.assess_all(), key=_preference)
    return [context.verdict(one, stale) for one in found]


def check_freshness(
    final: FinalPoint | None, *, faults: Iterable[str], now: datetime, bound_seconds: int
) -> tuple[Reason, ...]:
    """Return why the present state cannot be known, or nothing if it can."""
    found = [Reason(fault, Outcome.FAIL, "the chain's present state cannot be known") for fault in faults]
    if final is None:
        return (*found, Reason("no_final_block", Outcome.FAIL, "no final block is indexed yet"))
    age = int(now.timestamp()) - final.time
    if age > bound_seconds:
        detail = f"the last final block is {age} s old; the bound is {bound_seconds} s"
        found.append(Reason("final_block_old", Outcome.FAIL, detail))
    if age < -CLOCK_LAG_SECONDS:
        found.append(Reason("clock_behind_chain", Outcome.FAIL, f"the clock is {-age} s behind the chain"))
    return tuple(found)


def china_date(now: datetime, final: FinalPoint | None) -> date:
    """Return the day by which dates are judged: +08:00, the later of clock and chain, as either may lag."""
    seconds = max(now.timestamp(), final.time if final else 0)
    return datetime.fromtimestamp(seconds, CHINA).date()


@dataclass(frozen=True, slots=True)
class _Assessment:
    """What is known about one claim, or about the lack of any."""

    kind: VerdictKind
    reasons: tuple[Reason, ...]
    subject_match: SubjectMatch
    claim: Claim | None

    def counted_among(self, count: int) -> _Assessment:
        if count == 1:
            return self
        several = Reason(
            "claims", Outcome.WARN, f"{count} claims name this document; the most fitting one counts"
        )
        return _Assessment(self.kind, (several, *self.reasons), self.subject_match, self.claim)


def _preference(one: _Assessment) -> tuple[int, int, tuple[int, int]]:
    position = one.claim.positions[0] if one.claim else (0, 0)
    return _MATCH_RANK[one.subject_match], -_SEVERITY[one.kind], position


def freshness_bound(material_type: MaterialType | None) -> int:
    """Return how old, in seconds, the last final block may be for a type; an hour if it is not known."""
    return material_type.freshness_seconds if material_type else DEFAULT_FRESHNESS_SECONDS


def _nothing_found(index: ChainIndex) -> _Assessment:
    reasons = [Reason("found", Outcome.FAIL, "no record of this document can be found")]
    opaque = index.opaque()
    if opaque:
        count = sum(opaque.values())
        detail = f"{count} records of {len(opaque)} domain epochs cannot be read here for want of keys"
        reasons.append(Reason("opaque_records", Outcome.WARN, detail))
    return _Assessment(VerdictKind.UNKNOWN, tuple(reasons), SubjectMatch.UNCHECKED, None)


_FileTag: TypeAlias = tuple[int, int, Tag]  # Domain, epoch, content tag.


@dataclass(frozen=True, slots=True)
class _Revocation:
    """Who revoked a document number, in which domain, and where the claim that ties it to a file stands."""

    sealed_at: tuple[int, int]
    domain: int
    members: frozenset[int]


def _file_tag(record: MaterialRecord) -> _FileTag:
    return record.domain, record.epoch, record.content_tag


@dataclass(slots=True)
class _Context:
    """One question with what it is judged by, read once."""

    question: Question
    index: ChainIndex
    catalog: CatalogView
    keys: KeyRing
    now: datetime
    final: FinalPoint | None = None
    material_type: MaterialType | None = None
    revocations: dict[_FileTag, list[_Revocation]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.final = self.index.final_point()
        if self.question.type_code is not None:
            self.material_type = self.catalog.material_type(self.question.type_code)

    def claims(self) -> list[Claim]:
        question = self.question
        if question.commitment is not None:
            claim = self.index.claim(question.commitment)
            return [claim] if claim is not None else []
        if question.sha256 is not None:
            digest = question.sha256
            return self.index.claims_by_content([keys.content_tag(digest) for keys in self.keys.all()])
        if question.subject is not None and question.type_code is not None:
            return self.index.claims_by_subject(self._subject_tags(self.keys.all(), question.type_code))
        return []

    def assess_all(self) -> list[_Assessment]:
        """Judge each claim that answers the question."""
        claims = self.claims()
        self.revocations = self._revocations(claims)
        return [self.assess(claim) for claim in claims]

    def assess(self, claim: Claim) -> _Assessment:
        """Judge one claim; the worst kind wins, every finding stays among the reasons."""
        records = self._settled(claim)
        match, type_code = self._match_subject(records or claim.records)
        kinds = [VerdictKind.VALID if records else VerdictKind.PENDING]
        reasons = [_FOUND, _MATCH_REASONS[match], _FINAL if records else _NOT_FINAL]
        checks = (
            self._claim_status(claim),
            self._document_status(claim, type_code),
            self._validity(claim, type_code),
            self._consumption(),
        )
        for kind, reason in checks:
            reasons.append(reason)
            if kind is not None:
                kinds.append(kind)
        worst = min(kinds, key=_SEVERITY.__getitem__)
        return _Assessment(worst, tuple(reasons), match, claim)

    def verdict(self, found: _Assessment, stale: tuple[Reason, ...]) -> Verdict:
        final = self.final
        return Verdict(
            kind=VerdictKind.STALE if stale else found.kind,
            reasons=(*(stale or _FRESH), *found.reasons),
            subject_match=found.subject_match,
            as_of=datetime.fromtimestamp(final.time, UTC) if final else None,
            fresh=not stale,
            last_known=found.kind if stale else None,
            claim=found.claim,
            finality=final.label if final else "",
        )

    def _settled(self, claim: Claim) -> tuple[MaterialRecord, ...]:
        """Return the claim's records in final blocks."""
        last = self.final.number if self.final else -1
        pairs = zip(claim.records, claim.blocks, strict=True)
        return tuple(record for record, block in pairs if block <= last)

    def _subject_tags(self, keys: Sequence[DomainKeys], type_code: str) -> list[Tag]:
        subject = self.question.subject
        if subject is None:
            return []
        return [one.subject_tag(subject.id_type, subject.id, type_code) for one in keys]

    def _match_subject(self, records: Sequence[MaterialRecord]) -> tuple[SubjectMatch, str | None]:
        """Compare the records' subject tags with the named subject; also return the type that this confirms.

        Tags are over subject and type together: without a type all approved ones are tried.
        """
        subject = self.question.subject
        tagged = [record for record in records if record.subject_tag != ZERO_TAG]
        if subject is None or not tagged:
            return SubjectMatch.UNCHECKED, None
        compared = False
        for keys in {(r.domain, r.epoch): self.keys.get(r.domain, r.epoch) for r in tagged}.values():
            if keys is None:
                continue
            here = {r.subject_tag for r in tagged if (r.domain, r.epoch) == (keys.domain, keys.epoch)}
            for type_code in self._candidate_types(subject):
                compared = True
                if keys.subject_tag(subject.id_type, subject.id, type_code) in here:
                    return SubjectMatch.MATCH, type_code
        return (SubjectMatch.MISMATCH if compared else SubjectMatch.UNCHECKED), None

    def _candidate_types(self, subject: Subject) -> list[str]:
        if self.question.type_code is not None:
            return [self.question.type_code]
        return [one.code for one in self.catalog.material_types() if subject.id_type in one.subject_kinds]

    def _claim_status(self, claim: Claim) -> tuple[VerdictKind | None, Reason]:
        # Plain integers: an enum's `&` costs as much as a row of the index, and most claims have no flag.
        flags = int(claim.status.flags)
        for flag, kind in _FLAG_KINDS if flags else ():
            if flags & int(flag):
                detail = f"{kind.value} by its custodian, reason {claim.status.reason}"
                return kind, Reason("claim_status", Outcome.FAIL, detail)
        return None, _CLAIM_CLEAR

    def _revocations(self, claims: Sequence[Claim]) -> dict[_FileTag, list[_Revocation]]:
        """Collect what members revoked by document number, by the file that the number was sealed with."""
        found: dict[_FileTag, list[_Revocation]] = {}
        for claim in claims:
            for record in claim.records:
                if record.doc_tag == ZERO_TAG:
                    continue
                acts = self.index.document_revocations(record.domain, record.epoch, record.doc_tag)
                revokers = frozenset(member for member, status in acts if status.flags & StatusFlag.REVOKED)
                if revokers:
                    sealed = _Revocation(claim.positions[0], record.domain, revokers)
                    found.setdefault(_file_tag(record), []).append(sealed)
        return found

    def _document_status(self, claim: Claim, confirmed: str | None) -> tuple[VerdictKind | None, Reason]:
        """An issuer's act reaches every agency's copy, also one that was sealed later without the number.

        Else any member could seal a revoked file again and have it valid. Claims sealed later do not count:
        else any member could have a good file revoked by sealing it with the number of a bad one. A type
        that no subject confirms may be wrong, on purpose too: then every issuer of the domain counts.
        """
        for tag in {_file_tag(record) for record in claim.records} if self.revocations else ():
            for act in self.revocations.get(tag, ()):
                if act.sealed_at <= claim.positions[0] and act.members & self._issuers(act.domain, confirmed):
                    detail = "revoked by its issuer"
                    if confirmed is None:
                        detail = "revoked by an issuer of this domain; the type is not confirmed"
                    return VerdictKind.REVOKED, Reason("document_status", Outcome.FAIL, detail)
        return None, _DOCUMENT_CLEAR

    def _issuers(self, domain: int, confirmed: str | None) -> frozenset[int]:
        if confirmed is not None:
            return self.catalog.issuer_members(confirmed)
        given = self.question.type_code
        named = self.catalog.issuer_members(given) if given is not None else frozenset()
        return named | self.catalog.issuer_members_in(domain)

    def _validity(self, claim: Claim, confirmed: str | None) -> tuple[VerdictKind | None, Reason]:
        today = china_date(self.now, self.final)
        kind = self.catalog.material_type(confirmed) if confirmed is not None else self.material_type
        for record in claim.records:
            if record.expires_on is not None and record.expires_on <= today:
                detail = f"it no longer counts since {record.expires_on.isoformat()}"
                return VerdictKind.EXPIRED, Reason("validity", Outcome.FAIL, detail)
            if is_over_age(record, kind, today):
                detail = "it is older than its type allows"
                return VerdictKind.EXPIRED, Reason("validity", Outcome.FAIL, detail)
        if any(record.issued_on is not None and record.issued_on > today for record in claim.records):
            return None, Reason("validity", Outcome.WARN, "its date of issue has not come yet")
        return None, _IN_TIME

    def _consumption(self) -> tuple[VerdictKind | None, Reason]:
        kind, question = self.material_type, self.question
        if kind is None or not kind.consume_once or kind.consume_domain is None:
            return None, _NOT_CONSUMABLE
        if question.document_no is None or question.fund is None:
            return None, Reason(
                "consumption", Outcome.SKIPPED, "no document number and fund to look it up by"
            )
        key = self.keys.consume_key(kind.consume_domain)
        if key is None:
            return None, Reason("consumption", Outcome.WARN, "this node has no consume key of the domain")
        if self.index.consumption(key.nullifier(kind.code, question.document_no, question.fund)) is None:
            return None, Reason("consumption", Outcome.PASS)
        return VerdictKind.CONSUMED, Reason("consumption", Outcome.FAIL, "it has been used for this fund")


def is_over_age(record: MaterialRecord, kind: MaterialType | None, today: date) -> bool:
    """Return whether a record without an end of its own is past its type's validity."""
    if (
        kind is None
        or kind.validity_days is None
        or record.issued_on is None
        or record.expires_on is not None
    ):
        return False
    return (today - record.issued_on).days >= kind.validity_days
