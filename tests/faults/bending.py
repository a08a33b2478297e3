"""Has a node of the network run on a machine that can be bent, and counts what it told."""

from __future__ import annotations

import hashlib
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from cli.demo.network import DemoNode
from tests.e2e.papers import Raw, fresh_file, meta_of
from tests.faults.test_dependency_faults import until

READ = {"deltaseal-purpose": "test", "deltaseal-case": "C-1"}


@dataclass
class Bent:
    """A node, the folder that bends its machine, a client, and the SHA-256 of every file that it answered with 201."""

    node: DemoNode
    folder: Path
    client: Raw
    told: dict[str, str] = field(default_factory=dict)

    def set(self, name: str, value: int | None) -> None:
        """Bend one thing, or None: as it really is."""
        path = self.folder / name
        if value is None:
            path.unlink(missing_ok=True)
        else:
            draft = path.with_suffix(".new")
            draft.write_text(str(value))
            draft.replace(path)

    def part(self, name: str) -> str:
        """Return the state of a part at `/readyz`."""
        parts = httpx.get(self.client.url + "/readyz", trust_env=False, timeout=30).json()["parts"]
        return str(parts[name])

    def push(self, size: int = 2000, *, wait: str | None = None, key: str | None = None) -> httpx.Response:
        """Push a fresh file, and remember it if it was taken."""
        file = fresh_file(size)
        answer = self.client.push(file, meta_of(file, caseNo="BENT-1"), wait=wait, key=key)
        if answer.status_code == 201:
            self.told[answer.json()["materialId"]] = file.sha256
        return answer

    def try_push(self, size: int = 2000) -> int:
        """Return the status, 0 when the connection was lost."""
        try:
            return self.push(size).status_code
        except httpx.HTTPError:
            return 0

    def bring_back(self) -> None:
        """Start the node again if it has ended or its store takes no more."""
        if not self.node.part.running or not self._takes_more():
            self.node.part.kill()
            self.node.restart()

    def _takes_more(self) -> bool:
        try:
            return self.part("store") == "ok"
        except httpx.HTTPError:
            # Ended, or stuck: the watchdog ends it.
            self.node.part.wait_for(lambda: None if self.node.part.running else True, "it goes on, stuck")
            return False

    def assert_all_there(self) -> None:
        """Read back every file that was answered with 201, and wait until its record is final."""
        for name, sha256 in self.told.items():
            content = self.client.http.get(f"/v1/materials/{name}/content", headers=READ)
            assert content.status_code == 200, content.text
            assert hashlib.sha256(content.content).hexdigest() == sha256
        until(lambda: all(map(self._is_final, self.told)), "all are final")

    def _is_final(self, name: str) -> bool:
        anchor: dict[str, Any] = self.client.get(f"/v1/materials/{name}").json()["anchor"]
        return bool(anchor["status"] == "final")

    @contextmanager
    def limited(self, kind: int, value: int) -> Iterator[None]:
        """Set a soft limit of the running process for a while."""
        pid = self.node.part.pid
        soft, hard = resource.prlimit(pid, kind)
        resource.prlimit(pid, kind, (value, hard))
        try:
            yield
        finally:
            if self.node.part.running:
                resource.prlimit(pid, kind, (soft, hard))


@contextmanager
def bent(node: DemoNode, folder: Path, client: Raw) -> Iterator[Bent]:
    """Start the node again under `tests.faults.bent_node`; afterwards as it was."""
    argv = list(node.part.argv)
    place = argv.index("node")
    node.part.stop()
    node.part.argv[place : place + 1] = ["tests.faults.bent_node", str(folder)]
    node.restart()
    try:
        yield Bent(node, folder, client)
    finally:
        node.part.stop()
        node.part.argv[:] = argv
        node.restart()
