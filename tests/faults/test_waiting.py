"""Whatever waits has a maximum age, a metric and an alarm, and the API, the metrics and the command agree on it.

QP's node reads the chain through a proxy and calls everything too old after a second or two. Each wait is caused,
seen in all places, and ended; nothing is decided by its age.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.demo import people
from cli.demo.network import DemoNode, Network
from node.errors import ConfigInvalid
from node.services.waits import WAITS, limits
from node.sightings import Sightings
from tests.e2e.papers import INVOICE, Raw, fresh_file, invoice_wish, meta_of
from tests.faults.chain_proxy import ChainProxy
from tests.faults.settings import set_settings
from tests.integration.cli_node_factory import run_cli
from tests.support.waiting import BOUND_S, until

NAMES = [wait.name for wait in WAITS]
PAGE = Path(__file__).parents[2] / "docs/how-to/watch-a-node.md"
# What waits for a minute between two rounds, and a backup, get longer; the rest is too old after a second.
MAXIMA = {**dict.fromkeys(NAMES, 1), "worker_hung": 2, "backup_due": 30}


@dataclass
class Stand:
    """QP's node, its proxy, and a client with all scopes."""

    network: Network
    proxy: ChainProxy
    qp: Raw
    folder: Path

    @property
    def node(self) -> DemoNode:
        return self.network.nodes["QP"]

    def listed(self) -> dict[str, dict[str, Any]]:
        answer = self.qp.get("/v1/alarms")
        assert answer.status_code == 200, answer.text
        return {one["name"]: one for one in answer.json()["items"]}

    def raised(self) -> set[str]:
        return {name for name, one in self.listed().items() if one["state"] == "raised"}

    def metric(self, name: str) -> float:
        text = httpx.get(self.qp.url + "/metrics", trust_env=False, timeout=30).text
        match = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        assert match, name
        return float(match[1])

    def notes(self) -> list[str]:
        found: list[str] = httpx.get(self.qp.url + "/readyz", trust_env=False, timeout=30).json()["notes"]
        return found

    def command(self, *words: str) -> tuple[int, list[dict[str, Any]]]:
        """Run the command against QP's node; return exit code and items."""
        key = self.folder / "qp.key"
        if not key.exists():
            key.write_text(self.node.keys[people.QP.key] + "\n")
            key.chmod(0o600)
        done = run_cli([*words, "-o", "json", "--url", self.qp.url, "--api-key-file", str(key)], self.folder)
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return done.returncode, found


@pytest.fixture(scope="module")
def stand(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    proxy = ChainProxy(network.rpc)
    with set_settings(network.nodes["QP"], chain_rpc=proxy.url, alarm_after_s=MAXIMA, head_age_limit_s=600):
        yield Stand(network, proxy, Raw(network, people.QP), tmp_path_factory.mktemp("waiting"))
        proxy.heal()
    proxy.close()


@pytest.fixture(autouse=True)
def healed(stand: Stand) -> Iterator[None]:
    yield
    stand.proxy.heal()


def assert_told_everywhere(stand: Stand, name: str) -> None:
    """Wait for the alarm, then look for it in every place."""
    until(lambda: name in stand.raised(), f"alarm {name}")
    one = stand.listed()[name]
    assert one["ageSeconds"] >= one["maximumSeconds"]
    assert stand.metric(f"deltaseal_wait_{name}_seconds") > one["maximumSeconds"]
    assert stand.metric("deltaseal_alarms") >= 1
    assert f"alarm_{name}" in stand.notes()
    code, items = stand.command("alarms")
    assert (code, {item["name"]: item["state"] for item in items}[name]) == (11, "raised")
    _, checks = stand.command("doctor")
    assert any(check["detail"] == f"alarm_{name}" and check["outcome"] == "warn" for check in checks)


def assert_passed(stand: Stand, *names: str) -> None:
    until(lambda: not stand.raised() & set(names), f"alarms passed: {names}")
    assert not {f"alarm_{name}" for name in names} & set(stand.notes())


def push(stand: Stand, **changes: Any) -> dict[str, Any]:
    file = fresh_file(300)
    answer = stand.qp.push(file, meta_of(file, **changes), wait=changes.pop("wait", None))
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


def is_final(stand: Stand, material_id: str) -> bool:
    return bool(stand.qp.get(f"/v1/materials/{material_id}").json()["anchor"]["status"] == "final")


def test_what_waits_for_a_chain_that_is_gone_raises_its_alarms_and_ends_by_itself(stand: Stand) -> None:
    stand.proxy.become("drop")
    pushed = push(stand)
    for name in ("outbox_queued", "records_unconfirmed", "chain_unknown"):
        assert_told_everywhere(stand, name)
    assert stand.qp.get(f"/v1/materials/{pushed['materialId']}").json()["anchor"]["status"] == "pending"
    stand.proxy.heal()
    until(lambda: is_final(stand, pushed["materialId"]), "the push is final")
    assert_passed(stand, "outbox_queued", "records_unconfirmed", "chain_unknown")


def test_what_waits_for_a_chain_that_stands_still_raises_its_alarms_and_is_decided_by_the_chain(
    stand: Stand,
) -> None:
    number = f"2631{int.from_bytes(fresh_file(8).content, 'big') % 10**16:016d}"
    pushed = push(stand, typeCode=INVOICE, documentNo=number, expiresOn=None)
    until(lambda: is_final(stand, pushed["materialId"]), "the invoice is final")
    until(lambda: stand.qp.verify(pushed["sha256"])["verdict"] == "valid", "the invoice is known")
    stand.proxy.become("freeze", head=stand.network.head().number)
    wish = invoice_wish(number)
    asked = stand.qp.post("/v1/reuses", wish)
    assert asked.status_code == 202, asked.text
    for name in ("outbox_in_flight", "reuse_waiting"):
        assert_told_everywhere(stand, name)
    where = f"/v1/reuses/{asked.json()['reuseId']}"
    assert stand.qp.get(where).json()["outcome"] == "pending"
    stand.proxy.heal()
    until(lambda: stand.qp.get(where).json()["outcome"] == "granted", "decided by the chain")
    assert_passed(stand, "outbox_in_flight", "reuse_waiting")


@contextmanager
def held_upload(stand: Stand, size: int = 5 << 20) -> Iterator[socket.socket]:
    """Send most of an upload and hold the rest back."""
    file = fresh_file(size)
    host, port = stand.qp.url.removeprefix("http://").split(":")
    request = stand.qp.http.build_request(
        "POST",
        "/v1/materials",
        files=[
            ("meta", ("m", json.dumps(meta_of(file)).encode(), "application/json")),
            ("file", ("f", file.content, "application/octet-stream")),
        ],
        headers={"idempotency-key": "held"},
    )
    head = "POST /v1/materials HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in request.headers.items())
    body = request.read()
    with socket.create_connection((host, int(port)), timeout=BOUND_S) as connection:
        connection.sendall(head.encode() + b"\r\n" + body[: size - 1000])
        yield connection


def test_an_upload_that_does_not_end_raises_its_alarms_and_leaves_nothing(stand: Stand) -> None:
    with held_upload(stand):
        for name in ("upload_unfinished", "write_running"):
            assert_told_everywhere(stand, name)
    assert_passed(stand, "upload_unfinished", "write_running")
    assert stand.metric("deltaseal_wait_upload_unfinished_seconds") == 0


def test_a_worker_that_hangs_raises_its_alarm(stand: Stand) -> None:
    stand.proxy.become("slow")
    assert_told_everywhere(stand, "worker_hung")
    stand.proxy.heal()
    assert_passed(stand, "worker_hung")


def test_a_sweep_and_an_anchor_that_are_due_raise_their_alarms(stand: Stand) -> None:
    push(stand)
    for name in ("sweep_due", "audit_unanchored"):
        assert_told_everywhere(stand, name)


def test_a_backup_that_is_due_or_read_slowly_raises_its_alarm(stand: Stand) -> None:
    file = fresh_file(24 << 20)
    assert stand.qp.push(file, meta_of(file), wait=None).status_code == 201
    until(lambda: "backup_due" in stand.raised(), "a backup is due")
    admin = (stand.node.folder / "admin.key").read_text().strip()
    with (
        httpx.Client(trust_env=False, timeout=60, headers={"authorization": f"Bearer {admin}"}) as client,
        client.stream("POST", stand.qp.url + "/v1/store/backups", json={}) as answer,
    ):
        assert answer.status_code == 200
        assert_told_everywhere(stand, "backup_running")
        for _ in answer.iter_raw():
            pass
    assert_passed(stand, "backup_due", "backup_running")


def test_every_wait_is_in_the_api_the_metrics_and_on_the_page_and_nothing_else_is(stand: Stand) -> None:
    assert list(stand.listed()) == NAMES
    assert [item["name"] for item in stand.command("alarms")[1]] == NAMES
    for wait in WAITS:
        assert stand.metric(wait.gauge) >= 0
    rows = [
        line for line in PAGE.read_text().partition("## What waits")[2].splitlines() if line.startswith("| `")
    ]
    wanted = [
        f"| `{wait.name}` | {wait.what} | {_span(wait.maximum_s)} | {wait.at_maximum} | {wait.fix} |"
        for wait in WAITS
    ]
    assert rows == wanted


def _span(seconds: int) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


@pytest.mark.parametrize("overrides", [{"nothing_such": 1}, {"outbox_queued": -1}])
def test_a_maximum_for_an_unknown_wait_is_refused(overrides: dict[str, int]) -> None:
    with pytest.raises(ConfigInvalid):
        limits(overrides)


def test_the_age_of_what_is_first_starts_again_when_another_is_first() -> None:
    now = 100.0
    seen = Sightings(timer=lambda: now)
    assert seen.age("a", 7) == 0
    now = 105.0
    assert seen.age("a", 7) == 5
    assert seen.age("a", 8) == 0
    now = 106.0
    assert (seen.age("a", None), seen.age("a", 8)) == (0, 0)
