"""Time stamps of a real node: its final batches are stamped by an authority, and its receipts carry that out."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from cli.demo import people
from cli.demo.build import EmbeddedStarter, open_network
from cli.demo.network import Network, StartedChain
from tests.e2e.papers import Raw, fresh_file, meta_of
from tests.support.tsa import STAMPED_AT, Authority, serving

AUTHORITY = Authority.create()
CHINA = timezone(timedelta(hours=8))


class StampingStarter(EmbeddedStarter):
    """The embedded chain, for nodes that have their batches stamped."""

    tsa_url = ""

    def __call__(self, folder: Path, logs: Path, ports: Sequence[int], stack: ExitStack) -> StartedChain:
        return replace(super().__call__(folder, logs, ports, stack), settings={"tsa_url": self.tsa_url})


@pytest.fixture(scope="module")
def stamping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    starter = StampingStarter()
    with serving(AUTHORITY) as (url, _asked):
        starter.tsa_url = url
        folder = tmp_path_factory.mktemp("stamping") / "net"
        with open_network(folder, say=lambda _text: None, start_chain=starter) as opened:
            yield opened


def stamped_receipt(client: Raw, material: str) -> dict[str, Any]:
    """Ask until the receipt carries a stamp: one that is made before the authority answered has none."""
    shown: dict[str, Any] = {}
    for _ in range(600):
        shown = client.get(f"/v1/receipts/{material}").json()
        if "timestamp" in shown:
            break
        time.sleep(0.1)
    return shown


def offline(
    network: Network, folder: Path, receipt: dict[str, Any], *more: str
) -> tuple[int, dict[str, Any]]:
    """Check a receipt by the command alone; return its exit code and answer."""
    made = network.deployment
    facts = {name: "0x" + getattr(made, name).hex() for name in ("genesis", "directory", "ledger")}
    (folder / "trust.json").write_text(json.dumps({"chainId": made.chain_id, **facts}))
    (folder / "receipt.json").write_text(json.dumps(receipt))
    argv = [sys.executable, "-m", "cli", "verify", "--offline", "-o", "json", *more]
    argv += ["--receipt", str(folder / "receipt.json"), "--trust", str(folder / "trust.json")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, json.loads(done.stdout)


def test_receipt_of_a_stamped_batch_shows_its_time_to_who_trusts_the_authority(
    stamping: Network, tmp_path: Path
) -> None:
    client, file = Raw(stamping, people.PD), fresh_file(200)
    material = client.push(file, meta_of(file)).json()["materialId"]
    shown = stamped_receipt(client, material)
    (tmp_path / "tsa.pem").write_bytes(AUTHORITY.root.public_bytes(Encoding.PEM))
    for more, outcome in (((), "warn"), (("--tsa-root", str(tmp_path / "tsa.pem")), "pass")):
        code, said = offline(stamping, tmp_path, shown, *more)
        # 11 either way: an operator's chain has no seals to prove a block by, and a stamp is no seal.
        assert (code, said["checks"][-1]["code"], said["checks"][-1]["outcome"]) == (11, "timestamp", outcome)
    assert said["stampedAt"] == STAMPED_AT.astimezone(CHINA).isoformat()
    answer = client.post("/v1/verify", {"receipt": shown}).json()
    assert answer["verdict"] == "valid", answer
