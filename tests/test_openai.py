import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from manycall import errors
from manycall.providers import openai, token_usage
from manycall.providers.error_body import parse_error_body
from manycall.providers.urls import normalize_base_url
from manycall.records import BodyFormat, Completion, Embeddings, Request, Usage

MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    "url",
    ["http://h:8000", "http://h:8000/", "http://h:8000/v1", "http://h:8000/v1/", "http://h:8000/v1//chat/completions/"],
)
def test_the_usual_spellings_of_a_url_mean_the_same(url: str) -> None:
    assert normalize_base_url(url) == "http://h:8000/v1"


def test_a_custom_path_is_kept() -> None:
    assert normalize_base_url("https://h/openai/v2/") == "https://h/openai/v2"
    assert normalize_base_url("http://[::1]:80/v1") == "http://[::1]:80/v1"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "h:8000",
        "ftp://h/v1",
        "http://",
        "http:///v1",
        "http://h:x/v1",
        "http://h:99999/v1",
        "http://a b/v1",
        "http://h\0/v1",
        "x" * 9999,
    ],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(errors.UsageError, match="is not a valid URL") as caught:
        normalize_base_url(url)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("url", ["http://u:sk-secret@h/v1", "htp://u:sk-secret@h", "http://h/v1?api-key=sk-secret"])
def test_a_key_in_a_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(errors.UsageError) as caught:
        normalize_base_url(url)
    assert "secret" not in str(caught.value)


def test_the_body_is_what_the_api_wants_and_equal_requests_have_equal_bytes() -> None:
    one = openai.encode(Request("chat", "m", MESSAGES, {"temperature": 0, "max_tokens": 5}))
    two = openai.encode(Request("chat", "m", MESSAGES, {"max_tokens": 5, "temperature": 0}))
    assert one == two
    assert msgspec.json.decode(one) == {"model": "m", "messages": MESSAGES, "temperature": 0, "max_tokens": 5}
    assert msgspec.json.decode(openai.encode(Request("completions", "m", "hi", {}))) == {"model": "m", "prompt": "hi"}
    assert msgspec.json.decode(openai.encode(Request("embeddings", "m", ["a"], {}))) == {"model": "m", "input": ["a"]}


def test_a_body_may_be_spelled_as_lm_eval_spells_it() -> None:
    params = {"seed": 1234, "top_p": 1, "stop": ["Q:"], "temperature": 0.0, "max_tokens": 5}
    request = Request("chat", "m", [{"role": "user", "content": "π?"}], params, "lm-eval")
    assert openai.encode(request) == (
        b'{"messages": [{"role": "user", "content": "\\u03c0?"}], "model": "m", "max_tokens": 5, "temperature": 0.0, '
        b'"stop": ["Q:"], "seed": 1234, "top_p": 1}'
    )


@pytest.mark.parametrize("spelling", ["compact", "lm-eval"])
@pytest.mark.parametrize("params", [{"model": "x"}, {"stream": True}, {"stop": object()}, {"top_p": math.nan}])
def test_parameters_that_cannot_be_are_refused(params: dict[str, Any], spelling: BodyFormat) -> None:
    with pytest.raises(errors.UsageError):
        openai.encode(Request("chat", "m", MESSAGES, params, spelling))


def test_half_a_character_is_refused() -> None:
    with pytest.raises(errors.UsageError):
        openai.encode(Request("chat", "m", MESSAGES, {"stop": "\ud800"}))


def chat(**choice: Any) -> bytes:
    return msgspec.json.encode({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 4}})


def test_an_answer_has_a_text_a_finish_reason_and_tokens() -> None:
    body = chat(message={"content": "fine", "role": "assistant"}, finish_reason="stop")
    answer = openai.decode("chat", body)
    assert isinstance(answer, Completion)
    assert (answer.text, answer.finish_reason, answer.truncated) == ("fine", "stop", False)
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 4)
    assert answer.raw == msgspec.json.decode(body)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (chat(text="raw", finish_reason="length"), "raw"),
        (b'\n\n\n {"choices":[{"message":{"content":"late"}}],"usage":null}\n', "late"),
        (chat(message={"content": [{"type": "text", "text": "in "}, {"type": "text", "text": "parts"}]}), "in parts"),
        (chat(message={"content": None, "tool_calls": [{"id": "t"}]}), ""),
        (b'{"choices":[{"message":{"content":"x"}}],"error":null,"usage":{"prompt_tokens":null}}', "x"),
        (b'{"choices":[{"message":{"content":"x"}}],"error":"","usage":{"prompt_tokens":12.5}}', "x"),
    ],
)
def test_answers_in_other_shapes_are_understood(body: bytes, text: str) -> None:
    answer = openai.decode("chat", body)
    assert isinstance(answer, Completion)
    assert answer.text == text


def test_embeddings_come_back_in_the_order_asked_for() -> None:
    body = b'{"data":[{"index":1,"embedding":[2.0]},{"index":0,"embedding":[1.0]}],"usage":{"prompt_tokens":2}}'
    answer = openai.decode("embeddings", body)
    assert isinstance(answer, Embeddings)
    assert answer.vectors == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", errors.InvalidResponse),
        (b"<html>busy</html>", errors.InvalidResponse),
        (b"[]", errors.InvalidResponse),
        (b'{"choices":[]}', errors.InvalidResponse),
        (b'{"choices":null}', errors.InvalidResponse),
        (b'{"error":{"message":"overloaded"}}', errors.InvalidResponse),
        (b'{"choices":[{"message":{"content":"x"}}]', errors.InvalidResponse),
        (b'{"choices":[{"message":{"content":"\xff"}}]}', errors.InvalidResponse),
        (b'{"choices":' + b"[" * 1_000_000, errors.InvalidResponse),
        (chat(message={"content": None}, finish_reason="stop"), errors.EmptyCompletion),
        (chat(message={"content": ""}, finish_reason="length"), errors.MaxTokensReached),
        (chat(message={"content": None}, finish_reason="content_filter"), errors.ContentFiltered),
        (chat(message={"content": "First, take"}, finish_reason="content_filter"), errors.ContentFiltered),
        (chat(message={"content": None, "refusal": "I can't help with that."}), errors.Declined),
        (chat(message={"content": "", "refusal": {"reason": "policy"}}, finish_reason="length"), errors.Declined),
        (chat(message={"content": None, "refusal": None}), errors.EmptyCompletion),
        (chat(message={"content": None, "refusal": ""}), errors.EmptyCompletion),
        (chat(), errors.EmptyCompletion),
    ],
)
def test_a_200_without_an_answer_is_never_an_answer(body: bytes, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        openai.decode("chat", body)
    assert type(caught.value) is kind
    assert isinstance(caught.value, errors.InvalidResponse)
    assert caught.value.body == body


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}', (3, 4)),
        (b'{"choices":7,"usage":{"prompt_tokens":3,"total_tokens":3}}', (3, 0)),
        (b'{"usage":{"prompt_tokens":-3,"completion_tokens":1e99}}', (0, token_usage.MAX_TOKENS_PER_CALL)),
        (b'{"usage":null}', (0, 0)),
        (b"<html>", (0, 0)),
        (b"", (0, 0)),
    ],
)
def test_tokens_are_read_from_a_reply_without_an_answer(body: bytes, tokens: tuple[int, int]) -> None:
    assert openai.usage(body) == Usage(*tokens)


def test_an_answer_that_was_cut_inside_a_surrogate_pair_is_an_answer_with_its_tokens_and_cost() -> None:
    text = rb'{"choices":[{"message":{"content":"a\\ud83d \ud83d\ude00 \ud83d"},"finish_reason":"length"}],'
    body = text + b'"usage":{"prompt_tokens":3,"completion_tokens":4,"cost":0.5}}'
    answer = openai.decode("chat", body)
    assert isinstance(answer, Completion)
    assert answer.text == "a\\ud83d \U0001f600 \ufffd"
    assert answer.usage == openai.usage(body) == Usage(3, 4)
    assert openai.billed_usage(body) == (Usage(3, 4), "", 0.5)
    assert answer.raw["choices"][0]["message"]["content"] == answer.text


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "surrogatepass")))
def test_no_bytes_at_all_can_do_more_than_raise_bad_reply(body: bytes) -> None:
    for api in openai.API_PATHS:
        try:
            openai.decode(api, body)
        except errors.InvalidResponse:
            pass
    parse_error_body(body)
    openai.usage(body)


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b'{"error":{"message":"no such model","code":404,"type":"NotFoundError"}}', "notfounderror", "no such model"),
        (b'{"error":{"message":"slow down","code":null,"type":"Rate_Limit"}}', "rate_limit", "slow down"),
        (b'{"error":"plain"}', "", "plain"),
        (b'{"detail":"Not Found"}', "", "Not Found"),
        (b'{"message":"m"}', "", "m"),
        (b'{"detail":[{"loc":["body"]}]}', "", '[{"loc":["body"]}]'),
        (b"Bad\r\n\x1b[31mGateway\x00", "", "Bad [31mGateway"),
        (b"", "", ""),
    ],
)
def test_error_bodies_of_all_shapes_give_one_plain_line(body: bytes, code: str, message: str) -> None:
    assert parse_error_body(body) == (code, message)


@pytest.mark.parametrize(
    "said",
    [
        "Incorrect API key provided: sk-proj-abc***xyz.",
        "bad header: Bearer abcdef",
        "your key gsk_12345678 is wrong",
        "密钥sk-abc123456789无效",
    ],
)
def test_a_key_that_a_server_echoes_is_not_shown(said: str) -> None:
    _, message = parse_error_body(msgspec.json.encode({"error": {"message": said}}))
    assert "***" in message
    for part in ("abc", "xyz", "12345678", "abcdef"):
        assert part not in message


def test_a_long_error_is_shortened() -> None:
    assert len(parse_error_body(b"x" * 100_000)[1]) == 300


def test_tokens_are_counted_behind_comments_too() -> None:
    body = b'\xef\xbb\xbf: keep-alive\n\n{"choices":[{"text":"x"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}'
    assert openai.usage(body) == openai.decode("completions", body).usage == Usage(3, 2)


def test_a_completion_is_shown_without_its_body() -> None:
    body = b'{"choices":[{"message":{"content":"hi","reasoning_content":"hm"},"finish_reason":"stop"}]}'
    shown = repr(openai.decode("chat", body))
    assert shown.startswith("Completion(text='hi', finish_reason='stop', usage=Usage(")
    assert shown.endswith("reasoning='hm')")
