"""One row for each provider and server with an OpenAI-compatible API, and for the APIs that a wire translates.

A row contains only what holds for every model of the provider. What differs between models, such as the efforts that a
model accepts, is left to the server: it refuses the request, and its message names the remedy.
"""

from difflib import get_close_matches

import msgspec

from manycall.errors import UsageError
from manycall.providers import thinking
from manycall.providers.error_body import one_line
from manycall.providers.provider import ImageRules, Provider
from manycall.providers.thinking import ThinkingSwitch

_INCLUDES_THINKING = {"max_tokens": "max_completion_tokens"}
"""`max_tokens` is deprecated or refused, and both limits include the thinking text."""
_ONLY_MAX_TOKENS = {"max_completion_tokens": "max_tokens"}
"""The server ignores or refuses `max_completion_tokens`."""

GENERIC = Provider("generic")
"""The row of an unknown host."""
_AZURE_HOSTS = ("openai.azure.com", "cognitiveservices.azure.com", "services.ai.azure.com")

PROVIDERS: tuple[Provider, ...] = (
    Provider(
        "openai",
        ("https://api.openai.com/v1",),
        key_variables=("OPENAI_API_KEY",),
        renames=_INCLUDES_THINKING,
        reasoning_field="",
        thinking=thinking.EFFORT,
    ),
    Provider(
        "azure_v1",  # before "azure", whose hosts are the same
        hosts=_AZURE_HOSTS,
        path="/openai/v1",
        key_variables=("AZURE_OPENAI_API_KEY",),
        key_header="api-key",
        renames=_INCLUDES_THINKING,
        reasoning_field="",
        thinking=thinking.EFFORT,
    ),
    Provider(
        "azure",
        hosts=_AZURE_HOSTS,
        key_variables=("AZURE_OPENAI_API_KEY",),
        base_url_variable="AZURE_OPENAI_ENDPOINT",
        key_header="api-key",
        wire="azure",
        renames=_INCLUDES_THINKING,
        reasoning_field="",
        thinking=thinking.EFFORT,
    ),
    Provider(
        "anthropic",
        ("https://api.anthropic.com/v1",),
        key_variables=("ANTHROPIC_API_KEY",),
        key_header="x-api-key",
        wire="anthropic",
        thinking=ThinkingSwitch(
            on=thinking.effort_field("medium"),
            off=thinking.effort_field("none"),
            effort=thinking.effort_field,
            budget=lambda tokens: {"thinking": {"type": "enabled", "budget_tokens": tokens}},
            min_budget=1024,
        ),
    ),
    Provider(
        "gemini_openai",  # Google's own layer with the chat API; before "gemini", whose host is the same
        ("https://generativelanguage.googleapis.com/v1beta/openai",),
        path="/openai",
        key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        thinking=thinking.EFFORT,
    ),
    Provider(
        "gemini",
        ("https://generativelanguage.googleapis.com/v1beta",),
        key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        key_header="x-goog-api-key",
        wire="gemini",
        thinking=ThinkingSwitch(
            on={"generationConfig": {"thinkingConfig": {"includeThoughts": True}}},
            off=thinking.effort_field("none"),
            effort=thinking.effort_field,
            budget=lambda n: {"generationConfig": {"thinkingConfig": {"thinkingBudget": n, "includeThoughts": True}}},
        ),
    ),
    Provider(
        "deepseek",
        ("https://api.deepseek.com/v1",),
        key_variables=("DEEPSEEK_API_KEY",),
        thinking=msgspec.structs.replace(
            thinking.THINKING_TYPE, effort=thinking.effort_field, efforts=("low", "high", "max")
        ),
        images=ImageRules(text_as_string=True),
    ),
    Provider(
        "dashscope",
        (
            "https://dashscope.aliyuncs.com/compatible-mode/v1",
            "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
            "https://dashscope-us.aliyuncs.com/compatible-mode/v1",
        ),
        hosts=("maas.aliyuncs.com",),
        key_variables=("DASHSCOPE_API_KEY",),
        thinking=thinking.ENABLE_THINKING,
        streams_only=("qwq", "qvq", "qwen-omni", "qwen2.5-omni", "qwen3-omni"),
        embedding_batch=10,  # at most 10 texts, and lists only: help.aliyun.com, "OpenAI compatible - Embedding"
        base64_embeddings=False,
    ),
    Provider(
        "zhipu",
        ("https://open.bigmodel.cn/api/paas/v4", "https://api.z.ai/api/paas/v4"),
        key_variables=("ZHIPUAI_API_KEY", "ZAI_API_KEY"),
        zero_temperature={"do_sample": False},  # temperatures outside (0, 1) are refused. Zhipu's SDK sends the same
        thinking=msgspec.structs.replace(thinking.THINKING_TYPE, effort=thinking.effort_field),
        images=ImageRules(bare_base64=True),
    ),
    Provider(
        "moonshot",
        ("https://api.moonshot.cn/v1", "https://api.moonshot.ai/v1"),
        key_variables=("MOONSHOT_API_KEY",),
        renames=_INCLUDES_THINKING,
        thinking=msgspec.structs.replace(
            thinking.THINKING_TYPE, effort=thinking.effort_field, efforts=("low", "high", "max")
        ),
        images=ImageRules(text_as_string=True),
    ),
    Provider(
        "ark",  # Volcengine (Doubao). max_tokens excludes the thinking text and max_completion_tokens includes it
        ("https://ark.cn-beijing.volces.com/api/v3",),
        hosts=("volces.com",),
        key_variables=("ARK_API_KEY",),
        thinking=thinking.THINKING_TYPE,
    ),
    Provider(
        "siliconflow",
        ("https://api.siliconflow.cn/v1", "https://api.siliconflow.com/v1"),
        key_variables=("SILICONFLOW_API_KEY",),
        thinking=msgspec.structs.replace(
            thinking.ENABLE_THINKING, efforts=("high", "max"), min_budget=128, max_budget=32_768
        ),
        embedding_batch=32,  # at most 32 texts: docs.siliconflow.cn, "Create embeddings"
    ),
    Provider(
        "minimax",
        ("https://api.minimax.io/v1", "https://api.minimaxi.com/v1"),
        key_variables=("MINIMAX_API_KEY",),
        reasoning_field="reasoning_details",
        thinking=ThinkingSwitch(on={"reasoning_split": True}),  # these models always think
    ),
    Provider(
        "openrouter",
        ("https://openrouter.ai/api/v1",),
        key_variables=("OPENROUTER_API_KEY",),
        renames=_INCLUDES_THINKING,
        reasoning_field="reasoning",
        thinking=ThinkingSwitch(
            on={"reasoning": {"enabled": True}},
            off={"reasoning": {"enabled": False}},
            effort=lambda effort: {"reasoning": {"effort": effort}},
            budget=lambda tokens: {"reasoning": {"max_tokens": tokens}},
        ),
        reports_cost=True,
    ),
    Provider(
        "together",
        ("https://api.together.ai/v1", "https://api.together.xyz/v1"),
        key_variables=("TOGETHER_API_KEY",),
        reasoning_field="reasoning",
        thinking=ThinkingSwitch(
            on={"reasoning": {"enabled": True}}, off={"reasoning": {"enabled": False}}, effort=thinking.effort_field
        ),
    ),
    Provider(
        "groq",
        ("https://api.groq.com/openai/v1",),
        key_variables=("GROQ_API_KEY",),
        renames=_INCLUDES_THINKING,
        reasoning_field="reasoning",
        thinking=msgspec.structs.replace(thinking.EFFORT, on=thinking.effort_field("default")),
    ),
    Provider(
        "fireworks",
        ("https://api.fireworks.ai/inference/v1",),
        key_variables=("FIREWORKS_API_KEY",),
        thinking=msgspec.structs.replace(
            thinking.EFFORT, on={"reasoning_effort": True}, budget=lambda tokens: {"reasoning_effort": tokens}
        ),
    ),
    Provider(
        "mistral",
        ("https://api.mistral.ai/v1",),
        key_variables=("MISTRAL_API_KEY",),
        renames={"seed": "random_seed", **_ONLY_MAX_TOKENS},
        reasoning_field="content",
        thinking=msgspec.structs.replace(thinking.EFFORT, on={"prompt_mode": "reasoning"}),
        stream_options=False,
    ),
    Provider(
        "xai",
        ("https://api.x.ai/v1",),
        key_variables=("XAI_API_KEY",),
        thinking=thinking.EFFORT_ONLY,
        reports_cost=True,
    ),
    # Servers that anybody can run. Their hosts do not identify them.
    Provider(
        "vllm",
        ("http://localhost:8000/v1",),
        reasoning_field="reasoning",
        thinking=msgspec.structs.replace(
            thinking.TEMPLATE,
            budget=lambda tokens: {**thinking.template_switch(True), "thinking_token_budget": tokens},
        ),
    ),
    Provider("sglang", ("http://localhost:30000/v1",), thinking=thinking.TEMPLATE),
    Provider("lmdeploy", ("http://localhost:23333/v1",), thinking=thinking.TEMPLATE),
    Provider(
        "llamacpp",
        ("http://localhost:8080/v1",),
        renames=_ONLY_MAX_TOKENS,
        thinking=ThinkingSwitch(
            on=thinking.template_switch(True),
            off={**thinking.template_switch(False), "reasoning_effort": "none"},
            effort=lambda effort: {"chat_template_kwargs": {"reasoning_effort": effort}},
        ),
    ),
    Provider(
        "ollama",
        ("http://localhost:11434/v1",),
        renames=_ONLY_MAX_TOKENS,
        reasoning_field="reasoning",
        thinking=thinking.EFFORT,
        images=ImageRules(urls=False, media_types=("image/jpeg", "image/jpg", "image/png", "image/webp")),
    ),
)
_BY_NAME = {provider.name: provider for provider in PROVIDERS}


def find_provider(host: str, path: str = "") -> Provider:
    """Return the row of a host; GENERIC if the host is unknown.

    Args:
        host: host of a base URL, without a port.
        path: path of the base URL. It tells the APIs of one host apart.
    """
    host = host.lower().rstrip(".")
    for provider in PROVIDERS:
        if provider.path in path and any(host == each or host.endswith(f".{each}") for each in _hosts(provider)):
            return provider
    return GENERIC


def _hosts(provider: Provider) -> tuple[str, ...]:
    own = (url.removeprefix("https://").partition("/")[0] for url in provider.base_urls if url.startswith("https:"))
    return (*own, *provider.hosts)


_BRANDS = {
    "aliyun": "dashscope", "bailian": "dashscope", "qwen": "dashscope", "tongyi": "dashscope", "bigmodel": "zhipu",
    "glm": "zhipu", "zai": "zhipu", "kimi": "moonshot", "doubao": "ark", "volcengine": "ark", "claude": "anthropic",
    "google": "gemini", "gpt": "openai", "grok": "xai", "llama.cpp": "llamacpp",
}  # fmt: skip
"""Names of models and companies that users try -> the provider."""


def find_preset(name: str) -> Provider:
    """Return the row of a name.

    Raises:
        UsageError: there is no such row.
    """
    if (provider := _BY_NAME.get(name.strip().lower())) is not None:
        return provider
    lower = name.strip().lower()
    meant = _BRANDS.get(lower) or next(iter(get_close_matches(lower, (*_BY_NAME, *_BRANDS), n=1)), "")
    meant = _BRANDS.get(meant, meant)
    hint = f" Did you mean {meant}?" if meant else ""
    raise UsageError(
        f"Unknown provider {one_line(name)[:100]!r}.{hint} Expected a URL, or one of {', '.join(_BY_NAME)}."
    )
