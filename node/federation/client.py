"""Ask a custodian for a document: signed request out, sealed stream in, everything checked before it counts.

The answer is believed only after all of: the custodian's signature over this very request, the opened fields
leading to the commitment that the chain holds, and the received bytes having the opened digest and size. While
one thread seals and stores, this one receives, opens and digests what comes next.
Spec page: docs/reference/release.md, "Verifying".
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import msgspec

from anchor.canonical import JsonValue, parse_strict_json
from anchor.commitments import Commitment, opening_from_json, verify_opening
from anchor.digests import DigestStream
from anchor.envelopes import RecipientKey, open_
from anchor.errors import AnchorError, ValueNotCanonical
from anchor.failpoints import reach
from node.context import Node
from node.errors import PeerUnavailable, ReleaseBroken, ReleaseMalformed, ReleaseRefused
from node.federation.messages import (
    ReleaseRequest,
    SignedAnswer,
    answer_signer,
    decode_base64,
    parse_answer,
    render,
    request_hash,
    sign_request,
)
from node.federation.sealing import FrameReader
from node.store.blobs import BlobWriter

RELEASE_PATH = "/v1/federation/releases"
SLACK_BYTES = 256 << 10  # head, opening and frame overhead of a small document
# What whoever stands between two nodes can bring about. It says nothing about a document, so it is no answer. All
# other reasons were sealed by the custodian itself: they are its word, and it is wrong.
_CHANNEL_REASONS = frozenset(
    {
        "truncated", "head_too_long", "signature_foreign", "request_mismatch",
        "sealed_mismatch", "key_unopened", "frame_malformed", "frame_altered", "trailing_bytes", "too_long",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Released:
    """A release that passed every check."""

    answer: SignedAnswer
    fields: Mapping[str, JsonValue]
    opening: Mapping[str, JsonValue]
    size_bytes: int


def request_release(
    node: Node, endpoint: str, request: ReleaseRequest, key: RecipientKey, *, into: BlobWriter | None
) -> Released:
    """Fetch a document (or, without `into`, its facts) from the custodian at `endpoint`.

    Raises:
        PeerUnavailable: no connection, no answer in time, or a server fault; says nothing about the document.
        ReleaseRefused: the custodian decided against it; `facts["reason"]` is its code.
        ReleaseBroken: the answer is not what it must be; the peer is faulty or hostile.
    """
    body = render(sign_request(request, node.signer, node.deployment))
    url = endpoint.rstrip("/") + RELEASE_PATH
    headers = {"content-type": "application/json"}
    try:
        with node.peers.stream("POST", url, content=body, headers=headers) as response:
            return _receive(node, response, request, key, into)
    except ReleaseMalformed:
        raise _spoilt("head_malformed") from None
    except ReleaseBroken as error:
        if error.facts.get("reason") in _CHANNEL_REASONS:
            raise _spoilt(str(error.facts["reason"])) from None
        raise
    except (httpx.HTTPError, httpx.InvalidURL, OSError):
        raise PeerUnavailable(
            "the custodian's node does not answer",
            hint="try again later, or use the next route",
            reason="no_answer",
        ) from None


def _spoilt(reason: str) -> PeerUnavailable:
    return PeerUnavailable(
        "the custodian's answer was spoilt on its way",
        hint="try again; if it stays so, look for what stands between the two nodes",
        reason=reason,
    )


def _receive(
    node: Node, response: httpx.Response, request: ReleaseRequest, key: RecipientKey, into: BlobWriter | None
) -> Released:
    if response.status_code >= 500 or response.status_code == 429:
        raise PeerUnavailable("the custodian's node has a fault", reason="peer_fault")
    if response.status_code != 200:
        # Also a clock that is wrong on either side: it must not become a decision about a document.
        raise PeerUnavailable(
            "the custodian's node refuses the request's form",
            hint="compare the clocks and releases of the two nodes",
            reason="peer_refuses",
        )
    reader = FrameReader(request_hash(request))
    # As they came: a peer that compresses its answer breaks the format, and is not unpacked.
    chunks = response.iter_raw()
    signed, rest = _take_head(reader, chunks)
    _check_answer(node, signed, request)
    if signed.checkpoint is not None:
        node.log.inbox.append((request.audience, msgspec.json.encode(signed.checkpoint)))
    if signed.answer.outcome != "released":
        raise ReleaseRefused(
            "the custodian decided against it", reason=signed.answer.reason or signed.answer.outcome
        )
    reader.set_key(_open_key(signed, request, key))
    return _read_frames(reader, rest, chunks, signed, request, into)


def _take_head(reader: FrameReader, chunks: Iterator[bytes]) -> tuple[SignedAnswer, bytes]:
    for chunk in chunks:
        head = reader.take_head(chunk)
        if head is not None:
            return parse_answer(head), b""
    raise ReleaseBroken("the release ended before its head", reason="truncated")


def _check_answer(node: Node, signed: SignedAnswer, request: ReleaseRequest) -> None:
    answer = signed.answer
    try:
        member = node.index.member_by_account(answer_signer(signed, node.deployment))
    except AnchorError:
        member = None
    if member is None or member.member_id != request.audience or answer.custodian != request.audience:
        raise ReleaseBroken("the answer is not signed by the custodian", reason="signature_foreign")
    if answer.request_hash != request_hash(request).hex() or answer.commitment != request.commitment:
        raise ReleaseBroken("the answer is for another request", reason="request_mismatch")
    if hashlib.sha256(decode_base64(signed.sealed_key)).hexdigest() != answer.sealed_hash:
        raise ReleaseBroken("the sealed key is not the signed one", reason="sealed_mismatch")


def _open_key(signed: SignedAnswer, request: ReleaseRequest, key: RecipientKey) -> bytes:
    try:
        return open_(key, info=release_info(request), sealed=decode_base64(signed.sealed_key))
    except AnchorError:
        raise ReleaseBroken("the key of the release does not open", reason="key_unopened") from None


def release_info(request: ReleaseRequest) -> bytes:
    """Return the HPKE `info` of a release: bound to the whole request."""
    return b"deltaseal/v1 release\x00" + request_hash(request)


def _read_frames(
    reader: FrameReader,
    rest: bytes,
    chunks: Iterator[bytes],
    signed: SignedAnswer,
    request: ReleaseRequest,
    into: BlobWriter | None,
) -> Released:
    pieces = _pieces(
        reader, rest, chunks, limit=signed.answer.size + signed.answer.size // 1024 + SLACK_BYTES
    )
    opening = _parse_opening(next(pieces, b""))
    fields = _checked_fields(opening, request)
    stream = DigestStream(sm3=False)
    with _Storer(into) as storer:
        for piece in pieces:
            storer.put(piece)
            stream.update(piece)
        reader.close()
        storer.finish()
    digests = stream.finish()
    if into is not None and (
        digests.sha256.hex() != fields.get("sha256") or digests.size_bytes != signed.answer.size
    ):
        raise ReleaseBroken("the bytes that came are not the sealed document", reason="digest_mismatch")
    return Released(signed, fields, opening, digests.size_bytes)


class _Storer:
    """Writes pieces in a thread of its own; at most two wait. Its end waits for the thread, whatever happened."""

    def __init__(self, into: BlobWriter | None) -> None:
        self._into = into
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="release")
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> _Storer:
        return self

    def __exit__(self, *_: object) -> None:
        # Whoever deletes the chunks after a fault must not race a write that is still under way.
        self._thread.shutdown(wait=True, cancel_futures=True)

    def put(self, piece: bytes) -> None:
        """Hand a piece over. Raises what an earlier write raised, ReleaseBroken where none was asked for."""
        if self._into is None:
            raise ReleaseBroken("bytes came though only facts were asked", reason="unasked_bytes")
        while len(self._waiting) >= 2:
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(self._write, self._into, piece))

    def finish(self) -> None:
        """Return when all is written. Raises what a write raised."""
        while self._waiting:
            self._waiting.popleft().result()

    @staticmethod
    def _write(into: BlobWriter, piece: bytes) -> None:
        into.write(piece)
        reach("release.piece", "after")


def _pieces(reader: FrameReader, rest: bytes, chunks: Iterator[bytes], *, limit: int) -> Iterator[bytes]:
    yield from reader.feed(rest)
    taken = 0
    for chunk in chunks:
        taken += len(chunk)
        if taken > limit:
            raise ReleaseBroken("the release is longer than was signed", reason="too_long")
        yield from reader.feed(chunk)


def _parse_opening(raw: bytes) -> dict[str, JsonValue]:
    try:
        value = parse_strict_json(raw, max_bytes=SLACK_BYTES)
    except ValueNotCanonical:
        raise ReleaseBroken("the opening is not JSON", reason="opening_malformed") from None
    if not isinstance(value, dict):
        raise ReleaseBroken("the opening is not an object", reason="opening_malformed")
    return value


def _checked_fields(opening: dict[str, JsonValue], request: ReleaseRequest) -> Mapping[str, JsonValue]:
    try:
        fields = verify_opening(opening_from_json(opening), Commitment(bytes.fromhex(request.commitment)))
    except AnchorError as error:
        raise ReleaseBroken("the opening does not lead to the commitment", reason=error.code) from None
    if fields.get("typeCode") != request.type_code:
        raise ReleaseBroken("the document is of another type", reason="type_mismatch")
    return fields
