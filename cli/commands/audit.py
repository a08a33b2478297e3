"""`deltaseal audit`: derives the log anew from the chain, and ends alarms about forks."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.errors import InputInvalid, InputMissing
from cli.exitcodes import ExitCode
from cli.receiptfiles import trusted
from cli.session import Session, command
from verifier.trust import TrustAnchor

if TYPE_CHECKING:
    from cli.auditlog import DerivedLog, Finding
    from verifier.checkpoints import SignedCheckpoint


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="Audit the chain's log, and what members say of it.", no_args_is_help=True)
    app.add_typer(group, name="audit")
    command(
        group,
        "log",
        examples=(
            "audit log --rpc http://127.0.0.1:8545 --trust trust.json",
            "audit log --rpc http://127.0.0.1:8545 --trust trust.json --offline --checkpoint peer.json -o json",
        ),
        exits=(
            ExitCode.NOT_FOUND,
            ExitCode.PERMISSION,
            ExitCode.INVALID,
            ExitCode.UNAVAILABLE,
            ExitCode.PROOF_FAILED,
        ),
    )(log)
    command(
        group,
        "settle",
        examples=('audit settle 3 --reason "its chain client has been rebuilt"',),
        exits=(ExitCode.NOT_FOUND, ExitCode.PERMISSION, ExitCode.UNAVAILABLE),
    )(settle)


def log(
    session: Session,
    rpc: Annotated[str | None, typer.Option(metavar="URL", help="RPC address of the chain client.")] = None,
    trust: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The trust anchor, or the file of `chain deploy`.")
    ] = None,
    checkpoint: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="A checkpoint to compare too; may be repeated.")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not ask the node for the checkpoints and forks it holds.")
    ] = False,
) -> int:
    """Derive all leaves, roots and the log anew from the chain's events, and compare them with its proved state.

    The node is asked only for the checkpoints and forks that it holds, which are compared too. Exit 10 says that
    something does not fit: the log, the state, or what a member signed.
    """
    session.add_flags(chain_rpc=rpc, trust_file=None if trust is None else str(trust))
    anchor = trusted(session)
    held: dict[str, Any] = {} if offline else _ask_node(session)
    shown = [*_of_files(checkpoint or []), *_of_node(held)]
    derived, final, findings = _audit(session, anchor, shown)
    forks = list(held.get("forks", []))
    findings += [_fork_finding(each) for each in forks if not each.get("settledAt")]
    return _show(session, derived, final, findings, forks)


def settle(
    session: Session,
    member_id: Annotated[int, typer.Argument(metavar="MEMBER", min=1, help="Id of the member.")],
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="What was found out; it goes into the audit log.")
    ],
) -> None:
    """End the alarm about a member whose checkpoint contradicted this node's log; the evidence stays."""
    with session.client() as client:
        session.out.raw(client.post(f"/v1/audit/forks/{member_id}/settle", {"reason": reason}))


def _audit(
    session: Session, anchor: TrustAnchor, shown: Sequence[SignedCheckpoint]
) -> tuple[DerivedLog, Any, list[Finding]]:
    from anchor.chain.gateway import Gateway
    from cli import auditlog

    rpc = str(session.settings.require("chain_rpc", why="this command"))
    with closing(Gateway(rpc, timeout_s=30.0)) as gateway:
        chain = auditlog.check_chain(gateway, anchor)
        if chain.outcome != "pass":
            return auditlog.DerivedLog(), None, [chain]
        held = auditlog.prove_log(gateway, anchor)
        final = held.final
        derived = auditlog.derive_log(gateway, anchor.chain.ledger, last=final.number, tick=_ticker(session))
        findings = [chain, auditlog.check_batches(derived), *auditlog.check_state(held, anchor, derived)]
        findings += auditlog.check_checkpoints(gateway, anchor, final, derived, shown)
    return derived, final, findings


def _show(
    session: Session, derived: DerivedLog, final: Any, findings: Sequence[Finding], forks: Sequence[Any]
) -> int:
    failed = any(each.outcome == "fail" for each in findings)
    checks = [each.as_item() for each in findings]
    size = derived.tree.size
    shown = {
        "result": "broken" if failed else "consistent",
        "batches": size,
        "records": derived.records,
        "logRoot": derived.tree.root_at(size).hex(),
        "block": None if final is None else {"number": final.number, "hash": "0x" + final.hash.hex()},
        "checks": checks,
        "forks": list(forks),
    }
    session.out.item("log", shown, sections=[("check", checks), ("fork", forks)])
    return ExitCode.PROOF_FAILED if failed else ExitCode.OK


def _fork_finding(fork: dict[str, Any]) -> Finding:
    from cli.auditlog import Finding

    code = f"fork with member {fork.get('memberId')}"
    return Finding(code, "fail", f"{fork.get('conflict')}: the node holds both signed checkpoints")


def _ask_node(session: Session) -> dict[str, Any]:
    with session.client() as client:
        found = client.get("/v1/audit/checkpoints")
    return found if isinstance(found, dict) else {}


def _of_node(held: dict[str, Any]) -> Iterator[SignedCheckpoint]:
    """Yield the checkpoints that the node holds; the two sides of a fork are shown apart."""
    found = [held.get("own"), *(each.get("checkpoint") for each in held.get("peers", []))]
    for value in found:
        if value is not None:
            yield _parse(json.dumps(value).encode(), "the node's answer")


def _of_files(paths: Sequence[Path]) -> Iterator[SignedCheckpoint]:
    for path in paths:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputMissing(
                f"the checkpoint cannot be opened: {error.strerror}", hint="check its name", place=str(path)
            ) from None
        yield _parse(content, str(path))


def _parse(raw: bytes, place: str) -> SignedCheckpoint:
    from verifier.checkpoints import CheckpointMalformed, parse_checkpoint

    try:
        return parse_checkpoint(raw)
    except CheckpointMalformed as error:
        raise InputInvalid(
            str(error), hint=error.hint or "see docs/reference/checkpoint.md", place=place
        ) from None


def _ticker(session: Session) -> Any:
    shown_at = time.monotonic()

    def tick(block: int, last: int) -> None:
        nonlocal shown_at
        if session.out.live and time.monotonic() - shown_at > 1:
            shown_at = time.monotonic()
            session.out.note(f"read block {block} of {last}")

    return tick
