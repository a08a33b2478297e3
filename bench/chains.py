"""Chains to measure on, and the floor of anchoring: raw full batches, kept in flight without storing anything."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from anchor.chain.contracts import encode_call, gas_for_append
from anchor.chain.deploy import CouncilActs, Deployment, Profile, Role, deploy
from anchor.chain.gateway import Gateway, SendOutcome
from anchor.commitments import Commitment
from anchor.errors import EngineMissing
from anchor.records import RECORD_BYTES, Flag, MaterialRecord, Stream, encode_record
from anchor.signer import Signer
from anchor.tags import ZERO_TAG, DomainKeys, derive_domain_keys
from cli.consortium.geth import find_geth
from cli.consortium.network import open_signers
from node.chainserver import start_chain_process

FULL_BATCH = 512
WINDOW = 64
DEADLINE_S = 900.0
STATE_S = 5.0
_POLL_S = 0.002
_HPKE_BYTES = 1216


class ChainStuck(Exception):
    """The chain did not mine what it took; the figure cannot be measured."""


@dataclass(slots=True)
class RawSender:
    """A member's account that appends without a store: the floor that the outbox is compared with."""

    gateway: Gateway
    deployment: Deployment
    signer: Signer
    member_id: int
    sequence: int = 0
    window: int = WINDOW

    def append(self, records: Sequence[bytes], *, batch: int = FULL_BATCH) -> float:
        """Append in batches, `window` in flight; return the seconds until the last one is mined."""
        started = time.perf_counter()
        nonce = first = self.gateway.nonce(self.signer.address)
        mined = first
        source = iter(records)
        while part := list(islice(source, batch)):
            while nonce - mined >= self.window:
                mined = self._wait(mined + 1, started)
            self._send(part, nonce)
            nonce += 1
        self._wait(nonce, started)
        seconds = time.perf_counter() - started
        self._require_appended()
        return seconds

    def _send(self, part: Sequence[bytes], nonce: int) -> None:
        calldata = encode_call("Ledger", "append", int(Stream.MATERIAL), self.sequence, b"".join(part))
        signed = self.signer.sign_transaction(
            chain_id=self.deployment.chain_id,
            nonce=nonce,
            to=self.deployment.ledger,
            calldata=calldata,
            gas=gas_for_append(len(part)),
        )
        outcome = self.gateway.send_raw(signed.raw)
        if outcome is not SendOutcome.ACCEPTED:
            raise ChainStuck(f"the chain did not take a transaction: {outcome}")
        self.sequence += 1

    def _require_appended(self) -> None:
        """A transaction that was reverted is mined too, and fast; it must not make a figure."""
        nonces_known = time.perf_counter()
        while (found := self._appended()) != self.sequence:
            # anvil counts a block's nonces a moment before a call sees its state: once in 7,000 looks, by five
            # appends, asked directly. Through the chain's own server nobody reads while a block is made.
            if time.perf_counter() - nonces_known > STATE_S:
                raise ChainStuck(f"appends were reverted after {found} of {self.sequence}")
            time.sleep(_POLL_S)

    def _appended(self) -> int:
        call = encode_call("Ledger", "nextSeq", self.member_id)
        return int.from_bytes(self.gateway.call(self.deployment.ledger, call))

    def _wait(self, goal: int, started: float) -> int:
        while (mined := self.gateway.nonce(self.signer.address)) < goal:
            if time.perf_counter() - started > DEADLINE_S:
                raise ChainStuck("transactions stay unmined")
            time.sleep(_POLL_S)
        return mined


@dataclass(frozen=True, slots=True)
class BareChain:
    """A chain with the contracts and nobody on it."""

    gateway: Gateway
    deployment: Deployment
    council: CouncilActs
    rpc: str
    engine: str = "embedded"

    def admit(self, member_id: int) -> RawSender:
        """Admit a member with an account of its own."""
        return admit_sender(self.gateway, self.deployment, self.council, member_id)


def admit_sender(gateway: Gateway, deployment: Deployment, council: CouncilActs, member_id: int) -> RawSender:
    """Admit a member that has an account and no node."""
    signer = Signer.generate()
    council.admit_member(
        member_id,
        Profile(
            account=signer.address,
            role=Role.DISTRICT,
            level=2,
            area=310115,
            uscc="12310115FAKE001287",
            valid_from=0,
            valid_until=0,
            name="bench",
            endpoint="http://127.0.0.1:9",
            hpke_key=os.urandom(_HPKE_BYTES),
        ),
    )
    return RawSender(gateway, deployment, signer, member_id)


StartChain: TypeAlias = Callable[[Path], AbstractContextManager[BareChain]]


@contextmanager
def bare_chain(folder: Path) -> Iterator[BareChain]:
    """Start an embedded chain in `folder`, deploy, and stop it at the end."""
    process = start_chain_process(folder, create=True)
    try:
        with _deployed(process.rpc, "embedded") as chain:
            yield chain
    finally:
        process.stop()


@contextmanager
def clique_chain(folder: Path) -> Iterator[BareChain]:
    """Start one go-ethereum signer in `folder`, deploy, and stop it at the end.

    Raises:
        EngineMissing: there is no geth 1.13.
    """
    program = find_geth()
    with (
        open_signers(folder, signers=1, program=program) as group,
        _deployed(group.signers[0].made.rpc, "clique") as chain,
    ):
        yield chain


def engines() -> Iterator[tuple[str, StartChain]]:
    """Yield the name and the start of each engine that is here; without go-ethereum 1.13 say so on stderr."""
    yield "embedded", bare_chain
    try:
        find_geth()
    except EngineMissing as missing:
        print(f"no figures of geth: {missing}", file=sys.stderr)
        return
    yield "geth", clique_chain


@contextmanager
def _deployed(rpc: str, engine: str) -> Iterator[BareChain]:
    gateway = Gateway(rpc, timeout_s=60.0)
    try:
        council = Signer.generate()
        deployment = deploy(gateway, council)
        yield BareChain(gateway, deployment, CouncilActs(gateway, council, deployment), rpc, engine)
    finally:
        gateway.close()


def bench_keys() -> DomainKeys:
    """Return the keys under which records of the bare chains are masked."""
    return derive_domain_keys(1, 1, b"b" * 32)


def document_digest(number: int) -> bytes:
    """Return the SHA-256 of the `number`-th document that exists in figures only."""
    return hashlib.sha256(b"bench document %d" % number).digest()


def document_records(keys: DomainKeys, first: int, last: int) -> list[bytes]:
    """Return records of documents first..last − 1, found by their digests and by nothing else."""
    return [document_record(keys, document_digest(number)) for number in range(first, last)]


def document_record(keys: DomainKeys, digest: bytes, *, subject_tag: bytes = b"") -> bytes:
    """Return the masked record of a document, under a fresh random commitment."""
    record = MaterialRecord(
        Commitment(os.urandom(32)),
        keys.domain,
        keys.epoch,
        0,
        subject_tag or keys.subject_tag("900", digest.hex(), "bench"),  # type: ignore[arg-type]
        keys.content_tag(digest),
        ZERO_TAG,
        date(2026, 1, 2),
        None,
        Flag.NONE,
    )
    return encode_record(record, keys)


def random_records(count: int, keys: DomainKeys) -> list[bytes]:
    """Return records that no key opens but the Ledger takes: all but their frame is random."""
    frame = keys.domain.to_bytes(2) + keys.epoch.to_bytes(2) + b"\x00" + bytes([Stream.MATERIAL])
    return [os.urandom(32) + frame + os.urandom(RECORD_BYTES - 38) for _ in range(count)]
