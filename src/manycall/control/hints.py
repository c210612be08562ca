"""What servers say about their limits, in all their dialects.

What they say is a hint, not the truth: a figure may be per second, per minute or per day under the same header,
-1, 0, or that of one backend of many. So each dialect is a row that also says which limits may be believed. A limit
believed though it is too low makes a run slow for no reason; a limit not believed is found by being refused
(throttle.py). In doubt a limit is not believed.
"""

import math
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import msgspec

Header = Callable[[str], str | None]

MINUTE, DAY = 60.0, 86_400.0
MOST = 1e12
"""Requests or tokens. Who says more means that there is no limit."""
LONGEST_RESET = 32 * DAY
"""Seconds; who says more is mistaken about the unit."""
LONGEST_TEXT = 100
"""Characters of a date or a duration."""

RETRY_AFTER = (
    ("retry-after-ms", 0.001),  # first, as in OpenAI's own SDK
    ("retry-after", 1.0),  # RFC 9110 §10.2.3
    ("llm_provider-retry-after", 1.0),  # LiteLLM: what the backend said
    ("x-ms-retry-after-ms", 0.001),  # Azure, in front of some services: azure-core's retries
)
"""How servers ask for patience, and the unit in seconds; the first that makes sense counts."""


def sent_at(header: Header, wall: float) -> float:
    """Seconds since 1970 by the server's own clock (Date, RFC 9110 §6.6.1): ours may be wrong.

    Args:
        wall: by our clock, for servers that do not say.
    """
    moment = _until(header("date") or "", 0.0)
    return wall if moment is None else moment


def retry_after(header: Header, wall: float) -> float | None:
    """How many seconds the server asks us to wait; None if it does not say, or says nonsense.

    A number, or an HTTP date; a date in the past is 0.

    Args:
        wall: seconds since 1970, to which a date is compared.
    """
    for name, unit in RETRY_AFTER:
        text = header(name)
        if text is None:
            continue
        if (number := _number(text)) is not None:
            return number * unit
        if (seconds := _until(text, wall)) is not None:
            return seconds
    return None


class Told(NamedTuple):
    """What one reply says of one limit. None: not said, not believed, or nonsense.

    Attributes:
        unit: what is counted: "requests", "tokens", "input_tokens" or "output_tokens".
        seconds: the time over which it is counted: 60 or 86400.
        limit: units in that time.
        remaining: units that are left now. 0 only beside a limit that makes sense.
        reset: seconds until it is whole again, or until the next unit: as the provider means it.
    """

    unit: str
    seconds: float
    limit: float | None
    remaining: float | None
    reset: float | None


def until_reset(told: Iterable[Told]) -> float | None:
    """The hint of a refusal without Retry-After: the longest reset of the limits that are used up, in seconds."""
    return max((one.reset for one in told if one.remaining == 0 and one.reset is not None), default=None)


class Names(NamedTuple):
    """The headers that speak of one limit; "" if there is none.

    Attributes:
        unit, seconds: as in Told.
        believed: whether the limit is what its name says; otherwise only what remains and the reset are told.
    """

    unit: str
    seconds: float
    limit: str
    remaining: str
    reset: str = ""
    believed: bool = True


class Dialect(msgspec.Struct, frozen=True):
    """The headers of one provider, or of a convention.

    Attributes:
        hosts: who speaks it: these host names and those under them.
        signs: on other hosts, any of these headers gives it away.
        charges_most: a call costs its max_tokens, however short the answer turns out.
    """

    name: str
    limits: tuple[Names, ...] = ()
    hosts: tuple[str, ...] = ()
    signs: tuple[str, ...] = ()
    charges_most: bool = False

    def read(self, header: Header, wall: float) -> list[Told]:
        """What a reply says, one for each limit of which it says anything.

        Args:
            wall: seconds since 1970, to which dates are compared.
        """
        told: list[Told] = []
        for names in self.limits:
            limit, remaining = _amount(header(names.limit)), _amount(header(names.remaining))
            reset = _reset(header(names.reset), wall) if names.reset else None
            told += _told(names.unit, names.seconds, limit, remaining, reset, names.believed)
        return told


class StructuredFields(Dialect, frozen=True):
    """`RateLimit: "default";r=50;t=30` and `RateLimit-Policy: "default";q=100;w=60`: one limit for each name."""

    def read(self, header: Header, wall: float) -> list[Told]:
        """What a reply says; a limit only if it is counted over a minute or a day."""
        told: list[Told] = []
        policies, left = _items(header("ratelimit-policy")), _items(header("ratelimit"))
        for name in policies | left:
            policy, now = policies.get(name, {}), left.get(name, {})
            if policy.get("qu", "requests") != "requests":
                continue
            window = _number(policy.get("w"))
            limit, remaining, reset = _amount(policy.get("q")), _amount(now.get("r")), _soon(_number(now.get("t")))
            seconds = DAY if window == DAY else MINUTE
            told += _told("requests", seconds, limit, remaining, reset, believed=window == seconds)
        return told


def _openai(
    unit: str, per: float = MINUTE, prefix: str = "x-ratelimit", header: str = "", believed: bool = True
) -> Names:
    header = header or unit
    return Names(
        unit, per, f"{prefix}-limit-{header}", f"{prefix}-remaining-{header}", f"{prefix}-reset-{header}", believed
    )


def _anthropic(unit: str) -> Names:
    header = "anthropic-ratelimit-" + unit.replace("_", "-")
    return Names(unit, MINUTE, f"{header}-limit", f"{header}-remaining", f"{header}-reset")


_LITELLM_SCOPES = "api_key model_per_key user team team_member model_per_team end_user".split()
_SOMEHOW = Names(
    "requests", MINUTE, "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", believed=False
)  # over what time, nobody says

DIALECTS: tuple[Dialect, ...] = (
    Dialect(
        "LiteLLM",  # its limits are exact; what it passes on is of one backend of perhaps many, in that one's units
        (
            *(
                Names(unit, MINUTE, f"x-ratelimit-{scope}-limit-{unit}", f"x-ratelimit-{scope}-remaining-{unit}")
                for scope in _LITELLM_SCOPES
                for unit in ("requests", "tokens")
            ),
            _openai("requests", prefix="llm_provider-x-ratelimit", believed=False),
            _openai("tokens", prefix="llm_provider-x-ratelimit", believed=False),
        ),
        signs=("x-litellm-version", "x-litellm-call-id", "x-ratelimit-api_key-limit-requests"),
    ),
    Dialect(
        "Azure OpenAI",  # its requests are per second or per ten seconds; -1 and 0 occur
        (_openai("requests", believed=False), _openai("tokens")),
        hosts=("openai.azure.com", "cognitiveservices.azure.com", "services.ai.azure.com"),
        signs=("azureml-model-session", "x-ms-region", "apim-request-id"),  # behind a name of one's own
        charges_most=True,
    ),
    Dialect(
        "Anthropic",  # a reset is an RFC 3339 date
        tuple(_anthropic(unit) for unit in ("requests", "tokens", "input_tokens", "output_tokens")),
        hosts=("api.anthropic.com",),
        signs=("anthropic-ratelimit-requests-limit", "anthropic-ratelimit-tokens-limit"),
    ),
    Dialect(
        "Groq",  # console.groq.com/docs/rate-limits
        (_openai("requests", DAY), _openai("tokens")),
        hosts=("api.groq.com",),
    ),
    Dialect(
        "Fireworks",  # limits that grow as they are used, told per second or per minute: its pages disagree
        (
            _openai("requests", believed=False),
            _openai("input_tokens", header="tokens-prompt", believed=False),
            _openai("output_tokens", header="tokens-generated", believed=False),
        ),
        hosts=("fireworks.ai",),
    ),
    Dialect(
        "Together",  # limits that grow as they are used, told per second or per minute: its pages disagree
        (_SOMEHOW, Names("tokens", MINUTE, "x-tokenlimit-limit", "x-tokenlimit-remaining", believed=False)),
        hosts=("together.ai", "together.xyz"),
        signs=("x-tokenlimit-limit",),
    ),
    Dialect(
        "OpenRouter",  # on refusals only: 20 a minute or 50 a day, under one name; a reset in ms since 1970
        (_SOMEHOW,),
        hosts=("openrouter.ai",),
    ),
    Dialect(
        "Mistral",  # as seen in replies; it says no reset
        (
            Names("requests", MINUTE, "x-ratelimit-limit-req-minute", "x-ratelimit-remaining-req-minute"),
            Names("tokens", MINUTE, "x-ratelimit-limit-tokens-minute", "x-ratelimit-remaining-tokens-minute"),
        ),
        hosts=("mistral.ai",),
        signs=("x-ratelimit-limit-req-minute",),
    ),
    Dialect(
        "OpenAI",  # a reset is a Go duration: 20ms, 6m0s; many others use these names
        (_openai("requests"), _openai("tokens")),
        hosts=("api.openai.com",),
        signs=("x-ratelimit-limit-requests", "x-ratelimit-limit-tokens"),
        charges_most=True,
    ),
    Dialect(
        "Cerebras",  # inference-docs.cerebras.ai/support/rate-limits
        (_openai("requests", DAY, header="requests-day"), _openai("tokens", header="tokens-minute")),
        hosts=("api.cerebras.ai",),
        signs=("x-ratelimit-limit-requests-day",),
        charges_most=True,
    ),
    Dialect(
        "IETF, three headers",  # draft-ietf-httpapi-ratelimit-headers, up to -06
        (
            Names(
                "requests", MINUTE, "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", believed=False
            ),  # over what time, it does not say
        ),
        signs=("ratelimit-limit",),
    ),
    StructuredFields("IETF", signs=("ratelimit", "ratelimit-policy")),  # the same draft, from -08 on
    Dialect("X-RateLimit", (_SOMEHOW,), signs=("x-ratelimit-limit", "x-ratelimit-remaining")),
)
"""Where several would do, the first counts. DeepSeek, vLLM, llama.cpp and the like say nothing."""


def dialect(host: str, header: Header) -> Dialect | None:
    """Which dialect a server speaks: by its host, else by the headers of its reply. None: it says nothing we know."""
    host = host.lower().rstrip(".")
    for one in DIALECTS:
        if any(host == name or host.endswith("." + name) for name in one.hosts):
            return one
    for one in DIALECTS:
        if any(header(name) is not None for name in one.signs):
            return one
    return None


def _told(
    unit: str, seconds: float, limit: float | None, remaining: float | None, reset: float | None, believed: bool
) -> list[Told]:
    """What is left when the nonsense is taken away: one, or none."""
    limit = limit or None
    if limit is None and remaining == 0:  # 0 of 0, or of nobody knows how many
        remaining = None
    told = Told(unit, seconds, limit if believed else None, remaining, reset)
    return [told] if told[2:] != (None, None, None) else []


def _number(text: str | None) -> float | None:
    """A number that can be waited for: finite and not negative."""
    try:
        value = float(text) if text is not None else -1.0
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _amount(text: str | None) -> float | None:
    """So many requests or tokens."""
    value = _number(text)
    return value if value is not None and value <= MOST else None


_GO_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|μs|ms|s|m|h))+")
_GO_PART = re.compile(r"([0-9.]+)([a-zµμ]+)")
_GO_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def _reset(text: str | None, wall: float) -> float | None:
    """Seconds until a reset: from a number, whose size tells its meaning, a Go duration or a date."""
    if text is None or len(text) > LONGEST_TEXT:
        return None
    seconds = _number(text)
    if seconds is None and _GO_DURATION.fullmatch(text):
        seconds = sum(float(number) * _GO_UNITS[unit] for number, unit in _GO_PART.findall(text))
    elif seconds is None:
        seconds = _until(text, wall)
    elif seconds > 1e9:  # since 1970; beyond 1e12, in ms
        seconds = max(0.0, (seconds / 1000 if seconds > 1e12 else seconds) - wall)
    return _soon(seconds)


def _soon(seconds: float | None) -> float | None:
    """None if it is too far away to be true."""
    return seconds if seconds is not None and seconds <= LONGEST_RESET else None


def _until(text: str, wall: float) -> float | None:
    """Seconds until an RFC 3339 or HTTP date; 0 if it is past."""
    if len(text) > LONGEST_TEXT:
        return None
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = parse(text)
            return max(0.0, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - wall)
        except (ValueError, TypeError, OverflowError):
            continue
    return None


def _items(text: str | None) -> dict[str, dict[str, str]]:
    """The named items of a structured field (RFC 9651), and the parameters of each."""
    items = {}
    for item in (text or "")[: 10 * LONGEST_TEXT].split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        pairs = (parameter.partition("=") for parameter in parameters)
        items[name.strip('"')] = {key.strip(): value.strip(' "') for key, _, value in pairs}
    return items
