"""Every parser and codec that takes bytes from outside, with what must hold for whatever it accepts.

A target's `run` takes one input and returns whether it was accepted. Refusals are `DeltasealError`s; any other
exception, and a failed assertion, is a finding. For each the property is that nothing is accepted with another meaning
than it has: what was read is written again and compared with what came, or, behind a tag, digest or signature, with the
one original.
"""

from __future__ import annotations

import asyncio
import atexit
import base64
import io
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request

from anchor.base64url import parse_base64url
from anchor.canonical import canonical_bytes, parse_strict_json
from anchor.chain.deploy import Deployment
from anchor.chain.gateway import Gateway
from anchor.chain.journal import JOURNAL_NAME, Journal
from anchor.commitments import Commitment, opening_from_json, opening_to_json, verify_opening
from anchor.entries import decode_entry, decode_status, encode_entry, encode_status
from anchor.envelopes import RecipientKey, open_
from anchor.errors import DeltasealError
from anchor.headers import decode_header, encode_header
from anchor.keyvalue import Put
from anchor.records import decode_record, encode_record
from anchor.signer import Signer, parse_transaction
from anchor.tags import derive_domain_keys
from cli.demo.catalogue import entries
from cli.errors import CliError
from cli.push.journal import PushJournal
from cli.push.lists import read_list
from node.federation import messages
from node.federation.sealing import FrameReader
from node.http.auth import read_purpose
from node.http.cursors import decode_cursor, encode_cursor
from node.http.idempotency import read_idempotency_key
from node.http.multipart import open_upload, safe_file_name
from node.http.ranges import parse_range
from node.http.strictjson import decode_body, parse_json
from node.keys import KeyFolder
from node.services import backups, requests
from node.store import rows
from node.store.envelope import RowSeal, unwrap_key
from node.store.leveldb import LevelStore
from tests.unit import receipt_factory as made
from verifier.catalog import parse_entry, render_entry
from verifier.receipts import ReceiptVerdict, check_receipt, parse_receipt, render_receipt
from verifier.subjects import parse_subject
from verifier.trust import parse_step, parse_trust, render_step, render_trust

VECTORS = Path(__file__).parents[1] / "vectors"
TODAY = date(2026, 11, 4)
DEPLOYMENT = Deployment(31007, bytes(32), *(bytes([n]) * 20 for n in range(1, 6)))
Run = Callable[[bytes], bool]


@dataclass(frozen=True)
class Target:
    """One parser: its name, golden inputs, and what is done with an input."""

    name: str
    corpus: Sequence[bytes]
    run: Run


def try_one(target: Target, content: bytes) -> bool:
    """Run one input; True if it was accepted. Whatever is raised beside a typed refusal is a finding."""
    try:
        return target.run(content)
    except (DeltasealError, CliError):
        return False


def cases(page: str, operation: str | None) -> list[Any]:
    """Return the inputs of golden cases, accepted and refused ones."""
    found = []
    for name in ("accept", "reject"):
        for case in json.loads((VECTORS / page / f"{name}.json").read_text())["cases"]:
            if case.get("operation") == operation:
                found.append(case["input"])
    return found


def scratch() -> Path:
    """Make a folder for inputs that a parser reads from a file: in memory where there is such a place."""
    shared = Path("/dev/shm")  # noqa: S108 - a folder of our own inside of it
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=shared if shared.is_dir() else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


# anchor


def record() -> Target:
    keys = derive_domain_keys(1, 1, bytes.fromhex(cases("record", "record.encode")[0]["secret"]))
    corpus = [bytes.fromhex(case["record"]) for case in cases("record", "record.decode")]
    corpus += [made.sealed_record(Commitment(bytes(32)))]

    def run(content: bytes) -> bool:
        assert encode_record(decode_record(content, keys), keys) == content
        return True

    return Target("record", corpus, run)


def entry() -> Target:
    corpus = [bytes.fromhex(case) for case in cases("entry", "entry.decode")]

    def run(content: bytes) -> bool:
        assert encode_entry(decode_entry(content)) == content
        return True

    return Target("batch entry", corpus, run)


def status() -> Target:
    corpus = [bytes.fromhex(case) for case in cases("entry", "entry.decode_status")]

    def run(content: bytes) -> bool:
        assert encode_status(decode_status(content)) == content
        return True

    return Target("status word", corpus, run)


def opening() -> Target:
    golden = [case for case in cases("commitment", "commitment.open") if isinstance(case["opening"], dict)]
    commitment = Commitment(bytes.fromhex(golden[0]["commitment"]))
    fields = dict(verify_opening(opening_from_json(golden[0]["opening"]), commitment))

    def run(content: bytes) -> bool:
        value = parse_strict_json(content, max_bytes=1 << 20)
        read = opening_from_json(value)
        assert opening_to_json(read) == value
        assert verify_opening(read, commitment) == {
            name: fields[name] for name in (o.name for o in read.opened)
        }
        return True

    return Target("opening", [compact(case["opening"]) for case in golden], run)


def transaction() -> Target:
    signer = Signer.from_key(bytes(31) + b"\x07")
    corpus = [
        signer.sign_transaction(
            chain_id=31007, nonce=nonce, to=to, calldata=bytes(nonce), gas=21_000 + nonce
        ).raw
        for nonce, to in ((0, bytes(20)), (1, b"\x01" * 20), (300, None))
    ]

    def run(content: bytes) -> bool:
        parse_transaction(content)
        return True

    return Target("transaction", corpus, run)


def header() -> Target:
    network = json.loads((VECTORS / "receipt" / "clique-network.json").read_text())
    corpus = [parse_base64url(one) for receipt in network["receipts"].values() for one in receipt["headers"]]

    def run(content: bytes) -> bool:
        read = decode_header(content)
        assert encode_header(read.fields).raw == content
        return True

    return Target("block header", corpus, run)


def envelope() -> Target:
    case = next(case for case in cases("envelope", "envelope.open"))
    key, info = RecipientKey.from_bytes(bytes.fromhex(case["seed"])), bytes.fromhex(case["info"])
    sealed = bytes.fromhex(case["sealed"])

    def run(content: bytes) -> bool:
        open_(key, info=info, sealed=content)
        assert content == sealed
        return True

    return Target("epoch envelope", [sealed], run)


def canonical() -> Target:
    corpus = [compact(case["fields"]) for case in cases("commitment", "commitment.commit")]

    def run(content: bytes) -> bool:
        value = parse_strict_json(content, max_bytes=1 << 20)
        assert parse_strict_json(canonical_bytes(value), max_bytes=1 << 20) == value
        return True

    return Target("canonical JSON", corpus, run)


class _Answers:
    """Stands where the wire does, and answers every request with the same bytes."""

    def __init__(self) -> None:
        self.content = b""

    def post(self, body: bytes, *, repeatable: bool) -> bytes:
        return self.content


def rpc() -> Target:
    block = {
        "number": "0x2a",
        "hash": "0x" + "ab" * 32,
        "parentHash": "0x" + "cd" * 32,
        "timestamp": "0x6ab13b80",
        "stateRoot": "0x" + "11" * 32,
        "extraData": "0x",
        "miner": "0x" + "22" * 20,
        "difficulty": "0x2",
    }
    log = {
        "address": "0x" + "01" * 20,
        "topics": ["0x" + "ef" * 32],
        "data": "0x00ff",
        "blockNumber": "0x2a",
        "blockHash": "0x" + "ab" * 32,
        "transactionHash": "0x" + "cd" * 32,
        "transactionIndex": "0x0",
        "logIndex": "0x1",
        "removed": False,
    }
    receipt = {
        "transactionHash": "0x" + "cd" * 32,
        "blockNumber": "0x2a",
        "blockHash": "0x" + "ab" * 32,
        "status": "0x1",
        "gasUsed": "0x5208",
        "logs": [log],
        "contractAddress": None,
        "from": "0x" + "01" * 20,
    }
    error = {"code": -32000, "message": "nonce too low: next nonce 5, tx nonce 4", "data": "0x"}
    results = [block, [log, log], receipt, "0x2a", "0x" + "00" * 32, None]
    corpus = [compact({"jsonrpc": "2.0", "id": 1, "result": one}) for one in results]
    corpus += [compact({"jsonrpc": "2.0", "id": 1, "error": error})]
    corpus += [compact([{"jsonrpc": "2.0", "id": n, "result": one} for n, one in enumerate((block, block))])]
    gateway = Gateway("http://127.0.0.1:1")
    answers = _Answers()
    gateway._wire = answers  # type: ignore[assignment]
    asks: list[Callable[[], Any]] = [
        gateway.block,
        lambda: gateway.logs([bytes(20)], first=1, last=2),
        lambda: gateway.receipt(bytes(32)),
        gateway.chain_id,
        lambda: gateway.storage(bytes(20), bytes(32)),
        lambda: gateway.blocks([1, 2]),
        lambda: gateway.send_raw(b"\x01"),
    ]

    def run(content: bytes) -> bool:
        answers.content = content
        accepted = False
        for ask in asks:
            try:
                ask()
                accepted = True
            except DeltasealError:
                continue
        return accepted

    return Target("RPC answers", corpus, run)


def chain_journal() -> Target:
    corpus = [bytes.fromhex(case) for case in cases("journal", None) if isinstance(case, str)]
    whole = max(corpus, key=len)
    folder = scratch()
    path = folder / JOURNAL_NAME
    sound = {one for raw in corpus for one in _journal_entries(folder, raw)}

    def run(content: bytes) -> bool:
        path.write_bytes(content)
        journal = Journal.open(folder)
        try:
            # Each entry is tied to all before it: whatever is read was written so.
            assert set(map(repr, journal.entries())) <= sound
        finally:
            journal.close()
        return True

    return Target("chain journal", [*corpus, whole], run)


def _journal_entries(folder: Path, raw: bytes) -> list[str]:
    (folder / JOURNAL_NAME).write_bytes(raw)
    try:
        journal = Journal.open(folder)
    except DeltasealError:
        return []
    found = [repr(one) for one in journal.entries()]
    journal.close()
    return found


# verifier


def receipt() -> Target:
    golden = cases("receipt", "receipt.check")
    at = datetime.fromisoformat(golden[0]["at"])
    told = ("chain", "opening", "record", "memberId", "entry", "status")
    kept = {canonical_bytes({name: one["receipt"][name] for name in told}) for one in golden}
    corpus = [compact(one["receipt"]) for one in golden[:20]]
    assert check_receipt(parse_receipt(corpus[0]), made.TRUST, at=at).verdict is ReceiptVerdict.VALID

    count = 0

    def run(content: bytes) -> bool:
        nonlocal count
        read = parse_receipt(content)
        value = render_receipt(read)
        assert value == parse_strict_json(content, max_bytes=4 << 20)
        count += 1
        # Judging takes ten times longer than parsing.
        if count % 5 == 0 and check_receipt(read, made.TRUST, at=at).verdict is ReceiptVerdict.VALID:
            assert canonical_bytes({name: value[name] for name in told}) in kept
        return True

    return Target("receipt", corpus, run)


def trust() -> Target:
    corpus = [base64.b64decode(case) for case in cases("trust", "trust.parse") if isinstance(case, str)]

    def run(content: bytes) -> bool:
        read = parse_trust(content)
        assert parse_trust(compact(render_trust(read))) == read
        assert render_trust(read).items() <= parse_strict_json(content, max_bytes=1 << 20).items()  # type: ignore[union-attr]
        return True

    return Target("trust anchor", corpus, run)


def trust_step() -> Target:
    network = json.loads((VECTORS / "receipt" / "clique-network.json").read_text())

    def run(content: bytes) -> bool:
        read = parse_step(content)
        assert parse_step(compact(render_step(read))) == read
        return True

    return Target("trust step", [compact(network["step"])], run)


def catalogue_entry() -> Target:
    golden = {one.kind: one for one in entries()}
    corpus = [
        one.kind.encode() + b"\n" + one.code.encode() + b"\n" + canonical_bytes(one.entry)
        for one in golden.values()
    ]

    def run(content: bytes) -> bool:
        kind, _, rest = content.partition(b"\n")
        code, _, text = rest.partition(b"\n")
        value = parse_entry(kind.decode("latin-1"), code.decode("latin-1"), text)
        assert render_entry(kind.decode("latin-1"), code.decode("latin-1"), value) == text
        return True

    return Target("catalogue entry", corpus, run)


def subject() -> Target:
    corpus = [b"001:91310115FAKE010322", b"111:310104185001010014", b"900:2406-310118-04-01-100001"]

    def run(content: bytes) -> bool:
        kind, _, number = content.decode("utf-8", "surrogateescape").partition(":")
        read = parse_subject(kind, number, today=TODAY)
        assert parse_subject(read.id_type, read.id, today=TODAY) == read
        return True

    return Target("subject", corpus, run)


# node


def release_request() -> Target:
    bodies = [case["body"].encode("utf-8", "surrogatepass") for case in cases("release", "request")]
    chain = json.loads((VECTORS / "release" / "accept.json").read_text())["chain"]
    deployment = Deployment(
        chain["chainId"], bytes(32), bytes.fromhex(chain["directory"]), *(bytes([n]) * 20 for n in range(4))
    )
    golden = [messages.parse_request(body) for body in bodies[:2]]
    signers = {messages.request_signer(one, deployment): one.request for one in golden}
    count = 0

    def run(content: bytes) -> bool:
        nonlocal count
        read = messages.parse_request(content)
        assert messages.parse_request(messages.render(read)) == read
        count += 1
        if count % 50 == 0:  # recovering a signer takes 50 times longer than parsing
            signer = messages.request_signer(read, deployment)
            assert signer not in signers or read.request in [one.request for one in golden]
        return True

    return Target("release request", bodies, run)


def release_answer() -> Target:
    answer = messages.ReleaseAnswer(
        request_hash="ab" * 32,
        custodian=3,
        outcome="released",
        reason="",
        commitment="cd" * 32,
        sealed_hash="ef" * 32,
        size=48213,
        decided_at=1795478401,
    )
    signed = messages.sign_answer(answer, bytes(40), Signer.from_key(bytes(31) + b"\x07"), DEPLOYMENT)

    def run(content: bytes) -> bool:
        read = messages.parse_answer(content)
        assert messages.parse_answer(messages.render(read)) == read
        messages.decode_base64(read.sealed_key)
        return True

    return Target("release answer", [messages.render(signed)], run)


def erasure_notice() -> Target:
    notice = messages.ErasureNotice(
        custodian=3, audience=2, commitment="ab" * 32, reason_code=8, erased_at=1795478400
    )
    signed = messages.sign_notice(notice, Signer.from_key(bytes(31) + b"\x07"), DEPLOYMENT)

    def run(content: bytes) -> bool:
        read = messages.parse_notice(content)
        assert messages.parse_notice(messages.render(read)) == read
        return True

    return Target("erasure notice", [messages.render(signed)], run)


def release_stream() -> Target:
    golden = [case for case in cases("release", "stream") if {"stream", "key", "requestHash"} <= case.keys()]
    request_hash, key = bytes.fromhex(golden[0]["requestHash"]), bytes.fromhex(golden[0]["key"])
    corpus = [bytes.fromhex(case["stream"]) for case in golden]
    whole = {tuple(_opened_frames(raw, request_hash, key)) for raw in corpus}

    def run(content: bytes) -> bool:
        pieces = tuple(_opened_frames(content, request_hash, key))
        assert any(one[: len(pieces)] == pieces for one in whole)
        return True

    return Target("release stream", corpus, run)


def _opened_frames(content: bytes, request_hash: bytes, key: bytes) -> list[bytes]:
    """Return what a requester would have taken before the stream broke."""
    reader = FrameReader(request_hash)
    reader.set_key(key)
    pieces: list[bytes] = []
    try:
        for at in range(0, len(content), 33):
            pieces += reader.feed(content[at : at + 33])
        reader.close()
    except DeltasealError:
        pass
    return pieces


def stored_row() -> Target:
    case = cases("stored-envelope", "row.open")[0]
    seal, key = RowSeal(bytes.fromhex(case["storeKey"])), bytes.fromhex(case["key"])
    sealed = bytes.fromhex(case["sealed"])

    def run(content: bytes) -> bool:
        seal.open(key, content)
        assert content == sealed
        return True

    return Target("stored row", [sealed], run)


def wrapped_key() -> Target:
    case = cases("stored-envelope", "key.unwrap")[0]
    kek, aad, wrapped = (bytes.fromhex(case[name]) for name in ("kek", "aad", "wrapped"))

    def run(content: bytes) -> bool:
        unwrap_key(kek, content, aad)
        assert content == wrapped
        return True

    return Target("wrapped key", [wrapped], run)


def row_content() -> Target:
    subject_row = rows.SubjectRow("111", "310104185001010014", "holder")
    material = rows.MaterialRow("mat_1", "a", "M1", "t", [subject_row], "n", "c", 1, 7, "L2", "conditional")
    erasure = rows.ErasureRow(
        *("mat_1", "a", "material", 7, 8, "a/k", 1, [rows.ErasedVersion(1, b"c")], ["op"], [1]),
        *([rows.ErasedBlob("blb_1", 2)], [b"k"], [b"r"], "accepted", 7),
    )
    audit = rows.AuditRow(
        1, 7, "a/k", "material.accept", "mat_1", "accepted", "", "req", bytes(32), bytes(32)
    )
    puts: list[tuple[rows.Table[Any], Put]] = [
        (rows.MATERIAL, rows.MATERIAL.put(material)),
        (rows.ERASURE, rows.ERASURE.put(erasure)),
        (rows.AUDIT, rows.AUDIT.put(audit)),
    ]

    def run(content: bytes) -> bool:
        accepted = False
        for table, put in puts:
            try:
                row = table.decode(put.key, content)
            except DeltasealError:
                continue
            assert table.decode(put.key, table.put(row).value) == row
            accepted = True
        return accepted

    return Target("row content", [put.value for _, put in puts], run)


def backup_file() -> Target:
    keys = KeyFolder.create(scratch() / "keys", "fuzz", scrypt_n=2**10)
    with LevelStore.create(scratch() / "store", node_id="node_x", seal=None, chain=False) as store:
        store.write([Put(b"row/%d" % n, bytes([n]) * 40) for n in range(4)], sync=False)
        content = b"".join(backups.write_backup(store, keys, node_id="node_x", created_at=7))

    def run(given: bytes) -> bool:
        reader = backups.BackupReader(io.BytesIO(given), keys)
        for _ in reader.rows():
            pass
        assert given == content
        return True

    return Target("backup file", [content], run)


def strict_json() -> Target:
    corpus = [compact(case["fields"]) for case in cases("commitment", "commitment.commit")]
    corpus += [b'{"a":[1,2.5,true,null,"x"]}', '{"名":"值"}'.encode(), b'"\\u4e2d"', b"[]", b"-0", b"1e3"]

    def run(content: bytes) -> bool:
        value = parse_json(content)
        assert value == json.loads(content)
        assert parse_json(compact(value)) == value
        return True

    return Target("strict JSON", corpus, run)


_BODIES: tuple[tuple[Any, Any], ...] = (
    (
        requests.MaterialMeta,
        {
            "typeCode": "M5001",
            "subjects": [{"idType": "001", "id": "91310104FAKE01016E", "role": "tenant"}],
            "documentNo": "(2026)演示租0187号",
            "caseNo": "PD-1",
            "title": "合同",
            "issuedOn": "2026-07-01",
            "sha256": "9f" * 32,
        },
    ),
    (requests.StatusAct, {"reasonCode": 3, "reason": "x"}),
    (requests.ErasureAct, {"reasonCode": 8, "reason": "x", "purpose": "y", "confirm": "mat_1"}),
    (requests.DocumentAct, {"typeCode": "M1", "documentNo": "1", "reasonCode": "forged", "reason": "x"}),
    (requests.VerifyBatch, {"items": [{"sha256": "9f" * 32, "subject": {"idType": "001", "id": "x"}}]}),
    (requests.KeyRequest, {"agency": "12310104FAKE0011X9", "scopes": ["verify"], "expiresAt": 5}),
    (requests.ExemptionRequest, {"matterCode": "99", "subject": {"idType": "001", "id": "x"}}),
    (
        requests.ReuseRequest,
        {
            "caseNo": "XH-1",
            "matterCode": "99",
            "reqId": "r2",
            "subject": {"idType": "001", "id": "x"},
            "basis": {"kind": "duty"},
            "deliver": "bytes",
        },
    ),
)


def request_body() -> Target:
    corpus = [bytes([number]) + compact(value) for number, (_, value) in enumerate(_BODIES)]

    def run(content: bytes) -> bool:
        shape = _BODIES[content[0] % len(_BODIES)][0] if content else requests.StatusAct
        value = decode_body(content[1:], shape)
        assert decode_body(msgspec.json.encode(value), shape) == value
        return True

    return Target("request bodies", corpus, run)


def multipart() -> Target:
    def body(meta: bytes, file: bytes) -> bytes:
        return (
            b'--B\r\nContent-Disposition: form-data; name="meta"; filename="m"\r\n'
            b"Content-Type: application/json\r\n\r\n"
            + meta
            + b'\r\n--B\r\nContent-Disposition: form-data; name="file"; filename="a.pdf"\r\n\r\n'
            + file
            + b"\r\n--B--\r\n"
        )

    corpus = [
        body(b"{}", b"content"),
        body(b'{"a":1}', b"x\r\n--B\r\ny"),
        body(b"", b""),
        body(b"{}", bytes(300)),
    ]
    loop = asyncio.new_event_loop()

    def run(content: bytes) -> bool:
        meta, file = loop.run_until_complete(_upload(content))
        # Both parts are slices of the body, in this order, and nothing is taken twice.
        at = content.index(meta or b"")
        assert content.find(file, at + len(meta or b"")) >= 0
        return True

    return Target("multipart", corpus, run)


async def _upload(content: bytes) -> tuple[bytes | None, bytes]:
    async def receive() -> dict[str, Any]:
        nonlocal position
        start, position = position, position + 41
        more = position < len(content)
        return {"type": "http.request", "body": content[start:position], "more_body": more}

    position = 0
    scope = {
        "type": "http",
        "method": "POST",
        "headers": [(b"content-type", b"multipart/form-data; boundary=B")],
    }
    upload = await open_upload(Request(scope, receive), max_file_bytes=1000, max_meta_bytes=100)
    return upload.meta, b"".join([chunk async for chunk in _chunks(upload.chunks())])


async def _chunks(found: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for chunk in found:
        yield chunk


def header_fields() -> Target:
    cursor = encode_cursor(bytes(32), b"mat_01", scope="s")
    corpus = [b"bytes=0-5", b"bytes=-5", b'"key-1"', cursor.encode(), b"%E5%BC%80 x", "租赁合同.pdf".encode()]

    def run(content: bytes) -> bool:
        text = content.decode("utf-8", "surrogateescape")
        accepted = False
        for parse in (_range_within, _key, _cursor, _purpose, _name):
            try:
                parse(text)
                accepted = True
            except (DeltasealError, HTTPException):
                continue
        return accepted

    def _range_within(text: str) -> None:
        first, last = parse_range(text, 100)
        assert 0 <= first <= last <= 99

    def _key(text: str) -> None:
        assert read_idempotency_key(text).isascii()

    def _cursor(text: str) -> None:
        decode_cursor(bytes(32), text, scope="s")
        assert text == cursor

    def _purpose(text: str) -> None:
        value = text.encode("utf-8", "surrogateescape")
        scope = {"type": "http", "headers": [(b"deltaseal-purpose", value), (b"deltaseal-case", b"1")]}
        assert read_purpose(Request(scope)).purpose.isprintable()

    def _name(text: str) -> None:
        name = safe_file_name(text)
        assert "/" not in name
        assert safe_file_name(name) == name

    return Target("header fields", corpus, run)


# cli


def push_list() -> Target:
    folder = scratch()
    (folder / "a.pdf").write_bytes(b"x")
    path = folder / "list.csv"
    head = b"path,sha256,typeCode,subject,documentNo,caseNo,title,issuedOn,expiresOn\n"
    line = "a.pdf,,M5001,001:91310115FAKE010322:holder,N-1,C-1,合同,2026-07-01,2027-07-01\n".encode()
    bare = b"," + b"9f" * 32 + b",M5001,900:2406-310118-04-01-100001,,C-2,t,,\n"
    corpus = [
        head + line + bare,
        b"\xef\xbb\xbf" + head + bare,
        head + b'"a.pdf","",M5001,,,,"x\ny",,\n' + line,
    ]

    def run(content: bytes) -> bool:
        path.write_bytes(content)
        read = read_list(path, defaults={})
        assert len(read.items) + len(read.rejected) <= content.count(b"\n") + content.count(b"\r") + 1
        for item in read.items:
            assert item.path is None or folder.resolve() in Path(item.path).parents
            assert all(text.isprintable() for text in map(str, item.fields.values()) if text)
        return bool(read.items)

    return Target("push list", corpus, run)


def push_journal() -> Target:
    folder = scratch()
    path = folder / "list.csv.journal"
    journal = PushJournal.open(path, url="http://127.0.0.1:1")
    journal.close()
    corpus = [path.read_bytes(), path.read_bytes() + b'{"item":"a","materialId":"mat_1"}\n']

    def run(content: bytes) -> bool:
        path.write_bytes(content)
        read = PushJournal.open(path, url="http://127.0.0.1:1")
        read.close()
        return not read.is_new

    return Target("push journal", corpus, run)


MAKERS: tuple[Callable[[], Target], ...] = (
    record, entry, status, opening, transaction, header, envelope, canonical, rpc, chain_journal,
    receipt, trust, trust_step, catalogue_entry, subject,
    release_request, release_answer, erasure_notice, release_stream, stored_row, wrapped_key, row_content,
    backup_file, strict_json, request_body, multipart, header_fields,
    push_list, push_journal,
)  # fmt: skip
NAMES = tuple(one.__name__ for one in MAKERS)


@cache
def target(name: str) -> Target:
    """Make a target by the name of its maker."""
    return next(one for one in MAKERS if one.__name__ == name)()
