"""Gates of `make check` that no linter covers: licences, lock files, stray addresses, import names of dependencies.

Run as `python -m tests.gates`; prints one line a gate and exits 1 with what is wrong.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
OUR_NAMES = {"contracts", "node", "anchor", "verifier", "cli"}
FORBIDDEN_LICENCE = re.compile(r"\b(A?GPL|GNU (Affero )?General Public)", re.IGNORECASE)
LESSER = re.compile(r"LGPL|Lesser", re.IGNORECASE)
ADDRESS = re.compile(r"index-url|find-links|^registry *=|\"resolved\": *\"https?:", re.MULTILINE)


def pinned_names(path: Path) -> set[str]:
    """Return the distribution names that a requirements file pins."""
    return {
        match[1].lower().replace("_", "-")
        for match in re.finditer(r"^([A-Za-z0-9_.-]+)==", path.read_text(), re.M)
    }


def licence_of(distribution: importlib.metadata.Distribution) -> str:
    """Return what a distribution says of its licence: the expression, else its classifiers, else the field."""
    meta = distribution.metadata
    expression = meta.get("License-Expression")
    if expression:
        return str(expression)
    classifiers = [line for line in meta.get_all("Classifier") or [] if line.startswith("License ::")]
    return "; ".join(classifiers) or str(meta.get("License") or "").splitlines()[0:1].__str__()


def check_licences() -> Iterator[str]:
    """No GPL or AGPL package may run in a node; LGPL libraries are used unmodified through their interface."""
    for name in sorted(pinned_names(ROOT / "requirements.txt")):
        try:
            licence = licence_of(importlib.metadata.distribution(name))
        except importlib.metadata.PackageNotFoundError:
            continue  # pinned for another Python version
        if FORBIDDEN_LICENCE.search(licence) and not LESSER.search(licence):
            yield f"{name} is under {licence}"


def check_import_names() -> Iterator[str]:
    """No pinned dependency may install a package that this project's own names would hide."""
    taken = importlib.metadata.packages_distributions()
    for name in sorted(OUR_NAMES):
        owners = set(taken.get(name, [])) - {"deltaseal"}
        if owners:
            yield f"{name} is also installed by {', '.join(sorted(owners))}"


def check_lock_files() -> Iterator[str]:
    """Lock files carry versions and hashes, never the address of a registry."""
    for name in (
        "requirements.txt",
        "requirements-dev.txt",
        "package-lock.json",
        "pyproject.toml",
        "Makefile",
    ):
        if ADDRESS.search((ROOT / name).read_text()):
            yield f"{name} holds the address of a package index"
    lock = json.loads((ROOT / "package-lock.json").read_text())
    for package, facts in lock["packages"].items():
        if package and not facts.get("integrity"):
            yield f"package-lock.json: {package} has no hash"


def check_paths() -> Iterator[str]:
    """No file names a folder of the machine it was written on."""
    found = subprocess.run(
        ["git", "grep", "-nIE", r"(^|[^A-Za-z0-9_.])/(wo" r"rk|ro" r"ot|ho" r"me)/[a-z]", "--", ":!*.lock"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    yield from found.stdout.splitlines()


GATES = (check_licences, check_import_names, check_lock_files, check_paths)


def main() -> int:
    """Run all gates."""
    failed = 0
    for gate in GATES:
        problems = list(gate())
        print(f"{gate.__name__.removeprefix('check_'):<14} {'FAILED' if problems else 'ok'}")
        for problem in problems:
            print(f"  {problem}")
        failed += bool(problems)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
