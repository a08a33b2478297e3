"""Write the golden files of the node's stored formats: sealed rows, wrapped keys, chunks, audit entries.

Run as `python -m tests.vectors.make_store`. What is sealed here is sealed with the primitives alone, under
fixed nonces, so the code under test opens what it did not make. The same input gives the same bytes.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from anchor.errors import DeltasealError
from anchor.keyvalue import Put
from node.store import rows
from node.store.audit import entry_hash
from node.store.blobs import read_blob
from node.store.envelope import RowSeal, unwrap_key
from tests.unit.keyvalue_suite import MemoryKeyValue

HERE = Path(__file__).parent
Json = dict[str, Any]
Asked = tuple[str, str, Json]


def fixed(label: str, length: int = 32) -> bytes:
    """Return bytes that depend on the label alone."""
    return hashlib.shake_256(label.encode()).digest(length)


STORE_KEY, KEK, FILE_KEY = fixed("store key"), fixed("kek"), fixed("file key")
ROW_KEY = b"material/\x05mat_1"
ROW = bytes.fromhex("0101") + b"a row"


# ── what the code does ─────────────────────────────────────────────────────────────────────────────────


def open_row(asked: Json) -> Json:
    """Open a sealed row."""
    seal = RowSeal(bytes.fromhex(asked["storeKey"]))
    return {"value": seal.open(bytes.fromhex(asked["key"]), bytes.fromhex(asked["sealed"])).hex()}


def unwrap(asked: Json) -> Json:
    """Unwrap a key."""
    kek, wrapped, aad = (bytes.fromhex(asked[name]) for name in ("kek", "wrapped", "aad"))
    return {"key": unwrap_key(kek, wrapped, aad).hex()}


def read_chunks(asked: Json) -> Json:
    """Read a blob from its chunk rows."""
    kv = MemoryKeyValue()
    puts = [
        Put(rows.chunk_key(asked["blobId"], int(number)), bytes.fromhex(chunk))
        for number, chunk in asked["chunks"].items()
    ]
    kv.write(puts, sync=False)
    return {"content": b"".join(read_blob(kv, asked["blobId"], bytes.fromhex(asked["key"]))).hex()}


def hash_entry(asked: Json) -> Json:
    """Hash an audit entry."""
    fields = {name: value for name, value in asked.items() if name not in ("prevHash", "requestId")}
    entry = rows.AuditRow(
        **fields, request_id=asked["requestId"], prev_hash=bytes.fromhex(asked["prevHash"]), hash=b""
    )
    return {"hash": entry_hash(entry).hex()}


def decode_entry(asked: Json) -> Json:
    """Decode the stored row of an audit entry and say its number and hash."""
    row = rows.AUDIT.decode(bytes.fromhex(asked["key"]), bytes.fromhex(asked["value"]))
    return {"sequence": row.sequence, "hash": row.hash.hex()}


OPERATIONS = {
    "row.open": open_row,
    "key.unwrap": unwrap,
    "blob.read": read_chunks,
    "audit.hash": hash_entry,
    "audit.decode": decode_entry,
}


# ── sealed by the primitives ───────────────────────────────────────────────────────────────────────────


def sealed_row(value: bytes, *, key: bytes = ROW_KEY, store_key: bytes = STORE_KEY) -> bytes:
    """Seal a row as docs/reference/stored-envelope.md says."""
    kdf = HKDF(algorithm=hashes.SHA256(), length=32, salt=b"deltaseal/store/v1", info=b"row")
    nonce = fixed("row nonce", 12)
    return b"\x01" + nonce + AESGCM(kdf.derive(store_key)).encrypt(nonce, value, b"\x01" + key)


def wrapped_key(key: bytes, aad: bytes) -> bytes:
    """Wrap a key as the page says."""
    nonce = fixed("wrap nonce", 12)
    return b"\x01" + nonce + AESGCM(KEK).encrypt(nonce, key, b"\x01" + aad)


def chunk(content: bytes, number: int, *, last: bool, blob_id: str = "blb_1") -> str:
    """Seal a chunk as the page says, in hex."""
    aad = blob_id.encode() + number.to_bytes(8, "big") + (b"\x01" if last else b"\x00")
    return AESGCM(FILE_KEY).encrypt(bytes(4) + number.to_bytes(8, "big"), content, aad).hex()


def row_asked(sealed: bytes, **changed: str) -> Json:
    return {"storeKey": STORE_KEY.hex(), "key": ROW_KEY.hex(), "sealed": sealed.hex(), **changed}


def key_asked(wrapped: bytes, **changed: str) -> Json:
    return {"kek": KEK.hex(), "wrapped": wrapped.hex(), "aad": b"file\0mat_1.1".hex(), **changed}


def blob_asked(chunks: dict[str, str], **changed: str) -> Json:
    return {"key": FILE_KEY.hex(), "blobId": "blb_1", "chunks": chunks, **changed}


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def envelope_accepts() -> Iterator[Asked]:
    """Yield what opens."""
    yield "row", "row.open", row_asked(sealed_row(ROW))
    yield "empty row", "row.open", row_asked(sealed_row(b""))
    yield "file key", "key.unwrap", key_asked(wrapped_key(FILE_KEY, b"file\0mat_1.1"))
    yield "one chunk", "blob.read", blob_asked({"0": chunk(b"content", 0, last=True)})
    yield "empty file", "blob.read", blob_asked({"0": chunk(b"", 0, last=True)})


def envelope_rejects() -> Iterator[Asked]:
    """Yield what is refused, each broken in one way."""
    sealed = sealed_row(ROW)
    for name, at in (("format", 0), ("nonce", 1), ("ciphertext", 13), ("tag", len(sealed) - 1)):
        yield f"flipped bit in {name}", "row.open", row_asked(flipped(sealed, at))
    yield "row of another key", "row.open", row_asked(sealed, key=b"material/\x05mat_2".hex())
    yield "another store key", "row.open", row_asked(sealed, storeKey=bytes(32).hex())
    yield "truncated", "row.open", row_asked(sealed[:28])
    yield "empty", "row.open", row_asked(b"")
    wrapped = wrapped_key(FILE_KEY, b"file\0mat_1.1")
    yield "wrapped for another place", "key.unwrap", key_asked(wrapped, aad=b"salt\0mat_1.1".hex())
    yield "another key epoch", "key.unwrap", key_asked(wrapped, kek=bytes(32).hex())
    yield "flipped bit in a wrapped key", "key.unwrap", key_asked(flipped(wrapped, 20))
    only = chunk(b"content", 0, last=True)
    yield "last chunk missing", "blob.read", blob_asked({})
    yield "chunk that is not the last", "blob.read", blob_asked({"0": chunk(b"content", 0, last=False)})
    yield "chunk in another place", "blob.read", blob_asked({"0": chunk(b"content", 1, last=True)})
    yield "chunk of another blob", "blob.read", blob_asked({"0": chunk(b"c", 0, last=True, blob_id="blb_2")})
    yield "another file key", "blob.read", blob_asked({"0": only}, key=bytes(32).hex())
    yield "surplus chunk", "blob.read", blob_asked({"0": only, "1": only})
    yield "first chunk missing", "blob.read", blob_asked({"1": only})
    yield "truncated chunk", "blob.read", blob_asked({"0": only[:-2]})


ENTRY: Json = {
    "sequence": 1,
    "time": 1793671200,
    "actor": "91310000MA1FL0000X/dsk_a",
    "action": "material.accept",
    "object": "mat_1.1",
    "outcome": "accepted",
    "reason": "",
    "requestId": "req_1",
    "prevHash": bytes(32).hex(),
}


def audit_row(**changed: Any) -> tuple[bytes, bytes]:
    """Return key and value of the stored row of the example entry."""
    fields = {"request_id": "req_1", "prev_hash": bytes(32), "hash": bytes.fromhex(hash_entry(ENTRY)["hash"])}
    plain = {name: value for name, value in ENTRY.items() if name not in ("prevHash", "requestId")}
    put = rows.AUDIT.put(rows.AuditRow(**{**plain, **fields, **changed}))
    return put.key, put.value


def decode_asked(key: bytes, value: bytes) -> Json:
    return {"key": key.hex(), "value": value.hex()}


def audit_accepts() -> Iterator[Asked]:
    """Yield entries and their hashes."""
    yield "first entry", "audit.hash", ENTRY
    second = {**ENTRY, "sequence": 2, "prevHash": hash_entry(ENTRY)["hash"], "requestId": "req_2"}
    yield "second entry", "audit.hash", second
    yield "Chinese text and escapes", "audit.hash", {**ENTRY, "reason": '材料有误 "\\\n\u001f\u00e9'}
    yield "stored row", "audit.decode", decode_asked(*audit_row())


def audit_rejects() -> Iterator[Asked]:
    """Yield entries that have no hash and rows that are none."""
    yield "text that is not NFC", "audit.hash", {**ENTRY, "reason": "e\u0301"}
    yield "lone surrogate", "audit.hash", {**ENTRY, "actor": "\ud800"}
    yield "number beyond 2^53 - 1", "audit.hash", {**ENTRY, "time": 2**53}
    key, value = audit_row()
    yield "row under half a number", "audit.decode", decode_asked(key[:-4], value)
    yield "row under a number and more", "audit.decode", decode_asked(key + b"\x00", value)
    yield "row of another kind", "audit.decode", decode_asked(key, b"\x01" + value[1:])
    yield "row of a later version", "audit.decode", decode_asked(key, value[:1] + b"\x02" + value[2:])
    yield (
        "row with a field too many",
        "audit.decode",
        decode_asked(key, value[:2] + b"\x9a" + value[3:] + b"\x00"),
    )
    yield "truncated row", "audit.decode", decode_asked(key, value[:-1])
    yield "trailing byte", "audit.decode", decode_asked(key, value + b"\x00")


SOURCES = {
    "stored-envelope": ("docs/reference/stored-envelope.md", envelope_accepts, envelope_rejects),
    "audit-entry": ("docs/reference/audit-entry.md, RFC 8785", audit_accepts, audit_rejects),
}


def run(operation: str, asked: Json) -> Json:
    """Run a case and say what came of it: `expected`, or the code of the `error`."""
    try:
        return {"expected": OPERATIONS[operation](asked)}
    except DeltasealError as error:
        return {"error": error.code}


def documents() -> Iterator[tuple[str, str]]:
    """Yield (path below tests/vectors, text) of every golden file."""
    for name, (source, accepts, rejects) in SOURCES.items():
        for kind, cases, wanted in (("accept", accepts(), "expected"), ("reject", rejects(), "error")):
            written = [_case(*asked, wanted=wanted) for asked in cases]
            yield f"{name}/{kind}.json", json.dumps({"source": source, "cases": written}, indent=1) + "\n"


def _case(name: str, operation: str, asked: Json, *, wanted: str) -> Json:
    found = run(operation, asked)
    if wanted not in found:
        raise AssertionError(f"{operation}, {name}: wanted {wanted}, found {found}")
    return {"name": name, "operation": operation, "input": asked, **found}


def main() -> int:
    """Write every file and name those that changed."""
    for name, text in documents():
        path = HERE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            sys.stderr.write(f"changed: tests/vectors/{name}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
