"""Measures the product beside its physical limits: each figure is a ratio to a peer measured in the same run.

`python -m bench` prints one table; `python -m bench.<name>` one figure. What the figures mean and what limits
them: docs/explanation/performance.md. Nothing of the product may import this package.
"""
