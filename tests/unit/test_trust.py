"""Trust anchors move forward only by what their own signers made final."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from tests.unit import receipt_factory as made
from tests.unit import sealed_chain_factory as sealed
from tests.unit import trust_factory as steps
from verifier.proofs.errors import ProofError
from verifier.trust import (
    SignerSet,
    TrustAnchor,
    TrustMalformed,
    advance_trust,
    parse_step,
    parse_trust,
    render_step,
    render_trust,
)


def written(anchor: TrustAnchor = made.TRUST, **changes: Any) -> bytes:
    return json.dumps(render_trust(anchor) | changes).encode()


def refusal(anchor: TrustAnchor, step: Any) -> str:
    with pytest.raises(ProofError) as caught:
        advance_trust(anchor, step)
    return str(caught.value.facts["step"])


@pytest.mark.parametrize("anchor", [made.TRUST, made.BFT_TRUST, made.OPERATOR_TRUST])
def test_anchor_is_read_as_it_was_written(anchor: TrustAnchor) -> None:
    assert parse_trust(written(anchor)) == anchor


def test_step_is_read_as_it_was_written() -> None:
    assert parse_step(json.dumps(render_step(steps.step())).encode()) == steps.step()


def test_step_adds_the_next_set_and_keeps_the_old_one() -> None:
    anchor = advance_trust(made.TRUST, steps.step())
    assert [anchor.signers_at(number) for number in (0, 199, 200)] == [
        sealed.SIGNERS,
        sealed.SIGNERS,
        steps.NEW_SIGNERS,
    ]
    assert refusal(anchor, steps.step()) == "not_newer"


def test_block_before_the_first_set_has_no_signers() -> None:
    anchor = replace(made.TRUST, signer_sets=(SignerSet(10, sealed.SIGNERS),))
    assert anchor.signers_at(9) == () and anchor.signers_at(10) == sealed.SIGNERS


@pytest.mark.parametrize("part", ["chain_id", "genesis", "members"])
def test_step_of_another_chain_is_refused(part: str) -> None:
    other: Any = 1 if part == "chain_id" else bytes(len(getattr(steps.step(), part)))
    assert refusal(made.TRUST, replace(steps.step(), **{part: other})) == "other_chain"


def test_step_needs_the_old_signers_quorum() -> None:
    for sealers in (sealed.KEYS[:3], steps.NEW_KEYS, [*sealed.KEYS[:3], sealed.KEYS[0]]):
        assert refusal(made.TRUST, steps.step(sealers=sealers)) == "quorum_missing"
    assert refusal(made.OPERATOR_TRUST, steps.step()) == "no_seals"


def test_step_needs_the_digest_of_exactly_these_signers_in_this_slot() -> None:
    step = steps.step()
    for next_set in (SignerSet(200, sealed.SIGNERS), SignerSet(200, steps.NEW_SIGNERS[:4])):
        assert refusal(made.TRUST, replace(step, next_set=next_set)) == "other_signers"
    assert refusal(made.TRUST, replace(step, next_set=replace(step.next_set, from_block=201))) in (
        "node_missing",
        "other_signers",
    )


def test_step_needs_every_node_and_no_more() -> None:
    step = steps.step()
    for index in range(len(step.nodes)):
        less = replace(step, nodes=step.nodes[:index] + step.nodes[index + 1 :])
        assert refusal(made.TRUST, less) == "node_missing"
    assert refusal(made.TRUST, replace(step, nodes=(*step.nodes, b"\x80"))) == "node_unused"


def test_step_of_a_state_without_members_is_refused() -> None:
    state = sealed.state_of({made.CHAIN.ledger: {}})
    headers = sealed.clique_chain(sealed.KEYS[:4], state_root=state.root, number=150, time=made.AS_OF)
    nodes = tuple(dict.fromkeys(sealed.walk(state.accounts, made.MEMBERS)))
    assert refusal(made.TRUST, replace(steps.step(), headers=headers, nodes=nodes)) == "account_missing"


def test_step_whose_headers_are_no_chain_is_refused() -> None:
    step = steps.step()
    assert refusal(made.TRUST, replace(step, headers=step.headers[::-1])) == "headers_unlinked"
    assert refusal(made.TRUST, replace(step, headers=())) == "header_count"


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b"null", b'{"format":"deltaseal-trust/1"}', b"\xff"])
def test_other_bytes_are_no_anchor_and_no_step(raw: bytes) -> None:
    for parse in (parse_trust, parse_step):
        with pytest.raises(TrustMalformed):
            parse(raw)


@pytest.mark.parametrize(
    "changes",
    [
        {"chainId": True},
        {"engine": "proof-of-work"},
        {"engine": 7},
        {"engine": "embedded"},
        {"exportedAt": "yesterday"},
        {"exportedAt": 7},
        {"signerSets": [{"fromBlock": 0, "signers": []}]},
        {"signerSets": [{"fromBlock": 0, "signers": ["0x" + "00" * 20] * 2}]},
        {"signerSets": [{"fromBlock": 0, "signers": [f"0x{each:040x}" for each in range(65)]}]},
        {"signerSets": [{"fromBlock": each, "signers": ["0x" + "11" * 20]} for each in (5, 4)]},
    ],
)
def test_anchor_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(TrustMalformed):
        parse_trust(written(**changes))
