"""The request bodies of one endpoint: the canonical bodies, changed as the user, the provider and its refusals require.

The canonical body and the key of a call in the journal stay the same, so that endpoints may differ in what they accept.
"""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import msgspec

from manycall.client.encoded_call import EncodedCall
from manycall.errors import HttpStatusError, UsageError
from manycall.option_flags import option
from manycall.providers.adapt_body import adapt_body
from manycall.providers.chat_request import merge
from manycall.providers.parameter_errors import read_parameter_errors
from manycall.providers.parameter_lesson import ParameterLesson
from manycall.providers.provider import Provider
from manycall.providers.thinking import thinking_fields
from manycall.records import Api

Body = dict[str, Any]
MAX_LESSONS = 8
"""Lessons for one model and API. A server that refuses ever more is not understood."""
NOT_PARAMETERS = frozenset({"model", "messages", "prompt", "input", "stream"})

_decode_body = msgspec.json.Decoder(Body).decode


def dropped_names(drop: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the names in a value of the option `drop`."""
    return (drop,) if isinstance(drop, str) else tuple(drop or ())


class LearnedChange(NamedTuple):
    """A lesson, and the model that it is about."""

    model: str
    lesson: ParameterLesson

    def __str__(self) -> str:
        return f"{self.model}: {self.lesson}"


class BodyAdapter:
    """Turns canonical bodies into the bodies that one endpoint accepts.

    Args:
        provider: the endpoint's row of the catalog.
        model: the client's model. Calls may name another one, which has its own lessons.
        drop: names of parameters to omit.
        thinking: value of the option `thinking`; None: as the model does by default.
        sent_model: the name of the client's model at this endpoint; "": the same.

    Attributes:
        has_fixed_changes: whether bodies are changed or checked even before anything was learned.
        learned: what was learned, in this order.

    Raises:
        UsageError: the provider has no such switch for thinking, or a name is not that of a parameter.
    """

    def __init__(
        self,
        provider: Provider,
        model: str,
        *,
        drop: Collection[str] = (),
        thinking: str | int | None = None,
        sent_model: str = "",
    ) -> None:
        if reserved := NOT_PARAMETERS.intersection(drop):
            raise UsageError(f"{option('drop', min(reserved))} is not possible: every request needs it.")
        self._provider, self._model, self._drop = provider, model, frozenset(drop)
        self._thinking = {} if thinking is None else thinking_fields(provider.name, provider.thinking, thinking)
        self._lessons: dict[tuple[Api, str], list[ParameterLesson]] = {}
        self._sent_model = sent_model or model
        is_renamed = self._sent_model != model
        self.has_fixed_changes = bool(drop or self._thinking or is_renamed) or not provider.takes_canonical_body
        self.learned: list[LearnedChange] = []

    def __repr__(self) -> str:
        return f"<BodyAdapter for {self._model} at {self._provider.name}, {len(self.learned)} lessons>"

    @property
    def template_thinks(self) -> bool:
        """Whether an option switches thinking on in the chat template, which may then write the opening tag itself."""
        arguments = self._thinking.get("chat_template_kwargs") or {}
        return any(value is True for value in arguments.values())

    @property
    def changes(self) -> list[str]:
        """What was learned, as one sentence for each lesson."""
        return [str(each) for each in self.learned]

    @property
    def version(self) -> int:
        """Number of lessons. `learn` needs the one that counted when the request was sent."""
        return len(self.learned)

    def sent_model(self, model: str) -> str:
        """Return the name at this endpoint of a model that a call names."""
        return self._sent_model if model == self._model else model

    def must_stream(self, model: str) -> bool:
        """Return whether a model responds only with a stream."""
        return self._provider.must_stream(self.sent_model(model)) or any(
            each.model == model and each.lesson.change == "stream" for each in self.learned
        )

    def body_for(self, call: EncodedCall) -> Body | None:
        """Return the body to send; None if the canonical body can be sent unchanged.

        Raises:
            UsageError: the provider cannot express the body, or a parameter contradicts the option `thinking`.
        """
        lessons = self._lessons.get((call.api, call.model)) if self._lessons else None
        if not self.has_fixed_changes and lessons is None:
            return None
        body = self._prepare(call)
        for lesson in lessons or ():
            body = lesson.apply(body)
        return body

    def learn(self, error: HttpStatusError, call: EncodedCall, version: int) -> bool:
        """Learn from a refusal. Return whether the call should be sent again at once, in another form.

        A refusal that arrives after another call was refused for the same reason is worth another attempt too. One of
        a body that already followed the lesson is not.

        Args:
            version: the adapter's `version` when the refused request was sent.
        """
        learned_since = [each.lesson for each in self.learned[version:] if each.model == call.model]
        useful = [
            lesson
            for lesson in read_parameter_errors(error.status, error.body)
            if lesson in learned_since or self._add(lesson, call)
        ]
        return bool(useful)

    def _add(self, lesson: ParameterLesson, call: EncodedCall) -> bool:
        """Follow a lesson from now on, if it would change the call."""
        lessons = self._lessons.get((call.api, call.model), [])
        reverse = ParameterLesson(str(lesson.value), "rename", lesson.parameter)
        if lesson in lessons or reverse in lessons or len(lessons) >= MAX_LESSONS:
            return False
        body = self.body_for(call)
        if not lesson.concerns(self._canonical(call) if body is None else body):
            return False
        self._lessons[call.api, call.model] = [*lessons, lesson]
        self.learned.append(LearnedChange(call.model, lesson))
        return True

    def _canonical(self, call: EncodedCall) -> Body:
        """Return the canonical body, with the model's name at this endpoint."""
        body = _decode_body(call.body)
        return body if self._sent_model == self._model else {**body, "model": self.sent_model(call.model)}

    def _prepare(self, call: EncodedCall) -> Body:
        """Return the canonical body as the user and the provider change it."""
        body = self._canonical(call)
        if self._drop:
            body = {name: value for name, value in body.items() if name not in self._drop}
        if call.api != "chat":  # the other APIs have no such differences, except this one
            is_refused = call.api == "embeddings" and not self._provider.base64_embeddings
            return {name: value for name, value in body.items() if name != "encoding_format"} if is_refused else body
        if self._thinking:
            body = merge(body, self._checked_thinking(body))
        return adapt_body(self._provider, body)

    def _checked_thinking(self, body: Body) -> Body:
        if conflict := _conflict(body, self._thinking):
            raise UsageError(f"{option('thinking')} sets {conflict!r}, which is a parameter too. Remove one of them.")
        return self._thinking


def _conflict(body: Body, fields: Body) -> str:
    """Return the name of a field that has another value in the body; "" if there is none."""
    for name, value in fields.items():
        given = body.get(name, value)
        if isinstance(given, dict) and isinstance(value, dict):
            if inner := _conflict(given, value):
                return f"{name}.{inner}"
        elif given != value:
            return name
    return ""
