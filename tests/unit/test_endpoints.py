"""Endpoints of other members: private, link-local and rebound addresses are refused unless configured."""

from __future__ import annotations

import ipaddress
import socket

import httpcore
import pytest

from node.errors import EndpointRefused
from node.federation import endpoints
from node.federation.endpoints import GuardedBackend, PacedStream, check_address, guarded_client


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "10.0.0.8", "172.16.0.1", "192.168.1.1", "169.254.169.254", "224.0.0.1", "100.64.0.1",
     "::1", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::"],
)  # fmt: skip
def test_addresses_inside_are_refused(text: str) -> None:
    with pytest.raises(EndpointRefused):
        check_address(ipaddress.ip_address(text), [])


@pytest.mark.parametrize("text", ["8.8.8.8", "2400:3200::1"])
def test_public_addresses_pass(text: str) -> None:
    check_address(ipaddress.ip_address(text), [])


def test_a_configured_network_passes_and_no_other() -> None:
    allowed = [ipaddress.ip_network("10.20.0.0/16")]
    check_address(ipaddress.ip_address("10.20.3.4"), allowed)
    check_address(ipaddress.ip_address("::ffff:10.20.3.4"), allowed)
    with pytest.raises(EndpointRefused):
        check_address(ipaddress.ip_address("10.21.0.1"), allowed)


def test_one_bad_address_among_several_refuses_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, 80)) for text in ("8.8.8.8", "127.0.0.1")]
    monkeypatch.setattr(endpoints.socket, "getaddrinfo", lambda *_a, **_k: answers)
    with pytest.raises(EndpointRefused):
        GuardedBackend([]).connect_tcp("two-faced.example", 80)


def test_the_checked_address_is_the_dialled_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def resolve(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append(host)
        address = "8.8.8.8" if len(asked) == 1 else "127.0.0.1"  # what a rebinding server would answer next
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    dialled: list[str] = []

    class Recorder(httpcore.SyncBackend):
        def connect_tcp(self, host: str, port: int, **_: object) -> httpcore.NetworkStream:  # type: ignore[override]
            dialled.append(host)
            raise httpcore.ConnectError("refused by the test")

    monkeypatch.setattr(endpoints.socket, "getaddrinfo", resolve)
    backend = GuardedBackend([])
    monkeypatch.setattr(backend, "_backend", Recorder())
    with pytest.raises(httpcore.ConnectError):
        backend.connect_tcp("rebinding.example", 80)
    assert (asked, dialled) == (["rebinding.example"], ["8.8.8.8"])


def test_redirects_are_not_followed_and_proxies_are_not_used() -> None:
    with guarded_client([], timeout_s=1) as client:
        assert not client.follow_redirects
        assert not client.trust_env


class Asked(httpcore.NetworkStream):
    """A connection that notes how much it was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self.asked.append(max_bytes)
        return b"x"


def test_a_read_takes_more_than_the_client_asks_for() -> None:
    source = Asked()
    stream = PacedStream(source, interval_s=10)
    stream.read(65536)
    stream.read(1 << 20)
    assert source.asked == [256 << 10, 1 << 20]


class Dripping(httpcore.NetworkStream):
    """A connection that brings `piece_bytes` in each read, each of which takes a second."""

    def __init__(self, piece_bytes: int) -> None:
        self.piece_bytes = piece_bytes
        self.now = 0.0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self.now += 1.0
        return bytes(self.piece_bytes)


@pytest.mark.parametrize(("piece_bytes", "reads"), [(1, 11), (500, 11), (2000, None), (20_000, None)])
def test_a_peer_that_dawdles_is_given_up_and_one_that_goes_on_is_not(
    piece_bytes: int, reads: int | None
) -> None:
    source = Dripping(piece_bytes)
    stream = PacedStream(source, interval_s=10, timer=lambda: source.now)
    done = 0
    try:
        while done < 1000:
            stream.read(65536)
            done += 1
    except httpcore.ReadTimeout:
        assert done + 1 == reads
    else:
        assert reads is None


def test_time_in_which_we_do_not_read_is_not_the_peers() -> None:
    source = Dripping(1000)
    stream = PacedStream(source, interval_s=10, timer=lambda: source.now)
    for _ in range(9):
        stream.read(65536)
        source.now += 100
