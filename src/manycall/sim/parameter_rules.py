"""Which parameters the providers and their models refuse, and with which words."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from manycall.sim.sim_apis import SimApi
from manycall.sim.sim_dialects import SimDialect
from manycall.sim.sim_request import Body, SimCall


class Refusal(NamedTuple):
    """Why a request is refused: the name of an error of the provider, the parameter, and the message."""

    fault: str
    param: str
    message: str


class Rule(NamedTuple):
    """A parameter that some models refuse.

    Attributes:
        models: pattern of the names of these models, without the owner.
        is_refused: (value, body) -> whether this value is refused. Absent parameters are never refused.
        fault: name of the error.
        message: with {param} and {value}.
        path: fields of the body in which the parameter is.
    """

    models: str
    param: str
    is_refused: Callable[[Any, Body], bool]
    fault: str
    message: str
    path: tuple[str, ...] = ()


def _always(value: Any, body: Body) -> bool:
    return True


def _other_than(*accepted: Any) -> Callable[[Any, Body], bool]:
    return lambda value, body: value not in accepted


def _unless_effort_none(accepted: Any) -> Callable[[Any, Body], bool]:
    return lambda value, body: value != accepted and body.get("reasoning_effort") != "none"


def _is_schema(value: Any, body: Body) -> bool:
    return isinstance(value, dict) and value.get("type") == "json_schema"


_REASONERS = r"o\d|gpt-[5-9](?!.*-chat)"
_NOT_SUPPORTED = "Unsupported parameter: '{param}' is not supported with this model."
_ONLY_DEFAULT = (
    "Unsupported value: '{param}' does not support {value} with this model. Only the default (1) value is supported."
)
_OPENAI = (
    Rule(_REASONERS, "max_tokens", _always, "bad_parameter", f"{_NOT_SUPPORTED} Use 'max_completion_tokens' instead."),
    Rule(_REASONERS, "temperature", _unless_effort_none(1), "bad_value", _ONLY_DEFAULT),
    Rule(_REASONERS, "top_p", _unless_effort_none(1), "bad_parameter", _NOT_SUPPORTED),
    Rule(_REASONERS, "logprobs", _unless_effort_none(False), "bad_parameter", _NOT_SUPPORTED),
    *(
        Rule(_REASONERS, name, _other_than(0, {}, []), "bad_parameter", _NOT_SUPPORTED)
        for name in ("stop", "presence_penalty", "frequency_penalty", "logit_bias")
    ),
)
_NO_SAMPLING = r"claude-(?:opus|sonnet|haiku|fable)-(?:4-[7-9]|[5-9])"
_EXTRA = "{param}: Extra inputs are not permitted"
_SAMPLING = ("temperature", "top_p", "top_k")
_ANTHROPIC = tuple(Rule(_NO_SAMPLING, name, _always, "unknown_parameter", _EXTRA) for name in _SAMPLING)
_VERSION_WITHOUT_SAMPLING = b"2026-10-21"
"""Since this version, the Messages API has no sampling parameters."""
_OPEN_UNIT = Rule(
    "", "temperature", lambda value, body: not 0 < value < 1 and body.get("do_sample") is not False, "bad_value",
    "temperature must be between 0 and 1, both excluded",
)  # fmt: skip

RULES: Mapping[str, tuple[Rule, ...]] = {
    "openai": _OPENAI,
    "azure": _OPENAI,
    "azure_v1": _OPENAI,
    "messages": _ANTHROPIC,
    "deepseek": (Rule("", "response_format", _is_schema, "bad_value", "This response_format type is unavailable now"),),
    "dashscope": (
        Rule("", "n", lambda value, body: value > 4, "bad_value", "Range of n should be [1, 4]"),
    ),
    "zhipu": (_OPEN_UNIT,),
    "moonshot": (
        Rule(
            r"kimi-(?:k2\.[5-9]|k[3-9])", "temperature", _other_than(1, 0.6), "bad_value",
            "invalid temperature: only 1 is allowed for this model",
        ),
        Rule(
            r"kimi-(?:k2\.[5-9]|k[3-9])", "top_p", _other_than(0.95), "bad_value",
            "invalid top_p: only 0.95 is allowed for this model",
        ),
    ),
    "minimax": (
        Rule(
            "", "temperature", lambda value, body: not 0 < value <= 1, "bad_value",
            "temperature must be greater than 0 and at most 1",
        ),
    ),
    "groq": (
        Rule("", "n", _other_than(1), "bad_value", "'n' : number must be at most 1"),
        Rule("", "logprobs", _other_than(False), "bad_parameter", "`logprobs` is not supported with this model"),
        Rule(
            "", "response_format", lambda value, body: bool(body.get("stream")) and _is_schema(value, body),
            "bad_value", "response_format `json_schema` does not support streaming",
        ),
    ),
    "xai": tuple(
        Rule("grok-[4-9]", name, _always, "bad_parameter", "Argument not supported on this model: {param}")
        for name in ("stop", "frequency_penalty", "presence_penalty")
    ),
}  # fmt: skip
"""By the name of the provider, or of the API if it is the same at all providers."""

MUST_STREAM = "This model only support stream mode, please enable the stream parameter to access the model. "
"""DashScope's words."""
THINKS_ONLY_STREAMED = r"qwen3-\d(?!.*instruct)"
"""DashScope's open models, which think only in a stream."""


def find_refusal(
    dialect: SimDialect, api: SimApi, call: SimCall, *, refused: tuple[str, ...], must_stream: bool
) -> Refusal | None:
    """Return why a request is refused; None if it is accepted.

    Args:
        refused: further parameters that are refused.
        must_stream: calls must ask for a stream.
    """
    return next(_refusals(dialect, api, call, refused, must_stream), None)


def find_version_refusal(api: SimApi, headers: Mapping[bytes, bytes], body: Body) -> Refusal | None:
    """Return why the Messages API refuses a request in the version that its headers name; None if it is accepted."""
    if api.name != "messages":
        return None
    if (version := headers.get(b"anthropic-version")) is None:
        return Refusal("bad_request", "", "anthropic-version: header is required")
    refused = next((name for name in _SAMPLING if name in body and version >= _VERSION_WITHOUT_SAMPLING), None)
    return None if refused is None else Refusal("unknown_parameter", refused, _EXTRA.format(param=refused))


def _refusals(
    dialect: SimDialect, api: SimApi, call: SimCall, refused: tuple[str, ...], must_stream: bool
) -> Iterator[Refusal]:
    model = call.model.lower().rpartition("/")[2]
    for name in refused:
        if name in call.body or name in (call.body.get("generationConfig") or {}):
            yield Refusal("bad_parameter", name, _NOT_SUPPORTED.format(param=name))
    yield from _unknown_parameters(dialect, api, call.body)
    for rule in RULES.get(api.name) or (RULES.get(dialect.name, ()) if api.name in ("chat", "azure") else ()):
        value = call.body.get(rule.param)
        if value is not None and re.match(rule.models, model) and rule.is_refused(value, call.body):
            yield Refusal(rule.fault, rule.param, rule.message.format(param=rule.param, value=value))
    yield from _bad_limits(api, call)
    if call.stream:
        return
    if must_stream or dialect.must_stream(model):
        yield Refusal("bad_value", "stream", MUST_STREAM)
    is_open = dialect.name == "dashscope" and re.match(THINKS_ONLY_STREAMED, model)
    if is_open and call.body.get("enable_thinking") is not False:
        message = "parameter.enable_thinking must be set to false for non-streaming calls"
        yield Refusal("bad_value", "enable_thinking", message)


_ANTHROPIC_PARAMETERS = frozenset(
    "cache_control container context_management inference_geo max_tokens mcp_servers messages metadata model "
    "output_config output_format service_tier speed stop_sequences stream system temperature thinking tool_choice "
    "tools top_k top_p".split()
)
_GEMINI_PARAMETERS = frozenset(
    "cachedContent contents generationConfig labels model safetySettings serviceTier store systemInstruction "
    "system_instruction toolConfig tools".split()
)
_KNOWN = {"messages": _ANTHROPIC_PARAMETERS, "gemini": _GEMINI_PARAMETERS}


def _unknown_parameters(dialect: SimDialect, api: SimApi, body: Body) -> Iterator[Refusal]:
    """Yield the parameters that the API does not know. Most servers ignore them."""
    known = _KNOWN.get(api.name) or (dialect.known_parameters if api.name in ("chat", "azure") else frozenset())
    for name in body:
        if known and name not in known:
            yield Refusal("unknown_parameter", name, f"{name}: Extra inputs are not permitted")


def _bad_limits(api: SimApi, call: SimCall) -> Iterator[Refusal]:
    limit = call.max_tokens
    if limit is not None and not (isinstance(limit, int) and limit > 0):
        yield Refusal("bad_value", api.limit, f"{api.limit} must be at least 1, not {limit!r:.50}")
    elif api.name == "messages":
        if limit is None:
            yield Refusal("bad_request", api.limit, "max_tokens: Field required")
        elif (budget := (call.body.get("thinking") or {}).get("budget_tokens")) is not None:
            yield from _bad_budget(budget, limit, call.body)


def _bad_budget(budget: Any, limit: int, body: Body) -> Iterator[Refusal]:
    if budget < 1024:
        message = "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
        yield Refusal("bad_request", "thinking", message)
    if budget >= limit:
        yield Refusal("bad_request", "thinking", "`max_tokens` must be greater than `thinking.budget_tokens`.")
    if body.get("temperature") not in (None, 1):
        yield Refusal("bad_request", "temperature", "`temperature` may only be set to 1 when thinking is enabled.")
