"""Vectors of tags, masks, nullifiers and envelopes (docs/reference/tags.md, epoch-envelope.md)."""

import json
from collections.abc import Iterator
from pathlib import Path

from tests.unit import receipt_factory as made
from tests.vectors.common import COMMITMENT, SECRET, Asked
from tests.vectors.operations import Json, _epoch_info, b, h
from tests.vectors.record_cases import flip

SEALED_ONCE = Path(__file__).parent / "envelope" / "sealed-once.json"


def tags_accepts() -> Iterator[Asked]:
    """Each kind of tag, a mask, a nullifier."""

    def ask(kind: str, *values: str, **place: int) -> Asked:
        keys = {"domain": 1, "epoch": 1, "secret": SECRET, **place}
        return f"{kind} {place or ''}".strip(), "tags.tag", {**keys, "kind": kind, "values": list(values)}

    subject = ("111", "310101199001010010", "LICENCE")
    yield ask("subject", *subject)
    yield ask("subject", *subject, epoch=2)
    yield ask("subject", *subject, domain=2)
    yield ask("content", h(made.FILE_SHA256))
    yield ask("document", "LICENCE", "沪字第 1 号")
    yield ask("material", COMMITMENT)
    yield ask("case", "XH-2026-0001")
    yield ask("party", "11310104MB2F30001T")
    keys = {"domain": 1, "epoch": 1, "secret": SECRET, "commitment": COMMITMENT}
    yield "mask of zeros", "tags.mask", {**keys, "line": 0, "body": "00" * 58}
    yield "mask of zeros, another line", "tags.mask", {**keys, "line": 1, "body": "00" * 58}
    values = ["INVOICE", "DEMO-26310000000000000001", "NURSERY-SUBSIDY"]
    yield "nullifier", "tags.nullifier", {"domain": 1, "secret": SECRET, "values": values}


def tags_rejects() -> Iterator[Asked]:
    """Keys and values out of range."""

    def ask(name: str, **members: Json) -> Asked:
        keys = {"domain": 1, "epoch": 1, "secret": SECRET, "kind": "case", "values": ["x"]}
        return name, "tags.tag", {**keys, **members}

    yield ask("domain 0", domain=0)
    yield ask("domain 65536", domain=65536)
    yield ask("epoch 0", epoch=0)
    yield ask("epoch 65536", epoch=65536)
    yield ask("negative domain", domain=-1)
    yield ask("short secret", secret=SECRET[2:])
    yield ask("long secret", secret=SECRET + "00")
    yield ask("case number not in NFC", values=["e\u0301"])
    yield ask("lone surrogate", values=["\ud800"])
    yield ask("document number not in NFC", kind="document", values=["LICENCE", "A\u030a"])
    keys = {"domain": 1, "epoch": 1, "secret": SECRET, "commitment": COMMITMENT}
    yield "mask of 57 bytes", "tags.mask", {**keys, "line": 0, "body": "00" * 57}
    yield "mask of 59 bytes", "tags.mask", {**keys, "line": 0, "body": "00" * 59}
    yield "mask of line 256", "tags.mask", {**keys, "line": 256, "body": "00" * 58}
    consume = {"domain": 0, "secret": SECRET, "values": ["a", "b", "c"]}
    yield "consume key of domain 0", "tags.nullifier", consume
    yield "nullifier not in NFC", "tags.nullifier", consume | {"domain": 1, "values": ["a", "e\u0301", "c"]}


SEED = h(made.bytes_of("recipient seed"))
INFO: Json = {
    "chainId": 31007,
    "directory": h(made.CHAIN.directory),
    "domain": 1,
    "epoch": 1,
    "memberId": 7,
}


def sealed_once() -> Json:
    """Give the envelope that was sealed once and kept: sealing draws fresh randomness each time."""
    return json.loads(SEALED_ONCE.read_text("utf-8"))


def envelope_accepts() -> Iterator[Asked]:
    """A public key, an `info`, and an envelope that opens."""
    yield "public key of a seed", "envelope.public_key", {"seed": SEED}
    draft = "7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26"
    yield "public key of draft-connolly-cfrg-xwing-kem-08, C.1", "envelope.public_key", {"seed": draft}
    yield "info of an epoch envelope", "envelope.epoch_info", INFO
    yield "info, largest numbers", "envelope.epoch_info", LARGEST_INFO
    yield "an epoch secret", "envelope.open", opened_envelope()


LARGEST_INFO: Json = {**INFO, "chainId": 2**64 - 1, "domain": 65535, "epoch": 65535, "memberId": 2**32 - 1}


def opened_envelope(**changes: Json) -> Json:
    """Give the input that opens the kept envelope."""
    return {"seed": SEED, "info": _epoch_info(INFO), "sealed": sealed_once()["sealed"], **changes}


def envelope_rejects() -> Iterator[Asked]:
    """Envelopes that do not open, keys and numbers out of range."""
    sealed = b(sealed_once()["sealed"])

    def ask(name: str, **changes: Json) -> Asked:
        return name, "envelope.open", opened_envelope(**changes)

    yield ask("empty", sealed="")
    yield ask("the encapsulated key alone", sealed=h(sealed[:1120]))
    yield ask("one byte short", sealed=h(sealed[:-1]))
    yield ask("one byte long", sealed=h(sealed + b"\0"))
    yield ask("a bit of the ML-KEM ciphertext", sealed=h(flip(sealed, 0, 1)))
    yield ask("a bit of the X25519 key", sealed=h(flip(sealed, 1100, 1)))
    yield ask("an X25519 key of small order", sealed=h(sealed[:1088] + bytes(32) + sealed[1120:]))
    yield ask("a bit of the message", sealed=h(flip(sealed, 1125, 1)))
    yield ask("a bit of the tag", sealed=h(flip(sealed, len(sealed) - 1, 1)))
    yield ask("another recipient", seed=h(made.bytes_of("other seed")))
    yield ask("info of another member", info=_epoch_info(INFO | {"memberId": 8}))
    yield ask("info of another epoch", info=_epoch_info(INFO | {"epoch": 2}))
    yield ask("info of another chain", info=_epoch_info(INFO | {"chainId": 31008}))
    yield ask("short seed", seed=SEED[2:])
    yield "short Directory address", "envelope.epoch_info", INFO | {"directory": INFO["directory"][2:]}
    yield "member id of 33 bits", "envelope.epoch_info", INFO | {"memberId": 2**32}
    yield "negative chain id", "envelope.epoch_info", INFO | {"chainId": -1}
