"""What a server's refusal taught about a parameter: its other name, that it is not accepted, or the accepted value."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Literal

import msgspec

Body = dict[str, Any]
Change = Literal["rename", "omit", "set", "minimum", "stream"]

LIMITS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
"""The two names of the limit on an answer's length. A refused one is replaced by the other and never omitted."""
ADJUSTABLE = frozenset(
    "temperature top_p top_k min_p stop seed presence_penalty frequency_penalty repetition_penalty logit_bias logprobs "
    "top_logprobs".split()
)
"""Parameters that are omitted or changed if the server does not accept them. Any other parameter is what the user wants
from the model, such as tools, so its refusal fails the call. If `response_format` is refused, the option `schema` puts
the schema into the prompt (synth/prompt_call.py)."""
_OTHER_NAMES = {
    "stop_sequences": "stop",
    "random_seed": "seed",
    "max_output_tokens": "max_tokens",
    "response_logprobs": "logprobs",
    "response_mime_type": "response_format",
    "response_json_schema": "response_format",
}
"""Name in a native API → name in the chat API."""
_CAMEL_CASE = re.compile(r"(?<=[a-z])(?=[A-Z])")
_CONTAINERS = frozenset({"body", "generation_config", "parameter", "parameters"})


def with_defaults(params: Mapping[str, Any], defaults: Mapping[str, Any]) -> Body:
    """Return the parameters and the defaults of those that are not set. Both names of the limit are one parameter."""
    if any(name in params for name in LIMITS):
        defaults = {name: value for name, value in defaults.items() if name not in LIMITS}
    return {**defaults, **params}


def canonical_name(name: str) -> str:
    """Return the chat API's name of a parameter: `presencePenalty` and `body.presence_penalty` → `presence_penalty`."""
    parts = [_CAMEL_CASE.sub("_", part).lower() for part in re.split(r"[.\[\]]", name.strip("'\"` ")) if part]
    inner = [part for part in parts if part not in _CONTAINERS]
    first = inner[0] if inner else ""
    return _OTHER_NAMES.get(first, first)


class ParameterLesson(msgspec.Struct, frozen=True):
    """How the bodies for one model at one endpoint must differ from the canonical ones.

    Attributes:
        parameter: the parameter's name in the chat API.
        change: rename it to `value`; omit it (`value` is the only value that is accepted, if the server names it);
            set it to `value`; raise it to at least `value`; or stream the answer.
    """

    parameter: str
    change: Change
    value: Any = None

    def __str__(self) -> str:
        match self.change:
            case "rename":
                return f"sends {self.value} instead of {self.parameter}"
            case "omit":
                return f"{self.parameter} omitted ({self.reason})"
            case "set":
                return f"{self.parameter} set to {self.value} ({self.reason})"
            case "minimum":
                return f"{self.parameter} raised to {self.value} ({self.reason})"
        return "answers are streamed (required)"

    @property
    def reason(self) -> str:
        """Why the parameter is changed, in a few words."""
        if self.change == "minimum":
            return f"the smallest accepted value is {self.value}"
        return "not accepted" if self.value is None else f"only {self.value} is accepted"

    @property
    def changes_protocol(self) -> bool:
        """Whether the model answers under other conditions than were asked for."""
        return self.change in ("omit", "set", "minimum")

    def concerns(self, body: Mapping[str, Any]) -> bool:
        """Return whether a body would be changed."""
        return self.change == "stream" or any(self._changes(name, body[name]) for name in self._spellings(body))

    def apply(self, body: Body) -> Body:
        """Return the body with the change; the same object if there is nothing to change."""
        names = [name for name in self._spellings(body) if self._changes(name, body[name])]
        if not names or self.change == "stream":
            return body
        changed = {name: value for name, value in body.items() if name not in names}
        for name in names:
            if self.change == "rename":
                changed.setdefault(self.value, body[name])
            elif self.change != "omit":
                changed[name] = self.value
        return changed

    def _spellings(self, body: Mapping[str, Any]) -> Iterator[str]:
        if self.change == "minimum":
            return (name for name in body if name in LIMITS)
        return (name for name in body if canonical_name(name) == self.parameter)

    def _changes(self, name: str, value: Any) -> bool:
        match self.change:
            case "rename":
                return name != str(self.value)
            case "set":
                return value is not None and bool(value != self.value)
            case "minimum":
                return isinstance(value, int) and 0 < value < int(self.value)
        return True


class ParameterChange(ParameterLesson, frozen=True, kw_only=True):
    """A lesson about one model at one endpoint, as the manifest records it."""

    endpoint: str
    model: str


def recorded_changes(sessions: Iterable[Mapping[str, Any]]) -> list[ParameterChange]:
    """Return the changes that the sessions of a manifest record. Entries that cannot be read are skipped."""
    changes: list[ParameterChange] = []
    for session in sessions:
        with suppress(msgspec.ValidationError):  # the file may have been edited
            changes += msgspec.convert(session.get("parameter_changes") or [], list[ParameterChange])
    return list(dict.fromkeys(changes))


def change_sentences(changes: Iterable[ParameterChange]) -> list[str]:
    """Return one sentence for each model and endpoint: `gpt-5-mini at https://…: temperature omitted (…)`."""
    by_model: dict[str, list[str]] = {}
    for each in changes:
        by_model.setdefault(f"{each.model} at {each.endpoint}", []).append(str(each))
    return [f"{where}: {'; '.join(dict.fromkeys(what))}" for where, what in by_model.items()]
