"""One catalogue entry as the demonstration publishes it. Imports nothing of the project."""

import json
from dataclasses import dataclass
from typing import Any

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """An entry to publish: its kind and code (the key on chain) and its body."""

    kind: str
    code: str
    entry: Entry

    def as_line(self) -> str:
        """Render the JSON line that `POST /v1/catalog/imports` takes."""
        return json.dumps({"kind": self.kind, "code": self.code, "entry": self.entry}, ensure_ascii=False)


def named(zh: str, en: str) -> dict[str, str]:
    """Return a text in both languages, as entries hold it."""
    return {"zh": zh, "en": en}
