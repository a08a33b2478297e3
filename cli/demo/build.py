"""Builds the network of the demonstration in an empty folder and stops it at the end.

Order: chain, contracts, node folders, members and epoch keys, nodes, API keys, catalogue. Each step waits
for the one before and fails with the part's name, its last log lines and the fix. The council's key stays
in the folder, so that members can be administered by `deltaseal chain` while the network is kept.

Must not import `node`: a node is a process that is started by its command and spoken to over HTTP.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from anchor.chain.deploy import CouncilActs, Deployment, Profile, Role, deploy
from anchor.chain.gateway import Gateway
from anchor.headers import Engine
from anchor.signer import Signer, save_keystore
from cli.client import NodeClient
from cli.demo import catalogue, people
from cli.demo.entry import CatalogueEntry
from cli.demo.errors import DemoFolderRefused
from cli.demo.network import (
    COUNCIL_KEY,
    COUNCIL_PASSPHRASE,
    DemoNode,
    Network,
    StartedChain,
    wait_ready,
)
from cli.demo.parts import Part, python_argv, run_once
from cli.errors import CliError
from verifier.catalog import REVIEWED_KINDS, entry_key

CHAIN_ID = 310_000
HOST = "127.0.0.1"
PORTS = range(20_000, 32_000)
CHAIN = "chain"
#: Scopes of the keys that the demonstration hands out; `admin` stays in each node's own folder.
SCOPES = (
    "materials:read",
    "materials:write",
    "materials:erase",
    "verify",
    "reuses:read",
    "reuses:write",
    "catalog:read",
    "catalog:write",
    "catalog:approve",
    "chain:read",
    "audit:read",
)
# Longer than a node waits for `?wait=final`.
_CALL_TIMEOUT_S = 90.0
_LOOPBACK = "127.0.0.0/8"
_NODE_FIX = "run `deltaseal doctor`, then look at the log named after the part in the folder's `logs`"
_CHAIN_FIX = "run `make setup` so that the chain's engine (anvil) is installed, then `deltaseal doctor`"

Say = Callable[[str], None]


class ChainStarter(Protocol):
    """Starts a chain of its kind. `port_count` says how many ports it needs."""

    port_count: int

    def __call__(self, folder: Path, logs: Path, ports: Sequence[int], stack: ExitStack) -> StartedChain:
        """Make the chain in `folder`, start it, wait until it answers, and let `stack` stop it.

        Raises:
            DemoPartFailed: it does not start.
        """
        ...


class EmbeddedStarter:
    """Starts the embedded chain: one process, one operator."""

    port_count = 1

    def __call__(self, folder: Path, logs: Path, ports: Sequence[int], stack: ExitStack) -> StartedChain:
        """Start it on the one port."""
        argv = python_argv(
            *("node.chainserver", "--folder", str(folder), "--host", HOST, "--port", str(ports[0])),
            *("--chain-id", str(CHAIN_ID)),
        )
        chain = Part(CHAIN, argv, logs=logs, fix=_CHAIN_FIX)
        chain.start([*argv, "--create"])
        stack.callback(chain.stop)
        return StartedChain(chain, Engine.EMBEDDED, [str(chain.wait_line()["rpc"])])


@contextmanager
def open_network(
    folder: Path,
    *,
    say: Say,
    port_base: int | None = None,
    start_chain: ChainStarter | None = None,
) -> Iterator[Network]:
    """Build the network in the empty `folder`, yield it and stop all its processes at the end.

    `say` is told each step. With `port_base` the chain listens there and the nodes on the next ports.
    Without `start_chain` the chain is the embedded one.

    Raises:
        DemoFolderRefused: the folder holds something already or cannot be made.
        DemoPartFailed: a part failed.
    """
    starter = start_chain or EmbeddedStarter()
    logs = _fresh_folder(folder)
    ports = free_ports(starter.port_count + len(people.MEMBERS), base=port_base)
    with ExitStack() as stack:
        chain = starter(folder / CHAIN, logs, ports[: starter.port_count], stack)
        say(f"chain {CHAIN_ID} ({chain.engine}) runs at {', '.join(chain.rpcs)}")
        gateway = Gateway(chain.rpcs[0])
        stack.callback(gateway.close)
        council_signer = _council(folder)
        deployment = deploy(gateway, council_signer)
        council = CouncilActs(gateway, council_signer, deployment)
        say(f"contracts are deployed, Directory 0x{deployment.directory.hex()}")
        if chain.sealers:
            council.set_signers(0, [sealer.address for sealer in chain.sealers])
            say(f"Members names the {len(chain.sealers)} signers of the chain")
        made = _make_nodes(folder, logs, chain, deployment, ports[starter.port_count :])
        _admit(council, made)
        # XH's node approves entries over HTTP, as a data bureau's would.
        council.name_reviewer(made[0].address)
        say(f"members {', '.join(member.key for member in people.MEMBERS)} are admitted and hold their keys")
        started = [(unit, _start_node(unit, logs, stack)) for unit in made]
        nodes = {unit.member.key: _open_node(unit, part, stack) for unit, part in started}
        say("nodes are ready: " + ", ".join(f"{name} at {node.url}" for name, node in nodes.items()))
        network = Network(
            folder,
            chain.part,
            chain.engine,
            chain.rpcs[0],
            chain.sealers,
            gateway,
            deployment,
            council,
            nodes,
        )
        _publish_catalogue(network)
        say(f"catalogue is live on all nodes: {len(catalogue.entries())} entries")
        yield network


def _fresh_folder(folder: Path) -> Path:
    logs = folder / "logs"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        empty = next(folder.iterdir(), None) is None
        if empty:
            logs.mkdir(mode=0o700)
    except OSError as error:
        raise DemoFolderRefused(
            f"the folder cannot be used: {error.strerror}",
            hint="name a folder that you may write",
            place=str(folder),
        ) from None
    if not empty:
        raise DemoFolderRefused(
            "the folder is not empty", hint="name an empty or new folder with --dir", place=str(folder)
        )
    return logs


def free_ports(count: int, *, base: int | None) -> list[int]:
    """Return `count` ports on the loopback address that nobody listens at.

    Chosen below those that systems give to outgoing connections: one of these could take a port between this look and
    its use, or while the part that owns it is stopped.
    """
    if base is not None:
        return list(range(base, base + count))
    found: list[int] = []
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        if len(found) < count and _is_free(port):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _secret_file(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as target:
        target.write(text)


def _council(folder: Path) -> Signer:
    signer, passphrase = Signer.generate(), secrets.token_urlsafe(24)
    (folder / COUNCIL_KEY).parent.mkdir(mode=0o700)
    _secret_file(folder / COUNCIL_PASSPHRASE, passphrase)
    save_keystore(folder / COUNCIL_KEY, signer, passphrase=passphrase)
    return signer


@dataclass(frozen=True, slots=True)
class _Made:
    """A node's folder as `node init` made it."""

    member: people.Member
    folder: Path
    port: int
    address: bytes
    hpke_key: bytes
    admin_key_file: Path

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"


def _make_nodes(
    folder: Path, logs: Path, chain: StartedChain, deployment: Deployment, ports: Sequence[int]
) -> tuple[_Made, ...]:
    """Run `node init` for every member, all at once: each takes a slow key derivation."""
    units = []
    for number, (member, port) in enumerate(zip(people.MEMBERS, ports, strict=True)):
        home, rpc = folder / member.key.lower(), chain.rpcs[number % len(chain.rpcs)]
        argv = _init_argv(member, home, chain, rpc, deployment, port)
        units.append(
            (member, home, port, run_once(f"init-{member.key.lower()}", argv, logs=logs, fix=_NODE_FIX))
        )
    made = tuple(_made(member, home, port, part.wait_end()) for member, home, port, part in units)
    for unit in made:
        _add_settings(unit.folder, chain.settings)
    return made


def _add_settings(home: Path, settings: Mapping[str, str | int]) -> None:
    """Add lines to a node's settings, as its operator does with an editor."""
    with (home / "deltaseal.toml").open("a", encoding="utf-8") as target:
        target.writelines(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())


def _init_argv(
    member: people.Member, home: Path, chain: StartedChain, rpc: str, deployment: Deployment, port: int
) -> list[str]:
    hosted = (word for agency in member.agencies for word in ("--agency", agency.uscc))
    return python_argv(
        *("node", "init", "--data-dir", str(home), "--name", member.key),
        *("--chain-rpc", rpc, "--chain-id", str(deployment.chain_id)),
        *("--directory", "0x" + deployment.directory.hex(), "--engine", chain.engine.value),
        *("--host", HOST, "--port", str(port)),
        # The guard against private endpoints would refuse peers on this machine otherwise.
        *("--peer-network", _LOOPBACK),
        *hosted,
    )


def _made(member: people.Member, home: Path, port: int, answer: Mapping[str, Any]) -> _Made:
    return _Made(
        member,
        home,
        port,
        bytes.fromhex(answer["address"].removeprefix("0x")),
        bytes.fromhex(answer["hpkeKey"].removeprefix("0x")),
        Path(answer["adminKeyFile"]),
    )


def _admit(council: CouncilActs, made: Sequence[_Made]) -> None:
    for unit in made:
        council.admit_member(unit.member.member_id, _profile(unit))
    recipients = {unit.member.member_id: unit.hpke_key for unit in made}
    # Epoch 0 is the key of the nullifiers, which never rotates; epoch 1 the first of tags and masks.
    for epoch in (0, 1):
        council.publish_epoch(catalogue.CITY_DOMAIN, epoch, secrets.token_bytes(32), recipients)


def _profile(unit: _Made) -> Profile:
    own = unit.member.own
    return Profile(
        account=unit.address,
        role=Role.DISTRICT,
        level=2,
        area=int(own.area),
        uscc=own.uscc,
        valid_from=0,
        valid_until=0,
        name=own.zh,
        endpoint=unit.url,
        hpke_key=unit.hpke_key,
    )


def _start_node(unit: _Made, logs: Path, stack: ExitStack) -> Part:
    argv = python_argv("node", "serve", "--data-dir", str(unit.folder), "--port", str(unit.port))
    part = Part(unit.member.key.lower(), argv, logs=logs, fix=_NODE_FIX)
    part.start()
    stack.callback(part.stop)
    return part


def _open_node(unit: _Made, part: Part, stack: ExitStack) -> DemoNode:
    """Wait until the node is ready and issue a key for each agency that it hosts."""
    wait_ready(part, unit.url)
    with NodeClient(unit.url, unit.admin_key_file.read_text("utf-8").strip()) as admin:
        keys = {agency.key: _issue_key(admin, part, agency) for agency in unit.member.agencies}
    clients = {
        key: stack.enter_context(NodeClient(unit.url, text, timeout_s=_CALL_TIMEOUT_S, connections=32))
        for key, text in keys.items()
    }
    files = {key: _key_file(unit.folder.parent, key, text) for key, text in keys.items()}
    return DemoNode(unit.member, part, unit.folder, unit.url, keys, files, clients)


def _key_file(folder: Path, agency: str, text: str) -> Path:
    path = folder / "keys" / f"{agency}.key"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    _secret_file(path, text)
    return path


def _issue_key(admin: NodeClient, part: Part, agency: people.Agency) -> str:
    wanted = {"agency": agency.uscc, "scopes": list(SCOPES), "label": "demo"}
    try:
        return str(admin.post("/v1/keys", wanted)["key"])
    except CliError as error:
        raise part.failure(f"it refused to issue a key ({error.code})") from None


def _publish_catalogue(network: Network) -> None:
    """Publish all entries through XH, approve those that need it as the council, and wait for every node."""
    entries = catalogue.entries()
    publisher = network.client(people.XH)
    lines = "\n".join(entry.as_line() for entry in entries).encode()
    answer = publisher.request(
        "POST",
        "/v1/catalog/imports",
        body=lines,
        query={"mode": "all"},
        headers={"Content-Type": "application/x-ndjson"},
        idempotency_key=secrets.token_hex(16),
    ).body
    if answer["rejected"]:
        raise network.nodes["XH"].part.failure(f"it rejected {len(answer['rejected'])} catalogue entries")
    network.drain()
    reviewed = [entry for entry in entries if entry.kind in REVIEWED_KINDS]
    network.council.approve([entry_key(entry.kind, entry.code) for entry in reviewed], [1] * len(reviewed))
    network.settle()
    for node in network.nodes.values():
        _require_live(node, reviewed)


def _require_live(node: DemoNode, reviewed: Sequence[CatalogueEntry]) -> None:
    for entry in reviewed:
        state = node.client.get(f"/v1/catalog/{entry.kind}/{entry.code}")["state"]
        if state != "approved":
            raise node.part.failure(f"its catalogue says {entry.kind} {entry.code} is {state}")
