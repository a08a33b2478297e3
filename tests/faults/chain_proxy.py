"""A JSON-RPC proxy that stands between a node and its chain and lies, stalls or breaks on command.

It forwards to the real chain and bends requests and answers; `mode` may be changed at any time. It counts what
it bent, so that a test can tell a fault that was met from one that was not.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from eth_utils.crypto import keccak

from anchor.chain.contracts import event_topic

Call = dict[str, Any]
STATUS_TOPIC = "0x" + event_topic("Ledger", "StatusChanged").hex()
#: Longer than a gateway waits for an answer.
SLOW_S = 30.0
#: So long each answer takes while a chain is slow.
LATE_S = 0.2


class ChainProxy:
    """Listens on a free port of the loopback address; `url` is what a node is given as its chain."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self.address = (parts.hostname or "", parts.port or 80)
        self.mode = "pass"
        self.head = 0
        self.met = 0
        self.turn = 0
        self.swallowed: list[str] = []
        self._kept = threading.local()
        self.released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self.heal()
        self._server.shutdown()
        self._server.server_close()

    def become(self, mode: str, *, head: int = 0) -> None:
        """Begin a fault; `head` is the newest block that `freeze` and `regress` show."""
        self.released.clear()
        self.head, self.met, self.mode = head, 0, mode

    def heal(self) -> None:
        """End the fault."""
        self.mode = "pass"
        self.released.set()

    def forward(self, body: bytes) -> tuple[int, bytes]:
        """Ask the real chain."""
        try:
            return self._exchange(body)
        except (
            OSError,
            HTTPException,
        ):  # The kept connection may have been closed; once more on a fresh one.
            self._kept.connection = None
            return self._exchange(body)

    def _exchange(self, body: bytes) -> tuple[int, bytes]:
        connection = getattr(self._kept, "connection", None) or HTTPConnection(*self.address, timeout=30)
        self._kept.connection = connection
        connection.request("POST", "/", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def bend(self, mode: str, body: bytes) -> tuple[int, bytes]:
        """Forward a request as `mode` would have it and return what `mode` makes of the answer."""
        asked = json.loads(body)
        calls: list[Call] = asked if isinstance(asked, list) else [asked]
        before, after = _LIES[mode]
        for call in calls:
            wanted = json.dumps(call)
            before(self, call)
            self.met += json.dumps(call) != wanted
        status, content = self.forward(json.dumps(asked).encode())
        if status != 200:
            return status, content
        told = json.loads(content)
        answers: list[Call] = told if isinstance(told, list) else [told]
        by_id = {call["id"]: call for call in calls}
        for answer in answers:
            if "result" in answer:
                truth = json.dumps(answer["result"])
                answer["result"] = after(self, by_id[answer["id"]], answer["result"])
                self.met += json.dumps(answer["result"]) != truth
        if mode == "shuffled" and isinstance(told, list):
            self.met += len(told) > 1
            told.reverse()
        return status, json.dumps(told).encode()


def _handler(proxy: ChainProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            mode = proxy.mode
            if mode in _LIES:
                self._answer(*proxy.bend(mode, body))
                return
            proxy.met += mode != "pass"
            _BREAKS[mode](self, proxy, body)

        def _answer(self, status: int, content: bytes, *, length: int | None = None) -> None:
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content) if length is None else length))
            self.end_headers()
            self.wfile.write(content)

        def hang_up(self) -> None:
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    return Handler


# Faults of the connection: what is done with a request as a whole.


def _cut(handler: Any, proxy: ChainProxy, body: bytes) -> None:
    status, content = proxy.forward(body)
    handler._answer(status, content[: len(content) // 2], length=len(content))
    handler.hang_up()


def _stay_silent(handler: Any, proxy: ChainProxy, _body: bytes) -> None:
    proxy.released.wait(SLOW_S)
    handler.hang_up()


def _lose_answer(handler: Any, proxy: ChainProxy, body: bytes) -> None:
    """Let every other request take effect and lose its answer."""
    answer = proxy.forward(body)
    proxy.turn += 1
    if proxy.turn % 2:
        handler._answer(*answer)
    else:
        handler.hang_up()


def _answer_late(handler: Any, proxy: ChainProxy, body: bytes) -> None:
    proxy.released.wait(LATE_S)
    handler._answer(*proxy.forward(body))


_BREAKS: dict[str, Callable[[Any, ChainProxy, bytes], None]] = {
    "pass": lambda handler, proxy, body: handler._answer(*proxy.forward(body)),
    "drop": lambda handler, _proxy, _body: handler.hang_up(),
    "http_500": lambda handler, _proxy, _body: handler._answer(500, b'{"error":"internal"}'),
    "garbage": lambda handler, _proxy, _body: handler._answer(200, b"<html>Bad Gateway</html>"),
    "other_id": lambda handler, _proxy, _body: handler._answer(
        200, b'{"jsonrpc":"2.0","id":77,"result":"0x0"}'
    ),
    "cut": _cut,
    "slow": _stay_silent,
    "lost_answers": _lose_answer,
    "late": _answer_late,
}

# Lies: well-formed answers that are not true.


def _as_asked(_proxy: ChainProxy, _call: Call) -> None:
    """Leave the request alone."""


def _step_back(proxy: ChainProxy, call: Call) -> None:
    """Ask about `head` where the newest block is asked about."""
    call["params"] = [hex(proxy.head) if one in ("latest", "pending") else one for one in call["params"]]


def _hide_newer(proxy: ChainProxy, call: Call, result: Any) -> Any:
    if call["method"] == "eth_blockNumber":
        return hex(proxy.head)
    number = result.get("number", result.get("blockNumber")) if isinstance(result, dict) else None
    return None if isinstance(number, str) and int(number, 16) > proxy.head else result


def _hide_receipts(_proxy: ChainProxy, call: Call, result: Any) -> Any:
    return [] if call["method"] == "eth_getBlockReceipts" else result


def _on_status(change: Callable[[Any], list[Any]]) -> Callable[[ChainProxy, Call, Any], Any]:
    """Return a lie that makes of each event that sets a claim's status what `change` makes of it."""

    def lie(_proxy: ChainProxy, call: Call, result: Any) -> Any:
        if call["method"] != "eth_getBlockReceipts" or not isinstance(result, list):
            return result
        for receipt in result:
            logs = receipt["logs"]
            receipt["logs"] = [
                told for log in logs for told in (change(log) if log["topics"][0] == STATUS_TOPIC else [log])
            ]
        return result

    return lie


def _unrevoke(log: Any) -> list[Any]:
    """Clear the flags, the first byte of the slot that the event tells."""
    return [{**log, "data": "0x00" + log["data"][4:]}]


def _revoke_another(log: Any) -> list[Any]:
    """Tell of the same act on one more claim."""
    return [log, {**log, "topics": [*log["topics"][:-1], "0x" + "5a" * 32]}]


def _other_genesis(_proxy: ChainProxy, call: Call, result: Any) -> Any:
    if call["method"] == "eth_getBlockByNumber" and call["params"][0] == "0x0":
        return {**result, "hash": "0x" + "ab" * 32}
    return result


def _other_chain_id(_proxy: ChainProxy, call: Call, result: Any) -> Any:
    return "0x1" if call["method"] == "eth_chainId" else result


def _swallow(proxy: ChainProxy, call: Call) -> None:
    """Take a transaction and throw it away."""
    if call["method"] == "eth_sendRawTransaction":
        proxy.swallowed.append("0x" + keccak(hexstr=call["params"][0]).hex())
        call["method"], call["params"] = "eth_blockNumber", []


def _claim_taken(proxy: ChainProxy, call: Call, result: Any) -> Any:
    return proxy.swallowed.pop(0) if call["method"] == "eth_blockNumber" else result


def _in_receipts(change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Any:
    """Return a lie about receipts alone."""

    def bend(_proxy: ChainProxy, call: Call, result: Any) -> Any:
        asked = call["method"] == "eth_getTransactionReceipt"
        return change(result) if asked and result is not None else result

    return bend


def _mirrored(hexed: str) -> str:
    return "0x" + hexed[:1:-1]


_LIES: dict[str, tuple[Callable[[ChainProxy, Call], None], Callable[[ChainProxy, Call, Any], Any]]] = {
    "freeze": (_step_back, _hide_newer),
    "regress": (_step_back, _hide_newer),
    "missing_logs": (_as_asked, _hide_receipts),
    "status_left_out": (_as_asked, _on_status(lambda _log: [])),
    "status_altered": (_as_asked, _on_status(_unrevoke)),
    "status_added": (_as_asked, _on_status(_revoke_another)),
    "other_genesis": (_as_asked, _other_genesis),
    "other_chain_id": (_as_asked, _other_chain_id),
    "shuffled": (_as_asked, lambda _proxy, _call, result: result),
    "swallow": (_swallow, _claim_taken),
    "receipt_hidden": (_as_asked, _in_receipts(lambda _told: None)),
    "receipt_failed": (_as_asked, _in_receipts(lambda told: {**told, "status": "0x0"})),
    "receipt_succeeded": (_as_asked, _in_receipts(lambda told: {**told, "status": "0x1"})),
    "receipt_elsewhere": (
        _as_asked,
        _in_receipts(lambda told: {**told, "blockHash": _mirrored(told["blockHash"])}),
    ),
    "receipt_of_another": (
        _as_asked,
        _in_receipts(lambda told: {**told, "transactionHash": _mirrored(told["transactionHash"])}),
    ),
}
