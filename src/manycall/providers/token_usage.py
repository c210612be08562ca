"""Token counts of a reply, in every spelling that providers use."""

from typing import Any

import msgspec

from manycall.records import Usage

Count = int | float | None


class BasicUsage(msgspec.Struct):
    """The two totals that every provider reports."""

    prompt_tokens: Count = None
    completion_tokens: Count = None


class BasicUsageOnly(msgspec.Struct):
    """A reply of which only the two totals are read."""

    usage: BasicUsage


class _PromptDetails(msgspec.Struct):
    cached_tokens: Count = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: Count = None


class ReportedUsage(BasicUsage):
    """Token counts in every spelling: OpenAI's details, DeepSeek's cache hits, Moonshot's and SGLang's own fields."""

    total_tokens: Count = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    prompt_cache_hit_tokens: Count = None
    cached_tokens: Count = None
    reasoning_tokens: Count = None


class UsageOnly(msgspec.Struct):
    """A reply of which only the token counts are read."""

    usage: ReportedUsage | None = None


class BilledUsage(ReportedUsage):
    """Token counts, and what the call cost if the provider reports it: OpenRouter in dollars, xAI in "ticks".

    With `is_byok`, OpenRouter has used the user's own key of another provider. `cost` is then only OpenRouter's fee,
    often 0, and the other provider charges `upstream_inference_cost` in addition.
    """

    cost: Count = None
    is_byok: Any = None
    cost_details: Any = None
    cost_in_usd_ticks: Count = None


class BilledReply(msgspec.Struct):
    """A reply of which only what it is billed for is read."""

    usage: BilledUsage | None = None
    service_tier: str | None = None


USD_PER_TICK = 1e-10
"""xAI's unit of `cost_in_usd_ticks`."""


def read_cost(reported: BilledUsage) -> float | None:
    """Return the cost in dollars that the provider reports; None if it reports none."""
    if reported.cost_in_usd_ticks is not None and reported.cost_in_usd_ticks >= 0:
        return reported.cost_in_usd_ticks * USD_PER_TICK
    if reported.cost is None or reported.cost < 0:
        return None
    if not reported.is_byok:
        return reported.cost
    details = reported.cost_details if isinstance(reported.cost_details, dict) else {}
    upstream = details.get("upstream_inference_cost")
    return reported.cost + upstream if isinstance(upstream, int | float) and upstream >= 0 else None


MAX_TOKENS_PER_CALL = 10_000_000
"""Largest token count accepted for one call. Larger counts are wrong and would distort the estimates made from them."""


def _count(tokens: Count) -> int:
    return int(min(max(tokens or 0, 0), MAX_TOKENS_PER_CALL))


def read_usage(reported: ReportedUsage) -> Usage:
    """Return the token counts of a reply. `completion_tokens` includes the reasoning tokens, also for xAI."""
    prompt, completion = reported.prompt_tokens, reported.completion_tokens
    if type(prompt) is not int or not 0 <= prompt <= MAX_TOKENS_PER_CALL:
        prompt = _count(prompt)
    if type(completion) is not int or not 0 <= completion <= MAX_TOKENS_PER_CALL:
        completion = _count(completion)
    of_prompt, of_completion = reported.prompt_tokens_details, reported.completion_tokens_details
    cached = (of_prompt and of_prompt.cached_tokens) or reported.prompt_cache_hit_tokens or reported.cached_tokens
    thought = (of_completion and of_completion.reasoning_tokens) or reported.reasoning_tokens
    if not (cached or thought):
        return Usage(prompt, completion)
    thinking = _count(thought)
    if thinking and reported.total_tokens == prompt + completion + thinking:
        completion += thinking  # xAI does not count the thinking text in completion_tokens, but in total_tokens
    return Usage(prompt, completion, thinking, _count(cached))
