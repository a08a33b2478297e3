"""The same targets under atheris, which looks for inputs that reach new code.

`python -m tests.fuzz.guided TARGET RUNS`. Golden inputs are the corpus. libFuzzer ends the process with another code
than 0 at the first finding, and prints how many inputs it ran.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

# Instrumented as they are imported, so that the fuzzer sees which lines an input reaches.
with atheris.instrument_imports(include=["anchor", "verifier", "node", "cli"], enable_loader_override=False):
    from tests.fuzz.targets import target, try_one


def main(name: str, runs: int) -> None:
    """Fuzz one target."""
    one = target(name)
    with tempfile.TemporaryDirectory(prefix="guided-") as folder:
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        for number, content in enumerate(one.corpus):
            (corpus / str(number)).write_bytes(content)
        options = [
            *(f"-runs={runs}", "-seed=1", "-timeout=30", "-rss_limit_mb=4096", "-max_len=32768"),
            f"-artifact_prefix={folder}/",
            str(corpus),
        ]
        atheris.Setup([sys.argv[0], *options], lambda content: try_one(one, content) and None)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
