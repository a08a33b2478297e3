"""Trust anchors: what a reader must believe beforehand to check receipts offline (docs/reference/trust-anchor.md).

An anchor names one chain, its contracts and the signer sets of its blocks. It moves forward only by a step: a
proof, final under a set it has already, that the council named the next set. Pure: no chain, clock, file or network.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from anchor.base64url import render_base64url
from anchor.canonical import JsonValue, parse_strict_json
from anchor.errors import DeltasealError, HeaderMalformed, ValueNotCanonical
from anchor.headers import ADDRESS_BYTES, MAX_HEADER_BYTES, Engine, Header, decode_header
from anchor.merkle import HASH_BYTES
from anchor.slots import signers_slot
from verifier.jsonparts import PartReader, render_hex
from verifier.proofs.accounts import MAX_NODE_BYTES, MAX_NODES, NodeSet, account_at, storage_at
from verifier.proofs.errors import ProofError
from verifier.proofs.headers import MAX_HEADERS, verify_final, verify_linked

FORMAT: Final = "deltaseal-trust/1"
STEP_FORMAT: Final = "deltaseal-trust-step/1"
MAX_TRUST_BYTES: Final = 1 << 20
MAX_SIGNERS: Final = 64  # As Members allows.
MAX_SETS: Final = 256


class TrustMalformed(DeltasealError):
    """Bytes that are no trust anchor or step, or an anchor that contradicts itself."""

    code = "trust_malformed"


@dataclass(frozen=True, slots=True)
class ChainFacts:
    """One chain and one Ledger on it: what a receipt speaks of."""

    chain_id: int
    genesis: bytes  # Hash of block 0, 32 bytes.
    directory: bytes  # Address, 20 bytes.
    ledger: bytes  # Address, 20 bytes.


@dataclass(frozen=True, slots=True)
class SignerSet:
    """Who seals the blocks from `from_block` on, until another set begins. Addresses ascend."""

    from_block: int
    signers: tuple[bytes, ...]

    @property
    def digest(self) -> bytes:
        """What Members keeps of the set: SHA-256 over the addresses."""
        return hashlib.sha256(b"".join(self.signers)).digest()


@dataclass(frozen=True, slots=True)
class TrustAnchor:
    """What is trusted. Without signer sets (an operator's chain) no block can be proved final offline."""

    chain: ChainFacts
    members: bytes  # Address of Members, 20 bytes.
    engine: Engine
    signer_sets: tuple[SignerSet, ...]
    exported_at: datetime | None = None

    def signers_at(self, number: int) -> tuple[bytes, ...]:
        """Return who seals block `number`; nobody when it lies before the first set."""
        sets = [each for each in self.signer_sets if each.from_block <= number]
        return sets[-1].signers if sets else ()


@dataclass(frozen=True, slots=True)
class TrustStep:
    """A proof that the council named `next_set`, in the state of the block of the first header."""

    chain_id: int
    genesis: bytes
    members: bytes
    next_set: SignerSet
    headers: tuple[Header, ...]
    nodes: tuple[bytes, ...]


def advance_trust(anchor: TrustAnchor, step: TrustStep) -> TrustAnchor:
    """Return `anchor` with the step's signer set behind its own.

    Raises:
        ProofError: the step is about another chain or an older set, is not final under the anchor's signers, or
            its state does not hold the set's digest.
    """
    if (step.chain_id, step.genesis, step.members) != (
        anchor.chain.chain_id,
        anchor.chain.genesis,
        anchor.members,
    ):
        raise ProofError("the step is about another chain", step="other_chain")
    if anchor.signer_sets and step.next_set.from_block <= anchor.signer_sets[-1].from_block:
        raise ProofError("the anchor has this signer set or a newer one", step="not_newer")
    verify_linked(step.headers, anchor.engine)
    verify_final(step.headers, anchor.signers_at, anchor.engine)
    _verify_digest(step, step.headers[0].state_root)
    return replace(anchor, signer_sets=(*anchor.signer_sets, step.next_set))


def _verify_digest(step: TrustStep, state_root: bytes) -> None:
    nodes = NodeSet(step.nodes)
    account = account_at(state_root, step.members, nodes)
    if account is None:
        raise ProofError("the state has no Members contract", step="account_missing")
    held = storage_at(account.storage_root, signers_slot(step.next_set.from_block), nodes)
    if not hmac.compare_digest(held, step.next_set.digest):
        raise ProofError("the council named other signers", step="other_signers")
    nodes.verify_all_used()


def render_trust(anchor: TrustAnchor) -> dict[str, JsonValue]:
    """Render an anchor as its JSON object."""
    chain, exported = anchor.chain, anchor.exported_at
    return {
        "format": FORMAT,
        "chainId": chain.chain_id,
        "genesis": render_hex(chain.genesis),
        "directory": render_hex(chain.directory),
        "members": render_hex(anchor.members),
        "ledger": render_hex(chain.ledger),
        "engine": anchor.engine.value,
        "signerSets": [_render_set(each) for each in anchor.signer_sets],
        "exportedAt": None if exported is None else exported.isoformat(timespec="seconds"),
    }


def parse_trust(raw: bytes) -> TrustAnchor:
    """Parse a trust anchor: strict JSON, no member unknown or missing.

    Raises:
        TrustMalformed: anything that `render_trust` would not have written, white space and order apart.
    """
    shape, chain_id, genesis, directory, members, ledger, engine, sets, exported = _READ.members(
        _parse_json(raw),
        *("format", "chainId", "genesis", "directory", "members", "ledger", "engine"),
        *("signerSets", "exportedAt"),
    )
    if shape != FORMAT:
        raise TrustMalformed(
            "this is no trust anchor of a known version", hint=f"this version reads {FORMAT}"
        )
    chain = _facts(_READ, chain_id, genesis, directory, ledger)
    found = tuple(_parse_set(each) for each in _READ.items(sets, MAX_SETS))
    anchor = TrustAnchor(
        chain, _READ.hexadecimal(members, ADDRESS_BYTES), _parse_engine(engine), found, _parse_time(exported)
    )
    _require_sound(anchor)
    return anchor


def render_chain(chain: ChainFacts) -> dict[str, JsonValue]:
    """Render the object that names a chain in receipts, statements and checkpoints."""
    return {
        "chainId": chain.chain_id,
        "genesis": render_hex(chain.genesis),
        "directory": render_hex(chain.directory),
        "ledger": render_hex(chain.ledger),
    }


def read_chain(reader: PartReader, value: JsonValue) -> ChainFacts:
    """Read the object that names a chain; raises the error of `reader`."""
    return _facts(reader, *reader.members(value, "chainId", "genesis", "directory", "ledger"))


def _facts(
    reader: PartReader, chain_id: JsonValue, genesis: JsonValue, directory: JsonValue, ledger: JsonValue
) -> ChainFacts:
    return ChainFacts(
        reader.number(chain_id),
        reader.hexadecimal(genesis, HASH_BYTES),
        reader.hexadecimal(directory, ADDRESS_BYTES),
        reader.hexadecimal(ledger, ADDRESS_BYTES),
    )


def render_step(step: TrustStep) -> dict[str, JsonValue]:
    """Render a step as its JSON object."""
    return {
        "format": STEP_FORMAT,
        "chainId": step.chain_id,
        "genesis": render_hex(step.genesis),
        "members": render_hex(step.members),
        "nextSet": _render_set(step.next_set),
        "headers": [render_base64url(each.raw) for each in step.headers],
        "nodes": [render_base64url(each) for each in step.nodes],
    }


def parse_step(raw: bytes) -> TrustStep:
    """Parse a step: strict JSON, no member unknown or missing.

    Raises:
        TrustMalformed: anything that `render_step` would not have written, white space and order apart.
    """
    shape, chain_id, genesis, members, next_set, headers, nodes = _READ.members(
        _parse_json(raw), "format", "chainId", "genesis", "members", "nextSet", "headers", "nodes"
    )
    if shape != STEP_FORMAT:
        raise TrustMalformed("this is no step of a known version", hint=f"this version reads {STEP_FORMAT}")
    return TrustStep(
        _READ.number(chain_id),
        _READ.hexadecimal(genesis, HASH_BYTES),
        _READ.hexadecimal(members, ADDRESS_BYTES),
        _parse_set(next_set),
        _parse_headers(_READ.blobs(headers, most=MAX_HEADERS, most_bytes=MAX_HEADER_BYTES)),
        _READ.blobs(nodes, most=MAX_NODES, most_bytes=MAX_NODE_BYTES),
    )


_READ: Final = PartReader(TrustMalformed, "trust file")


def _parse_json(raw: bytes) -> JsonValue:
    try:
        return parse_strict_json(raw, max_bytes=MAX_TRUST_BYTES)
    except ValueNotCanonical as error:
        raise TrustMalformed(f"the trust file is malformed: {error}", cause=error.code) from None


def _parse_set(value: JsonValue) -> SignerSet:
    first, signers = _READ.members(value, "fromBlock", "signers")
    found = tuple(_READ.hexadecimal(each, ADDRESS_BYTES) for each in _READ.items(signers, MAX_SIGNERS))
    if not found or list(found) != sorted(set(found)):
        raise TrustMalformed("the signers of a set are none, or do not ascend")
    return SignerSet(_READ.number(first), found)


def _render_set(each: SignerSet) -> dict[str, JsonValue]:
    return {"fromBlock": each.from_block, "signers": [render_hex(signer) for signer in each.signers]}


def _parse_engine(value: JsonValue) -> Engine:
    try:
        return Engine(str(value))
    except ValueError:
        raise TrustMalformed(
            "the trust anchor names an engine that has no rules here", hint=f"known: {', '.join(Engine)}"
        ) from None


def _parse_time(value: JsonValue) -> datetime | None:
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        found = None
    if found is None or found.tzinfo is None or found.isoformat(timespec="seconds") != value:
        raise TrustMalformed("exportedAt is not a time in seconds with its zone")
    return found


def _parse_headers(raw: Sequence[bytes]) -> tuple[Header, ...]:
    try:
        return tuple(decode_header(each) for each in raw)
    except HeaderMalformed as error:
        raise TrustMalformed(f"a header of the step is malformed: {error}", cause=error.code) from None


def _require_sound(anchor: TrustAnchor) -> None:
    starts = [each.from_block for each in anchor.signer_sets]
    if starts != sorted(set(starts)):
        raise TrustMalformed("the signer sets do not ascend by their first block")
    if anchor.engine is Engine.EMBEDDED and starts:
        raise TrustMalformed("an operator's chain has no signers")
