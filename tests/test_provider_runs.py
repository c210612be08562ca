"""Whole runs against the simulated endpoint that plays each provider, over HTTP, in the provider's own API."""

from pathlib import Path
from typing import Any

import pytest

import manycall
from manycall.errors import UsageError

PROVIDERS = (
    "openai azure azure_v1 anthropic gemini gemini_openai deepseek dashscope zhipu moonshot ark siliconflow minimax "
    "openrouter together groq fireworks mistral xai vllm sglang lmdeploy llamacpp ollama"
).split()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_row_is_done_in_the_api_of_each_provider(provider: str, tmp_path: Path) -> None:
    result = manycall.generate(
        "Tell a story.", samples=3, model="some-model", base_url=f"sim:provider={provider}", max_tokens=2000,
        temperature=0.5, out=tmp_path / "out.jsonl", progress=False,
    )  # fmt: skip
    assert (result.done, result.failed, result.invalid_responses) == (3, 0, 0)
    assert result.prompt_tokens > 0
    assert result.completion_tokens > 0
    assert all(row["text"].strip() and row["text_finish_reason"] == "stop" for row in result)


def test_a_run_with_temperature_0_is_possible_at_zhipu_which_refuses_that_value(tmp_path: Path) -> None:
    result = manycall.generate(
        "Tell a story.", samples=2, model="some-model", base_url="sim:provider=zhipu", temperature=0,
        out=tmp_path / "out.jsonl", progress=False,
    )  # fmt: skip
    assert (result.done, result.failed) == (2, 0)


@pytest.mark.parametrize(
    ("provider", "thinking"),
    [("openai", "low"), ("anthropic", "on"), ("gemini", "on"), ("deepseek", "off"), ("dashscope", 500)],
)
def test_thinking_is_switched_in_the_api_of_the_provider(provider: str, thinking: str | int, tmp_path: Path) -> None:
    result = manycall.generate(
        "Tell a story.", samples=2, model="some-model", base_url=f"sim:provider={provider}", thinking=thinking,
        max_tokens=4000, out=tmp_path / "out.jsonl", progress=False,
    )  # fmt: skip
    assert result.done == 2
    if thinking == "off":
        assert not any("text_reasoning" in row for row in result)


def test_a_provider_that_the_simulator_does_not_play_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"provider nosuch is not known\. Expected one of generic, openai"):
        manycall.generate("x", model="m", base_url="sim:provider=nosuch", out=tmp_path / "out.jsonl", progress=False)


def test_the_first_error_of_each_kind_that_is_retried_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = manycall.generate(
        "Tell a story.", samples=20, model="m", base_url="sim:error_rate=0.4,latency=0", out=tmp_path / "out.jsonl"
    )
    assert (result.done, result.retries > 1) == (20, True)
    shown = capsys.readouterr().err
    assert shown.count("Retrying: ") == shown.count("returned status 500") == 1


def test_a_refused_parameter_is_announced_once_and_not_as_a_retry(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sim: dict[str, Any] = {"model": "gpt-5-mini", "base_url": "sim:provider=openai", "out": tmp_path / "out.jsonl"}
    assert manycall.generate("Hi", samples=3, temperature=0.3, max_tokens=900, **sim).retries > 0
    shown = capsys.readouterr().err
    assert "temperature omitted (only 1 is accepted)" in shown
    assert "Retrying" not in shown
