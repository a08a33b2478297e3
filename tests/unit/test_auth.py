"""API keys: what is stored, what is refused, and when a revocation counts."""

import base64
import re

import msgspec
import pytest

from node.http.auth import (
    CACHE_SECONDS,
    SCOPES,
    Authenticator,
    check_scopes,
    hash_secret,
    issue_key,
    proof_of,
    require,
)
from node.http.errors import AuthExpired, AuthForbidden, AuthInvalid, AuthMissing, RateLimited, ScopeUnknown
from node.http.ratelimits import TokenBuckets
from node.store.rows import ApiKeyRow

AGENCY = "11310104MB2D01234K"
PEPPER = b"p" * 32
NOW = 1_800_000_000


class Table:
    """Rows in memory, and how often they were read."""

    def __init__(self, *rows: ApiKeyRow) -> None:
        self.rows = {row.key_id: row for row in rows}
        self.reads = 0

    def find(self, key_id: str) -> ApiKeyRow | None:
        self.reads += 1
        return self.rows.get(key_id)


class Timer:
    """A clock that a test moves."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def make(expires_at: int = 0, **buckets: TokenBuckets) -> tuple[str, Table, Authenticator, Timer, Timer]:
    text, row = issue_key(AGENCY, scopes=["verify"], pepper=PEPPER, now=NOW, expires_at=expires_at)
    table, clock, timer = Table(row), Timer(NOW), Timer(0)
    return text, table, Authenticator(table, pepper=PEPPER, clock=clock, timer=timer, **buckets), clock, timer


def check(authenticator: Authenticator, text: str | None) -> str:
    header = None if text is None else f"Bearer {text}"
    return authenticator.authenticate(header, address="192.0.2.1", request_id="req_1").agency


def test_a_key_has_the_documented_form_and_its_secret_is_not_stored() -> None:
    text, row = issue_key(AGENCY, scopes=["verify", "audit:read"], pepper=PEPPER, now=NOW)
    found = re.fullmatch(r"dsk_([a-z2-7]{16})_([A-Za-z0-9_-]{43})", text)
    assert found is not None
    assert len(base64.urlsafe_b64decode(found.group(2) + "=")) == 32
    assert row.key_id == found.group(1)
    assert row.scopes == ["audit:read", "verify"]
    assert found.group(2) not in repr(row)
    assert row.secret_hash == hash_secret(PEPPER, *found.groups())


def test_two_keys_share_nothing() -> None:
    first, second = (issue_key(AGENCY, scopes=["verify"], pepper=PEPPER, now=NOW)[0].split("_") for _ in "12")
    assert first[1] != second[1]
    assert first[2] != second[2]


@pytest.mark.parametrize("scopes", [[], ["everything"], ["verify", "VERIFY"]])
def test_a_key_with_an_unknown_scope_is_not_made(scopes: list[str]) -> None:
    with pytest.raises(ScopeUnknown):
        issue_key(AGENCY, scopes=scopes, pepper=PEPPER, now=NOW)
    with pytest.raises(ScopeUnknown):
        require(*scopes)


def test_a_right_key_names_its_agency_and_scopes() -> None:
    text, _, authenticator, _, _ = make()
    caller = authenticator.authenticate(f"bearer {text}", address="192.0.2.1", request_id="req_1")
    assert (caller.agency, caller.scopes, caller.request_id) == (AGENCY, frozenset({"verify"}), "req_1")


def test_a_missing_header_is_told_apart_from_a_wrong_one() -> None:
    _, _, authenticator, _, _ = make()
    for header in (None, ""):
        with pytest.raises(AuthMissing):
            authenticator.authenticate(header, address="192.0.2.1", request_id="")


@pytest.mark.parametrize(
    "alter",
    [
        lambda text: text[:-1] + ("A" if text[-1] != "A" else "B"),
        lambda text: text[:-1],
        lambda text: text + "A",
        lambda text: "dsk_" + "a" * 16 + text[20:],
        lambda text: text.upper(),
        lambda text: text.replace("dsk_", "dsk-"),
        lambda text: "dsk_" + text.split("_")[1],
        lambda text: "Basic " + text,
    ],
    ids=[
        "one character",
        "shorter",
        "longer",
        "other id",
        "upper case",
        "other prefix",
        "no secret",
        "basic",
    ],
)
def test_an_altered_key_is_refused(alter: object) -> None:
    text, _, authenticator, _, _ = make()
    with pytest.raises(AuthInvalid):
        check(authenticator, alter(text))  # type: ignore[operator]
    assert check(authenticator, text) == AGENCY


def test_another_nodes_pepper_makes_the_key_worthless() -> None:
    text, table, _, _, _ = make()
    with pytest.raises(AuthInvalid):
        check(Authenticator(table, pepper=b"q" * 32), text)


def test_an_expired_key_is_refused_from_that_second_on() -> None:
    text, _, authenticator, clock, _ = make(expires_at=NOW + 10)
    clock.now = NOW + 9
    check(authenticator, text)
    clock.now = NOW + 10
    with pytest.raises(AuthExpired):
        check(authenticator, text)


def test_expiry_is_told_only_to_who_knows_the_secret() -> None:
    text, _, authenticator, clock, _ = make(expires_at=NOW + 10)
    clock.now = NOW + 20
    with pytest.raises(AuthInvalid):
        check(authenticator, text[:-2] + "AA")


def test_a_revoked_key_is_refused_at_once_when_forgotten() -> None:
    text, table, authenticator, _, _ = make()
    check(authenticator, text)
    key_id = text.split("_")[1]
    table.rows[key_id] = msgspec.structs.replace(table.rows[key_id], revoked_at=NOW)
    authenticator.forget(key_id)
    with pytest.raises(AuthInvalid):
        check(authenticator, text)


def test_a_revocation_by_another_way_counts_after_two_seconds() -> None:
    text, table, authenticator, _, timer = make()
    check(authenticator, text)
    key_id = text.split("_")[1]
    table.rows[key_id] = msgspec.structs.replace(table.rows[key_id], revoked_at=NOW)
    timer.now = CACHE_SECONDS
    with pytest.raises(AuthInvalid):
        check(authenticator, text)
    assert CACHE_SECONDS <= 2


def test_a_row_is_read_once_in_its_two_seconds() -> None:
    text, table, authenticator, _, _ = make()
    for _ in range(5):
        check(authenticator, text)
    assert table.reads == 1


def test_failures_are_limited_by_address_and_a_right_key_still_passes() -> None:
    timer = Timer(0)
    text, _, authenticator, _, _ = make(failures=TokenBuckets(rate_per_s=1, burst=3, timer=timer))
    for _ in range(3):
        with pytest.raises(AuthInvalid):
            check(authenticator, "dsk_wrong")
    with pytest.raises(RateLimited) as caught:
        check(authenticator, "dsk_wrong")
    assert caught.value.retry_after_s is not None
    assert caught.value.retry_after_s >= 1
    assert check(authenticator, text) == AGENCY
    with pytest.raises(AuthInvalid):
        authenticator.authenticate("Bearer x", address="192.0.2.2", request_id="")


def test_one_key_cannot_take_more_than_its_share() -> None:
    timer = Timer(0)
    text, _, authenticator, _, _ = make(requests=TokenBuckets(rate_per_s=1, burst=2, timer=timer))
    check(authenticator, text)
    check(authenticator, text)
    with pytest.raises(RateLimited):
        check(authenticator, text)
    timer.now = 1
    check(authenticator, text)


def test_a_caller_needs_every_scope_that_is_asked_for() -> None:
    text, _, authenticator, _, _ = make()
    caller = authenticator.authenticate(f"Bearer {text}", address="192.0.2.1", request_id="")
    check_scopes(caller, {"verify"})
    for needed in ({"audit:read"}, {"verify", "admin"}):
        with pytest.raises(AuthForbidden):
            check_scopes(caller, needed)


def test_admin_does_not_stand_for_other_scopes() -> None:
    text, row = issue_key(AGENCY, scopes=["admin"], pepper=PEPPER, now=NOW)
    caller = Authenticator(Table(row), pepper=PEPPER).authenticate(
        f"Bearer {text}", address="192.0.2.1", request_id=""
    )
    for scope in SCOPES - {"admin"}:
        with pytest.raises(AuthForbidden):
            check_scopes(caller, {scope})


def header(text: str) -> bytes:
    return f"Bearer {text}".encode()


def proof(text: str) -> bytes:
    return proof_of(header(text))


def test_a_key_is_recognised_after_it_was_proved_and_in_that_spelling_only() -> None:
    text, _, authenticator, _, _ = make()
    assert authenticator.recognise(proof(text)) is None
    check(authenticator, text)
    row = authenticator.recognise(proof(text))
    assert row is not None and row.key_id == text.split("_")[1]
    for other in (header(text[:-1]), header(text) + b" ", header(text).lower(), b""):
        assert authenticator.recognise(proof_of(other)) is None


def test_a_secret_is_not_kept_to_recognise_it() -> None:
    text, _, authenticator, _, _ = make()
    check(authenticator, text)
    assert text.split("_", 2)[2] not in repr(vars(authenticator))


def test_a_forgotten_key_is_not_recognised() -> None:
    text, _, authenticator, _, _ = make()
    check(authenticator, text)
    authenticator.forget(text.split("_")[1])
    assert authenticator.recognise(proof(text)) is None


def test_a_proof_of_before_a_revocation_does_not_outlive_it() -> None:
    text, table, authenticator, _, _ = make()
    row = authenticator._check(f"Bearer {text}")
    table.rows[row.key_id] = msgspec.structs.replace(row, revoked_at=NOW)
    authenticator.forget(row.key_id)
    authenticator._remember_proved(f"Bearer {text}", row)
    assert authenticator.recognise(proof(text)) is None


def test_a_key_is_recognised_for_two_seconds_and_until_it_expires() -> None:
    text, _, authenticator, clock, timer = make(expires_at=NOW + 10)
    check(authenticator, text)
    clock.now = NOW + 10
    assert authenticator.recognise(proof(text)) is None
    clock.now, timer.now = NOW, CACHE_SECONDS - 0.001
    assert authenticator.recognise(proof(text)) is not None
    timer.now = CACHE_SECONDS
    assert authenticator.recognise(proof(text)) is None


def test_a_share_that_was_given_back_can_be_taken_again() -> None:
    timer = Timer(0)
    text, _, authenticator, _, _ = make(requests=TokenBuckets(rate_per_s=1, burst=1, timer=timer))
    key_id = text.split("_")[1]
    assert authenticator.take_share(key_id)
    assert not authenticator.take_share(key_id)
    authenticator.give_back_share(key_id)
    check(authenticator, text)
