"""Token counts in the spelling of each provider of the chat API."""

from collections.abc import Callable, Mapping
from typing import Any

from manycall.sim.sim_request import SimAnswer

Counts = dict[str, Any]


def _bare(answer: SimAnswer) -> Counts:
    total = answer.prompt_tokens + answer.completion_tokens
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": total,
    }


def _openai(answer: SimAnswer) -> Counts:
    return {
        **_bare(answer),
        "prompt_tokens_details": {"cached_tokens": answer.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": answer.thinking_tokens},
    }


def _deepseek(answer: SimAnswer) -> Counts:
    missed = answer.prompt_tokens - answer.cached_tokens
    return {**_openai(answer), "prompt_cache_hit_tokens": answer.cached_tokens, "prompt_cache_miss_tokens": missed}


def _moonshot(answer: SimAnswer) -> Counts:
    return {**_bare(answer), "cached_tokens": answer.cached_tokens}


def _openrouter(answer: SimAnswer) -> Counts:
    cost = (answer.prompt_tokens + 4 * answer.completion_tokens) / 1e6
    return {**_openai(answer), "cost": cost, "is_byok": False, "cost_details": {"upstream_inference_cost": None}}


def _sglang(answer: SimAnswer) -> Counts:
    cached = {"cached_tokens": answer.cached_tokens} if answer.cached_tokens else None
    return {**_openai(answer), "prompt_tokens_details": cached, "reasoning_tokens": answer.thinking_tokens}


def _xai(answer: SimAnswer) -> Counts:
    """Count the thinking text in the total, but not in `completion_tokens`."""
    return {**_openai(answer), "completion_tokens": answer.text_tokens}


USAGES: Mapping[str, Callable[[SimAnswer], Counts]] = {
    "bare": _bare,
    "openai": _openai,
    "deepseek": _deepseek,
    "moonshot": _moonshot,
    "openrouter": _openrouter,
    "sglang": _sglang,
    "xai": _xai,
}
