"""`deltaseal trust`: makes the small file that receipts are checked against offline, and moves it forward."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from anchor.headers import Engine
from cli.downloads import require_new, save_checked
from cli.exitcodes import ExitCode
from cli.receiptfiles import read_step, read_trust
from cli.session import Session, command
from verifier.trust import TrustAnchor, advance_trust, render_step, render_trust

if TYPE_CHECKING:
    from anchor.chain.gateway import Gateway

Rpc = Annotated[str | None, typer.Option(metavar="URL", help="RPC address of the chain client.")]
To = Annotated[Path, typer.Option(metavar="FILE", help="New file to write.")]
Trust = Annotated[Path, typer.Argument(metavar="FILE", help="The trust anchor.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="Make trust anchors, and move them forward.", no_args_is_help=True)
    app.add_typer(group, name="trust")
    reading = (ExitCode.NOT_FOUND, ExitCode.INVALID)
    asking = (*reading, ExitCode.CONFLICT, ExitCode.UNAVAILABLE, ExitCode.PROOF_FAILED)
    command(
        group,
        "export",
        examples=("trust export --rpc http://127.0.0.1:8545 --engine clique --to trust.json",),
        exits=asking[:4],
    )(export)
    command(group, "show", examples=("trust show trust.json",), exits=reading)(show)
    command(
        group,
        "step",
        examples=("trust step trust.json --rpc http://127.0.0.1:8545 --to step.json",),
        exits=asking,
    )(step)
    command(
        group,
        "advance",
        examples=("trust advance trust.json step.json --to newer.json",),
        exits=(*reading, ExitCode.CONFLICT, ExitCode.PROOF_FAILED),
    )(advance)


def export(
    session: Session,
    to: To,
    engine: Annotated[
        Engine, typer.Option(help="How the chain agrees: only sealed chains can be proved offline.")
    ] = Engine.EMBEDDED,
    rpc: Rpc = None,
    directory: Annotated[
        str | None, typer.Option(metavar="0xHEX", help="Address of the Directory contract.")
    ] = None,
    chain_id: Annotated[int | None, typer.Option(min=1, metavar="N", help="Id of the chain.")] = None,
) -> None:
    """Write the trust anchor of a chain, believing the chain client that is asked.

    Get it from a client that you run yourself, or compare it with what others have: whoever gives you a false
    anchor can give you false receipts.
    """
    from cli.trustsource import export_trust

    session.add_flags(chain_rpc=rpc, directory=directory, chain_id=chain_id)
    require_new(to)
    address = bytes.fromhex(str(session.settings.require("directory", why="this command"))[2:])
    with _gateway(session) as gateway:
        anchor = export_trust(
            gateway, directory=address, chain_id=int(session.settings.get("chain_id")), engine=engine
        )
    _save(session, render_trust(anchor), to)


def show(session: Session, path: Trust) -> None:
    """Show what a trust anchor names."""
    anchor = read_trust(path)
    if session.out.form == "json":
        session.out.raw(render_trust(anchor))
        return
    session.out.item("trust", _facts(anchor), sections=[("signer set", _sets(anchor))])


def step(session: Session, path: Trust, to: To, rpc: Rpc = None) -> None:
    """Write a proof that the council named the next signers, for whoever holds this anchor."""
    from cli.trustsource import make_step

    session.add_flags(chain_rpc=rpc)
    require_new(to)
    anchor = read_trust(path)
    with _gateway(session) as gateway:
        made = make_step(gateway, anchor)
    _save(session, render_step(made), to)


def advance(
    session: Session,
    path: Trust,
    proof: Annotated[Path, typer.Argument(metavar="STEP", help="The step, as `trust step` writes it.")],
    to: To,
) -> None:
    """Check a step by the anchor's own signers, and write the anchor that knows the next ones; opens no connection."""
    require_new(to)
    anchor = advance_trust(read_trust(path), read_step(proof))
    _save(session, render_trust(anchor), to)


@contextmanager
def _gateway(session: Session) -> Iterator[Gateway]:
    from anchor.chain.gateway import Gateway

    gateway = Gateway(str(session.settings.require("chain_rpc", why="this command")), timeout_s=10.0)
    try:
        yield gateway
    finally:
        gateway.close()


def _save(session: Session, document: dict[str, Any], to: Path) -> None:
    text = json.dumps(document, ensure_ascii=False, indent=2) + "\n"
    session.out.item("saved", save_checked([text.encode()], to, sha256=None))


def _facts(anchor: TrustAnchor) -> dict[str, Any]:
    return {name: value for name, value in render_trust(anchor).items() if name != "signerSets"}


def _sets(anchor: TrustAnchor) -> list[dict[str, Any]]:
    return [
        {"fromBlock": each.from_block, "signer": "0x" + signer.hex()}
        for each in anchor.signer_sets
        for signer in each.signers
    ]
