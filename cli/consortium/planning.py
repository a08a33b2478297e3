"""Reads what `deltaseal chain genesis` was asked for and writes the folder.

Must not import typer.
"""

from __future__ import annotations

import ipaddress
import re
import time
from pathlib import Path

from anchor.chain.genesis import GENESIS_ENGINES, MAX_SIGNERS
from anchor.headers import Engine
from cli.consortium.folder import SignerPlace, write_genesis, write_network
from cli.errors import ArgumentInvalid

_ADDRESS = re.compile(r"0x[0-9a-f]{40}")
FEWEST = {Engine.CLIQUE: 1, Engine.QBFT: 4}


def plan_chain(
    engine: str, signers: str, out: Path, *, chain_id: int, period_s: int, host: str, port_base: int
) -> list[dict[str, str]]:
    """Write the folder `out`; return a row for each signer (name, address, enode, rpc).

    Raises:
        ArgumentInvalid: the engine, the number or an address cannot be used.
        OutputRefused: the folder holds something or cannot be written.
    """
    chosen = _engine(engine)
    now = int(time.time())
    if "0x" in signers:
        addresses = parse_addresses(signers, place="--signers")
        write_genesis(out, chosen, addresses, chain_id=chain_id, time=now, period_s=period_s)
        return [{"name": "", "address": "0x" + each.hex(), "enode": "", "rpc": ""} for each in addresses]
    places = _places(chosen, signers, host, port_base)
    made = write_network(out, chosen, places, chain_id=chain_id, time=now, period_s=period_s)
    return [
        {
            "name": each.peer.name,
            "address": "0x" + each.peer.address.hex(),
            "enode": each.peer.enode,
            "rpc": each.rpc,
        }
        for each in made
    ]


def parse_addresses(text: str, *, place: str) -> list[bytes]:
    """Parse addresses separated by commas to 20 bytes each, ascending; `place` is where they were written.

    Raises:
        ArgumentInvalid: one is no address, is named twice, or there are more than 64.
    """
    parts = [part.strip().lower() for part in text.split(",")]
    known = all(_ADDRESS.fullmatch(part) for part in parts)
    if not known or len(set(parts)) < len(parts) or len(parts) > MAX_SIGNERS:
        raise ArgumentInvalid(
            "the signers are no list of at most 64 addresses, each named once",
            hint="0x and 40 hex digits, separated by commas",
            place=place,
        )
    return sorted(bytes.fromhex(part[2:]) for part in parts)


def _engine(name: str) -> Engine:
    found = next((each for each in GENESIS_ENGINES if each.value == name), None)
    if found is None:
        raise ArgumentInvalid(
            "this engine has no genesis of several signers", hint="clique or qbft", place="--engine"
        )
    return found


def _places(engine: Engine, text: str, host: str, port_base: int) -> list[SignerPlace]:
    count = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0
    if not FEWEST[engine] <= count <= MAX_SIGNERS:
        raise ArgumentInvalid(
            f"the number of signers must be {FEWEST[engine]} to {MAX_SIGNERS}",
            hint="five for clique; four or more for qbft",
            place="--signers",
        )
    if engine is Engine.CLIQUE and count % 2 == 0:
        raise ArgumentInvalid(
            "an even number of Clique signers can wait for each other for ever",
            hint="take an odd number",
            place="--signers",
        )
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ArgumentInvalid("the host is no IP address", hint="--host 10.20.3.4", place="--host") from None
    return [SignerPlace(host, port_base + 2 * index, port_base + 2 * index + 1) for index in range(count)]
