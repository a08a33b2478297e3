"""Idempotency-Key: a retried write answers as the first one did, and writes nothing again.

Life of a key: `begin` marks it as running, in memory; the use case puts `slot.finish_ops(…)` into the one
batch that holds its own rows, so the answer is stored if and only if the work is; leaving the slot clears
the mark. A crash before the batch leaves nothing, and the retry does the work; a crash after it leaves
both, and the retry is a replay. One process owns a store, so marks of a dead process are gone with its
memory. Answers are stored deflated against a dictionary of what answers look like: they are most of what a
small push writes. Must not import FastAPI, services or routes. Spec page: docs/reference/http-conventions.md
"Idempotency".
"""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType

import msgspec
from starlette.responses import Response

from anchor.keyvalue import Delete, KeyValue, Put
from node.errors import RowMalformed
from node.http.errors import IdempotencyInProgress, IdempotencyMismatch, IdempotencyMissing
from node.store.rows import IDEMPOTENCY, IdempotencyRow

LIFE_SECONDS = 72 * 3600
MAX_KEY_CHARS = 128
_SWEEP_ROWS = 1000
_KEY = re.compile(r'"([\x21\x23-\x7e]{1,128})"|([\x21\x23-\x7e]{1,128})')

# Quick rather than tight: a small window and little memory take a quarter of the default's time.
_LEVEL, _WINDOW_BITS, _MEMORY = 1, 11, 4
# What answers hold again and again. It is part of the format: a change makes stored answers unreadable.
_USUAL = (
    b'"requestId":"req_01"typeCode":"M","code":"","status":"granted","outcome":"","reasons":[{"code":"","outcome":"pass",'
    b'"detail":""}],"jobId":"job_01","reuseId":"reu_01","operation":"doc.01","links":{"self":"/v1/reuses/reu_01"}}'
    b'ETag"Content-Location/v1/materials/mat_01Location/v1/materials/mat_01'
    b'{"materialId":"mat_01","version":1,"typeCode":"M","title":"","agency":"91310000","caseNo":"","documentNo":null,'
    b'"subjects":[{"idType":"001","id":"913***********","role":"holder"}],"level":"L2","shareType":"conditional",'
    b'"sha256":"","sm3":"","size":,"mediaType":"application/pdf","mediaType":"application/octet-stream","fileName":"",'
    b'"issuedOn":"2026-","expiresOn":null,"asserted":false,"status":"active","createdAt":"2026-11-25T:00+08:00",'
    b'"anchor":{"status":"pending","transaction":null,"block":null,"recordIds":[]},"links":{"self":"/v1/materials/mat_01'
    b'","receipt":"/v1/receipts/mat_01?version=1"}}'
)

Mark = tuple[str, str, bytes]


@dataclass(frozen=True, slots=True)
class Replay:
    """The answer that the first request got."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Slot:
    """The right to do one write; a context manager, so that the mark goes whatever happens."""

    def __init__(self, gate: IdempotencyGate, mark: Mark, request_digest: bytes) -> None:
        self._gate = gate
        self._mark = mark
        self._request_digest = request_digest

    def finish_ops(self, status: int, headers: Mapping[str, str], body: bytes) -> list[Put]:
        """Return the rows that store this answer; they MUST go into the batch that holds the work itself."""
        agency, route, key_digest = self._mark
        row = IdempotencyRow(
            agency=agency,
            route=route,
            key_digest=key_digest,
            request_digest=self._request_digest,
            status=status,
            answer=pack_answer(headers, body),
            created_at=int(self._gate.clock()),
        )
        return [IDEMPOTENCY.put(row)]

    def release(self) -> None:
        """Clear the mark: after the batch is written, or because there will be none."""
        self._gate.release(self._mark)

    def __enter__(self) -> Slot:
        """Hold the mark."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Clear the mark."""
        self.release()


class IdempotencyGate:
    """Says of each write: is it the first, still running, done, or another request under the same key?"""

    def __init__(
        self,
        kv: KeyValue,
        *,
        secret: bytes,
        clock: Callable[[], float] = time.time,
        horizon: Callable[[], float] | None = None,
    ) -> None:
        """`clock` dates answers; `horizon` says when they are old, and may lag: a clock can be set forward."""
        self._kv = kv
        self._horizon = horizon or clock
        self._secret = secret
        self.clock = clock
        self._running: dict[Mark, bytes] = {}
        self._started: dict[Mark, float] = {}
        self._lock = threading.Lock()

    def begin(self, agency: str, route: str, *, key: str, request_digest: bytes) -> Replay | Slot:
        """Return the slot for a first request, the stored answer for a repeated one; keys are per agency
        and route.

        Raises:
            IdempotencyInProgress: the first request is still running.
            IdempotencyMismatch: the key was used for a request with another digest.
        """
        mark = (agency, route, self._digest_key(key))
        with self._lock:
            # Row and mark under one lock: the mark goes only after the row is there, so one of them is seen.
            row = self._row(mark)
            first_digest = row.request_digest if row is not None else self._running.get(mark)
            if first_digest is None:
                self._running[mark] = request_digest
                self._started[mark] = time.monotonic()
                return Slot(self, mark, request_digest)
        if not hmac.compare_digest(first_digest, request_digest):
            raise IdempotencyMismatch(
                "this Idempotency-Key was used for another request", hint="use a new key for a new request"
            )
        if row is None:
            raise IdempotencyInProgress(
                "the request with this Idempotency-Key is still running",
                hint="repeat it shortly, with the same key",
            )
        headers, body = unpack_answer(row.answer)
        return Replay(row.status, headers, body)

    def release(self, mark: Mark) -> None:
        """Clear a mark; used by its slot."""
        with self._lock:
            self._running.pop(mark, None)
            self._started.pop(mark, None)

    def oldest_running_s(self) -> float:
        """Return for how many seconds the oldest request under way has been running, 0 when none is."""
        with self._lock:
            now = time.monotonic()
            return now - min(self._started.values(), default=now)

    def sweep(self, *, limit: int = _SWEEP_ROWS) -> int:
        """Delete at most `limit` answers that are older than 72 hours; return how many."""
        cutoff = int(self._horizon()) - LIFE_SECONDS
        due: list[Delete] = []
        for row in IDEMPOTENCY.scan(self._kv):
            if row.created_at < cutoff:
                due.append(IDEMPOTENCY.delete(row.agency, row.route, row.key_digest))
            if len(due) >= limit:
                break
        if due:
            # Lost by a power cut, they are swept again.
            self._kv.write(due, sync=False)
        return len(due)

    def _row(self, mark: Mark) -> IdempotencyRow | None:
        row = IDEMPOTENCY.get(self._kv, *mark)
        if row is None or row.created_at < int(self._horizon()) - LIFE_SECONDS:
            return None
        return row

    def _digest_key(self, key: str) -> bytes:
        # Keyed: callers make keys of case numbers, and rows' keys are not encrypted.
        return hmac.new(
            self._secret, b"deltaseal/idempotency\x00" + key.encode("utf-8"), hashlib.sha256
        ).digest()


def pack_answer(headers: Mapping[str, str], body: bytes) -> bytes:
    """Return what is stored of an answer."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -_WINDOW_BITS, _MEMORY, zdict=_USUAL)
    return packer.compress(msgspec.msgpack.encode((dict(headers), body))) + packer.flush()


def unpack_answer(packed: bytes) -> tuple[dict[str, str], bytes]:
    """Return headers and body of a stored answer. Raises RowMalformed."""
    try:
        opener = zlib.decompressobj(-_WINDOW_BITS, zdict=_USUAL)
        return msgspec.msgpack.decode(opener.decompress(packed), type=tuple[dict[str, str], bytes])
    except (zlib.error, msgspec.MsgspecError, ValueError):
        raise RowMalformed("a stored answer cannot be read", row=IDEMPOTENCY.name) from None


def read_idempotency_key(header: str | None) -> str:
    """Return the key in an Idempotency-Key header: 1 to 128 printable ASCII characters, quoted or not.

    Raises:
        IdempotencyMissing: there is none, or it is not of that form.
    """
    match = _KEY.fullmatch(header.strip()) if header else None
    if match is None:
        raise IdempotencyMissing(
            "a write needs an Idempotency-Key",
            hint='send Idempotency-Key: "<1 to 128 printable ASCII characters>"',
        )
    return match.group(1) or match.group(2)


def digest_request(method: str, target: str, payload: bytes) -> bytes:
    """Return SHA-256 over method, target (path and query) and payload, which is `meta` for an upload.

    `meta` holds the file's own SHA-256, which is checked before anything is stored.
    """
    hasher = hashlib.sha256()
    for part in (method.encode("utf-8"), target.encode("utf-8"), payload):
        hasher.update(len(part).to_bytes(8, "big"))
        hasher.update(part)
    return hasher.digest()


def replay_response(replay: Replay) -> Response:
    """Answer as the first request was answered, marked `Idempotency-Replayed: true`."""
    headers = {**replay.headers, "Idempotency-Replayed": "true"}
    return Response(replay.body, replay.status, headers, "application/json")
