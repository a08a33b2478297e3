"""Receipts to put before all verifiers: the stored vectors, and every single-field change of a receipt."""

from __future__ import annotations

import base64
import copy
import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from anchor.base64url import parse_base64url, render_base64url
from anchor.errors import Base64urlMalformed
from cli.receiptchecks import Asked, verify_lines
from tests.vectors import make
from tests.vectors.operations import reading_from_json, roots_from_json
from verifier.expectations import Expected
from verifier.trust import parse_trust

FOLDER = Path(make.__file__).parent / "receipt"
AT = "2026-12-01T09:00:00+08:00"
Json = Any


@dataclass(frozen=True)
class VerifierCase:
    """One question to a verifier. `receipt` and `trust` are bytes as they come, the rest as in the vectors."""

    name: str
    receipt: bytes
    trust: bytes
    at: str = AT
    asked: dict[str, Json] = field(default_factory=dict)

    def of(self, name: str, receipt: bytes) -> VerifierCase:
        """Ask the same about another receipt."""
        return replace(self, name=f"{self.name}: {name}", receipt=receipt)

    def line(self) -> str:
        """Render the case for a verifier that reads cases from its standard input."""
        shown = {"receipt": base64.b64encode(self.receipt).decode(), "at": self.at, **self.asked}
        return json.dumps({**shown, "trust": base64.b64encode(self.trust).decode()})

    def python_lines(self) -> list[dict[str, Json]]:
        """Answer the case by the Python verifier, in the protocol's lines."""
        hexadecimal = {name: self.asked.get(name) for name in ("knownHash", "sha256")}
        known, sha256 = (None if each is None else bytes.fromhex(each) for each in hexadecimal.values())
        subject, later = self.asked.get("subject"), self.asked.get("later")
        asked = Asked(
            parse_trust(self.trust),
            datetime.fromisoformat(self.at),
            Expected(
                issuer=self.asked.get("issuer"),
                type_code=self.asked.get("type"),
                subject=None if subject is None else (subject["idType"], subject["id"]),
                sha256=sha256,
            ),
            known_hash=known,
            later=None if later is None else reading_from_json(later),
            max_age_s=self.asked.get("maxAge"),
            tsa_roots=roots_from_json(self.asked.get("tsaRoots")),
        )
        return list(verify_lines(self.receipt, asked))


def encode(value: Json) -> bytes:
    """Encode JSON as a node sends it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def stored(kind: str) -> list[dict[str, Json]]:
    """Return the stored cases of receipts of a kind."""
    return list(json.loads((FOLDER / f"{kind}.json").read_text("utf-8"))["cases"])


def network_case() -> VerifierCase:
    """Return the receipt that five go-ethereum signers sealed."""
    valid = next(case for case in network_cases() if case.name == "network valid")
    return replace(valid, name="network")


def network_cases() -> Iterator[VerifierCase]:
    """Yield all receipts that these signers sealed."""
    recorded = json.loads((FOLDER / "clique-network.json").read_text("utf-8"))
    for name, receipt in recorded["receipts"].items():
        yield VerifierCase(f"network {name}", encode(receipt), encode(recorded["trust"]))


def vector_cases() -> Iterator[VerifierCase]:
    """Yield every stored vector, those that are read and those that are not."""
    for case in stored("accept"):
        asked = dict(case["input"])
        receipt, trust, at = encode(asked.pop("receipt")), encode(asked.pop("trust")), asked.pop("at")
        yield VerifierCase(case["name"], receipt, trust, at, asked)
    trust = encode(stored("accept")[0]["input"]["trust"])
    for case in stored("reject"):
        yield VerifierCase(case["name"], base64.b64decode(case["input"]), trust)
    yield from network_cases()


def mutations(case: VerifierCase) -> Iterator[VerifierCase]:
    """Yield the receipt with every leaf, list and object of its JSON altered, each in all ways, one at a time."""
    shown = json.loads(case.receipt)
    for path, value in walk(shown):
        for number, other in enumerate(alternatives(value)):
            yield case.of(f"{render(path)} #{number}", encode(put(shown, path, other)))
        if isinstance(value, dict):
            yield from _members(case, shown, path, value)


def byte_flips(case: VerifierCase, *, every: int) -> Iterator[VerifierCase]:
    """Yield the receipt with one bit flipped in each `every`-th byte of its byte strings."""
    shown, count = json.loads(case.receipt), 0
    for path, value in walk(shown):
        raw, write = as_bytes(value)
        for at in range(len(raw)):
            count += 1
            if count % every == 0:
                flipped = write(flip(raw, at, bit=count % 8))
                yield case.of(f"{render(path)} byte {at}", encode(put(shown, path, flipped)))


def text_flips(case: VerifierCase, *, every: int) -> Iterator[VerifierCase]:
    """Yield the receipt with one bit flipped in each `every`-th byte of its text."""
    for at in range(0, len(case.receipt), every):
        yield case.of(f"text byte {at}", flip(case.receipt, at, bit=at % 8))


def tangles(cases: Sequence[VerifierCase], *, count: int, seed: int) -> Iterator[VerifierCase]:
    """Yield receipts with two to six changes at random, among them parts of the other cases' receipts."""
    chance = random.Random(seed)
    shown = [json.loads(case.receipt) for case in cases]
    for number in range(count):
        at = chance.randrange(len(cases))
        value = shown[at]
        for _ in range(chance.randrange(2, 7)):
            value = _tangle(value, chance.choice(shown), chance)
        yield cases[at].of(f"tangle {number} of seed {seed}", encode(value))


def _tangle(value: Json, other: Json, chance: random.Random) -> Json:
    """Change one part: a bit, the same place of another receipt, two parts for each other, or any other value."""
    places = list(walk(value))
    path, part = chance.choice(places)
    kind = chance.randrange(16)
    if kind <= 6:
        return put(value, path, _flipped(part, chance))
    if kind <= 11:
        return put(value, path, dict(walk(other)).get(path, part))
    if kind <= 13:
        alike = [place for place, found in places if type(found) is type(part) and not _overlap(place, path)]
        second = chance.choice(alike or [path])
        swapped = put(value, path, dict(places)[second])
        return put(swapped, second, part) if second != path else value
    if kind == 14 and isinstance(part, list) and part:
        again = [*part, chance.choice(part)]
        return put(value, path, chance.sample(again, chance.randrange(len(again))))
    return put(value, path, chance.choice(alternatives(part)))


def _overlap(one: tuple[str | int, ...], two: tuple[str | int, ...]) -> bool:
    return one[: len(two)] == two[: len(one)]


def _flipped(part: Json, chance: random.Random) -> Json:
    raw, write = as_bytes(part)
    if not raw:
        return part + chance.choice((-1, 1)) if type(part) is int else part
    return write(flip(raw, chance.randrange(len(raw)), bit=chance.randrange(8)))


def flip(raw: bytes, at: int, *, bit: int) -> bytes:
    """Return the bytes with one bit of byte `at` flipped."""
    return raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :]


def walk(value: Json, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Json]]:
    """Yield (path, value) of every part of a JSON value, the whole first."""
    yield path, value
    if isinstance(value, dict | list):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for name, each in parts:
            yield from walk(each, (*path, name))


def put(value: Json, path: tuple[str | int, ...], other: Json) -> Json:
    """Return a copy of a JSON value with another part at `path`."""
    if not path:
        return other
    copied = copy.copy(value)
    copied[path[0]] = put(value[path[0]], path[1:], other)
    return copied


def render(path: tuple[str | int, ...]) -> str:
    """Render a path as an RFC 6901 pointer."""
    return "".join(f"/{each}" for each in path) or "/"


def alternatives(value: Json) -> list[Json]:
    """Return other values for a part: of its own kind, one step off, and of other kinds."""
    kinds: list[Json] = [None, True, 0, 1, "", "x", [], {}, [value], {"value": value}]
    return [each for each in [*_similar(value), *kinds] if encode(each) != encode(value)]


def _similar(value: Json) -> list[Json]:
    if isinstance(value, str):
        other = "B" if value[:1] != "B" else "C"
        ends = [other + value[1:], value[:-1] + other, value[:-1], value[1:], value + "A", value + "="]
        return [*ends, value.upper(), value.lower(), value[::-1], f" {value}", f"{value}\u0301"]
    if isinstance(value, int):
        return [value + 1, value - 1, -value, 2 * value + 1, 2**32, 2**53 - 1, 2**53, 2**64, str(value)]
    if isinstance(value, list):
        return [value[1:], value[:-1], value[::-1], value + value[-1:], [*value, "AAAA"], value + value]
    return []


def _members(
    case: VerifierCase, shown: Json, path: tuple[str | int, ...], value: dict[str, Json]
) -> Iterator[VerifierCase]:
    for name in value:
        without = {key: each for key, each in value.items() if key != name}
        yield case.of(f"{render((*path, name))} left out", encode(put(shown, path, without)))
        renamed = {key if key != name else f"{name}2": each for key, each in value.items()}
        yield case.of(f"{render((*path, name))} renamed", encode(put(shown, path, renamed)))
        mark = "\x7f"
        twice = encode(put(shown, path, {**value, mark: value[name]})).decode()
        key = json.dumps(name)
        yield case.of(f"{render((*path, name))} twice", twice.replace(json.dumps(mark), key).encode())
    yield case.of(f"{render(path)} with a member more", encode(put(shown, path, {**value, "more": 1})))


def as_bytes(value: Json) -> tuple[bytes, Callable[[bytes], str]]:
    """Return the bytes that a text stands for, and how they are written; none for other values."""
    if isinstance(value, str) and value.startswith("0x"):
        with suppress(ValueError):
            return bytes.fromhex(value[2:]), lambda raw: "0x" + raw.hex()
    if isinstance(value, str) and len(value) > 20:
        with suppress(Base64urlMalformed):
            return parse_base64url(value), render_base64url
    return b"", lambda raw: ""
