"""Verdicts: every kind is reached, the worst wins, and no fault ever looks like knowledge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from anchor.entries import StatusFlag
from anchor.records import Flag
from anchor.tags import derive_consume_key
from tests.unit.chain_factory import (
    CITY,
    CITY_2,
    FIRM,
    HEALTH,
    OTHER_FIRM,
    SHA,
    T0,
    Chain,
    agency_value,
    commitment,
    document_revoked,
    entry_key,
    index_of,
    make_final,
    material,
    published,
    ring,
    status,
    type_value,
)
from verifier import events
from verifier.catalog import CatalogView
from verifier.index import ChainIndex
from verifier.subjects import Subject
from verifier.verdicts import (
    CLOCK_LAG_SECONDS,
    DEFAULT_FRESHNESS_SECONDS,
    Moment,
    Outcome,
    Question,
    SubjectMatch,
    Verdict,
    VerdictKind,
)

ISSUER, ISSUER_MEMBER, OTHER_ISSUER = "11310000FAKE000212", 2, "11310000FAKE0003XR"
CONSUME = derive_consume_key(1, b"s" * 32)
CONTENT_KNOWN = {VerdictKind.VALID, VerdictKind.REVOKED, VerdictKind.UNKNOWN}


@dataclass
class Case:
    """A chain with a catalogue, and how to ask about it."""

    chain: Chain
    index: ChainIndex | None = None
    faults: tuple[str, ...] = ()

    def __init__(self, *made: events.Event) -> None:
        self.chain = Chain()
        self.chain.add(
            published("agency", ISSUER, agency_value(ISSUER_MEMBER), log_index=0),
            published("agency", OTHER_ISSUER, agency_value(5), log_index=1),
            published("materialType", "M1002", type_value(), log_index=2),
            published(
                "materialType",
                "M5002",
                type_value(issuers=[OTHER_ISSUER], consumeOnce=True, consumeDomain=1, freshnessSeconds=60),
                log_index=3,
            ),
            published("materialType", "M3001", type_value(issuers=[], validityDays=30), log_index=4),
        )
        if made:
            self.chain.add(*made)

    def append(self, *records: bytes, member_id: int = 3) -> Case:
        self.chain.append(member_id, *records)
        return self

    def add(self, *made: events.Event) -> Case:
        self.chain.add(*made)
        return self

    def build(self, *, final: bool = True, keys: tuple[Any, ...] = (CITY,)) -> ChainIndex:
        if self.index is None:
            self.index = index_of(self.chain, *keys, final=final)
        return self.index

    def now(self, seconds: float = 10) -> datetime:
        return datetime.fromtimestamp(self.chain.head.time + seconds, UTC)

    def ask(
        self,
        question: Question | None = None,
        *,
        now: datetime | None = None,
        faults: tuple[str, ...] = (),
        keys: tuple[Any, ...] = (CITY,),
    ) -> Verdict:
        index = self.build()
        held = ring(*keys)
        held.add(CONSUME)
        moment = Moment(
            index=index, catalog=CatalogView(index), keys=held, faults=faults, now=now or self.now()
        )
        return moment.judge(question or Question(SHA, "M1002", FIRM))


def reason_of(verdict: Verdict, code: str) -> Outcome:
    return next(reason.outcome for reason in verdict.reasons if reason.code == code)


def flagged(flag: StatusFlag) -> Case:
    return Case().append(material("m")).add(status(3, "m", flag))


def valid() -> Case:
    return Case().append(material("m"))


def suspended() -> Case:
    return flagged(StatusFlag.SUSPENDED)


def revoked() -> Case:
    return flagged(StatusFlag.REVOKED)


def superseded() -> Case:
    return flagged(StatusFlag.SUPERSEDED)


def erased() -> Case:
    return flagged(StatusFlag.ERASED)


def expired() -> Case:
    return Case().append(material("m", expires_on=date(2026, 1, 1)))


def consumed() -> Case:
    case = Case().append(material("m", type_code="M5002"))
    return case.add(events.Consumed(CONSUME.nullifier("M5002", "No 1", "F1"), 4, b"u" * 32))


def pending() -> Case:
    case = Case()
    index = case.build()
    case.append(material("m"))
    index.apply(case.chain.head)
    return case


def unknown() -> Case:
    return Case()


INVOICE = Question(SHA, "M5002", FIRM, document_no="No 1", fund="F1")
KINDS: dict[VerdictKind, tuple[Callable[[], Case], Question | None]] = {
    VerdictKind.VALID: (valid, None),
    VerdictKind.SUSPENDED: (suspended, None),
    VerdictKind.REVOKED: (revoked, None),
    VerdictKind.SUPERSEDED: (superseded, None),
    VerdictKind.EXPIRED: (expired, None),
    VerdictKind.ERASED: (erased, None),
    VerdictKind.CONSUMED: (consumed, INVOICE),
    VerdictKind.PENDING: (pending, None),
    VerdictKind.UNKNOWN: (unknown, None),
}


def test_every_kind_has_a_case() -> None:
    assert KINDS.keys() == set(VerdictKind) - {VerdictKind.STALE}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_said_while_the_state_is_known(kind: VerdictKind) -> None:
    make, question = KINDS[kind]
    verdict = make().ask(question)
    assert (verdict.kind, verdict.fresh, verdict.last_known) == (kind, True, None)
    assert verdict.finality == "operator" and verdict.as_of is not None


# A fault is never a verdict

FAULTS = (
    "chain_unavailable",
    "chain_answer_malformed",
    "chain_mismatch",
    "chain_regressed",
    "chain_stalled",
    "index_behind",
    "index_corrupt",
    "index_foreign",
    "logs_missing",
    "logs_invalid",
    "starting",
    "internal",
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_gives_a_verdict(kind: VerdictKind, fault: str) -> None:
    make, question = KINDS[kind]
    verdict = make().ask(question, faults=(fault,))
    assert (verdict.kind, verdict.fresh, verdict.last_known) == (VerdictKind.STALE, False, kind)
    assert verdict.kind not in CONTENT_KNOWN
    assert reason_of(verdict, fault) is Outcome.FAIL


@pytest.mark.parametrize("kind", KINDS)
def test_old_final_block_gives_no_verdict(kind: VerdictKind) -> None:
    make, question = KINDS[kind]
    case = make()
    case.build()
    bound = 60 if kind is VerdictKind.CONSUMED else 3600
    base = case.chain.head.time - (1 if kind is VerdictKind.PENDING else 0)
    late = datetime.fromtimestamp(base + bound + 1, UTC)
    assert case.ask(question, now=late - timedelta(seconds=1)).kind is kind
    verdict = case.ask(question, now=late)
    assert (verdict.kind, verdict.last_known) == (VerdictKind.STALE, kind)
    assert reason_of(verdict, "final_block_old") is Outcome.FAIL


@pytest.mark.parametrize("make", [make for make, _ in KINDS.values()])
def test_without_a_final_block_there_is_no_verdict(make: Callable[[], Case]) -> None:
    case = make()
    case.index = index_of(case.chain, CITY, final=False)
    verdict = case.ask()
    assert (verdict.kind, verdict.as_of, verdict.finality) == (VerdictKind.STALE, None, "")
    assert reason_of(verdict, "no_final_block") is Outcome.FAIL


@pytest.mark.parametrize("kind", KINDS)
def test_clock_far_behind_the_chain_gives_no_verdict(kind: VerdictKind) -> None:
    make, question = KINDS[kind]
    case = make()
    assert case.ask(question, now=case.now(-CLOCK_LAG_SECONDS + 60)).fresh
    verdict = case.ask(question, now=case.now(-CLOCK_LAG_SECONDS - 60))
    assert verdict.kind is VerdictKind.STALE
    assert reason_of(verdict, "clock_behind_chain") is Outcome.FAIL


def test_freshness_bound_is_the_types_and_an_hour_without_one() -> None:
    case = valid()
    late = case.now(61)
    assert case.ask(Question(SHA, "M5002"), now=late).kind is VerdictKind.STALE
    assert case.ask(Question(SHA), now=late).kind is VerdictKind.VALID
    assert (
        case.ask(Question(SHA, "M9999"), now=case.now(DEFAULT_FRESHNESS_SECONDS + 1)).kind
        is VerdictKind.STALE
    )


def test_verdict_has_no_truth_value() -> None:
    with pytest.raises(TypeError):
        bool(valid().ask())


# The worst wins

ORDER = (
    StatusFlag.REVOKED,
    StatusFlag.ERASED,
    StatusFlag.SUPERSEDED,
    StatusFlag.SUSPENDED,
)


@pytest.mark.parametrize("worse", range(len(ORDER)))
def test_worst_flag_names_the_verdict(worse: int) -> None:
    together = StatusFlag(0)
    for flag in ORDER[worse:]:
        together |= flag
    assert flagged(together).ask().kind.value == ORDER[worse].name.lower()  # type: ignore[union-attr]


def test_revoked_is_worse_than_expired_and_not_final() -> None:
    case = Case().append(material("m", expires_on=date(2026, 1, 1))).add(status(3, "m", StatusFlag.REVOKED))
    assert case.ask().kind is VerdictKind.REVOKED
    case = pending()
    case.index.apply(case.add(status(3, "m", StatusFlag.REVOKED)).chain.head)  # type: ignore[union-attr]
    assert case.ask().kind is VerdictKind.REVOKED


def test_revocation_that_is_not_final_counts_at_once() -> None:
    case = valid()
    case.build().apply(case.add(status(3, "m", StatusFlag.REVOKED)).chain.head)
    assert case.ask().kind is VerdictKind.REVOKED


def test_another_members_status_act_does_not_count() -> None:
    assert (
        Case().append(material("m")).add(status(4, "m", StatusFlag.REVOKED)).ask().kind is VerdictKind.VALID
    )


# Dates


@pytest.mark.parametrize(
    ("clock", "expected"),
    [("2026-10-01T15:59:59+00:00", VerdictKind.VALID), ("2026-10-01T16:00:00+00:00", VerdictKind.EXPIRED)],
)
def test_first_day_of_expiry_begins_at_midnight_in_china(clock: str, expected: VerdictKind) -> None:
    now = datetime.fromisoformat(clock)
    case = Case()
    case.chain.add(seconds=int(now.timestamp()) - case.chain.head.time - 30)
    case.append(material("m", expires_on=date(2026, 10, 2)))
    assert case.ask(now=now).kind is expected


def test_slow_clock_does_not_make_an_expired_document_valid() -> None:
    case = Case().append(material("m", expires_on=date(2026, 9, 22)))
    case.chain.add(seconds=7000)  # Ten minutes into the 22nd at +08:00; the clock still shows the 21st.
    assert case.ask(now=case.now(-3000)).kind is VerdictKind.EXPIRED


@pytest.mark.parametrize(
    ("days", "expected"), [(29, VerdictKind.VALID), (30, VerdictKind.EXPIRED), (-1, VerdictKind.VALID)]
)
def test_types_validity_runs_from_the_date_of_issue(days: int, expected: VerdictKind) -> None:
    today = datetime.fromtimestamp(T0, UTC).date()
    issued = today - timedelta(days=days)
    case = Case().append(material("m", type_code="M3001", issued_on=issued))
    verdict = case.ask(Question(SHA, "M3001", FIRM))
    assert verdict.kind is expected
    assert reason_of(verdict, "validity") is (
        Outcome.WARN if days < 0 else Outcome.PASS if expected is VerdictKind.VALID else Outcome.FAIL
    )


def test_documents_own_end_goes_before_its_types_validity() -> None:
    record = material("m", type_code="M3001", issued_on=date(2026, 1, 1), expires_on=date(2030, 1, 1))
    assert Case().append(record).ask(Question(SHA, "M3001", FIRM)).kind is VerdictKind.VALID


# Issuers

REVOKERS = [(ISSUER_MEMBER, VerdictKind.REVOKED), (5, VerdictKind.VALID), (3, VerdictKind.VALID)]


@pytest.mark.parametrize(("member_id", "expected"), REVOKERS)
def test_only_an_issuer_of_the_type_revokes_a_document(member_id: int, expected: VerdictKind) -> None:
    case = Case().append(material("m", document_no="No 1")).add(document_revoked(member_id, "No 1"))
    assert case.ask().kind is expected


def test_issuers_act_reaches_every_agencys_copy() -> None:
    case = Case()
    case.append(material("a", document_no="No 1", sha256=b"1" * 32), member_id=3)
    case.append(material("b", document_no="No 1", sha256=b"2" * 32), member_id=4)
    case.append(material("c", document_no="No 2", sha256=b"3" * 32), member_id=4)
    case.add(document_revoked(ISSUER_MEMBER, "No 1"))
    kinds = [case.ask(Question(digit * 32, "M1002", FIRM)).kind.value for digit in (b"1", b"2", b"3")]
    assert kinds == ["revoked", "revoked", "valid"]


@pytest.mark.parametrize(
    "question", [Question(SHA), Question(SHA, "M5002"), Question(SHA, "M9999", OTHER_FIRM)]
)
def test_wrong_or_missing_type_does_not_hide_a_revocation(question: Question) -> None:
    case = Case().append(material("m", document_no="No 1")).add(document_revoked(ISSUER_MEMBER, "No 1"))
    assert case.ask(question).kind is VerdictKind.REVOKED


def test_issuer_of_the_named_type_counts_though_the_type_left_the_domain() -> None:
    agency = "11310000FAKE00048R"
    case = Case(
        published("agency", agency, agency_value(7)),
        published("materialType", "M2001", type_value(issuers=[agency], domains=[2])),
    )
    case.append(material("m", type_code="M2001", document_no="No 1"))
    case.add(document_revoked(7, "No 1", type_code="M2001"))
    assert case.ask(Question(SHA, "M2001")).kind is VerdictKind.REVOKED
    assert case.ask(Question(SHA)).kind is VerdictKind.VALID


@pytest.mark.parametrize(
    "question", [Question(SHA, "M1002", FIRM), Question(None, "M1002", FIRM), Question(SHA)]
)
def test_revoked_file_that_is_sealed_again_stays_revoked(question: Question) -> None:
    case = Case().append(material("first", document_no="No 1")).add(document_revoked(ISSUER_MEMBER, "No 1"))
    case.append(material("again"), member_id=4)
    assert case.ask(question).kind is VerdictKind.REVOKED


def test_good_file_is_not_revoked_by_sealing_it_with_the_number_of_a_bad_one() -> None:
    case = Case().append(material("good")).add(document_revoked(ISSUER_MEMBER, "No 1"))
    case.append(material("trick", document_no="No 1"), member_id=4)
    verdict = case.ask()
    assert verdict.claim is not None
    assert (verdict.kind, verdict.claim.commitment) == (VerdictKind.VALID, commitment("good"))


def test_revocation_does_not_spread_to_other_files_of_the_subject() -> None:
    case = Case().append(material("bad", document_no="No 1")).add(document_revoked(ISSUER_MEMBER, "No 1"))
    case.append(material("good", sha256=b"2" * 32))
    assert case.ask(Question(None, "M1002", FIRM)).kind is VerdictKind.VALID


def test_revocation_outlives_the_issuers_entry() -> None:
    case = Case().append(material("m", document_no="No 1")).add(document_revoked(ISSUER_MEMBER, "No 1"))
    case.add(events.EntryStateChanged(entry_key("agency", ISSUER), 1, 3))
    case.add(events.EntryStateChanged(entry_key("materialType", "M1002"), 1, 3))
    assert case.ask().kind is VerdictKind.REVOKED


def test_unapproved_agency_is_no_issuer() -> None:
    case = Case().append(material("m", document_no="No 1")).add(document_revoked(6, "No 1"))
    case.add(published("agency", "11310000FAKE00048R", agency_value(6), state=1))
    case.add(
        published("materialType", "M1002", type_value(issuers=[ISSUER, "11310000FAKE00048R"]), version=2)
    )
    assert case.ask().kind is VerdictKind.VALID


# Subjects


@pytest.mark.parametrize(
    ("subject", "expected"),
    [(FIRM, SubjectMatch.MATCH), (OTHER_FIRM, SubjectMatch.MISMATCH), (None, SubjectMatch.UNCHECKED)],
)
@pytest.mark.parametrize("type_code", ["M1002", None])
def test_match_is_about_the_subject_and_the_verdict_about_the_document(
    subject: Subject | None, expected: SubjectMatch, type_code: str | None
) -> None:
    verdict = valid().ask(Question(SHA, type_code, subject))
    assert (verdict.kind, verdict.subject_match) == (VerdictKind.VALID, expected)


def test_record_without_subject_tag_is_unchecked() -> None:
    verdict = Case().append(material("m", subject=None)).ask()
    assert (verdict.kind, verdict.subject_match) == (VerdictKind.VALID, SubjectMatch.UNCHECKED)


def test_material_about_two_subjects_matches_either() -> None:
    case = Case().append(material("m"), material("m", subject=OTHER_FIRM, line=1))
    for subject in (FIRM, OTHER_FIRM):
        assert case.ask(Question(SHA, "M1002", subject)).subject_match is SubjectMatch.MATCH
    third = Subject("001", "12310118FAKE00136D")
    assert case.ask(Question(SHA, "M1002", third)).subject_match is SubjectMatch.MISMATCH


def test_wrong_type_is_a_mismatch() -> None:
    assert valid().ask(Question(SHA, "M3001", FIRM)).subject_match is SubjectMatch.MISMATCH


def test_match_that_is_not_final_is_pending() -> None:
    case = Case().append(material("m", subject=OTHER_FIRM))
    index = case.build()
    case.append(material("m", line=1))
    index.apply(case.chain.head)
    assert case.ask().subject_match is SubjectMatch.MISMATCH


# Several claims


def test_claim_about_the_subject_comes_first_then_a_usable_one() -> None:
    case = Case().append(material("other", subject=OTHER_FIRM))
    case.append(material("gone")).add(status(3, "gone", StatusFlag.REVOKED))
    case.append(material("good"))
    verdict = case.ask()
    assert verdict.claim is not None and verdict.claim.commitment == commitment("good")
    assert (verdict.kind, reason_of(verdict, "claims")) == (VerdictKind.VALID, Outcome.WARN)
    verdict = case.ask(Question(SHA, "M1002", OTHER_FIRM))
    assert verdict.claim is not None and verdict.claim.commitment == commitment("other")


def test_claim_of_another_person_does_not_mend_a_revoked_one() -> None:
    case = Case().append(material("other", subject=OTHER_FIRM))
    case.append(material("mine")).add(status(3, "mine", StatusFlag.REVOKED))
    assert case.ask().kind is VerdictKind.REVOKED


def test_commitment_narrows_the_question_to_one_claim() -> None:
    case = Case().append(material("a"), material("b")).add(status(3, "a", StatusFlag.REVOKED))
    assert case.ask(Question(SHA, "M1002", FIRM, commitment=commitment("a"))).kind is VerdictKind.REVOKED
    assert case.ask(Question(SHA, commitment=commitment("none"))).kind is VerdictKind.UNKNOWN


def test_subject_and_type_without_a_file_find_all_claims() -> None:
    case = Case().append(material("a"), material("b", sha256=b"2" * 32), material("c", subject=OTHER_FIRM))
    case.add(status(3, "a", StatusFlag.REVOKED))
    index = case.build()
    moment = Moment(index=index, catalog=CatalogView(index), keys=ring(CITY), faults=(), now=case.now())
    (found,) = moment.judge_claims([Question(None, "M1002", FIRM)])
    assert [one.kind.value for one in found] == ["valid", "revoked"]
    assert case.ask(Question(None, "M1002", FIRM)).kind is VerdictKind.VALID
    assert case.ask(Question(None, None, FIRM)).kind is VerdictKind.UNKNOWN


# Keys


def test_record_of_an_old_epoch_is_as_good_as_one_of_the_newest() -> None:
    case = Case().append(material("m"))
    case.build(keys=(CITY, CITY_2))
    assert case.ask(keys=(CITY_2, CITY)).kind is VerdictKind.VALID


def test_unknown_says_when_records_could_not_be_read() -> None:
    case = Case().append(material("m", keys=HEALTH))
    verdict = case.ask()
    assert verdict.kind is VerdictKind.UNKNOWN
    assert reason_of(verdict, "opaque_records") is Outcome.WARN


def test_copied_commitment_is_never_valid() -> None:
    case = Case().append(material("m"), member_id=3).append(material("m", sha256=b"2" * 32), member_id=4)
    assert case.ask(Question(b"2" * 32)).kind is VerdictKind.UNKNOWN


# Consumption


def test_consumption_is_looked_up_by_document_and_fund() -> None:
    case = consumed()
    assert case.ask(INVOICE).kind is VerdictKind.CONSUMED
    for other in (
        Question(SHA, "M5002", FIRM, document_no="No 1", fund="F2"),
        Question(SHA, "M5002", FIRM, document_no="No 2", fund="F1"),
    ):
        assert case.ask(other).kind is VerdictKind.VALID
    verdict = case.ask(Question(SHA, "M5002", FIRM))
    assert reason_of(verdict, "consumption") is Outcome.SKIPPED


def test_missing_consume_key_is_said() -> None:
    case = consumed()
    index = case.build()
    moment = Moment(index=index, catalog=CatalogView(index), keys=ring(CITY), faults=(), now=case.now())
    verdict = moment.judge(INVOICE)
    assert reason_of(verdict, "consumption") is Outcome.WARN


def test_cleared_consumption_counts_no_more() -> None:
    case = consumed().add(events.ConsumptionCleared(CONSUME.nullifier("M5002", "No 1", "F1")))
    assert case.ask(INVOICE).kind is VerdictKind.VALID


def test_no_reason_holds_an_id_or_a_tag() -> None:
    for make, question in KINDS.values():
        verdict = make().ask(question)
        text = repr([(reason.code, reason.detail) for reason in verdict.reasons])
        for secret in (FIRM.id, SHA.hex(), CITY.content_tag(SHA).hex(), "No 1"):
            assert secret not in text


def test_asserted_material_has_a_verdict_of_its_own_status() -> None:
    assert Case().append(material("m", flags=Flag.ASSERTED)).ask().kind is VerdictKind.VALID


def test_final_point_moves_the_pending_to_valid() -> None:
    case = pending()
    assert case.ask().kind is VerdictKind.PENDING
    make_final(case.build(), case.chain)
    assert case.ask().kind is VerdictKind.VALID


def test_a_moment_ends_with_its_second_a_fault_or_a_new_final_block() -> None:
    case = valid()
    index = case.build()
    now = case.now()
    moment = Moment(index=index, catalog=CatalogView(index), keys=ring(CITY), faults=(), now=now)
    seconds = int(now.timestamp())
    assert moment.is_of(seconds, ())
    assert not moment.is_of(seconds + 1, ())
    assert not moment.is_of(seconds, ("chain_regressed",))
    index.apply(case.chain.add())
    assert moment.is_of(seconds, ())
    make_final(index, case.chain)
    assert not moment.is_of(seconds, ())
