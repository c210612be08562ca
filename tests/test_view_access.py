"""`manycall view` answers its own page only: no other site, no other user, no other method."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from view_client import HEADERS, ViewClient
from view_runs import write_run


@pytest.fixture
def client(tmp_path: Path) -> Iterator[ViewClient]:
    write_run(tmp_path / "out.jsonl", [{"id": "1", "text": "a secret row"}])
    with ViewClient(tmp_path) as client:
        yield client


@pytest.mark.parametrize(
    ("headers", "method", "status"),
    [
        ({"host": "evil.example:8398"}, "GET", 403),
        ({"host": "127.0.0.1.evil.example"}, "GET", 403),
        ({"host": ""}, "GET", 403),
        ({"sec-fetch-site": "cross-site"}, "GET", 403),
        ({"sec-fetch-site": "same-site"}, "GET", 403),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, "GET", 403),
        ({"origin": "http://evil.example"}, "GET", 403),
        ({"origin": "null"}, "GET", 403),
        ({"authorization": ""}, "GET", 401),
        ({"authorization": "Bearer wrong"}, "GET", 401),
        ({"authorization": "Bearer \u00e9"}, "GET", 401),
        ({}, "POST", 405),
        ({}, "OPTIONS", 405),
        ({}, "DELETE", 405),
    ],
)
def test_foreign_requests_are_refused(client: ViewClient, headers: dict[str, str], method: str, status: int) -> None:
    response = client.ask("/api/runs", {**HEADERS, **headers}, method)
    assert response.status == status
    assert set(response.json) == {"error", "hint"}
    assert b"secret" not in response.body


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost:9000", "[::1]:8398", "localhost"])
def test_a_tunnel_may_have_another_port(client: ViewClient, host: str) -> None:
    assert client.ask("/api/runs", {**HEADERS, "host": host, "origin": f"http://{host}"}).status == 200


def test_the_start_page_needs_no_token_and_may_be_opened_from_a_local_file(client: ViewClient) -> None:
    opened = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client.ask("/", {"host": "127.0.0.1:8398"} | opened).status == 200
    assert client.ask("/", {"host": "127.0.0.1:8398", **opened, "sec-fetch-dest": "iframe"}).status == 403


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml", "/static/../serve.py", "/static/%2e%2e/serve.py", "/api/runs/../../etc/passwd",
        "/api/runs/%2fetc%2fpasswd", "/static/", "/etc/passwd", "/api/", "/api/runs/0123456789abcdef",
    ],
)  # fmt: skip
def test_no_request_becomes_a_path(client: ViewClient, path: str) -> None:
    assert client.ask(path).status == 404


def test_every_reply_has_the_security_headers(client: ViewClient) -> None:
    for path in ("/", "/api/runs", "/nothing"):
        headers = client.ask(path).headers
        assert "trusted-types 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


def test_a_word_that_names_no_file_of_a_run_is_refused(client: ViewClient) -> None:
    run_id = client.run_ids()["out.jsonl"]
    assert client.ask(f"/api/runs/{run_id}/rows?file=../lock").status == 404
