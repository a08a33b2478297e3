"""`deltaseal init` and `deltaseal serve`: start the node's own programs in place of this one."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

import cli
from cli.exitcodes import ExitCode
from cli.session import Session, command


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    command(
        app,
        "init",
        examples=(
            "init --data-dir ./pudong --rpc http://127.0.0.1:8545 "
            "--directory 0x5fbdb2315678afecb367f032d93f642f64180aa3 "
            "--agency 12310115FAKE001287",
            "init --data-dir ./pudong --engine clique --rpc http://127.0.0.1:30304 "
            "--directory 0x5fbdb2315678afecb367f032d93f642f64180aa3 "
            "--agency 12310115FAKE001287",
        ),
        exits=(ExitCode.INVALID, ExitCode.UNAVAILABLE),
    )(init)
    command(
        app,
        "serve",
        examples=("serve --data-dir ./pudong", "serve --data-dir ./pudong --port 8400 --embedded-chain"),
        exits=(ExitCode.INVALID, ExitCode.UNAVAILABLE),
    )(serve)


def init(
    session: Session,
    data_dir: Annotated[str | None, typer.Option(metavar="DIR", help="Folder to make.")] = None,
    rpc: Annotated[str | None, typer.Option(metavar="URL", help="JSON-RPC address of the chain.")] = None,
    chain_id: Annotated[str | None, typer.Option(metavar="N", help="Id of the chain.")] = None,
    directory: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Directory contract.")] = None,
    engine: Annotated[
        str,
        typer.Option(metavar="NAME", help="How the chain seals: embedded, clique, qbft or ibft2."),
    ] = "embedded",
    agency: Annotated[
        list[str] | None, typer.Option(metavar="USCC", help="Agency it serves; repeat it.")
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="TEXT", help="Name shown to others.")] = None,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="Port to listen on.")] = 8400,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="File with the passphrase of its keys; default: a new random one."),
    ] = None,
    peer_network: Annotated[
        list[str] | None, typer.Option(metavar="CIDR", help="Private network of other members; repeat it.")
    ] = None,
) -> NoReturn:
    """Make the folder of a new node: keys, stores, settings and an admin key, printed as one JSON line."""
    session.add_flags(data_dir=data_dir, chain_rpc=rpc, chain_id=chain_id, directory=directory)
    need = session.settings.require
    arguments = [
        "init",
        "--data-dir",
        need("data_dir", why="init"),
        "--chain-rpc",
        need("chain_rpc", why="init"),
        "--chain-id",
        str(session.settings.get("chain_id")),
        "--directory",
        need("directory", why="init"),
        "--engine",
        engine,
        "--host",
        host,
        "--port",
        str(port),
        *_each("--agency", agency),
        *_each("--peer-network", peer_network),
    ]
    if name:
        arguments += ["--name", name]
    if passphrase_file:
        arguments += ["--passphrase-file", str(passphrase_file)]
    run_program("node", arguments)


def serve(
    session: Session,
    data_dir: Annotated[str | None, typer.Option(metavar="DIR", help="The node's folder.")] = None,
    port: Annotated[
        int | None, typer.Option(metavar="N", min=0, max=65535, help="Port; 0 takes a free one.")
    ] = None,
    host: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = None,
    embedded_chain: Annotated[
        bool, typer.Option("--embedded-chain", help="Run the chain of this machine too.")
    ] = False,
) -> NoReturn:
    """Run one node until Ctrl-C or SIGTERM; a JSON line on stdout says when it is ready."""
    session.add_flags(data_dir=data_dir)
    arguments = ["serve", "--data-dir", session.settings.require("data_dir", why="serve")]
    if port is not None:
        arguments += ["--port", str(port)]
    if host is not None:
        arguments += ["--host", host]
    run_program("node", [*arguments, *(["--embedded-chain"] if embedded_chain else [])])


def run_program(module: str, arguments: Sequence[str]) -> NoReturn:
    """Become `python -m module …`: signals, output and exit code are then those of the program itself."""
    sys.stdout.flush()
    sys.stderr.flush()
    # -P: a folder called `node` where the user happens to stand must not be taken for ours.
    home = str(Path(cli.__file__).resolve().parents[1])
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    os.execve(sys.executable, [sys.executable, "-P", "-m", module, *arguments], env)  # noqa: S606


def _each(flag: str, values: Sequence[str] | None) -> list[str]:
    return [part for value in values or [] for part in (flag, value)]
