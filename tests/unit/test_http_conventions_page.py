"""The page of HTTP conventions states the limits, scopes and codes that the code has."""

import re
from pathlib import Path

from anchor.problemrows import REGISTRY
from node.http.auth import SCOPES
from node.http.idempotency import LIFE_SECONDS, MAX_KEY_CHARS
from node.http.limits import SECURITY_HEADERS, UNLIMITED_PATHS, HttpLimits
from node.http.multipart import MAX_META_BYTES, MAX_NAME_BYTES
from node.http.strictjson import BODY_LIMIT_BYTES, MAX_DEPTH

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "http-conventions.md").read_text("utf-8")
LIMITS = HttpLimits()


def section(title: str) -> str:
    """Return the text of one section."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_the_scopes_are_those_of_the_code() -> None:
    line = next(
        line for line in section("Keys and scopes").splitlines() if line.startswith("`materials:read`")
    )
    assert set(re.findall(r"`([a-z:]+)`", line)) == SCOPES


def test_the_codes_are_registered() -> None:
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", PAGE))
    assert named - set(REGISTRY) == set()
    assert len(named) > 20


def test_the_bounds_of_a_connection_are_the_defaults() -> None:
    bounds, text = LIMITS.connection, section("Connections")
    for row in (
        f"| head complete | {bounds.head_timeout_s:.0f} s |",
        f"| head size, fields | {bounds.max_head_bytes >> 10} KiB, {bounds.max_header_fields} |",
        f"| body progress | {bounds.body_interval_bytes >> 10} KiB every {bounds.body_interval_s:.0f} s,",
        f"| rest of a refused body | {bounds.drain_s:.0f} s or {bounds.drain_bytes >> 20} MiB |",
        f"| answer not being read | {bounds.write_stall_s:.0f} s without progress |",
        f"| idle | {bounds.keep_alive_s:.0f} s |",
        f"| open connections | {bounds.max_connections} |",
    ):
        assert row in text


def test_the_limits_of_requests_are_the_defaults() -> None:
    text = section("Limits")
    assert f"{LIMITS.max_requests} requests at once" in text
    assert f"{LIMITS.key_rate_per_s:.0f} a second for one key" in text
    assert f"{LIMITS.address_rate_per_s:.0f} for one address" in text
    assert (LIMITS.key_burst, LIMITS.address_burst) == (
        2 * LIMITS.key_rate_per_s,
        2 * LIMITS.address_rate_per_s,
    )
    assert f"{LIMITS.max_body_bytes >> 20} MiB for any body" in text
    assert all(f"`{path}`" in text for path in UNLIMITED_PATHS)
    failures = f"({LIMITS.failure_burst:.0f}, then one a second"
    assert failures in section("Keys and scopes")
    assert LIMITS.failure_rate_per_s == 1


def test_the_sizes_of_bodies_are_the_defaults() -> None:
    assert f"more than {MAX_DEPTH} levels" in section("Bodies")
    assert f"{BODY_LIMIT_BYTES >> 10} KiB unless" in section("Bodies")
    assert LIMITS.max_json_bytes == BODY_LIMIT_BYTES
    assert f"≤ {MAX_META_BYTES >> 10} KiB" in section("Uploads")
    assert LIMITS.max_meta_bytes == MAX_META_BYTES
    assert f"over {MAX_NAME_BYTES} bytes" in section("Uploads")
    assert f"1 to {MAX_KEY_CHARS} printable" in section("Idempotency")
    assert f"kept for {LIFE_SECONDS // 3600} hours" in section("Idempotency")


def test_the_headers_of_every_answer_are_named() -> None:
    text = section("Headers of every answer").lower()
    assert all(name.decode() in text for name, _ in SECURITY_HEADERS)
