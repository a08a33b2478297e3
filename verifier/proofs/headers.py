"""Proofs that a block is final: linked headers, and enough seals of trusted signers (docs/reference/receipt.md).

Pure functions on bytes: no chain, no store, no clock. Each returns None or a value, or raises `ProofError`. The
signers come from the trust anchor and never from the headers, checkpoint blocks included (EIP-225 would allow it).
"""

from collections.abc import Callable, Collection, Sequence
from itertools import pairwise
from typing import Final, TypeAlias

from anchor.errors import HeaderMalformed
from anchor.headers import (
    Engine,
    Header,
    bft_quorum,
    crash_quorum,
    header_hash,
    header_signers,
)
from verifier.proofs.errors import ProofError

MAX_HEADERS: Final = 256

SignersAt: TypeAlias = Callable[[int], Collection[bytes]]


def verify_linked(headers: Sequence[Header], engine: Engine) -> bytes:
    """Verify that `headers` are consecutive, each the child of the last, and return the hash of the first, 32 bytes.

    Raises:
        ProofError: none or too many, or one that is not its predecessor's child.
    """
    if not 0 < len(headers) <= MAX_HEADERS:
        raise ProofError("there are no headers, or too many", step="header_count")
    names = [block_hash(each, engine) for each in headers[: max(1, len(headers) - 1)]]
    for name, (parent, child) in zip(names, pairwise(headers), strict=False):
        if child.parent_hash != name or child.number != parent.number + 1 or child.time < parent.time:
            raise ProofError("a header is not the child of the one before", step="headers_unlinked")
    return names[0]


def block_hash(header: Header, engine: Engine) -> bytes:
    """Return the block's hash, 32 bytes.

    Raises:
        ProofError: the header's extra data is not that of the engine.
    """
    try:
        return header_hash(header, engine)
    except HeaderMalformed as error:
        raise ProofError(f"a header is malformed: {error}", step=error.code) from None


def verify_final(headers: Sequence[Header], signers_at: SignersAt, engine: Engine) -> None:
    """Verify that the first of linked `headers`, block N, is final by the seals of its signers.

    `signers_at` gives the signers (20-byte addresses) of a height. Clique: ⌊(S+f)/2⌋+1 distinct signers of N on it
    and above it, each still a signer at the height it sealed. QBFT, IBFT 2.0: ⌈2S/3⌉ commit seals in it. A seal of
    somebody else counts for nothing.

    Raises:
        ProofError: the seals do not suffice, or nobody seals this chain.
    """
    if not headers:
        raise ProofError("there are no headers, or too many", step="header_count")
    signers = signers_at(headers[0].number)
    if engine is Engine.EMBEDDED or not signers:
        raise ProofError("this chain has no seals to verify", step="no_seals")
    if len(sealed_by(headers, signers_at, engine)) < quorum(len(set(signers)), engine):
        raise ProofError("too few trusted signers sealed the block", step="quorum_missing")


def sealed_by(headers: Sequence[Header], signers_at: SignersAt, engine: Engine) -> frozenset[bytes]:
    """Return which signers of the first of `headers` stand behind it.

    Raises:
        ProofError: a header's extra data is not that of the engine.
    """
    if not headers:
        return frozenset()
    wanted = set(signers_at(headers[0].number))
    counted = headers if engine is Engine.CLIQUE else headers[:1]
    found: set[bytes] = set()
    try:
        for header in counted:
            here = wanted.intersection(header_signers(header, engine))
            found |= here.intersection(signers_at(header.number))
    except HeaderMalformed as error:
        raise ProofError(f"a header is malformed: {error}", step=error.code) from None
    return frozenset(found)


def quorum(signers: int, engine: Engine) -> int:
    """Return how many of `signers` must stand behind a final block."""
    return crash_quorum(signers) if engine is Engine.CLIQUE else bft_quorum(signers)


def shortest_final(
    headers: Sequence[Header], signers_at: SignersAt, engine: Engine
) -> tuple[Header, ...] | None:
    """Return the shortest beginning of linked `headers` that shows the first to be final; None when none does.

    Raises:
        ProofError: a header's extra data is not that of the engine.
    """
    for count in range(1, len(headers) + 1):
        try:
            verify_final(headers[:count], signers_at, engine)
        except ProofError as error:
            if error.facts["step"] != "quorum_missing":
                raise
        else:
            return tuple(headers[:count])
    return None
