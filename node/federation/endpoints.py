"""Dial other members' endpoints: addresses come from `Members`, are resolved once, checked, and dialled as checked.

A member could publish an endpoint that points into this node's own network (SSRF), or a name that answers
differently the second time (DNS rebinding); so the address that was checked is the address that is dialled, and
redirects are never followed. Spec page: docs/explanation/threat-model.md.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence

import httpcore
import httpx

from node.errors import EndpointRefused, PeerUnavailable

PACE_BYTES = 10 << 10  # what a peer must send in each interval that we wait for it
# Reading costs Python the same whether it brings 64 KiB or four times that, and a document comes in MiBs.
READ_BYTES = 256 << 10

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def check_address(address: Address, allowed: Sequence[Network]) -> None:
    """Let public addresses pass, and private ones only where `allowed` names their network.

    Raises:
        EndpointRefused: the address is private, loopback, link-local, multicast or reserved.
    """
    plain = getattr(address, "ipv4_mapped", None) or address
    if any(plain.version == network.version and plain in network for network in allowed):
        return
    if not plain.is_global or plain.is_multicast:
        raise EndpointRefused(
            "a member's endpoint lies in a network that this node may not reach",
            hint="if it is right, name the network in the setting peer_networks",
        )


class PacedStream(httpcore.NetworkStream):
    """A connection on which a peer may not dawdle: a time-out between two bytes alone lets it hold us for ever.

    Only the time in which we wait for the peer counts. Each `interval_s` of it must bring `PACE_BYTES`.
    """

    def __init__(
        self,
        stream: httpcore.NetworkStream,
        *,
        interval_s: float,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._interval_s = interval_s
        self._timer = timer
        self._waited_s = 0.0
        self._got_bytes = 0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what there is, also more than asked for. Raises httpcore.ReadTimeout when it comes too slowly."""
        began = self._timer()
        content = self._stream.read(max(max_bytes, READ_BYTES), timeout)
        self._waited_s += self._timer() - began
        self._got_bytes += len(content)
        if self._got_bytes >= PACE_BYTES:
            self._waited_s, self._got_bytes = 0.0, 0
        elif content and self._waited_s > self._interval_s:
            raise httpcore.ReadTimeout("the peer sends too slowly")
        return content

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all."""
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Go on encrypted, at the same pace."""
        stream = self._stream.start_tls(ssl_context, server_hostname, timeout)
        return PacedStream(stream, interval_s=self._interval_s, timer=self._timer)

    def get_extra_info(self, info: str) -> object:
        """Return what the connection knows about itself."""
        return self._stream.get_extra_info(info)


class GuardedBackend(httpcore.NetworkBackend):
    """A network backend that resolves once, checks every address and dials the first of them."""

    def __init__(self, allowed: Sequence[Network], *, pace_s: float = 10.0) -> None:
        self._allowed = allowed
        self._pace_s = pace_s
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = self._resolve(host, port)
        for address in addresses:
            check_address(address, self._allowed)
        stream = self._backend.connect_tcp(
            str(addresses[0]),
            port,
            timeout=timeout,
            local_address=local_address,
            socket_options=socket_options,
        )
        return PacedStream(stream, interval_s=self._pace_s)

    def connect_unix_socket(self, *_: object, **__: object) -> httpcore.NetworkStream:
        """Refuse: a member's endpoint is never a local socket."""
        raise EndpointRefused("a member's endpoint is not a local socket")

    def _resolve(self, host: str, port: int) -> list[Address]:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            raise PeerUnavailable("a member's endpoint has no address", reason="no_address") from None
        return [ipaddress.ip_address(answer[4][0]) for answer in answers]


def guarded_client(networks: Sequence[str], *, timeout_s: float) -> httpx.Client:
    """Return an HTTP client that dials members' endpoints only."""
    transport = httpx.HTTPTransport(retries=0)
    transport._pool = httpcore.ConnectionPool(
        ssl_context=httpx.create_ssl_context(),
        max_connections=64,
        # A pooled connection to a node that was restarted would look like a node that is down.
        max_keepalive_connections=0,
        network_backend=GuardedBackend([ipaddress.ip_network(text) for text in networks], pace_s=timeout_s),
    )
    return httpx.Client(
        transport=transport,
        timeout=timeout_s,
        follow_redirects=False,
        trust_env=False,
        headers={"user-agent": "deltaseal"},
    )
