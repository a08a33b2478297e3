"""Write docs/reference/http-api.md from the routes themselves: `python -m node.http.reference [--check]`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "http-api.md"
HEAD = """# HTTP API

Every operation of a node, with an example of what it takes and answers. Conventions that hold for all of them (keys,
scopes, idempotency, pages, times, errors): [http-conventions](http-conventions.md); error codes:
[problems](problems.md). The same description for programs is at `/openapi.json`. This page is written by
`python -m node.http.reference`.
"""


def operations(routers: Sequence[APIRouter]) -> Iterator[tuple[str, APIRoute]]:
    """Yield method and route of every operation, in the order of the routers."""
    for router in routers:
        for route in router.routes:
            if isinstance(route, APIRoute):
                for method in sorted(route.methods or ()):
                    yield method, route


def render_page(routers: Sequence[APIRouter]) -> str:
    """Render the page; the order is that of the routes."""
    return HEAD + "".join(_render(method, route) for method, route in operations(routers))


def _render(method: str, route: APIRoute) -> str:
    lines = [f"\n## {method} {route.path}\n", f"\n{route.summary}. {_sentence(route.description)}\n"]
    extra = route.openapi_extra or {}
    request = extra.get("requestBody", {}).get("content", {})
    for media_type, content in request.items():
        lines.append(f"\nTakes `{media_type}`:\n\n{_block(content['example'])}")
    headers = [f"`{one['name']}`: {one['description']}" for one in extra.get("parameters", ())]
    lines += [f"\nNeeds the header {text}.\n" for text in headers]
    for status, response in extra.get("responses", {}).items():
        for media_type, content in response["content"].items():
            if "example" in content:
                lines.append(f"\nAnswers {status} `{media_type}`:\n\n{_block(content['example'])}")
            else:
                lines.append(f"\nAnswers {status} `{media_type}` too: {response['description']}.\n")
    return "".join(lines)


def _sentence(description: str) -> str:
    return " ".join(description.split())


def _block(example: Any) -> str:
    text = example if isinstance(example, str) else json.dumps(example, ensure_ascii=False, indent=1)
    return f"```\n{text.strip()}\n```\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or with --check say whether it is up to date."""
    from node.runtime import ROUTERS

    page = render_page(ROUTERS)
    if "--check" in (sys.argv[1:] if arguments is None else arguments):
        return 0 if PAGE.read_text("utf-8") == page else 1
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
