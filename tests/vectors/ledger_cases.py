"""Vectors of Merkle trees, batch entries and status slots (docs/reference/batch-and-log.md)."""

from collections.abc import Iterator

from anchor.entries import (
    encode_entry,
)
from anchor.merkle import (
    consistency_path,
    inclusion_path,
    root,
)
from tests.unit import receipt_factory as made
from tests.vectors.common import COMMITMENT, TAGS, Asked
from tests.vectors.operations import Json, _leaves, entry_from_json, h

# The leaves of the Certificate Transparency test suite; their roots are in tests/unit/test_merkle.py.
CT_LEAVES = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]


def merkle_accepts() -> Iterator[Asked]:
    """Roots, paths and frontiers of the trees of 0 to 8 leaves, some proofs checked."""
    for size in range(9):
        yield f"root of {size}", "merkle.root", {"leaves": CT_LEAVES[:size]}
    for size in (0, 3, 7):
        yield f"frontier of {size}", "merkle.frontier", {"leaves": CT_LEAVES[:size]}
    for size, index in ((1, 0), (2, 1), (5, 4), (7, 3), (8, 0), (8, 7)):
        asked = {"leaves": CT_LEAVES[:size], "index": index}
        yield f"path of {index} in {size}", "merkle.inclusion_path", asked
    for size, first in ((8, 1), (8, 6), (7, 3), (5, 2), (8, 8), (8, 0)):
        asked = {"leaves": CT_LEAVES[:size], "first": first}
        yield f"{first} within {size}", "merkle.consistency_path", asked
    yield "leaf 4 of 7 is included", "merkle.inclusion", inclusion_proof()
    yield "3 of 7 is consistent", "merkle.consistency", consistency_proof()


def inclusion_proof() -> Json:
    """Give the proof for leaf 4 of 7."""
    leaves = _leaves({"leaves": CT_LEAVES[:7]})
    path = [h(each) for each in inclusion_path(leaves, 4)]
    return {"leaf": h(leaves[4]), "index": 4, "size": 7, "path": path}


def consistency_proof() -> Json:
    """Give the proof that 7 leaves extend 3."""
    leaves = _leaves({"leaves": CT_LEAVES[:7]})
    path = [h(each) for each in consistency_path(leaves, 3)]
    return {
        "first": 3,
        "second": 7,
        "firstRoot": h(root(leaves[:3])),
        "secondRoot": h(root(leaves)),
        "path": path,
    }


def merkle_rejects() -> Iterator[Asked]:
    """Paths of the wrong shape, proofs of something else."""
    zero = "00" * 32

    def inclusion(name: str, **changes: Json) -> Asked:
        return f"inclusion: {name}", "merkle.inclusion", inclusion_proof() | changes

    def consistency(name: str, **changes: Json) -> Asked:
        return f"consistency: {name}", "merkle.consistency", consistency_proof() | changes

    path, extension = inclusion_proof()["path"], consistency_proof()["path"]
    yield inclusion("index outside", index=7)
    yield inclusion("negative index", index=-1)
    yield inclusion("empty tree", index=0, size=0)
    yield inclusion("short path", path=path[:-1])
    yield inclusion("long path", path=[*path, zero])
    yield inclusion("no path", path=[])
    yield inclusion("tree of one with a path", index=0, size=1)
    yield inclusion("short hash", path=[path[0][2:], *path[1:]])
    yield inclusion("short leaf", leaf=zero[2:])
    yield consistency("short proof", path=extension[:-1])
    yield consistency("long proof", path=[*extension, zero])
    yield consistency("no proof", path=[])
    yield consistency("another first root", firstRoot=zero)
    yield consistency("another second root", secondRoot=zero)
    yield consistency("altered proof", path=[zero, *extension[1:]])
    yield consistency("shrinks", first=8)
    yield consistency("negative", first=-1)
    yield consistency("equal sizes, a proof", first=7, firstRoot=consistency_proof()["secondRoot"])
    yield consistency("equal sizes, other roots", first=7, path=[])
    yield consistency("from nothing, a proof", first=0)
    yield consistency("from nothing, another empty root", first=0, path=[], firstRoot=zero)
    yield consistency("short hash", path=[extension[0][2:], *extension[1:]])
    leaves = {"leaves": CT_LEAVES[:3]}
    yield "path of a leaf that is not there", "merkle.inclusion_path", {**leaves, "index": 3}
    yield "prefix longer than the tree", "merkle.consistency_path", {**leaves, "first": 4}
    yield "frontier: empty", "merkle.decode_frontier", ""
    yield "frontier: short", "merkle.decode_frontier", "00" * 7
    yield "frontier: size 3 with one peak", "merkle.decode_frontier", "0000000000000003" + zero
    yield "frontier: size 0 with a peak", "merkle.decode_frontier", "0000000000000000" + zero


ENTRY: Json = {
    "id": 41,
    "memberId": 7,
    "stream": 1,
    "seq": 12,
    "size": 5,
    "root": h(made.bytes_of("batch root")),
    "time": made.SEALED_AT,
}
STATUS: Json = {"flags": 2, "since": made.SEALED_AT, "reason": 3, "successor": COMMITMENT[:48]}


def entry_accepts() -> Iterator[Asked]:
    """Entries, status slots and keys."""
    largest = {"id": 2**64 - 1, "memberId": 2**32 - 1, "seq": 2**64 - 1, "size": 512, "time": 2**64 - 1}
    yield "entry", "entry.encode", ENTRY
    yield "first entry of a member", "entry.encode", ENTRY | {"id": 0, "seq": 0, "size": 1}
    yield "largest entry", "entry.encode", ENTRY | largest
    yield "audit entry", "entry.encode", ENTRY | {"stream": 3}
    yield "superseded", "entry.encode_status", STATUS
    yield "revoked", "entry.encode_status", STATUS | {"flags": 1, "successor": ""}
    yield "all flags", "entry.encode_status", STATUS | {"flags": 0x8F, "since": 2**40 - 1, "reason": 65535}
    yield "empty slot", "entry.decode_status", "00" * 32
    yield (
        "resumed: time and reason without a flag",
        "entry.decode_status",
        "00" + "0102030405" + "0007" + "00" * 24,
    )
    yield "claim key", "entry.claim_key", {"memberId": 7, "commitment": COMMITMENT}
    document = {"memberId": 7, "domain": 1, "epoch": 1, "docTag": TAGS[2]}
    yield "document key", "entry.document_key", document


def entry_rejects() -> Iterator[Asked]:
    """Entries and slots that no Ledger writes."""
    good = encode_entry(entry_from_json(ENTRY))

    def ask(name: str, raw: bytes) -> Asked:
        return name, "entry.decode", h(raw)

    yield ask("empty", b"")
    yield ask("one byte short", good[:-1])
    yield ask("one byte long", good + b"\0")
    yield ask("stream 0", good[:12] + b"\0" + good[13:])
    yield ask("stream 4", good[:12] + b"\4" + good[13:])
    yield ask("member 0", good[:8] + bytes(4) + good[12:])
    yield ask("size 0", good[:21] + bytes(4) + good[25:])
    yield ask("size 513", good[:21] + (513).to_bytes(4, "big") + good[25:])
    yield "id of 65 bits", "entry.encode", ENTRY | {"id": 2**64}
    yield "negative time", "entry.encode", ENTRY | {"time": -1}
    yield "short root", "entry.encode", ENTRY | {"root": ENTRY["root"][2:]}
    for flags in (0x10, 0x20, 0x40):
        yield f"status flag {flags:#x}", "entry.decode_status", f"{flags:02x}" + "00" * 31
    yield "short status", "entry.decode_status", "01" + "00" * 30
    yield "long status", "entry.decode_status", "01" + "00" * 32
    yield "unknown flag written", "entry.encode_status", STATUS | {"flags": 0x10}
    yield "short successor", "entry.encode_status", STATUS | {"successor": "00" * 23}
    yield "time of 41 bits", "entry.encode_status", STATUS | {"since": 2**40}
    yield "reason of 17 bits", "entry.encode_status", STATUS | {"reason": 65536}
    yield "claim of a short commitment", "entry.claim_key", {"memberId": 7, "commitment": COMMITMENT[2:]}
    yield "claim of a 33-bit member", "entry.claim_key", {"memberId": 2**32, "commitment": COMMITMENT}
    document = {"memberId": 7, "domain": 1, "epoch": 1, "docTag": TAGS[2][2:]}
    yield "document of a short tag", "entry.document_key", document
    yield "document of domain 65536", "entry.document_key", document | {"domain": 65536, "docTag": TAGS[2]}
