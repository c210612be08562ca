"""Prices of many models, in the form of LiteLLM's model_prices_and_context_window.json.

The file is one object: the name of a model, with or without the provider's name before it, → its prices in dollars per
token. Fields that are not listed below are ignored.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from manycall.errors import UsageError
from manycall.providers.prices import Price, Rates
from manycall.records import DECODE_ERRORS

PREFIXES = {
    "azure_v1": "azure", "gemini_openai": "gemini", "zhipu": "zai", "ark": "volcengine", "together": "together_ai",
    "fireworks": "fireworks_ai",
}  # fmt: skip
"""Provider → its name in the file, where it differs."""
TIER_SUFFIXES = {"flex": "_flex", "batch": "_batches", "priority": "_priority"}
_LONG_PROMPT = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")
_NAMES = ("input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost")


class PriceFile:
    """The prices of a file, of which an entry is decoded when it is looked up.

    Args:
        content: the bytes of the file.
        name: its name, for error messages.

    Raises:
        UsageError: it is not such a file.
    """

    def __init__(self, content: bytes, name: str) -> None:
        try:
            self._entries = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        except DECODE_ERRORS as error:
            raise UsageError(f"{name} is not a table of prices in LiteLLM's form: {error}.") from None
        self._name = name

    def __repr__(self) -> str:
        return f"<PriceFile {self._name}, {len(self._entries)} models>"

    def find(self, model: str, provider: str) -> Price | None:
        """Return the price of a model: that of the provider's, or of the model of that name.

        Raises:
            UsageError: its entry is not valid.
        """
        for name in (f"{PREFIXES.get(provider, provider)}/{model}", model):
            if (entry := self._entries.get(name)) is not None:
                return self._read(name, entry)
        return None

    def _read(self, name: str, entry: msgspec.Raw) -> Price | None:
        try:
            fields = msgspec.json.decode(entry, type=dict[str, Any])
            if (rates := _rates(fields)) is None:
                return None
            limits = sorted((int(match[1]) for match in map(_LONG_PROMPT.fullmatch, fields) if match), reverse=True)
            long_prompts = tuple((limit * 1000, _rates(fields, f"_above_{limit}k_tokens") or rates) for limit in limits)
            tiers = {tier: _rates(fields, suffix) for tier, suffix in TIER_SUFFIXES.items()}
            own = {tier: each for tier, each in tiers.items() if each is not None}
            return Price(rates, long_prompts=long_prompts, tiers=own)
        except (TypeError, *DECODE_ERRORS) as error:
            raise UsageError(f"{self._name}: the prices of {name!r} are not valid: {error}.") from None


def _rates(fields: Mapping[str, Any], suffix: str = "") -> Rates | None:
    """Return the rates per million tokens of one tier; None if the entry has none for it."""
    prompt, completion, cached = (fields.get(f"{name}{suffix}") for name in _NAMES)
    if prompt is None or completion is None:
        return None
    amounts = [1e6 * float(each) for each in (prompt, completion)]
    if not all(0 <= each < float("inf") for each in amounts):
        raise ValueError(f"{amounts} are not amounts of money")
    return Rates(amounts[0], amounts[1], None if cached is None else 1e6 * float(cached))
