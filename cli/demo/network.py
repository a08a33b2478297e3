"""The running network of the demonstration: its parts, where they listen, and how far they have come.

`cli.demo.build` makes it. Must not import `node`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import httpx

from anchor.chain.deploy import CouncilActs, Deployment
from anchor.chain.finality import Finality, finality_for
from anchor.chain.gateway import Block, Gateway
from anchor.chain.signersets import read_signer_sets
from anchor.headers import Engine
from cli.client import NodeClient
from cli.demo import people
from cli.demo.errors import DemoPartFailed
from cli.demo.parts import Part

#: Where the council's keystore and its passphrase lie in the demonstration's folder.
COUNCIL_KEY, COUNCIL_PASSPHRASE = Path("council/key.json"), Path("council/passphrase")


class ChainPart(Protocol):
    """What runs the chain: one process, or all its signers as one."""

    @property
    def pid(self) -> int:
        """Process id; 0 before the first start."""
        ...

    @property
    def argv(self) -> list[str]:
        """The command that starts it again."""
        ...

    def start(self) -> None:
        """Start it, or what of it does not run."""
        ...

    def wait_line(self) -> object:
        """Wait until it answers."""
        ...

    def kill(self) -> None:
        """End it by SIGKILL."""
        ...

    def failure(self, what: str) -> DemoPartFailed:
        """Build the error for it."""
        ...


@dataclass(frozen=True, slots=True)
class Sealer:
    """A signer of the chain: the address that seals its blocks, its JSON-RPC and its process."""

    address: bytes
    rpc: str
    part: Part


@dataclass(frozen=True, slots=True)
class StartedChain:
    """A chain that answers. `rpcs` are shared out among the nodes in turn, so that each follows its own client.

    `settings` are lines for every node's `deltaseal.toml`.
    """

    part: ChainPart
    engine: Engine
    rpcs: Sequence[str]
    sealers: Sequence[Sealer] = ()
    settings: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(slots=True)
class DemoNode:
    """A running node: its member, its process, its folder and a client for each agency it hosts."""

    member: people.Member
    part: Part
    folder: Path
    url: str
    keys: Mapping[str, str]
    key_files: Mapping[str, Path]
    clients: Mapping[str, NodeClient]

    @property
    def client(self) -> NodeClient:
        """Return the client of the agency that runs the node."""
        return self.clients[self.member.own.key]

    def restart(self) -> None:
        """Start the node again by its `argv` and wait until it is ready.

        Raises:
            DemoPartFailed: it does not come back.
        """
        self.part.start()
        wait_ready(self.part, self.url)


@dataclass(frozen=True, slots=True)
class Network:
    """The running network. `rpc` is the chain's JSON-RPC address, `nodes` are by the member's short name."""

    folder: Path
    chain: ChainPart
    engine: Engine
    rpc: str
    sealers: Sequence[Sealer]
    gateway: Gateway
    deployment: Deployment
    council: CouncilActs
    nodes: Mapping[str, DemoNode]

    def client(self, agency: people.Agency) -> NodeClient:
        """Return the client that speaks for `agency` at the node that hosts it."""
        return next(node.clients[agency.key] for node in self.nodes.values() if agency.key in node.clients)

    def restart_chain(self) -> None:
        """Start the chain again by its `argv`; it replays its journal first.

        Raises:
            DemoPartFailed: it does not come back.
        """
        self.chain.start()
        self.chain.wait_line()

    def settle(self, *, timeout_s: float = 60.0) -> int:
        """Wait until all is sent and every running node has read the chain's head; return its number.

        Raises:
            DemoPartFailed: a node does not come that far in time.
        """
        self.drain(timeout_s=timeout_s)
        head = self.head().number
        for node in self._running():
            node.part.wait_for(
                partial(_has_read, node, head), "it did not read the head", timeout_s=timeout_s
            )
        return head

    def drain(self, *, timeout_s: float = 60.0) -> None:
        """Wait until all that every running node wants to send is final.

        Raises:
            DemoPartFailed: a node does not come that far in time.
        """
        for node in self._running():
            node.part.wait_for(partial(_outbox_empty, node), "its outbox did not drain", timeout_s=timeout_s)

    def _running(self) -> list[DemoNode]:
        return [node for node in self.nodes.values() if node.part.running]

    def head(self) -> Block:
        """Return the chain's latest block.

        Raises:
            ChainUnavailable: the chain does not answer.
        """
        block = self.gateway.block("latest")
        if block is None:
            raise self.chain.failure("it has no latest block")
        return block

    def final(self) -> Block:
        """Return the newest block that stays, by the rule of the chain's engine.

        Raises:
            ChainUnavailable: the chain does not answer. DemoPartFailed: nothing is final.
        """
        point = self._finality().final_point(self.gateway, self.head())
        block = self.gateway.block(point.number) if point else None
        if block is None:
            raise self.chain.failure("no block of it is final")
        return block

    def _finality(self) -> Finality:
        def sets() -> list[tuple[int, tuple[bytes, ...]]]:
            return read_signer_sets(
                self.gateway, self.deployment.members, self.engine, last=self.head().number
            )

        return finality_for(self.engine, signer_sets=sets)

    def describe(self) -> dict[str, Any]:
        """Render what a caller from outside needs to use the network and to kill and restart its parts."""
        return {
            "chain": {
                "engine": self.engine.value,
                "rpc": self.rpc,
                "chainId": self.deployment.chain_id,
                "directory": "0x" + self.deployment.directory.hex(),
                "pid": self.chain.pid,
                "argv": self.chain.argv,
                "signers": [_describe_sealer(sealer) for sealer in self.sealers],
            },
            "nodes": [_describe_node(node) for node in self.nodes.values()],
            "council": {
                "keyFile": str(self.folder / COUNCIL_KEY),
                "passphraseFile": str(self.folder / COUNCIL_PASSPHRASE),
            },
        }


def _describe_sealer(sealer: Sealer) -> dict[str, Any]:
    return {
        "name": sealer.part.name,
        "address": "0x" + sealer.address.hex(),
        "rpc": sealer.rpc,
        "pid": sealer.part.pid,
        "argv": sealer.part.argv,
    }


def _describe_node(node: DemoNode) -> dict[str, Any]:
    return {
        "name": node.member.key,
        "url": node.url,
        "apiKey": node.keys[node.member.own.key],
        "agency": node.member.own.uscc,
        "dataDir": str(node.folder),
        "pid": node.part.pid,
        "argv": node.part.argv,
        "memberId": node.member.member_id,
        "agencies": [
            {"name": agency.key, "agency": agency.uscc, "apiKey": node.keys[agency.key]}
            for agency in node.member.agencies
        ],
    }


def _outbox_empty(node: DemoNode) -> Literal[True] | None:
    outbox = node.client.get("/v1/chain/status")["outbox"]
    return True if outbox["queued"] == 0 and outbox["inFlight"] == 0 else None


def _has_read(node: DemoNode, number: int) -> Literal[True] | None:
    status = node.client.get("/v1/chain/status")
    read = min((status[name] or {"number": -1})["number"] for name in ("indexed", "final"))
    return True if read >= number else None


def wait_ready(part: Part, url: str) -> None:
    """Wait until the node prints its line and says that it is ready.

    Raises:
        DemoPartFailed: it does not come that far; the message names what it still misses.
    """
    part.wait_line()

    def ready() -> Literal[True] | None:
        return True if missing_for_readiness(url) == "" else None

    part.wait_for(ready, lambda: f"it is not ready ({missing_for_readiness(url)})")


def missing_for_readiness(url: str) -> str:
    """Return what keeps a node from being ready ("keys domain_key_missing"), empty when nothing does."""
    try:
        answer = httpx.get(f"{url}/readyz", timeout=5.0, trust_env=False)
        parts = answer.json()["parts"]
    except (httpx.HTTPError, ValueError, KeyError):
        return "no answer"
    missing = [f"{name} {state}" for name, state in parts.items() if state != "ok"]
    return "" if answer.status_code == 200 else ", ".join(missing) or f"status {answer.status_code}"
