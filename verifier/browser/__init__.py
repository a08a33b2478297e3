"""The browser's verifier: ES modules, and the page that is built from them (docs/reference/verifier-protocol.md).

Python only hands the page out; `cli.mjs` runs the same modules in Node. Imports nothing of this project.
"""

from functools import cache
from importlib.resources import files
from typing import Final

PAGE_NAME: Final = "verify.html"
_POLICY: Final = b'http-equiv="Content-Security-Policy" content="'


@cache
def page() -> bytes:
    """Return the page: one HTML file that needs nothing else and connects to nothing."""
    return files(__name__).joinpath(PAGE_NAME).read_bytes()


@cache
def page_policy() -> str:
    """Return the Content-Security-Policy that the page carries, for a server to send as a header too."""
    return page().partition(_POLICY)[2].partition(b'"')[0].decode("ascii")
