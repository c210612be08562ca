"""Replies of each provider: thinking text, token counts, finish reasons, and answers that are none."""

from typing import Any

import msgspec
import pytest

from manycall import errors
from manycall.control import retry
from manycall.control.retry import FailedAttempt
from manycall.providers import openai
from manycall.providers.error_codes import classify
from manycall.records import Completion, Usage


def failed(error: errors.CallError) -> FailedAttempt:
    """Return the failed attempt that this error ends."""
    return FailedAttempt(error, classify(error))


def body(message: dict[str, Any], finish: str | None = "stop", usage: Any = None, **more: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return msgspec.json.encode({"choices": [choice], "usage": usage, **more})


def decode(reply: bytes, **options: Any) -> Completion:
    answer = openai.decode("chat", reply, **options)
    assert isinstance(answer, Completion)
    return answer


@pytest.mark.parametrize(
    "message",
    [
        {"content": "42", "reasoning_content": "6 · 7"},  # DeepSeek, Qwen, GLM, Kimi, SGLang
        {"content": "42", "reasoning": "6 · 7", "reasoning_content": None},  # vLLM, Groq, Ollama
        {"content": "42", "reasoning_content": "", "reasoning": "6 · 7"},
        {"content": "42", "reasoning_details": [{"type": "reasoning.text", "text": "6 "}, {"text": "· 7"}]},
        {"content": "42", "reasoning": "6 · 7", "reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]},
        {"content": "42", "reasoning_content": "6 · 7", "reasoning": "the same, sent twice"},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "6 · 7"}]}, {"text": "42"}]},  # Mistral
        {"content": "<think>\n6 · 7\n</think>\n\n42"},  # MiniMax, and any server without a reasoning parser
        {"content": "<think>6 · 7</think>42", "reasoning": None},
    ],
)
def test_thinking_text_is_read_from_every_place_and_is_no_part_of_the_answer(message: dict[str, Any]) -> None:
    answer = decode(body(message))
    assert (answer.text, answer.reasoning, answer.finish_reason) == ("42", "6 · 7", "stop")


@pytest.mark.parametrize("field", [7, {"a": 1}, ["x", {"text": 1}, {"text": None}], True])
def test_a_thinking_field_of_another_type_does_not_lose_the_answer(field: Any) -> None:
    for name in ("reasoning_content", "reasoning", "reasoning_details"):
        answer = decode(body({"content": "42", name: field}, usage={"prompt_tokens": 1, "completion_tokens": 2}))
        assert (answer.text, answer.reasoning, answer.usage) == ("42", "", Usage(1, 2))


def test_an_answer_is_never_split_if_the_reply_has_a_thinking_field() -> None:
    text = "<think>quoted</think> is the tag."
    assert decode(body({"content": text, "reasoning": "Hm."}), is_thinker=True).text == text


def test_a_declared_thinker_may_leave_out_the_opening_tag() -> None:
    reply = body({"content": "6 · 7\n</think>\n42"})
    assert decode(reply).text == "6 · 7\n</think>\n42"
    assert (decode(reply, is_thinker=True).text, decode(reply, is_thinker=True).reasoning) == ("42", "6 · 7")


def test_raw_completions_are_split_only_for_a_declared_thinker() -> None:
    reply = msgspec.json.encode({"choices": [{"text": "<think>a</think>b", "finish_reason": "stop"}]})
    assert decode(reply).text == "<think>a</think>b"
    assert decode(reply, is_thinker=True).text == "b"


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14}, Usage(9, 5)),
        (
            {  # OpenAI
                "prompt_tokens": 9,
                "completion_tokens": 5,
                "total_tokens": 14,
                "prompt_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 3, "accepted_prediction_tokens": 0},
            },
            Usage(9, 5, 3, 8),
        ),
        (
            {  # DeepSeek
                "prompt_tokens": 9,
                "completion_tokens": 5,
                "prompt_cache_hit_tokens": 8,
                "prompt_cache_miss_tokens": 1,
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            Usage(9, 5, 3, 8),
        ),
        ({"prompt_tokens": 9, "completion_tokens": 5, "cached_tokens": 8}, Usage(9, 5, 0, 8)),  # Moonshot
        (
            {  # SGLang
                "prompt_tokens": 9,
                "completion_tokens": 5,
                "total_tokens": 14,
                "prompt_tokens_details": None,
                "reasoning_tokens": 3,
            },
            Usage(9, 5, 3),
        ),
        (
            {  # xAI does not count the thinking text in completion_tokens
                "prompt_tokens": 9,
                "completion_tokens": 5,
                "total_tokens": 17,
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            Usage(9, 8, 3),
        ),
        ({"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": ["odd"]}, Usage(9, 5)),
        (
            {"prompt_tokens": 9, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": "3"}},
            Usage(9, 5),
        ),
        ({"prompt_tokens": True, "completion_tokens": 5}, Usage()),
        (None, Usage()),
        ("none", Usage()),
    ],
)
def test_tokens_are_counted_in_every_spelling(usage: Any, expected: Usage) -> None:
    reply = body({"content": "42"}, usage=usage)
    assert decode(reply).usage == openai.usage(reply) == expected
    assert openai.total_usage([reply, reply]) == (2, Usage(*(2 * n for n in msgspec.structs.astuple(expected))))


@pytest.mark.parametrize(
    ("sent", "meant", "truncated"),
    [
        ("stop", "stop", False),
        ("eos", "stop", False),
        ("length", "length", True),
        ("model_length", "length", True),
        ("max_tokens", "length", True),
        ("repetition", "repetition", False),
        ("load", "load", False),
        (None, "", False),
        ("", "", False),
    ],
)
def test_finish_reasons_have_one_name(sent: str | None, meant: str, truncated: bool) -> None:
    answer = decode(body({"content": "42"}, sent))
    assert (answer.finish_reason, answer.truncated) == (meant, truncated)


@pytest.mark.parametrize("finish", ["error", "network_error", "abort", "insufficient_system_resource", "parse_error"])
def test_an_answer_that_broke_off_is_no_answer_and_is_requested_again(finish: str) -> None:
    with pytest.raises(errors.InvalidResponse, match=f"broke off: finish_reason is '{finish}'") as caught:
        decode(body({"content": "The answer is"}, finish))
    assert type(caught.value) is errors.InvalidResponse
    assert retry.decide(failed(caught.value), 1, any_success=True) is errors.FailureAction.RETRY


def test_the_error_beside_a_broken_answer_is_reported() -> None:
    choice = {"message": {"content": "4"}, "finish_reason": "error", "error": {"code": 502, "message": "host is down"}}
    with pytest.raises(errors.InvalidResponse, match="host is down"):
        decode(msgspec.json.encode({"choices": [choice]}))


@pytest.mark.parametrize(
    ("message", "finish", "kind"),
    [
        ({"content": "First, take"}, "sensitive", errors.ContentFiltered),
        ({"content": None, "refusal": "I can't help with that."}, "stop", errors.Declined),
        ({"content": "I"}, "refusal", errors.Declined),
        ({"content": "", "reasoning_content": "Hm."}, "length", errors.MaxTokensReached),
        ({"content": "", "reasoning_content": "Hm."}, "model_length", errors.MaxTokensReached),
        ({"content": "<think>Hm."}, "length", errors.MaxTokensReached),
        ({"content": "", "reasoning_content": "Hm."}, "stop", errors.ReasoningOnly),
        ({"content": "\n\n", "reasoning_content": "Hm."}, "stop", errors.ReasoningOnly),
        ({"content": None, "reasoning": "Hm."}, "stop", errors.ReasoningOnly),
        ({"content": "<think>Hm."}, "stop", errors.ReasoningOnly),
        ({"content": "<think>Hm.</think>"}, "stop", errors.ReasoningOnly),
        ({"content": "", "reasoning_content": ""}, "stop", errors.EmptyCompletion),
        ({"content": "<think>\n</think>\n\n"}, "stop", errors.EmptyCompletion),
    ],
)
def test_a_reply_without_an_answer_has_a_reason(message: dict[str, Any], finish: str, kind: type[Exception]) -> None:
    with pytest.raises(errors.InvalidResponse) as caught:
        decode(body(message, finish))
    assert type(caught.value) is kind


def test_a_refusal_is_requested_once_and_thinking_without_an_answer_several_times() -> None:
    outcomes = {}
    for message in ({"content": None, "refusal": "No."}, {"content": "", "reasoning": "Hm."}):
        with pytest.raises(errors.InvalidResponse) as caught:
            decode(body(message))
        outcomes[type(caught.value)] = retry.decide(failed(caught.value), 1, any_success=True)
    assert outcomes == {errors.Declined: errors.FailureAction.FAIL, errors.ReasoningOnly: errors.FailureAction.RETRY}


def test_an_answer_that_ended_inside_its_thinking_says_so() -> None:
    with pytest.raises(errors.MaxTokensReached, match=r"ended inside its thinking.* Raise max_tokens="):
        decode(body({"content": "", "reasoning": "Hm."}, "length"))


def test_a_tool_call_keeps_its_thinking_text() -> None:
    answer = decode(body({"content": "", "reasoning": "Hm.", "tool_calls": [{"id": "t"}]}, "tool_calls"))
    assert (answer.text, answer.reasoning, answer.finish_reason) == ("", "Hm.", "tool_calls")


@pytest.mark.parametrize(
    ("base_resp", "kind", "message"),
    [
        (
            {"status_code": 1008, "status_msg": "insufficient balance"},
            errors.InvalidResponse,
            "insufficient balance.*1008",
        ),
        ({"status_code": 1027, "status_msg": "output new_sensitive"}, errors.ContentFiltered, "output new_sensitive"),
        ({"status_code": 0, "status_msg": ""}, errors.InvalidResponse, "contains no choice"),
        ("odd", errors.InvalidResponse, "contains no choice"),
    ],
)
def test_the_error_in_a_minimax_reply_is_reported(base_resp: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(errors.InvalidResponse, match=message) as caught:
        decode(msgspec.json.encode({"choices": None, "base_resp": base_resp}))
    assert type(caught.value) is kind


def test_a_minimax_reply_without_an_error_is_an_answer() -> None:
    assert decode(body({"content": "42"}, base_resp={"status_code": 0, "status_msg": ""})).text == "42"
