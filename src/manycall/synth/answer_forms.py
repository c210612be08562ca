"""Forms of an answer other than plain text: JSON that matches a schema, and text that a regular expression matches.

A form sends the request, reads the answer and returns its fields. It raises ValueError, with a message for the model,
for an answer that does not have the form.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Protocol

from manycall.client.requests import LLM, SendMessages
from manycall.data.answer_schema import AnswerSchema, SchemaLike
from manycall.errors import AnswerInvalid, HttpStatusError, UsageError
from manycall.evals.scoring.extraction import EXTRACT_SECONDS, ONLY_GROUP, extraction_task
from manycall.evals.scoring.scorer_process import ScorerFailed, ScorerTooSlow, grade_function
from manycall.option_flags import option
from manycall.providers.parameter_lesson import with_defaults
from manycall.records import Completion, Messages, Request, RowOutput
from manycall.run.reask import ReaskCounts, append_text
from manycall.run.reasoning_field import add_to_first
from manycall.store.row_parts import PARTS

UNSUPPORTED_CODES = "sent without response_format"
EXTRACTED, REPAIRED = "JSON taken from other text", "repaired JSON"
"""Counts of answers: those with text around the JSON, and those with a syntax error that was repaired."""
_ANTHROPIC_NAMES = ("output_config", "output_format")
_UNSUPPORTED_MARKERS = ("response_format", "json_schema", "guided_json", "structured output", *_ANTHROPIC_NAMES)


class AnswerForm(Protocol):
    """A form of an answer.

    Attributes:
        fields: the fields that it adds to a row, the main one first.
        may_split: an answer may become several rows.
        identity: the setting of the run.
    """

    @property
    def fields(self) -> tuple[str, ...]: ...
    @property
    def may_split(self) -> bool: ...
    @property
    def identity(self) -> dict[str, Any]: ...

    def sender(self, llm: LLM) -> SendMessages:
        """Return a function that sends messages and asks for this form."""
        ...

    async def read(self, text: str) -> RowOutput:
        """Return the fields in an answer, or those of each part.

        Raises:
            ValueError: the answer does not have the form. The message is for the model.
        """
        ...


class SchemaForm:
    """JSON that matches a schema. Its properties are the fields; any other value goes to the output field.

    Args:
        schema: the schema.
        earlier: returns the schemas that earlier sessions have sent with the same prompt. Their journaled answers are
            read with the new schema. It is called when the journal has answers.
        params: further parameters of the request.
        counts: counts the answers that were extracted or repaired, and the requests without `response_format`.
        endpoint: name of the endpoint of the calls; "": the run's.

    Raises:
        UsageError: the schema is not valid, or has a reserved property.
    """

    def __init__(
        self,
        schema: SchemaLike,
        output_field: str,
        earlier: Callable[[], Iterable[Mapping[str, Any]]],
        params: Mapping[str, Any],
        counts: ReaskCounts,
        *,
        endpoint: str = "",
    ) -> None:
        self._endpoint = endpoint
        self._schema, self._params, self._counts = AnswerSchema(schema), params, counts
        self.may_split = self._schema.is_list
        self._has_properties = bool(self._schema.fields)
        if self.may_split and PARTS in self._schema.fields:
            raise UsageError(
                f"The items of the schema have a property {PARTS!r}, which is reserved for split rows. Rename it."
            )
        values = self._schema.fields or (output_field,)
        self._repaired_field = f"{values[0]}_repaired"
        self.fields = (*values, *((PARTS,) if self.may_split else ()), self._repaired_field)
        self.identity = {"schema": self._schema.schema}
        self._earlier = earlier
        self._supports_response_format = True

    def sender(self, llm: LLM) -> SendMessages:
        """Return a function that sends messages with `response_format`.

        If the endpoint rejects this parameter, that call and all later ones have the schema in the prompt instead.
        """
        schema = self._schema

        async def send(messages: Messages) -> Completion:
            if (journaled := await llm.find_journaled(self._requests(llm, messages))) is not None:
                assert isinstance(journaled, Completion)
                return journaled
            if self._supports_response_format:
                try:
                    return await llm.chat(
                        messages, endpoint=self._endpoint, response_format=schema.response_format, **self._params
                    )
                except HttpStatusError as refusal:
                    if refusal.status not in (400, 422) or not any(
                        name in str(refusal) for name in _UNSUPPORTED_MARKERS
                    ):
                        raise
                    self._supports_response_format = False
            self._count(UNSUPPORTED_CODES)
            in_words = append_text(messages, schema.as_instruction, 0)
            return await llm.chat(in_words, endpoint=self._endpoint, **self._params)

        return send

    async def read(self, text: str) -> RowOutput:
        """Return the properties of the JSON value in an answer, or those of each item."""
        found = self._schema.parse(text)
        value = found.value
        made: RowOutput = [self._fields(each) for each in value] if self.may_split else self._fields(value)
        if found.is_extracted:
            self._count(EXTRACTED)
        if found.repairs:
            self._count(REPAIRED)
            made = add_to_first(made, {self._repaired_field: ", ".join(found.repairs)})
        return made

    def _requests(self, llm: LLM, messages: Messages) -> Iterator[Request]:
        """Yield the requests whose answers this form can read: with and without `response_format`, for each schema."""
        own = dict(self._params)
        pool, pool_model = llm.find_pool(self._endpoint)
        model = own.pop("model", pool_model)
        for schema in self._journaled_schemas:
            with_format = with_defaults({"response_format": schema.response_format, **own}, llm.params)
            yield Request("chat", model, messages, with_format, pool=pool)
            in_words = append_text(messages, schema.as_instruction, 0)
            yield Request("chat", model, in_words, with_defaults(own, llm.params), pool=pool)

    @cached_property
    def _journaled_schemas(self) -> list[AnswerSchema]:
        own = self._schema
        return [own, *(AnswerSchema(each) for each in self._earlier() if each != own.schema)]

    def _fields(self, value: Any) -> dict[str, Any]:
        return value if isinstance(value, dict) and self._has_properties else {self.fields[0]: value}

    def _count(self, what: str) -> None:
        self._counts[what] = self._counts.get(what, 0) + 1


class PatternForm:
    """Text that a regular expression matches. Its last match counts; its named groups, or its first group, are fields.

    Args:
        pattern: the regular expression.
        output_field: the field for the first group, or for the whole match without groups.
        params: further parameters of the request.
        endpoint: name of the endpoint of the calls; "": the run's.

    Raises:
        UsageError: the pattern is not a regular expression, or a group is named `id`.
    """

    may_split = False

    def __init__(
        self, pattern: str, output_field: str, params: Mapping[str, Any], *, is_chat: bool, endpoint: str = ""
    ) -> None:
        self._endpoint = endpoint
        try:
            if "\0" in pattern:
                raise ValueError("it contains a NUL character")
            task = extraction_task(pattern)
            pattern.encode()
        except (re.error, ValueError, RecursionError, OverflowError) as error:
            raise UsageError(f"{option('extract', pattern)} is not a valid regular expression: {error}.") from None
        self._names = {name: name or output_field for name in task.filters}
        self.fields = tuple(self._names.values())
        if "id" in self.fields:
            raise UsageError(f"{option('extract')} has a group 'id', which is reserved for the row id. Rename it.")
        self._pattern, self._params, self._is_chat = pattern, params, is_chat
        self._extract = grade_function(task)
        self.identity = {"extract": pattern}

    @property
    def is_text(self) -> bool:
        """Whether the answer is one text and not several named fields."""
        return ONLY_GROUP in self._names

    def sender(self, llm: LLM) -> SendMessages:
        """Return a function that sends messages."""

        async def send(messages: Messages) -> Completion:
            if self._is_chat:
                return await llm.chat(messages, endpoint=self._endpoint, **self._params)
            return await llm.complete(messages[-1]["content"], endpoint=self._endpoint, **self._params)

        return send

    async def read(self, text: str) -> RowOutput:
        """Return the groups of the last match."""
        try:
            found = await asyncio.to_thread(self._extract, text, {})
        except ScorerTooSlow:
            raise AnswerInvalid(
                f"{option('extract')} takes longer than {EXTRACT_SECONDS:g} s for this answer. Simplify the regular "
                "expression."
            ) from None
        except ScorerFailed as error:
            raise AnswerInvalid(f"{option('extract')} failed: {error}") from None
        values = {self._names[name]: value for name, (value, _) in found.items()}
        if not any(values.values()):
            raise ValueError(f"it does not match the regular expression {self._pattern}")
        return values
