"""Verdicts: what may be said about a document from the local index, and why.

Rules (docs/reference/verdict.md):
- A verdict speaks of the document; `subject_match` says whether it is about the subject that was named.
- It is the worst of what the claim's status, the document's status, the dates and finality say.
- Whatever keeps the node from knowing the present state (a fault, no final block, an old one) makes it
  `stale`, with what it would have been in `last_known`: never `valid`, `revoked` or `unknown`.
Frozen values in, a verdict with reasons out. No logging, clock, file or chain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Final, NoReturn, TypeAlias

import msgspec

from anchor.chain.finality import FinalPoint
from anchor.commitments import Commitment
from anchor.entries import StatusFlag
from anchor.records import MaterialRecord
from anchor.tags import ZERO_TAG, Tag
from verifier.catalog import CatalogView, MaterialType
from verifier.index import ChainIndex, Claim
from verifier.keyring import KeyRing
from verifier.subjects import Subject

CHINA_SECONDS: Final = 8 * 3600  # Dates are judged by +08:00, which has no summer time.
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
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


# Structs, not dataclasses: a verdict makes several, and a frozen dataclass costs forty times as much.


class Reason(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """One check, what it found, and a plain sentence or figure without personal data."""

    code: str
    outcome: Outcome
    detail: str = ""


class Question(msgspec.Struct, frozen=True, gc=False):
    """Which document, by its SHA-256 (32 bytes) or, without one, by type and subject.

    `commitment` narrows it to one claim. `document_no` and `fund` let consumption be looked up.
    """

    sha256: bytes | None
    type_code: str | None = None
    subject: Subject | None = None
    commitment: Commitment | None = None
    document_no: str | None = None
    fund: str | None = None


class Verdict(msgspec.Struct, frozen=True, gc=False):
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


_Finding: TypeAlias = tuple[VerdictKind | None, Reason]  # What one check makes of a claim at worst, and why.

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
_CLAIM_CLEAR: Final[_Finding] = None, Reason("claim_status", Outcome.PASS)
_DOCUMENT_CLEAR: Final[_Finding] = None, Reason("document_status", Outcome.PASS)
_IN_TIME: Final[_Finding] = None, Reason("validity", Outcome.PASS)
_NOT_ISSUED_YET: Final[_Finding] = (
    None,
    Reason("validity", Outcome.WARN, "its date of issue has not come yet"),
)
_NOT_CONSUMABLE: Final[_Finding] = None, Reason("consumption", Outcome.SKIPPED)
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


class Moment:
    """What all verdicts of one moment are judged by, read once: any number of questions shares it.

    The last final block is read before any row: what comes later is never taken for final. `now` is aware; `faults`
    are codes of what keeps the node from knowing the chain's present state.
    """

    def __init__(
        self,
        *,
        index: ChainIndex,
        catalog: CatalogView,
        keys: KeyRing,
        faults: tuple[str, ...],
        now: datetime,
    ) -> None:
        self.index, self.catalog, self.keys = index, catalog, keys
        self.final = index.final_point()
        self.label = self.final.label if self.final else ""
        self.last = self.final.number if self.final else -1
        self.as_of = datetime.fromtimestamp(self.final.time, UTC) if self.final else None
        self.today = china_date(now, self.final)
        self.utc_date = now.date()
        self._faults, self._now = faults, now
        self._seconds = int(now.timestamp())
        self._stale: dict[int, tuple[Reason, ...]] = {}

    def is_of(self, seconds: int, faults: tuple[str, ...]) -> bool:
        """Return whether a moment at this Unix second with these faults would be the same one."""
        same_final = self.final is self.index.final_point()
        return same_final and seconds == self._seconds and faults == self._faults

    def judge(self, question: Question) -> Verdict:
        """Judge the document that `question` names.

        Among several claims of the same content the one about the subject comes first, then a usable one.
        """
        if question.commitment is None and question.sha256 is not None:
            tags = [one.content_tag(question.sha256) for one in self.keys.all()]
            return _Case(self, question, self.index.claims_by_content(tags)).verdict()
        return self.judge_all((question,))[0]

    def judge_all(self, questions: Sequence[Question]) -> list[Verdict]:
        """Judge the document that each question names, as `judge` does for one."""
        return [
            _Case(self, question, claims).verdict()
            for question, claims in zip(questions, self._claims_of(questions), strict=True)
        ]

    def judge_claims(self, questions: Sequence[Question]) -> list[list[Verdict]]:
        """Judge each claim that answers a question, the one that `judge` would choose first."""
        return [
            _Case(self, question, claims).verdicts()
            for question, claims in zip(questions, self._claims_of(questions), strict=True)
        ]

    def stale(self, bound_seconds: int) -> tuple[Reason, ...]:
        """Return why the present state cannot be known within a bound, or nothing if it can."""
        found = self._stale.get(bound_seconds)
        if found is None:
            found = self._stale[bound_seconds] = check_freshness(
                self.final, faults=self._faults, now=self._now, bound_seconds=bound_seconds
            )
        return found

    def _claims_of(self, questions: Sequence[Question]) -> list[list[Claim]]:
        """Read the claims that answer each question; all contents in one pass, and all subjects."""
        keys, found = self.keys.all(), _Found(len(questions))
        for number, question in enumerate(questions):
            subject = question.subject
            if question.commitment is not None:
                claim = self.index.claim(question.commitment)
                found.claims[number] = [claim] if claim is not None else []
            elif question.sha256 is not None:
                found.contents[number] = [one.content_tag(question.sha256) for one in keys]
            elif subject is not None and question.type_code is not None:
                code = question.type_code
                found.subjects[number] = [one.subject_tag(subject.id_type, subject.id, code) for one in keys]
        if found.contents:
            found.take(found.contents, self.index.claims_by_contents)
        if found.subjects:
            found.take(found.subjects, self.index.claims_by_subjects)
        return found.claims


class _Found:
    """The claims of many questions, and the tags by which they are still to be read."""

    __slots__ = ("claims", "contents", "subjects")

    def __init__(self, count: int) -> None:
        self.claims: list[list[Claim]] = [[] for _ in range(count)]
        self.contents: dict[int, list[Tag]] = {}
        self.subjects: dict[int, list[Tag]] = {}

    def take(self, tags: dict[int, list[Tag]], read: Callable[[list[list[Tag]]], list[list[Claim]]]) -> None:
        for number, claims in zip(tags, read(list(tags.values())), strict=True):
            self.claims[number] = claims


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
    seconds = max(int(now.timestamp()), final.time if final else 0)
    return date.fromordinal(_EPOCH_ORDINAL + (seconds + CHINA_SECONDS) // 86_400)


class _Assessment(msgspec.Struct, frozen=True, gc=False):
    """What is known about one claim, or about the lack of any."""

    kind: VerdictKind
    reasons: tuple[Reason, ...]
    subject_match: SubjectMatch
    claim: Claim | None

    def counted_among(self, count: int) -> _Assessment:
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


class _Case:
    """One question with the claims that answer it, judged at a moment."""

    __slots__ = ("_claims", "_material_type", "_moment", "_question", "_revocations")

    def __init__(self, moment: Moment, question: Question, claims: Sequence[Claim]) -> None:
        self._moment, self._question, self._claims = moment, question, claims
        code = question.type_code
        self._material_type = moment.catalog.material_type(code) if code is not None else None
        self._revocations = self._revocations_of(claims)

    def verdict(self) -> Verdict:
        """Judge the document: the most fitting claim counts."""
        if not self._claims:
            return self._verdict(_nothing_found(self._moment.index))
        if len(self._claims) == 1:
            return self._verdict(self._assess(self._claims[0]))
        found = [self._assess(claim) for claim in self._claims]
        return self._verdict(min(found, key=_preference).counted_among(len(found)))

    def verdicts(self) -> list[Verdict]:
        """Judge each claim, the most fitting first."""
        return [self._verdict(one) for one in sorted(map(self._assess, self._claims), key=_preference)]

    def _assess(self, claim: Claim) -> _Assessment:
        """Judge one claim; the worst kind wins, every finding stays among the reasons."""
        last = self._moment.last
        records = claim.records if max(claim.blocks) <= last else self._settled(claim, last)
        match, type_code = self._match_subject(records or claim.records)
        worst = VerdictKind.VALID if records else VerdictKind.PENDING
        reasons = [_FOUND, _MATCH_REASONS[match], _FINAL if records else _NOT_FINAL]
        # Most claims have no flag and most documents no act: a call that would say so costs as much as a row.
        flags = int(claim.status.flags)
        for kind, reason in (
            self._claim_status(claim, flags) if flags else _CLAIM_CLEAR,
            self._document_status(claim, type_code) if self._revocations else _DOCUMENT_CLEAR,
            self._validity(claim, type_code),
            self._consumption() if self._material_type is not None else _NOT_CONSUMABLE,
        ):
            reasons.append(reason)
            if kind is not None and _SEVERITY[kind] < _SEVERITY[worst]:
                worst = kind
        return _Assessment(worst, tuple(reasons), match, claim)

    def _verdict(self, found: _Assessment) -> Verdict:
        moment = self._moment
        stale = moment.stale(freshness_bound(self._material_type))
        return Verdict(
            VerdictKind.STALE if stale else found.kind,
            (stale or _FRESH) + found.reasons,
            found.subject_match,
            moment.as_of,
            not stale,
            found.kind if stale else None,
            found.claim,
            moment.label,
        )

    def _settled(self, claim: Claim, last: int) -> tuple[MaterialRecord, ...]:
        """Return the claim's records in final blocks."""
        pairs = zip(claim.records, claim.blocks, strict=True)
        return tuple(record for record, block in pairs if block <= last)

    def _match_subject(self, records: Sequence[MaterialRecord]) -> tuple[SubjectMatch, str | None]:
        """Compare the records' subject tags with the named subject; also return the type that this confirms.

        Tags are over subject and type together: without a type all approved ones are tried.
        """
        subject = self._question.subject
        if subject is None:
            return SubjectMatch.UNCHECKED, None
        tagged: dict[tuple[int, int], list[Tag]] = {}
        for record in records:
            if record.subject_tag != ZERO_TAG:
                tagged.setdefault((record.domain, record.epoch), []).append(record.subject_tag)
        compared = False
        for place, here in tagged.items():
            keys = self._moment.keys.get(*place)
            if keys is None:
                continue
            for type_code in self._candidate_types(subject):
                compared = True
                if keys.subject_tag(subject.id_type, subject.id, type_code) in here:
                    return SubjectMatch.MATCH, type_code
        return (SubjectMatch.MISMATCH if compared else SubjectMatch.UNCHECKED), None

    def _candidate_types(self, subject: Subject) -> list[str]:
        if self._question.type_code is not None:
            return [self._question.type_code]
        known = self._moment.catalog.material_types()
        return [one.code for one in known if subject.id_type in one.subject_kinds]

    def _claim_status(self, claim: Claim, flags: int) -> _Finding:
        for flag, kind in _FLAG_KINDS:
            if flags & int(flag):
                detail = f"{kind.value} by its custodian, reason {claim.status.reason}"
                return kind, Reason("claim_status", Outcome.FAIL, detail)
        return _CLAIM_CLEAR

    def _revocations_of(self, claims: Sequence[Claim]) -> dict[_FileTag, list[_Revocation]]:
        """Collect what members revoked by document number, by the file that the number was sealed with."""
        found: dict[_FileTag, list[_Revocation]] = {}
        for claim in claims:
            for record in claim.records:
                if record.doc_tag == ZERO_TAG:
                    continue
                acts = self._moment.index.document_revocations(record.domain, record.epoch, record.doc_tag)
                revokers = frozenset(member for member, status in acts if status.flags & StatusFlag.REVOKED)
                if revokers:
                    sealed = _Revocation(claim.positions[0], record.domain, revokers)
                    found.setdefault(_file_tag(record), []).append(sealed)
        return found

    def _document_status(self, claim: Claim, confirmed: str | None) -> _Finding:
        """An issuer's act reaches every agency's copy, also one that was sealed later without the number.

        Else any member could seal a revoked file again and have it valid. Claims sealed later do not count:
        else any member could have a good file revoked by sealing it with the number of a bad one. A type
        that no subject confirms may be wrong, on purpose too: then every issuer of the domain counts.
        """
        for tag in {_file_tag(record) for record in claim.records}:
            for act in self._revocations.get(tag, ()):
                if act.sealed_at <= claim.positions[0] and act.members & self._issuers(act.domain, confirmed):
                    detail = "revoked by its issuer"
                    if confirmed is None:
                        detail = "revoked by an issuer of this domain; the type is not confirmed"
                    return VerdictKind.REVOKED, Reason("document_status", Outcome.FAIL, detail)
        return _DOCUMENT_CLEAR

    def _issuers(self, domain: int, confirmed: str | None) -> frozenset[int]:
        if confirmed is not None:
            return self._moment.catalog.issuer_members(confirmed)
        given = self._question.type_code
        named = self._moment.catalog.issuer_members(given) if given is not None else frozenset()
        return named | self._moment.catalog.issuer_members_in(domain)

    def _validity(self, claim: Claim, confirmed: str | None) -> _Finding:
        today, kind, warning = self._moment.today, self._material_type, _IN_TIME
        if confirmed is not None and confirmed != self._question.type_code:
            kind = self._moment.catalog.material_type(confirmed)
        for record in claim.records:
            if record.expires_on is not None and record.expires_on <= today:
                detail = f"it no longer counts since {record.expires_on.isoformat()}"
                return VerdictKind.EXPIRED, Reason("validity", Outcome.FAIL, detail)
            if kind is not None and record.expires_on is None and _is_over_age(record.issued_on, kind, today):
                detail = "it is older than its type allows"
                return VerdictKind.EXPIRED, Reason("validity", Outcome.FAIL, detail)
            if record.issued_on is not None and record.issued_on > today:
                warning = _NOT_ISSUED_YET
        return warning

    def _consumption(self) -> _Finding:
        kind, question = self._material_type, self._question
        if kind is None or not kind.consume_once or kind.consume_domain is None:
            return _NOT_CONSUMABLE
        if question.document_no is None or question.fund is None:
            return None, Reason(
                "consumption", Outcome.SKIPPED, "no document number and fund to look it up by"
            )
        key = self._moment.keys.consume_key(kind.consume_domain)
        if key is None:
            return None, Reason("consumption", Outcome.WARN, "this node has no consume key of the domain")
        nullifier = key.nullifier(kind.code, question.document_no, question.fund)
        if self._moment.index.consumption(nullifier) is None:
            return None, Reason("consumption", Outcome.PASS)
        return VerdictKind.CONSUMED, Reason("consumption", Outcome.FAIL, "it has been used for this fund")


def _is_over_age(issued_on: date | None, kind: MaterialType, today: date) -> bool:
    """Return whether a record without an end of its own is past its type's validity."""
    if kind.validity_days is None or issued_on is None:
        return False
    return (today - issued_on).days >= kind.validity_days
