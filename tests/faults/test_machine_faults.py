"""The machine under a node: a clock that is set, few file descriptors, a stop in the middle, no memory.

PD's node runs where a test can bend these. What it answered with 201 is counted outside of it and read back in the end.
"""

from __future__ import annotations

import os
import resource
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.demo import people
from cli.demo.network import Network
from tests.e2e.papers import Raw, fresh_file, lease_wish, meta_of
from tests.faults.bending import Bent, bent
from tests.faults.node_folder import make_keys, make_store
from tests.faults.test_dependency_faults import until

DAY = 86400
MIB = 1 << 20


@pytest.fixture(scope="module")
def pd(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bent]:
    with bent(network.nodes["PD"], tmp_path_factory.mktemp("bent"), Raw(network, people.PD)) as made:
        yield made


@pytest.fixture(autouse=True)
def straight(pd: Bent) -> Iterator[None]:
    yield
    pd.set("clock", None)
    pd.bring_back()
    until(lambda: pd.part("chain") == "ok", "the node sees its chain again")


def verdict(client: Raw, sha256: str) -> str:
    return str(client.verify(sha256)["verdict"])


# The clock.


@pytest.mark.parametrize("step", [DAY, -DAY, -1500], ids=["a day on", "a day back", "25 minutes back"])
def test_a_clock_that_is_set_makes_nothing_valid_denies_nothing_and_loses_nothing(
    network: Network, pd: Bent, step: int
) -> None:
    xh, key = Raw(network, people.XH), secrets.token_hex(8)
    file = fresh_file()
    meta = meta_of(file)
    first = pd.client.push(file, meta, key=key)
    assert first.status_code == 201, first.text
    until(lambda: verdict(xh, file.sha256) == verdict(pd.client, file.sha256) == "valid", "known")

    pd.set("clock", step)
    until(lambda: pd.part("chain") == "clock_jumped", "the jump is named")
    asked = pd.client.verify(file.sha256)
    assert (asked["verdict"], asked["lastKnown"]) == ("stale", "valid")
    assert "clock_jumped" in {one["code"] for one in asked["reasons"] if one["outcome"] == "fail"}
    assert pd.push().status_code == 201
    again = pd.client.push(file, meta, key=key)
    assert again.json()["materialId"] == first.json()["materialId"]
    asked = xh.post("/v1/reuses", lease_wish(sha256=file.sha256))
    assert (asked.status_code, asked.json()["code"]) == (503, "custodian_unavailable"), asked.text

    pd.set("clock", None)
    until(lambda: verdict(pd.client, file.sha256) == "valid", "valid again by itself")
    until(lambda: _outcome(xh, file.sha256) == "granted", "granted again")
    pd.assert_all_there()


def _outcome(client: Raw, sha256: str) -> str | None:
    outcome: str | None = client.post("/v1/reuses", lease_wish(sha256=sha256)).json().get("outcome")
    assert outcome != "denied"
    return outcome


def test_a_key_that_has_expired_stays_expired_when_the_clock_is_set_back(pd: Bent) -> None:
    admin = (pd.node.folder / "admin.key").read_text().strip()
    wanted = {"agency": people.PD.uscc, "scopes": ["verify"], "expiresAt": int(time.time()) + 2}
    headers = {"authorization": f"Bearer {admin}", "idempotency-key": secrets.token_hex(8)}
    issued = httpx.post(pd.client.url + "/v1/keys", json=wanted, headers=headers, trust_env=False, timeout=60)
    assert issued.status_code == 201, issued.text
    bearer = {"authorization": f"Bearer {issued.json()['key']}"}

    def code() -> Any:
        answer = httpx.get(pd.client.url + "/v1/me", headers=bearer, trust_env=False, timeout=60)
        return answer.json().get("code")

    until(lambda: code() == "auth_expired", "the key expires")
    pd.set("clock", -DAY)
    until(lambda: pd.part("chain") == "clock_jumped", "the jump is named")
    assert code() == "auth_expired"


def test_a_start_with_the_clock_days_ahead_deletes_no_answer_that_a_retry_needs(pd: Bent) -> None:
    key, file = secrets.token_hex(8), fresh_file()
    meta = meta_of(file)
    first = pd.client.push(file, meta, key=key, wait=None)
    assert first.status_code == 201
    pd.node.part.stop()
    pd.set("clock", 5 * DAY)
    pd.node.part.start()
    pd.node.part.wait_line()
    until(lambda: pd.part("chain") == "chain_stalled", "it follows")  # the sweep of the start is over by then
    for offset in (5 * DAY, None):
        pd.set("clock", offset)
        again = pd.client.push(file, meta, key=key, wait=None)
        assert again.headers.get("idempotency-replayed") == "true", again.text
        assert again.json()["materialId"] == first.json()["materialId"]


# File descriptors.


def test_too_few_file_descriptors_are_refused_before_anything_is_opened(tmp_path: Path) -> None:
    make_store(tmp_path / "node", make_keys(tmp_path / "node"), schema=2).close()
    done = subprocess.run(
        [sys.executable, "-m", "node", "serve", "--data-dir", str(tmp_path / "node")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
    )
    assert (done.returncode, "descriptors_scarce" in done.stderr) == (8, True), done.stderr
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def test_with_few_file_descriptors_connections_are_refused_and_the_store_goes_on(pd: Bent) -> None:
    pd.node.part.stop()
    pd.set("files", 144)
    pd.node.restart()
    pd.set("files", None)
    assert pd.push().status_code == 201  # opens the client's own connection
    with ExitStack() as stack:
        flood = [stack.enter_context(connect(pd.client.url)) for _ in range(300)]
        refused = flood[-1].recv(4096)
        assert refused == b"" or b" 503 " in refused
        # More than LevelDB keeps in memory: it opens new files meanwhile.
        assert [pd.try_push(MIB) for _ in range(12)] == [201] * 12
    until(lambda: pd.try_push() == 201, "there is room again")
    assert pd.part("store") == "ok"
    pd.node.part.stop()
    pd.node.restart()
    pd.assert_all_there()


# A stop in the middle.


def stop_and_go_on(pd: Bent, seconds: float) -> None:
    """Stop the process while it takes files in, and see that nobody is the worse for it."""
    with ThreadPoolExecutor(6) as pool:
        running = [pool.submit(pd.push, size) for size in (2000, 2000, 5 * MIB, 20 * MIB, 20 * MIB, 2000)]
        os.kill(pd.node.part.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(pd.node.part.pid, signal.SIGCONT)
        assert [one.result().status_code for one in running] == [201] * len(running)
    pd.assert_all_there()


def test_a_process_that_was_stopped_goes_on_where_it_was(pd: Bent) -> None:
    stop_and_go_on(pd, 3)


@pytest.mark.full
def test_a_process_that_was_stopped_for_longer_than_its_deadlines_goes_on_where_it_was(pd: Bent) -> None:
    stop_and_go_on(pd, 30)


# Memory.


def held_bytes(pd: Bent) -> int:
    """Return what RLIMIT_DATA counts of the running process: memory that it may write."""
    lines = Path(f"/proc/{pd.node.part.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmData:")).split()[1]) << 10


def serves_all(pd: Bent) -> bool:
    """Return False where it ended meanwhile: its watch may find a lost thread some looks later."""
    pd.bring_back()
    try:
        assert pd.push().status_code == 201
        pd.assert_all_there()
    except httpx.TransportError:
        until(lambda: not pd.node.part.running, "what answers no more ends")
        return False
    return True


def test_large_files_pass_through_a_node_that_may_not_grow(pd: Bent) -> None:
    with pd.limited(resource.RLIMIT_DATA, held_bytes(pd) + 256 * MIB):
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(pd.try_push, [96 * MIB, 96 * MIB])) == [201, 201]
        pd.assert_all_there()


def test_a_node_that_gets_no_memory_answers_or_ends_and_its_store_is_whole(pd: Bent) -> None:
    with pd.limited(resource.RLIMIT_DATA, held_bytes(pd)), ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(pd.try_push, [4 * MIB, 2000] * 8))
    # Never 4xx: nothing is wrong with the request.
    assert all(status in (0, 201) or status >= 500 for status in answers), answers
    until(lambda: serves_all(pd), "it serves all that was answered")
