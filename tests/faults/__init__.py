"""Faults of what a node depends on, and of the machine under it."""
