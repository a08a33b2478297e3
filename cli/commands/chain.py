"""`deltaseal chain`: runs the embedded chain, shows it as a node sees it, and does what a council does."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from cli.commands.nodes import run_program
from cli.downloads import require_new, save_checked, save_secret
from cli.errors import ArgumentInvalid, InputInvalid
from cli.exitcodes import ExitCode
from cli.session import Session, command
from cli.settings import read_secret

if TYPE_CHECKING:
    from anchor.chain.deploy import CouncilActs, Deployment, Profile
    from anchor.chain.gateway import Gateway
    from anchor.signer import Signer

_READ_EXITS = (ExitCode.PERMISSION, ExitCode.UNAVAILABLE)
_COUNCIL_EXITS = (
    ExitCode.NOT_FOUND,
    ExitCode.PERMISSION,
    ExitCode.CONFLICT,
    ExitCode.INVALID,
    ExitCode.UNAVAILABLE,
)
_ROLES = ("city", "sector", "district", "partner", "observer")

Rpc = Annotated[str | None, typer.Option("--rpc", metavar="URL", help="JSON-RPC address of the chain.")]
KeyFile = Annotated[
    str | None, typer.Option("--council-key-file", metavar="FILE", help="Keystore of the council.")
]
PassphraseFile = Annotated[
    str | None,
    typer.Option("--council-passphrase-file", metavar="FILE", help="Its passphrase; default: asked for."),
]
Directory = Annotated[str | None, typer.Option("--directory", metavar="ADDRESS", help="Directory contract.")]
ChainId = Annotated[str | None, typer.Option("--chain-id", metavar="N", help="Id of the chain.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(help="Run, watch and govern the chain.", no_args_is_help=True)
    app.add_typer(group, name="chain")
    command(
        group,
        "run",
        examples=("chain run --folder ./chain --create", "chain run --folder ./chain --port 8545"),
        exits=(ExitCode.INVALID, ExitCode.UNAVAILABLE),
    )(run)
    command(
        group,
        "genesis",
        examples=(
            "chain genesis --engine clique --signers 5 --out ./chain",
            "chain genesis --engine qbft --signers 4 --host 10.20.3.4 --out ./chain",
            "chain genesis --engine clique --out ./chain "
            "--signers 0x5fbdb2315678afecb367f032d93f642f64180aa3,0x00000000000000000000000000000000000000ff",
        ),
        exits=(ExitCode.CONFLICT, ExitCode.INVALID),
    )(genesis)
    command(
        group, "status", examples=("chain status", "chain status -o json > chain.json"), exits=_READ_EXITS
    )(status)
    command(group, "members", examples=("chain members",), exits=_READ_EXITS)(members)
    command(group, "contracts", examples=("chain contracts",), exits=_READ_EXITS)(contracts)
    command(
        group,
        "deploy",
        exits=_COUNCIL_EXITS,
        examples=(
            "chain deploy --rpc http://127.0.0.1:8545 --council-key-file council.json --to chain.json",
        ),
    )(deploy)
    command(
        group,
        "admit",
        exits=_COUNCIL_EXITS,
        examples=(
            "chain admit --member-id 3 --node-file pudong.json --agency 12310115FAKE001287 --name 浦东新区 "
            "--role district --area 310115 --endpoint https://pd.example:8400 "
            "--council-key-file council.json",
        ),
    )(admit)
    command(
        group,
        "epoch",
        exits=_COUNCIL_EXITS,
        examples=(
            "chain epoch --domain 1 --epoch 0 --secret-file d1e0.secret --council-key-file council.json",
            "chain epoch --domain 1 --epoch 1 --secret-file d1e1.secret --member 7 "
            "--council-key-file council.json",
        ),
    )(epoch)
    command(
        group,
        "signers",
        exits=_COUNCIL_EXITS,
        examples=(
            "chain signers 0x5fbdb2315678afecb367f032d93f642f64180aa3 --from-block 0 "
            "--council-key-file council.json",
        ),
    )(signers)
    command(
        group,
        "approve",
        exits=_COUNCIL_EXITS,
        examples=(
            "chain approve materialType/M1001@1 --council-key-file council.json",
            "chain approve --pending --council-key-file council.json",
        ),
    )(approve)


def run(
    session: Session,
    folder: Annotated[str | None, typer.Option(metavar="DIR", help="Folder of the chain.")] = None,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="Port; 0 takes a free one.")
    ] = 8545,
    chain_id: ChainId = None,
    create: Annotated[
        bool, typer.Option("--create", help="Make a new chain if the folder has none.")
    ] = False,
) -> NoReturn:
    """Run the embedded chain until Ctrl-C or SIGTERM; a JSON line on stdout says when it is ready."""
    session.add_flags(chain_folder=folder, chain_id=chain_id)
    arguments = [
        "--folder",
        session.settings.require("chain_folder", why="chain run"),
        "--host",
        host,
        "--port",
        str(port),
        "--chain-id",
        str(session.settings.get("chain_id")),
    ]
    run_program("node.chainserver", [*arguments, *(["--create"] if create else [])])


def genesis(
    session: Session,
    engine: Annotated[str, typer.Option(metavar="NAME", help="clique (go-ethereum 1.13) or qbft (Besu).")],
    signers: Annotated[
        str, typer.Option(metavar="N|ADDRESSES", help="How many to make keys for, or who has keys already.")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="New or empty folder.")],
    chain_id: ChainId = None,
    period: Annotated[int, typer.Option(min=1, max=60, metavar="S", help="Seconds between blocks.")] = 2,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="IP address at which the signers reach each other.")
    ] = "127.0.0.1",
    port_base: Annotated[
        int, typer.Option(min=1024, max=65_000, metavar="N", help="First port; each signer takes two.")
    ] = 30_303,
) -> None:
    """Write the genesis block of a chain of several signers, and each signer's keys and configuration.

    With a number it makes the keys of all; with addresses it writes the genesis file alone, for signers that keep
    their keys to themselves.
    """
    from cli.consortium.planning import plan_chain

    session.add_flags(chain_id=chain_id)
    rows = plan_chain(
        engine,
        signers,
        out,
        chain_id=int(session.settings.get("chain_id")),
        period_s=period,
        host=host,
        port_base=port_base,
    )
    session.out.items("signer", rows)


def status(session: Session) -> None:
    """Show the chain as the node sees it; as JSON it is a trust file for `receipt check`."""
    with session.client() as client:
        session.out.item("chain_status", client.get("/v1/chain/status"))


def members(session: Session) -> None:
    """List the members of the consortium."""
    with session.client() as client:
        session.out.items("member", client.get("/v1/chain/members").get("items", []))


def contracts(session: Session) -> None:
    """List the contracts that the Directory names."""
    with session.client() as client:
        found = client.get("/v1/chain/contracts")
    session.out.items("contract", [{"name": name, "address": address} for name, address in found.items()])


def deploy(
    session: Session,
    to: Annotated[
        Path, typer.Option(metavar="FILE", help="New file for the addresses; it is a trust file too.")
    ],
    rpc: Rpc = None,
    council_key_file: KeyFile = None,
    council_passphrase_file: PassphraseFile = None,
) -> None:
    """Deploy the contracts with the council's key, and write down where they are."""
    from anchor.chain.deploy import deploy as deploy_contracts

    _add_council_flags(session, rpc, council_key_file, council_passphrase_file)
    require_new(to)
    signer = _council_signer(session)
    with _gateway(session) as gateway:
        made = deploy_contracts(gateway, signer, on_step=lambda step: session.out.note(f"done: {step}"))
    facts = _facts(made)
    # Shown first: a disk that is full must not hide where the contracts are.
    session.out.item("deployment", facts)
    save_checked([(json.dumps(facts, indent=2) + "\n").encode()], to, sha256=None)


def admit(
    session: Session,
    member_id: Annotated[int, typer.Option(min=1, max=2**32 - 1, metavar="N", help="Id never used before.")],
    agency: Annotated[str, typer.Option(metavar="USCC", help="Code of the organisation.")],
    name: Annotated[str, typer.Option(metavar="TEXT", help="Its name.")],
    area: Annotated[str, typer.Option(metavar="CODE", help="Area, six digits (GB/T 2260).")],
    endpoint: Annotated[str, typer.Option(metavar="URL", help="Where its node answers other nodes.")],
    node_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What `deltaseal init` printed.")
    ] = None,
    account: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Chain account, without --node-file.")
    ] = None,
    hpke_key: Annotated[
        str | None, typer.Option(metavar="HEX", help="HPKE key, without --node-file.")
    ] = None,
    role: Annotated[str, typer.Option(metavar="ROLE", help=", ".join(_ROLES) + ".")] = "district",
    level: Annotated[int, typer.Option(min=0, max=255, metavar="N", help="Level in the consortium.")] = 2,
    rpc: Rpc = None,
    directory: Directory = None,
    chain_id: ChainId = None,
    council_key_file: KeyFile = None,
    council_passphrase_file: PassphraseFile = None,
) -> None:
    """Admit a member with the council's key."""
    from verifier.subjects import check_uscc

    _add_council_flags(session, rpc, council_key_file, council_passphrase_file, directory, chain_id)
    if check_uscc(agency) is not None or not (len(area) == 6 and area.isascii() and area.isdigit()):
        raise ArgumentInvalid(
            "the USCC or the area is malformed", hint="18 characters; six digits", place="--agency"
        )
    if role not in _ROLES:
        raise ArgumentInvalid(
            f"the role must be one of {', '.join(_ROLES)}", hint="--role district", place="--role"
        )
    identity = _identity(node_file, account, hpke_key)
    profile = _profile(
        identity, role=role, level=level, area=area, agency=agency, name=name, endpoint=endpoint
    )
    with _council(session) as council:
        council.acts.admit_member(member_id, profile)
    session.out.item("council_act", {"act": "admit", "target": member_id, "state": "active"})


def epoch(
    session: Session,
    domain: Annotated[int, typer.Option(min=1, max=65535, metavar="N", help="The tag domain.")],
    secret_file: Annotated[
        Path, typer.Option(metavar="FILE", help="The epoch's secret: made if it is not there. Keep it safe.")
    ],
    epoch_number: Annotated[
        int | None,
        typer.Option("--epoch", min=0, max=65535, metavar="N", help="0: consume key. Default: the next one."),
    ] = None,
    member: Annotated[
        list[int] | None, typer.Option(metavar="N", help="For this member only, e.g. a new one; repeat it.")
    ] = None,
    rpc: Rpc = None,
    directory: Directory = None,
    chain_id: ChainId = None,
    council_key_file: KeyFile = None,
    council_passphrase_file: PassphraseFile = None,
) -> None:
    """Seal the key of a domain's epoch to its members and publish the envelopes.

    Without --member all active members get it: name those of the domain when not all may read it.
    """
    from cli.council import active_recipients, current_epoch

    _add_council_flags(session, rpc, council_key_file, council_passphrase_file, directory, chain_id)
    with _council(session) as council:
        found = active_recipients(council.gateway, council.deployment)
        recipients = _chosen(found, member)
        number = epoch_number
        if number is None:
            number = current_epoch(council.gateway, council.deployment, domain) + 1
        secret = _epoch_secret(secret_file, may_make=member is None)
        council.acts.publish_epoch(domain, number, secret, recipients)
    rows = [
        {"act": f"epoch {domain}/{number}", "target": each, "state": "final"} for each in sorted(recipients)
    ]
    session.out.items("council_act", rows)


def signers(
    session: Session,
    addresses: Annotated[
        list[str], typer.Argument(metavar="ADDRESS", help="Every address that seals blocks from there on.")
    ],
    from_block: Annotated[
        int, typer.Option(min=0, max=2**64 - 1, metavar="N", help="First block; above that of the last set.")
    ],
    rpc: Rpc = None,
    directory: Directory = None,
    chain_id: ChainId = None,
    council_key_file: KeyFile = None,
    council_passphrase_file: PassphraseFile = None,
) -> None:
    """Enter in Members who seals the chain from a block on, with the council's key.

    Nodes count seals, and receipts are proved, by what is entered here; the chain's own vote is another act.
    """
    from cli.consortium.planning import parse_addresses

    found = parse_addresses(",".join(addresses), place="ADDRESS")
    _add_council_flags(session, rpc, council_key_file, council_passphrase_file, directory, chain_id)
    with _council(session) as council:
        council.acts.set_signers(from_block, found)
    session.out.item("council_act", {"act": "signers", "target": from_block, "state": "active"})


def approve(
    session: Session,
    entries: Annotated[
        list[str] | None, typer.Argument(metavar="KIND/CODE@VERSION", help="Versions.")
    ] = None,
    pending: Annotated[bool, typer.Option("--pending", help="All that wait for approval.")] = False,
    rpc: Rpc = None,
    directory: Directory = None,
    chain_id: ChainId = None,
    council_key_file: KeyFile = None,
    council_passphrase_file: PassphraseFile = None,
) -> None:
    """Approve catalogue versions with the council's key."""
    from cli.council import PendingEntry, pending_entries
    from verifier.catalog import entry_key

    if bool(entries) == pending:
        raise ArgumentInvalid("name versions, or give --pending", hint="materialType/M1001@1")
    named = [_entry_name(each) for each in entries or []]
    _add_council_flags(session, rpc, council_key_file, council_passphrase_file, directory, chain_id)
    with _council(session) as council:
        found = [PendingEntry(kind, code, version, entry_key(kind, code)) for kind, code, version in named]
        if pending:
            found = pending_entries(council.gateway, council.deployment)
        council.acts.approve([each.key for each in found], [each.version for each in found])
    rows = [
        {"act": "approve", "target": f"{each.kind}/{each.code}@{each.version}", "state": "approved"}
        for each in found
    ]
    session.out.items("council_act", rows)


@dataclass(frozen=True, slots=True)
class _Council:
    gateway: Gateway
    deployment: Deployment
    acts: CouncilActs


def _add_council_flags(
    session: Session,
    rpc: str | None,
    key_file: str | None,
    passphrase_file: str | None,
    directory: str | None = None,
    chain_id: str | None = None,
) -> None:
    session.add_flags(
        chain_rpc=rpc,
        council_key_file=key_file,
        council_passphrase_file=passphrase_file,
        directory=directory,
        chain_id=chain_id,
    )


@contextmanager
def _gateway(session: Session) -> Iterator[Gateway]:
    from anchor.chain.gateway import Gateway

    gateway = Gateway(str(session.settings.require("chain_rpc", why="this command")), timeout_s=10.0)
    try:
        yield gateway
    finally:
        gateway.close()


@contextmanager
def _council(session: Session) -> Iterator[_Council]:
    """Open the chain and the council's key; the contracts are found again by the Directory and checked."""
    from anchor.chain.deploy import CouncilActs, resolve

    directory = bytes.fromhex(str(session.settings.require("directory", why="this command"))[2:])
    with _gateway(session) as gateway:
        chain_id = int(session.settings.get("chain_id"))
        deployment = resolve(gateway, directory, chain_id=chain_id, genesis=None)
        yield _Council(gateway, deployment, CouncilActs(gateway, _council_signer(session), deployment))


def _council_signer(session: Session) -> Signer:
    from anchor.signer import load_keystore

    path = Path(str(session.settings.require("council_key_file", why="this command")))
    passphrase = read_secret(
        session.path("council_passphrase_file"),
        prompt="passphrase of the council's key",
        setting="council_passphrase_file",
    )
    return load_keystore(path, passphrase)


def _facts(made: Deployment) -> dict[str, Any]:
    addresses = {
        name: "0x" + getattr(made, name).hex()
        for name in ("directory", "authority", "members", "ledger", "catalog")
    }
    return {"chainId": made.chain_id, "genesis": "0x" + made.genesis.hex(), **addresses}


def _identity(node_file: Path | None, account: str | None, hpke_key: str | None) -> tuple[bytes, bytes]:
    """Return account and HPKE key, from the line that `init` printed or from the flags."""
    if node_file is None and (account is None or hpke_key is None):
        raise ArgumentInvalid(
            "the member's account and HPKE key are needed", hint="--node-file, or both flags"
        )
    try:
        found: Mapping[str, Any] = {"address": account, "hpkeKey": hpke_key}
        if node_file is not None:
            found = json.loads(node_file.read_text("utf-8"))
        address = bytes.fromhex(str(found["address"]).removeprefix("0x"))
        key = bytes.fromhex(str(found["hpkeKey"]).removeprefix("0x"))
    except (OSError, ValueError, KeyError, TypeError):
        raise InputInvalid(
            "account and HPKE key cannot be read", hint="keep the JSON line that `deltaseal init` prints"
        ) from None
    if len(address) != 20 or not 32 <= len(key) <= 4096:
        raise InputInvalid("the account has 20 bytes, the HPKE key 32 to 4096", hint="copy them whole")
    return address, key


def _profile(
    identity: tuple[bytes, bytes], *, role: str, level: int, area: str, agency: str, name: str, endpoint: str
) -> Profile:
    from anchor.chain.deploy import Profile, Role

    account, hpke_key = identity
    return Profile(
        account=account,
        role=Role[role.upper()],
        level=level,
        area=int(area),
        uscc=agency,
        valid_from=0,
        valid_until=0,
        name=name,
        endpoint=endpoint,
        hpke_key=hpke_key,
    )


def _chosen(found: Mapping[int, bytes], wanted: list[int] | None) -> dict[int, bytes]:
    chosen = dict(found) if wanted is None else {each: found[each] for each in wanted if each in found}
    if not chosen or (wanted is not None and len(chosen) != len(set(wanted))):
        raise ArgumentInvalid(
            "a member named is not active, or there is none", hint="`deltaseal chain members`"
        )
    return chosen


def _epoch_secret(path: Path, *, may_make: bool) -> bytes:
    """Read the secret, or make it: it is on disk before anything is sealed with it."""
    if not path.exists() and may_make:
        save_secret(secrets.token_bytes(32).hex(), path)
    text = read_secret(path, prompt="", setting="secret_file")
    try:
        secret = bytes.fromhex(text)
    except ValueError:
        secret = b""
    if len(secret) != 32:
        raise InputInvalid(
            "an epoch's secret is 64 hex digits", hint="it is the file that `chain epoch` made"
        )
    return secret


def _entry_name(text: str) -> tuple[str, str, int]:
    from verifier.catalog import KIND_NUMBERS

    kind, separator, rest = text.partition("/")
    code, at, version = rest.rpartition("@")
    if not separator or not at or kind not in KIND_NUMBERS or not (version.isascii() and version.isdigit()):
        raise ArgumentInvalid("a version is KIND/CODE@NUMBER", hint="for example materialType/M1001@1")
    return kind, code, int(version)
