"""What tests of forked chains share: a twin of QP's node on another chain, what both say of it, and the way back."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from cli.demo import people
from cli.demo.network import DemoNode, Network, wait_ready
from cli.demo.parts import Part
from tests.e2e.papers import Raw
from tests.support.waiting import BOUND_S, until


def set_lines(folder: Path, *lines: str) -> None:
    """Set these lines in a node's settings; it reads them when it starts."""
    path = folder / "deltaseal.toml"
    names = [line.split(" = ")[0] for line in lines]
    kept = [line for line in path.read_text().splitlines() if line.split(" = ")[0] not in names]
    path.write_text("\n".join([*kept, *lines]) + "\n")


def twin_of(node: DemoNode, home: Path) -> Part:
    """Return the process of a node that runs from `home`, a copy of the folder of `node`, at its address."""
    argv = [str(home) if each == str(node.folder) else each for each in node.part.argv]
    return Part(f"{home.name}-twin", argv, logs=home.parent, fix="see its log")


def log_state(client: Raw) -> str:
    """Return what a node says of its log at /readyz."""
    answer = httpx.get(client.url + "/readyz", trust_env=False, timeout=30)
    return str(answer.json()["parts"]["log"])


def require_alarm(client: Raw, sha256: str) -> None:
    """Require that a node which found a fork calls nothing valid, says why, and counts it."""
    # A record may be final for the outbox a moment before the index has followed to it.
    until(lambda: client.verify(sha256)["lastKnown"] == "valid", "the index holds the final record")
    verdict = client.verify(sha256)
    assert (verdict["verdict"], verdict["lastKnown"]) == ("stale", "valid")
    assert "fork_detected" in {each["code"] for each in verdict["reasons"]}
    assert "deltaseal_fork_detected 1.0" in httpx.get(client.url + "/metrics", trust_env=False).text


def run_audit(network: Network, folder: Path, *more: str) -> tuple[int, dict[str, Any]]:
    """Run `deltaseal audit log` as PD's clerk against the network's chain; return its exit code and JSON."""
    node, made, trust = network.nodes["PD"], network.deployment, folder / "trust.json"
    facts = {name: "0x" + getattr(made, name).hex() for name in ("genesis", "directory", "ledger")}
    trust.write_text(json.dumps({"chainId": made.chain_id, **facts}))
    argv = [sys.executable, "-m", "cli", "audit", "log", "--rpc", network.rpc, "--trust", str(trust)]
    argv += ["-o", "json", "--url", node.url, "--api-key-file", str(node.key_files[people.PD.key]), *more]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=BOUND_S, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else {"error": done.stderr}


def settle(node: DemoNode, member_id: int) -> httpx.Response:
    """Have a node's admin settle the fork with a member."""
    key = (node.folder / "admin.key").read_text().strip()
    headers = {"content-type": "application/json", "idempotency-key": secrets.token_hex(8)}
    headers["authorization"] = f"Bearer {key}"
    return httpx.post(
        f"{node.url}/v1/audit/forks/{member_id}/settle",
        content=json.dumps({"reason": "the twin follows a copy of the chain"}),
        headers=headers,
        trust_env=False,
        timeout=60,
    )


def leave_whole(network: Network, *lines: str) -> None:
    """Bring PD and QP back with these settings and settle what is left: other tests find the network as it was."""
    for name in ("PD", "QP"):
        node = network.nodes[name]
        node.part.stop()
        set_lines(node.folder, *lines)
        node.part.start()
        node.part.wait_line()
    for node in network.nodes.values():
        for member in network.nodes.values():
            settle(node, member.member.member_id)
        wait_ready(node.part, node.url)
