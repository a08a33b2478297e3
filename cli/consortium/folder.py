"""Writes the folder that a chain of several signers starts from: genesis, and for each signer keys and configuration.

What stands in the files is decided in `anchor/chain/genesis.py`. Keys are made here, once, and never overwritten.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coincurve import PrivateKey

from anchor.chain import genesis
from anchor.chain.genesis import Peer
from anchor.headers import Engine
from anchor.signer import Signer, save_keystore
from cli.errors import InputInvalid, OutputRefused

GENESIS, START = "genesis.json", "start.sh"


@dataclass(frozen=True, slots=True)
class SignerPlace:
    """Where a signer listens: `host` for its peers; its RPC is always on 127.0.0.1."""

    host: str
    p2p_port: int
    rpc_port: int


@dataclass(frozen=True, slots=True)
class SignerFolder:
    """A signer's folder with what the others know of it."""

    folder: Path
    peer: Peer

    @property
    def rpc(self) -> str:
        """Return the address of its JSON-RPC."""
        return f"http://127.0.0.1:{self.peer.rpc_port}"


def write_genesis(
    folder: Path, engine: Engine, signers: Sequence[bytes], *, chain_id: int, time: int, period_s: int
) -> Path:
    """Write the genesis file into the new or empty `folder`, for signers that keep their keys themselves.

    Raises:
        OutputRefused: the folder holds something or cannot be written.
        InputInvalid: the addresses are no set of signers.
    """
    ordered = tuple(sorted(signers))
    if not 1 <= len(ordered) <= genesis.MAX_SIGNERS or len(set(ordered)) != len(ordered):
        raise InputInvalid("a chain has 1 to 64 signers, each named once", hint="--signers 5, or addresses")
    text = genesis.render_genesis(engine, ordered, chain_id=chain_id, time=time, period_s=period_s)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if next(folder.iterdir(), None) is not None:
            raise OutputRefused("the folder is not empty", hint="name a new one", place=str(folder))
        (folder / GENESIS).write_text(text, "utf-8")
    except OSError as error:
        raise OutputRefused(
            f"the folder cannot be written: {error.strerror}", hint="check --out", place=str(folder)
        ) from None
    return folder / GENESIS


def write_network(
    folder: Path,
    engine: Engine,
    places: Sequence[SignerPlace],
    *,
    chain_id: int,
    time: int,
    period_s: int = genesis.PERIOD_S,
) -> tuple[SignerFolder, ...]:
    """Make keys for a signer at each of `places` and write the whole network; names are `signer-1` and so on.

    Raises:
        OutputRefused: the folder holds something or cannot be written.
    """
    keys = [(Signer.generate(), PrivateKey()) for _ in places]
    if engine is Engine.QBFT:
        # Besu seals with the key by which its peers know it.
        keys = [(Signer.from_key(key.secret), key) for _, key in keys]
    peers = tuple(
        _peer(number, signer, key, place)
        for number, ((signer, key), place) in enumerate(zip(keys, places, strict=True), 1)
    )
    write_genesis(
        folder, engine, [peer.address for peer in peers], chain_id=chain_id, time=time, period_s=period_s
    )
    made = []
    for peer, (signer, key) in zip(peers, keys, strict=True):
        home = folder / peer.name
        home.mkdir(mode=0o700)
        shutil.copyfile(folder / GENESIS, home / GENESIS)
        others = [other for other in peers if other is not peer]
        if engine is Engine.CLIQUE:
            _write_geth(home, peer, signer, key, others, chain_id=chain_id)
        else:
            _write_besu(home, peer, key, peers, chain_id=chain_id)
        made.append(SignerFolder(home, peer))
    _write_list(folder, engine, made, chain_id=chain_id)
    return tuple(made)


def _peer(number: int, signer: Signer, key: PrivateKey, place: SignerPlace) -> Peer:
    public = key.public_key.format(compressed=False)[1:]
    return Peer(f"signer-{number}", signer.address, public, place.host, place.p2p_port, place.rpc_port)


def _write_geth(
    home: Path, peer: Peer, signer: Signer, key: PrivateKey, others: Sequence[Peer], *, chain_id: int
) -> None:
    passphrase = secrets.token_urlsafe(24)
    _write_secret(home / "password", passphrase + "\n")
    _write_secret(home / "nodekey", key.secret.hex())
    (home / "keystore").mkdir(mode=0o700)
    save_keystore(home / "keystore" / "signer.json", signer, passphrase)
    (home / "config.toml").write_text(genesis.render_geth_config(others), "utf-8")
    loopback = all(each.host == "127.0.0.1" for each in (peer, *others))
    start = home / START
    start.write_text(genesis.render_geth_start(peer, chain_id=chain_id, loopback=loopback), "utf-8")
    start.chmod(0o700)


def _write_besu(home: Path, peer: Peer, key: PrivateKey, peers: Sequence[Peer], *, chain_id: int) -> None:
    _write_secret(home / "key", "0x" + key.secret.hex())
    (home / "config.toml").write_text(genesis.render_besu_config(peer, chain_id=chain_id), "utf-8")
    (home / "permissions.toml").write_text(genesis.render_besu_permissions(peers), "utf-8")
    others = [other for other in peers if other is not peer]
    (home / "static-nodes.json").write_text(genesis.render_besu_static_nodes(others), "utf-8")


def _write_list(folder: Path, engine: Engine, made: Sequence[SignerFolder], *, chain_id: int) -> None:
    """Write who signs, without any secret: what the council enters in Members, and what operators exchange."""
    signers = [
        {
            "name": each.peer.name,
            "address": "0x" + each.peer.address.hex(),
            "enode": each.peer.enode,
            "rpc": each.rpc,
        }
        for each in made
    ]
    content = {"engine": engine.value, "chainId": chain_id, "signers": signers}
    (folder / "network.json").write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def _write_secret(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as target:
        target.write(text)
