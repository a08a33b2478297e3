"""What the operators of a chain of several signers are given: genesis block and each signer's configuration.

Pure: texts and JSON values, no file, key or process; `cli/consortium/folder.py` writes them. Sources: EIP-225 (Clique),
go-ethereum 1.13's command line, Besu's QBFT genesis and configuration file. Both chains run the Berlin rules: with
London's fee market a price of 0 hangs after the first full block (docs/explanation/engines.md).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import rlp

from anchor.errors import HeaderMalformed
from anchor.headers import ADDRESS_BYTES, SEAL_BYTES, VANITY_BYTES, Engine

GAS_LIMIT: Final = 60_000_000
EPOCH_BLOCKS: Final = 30_000
PERIOD_S: Final = 2
MAX_SIGNERS: Final = 64  # As many as Members takes.
GENESIS_ENGINES: Final = (Engine.CLIQUE, Engine.QBFT)

# Besu knows a QBFT genesis block by this value ("ctical byzantine fault tolerance" in ASCII).
_QBFT_MIX: Final = b"ctical byzantine fault tolerance"
_LOOPBACK: Final = "127.0.0.0/8"
_BERLIN: Final = (
    *("homesteadBlock", "eip150Block", "eip155Block", "eip158Block", "byzantiumBlock", "constantinopleBlock"),
    *("petersburgBlock", "istanbulBlock", "berlinBlock"),
)


@dataclass(frozen=True, slots=True)
class Peer:
    """A signer as the others see it. `public_key` is the node's, 64 bytes; `address` what seals its blocks."""

    name: str
    address: bytes
    public_key: bytes
    host: str
    p2p_port: int
    rpc_port: int

    @property
    def enode(self) -> str:
        """Return its address on the peer-to-peer network, without UDP: nobody is discovered, all are named."""
        return f"enode://{self.public_key.hex()}@{self.host}:{self.p2p_port}?discport=0"


# Genesis


def render_genesis(
    engine: Engine, signers: Sequence[bytes], *, chain_id: int, time: int, period_s: int = PERIOD_S
) -> str:
    """Return the genesis file as JSON text; `signers` are 20-byte addresses, `time` in seconds since 1970.

    Raises:
        HeaderMalformed: the signers are none, too many, twice the same or no addresses, or the engine needs none.
    """
    ordered = sorted(signers)
    _check_signers(ordered)
    if engine is Engine.CLIQUE:
        rules: Mapping[str, Any] = {"clique": {"period": period_s, "epoch": EPOCH_BLOCKS}}
        extra, mix = clique_extra(ordered), bytes(32)
    elif engine is Engine.QBFT:
        # A round is given up after twice the time between blocks.
        timing = {"blockperiodseconds": period_s, "requesttimeoutseconds": 2 * period_s}
        rules = {"qbft": {"epochlength": EPOCH_BLOCKS, **timing}}
        extra, mix = qbft_extra(ordered), _QBFT_MIX
    else:
        raise HeaderMalformed("this engine's genesis block names no signers", hint="use clique or qbft")
    genesis = {
        "config": {"chainId": chain_id, **dict.fromkeys(_BERLIN, 0), **rules},
        "nonce": "0x0",
        "timestamp": hex(time),
        "extraData": "0x" + extra.hex(),
        "gasLimit": hex(GAS_LIMIT),
        "difficulty": "0x1",
        "mixHash": "0x" + mix.hex(),
        "coinbase": "0x" + bytes(ADDRESS_BYTES).hex(),
        # Nobody owns anything: gas costs nothing, and what acts is a member's key.
        "alloc": {},
    }
    return json.dumps(genesis, indent=2) + "\n"


def clique_extra(signers: Sequence[bytes]) -> bytes:
    """Return Clique's extra data: 32 bytes of vanity, the signers, room for a seal (EIP-225)."""
    return bytes(VANITY_BYTES) + b"".join(signers) + bytes(SEAL_BYTES)


def qbft_extra(validators: Sequence[bytes]) -> bytes:
    """Return QBFT's extra data: RLP of vanity, validators, no vote, round 0, no seals."""
    return bytes(rlp.encode([bytes(VANITY_BYTES), list(validators), [], 0, []]))


def _check_signers(ordered: Sequence[bytes]) -> None:
    if not 1 <= len(ordered) <= MAX_SIGNERS or any(len(each) != ADDRESS_BYTES for each in ordered):
        raise HeaderMalformed("a chain has 1 to 64 signers, each an address of 20 bytes", count=len(ordered))
    if len(set(ordered)) != len(ordered):
        raise HeaderMalformed("a signer is named twice")


# go-ethereum


def render_geth_config(peers: Sequence[Peer]) -> str:
    """Return geth's configuration file: its peers, which it dials again whenever they are away."""
    enodes = ", ".join(f'"{peer.enode}"' for peer in peers)
    # The socket's path counts from the folder: a longer one than 104 bytes cannot be bound.
    return f'[Node]\nIPCPath = "./geth.ipc"\n\n[Node.P2P]\nStaticNodes = [{enodes}]\n'


def render_geth_start(peer: Peer, *, chain_id: int, loopback: bool) -> str:
    """Return the shell script that starts a Clique signer; it makes the chain's folder where there is none.

    With `loopback` it talks to peers on this machine only. `DELTASEAL_GETH` in the environment names the program.
    """
    flags = "\n".join(f"  {line} \\" for line in _geth_flags(peer, chain_id=chain_id, loopback=loopback))
    return f"""#!/bin/sh
# Starts {peer.name}. DELTASEAL_GETH names go-ethereum 1.13 (1.14 knows no Clique any more).
set -eu
cd "$(dirname "$0")"
GETH="${{DELTASEAL_GETH:-geth}}"
test -d chain/geth/chaindata || "$GETH" init --datadir chain --state.scheme hash genesis.json
# geth takes no price of 0 from a flag; until this call it would pass on none of its peers' transactions.
(
  tries=0
  until test "$("$GETH" attach --exec 'miner.setGasPrice(0)' ./geth.ipc 2>/dev/null)" = true; do
    tries=$((tries + 1)); test $tries -lt 120 || exit 1; sleep 0.5
  done
) >/dev/null &
exec "$GETH" \\
{flags}
  "$@"
"""


def _geth_flags(peer: Peer, *, chain_id: int, loopback: bool) -> list[str]:
    address = "0x" + peer.address.hex()
    # The pool holds a whole window of every member's outbox, and forgets nothing for a day.
    pool = (
        *("--txpool.accountslots 4096", "--txpool.globalslots 32768", "--txpool.accountqueue 4096"),
        *("--txpool.globalqueue 32768", "--txpool.lifetime 24h"),
    )
    return [
        f"--config config.toml --datadir chain --networkid {chain_id} --keystore keystore --nodekey nodekey",
        # Archive: receipts prove old states, and a killed geth without it starts again far behind.
        "--syncmode full --gcmode archive --state.scheme hash --snapshot=false --cache 128",
        f"--port {peer.p2p_port} --nodiscover --nat none" + f" --netrestrict {_LOOPBACK}" * loopback,
        f"--http --http.addr 127.0.0.1 --http.port {peer.rpc_port} --http.api eth,net,web3,clique",
        "--http.vhosts localhost,127.0.0.1 --authrpc.port 0",
        f"--mine --miner.etherbase {address} --miner.gaslimit {GAS_LIMIT}",
        f"--unlock {address} --password password --allow-insecure-unlock",
        " ".join(pool),
    ]


# Besu


def render_besu_config(peer: Peer, *, chain_id: int) -> str:
    """Return Besu's configuration file of a validator: free gas, named peers, whole history."""
    settings: Mapping[str, Any] = {
        "data-path": "chain",
        "genesis-file": "genesis.json",
        "node-private-key-file": "key",
        "network-id": chain_id,
        "sync-mode": "FULL",
        # Bonsai, the default, proves the newest 512 states only.
        "data-storage-format": "FOREST",
        "min-gas-price": 0,
        "discovery-enabled": False,
        "static-nodes-file": "static-nodes.json",
        "permissions-nodes-config-file-enabled": True,
        "permissions-nodes-config-file": "permissions.toml",
        "p2p-host": peer.host,
        "p2p-port": peer.p2p_port,
        "rpc-http-enabled": True,
        "rpc-http-host": "127.0.0.1",
        "rpc-http-port": peer.rpc_port,
        "rpc-http-api": ["ETH", "NET", "WEB3", "QBFT"],
        "target-gas-limit": GAS_LIMIT,
    }
    # JSON's strings, numbers, booleans and lists are TOML's too.
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())


def render_besu_permissions(peers: Sequence[Peer]) -> str:
    """Return Besu's permissioning file: who may connect is who signs."""
    return f"nodes-allowlist = {json.dumps([peer.enode for peer in peers], indent=2)}\n"


def render_besu_static_nodes(peers: Sequence[Peer]) -> str:
    """Return Besu's list of peers that it dials again whenever they are away."""
    return json.dumps([peer.enode for peer in peers], indent=2) + "\n"
