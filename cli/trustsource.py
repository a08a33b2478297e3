"""Makes trust anchors and their steps from what a chain client says. Whoever does so believes that client once."""

from __future__ import annotations

from datetime import UTC, datetime

from anchor.chain.contracts import decode_result, encode_call
from anchor.chain.deploy import Deployment, resolve
from anchor.chain.gateway import Gateway
from anchor.chain.signersets import NamedSet, read_named_sets, read_signer_sets
from anchor.chain.stateproofs import read_headers, read_proof
from anchor.errors import ChainMismatch
from anchor.headers import Engine
from anchor.slots import signers_slot
from cli.errors import InputInvalid
from verifier.proofs.headers import MAX_HEADERS, shortest_final, verify_linked
from verifier.trust import ChainFacts, SignerSet, TrustAnchor, TrustStep, advance_trust


def export_trust(gateway: Gateway, *, directory: bytes, chain_id: int, engine: Engine) -> TrustAnchor:
    """Return the anchor of the chain that `gateway` follows, with every signer set up to its head.

    Raises:
        ChainUnavailable: the client cannot be asked.
        ChainMismatch: it follows another chain, or its Ledger looks through to a predecessor, whose slots receipts
            do not prove.
    """
    made = resolve(gateway, directory, chain_id=chain_id, genesis=None)
    _require_first_ledger(gateway, made)
    sets = read_signer_sets(gateway, made.members, engine, last=gateway.head().number)
    facts = ChainFacts(made.chain_id, made.genesis, made.directory, made.ledger)
    named = tuple(SignerSet(first, signers) for first, signers in sets)
    return TrustAnchor(facts, made.members, engine, named, datetime.now(UTC).replace(microsecond=0))


def make_step(gateway: Gateway, anchor: TrustAnchor) -> TrustStep:
    """Return the step to the signer set that follows the anchor's last; it is checked before it is returned.

    Raises:
        ChainUnavailable: the client cannot be asked, or no longer has the state of that block.
        InputInvalid: the council named no later set, or the old signers have not yet made it final.
        ProofError: what the client answers is no proof.
    """
    newest = anchor.signer_sets[-1].from_block if anchor.signer_sets else -1
    head = gateway.head().number
    sets = read_named_sets(gateway, anchor.members, last=head)
    following = next((each for each in sets if each.from_block > newest), None)
    if following is None:
        raise InputInvalid(
            "the council named no signer set after the anchor's last", hint="the anchor is up to date"
        )
    step = _prove(gateway, anchor, following, head)
    advance_trust(anchor, step)
    return step


def _prove(gateway: Gateway, anchor: TrustAnchor, named: NamedSet, head: int) -> TrustStep:
    block = named.named_in
    last = min(head, block + MAX_HEADERS - 1)
    headers = read_headers(gateway, range(block, last + 1), anchor.engine)
    verify_linked(headers, anchor.engine)
    shown = shortest_final(headers, anchor.signers_at, anchor.engine)
    if shown is None:
        raise InputInvalid(
            "the block that names the new signers is not final under the anchor's",
            hint="try again in a few blocks",
        )
    proof = read_proof(gateway, anchor.members, [signers_slot(named.from_block)], block=block)
    chain = anchor.chain
    next_set = SignerSet(named.from_block, named.signers)
    return TrustStep(chain.chain_id, chain.genesis, anchor.members, next_set, shown, proof.nodes)


def _require_first_ledger(gateway: Gateway, made: Deployment) -> None:
    answer = gateway.call(made.ledger, encode_call("Ledger", "predecessor"))
    if any(decode_result("Ledger", "predecessor", answer)[0]):
        raise ChainMismatch(
            "the Ledger looks through to a predecessor, whose status slots receipts do not prove",
            hint="check receipts at a node, or with --rpc",
        )
