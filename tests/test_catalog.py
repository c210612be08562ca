"""The catalog of providers: hosts, keys, names of parameters, and how thinking is switched."""

import re
from typing import Any

import pytest

from manycall.errors import UsageError
from manycall.providers import address
from manycall.providers.adapt_body import adapt_body, rename_params
from manycall.providers.catalog import GENERIC, PROVIDERS, find_preset, find_provider
from manycall.providers.provider import Provider
from manycall.providers.thinking import thinking_fields
from manycall.providers.urls import normalize_base_url

HOSTED = "openai deepseek dashscope zhipu moonshot ark siliconflow openrouter together groq fireworks mistral xai"
NATIVE = "gemini anthropic minimax azure"
SELF_HOSTED = "vllm sglang lmdeploy llamacpp ollama"
ROWS = pytest.mark.parametrize("provider", PROVIDERS, ids=[provider.name for provider in PROVIDERS])


def fields(name: str, value: str | int) -> dict[str, Any]:
    provider = find_preset(name)
    return thinking_fields(provider.name, provider.thinking, value)


@pytest.mark.parametrize("name", f"{HOSTED} {NATIVE} {SELF_HOSTED}".split())
def test_every_preset_has_a_row_with_a_url_and_a_key(name: str) -> None:
    provider = find_preset(name.upper())
    assert provider.name == name
    assert provider.base_urls or provider.base_url_variable
    assert bool(provider.key_variables) is (name not in SELF_HOSTED.split())
    assert all(re.fullmatch(r"[A-Z]+(_[A-Z]+)*_API_KEY", variable) for variable in provider.key_variables)


def test_an_unknown_preset_is_refused_with_all_names() -> None:
    expected = r"Unknown provider 'opena1'\. Did you mean openai\? Expected a URL, or one of openai, .*, ollama\.$"
    with pytest.raises(UsageError, match=expected):
        find_preset("opena1")
    with pytest.raises(UsageError, match=r"Unknown provider 'Qwen'\. Did you mean dashscope\?"):
        find_preset("Qwen")


@ROWS
def test_the_base_urls_of_a_row_find_the_row_and_are_in_their_normal_form(provider: Provider) -> None:
    for url in provider.base_urls:
        parts = address.parse(url)
        assert normalize_base_url(url) == url
        assert find_provider(parts.host, parts.path) is (GENERIC if parts.host == "localhost" else provider)
    for host in provider.hosts:
        assert find_provider(f"resource.{host}.", provider.path) is provider


def test_names_are_unique() -> None:
    assert len({provider.name for provider in PROVIDERS}) == len(PROVIDERS)


@pytest.mark.parametrize(
    ("host", "path", "name"),
    [
        ("API.OpenAI.com", "/v1", "openai"),
        ("generativelanguage.googleapis.com", "/v1beta", "gemini"),
        ("generativelanguage.googleapis.com", "/v1beta/openai", "gemini_openai"),
        ("acme.openai.azure.com", "/openai/v1", "azure_v1"),
        ("acme.openai.azure.com", "/openai/deployments/gpt", "azure"),
        ("acme.openai.azure.com", "/v1", "azure"),
        ("ws1.cn-beijing.maas.aliyuncs.com", "/compatible-mode/v1", "dashscope"),
        ("api.z.ai", "/api/paas/v4", "zhipu"),
        ("notapi.openai.com.example", "/v1", "generic"),
        ("evilopenai.azure.com", "/openai/v1", "generic"),
        ("127.0.0.1", "/v1", "generic"),
        ("", "", "generic"),
    ],
)
def test_a_row_is_found_by_its_host_and_by_the_path_where_one_host_has_several_apis(
    host: str, path: str, name: str
) -> None:
    assert find_provider(host, path).name == name


@pytest.mark.parametrize(
    ("name", "given", "sent"),
    [
        ("openai", {"max_tokens": 5, "seed": 1}, {"max_completion_tokens": 5, "seed": 1}),
        ("mistral", {"max_completion_tokens": 5, "seed": 1}, {"max_tokens": 5, "random_seed": 1}),
        ("ollama", {"max_completion_tokens": 5}, {"max_tokens": 5}),
        ("ark", {"max_completion_tokens": 5, "temperature": 0}, {"max_completion_tokens": 5, "temperature": 0}),
        ("deepseek", {"max_tokens": 5}, {"max_tokens": 5}),
    ],
)
def test_parameters_are_renamed_and_never_dropped(name: str, given: dict[str, Any], sent: dict[str, Any]) -> None:
    assert rename_params(find_preset(name), given) == sent


def test_a_parameter_under_both_names_is_refused() -> None:
    with pytest.raises(UsageError, match="'max_tokens' and 'max_completion_tokens' are the same at openai"):
        rename_params(find_preset("openai"), {"max_tokens": 5, "max_completion_tokens": 6})


@ROWS
def test_no_row_renames_a_name_twice(provider: Provider) -> None:
    assert not {*provider.renames} & {*provider.renames.values()}
    assert provider.renames.get("max_tokens", "max_tokens") in ("max_tokens", "max_completion_tokens")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("deepseek", "on", {"thinking": {"type": "enabled"}}),
        ("zhipu", "off", {"thinking": {"type": "disabled"}}),
        ("openai", "HIGH ", {"reasoning_effort": "high"}),
        ("openai", "off", {"reasoning_effort": "none"}),
        ("dashscope", "4096", {"enable_thinking": True, "thinking_budget": 4096}),
        ("dashscope", 0, {"enable_thinking": False}),
        ("openrouter", 4096, {"reasoning": {"max_tokens": 4096}}),
        ("anthropic", 4096, {"thinking": {"type": "enabled", "budget_tokens": 4096}}),
        ("groq", "on", {"reasoning_effort": "default"}),
        ("vllm", "off", {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}}),
        ("minimax", "on", {"reasoning_split": True}),
    ],
)
def test_thinking_is_switched_in_each_providers_own_way(name: str, value: str | int, expected: dict[str, Any]) -> None:
    assert fields(name, value) == expected


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ark", "low", "thinking='low' has no equivalent at ark. Use on or off."),
        ("deepseek", 4096, "thinking=4096 has no equivalent at deepseek. Use on, off, low or high."),
        ("minimax", "off", "thinking='off' has no equivalent at minimax. Use on."),
        ("openai", 0.5, "thinking=0.5 is not valid. Expected on, off, low, medium, high or a number of tokens."),
        ("openai", "none", "thinking='none' is not valid. Expected on, off, low, medium, high or a number of tokens."),
        ("openai", -1, "thinking=-1 is not valid. Expected on, off, low, medium, high or a number of tokens."),
        ("openai", "", "thinking='' is not valid. Expected on, off, low, medium, high or a number of tokens."),
        ("siliconflow", 100, "thinking=100 is not valid for siliconflow. Expected 128 to 32,768 tokens."),
        ("siliconflow", 40_000, "thinking=40000 is not valid for siliconflow. Expected 128 to 32,768 tokens."),
        ("anthropic", 100, "thinking=100 is not valid for anthropic. Expected 1,024 or more tokens."),
        ("minimax", 0, "thinking=0 has no equivalent at minimax. Use on."),
    ],
)
def test_a_thinking_value_without_an_equivalent_is_refused(name: str, value: Any, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        fields(name, value)
    assert str(caught.value) == message


def test_an_unknown_server_has_no_thinking_switch() -> None:
    with pytest.raises(UsageError, match=r"does not know how this server switches thinking \(thinking='on'\)"):
        thinking_fields(GENERIC.name, GENERIC.thinking, "on")


@ROWS
def test_the_fields_of_a_switch_belong_to_the_caller(provider: Provider) -> None:
    for value in ("on", "off", "low", "medium", "high", 2000):
        try:
            sent = thinking_fields(provider.name, provider.thinking, value)
        except UsageError:
            continue
        assert sent
        sent.clear()  # the caller may change the fields; the table stays as it is
        assert thinking_fields(provider.name, provider.thinking, value)


@pytest.mark.parametrize(
    ("name", "model", "expected"),
    [("dashscope", "QwQ-plus", True), ("dashscope", "qwen/qvq-max", True), ("dashscope", "qwen-max", False)],
)
def test_some_models_only_stream(name: str, model: str, expected: bool) -> None:
    assert find_preset(name).must_stream(model) is expected
    assert find_preset("openai").must_stream(model) is False


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}


def chat_body(*parts: dict[str, Any], **params: Any) -> dict[str, Any]:
    return {
        "model": "m",
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": [*parts]}],
        **params,
    }


TEXT, PNG, URL = (
    {"type": "text", "text": "What is it?"},
    image("data:image/png;base64,iVBO"),
    image("https://h/cat.png"),
)


@ROWS
def test_a_body_that_needs_no_change_is_returned_as_it_is(provider: Provider) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.5}
    assert adapt_body(provider, body) is body
    with_image = chat_body(TEXT, PNG, max_tokens=5, seed=1)
    if provider.takes_canonical_body:
        assert adapt_body(provider, with_image) is with_image


@pytest.mark.parametrize(
    ("name", "parts", "content"),
    [
        ("zhipu", [TEXT, PNG], [TEXT, image("iVBO")]),
        ("zhipu", [TEXT, URL], [TEXT, URL]),
        ("deepseek", [TEXT, TEXT], "What is it?What is it?"),
        ("deepseek", [TEXT, PNG], [TEXT, PNG]),
        ("ollama", [TEXT, PNG], [TEXT, PNG]),
        ("openai", [TEXT, URL], [TEXT, URL]),
    ],
)
def test_images_are_sent_as_the_provider_accepts_them(name: str, parts: list[dict[str, Any]], content: Any) -> None:
    body = chat_body(*parts)
    assert adapt_body(find_preset(name), body)["messages"][1]["content"] == content
    assert body == chat_body(*parts)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (URL, "ollama does not load images from URLs, such as 'https://h/cat.png'. Put the image into the request."),
        (
            image("data:image/gif;base64,R0"),
            "ollama does not accept images of type 'image/gif'. Use one of image/",
        ),
    ],
)
def test_an_image_that_the_provider_does_not_accept_is_refused(part: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        adapt_body(find_preset("ollama"), chat_body(TEXT, part))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("temperature", [0, 0.0])
def test_temperature_0_is_sent_to_zhipu_as_greedy_decoding(temperature: float) -> None:
    zhipu = find_preset("zhipu")
    assert adapt_body(zhipu, chat_body(TEXT, PNG, temperature=temperature)) == chat_body(
        TEXT, image("iVBO"), do_sample=False
    )
    others: list[Any] = [0.5, 1, None, False, "0", []]
    for value in others:  # what the server refuses is left to it
        body = chat_body(TEXT, temperature=value)
        assert adapt_body(zhipu, body) is body
    with pytest.raises(UsageError, match="temperature 0 is sent to zhipu as do_sample = False, but do_sample is True"):
        adapt_body(zhipu, chat_body(TEXT, temperature=temperature, do_sample=True))
    for other in PROVIDERS:
        body = chat_body(TEXT, TEXT, temperature=temperature)
        assert other is zhipu or adapt_body(other, body).get("temperature") == 0


def test_parameters_and_images_are_adapted_together() -> None:
    adapted = adapt_body(find_preset("ollama"), chat_body(TEXT, PNG, max_completion_tokens=5))
    assert adapted == chat_body(TEXT, PNG, max_tokens=5)


@pytest.mark.parametrize(
    "messages", [None, 7, [], [7], [{}], [{"content": [7, {"type": "image_url"}]}], [{"content": []}]]
)
def test_malformed_messages_are_left_to_the_server(messages: Any) -> None:
    body = {"model": "m", "messages": messages}
    for name in ("ollama", "zhipu", "deepseek"):
        assert adapt_body(find_preset(name), body) is body
