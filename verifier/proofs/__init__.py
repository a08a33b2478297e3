"""Proofs that need no chain, clock or store: bytes in, nothing out or a `ProofError`."""
