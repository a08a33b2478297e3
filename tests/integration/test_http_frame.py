"""The frame as a whole: a real server, toy routes, and a citizen's id put wherever it does not belong."""

import json
import re
import threading
from collections.abc import Iterator
from importlib.metadata import version

import httpx
import pytest

from node.http.limits import HttpLimits
from tests.integration.frame_factory import AGENCY, BOUND_SECONDS, RunningFrame, running_frame, until

CITIZEN_ID = "310104185001010014"
META = b'{"typeCode":"M1"}'


@pytest.fixture(scope="module")
def frame() -> Iterator[RunningFrame]:
    """One server for the tests that change nothing in it; failed keys are not limited in it."""
    with running_frame(HttpLimits(failure_rate_per_s=0, max_file_bytes=1 << 20)) as running:
        yield running


@pytest.fixture
def client(frame: RunningFrame) -> Iterator[httpx.Client]:
    """A client with a key for all the toy routes."""
    key = frame.keys.issue("verify", "materials:write", "materials:read")
    with httpx.Client(
        base_url=frame.url, headers={"Authorization": f"Bearer {key}"}, timeout=BOUND_SECONDS
    ) as session:
        yield session


def ask(
    client: httpx.Client, body: bytes, content_type: str = "application/json", **headers: str
) -> httpx.Response:
    return client.post("/v1/questions", content=body, headers={"Content-Type": content_type, **headers})


def code(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["requestId"] == answer.headers["x-request-id"]
    return str(problem["code"])


def test_a_right_request_is_answered(client: httpx.Client) -> None:
    answer = ask(client, META)
    assert (answer.status_code, answer.json()) == (200, {"typed": "M", "agency": AGENCY})


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        (b'{"typeCode":"M1","typeCode":"M2"}', 400, "request_malformed"),
        (b'{"typeCode":"M1","subject":NaN}', 400, "request_malformed"),
        (rb'{"typeCode":"\ud800"}', 400, "request_malformed"),
        (b'{"typeCode":"\xff"}', 400, "request_malformed"),
        (b"", 400, "request_malformed"),
        (b"[" * 100 + b"]" * 100, 400, "request_too_deep"),
        ('{"typeCode":"e\u0301"}'.encode(), 422, "request_not_nfc"),
        (b'{"typeCode":"M1","extra":1}', 422, "request_invalid"),
        (b'{"typeCode":"M1","subject":{"idType":"111"}}', 422, "request_invalid"),
        (b'{"typeCode":"' + b"M" * (64 << 10) + b'"}', 413, "request_too_large"),
    ],
)
def test_a_wrong_body_gets_its_own_code(
    client: httpx.Client, body: bytes, status: int, expected: str
) -> None:
    answer = ask(client, body)
    assert (answer.status_code, code(answer)) == (status, expected)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/xml", "application/json; charset=gbk", ""]
)
def test_another_content_type_is_refused(client: httpx.Client, content_type: str) -> None:
    assert code(ask(client, META, content_type)) == "request_media_unsupported"


def test_a_compressed_body_is_refused(client: httpx.Client) -> None:
    assert code(ask(client, META, **{"Content-Encoding": "gzip"})) == "request_media_unsupported"


def test_a_large_body_is_refused_by_length_and_while_counting(
    frame: RunningFrame, client: httpx.Client
) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(20):
            yield b" " * (1 << 16)

    for content in (b" " * (1 << 17), chunks()):
        answer = client.post("/v1/questions", content=content, headers={"Content-Type": "application/json"})
        assert (answer.status_code, code(answer)) == (413, "request_too_large")


def test_no_route_takes_more_than_the_bound_of_the_node() -> None:
    with running_frame(HttpLimits(max_body_bytes=1000)) as frame:
        key = frame.keys.issue("materials:write")
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "k"}

        def chunks() -> Iterator[bytes]:
            yield b"x" * 600
            yield b"x" * 600

        for content in (b"x" * 1001, chunks()):
            answer = httpx.post(frame.url + "/v1/writes/x", content=content, headers=headers)
            assert code(answer) == "request_too_large"
        assert frame.toy.written == 0


def test_each_answer_carries_id_and_security_headers(frame: RunningFrame, client: httpx.Client) -> None:
    for answer in (ask(client, META), ask(client, b""), httpx.get(frame.url + "/nowhere")):
        assert re.fullmatch(r"req_[0-9A-HJKMNP-TV-Z]{26}", answer.headers["x-request-id"])
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert "server" not in answer.headers


def test_a_request_id_is_taken_only_in_our_own_form(client: httpx.Client) -> None:
    ours = "req_01JCV3XQ5T8V5N5B7W4R8M2K9D"
    assert ask(client, META, **{"X-Request-Id": ours}).headers["x-request-id"] == ours
    for other in (CITIZEN_ID, "req_" + "I" * 26, ours + "0", ""):
        assert ask(client, META, **{"X-Request-Id": other}).headers["x-request-id"] not in (other, ours)


def test_errors_are_chinese_unless_english_is_asked_for(client: httpx.Client) -> None:
    assert ask(client, b"").json()["title"] == "请求内容不是规范的 JSON"
    assert ask(client, b"", **{"Accept-Language": "en-GB"}).json()["title"] == "Malformed request"


@pytest.mark.parametrize(
    ("method", "path", "status", "expected"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("DELETE", "/v1/questions", 405, "method_not_allowed"),
        ("GET", "/v1/questions/", 404, "not_found"),
        ("GET", "/v1/things/x", 422, "request_invalid"),
        ("GET", "/v1/things/thg_1?limit=0", 422, "request_invalid"),
        ("GET", "/v1/things/thg_1", 400, "purpose_missing"),
        ("GET", "/docs", 404, "not_found"),
        ("GET", "/redoc", 404, "not_found"),
        ("GET", "/v1/open/fault", 500, "internal"),
    ],
)
def test_a_wrong_path_method_or_parameter_gets_a_problem(
    client: httpx.Client, method: str, path: str, status: int, expected: str
) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, code(answer)) == (status, expected)


def test_a_purpose_is_percent_encoded_utf8(client: httpx.Client) -> None:
    def read(purpose: str, case: str = "XH-1") -> httpx.Response:
        return client.get("/v1/things/thg_1", headers={"Deltaseal-Purpose": purpose, "Deltaseal-Case": case})

    assert read("%E8%90%BD%E6%88%B7").json()["purpose"] == 2
    assert read("residence").json()["purpose"] == 9
    for purpose, case in (
        ("", "XH-1"),
        ("x", ""),
        ("%FF", "XH-1"),
        ("a%0Ab", "XH-1"),
        ("x" * 513, "XH-1"),
        ("x", "%20"),
    ):
        assert code(read(purpose, case)) == "purpose_missing"


# Authorisation


def test_who_may_do_what(frame: RunningFrame) -> None:
    keys = {
        "right": frame.keys.issue("verify"),
        "other": frame.keys.issue("materials:read"),
        "expired": frame.keys.issue("verify", expires_at=1),
    }
    revoked = frame.keys.issue("verify")
    frame.keys.revoke(revoked)
    matrix = {
        None: (401, "auth_missing"),
        "": (401, "auth_missing"),
        "Bearer": (401, "auth_invalid"),
        "Basic eDp5": (401, "auth_invalid"),
        "Bearer dsk_x": (401, "auth_invalid"),
        f"Bearer {keys['right']}x": (401, "auth_invalid"),
        f"Bearer {revoked}": (401, "auth_invalid"),
        f"Bearer {keys['expired']}": (401, "auth_expired"),
        f"Bearer {keys['other']}": (403, "auth_forbidden"),
    }
    for value, expected in matrix.items():
        headers = {"Content-Type": "application/json"} | ({} if value is None else {"Authorization": value})
        # The body is wrong as well: who has no right learns nothing about it.
        answer = httpx.post(frame.url + "/v1/questions", content=b"{", headers=headers)
        assert (answer.status_code, code(answer)) == expected
        assert ("www-authenticate" in answer.headers) == (expected[0] == 401)
    assert httpx.get(frame.url + "/v1/things/wrong").status_code == 401


def test_a_key_revoked_at_the_node_is_refused_at_once(frame: RunningFrame) -> None:
    key = frame.keys.issue("verify")
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with httpx.Client(base_url=frame.url, headers=headers) as session:
        assert session.post("/v1/questions", content=META).status_code == 200
        frame.app.state.frame.authenticator.forget(frame.keys.revoke(key))
        assert code(session.post("/v1/questions", content=META)) == "auth_invalid"


def test_two_authorization_headers_are_refused(frame: RunningFrame) -> None:
    key = frame.keys.issue("verify")
    answer = httpx.post(
        frame.url + "/v1/questions",
        content=META,
        headers=[("Authorization", f"Bearer {key}"), ("Authorization", f"Bearer {key}")],
    )
    assert code(answer) == "auth_invalid"


def test_failed_keys_are_limited_by_address() -> None:
    with running_frame(HttpLimits(failure_rate_per_s=0.001, failure_burst=3)) as frame:
        headers = {"Authorization": "Bearer dsk_x"}
        answers = [httpx.post(frame.url + "/v1/questions", headers=headers) for _ in range(4)]
        assert [code(answer) for answer in answers] == ["auth_invalid"] * 3 + ["rate_limited"]
        assert int(answers[-1].headers["retry-after"]) > 0
        key = frame.keys.issue("verify")
        right = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        assert httpx.post(frame.url + "/v1/questions", content=META, headers=right).status_code == 200


def test_a_key_and_an_address_have_their_shares() -> None:
    limits = HttpLimits(key_rate_per_s=0.001, key_burst=2, address_rate_per_s=0.001, address_burst=5)
    with running_frame(limits) as frame:
        key = frame.keys.issue("verify")
        with httpx.Client(base_url=frame.url, headers={"Authorization": f"Bearer {key}"}) as session:
            answers = [ask(session, META) for _ in range(3)]
            assert [answer.status_code for answer in answers] == [200, 200, 429]
            other = {"Authorization": f"Bearer {frame.keys.issue('verify')}"}
            assert [ask(session, META, **other).status_code for _ in range(3)] == [200, 200, 429]
            # An operator sees also a node that is full.
            assert session.get("/metrics").status_code == 200


def test_more_requests_than_the_node_takes_get_a_problem() -> None:
    with running_frame(HttpLimits(max_requests=1)) as frame:
        headers = {"Authorization": f"Bearer {frame.keys.issue('materials:write')}", "Idempotency-Key": "k"}
        with httpx.Client(base_url=frame.url, headers=headers, timeout=BOUND_SECONDS) as session:
            first = threading.Thread(target=lambda: session.post("/v1/writes/slow"))
            first.start()
            until(lambda: "deltaseal_http_in_flight 2.0" in session.get("/metrics").text)
            answer = httpx.get(frame.url + "/v1/open/x")
            assert (answer.status_code, code(answer)) == (503, "node_busy")
            assert "retry-after" in answer.headers
            frame.toy.may_finish.set()
            first.join(BOUND_SECONDS)
            assert httpx.get(frame.url + "/v1/open/x").status_code == 200


# Idempotency


def write(client: httpx.Client, thing: str, key: str | None, body: bytes = b"{}") -> httpx.Response:
    return client.post(
        f"/v1/writes/{thing}", content=body, headers={} if key is None else {"Idempotency-Key": key}
    )


def test_a_repeated_write_is_replayed(frame: RunningFrame, client: httpx.Client) -> None:
    first, second = write(client, "a", '"rep-1"'), write(client, "a", '"rep-1"')
    assert (first.status_code, "idempotency-replayed" in first.headers) == (201, False)
    assert (second.status_code, second.headers["idempotency-replayed"]) == (201, "true")
    assert (second.content, second.headers["location"]) == (first.content, first.headers["location"])
    assert second.headers["x-request-id"] != first.headers["x-request-id"]


def test_a_write_without_key_or_with_anothers_key_is_refused(client: httpx.Client) -> None:
    assert (write(client, "a", None).status_code, code(write(client, "a", "a b"))) == (
        400,
        "idempotency_missing",
    )
    write(client, "a", "mis-1")
    assert code(write(client, "a", "mis-1", b"[]")) == "idempotency_mismatch"
    assert code(write(client, "b", "mis-1")) == "idempotency_mismatch"


def test_a_write_that_failed_may_be_tried_again(frame: RunningFrame, client: httpx.Client) -> None:
    for _ in range(2):
        answer = write(client, "broken", "fail-1")
        assert (answer.status_code, code(answer), answer.headers["retry-after"]) == (503, "store_full", "5")


def test_a_write_that_still_runs_is_a_conflict() -> None:
    with running_frame() as frame:
        headers = {"Authorization": f"Bearer {frame.keys.issue('materials:write')}"}
        with httpx.Client(base_url=frame.url, headers=headers, timeout=BOUND_SECONDS) as session:
            answers: list[httpx.Response] = []
            first = threading.Thread(target=lambda: answers.append(write(session, "slow", "k")))
            first.start()
            until(lambda: "deltaseal_http_in_flight 2.0" in session.get("/metrics").text)
            assert code(write(session, "slow", "k")) == "idempotency_in_progress"
            frame.toy.may_finish.set()
            first.join(BOUND_SECONDS)
            assert answers[0].status_code == 201
            assert write(session, "slow", "k").headers["idempotency-replayed"] == "true"
            assert frame.toy.written == 1


# Uploads


def push(client: httpx.Client, content: bytes, name: str = "a.pdf") -> httpx.Response:
    files = [("meta", (None, META, "application/json")), ("file", (name, content, "application/pdf"))]
    return client.post("/v1/files", files=files)


def test_an_upload_arrives_whole(frame: RunningFrame, client: httpx.Client) -> None:
    content = bytes(range(256)) * 3000
    answer = push(client, content)
    assert (answer.status_code, answer.json()) == (
        201,
        {"meta": len(META), "size": len(content), "named": True},
    )
    assert frame.toy.bytes_held == content


def test_an_upload_is_refused_by_its_headers_before_its_body(frame: RunningFrame) -> None:
    with frame.connect() as client:
        client.sendall(
            b"POST /v1/files HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            b"Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
        )
        answer = client.recv(65536)
    assert answer.startswith(b"HTTP/1.1 401 ")


def test_an_upload_that_is_too_large_is_refused_by_length_and_while_counting(
    frame: RunningFrame, client: httpx.Client
) -> None:
    assert code(push(client, b"x" * (2 << 20))) == "upload_too_large"
    head = b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n'

    def chunks() -> Iterator[bytes]:
        yield head % b"meta" + META + b"\r\n" + head % b"file"
        for _ in range(17):
            yield b"x" * (1 << 16)
        yield b"\r\n--b--\r\n"

    answer = client.post(
        "/v1/files", content=chunks(), headers={"Content-Type": "multipart/form-data; boundary=b"}
    )
    assert (answer.status_code, code(answer)) == (413, "upload_too_large")


def test_an_upload_cut_short_is_no_file(frame: RunningFrame, client: httpx.Client) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="meta"\r\n\r\n{}\r\n'
    body += b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nhalf'
    answer = client.post(
        "/v1/files", content=body, headers={"Content-Type": "multipart/form-data; boundary=b"}
    )
    assert (answer.status_code, code(answer)) == (400, "upload_truncated")


def test_a_sender_who_goes_away_leaves_a_line_and_no_fault() -> None:
    with running_frame() as frame:
        key = frame.keys.issue("materials:write").encode()
        with frame.connect() as client:
            client.sendall(
                b"POST /v1/files HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\n"
                b"Content-Length: 1000\r\nAuthorization: Bearer " + key + b"\r\n\r\n"
                b'--b\r\nContent-Disposition: form-data; name="meta"\r\n\r\n{}\r\n'
            )
        until(lambda: '"route":"/v1/files"' in frame.log_text())
        assert '"code":"upload_truncated"' in frame.log_text()
        assert '"event":"fault"' not in frame.log_text()


def test_a_wrong_boundary_is_refused(client: httpx.Client) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="meta"\r\n\r\n{}\r\n--b--\r\n'
    answer = client.post(
        "/v1/files", content=body, headers={"Content-Type": "multipart/form-data; boundary=c"}
    )
    assert (answer.status_code, code(answer)) == (400, "upload_malformed")


# Nothing is repeated


def test_an_answer_that_breaks_off_is_seen_to_break_off(frame: RunningFrame) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(frame.url + "/v1/open/stream")
    until(lambda: '"code":"response_aborted"' in frame.log_text())


def test_a_citizens_id_in_any_wrong_place_is_in_no_answer_and_no_log() -> None:
    with running_frame(HttpLimits(failure_rate_per_s=0)) as frame:
        key = frame.keys.issue("verify", "materials:write", "materials:read")
        answers = [*_misplaced_over_httpx(frame, key), *_misplaced_over_sockets(frame, key)]
        assert len(answers) > 40
        assert [answer for answer in answers if CITIZEN_ID.encode() in answer] == []
        logged = frame.log_text()
        assert CITIZEN_ID not in logged
        assert key.split("_")[2] not in logged
        assert CITIZEN_ID not in httpx.get(frame.url + "/metrics").text


def _misplaced_over_httpx(frame: RunningFrame, key: str) -> Iterator[bytes]:
    """Put the id into paths, parameters, headers and bodies; yield heads and bodies of the answers."""
    who = CITIZEN_ID
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "Accept-Language": "en"}
    with httpx.Client(base_url=frame.url, headers=headers) as session:
        bodies = [
            f'{{"typeCode":"{who}"}}',
            f'{{"{who}":1}}',
            f'{{"{who}":1,"{who}":2}}',
            f'{{"typeCode":"M1","subject":{{"{who}":1}}}}',
            f'{{"typeCode":"M1","subject":{{"idType":"111","id":"{who}{who}"}}}}',
            f'{{"typeCode":{who}}}',
            f'{{"typeCode":"M1","subject":"{who}"}}',
            f"{who}",
            f"[{who}",
            f'"{who}',
            f"{who}: NaN",
            f'{{"typeCode":"{who}e\u0301"}}',
            f"[{who}.5]",
        ]
        sent = [session.post("/v1/questions", content=body.encode()) for body in bodies]
        paths = [
            "/" + who,
            f"/v1/{who}",
            f"/v1/things/{who}",
            f"/v1/things/thg_1?limit={who}x",
            f"/v1/things/thg_1?{who}=1",
        ]
        sent += [session.get(path) for path in paths]
        sent += [session.request("DELETE", f"/v1/open/{who}"), session.get(f"/v1/things/thg_1/{who}/")]
        names = [
            "X-Request-Id",
            "Authorization",
            "Content-Type",
            "Content-Encoding",
            "Accept-Language",
            "Idempotency-Key",
            "Accept",
            "Cookie",
            "Deltaseal-Case",
            "Traceparent",
            "X-" + who,
        ]
        sent += [session.post("/v1/questions", content=b"{", headers={name: who}) for name in names]
        sent += [session.post("/v1/writes/x", headers={"Idempotency-Key": f"{who} {who}"})]
        sent += [session.get(f"/v1/open/{what}?who={who}") for what in ("fault", "x")]
    with httpx.Client(base_url=frame.url, headers={"Authorization": f"Bearer {key}"}) as session:
        sent += [
            session.post("/v1/files", files=[(who, (who, b"x", f"text/{who}"))]),
            session.post("/v1/files", files=[("meta", (None, who)), (who, (None, who))]),
            session.post("/v1/files", files=[("meta", (None, who)), ("file", (f"{who}\u202e", b"x"))]),
            session.post(
                "/v1/files", content=b"x", headers={"Content-Type": f"multipart/form-data; boundary={who}"}
            ),
            session.post("/v1/files", content=b"x", headers={"Content-Type": f"multipart/{who}"}),
        ]
    assert [answer.status_code for answer in sent if answer.status_code < 400] == [200]
    for answer in sent:
        yield b"\n".join([repr(answer.headers.raw).encode(), answer.content])


def _misplaced_over_sockets(frame: RunningFrame, key: str) -> Iterator[bytes]:
    who = CITIZEN_ID.encode()
    for raw in (
        who,
        who + b" / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET " + who + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / " + who + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + who + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + who + b"\x00\r\n\r\n",
        b"GET /" + who + b" HTTP/1.1\r\nHost: " + who + b"\r\nConnection: close\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + who + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: " + who + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + who + b"x\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: " + who + b"\r\n\r\n",
    ):
        with frame.connect() as client:
            client.sendall(raw)
            client.shutdown(1)
            yield client.recv(65536)


# Metrics and description


def test_metrics_count_by_template_and_never_by_path(frame: RunningFrame, client: httpx.Client) -> None:
    client.get("/v1/things/thg_123")
    client.get("/no/such/path")
    figures = httpx.get(frame.url + "/metrics")
    assert figures.headers["content-type"].startswith("text/plain")
    assert 'method="GET",route="/v1/things/{thing_id}",status="400"' in figures.text
    assert 'route="unmatched",status="404"' in figures.text
    assert "thg_123" not in figures.text
    assert "no/such" not in figures.text


def test_a_gauge_that_fails_hides_no_other(frame: RunningFrame) -> None:
    metrics = frame.app.state.frame.metrics
    metrics.register_gauge("deltaseal_test_depth", "Depth.", lambda: 7)
    metrics.register_gauge("deltaseal_test_broken", "Broken.", lambda: 1 // 0)
    text = httpx.get(frame.url + "/metrics").text
    assert "deltaseal_test_depth 7.0" in text
    assert "deltaseal_test_broken NaN" in text


def test_two_apps_do_not_share_figures(frame: RunningFrame) -> None:
    with running_frame() as other:
        assert 'route="/v1/questions"' not in httpx.get(other.url + "/metrics").text


def test_the_description_names_our_problem_and_no_other(frame: RunningFrame) -> None:
    document = httpx.get(frame.url + "/openapi.json").json()
    assert document["info"] == {"title": "Deltaseal", "version": "1.2.3"}
    for path in document["paths"].values():
        for operation in path.values():
            reference = operation["responses"]["default"]["content"]["application/problem+json"]["schema"][
                "$ref"
            ]
            assert reference == "#/components/schemas/Problem"
            assert "422" not in operation["responses"]
    assert "HTTPValidationError" not in json.dumps(document)
    assert document["components"]["securitySchemes"]["apiKey"]["scheme"] == "bearer"
    sample = ask(httpx.Client(base_url=frame.url), b"").json()
    problem = document["components"]["schemas"]["Problem"]
    assert set(problem["required"]) <= set(sample) <= set(problem["properties"])


@pytest.mark.parametrize(
    ("package", "floor"),
    [
        ("python-multipart", (0, 0, 30)),
        ("starlette", (1, 5, 1)),
        ("h11", (0, 16, 0)),
        ("httptools", (0, 6, 3)),
    ],
)
def test_parsers_are_not_older_than_their_last_known_hole(package: str, floor: tuple[int, ...]) -> None:
    assert tuple(int(part) for part in version(package).split(".")) >= floor
