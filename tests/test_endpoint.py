from pathlib import Path

import pytest

from endpoints import endpoint_at
from fakes import FakeTransport, answer, attempt
from manycall.client.endpoint_config import resolve_endpoints
from manycall.client.endpoint_limits import MAX_OPENING_ADVERTISED, MAX_RESET_PAUSE_SECONDS, WindowRange
from manycall.control.concurrency_window import ConcurrencyWindow
from manycall.errors import FailureClass, UsageError
from manycall.limits import CallCost, RateLimits
from manycall.providers.catalog import GENERIC
from manycall.providers.provider import BEARER
from manycall.providers.remedies import remedy
from manycall.records import Secret
from manycall.sim import virtual_time
from manycall.transport.messages import HttpResponse


@pytest.mark.usefixtures("no_key")
def test_a_provider_and_a_url_together_say_what_a_server_is() -> None:
    vllm, gateway = resolve_endpoints(
        ["vllm=http://127.0.0.1:8000", "anthropic=https://gateway.example/v1"],
        environment={"ANTHROPIC_API_KEY": "own"}.get,
    )
    assert (vllm.url, vllm.provider.name, vllm.api, vllm.key) == ("http://127.0.0.1:8000/v1", "vllm", "", None)
    assert (gateway.url, gateway.api) == ("https://gateway.example/v1", "anthropic")
    assert gateway.key
    assert gateway.key.reveal() == "own"
    with pytest.raises(UsageError, match="vlm"):
        resolve_endpoints(["vlm=http://127.0.0.1:8000"])
    with pytest.raises(UsageError, match="over unencrypted HTTP"):
        resolve_endpoints(["anthropic=http://gateway.example"], environment={"ANTHROPIC_API_KEY": "own"}.get)


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
    ] == ["https://api.openai.com/v1"]


def test_keys_come_from_the_environment_or_the_file(tmp_path: Path) -> None:
    (tmp_path / "endpoints.toml").write_text(
        '[[endpoint]]\nbase_url = "https://a"\napi_key_env = "A_KEY"\n'
        '[[endpoint]]\nbase_url = "https://b"\napi_key = "kb"\n'
        '[[endpoint]]\nbase_url = "http://c"\n'
    )
    keys = [e.key and e.key.reveal() for e in resolve_endpoints([], environment={"A_KEY": "ka"}.get, folder=tmp_path)]
    assert keys == ["ka", "kb", None]


def test_a_refused_key_is_looked_for_where_it_was_read_from(tmp_path: Path) -> None:
    (tmp_path / "endpoints.toml").write_text('[[endpoint]]\nbase_url = "https://b"\napi_key = "kb"\n')
    (in_file,) = resolve_endpoints([], environment=unset, folder=tmp_path)
    said = remedy(FailureClass.BAD_KEY, GENERIC, in_file.key_source)
    assert said == f"Check the API key in {tmp_path / 'endpoints.toml'}, endpoint 1."
    (in_variable,) = resolve_endpoints(["https://b"], environment={"OPENAI_API_KEY": "k"}.get, folder=tmp_path)
    assert remedy(FailureClass.BAD_KEY, GENERIC, in_variable.key_source) == "Check the API key in OPENAI_API_KEY."


def test_with_nothing_at_all_the_ways_out_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_endpoints([], environment=unset, folder=tmp_path)
    for way in ("base_url='http", "OPENAI_BASE_URL", "OPENAI_API_KEY", "endpoints.toml", "base_url='sim'"):
        assert way in str(caught.value)
    assert "\n" not in str(caught.value)


def test_openai_without_a_key_is_refused_before_any_call(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Set OPENAI_API_KEY"):
        resolve_endpoints(["https://api.openai.com/v1"], environment=unset, folder=tmp_path)


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
    endpoint = endpoint_at("http://h", limits=RateLimits(rpm=60))
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
        endpoint = endpoint_at("http://h")
        await attempt(endpoint, transport)
        return max(0.0, endpoint.earliest(CallCost(), virtual_time.now()) - virtual_time.now())

    assert virtual_time.run_virtual(main()) == pytest.approx(seconds)


KNOWN = [  # what -u names or leads to: the URL, the variable of the key, the wire
    ("openai", "https://api.openai.com/v1", "OPENAI_API_KEY", ""),
    ("deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", ""),
    ("dashscope", "https://dashscope.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY", ""),
    ("zhipu", "https://open.bigmodel.cn/api/paas/v4", "ZHIPUAI_API_KEY", ""),
    ("moonshot", "https://api.moonshot.cn/v1", "MOONSHOT_API_KEY", ""),
    ("ark", "https://ark.cn-beijing.volces.com/api/v3", "ARK_API_KEY", ""),
    ("siliconflow", "https://api.siliconflow.cn/v1", "SILICONFLOW_API_KEY", ""),
    ("minimax", "https://api.minimax.io/v1", "MINIMAX_API_KEY", ""),
    ("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", ""),
    ("together", "https://api.together.ai/v1", "TOGETHER_API_KEY", ""),
    ("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY", ""),
    ("fireworks", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY", ""),
    ("mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY", ""),
    ("xai", "https://api.x.ai/v1", "XAI_API_KEY", ""),
    ("gemini", "https://generativelanguage.googleapis.com/v1beta", "GEMINI_API_KEY", "gemini"),
    ("anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", "anthropic"),
    ("https://api.deepseek.com", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", ""),
    ("https://openrouter.ai", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", ""),
    ("https://api.z.ai/", "https://api.z.ai/api/paas/v4", "ZAI_API_KEY", ""),
    ("https://api.anthropic.com/v1/messages", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", "anthropic"),
    (
        "https://api.deepseek.com/anthropic/v1/messages",
        "https://api.deepseek.com/anthropic/v1",
        "DEEPSEEK_API_KEY",
        "anthropic",
    ),
    ("https://api.openai.com/v1/responses", "https://api.openai.com/v1", "OPENAI_API_KEY", "responses"),
    (
        "https://generativelanguage.googleapis.com",
        "https://generativelanguage.googleapis.com/v1beta",
        "GOOGLE_API_KEY",
        "gemini",
    ),
    (
        "https://generativelanguage.googleapis.com/v1beta/openai/",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "GEMINI_API_KEY",
        "",
    ),
    ("https://r.openai.azure.com", "https://r.openai.azure.com", "AZURE_OPENAI_API_KEY", "azure"),
    ("https://r.openai.azure.com/openai/v1", "https://r.openai.azure.com/openai/v1", "AZURE_OPENAI_API_KEY", ""),
]


@pytest.mark.parametrize(("given", "url", "variable", "api"), KNOWN)
def test_a_known_provider_brings_its_url_and_uses_its_own_key(given: str, url: str, variable: str, api: str) -> None:
    (found,) = resolve_endpoints([given], environment={variable: "own", "OPENAI_API_KEY": "own"}.get)
    assert (found.url, found.api, found.key and found.key.reveal()) == (url, api, "own")


@pytest.mark.parametrize(("given", "url", "variable", "api"), KNOWN)
def test_an_openai_key_is_never_sent_to_another_provider(given: str, url: str, variable: str, api: str) -> None:
    if variable != "OPENAI_API_KEY":
        with pytest.raises(UsageError, match=r"needs a key\. Set .*_API_KEY"):
            resolve_endpoints([given], environment={"OPENAI_API_KEY": "sk-of-openai"}.get)
    assert resolve_endpoints([given], Secret("asked"), environment=unset)[0].key is not None


def test_the_key_of_openai_base_url_is_openai_api_key_unless_the_provider_has_its_own() -> None:
    environ = {"OPENAI_BASE_URL": "https://api.deepseek.com", "OPENAI_API_KEY": "pair"}
    (found,) = resolve_endpoints([], environment=environ.get)
    assert (found.provider.name, found.key and found.key.reveal()) == ("deepseek", "pair")
    (found,) = resolve_endpoints([], environment={**environ, "DEEPSEEK_API_KEY": "own"}.get)
    assert found.key is not None
    assert found.key.reveal() == "own"


def test_a_pasted_azure_url_keeps_its_api_version() -> None:
    environ = {"AZURE_OPENAI_API_KEY": "k"}
    for host in ("r.openai.azure.com", "gateway.example"):
        url = f"https://{host}/openai/deployments/d/chat/completions?api-version=2025-01-01-preview"
        (found,) = resolve_endpoints([url], environment=environ.get)
        assert (found.api, found.key_header, found.query) == ("azure", "api-key", "api-version=2025-01-01-preview")
    (found,) = resolve_endpoints(["azure"], environment={**environ, "AZURE_OPENAI_ENDPOINT": "https://gw.example"}.get)
    assert (found.api, found.key_header) == ("azure", "api-key")
    with pytest.raises(UsageError, match="Set AZURE_OPENAI_ENDPOINT"):
        resolve_endpoints(["azure"], environment=environ.get)


def test_the_chat_api_of_anthropic_takes_a_bearer_token(tmp_path: Path) -> None:
    (tmp_path / "endpoints.toml").write_text('[[endpoint]]\nprovider = "anthropic"\napi = "chat"\n')
    (found,) = resolve_endpoints([], environment={"ANTHROPIC_API_KEY": "k"}.get, folder=tmp_path)
    assert (found.api, found.key_header) == ("", BEARER)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        UsageError, match=r"Unknown provider 'opanai'\. Did you mean openai\? Expected a URL, or one of openai,"
    ):
        resolve_endpoints(["opanai"], environment=unset)


def test_the_file_sets_provider_api_headers_query_and_stream(tmp_path: Path) -> None:
    (tmp_path / "endpoints.toml").write_text(
        '[[endpoint]]\nprovider = "deepseek"\n'
        '[[endpoint]]\nprovider = "vllm"\nbase_url = "http://127.0.0.1:1"\napi = "anthropic"\nstream = "always"\n'
        '[[endpoint]]\nbase_url = "https://gw.example/v1"\napi_key = "k"\nauth = "x-token"\n'
        'headers = { X-Team = "blue-canary-12345678" }\nquery = { region = "eu 1" }\n'
    )
    deepseek, vllm, gateway = resolve_endpoints([], environment={"DEEPSEEK_API_KEY": "own"}.get, folder=tmp_path)
    assert (deepseek.url, deepseek.provider.name) == ("https://api.deepseek.com/v1", "deepseek")
    assert deepseek.key is not None
    assert (vllm.api, vllm.stream, vllm.key_header, vllm.provider.name) == ("anthropic", "always", BEARER, "vllm")
    assert (gateway.key_header, gateway.query) == ("x-token", "region=eu%201")
    assert [(name, value.reveal()) for name, value in gateway.headers] == [("X-Team", "blue-canary-12345678")]
    assert "canary" not in repr(gateway)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('provider = "deepsick"', r"endpoint 1: Unknown provider 'deepsick'"),
        ("provider = 5", "provider must be a string"),
        ('provider = "deepseek"', r"endpoint 1: http://a/v1 needs a key\. Set DEEPSEEK_API_KEY\."),
        ('api = "grpc"', "api must be one of chat, azure, anthropic, gemini, responses, not 'grpc'"),
        ('stream = "yes"', "stream must be one of auto, never, always"),
        ("stream = true", "stream must be one of auto, never, always"),
        ('auth = "two words"', "auth must be the name of the header"),
        ('headers = "x"', "headers must be a table of strings"),
        ("headers = { x = 5 }", "headers must be a table of strings"),
        (
            'headers = { Authorization = "Bearer k" }',
            "the header Authorization cannot be set",
        ),
        ('headers = { "a b" = "k" }', "'a b' is not the name of a header"),
        ('headers = { x = "a\\nb" }', "the header x contains a character that cannot be sent"),
        ('headers = { x = "secret" }', r"The headers \(.*\) would be sent to http://a/v1 over unencrypted HTTP"),
        ('query = { api-key = "k" }', "query must not contain a key"),
    ],
)
@pytest.mark.usefixtures("no_key")
def test_faults_of_the_new_settings_are_named(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "endpoints.toml").write_text(f'[[endpoint]]\nbase_url = "http://a"\n{line}\n')
    with pytest.raises(UsageError, match=said):
        resolve_endpoints([], environment=unset, folder=tmp_path)


@pytest.mark.parametrize(
    ("url", "key", "headers", "size"),
    [
        ("https://h", Secret("k"), {"x-ratelimit-limit-requests": "6000"}, 980),  # 10 s of 98 calls per second
        ("http://h", None, {"x-ratelimit-limit-requests": "6000"}, MAX_OPENING_ADVERTISED),  # may be a small server
        ("https://h", Secret("k"), {"x-ratelimit-limit-tokens": "6000000"}, MAX_OPENING_ADVERTISED),  # calls unlimited?
    ],
)
def test_a_hosted_endpoint_that_advertises_its_calls_per_minute_gets_the_calls_of_ten_seconds(
    url: str, key: Secret | None, headers: dict[str, str], size: int
) -> None:
    async def main() -> None:
        endpoint = endpoint_at(url, key, window=WindowRange(None, 8192))
        endpoint.record_response(HttpResponse(200, b"", headers.get), 0.0, 0.1)
        assert endpoint.window is not None
        assert endpoint.window.size == pytest.approx(size, rel=0.02)

    virtual_time.run_virtual(main())
