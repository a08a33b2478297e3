"""What a vector asks for: one function from JSON to JSON for each operation name.

The script that writes the vectors and the test that reads them use the same table.
"""

import base64
import json
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from cryptography.x509 import Certificate, load_der_x509_certificate

from anchor.commitments import (
    Commitment,
    commit,
    open_fields,
    opening_from_json,
    opening_to_json,
    verify_opening,
)
from anchor.entries import (
    BatchEntry,
    SlotStatus,
    StatusFlag,
    batch_hash,
    claim_key,
    decode_entry,
    decode_status,
    document_key,
    encode_entry,
    encode_status,
)
from anchor.envelopes import RecipientKey, epoch_info, open_
from anchor.merkle import (
    Frontier,
    consistency_path,
    inclusion_path,
    leaf_hash,
    root,
    root_from_inclusion,
    verify_consistency,
)
from anchor.records import (
    AuditRecord,
    Flag,
    MaterialRecord,
    Record,
    ReuseRecord,
    Stream,
    decode_record,
    encode_record,
    record_id,
)
from anchor.tags import Tag, derive_consume_key, derive_domain_keys
from verifier.checkpoints import checkpoint_signer, find_conflict, parse_checkpoint, verify_extends
from verifier.receipts import DocumentSlot, StatusReading, check_receipt, parse_receipt, render_receipt
from verifier.statements import apply_statement, parse_statement, render_statement
from verifier.trust import advance_trust, parse_step, parse_trust, render_step, render_trust

Json = Any


def h(raw: bytes) -> str:
    """Render bytes as hexadecimal digits."""
    return raw.hex()


def b(text: str) -> bytes:
    """Parse hexadecimal digits."""
    return bytes.fromhex(text)


# What a case's input asks for, by format and operation. The tests run the same table.


def _record_encode(value: Json) -> Json:
    keys = derive_domain_keys(value["fields"]["domain"], value["fields"]["epoch"], b(value["secret"]))
    encoded = encode_record(record_from_json(value["fields"]), keys)
    return {"record": h(encoded), "recordId": h(record_id(value["memberId"], encoded))}


def _record_decode(value: Json) -> Json:
    keys = derive_domain_keys(value["domain"], value["epoch"], b(value["secret"]))
    return record_to_json(decode_record(b(value["record"]), keys))


def _commit(value: Json) -> Json:
    fields, salt_key = value["fields"], b(value["saltKey"])
    opening = open_fields(fields, salt_key, value["open"])
    return {"commitment": h(commit(fields, salt_key)), "opening": opening_to_json(opening)}


def _open(value: Json) -> Json:
    opening = opening_from_json(value["opening"])
    return {"fields": dict(verify_opening(opening, Commitment(b(value["commitment"]))))}


def _tag(value: Json) -> Json:
    keys = derive_domain_keys(value["domain"], value["epoch"], b(value["secret"]))
    raw = {
        "content": lambda v: keys.content_tag(b(v)),
        "material": lambda v: keys.material_tag(Commitment(b(v))),
    }
    text = {
        "subject": keys.subject_tag,
        "document": keys.doc_tag,
        "case": keys.case_tag,
        "party": keys.party_tag,
    }
    kind = value["kind"]
    return h((raw[kind] if kind in raw else text[kind])(*value["values"]))  # type: ignore[operator]


def _mask(value: Json) -> Json:
    keys = derive_domain_keys(value["domain"], value["epoch"], b(value["secret"]))
    return h(keys.mask(Commitment(b(value["commitment"])), value["line"], b(value["body"])))


def _nullifier(value: Json) -> Json:
    return h(derive_consume_key(value["domain"], b(value["secret"])).nullifier(*value["values"]))


def _public_key(value: Json) -> Json:
    return h(RecipientKey.from_bytes(b(value["seed"])).public_bytes)


def _epoch_info(value: Json) -> Json:
    place = (value["domain"], value["epoch"], value["memberId"])
    return h(epoch_info(value["chainId"], b(value["directory"]), *place))


def _open_envelope(value: Json) -> Json:
    key = RecipientKey.from_bytes(b(value["seed"]))
    return h(open_(key, info=b(value["info"]), sealed=b(value["sealed"])))


def _leaves(value: Json) -> list[bytes]:
    return [leaf_hash(b(content)) for content in value["leaves"]]


def _consistency(value: Json) -> Json:
    roots = (b(value["firstRoot"]), b(value["secondRoot"]))
    verify_consistency(value["first"], value["second"], *roots, [b(each) for each in value["path"]])
    return "consistent"


def _inclusion(value: Json) -> Json:
    path = [b(each) for each in value["path"]]
    return h(root_from_inclusion(b(value["leaf"]), value["index"], value["size"], path))


def _frontier(value: Json) -> Json:
    frontier = Frontier()
    for leaf in _leaves(value):
        frontier.append(leaf)
    return {"encoded": h(frontier.encode()), "root": h(frontier.root())}


def _entry(value: Json) -> Json:
    entry = entry_from_json(value)
    return {"encoded": h(encode_entry(entry)), "batchHash": h(batch_hash(entry))}


def _status(value: Json) -> Json:
    successor = b(value["successor"])
    return h(
        encode_status(SlotStatus(StatusFlag(value["flags"]), value["since"], value["reason"], successor))
    )


def _status_json(raw: str) -> Json:
    found = decode_status(b(raw))
    return {
        "flags": int(found.flags),
        "since": found.since,
        "reason": found.reason,
        "successor": h(found.successor),
    }


def _document_key(value: Json) -> Json:
    place = (value["memberId"], value["domain"], value["epoch"])
    return h(document_key(*place, Tag(b(value["docTag"]))))


def roots_from_json(value: Json) -> list[Certificate]:
    """Load the DER certificates of time-stamping authorities, if a case brings any."""
    return [load_der_x509_certificate(base64.b64decode(each)) for each in value or ()]


def _check(value: Json) -> Json:
    findings = check_receipt(
        parse_receipt(json.dumps(value["receipt"]).encode()),
        parse_trust(json.dumps(value["trust"]).encode()),
        at=datetime.fromisoformat(value["at"]),
        known_hash=None if value["knownHash"] is None else b(value["knownHash"]),
        later=None if value["later"] is None else reading_from_json(value["later"]),
        max_age_s=value["maxAge"],
        tsa_roots=roots_from_json(value.get("tsaRoots")),
    )
    return {
        "verdict": findings.verdict.value,
        "reasons": [[each.code, each.outcome.value, each.detail] for each in findings.reasons],
    }


def _check_statement(value: Json) -> Json:
    statement = parse_statement(json.dumps(value["statement"]).encode())
    receipt = apply_statement(parse_receipt(json.dumps(value["receipt"]).encode()), statement)
    trust = parse_trust(json.dumps(value["trust"]).encode())
    findings = check_receipt(receipt, trust, at=datetime.fromisoformat(value["at"]))
    return {
        "verdict": findings.verdict.value,
        "asOfBlock": receipt.status.as_of_block,
        "reasons": [[each.code, each.outcome.value, each.detail] for each in findings.reasons],
    }


def _advance(value: Json) -> Json:
    anchor = parse_trust(json.dumps(value["trust"]).encode())
    return render_trust(advance_trust(anchor, parse_step(json.dumps(value["step"]).encode())))


def _conflict(value: Json) -> Json:
    one, other = (parse_checkpoint(json.dumps(value[name]).encode()) for name in ("one", "other"))
    return find_conflict(one.checkpoint, other.checkpoint)


def _extends(value: Json) -> Json:
    earlier, later = (parse_checkpoint(json.dumps(value[name]).encode()) for name in ("earlier", "later"))
    verify_extends(earlier.checkpoint, later.checkpoint, [b(each) for each in value["path"]])
    return "extends"


OPERATIONS: Mapping[str, Callable[[Json], Json]] = {
    "record.encode": _record_encode,
    "record.decode": _record_decode,
    "commitment.commit": _commit,
    "commitment.open": _open,
    "tags.tag": _tag,
    "tags.mask": _mask,
    "tags.nullifier": _nullifier,
    "envelope.public_key": _public_key,
    "envelope.epoch_info": _epoch_info,
    "envelope.open": _open_envelope,
    "merkle.root": lambda value: h(root(_leaves(value))),
    "merkle.inclusion_path": lambda value: [h(e) for e in inclusion_path(_leaves(value), value["index"])],
    "merkle.consistency_path": lambda value: [h(e) for e in consistency_path(_leaves(value), value["first"])],
    "merkle.inclusion": _inclusion,
    "merkle.consistency": _consistency,
    "merkle.frontier": _frontier,
    "merkle.decode_frontier": lambda value: h(Frontier.decode(b(value)).root()),
    "entry.encode": _entry,
    "entry.decode": lambda value: entry_to_json(decode_entry(b(value))),
    "entry.encode_status": _status,
    "entry.decode_status": _status_json,
    "entry.claim_key": lambda value: h(claim_key(value["memberId"], Commitment(b(value["commitment"])))),
    "entry.document_key": _document_key,
    "checkpoint.signer": lambda value: h(checkpoint_signer(parse_checkpoint(base64.b64decode(value)))),
    "checkpoint.conflict": _conflict,
    "checkpoint.extends": _extends,
    "statement.check": _check_statement,
    "statement.parse": lambda value: render_statement(parse_statement(base64.b64decode(value))),
    "receipt.check": _check,
    "receipt.parse": lambda value: render_receipt(parse_receipt(base64.b64decode(value))),
    "trust.parse": lambda value: render_trust(parse_trust(base64.b64decode(value))),
    "trust.parse_step": lambda value: render_step(parse_step(base64.b64decode(value))),
    "trust.advance": _advance,
}


# JSON forms of the values in a case. They are of the vectors only; no node speaks them.


def record_from_json(value: Json) -> Record:
    """Build a record from the vectors' JSON form."""
    place = (Commitment(b(value["commitment"])), value["domain"], value["epoch"], value["line"])
    if value["format"] == Stream.AUDIT:
        return AuditRecord(*place, value["sequence"], value["count"])
    tags = (Tag(b(value["tags"][0])), Tag(b(value["tags"][1])), Tag(b(value["tags"][2])))
    dates = [each and date.fromisoformat(each) for each in value["dates"]]
    if value["format"] == Stream.REUSE:
        return ReuseRecord(*place, *tags, dates[0])
    return MaterialRecord(*place, *tags, dates[0], dates[1], Flag(value["flags"]))


def record_to_json(record: Record) -> Json:
    """Give the vectors' JSON form of a record."""
    place = {
        "commitment": h(record.commitment),
        "domain": record.domain,
        "epoch": record.epoch,
        "line": record.line,
    }
    if isinstance(record, AuditRecord):
        return {"format": 3, **place, "sequence": record.sequence, "count": record.count}
    if isinstance(record, ReuseRecord):
        tags = [h(record.material_tag), h(record.case_tag), h(record.party_tag)]
        return {"format": 2, **place, "tags": tags, "dates": [record.decided_on.isoformat()]}
    tags = [h(record.subject_tag), h(record.content_tag), h(record.doc_tag)]
    dates = [each and each.isoformat() for each in (record.issued_on, record.expires_on)]
    return {"format": 1, **place, "tags": tags, "dates": dates, "flags": int(record.flags)}


def entry_from_json(value: Json) -> BatchEntry:
    """Build an entry from the vectors' JSON form."""
    stream = Stream(value["stream"])
    numbers = (value["seq"], value["size"], b(value["root"]), value["time"])
    return BatchEntry(value["id"], value["memberId"], stream, *numbers)


def entry_to_json(entry: BatchEntry) -> Json:
    """Give the vectors' JSON form of an entry."""
    return {
        "id": entry.id,
        "memberId": entry.member_id,
        "stream": int(entry.stream),
        "seq": entry.seq,
        "size": entry.size,
        "root": h(entry.root),
        "time": entry.time,
    }


def reading_from_json(value: Json) -> StatusReading:
    """Build a reading of status slots from the receipt's own JSON form of one."""
    slots = tuple(
        DocumentSlot(
            each["memberId"],
            each["domain"],
            each["epoch"],
            Tag(base64.urlsafe_b64decode(each["docTag"] + "==")),
            b(each["value"][2:]),
        )
        for each in value["documents"]
    )
    return StatusReading(b(value["claim"][2:]), slots, value["asOfBlock"], value["asOfTime"])
