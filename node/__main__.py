"""`python -m node init|serve|store`: the programs of a node that the `deltaseal` command starts.

Results are one JSON line on stdout; messages and logs go to stderr. Exit codes: docs/reference/cli.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from anchor.errors import ChainMismatch, ChainUnavailable, DeltasealError, EngineMissing
from anchor.headers import Engine
from node.config import load_config
from node.errors import (
    ConfigInvalid,
    DescriptorsScarce,
    KeyFolderError,
    PortTaken,
    StoreError,
    StoreLocked,
)
from node.runtime import InitRequest, initialise, serve
from node.storeprogram import add_store_commands

EXIT_INVALID = 6
EXIT_UNAVAILABLE = 8
_UNAVAILABLE = (StoreLocked, ChainUnavailable, DescriptorsScarce, PortTaken)
_INVALID = (ConfigInvalid, KeyFolderError, ChainMismatch, EngineMissing, StoreError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the programs and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except DeltasealError as error:
        print(f"error: {error} ({error.code})", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        if isinstance(error, _UNAVAILABLE):
            return EXIT_UNAVAILABLE
        return EXIT_INVALID if isinstance(error, _INVALID) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m node", description=__doc__)
    commands = parser.add_subparsers(required=True)
    init = commands.add_parser("init", help="make the folder of a new node")
    init.add_argument("--data-dir", type=Path, required=True)
    init.add_argument("--embedded-chain", action="store_true")
    init.add_argument("--chain-rpc", default="")
    init.add_argument("--chain-id", type=int, default=310000)
    init.add_argument("--directory", default="")
    init.add_argument("--engine", choices=[each.value for each in Engine], default=Engine.EMBEDDED.value)
    init.add_argument("--agency", action="append", required=True, dest="agencies")
    init.add_argument("--passphrase-file", type=Path)
    init.add_argument("--host", default="127.0.0.1")
    init.add_argument("--port", type=int, default=8400)
    init.add_argument("--name", default="node")
    init.add_argument("--peer-network", action="append", default=[], dest="peer_networks")
    init.set_defaults(run=_init)
    run = commands.add_parser("serve", help="run the node of a folder")
    run.add_argument("--data-dir", type=Path, required=True)
    run.add_argument("--host")
    run.add_argument("--port", type=int)
    run.add_argument("--embedded-chain", action="store_true")
    run.set_defaults(run=_serve)
    add_store_commands(commands)
    return parser


def _init(options: argparse.Namespace) -> int:
    request = InitRequest(
        data_dir=options.data_dir,
        chain_rpc=options.chain_rpc,
        chain_id=options.chain_id,
        directory=options.directory,
        engine=options.engine,
        agencies=tuple(options.agencies),
        passphrase_file=options.passphrase_file,
        host=options.host,
        port=options.port,
        name=options.name,
        peer_networks=tuple(options.peer_networks),
        embedded_chain=options.embedded_chain,
    )
    if not request.embedded_chain and not (request.chain_rpc and request.directory):
        raise ConfigInvalid(
            "a node needs a chain: --chain-rpc and --directory, or --embedded-chain",
            hint="ask the consortium's operator for both, or let the node run a chain of its own",
            setting="chain_rpc",
        )
    print(json.dumps(initialise(request)), flush=True)
    return 0


def _serve(options: argparse.Namespace) -> int:
    config = load_config(options.data_dir, host=options.host, port=options.port)
    return serve(config, embedded_chain=options.embedded_chain)


if __name__ == "__main__":
    sys.exit(main())
