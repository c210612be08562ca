"""Table of the rate-limit headers of each provider."""

from manycall.limits import DAY_SECONDS, MINUTE_SECONDS
from manycall.providers.rate_limit_headers import HeaderDialect, HeaderLookup, IetfDialect, LimitHeaders


def _openai(
    unit: str, per: float = MINUTE_SECONDS, prefix: str = "x-ratelimit", header: str = "", is_reliable: bool = True
) -> LimitHeaders:
    header = header or unit
    return LimitHeaders(
        unit, per, f"{prefix}-limit-{header}", f"{prefix}-remaining-{header}", f"{prefix}-reset-{header}", is_reliable
    )


def _anthropic(unit: str) -> LimitHeaders:
    header = "anthropic-ratelimit-" + unit.replace("_", "-")
    return LimitHeaders(unit, MINUTE_SECONDS, f"{header}-limit", f"{header}-remaining", f"{header}-reset")


_LITELLM_SCOPES = "api_key model_per_key user team team_member model_per_team end_user".split()


_UNKNOWN_PERIOD = LimitHeaders(
    "requests", MINUTE_SECONDS, "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", is_reliable=False
)  # the period is not documented


HEADER_DIALECTS: tuple[HeaderDialect, ...] = (
    HeaderDialect(
        "LiteLLM",  # its own limits are exact; forwarded ones belong to one of several backends, in its units
        (
            *(
                LimitHeaders(
                    unit, MINUTE_SECONDS, f"x-ratelimit-{scope}-limit-{unit}", f"x-ratelimit-{scope}-remaining-{unit}"
                )
                for scope in _LITELLM_SCOPES
                for unit in ("requests", "tokens")
            ),
            _openai("requests", prefix="llm_provider-x-ratelimit", is_reliable=False),
            _openai("tokens", prefix="llm_provider-x-ratelimit", is_reliable=False),
        ),
        marker_headers=("x-litellm-version", "x-litellm-call-id", "x-ratelimit-api_key-limit-requests"),
    ),
    HeaderDialect(
        "Azure OpenAI",  # request limits are per second or per ten seconds; -1 and 0 occur
        (_openai("requests", is_reliable=False), _openai("tokens")),
        hosts=("openai.azure.com", "cognitiveservices.azure.com", "services.ai.azure.com"),
        marker_headers=("azureml-model-session", "x-ms-region", "apim-request-id"),  # for custom domains
        reserves_max_tokens=True,
    ),
    HeaderDialect(
        "Anthropic",  # the reset is an RFC 3339 date
        tuple(_anthropic(unit) for unit in ("requests", "tokens", "input_tokens", "output_tokens")),
        hosts=("api.anthropic.com",),
        marker_headers=("anthropic-ratelimit-requests-limit", "anthropic-ratelimit-tokens-limit"),
    ),
    HeaderDialect(
        "Groq",  # console.groq.com/docs/rate-limits
        (_openai("requests", DAY_SECONDS), _openai("tokens")),
        hosts=("api.groq.com",),
    ),
    HeaderDialect(
        "Fireworks",  # limits grow with use; its pages disagree whether they are per second or per minute
        (
            _openai("requests", is_reliable=False),
            _openai("input_tokens", header="tokens-prompt", is_reliable=False),
            _openai("output_tokens", header="tokens-generated", is_reliable=False),
        ),
        hosts=("fireworks.ai",),
    ),
    HeaderDialect(
        "Together",  # limits grow with use; its pages disagree whether they are per second or per minute
        (
            _UNKNOWN_PERIOD,
            LimitHeaders("tokens", MINUTE_SECONDS, "x-tokenlimit-limit", "x-tokenlimit-remaining", is_reliable=False),
        ),
        hosts=("together.ai", "together.xyz"),
        marker_headers=("x-tokenlimit-limit",),
    ),
    HeaderDialect(
        "OpenRouter",  # only on refusals: 20 per minute or 50 per day under one name; the reset is in ms since 1970
        (_UNKNOWN_PERIOD,),
        hosts=("openrouter.ai",),
    ),
    HeaderDialect(
        "Mistral",  # as seen in responses; no reset header
        (
            LimitHeaders(
                "requests", MINUTE_SECONDS, "x-ratelimit-limit-req-minute", "x-ratelimit-remaining-req-minute"
            ),
            LimitHeaders(
                "tokens", MINUTE_SECONDS, "x-ratelimit-limit-tokens-minute", "x-ratelimit-remaining-tokens-minute"
            ),
        ),
        hosts=("mistral.ai",),
        marker_headers=("x-ratelimit-limit-req-minute",),
    ),
    HeaderDialect(
        "OpenAI",  # the reset is a Go duration (20ms, 6m0s); many other servers use these names
        (_openai("requests"), _openai("tokens")),
        hosts=("api.openai.com",),
        marker_headers=("x-ratelimit-limit-requests", "x-ratelimit-limit-tokens"),
        reserves_max_tokens=True,
    ),
    HeaderDialect(
        "Cerebras",  # inference-docs.cerebras.ai/support/rate-limits
        (_openai("requests", DAY_SECONDS, header="requests-day"), _openai("tokens", header="tokens-minute")),
        hosts=("api.cerebras.ai",),
        marker_headers=("x-ratelimit-limit-requests-day",),
        reserves_max_tokens=True,
    ),
    HeaderDialect(
        "IETF, three headers",  # draft-ietf-httpapi-ratelimit-headers, up to -06
        (
            LimitHeaders(
                "requests",
                MINUTE_SECONDS,
                "ratelimit-limit",
                "ratelimit-remaining",
                "ratelimit-reset",
                is_reliable=False,
            ),  # the header does not give the period
        ),
        marker_headers=("ratelimit-limit",),
    ),
    IetfDialect("IETF", marker_headers=("ratelimit", "ratelimit-policy")),  # the same draft, from -08 on
    HeaderDialect("X-RateLimit", (_UNKNOWN_PERIOD,), marker_headers=("x-ratelimit-limit", "x-ratelimit-remaining")),
)
"""If several dialects match, the first is used. DeepSeek, vLLM, llama.cpp and others send no such headers."""


def find_dialect(host: str, header: HeaderLookup) -> HeaderDialect | None:
    """Return the dialect of a server, found by its host name or else by its response headers; None if unknown."""
    host = host.lower().rstrip(".")
    for dialect in HEADER_DIALECTS:
        if any(host == name or host.endswith("." + name) for name in dialect.hosts):
            return dialect
    for dialect in HEADER_DIALECTS:
        if any(header(name) is not None for name in dialect.marker_headers):
            return dialect
    return None
