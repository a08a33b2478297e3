"""Changes settings of a running node for a while."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from cli.demo.network import DemoNode


@contextmanager
def set_settings(node: DemoNode, **changes: object) -> Iterator[None]:
    """Start the node again with other settings; afterwards once more with those it had."""
    path = node.folder / "deltaseal.toml"
    before = path.read_text()
    kept = [line for line in before.splitlines() if line.split(" =")[0] not in changes]
    changed = [f"{name} = {_toml(value)}" for name, value in changes.items()]
    path.write_text("\n".join([*kept, *changed]) + "\n")
    node.part.stop()
    node.restart()
    try:
        yield
    finally:
        path.write_text(before)
        node.part.stop()
        node.restart()


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml(one)}" for name, one in value.items()) + " }"
    return json.dumps(value)
