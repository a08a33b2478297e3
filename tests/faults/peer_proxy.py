"""A TCP proxy that stands between two nodes and does to their connection what networks do, at a given byte.

It knows nothing of HTTP: `mode` says what happens, `at` after how many bytes of the answer. A connection is bent if
its request holds `RELEASE`; all others pass. `met` counts the bent ones, `size` the bytes of the last whole answer.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable

RELEASE = b"POST /v1/federation/releases"
BOUND_S = 300.0
_PIECE = 16 << 10


class PeerProxy:
    """Listens on `port` of the loopback address and forwards to `upstream`."""

    def __init__(self, port: int, upstream: int) -> None:
        self.upstream = upstream
        self.mode, self.at = "pass", 0
        self.met = self.size = 0
        self._healed = threading.Event()
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", port), backlog=256)
        threading.Thread(target=self._accept, daemon=True).start()

    def become(self, mode: str, *, at: int = 0) -> None:
        """Begin a fault; it lasts until `heal`."""
        self._healed.clear()
        self.met, self.at, self.mode = 0, at, mode

    def heal(self) -> None:
        """End the fault, and let go of the connections that hang."""
        self.mode = "pass"
        self._healed.set()

    def close(self) -> None:
        """Stop listening."""
        self._closed = True
        self.heal()
        # Closing alone would leave the port taken for as long as `accept` sleeps.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                client.settimeout(BOUND_S)
                self._forward(client)
            except OSError:
                return  # either side has gone: that is what the fault was about

    def _forward(self, client: socket.socket) -> None:
        mode = self.mode
        if mode == "silent_accept":
            self.met += 1
            self._healed.wait(BOUND_S)
            return
        request = client.recv(_PIECE)
        bent = request.startswith(RELEASE) and mode != "pass"
        self.met += bent
        with socket.create_connection(("127.0.0.1", self.upstream), timeout=BOUND_S) as server:
            if bent and mode == "request_lost":
                self._healed.wait(BOUND_S)
                return
            server.sendall(request)
            threading.Thread(target=_copy, args=(client, server), daemon=True).start()
            self._answer(server, client, mode if bent else "pass")

    def _answer(self, server: socket.socket, client: socket.socket, mode: str) -> None:
        sent = 0
        while piece := server.recv(_PIECE):
            if mode == "delay":
                self._healed.wait(0.01)
            if mode in _AT and sent + len(piece) >= self.at:
                cut = max(0, self.at - sent)
                _AT[mode](self, client, piece, cut)
                return
            if mode == "flip" and sent <= self.at < sent + len(piece):
                place = self.at - sent
                piece = piece[:place] + bytes([piece[place] ^ 1]) + piece[place + 1 :]
            client.sendall(piece)
            sent += len(piece)
        self.size = sent

    def _hang(self, client: socket.socket, piece: bytes, cut: int) -> None:
        client.sendall(piece[:cut])
        self._healed.wait(BOUND_S)

    def _cut(self, client: socket.socket, piece: bytes, cut: int) -> None:
        client.sendall(piece[:cut])

    def _reset(self, client: socket.socket, piece: bytes, cut: int) -> None:
        client.sendall(piece[:cut])
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _end(self, client: socket.socket, piece: bytes, cut: int) -> None:
        # As if the answer were whole: whoever reads it learns of no error from HTTP.
        client.sendall(piece[:cut] + b"\r\n0\r\n\r\n")

    def _trickle(self, client: socket.socket, piece: bytes, cut: int) -> None:
        client.sendall(piece[:cut])
        for byte in piece[cut:] * 1000:
            if self._healed.wait(0.1):
                return
            client.sendall(bytes([byte]))

    def _flood(self, client: socket.socket, piece: bytes, cut: int) -> None:
        client.sendall(piece[:cut])
        noise = b"10000\r\n" + bytes(65536) + b"\r\n"  # chunks of HTTP, without end
        while not self._healed.is_set():
            client.sendall(noise)


_AT: dict[str, Callable[[PeerProxy, socket.socket, bytes, int], None]] = {
    "hang": PeerProxy._hang,
    "cut": PeerProxy._cut,
    "reset": PeerProxy._reset,
    "end": PeerProxy._end,
    "trickle": PeerProxy._trickle,
    "flood": PeerProxy._flood,
}


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(_PIECE):
            target.sendall(piece)
    except OSError:
        return
