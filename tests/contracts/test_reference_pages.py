"""docs/reference/contracts.md names every function, event and error of the contracts, and only those."""

import json
import re
from pathlib import Path

import pytest

from contracts import load_artifact

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "contracts.md").read_text("utf-8")
OURS = ("Directory", "Members", "Ledger", "Catalog", "ReceiptVerifier")
# What OpenZeppelin's AccessManaged adds to each contract is described there.
INHERITED = {
    "authority",
    "setAuthority",
    "isConsumingScheduledOp",
    "AuthorityUpdated",
    "AccessManagedUnauthorized",
    "AccessManagedRequiredDelay",
    "AccessManagedInvalidAuthority",
}


def names(contract: str) -> set[str]:
    return {item["name"] for item in load_artifact(contract).abi if "name" in item} - INHERITED


def documented() -> set[str]:
    """Return the names that the page sets as code, without their arguments."""
    return {match[1] for match in re.finditer(r"`(\w+)(?:\([^`]*\))?`", PAGE)}


@pytest.mark.parametrize("contract", OURS)
def test_every_function_event_and_error_is_on_the_page(contract: str) -> None:
    assert names(contract) - documented() == set()


def test_the_page_names_no_error_that_does_not_exist() -> None:
    prefixed = {
        name
        for name in documented()
        if re.match(r"(Directory|Members|Ledger|Catalog|Records|ReceiptVerifier)\w+", name)
    }
    assert prefixed - {name for contract in OURS for name in names(contract)} == set()


def test_the_page_quotes_the_measured_gas() -> None:
    append = json.loads((ROOT / "contracts" / "gas.json").read_text("utf-8"))["append"]
    for size in ("1", "256", "512"):
        assert f"{append[size]:,} for" in PAGE
