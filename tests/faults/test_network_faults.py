"""The network between two nodes, and the clients of one: whatever they do, no answer is made of it, and nothing hangs.

XH asks PD for a document through a proxy at PD's published address. A fault is `custodian_unavailable`, never a
decision; nothing of it is left in the store; the next request, with the same Idempotency-Key, is granted.
"""

from __future__ import annotations

import hashlib
import secrets
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.demo import people
from cli.demo.build import free_ports
from cli.demo.network import DemoNode, Network, wait_ready
from tests.e2e.papers import File, Raw, fresh_file, lease_wish, meta_of
from tests.faults.peer_proxy import PeerProxy
from tests.faults.settings import set_settings
from tests.faults.test_dependency_faults import until

SIZE = (3 << 20) + 17
READ = {"deltaseal-purpose": "test", "deltaseal-case": "C-1"}
SILENCE_S = 1
HUNG_REUSES = 12


@dataclass
class Stand:
    """XH and PD, the proxy before PD, and a document that PD holds."""

    network: Network
    proxy: PeerProxy
    xh: Raw
    pd: Raw
    file: File

    def wish(self, **changes: Any) -> dict[str, Any]:
        return lease_wish(sha256=self.file.sha256, **changes)

    def ask(self, wish: dict[str, Any], key: str) -> httpx.Response:
        return self.xh.post("/v1/reuses", wish, key=key)

    def grant(self, wish: dict[str, Any], key: str) -> dict[str, Any]:
        """Ask until it is granted: a busy machine may be too slow for a silence of a second."""

        def granted() -> dict[str, Any] | None:
            body: dict[str, Any] = self.ask(wish, key).json()
            return body if body.get("outcome") == "granted" else None

        found: dict[str, Any] = until(granted, "the reuse is granted")
        return found

    def leftovers(self) -> float:
        """Return the age of the oldest chunks in XH's store that no row refers to."""
        text = httpx.get(self.xh.url + "/metrics", trust_env=False, timeout=30).text
        name = "deltaseal_wait_upload_unfinished_seconds "
        return float(next(line for line in text.splitlines() if line.startswith(name)).removeprefix(name))


def move_behind(node: DemoNode, port: int) -> None:
    """Start a node on another port; its published address stays."""
    node.part.stop()
    node.part.argv[node.part.argv.index("--port") + 1] = str(port)
    node.part.start()
    wait_ready(node.part, f"http://127.0.0.1:{port}")


@pytest.fixture(scope="module")
def stand(network: Network) -> Iterator[Stand]:
    pd, xh = network.nodes["PD"], network.nodes["XH"]
    published, hidden = int(pd.url.rsplit(":", 1)[1]), free_ports(1, base=None)[0]
    move_behind(pd, hidden)
    with set_settings(xh, peer_timeout_s=SILENCE_S):
        proxy = PeerProxy(published, hidden)
        made = Stand(network, proxy, Raw(network, people.XH), Raw(network, people.PD), fresh_file(SIZE))
        assert made.pd.push(made.file, meta_of(made.file)).status_code == 201
        until(lambda: made.xh.verify(made.file.sha256)["verdict"] == "valid", "XH knows the document")
        yield made
        proxy.close()
    move_behind(pd, published)


@pytest.fixture(autouse=True)
def healed(stand: Stand) -> Iterator[None]:
    yield
    stand.proxy.heal()


def whole_answer(stand: Stand) -> int:
    """Let one release pass and return how many bytes its answer has on the wire."""
    stand.grant(stand.wish(), secrets.token_hex(8))
    return stand.proxy.size


# What happens, and after which part of the answer; negative: so many bytes before its end.
FAULTS: dict[str, tuple[str, int]] = {
    "nobody reads the connection": ("silent_accept", 0),
    "the request is lost": ("request_lost", 0),
    "no byte of the answer": ("hang", 0),
    "half a head": ("hang", 40),
    "the head of HTTP only": ("hang", 400),
    "the first piece": ("hang", 20_000),
    "the middle": ("hang", SIZE // 2),
    "before the last frame": ("hang", -600_000),
    "the last byte": ("hang", -1),
    "closed in the middle": ("cut", SIZE // 2),
    "reset in the middle": ("reset", SIZE // 2),
    "ended well in the middle": ("end", SIZE // 2),
    "a byte at a time from the start": ("trickle", 10),
    "a byte at a time in the middle": ("trickle", SIZE // 2),
    "without end": ("flood", -7),
    "a bit of the signed answer": ("flip", 900),
    "a bit of the document": ("flip", SIZE // 2),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_network_is_no_decision_and_leaves_nothing(stand: Stand, fault: str) -> None:
    mode, at = FAULTS[fault]
    place = at if at >= 0 else whole_answer(stand) + at
    wish, key = stand.wish(), secrets.token_hex(8)
    stand.proxy.become(mode, at=place)
    answer = stand.ask(wish, key)
    assert stand.proxy.met > 0
    assert (answer.status_code, answer.json()["code"]) == (503, "custodian_unavailable"), answer.text
    assert "outcome" not in answer.json()
    stand.proxy.heal()
    until(lambda: stand.leftovers() == 0, "no chunk is left that nothing refers to")
    assert_delivered(stand, stand.grant(wish, key))


def assert_delivered(stand: Stand, reuse: dict[str, Any]) -> None:
    content = stand.xh.http.get(reuse["content"]["url"], headers=READ)
    assert hashlib.sha256(content.content).hexdigest() == stand.file.sha256


def test_delay_alone_is_no_fault(stand: Stand) -> None:
    stand.proxy.become("delay")
    assert_delivered(stand, stand.grant(stand.wish(), secrets.token_hex(8)))
    assert stand.proxy.met > 0


def test_custodians_that_hang_do_not_hold_up_other_requests(stand: Stand) -> None:
    with set_settings(stand.network.nodes["XH"], peer_timeout_s=60):
        stand.proxy.become("silent_accept")
        with ThreadPoolExecutor(HUNG_REUSES) as pool:
            hung = [pool.submit(stand.ask, stand.wish(), secrets.token_hex(8)) for _ in range(HUNG_REUSES)]
            until(lambda: stand.proxy.met >= HUNG_REUSES, "all hang")
            file = fresh_file()
            assert stand.xh.push(file, meta_of(file, caseNo="XH-1"), wait=None).status_code == 201
            assert stand.xh.verify(stand.file.sha256)["verdict"] == "valid"
            assert not any(one.done() for one in hung)
            stand.proxy.heal()
            assert {one.result().status_code for one in hung} == {503}


# Clients


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def memory_kib(node: DemoNode) -> int:
    """Return the node's resident memory."""
    lines = Path(f"/proc/{node.part.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1])


def test_clients_that_do_not_read_cost_no_memory_and_others_are_served(stand: Stand) -> None:
    node, file = stand.network.nodes["XH"], fresh_file(24 << 20)
    pushed = stand.xh.push(file, meta_of(file, caseNo="XH-2"), wait=None)
    assert pushed.status_code == 201
    path = f"/v1/materials/{pushed.json()['materialId']}/content"
    head = f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: {stand.xh.http.headers['authorization']}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in READ.items())
    before = memory_kib(node)
    with ExitStack() as stack:
        slow = [stack.enter_context(connect(stand.xh.url)) for _ in range(10)]
        for one in slow:
            one.sendall(head.encode() + b"\r\n")
            assert one.recv(12) == b"HTTP/1.1 200"
        content = stand.xh.http.get(path, headers=READ)
        assert hashlib.sha256(content.content).hexdigest() == file.sha256
        # Ten answers of 24 MiB wait; one that is gathered would show.
        assert memory_kib(node) - before < 120 << 10


def test_a_thousand_idle_connections_and_slow_heads_leave_room_for_real_requests(stand: Stand) -> None:
    with ExitStack() as stack:
        held = [stack.enter_context(connect(stand.xh.url)) for _ in range(1000)]
        for number, one in enumerate(held):
            if number % 2:
                one.sendall(b"POST /v1/materials HTTP/1.1\r\nhost: x\r\nx-slow: ")
        file = fresh_file()
        assert stand.xh.push(file, meta_of(file, caseNo="XH-3"), wait=None).status_code == 201
        assert stand.xh.verify(stand.file.sha256)["verdict"] == "valid"
        slow = held[1]
        slow.settimeout(120)
        assert b" 408 " in slow.recv(4096)


def test_more_connections_than_the_node_takes_are_refused_and_room_returns(stand: Stand) -> None:
    with set_settings(stand.network.nodes["XH"], max_connections=20), ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(connect(stand.xh.url))
        with httpx.Client(trust_env=False, timeout=60) as fresh:
            answer = fresh.get(stand.xh.url + "/healthz")
        assert (answer.status_code, answer.json()["code"]) == (503, "node_busy")
        stack.close()

        def served() -> bool:
            with httpx.Client(trust_env=False, timeout=60) as fresh:
                return fresh.get(stand.xh.url + "/healthz").status_code == 200

        until(served, "there is room again")
