"""A signer whose clock is wrong by an hour: the others go on without it, and its own node never lies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.consortium.network import GethSigner
from cli.demo import people
from tests.consortium.conftest import Consortium
from tests.consortium.traffic import push, require_once, wait_until
from tests.e2e.papers import LEASE, Raw
from tests.support.geth import OFFSET_VARIABLE, geth_binary, skewed_geth

# The program of a wrong clock is built from source: part of `make test-all`.
pytestmark = [pytest.mark.full, pytest.mark.timeout(1800)]
HOUR_S = 3600


@contextmanager
def _wrong_clock(consortium: Consortium, signer: GethSigner, folder: Path, offset_s: int) -> Iterator[None]:
    """Run the signer with a clock that is `offset_s` ahead, then with the right one."""
    program = folder / "geth"
    program.write_text(f'#!/bin/sh\nexport {OFFSET_VARIABLE}={offset_s}\nexec "{skewed_geth()}" "$@"\n')
    program.chmod(0o700)
    right, wrong = f"DELTASEAL_GETH={geth_binary()}", f"DELTASEAL_GETH={program}"
    argv = signer.part.argv
    signer.part.kill()
    argv[argv.index(right)] = wrong
    try:
        signer.start()
        signer.wait_ready()
        yield
    finally:
        signer.part.kill()
        argv[argv.index(wrong)] = right
        consortium.heal()


@pytest.mark.parametrize("offset_s", [HOUR_S, -HOUR_S])
def test_signer_with_a_wrong_clock_stops_nothing_and_its_node_stays_truthful(
    consortium: Consortium, tmp_path: Path, offset_s: int
) -> None:
    network, signer = consortium.network, consortium.group.signers[2]
    network.settle()
    known = push(network, people.PD, wait="final")
    network.settle()
    with _wrong_clock(consortium, signer, tmp_path, offset_s):
        pushed = [push(network, people.PD), push(network, people.XH)]
        require_once(network, people.PD, pushed[:1])
        require_once(network, people.XH, pushed[1:])
        revoked = Raw(network, people.PD).post(
            f"/v1/materials/{known['materialId']}/revoke", {"reasonCode": 1, "reason": "错误"}, wait="final"
        )
        assert revoked.status_code in (200, 202), revoked.text
        wait_until(
            lambda: _verdict(consortium, people.QP, known) in ("stale", "revoked"), "the truth or no answer"
        )
        kept = push(network, people.QP)
    require_once(network, people.QP, [kept])
    assert _verdict(consortium, people.QP, known) == "revoked"


def _verdict(consortium: Consortium, agency: people.Agency, material: dict[str, str]) -> str:
    return str(Raw(consortium.network, agency).verify(material["sha256"], typeCode=LEASE)["verdict"])
