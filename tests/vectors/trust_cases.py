"""Vectors of trust anchors and their steps (docs/reference/trust-anchor.md)."""

import base64
import json
from collections.abc import Iterator

from tests.unit import receipt_factory as made
from tests.unit import sealed_chain_factory as sealed
from tests.unit import trust_factory as steps
from tests.vectors.common import Asked
from tests.vectors.operations import Json
from verifier.trust import render_step, render_trust

ANCHOR: Json = render_trust(made.TRUST)


def trust_accepts() -> Iterator[Asked]:
    """Anchors that can be read, and steps that lead on from them."""
    for name, anchor in (
        ("Clique", made.TRUST),
        ("QBFT", made.BFT_TRUST),
        ("an operator's", made.OPERATOR_TRUST),
    ):
        yield f"anchor of {name} chain", "trust.parse", _base64(render_trust(anchor))
    yield "a time of export", "trust.parse", _base64({**ANCHOR, "exportedAt": "2026-11-03T10:00:00+08:00"})
    yield "a step", "trust.parse_step", _base64(render_step(steps.step()))
    yield "to the next signers", "trust.advance", _advance()
    yield "to signers that seal already", "trust.advance", _advance(render_step(steps.step(from_block=100)))


def trust_rejects() -> Iterator[Asked]:
    """Bytes that are no anchor or step, and steps that prove nothing."""

    def anchor(name: str, **changes: Json) -> Asked:
        return name, "trust.parse", _base64({**ANCHOR, **changes})

    def step(name: str, shown: Json | None = None, **changes: Json) -> Asked:
        return name, "trust.advance", _advance({**(shown or render_step(steps.step())), **changes})

    first = ANCHOR["signerSets"][0]
    yield "an anchor cut off", "trust.parse", base64.b64encode(json.dumps(ANCHOR).encode()[:-1]).decode()
    yield anchor("an unknown version", format="deltaseal-trust/2")
    yield anchor("an unknown engine", engine="raft")
    yield anchor("an unknown member", more=1)
    yield anchor("a short address", members="0x00")
    yield anchor("signers that do not ascend", signerSets=[{**first, "signers": first["signers"][::-1]}])
    yield anchor("a signer twice", signerSets=[{**first, "signers": [first["signers"][0]] * 2}])
    yield anchor("a set without signers", signerSets=[{**first, "signers": []}])
    yield anchor("sets that do not ascend", signerSets=[first, first])
    yield anchor("signers of an operator's chain", engine="embedded")
    yield anchor("a time without a zone", exportedAt="2026-11-03T10:00:00")
    yield (
        "a step of an unknown version",
        "trust.parse_step",
        _base64({**render_step(steps.step()), "format": "?"}),
    )
    yield step("a step of another chain", chainId=1)
    yield step("a step of another genesis", genesis="0x" + "00" * 32)
    yield step("a step of another Members contract", members=ANCHOR["ledger"])
    yield step("a step to a set that the anchor has", render_step(steps.step(from_block=0)))
    yield step("a step that too few sealed", render_step(steps.step(sealers=sealed.KEYS[:3])))
    yield step("a step that the new signers sealed", render_step(steps.step(sealers=steps.NEW_KEYS)))
    other = {"fromBlock": 200, "signers": ANCHOR["signerSets"][0]["signers"]}
    yield step("a step to other signers", nextSet=other)
    yield step("a step without its proof", nodes=[])
    shown: Json = render_step(steps.step())
    yield step("a step with a node too many", nodes=[*shown["nodes"], "gIA"])


def _advance(shown: Json | None = None) -> Json:
    return {"trust": ANCHOR, "step": shown or render_step(steps.step())}


def _base64(value: Json) -> str:
    return base64.b64encode(json.dumps(value, separators=(",", ":")).encode()).decode()
