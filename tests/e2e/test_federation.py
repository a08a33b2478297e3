"""Release requests between nodes, sent as a member could: forged, replayed, misdirected, too curious."""

from __future__ import annotations

import secrets
import time
import tomllib
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import pytest

from anchor.chain.deploy import Deployment
from anchor.chain.finality import OperatorFinality
from anchor.envelopes import RecipientKey
from anchor.signer import Signer, load_keystore
from cli.demo import catalogue, people
from cli.demo.network import Network
from node.federation.messages import ReleaseRequest, encode_base64, parse_answer, render, sign_request
from node.federation.sealing import FrameReader
from node.keys import KeyFolder
from tests.e2e.papers import (
    LEASE,
    OPEN_FIRM,
    SCENARIO_OPEN,
    Raw,
    fresh_file,
    lease_wish,
    meta_of,
    wait_verdict,
)
from tests.unit.keyvalue_suite import MemoryKeyValue
from verifier.follower import Follower
from verifier.index import ChainIndex
from verifier.keyring import KeyRing, open_envelopes


@pytest.fixture(scope="module")
def xh_signer(network: Network) -> Signer:
    """The member key of XH, as an insider of XH could use it."""
    folder = network.nodes["XH"].folder
    passphrase = _passphrase(network)
    return load_keystore(KeyFolder.open(folder / "keys", passphrase).keystore_path, passphrase)


def _passphrase(network: Network) -> str:
    config = tomllib.loads((network.nodes["XH"].folder / "deltaseal.toml").read_text())
    with open(config["passphrase_file"], encoding="utf-8") as source:
        return source.read().strip()


@pytest.fixture(scope="module")
def sealed(network: Network) -> dict[str, Any]:
    """A lease in PD, with the commitment that XH learns from a granted reuse."""
    file, pd, xh = fresh_file(), Raw(network, people.PD), Raw(network, people.XH)
    assert pd.push(file, meta_of(file)).status_code == 201
    # What is final at its node may still be on its way to another's index.
    assert wait_verdict(xh, file.sha256, "valid") == "valid"
    answer = xh.post("/v1/reuses", lease_wish(sha256=file.sha256)).json()
    assert answer["outcome"] == "granted", answer
    audit = pd.get("/v1/audit/events", limit=50).json()["items"]
    assert any(event["action"] == "release" and event["outcome"] == "released" for event in audit)
    return {"commitment": answer["material"]["commitment"], "url": pd.url}


Make = Callable[..., ReleaseRequest]


@pytest.fixture(scope="module")
def make(network: Network, sealed: dict[str, Any]) -> Make:
    """Return a maker of well-formed requests about that lease."""
    tag = _subject_tag(network)

    def request(**changes: Any) -> ReleaseRequest:
        now = int(time.time())
        base = ReleaseRequest(
            requester=people.XH_MEMBER,
            audience=people.PD_MEMBER,
            agency=people.XH.uscc,
            commitment=sealed["commitment"],
            type_code=LEASE,
            subject_tag=tag,
            matter_code=OPEN_FIRM,
            req_id="R2",
            scenario_code=SCENARIO_OPEN,
            purpose="开办企业",
            basis="duty",
            grant="0" * 64,
            case_tag="0" * 32,
            deliver="bytes",
            hpke_key=encode_base64(RecipientKey.generate().public_bytes),
            nonce=secrets.token_hex(32),
            issued_at=now,
            expires_at=now + 60,
        )
        return msgspec.structs.replace(base, **changes)

    return request


def _subject_tag(network: Network) -> str:
    """Compute the subject's tag as XH does: with the epoch key that its envelope on chain brings."""
    index, ring = ChainIndex(MemoryKeyValue()), KeyRing()
    follower = Follower(
        network.gateway, index, deployment=network.deployment, finality=OperatorFinality(), keys=ring
    )
    while follower.step().behind:
        pass
    keys = KeyFolder.open(network.nodes["XH"].folder / "keys", _passphrase(network))
    for key in open_envelopes(index, people.XH_MEMBER, keys.recipient_key(), network.deployment):
        ring.add(key)
    domain_keys = ring.newest(1)
    assert domain_keys is not None
    firm = people.FIRMS[0]
    return domain_keys.subject_tag(firm.id_type, firm.id, LEASE).hex()


def send(
    sealed: dict[str, Any], request: ReleaseRequest, signer: Signer, deployment: Deployment
) -> httpx.Response:
    body = render(sign_request(request, signer, deployment))
    return httpx.post(
        sealed["url"] + "/v1/federation/releases",
        content=body,
        headers={"content-type": "application/json"},
        trust_env=False,
    )


def head_of(response: httpx.Response) -> tuple[str, str, int]:
    """Return outcome and reason of an answer, and how many bytes follow its head."""
    assert response.status_code == 200, response.text
    reader = FrameReader(bytes(32))
    head = reader.take_head(response.content)
    assert head is not None
    answer = parse_answer(head).answer
    return answer.outcome, answer.reason, len(response.content) - 4 - len(head)


def test_a_right_request_is_released(
    sealed: dict[str, Any], make: Make, xh_signer: Signer, network: Network
) -> None:
    outcome, reason, size = head_of(send(sealed, make(), xh_signer, network.deployment))
    assert (outcome, reason) == ("released", "")
    assert size > 2000


def test_a_replayed_request_is_refused(
    sealed: dict[str, Any], make: Make, xh_signer: Signer, network: Network
) -> None:
    request = make()
    assert send(sealed, request, xh_signer, network.deployment).status_code == 200
    again = send(sealed, request, xh_signer, network.deployment)
    assert (again.status_code, again.json()["code"]) == (409, "release_replayed")


def test_a_forger_cannot_burn_a_nonce(
    sealed: dict[str, Any], make: Make, xh_signer: Signer, network: Network
) -> None:
    request = make()
    forged = send(sealed, request, Signer.generate(), network.deployment)
    assert (forged.status_code, forged.json()["code"]) == (401, "release_unauthorised")
    assert send(sealed, request, xh_signer, network.deployment).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"requester": people.QP_MEMBER},
        {"audience": people.QP_MEMBER},
        {"issued_at": 1_700_000_000, "expires_at": 1_700_000_060},
        {"expires_at": 4_000_000_000},
        {"issued_at": 4_000_000_000, "expires_at": 4_000_000_060},
    ],
    ids=["in another's name", "for another custodian", "expired", "lives too long", "from the future"],
)
def test_requests_outside_their_bounds_are_refused(
    sealed: dict[str, Any], make: Make, xh_signer: Signer, network: Network, changes: dict[str, Any]
) -> None:
    answer = send(sealed, make(**changes), xh_signer, network.deployment)
    assert (answer.status_code, answer.json()["code"]) == (401, "release_unauthorised")


@pytest.mark.parametrize(
    ("changes", "outcome", "reason"),
    [
        ({"commitment": "ab" * 32}, "not_found", "not_found"),
        ({"subject_tag": "cd" * 16}, "not_found", "not_found"),
        ({"type_code": "M1002"}, "not_found", "not_found"),
        ({"agency": people.QP.uscc}, "refused", "agency_foreign"),
        ({"matter_code": catalogue.FUND}, "refused", "type_not_asked"),
        ({"req_id": "R1"}, "refused", "type_not_asked"),
        ({"scenario_code": catalogue.SCENARIO_PILOT}, "refused", "scenario_not_live"),
        ({"basis": "grant"}, "refused", "grant_not_found"),
    ],
    ids=[
        "unknown",
        "other subject",
        "other type",
        "other's agency",
        "other matter",
        "other line",
        "suspended",
        "no grant",
    ],
)
def test_the_custodian_decides_again_by_itself(
    sealed: dict[str, Any],
    make: Make,
    xh_signer: Signer,
    network: Network,
    changes: dict[str, Any],
    outcome: str,
    reason: str,
) -> None:
    answer = send(sealed, make(**changes), xh_signer, network.deployment)
    assert head_of(answer) == (outcome, reason, 0)


def test_malformed_requests_are_refused_without_echo(sealed: dict[str, Any]) -> None:
    for body in (b"{}", b'{"request":{},"signature":"00"}', b"[" * 60_000, b'{"request":' + b"x" * 70_000):
        answer = httpx.post(
            sealed["url"] + "/v1/federation/releases",
            content=body,
            headers={"content-type": "application/json"},
            trust_env=False,
        )
        assert 400 <= answer.status_code < 500
        assert "xxxx" not in answer.text
