"""Latencies, quotas and fault rates of the simulated server."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, Any, Literal, get_type_hints

import msgspec

from manycall.errors import UsageError
from manycall.option_flags import Flag, option
from manycall.sim.provider_faults import check_fault
from manycall.sim.sim_dialects import provider_dialect

MAX_SETTING = 1_000_000_000


@dataclass(frozen=True)
class Setting(Flag):
    """The declaration of one setting: a flag of `manycall sim`, with the range of its value."""

    minimum: float = 0
    maximum: float = MAX_SETTING


class SimSettings(msgspec.Struct, frozen=True):
    """The settings of the simulated server. `manycall sim` has a flag for each setting.

    A call is charged to the token quota with its prompt and its max_tokens, or the length of its answer if it has none.

    Raises:
        UsageError: a value is outside its range.
    """

    slots: Annotated[int, Setting("Calls processed at the same time; others wait in order of arrival.", minimum=1)] = (
        256
    )
    latency: Annotated[float, Setting("Seconds that each call holds its slot before its first token.")] = 0.02
    token_latency: Annotated[float, Setting("Seconds per output token.")] = 0.001
    batch_latency: Annotated[float, Setting("Seconds that each concurrent call adds to every token.")] = 0.0
    prefill_latency: Annotated[
        float, Setting("Seconds per prompt token that is not cached; no call gets a token meanwhile.")
    ] = 0.0
    network: Annotated[float, Setting("Seconds on the network, outside of any slot; refusals take them too.")] = 0.0
    tokens: Annotated[float, Setting("Mean length of an answer, in tokens.")] = 60.0
    spread: Annotated[float, Setting("Standard deviation of the logarithm of the length.")] = 0.5
    output_ratio: Annotated[float, Setting("Output tokens per prompt token, instead of a fixed mean length.")] = 0.0
    kv_cache_tokens: Annotated[
        int | None, Setting("Prompt and answer tokens that fit in memory. Default: any number.", minimum=1)
    ] = None
    prefix_cache_tokens: Annotated[int, Setting("Prompt tokens whose prefixes are cached.")] = 0
    rpm: Annotated[int | None, Setting("Requests per minute; more get status 429. Default: no limit.", minimum=1)] = (
        None
    )
    tpm: Annotated[int | None, Setting("Tokens per minute. Default: no limit.", minimum=1)] = None
    burst: Annotated[float, Setting("Seconds' worth of these limits that may be used at once.")] = 1.0
    rate_limit_headers: Annotated[
        Literal["auto", "openai", "anthropic", "litellm", "none"],
        Setting(
            "The provider whose rate-limit headers are sent: openai, anthropic, litellm or none. auto: the provider "
            "that is played.",
            metavar="NAME",
        ),
    ] = "auto"
    accuracy: Annotated[float, Setting("Share of the answer key that is answered correctly.", maximum=1)] = 0.75
    error_rate: Annotated[float, Setting("Share of calls that get status 500.", maximum=1)] = 0.0
    drop_rate: Annotated[float, Setting("Share of responses that are cut off in the middle.", maximum=1)] = 0.0
    slow_rate: Annotated[float, Setting("Share of calls that take ten times as long.", maximum=1)] = 0.0
    invalid_rate: Annotated[float, Setting("Share of answers that violate the requested schema.", maximum=1)] = 0.0
    wrapped_rate: Annotated[
        float,
        Setting(
            "Share of the other answers to a schema whose JSON is in prose or in a code fence, has a trailing comma or "
            "follows </think>.",
            maximum=1,
        ),
    ] = 0.0
    seed: Annotated[int, Setting("The same seed gives the same answers.", minimum=-MAX_SETTING)] = 0
    provider: Annotated[
        str, Setting("The provider whose API is played, for example openai, deepseek or anthropic.", metavar="NAME")
    ] = "generic"
    reasoning: Annotated[
        Literal[
            "auto", "none", "hidden", "reasoning_content", "reasoning", "reasoning_details", "minimax",
            "content_list", "think", "lone_think", "thought", "harmony",
        ],
        Setting(
            "Where replies contain thinking text: in a field, between tags (lone_think: without the opening tag), "
            "nowhere (hidden), or none: no model thinks. auto: as the provider's models do.",
            metavar="NAME",
        ),
    ] = "auto"  # fmt: skip
    reasoning_tokens: Annotated[float, Setting("Mean length of thinking text, in tokens.")] = 40.0
    cached_share: Annotated[float, Setting("Share of prompt tokens that the usage reports as cached.", maximum=1)] = 0.0
    stream: Annotated[
        Literal["optional", "required"],
        Setting("required: calls that do not ask for a stream are refused.", metavar="NAME"),
    ] = "optional"
    stream_interval: Annotated[
        float, Setting("Seconds between two pieces of a stream, of text or of a comment.", minimum=0.001)
    ] = 0.05
    gateway_timeout: Annotated[
        float | None,
        Setting(
            "Seconds without a byte after which a gateway ends a call with status 504. Default: never.", minimum=0.001
        ),
    ] = None
    max_concurrent: Annotated[
        int | None, Setting("Calls at the same time; more get status 429. Default: any number.", minimum=1)
    ] = None
    refuse: Annotated[
        str, Setting("Parameters that the model refuses, as in stop+response_format.", metavar="NAMES")
    ] = ""
    fault: Annotated[
        str, Setting("A fault of the provider, for example no_money or prompt_filtered.", metavar="NAME")
    ] = ""
    fault_rate: Annotated[float, Setting("Share of calls that have the fault.", maximum=1)] = 1.0
    fault_start: Annotated[float, Setting("Seconds from the first call to the first fault.")] = 0.0
    fault_seconds: Annotated[float | None, Setting("Seconds with faults. Default: to the end.")] = None

    def __post_init__(self) -> None:
        for name, _, _, setting in _SETTINGS:
            value = getattr(self, name)
            if isinstance(value, int | float) and not setting.minimum <= value <= setting.maximum:
                raise UsageError(f"{option(name)} must be from {setting.minimum} to {setting.maximum:,}, not {value}.")
        dialect = provider_dialect(self.provider)
        if self.fault:
            check_fault(dialect, self.fault)

    @property
    def header_dialect(self) -> str:
        """The name of the rate-limit headers that are sent."""
        if self.rate_limit_headers != "auto":
            return self.rate_limit_headers
        return provider_dialect(self.provider).rate_limit_headers

    @property
    def plays_provider(self) -> bool:
        """Whether any setting asks for more than a plain OpenAI-compatible server."""
        return any(getattr(self, name) != default for name, _, default, _ in _SETTINGS if name in _OF_PROVIDERS)

    def random_fault(self, ticket: int) -> str:
        """Return the random fault of a call: "error", "drop", or "" for none."""
        if not self.error_rate and not self.drop_rate:
            return ""
        u = sim_uniform(self.seed, "fault", ticket)
        return "error" if u < self.error_rate else "drop" if u < self.error_rate + self.drop_rate else ""

    def slowness(self, ticket: int) -> float:
        """Return the factor by which a call takes longer."""
        return 10.0 if self.slow_rate and sim_uniform(self.seed, "slow", ticket) < self.slow_rate else 1.0


def declared_settings() -> Iterator[tuple[str, Any, Any, Setting]]:
    """Yield (name, type, default, declaration) of each setting."""
    hints = get_type_hints(SimSettings, include_extras=True)
    for field in msgspec.structs.fields(SimSettings):
        annotated = hints[field.name]
        yield field.name, annotated.__origin__, field.default, annotated.__metadata__[0]


_SETTINGS = tuple(declared_settings())
_OF_PROVIDERS = {
    "provider", "reasoning", "cached_share", "stream", "gateway_timeout", "max_concurrent", "refuse", "fault",
}  # fmt: skip
"""Settings that only `provider_server` knows."""


def sim_uniform(seed: int, *what: Any) -> float:
    """Return a number in [0, 1) that depends on the arguments only."""
    return int.from_bytes(blake2b(f"{seed} {what}".encode(), digest_size=7).digest(), "big") / 2**56
