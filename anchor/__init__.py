"""Puts materials on chain: digests, commitments, tags, records, Merkle trees, gateway, signer, outbox."""
