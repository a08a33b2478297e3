"""API keys: issuing, checking, and the dependency by which a route asks for scopes.

A key reads `dsk_<id>_<secret>`: 16 base32 characters (80 random bits) that name it, 43 base64url characters
(256 random bits) that prove it. Only HMAC-SHA-256(pepper, id ‖ secret) is stored: the secret is random, so no
slow hash is needed, and the pepper lies outside the store, so a stolen store verifies no guess.
Must not import services or routes. Spec page: docs/reference/http-conventions.md "Keys and scopes".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import unquote_to_bytes

from fastapi import Request
from fastapi.security import HTTPBearer

from node.http.errors import (
    AuthExpired,
    AuthForbidden,
    AuthInvalid,
    AuthMissing,
    PurposeMissing,
    RateLimited,
    ScopeUnknown,
)
from node.http.problems import request_id_of
from node.http.ratelimits import TokenBuckets
from node.store.rows import ApiKeyRow

SCOPES = frozenset(
    {
        "materials:read",
        "materials:write",
        "materials:erase",
        "verify",
        "reuses:write",
        "reuses:read",
        "catalog:read",
        "catalog:write",
        "catalog:approve",
        "chain:read",
        "audit:read",
        "admin",
    }
)
CACHE_SECONDS = 2.0  # the longest a revocation made by another process of this store may go unseen
_CACHE_ROWS = 4096
_KEY_TEXT = re.compile(r"dsk_([a-z2-7]{16})_([A-Za-z0-9_-]{43})")
_HASH_CONTEXT = b"deltaseal/api-key\x00"
_PURPOSE_BYTES = 512
_CASE_BYTES = 128


class ApiKeys(Protocol):
    """Where key rows are kept."""

    def find(self, key_id: str) -> ApiKeyRow | None:
        """Return the row of `key_id` as it stands now."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent this request, as far as the key says."""

    agency: str
    key_id: str
    scopes: frozenset[str]
    request_id: str


@dataclass(frozen=True, slots=True)
class Purpose:
    """Why personal data is read, and for which case; both go into the audit log."""

    purpose: str
    case_no: str


def issue_key(
    agency: str, *, scopes: Collection[str], pepper: bytes, now: int, label: str = "", expires_at: int = 0
) -> tuple[str, ApiKeyRow]:
    """Make a key for `agency`; return its text, shown once, and the row to store. Times are unix seconds.

    Raises:
        ScopeUnknown: a scope is none of `SCOPES`, or there is none at all.
    """
    _check_known(scopes)
    key_id = base64.b32encode(secrets.token_bytes(10)).decode("ascii").lower()
    secret = secrets.token_urlsafe(32)
    row = ApiKeyRow(
        key_id=key_id,
        secret_hash=hash_secret(pepper, key_id, secret),
        agency=agency,
        scopes=sorted(scopes),
        label=label,
        created_at=now,
        expires_at=expires_at,
        revoked_at=0,
    )
    return f"dsk_{key_id}_{secret}", row


def hash_secret(pepper: bytes, key_id: str, secret: str) -> bytes:
    """Return the stored form of a secret, HMAC-SHA-256 under the node's pepper."""
    return hmac.new(pepper, _HASH_CONTEXT + f"{key_id}_{secret}".encode("ascii"), hashlib.sha256).digest()


def proof_of(authorization: bytes) -> bytes:
    """Return what stands for an Authorization header in memory, so that the secret in it is not kept."""
    return hashlib.sha256(authorization).digest()


class Authenticator:
    """Checks bearer keys against the store, with a short memory that revocation clears at once."""

    def __init__(
        self,
        api_keys: ApiKeys,
        *,
        pepper: bytes,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        failures: TokenBuckets | None = None,
        requests: TokenBuckets | None = None,
    ) -> None:
        self._api_keys = api_keys
        self._pepper = pepper
        self._clock = clock
        self._timer = timer
        self._failures = failures or TokenBuckets(rate_per_s=1.0, burst=20, timer=timer)
        self._requests = requests or TokenBuckets(rate_per_s=0.0, burst=0, timer=timer)
        self._rows: dict[str, tuple[float, ApiKeyRow]] = {}
        # What was sent and proved right, by its digest: the secret itself is not kept.
        self._proved: dict[bytes, tuple[float, ApiKeyRow]] = {}
        self._lock = threading.Lock()

    def authenticate(self, authorization: str | None, *, address: str, request_id: str) -> Caller:
        """Return the caller whose key is in `authorization`, the value of that header.

        Raises:
            AuthMissing, AuthInvalid, AuthExpired: no key, not a live key, a key whose time is over.
            RateLimited: too many failures from `address`, or too many requests with this key.
        """
        try:
            row = self._check(authorization)
        except (AuthMissing, AuthInvalid, AuthExpired):
            # Taken only on failure: a valid key passes, whatever others behind the same address do.
            _take(self._failures, address, "too many failed attempts from this address")
            raise
        self._remember_proved(authorization or "", row)
        _take(self._requests, row.key_id, "this key sends more requests than its share")
        return Caller(row.agency, row.key_id, frozenset(row.scopes), request_id)

    def recognise(self, proof: bytes) -> ApiKeyRow | None:
        """Return the row of a key that `authenticate` took within `CACHE_SECONDS` in just this spelling.

        `proof` is `proof_of` the header's value. None says nothing about the key; ask `authenticate`. No share
        is taken: see `take_share`.
        """
        held = self._proved.get(proof)
        if held is None or self._timer() >= held[0]:
            return None
        row = held[1]
        return None if row.expires_at and row.expires_at <= self._clock() else row

    def take_share(self, key_id: str) -> bool:
        """Take one request of a key's share; False takes nothing."""
        return self._requests.take(key_id) <= 0

    def give_back_share(self, key_id: str) -> None:
        """Put a request back into a key's share, since it will be asked for again."""
        self._requests.give_back(key_id)

    def forget(self, key_id: str) -> None:
        """Drop what is remembered of a key; call after writing its row, and a revocation counts at once."""
        with self._lock:
            self._rows.pop(key_id, None)
            self._proved = {digest: held for digest, held in self._proved.items() if held[1].key_id != key_id}

    def _remember_proved(self, authorization: str, row: ApiKeyRow) -> None:
        digest = proof_of(authorization.encode("latin-1"))
        with self._lock:
            held = self._rows.get(row.key_id)
            if held is None or held[1] is not row:
                return  # Forgotten since: a proof of before a revocation must not outlive it.
            if len(self._proved) >= _CACHE_ROWS:
                self._proved = {}
            self._proved[digest] = held

    def _check(self, authorization: str | None) -> ApiKeyRow:
        if not authorization:
            raise AuthMissing("no API key was sent", hint="send Authorization: Bearer dsk_…")
        scheme, _, text = authorization.partition(" ")
        match = _KEY_TEXT.fullmatch(text.strip())
        if scheme.lower() != "bearer" or match is None:
            raise _invalid()
        key_id, secret = match.groups()
        row = self._row(key_id)
        stored = row.secret_hash if row is not None else b"\x00" * 32
        # Compared also for an unknown id, so that the time does not tell which ids exist.
        matches = hmac.compare_digest(hash_secret(self._pepper, key_id, secret), stored)
        if row is None or not matches or row.revoked_at:
            raise _invalid()
        if row.expires_at and row.expires_at <= self._clock():
            raise AuthExpired("the API key's time is over", hint="ask the node's operator for a new key")
        return row

    def _row(self, key_id: str) -> ApiKeyRow | None:
        now = self._timer()
        with self._lock:
            held = self._rows.get(key_id)
            if held is not None and now < held[0]:
                return held[1]
            # Read under the lock: a row read before `forget` must not be remembered after it.
            row = self._api_keys.find(key_id)
            if row is None:
                self._rows.pop(key_id, None)
                return None
            if len(self._rows) >= _CACHE_ROWS:
                self._rows.clear()
            self._rows[key_id] = (now + CACHE_SECONDS, row)
            return row


class RequiredScopes(HTTPBearer):
    """A dependency that yields the `Caller`; being a security scheme itself, it costs one resolution, not two."""

    def __init__(self, needed: frozenset[str]) -> None:
        super().__init__(
            scheme_name="apiKey", description="`dsk_<id>_<secret>`, bound to one agency", auto_error=False
        )
        self._needed = needed

    async def __call__(self, request: Request) -> Caller:  # type: ignore[override]
        """Return the caller; raises as `authenticate_request` and `check_scopes`."""
        found = authenticate_request(request)
        check_scopes(found, self._needed)
        return found


def require(*scopes: str) -> RequiredScopes:
    """Return a dependency that yields the `Caller` and refuses a key lacking any of `scopes`.

    It reads headers only, so it answers before a byte of the body is read.
    """
    needed = frozenset(scopes)
    _check_known(needed)
    return RequiredScopes(needed)


def authenticate_request(request: Request) -> Caller:
    """Return the caller of `request`; raises as `Authenticator.authenticate`."""
    values = request.headers.getlist("authorization")
    if len(values) > 1:
        raise _invalid()  # a proxy and we might read different ones
    authenticator: Authenticator = request.app.state.frame.authenticator
    found = authenticator.authenticate(
        values[0] if values else None, address=address_of(request), request_id=request_id_of(request.scope)
    )
    request.state.key_id = found.key_id  # for the access log
    return found


def check_scopes(caller: Caller, needed: Iterable[str]) -> None:
    """Refuse a caller who lacks one of `needed`.

    Raises:
        AuthForbidden: the hint names what the route asks for.
    """
    if not caller.scopes.issuperset(needed):
        missing = sorted(frozenset(needed) - caller.scopes)
        raise AuthForbidden("the API key lacks a scope", hint="needed: " + ", ".join(missing))


def address_of(request: Request) -> str:
    """Return the peer's address as the socket, or a trusted proxy, names it."""
    return request.client.host if request.client else "local"


def read_purpose(request: Request) -> Purpose:
    """Return purpose and case of a read of personal data, from Deltaseal-Purpose and Deltaseal-Case.

    Header values are percent-encoded UTF-8 (RFC 3986 §2.1), since a header field is not text.

    Raises:
        PurposeMissing: one is absent, empty, too long or not UTF-8.
    """
    purpose = _read_text(request.headers.get("deltaseal-purpose", ""), _PURPOSE_BYTES)
    case_no = _read_text(request.headers.get("deltaseal-case", ""), _CASE_BYTES)
    return Purpose(purpose, case_no)


def _read_text(value: str, limit_bytes: int) -> str:
    try:
        text = unquote_to_bytes(value).decode("utf-8").strip()
    except (UnicodeDecodeError, UnicodeEncodeError):
        text = ""
    if not text or len(text.encode("utf-8")) > limit_bytes or not text.isprintable():
        raise PurposeMissing(
            "a read of personal data needs a purpose and a case",
            hint="send Deltaseal-Purpose and Deltaseal-Case as percent-encoded UTF-8",
        )
    return text


def _check_known(scopes: Collection[str]) -> None:
    if not scopes or not SCOPES.issuperset(scopes):
        raise ScopeUnknown(
            "a scope that is asked for does not exist", hint="known: " + ", ".join(sorted(SCOPES))
        )


def _take(buckets: TokenBuckets, name: str, message: str) -> None:
    wait_s = buckets.take(name)
    if wait_s > 0:
        raise RateLimited(message, hint="wait as Retry-After says", retry_after_s=int(wait_s) + 1)


def _invalid() -> AuthInvalid:
    return AuthInvalid(
        "the API key is not valid here", hint="send Authorization: Bearer dsk_… as it was issued"
    )
