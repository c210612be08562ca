"""A call with one prompt; its answer becomes a text field or the fields of a schema."""

from collections.abc import Awaitable, Mapping
from typing import Any, Literal

from manycall.client.requests import LLM, SendMessages
from manycall.data.answer_schema import AnswerSchema, SchemaLike
from manycall.data.prompt_template import PromptLike, PromptTemplate
from manycall.dataset.duplicates import Duplicates
from manycall.dataset.normalize import leaf_texts
from manycall.errors import HttpStatusError, UsageError
from manycall.option_flags import option
from manycall.records import Completion, Messages, Row, RowOutput
from manycall.run.options import Reasoning
from manycall.run.reask import ReaskCounts, append_text, ask_until_valid
from manycall.run.reasoning_field import ReasoningField, add_to_first, refuse_inline
from manycall.store.row_parts import PARTS

UNSUPPORTED_CODES, DUPLICATE_REASON = "sent without response_format", "duplicates"
TextApi = Literal["chat", "completions"]
"""API of the call. With "completions" the prompt is sent as plain text, without a chat template."""
DEFAULT_REASK = 2
"""Default number of additional requests after an invalid answer."""
_UNSUPPORTED_MARKERS = ("response_format", "json_schema", "guided_json", "structured output")


class PromptCall:
    """A prompt, the call that sends it, and the conversion of the answer to fields.

    Args:
        prompt, system: see `PromptTemplate`.
        output_field: the field for the text. The finish reason goes to `<output_field>_finish_reason`, and thinking
            text to `<output_field>_reasoning`; with a schema, `output_field` is its first property there.
        schema: JSON schema of the answer, whose properties become fields of the row.
        api: with "completions" the prompt is sent to /completions as plain text, without a chat template.
        params: request parameters in addition to those of the run.
        reask: number of additional requests after an invalid answer.
        reasoning: where thinking text is written.
        counts: counts reasked answers, duplicate answers and calls without `response_format`.

    Attributes:
        template: the prompt.
        answer_schema: the schema; None if there is none.
        thinking: the field for the thinking text.
        writes: fields that are added to a row.
        identity: settings that must be the same in a resumed run.
    """

    def __init__(
        self,
        prompt: PromptLike,
        *,
        system: str | None = None,
        output_field: str = "text",
        schema: SchemaLike | None = None,
        api: TextApi = "chat",
        params: Mapping[str, Any] | None = None,
        reask: int = DEFAULT_REASK,
        reasoning: Reasoning = "separate",
        counts: ReaskCounts | None = None,
    ) -> None:
        if output_field in ("", "id"):
            raise UsageError(f"The output field cannot be {output_field!r}. Choose another name.")
        if api == "completions" and (schema is not None or system is not None):
            raise UsageError(
                f"{option('api', 'completions')} sends plain text and cannot be combined with "
                f"{option('schema')} or {option('system')}."
            )
        self.template = PromptTemplate(prompt, system)
        self.answer_schema = None if schema is None else AnswerSchema(schema)
        self._output_field, self._api, self._params, self._reask = (
            output_field,
            api,
            dict(params or {}),
            check_reask(reask),
        )
        self._counts = {} if counts is None else counts
        self._supports_response_format, self._answers_seen = True, Duplicates()
        fields = self.answer_schema.fields if self.answer_schema is not None else ()
        self.thinking = ReasoningField((*fields, output_field)[0], reasoning)
        if schema is not None:
            refuse_inline(reasoning, "the answer is split into the fields of its schema.")
        self.writes: tuple[str, ...] = (output_field, *self.thinking.writes, f"{output_field}_finish_reason")
        if self.answer_schema is not None:
            if self.answer_schema.is_list and PARTS in self.answer_schema.fields:
                raise UsageError(
                    f"The items of the schema have a property {PARTS!r}, which is reserved for split rows. Rename it."
                )
            self.writes = (
                *(self.answer_schema.fields or (output_field,)),
                *((PARTS,) if self.answer_schema.is_list else ()),
                *self.thinking.writes,
            )
        self.identity = {
            "prompt": self.template.source,
            "system": self.template.system_text,
            "output_field": output_field,
            **({"schema": self.answer_schema.schema} if self.answer_schema is not None else {}),
            **({"api": api} if api != "chat" else {}),
            **({"params": self._params} if self._params else {}),
        }

    def __repr__(self) -> str:
        return f"<PromptCall {self.template!r} for {', '.join(self.writes)}>"

    async def __call__(self, row: Row, llm: LLM) -> RowOutput:
        """Send the prompt for a row and return the fields of the output row, or those of each output row.

        Raises: see `answer`.
        """
        if self.answer_schema is not None:
            value, reply = await self._ask_for_schema(self.answer_schema, row, llm)
            result: RowOutput = add_to_first(value, self.thinking.fields(reply))
            return result
        reply = await self._send(row, llm)
        self._count(reply.text)
        thought = self.thinking.fields(reply) if reply.reasoning else {}
        text = self.thinking.text(reply)
        return {self._output_field: text, **thought, f"{self._output_field}_finish_reason": reply.finish_reason}

    async def answer(self, row: Row, llm: LLM) -> tuple[Any, Completion]:
        """Send the prompt for a row. Return the text, or with a schema the fields of the answer, and the reply.

        Raises:
            PromptError: the template cannot be rendered for the row.
            AnswerInvalid: no answer was valid for the schema.
        """
        if self.answer_schema is not None:
            return await self._ask_for_schema(self.answer_schema, row, llm)
        reply = await self._send(row, llm)
        self._count(reply.text)
        return reply.text, reply

    def _send(self, row: Row, llm: LLM) -> Awaitable[Completion]:
        """Send the prompt without a schema. Not a coroutine of its own, because each costs about 1 µs per row."""
        messages = self.template.messages(row)
        if self._api == "completions":
            return llm.complete(messages[-1]["content"], **self._params)
        return llm.chat(messages, **self._params)

    async def _ask_for_schema(self, schema: AnswerSchema, row: Row, llm: LLM) -> tuple[Any, Completion]:
        """Send the prompt until an answer matches the schema.

        Returns:
            The fields of the answer, or a list with those of each part; and the reply.
        """
        value, reply = await ask_until_valid(
            self.template.messages(row), self._sender_with_schema(llm), schema.parse, self._reask, self._counts
        )
        for each in value if schema.is_list else [value]:
            self._count("\n".join(leaf_texts(each)))
        return [self._fields(each) for each in value] if schema.is_list else self._fields(value), reply

    def _count(self, text: str) -> None:
        if self._answers_seen.add(text):
            self._counts[DUPLICATE_REASON] = self._counts.get(DUPLICATE_REASON, 0) + 1

    def _fields(self, value: Any) -> dict[str, Any]:
        assert self.answer_schema is not None
        return value if isinstance(value, dict) and self.answer_schema.fields else {self._output_field: value}

    def _sender_with_schema(self, llm: LLM) -> SendMessages:
        """Return a function that sends messages with `response_format`.

        If the endpoint rejects this parameter, that call and all later ones have the schema in the prompt instead.
        """
        answer_schema = self.answer_schema
        assert answer_schema is not None

        async def send(messages: Messages) -> Completion:
            if self._supports_response_format:
                try:
                    return await llm.chat(messages, response_format=answer_schema.response_format, **self._params)
                except HttpStatusError as refusal:
                    if refusal.status not in (400, 422) or not any(
                        name in str(refusal) for name in _UNSUPPORTED_MARKERS
                    ):
                        raise
                    self._supports_response_format = False
            self._counts[UNSUPPORTED_CODES] = self._counts.get(UNSUPPORTED_CODES, 0) + 1
            return await llm.chat(append_text(messages, answer_schema.as_instruction, 0), **self._params)

        return send


def check_reask(reask: int) -> int:
    """Return the number of additional requests after an invalid answer.

    Raises:
        UsageError: it is negative.
    """
    if reask < 0:
        raise UsageError(f"{option('reask')} must be at least 0, not {reask}.")
    return reask
