"""What the scenes do at the nodes, in the words of the domain: push, ask, reuse, revoke.

Each call goes through the HTTP API as a window system's would. A node's refusal of a reuse is an answer
here, not an exception: the scenes show refusals. Must not import `node`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import count
from typing import Any

from cli.client import NodeClient
from cli.demo.files import Paper, PaperMill
from cli.demo.network import Network
from cli.demo.people import Agency, Party
from cli.errors import ApiProblem

Body = dict[str, Any]
_JOB_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Document:
    """What is pushed besides the bytes. `valid_days` counts from today; None never ends."""

    type_code: str
    title: str
    number: str
    subjects: Sequence[Party]
    issued_days_ago: int = 7
    valid_days: int | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What a window asks to reuse: whose paper, for which line of which matter, under which scenario."""

    matter: str
    requirement: str
    scenario: str
    subject: Party
    type_code: str
    deliver: str = "none"
    consume: bool = False


@dataclass(frozen=True, slots=True)
class Released:
    """A node's answer to a wish; `sha256` is that of the bytes that came with it, empty when none came.

    `failed` is the check that failed with its detail ("status: revoked"), empty when none did.
    """

    outcome: str
    failed: str
    why: str
    block: int | None
    sha256: str = ""


@dataclass(slots=True)
class Stage:
    """The running network, the paper mill, and today's date."""

    network: Network
    mill: PaperMill
    today: date
    _cases: count[int] = field(default_factory=lambda: count(1))

    def push(
        self,
        agency: Agency,
        document: Document,
        paper: Paper,
        *,
        replaces: str | None = None,
        wait: str | None = "final",
        hash_only: bool = False,
    ) -> Body:
        """Push `paper` as `agency`; return the material."""
        meta = self._meta(agency, document, paper)
        if replaces is not None:
            meta["replaces"] = replaces
        content = None if hash_only else paper.content
        answer: Body = self.network.client(agency).push(meta, content, file_name=paper.file_name, wait=wait)
        return answer

    def _meta(self, agency: Agency, document: Document, paper: Paper) -> Body:
        meta: Body = {
            "typeCode": document.type_code,
            "subjects": [party.as_subject() for party in document.subjects],
            "documentNo": document.number,
            "caseNo": self.new_case(agency),
            "title": document.title,
            "issuedOn": (self.today - timedelta(days=document.issued_days_ago)).isoformat(),
            "sha256": paper.sha256,
            "fileName": paper.file_name,
            "mediaType": paper.media_type,
        }
        if document.valid_days is not None:
            meta["expiresOn"] = (self.today + timedelta(days=document.valid_days)).isoformat()
        return meta

    def verify(
        self, agency: Agency, sha256: str, type_code: str | None = None, subject: Party | None = None
    ) -> Body:
        """Ask `agency`'s node for the verdict about a digest."""
        about = None if subject is None else subject.as_subject()
        answer: Body = self.network.client(agency).verify(sha256, type_code=type_code, subject=about)
        return answer

    def exemptions(self, agency: Agency, matter: str, subject: Party) -> dict[str, Body]:
        """Ask which requirements of `matter` need no paper; return them by their id."""
        body = {"matterCode": matter, "subject": subject.as_subject()}
        answer = self.network.client(agency).post("/v1/exemptions", body)
        return {line["reqId"]: line for line in answer["requirements"]}

    def reuse(self, agency: Agency, wish: Wish) -> Released:
        """Ask for a reuse, follow it until it is decided and fetch the bytes where they were asked for."""
        client = self.network.client(agency)
        try:
            answer = self._decided(agency, client, self._reuse_body(agency, wish))
        except ApiProblem as problem:
            return Released(problem.code, "", problem.detail or problem.title, None)
        content = answer.get("content")
        digest = _download_digest(client, content["url"]) if content else ""
        failed, why = _decision_reason(answer)
        return Released(answer["outcome"], failed, why, (answer.get("material") or {}).get("block"), digest)

    def _reuse_body(self, agency: Agency, wish: Wish) -> Body:
        return {
            "caseNo": self.new_case(agency),
            "matterCode": wish.matter,
            "reqId": wish.requirement,
            "typeCode": wish.type_code,
            "subject": wish.subject.as_subject(),
            "basis": {"kind": "duty"},
            "purpose": "demo",
            "scenarioCode": wish.scenario,
            "consume": wish.consume,
            "deliver": wish.deliver,
        }

    def _decided(self, agency: Agency, client: NodeClient, body: Body) -> Body:
        """POST the wish; a 202 names a job, whose result is read once it is done."""
        answer = client.request("POST", "/v1/reuses", json=body, idempotency_key=body["caseNo"])
        if answer.status != 202:
            decided: Body = answer.body
            return decided
        job_path = answer.headers["location"]
        part = next(node.part for node in self.network.nodes.values() if agency.key in node.clients)

        def ended() -> Body | None:
            job: Body = client.get(job_path)
            return job if job["status"] not in ("queued", "running") else None

        job = part.wait_for(ended, "a reuse stayed undecided", timeout_s=_JOB_TIMEOUT_S)
        result: Body = client.get(job["resultUrl"])
        return result

    def revoke(self, agency: Agency, material_id: str) -> None:
        """Revoke a material as its custodian."""
        act = {"reasonCode": "withdrawn_by_holder", "reason": "演示撤销"}
        self.network.client(agency).post(f"/v1/materials/{material_id}/revoke", act)

    def revoke_document(self, agency: Agency, document: Document) -> None:
        """Revoke a document as its issuer, wherever copies of it lie."""
        act = {
            "typeCode": document.type_code,
            "documentNo": document.number,
            "reasonCode": "cancelled_by_authority",
            "reason": "演示吊销",
        }
        self.network.client(agency).post("/v1/documents/revoke", act)

    def new_case(self, agency: Agency) -> str:
        """Return a case number that was not used before."""
        return f"DEMO-{agency.key}-{next(self._cases):06d}"


def verdict_reason(answer: Mapping[str, Any]) -> str:
    """Return why a verdict is what it is: the first reason that is no pass, else the plain sentence."""
    for reason in answer["reasons"]:
        if reason["outcome"] in ("fail", "warn"):
            return f"{reason['code']}: {reason['detail']}"
    return str(answer["explain"]["en"])


def verdict_block(answer: Mapping[str, Any]) -> int | None:
    """Return the block of the record that a verdict speaks of."""
    return (answer.get("record") or {}).get("block")


def _decision_reason(answer: Mapping[str, Any]) -> tuple[str, str]:
    """Return (failed check with its detail, or nothing; plain sentence) of a reuse."""
    failed = [check for check in answer["checks"] if check["result"] == "fail"]
    code = f"{failed[0]['code']}: {failed[0]['detail']}" if failed else ""
    return code, str(answer["explain"]["en"])


def _download_digest(client: NodeClient, path: str) -> str:
    digest = hashlib.sha256()
    with client.stream(path) as (_headers, pieces):
        for piece in pieces:
            digest.update(piece)
    return digest.hexdigest()
