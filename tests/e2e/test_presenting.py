"""What others are shown: a slip with a QR code, and the public page behind it, which says validity and as-of only."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from pypdf import PdfReader

from cli.demo import people
from cli.demo.network import Network
from tests.e2e.papers import FIRM, Raw, fresh_file, meta_of
from verifier.receipts import parse_receipt

AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
SUSPEND = {"reasonCode": "under_investigation", "reason": "test"}
SECRETS = ("房屋租赁合同", FIRM["id"], people.PD.uscc, "M5001", "PD-TEST-1", "TEST-")


@pytest.fixture(scope="module")
def pd(network: Network) -> Raw:
    return Raw(network, people.PD)


@pytest.fixture(scope="module")
def material(pd: Raw) -> str:
    file = fresh_file(200)
    return str(pd.push(file, meta_of(file)).json()["materialId"])


@pytest.fixture(scope="module")
def token(pd: Raw, material: str) -> dict[str, Any]:
    issued = pd.post(
        f"/v1/receipts/{material}/tokens", {"days": 30, "open": ["typeCode", "sha256", "expiresOn"]}
    )
    assert issued.status_code == 201, issued.text
    found: dict[str, Any] = issued.json()
    return found


def look(pd: Raw, path: str, **headers: str) -> httpx.Response:
    """Look at a public page as a stranger."""
    return httpx.get(pd.url + path, headers=headers, trust_env=False, timeout=60)


def test_page_says_validity_and_as_of_and_nothing_else(pd: Raw, token: dict[str, Any]) -> None:
    for lang, word in (("zh", "有效"), ("en", "Valid")):
        page = look(pd, f"/s/{token['token']}", **{"accept-language": lang})
        assert (page.status_code, page.headers["content-language"]) == (200, lang)
        assert f"<strong>{word}</strong>" in page.text
        assert re.search(r'<time datetime="\d{4}-\d\d-\d\dT', page.text)
        assert not [each for each in SECRETS if each in page.text]
        assert "<script" not in page.text
        assert "script-src" not in page.headers["content-security-policy"]
        assert page.headers["cache-control"] == "no-store"


def test_language_can_be_chosen_by_a_link(pd: Raw, token: dict[str, Any]) -> None:
    page = look(pd, f"/s/{token['token']}?lang=en", **{"accept-language": "zh"})
    assert 'lang="en"' in page.text and 'href="?lang=zh"' in page.text


def test_page_follows_what_the_custodian_does(pd: Raw) -> None:
    file = fresh_file(200)
    name = pd.push(file, meta_of(file)).json()["materialId"]
    shown = pd.post(f"/v1/receipts/{name}/tokens", {}).json()
    assert "<strong>Valid</strong>" in look(pd, f"/s/{shown['token']}?lang=en").text
    pd.post(f"/v1/materials/{name}/suspend", SUSPEND, wait="final")
    assert "<strong>Suspended</strong>" in look(pd, f"/s/{shown['token']}?lang=en").text


def test_tokens_cannot_be_guessed_and_every_dead_end_looks_alike(pd: Raw, material: str) -> None:
    made = [pd.post(f"/v1/receipts/{material}/tokens", {}).json() for _ in range(3)]
    assert len({each["token"] for each in made}) == 3
    assert all(len(each["token"]) * 6 >= 128 for each in made)
    withdrawn = made[0]
    assert pd.post(f"/v1/tokens/{withdrawn['tokenId']}/withdraw", {}).status_code == 200
    dead = [look(pd, f"/s/{each}?lang=en") for each in (withdrawn["token"], "A" * 24, withdrawn["tokenId"])]
    assert {each.status_code for each in dead} == {404}
    assert len({each.text for each in dead}) == 1
    listed = pd.get(f"/v1/receipts/{material}/tokens").json()["items"]
    assert [bool(each["withdrawnAt"]) for each in listed if each["tokenId"] == withdrawn["tokenId"]] == [True]
    assert withdrawn["token"] not in json.dumps(listed)


def test_another_agency_neither_issues_nor_withdraws(
    network: Network, material: str, token: dict[str, Any]
) -> None:
    other = Raw(network, people.XH)
    assert other.post(f"/v1/receipts/{material}/tokens", {}).status_code == 404
    same_node = Raw(
        network, next(each for each in network.nodes["PD"].member.agencies if each is not people.PD)
    )
    assert same_node.post(f"/v1/tokens/{token['tokenId']}/withdraw", {}).status_code == 404


def test_receipt_by_token_needs_a_key_and_opens_what_was_chosen(
    network: Network, pd: Raw, token: dict[str, Any]
) -> None:
    path = f"/s/{token['token']}/receipt"
    assert look(pd, path).status_code == 401
    bank = network.nodes["PD"].keys[next(iter(network.nodes["PD"].keys))]
    answer = look(pd, path, authorization=f"Bearer {bank}")
    assert answer.status_code == 200, answer.text
    receipt = parse_receipt(answer.content)
    # What was chosen, and the names of the documents' slots, without which it would prove less.
    assert {each.name for each in receipt.opening.opened} == {
        *("typeCode", "sha256", "expiresOn", "documentSlots")
    }


@pytest.mark.parametrize("body", [{"days": 0}, {"open": ["no_such"]}, {"open": ["nosuch"]}, {"more": 1}])
def test_wrong_wishes_are_refused(pd: Raw, material: str, body: dict[str, Any]) -> None:
    assert pd.post(f"/v1/receipts/{material}/tokens", body).status_code == 422


def test_slip_shows_the_opened_fields_and_leads_to_the_page(
    pd: Raw, material: str, token: dict[str, Any]
) -> None:
    answer = pd.post(f"/v1/receipts/{material}/slip", {"token": token["token"]})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/pdf")
    (page,) = PdfReader(io.BytesIO(answer.content)).pages
    text = page.extract_text().replace("\n", "")
    assert "材料核验单" in text and "M5001" in text
    assert token["url"] in text and token["url"].endswith(token["token"])
    assert FIRM["id"] not in text
    fonts = page["/Resources"]["/Font"]  # type: ignore[index]
    assert any("STSong" in str(fonts[name].get_object()["/BaseFont"]) for name in fonts)


def test_slip_of_another_token_is_refused(pd: Raw, material: str) -> None:
    file = fresh_file(200)
    other = pd.push(file, meta_of(file)).json()["materialId"]
    foreign = pd.post(f"/v1/receipts/{other}/tokens", {}).json()["token"]
    answer = pd.post(f"/v1/receipts/{material}/slip", {"token": foreign})
    assert (answer.status_code, answer.json()["code"]) == (404, "token_not_found")


def test_command_writes_a_slip_and_withdraws_its_token(
    network: Network, pd: Raw, material: str, tmp_path: Path
) -> None:
    node = network.nodes["PD"]
    known = ["--url", node.url, "--api-key-file", str(node.key_files[people.PD.key]), "-o", "json"]

    def deltaseal(*arguments: str) -> dict[str, Any]:
        argv = [sys.executable, "-m", "cli", *arguments, *known]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    made = deltaseal("receipt", "slip", material, "--to", str(tmp_path / "slip.pdf"), "--open", "typeCode")
    assert len(PdfReader(tmp_path / "slip.pdf").pages) == 1
    path = made["url"].removeprefix(node.url)
    assert look(pd, path).status_code == 200
    deltaseal("receipt", "withdraw", made["tokenId"])
    assert look(pd, path).status_code == 404


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None or not AXE.exists():
        message = "LOUD SKIP: no Chromium (or no axe-core): the status page was not looked at in a browser"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_page_is_accessible_and_works_by_keyboard_without_scripts(
    browser: Any, pd: Raw, token: dict[str, Any], lang: str
) -> None:
    plain = browser.new_context(java_script_enabled=False, locale=lang)
    page = plain.new_page()
    page.goto(f"{pd.url}/s/{token['token']}?lang={lang}")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**?lang={'en' if lang == 'zh' else 'zh'}")
    plain.close()
    # axe itself is a script, so this context may run some, past the page's own policy.
    checked = browser.new_context(bypass_csp=True)
    for path in (f"/s/{token['token']}?lang={lang}", f"/s/{'A' * 24}?lang={lang}"):
        page = checked.new_page()
        page.goto(pd.url + path)
        page.add_script_tag(path=str(AXE))
        found = page.evaluate("() => axe.run()")
        assert [each["id"] for each in found["violations"]] == []
        assert found["passes"]
    checked.close()


def test_addresses_that_ask_too_often_are_slowed(pd: Raw) -> None:
    # Together: on a slow machine a share fills up again between one and the next.
    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(lambda _: look(pd, f"/s/{'B' * 24}").status_code, range(160)))
    assert set(statuses) == {404, 429}
