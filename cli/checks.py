"""The checks of `deltaseal doctor`: each looks at one part and says what it found and how to mend it.

A check never raises and changes nothing: it takes no lock, makes no file, opens no database.
"""

from __future__ import annotations

import os
import platform
import socket
import stat
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from anchor.errors import DeltasealError
from cli.client import NodeClient
from cli.errors import ApiProblem
from cli.exitcodes import ExitCode
from cli.session import Session
from cli.settings import API_KEY_PATTERN, readable_by_others, sends_key_in_clear

PASS, WARN, FAIL, SKIPPED = "pass", "warn", "fail", "skipped"
_DATABASES = ("store", "index")
_PYTHONS = ((3, 11), (3, 12))
# What keeps a part of the node from being ready, and what to do about it.
_READY_FIXES = {
    "starting": "wait a moment and ask again",
    "not_admitted": "the council admits the node: deltaseal chain admit",
    "domain_key_missing": "the council publishes the domain's keys: deltaseal chain epoch",
    "catalog_empty": "publish and approve entries: deltaseal catalog import, deltaseal chain approve",
    "store_full": "make room on the volume of the data folder, then start the node again",
    "store_damaged": "keep the folder as it is; deltaseal store verify; restore the last backup",
    "store_unwritable": "check the mount and the owner of the data folder, then start the node again",
    "store_starved": "raise the limits of the process and start the node again",
    "chain_unavailable": "start the chain: deltaseal chain run",
    "chain_mismatch": "the node was made for another chain: check chain_rpc, chain_id and directory",
    "chain_not_final": "too few signers seal: bring back those that are down",
    "clock_jumped": "the machine's clock was set: set it right, then it agrees with the chain again",
    "chain_stalled": "no new blocks: see that the chain's engine or enough of its signers run",
    "fork_detected": "find out who was lied to, then: deltaseal audit settle; evidence: deltaseal audit log",
    "chain_regressed": "the chain lost blocks that were final: bring back its newest copy, or accept this one: "
    "stop the node, then: deltaseal store reindex",
}


@dataclass(frozen=True, slots=True)
class Check:
    """What was found: `outcome` is pass, warn, fail or skipped; `exit` counts when it failed."""

    part: str
    outcome: str
    detail: str
    fix: str = ""
    exit: ExitCode = ExitCode.INVALID

    def as_item(self) -> dict[str, Any]:
        """Give the row that the output shows."""
        fix = self.fix if self.outcome in (WARN, FAIL) else None
        return {"part": self.part, "outcome": self.outcome, "detail": self.detail, "fix": fix}


def run_checks(session: Session) -> Iterator[Check]:
    """Run all checks, the ones that others build on first."""
    yield check_python()
    yield check_library("plyvel", why="the node's store")
    yield check_library("coincurve", why="fast signatures")
    yield check_anvil()
    settings = check_settings(session)
    yield settings
    if settings.outcome == FAIL:
        return
    data_dir = session.path("data_dir")
    node = _node_settings(data_dir)
    yield from check_folder(data_dir, node)
    yield check_chain(session, node)
    yield check_key_file(session)
    yield from check_node(session)


def check_python() -> Check:
    """Python 3.11 and 3.12: plyvel has wheels for no newer one."""
    found = platform.python_version()
    if sys.version_info[:2] in _PYTHONS:
        return Check("python", PASS, found)
    return Check("python", FAIL, found, "use Python 3.11 or 3.12")


def check_library(name: str, *, why: str) -> Check:
    """A library with compiled parts can be installed and yet not load: only an import tells."""
    try:
        module = import_module(name)
    except (ImportError, OSError) as error:
        return Check(
            name,
            FAIL,
            f"cannot be loaded: {type(error).__name__}",
            f"install it again: it is needed for {why}",
        )
    return Check(name, PASS, str(getattr(module, "__version__", "loaded")))


def check_anvil() -> Check:
    """The embedded chain's engine; a node on another chain does without it."""
    from anchor.chain.engine import find_anvil

    try:
        return Check("anvil", PASS, str(find_anvil()))
    except DeltasealError as error:
        return Check("anvil", WARN, f"{error}; only the embedded chain needs it", error.hint)


def check_settings(session: Session) -> Check:
    """All settings of all files, also those that this run does not need."""
    from cli.settings import SETTINGS

    try:
        for name in SETTINGS:
            session.settings.candidates(name)
        files = ", ".join(file.path.name for file in session.settings.files) or "no settings file"
    except DeltasealError as error:
        return Check("settings", FAIL, f"{getattr(error, 'place', '')}: {error}", error.hint)
    return Check("settings", PASS, f"{files}; node {session.settings.get('url')}")


def check_folder(data_dir: Path | None, node: Mapping[str, Any] | None) -> Iterator[Check]:
    """The node's folder on this machine: there, ours alone, not full, and whether a process holds it."""
    if data_dir is None:
        yield Check("data folder", SKIPPED, "no data_dir is set: the node runs elsewhere")
        return
    if node is None:
        yield Check(
            "data folder", FAIL, "it holds no node's settings", "make one: deltaseal init --data-dir DIR"
        )
        return
    try:
        facts = data_dir.stat()
    except OSError as error:
        yield Check("data folder", FAIL, str(error.strerror), "check its name and rights")
        return
    yield _check_rights(data_dir, facts)
    holder = lock_holder(data_dir)
    detail = f"held by process {holder}" if holder else "free: no node is running on it"
    yield Check("data folder lock", PASS, detail)
    yield _check_port(node, holder=holder)


def _check_rights(data_dir: Path, facts: os.stat_result) -> Check:
    if facts.st_uid != os.geteuid() and os.geteuid() != 0:
        return Check("data folder", FAIL, "it belongs to another user", "run as its owner")
    if facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return Check("data folder", WARN, "other users can enter it", f"chmod 700 {data_dir}")
    space = os.statvfs(data_dir)
    free = space.f_bavail * space.f_frsize
    if free < 1 << 30:
        return Check("data folder", WARN, f"{free >> 20} MiB are free", "make room before it is full")
    return Check("data folder", PASS, f"{free >> 30} GiB are free")


def lock_holder(data_dir: Path, *, table: Path = Path("/proc/locks")) -> int | None:
    """Return the process that holds one of the folder's databases, read from the kernel's table of locks.

    Trying the lock would take it for a moment, and could make a node that starts just then give up.
    """
    places = set()
    for name in _DATABASES:
        try:
            facts = (data_dir / name / "lock").stat()
        except OSError:
            continue
        places.add(f"{os.major(facts.st_dev):02x}:{os.minor(facts.st_dev):02x}:{facts.st_ino}")
    try:
        lines = table.read_text("ascii").splitlines()
    except OSError:
        return None
    # A line is: number, kind, mode, access, process, device:inode, first and last byte.
    held = (line.split() for line in lines)
    return next((int(words[4]) for words in held if len(words) > 5 and words[5] in places), None)


def _check_port(node: Mapping[str, Any], *, holder: int | None) -> Check:
    host, port = str(node.get("host", "127.0.0.1")), node.get("port", 8400)
    if not isinstance(port, int) or port == 0:
        return Check("port", PASS, "a free one is taken at start")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
        except OSError as error:
            if holder is not None:
                return Check("port", PASS, f"{port} is in use, by the node as it seems")
            fix = "choose another port in deltaseal.toml, or stop the program that uses it"
            return Check("port", FAIL, f"{host}:{port}: {error.strerror}", fix, ExitCode.UNAVAILABLE)
    return Check("port", PASS, f"{host}:{port} is free")


def check_chain(session: Session, node: Mapping[str, Any] | None) -> Check:
    """The chain client: reachable, the right chain, and the contracts where the Directory says."""
    from anchor.chain.deploy import resolve
    from anchor.chain.gateway import Gateway

    known = node or {}
    rpc = session.settings.get("chain_rpc") or known.get("chain_rpc")
    directory = session.settings.get("directory") or known.get("directory")
    if rpc is None:
        return Check("chain", SKIPPED, "no chain_rpc is set: the node looks after it")
    chain_id = known.get("chain_id") or session.settings.get("chain_id")
    gateway = Gateway(str(rpc), timeout_s=5.0)
    try:
        head = gateway.head()
        if directory is None:
            return Check("chain", PASS, f"id {gateway.chain_id()}, block {head.number}; no directory is set")
        resolve(gateway, bytes.fromhex(str(directory)[2:]), chain_id=int(chain_id), genesis=None)
    except (DeltasealError, ValueError) as error:
        fix = getattr(error, "hint", "") or "start it: deltaseal chain run"
        return Check("chain", FAIL, str(error), fix, ExitCode.UNAVAILABLE)
    finally:
        gateway.close()
    return Check("chain", PASS, f"id {chain_id}, block {head.number}, contracts found")


def check_key_file(session: Session) -> Check:
    """The API key's file: there, a key, and ours alone."""
    try:
        path = session.settings.api_key_file()
    except DeltasealError as error:
        return Check("api key", FAIL, str(error), error.hint)
    if path is None:
        return Check("api key", SKIPPED, "no api_key_file is set: the key is asked for")
    try:
        text = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return Check("api key", FAIL, "the file cannot be read", "check api_key_file")
    if not API_KEY_PATTERN.fullmatch(text):
        return Check("api key", FAIL, "the file holds no API key", "make one: deltaseal key create")
    if readable_by_others(path):
        return Check("api key", WARN, "other users can read the file", f"chmod 600 {path}")
    if sends_key_in_clear(str(session.settings.get("url"))):
        return Check("api key", WARN, "it crosses the network unencrypted", "give the node an https address")
    return Check("api key", PASS, "well formed, readable by you only")


def check_node(session: Session) -> Iterator[Check]:
    """The node at `url`: alive, ready in every part, and whether it accepts the key."""
    with session.client(anonymous=True) as client:
        alive = _ask("node", lambda: _version(client))
        yield alive
        if alive.outcome == FAIL:
            return
        yield from _readiness(client)
    if session.settings.get("api_key_file") is None:
        return
    try:
        with session.client() as client:
            yield _ask("api key at the node", lambda: f"speaks for {client.get('/v1/me').get('agency')}")
    except DeltasealError as error:
        yield Check("api key at the node", FAIL, str(error), error.hint)


def _version(client: NodeClient) -> str:
    found = client.get("/v1/info")
    return f"{found.get('name')} {found.get('version')}, member {found.get('memberId')}"


def _ask(part: str, question: Callable[[], str]) -> Check:
    try:
        return Check(part, PASS, question())
    except ApiProblem as error:
        refused = error.status in (401, 403)
        return Check(
            part, FAIL, str(error), error.hint, ExitCode.PERMISSION if refused else ExitCode.UNAVAILABLE
        )
    except DeltasealError as error:
        fix = "start it: deltaseal serve --data-dir DIR; or set its address: --url"
        return Check(part, FAIL, str(error), fix, ExitCode.UNAVAILABLE)


def _readiness(client: NodeClient) -> Iterator[Check]:
    """Name every part of the node that is not ready; a node that is not answers 503 with the same list."""
    try:
        found = client.get("/readyz")
    except ApiProblem as error:
        found = error.body
    except DeltasealError as error:
        yield Check("node ready", FAIL, str(error), error.hint, ExitCode.UNAVAILABLE)
        return
    parts = found.get("parts") if isinstance(found, dict) else None
    if not isinstance(parts, dict):
        yield Check(
            "node ready", FAIL, "its answer cannot be read", "is it of this version?", ExitCode.UNAVAILABLE
        )
        return
    for note in found.get("notes", ()):
        yield Check("node: note", WARN, str(note), _fix_of(note))
    for name, state in parts.items():
        part = f"node: {name}"
        if state == "ok":
            yield Check(part, PASS, "ok")
        else:
            fix = _fix_of(state)
            yield Check(part, FAIL, str(state), fix, ExitCode.UNAVAILABLE)


def _is_alarm(note: object) -> bool:
    return str(note).startswith("alarm_")


def _fix_of(state: object) -> str:
    if _is_alarm(state):
        return "deltaseal alarms names what waits and what helps"
    return _READY_FIXES.get(str(state), "see the node's log")


def _node_settings(data_dir: Path | None) -> dict[str, Any] | None:
    if data_dir is None:
        return None
    try:
        return tomllib.loads((data_dir / "deltaseal.toml").read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return None
