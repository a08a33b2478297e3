"""The page that checks receipts, in a real Chromium: from its file with the network off, and from a node."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, FilePayload, Page, expect

from cli.demo.network import Network
from tests.support.chromium import open_chromium
from tests.support.verifier_cases import AT, VerifierCase, encode, network_case, vector_cases
from tests.unit import receipt_factory as made
from verifier import browser as verifier_browser
from verifier.browser import build
from verifier.receipts import render_receipt
from verifier.trust import render_trust

PAGE = Path(verifier_browser.__file__).with_name(verifier_browser.PAGE_NAME)
AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
# Receipts of every kind of end; the whole set runs in Node, on the same modules.
SAMPLE = 4


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with open_chromium() as browser:
        yield browser


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """Open the page from its file, without a network and with nothing reported by the browser."""
    context = chromium.new_context(locale="en-GB", offline=True)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.clock.set_fixed_time(AT)
    opened.goto(PAGE.as_uri())
    yield opened
    context.close()
    assert complaints == []


def file_of(name: str, content: bytes) -> FilePayload:
    return {"name": name, "mimeType": "application/json", "buffer": content}


def choose(page: Page, case: VerifierCase) -> None:
    page.set_input_files("#receipt", file_of("receipt.json", case.receipt))
    page.set_input_files("#trust", file_of("trust.json", case.trust))


def shown(page: Page) -> tuple[str, list[tuple[str, str, str]]]:
    """Wait for the end of a check; return the verdict and (code, outcome, detail) of each check that ran."""
    expect(page.locator("#verdict")).to_have_attribute("data-verdict", re.compile("."), timeout=60_000)
    rows = page.locator("#checks li").evaluate_all(
        "items => items.map(({dataset}) => [dataset.code, dataset.outcome ?? '', dataset.detail ?? ''])"
    )
    return str(page.locator("#verdict").get_attribute("data-verdict")), [tuple(row) for row in rows]


def by_python(case: VerifierCase) -> tuple[str, list[tuple[str, str, str]]]:
    """Return what the Python verifier says, in the form of `shown`; a page reads no stamp."""
    plan, *checks, verdict = case.python_lines()
    ran = [(each["code"], each["outcome"], each["detail"]) for each in checks]
    unread = ("timestamp", "warn", "tsa_unchecked")
    ran = [unread if each[0] == "timestamp" and each[1] != "skipped" else each for each in ran]
    return verdict["verdict"], [*ran, *((code, "", "") for code in plan["checks"][len(ran) :])]


def page_cases() -> list[VerifierCase]:
    """Return vectors that the page can be asked: it judges by now, and brings no word of a chain."""
    asked = [
        each
        for each in vector_cases()
        if each.at == AT and not any(value is not None for value in each.asked.values())
    ]
    return [*asked[::SAMPLE], *asked[-2:]]


def test_vectors_end_on_the_page_as_in_python_with_the_network_off(page: Page) -> None:
    cases = page_cases()
    assert len(cases) > 15
    for case in cases:
        choose(page, case)
        page.click("#check")
        assert shown(page) == by_python(case), case.name


def test_page_compares_what_is_expected_and_the_document_itself(page: Page) -> None:
    paper = b"the paper in hand" * 100_000
    fields = {**made.FIELDS, "sha256": hashlib.sha256(paper).hexdigest(), "expiresOn": None}
    opened = render_receipt(
        made.receipt(fields, shown=("agency", "documentSlots", "expiresOn", "sha256", "subjects", "typeCode"))
    )
    choose(page, VerifierCase("", encode(opened), encode(render_trust(made.TRUST))))
    page.set_input_files("#document", file_of("paper.pdf", paper))
    page.fill("#issuer", "11310104MB2F30001T")
    page.fill("#type", "LICENCE")
    page.fill("#subject", "００１：91310115ma1k30000x")  # Full-width and lower-case letters mean the same.
    page.click("#check")
    verdict, checks = shown(page)
    assert verdict == "valid"
    assert [each[0] for each in checks[-4:]] == ["issuer", "type", "subject", "file"]
    assert "91310115MA1K30000X" in page.inner_text("#fields")
    for field, value, detail in (
        ("#type", "PERMIT", "other_type"),
        ("#subject", "001:91310115MA1K30001X", "other_subject"),
    ):
        before = page.input_value(field)
        page.fill(field, value)
        page.click("#check")
        verdict, checks = shown(page)
        assert verdict == "proof_invalid" and detail in [each[2] for each in checks]
        page.fill(field, before)
    page.set_input_files("#document", file_of("other.pdf", b"another paper"))
    page.click("#check")
    verdict, checks = shown(page)
    assert (verdict, checks[-1]) == ("proof_invalid", ("file", "fail", "other_bytes"))


def test_files_are_sorted_by_what_they_say_they_are(page: Page) -> None:
    case = network_case()
    files = [file_of("a", case.trust), file_of("b", case.receipt)]
    page.set_input_files("#any", files)
    expect(page.locator("#receipt-name")).to_have_text("b")
    expect(page.locator("#trust-name")).to_have_text("a")
    page.click("#check")
    assert shown(page)[0] == "valid"


def test_page_works_by_keyboard_alone_and_in_both_languages(page: Page) -> None:
    choose(page, network_case())
    reached = []
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.dataset.lang"))
        if reached[-1] == "check":
            break
    wanted = ["zh", "en", "any", "receipt", "trust", "document", "issuer", "type", "subject", "age", "check"]
    assert [name for name in reached if name in wanted] == wanted
    page.keyboard.press("Enter")
    assert shown(page)[0] == "valid"
    assert page.inner_text("#verdict") == "Valid"
    page.click("[data-lang=zh]")
    assert page.inner_text("#verdict") == "有效" and page.get_attribute("html", "lang") == "zh-Hans"
    assert page.locator("#checks li").first.inner_text() == "回执格式: 通过 — 格式正确"


def test_what_is_missing_or_wrong_is_said_and_is_no_verdict(page: Page) -> None:
    page.click("#check")
    expect(page.locator("#problem")).to_have_text("Choose a receipt.")
    page.set_input_files("#receipt", file_of("r", network_case().receipt))
    page.click("#check")
    expect(page.locator("#problem")).to_have_text("Choose a trust anchor.")
    page.set_input_files("#trust", file_of("t", b"{}"))
    page.click("#check")
    expect(page.locator("#problem")).to_have_text("The chosen file is no trust anchor.")
    assert page.locator("#result").is_hidden()


def test_what_a_receipt_says_is_text_and_never_markup(page: Page) -> None:
    name = "<img src=x onerror=alert(1)>"
    fields = {**made.FIELDS, "expiresOn": None, "title": name}
    opened = render_receipt(made.receipt(fields, shown=("documentSlots", "expiresOn", "title")))
    choose(page, VerifierCase("", encode(opened), encode(render_trust(made.TRUST))))
    page.click("#check")
    assert shown(page)[0] == "valid"
    assert name in page.inner_text("#fields") and page.locator("img").count() == 0


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_axe_finds_nothing_to_complain_of(chromium: Browser, lang: str) -> None:
    # The page's own policy lets no script in, so axe needs a context that may pass over it.
    context = chromium.new_context(offline=True, bypass_csp=True)
    page = context.new_page()
    page.clock.set_fixed_time(AT)
    page.goto(PAGE.as_uri())
    page.click(f"[data-lang={lang}]")
    page.add_script_tag(content=AXE.read_text("utf-8"))
    assert violations(page) == []
    choose(page, network_case())
    page.click("#check")
    shown(page)
    assert violations(page) == []
    context.close()


def violations(page: Page) -> list[Any]:
    found = page.evaluate("async () => (await axe.run()).violations")
    return [(each["id"], [node["target"] for node in each["nodes"]]) for each in found]


def test_page_of_a_node_is_the_file_and_asks_for_nothing_more(network: Network, chromium: Browser) -> None:
    url = network.nodes["XH"].url + "/verify"
    context = chromium.new_context(locale="en-GB")
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    answer = page.goto(url)
    assert answer is not None and answer.body() == verifier_browser.page()
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    context.set_offline(True)
    page.clock.set_fixed_time(AT)
    choose(page, network_case())
    page.click("#check")
    assert shown(page)[0] == "valid"
    assert [each for each in asked if not each.endswith("/favicon.ico")] == [url]
    context.close()


def test_policy_forbids_connections_and_foreign_scripts(chromium: Browser) -> None:
    policy = verifier_browser.page_policy()
    assert policy.startswith("default-src 'none'; script-src 'sha256-") and "unsafe" not in policy
    context = chromium.new_context()
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(PAGE.as_uri())
    assert page.evaluate("fetch('data:,x').then(() => false, () => true)")
    assert "\"default-src 'none'\"" in complaints[0]
    context.close()


def test_committed_page_is_what_its_modules_build_to() -> None:
    assert build.build() == PAGE.read_bytes(), "run python -m verifier.browser.build"
    assert build.main(["--check"]) == 0


def test_check_names_a_page_that_differs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "build", lambda: PAGE.read_bytes() + b" ")
    assert build.main(["--check"]) == 1
    assert "verify.html" in capsys.readouterr().err


def test_every_word_of_the_receipt_page_is_said_in_both_languages() -> None:
    source = (PAGE.parent / "page" / "texts.mjs").read_text("utf-8")
    said = set(re.findall(r"^  (\w+): \[", source, re.MULTILINE))
    used = {line["detail"] for case in vector_cases() for line in case.python_lines() if "detail" in line}
    used |= {line["verdict"] for case in vector_cases() for line in case.python_lines() if "verdict" in line}
    only_python = {"stamped", "tsa_unknown", "timestamp_invalid"}
    assert (used - only_python | {"tsa_unchecked"}) - said == set()
