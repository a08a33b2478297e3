"""Write the golden files of the release exchange: signed requests and frame streams.

Run as `python -m tests.vectors.make_release`. Keys and nonces are fixed and signatures are deterministic (RFC 6979),
so the same input gives the same bytes. Page: docs/reference/release.md.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from anchor.chain.deploy import Deployment
from anchor.errors import DeltasealError
from anchor.signer import Signer
from node.federation.messages import (
    REQUEST_TYPES,
    ReleaseRequest,
    encode_base64,
    parse_request,
    render,
    request_hash,
    request_signer,
    sign_request,
)
from node.federation.sealing import FrameReader, seal_frames

FOLDER = Path(__file__).parent / "release"
SOURCE = "docs/reference/release.md; EIP-712, RFC 8785, AES-256-GCM under a fixed key"
Json = dict[str, Any]


def fixed(label: str, length: int = 32) -> bytes:
    """Return bytes that depend on the label alone."""
    return hashlib.shake_256(label.encode()).digest(length)


DEPLOYMENT = Deployment(
    310000, fixed("genesis"), *(fixed(name, 20) for name in ("directory", "a", "m", "l", "c"))
)
SIGNER = Signer.from_key(fixed("member key"))
REQUEST = ReleaseRequest(
    requester=2,
    audience=3,
    agency="12310104FAKE0011X9",
    commitment=fixed("commitment").hex(),
    type_code="M5001",
    subject_tag=fixed("subject", 16).hex(),
    matter_code="990110100100",
    req_id="R2",
    scenario_code="SC-310000-0001",
    purpose="开办企业-住所证明",
    basis="duty",
    grant=bytes(32).hex(),
    case_tag=fixed("case", 16).hex(),
    deliver="bytes",
    hpke_key=encode_base64(fixed("hpke", 1216)),
    nonce=fixed("nonce").hex(),
    issued_at=1_795_478_400,
    expires_at=1_795_478_520,
)
STREAM_KEY, OPENING = fixed("stream key"), b'{"leafCount":17}'


def read_request(asked: Json) -> Json:
    """Parse a signed request and say its hash and who signed it."""
    signed = parse_request(asked["body"].encode())
    return {
        "requestHash": request_hash(signed.request).hex(),
        "signer": request_signer(signed, DEPLOYMENT).hex(),
    }


def read_stream(asked: Json) -> Json:
    """Open the frames of a stream."""
    reader = FrameReader(bytes.fromhex(asked["requestHash"]))
    reader.set_key(bytes.fromhex(asked["key"]))
    pieces = list(reader.feed(bytes.fromhex(asked["stream"])))
    reader.close()
    return {"opening": pieces[0].hex(), "document": b"".join(pieces[1:]).hex()}


OPERATIONS = {"request": read_request, "stream": read_stream}


def _request_body(**changes: Any) -> str:
    return render(sign_request(msgspec.structs.replace(REQUEST, **changes), SIGNER, DEPLOYMENT)).decode()


def _stream(*pieces: bytes) -> bytes:
    return b"".join(seal_frames(STREAM_KEY, request_hash(REQUEST), OPENING, pieces))


def _asked_stream(stream: bytes, **changes: str) -> Json:
    return {
        "requestHash": request_hash(REQUEST).hex(),
        "key": STREAM_KEY.hex(),
        "stream": stream.hex(),
        **changes,
    }


def accepts() -> Iterator[tuple[str, str, Json]]:
    """Yield what must be read: name, operation, input."""
    yield "bytes for duty", "request", {"body": _request_body()}
    yield "facts for a grant", "request", {"body": _request_body(deliver="facts", basis="grant")}
    yield "opening alone", "stream", _asked_stream(_stream())
    yield "two pieces", "stream", _asked_stream(_stream(b"first", b"second"))


def rejects() -> Iterator[tuple[str, str, Json]]:
    """Yield what must be refused: name, operation, input."""
    body = json.loads(_request_body())
    yield "not JSON", "request", {"body": "{"}
    yield "nested", "request", {"body": "[" * 5000}
    for name, value in (
        ("audience", 0),
        ("commitment", "00"),
        ("deliver", "all"),
        ("basis", "wish"),
        ("nonce", ""),
    ):
        changed = {**body, "request": {**body["request"], name: value}}
        yield f"bad {name}", "request", {"body": json.dumps(changed, ensure_ascii=False)}
    extra = {**body, "request": {**body["request"], "colour": "red"}}
    yield "unknown field", "request", {"body": json.dumps(extra, ensure_ascii=False)}
    yield "short signature", "request", {"body": json.dumps({**body, "signature": "00"}, ensure_ascii=False)}
    high = body["signature"][:64] + "f" * 64 + body["signature"][128:]
    yield "high s", "request", {"body": json.dumps({**body, "signature": high}, ensure_ascii=False)}
    stream = _stream(b"first", b"second")
    first = 5 + len(OPENING) + 16
    yield "cut", "stream", _asked_stream(stream[:-1])
    yield "last frame missing", "stream", _asked_stream(stream[: -(5 + 6 + 16)])
    yield "bit flipped", "stream", _asked_stream(stream[:10] + bytes([stream[10] ^ 1]) + stream[11:])
    yield "frame repeated", "stream", _asked_stream(stream[:first] + stream)
    yield "frame dropped", "stream", _asked_stream(stream[first:])
    yield "bytes after the end", "stream", _asked_stream(stream + b"\0")
    yield "marked last too early", "stream", _asked_stream(b"\1" + stream[1:])
    yield "other request", "stream", _asked_stream(stream, requestHash=fixed("other").hex())
    yield "other key", "stream", _asked_stream(stream, key=fixed("other").hex())


def _outcome(operation: str, asked: Json) -> Json:
    try:
        return {"expected": OPERATIONS[operation](asked)}
    except DeltasealError as error:
        return {"error": error.code}


def documents() -> Iterator[tuple[str, str]]:
    """Yield file name and text of each golden file."""
    for kind, cases in (("accept", accepts()), ("reject", rejects())):
        content = {
            "source": SOURCE,
            "chain": {"chainId": DEPLOYMENT.chain_id, "directory": DEPLOYMENT.directory.hex()},
            "eip712Fields": [field["name"] for field in REQUEST_TYPES["ReleaseRequest"]],
            "cases": [
                {"name": name, "operation": operation, "input": asked, **_outcome(operation, asked)}
                for name, operation, asked in cases
            ],
        }
        yield f"{kind}.json", json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def main() -> int:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in documents():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
