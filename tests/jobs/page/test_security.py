"""The rules of the door, one by one, over real sockets. Most were somebody's vulnerability."""

from __future__ import annotations

import http.client
import json
import logging
import re
import socket

import pytest

from singlepoint.jobs.client.entry import is_signed, same, signed
from singlepoint.jobs.errors import NotPermitted
from singlepoint.jobs.host.service_log import Often
from singlepoint.jobs.page import predictions
from singlepoint.jobs.page.app import OPERATIONS, PLAIN
from singlepoint.jobs.page.guard import ACCESS
from singlepoint.jobs.page.security import Limits, bearer, is_allowed_host, nesting
from singlepoint.jobs.store.job_store import JobStore
from singlepoint.jobs.store.settings import Http
from tests.conftest import accept
from tests.jobs.page.client import TOKEN, Client, Serve

WORDS = {"id": "a2345678", "name": "wdbc", "version": "1", "upload": "a2345678", "file": "x.csv"}


def routes() -> list[tuple[str, str]]:
    """Every method and path that the service has."""
    found = [(one.method, f"/api/v1{one.path}") for one in OPERATIONS] + [(method, path) for method, path, _ in PLAIN]
    found += [("POST", path) for path in predictions.ROUTES]
    return [(method, re.sub(r"{(\w+)}", lambda word: WORDS[word[1]], path)) for method, path in found]


# ---- the token ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {TOKEN}", TOKEN])
def test_every_route_but_health_needs_the_token_on_loopback_too(client: Client, authorization: str | None) -> None:
    for method, path in routes():
        if not path.startswith("/v2/health/"):
            assert client(method, path, authorization=authorization).status == (403 if path == "/login" else 401), path
    assert client("GET", "/v2/health/live", authorization=authorization).status == 200


@pytest.mark.parametrize("method", ["DELETE", "PUT", "PATCH", "POST", "TRACE", "LOCK"])
def test_a_method_or_a_path_that_does_not_exist_needs_the_token_too(client: Client, method: str) -> None:
    for path in ("/api/v1/jobs", "/nothing/here", "/static/../guard.py", "/"):
        assert client(method, path, authorization=None).status in (400, 401), path


@pytest.mark.parametrize("almost", [TOKEN[:-1], TOKEN + "x", TOKEN.upper(), f" {TOKEN} x", "é" * 20])
def test_a_token_that_is_nearly_right_is_wrong(client: Client, almost: str) -> None:
    assert client("GET", "/api/v1/jobs", authorization=f"Bearer {almost}".encode().decode("latin-1")).status == 401


def test_a_wrong_bearer_is_not_mended_by_a_good_cookie(client: Client) -> None:
    assert client("GET", "/api/v1/jobs", authorization="Bearer no", cookie=client.cookie()).status == 401
    assert client("GET", "/api/v1/jobs", authorization=None, cookie=client.cookie()).status == 200


def test_a_cookie_is_signed_ends_and_serves_no_other_purpose() -> None:
    word = signed(TOKEN, "cookie", 1000.0)

    assert is_signed(TOKEN, "cookie", word, 999.0)
    assert not is_signed(TOKEN, "cookie", word, 1000.0)
    assert not is_signed(TOKEN, "upload:x", word, 999.0)
    assert not is_signed("another", "cookie", word, 999.0)
    assert not is_signed(TOKEN, "cookie", word.replace("1000", "9999"), 999.0)
    assert TOKEN not in word


def test_secrets_are_compared_whole_whatever_is_in_them() -> None:
    assert same("a", "a")
    assert not same("", "a")
    assert not same("\udcff", "a")
    assert bearer("bearer  x ") == "x"


def test_an_address_opens_once(client: Client) -> None:
    once = signed(TOKEN, f"once:{client.service.instance}", 2**33)
    first = client("GET", f"/open?once={once}", authorization=None)

    assert (first.status, first.headers["location"]) == (303, "/")
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert client("GET", "/api/v1/jobs", authorization=None, cookie=cookie.partition(";")[0]).status == 200
    assert client("GET", f"/open?once={once}", authorization=None).status == 401


def test_an_address_of_an_earlier_start_opens_nothing(client: Client) -> None:
    assert client("GET", f"/open?once={signed(TOKEN, 'once:earlier', 2**33)}", authorization=None).status == 401


def test_a_browser_without_a_token_gets_a_page_that_says_how_and_may_type_it(client: Client) -> None:
    page = client("GET", "/", authorization=None, accept="text/html")
    form = "application/x-www-form-urlencoded"

    def sent(token: str, origin: str) -> int:
        body = f"token={token}".encode()
        return client("POST", "/login", body=body, authorization=None, content_type=form, origin=origin).status

    assert (page.status, b"singlepoint open" in page.body, b"<script" in page.body) == (401, True, False)
    assert sent(TOKEN, client.origin) == 303
    assert sent("wrong", client.origin) == 401
    assert sent(TOKEN, "http://evil.example") == 403


# ---- who is asked, and from where ---------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]", "localhost:1", "127.0.0.1:65535", "LOCALHOST:80"])
def test_this_machine_may_be_called_by_its_names_at_any_port(client: Client, host: str) -> None:
    assert client("GET", "/api/v1/jobs", host=host).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.", "localhost:1@x", "", "127.0.0.1.evil.example", "localhost:", "a b", "[::1"]
)
def test_a_strange_host_is_refused_on_every_route(client: Client, host: str) -> None:
    for path in ("/api/v1/jobs", "/", "/v2/health/live", "/metrics"):
        assert client("GET", path, host=host, user_agent="curl/8").status == 400


def test_a_missing_or_a_second_host_is_refused(client: Client) -> None:
    assert b"400" in client.raw(b"GET /v2/health/live HTTP/1.1\r\n\r\n")[:20]
    assert b"400" in client.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n")[:20]


def test_the_owner_adds_names(serve: Serve) -> None:
    client = serve(Http(hosts=("lab.example",)))

    assert client("GET", "/api/v1/jobs", host="lab.example:8080").status == 200
    assert is_allowed_host("Lab.Example", frozenset({"lab.example"}))


def test_a_poisoned_host_decides_nothing_about_the_path(client: Client) -> None:
    assert client("GET", "/api/v1/jobs", host="localhost/v2/health/live?", authorization=None).status == 400


@pytest.mark.parametrize(("method", "path"), [(m, p) for m, p in routes() if m not in ("GET",) and p != "/login"])
def test_a_change_by_cookie_needs_our_origin_and_json(client: Client, method: str, path: str) -> None:
    def by_cookie(origin: str | None, content_type: str | None) -> int:
        facts = {"origin": origin, "content_type": content_type, "cookie": client.cookie(), "authorization": None}
        return client(method, path, body=b"{}", **facts).status

    json = "application/json"
    assert by_cookie("http://evil.example", json) == 403
    assert by_cookie(None, json) == 403
    assert by_cookie("null", json) == 403
    assert by_cookie(f"http://127.0.0.1:{client.port + 1}", json) == 403  # cookies know no ports
    assert by_cookie(client.origin, "text/plain") == 415
    assert by_cookie(client.origin, None) == 415
    assert by_cookie(client.origin, f"{json}; charset=utf-8") not in (401, 403, 415)


def test_a_change_by_bearer_needs_neither(client: Client, store: JobStore) -> None:
    job = accept(store)

    assert client("POST", f"/api/v1/jobs/{job.id}/pause", origin="http://evil.example").status == 200


def test_no_other_origin_may_read_an_answer(client: Client) -> None:
    for method in ("GET", "OPTIONS"):
        headers = client(method, "/api/v1/jobs", origin="http://evil.example").headers
        assert not [name for name in headers if name.startswith("access-control")]


def test_every_answer_carries_the_headers_that_hold_a_browser_back(client: Client) -> None:
    for path in ("/", "/api/v1/jobs", "/nothing", "/v2/health/live"):
        headers = client("GET", path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "server" not in headers


# ---- words in paths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "word", ["..", "%2e%2e", "%252e%252e", "..%2f..%2fhome.json", "a/b", ".new-x", "x%00", "%ff", "é"]
)
def test_a_word_in_a_path_matches_its_pattern_or_is_nothing(client: Client, word: str) -> None:
    for path in ("/api/v1/jobs/{}", "/api/v1/models/{}", "/static/{}", "/api/v1/jobs/{}/log", "/api/v1/uploads/{}/x"):
        target = path.format(word).encode().decode("latin-1")
        raw = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode("latin-1")
        assert client.raw(raw)[:12] in (b"HTTP/1.1 404", b"HTTP/1.1 405", b"HTTP/1.1 400"), path


# ---- limits ------------------------------------------------------------------------------------------------


def test_a_body_is_bounded_also_when_its_length_is_not_told(serve: Serve) -> None:
    client = serve(limits=Limits(body_bytes=1000))
    large = b'{"a":"' + b"x" * 5000 + b'"}'

    assert client("POST", "/api/v1/jobs", body=large).status == 413
    head = f"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
    chunks = b"".join(b"400\r\n" + b"x" * 1024 + b"\r\n" for _ in range(4))
    assert b" 413 " in client.raw(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunks)[:16]


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 1000, b"{", b"\xff", b"", b"[]", b"1e999999", b"9" * 5000])
def test_json_that_is_deep_broken_or_no_table_is_refused(client: Client, body: bytes) -> None:
    answer = client("POST", "/api/v1/jobs", body=body)

    assert answer.status in (400, 422)
    assert answer.json["status"] == answer.status


def test_depth_is_counted_outside_of_text() -> None:
    assert nesting(rb'{"a": "[[[[\"[[[", "b": [1]}', 2)
    assert not nesting(rb'{"a": {"b": [1]}}', 2)


def test_headers_are_bounded_in_bytes_and_in_time(serve: Serve) -> None:
    client = serve(limits=Limits(header_s=0.2))
    assert client("GET", "/v2/health/live", x_long="x" * 20_000).status == 431
    assert b" 400 " in client.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\nx: " + b"y" * 60_000)[:16]
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: local")
        assert slow.recv(100) == b""


def test_an_age_beyond_any_calendar_is_refused_and_no_defect(client: Client) -> None:
    assert client("POST", "/api/v1/jobs/prune", {"older_than_s": 2.8e307}).status == 422
    assert client("POST", "/api/v1/jobs/prune", {"older_than_s": 1e10}).status == 200


def test_what_is_no_http_is_told_as_every_other_problem(client: Client) -> None:
    for line in (b"BREW /api/v1/jobs HTTP/1.1", b"GET /\x00 HTTP/1.1", b"nonsense"):
        head, _, body = client.raw(line + b"\r\nHost: localhost\r\n\r\n").partition(b"\r\n\r\n")
        told = json.loads(body)

        assert head.split()[1] == b"400"
        assert b"content-type: application/problem+json" in head
        assert b"content-security-policy" in head
        assert (told["status"], told["title"]) == (400, "Not HTTP")
        assert told["request_id"].encode() in head


def test_a_body_that_does_not_come_is_not_waited_for(serve: Serve) -> None:
    client = serve(limits=Limits(body_s=0.05))
    head = (
        f"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 9\r\n\r\n"
    )

    assert b" 408 " in client.raw(head.encode())[:16]


def test_a_page_of_the_list_is_bounded(client: Client) -> None:
    assert client("GET", "/api/v1/jobs?limit=1001").status == 422
    assert client("GET", "/api/v1/jobs?limit=1000").status == 200


# ---- what is told ------------------------------------------------------------------------------------------


def test_an_error_tells_neither_the_home_nor_a_trace(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    home = str(client.service.session.home.path)
    refused = client("GET", "/api/v1/models/none")
    monkeypatch.setattr(JobStore, "latest", lambda *_: 1 / 0)
    defect = client("GET", "/api/v1/jobs/last")

    assert refused.status == 404
    assert home.encode() not in refused.body + defect.body
    assert defect.status == 500
    assert b"Zero" not in defect.body
    assert defect.json["request_id"] == defect.headers["x-request-id"]


def test_a_refusal_by_permissions_hides_the_name_of_the_home(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    home = str(client.service.session.home.path)

    def refuse(*_: object) -> list[str]:
        raise NotPermitted(f"cannot write {home}/jobs", hint=f"mend {home}")

    monkeypatch.setattr(JobStore, "latest", refuse)
    answer = client("GET", "/api/v1/jobs/last")

    assert (answer.status, answer.json["detail"], answer.json["hint"]) == (403, "cannot write HOME/jobs", "mend HOME")


def test_the_log_has_ids_and_routes_and_nothing_that_was_sent(
    client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Often, "LATER_S", 3600.0)
    with caplog.at_level(logging.INFO, "singlepoint.http"):
        answer = client("GET", "/api/v1/jobs/secret-name?x=secret-value", x_secret="secret-header")
        client("GET", "/secret/path")
        client.stop()  # which leaves no line unwritten
    text = "\n".join(record.getMessage() for record in caplog.records)

    assert f"id={answer.headers['x-request-id']} method=GET route=/api/v1/jobs/{{id}}" in text
    assert "secret" not in text
    assert TOKEN not in text


def test_the_paths_that_need_no_token_are_these() -> None:
    open_ones = {path for path, access in ACCESS.items() if access.value == "open"}

    assert open_ones == {"/v2/health/live", "/v2/health/ready"}


def test_one_connection_may_ask_again_after_a_refusal(client: Client) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
    for status, headers in ((401, {}), (200, client.headers)):
        connection.request("GET", "/api/v1/jobs", headers=headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
    connection.close()
