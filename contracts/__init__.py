"""The compiled contracts: ABI and bytecode, as `contracts/build.py` wrote them and as a wheel carries them.

Imports nothing of this project and no compiler: a running node loads artifacts, it never builds them.
Spec: docs/reference/contracts.md.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

ARTIFACT_NAMES: Final = ("Authority", "Directory", "Members", "Ledger", "Catalog", "ReceiptVerifier")


class ArtifactNotFoundError(LookupError):
    """No artifact of this name belongs to the installation."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One compiled contract.

    `abi` is the Solidity JSON ABI; treat it as read-only, it is shared. `bytecode` is the creation code and
    `deployed_bytecode` what stands on chain after it, both 0x-prefixed hex. In the latter the 32-byte runs at
    `immutable_offsets` are zero here and hold the constructor's immutables on chain.
    """

    name: str
    abi: list[dict[str, Any]]
    bytecode: str
    deployed_bytecode: str
    immutable_offsets: tuple[int, ...]


@cache
def load_artifact(name: str) -> Artifact:
    """Load a compiled contract by name, one of `ARTIFACT_NAMES`.

    Raises:
        ArtifactNotFoundError: The name is none of ours, or the installation lacks the file.
    """
    if name not in ARTIFACT_NAMES:
        raise ArtifactNotFoundError(f"no contract of this name; there are {', '.join(ARTIFACT_NAMES)}")
    try:
        text = files(__name__).joinpath("artifacts", f"{name}.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ArtifactNotFoundError(f"the installation lacks the artifact of {name}") from None
    built = json.loads(text)
    return Artifact(
        name=built["contractName"],
        abi=built["abi"],
        bytecode=built["bytecode"],
        deployed_bytecode=built["deployedBytecode"],
        immutable_offsets=tuple(built["immutableOffsets"]),
    )
