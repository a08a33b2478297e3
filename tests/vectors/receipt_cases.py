"""Vectors of receipts (docs/reference/receipt.md)."""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

import rlp
from coincurve import PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from eth_utils.crypto import keccak

from anchor.base64url import render_base64url
from anchor.commitments import commit
from anchor.entries import StatusFlag
from anchor.headers import Engine, Header, decode_header
from anchor.slots import batch_slot, document_slot
from anchor.tags import Tag
from tests.support.tsa import Authority
from tests.unit import receipt_factory as made
from tests.unit import sealed_chain_factory as sealed
from tests.vectors.common import Asked
from tests.vectors.operations import Json, h
from verifier.proofs.headers import block_hash
from verifier.receipts import DocumentSlot, StatusReading, render_receipt
from verifier.timestamps import MAX_TOKEN_BYTES
from verifier.trust import render_trust

AGE = int(datetime.fromisoformat("2026-12-01T09:00:00+08:00").timestamp()) - made.AS_OF


AUTHORITY = Authority.create("vectors")
CHAINS = {"crash-final": made.TRUST, "bft-final": made.BFT_TRUST, "operator": made.OPERATOR_TRUST}


# Vectors that are also files of their own, by the file's name.
REJECT_FILES = {
    "altered-field": "another value opened",
    "other-material": "the opening of another material",
    "other-batch": "another batch",
    "attacker-signers": "an attacker's signers",
    "seal-too-few": "a seal too few",
    "one-signer-twice": "one signer twice",
    "other-block": "proof nodes of another block",
    "other-contract": "the account of another contract",
    "hidden-revocation": "a revocation that is not shown",
    "document-left-out": "the slot of a revoked document left out",
    "document-changed": "the slot of a revoked document changed for another",
}


def receipt_accepts() -> Iterator[Asked]:
    """Receipts that can be read, with what the steps find; a failed step is an answer too."""
    receipt = made.receipt()
    shown: Json = render_receipt(receipt)
    clique: Json = render_trust(made.TRUST)

    def ask(name: str, receipt: Json = shown, **changes: Json) -> Asked:
        asked = {"receipt": receipt, "trust": render_trust(CHAINS[receipt["finality"]])}
        asked |= {"at": "2026-12-01T09:00:00+08:00", "knownHash": None, "later": None, "maxAge": None}
        return name, "receipt.check", asked | changes

    def altered(**members: Json) -> Json:
        return {**shown, **members}

    def read(claim: bytes, document: bytes = made.EMPTY_SLOT, *, block: int = 130) -> Json:
        return _status(made.status(claim, made.document_slot(document), as_of_block=block))

    def holding(claim: bytes, document: bytes = made.EMPTY_SLOT) -> Json:
        return render_receipt(made.receipt(reading=made.status(claim, made.document_slot(document))))

    revoked = made.flagged(StatusFlag.REVOKED)
    yield ask("sealed and not revoked as of its block")
    yield ask("QBFT, by its own commit seals", render_receipt(made.receipt(finality="bft-final")))
    operated = made.receipt(finality="operator")
    name = h(block_hash(operated.headers[0], Engine.EMBEDDED))
    yield ask("an operator's chain, offline", render_receipt(operated))
    yield ask("an operator's chain whose block is known", render_receipt(operated), knownHash=name)
    yield ask("an operator's chain that has another block", render_receipt(operated), knownHash="00" * 32)
    yield ask("another chain", trust={**clique, "chainId": 1})
    yield ask("another Ledger", trust={**clique, "ledger": clique["directory"]})
    yield ask("another engine", trust={**clique, "engine": "qbft"})
    yield ask("another value opened", altered(opening=with_value(shown["opening"], "2030-01-01")))
    yield ask("another member", altered(memberId=8))
    yield ask("another place in the batch", altered(inclusion={**shown["inclusion"], "index": 2}))
    yield ask("short path", altered(inclusion={"index": 3, "path": shown["inclusion"]["path"][:-1]}))
    yield ask("another root", altered(entry={**shown["entry"], "root": "A" * 43}))
    yield ask("a header left out", altered(headers=[shown["headers"][0], *shown["headers"][2:]]))
    yield ask("headers in another order", altered(headers=[shown["headers"][0], *shown["headers"][:0:-1]]))
    yield ask("a seal too few", altered(headers=shown["headers"][:-1]))
    yield ask("one signer twice", _sealed([*sealed.KEYS[:3], sealed.KEYS[0]]))
    yield ask("seals of a stranger between", _sealed([sealed.KEYS[0], sealed.OUTSIDER, *sealed.KEYS[1:4]]))
    yield ask("an attacker's signers", _sealed([sealed.key_of(each) for each in range(10, 15)]))
    other_set = [{"fromBlock": 0, "signers": [f"0x{each:040x}" for each in range(1, 6)]}]
    yield ask("other signers are trusted", trust={**clique, "signerSets": other_set})
    yield ask(
        "from before the anchor",
        trust={**clique, "signerSets": [clique["signerSets"][0] | {"fromBlock": 131}]},
    )
    stayed = [
        address for address in clique["signerSets"][0]["signers"] if address != f"0x{sealed.SIGNERS[1].hex()}"
    ]
    later_set = {"fromBlock": 131, "signers": stayed}
    yield ask(
        "a signer that has left seals above",
        trust={**clique, "signerSets": [*clique["signerSets"], later_set]},
    )
    yield ask("proof nodes of another block", altered(nodes=render_receipt(made.receipt(crowd=21))["nodes"]))
    yield ask("a node left out", altered(nodes=shown["nodes"][:-1]))
    yield ask("a node too many", altered(nodes=[*shown["nodes"], "gIA"]))
    yield ask("another time", altered(entry={**shown["entry"], "time": made.SEALED_AT - 86400}))
    yield ask("another batch", altered(entry={**shown["entry"], "id": 40}))
    for flag in (StatusFlag.REVOKED, StatusFlag.SUPERSEDED, StatusFlag.ERASED, StatusFlag.SUSPENDED):
        yield ask(f"claim {flag.name}", holding(made.flagged(flag)))
    yield ask("the document was revoked", holding(made.EMPTY_SLOT, revoked))
    yield ask("overridden suspension", holding(made.flagged(StatusFlag.SEEN)))
    hidden = {**holding(revoked), "status": shown["status"]}
    yield ask("a revocation that is not shown", hidden)
    yield ask("a revocation that the state does not hold", altered(status=read(revoked)))
    yield ask("a document that is not shown", altered(status={**shown["status"], "documents": []}))
    for name, chosen in _chosen_documents().items():
        yield ask(name, chosen)
    yield ask("revoked since", later=read(revoked, block=131))
    yield ask("read before the receipt was made", later=read(made.EMPTY_SLOT, block=129))
    yield ask("another document was read", later={**read(made.EMPTY_SLOT, block=131), "documents": []})
    yield ask("as old as allowed", maxAge=AGE)
    yield ask("older than allowed", maxAge=AGE - 1)
    yield ask("the day before expiry", at="2026-12-31T23:59:59+08:00")
    yield ask("the day of expiry", at="2027-01-01T00:00:00+08:00")
    yield ask("the day of expiry in Shanghai, not in London", at="2026-12-31T16:00:00+00:00")
    yield ask("before it was issued", at="2025-12-31T23:59:59+08:00")
    yield ask("a time without a zone", at="2026-12-01T09:00:00")
    yield ask("expiry is hidden", render_receipt(made.receipt(shown=("documentSlots", "sha256"))))
    yield ask("no expiry", render_receipt(made.receipt(dict(made.FIELDS) | {"expiresOn": None})))
    yield ask(
        "a date that is none", render_receipt(made.receipt(dict(made.FIELDS) | {"expiresOn": "20270101"}))
    )
    yield ask("a batch of one", render_receipt(made.receipt(size=1, index=0)))
    stamp = AUTHORITY.stamp(hashlib.sha256(receipt.entry.root).digest())
    known = [base64.b64encode(AUTHORITY.root.public_bytes(Encoding.DER)).decode()]
    yield ask("a time stamp", _stamped(stamp), tsaRoots=known)
    yield ask("a time stamp of an unknown authority", _stamped(stamp))
    yield ask("a time stamp over another root", _stamped(AUTHORITY.stamp(bytes(32))), tsaRoots=known)
    yield ask("a time stamp that is none", _stamped(b"no CMS"), tsaRoots=known)
    yield ask("a time stamp that is as long as may be", _stamped(bytes(MAX_TOKEN_BYTES)), tsaRoots=known)
    revoked_and_stamped = replace(
        made.receipt(reading=made.status(revoked, made.document_slot(made.EMPTY_SLOT))), timestamp=stamp
    )
    yield ask("a time stamp of a claim REVOKED", render_receipt(revoked_and_stamped), tsaRoots=known)
    yield ask(
        "a time stamp of an operator's chain",
        render_receipt(replace(operated, timestamp=stamp)),
        tsaRoots=known,
    )
    for name, receipt in {**_hostile_seals(), **_hostile_proofs()}.items():
        yield ask(name, receipt)


def _chosen_documents() -> dict[str, Json]:
    """Receipts of a document that its issuer revoked, whose presenter chose what to show; and other slots sealed."""
    revoked = made.status(made.EMPTY_SLOT, made.document_slot(made.flagged(StatusFlag.REVOKED)))
    records, entry = made.sealed_batch(commit(made.FIELDS, made.SALT_KEY), size=5, index=3)
    slots = made.storage_of(entry, records[3], revoked)
    state, own = sealed.state_of({made.CHAIN.ledger: slots}), list(slots)[:2]
    whole = made.receipt(reading=revoked)

    def showing(*documents: DocumentSlot) -> Json:
        nodes = state.nodes_for(
            made.CHAIN.ledger, [*own, *(document_slot(*each.place) for each in documents)]
        )
        reading = replace(revoked, documents=documents)
        return render_receipt(replace(whole, nodes=tuple(nodes), status=reading))

    def sealing(value: Json) -> Json:
        return render_receipt(made.receipt({**made.FIELDS, "documentSlots": value}, built=False))

    other = made.document_slot(tag=Tag(made.bytes_of("another document", 16)))
    second = made.status(made.EMPTY_SLOT, made.document_slot(), other)
    place: Json = made.FIELDS["documentSlots"]
    member, domain, epoch, tag = place[0]
    return {
        "the slot of a revoked document left out": showing(),
        "the slot of a revoked document changed for another": showing(other),
        "the names of the slots are hidden": render_receipt(made.receipt(shown=made.SHOWN[1:])),
        "one slot more than was sealed": render_receipt(made.receipt(reading=second)),
        "no slot was sealed": sealing([]),
        "sealed slots that are no list": sealing("none"),
        "a sealed slot of five parts": sealing([[member, domain, epoch, tag, 0]]),
        "a sealed slot with a tag too short": sealing([[member, domain, epoch, "AAAA"]]),
        "a sealed slot of a domain too large": sealing([[member, 65536, epoch, tag]]),
        "65 sealed slots": sealing([[each, domain, epoch, tag] for each in range(65)]),
    }


def _stamped(token: bytes) -> Json:
    return render_receipt(replace(made.receipt(), timestamp=token))


def _hostile_seals() -> dict[str, Json]:
    """Headers that somebody with one signer's key, or none, could make."""
    root = made.receipt().headers[0].state_root
    place = {"state_root": root, "number": 130, "time": made.AS_OF}
    own = sealed.bft_header(sealed.KEYS[:4], qbft=True, **place)
    sibling = sealed.bft_header(sealed.KEYS[:4], qbft=True, **place, parent=b"\6" * 32)
    twice = sealed.bft_header([*sealed.KEYS[:3], sealed.KEYS[0]], qbft=True, **place)
    parts = _decoded(own.extra)
    child = _plain_header(b"no seals", parent=block_hash(own, Engine.QBFT), number=131)
    first = sealed.clique_header(sealed.KEYS[0], parent=b"\7" * 32, **place)
    other = sealed.clique_header(sealed.KEYS[1], parent=b"\7" * 32, **place)
    above = sealed.clique_chain(
        sealed.KEYS[1:4], state_root=root, number=131, time=made.AS_OF + 2, parent=keccak(other.raw)
    )
    keyless = _plain_header(bytes(97), parent=keccak(first.raw), number=131)
    return {
        "QBFT, one validator's seal twice": _headed(twice, finality="bft-final"),
        "QBFT, the seals of a sibling": _headed(
            _with_extra(own, [*parts[:4], _decoded(sibling.extra)[4]]), finality="bft-final"
        ),
        "QBFT, a child without seals": _headed(own, child, finality="bft-final"),
        "QBFT, extra data nested 40 deep": _headed(
            _with_extra(own, [_nested(40), *parts[1:]]), finality="bft-final"
        ),
        "QBFT, seals that are one string": _headed(
            _with_extra(own, [*parts[:4], b"seal"]), finality="bft-final"
        ),
        "seals on a sibling of the block": _headed(first, *above),
        "no room for a seal": _headed(first, _plain_header(bytes(96), parent=keccak(first.raw), number=131)),
        "a seal that fits no key": _headed(first, keyless),
    }


def _hostile_proofs() -> dict[str, Json]:
    """Proofs that hold, of something else."""
    shown: Json = render_receipt(made.receipt())
    records, entry = made.sealed_batch(commit(made.FIELDS, made.SALT_KEY), size=5, index=3)
    slots = made.storage_of(entry, records[3], made.status())
    elsewhere = sealed.state_of({made.MEMBERS: slots})
    deep = rlp.encode([b"", _nested(40)])
    ledger = sealed.state_of({made.CHAIN.ledger: slots})
    stranger = made.receipt({**made.FIELDS, "documentNo": "DEMO-310104-0002"})
    return {
        "the account of another contract": _headed(
            *_sealed_over(elsewhere.root), nodes=elsewhere.nodes_for(made.MEMBERS, list(slots))
        ),
        "the slot of another batch": {
            **shown,
            "nodes": [
                render_base64url(each) for each in ledger.nodes_for(made.CHAIN.ledger, [batch_slot(7)])
            ],
        },
        "a node nested 40 deep": _headed(*_sealed_over(keccak(deep)), nodes=(deep,)),
        "100 nodes that prove nothing": {
            **shown,
            "nodes": [*shown["nodes"], *(render_base64url(b"%03d" % each) for each in range(100))],
        },
        "the opening of another material": {**shown, "opening": render_receipt(stranger)["opening"]},
    }


def _sealed_over(root: bytes) -> tuple[Header, ...]:
    return made.headers_of(root, sealers=sealed.KEYS[:4], finality="crash-final", number=130)


def _headed(*headers: Header, finality: str = "crash-final", nodes: Sequence[bytes] | None = None) -> Json:
    receipt = replace(made.receipt(finality=finality), headers=headers)
    return render_receipt(receipt if nodes is None else replace(receipt, nodes=tuple(nodes)))


def _plain_header(extra: bytes, *, parent: bytes, number: int) -> Header:
    place = {"parent": parent, "state_root": bytes(32), "number": number, "time": made.AS_OF + 2}
    return decode_header(rlp.encode(sealed.header_fields(**place, extra=extra)))


def _with_extra(header: Header, parts: Json) -> Header:
    fields = list(header.fields)
    fields[12] = rlp.encode(parts)
    return decode_header(rlp.encode(fields))


def _decoded(raw: bytes) -> Json:
    return rlp.decode(raw)


def _nested(depth: int) -> Json:
    item: Json = b""
    for _ in range(depth):
        item = [item]
    return item


def _sealed(sealers: Sequence[PrivateKey]) -> Json:
    return render_receipt(made.receipt(sealers=sealers))


def _status(reading: StatusReading) -> Json:
    return render_receipt(replace(made.receipt(), status=reading))["status"]


def _with_header(shown: Json, header: bytes) -> bytes:
    return json.dumps({**shown, "headers": [render_base64url(header), *shown["headers"][1:]]}).encode()


def with_value(opening: Json, value: Json) -> Json:
    """Give an opening whose first opened field has another value."""
    first, *rest = opening["opened"]
    return {**opening, "opened": [{**first, "value": value}, *rest]}


def receipt_rejects() -> Iterator[Asked]:
    """Bytes that are no receipt."""
    shown: Json = render_receipt(made.receipt())
    text = json.dumps(shown, ensure_ascii=False, separators=(",", ":"))

    def raw(name: str, content: bytes) -> Asked:
        return name, "receipt.parse", base64.b64encode(content).decode()

    def swap(name: str, old: str, new: str) -> Asked:
        if old not in text:
            raise AssertionError(f"{name}: nothing to replace")
        return raw(name, text.replace(old, new, 1).encode())

    yield raw("empty", b"")
    yield raw("not JSON", b"deltaseal-receipt/1")
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
    yield swap("an earlier version", "receipt/1", "receipt/0")
    yield swap("a later version", "receipt/1", "receipt/2")
    yield swap("a version in capitals", "deltaseal-receipt/1", "Deltaseal-Receipt/1")
    yield swap("an algorithm of its own", '"entry":{', '"entry":{"hash":"sha3-256",')
    yield swap("an exponent", '"memberId":7', '"memberId":7e0')
    yield swap("a leading zero", '"memberId":7', '"memberId":07')
    yield swap("a comma too many", '"memberId":7', '"memberId":7,')
    yield swap("a comment", '"memberId":7', '/* seven */"memberId":7')
    yield swap("a control character in text", '"value":"LICENCE"', '"value":"LI\tCENCE"')
    yield swap("a key of a prototype", '"memberId":7', '"memberId":7,"__proto__":{}')
    yield swap("a key of a prototype instead", '"memberId":7', '"__proto__":7')
    yield raw("nested 10,000 deep", b'{"a":' * 10_000)
    yield raw("a header nested 40 deep", _with_header(shown, rlp.encode(_nested(40))))
    yield raw("a header of lists", _with_header(shown, rlp.encode([[b""]] * 15)))
    yield swap("unknown member", '"memberId":7', '"memberId":7,"more":1')
    yield swap("missing member", '"memberId":7,', "")
    for member in shown:
        without = {name: value for name, value in shown.items() if name != member}
        yield raw(f"without {member}", json.dumps(without).encode())
    yield swap("member id of 33 bits", '"memberId":7', '"memberId":4294967296')
    yield swap("stream 4", '"stream":1', '"stream":4')
    yield swap("size 0", '"size":5', '"size":0')
    yield swap("upper-case hexadecimal", "0x0", "0X0")
    yield swap("short address", '"directory":"0x', '"directory":"0x0')
    yield swap("padded base64url", '"docTag":"', '"docTag":"=')
    yield swap("an unknown finality", '"finality":"crash-final"', '"finality":"final"')
    yield swap("admits less than it should", '"finality":"crash-final"', '"finality":"operator"')
    yield swap("admits what is proved", '"notProvedOffline":[]', '"notProvedOffline":["block_finality"]')
    yield swap("status of another block than the header's", '"asOfBlock":130', '"asOfBlock":129')
    yield swap(
        "status of another time than the header's", f'"asOfTime":{made.AS_OF}', f'"asOfTime":{made.AS_OF + 1}'
    )
    yield swap("sealed after its block", f'"time":{made.SEALED_AT}', f'"time":{made.AS_OF + 1}')
    yield swap("no header", '"headers":[', '"headers":[],"more":[')
    yield swap("a header that is no RLP", '"headers":["-Q', '"headers":["-A')
    yield swap("a header with bytes behind it", '"headers":["', '"headers":["wMDA","')
    yield swap("a node twice", '"nodes":["', f'"nodes":["{shown["nodes"][0]}","')
    yield swap("a node of 1,026 bytes", '"nodes":["', f'"nodes":["{"A" * 1368}","')
    yield swap("status with an unknown flag", '"claim":"0x00', '"claim":"0x10')
    yield swap("text not in NFC", '"value":"LICENCE"', '"value":"A\u030a"')
    yield swap("lone surrogate", '"value":"LICENCE"', '"value":"\\ud800"')
    for member in ("claim", "documents", "asOfBlock", "asOfTime"):
        status = {name: value for name, value in shown["status"].items() if name != member}
        yield raw(f"status without {member}", json.dumps({**shown, "status": status}).encode())
    yield swap("a document of three members", '"domain":1,', "")
    yield swap("short record", '"record":"', '"record":"A')
    yield swap("index that is text", '"index":3', '"index":"3"')
    yield swap("opening that is null", '"opening":{', '"opening":null,"more":{')
    yield swap("path that is an object", '"path":[', '"path":{},"more":[')
    for name, value in {
        "an empty time stamp": "",
        "a padded time stamp": "MA==",
        "a time stamp with spare bits set": "MB",
        "a time stamp in standard base64": "+/+/",
        "a time stamp that is a byte too long": render_base64url(bytes(MAX_TOKEN_BYTES + 1)),
        "a time stamp that is null": None,
        "a time stamp that is a list": ["MAA"],
    }.items():
        yield raw(name, json.dumps({**shown, "timestamp": value}).encode())
    yield swap("a time stamp twice", '"memberId":7', '"memberId":7,"timestamp":"MAA","timestamp":"MAA"')
    yield swap("domain 65536", '"domain":1', '"domain":65536')
    yield swap("entry time that is missing", f',"time":{made.SEALED_AT}}}', "}")
