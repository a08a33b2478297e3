"""Dial other members' endpoints: addresses come from `Members`, are resolved once, checked, and dialled as checked.

A member could publish an endpoint that points into this node's own network (SSRF), or a name that answers
differently the second time (DNS rebinding); so the address that was checked is the address that is dialled, and
redirects are never followed. Spec page: docs/explanation/threat-model.md.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable, Sequence

import httpcore
import httpx

from node.errors import EndpointRefused, PeerUnavailable

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


class GuardedBackend(httpcore.NetworkBackend):
    """A network backend that resolves once, checks every address and dials the first of them."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed
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
        return self._backend.connect_tcp(
            str(addresses[0]),
            port,
            timeout=timeout,
            local_address=local_address,
            socket_options=socket_options,
        )

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
        network_backend=GuardedBackend([ipaddress.ip_network(text) for text in networks]),
    )
    return httpx.Client(
        transport=transport,
        timeout=timeout_s,
        follow_redirects=False,
        trust_env=False,
        headers={"user-agent": "deltaseal"},
    )
