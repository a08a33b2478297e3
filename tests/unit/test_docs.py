"""An operation, a setting of a node, or a link that is not in the documentation fails the build."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from node.config import NodeConfig
from node.http import reference

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("docs/**/*.md"), ROOT / "README.md", ROOT / "ARCHITECTURE.md"])


def test_the_page_of_the_api_is_what_the_routes_say() -> None:
    assert reference.main(["--check"]) == 0, "run `python -m node.http.reference`"


def test_every_operation_has_a_summary_a_sentence_and_an_example() -> None:
    from node.runtime import ROUTERS

    for method, route in reference.operations(ROUTERS):
        assert route.summary, f"{method} {route.path}"
        assert route.description, f"{method} {route.path}"
        assert (route.openapi_extra or {}).get("responses"), f"{method} {route.path} has no example"


@pytest.mark.parametrize("name", list(NodeConfig.model_fields))
def test_every_setting_of_a_node_stands_on_the_page_with_its_meaning(name: str) -> None:
    page = (ROOT / "docs/reference/settings.md").read_text("utf-8")
    (row,) = [
        line for line in page.splitlines() if line.startswith(f"| `{name}` | `DELTASEAL_NODE_{name.upper()}`")
    ]
    assert str(NodeConfig.model_fields[name].description) in row


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
