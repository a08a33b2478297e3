"""Vectors of receipts (docs/reference/receipt.md)."""

import base64
import json
from collections.abc import Iterator

from anchor.entries import StatusFlag, batch_hash
from tests.unit import receipt_factory as made
from tests.vectors.common import Asked
from tests.vectors.operations import Json, h
from verifier.receipts import parse_receipt, render_receipt


def receipt_accepts() -> Iterator[Asked]:
    """Receipts that can be read, with what the six steps find; a failed step is an answer too."""
    shown: Json = render_receipt(made.receipt())

    def ask(name: str, receipt: Json = shown, **changes: Json) -> Asked:
        trust, at = shown["chain"], "2026-12-01T09:00:00+08:00"
        slot = h(batch_hash(parse_receipt(json.dumps(receipt).encode()).entry))
        asked = {"receipt": receipt, "trust": trust, "at": at, "slot": slot, "statuses": receipt["status"]}
        return name, "receipt.check", asked | changes

    def altered(**members: Json) -> Json:
        return {**shown, **members}

    def read(claim: bytes, document: bytes = made.EMPTY_SLOT) -> Json:
        return render_receipt(made.receipt(reading=made.status(claim, made.document_slot(document))))[
            "status"
        ]

    yield ask("all steps pass with slots that were read")
    yield ask("nothing was read", slot=None, statuses=None)
    yield ask("another chain", trust={**shown["chain"], "chainId": 1})
    yield ask("another Ledger", trust={**shown["chain"], "ledger": shown["chain"]["directory"]})
    yield ask("another value opened", altered(opening=with_value(shown["opening"], "2030-01-01")))
    yield ask("another member", altered(memberId=8))
    yield ask("another place in the batch", altered(inclusion={**shown["inclusion"], "index": 2}))
    yield ask("short path", altered(inclusion={"index": 3, "path": shown["inclusion"]["path"][:-1]}))
    yield ask("another root", altered(entry={**shown["entry"], "root": "A" * 43}))
    yield ask("another time", altered(entry={**shown["entry"], "time": made.SEALED_AT - 86400}))
    yield ask("the chain holds another batch", slot=h(made.bytes_of("other batch")))
    yield ask("the chain holds no batch", slot="00" * 32)
    for flag in (StatusFlag.REVOKED, StatusFlag.SUPERSEDED, StatusFlag.ERASED, StatusFlag.SUSPENDED):
        yield ask(f"claim {flag.name}", statuses=read(made.flagged(flag)))
    yield ask("the document was revoked", statuses=read(made.EMPTY_SLOT, made.flagged(StatusFlag.REVOKED)))
    yield ask("overridden suspension", statuses=read(made.flagged(StatusFlag.SEEN)))
    yield ask(
        "the receipt admits a revocation",
        altered(status=read(made.flagged(StatusFlag.REVOKED))),
        statuses=None,
    )
    yield ask("read before the receipt was made", statuses={**shown["status"], "asOfBlock": 129})
    yield ask("another document was read", statuses={**shown["status"], "documents": []})
    yield ask("the day before expiry", at="2026-12-31T23:59:59+08:00")
    yield ask("the day of expiry", at="2027-01-01T00:00:00+08:00")
    yield ask("the day of expiry in Shanghai, not in London", at="2026-12-31T16:00:00+00:00")
    yield ask("before it was issued", at="2025-12-31T23:59:59+08:00")
    yield ask("a time without a zone", at="2026-12-01T09:00:00")
    yield ask("expiry is hidden", render_receipt(made.receipt(shown=("sha256",))))
    yield ask("no expiry", render_receipt(made.receipt(dict(made.FIELDS) | {"expiresOn": None})))
    yield ask(
        "a date that is none", render_receipt(made.receipt(dict(made.FIELDS) | {"expiresOn": "20270101"}))
    )
    yield ask("a batch of one", render_receipt(made.receipt(size=1, index=0)), slot=None, statuses=None)


def with_value(opening: Json, value: Json) -> Json:
    """Give an opening whose first opened field has another value."""
    first, *rest = opening["opened"]
    return {**opening, "opened": [{**first, "value": value}, *rest]}


def receipt_rejects() -> Iterator[Asked]:
    """Bytes that are no receipt."""
    text = json.dumps(render_receipt(made.receipt()), ensure_ascii=False, separators=(",", ":"))

    def raw(name: str, content: bytes) -> Asked:
        return name, "receipt.parse", base64.b64encode(content).decode()

    def swap(name: str, old: str, new: str) -> Asked:
        if old not in text:
            raise AssertionError(f"{name}: nothing to replace")
        return raw(name, text.replace(old, new, 1).encode())

    yield raw("empty", b"")
    yield raw("not JSON", b"deltaseal-receipt/0")
    yield raw("cut off", text.encode()[:-1])
    yield raw("two values", text.encode() + b"{}")
    yield raw("a list", b"[]")
    yield raw("not UTF-8", b"\xff" + text.encode())
    yield raw("byte order mark", b"\xef\xbb\xbf" + text.encode())
    yield raw("nested 17 deep", b"[" * 17 + b"]" * 17)
    yield swap("duplicate key", '"memberId":7', '"memberId":7,"memberId":7')
    yield swap("duplicate key that is escaped", '"memberId":7', '"memberId":7,"member\\u0049d":7')
    yield swap("NaN", '"memberId":7', '"memberId":NaN')
    yield swap("a float", '"memberId":7', '"memberId":7.0')
    yield swap("a huge number", '"seq":12', '"seq":9007199254740992')
    yield swap("a number of 5,000 digits", '"seq":12', '"seq":' + "1" * 5000)
    yield swap("a negative number", '"seq":12', '"seq":-12')
    yield swap("a number that is true", '"seq":12', '"seq":true')
    yield swap("another version", "receipt/0", "receipt/1")
    yield swap("unknown member", '"memberId":7', '"memberId":7,"more":1')
    yield swap("missing member", '"memberId":7,', "")
    yield swap("member id of 33 bits", '"memberId":7', '"memberId":4294967296')
    yield swap("stream 4", '"stream":1', '"stream":4')
    yield swap("size 0", '"size":5', '"size":0')
    yield swap("upper-case hexadecimal", "0x0", "0X0")
    yield swap("short address", '"directory":"0x', '"directory":"0x0')
    yield swap("padded base64url", '"docTag":"', '"docTag":"=')
    yield swap("admits less than it should", '"batch_slot",', "")
    yield swap("status read before the block", '"asOfBlock":130', '"asOfBlock":119')
    yield swap("status with an unknown flag", '"claim":"0x00', '"claim":"0x10')
    yield swap("text not in NFC", '"value":"LICENCE"', '"value":"A\u030a"')
    yield swap("lone surrogate", '"value":"LICENCE"', '"value":"\\ud800"')
    yield swap("short record", '"record":"', '"record":"A')
    yield swap("index that is text", '"index":3', '"index":"3"')
    yield swap("opening that is null", '"opening":{', '"opening":null,"more":{')
    yield swap("path that is an object", '"path":[', '"path":{},"more":[')
    yield swap("domain 65536", '"domain":1', '"domain":65536')
    yield swap("block time that is missing", f',"time":{made.SEALED_AT}}},"status"', '},"status"')
