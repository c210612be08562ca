from pathlib import Path

import pytest

from fakes import FakeTransport, answer, attempt
from manycall.client.endpoint import MAX_RESET_PAUSE_SECONDS, Endpoint
from manycall.client.endpoint_config import OPENAI_URL, resolve_endpoints
from manycall.control.concurrency_window import ConcurrencyWindow
from manycall.errors import UsageError
from manycall.limits import CallCost, RateLimits
from manycall.sim import virtual_time
from manycall.transport.messages import HttpResponse


def unset(name: str) -> None:
    """An environment with no variable."""


def test_urls_given_go_before_the_environment_and_the_file(tmp_path: Path) -> None:
    environ = {"OPENAI_BASE_URL": "https://env", "OPENAI_API_KEY": "k"}
    (tmp_path / "endpoints.toml").write_text('[[endpoint]]\nbase_url = "http://file"\n')
    assert [e.url for e in resolve_endpoints(["https://a", "https://b"], environment=environ.get, folder=tmp_path)] == [
        "https://a/v1",
        "https://b/v1",
    ]
    assert [e.url for e in resolve_endpoints([], environment=environ.get, folder=tmp_path)] == ["https://env/v1"]
    assert [e.url for e in resolve_endpoints([], environment={"OPENAI_API_KEY": "k"}.get, folder=tmp_path)] == [
        "http://file/v1"
    ]
    assert [
        e.url for e in resolve_endpoints([], environment={"OPENAI_API_KEY": "k"}.get, folder=tmp_path / "none")
    ] == [OPENAI_URL]


def test_keys_come_from_the_environment_or_the_file(tmp_path: Path) -> None:
    (tmp_path / "endpoints.toml").write_text(
        '[[endpoint]]\nbase_url = "https://a"\napi_key_env = "A_KEY"\n'
        '[[endpoint]]\nbase_url = "https://b"\napi_key = "kb"\n'
        '[[endpoint]]\nbase_url = "http://c"\n'
    )
    keys = [e.key and e.key.reveal() for e in resolve_endpoints([], environment={"A_KEY": "ka"}.get, folder=tmp_path)]
    assert keys == ["ka", "kb", None]


def test_with_nothing_at_all_the_ways_out_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_endpoints([], environment=unset, folder=tmp_path)
    for way in ("base_url='http", "OPENAI_BASE_URL", "OPENAI_API_KEY", "endpoints.toml", "base_url='sim'"):
        assert way in str(caught.value)
    assert "\n" not in str(caught.value)


def test_openai_without_a_key_is_refused_before_any_call(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Set OPENAI_API_KEY"):
        resolve_endpoints([OPENAI_URL], environment=unset, folder=tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[endpoint", "endpoints.toml"),
        ("", "lists no endpoint"),
        ("[[endpoint]]\napi_key = 'k'", "endpoint 1 has no base_url"),
        (
            "[[endpoint]]\nbase_url = 'http://a'\nrmp = 3",
            r"endpoint 1: unknown key 'rmp'\. Did you mean 'rpm'\? Available keys: base_url,",
        ),
        ("[[endpoint]]\nurl = 'http://a'", r"unknown key 'url'\. Did you mean 'base_url'\?"),
        ("[[endpoint]]\nbase_url = 'http://a'\nkey = 'k'", r"unknown key 'key'\. Did you mean 'api_key'\?"),
        ("[[endpoint]]\nbase_url = 'http://a'\nresend = true", r"'resend'\. Available keys: .*hedge"),
        ("endpoint = [5]", "endpoint 1 must be a table"),
        ("[[endpoint]]\nbase_url = 'http://a'\nrpm = 0", "rpm must be a number above 0"),
        ("[[endpoint]]\nbase_url = 'http://a'\ntpm = 'many'", "tpm must be a number above 0"),
        (
            "[[endpoint]]\nbase_url = 'http://a'\napi_key_env = 'NOT_SET'",
            r"variable NOT_SET \(api_key_env\) is not set",
        ),
        ("[[endpoint]]\nbase_url = 'nowhere'", r"endpoints.toml, endpoint 1: base_url 'nowhere' is not a valid URL"),
        ("[[endpoint]]\nbase_url = 'http://a'\napi_key_env = 5", "api_key_env must be a string"),
        (
            "[[endpoint]]\nbase_url = 'http://u:p@a'",
            r"endpoint 1: base_url must not contain.* Set api_key or api_key_env",
        ),
        ('[[endpoint]]\nbase_url = "http://a"\napi_key = "a\\nb"', "cannot be sent"),
    ],
)
def test_a_faulty_file_is_said_with_its_fault(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "endpoints.toml").write_text(text)
    with pytest.raises(UsageError, match=said):
        resolve_endpoints([], environment=unset, folder=tmp_path)


def test_a_bad_url_in_the_environment_is_reported_with_the_name_of_the_variable() -> None:
    with pytest.raises(UsageError, match=r"^OPENAI_BASE_URL 'nowhere' is not a valid URL"):
        resolve_endpoints([], environment={"OPENAI_BASE_URL": "nowhere"}.get)


def test_what_binds_is_said() -> None:
    endpoint = Endpoint("http://h", limits=RateLimits(rpm=60))
    endpoint.window = ConcurrencyWindow(10)
    endpoint.reserve(CallCost(), 100.0)
    assert endpoint.limiting_factor(100.0) == ""
    assert endpoint.earliest(CallCost(), 100.0) > 100.5
    assert endpoint.limiting_factor(100.0) == "quota 60 rpm"
    assert endpoint.limiting_factor(103.0) == ""
    endpoint.in_flight = 10
    assert endpoint.limiting_factor(100.0) == ""  # full, but the knee is not known yet
    endpoint.window.knee_found = True
    assert endpoint.limiting_factor(100.0) == "server at capacity"
    endpoint.in_flight = 1
    for _ in range(2):
        endpoint.throttle.record_429(100.0, 100.1, 5.0)
    assert endpoint.earliest(CallCost(), 101.0) > 104
    assert endpoint.limiting_factor(101.0).startswith("learned quota ")


@pytest.mark.parametrize(
    ("remaining", "reset", "seconds"), [("0", "500ms", 0.5), ("0", "30s", MAX_RESET_PAUSE_SECONDS), ("7", "500ms", 0.0)]
)
def test_an_answer_that_says_nothing_is_left_holds_the_next_call(remaining: str, reset: str, seconds: float) -> None:
    headers = {
        "x-ratelimit-limit-requests": "60000",
        "x-ratelimit-remaining-requests": remaining,
        "x-ratelimit-reset-requests": reset,
    }
    transport = FakeTransport(lambda body: HttpResponse(200, answer().body, headers.get))

    async def main() -> float:
        endpoint = Endpoint("http://h")
        await attempt(endpoint, transport)
        return max(0.0, endpoint.earliest(CallCost(), virtual_time.now()) - virtual_time.now())

    assert virtual_time.run_virtual(main()) == pytest.approx(seconds)
