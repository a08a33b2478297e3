"""Documents and requests of the end-to-end tests."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from cli.demo import catalogue, people
from cli.demo.network import Network
from cli.demo.people import Agency

FIRM = people.FIRMS[0].as_subject()
OTHER_FIRM = people.FIRMS[1].as_subject()
LEASE, LICENCE, INVOICE = "M5001", "M1002", "M5002"
OPEN_FIRM = catalogue.OPEN_FIRM
SCENARIO_OPEN = catalogue.SCENARIO_OPEN


@dataclass(frozen=True)
class File:
    """Some bytes that nobody has pushed before."""

    content: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def fresh_file(size: int = 2000) -> File:
    """Return random bytes."""
    return File(os.urandom(size))


def meta_of(file: File, **changes: Any) -> dict[str, Any]:
    """Return what a lease of the first firm is pushed with; None leaves a field out."""
    meta: dict[str, Any] = {
        "typeCode": LEASE,
        "subjects": [FIRM],
        "documentNo": f"TEST-{secrets.token_hex(6)}",
        "caseNo": "PD-TEST-1",
        "title": "房屋租赁合同",
        "issuedOn": "2026-07-01",
        "expiresOn": "2027-07-01",
        "sha256": file.sha256,
    }
    meta.update(changes)
    return {key: value for key, value in meta.items() if value is not None}


class Raw:
    """A client that sends what it is told: wrong bodies, wrong headers, repeated keys."""

    def __init__(self, network: Network, agency: Agency) -> None:
        self._network = network
        client = network.client(agency)
        node = next(node for node in network.nodes.values() if client in node.clients.values())
        self.url = node.url
        key = node.keys[agency.key]
        self.http = httpx.Client(
            base_url=node.url, headers={"authorization": f"Bearer {key}"}, trust_env=False, timeout=60
        )

    def others(self) -> list[Raw]:
        """Return clients of the other nodes."""
        clients = (Raw(self._network, agency) for agency in (people.XH, people.PD, people.QP))
        return [client for client in clients if client.url != self.url]

    def push(
        self,
        file: File,
        meta: Mapping[str, Any] | bytes,
        *,
        key: str | None = None,
        wait: str | None = "final",
    ) -> httpx.Response:
        """Push a file with `meta`, an object or raw bytes."""
        body = meta if isinstance(meta, bytes) else json.dumps(meta).encode()
        parts = [
            ("meta", ("meta.json", body, "application/json")),
            ("file", ("lease.bin", file.content, "application/octet-stream")),
        ]
        headers = {"idempotency-key": key or secrets.token_hex(8)}
        return self.http.post(
            "/v1/materials", files=parts, headers=headers, params={"wait": wait} if wait else {}
        )

    def post(self, path: str, body: Any, *, key: str | None = None, **params: str) -> httpx.Response:
        """Post JSON, an object or raw bytes."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json", "idempotency-key": key or secrets.token_hex(8)}
        return self.http.post(path, content=content, headers=headers, params=params)

    def get(self, path: str, **params: Any) -> httpx.Response:
        """Get a path."""
        return self.http.get(path, params=params)

    def verify(self, sha256: str, **more: Any) -> dict[str, Any]:
        """Ask for a verdict."""
        answer = self.post("/v1/verify", {"sha256": sha256, **more})
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body


def lease_wish(**changes: Any) -> dict[str, Any]:
    """Return a request of XH to use the first firm's lease for opening a business."""
    wish = {
        "caseNo": f"XH-{secrets.token_hex(4)}",
        "matterCode": OPEN_FIRM,
        "reqId": "R2",
        "typeCode": LEASE,
        "subject": FIRM,
        "basis": {"kind": "duty"},
        "purpose": "开办企业-住所证明",
        "scenarioCode": SCENARIO_OPEN,
        "deliver": "bytes",
    }
    wish.update(changes)
    return {key: value for key, value in wish.items() if value is not None}


def invoice_wish(number: str, **changes: Any) -> dict[str, Any]:
    """Return a request of XH to use up an invoice for a fund, without its bytes."""
    wish = {
        "matterCode": catalogue.FUND,
        "reqId": "R2",
        "typeCode": INVOICE,
        "scenarioCode": catalogue.SCENARIO_FUND,
        "purpose": "财政专项资金申领",
        "documentNo": number,
        "deliver": "facts",
        "consume": True,
    }
    return lease_wish(**{**wish, **changes})


def wait_verdict(client: Raw, sha256: str, wanted: str) -> str:
    """Ask until another node has followed, at most a minute; return the last verdict."""
    verdict = ""
    for _ in range(600):
        verdict = client.verify(sha256)["verdict"]
        if verdict == wanted:
            break
        time.sleep(0.1)
    return str(verdict)
