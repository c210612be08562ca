"""How each API switches thinking on and off: the values of the option `thinking` as fields of a request body."""

import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import msgspec

from manycall.errors import UsageError
from manycall.option_flags import option

Body = dict[str, Any]
EFFORTS = ("low", "medium", "high")


class ThinkingSwitch(msgspec.Struct, frozen=True):
    """The fields that control thinking in one API. None or empty: the API has no such switch.

    Attributes:
        on: fields that switch thinking on.
        off: fields that switch it off.
        effort: fields for an effort: "low", "medium" or "high".
        efforts: the efforts that the API knows.
        budget: fields for a maximum number of thinking tokens.
        min_budget, max_budget: smallest and largest number of thinking tokens that the API accepts.
    """

    on: Body | None = None
    off: Body | None = None
    effort: Callable[[str], Body] | None = None
    efforts: tuple[str, ...] = EFFORTS
    budget: Callable[[int], Body] | None = None
    min_budget: int = 1
    max_budget: int | None = None


def thinking_fields(provider: str, switch: ThinkingSwitch, value: str | int) -> Body:
    """Return the fields of a request body for a value of the option `thinking`.

    Args:
        provider: name of the provider, for messages.
        value: "on", "off", "low", "medium", "high", or a maximum number of thinking tokens.

    Raises:
        UsageError: the value is not valid, or the provider has no switch for it.
    """
    text = str(value).strip().lower()
    fields = None
    if text == "on":
        fields = switch.on
    elif text == "off":
        fields = switch.off
    elif text in EFFORTS:
        fields = switch.effort(text) if switch.effort is not None and text in switch.efforts else None
    elif re.fullmatch(r"[0-9]{1,9}", text):
        fields = _budget_fields(provider, switch, int(text))
    else:
        raise UsageError(
            f"{option('thinking', value)} is not valid. Expected on, off, low, medium, high or a number of tokens."
        )
    if fields is None:
        raise UsageError(_no_such_switch(provider, switch, value))
    return deepcopy(fields)


def _budget_fields(provider: str, switch: ThinkingSwitch, tokens: int) -> Body | None:
    if tokens == 0:
        return switch.off
    if switch.budget is None:
        return None
    if tokens < switch.min_budget or (switch.max_budget is not None and tokens > switch.max_budget):
        limits = f"{switch.min_budget:,} or more"
        if switch.max_budget is not None:
            limits = f"{switch.min_budget:,} to {switch.max_budget:,}"
        raise UsageError(f"{option('thinking', tokens)} is not valid for {provider}. Expected {limits} tokens.")
    return switch.budget(tokens)


def _no_such_switch(provider: str, switch: ThinkingSwitch, value: str | int) -> str:
    known = [name for name, fields in (("on", switch.on), ("off", switch.off)) if fields is not None]
    known += [effort for effort in switch.efforts if switch.effort is not None and effort in EFFORTS]
    known += ["a number of tokens"] if switch.budget is not None else []
    if not known:
        return (
            f"manycall does not know how this server switches thinking ({option('thinking', value)}). "
            f"Say what it is, for example {option('base_url', 'vllm=http://host:8000/v1')}, or pass its own field "
            f"with {option('params')}."
        )
    allowed = f"{', '.join(known[:-1])} or {known[-1]}" if known[:-1] else known[0]
    return f"{option('thinking', value)} has no equivalent at {provider}. Use {allowed}."


# Switches that several providers share.


def effort_field(effort: str) -> Body:
    """OpenAI's field."""
    return {"reasoning_effort": effort}


def template_switch(is_on: bool) -> Body:
    """Return the arguments of the model's chat template. Each template uses one of the two names."""
    return {"chat_template_kwargs": {"enable_thinking": is_on, "thinking": is_on}}


EFFORT = ThinkingSwitch(off={"reasoning_effort": "none"}, effort=effort_field)
"""Thinking depends on `reasoning_effort` alone."""
EFFORT_ONLY = ThinkingSwitch(effort=effort_field)
"""As EFFORT, but thinking cannot be switched off."""
ENABLE_THINKING = ThinkingSwitch(
    on={"enable_thinking": True},
    off={"enable_thinking": False},
    effort=effort_field,
    budget=lambda tokens: {"enable_thinking": True, "thinking_budget": tokens},
)
"""Qwen's fields."""
THINKING_TYPE = ThinkingSwitch(on={"thinking": {"type": "enabled"}}, off={"thinking": {"type": "disabled"}})
"""The field `thinking` with a type, as in Anthropic's API."""
TEMPLATE = ThinkingSwitch(on=template_switch(True), off=template_switch(False), effort=effort_field)
"""Arguments of the chat template, for servers that run any model."""
