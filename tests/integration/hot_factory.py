"""A node that answers from a real index in LevelDB, without chain or workers, and both ways to ask it.

What a verdict does not touch (gateway, outbox, signer) is left out: using it would fail at once.
"""

from __future__ import annotations

import io
import json
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from msgspec import structs

from anchor.tags import DomainKeys
from bench.load import answer_size
from node.clocks import Clock
from node.config import NodeConfig
from node.context import Node
from node.http.app import FrameParts, create_app
from node.http.auth import issue_key
from node.http.idempotency import IdempotencyGate
from node.http.limits import HttpLimits, server_config
from node.http.logs import RequestLog, make_logger
from node.http.routes import verifying
from node.services.apikeys import StoredKeys
from node.store import rows
from node.store.envelope import RowSeal
from node.store.leveldb import LevelStore
from tests.integration.frame_factory import BOUND_SECONDS, until
from tests.unit.chain_factory import Chain, index_of, ring
from verifier.catalog import CatalogView

AGENCY = "11310104MB2D01234K"
PEPPER = b"p" * 32


@dataclass
class Way:
    """One way to ask the node: an app of its own (shares, counters, log) and the server in front of it."""

    app: FastAPI
    log: io.BytesIO
    limits: HttpLimits
    hot_answers: int = 0
    known_heads: int = 0
    port: int = 0
    _socket: socket.socket | None = None

    def watch_hot_path(self) -> None:
        """Count what the hot path answers."""
        hot = self.app.state.hot_path
        answer, answer_known = hot.answer, hot.answer_known

        def counted(scope: Any, body: bytes, *, message: bytes) -> bytes | None:
            found: bytes | None = answer(scope, body, message=message)
            self.hot_answers += found is not None
            return found

        def counted_known(message: bytes, address: str) -> bytes | None:
            found: bytes | None = answer_known(message, address)
            self.hot_answers += found is not None
            self.known_heads += found is not None
            return found

        hot.answer, hot.answer_known = counted, counted_known

    def ask(self, request: bytes) -> bytes:
        """Send a request in one piece and return the whole answer."""
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=BOUND_SECONDS)
        self._socket.sendall(request)
        received = b""
        while (size := answer_size(received)) is None or len(received) < size:
            piece = self._socket.recv(1 << 16)
            if not piece:
                raise AssertionError(f"the connection ended after {received!r}")
            received += piece
        if b"connection: close" in received:
            self.hang_up()
        return received

    def hang_up(self) -> None:
        """End the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def ask_logged(self, request: bytes) -> tuple[bytes, dict[str, Any]]:
        """Ask; return the answer and its log line, which may be written later, without what differs from run to run.

        A line is known by the answer's id; of an id that a caller chose there may be lines from before.
        """
        before = self.log.getvalue()
        answer = self.ask(request)
        found = re.search(rb"x-request-id: (\S+)", answer)
        assert found is not None
        name = found.group(1)
        until(lambda: self.log.getvalue().count(name) > before.count(name))
        line = json.loads([one for one in self.log.getvalue().splitlines() if name in one][-1])
        return answer, {key: line[key] for key in line if key not in ("ms", "timestamp")}


@dataclass
class VerifyingNode:
    """The node, and both ways to ask it."""

    node: Node
    hot: Way
    ordinary: Way

    @property
    def ways(self) -> tuple[Way, Way]:
        """Both."""
        return self.hot, self.ordinary

    def issue(self, *scopes: str, expires_at: int = 0) -> str:
        """Store a new key and return its text."""
        text, row = issue_key(
            AGENCY, scopes=scopes, pepper=PEPPER, now=int(time.time()), expires_at=expires_at
        )
        self.node.store.write([rows.API_KEY.put(row)], sync=False)
        return text

    def revoke(self, text: str) -> None:
        """Write a key's row as revoked, as another process of this store would."""
        row = rows.API_KEY.get(self.node.store, text.split("_")[1])
        assert row is not None
        self.node.store.write([rows.API_KEY.put(structs.replace(row, revoked_at=1))], sync=False)


@contextmanager
def verifying_node(
    folder: Path,
    chain: Chain,
    *keys: DomainKeys,
    limits: HttpLimits | None = None,
) -> Iterator[VerifyingNode]:
    """Open a node in `folder` whose index holds `chain`, with the clock ten seconds after its head."""
    index_store = LevelStore.create(folder / "index", node_id="node_test", seal=None, chain=False)
    store = LevelStore.create(folder / "store", node_id="node_test", seal=RowSeal(secrets.token_bytes(32)))
    index = index_of(chain, *keys, kv=index_store)
    now = chain.head.time + 10
    absent = cast("Any", None)
    node = Node(
        config=NodeConfig.model_construct(data_dir=folder, agencies=(AGENCY,)),
        node_id="node_test",
        store=store,
        index_store=index_store,
        keys=absent,
        signer=absent,
        gateway=absent,
        deployment=absent,
        finality=absent,
        index=index,
        catalog=CatalogView(index),
        keyring=ring(*keys),
        follower=absent,
        outbox=absent,
        audit=absent,
        time=Clock(block_time=lambda: now, wall=lambda: float(now), steady=lambda: 0.0),
        peers=absent,
        idempotency=IdempotencyGate(store, secret=b"s" * 32),
    )
    node.chain.problem = None
    bounds = limits or HttpLimits(failure_rate_per_s=0.0)
    hot, ordinary = (_way(node, bounds) for _ in "12")
    hot.watch_hot_path()
    ordinary.app.state.hot_path = None
    try:
        with ExitStack() as stack:
            for way in (hot, ordinary):
                stack.enter_context(_serving(way))
            yield VerifyingNode(node, hot, ordinary)
    finally:
        index_store.close()
        store.close()


def _way(node: Node, limits: HttpLimits) -> Way:
    log = io.BytesIO()
    parts = FrameParts(
        api_keys=StoredKeys(node),
        pepper=PEPPER,
        cursor_key=b"s" * 32,
        idempotency=node.idempotency,
        limits=limits,
        logger=make_logger(log),
        request_log=RequestLog(log),
    )
    app = create_app(parts, [verifying.router], node=node)
    # Two seconds pass between two requests on a busy machine; a proof that does not age leaves nothing to chance.
    app.state.frame.authenticator._timer = lambda: 0.0
    return Way(app, log, limits)


@contextmanager
def _serving(way: Way) -> Iterator[None]:
    listener = socket.create_server(("127.0.0.1", 0))
    way.port = listener.getsockname()[1]
    server = uvicorn.Server(server_config(way.app, host="127.0.0.1", port=0, limits=way.limits))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        yield
    finally:
        way.hang_up()
        server.should_exit = True
        thread.join(BOUND_SECONDS)
        listener.close()
