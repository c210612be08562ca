"""One row for each provider that the simulated server can play: what its replies, limits and models are like.

The table is independent of `providers/catalog.py`, which the client uses, so that each shows the other's mistakes.
"""

import re
from collections.abc import Mapping

import msgspec

from manycall.errors import UsageError
from manycall.option_flags import option

Path = tuple[str, ...]


class SimDialect(msgspec.Struct, frozen=True):
    """How one provider's API differs from OpenAI's.

    Attributes:
        name: name of the provider, as in the client's catalog.
        base_paths: paths of the base URLs. The first is announced.
        apis: the APIs of the provider, which `sim_apis.SIM_APIS` lists.
        key_headers: headers that may contain the API key, in lower case.
        faults: the providers whose rows of provider_faults.jsonl apply, the first before the next.
        reasoning: where thinking text is in a reply: a name in `thinking_text.REASONING_FORMS`.
        thinkers: pattern of the names of models that think, unless the request switches it off.
        switches: fields of a chat request that switch thinking on or off.
        limit_includes_thinking: max_tokens limits the thinking text and the answer, not only the answer.
        usage: name in `reply_usage.USAGES`.
        sends_usage: a stream ends with the usage, also if the request does not ask for it.
        finishes: finish reasons that this provider spells in another way.
        rate_limit_headers: name in `rate_limits.SIM_HEADERS`.
        keep_alive: bytes that a stream contains while there is no text.
        streams_only: pattern of the names of models that respond only with a stream.
        known_parameters: all parameters of the chat API; others are refused. Empty: others are ignored.
    """

    name: str
    base_paths: tuple[str, ...] = ("/v1",)
    apis: tuple[str, ...] = ("chat", "completions", "embeddings")
    key_headers: tuple[bytes, ...] = (b"authorization",)
    faults: tuple[str, ...] = ()
    reasoning: str = "reasoning_content"
    thinkers: str = ""
    switches: tuple[Path, ...] = (("reasoning_effort",),)
    limit_includes_thinking: bool = True
    usage: str = "openai"
    sends_usage: bool = False
    finishes: Mapping[str, str] = {}
    rate_limit_headers: str = "none"
    keep_alive: bytes = b""
    streams_only: str = "(?!)"
    known_parameters: frozenset[str] = frozenset()

    @property
    def fault_sources(self) -> tuple[str, ...]:
        """The providers whose faults apply, ending with those that are common to all."""
        return (*(self.faults or (self.name,)), "*")

    def must_stream(self, model: str) -> bool:
        """Return whether this model responds only with a stream."""
        return re.match(self.streams_only, _bare_name(model)) is not None

    def is_thinker(self, model: str) -> bool:
        """Return whether this model can think."""
        return re.match(self.thinkers, _bare_name(model)) is not None


def _bare_name(model: str) -> str:
    return model.lower().rpartition("/")[2]


_OPENAI_PARAMETERS = frozenset(
    "audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens messages "
    "metadata modalities model n parallel_tool_calls prediction presence_penalty prompt_cache_key "
    "prompt_cache_retention reasoning_effort response_format safety_identifier seed service_tier stop store stream "
    "stream_options temperature tool_choice tools top_logprobs top_p user verbosity web_search_options".split()
)
_GROQ_PARAMETERS = _OPENAI_PARAMETERS | {"reasoning_format", "include_reasoning"}
_MISTRAL_PARAMETERS = frozenset(
    "frequency_penalty guardrails max_tokens messages metadata model n parallel_tool_calls prediction presence_penalty "
    "prompt_mode prompt_cache_key random_seed reasoning_effort response_format safe_prompt stop stream temperature "
    "tool_choice tools top_p".split()
)
_GPT = r"o\d|gpt-[5-9](?!.*-chat)|gpt-oss"
_COMMENT = b": keep-alive\n\n"
_ENABLE = (("enable_thinking",), ("thinking_budget",), ("reasoning_effort",))
_TYPE = (("thinking", "type"), ("reasoning_effort",))
_TEMPLATE = (
    ("chat_template_kwargs", "enable_thinking"),
    ("chat_template_kwargs", "thinking"),
    ("reasoning", "enabled"),
    ("reasoning", "effort"),
    ("reasoning_effort",),
    ("thinking_token_budget",),
)

_AZURE = SimDialect(
    "azure",
    base_paths=("",),
    apis=("azure",),
    key_headers=(b"api-key",),
    faults=("azure", "openai"),
    reasoning="hidden",
    thinkers=_GPT,
    rate_limit_headers="openai",
    known_parameters=_OPENAI_PARAMETERS,
)
DIALECTS: Mapping[str, SimDialect] = {
    dialect.name: dialect
    for dialect in (
        SimDialect(
            "generic",
            apis=("chat", "completions", "embeddings", "responses"),
            thinkers="(?!)",
            usage="bare",
            rate_limit_headers="openai",
            keep_alive=_COMMENT,
        ),
        SimDialect(
            "openai",
            apis=("chat", "completions", "embeddings", "responses"),
            reasoning="hidden",
            thinkers=_GPT,
            rate_limit_headers="openai",
            known_parameters=_OPENAI_PARAMETERS,
        ),
        _AZURE,
        msgspec.structs.replace(
            _AZURE,
            name="azure_v1",
            base_paths=("/openai/v1",),
            apis=("chat", "completions", "embeddings", "responses"),
            key_headers=(b"api-key", b"authorization"),
        ),
        SimDialect(
            "anthropic",
            apis=("messages",),
            key_headers=(b"x-api-key", b"authorization"),
            rate_limit_headers="anthropic",
            keep_alive=b'event: ping\ndata: {"type": "ping"}\n\n',
        ),
        SimDialect(
            "gemini",
            base_paths=("/v1beta", "/v1"),
            apis=("gemini",),
            key_headers=(b"x-goog-api-key",),
            thinkers=r"gemini-(?:2\.5|[3-9])",
        ),
        SimDialect(
            "gemini_openai",
            base_paths=("/v1beta/openai",),
            faults=("gemini_openai", "gemini"),
            reasoning="hidden",
            thinkers=r"gemini-(?:2\.5|[3-9])",
        ),
        SimDialect(
            "deepseek",
            base_paths=("/v1", "", "/beta"),
            apis=("chat", "completions", "messages"),
            switches=_TYPE,
            usage="deepseek",
            finishes={"error": "insufficient_system_resource"},
            keep_alive=_COMMENT,
        ),
        SimDialect(
            "dashscope",
            base_paths=("/compatible-mode/v1",),
            apis=("chat", "embeddings"),
            thinkers=r"(?:qwen3|qwq|qvq|qwen-(?:plus|turbo|flash)|deepseek|glm|kimi)(?!.*instruct)",
            switches=_ENABLE,
            limit_includes_thinking=False,
            streams_only=r"qwq|qvq|qwen(?:2\.5|3)?-omni",
        ),
        SimDialect(
            "zhipu",
            base_paths=("/api/paas/v4",),
            thinkers=r"glm-(?:4\.[5-9]|[5-9]|z)",
            switches=_TYPE,
            finishes={"content_filter": "sensitive", "error": "network_error"},
        ),
        SimDialect("moonshot", thinkers=r"kimi-(?:k2\.[5-9]|k[3-9]|.*thinking)", switches=_TYPE, usage="moonshot"),
        SimDialect(
            "ark",
            base_paths=("/api/v3",),
            thinkers="doubao-seed|deepseek|ep-|.*thinking",
            switches=_TYPE,
            limit_includes_thinking=False,
        ),
        SimDialect("siliconflow", switches=_ENABLE, limit_includes_thinking=False),
        SimDialect("minimax", reasoning="minimax", thinkers="minimax-m", switches=()),
        SimDialect(
            "openrouter",
            base_paths=("/api/v1",),
            apis=("chat", "completions", "embeddings", "responses"),
            reasoning="reasoning_details",
            switches=(("reasoning", "enabled"), ("reasoning", "effort"), ("reasoning_effort",)),
            usage="openrouter",
            sends_usage=True,
            keep_alive=b": OPENROUTER PROCESSING\n\n",
        ),
        SimDialect(
            "together",
            reasoning="reasoning",
            switches=(("reasoning", "enabled"), ("reasoning_effort",)),
            usage="bare",
            finishes={"stop": "eos"},
        ),
        SimDialect(
            "groq",
            base_paths=("/openai/v1",),
            reasoning="reasoning",
            thinkers="gpt-oss|qwen|deepseek-r1",
            rate_limit_headers="openai",
            known_parameters=_GROQ_PARAMETERS,
        ),
        SimDialect("fireworks", base_paths=("/inference/v1",)),
        SimDialect(
            "mistral",
            apis=("chat", "embeddings"),
            reasoning="content_list",
            thinkers="magistral|mistral-(?:small|medium)",
            switches=(("prompt_mode",), ("reasoning_effort",)),
            sends_usage=True,
            known_parameters=_MISTRAL_PARAMETERS,
        ),
        SimDialect(
            "xai",
            apis=("chat", "completions", "embeddings", "responses"),
            thinkers="grok-(?:3-mini|[4-9])",
            usage="xai",
        ),
        SimDialect(
            "vllm",
            apis=("chat", "completions", "embeddings", "responses", "messages"),
            reasoning="reasoning",
            switches=_TEMPLATE,
            finishes={"error": "abort"},
        ),
        SimDialect(
            "sglang",
            apis=("chat", "completions", "embeddings", "responses", "messages"),
            switches=_TEMPLATE,
            usage="sglang",
            finishes={"error": "abort"},
        ),
        SimDialect("lmdeploy", switches=_TEMPLATE),
        SimDialect(
            "llamacpp",
            apis=("chat", "completions", "embeddings", "responses", "messages"),
            switches=_TEMPLATE,
            usage="bare",
        ),
        SimDialect("ollama", reasoning="reasoning", switches=_TEMPLATE, usage="bare", finishes={"error": "load"}),
    )
}


def provider_dialect(name: str) -> SimDialect:
    """Return the row of a provider.

    Raises:
        UsageError: there is no such row.
    """
    if (dialect := DIALECTS.get(name)) is not None:
        return dialect
    raise UsageError(f"{option('provider', name)} is not known. Expected one of {', '.join(DIALECTS)}.")
