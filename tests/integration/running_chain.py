"""A real embedded chain as a process, with the contracts on it and members admitted, for tests that need one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from anchor.chain.deploy import CouncilActs, Deployment, Profile, Role, deploy
from anchor.chain.gateway import Gateway
from anchor.records import Stream
from anchor.signer import Signer
from node.chainserver import ChainProcess, start_chain_process

COUNCIL = Signer.from_key(b"\x07" * 32)
HPKE_KEY = b"\x05" * 1216


@dataclass
class RunningChain:
    """A chain server, the gateway to it, and what is deployed on it."""

    server: ChainProcess
    gateway: Gateway
    deployment: Deployment
    folder: Path

    @property
    def acts(self) -> CouncilActs:
        """Act as the council."""
        return CouncilActs(self.gateway, COUNCIL, self.deployment)

    def admit(self, member_id: int, role: Role = Role.DISTRICT) -> Signer:
        """Admit a member with a key of its own."""
        signer = Signer.generate()
        self.acts.admit_member(member_id, profile_of(signer, role))
        return signer

    def restart(self) -> None:
        """Start the server again on the same port."""
        port = int(self.server.rpc.rsplit(":", 1)[1])
        self.server = start_chain_process(self.folder, port=port)


def profile_of(signer: Signer, role: Role = Role.DISTRICT) -> Profile:
    """Make the profile of a member of no particular kind."""
    uscc, endpoint = "11310115002423112X", "http://127.0.0.1:9"
    return Profile(signer.address, role, 3, 310115, uscc, 1, 0, "test member", endpoint, HPKE_KEY)


@contextmanager
def running_chain(folder: Path) -> Iterator[RunningChain]:
    """Create and start a chain in `folder`, deploy, and stop it at the end."""
    server = start_chain_process(folder, create=True)
    gateway = Gateway(server.rpc)
    chain = RunningChain(server, gateway, deploy(gateway, COUNCIL), folder)
    try:
        yield chain
    finally:
        gateway.close()
        chain.server.stop()


def random_record(stream: Stream = Stream.MATERIAL, domain: int = 1, epoch: int = 1) -> bytes:
    """Make a record that the Ledger takes: random commitment, random masked part."""
    head = domain.to_bytes(2) + epoch.to_bytes(2) + b"\x00" + bytes([stream])
    return os.urandom(32) + head + os.urandom(58)
