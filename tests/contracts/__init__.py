"""Tests of the contracts: what runs on a chain in JavaScript, the build and the golden files in Python."""
