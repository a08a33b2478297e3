"""Keccak-256, Ethereum's hash: SHA-3 with the padding of before FIPS 202 (Yellow Paper appendix "Keccak").

In C and without anything around it: the hash that comes with eth-account takes ten times as long for a short input,
all of it for making its object, and a receipt asks for thirty. Imports nothing of the project.
"""

from sha3 import keccak_256


def keccak(data: bytes) -> bytes:
    """Return the 32-byte Keccak-256 of `data`."""
    return keccak_256(data).digest()  # type: ignore[no-any-return]
