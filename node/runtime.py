"""Wire the parts of a node, start and stop them. Holds no rule.

Order of start: keys, store, index, chain, workers, HTTP. Order of stop: HTTP, workers, index, store.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import uvicorn
import uvloop
from fastapi import FastAPI
from pydantic import ValidationError
from ulid import ULID

from anchor.chain.deploy import Deployment, resolve
from anchor.chain.finality import finality_for
from anchor.chain.gateway import Gateway
from anchor.outbox import Outbox
from anchor.signer import Signer, load_keystore, save_keystore
from node import single
from node.clocks import Clock
from node.config import NodeConfig, load_config, write_config
from node.context import Node
from node.descriptors import allow_connections
from node.errors import ConfigInvalid, PortTaken
from node.federation.endpoints import guarded_client
from node.http.app import FrameParts, create_app
from node.http.auth import SCOPES, issue_key
from node.http.idempotency import IdempotencyGate
from node.http.limits import HttpLimits, server_config
from node.http.logs import make_logger
from node.http.protocol import ConnectionLimits
from node.http.routes import (
    catalog,
    federation,
    materials,
    operating,
    presenting,
    reuses,
    verifierpage,
    verifying,
)
from node.http.routes import erasures as erasure_routes
from node.indexfolder import open_index
from node.keys import KeyFolder
from node.services import checkpoints, erasures, notices, pending, waits
from node.services.apikeys import StoredKeys
from node.services.gathering import PushGatherer
from node.services.gauges import register_gauges
from node.store import rows
from node.store.audit import AuditLog
from node.store.blobs import sweep_orphans
from node.store.envelope import RowSeal
from node.store.leveldb import LevelStore
from node.watchdog import LoopWatch
from node.workers import Workers
from verifier.catalog import CatalogView
from verifier.follower import Follower
from verifier.index import ChainIndex
from verifier.keyring import KeyRing

LOG = make_logger()
# Importing and reading what others published comes before acting on it, hence this order in the API description.
ROUTERS = (
    operating.router,
    verifierpage.router,
    # Before the materials: their route of acts takes any verb.
    erasure_routes.router,
    materials.router,
    verifying.router,
    presenting.router,
    reuses.router,
    catalog.router,
    federation.router,
)


@dataclass(frozen=True, slots=True)
class InitRequest:
    """What a new node is made from."""

    data_dir: Path
    chain_rpc: str
    chain_id: int
    directory: str
    agencies: tuple[str, ...]
    passphrase_file: Path | None
    host: str
    port: int
    name: str
    peer_networks: tuple[str, ...] = ()
    embedded_chain: bool = False
    engine: str = "embedded"


def initialise(request: InitRequest) -> dict[str, str]:
    """Make the folder of a node: passphrase, keys, store, index, settings, and a first key with all scopes.

    The settings are written last: a folder without them is no node, and a second run says what is in the way.

    Raises:
        ConfigInvalid, KeyFolderInvalid, StoreForeign: the folder is not empty, or a value is refused.
    """
    folder = request.data_dir
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    passphrase_file = request.passphrase_file or _new_passphrase(folder / "passphrase")
    if request.embedded_chain:
        return _initialise_single(request, passphrase_file)
    return _initialise(request, passphrase_file)


def _initialise_single(request: InitRequest, passphrase_file: Path) -> dict[str, str]:
    """Make a node with a chain of its own: the chain first, then the node, then its admission as the one member."""
    chain, council, directory = single.make_own_chain(request.data_dir, chain_id=request.chain_id)
    try:
        made = _initialise(replace(request, chain_rpc=chain.rpc, directory=directory), passphrase_file)
        config = load_config(request.data_dir)
        passphrase = read_passphrase(config)
        keys = KeyFolder.open(config.data_dir / "keys", passphrase)
        single.admit_self(chain.rpc, directory, council, keys, config, passphrase)
        return made
    finally:
        chain.stop()


def _initialise(request: InitRequest, passphrase_file: Path) -> dict[str, str]:
    folder = request.data_dir
    settings = {
        "name": request.name,
        "host": request.host,
        "port": request.port or _free_port(request.host),
        "chain_rpc": request.chain_rpc,
        "chain_id": request.chain_id,
        "directory": request.directory,
        "engine": request.engine,
        "agencies": list(request.agencies),
        "passphrase_file": str(passphrase_file.absolute()),
        "peer_networks": list(request.peer_networks),
        "embedded_chain": request.embedded_chain,
    }
    config = _checked(folder, settings)
    passphrase = read_passphrase(config)
    keys = KeyFolder.create(folder / "keys", passphrase)
    signer = Signer.generate()
    save_keystore(keys.keystore_path, signer, passphrase)
    node_id = f"node_{ULID()}"
    admin_file = _create_stores(folder, node_id, keys, request.agencies[0])
    path = write_config(folder, settings)
    return {
        "dataDir": str(folder.absolute()),
        "address": "0x" + signer.address.hex(),
        "hpkeKey": keys.recipient_key().public_bytes.hex(),
        "url": f"http://{config.host}:{config.port}",
        "adminKeyFile": str(admin_file.absolute()),
        "config": str(path.absolute()),
    }


def _checked(folder: Path, settings: dict[str, Any]) -> NodeConfig:
    try:
        return NodeConfig(data_dir=folder, **settings)
    except ValidationError as error:
        setting = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise ConfigInvalid(
            f"setting {setting} is refused: {error.errors()[0]['type']}",
            hint="see docs/reference/settings.md",
            setting=setting,
        ) from None


def _new_passphrase(path: Path) -> Path:
    _write_secret(path, secrets.token_urlsafe(32))
    return path


def _write_secret(path: Path, text: str) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigInvalid(
            "the folder holds a node already", hint="choose another folder", setting="data_dir"
        ) from None
    with os.fdopen(handle, "w") as target:
        target.write(text + "\n")
        target.flush()
        os.fsync(target.fileno())


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def read_passphrase(config: NodeConfig) -> str:
    """Read the passphrase of the key folder.

    Raises:
        ConfigInvalid: the file cannot be read or is empty.
    """
    try:
        text = config.passphrase_file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        text = ""
    if not text:
        raise ConfigInvalid(
            "the passphrase file cannot be read or is empty",
            hint="point passphrase_file at a readable file with the passphrase in it",
            setting="passphrase_file",
        )
    return text


def _create_stores(folder: Path, node_id: str, keys: KeyFolder, agency: str) -> Path:
    with LevelStore.create(folder / "store", node_id=node_id, seal=RowSeal(keys.store_key())) as store:
        text, row = issue_key(
            agency, scopes=SCOPES, pepper=keys.pepper(), now=int(time.time()), label="first key, made by init"
        )
        store.write(
            [rows.API_KEY.put(row), rows.SETTING.put(rows.SettingRow("node_id", node_id.encode()))], sync=True
        )
    LevelStore.create(folder / "index", node_id=node_id, seal=None, chain=False).close()
    _write_secret(folder / "admin.key", text)
    return folder / "admin.key"


def open_node(config: NodeConfig) -> Node:
    """Open keys, store, index and chain of the node in `config.data_dir`.

    The chain must answer once in a node's life; from then on a node starts without it, takes materials, and says
    `stale` until the chain is back.

    Raises:
        ConfigInvalid, PassphraseWrong, StoreLocked, StoreMissing, StoreDamaged, ChainMismatch, ChainUnavailable.
    """
    waits.limits(config.alarm_after_s)
    passphrase = read_passphrase(config)
    keys = KeyFolder.open(config.data_dir / "keys", passphrase)
    signer = load_keystore(keys.keystore_path, passphrase)
    store = LevelStore.open(config.data_dir / "store", seal=RowSeal(keys.store_key()))
    try:
        node_id = rows.SETTING.get(store, "node_id")
        index_store = open_index(config.data_dir / "index", node_id=node_id.value.decode() if node_id else "")
    except BaseException:
        store.close()
        raise
    try:
        return _wire(config, keys, signer, store, index_store, passphrase)
    except BaseException:
        index_store.close()
        store.close()
        raise


def _wire(
    config: NodeConfig,
    keys: KeyFolder,
    signer: Signer,
    store: LevelStore,
    index_store: LevelStore,
    passphrase: str,
) -> Node:
    gateway = Gateway(config.chain_rpc)
    deployment = _deployment(config, gateway, store)
    index, keyring = ChainIndex(index_store), KeyRing()
    finality = finality_for(config.engine, signer_sets=index.signer_sets)
    index.use_keys(keyring)
    clock = Clock(block_time=lambda: _final_time(index))
    node_id = rows.SETTING.get(store, "node_id")
    member = index.member_by_account(signer.address)
    member_id = member.member_id if member else 0
    council_path = config.data_dir / "keys" / "council.json"
    node = Node(
        config=config,
        node_id=node_id.value.decode() if node_id else "",
        store=store,
        index_store=index_store,
        keys=keys,
        signer=signer,
        gateway=gateway,
        deployment=deployment,
        finality=finality,
        index=index,
        catalog=CatalogView(index),
        keyring=keyring,
        follower=Follower(gateway, index, deployment=deployment, finality=finality, keys=keyring),
        outbox=Outbox(
            store,
            gateway=gateway,
            signer=signer,
            deployment=deployment,
            member_id=member_id,
            finality=finality,
        ),
        audit=AuditLog(store),
        time=clock,
        peers=guarded_client(config.peer_networks, timeout_s=config.peer_timeout_s),
        idempotency=IdempotencyGate(store, secret=keys.lookup_key(), clock=clock.now, horizon=clock.earliest),
        council=load_keystore(council_path, passphrase) if council_path.exists() else None,
    )
    node.chain.member_id, node.chain.merged_records = member_id, index.counts().records
    node.learn_keys()
    return node


def _final_time(index: ChainIndex) -> int:
    final = index.final_point()
    return final.time if final else 0


def _deployment(config: NodeConfig, gateway: Gateway, store: LevelStore) -> Deployment:
    row = rows.SETTING.get(store, "deployment")
    wanted = bytes.fromhex(config.directory[2:])
    if row is not None:
        kept = json.loads(row.value)
        deployment = Deployment(
            chain_id=kept.pop("chain_id"), **{name: bytes.fromhex(text) for name, text in kept.items()}
        )
        if (deployment.chain_id, deployment.directory) != (config.chain_id, wanted):
            raise ConfigInvalid(
                "this store belongs to another chain than the settings name",
                hint="restore chain_id and directory in deltaseal.toml",
                setting="directory",
            )
        return deployment
    deployment = resolve(gateway, wanted, chain_id=config.chain_id, genesis=None)
    plain = {
        key: value.hex() if isinstance(value, bytes) else value for key, value in asdict(deployment).items()
    }
    store.write([rows.SETTING.put(rows.SettingRow("deployment", json.dumps(plain).encode()))], sync=True)
    return deployment


def close_node(node: Node) -> None:
    """Close what `open_node` opened; no thread but those that wait for other nodes may use the node any more."""
    node.peer_threads.shutdown(wait=True, cancel_futures=True)
    node.peers.close()
    node.gateway.close()
    node.index_store.close()
    node.store.close()


def make_app(node: Node) -> FastAPI:
    """Return the HTTP app of a node."""
    config = node.config
    limits = HttpLimits(
        connection=ConnectionLimits(max_connections=allow_connections(config.max_connections)),
        address_rate_per_s=2 * config.rate_limit_per_s,
        address_burst=4 * config.rate_limit_per_s,
        max_meta_bytes=config.max_meta_bytes,
        max_file_bytes=config.max_file_bytes,
        key_rate_per_s=config.rate_limit_per_s,
        key_burst=2 * config.rate_limit_per_s,
    )
    parts = FrameParts(
        api_keys=StoredKeys(node),
        pepper=node.keys.pepper(),
        cursor_key=node.keys.lookup_key(),
        idempotency=node.idempotency,
        clock=node.time.latest,
        limits=limits,
        version=operating.VERSION,
    )
    app = create_app(parts, ROUTERS, node=node)
    app.state.gatherer = PushGatherer(node)
    register_gauges(node, app.state.frame.metrics)
    return app


class _Server(uvicorn.Server):
    """Says on stdout when it listens; whoever started the process waits for that line."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._watch = LoopWatch()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._watch.stop()
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_default_executor(_started_pool())
        await super().startup(sockets)
        if self.started:
            self._watch.start(asyncio.get_running_loop())
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            print(
                json.dumps({"event": "ready", "url": f"http://{host}:{port}", "pid": os.getpid()}), flush=True
            )


def _started_pool() -> ThreadPoolExecutor:
    """Return the event loop's pool, as large as by default, with all of its threads running.

    A thread that is started when there is no memory for it may never come, and the loop would wait for it.
    """
    size = min(32, (os.cpu_count() or 1) + 4)
    pool = ThreadPoolExecutor(size, thread_name_prefix="asyncio")
    together = threading.Barrier(size + 1)
    for _ in range(size):
        pool.submit(together.wait)
    together.wait()
    return pool


def serve(config: NodeConfig, *, embedded_chain: bool = False) -> int:
    """Run a node until SIGTERM or SIGINT; return the exit code."""
    chain = single.start_own_chain(config) if embedded_chain or config.embedded_chain else None
    try:
        return _serve_node(config)
    finally:
        if chain is not None:
            chain.stop()


def _serve_node(config: NodeConfig) -> int:
    allow_connections(config.max_connections)  # before anything is opened
    node = open_node(config)
    swept = sweep_orphans(node.store, live=lambda _blob_id: False)
    LOG.info("node_open", node=node.node_id, orphans_swept=swept)
    pending.load(node)
    erasures.load(node)
    notices.load(node)
    checkpoints.load(node)
    workers = Workers(node)
    try:
        workers.start()
        app = make_app(node)
        limits = app.state.frame.limits
        # What a start makes lives as long as the node: collections need not walk it again and again.
        gc.collect()
        gc.freeze()
        server = _Server(server_config(app, host=config.host, port=config.port, limits=limits))
        _run(server)
        return 0
    finally:
        workers.stop()
        close_node(node)


def _run(server: uvicorn.Server) -> None:
    # A second signal must not tear the workers: the first one is remembered, the rest is ours.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: setattr(server, "should_exit", True))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(server.serve())
    except SystemExit:
        # How uvicorn says that it cannot listen.
        raise PortTaken(
            "the node cannot listen on its address",
            hint="stop the process that uses the port, or change host and port in deltaseal.toml",
            port=server.config.port,
        ) from None


__all__: Sequence[str] = ("InitRequest", "close_node", "initialise", "make_app", "open_node", "serve")
