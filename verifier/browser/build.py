"""Bundles the page `verify.html` from the modules beside it, reproducibly.

`python -m verifier.browser.build` writes; `--check` builds again, compares with the committed file and exits 1 if
they differ. The bundler is esbuild, pinned in package-lock.json. Imports nothing of this project but its package.
"""

import argparse
import base64
import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from verifier.browser import PAGE_NAME

HERE: Final = Path(__file__).resolve().parent
ESBUILD: Final = HERE.parents[1] / "node_modules" / ".bin" / "esbuild"
OPTIONS: Final = (
    *("--bundle", "--minify", "--format=esm", "--target=es2023", "--charset=utf8"),
    # The libraries' licences ask for their notices; file names would differ with where node_modules is.
    *("--legal-comments=inline", "--log-level=warning"),
)
# Nothing but the page's own script and style runs, and no connection of any kind is opened.
_POLICY: Final = (
    "default-src 'none'; script-src '{script}'; style-src '{style}'; base-uri 'none'; form-action 'none'; "
    "require-trusted-types-for 'script'"
)


class BuildError(Exception):
    """The page cannot be built; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Build, or with `--check` compare; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m verifier.browser.build", description="Build the page.")
    parser.add_argument("--check", action="store_true", help="compare with the committed page, write nothing")
    check = parser.parse_args(arguments).check
    try:
        built = build()
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    target = HERE / PAGE_NAME
    if not check:
        target.write_bytes(built)
    elif not target.is_file() or target.read_bytes() != built:
        print(f"error: {PAGE_NAME} is not what its modules build to", file=sys.stderr)
        print("hint: run `python -m verifier.browser.build` and commit the result", file=sys.stderr)
        return 1
    return 0


def build() -> bytes:
    """Bundle and return the page.

    Raises:
        BuildError: the bundler is missing, or refuses the modules.
    """
    script, style = _bundle("page.mjs"), _bundle("page.css")
    policy = _POLICY.format(script=_digest(script), style=_digest(style))
    page = (HERE / "page" / "page.html").read_text("utf-8")
    for name, text in {"policy": policy, "style": style, "script": script}.items():
        page = page.replace("{{" + name + "}}", text)
    return page.encode()


def _bundle(name: str) -> str:
    try:
        ran = subprocess.run(  # noqa: S603 - fixed arguments
            [str(ESBUILD), f"page/{name}", *OPTIONS], cwd=HERE, capture_output=True, text=True, check=False
        )
    except OSError:
        raise BuildError("esbuild is not there; run `npm ci`") from None
    if ran.returncode:
        raise BuildError(f"esbuild refuses {name}: {ran.stderr.strip()}")
    return ran.stdout


def _digest(text: str) -> str:
    """Return the source expression of an inline text (CSP level 3 §2.3.1)."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


if __name__ == "__main__":
    sys.exit(main())
