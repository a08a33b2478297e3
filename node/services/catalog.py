"""Publish, approve, retire and read catalogue entries.

An entry goes on chain as one canonical text; what the chain holds decides, here as on every node. Spec page:
docs/reference/catalog-entry.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import msgspec
from ulid import ULID

from anchor.canonical import parse_strict_json
from anchor.chain.contracts import encode_call, selector
from anchor.chain.deploy import CouncilActs
from anchor.errors import ValueNotCanonical
from anchor.keyvalue import Put
from node.context import Node
from node.errors import EntryNotFound, NotReviewer, VersionConflict, VersionRequired
from node.services.ledgeracts import call
from node.services.recording import Actor, record
from node.services.requests import ImportLine
from verifier.catalog import KIND_NUMBERS, entry_key, render_entry
from verifier.errors import CatalogEntryInvalid, FieldProblem
from verifier.index import EntryVersion

# go-ethereum takes transactions of at most 128 KiB; each entry adds offsets, lengths and padding to its text.
MAX_TRANSACTION_BYTES = 100_000
ENTRY_OVERHEAD = 512
MAX_TRANSACTION_ENTRIES = 256


@dataclass(frozen=True, slots=True)
class Publication:
    """An entry on its way to the chain."""

    kind: str
    code: str
    version: int
    text: bytes
    operation_id: str

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.text).digest()


@dataclass(slots=True)
class ImportResult:
    """What became of the lines of an import."""

    published: list[Publication] = field(default_factory=list)
    unchanged: int = 0
    rejected: list[tuple[int, tuple[FieldProblem, ...]]] = field(default_factory=list)


def version_slot(kind: str, code: str, version: int) -> bytes:
    """Return the key of the mapping `versions` under which the contract holds a version's digest."""
    return hashlib.sha256(entry_key(kind, code) + version.to_bytes(4, "big")).digest()


def publish(
    node: Node,
    actor: Actor,
    kind: str,
    code: str,
    value: object,
    *,
    expected: int | None,
    on_commit: Callable[[Publication], Sequence[Put]],
) -> Publication | EntryVersion:
    """Publish the next version of an entry; the same text as the newest version answers with that one.

    `expected` is the version that the caller saw (If-Match); needed as soon as one exists.

    Raises:
        CatalogEntryInvalid: structure or rules. VersionRequired, VersionConflict: see `expected`.
    """
    text = render_entry(kind, code, value)
    with node.locks.hold(f"catalog {kind} {code}"):
        latest = _latest(node, kind, code)
        if latest is not None and latest.text == text and latest.state != "retired":
            return latest
        version = latest.version if latest else 0
        if latest is not None and expected is None:
            raise VersionRequired(
                "the entry exists: say which version you saw", hint=f'send If-Match: "v{version}"'
            )
        if expected is not None and expected != version:
            raise VersionConflict("the entry has another version by now", version=version)
        made = Publication(kind, code, version + 1, text, f"cat.{ULID()}")
        _enqueue(node, actor, [made], lambda: on_commit(made))
    return made


def import_lines(
    node: Node,
    actor: Actor,
    lines: Iterable[bytes],
    *,
    partial: bool,
    on_commit: Callable[[ImportResult], Sequence[Put]],
) -> ImportResult:
    """Publish many entries; entries whose text is the newest already are left alone, so a second run is a no-op.

    With `partial` bad lines are reported and the rest is published.

    Raises:
        CatalogEntryInvalid: without `partial`, lines are bad and nothing is published; pointers begin with the line.
    """
    result = ImportResult()
    seen: dict[tuple[str, str], int] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            _plan_line(node, number, line, seen, result)
    if result.rejected and not partial:
        places = [
            FieldProblem(f"/{number}{one.pointer}", one.code)
            for number, problems in result.rejected
            for one in problems
        ]
        raise CatalogEntryInvalid("imported", places)
    _enqueue(node, actor, result.published, lambda: on_commit(result))
    return result


def _plan_line(
    node: Node, number: int, line: bytes, seen: dict[tuple[str, str], int], result: ImportResult
) -> None:
    try:
        parse_strict_json(line, max_bytes=256 << 10)
        parsed = msgspec.json.decode(line, type=ImportLine)
        text = render_entry(parsed.kind, parsed.code, msgspec.json.decode(parsed.entry))
    except CatalogEntryInvalid as error:
        result.rejected.append((number, error.problems))
        return
    except (ValueNotCanonical, msgspec.DecodeError):
        result.rejected.append((number, (FieldProblem("", "line_malformed"),)))
        return
    name = (parsed.kind, parsed.code)
    latest = _latest(node, *name)
    if name not in seen and latest is not None and latest.text == text:
        result.unchanged += 1
        return
    version = seen.get(name, latest.version if latest else 0) + 1
    seen[name] = version
    result.published.append(Publication(parsed.kind, parsed.code, version, text, f"cat.{ULID()}"))


def _enqueue(
    node: Node, actor: Actor, made: Sequence[Publication], on_commit: Callable[[], Sequence[Put]]
) -> None:
    operations = []
    for group in _groups(made):
        publications = [
            {"kind": KIND_NUMBERS[one.kind], "code": one.code, "version": one.version, "text": one.text}
            for one in group
        ]
        operations.append((group[0].operation_id, call("Catalog", "publish", publications)))
    record(
        node,
        [*node.outbox.enqueue(operations), *on_commit()],
        actor=actor,
        action="catalog.publish",
        object_id=made[0].operation_id if made else "none",
        outcome="accepted",
        reason=f"{len(made)} entries",
    )
    node.outbox.wake()


def _groups(made: Sequence[Publication]) -> Iterable[list[Publication]]:
    group: list[Publication] = []
    size = 0
    for one in made:
        weight = len(one.text) + ENTRY_OVERHEAD
        if group and (size + weight > MAX_TRANSACTION_BYTES or len(group) == MAX_TRANSACTION_ENTRIES):
            yield group
            group, size = [], 0
        group.append(one)
        size += weight
    if group:
        yield group


def _latest(node: Node, kind: str, code: str) -> EntryVersion | None:
    found = node.index.entry_versions(kind, code)
    return found[-1] if found else None


def read_entry(node: Node, kind: str, code: str, version: int | None = None) -> EntryVersion:
    """Return a version of an entry: the one named, else the newest approved, else the newest.

    Raises:
        EntryNotFound: the chain holds none.
    """
    found = node.index.entry(kind, code, version) if kind in KIND_NUMBERS else None
    if found is None and kind in KIND_NUMBERS and version is None:
        found = _latest(node, kind, code)
    if found is None:
        raise EntryNotFound(
            "the chain holds no such entry", hint="list entries with `deltaseal catalog list KIND`"
        )
    return found


def act(node: Node, actor: Actor, kind: str, code: str, verb: str, version: int) -> str:
    """Approve or retire a version; return the operation's id ("" when the council's own key acted at once).

    Raises:
        EntryNotFound, NotReviewer (this node's key may not approve).
    """
    entry = read_entry(node, kind, code, version)
    key = entry_key(kind, code)
    if verb == "approve" and node.council is not None:
        CouncilActs(node.gateway, node.council, node.deployment).approve([key], [entry.version])
        operation_id = ""
        ops: list[Put] = []
    elif verb == "approve" and not _may_approve(node):
        raise NotReviewer(
            "this node's key is not a reviewer's",
            hint="let the council approve with `deltaseal chain approve`",
        )
    else:
        operation_id = f"cat.{ULID()}"
        ops = node.outbox.enqueue([(operation_id, call("Catalog", verb, key, entry.version))])
    record(
        node,
        ops,
        actor=actor,
        action=f"catalog.{verb}",
        object_id=f"{kind}/{code}@{version}",
        outcome="accepted",
    )
    node.outbox.wake()
    return operation_id


def _may_approve(node: Node) -> bool:
    approve = selector("Catalog", "approve")
    answer = node.gateway.call(
        node.deployment.authority,
        encode_call("Authority", "canCall", node.signer.address, node.deployment.catalog, approve),
    )
    return bool(int.from_bytes(answer[:32], "big"))
