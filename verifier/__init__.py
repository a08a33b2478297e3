"""Answers whether a document may be used again: index, catalogue, verdicts, decisions, receipts, proofs."""
