"""URLs, headers and the table of wires."""

import pytest

from manycall import errors
from manycall.providers.provider import BEARER
from manycall.providers.wires import WIRES
from manycall.records import Api


@pytest.mark.parametrize(
    ("name", "base", "model", "stream", "url"),
    [
        ("anthropic", "https://api.anthropic.com/v1", "m", False, "https://api.anthropic.com/v1/messages"),
        ("anthropic", "https://api.anthropic.com/v1/messages", "m", True, "https://api.anthropic.com/v1/messages"),
        (
            "anthropic",
            "https://api.deepseek.com/anthropic",
            "m",
            False,
            "https://api.deepseek.com/anthropic/v1/messages",
        ),
        ("responses", "https://api.openai.com/v1", "m", True, "https://api.openai.com/v1/responses"),
        ("responses", "https://api.openai.com/v1/responses", "m", False, "https://api.openai.com/v1/responses"),
        (
            "gemini",
            "https://g/v1beta",
            "gemini-3.5-flash",
            False,
            "https://g/v1beta/models/gemini-3.5-flash:generateContent",
        ),
        ("gemini", "https://g/v1beta/", "models/m", True, "https://g/v1beta/models/m:streamGenerateContent?alt=sse"),
        ("gemini", "https://g/v1beta", "tunedModels/m", False, "https://g/v1beta/tunedModels/m:generateContent"),
        ("gemini", "https://g/v1beta", "a?b#c", False, "https://g/v1beta/models/a%3Fb%23c:generateContent"),
    ],
)
def test_the_url_of_a_call(name: str, base: str, model: str, stream: bool, url: str) -> None:
    assert WIRES[name].url(base, "chat", model, stream) == url


@pytest.mark.parametrize(
    "base",
    [
        "https://r.openai.azure.com",
        "https://r.openai.azure.com/",
        "https://r.openai.azure.com/v1",
        "https://r.openai.azure.com/openai",
        "https://r.openai.azure.com/openai/v1",
        "https://r.openai.azure.com/openai/deployments/other",
        "https://r.openai.azure.com/openai/deployments/other/chat/completions",
    ],
)
def test_the_model_of_a_call_is_the_deployment_at_azure(base: str) -> None:
    url = WIRES["azure"].url(base, "chat", "gpt-4o", False)
    assert url == "https://r.openai.azure.com/openai/deployments/gpt-4o/chat/completions"
    assert WIRES["azure"].query == "api-version=2024-10-21"


def test_the_name_of_a_deployment_is_escaped() -> None:
    url = WIRES["azure"].url("https://r.openai.azure.com", "embeddings", "ada 2", False)
    assert url == "https://r.openai.azure.com/openai/deployments/ada%202/embeddings"


def test_azure_speaks_the_chat_api() -> None:
    azure = WIRES["azure"]
    assert (azure.encode, azure.decode, azure.fold) == (None, None, None)


@pytest.mark.parametrize(
    ("name", "key_header", "headers"),
    [
        ("azure", "api-key", ()),
        ("anthropic", "x-api-key", (("anthropic-version", "2023-06-01"),)),
        ("gemini", "x-goog-api-key", ()),
        ("responses", BEARER, ()),
    ],
)
def test_the_headers_of_a_call(name: str, key_header: str, headers: tuple[tuple[str, str], ...]) -> None:
    assert (WIRES[name].key_header, WIRES[name].headers) == (key_header, headers)


@pytest.mark.parametrize("name", ["anthropic", "responses", "gemini"])
@pytest.mark.parametrize("api", ["completions", "embeddings"])
def test_a_native_api_makes_only_chat_calls(name: str, api: Api) -> None:
    with pytest.raises(errors.UsageError, match=f"{name} API cannot make {api} calls"):
        WIRES[name].url("https://h/v1", api, "m", False)
