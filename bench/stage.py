"""What the figures are measured on: the demonstration's network, records in bulk, the peers, and a folder.

Only the node that a figure asks runs; the others are stopped, since they would take the same processors.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import httpx

from anchor.tags import DomainKeys
from bench.chains import RawSender, admit_sender, document_record, document_records
from cli.demo import catalogue, people
from cli.demo.build import open_network
from cli.demo.entry import CatalogueEntry, named
from cli.demo.network import DemoNode, Network, wait_ready
from cli.demo.parts import Part, python_argv
from node.config import CONFIG_NAME, load_config
from node.runtime import close_node, open_node
from node.workers import MERGE_PART, MERGE_RECORDS, follow_once
from verifier.catalog import entry_key

BULK_MEMBER = 90
GROW_RECORDS = 50_000
SETTLE_S = 600.0
UNMERGED = "deltaseal_index_unmerged_records "
WIDE_MATTER = "990199900100"
TYPES = (
    "M1001",
    "M1002",
    "M1003",
    "M1004",
    "M1005",
    "M1006",
    "M2001",
    "M2002",
    "M3001",
    "M3002",
    "M5001",
    "M5002",
)
PERSON = people.PEOPLE[0]


@dataclass(slots=True)
class Stage:
    """One running node (PD), how many records its index holds, and the peers' address."""

    network: Network
    bulk: RawSender
    keys: DomainKeys
    peer: str
    peer_pid: int
    file: Path
    documents: int = 0

    @property
    def node(self) -> DemoNode:
        """The node that is measured."""
        return self.network.nodes["PD"]

    @property
    def key(self) -> str:
        """The API key of its agency."""
        return self.node.keys["PD"]

    def grow(self, documents: int) -> None:
        """Bring the index to so many records of documents in figures; returns when the node has them."""
        while self.documents < documents:
            upto = min(documents, self.documents + GROW_RECORDS)
            self.bulk.append(document_records(self.keys, self.documents, upto))
            self.documents = upto
            self.network.settle(timeout_s=SETTLE_S)
        self.node.part.wait_for(self._merged, "its index is not merged", timeout_s=SETTLE_S)

    def _merged(self) -> Literal[True] | None:
        text = httpx.get(f"{self.node.url}/metrics", trust_env=False).text
        (line,) = [each for each in text.splitlines() if each.startswith(UNMERGED)]
        return True if float(line.split()[1]) < max(MERGE_RECORDS, self.documents // MERGE_PART) else None

    def wake(self, name: str) -> DemoNode:
        """Start another node of the network again and wait until it has read the chain."""
        node = self.network.nodes[name]
        if not node.part.running:
            node.restart()
            self.network.settle(timeout_s=300.0)
        return node


@dataclass(slots=True)
class Bench:
    """The options of a run and what its figures share; the stage is made when a figure first needs it."""

    full: bool
    folder: Path
    large_mib: int = 256
    anchor_records: int = 20_000
    stack: ExitStack = field(default_factory=ExitStack)
    _stage: Stage | None = None

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of records between which growth is measured."""
        return (10_000, 100_000, 1_000_000) if self.full else (10_000, 100_000)

    @property
    def stage(self) -> Stage:
        """The stage, made at first."""
        if self._stage is None:
            self._stage = self.stack.enter_context(open_stage(self.folder / "stage"))
        return self._stage


@contextmanager
def open_bench(*, full: bool, large_mib: int = 256, anchor_records: int = 20_000) -> Iterator[Bench]:
    """Yield a bench in a folder of its own, which is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="deltaseal-bench-"))
    try:
        with ExitStack() as stack:
            yield Bench(full, folder, large_mib, anchor_records, stack)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def open_stage(folder: Path) -> Iterator[Stage]:
    """Build the network, stop all nodes but PD, admit the bulk member and start the peers."""
    folder.mkdir(parents=True)
    file = folder / "file"
    with open_network(folder / "network", say=lambda _text: None) as network:
        publish_wide_matter(network)
        bulk = admit_sender(network.gateway, network.deployment, network.council, BULK_MEMBER)
        network.settle()
        for node in network.nodes.values():
            node.part.stop()
        node = network.nodes["PD"]
        keys = _keys_of(node)
        # One client sends all the load, which the share of a key would bend.
        with (node.folder / CONFIG_NAME).open("a") as settings:
            settings.write("rate_limit_per_s = 10000000\n")
        node.restart()
        peer = Part("peer", python_argv("bench.peers", "--file", str(file)), logs=folder, fix="see peer.log")
        peer.start()
        try:
            stage = Stage(network, bulk, keys, peer.wait_line()["url"], peer.pid, file)
            _give_papers(stage)
            yield stage
        finally:
            peer.stop()


def publish_wide_matter(network: Network) -> None:
    """Publish a matter with twelve requirements, one for each material type, and approve it."""
    requirements = [
        {
            "reqId": f"R{number + 1}",
            "name": named(code, code),
            "anyOf": [code],
            "necessity": "required",
            "copies": 1,
            "exemptionRoutes": ["certificate", "history", "paper"],
        }
        for number, code in enumerate(TYPES)
    ]
    body = {
        "name": named("十二项", "Twelve requirements"),
        "area": "310104",
        "owner": people.SH_SC.uscc,
        "agencies": [people.XH.uscc, people.PD.uscc, people.SH_SC.uscc],
        "dutyCode": "DY-310000-SCJG-0007",
        "requirements": requirements,
    }
    entry = CatalogueEntry("matter", WIDE_MATTER, body)
    answer = network.client(people.XH).request(
        "POST",
        "/v1/catalog/imports",
        body=entry.as_line().encode(),
        query={"mode": "all"},
        headers={"Content-Type": "application/x-ndjson"},
        idempotency_key=secrets.token_hex(16),
    )
    if answer.body["rejected"]:
        raise network.nodes["XH"].part.failure("it rejected the matter")
    network.settle()
    network.council.approve([entry_key(entry.kind, entry.code)], [1])
    network.settle()


def _keys_of(node: DemoNode) -> DomainKeys:
    """Read the domain's keys in the node's own folder, while it is stopped."""
    opened = open_node(load_config(node.folder))
    try:
        follow_once(opened)
        keys = opened.keyring.newest(catalogue.CITY_DOMAIN)
    finally:
        close_node(opened)
    if keys is None:
        raise node.part.failure("it holds no keys of the domain")
    return keys


def _give_papers(stage: Stage) -> None:
    """Anchor one paper of each type for `PERSON`."""
    records = [
        document_record(
            stage.keys,
            hashlib.sha256(code.encode()).digest(),
            subject_tag=stage.keys.subject_tag(PERSON.id_type, PERSON.id, code),
        )
        for code in TYPES
    ]
    stage.bulk.append(records)
    stage.network.settle()


def restart_measured(stage: Stage) -> None:
    """Start the measured node again after its folder was looked at."""
    stage.node.part.start()
    wait_ready(stage.node.part, stage.node.url)
