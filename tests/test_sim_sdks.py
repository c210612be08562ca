"""The SDKs of the providers understand the simulated providers: text, thinking, usage, finish reason and errors.

OpenAI's SDK is a development dependency. Anthropic's and Google's SDKs are not: their tests are skipped without them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from provider_sims import CHAT_PROVIDERS, THINKERS, base_url, serving

ASK = [{"role": "user", "content": "Question: one plus one?"}]
KEY = {"one plus one?": "2"}
ANSWER = "Let us take it step by step. That leaves 2.\nThe answer is 2.\n#### 2"
THOUGHT = "The answer is 4.\n#### 4\nWait, that is not correct: "

openai = pytest.importorskip("openai")


@contextmanager
def chat(provider: str, api_key: str = "k", **settings: Any) -> Iterator[Any]:
    """OpenAI's client of a simulated provider."""
    with base_url(provider, **settings) as url:
        known: dict[str, Any] = {"api_key": api_key, "max_retries": 0}
        if provider == "azure":
            client = openai.AzureOpenAI(azure_endpoint=url, api_version="2024-10-21", **known)
        else:
            headers = {"api-key": "k"} if provider == "azure_v1" else {}
            client = openai.OpenAI(base_url=url, default_headers=headers, **known)
        with client:
            yield client


def message_texts(message: Any) -> tuple[str, str]:
    """(thinking text, text) of a message or of a delta, from any field that a provider uses."""
    if isinstance(message.content, list):
        thoughts = [part for chunk in message.content for part in chunk.get("thinking", ())]
        texts = [chunk["text"] for chunk in message.content if "text" in chunk]
        return "".join(part["text"] for part in thoughts), "".join(texts)
    extra = message.model_extra or {}
    details = "".join(part["text"] for part in extra.get("reasoning_details", ()))
    return extra.get("reasoning_content") or extra.get("reasoning") or details, message.content or ""


def unstreamed(client: Any, model: str, **params: Any) -> tuple[str, str, str, Any]:
    reply = client.chat.completions.create(model=model, messages=ASK, **params)
    return *message_texts(reply.choices[0].message), reply.choices[0].finish_reason, reply.usage


def streamed(client: Any, model: str, **params: Any) -> tuple[str, str, str, Any]:
    thinking, text, finish, usage = "", "", "", None
    if "mistral" not in str(client.base_url) and not params.pop("no_usage", False):
        params["stream_options"] = {"include_usage": True}
    for chunk in client.chat.completions.create(model=model, messages=ASK, stream=True, **params):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            more_thinking, more_text = message_texts(choice.delta)
            thinking, text, finish = thinking + more_thinking, text + more_text, choice.finish_reason or finish
    return thinking, text, finish, usage


HIDDEN = {"openai", "azure", "azure_v1", "gemini_openai"}


@pytest.mark.parametrize("provider", CHAT_PROVIDERS)
def test_the_openai_sdk_reads_each_chat_provider_streamed_and_not(provider: str) -> None:
    model = THINKERS.get(provider, "any")
    with chat(provider, accuracy=1.0, key=KEY) as client:
        thinking, text, finish, usage = unstreamed(client, model)
        assert text == ANSWER
        assert finish == ("eos" if provider == "together" else "stop")
        assert thinking == "" if provider in HIDDEN else thinking.startswith(THOUGHT)
        no_usage = {"no_usage": True} if provider == "mistral" else {}
        assert streamed(client, model, **no_usage) == (thinking, text, finish, usage)
        counted = usage.completion_tokens + (
            usage.completion_tokens_details.reasoning_tokens if provider == "xai" else 0
        )
        assert usage.total_tokens == usage.prompt_tokens + counted
        assert counted > 2 * len(ANSWER) // 4


@pytest.mark.parametrize(
    ("form", "starts", "ends"),
    [
        ("think", "<think>\n" + THOUGHT, "\n</think>\n\n" + ANSWER),
        ("lone_think", THOUGHT, "\n</think>\n\n" + ANSWER),
        ("harmony", "<|channel|>analysis<|message|>" + THOUGHT, "<|channel|>final<|message|>" + ANSWER),
    ],
)
def test_without_a_reasoning_parser_the_tags_stay_in_the_text(form: str, starts: str, ends: str) -> None:
    with chat("vllm", reasoning=form, accuracy=1.0, key=KEY) as client:
        _, text, *rest = unstreamed(client, "qwen3")
        assert text.startswith(starts)
        assert text.endswith(ends)
        assert streamed(client, "qwen3") == ("", text, *rest)
        cut = unstreamed(client, "qwen3", max_tokens=5)
        assert (cut[2], "</think>" in cut[1] or "final" in cut[1]) == ("length", False)


def test_gpt_5_refuses_what_it_refuses_and_thinks_within_its_limit() -> None:
    with chat("openai", accuracy=1.0, key=KEY) as client:
        refused: list[tuple[str, Any]] = [("max_tokens", 9), ("temperature", 0), ("stop", "a")]
        for name, value in refused:
            with pytest.raises(openai.BadRequestError, match=name) as caught:
                unstreamed(client, "gpt-5-mini", **{name: value})
            assert caught.value.param == name
            assert unstreamed(client, "gpt-4.1", **{name: value})[1]
        assert unstreamed(client, "gpt-5-mini", temperature=1, max_completion_tokens=900)[1] == ANSWER
        assert unstreamed(client, "gpt-5-mini", temperature=0, reasoning_effort="none")[1] == ANSWER
        _, text, finish, usage = unstreamed(client, "gpt-5-mini", max_completion_tokens=8)
        assert (text, finish, usage.completion_tokens) == ("", "length", 8)
        assert usage.completion_tokens_details.reasoning_tokens == 8


ERRORS = [
    ("openai", "no_money", "RateLimitError", "insufficient_quota"),
    ("openai", "prompt_filtered", "BadRequestError", "invalid_prompt"),
    ("openai", "overloaded", "InternalServerError", "server_is_overloaded"),
    ("azure", "prompt_filtered", "BadRequestError", "content_filter"),
    ("deepseek", "no_money", "APIStatusError", "Insufficient Balance"),
    ("deepseek", "concurrency_limit", "RateLimitError", "concurrent"),
    ("dashscope", "quota_throttle", "RateLimitError", "insufficient_quota"),
    ("dashscope", "no_money", "BadRequestError", "Arrearage"),
    ("dashscope", "prompt_filtered", "BadRequestError", "data_inspection_failed"),
    ("zhipu", "no_money", "RateLimitError", "1113"),
    ("zhipu", "daily_quota", "RateLimitError", "1304"),
    ("moonshot", "no_money", "RateLimitError", "exceeded_current_quota_error"),
    ("ark", "no_money", "PermissionDeniedError", "AccountOverdueError"),
    ("openrouter", "in_flight_budget", "APIStatusError", "openrouter_in_flight_budget"),
    ("together", "too_long", "PermissionDeniedError", "context length"),
    ("groq", "daily_quota", "RateLimitError", "TPD"),
    ("fireworks", "no_money", "APIStatusError", "suspended"),
    ("mistral", "rate_limit", "RateLimitError", "Rate limit exceeded"),
    ("xai", "wrong_key", "BadRequestError", "Incorrect API key"),
    ("vllm", "too_long", "BadRequestError", "maximum context length"),
    ("llamacpp", "too_long", "BadRequestError", "exceed_context_size_error"),
    ("sglang", "server_error", "InternalServerError", "Internal server error"),
]


@pytest.mark.parametrize(("provider", "fault", "error", "words"), ERRORS)
def test_the_openai_sdk_raises_the_error_of_each_fault(provider: str, fault: str, error: str, words: str) -> None:
    with chat(provider, fault=fault) as client, pytest.raises(getattr(openai, error)) as caught:
        unstreamed(client, THINKERS.get(provider, "any"))
    assert words in f"{caught.value} {caught.value.body}"


def test_a_key_that_begins_with_wrong_and_a_model_that_begins_with_unknown_are_refused() -> None:
    with chat("deepseek", "wrong-1") as client, pytest.raises(openai.AuthenticationError, match="Authentication Fails"):
        unstreamed(client, "m")
    with chat("deepseek") as client, pytest.raises(openai.BadRequestError, match="Model Not Exist"):
        unstreamed(client, "unknown-model")


def test_an_error_in_a_stream_is_raised_while_it_is_read() -> None:
    with chat("vllm", fault="stream_error") as client, pytest.raises(openai.APIError, match="EngineCore"):
        streamed(client, "qwen3")


class TestResponses:
    """OpenAI's SDK and the Responses API."""

    @pytest.fixture
    def client(self) -> Iterator[Any]:
        with chat("openai", accuracy=1.0, key=KEY) as client:
            yield client

    def test_a_response_has_text_summary_and_usage(self, client: Any) -> None:
        reply = client.responses.create(model="gpt-5", input=ASK, reasoning={"summary": "auto"})
        assert (reply.status, reply.output_text) == ("completed", ANSWER)
        assert reply.output[0].summary[0].text.startswith(THOUGHT)
        assert 0 < reply.usage.output_tokens_details.reasoning_tokens < reply.usage.output_tokens

    def test_a_streamed_response_is_the_same(self, client: Any) -> None:
        whole = client.responses.create(model="gpt-5", input=ASK, reasoning={"summary": "auto"})
        with client.responses.stream(model="gpt-5", input=ASK, reasoning={"summary": "auto"}) as stream:
            texts = [event.delta for event in stream if event.type == "response.output_text.delta"]
            final = stream.get_final_response()
        assert "".join(texts) == final.output_text == whole.output_text
        assert final.usage == whole.usage

    def test_a_truncated_response_is_incomplete(self, client: Any) -> None:
        reply = client.responses.create(model="gpt-5", input=ASK, max_output_tokens=5)
        assert (reply.status, reply.incomplete_details.reason) == ("incomplete", "max_output_tokens")


@contextmanager
def claude(sdk: Any, path: str = "", **settings: Any) -> Iterator[Any]:
    """Anthropic's client of a simulated provider."""
    with (
        serving(KEY, **settings) as origin,
        sdk.Anthropic(base_url=origin + path, api_key="k", max_retries=0) as client,
    ):
        yield client


class TestAnthropic:
    """Anthropic's SDK."""

    THINKING = {"type": "enabled", "budget_tokens": 1024}

    @pytest.fixture
    def sdk(self) -> Any:
        return pytest.importorskip("anthropic")

    @pytest.fixture
    def client(self, sdk: Any) -> Iterator[Any]:
        with claude(sdk, provider="anthropic", accuracy=1.0) as client:
            yield client

    def test_a_message_has_thinking_text_and_usage(self, client: Any) -> None:
        reply = client.messages.create(model="claude-x", max_tokens=4000, messages=ASK, thinking=self.THINKING)
        thinking, text = reply.content
        assert thinking.thinking.startswith(THOUGHT)
        assert (text.text, reply.stop_reason) == (ANSWER, "end_turn")
        assert 0 < reply.usage.output_tokens_details.thinking_tokens < reply.usage.output_tokens
        with client.messages.stream(model="claude-x", max_tokens=4000, messages=ASK, thinking=self.THINKING) as stream:
            final = stream.get_final_message()
        assert [block.type for block in final.content] == ["thinking", "text"]
        assert (final.content[0].thinking, final.content[1].text) == (thinking.thinking, text.text)
        assert (final.usage.output_tokens, final.stop_reason) == (reply.usage.output_tokens, "end_turn")

    def test_models_do_not_think_unless_asked(self, client: Any) -> None:
        reply = client.messages.create(model="claude-x", max_tokens=4, messages=ASK)
        assert [block.type for block in reply.content] == ["text"]
        assert (reply.stop_reason, reply.usage.output_tokens) == ("max_tokens", 4)

    def test_new_models_refuse_sampling_parameters(self, sdk: Any, client: Any) -> None:
        with pytest.raises(sdk.BadRequestError, match="temperature: Extra inputs"):
            client.messages.create(model="claude-opus-4-7", max_tokens=9, messages=ASK, extra_body={"temperature": 1.0})

    @pytest.mark.parametrize(
        ("fault", "error", "words"),
        [
            ("wrong_key", "AuthenticationError", "invalid x-api-key"),
            ("no_money", "BadRequestError", "credit balance is too low"),
            ("spend_limit", "RateLimitError", "enforced_spend_limit_reached"),
            ("rate_limit", "RateLimitError", "rate limit"),
            ("overloaded", "APIStatusError", "overloaded_error"),
            ("too_long", "BadRequestError", "prompt is too long"),
        ],
    )
    def test_its_errors_are_raised(self, sdk: Any, fault: str, error: str, words: str) -> None:
        with claude(sdk, provider="anthropic", fault=fault) as client, pytest.raises(getattr(sdk, error), match=words):
            client.messages.create(model="claude-x", max_tokens=9, messages=ASK)

    def test_other_providers_have_the_same_api(self, sdk: Any) -> None:
        with claude(sdk, "/anthropic", provider="deepseek", accuracy=1.0) as client:
            assert client.messages.create(model="d", max_tokens=99, messages=ASK).content[0].text == ANSWER


@contextmanager
def google(genai: Any, **settings: Any) -> Iterator[Any]:
    """Google's client of the simulated Gemini API."""
    with serving(KEY, provider="gemini", **settings) as origin:
        client = genai.Client(api_key="k", http_options={"base_url": origin})
        yield client.models
        client.close()


class TestGemini:
    """Google's SDK."""

    SHOW = {"thinking_config": {"include_thoughts": True}}

    @pytest.fixture
    def genai(self) -> Any:
        return pytest.importorskip("google.genai")

    @pytest.fixture
    def models(self, genai: Any) -> Iterator[Any]:
        with google(genai, accuracy=1.0) as models:
            yield models

    def test_a_reply_has_thought_text_and_usage(self, models: Any) -> None:
        prompt = ASK[0]["content"]
        reply = models.generate_content(model="gemini-3-pro", contents=prompt, config=self.SHOW)
        thought, text = reply.candidates[0].content.parts
        assert (thought.thought, text.text, reply.text) == (True, ANSWER, ANSWER)
        assert reply.candidates[0].finish_reason == "STOP"
        assert reply.usage_metadata.thoughts_token_count > 0
        chunks = list(models.generate_content_stream(model="gemini-3-pro", contents=prompt, config=self.SHOW))
        assert "".join(chunk.text or "" for chunk in chunks) == ANSWER
        assert chunks[-1].candidates[0].finish_reason == "STOP"
        assert chunks[-1].usage_metadata == reply.usage_metadata

    @pytest.mark.parametrize(
        ("fault", "code", "words"),
        [
            ("wrong_key", 400, "API_KEY_INVALID"),
            ("rate_limit", 429, "retryDelay"),
            ("daily_quota", 429, "PerDay"),
            ("overloaded", 503, "UNAVAILABLE"),
        ],
    )
    def test_its_errors_are_raised(self, genai: Any, fault: str, code: int, words: str) -> None:
        with google(genai, fault=fault) as models, pytest.raises(genai.errors.APIError, match=words) as caught:
            models.generate_content(model="gemini-3-pro", contents="hi")
        assert caught.value.code == code

    def test_a_filtered_prompt_has_no_candidate(self, genai: Any) -> None:
        with google(genai, fault="prompt_filtered") as models:
            reply = models.generate_content(model="gemini-3-pro", contents="hi")
        assert (reply.candidates, reply.prompt_feedback.block_reason) == (None, "PROHIBITED_CONTENT")
