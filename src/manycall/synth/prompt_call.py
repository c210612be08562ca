"""A call with one prompt; its answer becomes a text field, or the fields of a schema or a regular expression."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from manycall.client.requests import LLM, ModelReply, text_request
from manycall.data.answer_schema import SchemaLike
from manycall.data.row_prompt import RowPrompt
from manycall.dataset.duplicates import Duplicates
from manycall.dataset.normalize import leaf_texts
from manycall.errors import Declined
from manycall.providers.reply_parts import ReplyPart
from manycall.records import AnswerChoice, Completion, Fields, Row, RowOutput
from manycall.run.options import Reasoning
from manycall.run.reask import ReaskCounts, ask_until_valid
from manycall.run.reasoning_field import ReasoningField, add_to_first, refuse_inline
from manycall.store.row_parts import PARTS
from manycall.synth.answer_forms import AnswerForm, PatternForm, SchemaForm
from manycall.synth.call_checks import TextApi, check_call, check_form, check_reask
from manycall.synth.reply_fields import ReplyFields, first_position
from manycall.synth.step_base import endpoint_identity

DUPLICATE_REASON = "duplicates"
MISSING_CHOICES = "missing choices"
"""Count of the answers that calls with `n` did not return: the server filtered them, or it does not support `n`."""
DEFAULT_REASK = 2
"""Default number of additional requests after an invalid answer."""


class PromptCall:
    """A prompt, the call that sends it, and the conversion of the answer to fields.

    Args:
        prompt: what is sent for a row.
        output_field: the field for the text. The finish reason goes to `<output_field>_finish_reason`, and thinking
            text to `<output_field>_reasoning`; with a schema, `output_field` is its first property there.
        schema: JSON schema of the answer, whose properties become fields of the row.
        extract: regular expression; its first group becomes the text, or its named groups become fields.
        api: with "completions" the prompt is sent to /completions as plain text, without a chat template.
        params: request parameters in addition to those of the run.
        reask: number of additional requests after an invalid answer. A plain text is not asked for again.
        reasoning: where thinking text is written.
        keep: parts of the reply that are written too.
        choices: number of answers to one call (the parameter `n`). With several, each becomes an output row.
        counts: counts reasked answers, duplicate answers, missing choices and calls without `response_format`.
        earlier_settings: returns the settings of earlier sessions, whose journaled answers may be read again.
        endpoint: name of the endpoint of the calls; "": the run's.

    Attributes:
        prompt: what is sent for a row.
        form: the form of the answer; None if it is a text.
        may_split: a row may become several.
        thinking: the field for the thinking text.
        writes: fields that may be added to a row.
        finish_reason_field: the last field, which holds the finish reason; "" if it is not written.
        identity: settings that must be the same in a resumed run.
    """

    def __init__(
        self,
        prompt: RowPrompt,
        *,
        output_field: str = "text",
        schema: SchemaLike | None = None,
        extract: str | None = None,
        api: TextApi = "chat",
        params: Mapping[str, Any] | None = None,
        reask: int = DEFAULT_REASK,
        reasoning: Reasoning = "separate",
        keep: tuple[ReplyPart, ...] = (),
        choices: int = 1,
        counts: ReaskCounts | None = None,
        earlier_settings: Callable[[], list[Fields]] = list,
        endpoint: str = "",
    ) -> None:
        check_call(prompt, output_field, schema, extract, api)
        self.prompt = prompt
        self._choices = choices
        self._output_field, self._api, self._params = output_field, api, dict(params or {})
        self._endpoint = endpoint
        self._reask = check_reask(reask)
        if api == "completions":
            self._reask = 0  # a plain prompt cannot be continued with the reason
        self._counts = {} if counts is None else counts
        self._answers_seen = Duplicates()
        self.form: AnswerForm | None = None
        if schema is not None:
            source = prompt.source_identity
            self.form = SchemaForm(
                schema, output_field, lambda: find_schemas(earlier_settings(), source), self._params, self._counts,
                endpoint=endpoint,
            )  # fmt: skip
        elif extract is not None:
            self.form = PatternForm(extract, output_field, self._params, is_chat=api == "chat", endpoint=endpoint)
        fields = (output_field,) if self.form is None else self.form.fields
        self.may_split = choices > 1 or (self.form is not None and self.form.may_split)
        self.thinking, self.parts = ReasoningField(fields[0], reasoning), ReplyFields(fields[0], keep)
        if self.form is not None:
            refuse_inline(reasoning, "the answer is split into fields.")
            check_form(choices, keep)
        self.finish_reason_field = "" if schema is not None else f"{output_field}_finish_reason"
        finish = [self.finish_reason_field] if self.finish_reason_field else []
        self.writes = (*fields, *([PARTS] if choices > 1 else []), *self.thinking.writes, *self.parts.writes, *finish)
        self.identity = {
            **prompt.identity,
            "output_field": output_field,
            **self.parts.identity,
            **({} if self.form is None else self.form.identity),
            **({"api": api} if api != "chat" else {}),
            **({"params": self._params} if self._params else {}),
            **endpoint_identity(endpoint, self._params),
        }

    def __repr__(self) -> str:
        return f"<PromptCall {self.prompt!r} for {', '.join(self.writes)}>"

    async def process_row(self, row: Row, llm: LLM) -> RowOutput:
        """Send the prompt for a row and return the fields of the output row, or those of each output row.

        Raises: see `answer`.
        """
        if self.form is not None:
            fields, reply = await self._ask(self.form, row, llm)
            result: RowOutput = add_to_first(fields, self.reply_fields(reply))
            if self.finish_reason_field and isinstance(result, dict):
                result[self.finish_reason_field] = reply.finish_reason
            return result
        try:
            answer = await self._send(row, llm)
        except Declined as refusal:
            return {**self.parts.refused(refusal), self.finish_reason_field: "refusal"}
        assert isinstance(answer, Completion)
        if self._choices > 1:
            return self._all_choices(answer)
        if self._answers_seen.add(answer.text):
            self._count(DUPLICATE_REASON)
        if not answer.reasoning and not self.parts.keep:  # the usual case
            return {self._output_field: answer.text, self.finish_reason_field: answer.finish_reason}
        text, others = self.thinking.text(answer), self.reply_fields(answer)
        return {self._output_field: text, **others, self.finish_reason_field: answer.finish_reason}

    def _all_choices(self, reply: Completion) -> list[dict[str, Any]]:
        """Return the fields of each answer to a call with several choices, and count those that are missing."""
        choices = reply.choices or (AnswerChoice(reply.text, reply.finish_reason, reply.reasoning, 0),)
        if len(choices) < self._choices:
            self._count(MISSING_CHOICES, self._choices - len(choices))
        for choice in choices:
            if self._answers_seen.add(choice.text):
                self._count(DUPLICATE_REASON)
        return [
            {
                self._output_field: self.thinking.text(choice),
                **self.thinking.fields(choice),
                **self.parts.fields(reply.body, choice.position),
                self.finish_reason_field: choice.finish_reason,
            }
            for choice in choices
        ]

    def reply_fields(self, reply: Completion) -> dict[str, Any]:
        """Return the fields for the thinking text and for the parts that are kept."""
        return {**self.thinking.fields(reply), **self.parts.fields(reply.body, first_position(reply))}

    async def answer(self, row: Row, llm: LLM) -> tuple[Any, Completion]:
        """Send the prompt for a row. Return the text, or the fields of an answer with a form, and the reply.

        Raises:
            PromptError: the template cannot be rendered for the row.
            AnswerInvalid: no answer had the form.
        """
        if isinstance(self.form, PatternForm) and self.form.is_text:
            fields, reply = await self._ask(self.form, row, llm)
            assert isinstance(fields, dict)
            return fields[self._output_field], reply
        if self.form is not None:
            return await self._ask(self.form, row, llm)
        answer = await self._send(row, llm)
        assert isinstance(answer, Completion)
        if self._answers_seen.add(answer.text):
            self._count(DUPLICATE_REASON)
        return answer.text, answer

    def _send(self, row: Row, llm: LLM) -> Awaitable[ModelReply]:
        """Send the prompt without a form. Not a separate coroutine, because each takes 0.3 µs per row."""
        messages = self.prompt.load(row)
        content = messages[-1]["content"] if self._api == "completions" else messages
        return llm.send(text_request(llm, self._api, content, self._params, self._endpoint))

    async def _ask(self, form: AnswerForm, row: Row, llm: LLM) -> tuple[RowOutput, Completion]:
        """Send the prompt until an answer has the form. Return its fields, or those of each part; and the reply."""
        fields, reply = await ask_until_valid(
            self.prompt.load(row), form.sender(llm), form.read, self._reask, self._counts
        )
        for each in fields if isinstance(fields, list) else [fields]:
            if self._answers_seen.add("\n".join(leaf_texts(each))):
                self._count(DUPLICATE_REASON)
        return fields, reply

    def _count(self, what: str, number: int = 1) -> None:
        self._counts[what] = self._counts.get(what, 0) + number


def find_schemas(settings: Any, prompt: Fields) -> Iterator[dict[str, Any]]:
    """Yield each schema that was sent with a prompt, according to the settings of a run: of the job or of a step."""
    if isinstance(settings, dict):
        if prompt.items() <= settings.items() and isinstance(settings.get("schema"), dict):
            yield settings["schema"]
        settings = list(settings.values())
    if isinstance(settings, list):
        for each in settings:
            yield from find_schemas(each, prompt)
