"""Replies of the native APIs become chat completions, streamed or not."""

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import native_streams
from manycall import errors
from manycall.providers import openai
from manycall.providers.stream_events import SseEvent
from manycall.providers.wires import WIRES
from manycall.records import Completion

RECORDED = Path(__file__).parent / "recorded"
STREAMS: dict[str, Callable[[Any, native_streams.Cut], Iterator[SseEvent]]] = {
    "anthropic": native_streams.anthropic_stream,
    "responses": native_streams.responses_stream,
    "gemini": native_streams.gemini_stream,
}


def recorded(outcome: str) -> list[Any]:
    return [
        pytest.param(name, line, id=f"{name}: {line['case']}")
        for name in STREAMS
        for line in map(json.loads, (RECORDED / f"{name}.jsonl").read_text(encoding="utf-8").splitlines())
        if outcome in line
    ]


def decode(name: str, reply: Any) -> bytes:
    translate = WIRES[name].decode
    assert translate is not None
    return translate(json.dumps(reply).encode())


def fold(name: str, events: Iterator[SseEvent] | list[SseEvent]) -> bytes:
    new = WIRES[name].fold
    assert new is not None
    folded = new()
    for event in events:
        folded.push(event)
    return folded.finish()


def meaning(body: bytes) -> dict[str, Any]:
    """Return the fields of a chat completion that a recorded line names."""
    reply = json.loads(body)
    choice, used = reply["choices"][0], reply.get("usage")
    found = {name: value for name, value in choice["message"].items() if name not in ("role", "tool_calls")}
    found["finish_reason"] = choice["finish_reason"]
    found["usage"] = used and [
        used["prompt_tokens"],
        used["completion_tokens"],
        used["prompt_tokens_details"]["cached_tokens"],
        used["completion_tokens_details"]["reasoning_tokens"],
    ]
    if calls := choice["message"].get("tool_calls"):
        found["tool_calls"] = [[c["id"], c["function"]["name"], c["function"]["arguments"]] for c in calls]
    if "service_tier" in reply:
        found["service_tier"] = reply["service_tier"]
    if "logprobs" in choice:
        found["logprobs"] = [token["token"] for token in choice["logprobs"]["content"]]
    return found


def test_a_native_reply_that_was_cut_inside_a_surrogate_pair_is_an_answer() -> None:
    reply = {"content": [{"type": "text", "text": "a \ud83d"}], "stop_reason": "max_tokens"}
    assert json.loads(decode("anthropic", reply))["choices"][0]["message"]["content"] == "a \ufffd"


@pytest.mark.parametrize(("name", "line"), recorded("expect"))
def test_a_reply_becomes_the_equivalent_chat_completion(name: str, line: dict[str, Any]) -> None:
    assert meaning(decode(name, line["reply"])) == line["expect"]


@pytest.mark.parametrize("cut", [native_streams.one_piece, native_streams.every_character])
@pytest.mark.parametrize(("name", "line"), recorded("expect"))
def test_a_streamed_reply_gives_the_same_bytes(name: str, line: dict[str, Any], cut: native_streams.Cut) -> None:
    assert fold(name, STREAMS[name](line["reply"], cut)) == decode(name, line["reply"])


@pytest.mark.parametrize(("name", "line"), recorded("expect"))
def test_the_chat_decoder_reads_every_translated_reply(name: str, line: dict[str, Any]) -> None:
    expect = line["expect"]
    try:
        completion = openai.decode("chat", decode(name, line["reply"]))
    except errors.ContentFiltered:
        assert expect["finish_reason"] == "content_filter"
    except errors.InvalidResponse:
        assert not expect["content"]
    else:
        assert isinstance(completion, Completion)
        assert completion.text == (expect["content"] or "")
        assert completion.finish_reason == expect["finish_reason"]
        assert [completion.usage.prompt_tokens, completion.usage.completion_tokens] == expect["usage"][:2]


@pytest.mark.parametrize(("name", "line"), recorded("error"))
def test_an_error_with_status_200_is_raised_as_an_error(name: str, line: dict[str, Any]) -> None:
    kind, *details = line["error"]
    with pytest.raises(getattr(errors, kind)) as caught:
        decode(name, line["reply"])
    if isinstance(caught.value, errors.HttpStatusError):
        assert [caught.value.status, caught.value.code] == details


@pytest.mark.parametrize(("name", "line"), [p for p in recorded("error") if p.values[1]["error"][1:]])
def test_an_error_in_a_stream_is_the_same_error(name: str, line: dict[str, Any]) -> None:
    _, status, code = line["error"]
    with pytest.raises(errors.HttpStatusError) as caught:
        fold(name, STREAMS[name](line["reply"], native_streams.one_piece))
    assert (caught.value.status, caught.value.code) == (status, code)


COMPLETE = [p for p in recorded("expect") if p.values[1]["expect"]["content"]]


@pytest.mark.parametrize(("name", "line"), COMPLETE)
def test_a_stream_that_ends_early_is_incomplete(name: str, line: dict[str, Any]) -> None:
    events = list(STREAMS[name](line["reply"], native_streams.every_character))
    last = {"anthropic": 2, "responses": 1, "gemini": 1}[name]  # message_stop follows the stop reason
    with pytest.raises(errors.IncompleteResponse):
        fold(name, events[:-last])
    with pytest.raises(errors.IncompleteResponse):
        fold(name, [])


@pytest.mark.parametrize(("name", "line"), COMPLETE)
def test_the_native_finish_reason_and_the_ids_are_kept(name: str, line: dict[str, Any]) -> None:
    body, reply = json.loads(decode(name, line["reply"])), line["reply"]
    assert body["id"] == reply.get("id", reply.get("responseId"))
    assert body["model"] == reply.get("model", reply.get("modelVersion"))
    candidate = min(reply.get("candidates", [{}]), key=lambda each: each.get("index", 0))
    incomplete = (reply.get("incomplete_details") or {}).get("reason")
    native = reply.get("stop_reason") or candidate.get("finishReason") or incomplete or reply["status"]
    assert body["choices"][0]["native_finish_reason"] == native


@pytest.mark.parametrize(("name", "line"), COMPLETE)
def test_events_need_no_names_and_unknown_events_are_skipped(name: str, line: dict[str, Any]) -> None:
    events = [SseEvent("", e.data) for e in STREAMS[name](line["reply"], native_streams.one_piece)]
    unknown = SseEvent("", b'{"type": "new_event", "error": null}')
    done = SseEvent("", b"[DONE]")
    assert fold(name, [unknown, *events, unknown, done]) == decode(name, line["reply"])


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("invalid_request_error", 400),
        ("authentication_error", 401),
        ("billing_error", 402),
        ("permission_error", 403),
        ("not_found_error", 404),
        ("request_too_large", 413),
        ("rate_limit_error", 429),
        ("api_error", 500),
        ("timeout_error", 504),
        ("overloaded_error", 529),
        ("an_unknown_error", 500),
    ],
)
def test_an_error_in_a_stream_has_the_status_of_the_same_error_without_streaming(kind: str, status: int) -> None:
    error = {"type": kind, "message": "why", "details": {"error_code": "x"}}
    with pytest.raises(errors.HttpStatusError) as caught:
        fold("anthropic", [SseEvent("error", json.dumps({"type": "error", "error": error}).encode())])
    assert (caught.value.status, caught.value.code) == (status, kind)
    assert json.loads(caught.value.body) == {"error": error}


@pytest.mark.parametrize("name", ["anthropic", "responses"])
def test_an_error_event_without_details_is_an_invalid_response(name: str) -> None:
    with pytest.raises(errors.InvalidResponse, match="error without details"):
        fold(name, [SseEvent("error", b"{}")])


@pytest.mark.parametrize("name", STREAMS)
def test_a_gateway_error_without_a_name_is_an_error(name: str) -> None:
    data = b'{"error": {"message": "upstream failed", "type": "bad_gateway", "code": 502}}'
    with pytest.raises(errors.HttpStatusError, match="upstream failed") as caught:
        fold(name, [SseEvent("", data)])
    assert (caught.value.status, caught.value.code) == (502, "bad_gateway")


@pytest.mark.parametrize("name", STREAMS)
def test_a_malformed_event_is_an_invalid_response(name: str) -> None:
    with pytest.raises(errors.InvalidResponse):
        fold(name, [SseEvent("", b'{"type": '), SseEvent("message_stop", b"{}")])


def test_events_after_an_error_are_ignored() -> None:
    error = SseEvent("error", b'{"type": "error", "error": {"type": "api_error", "message": "no"}}')
    with pytest.raises(errors.HttpStatusError, match="no"):
        fold("anthropic", [error, SseEvent("", b"not JSON")])


def test_truncated_tool_arguments_of_a_stream_are_kept_as_text() -> None:
    reply = json.loads((RECORDED / "anthropic.jsonl").read_text().splitlines()[4])["reply"]
    events = list(native_streams.anthropic_stream(reply | {"stop_reason": "max_tokens"}, native_streams.one_piece))
    cut = [SseEvent(e.event, e.data.replace(rb"{\"city\": \"Oslo\"}", rb"{\"city\": \"Os")) for e in events]
    assert meaning(fold("anthropic", cut))["tool_calls"][1] == ["toolu_2", "weather", '{"city": "Os']


def test_malformed_token_counts_in_a_stream_do_not_lose_the_answer() -> None:
    reply = recorded("expect")[0].values[1]["reply"]
    events = list(native_streams.anthropic_stream(reply, native_streams.one_piece))
    changed = [SseEvent(e.event, e.data.replace(b'{"output_tokens": 5}', b'"many"')) for e in events]
    assert changed != events
    assert meaning(fold("anthropic", changed))["content"] == "Paris."


def test_the_time_of_a_response_is_kept_and_other_apis_send_none() -> None:
    times = {p.values[0]: json.loads(decode(p.values[0], p.values[1]["reply"]))["created"] for p in recorded("expect")}
    assert times == {"anthropic": 0, "responses": 1_790_000_000, "gemini": 0}


@pytest.mark.parametrize("wire", STREAMS)
def test_a_translated_tool_call_can_be_sent_back(wire: str) -> None:
    line = next(p.values[1] for p in recorded("expect") if p.values[0] == wire and "tool call" in p.values[1]["case"])
    message = json.loads(decode(wire, line["reply"]))["choices"][0]["message"]
    answer = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "3 °C"}
    encode = WIRES[wire].encode
    assert encode is not None
    native = json.dumps(encode({"model": "m", "messages": [message, answer]}))
    assert "weather" in native
    assert ("CiQB" in native) == (wire == "gemini")  # Gemini's thought signature


@pytest.mark.parametrize(
    ("native", "finish"),
    [
        ("STOP", "stop"),
        *[(each, "length") for each in ("MAX_TOKENS", "CONTINUATION")],
        *[(each, "content_filter") for each in "SAFETY RECITATION LANGUAGE BLOCKLIST PROHIBITED_CONTENT".split()],
        *[(each, "content_filter") for each in "SPII OTHER MODEL_ARMOR IMAGE_SAFETY IMAGE_RECITATION".split()],
        ("IMAGE_PROHIBITED_CONTENT", "content_filter"),
        *[(each, "error") for each in "MALFORMED_FUNCTION_CALL MALFORMED_RESPONSE UNEXPECTED_TOOL_CALL".split()],
        *[(each, "error") for each in "TOO_MANY_TOOL_CALLS MISSING_THOUGHT_SIGNATURE IMAGE_OTHER NO_IMAGE".split()],
        ("ESCALATION", "escalation"),
    ],
)
def test_every_finish_reason_of_gemini_has_a_meaning(native: str, finish: str) -> None:
    choice = json.loads(decode("gemini", {"candidates": [{"finishReason": native}]}))["choices"][0]
    assert (choice["finish_reason"], choice["native_finish_reason"]) == (finish, native)


def test_log_probabilities_of_gemini_have_the_chat_format() -> None:
    chosen = [{"token": "°", "logProbability": -0.5}, {"token": "C", "logProbability": -1.5}]
    result = {"chosenCandidates": chosen, "topCandidates": [{"candidates": [chosen[0]]}]}
    reply = {"candidates": [{"finishReason": "STOP", "logprobsResult": result}]}
    degree, letter = json.loads(decode("gemini", reply))["choices"][0]["logprobs"]["content"]
    top = {"token": "°", "logprob": -0.5, "bytes": [194, 176]}
    assert degree == top | {"top_logprobs": [top]}
    assert letter == {"token": "C", "logprob": -1.5, "bytes": [67], "top_logprobs": []}


@pytest.mark.parametrize(
    ("traffic", "tier"), [("ON_DEMAND", "default"), ("ON_DEMAND_FLEX", "flex"), ("ON_DEMAND_PRIORITY", "priority")]
)
def test_the_traffic_type_of_gemini_is_the_service_tier(traffic: str, tier: str) -> None:
    reply = {"candidates": [{"finishReason": "STOP"}], "usageMetadata": {"trafficType": traffic}}
    assert json.loads(decode("gemini", reply))["service_tier"] == tier


@pytest.mark.parametrize(
    ("error", "status"),
    [({"status": "INTERNAL", "message": "x"}, 500), ({"status": "DEADLINE_EXCEEDED", "message": "x"}, 504)],
)
def test_an_error_of_gemini_without_a_code_has_the_status_of_its_name(error: dict[str, Any], status: int) -> None:
    with pytest.raises(errors.HttpStatusError) as caught:
        decode("gemini", {"error": error})
    assert caught.value.status == status


@pytest.mark.parametrize(("code", "status"), [("vector_store_timeout", 504), ("image_too_large", 400), ("new", 500)])
def test_a_failed_response_has_the_status_of_its_code(code: str, status: int) -> None:
    with pytest.raises(errors.HttpStatusError, match="why") as caught:
        decode("responses", {"output": [], "status": "failed", "error": {"code": code, "message": "why"}})
    assert (caught.value.status, caught.value.code) == (status, code)


@pytest.mark.parametrize(
    "item",
    [
        {"type": "tool_search_call", "arguments": {"query": "x"}, "call_id": 5},
        {"type": "custom_tool_call_output", "content": "text", "name": ["x"]},
        {"type": "new_call", "summary": {"text": "x"}, "phase": 1},
        {"arguments": "of no type"},
    ],
)
def test_an_item_of_another_type_does_not_lose_the_answer(item: dict[str, Any]) -> None:
    message = {"type": "message", "content": [{"type": "output_text", "text": "paid"}]}
    choice = json.loads(decode("responses", {"output": [item, message]}))["choices"][0]
    assert choice["message"]["content"] == "paid"
    with pytest.raises(errors.InvalidResponse, match="content") as caught:
        decode("responses", {"output": [item, message | {"content": "paid"}]})
    assert b"paid" in caught.value.body


def test_totals_in_a_stream_replace_earlier_ones() -> None:
    reply = json.loads((RECORDED / "anthropic.jsonl").read_text().splitlines()[1])["reply"]
    start, *rest = native_streams.anthropic_stream(reply, native_streams.one_piece)
    delta = json.loads(rest[-2].data)
    delta["usage"] = {"input_tokens": 11, "output_tokens": 30, "cache_read_input_tokens": None}
    rest[-2] = SseEvent("message_delta", json.dumps(delta).encode())
    assert meaning(fold("anthropic", [start, *rest]))["usage"] == [2111, 30, 2000, 20]


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("usage", [None, "many", {"input_tokens": "x", "promptTokenCount": []}, {"input_tokens": -5}])
def test_malformed_token_counts_do_not_lose_the_answer(name: str, usage: Any) -> None:
    reply = recorded("expect")[0].values[1]["reply"] if name == "anthropic" else None
    reply = reply or next(p.values[1]["reply"] for p in recorded("expect") if p.values[0] == name)
    field = "usageMetadata" if name == "gemini" else "usage"
    assert json.loads(decode(name, reply | {field: usage}))["choices"][0]["message"]["content"] == "Paris."


@pytest.mark.parametrize("name", STREAMS)
def test_a_reply_with_millions_of_values_is_refused(name: str) -> None:
    body = b'{"content": [' + b"0," * 1_000_001 + b"0]}"
    translate = WIRES[name].decode
    assert translate is not None
    with pytest.raises(errors.InvalidResponse, match="more than"):
        translate(body)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(min_size=1, max_size=5), JSON_VALUES, max_size=3)
TEXTS = st.text(max_size=40)
COUNTS = st.integers(0, 10_000)
BLOCKS = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS}),
    st.fixed_dictionaries({"type": st.just("thinking"), "thinking": TEXTS, "signature": TEXTS}),
    st.fixed_dictionaries({"type": st.just("redacted_thinking"), "data": TEXTS}),
    st.fixed_dictionaries({"type": st.just("tool_use"), "id": TEXTS, "name": TEXTS, "input": OBJECTS}),
)
MESSAGES = st.fixed_dictionaries(
    {
        "id": TEXTS,
        "model": TEXTS,
        "role": st.just("assistant"),
        "type": st.just("message"),
        "content": st.lists(BLOCKS, max_size=5),
        "stop_reason": st.sampled_from(["end_turn", "max_tokens", "tool_use", "refusal", "stop_sequence", "new_one"]),
        "stop_sequence": st.none() | st.text(min_size=1, max_size=5),
        "usage": st.fixed_dictionaries(
            {"input_tokens": COUNTS, "output_tokens": COUNTS},
            optional={"cache_read_input_tokens": st.none() | COUNTS, "cache_creation_input_tokens": COUNTS},
        ),
    }
)
PARTS = st.one_of(
    st.fixed_dictionaries({"text": TEXTS}, optional={"thought": st.booleans()}),
    st.fixed_dictionaries(
        {"functionCall": st.fixed_dictionaries({"name": TEXTS, "args": OBJECTS}, optional={"id": TEXTS})},
        optional={"thoughtSignature": st.text(min_size=1, max_size=5)},
    ),
)
CANDIDATES = st.lists(
    st.fixed_dictionaries(
        {"finishReason": st.sampled_from(["STOP", "MAX_TOKENS", "SAFETY", "MALFORMED_FUNCTION_CALL", "NEW"])},
        optional={
            "content": st.fixed_dictionaries({"role": st.just("model")}, optional={"parts": st.lists(PARTS)}),
            "finishMessage": TEXTS,
        },
    ),
    min_size=1,
    max_size=3,
).map(lambda candidates: [each | {"index": index} for index, each in enumerate(candidates)])
GEMINI_REPLIES = st.fixed_dictionaries(
    {"candidates": CANDIDATES, "modelVersion": TEXTS, "responseId": TEXTS},
    optional={"usageMetadata": st.dictionaries(st.sampled_from(["promptTokenCount", "thoughtsTokenCount"]), COUNTS)},
)
CUTS = st.integers(1, 7).map(lambda size: lambda text: [text[i : i + size] for i in range(0, len(text), size)])


@given(MESSAGES, CUTS)
def test_any_streamed_message_gives_the_same_bytes(reply: Any, cut: native_streams.Cut) -> None:
    assert fold("anthropic", native_streams.anthropic_stream(reply, cut)) == decode("anthropic", reply)


@given(GEMINI_REPLIES, CUTS)
def test_any_streamed_gemini_reply_gives_the_same_bytes(reply: Any, cut: native_streams.Cut) -> None:
    assert fold("gemini", native_streams.gemini_stream(reply, cut)) == decode("gemini", reply)


@given(st.sampled_from(sorted(STREAMS)), st.binary(max_size=60) | JSON_VALUES.map(lambda v: json.dumps(v).encode()))
def test_arbitrary_bytes_raise_a_call_error_or_give_a_chat_completion(name: str, body: bytes) -> None:
    wire = WIRES[name]
    assert wire.decode is not None
    assert wire.fold is not None
    folded = wire.fold()
    folded.push(SseEvent("", body))
    for attempt in (functools.partial(wire.decode, body), folded.finish):
        try:
            translated = attempt()
        except errors.CallError:
            continue
        assert json.loads(translated)["object"] == "chat.completion"


def _damaged(value: Any) -> list[Any]:
    """Return copies of a JSON value in which one inner value has another type."""
    if isinstance(value, dict):
        return [value | {k: new} for k, v in value.items() for new in (*_damaged(v), 7, None, "x", [{}])]
    if isinstance(value, list):
        return [[*value[:i], new, *value[i + 1 :]] for i, v in enumerate(value) for new in (*_damaged(v), 7)]
    return []


@pytest.mark.parametrize(("name", "line"), recorded("expect") + recorded("error"))
def test_a_reply_with_a_field_of_another_type_is_an_error_or_a_reply(name: str, line: dict[str, Any]) -> None:
    for reply in _damaged(line["reply"]):
        try:
            body = decode(name, reply)
        except errors.CallError:
            continue
        assert json.loads(body)["object"] == "chat.completion"
