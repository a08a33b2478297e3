"""Vectors of checkpoints (docs/reference/checkpoint.md)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace

from tests.unit import checkpoint_factory as points
from tests.vectors.common import Asked
from tests.vectors.operations import Json, h
from verifier.checkpoints import Checkpoint, SignedCheckpoint, render_checkpoint


def checkpoint_accepts() -> Iterator[Asked]:
    """Signatures that recover, pairs that contradict each other or do not, and a log that grew."""
    for size in (0, 5, 12):
        yield f"of {size} batches", "checkpoint.signer", _raw(points.signed(size))
    one = points.checkpoint(5)
    other = bytes(31) + b"\1"
    yield _pair("the same", one, one)
    yield _pair("behind", one, points.checkpoint(3))
    yield _pair("other batches", one, replace(one, log_root=other))
    yield _pair("another block", one, replace(one, block_hash=other))
    yield _pair("more batches in the same block", one, replace(one, log_size=6, log_root=other))
    yield _pair("another chain", one, replace(one, chain=replace(one.chain, genesis=other), log_root=other))
    for first, second in ((0, 5), (5, 5), (5, 12)):
        yield f"{second} extends {first}", "checkpoint.extends", _extension(first, second)


def checkpoint_rejects() -> Iterator[Asked]:
    """Bytes that are no checkpoint, signatures that are none, logs that did not grow out of the earlier one."""
    shown = render_checkpoint(points.signed(5))
    text = json.dumps(shown, separators=(",", ":"))

    def swap(name: str, old: str, new: str) -> Asked:
        if old not in text:
            raise AssertionError(f"{name}: nothing to replace")
        return name, "checkpoint.signer", base64.b64encode(text.replace(old, new, 1).encode()).decode()

    for member in shown:
        without = {name: value for name, value in shown.items() if name != member}
        yield (
            f"without {member}",
            "checkpoint.signer",
            base64.b64encode(json.dumps(without).encode()).decode(),
        )
    yield swap("an unknown version", "checkpoint/1", "checkpoint/2")
    yield swap("a member twice", '"logSize":5', '"logSize":5,"logSize":5')
    yield swap("an unknown member", '"logSize":5', '"logSize":5,"more":1')
    yield swap("a negative number", '"logSize":5', '"logSize":-5')
    yield swap("member id of 33 bits", '"memberId":7', '"memberId":4294967296')
    high = {**shown, "signature": "0x" + "ff" * 64 + "1b"}
    yield (
        "a signature out of range",
        "checkpoint.signer",
        base64.b64encode(json.dumps(high).encode()).decode(),
    )
    extension = _extension(5, 12)
    yield "no path", "checkpoint.extends", {**extension, "path": []}
    yield "another path", "checkpoint.extends", {**extension, "path": ["00" * 32, *extension["path"][1:]]}
    yield (
        "shrinks",
        "checkpoint.extends",
        {**extension, "earlier": extension["later"], "later": extension["earlier"]},
    )
    forked = render_checkpoint(points.signed(5, log_root=bytes(32)))
    yield "forked", "checkpoint.extends", {**extension, "earlier": forked}


def _raw(signed: SignedCheckpoint) -> Json:
    return base64.b64encode(json.dumps(render_checkpoint(signed)).encode()).decode()


def _pair(name: str, one: Checkpoint, other: Checkpoint) -> Asked:
    shown = [render_checkpoint(SignedCheckpoint(each, bytes(65))) for each in (one, other)]
    return name, "checkpoint.conflict", {"one": shown[0], "other": shown[1]}


def _extension(first: int, second: int) -> Json:
    path = [h(each) for each in points.path(first, second)]
    earlier, later = (render_checkpoint(points.signed(size)) for size in (first, second))
    return {"earlier": earlier, "later": later, "path": path}
