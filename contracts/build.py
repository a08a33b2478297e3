"""Compiles the contracts into `contracts/artifacts/*.json` and `contracts/layout.json`, reproducibly.

`python -m contracts.build` writes; `--check` builds again, compares with the committed files and exits 1 with
their names. Imports nothing of this project but the list of artifacts. The compiler is npm `solc`, reached
through py-solc-x and `contracts/solc-wrapper`; its version and settings stand in `contracts/compiler.json`,
which Hardhat reads too. Spec: docs/reference/contracts.md, "Building".
"""

import argparse
import json
import os
import posixpath
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from solcx import compile_standard
from solcx.exceptions import SolcError
from solcx.wrapper import get_solc_version

from contracts import ARTIFACT_NAMES

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent
SOLC: Final = HERE / "solc-wrapper"
IMPORT: Final = re.compile(r'^import\s[^"]*"([^"]+)";', re.MULTILINE)
# `Directory.at` is part of the interface; solc warns that a later language may reserve the word.
ACCEPTED_WARNINGS: Final = frozenset({"6335"})
OUTPUTS: Final = (
    "abi",
    "evm.bytecode.object",
    "evm.deployedBytecode.object",
    "evm.deployedBytecode.immutableReferences",
    "storageLayout",
)


class BuildError(Exception):
    """The contracts cannot be built; the message says which file or setting is at fault."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, or with `--check` compare; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m contracts.build", description="Compile the contracts.")
    parser.add_argument(
        "--check", action="store_true", help="compare with the committed files, write nothing"
    )
    check = parser.parse_args(arguments).check
    try:
        built = build()
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not check:
        save(built)
        return 0
    stale = stale_files(built)
    for path in stale:
        print(f"error: {path.relative_to(ROOT)} is not what its sources compile to", file=sys.stderr)
    if stale:
        print("hint: run `python -m contracts.build` and commit the result", file=sys.stderr)
    return 1 if stale else 0


def build() -> dict[Path, str]:
    """Compile everything; return the text of each generated file by path.

    Raises:
        BuildError: A source or the compiler is missing, or the compiler finds an error, or a warning in ours.
    """
    compiler = json.loads((HERE / "compiler.json").read_text(encoding="utf-8"))
    contracts = _compile(compiler)
    texts = {
        HERE / "artifacts" / f"{name}.json": _render(_artifact(name, contracts[name], compiler))
        for name in ARTIFACT_NAMES
    }
    layouts = {name: _storage(contracts[name]["storageLayout"]) for name in ARTIFACT_NAMES}
    texts[HERE / "layout.json"] = _render(layouts)
    return texts


def save(built: Mapping[Path, str]) -> None:
    """Write the generated files."""
    (HERE / "artifacts").mkdir(exist_ok=True)
    for path, text in built.items():
        path.write_text(text, encoding="utf-8")


def stale_files(built: Mapping[Path, str]) -> list[Path]:
    """Name the generated files that are missing, differ, or that no contract stands behind any more."""
    differing = [
        path for path, text in built.items() if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]
    leftover = [path for path in (HERE / "artifacts").glob("*.json") if path not in built]
    return sorted(differing + leftover)


def _compile(compiler: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Run the compiler once over all sources; return its output by contract name."""
    _put_node_on_path()
    try:
        found = str(get_solc_version(SOLC))
        if found != compiler["version"]:
            raise BuildError(
                f"npm solc is {found}, compiler.json asks for {compiler['version']}; run `npm ci`"
            )
        output = compile_standard(_standard_input(compiler["settings"]), solc_binary=SOLC)
    except SolcError as error:
        raise BuildError(str(error.message)) from error
    except (OSError, ValueError) as error:
        raise BuildError(f"the compiler did not run ({error}); are Node and node_modules set up?") from error
    _refuse_warnings(output.get("errors", []))
    return {name: contract for source in output["contracts"].values() for name, contract in source.items()}


def _put_node_on_path() -> None:
    # The Node of this virtual environment comes first: the wrapper's first line asks the PATH for it.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])


def _standard_input(settings: Mapping[str, Any]) -> dict[str, Any]:
    sources = {name: {"content": text} for name, text in sorted(_sources())}
    selection = {"*": {"*": list(OUTPUTS)}}
    return {
        "language": "Solidity",
        "sources": sources,
        "settings": {**settings, "outputSelection": selection},
    }


def _sources() -> Iterator[tuple[str, str]]:
    """Yield (unit name, text) of our contracts and all they import, so the compiler reads no file itself."""
    waiting = [f"contracts/{name}.sol" for name in ARTIFACT_NAMES]
    seen: set[str] = set()
    while waiting:
        unit = waiting.pop()
        if unit in seen:
            continue
        seen.add(unit)
        text = _read_source(unit)
        yield unit, text
        waiting += [_resolve(unit, imported) for imported in IMPORT.findall(text)]


def _read_source(unit: str) -> str:
    base = ROOT / "node_modules" if unit.startswith("@") else ROOT
    try:
        return (base / unit).read_text(encoding="utf-8")
    except OSError as error:
        raise BuildError(f"source {unit} cannot be read; run `npm ci`") from error


def _resolve(unit: str, imported: str) -> str:
    """Name the unit that `imported` means inside `unit` (relative paths only look inside their own tree)."""
    if not imported.startswith("."):
        return imported
    return posixpath.normpath(posixpath.join(posixpath.split(unit)[0], imported))


def _refuse_warnings(findings: Sequence[Mapping[str, Any]]) -> None:
    in_ours = [f for f in findings if f.get("sourceLocation", {}).get("file", "").startswith("contracts/")]
    ours = [f for f in in_ours if f["errorCode"] not in ACCEPTED_WARNINGS]
    if ours:
        raise BuildError("\n".join(f["formattedMessage"] for f in ours))


def _artifact(name: str, contract: Mapping[str, Any], compiler: Mapping[str, Any]) -> dict[str, Any]:
    evm = contract["evm"]
    references = evm["deployedBytecode"]["immutableReferences"].values()
    return {
        "contractName": name,
        "abi": contract["abi"],
        "bytecode": "0x" + evm["bytecode"]["object"],
        "deployedBytecode": "0x" + evm["deployedBytecode"]["object"],
        "immutableOffsets": sorted(place["start"] for places in references for place in places),
        "storageLayout": _storage(contract["storageLayout"]),
        "solc": compiler["version"],
        "settings": compiler["settings"],
    }


def _storage(layout: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Reduce solc's layout to what a proof needs; its syntax-tree numbers would change with any source."""
    types = layout["types"] or {}
    return [
        {
            "label": variable["label"],
            "slot": int(variable["slot"]),
            "offset": variable["offset"],
            "bytes": int(types[variable["type"]]["numberOfBytes"]),
            "type": types[variable["type"]]["label"],
        }
        for variable in layout["storage"]
    ]


def _render(value: object) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())
